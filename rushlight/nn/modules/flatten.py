"""Flattening, where PyTorch keeps them: ``torch.nn.modules.flatten``."""

from rushlight.nn.flatten import (
    Flatten,
    Unflatten,
)

__all__ = [
    "Flatten",
    "Unflatten",
]
