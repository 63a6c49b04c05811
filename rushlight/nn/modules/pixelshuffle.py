"""Layers that move elements, where PyTorch keeps them: ``torch.nn.modules.pixelshuffle``."""

from rushlight.nn.shuffling import PixelShuffle, PixelUnshuffle

__all__ = ["PixelShuffle", "PixelUnshuffle"]
