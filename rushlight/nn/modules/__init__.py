"""The layers under the longer names PyTorch gives them, as in ``torch.nn.modules.module``."""

import importlib
from types import ModuleType

from rushlight.nn.modules import module
from rushlight.nn.modules.module import Module

__all__ = ["Module", "module"]

_SUBMODULES = frozenset(
    (
        "activation",
        "adaptive",
        "batchnorm",
        "channelshuffle",
        "container",
        "conv",
        "distance",
        "dropout",
        "flatten",
        "fold",
        "instancenorm",
        "lazy",
        "linear",
        "loss",
        "normalization",
        "padding",
        "pixelshuffle",
        "pooling",
        "rnn",
        "sparse",
        "transformer",
        "upsampling",
    )
)


def __getattr__(name: str) -> ModuleType:
    if name in _SUBMODULES:
        return importlib.import_module(f"rushlight.nn.modules.{name}")
    raise AttributeError(f"module 'rushlight.nn.modules' has no attribute '{name}'")
