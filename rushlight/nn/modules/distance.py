"""Distances, where PyTorch keeps them: ``torch.nn.modules.distance``."""

from rushlight.nn.loss import (
    CosineSimilarity,
    PairwiseDistance,
)

__all__ = [
    "CosineSimilarity",
    "PairwiseDistance",
]
