"""Pooling layers: the functions of `nn.functional` with their settings kept.

There are no parameters here. Invariant: a layer returns what the function of its name returns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rushlight.nn import functional as F
from rushlight.nn.module import Module
from rushlight.tensor import Tensor

Ints = int | Sequence[int]
Sizes = int | None | Sequence[int | None]


class _Pool(Module):
    """What they have in common: ``_function`` does the work."""

    _function: ClassVar[Callable[..., Any]]


# -- the greatest --------------------------------------------------------------------------------------------


class _MaxPoolNd(_Pool):
    def __init__(
        self,
        kernel_size: Ints,
        stride: Ints | None = None,
        padding: Ints = 0,
        dilation: Ints = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        return type(self)._function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPoolNd):
    """The greatest number in each window of lines ``(N, C, L)``; see `MaxPool2d`."""

    _function = F.max_pool1d


class MaxPool2d(_MaxPoolNd):
    """The greatest number in each window of images ``(N, C, H, W)``.

    Args:
        kernel_size: how large windows are: a number, or one for each dimension, as all that follow.
        stride: how far they lie apart; by default as far as they are large.
        padding: how many numbers lower than all others are around the image.
        dilation: how far apart the elements of a window are.
        return_indices: whether to return where each was found, too, for `MaxUnpool2d`.
        ceil_mode: whether a last window that is not whole counts.

    >>> import rushlight as torch
    >>> torch.nn.MaxPool2d(2)(torch.zeros(1, 6, 28, 28)).shape
    torch.Size([1, 6, 14, 14])
    """

    _function = F.max_pool2d


class MaxPool3d(_MaxPoolNd):
    """The greatest number in each window of volumes ``(N, C, D, H, W)``; see `MaxPool2d`."""

    _function = F.max_pool3d


class _MaxUnpoolNd(_Pool):
    _dims: ClassVar[int]

    def __init__(self, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0) -> None:
        super().__init__()
        self.kernel_size = _each(kernel_size, self._dims)
        self.stride = _each(stride if stride is not None else kernel_size, self._dims)
        self.padding = _each(padding, self._dims)

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        given = (self.kernel_size, self.stride, self.padding, output_size)
        return type(self)._function(input, indices, *given)

    def extra_repr(self) -> str:
        """The settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


def _each(given: Ints, dims: int) -> tuple[int, ...]:
    return (given,) * dims if isinstance(given, int) else tuple(given)


class MaxUnpool1d(_MaxUnpoolNd):
    """Zeros with maxima where `MaxPool1d` found them; see `MaxUnpool2d`."""

    _dims, _function = 1, F.max_unpool1d


class MaxUnpool2d(_MaxUnpoolNd):
    """Zeros with maxima where `MaxPool2d` found them.

    >>> import rushlight as torch
    >>> pool = torch.nn.MaxPool2d(2, return_indices=True)
    >>> torch.nn.MaxUnpool2d(2)(*pool(torch.tensor([[[1.0, 2.0], [4.0, 3.0]]])))
    tensor([[[0., 0.],
             [4., 0.]]])
    """

    _dims, _function = 2, F.max_unpool2d


class MaxUnpool3d(_MaxUnpoolNd):
    """Zeros with maxima where `MaxPool3d` found them; see `MaxUnpool2d`."""

    _dims, _function = 3, F.max_unpool3d


# -- the mean ------------------------------------------------------------------------------------------------


class AvgPool1d(_Pool):
    """The mean of each window of lines ``(N, C, L)``.

    >>> import rushlight as torch
    >>> torch.nn.AvgPool1d(2)(torch.tensor([[1.0, 3.0, 5.0, 9.0]]))
    tensor([[2., 7.]])
    """

    def __init__(
        self,
        kernel_size: Ints,
        stride: Ints | None = None,
        padding: Ints = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = _each(kernel_size, 1)
        self.stride = _each(stride if stride is not None else kernel_size, 1)
        self.padding = _each(padding, 1)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        given = (self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
        return F.avg_pool1d(input, *given)

    def extra_repr(self) -> str:
        """The settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPoolNd(_Pool):
    def __init__(
        self,
        kernel_size: Ints,
        stride: Ints | None = None,
        padding: Ints = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        return type(self)._function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        """The settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPoolNd):
    """The mean of each window of images ``(N, C, H, W)``.

    Args:
        kernel_size: how large windows are: a number, or one for each dimension.
        stride: how far they lie apart; by default as far as they are large.
        padding: how many zeros are around the image.
        ceil_mode: whether a last window that is not whole counts.
        count_include_pad: whether the zeros count as elements.
        divisor_override: what sums are divided by instead of the number of elements.

    >>> import rushlight as torch
    >>> torch.nn.AvgPool2d(3, stride=2)(torch.zeros(20, 16, 50, 32)).shape
    torch.Size([20, 16, 24, 15])
    """

    _function = F.avg_pool2d


class AvgPool3d(_AvgPoolNd):
    """The mean of each window of volumes ``(N, C, D, H, W)``; see `AvgPool2d`."""

    _function = F.avg_pool3d


# -- power means ---------------------------------------------------------------------------------------------


class _LPPoolNd(_Pool):
    def __init__(
        self, norm_type: float, kernel_size: Ints, stride: Ints | None = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        given = (float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)
        return type(self)._function(input, *given)

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPoolNd):
    """``sum(x ** norm_type) ** (1 / norm_type)`` of each window of lines ``(N, C, L)``.

    >>> import rushlight as torch
    >>> torch.nn.LPPool1d(2, 2)(torch.tensor([[3.0, 4.0]]))
    tensor([[5.]])
    """

    _function = F.lp_pool1d


class LPPool2d(_LPPoolNd):
    """As `LPPool1d`, of images ``(N, C, H, W)``."""

    _function = F.lp_pool2d


class LPPool3d(_LPPoolNd):
    """As `LPPool1d`, of volumes ``(N, C, D, H, W)``."""

    _function = F.lp_pool3d


# -- to a size that is asked for -----------------------------------------------------------------------------


class _AdaptiveAvgPoolNd(_Pool):
    def __init__(self, output_size: Sizes) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return type(self)._function(input, self.output_size)

    def extra_repr(self) -> str:
        """The size."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """The means of so many parts of lines ``(N, C, L)``; see `AdaptiveAvgPool2d`."""

    _function = F.adaptive_avg_pool1d


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """The means of so many parts of images ``(N, C, H, W)``, whatever their size; None leaves a dimension as
    it is.

    >>> import rushlight as torch
    >>> torch.nn.AdaptiveAvgPool2d((5, None))(torch.zeros(1, 64, 8, 9)).shape
    torch.Size([1, 64, 5, 9])
    """

    _function = F.adaptive_avg_pool2d


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """The means of so many parts of volumes ``(N, C, D, H, W)``; see `AdaptiveAvgPool2d`."""

    _function = F.adaptive_avg_pool3d


class _AdaptiveMaxPoolNd(_Pool):
    def __init__(self, output_size: Sizes, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        return type(self)._function(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        """The size."""
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """The greatest number of each of so many parts of lines ``(N, C, L)``; see `AdaptiveMaxPool2d`."""

    _function = F.adaptive_max_pool1d


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """The greatest number of each of so many parts of images ``(N, C, H, W)``.

    >>> import rushlight as torch
    >>> torch.nn.AdaptiveMaxPool2d(7)(torch.zeros(1, 64, 10, 9)).shape
    torch.Size([1, 64, 7, 7])
    """

    _function = F.adaptive_max_pool2d


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """The greatest number of each of so many parts of volumes ``(N, C, D, H, W)``."""

    _function = F.adaptive_max_pool3d
