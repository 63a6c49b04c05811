"""Layers that move elements, where PyTorch keeps them: ``torch.nn.modules.channelshuffle``."""

from rushlight.nn.shuffling import ChannelShuffle

__all__ = ["ChannelShuffle"]
