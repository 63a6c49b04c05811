"""Layers that normalise within a sample: LayerNorm, RMSNorm, GroupNorm.

They keep no statistics and behave alike in training and in evaluation. Those over a batch or with running
statistics are in ``batchnorm.py``. The invariant: the learned scale starts at one and the shift at zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rushlight.nn import functional as F
from rushlight.nn import init
from rushlight.nn.module import Module
from rushlight.nn.parameter import Parameter
from rushlight.ops.create import empty
from rushlight.tensor import Tensor


class _Affine(Module):
    """A normalisation with a learned scale and, perhaps, a learned shift; either may be None."""

    weight: Parameter | None
    bias: Parameter | None

    def _make_parameters(self, shape: Any, device: Any, dtype: Any, **wanted: bool) -> None:
        for name, is_wanted in wanted.items():
            parameter = Parameter(empty(shape, device=device, dtype=dtype)) if is_wanted else None
            self.register_parameter(name, parameter)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the scale to one and the shift to zero."""
        for name, parameter in self._parameters.items():
            if parameter is not None:
                init.constant_(parameter, 1.0 if name == "weight" else 0.0)


class LayerNorm(_Affine):
    """Normalises over the last dimensions, of shape ``normalized_shape``, to mean 0 and variance 1.

    Ba, Kiros and Hinton, "Layer Normalization", 2016.

    >>> import rushlight as torch
    >>> torch.nn.LayerNorm(2)(torch.tensor([[1.0, 3.0]])).tolist()
    [[-0.9999949932098389, 0.9999949932098389]]
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _as_tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        bias = elementwise_affine and bias
        self._make_parameters(self.normalized_shape, device, dtype, weight=elementwise_affine, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )

    def _expected_input(self) -> str:
        return f"shape (*, {', '.join(map(str, self.normalized_shape))})"


class RMSNorm(_Affine):
    """Divides by the root of the mean of squares over the last dimensions, of shape ``normalized_shape``.

    Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.

    >>> import rushlight as torch
    >>> torch.nn.RMSNorm(2)(torch.tensor([[3.0, 3.0]])).shape
    torch.Size([1, 2])
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _as_tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._make_parameters(self.normalized_shape, device, dtype, weight=elementwise_affine)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """The settings."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"

    def _expected_input(self) -> str:
        return f"shape (*, {', '.join(map(str, self.normalized_shape))})"


class GroupNorm(_Affine):
    """Normalises each of ``num_groups`` groups of the ``num_channels`` channels of each sample of ``(N, C,
    *)``.

    Wu and He, "Group Normalization", 2018. Raises ValueError unless the groups divide the channels.

    >>> import rushlight as torch
    >>> torch.nn.GroupNorm(3, 6)(torch.zeros(20, 6, 10, 10)).shape
    torch.Size([20, 6, 10, 10])
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups != 0:
            raise ValueError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self._make_parameters(num_channels, device, dtype, weight=affine, bias=affine and bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )

    def _expected_input(self) -> str:
        return f"shape (N, {self.num_channels}, *)"


def _as_tuple(shape: int | Sequence[int]) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)
