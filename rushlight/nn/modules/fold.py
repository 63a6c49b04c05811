"""Fold and Unfold, where PyTorch keeps them: ``torch.nn.modules.fold``."""

from rushlight.nn.fold import Fold, Unfold

__all__ = ["Fold", "Unfold"]
