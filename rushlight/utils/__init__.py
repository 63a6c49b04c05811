"""What PyTorch keeps in ``torch.utils``: `data` and `tensorboard`, imported when first used."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["data", "tensorboard"]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
