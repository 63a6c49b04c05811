"""The layers under the longer names PyTorch gives them, as in ``torch.nn.modules.module``."""

from rushlight.nn.modules import module
from rushlight.nn.modules.module import Module

__all__ = ["Module", "module"]
