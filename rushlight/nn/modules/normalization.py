"""Normalisation of layers and groups, where PyTorch keeps them: ``torch.nn.modules.normalization``."""

from rushlight.nn.norm import (
    GroupNorm,
    LayerNorm,
    RMSNorm,
)

__all__ = [
    "GroupNorm",
    "LayerNorm",
    "RMSNorm",
]
