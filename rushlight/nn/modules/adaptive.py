"""The adaptive softmax, where PyTorch keeps it: ``torch.nn.modules.adaptive``."""

from rushlight.nn.adaptive import AdaptiveLogSoftmaxWithLoss

__all__ = ["AdaptiveLogSoftmaxWithLoss"]
