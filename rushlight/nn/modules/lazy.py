"""What lazy layers have in common, where PyTorch keeps it: ``torch.nn.modules.lazy``."""

from rushlight.nn.lazy import LazyModuleMixin

__all__ = ["LazyModuleMixin"]
