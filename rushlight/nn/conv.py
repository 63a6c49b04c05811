"""Convolution layers: Conv and ConvTranspose for 1, 2 and 3 dimensions.

A layer holds the weight, the bias and the settings; the computation is `functional`'s. Their lazy forms are
in `lazy_conv.py`. The invariant: initial weights are drawn weight first, then bias, as in PyTorch, so that a
seed gives its values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from rushlight.nn import functional as F
from rushlight.nn import init
from rushlight.nn.module import Module
from rushlight.nn.parameter import Parameter
from rushlight.ops.create import empty
from rushlight.tensor import Tensor

Lengths = int | tuple[int, ...]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def _each_dim(value: Any, dims: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, Iterable) else (value,) * dims


class _ConvNd(Module):
    """What all convolutions have in common."""

    __constants__ = [
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
            if padding == "same" and any(step != 1 for step in stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if padding_mode not in _PADDING_MODES:
            raise ValueError(
                "padding_mode must be one of {'zeros', 'reflect', 'replicate', 'circular'}, but got "
                f"padding_mode='{padding_mode}'"
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
        self._reversed_padding_repeated_twice = self._pads()
        channels = (in_channels, out_channels) if transposed else (out_channels, in_channels)
        shape = (channels[0], channels[1] // groups, *kernel_size)
        self.weight = Parameter(empty(shape, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _pads(self) -> Sequence[int]:
        """What `functional.pad` pads with, from the last dimension on: before and after."""
        if not isinstance(self.padding, str):
            return tuple(pad for pad in reversed(self.padding) for _ in range(2))
        pads = [0, 0] * len(self.kernel_size)
        if self.padding == "same":
            for dim, (gap, size) in enumerate(zip(self.dilation, self.kernel_size, strict=False)):
                total, at = gap * (size - 1), 2 * (len(self.kernel_size) - 1 - dim)
                pads[at : at + 2] = total // 2, total - total // 2
        return pads

    def reset_parameters(self) -> None:
        """Draw the weight and the bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in != 0:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def _padded(self, input: Tensor) -> tuple[Tensor, Any]:
        """The input, padded here where zeros are not wanted, and the padding that is left to do."""
        if self.padding_mode == "zeros":
            return input, self.padding
        padded = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
        return padded, (0,) * len(self.kernel_size)

    def extra_repr(self) -> str:
        """The settings that are not the usual ones."""
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        ]
        usual = {
            "padding": (0,) * len(self.padding),
            "dilation": (1,) * len(self.dilation),
            "output_padding": (0,) * len(self.output_padding),
            "groups": 1,
        }
        parts += [f"{name}={getattr(self, name)}" for name in usual if getattr(self, name) != usual[name]]
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)

    def _expected_input(self) -> str:
        return f"{self.in_channels} channels before {len(self.kernel_size)} spatial dimensions"


class _Conv(_ConvNd):
    """The constructor that Conv1d, Conv2d and Conv3d share."""

    dims: int

    def __init__(
        self,
        in_channels: int,
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
        super().__init__(
            in_channels,
            out_channels,
            _each_dim(kernel_size, self.dims),
            _each_dim(stride, self.dims),
            padding if isinstance(padding, str) else _each_dim(padding, self.dims),
            _each_dim(dilation, self.dims),
            False,
            (0,) * self.dims,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        input, padding = self._padded(input)
        function = (F.conv1d, F.conv2d, F.conv3d)[self.dims - 1]
        return function(input, weight, bias, self.stride, padding, self.dilation, self.groups)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)


class Conv1d(_Conv):
    """A kernel moved along sequences: ``(N, C, L)`` to ``(N, out_channels, L')``; see `Conv2d`.

    >>> import rushlight as torch
    >>> torch.nn.Conv1d(16, 33, 3, stride=2)(torch.zeros(20, 16, 50)).shape
    torch.Size([20, 33, 24])
    """

    dims = 1


class Conv2d(_Conv):
    """A kernel moved over images: ``(N, C, H, W)`` to ``(N, out_channels, H', W')``, or both without N.

    ``weight`` has shape ``(out_channels, in_channels / groups, *kernel_size)``; it and ``bias`` are drawn
    evenly from ``-1 / sqrt(n)`` to ``1 / sqrt(n)``, where n is the number of inputs of an output. The other
    settings are those of `functional.conv2d`; ``padding_mode`` says what the padding is filled with.

    >>> import rushlight as torch
    >>> torch.nn.Conv2d(1, 16, 3, stride=2, padding=1)(torch.zeros(64, 1, 28, 28)).shape
    torch.Size([64, 16, 14, 14])
    """

    dims = 2


class Conv3d(_Conv):
    """A kernel moved through volumes: ``(N, C, D, H, W)`` to ``(N, out_channels, D', H', W')``; see `Conv2d`.

    >>> import rushlight as torch
    >>> torch.nn.Conv3d(2, 4, (2, 3, 3))(torch.zeros(5, 2, 4, 6, 6)).shape
    torch.Size([5, 4, 3, 4, 4])
    """

    dims = 3


class _ConvTransposeNd(_ConvNd):
    """The constructor and the forward that the transposed convolutions share."""

    dims: int

    def __init__(
        self,
        in_channels: int,
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
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        super().__init__(
            in_channels,
            out_channels,
            _each_dim(kernel_size, self.dims),
            _each_dim(stride, self.dims),
            _each_dim(padding, self.dims),
            _each_dim(dilation, self.dims),
            True,
            _each_dim(output_padding, self.dims),
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _missing(self, input: Tensor, output_size: Sequence[int]) -> list[int]:
        """The output padding that makes the output as large as is asked for."""
        dims, batched = self.dims, input.ndim == self.dims + 2
        wanted = list(output_size)
        if len(wanted) == input.ndim:
            wanted = wanted[-dims:]
        if len(wanted) != dims:
            raise ValueError(
                f"ConvTranspose{dims}D: for {input.ndim}D input, output_size must have {dims} or "
                f"{dims + 1 + batched} elements (got {len(output_size)})"
            )
        sizes = input.shape[-dims:]
        least = [
            (size - 1) * step - 2 * pad + gap * (length - 1) + 1
            for size, step, pad, gap, length in zip(
                sizes, self.stride, self._numbers(), self.dilation, self.kernel_size, strict=False
            )
        ]
        most = [low + step - 1 for low, step in zip(least, self.stride, strict=False)]
        if not all(low <= size <= high for low, size, high in zip(least, wanted, most, strict=True)):
            raise ValueError(
                f"requested an output size of {output_size}, but valid sizes range from {least} to {most} "
                f"(for an input of {input.shape[2:]})"
            )
        return [size - low for size, low in zip(wanted, least, strict=True)]

    def _numbers(self) -> tuple[int, ...]:
        if isinstance(self.padding, str):
            raise TypeError("padding of a transposed convolution must be numbers")
        return self.padding

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        extra = self.output_padding if output_size is None else self._missing(input, output_size)
        function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[self.dims - 1]
        padding, bias = self._numbers(), self.bias
        return function(input, self.weight, bias, self.stride, padding, extra, self.groups, self.dilation)


class ConvTranspose1d(_ConvTransposeNd):
    """The transpose of `Conv1d`: ``(N, C, L)`` to ``(N, out_channels, L')``; see `ConvTranspose2d`.

    >>> import rushlight as torch
    >>> torch.nn.ConvTranspose1d(16, 33, 3, stride=2)(torch.zeros(20, 16, 24)).shape
    torch.Size([20, 33, 49])
    """

    dims = 1


class ConvTranspose2d(_ConvTransposeNd):
    """The transpose of `Conv2d`, which spreads out: ``(N, C, H, W)`` to ``(N, out_channels, H', W')``.

    ``weight`` has shape ``(in_channels, out_channels / groups, *kernel_size)``. Several sizes of an input of
    a Conv2d give the same size of output; ``output_size`` in the call says which of them is meant.

    >>> import rushlight as torch
    >>> layer = torch.nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1)
    >>> layer(torch.zeros(1, 16, 6, 6), output_size=[12, 12]).shape
    torch.Size([1, 8, 12, 12])
    """

    dims = 2


class ConvTranspose3d(_ConvTransposeNd):
    """The transpose of `Conv3d`: ``(N, C, D, H, W)`` to ``(N, out_channels, D', H', W')``.

    >>> import rushlight as torch
    >>> torch.nn.ConvTranspose3d(2, 4, 2, stride=2)(torch.zeros(5, 2, 3, 3, 3)).shape
    torch.Size([5, 4, 6, 6, 6])
    """

    dims = 3
