"""Convolutional layers, for one, two and three spatial dimensions, their transposed and their lazy forms.

A layer keeps a kernel and a bias; `nn.functional.conv2d` and its siblings do the work. Invariant: weights are
drawn before the bias, both evenly from ``-1 / sqrt(n)`` to ``1 / sqrt(n)``, where each element of the result
is a sum of n products, so that a seed gives PyTorch's values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rushlight.autograd import no_grad
from rushlight.nn import functional as F
from rushlight.nn import init
from rushlight.nn.lazy import LazyModuleMixin
from rushlight.nn.module import Module
from rushlight.nn.parameter import Parameter, UninitializedParameter
from rushlight.ops.create import empty
from rushlight.tensor import Tensor

Ints = int | Sequence[int]

_MODES = ("zeros", "reflect", "replicate", "circular")


def _each(dims: int, given: Any) -> tuple[Any, ...]:
    """One setting for each dimension; a list is taken as it is."""
    return tuple(given) if isinstance(given, (tuple, list)) else (given,) * dims


class _ConvNd(Module):
    """What all of them have in common. ``weight`` is ``(out_channels, in_channels / groups, *kernel_size)``,
    or with the first two exchanged where the layer is ``transposed``.
    """

    __constants__: ClassVar[list[str]] = [
        "stride",
        "padding",
        "dilation",
        "groups",
        "padding_mode",
        "output_padding",
        "in_channels",
        "out_channels",
        "kernel_size",
    ]

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...],
        padding: str | tuple[int, ...],
        dilation: tuple[int, ...],
        transposed: bool,
        output_padding: tuple[int, ...],
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups:
            raise ValueError("out_channels must be divisible by groups")
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"Invalid padding string {padding!r}, should be one of {{'same', 'valid'}}")
            if padding == "same" and any(each != 1 for each in stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if padding_mode not in _MODES:
            allowed = ", ".join(map(repr, _MODES))
            raise ValueError(
                f"padding_mode must be one of {{{allowed}}}, but got padding_mode='{padding_mode}'"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.transposed = transposed
        self.output_padding = output_padding
        self.groups = groups
        self.padding_mode = padding_mode
        # What F.pad takes for the modes that are not zeros: before and after, from the last dimension on.
        self._reversed_padding_repeated_twice = _on_both_sides(kernel_size, padding, dilation)
        self._make_parameters(bias, device, dtype)

    def _make_parameters(self, bias: bool, device: Any, dtype: Any) -> None:
        self.weight = Parameter(empty(self._weight_shape(), device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(self.out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _weight_shape(self) -> tuple[int, ...]:
        """The shape that the channels call for."""
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        return (first, second // self.groups, *self.kernel_size)

    def reset_parameters(self) -> None:
        """Draw the weight and the bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = math.prod(self.weight.shape[1:])
            if fan_in:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        """The settings that differ from the usual ones."""
        parts = [f"{self.in_channels}, {self.out_channels}"]
        parts += [f"kernel_size={self.kernel_size}, stride={self.stride}"]
        dims = len(self.kernel_size)
        if self.padding != (0,) * dims:
            parts.append(f"padding={self.padding}")
        if self.dilation != (1,) * dims:
            parts.append(f"dilation={self.dilation}")
        if self.output_padding != (0,) * dims:
            parts.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)

    def _expected_input(self) -> str:
        return f"{self.in_channels} channels"


def _on_both_sides(
    kernel_size: Sequence[int], padding: str | Sequence[int], dilation: Sequence[int]
) -> list[int]:
    if not isinstance(padding, str):
        return [each for zeros in reversed(padding) for each in (zeros, zeros)]
    if padding == "valid":
        return [0] * (2 * len(kernel_size))
    totals = [apart * (length - 1) for length, apart in zip(kernel_size, dilation, strict=True)]
    return [each for total in reversed(totals) for each in (total // 2, total - total // 2)]


class _Conv(_ConvNd):
    """A convolution: `_dims` says in how many dimensions, `_function` what does it."""

    _dims: ClassVar[int]
    _function: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Ints,
        stride: Ints = 1,
        padding: str | Ints = 0,
        dilation: Ints = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        dims = self._dims
        super().__init__(
            in_channels,
            out_channels,
            _each(dims, kernel_size),
            _each(dims, stride),
            padding if isinstance(padding, str) else _each(dims, padding),
            _each(dims, dilation),
            False,
            (0,) * dims,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = (0,) * self._dims
        return type(self)._function(input, weight, bias, self.stride, padding, self.dilation, self.groups)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)


class Conv1d(_Conv):
    """Kernels that slide along lines: ``(N, C, L)`` or ``(C, L)`` to ``(N, O, L')`` or ``(O, L')``.

    Args:
        in_channels, out_channels: C and O.
        kernel_size: how many neighbours a kernel covers.
        stride: how far it goes at a time.
        padding: how much is put at both ends; "same" is as much as keeps the length, "valid" nothing.
        dilation: how far apart the neighbours are.
        groups: parts of the channels that have nothing to do with each other.
        bias: whether there is one for each output channel.
        padding_mode: "zeros", or as in `nn.functional.pad` "reflect", "replicate" or "circular".

    >>> import rushlight as torch
    >>> layer = torch.nn.Conv1d(16, 33, 3, stride=2)
    >>> layer(torch.zeros(20, 16, 50)).shape
    torch.Size([20, 33, 24])
    """

    _dims, _function = 1, F.conv1d


class Conv2d(_Conv):
    """Kernels that slide over images: ``(N, C, H, W)`` to ``(N, O, H', W')``. The arguments are `Conv1d`'s,
    each a number or one for each dimension.

    >>> import rushlight as torch
    >>> layer = torch.nn.Conv2d(1, 16, kernel_size=3, stride=2, padding=1)
    >>> layer(torch.zeros(64, 1, 28, 28)).shape
    torch.Size([64, 16, 14, 14])
    """

    _dims, _function = 2, F.conv2d


class Conv3d(_Conv):
    """Kernels that slide through volumes: ``(N, C, D, H, W)`` to ``(N, O, D', H', W')``; as `Conv1d`.

    >>> import rushlight as torch
    >>> torch.nn.Conv3d(3, 4, (3, 5, 2))(torch.zeros(2, 3, 8, 8, 8)).shape
    torch.Size([2, 4, 6, 4, 7])
    """

    _dims, _function = 3, F.conv3d


class _ConvTransposeNd(_ConvNd):
    """A transposed convolution, which makes larger images of smaller ones, as the gradient of a convolution
    does.
    """

    _dims: ClassVar[int]
    _function: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Ints,
        stride: Ints = 1,
        padding: Ints = 0,
        output_padding: Ints = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Ints = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        numbers = (kernel_size, stride, padding, dilation, output_padding)
        kernel, steps, zeros, apart, more = (_each(self._dims, each) for each in numbers)
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            steps,
            zeros,
            apart,
            True,
            more,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """The image; `output_size` chooses among the sizes that a convolution would make this input of."""
        more = self.output_padding if output_size is None else self._output_padding(input, output_size)
        given = (self.stride, self.padding, more, self.groups, self.dilation)
        return type(self)._function(input, self.weight, self.bias, *given)

    def _output_padding(self, input: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """What has to be added for this size; ValueError if there is no such thing."""
        dims, name = self._dims, type(self).__name__
        without = input.dim() - dims
        wanted = output_size[without:] if len(output_size) == dims + without else output_size
        if len(wanted) != dims:
            raise ValueError(
                f"ConvTranspose{dims}D: for {input.dim()}D input, output_size must have {dims} or "
                f"{dims + without} elements (got {len(output_size)})"
            )
        assert not isinstance(self.padding, str), f"{name} has numbers for padding"
        sizes = zip(
            input.shape[without:], self.stride, self.padding, self.dilation, self.kernel_size, strict=True
        )
        least = [(n - 1) * step - 2 * zeros + apart * (k - 1) + 1 for n, step, zeros, apart, k in sizes]
        most = [low + step - 1 for low, step in zip(least, self.stride, strict=True)]
        if any(not low <= each <= high for low, each, high in zip(least, wanted, most, strict=True)):
            raise ValueError(
                f"requested an output size of {output_size}, but valid sizes range from {least} to {most} "
                f"(for an input of {input.shape[without:]})"
            )
        return tuple(each - low for low, each in zip(least, wanted, strict=True))


class ConvTranspose1d(_ConvTransposeNd):
    """From ``(N, C, L)`` to ``(N, O, (L - 1) * stride - 2 * padding + dilation * (kernel_size - 1) +
    output_padding + 1)``; the arguments are those of `Conv1d`, in another order.

    >>> import rushlight as torch
    >>> torch.nn.ConvTranspose1d(4, 2, 3, stride=2)(torch.zeros(1, 4, 5)).shape
    torch.Size([1, 2, 11])
    """

    _dims, _function = 1, F.conv_transpose1d


class ConvTranspose2d(_ConvTransposeNd):
    """From small images to larger ones; see `ConvTranspose1d`.

    >>> import rushlight as torch
    >>> layer = torch.nn.ConvTranspose2d(16, 3, 4, stride=2, padding=1)
    >>> layer(torch.zeros(1, 16, 14, 14)).shape
    torch.Size([1, 3, 28, 28])
    >>> layer(torch.zeros(1, 16, 14, 14), output_size=(29, 29)).shape
    torch.Size([1, 3, 29, 29])
    """

    _dims, _function = 2, F.conv_transpose2d


class ConvTranspose3d(_ConvTransposeNd):
    """From small volumes to larger ones; see `ConvTranspose1d`.

    >>> import rushlight as torch
    >>> torch.nn.ConvTranspose3d(2, 3, 2)(torch.zeros(1, 2, 3, 3, 3)).shape
    torch.Size([1, 3, 4, 4, 4])
    """

    _dims, _function = 3, F.conv_transpose3d


class _LazyConvMixin(LazyModuleMixin):
    """Put before a convolution, makes it learn ``in_channels`` from its first input."""

    in_channels: int
    out_channels: int
    groups: int
    weight: UninitializedParameter
    bias: UninitializedParameter | None
    _dims: ClassVar[int]
    _weight_shape: Callable[[], tuple[int, ...]]

    def _make_parameters(self, bias: bool, device: Any, dtype: Any) -> None:
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)
        else:
            self.register_parameter("bias", None)

    def reset_parameters(self) -> None:
        """Draw the weight and the bias, if their shapes are known."""
        if not self.has_uninitialized_params() and self.in_channels != 0:
            super().reset_parameters()  # type: ignore[misc]

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        """Give the parameters the shapes that ``input`` calls for."""
        if not self.has_uninitialized_params():
            return
        if input.dim() not in (self._dims + 1, self._dims + 2):
            raise RuntimeError(
                f"Expected {self._dims + 1}D (unbatched) or {self._dims + 2}D (batched) input to "
                f"{type(self).__name__}, but got input of size: {input.shape}"
            )
        self.in_channels = input.shape[-self._dims - 1]
        if self.in_channels % self.groups:
            raise ValueError("in_channels must be divisible by groups")
        with no_grad():
            self.weight.materialize(self._weight_shape())
            if self.bias is not None:
                self.bias.materialize((self.out_channels,))
            self.reset_parameters()


class _LazyConv(_LazyConvMixin):
    """The arguments of lazy convolutions."""

    def __init__(
        self,
        out_channels: int,
        kernel_size: Ints,
        stride: Ints = 1,
        padding: str | Ints = 0,
        dilation: Ints = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        given = (kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype)
        super().__init__(0, out_channels, *given)


class _LazyConvTranspose(_LazyConvMixin):
    """The arguments of lazy transposed convolutions."""

    def __init__(
        self,
        out_channels: int,
        kernel_size: Ints,
        stride: Ints = 1,
        padding: Ints = 0,
        output_padding: Ints = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Ints = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        shape = (kernel_size, stride, padding, output_padding, groups, bias, dilation)
        super().__init__(0, out_channels, *shape, padding_mode, device, dtype)


class LazyConv1d(_LazyConv, Conv1d):  # type: ignore[misc]
    """A Conv1d that learns ``in_channels`` from its first input, and is a plain one from then on."""

    cls_to_become = Conv1d


class LazyConv2d(_LazyConv, Conv2d):  # type: ignore[misc]
    """A Conv2d that learns ``in_channels`` from its first input, and is a plain one from then on.

    >>> import rushlight as torch
    >>> layer = torch.nn.LazyConv2d(8, 3)
    >>> output = layer(torch.zeros(1, 3, 28, 28))
    >>> layer
    Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
    """

    cls_to_become = Conv2d


class LazyConv3d(_LazyConv, Conv3d):  # type: ignore[misc]
    """A Conv3d that learns ``in_channels`` from its first input, and is a plain one from then on."""

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConvTranspose, ConvTranspose1d):  # type: ignore[misc]
    """A ConvTranspose1d that learns ``in_channels`` from its first input, and is a plain one from then on."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTranspose, ConvTranspose2d):  # type: ignore[misc]
    """A ConvTranspose2d that learns ``in_channels`` from its first input, and is a plain one from then on.

    >>> import rushlight as torch
    >>> layer = torch.nn.LazyConvTranspose2d(8, 2, stride=2)
    >>> layer(torch.zeros(1, 3, 14, 14)).shape
    torch.Size([1, 8, 28, 28])
    """

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTranspose, ConvTranspose3d):  # type: ignore[misc]
    """A ConvTranspose3d that learns ``in_channels`` from its first input, and is a plain one from then on."""

    cls_to_become = ConvTranspose3d
