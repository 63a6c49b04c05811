"""Layers that keep running statistics: BatchNorm and InstanceNorm for 1, 2 and 3 dimensions, and their lazy
forms.

In training they normalise by what they see and remember it, in evaluation by what they remember, if they do.
The invariant: the running statistics are buffers, saved with the module and never trained.
"""

from __future__ import annotations

import warnings
from typing import Any

from rushlight.dtype import int64
from rushlight.nn import functional as F
from rushlight.nn import init
from rushlight.nn.lazy import LazyModuleMixin
from rushlight.nn.module import Module
from rushlight.nn.parameter import (
    Parameter,
    UninitializedBuffer,
    UninitializedParameter,
    UninitializedTensorMixin,
)
from rushlight.ops.create import empty, ones, zeros
from rushlight.tensor import Tensor


class _RunningNorm(Module):
    """A normalisation of channels with a learned scale and shift and running statistics, all of them
    optional.
    """

    # Version 2 added num_batches_tracked.
    _version = 2

    # The numbers of dimensions that the input may have, and how the error names them.
    dimensions: tuple[int, ...]
    expected: str

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        device: Any,
        dtype: Any,
        bias: bool,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            parameter = Parameter(empty(num_features, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, parameter)
        tracked = track_running_stats
        self.register_buffer(
            "running_mean", zeros(num_features, device=device, dtype=dtype) if tracked else None
        )
        self.register_buffer(
            "running_var", ones(num_features, device=device, dtype=dtype) if tracked else None
        )
        self.register_buffer(
            "num_batches_tracked", zeros((), device=device, dtype=int64) if tracked else None
        )
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget what was seen: mean 0 and variance 1 of no batches."""
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Forget what was seen and learned."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in self.dimensions:
            raise ValueError(f"expected {self.expected} input (got {input.dim()}D input)")

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )

    def _expected_input(self) -> str:
        return f"{self.num_features} channels in a {self.expected} tensor"

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *others: Any
    ) -> None:
        key = f"{prefix}num_batches_tracked"
        # What was saved before version 2, or without versions as in a safetensors file, may lack the count.
        if local_metadata.get("version", 1) < 2 and self.num_batches_tracked is not None:
            state_dict.setdefault(key, self.num_batches_tracked)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *others)


class _BatchNorm(_RunningNorm):
    """Normalises each channel of a batch.

    Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
    Shift", 2015.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        momentum: Any = self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:
                # The plain average of all batches; a tensor, so that a recorded step counts on.
                momentum = 1.0 / self.num_batches_tracked.double()
        use_running = not self.training or self.track_running_stats
        return F.batch_norm(
            input,
            self.running_mean if use_running else None,
            self.running_var if use_running else None,
            self.weight,
            self.bias,
            self.training or (self.running_mean is None and self.running_var is None),
            0.0 if momentum is None else momentum,
            self.eps,
        )


class BatchNorm1d(_BatchNorm):
    """Normalises each channel of ``(N, C)`` or ``(N, C, L)`` over the batch.

    In training it uses the batch's mean and variance, and moves its running ones towards them by ``momentum``
    (None: it averages over all batches); in evaluation it uses the running ones. Raises ValueError for other
    numbers of dimensions, and in training for one value per channel.

    >>> import rushlight as torch
    >>> norm = torch.nn.BatchNorm1d(2)
    >>> output = norm(torch.tensor([[1.0, 10.0], [3.0, 30.0]]))
    >>> norm.running_mean
    tensor([0.2000, 2.0000])
    """

    dimensions = (2, 3)
    expected = "2D or 3D"


class BatchNorm2d(_BatchNorm):
    """BatchNorm1d for images ``(N, C, H, W)``."""

    dimensions = (4,)
    expected = "4D"


class BatchNorm3d(_BatchNorm):
    """BatchNorm1d for volumes ``(N, C, D, H, W)``."""

    dimensions = (5,)
    expected = "5D"


class _InstanceNorm(_RunningNorm):
    """Normalises each channel of each sample.

    Ulyanov et al., "Instance Normalization: The Missing Ingredient for Fast Stylization", 2016.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        single = input.dim() == self.dimensions[0]
        self._check_channels(input, 0 if single else 1)
        output = F.instance_norm(
            input.unsqueeze(0) if single else input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return output.squeeze(0) if single else output

    def _check_channels(self, input: Tensor, dim: int) -> None:
        channels = input.shape[dim]
        if channels == self.num_features:
            return
        if self.affine:
            raise ValueError(
                f"expected input's size at dim={dim} to match num_features ({self.num_features}), "
                f"but got: {channels}."
            )
        warnings.warn(
            f"input's size at dim={dim} does not match num_features. You can silence this warning by not "
            "passing in num_features, which is not used because affine=False",
            stacklevel=3,
        )


class InstanceNorm1d(_InstanceNorm):
    """Normalises each channel of each sample of ``(N, C, L)``, or of one sample ``(C, L)``.

    Without ``track_running_stats`` it does so in evaluation too. Raises ValueError for other numbers of
    dimensions.

    >>> import rushlight as torch
    >>> torch.nn.InstanceNorm1d(1)(torch.tensor([[[1.0, 3.0]]])).shape
    torch.Size([1, 1, 2])
    """

    dimensions = (2, 3)
    expected = "2D or 3D"


class InstanceNorm2d(_InstanceNorm):
    """InstanceNorm1d for images ``(N, C, H, W)`` or ``(C, H, W)``."""

    dimensions = (3, 4)
    expected = "3D or 4D"


class InstanceNorm3d(_InstanceNorm):
    """InstanceNorm1d for volumes ``(N, C, D, H, W)`` or ``(C, D, H, W)``."""

    dimensions = (4, 5)
    expected = "4D or 5D"


class _LazyRunningNorm(LazyModuleMixin, _RunningNorm):
    """A normalisation that learns its number of channels, dimension 1, from its first input."""

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(0, eps, momentum, False, False, device, dtype, bias=False)
        self.affine = affine
        self.track_running_stats = track_running_stats
        if affine:
            self.weight = UninitializedParameter(device=device, dtype=dtype)
            if bias:
                self.bias = UninitializedParameter(device=device, dtype=dtype)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(device=device, dtype=dtype)
            self.running_var = UninitializedBuffer(device=device, dtype=dtype)
            self.num_batches_tracked = zeros((), dtype=int64)

    def reset_parameters(self) -> None:
        """Forget what was seen and learned, if the shapes are known."""
        if not self.has_uninitialized_params() and self.num_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Give the parameters and statistics the number of channels of ``input``."""
        self._check_input_dim(input)
        single = isinstance(self, _InstanceNorm) and input.dim() == self.dimensions[0]
        self.num_features = input.shape[0 if single else 1]
        if self.has_uninitialized_params():
            for member in (self.weight, self.bias, self.running_mean, self.running_var):
                if isinstance(member, UninitializedTensorMixin):
                    member.materialize((self.num_features,))
            self.reset_parameters()


class LazyBatchNorm1d(_LazyRunningNorm, BatchNorm1d):
    """A BatchNorm1d that learns ``num_features`` from its first input, and is a plain BatchNorm1d from then
    on.

    >>> import rushlight as torch
    >>> norm = torch.nn.LazyBatchNorm1d()
    >>> output = norm(torch.zeros(8, 3))
    >>> norm.num_features
    3
    """

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyRunningNorm, BatchNorm2d):
    """A BatchNorm2d that learns ``num_features`` from its first input."""

    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_LazyRunningNorm, BatchNorm3d):
    """A BatchNorm3d that learns ``num_features`` from its first input."""

    cls_to_become = BatchNorm3d


class LazyInstanceNorm1d(_LazyRunningNorm, InstanceNorm1d):
    """An InstanceNorm1d that learns ``num_features`` from its first input."""

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyRunningNorm, InstanceNorm2d):
    """An InstanceNorm2d that learns ``num_features`` from its first input."""

    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(_LazyRunningNorm, InstanceNorm3d):
    """An InstanceNorm3d that learns ``num_features`` from its first input."""

    cls_to_become = InstanceNorm3d
