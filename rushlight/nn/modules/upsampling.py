"""Upsampling layers, where PyTorch keeps them: ``torch.nn.modules.upsampling``."""

from rushlight.nn.upsampling import Upsample, UpsamplingBilinear2d, UpsamplingNearest2d

__all__ = ["Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"]
