"""Convolutions that learn ``in_channels`` from their first input, and are plain ones from then on.

The invariant: what is drawn then is what the plain layer of the same seed would have drawn.
"""

from __future__ import annotations

from typing import Any

from rushlight.autograd import no_grad
from rushlight.nn.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    Lengths,
    _ConvNd,
)
from rushlight.nn.lazy import LazyModuleMixin
from rushlight.nn.parameter import UninitializedParameter
from rushlight.tensor import Tensor


class _LazyConvXdMixin(LazyModuleMixin, _ConvNd):
    """What lazy convolutions have in common."""

    weight: UninitializedParameter
    dims: int

    def _without_shapes(self, out_channels: int, bias: bool, device: Any, dtype: Any) -> None:
        """Parameters without shapes in place of those of no channels."""
        self.out_channels = out_channels
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw the weight and the bias, if their shapes are known."""
        if not self.has_uninitialized_params() and self.in_channels != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        """Give the parameters the shapes that ``input`` calls for."""
        if not self.has_uninitialized_params():
            return
        self.in_channels = self._get_in_channels(input)
        if self.in_channels % self.groups:
            raise ValueError("in_channels must be divisible by groups")
        channels = (self.out_channels, self.in_channels)
        first, second = reversed(channels) if self.transposed else channels
        with no_grad():
            self.weight.materialize((first, second // self.groups, *self.kernel_size))
            if isinstance(self.bias, UninitializedParameter):
                self.bias.materialize((self.out_channels,))
            self.reset_parameters()

    def _get_in_channels(self, input: Tensor) -> int:
        dims = self.dims
        if input.ndim not in (dims + 1, dims + 2):
            raise RuntimeError(
                f"Expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input to "
                f"{type(self).__name__}, but got input of size: {input.shape}"
            )
        return input.shape[-dims - 1]


class _LazyConv(_LazyConvXdMixin):
    """The constructor of LazyConv1d, LazyConv2d and LazyConv3d."""

    def __init__(
        self,
        out_channels: int,
        kernel_size: Lengths,
        stride: Lengths = 1,
        padding: str | Lengths = 0,
        dilation: Lengths = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        # Without a bias, since that of no channels would stand in the way of the one without a shape.
        settings: tuple[Any, ...] = (stride, padding, dilation, groups, False, padding_mode)
        super().__init__(0, 0, kernel_size, *settings, device, dtype)
        self._without_shapes(out_channels, bias, device, dtype)


class _LazyConvTranspose(_LazyConvXdMixin):
    """The constructor of the lazy transposed convolutions."""

    def __init__(
        self,
        out_channels: int,
        kernel_size: Lengths,
        stride: Lengths = 1,
        padding: Lengths = 0,
        output_padding: Lengths = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Lengths = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        settings: tuple[Any, ...] = (stride, padding, output_padding, groups, False, dilation, padding_mode)
        super().__init__(0, 0, kernel_size, *settings, device, dtype)
        self._without_shapes(out_channels, bias, device, dtype)


class LazyConv1d(_LazyConv, Conv1d):
    """A Conv1d that learns ``in_channels`` from its first input.

    >>> import rushlight as torch
    >>> torch.nn.LazyConv1d(4, 3)(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 4, 6])
    """

    cls_to_become = Conv1d


class LazyConv2d(_LazyConv, Conv2d):
    """A Conv2d that learns ``in_channels`` from its first input.

    >>> import rushlight as torch
    >>> layer = torch.nn.LazyConv2d(4, 3)
    >>> output = layer(torch.zeros(2, 5, 8, 8))
    >>> layer
    Conv2d(5, 4, kernel_size=(3, 3), stride=(1, 1))
    """

    cls_to_become = Conv2d


class LazyConv3d(_LazyConv, Conv3d):
    """A Conv3d that learns ``in_channels`` from its first input.

    >>> import rushlight as torch
    >>> torch.nn.LazyConv3d(4, 3)(torch.zeros(2, 5, 4, 4, 4)).shape
    torch.Size([2, 4, 2, 2, 2])
    """

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConvTranspose, ConvTranspose1d):
    """A ConvTranspose1d that learns ``in_channels`` from its first input.

    >>> import rushlight as torch
    >>> torch.nn.LazyConvTranspose1d(4, 3)(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 4, 10])
    """

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTranspose, ConvTranspose2d):
    """A ConvTranspose2d that learns ``in_channels`` from its first input.

    >>> import rushlight as torch
    >>> torch.nn.LazyConvTranspose2d(4, 2, stride=2)(torch.zeros(2, 5, 8, 8)).shape
    torch.Size([2, 4, 16, 16])
    """

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTranspose, ConvTranspose3d):
    """A ConvTranspose3d that learns ``in_channels`` from its first input.

    >>> import rushlight as torch
    >>> torch.nn.LazyConvTranspose3d(4, 2)(torch.zeros(2, 5, 3, 3, 3)).shape
    torch.Size([2, 4, 4, 4, 4])
    """

    cls_to_become = ConvTranspose3d
