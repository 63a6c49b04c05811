"""Convolutions as functions: `conv1d` to `conv_transpose3d`, `convolution`, `conv_tbc`.

Here arguments are made regular (`conv_checks` refuses what does not fit); `convolution` has the arithmetic.
Invariant: the ops get images with a batch, one number for each spatial dimension, and sizes that fit.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from rushlight.once import warn_once
from rushlight.ops.conv_checks import (
    check_fits,
    check_numbers,
    check_shapes,
    check_types,
    numbers,
    require_operands,
    times,
)
from rushlight.ops.convolution import convolve, transpose
from rushlight.ops.define import ArgumentError, labelled
from rushlight.ops.kinds import composite
from rushlight.ops.operands import type_of
from rushlight.ops.pad import pad
from rushlight.ops.samples import Sample, T
from rushlight.ops.sliding import Sliding
from rushlight.tensor import Tensor

Ints = int | Sequence[int]


# -- with a batch --------------------------------------------------------------------------------------------


def _convolved(input: Tensor, weight: Tensor, bias: Tensor | None, sliding: Sliding, groups: int) -> Tensor:
    """A convolution whose arguments are regular."""
    check_numbers(sliding, groups, (0,))
    check_shapes(input, weight, bias, groups, False)
    check_fits(input.shape[2:], sliding)
    check_types(input, weight, bias)
    if not sliding.elements:
        raise RuntimeError(f"the kernel has no elements: ({times(sliding.kernel)})")
    params = {**_how(sliding), "groups": groups}
    return convolve[bias is not None]((input, weight) if bias is None else (input, weight, bias), params)


def _transposed(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    sliding: Sliding,
    output_padding: tuple[int, ...],
    groups: int,
) -> Tensor:
    """A transposed convolution whose arguments are regular."""
    check_numbers(sliding, groups, output_padding)
    check_shapes(input, weight, bias, groups, True)
    check_types(input, weight, bias)
    pairs = zip(output_padding, sliding.stride, sliding.dilation, strict=True)
    if any(more >= max(step, apart) for more, step, apart in pairs):
        raise RuntimeError(
            "output padding must be smaller than either stride or dilation, but got output_padding: "
            f"{list(output_padding)}, stride: {list(sliding.stride)}, dilation: {list(sliding.dilation)}"
        )
    dims = zip(input.shape[2:], *sliding, output_padding, strict=True)
    size = tuple(
        (length - 1) * step - 2 * zeros + apart * (kernel - 1) + more + 1
        for length, kernel, step, zeros, apart, more in dims
    )
    if min(size) < 0:
        raise RuntimeError(
            f"Given input size per channel: ({times(input.shape[2:])}). Calculated output size per channel: "
            f"({times(size)}). Output size is too small"
        )
    params = {**_how(sliding), "groups": groups, "size": size}
    return transpose[bias is not None]((input, weight) if bias is None else (input, weight, bias), params)


def _how(sliding: Sliding) -> dict[str, Any]:
    return {"stride": sliding.stride, "padding": sliding.padding, "dilation": sliding.dilation}


def _batched(function: str, input: Tensor, dims: int) -> bool:
    """Whether an image has a batch."""
    if input.dim() not in (dims + 1, dims + 2):
        raise RuntimeError(
            f"Expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input to {function}, but got input "
            f"of size: {list(input.shape)}"
        )
    return input.dim() == dims + 2


def _zeros_on_both_sides(
    input: Tensor, kernel: Sequence[int], dilation: Sequence[int]
) -> tuple[Tensor, tuple[int, ...]]:
    """What ``padding="same"`` means: as many zeros on both sides, and an image that already has one more
    behind, where their number is odd.
    """
    zeros = [max(apart * (length - 1), 0) for length, apart in zip(kernel, dilation, strict=True)]
    if any(each % 2 for each in zeros):
        warn_once(
            "same padding",
            "Using padding='same' with even kernel lengths and odd dilation may require a zero-padded copy "
            "of the input be created",
            stacklevel=4,
        )
        input = pad(input, [each for count in reversed(zeros) for each in (0, count % 2)])
    return input, tuple(each // 2 for each in zeros)


def _conv(
    function: str,
    dims: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: str | Ints,
    dilation: Ints,
    groups: int,
) -> Tensor:
    require_operands(function, input, weight, bias)
    has_batch = _batched(function, input, dims)
    image = input if has_batch else input.unsqueeze(0)
    spatial = weight.dim() - 2
    steps, apart = (
        numbers(function, name, given, spatial)
        for name, given in (("stride", stride), ("dilation", dilation))
    )
    kernel = tuple(weight.shape[2:])
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise RuntimeError(f"Invalid padding string: '{padding}'")
        zeros: tuple[int, ...] = (0,) * spatial
        if padding == "same":
            if any(each != 1 for each in steps):
                raise RuntimeError("padding='same' is not supported for strided convolutions")
            check_shapes(image, weight, bias, max(groups, 1), False)
            image, zeros = _zeros_on_both_sides(image, kernel, apart)
    else:
        zeros = numbers(function, "padding", padding, spatial)
    made = _convolved(image, weight, bias, Sliding(kernel, steps, zeros, apart), operator.index(groups))
    return made if has_batch else made.squeeze(0)


def _conv_transpose(
    function: str,
    dims: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    output_padding: Ints,
    groups: int,
    dilation: Ints,
) -> Tensor:
    require_operands(function, input, weight, bias)
    has_batch = _batched(function, input, dims)
    spatial = weight.dim() - 2
    given = {"stride": stride, "padding": padding, "dilation": dilation, "output_padding": output_padding}
    steps, zeros, apart, more = (numbers(function, name, each, spatial) for name, each in given.items())
    sliding = Sliding(tuple(weight.shape[2:]), steps, zeros, apart)
    image = input if has_batch else input.unsqueeze(0)
    made = _transposed(image, weight, bias, sliding, more, operator.index(groups))
    return made if has_batch else made.squeeze(0)


# -- the functions -------------------------------------------------------------------------------------------


def _samples(*sizes: int) -> list[Sample]:
    """Samples for images of these spatial sizes, with kernels of 2 and 3, and a batch of seven."""
    kernel = (3, 2, 2)[: len(sizes)]
    weight, bias = T((4, 2, *kernel)), T((4,))
    found = [
        Sample([T((7, 2, *sizes)), weight, bias]),
        Sample([T((1, *sizes)), T((4, 1, *kernel)), None, 2, 1]),
        Sample([T((7, 2, *sizes)), T((4, 2, *[3] * len(sizes))), bias], {"padding": "same"}),
        Sample(
            [T((7, 4, 6, *sizes[1:]), "float64"), T((4, 2, *kernel), "float64")], {"groups": 2, "dilation": 2}
        ),
        Sample(
            [T((7, 2, *sizes), layout="transposed"), T((4, 2, *kernel), layout="noncontiguous")],
            tolerance=1e-4,
        ),
        Sample([T((0, 2, *sizes)), weight, bias]),
        Sample([T((7, 3, *sizes)), weight], raises=True),
        Sample([T((7, 2, *sizes)), weight, T((3,))], raises=True),
        Sample([T((7, 2, *sizes)), weight, bias, 0], raises=True),
        Sample([T((7, 2, *sizes)), T((4, 2, *[each + 1 for each in sizes]))], raises=True),
        Sample([T((2,)), weight], raises=True),
    ]
    return found


def _transposed_samples(*sizes: int) -> list[Sample]:
    kernel = (3, 2, 2)[: len(sizes)]
    weight, bias = T((4, 2, *kernel)), T((2,))
    return [
        Sample([T((7, 4, *sizes)), weight, bias]),
        Sample([T((1, *sizes)), T((1, 2, *kernel)), None, 2, 1, 1]),
        Sample([T((7, 4, *sizes), "float64"), T((4, 2, *kernel), "float64")], {"groups": 2, "dilation": 2}),
        Sample([T((0, 4, *sizes)), weight, bias]),
        Sample([T((7, 3, *sizes)), weight], raises=True),
        Sample([T((7, 4, *sizes)), weight, bias, 1, 0, -1], raises=True),
        Sample([T((7, 4, *sizes)), weight, T((3,))], raises=True),
    ]


@composite(samples=lambda: _samples(5), method=False)
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Ints = 1,
    padding: str | Ints = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> Tensor:
    """Slide kernels along lines of numbers: ``(N, C, L)`` and ``(O, C / groups, K)`` to ``(N, O, L')``.

    Without a batch, ``(C, L)`` to ``(O, L')``. `padding` is how many zeros are put at both ends, or "same",
    as many as keep the length, or "valid", none. Raises RuntimeError where sizes or types do not fit.

    >>> import rushlight as torch
    >>> torch.conv1d(torch.tensor([[1.0, 2.0, 4.0, 8.0]]), torch.tensor([[[-1.0, 1.0]]]))
    tensor([[1., 2., 4.]])
    """
    return _conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@composite(samples=lambda: _samples(5, 4), method=False)
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Ints = 1,
    padding: str | Ints = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> Tensor:
    """Slide kernels over images: ``(N, C, H, W)`` and ``(O, C / groups, KH, KW)`` to ``(N, O, H', W')``.

    As `conv1d`, in two dimensions.

    >>> import rushlight as torch
    >>> torch.conv2d(torch.ones(1, 3, 28, 28), torch.ones(8, 3, 5, 5), stride=2, padding=2).shape
    torch.Size([1, 8, 14, 14])
    """
    return _conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@composite(samples=lambda: _samples(4, 3, 3), method=False)
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Ints = 1,
    padding: str | Ints = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> Tensor:
    """Slide kernels through volumes or films: ``(N, C, D, H, W)`` and ``(O, C / groups, KD, KH, KW)``.

    As `conv1d`, in three dimensions.

    >>> import rushlight as torch
    >>> torch.conv3d(torch.ones(1, 3, 8, 8, 8), torch.ones(2, 3, 3, 3, 3)).shape
    torch.Size([1, 2, 6, 6, 6])
    """
    return _conv("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


@composite(samples=lambda: _transposed_samples(4), method=False)
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Ints = 1,
    padding: Ints = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
) -> Tensor:
    """The gradient of `conv1d` with respect to its input, as a function: from few numbers to more.

    ``(N, C, L)`` and ``(C, O / groups, K)`` to ``(N, O, (L - 1) * stride - 2 * padding + dilation * (K - 1) +
    output_padding + 1)``. Raises RuntimeError where sizes or types do not fit.

    >>> import rushlight as torch
    >>> torch.conv_transpose1d(torch.tensor([[1.0, 10.0]]), torch.tensor([[[1.0, 2.0]]]), stride=2)
    tensor([[ 1.,  2., 10., 20.]])
    """
    given = (stride, padding, output_padding, groups, dilation)
    return _conv_transpose("conv_transpose1d", 1, input, weight, bias, *given)


@composite(samples=lambda: _transposed_samples(3, 4), method=False)
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Ints = 1,
    padding: Ints = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
) -> Tensor:
    """The gradient of `conv2d` with respect to its input: ``(N, C, H, W)`` and ``(C, O / groups, KH, KW)``.

    >>> import rushlight as torch
    >>> torch.conv_transpose2d(torch.ones(1, 8, 7, 7), torch.ones(8, 3, 4, 4), stride=2, padding=1).shape
    torch.Size([1, 3, 14, 14])
    """
    given = (stride, padding, output_padding, groups, dilation)
    return _conv_transpose("conv_transpose2d", 2, input, weight, bias, *given)


@composite(samples=lambda: _transposed_samples(2, 3, 2), method=False)
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Ints = 1,
    padding: Ints = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
) -> Tensor:
    """The gradient of `conv3d` with respect to its input.

    >>> import rushlight as torch
    >>> torch.conv_transpose3d(torch.ones(1, 2, 3, 3, 3), torch.ones(2, 4, 2, 2, 2)).shape
    torch.Size([1, 4, 4, 4, 4])
    """
    given = (stride, padding, output_padding, groups, dilation)
    return _conv_transpose("conv_transpose3d", 3, input, weight, bias, *given)


def _convolution_samples() -> list[Sample]:
    image, ones, zeros = T((7, 3, 5, 4)), [1, 1], [0, 0]
    return [
        Sample([image, T((4, 3, 2, 2)), T((4,)), ones, [1, 0], ones, False, zeros, 1]),
        Sample([image, T((3, 4, 2, 2)), None, [2, 2], zeros, ones, True, ones, 1]),
        Sample([image, T((4, 2, 2, 2)), None, ones, zeros, ones, False, zeros, 1], raises=True),
    ]


@composite(samples=_convolution_samples, method=False)
def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """What `conv1d` to `conv_transpose3d` have in common: nothing is left out, and images have a batch.

    >>> import rushlight as torch
    >>> image, weight = torch.ones(1, 1, 4), torch.ones(1, 1, 2)
    >>> torch.convolution(image, weight, None, [1], [0], [1], False, [0], 1)
    tensor([[[2., 2., 2.]]])
    """
    require_operands("convolution", input, weight, bias)
    dims = weight.dim() - 2
    given = {"stride": stride, "padding": padding, "dilation": dilation, "output_padding": output_padding}
    for place, (name, each) in zip((4, 5, 6, 8), given.items(), strict=True):
        if not isinstance(each, (tuple, list)):
            raise ArgumentError(
                f"convolution(): argument '{name}' (position {place}) must be tuple of ints, not "
                f"{type_of(each)}"
            )
    steps, zeros, apart, more = (numbers("convolution", name, each, dims) for name, each in given.items())
    sliding = Sliding(tuple(weight.shape[2:]), steps, zeros, apart)
    if transposed:
        return _transposed(input, weight, bias, sliding, more, groups)
    return _convolved(input, weight, bias, sliding, groups)


@composite(
    samples=lambda: [
        Sample([T((5, 2, 3)), T((3, 3, 4)), T((4,))]),
        Sample([T((1, 7, 3)), T((3, 3, 4)), T((4,)), 1]),
    ],
    method=False,
)
def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """`conv1d` for ``(time, batch, channels)``, with a weight ``(K, C, O)``.

    >>> import rushlight as torch
    >>> torch.conv_tbc(torch.ones(5, 2, 3), torch.ones(2, 3, 4), torch.zeros(4)).shape
    torch.Size([4, 2, 4])
    """
    if input.dim() != 3:
        raise RuntimeError("Input must have 3 dims: time, batch, in_channel")
    if weight.dim() != 3:
        raise RuntimeError("Weight tensor must have 3 dims: kernel_width, in_channels, out_channels.")
    if bias.dim() != 1:
        raise RuntimeError("Bias must be 1-D")
    if input.shape[2] != weight.shape[1]:
        raise RuntimeError("Input dim 2 (input channels) is not == dim 1 in the weight tensor")
    if weight.shape[2] != bias.shape[0]:
        raise RuntimeError("Bias size must equal dim 2 in the weight tensor (output channels).")
    made = conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, 1, pad)
    return labelled(made.permute(2, 0, 1).contiguous(), "ConvTbcBackward0")
