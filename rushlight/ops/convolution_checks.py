"""What the arguments of a convolution must be, in PyTorch's words and in the order in which it looks.

Nothing is computed here but the numbers that say how a kernel moves. Invariant: what passes these checks has
a result, whose spatial lengths are known.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from rushlight.ops.columns import Ints, Steps
from rushlight.ops.operands import C_NAMES, TITLES, ArgumentError, type_of
from rushlight.tensor import Tensor


class NoSignature(Exception):
    """No signature of the function takes these arguments; `naming_what_it_got` says which they were."""


def naming_what_it_got(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with PyTorch's error about the types of all arguments instead of `NoSignature`."""

    @functools.wraps(function)
    def named(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except NoSignature:
            kinds = [_kind(each) for each in args]
            kinds += [f"{argument}={_kind(each)}" for argument, each in kwargs.items()]
        takes = [
            "Tensor input, Tensor weight, Tensor bias = None, tuple of ints stride = 1, "
            f"{padding}, tuple of ints dilation = 1, int groups = 1"
            for padding in ("tuple of ints padding = 0", 'str padding = "valid"')
        ]
        raise ArgumentError(
            f"{function.__name__}() received an invalid combination of arguments - got ({', '.join(kinds)}), "
            f"but expected one of:\n * ({takes[0]})\n * ({takes[1]})\n"
        )

    return named


def _kind(value: Any) -> str:
    return "Tensor" if type(value) is Tensor else type_of(value)


def is_index(value: Any) -> bool:
    """Whether PyTorch takes a value for a whole number."""
    return hasattr(value, "__index__") and not isinstance(value, bool)


def as_ints(value: Any, dims: int) -> Ints | None:
    """A number for every dimension, or the numbers of a list; None where it is neither."""
    if isinstance(value, (tuple, list)):
        return tuple(each.__index__() for each in value) if all(map(is_index, value)) else None
    return (value.__index__(),) * dims if is_index(value) else None


def for_each_dim(argument: str, given: Ints, dims: int) -> Ints:
    """One number for each spatial dimension of the weight."""
    if len(given) == 1:
        return given * dims
    if len(given) != dims:
        raise RuntimeError(
            f"expected {argument} to be a single integer value or a list of {dims} values to match the "
            f"convolution dimensions, but got {argument}={list(given)}"
        )
    return given


def check_signs(how: Steps, output_padding: Sequence[int]) -> None:
    """Strides and gaps are positive, paddings at least zero."""
    for title, numbers, least in (
        ("negative padding", how.padding, 0),
        ("negative output_padding", output_padding, 0),
        ("non-positive stride", how.stride, 1),
        ("non-positive dilation", how.dilation, 1),
    ):
        if any(each < least for each in numbers):
            raise RuntimeError(f"{title} is not supported")


def check_shapes(input: Tensor, weight: Tensor, bias: Tensor | None, how: Steps, transposed: bool) -> None:
    """Channels, groups, bias and kernel fit each other."""
    shape, sizes, groups = list(input._array.shape), list(weight._array.shape), how.groups
    if len(shape) != len(sizes):
        raise RuntimeError(
            f"Expected {len(sizes)}-dimensional input for {len(sizes)}-dimensional weight {sizes}, but got "
            f"{len(shape)}-dimensional input of size {shape} instead"
        )
    if sizes[0] < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight "
            f"of size {sizes} instead"
        )
    if sizes[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got "
            f"weight of size [{sizes}] instead"
        )
    about = f"transposed={int(transposed)}" if transposed else f"groups={groups}"
    channels = sizes[0] if transposed else sizes[1] * groups
    outputs = sizes[1] * groups if transposed else sizes[0]
    if shape[1] != channels:
        raise RuntimeError(
            f"Given {about}, weight of size {sizes}, expected input{shape} to have {channels} channels, but "
            f"got {shape[1]} channels instead"
        )
    if bias is not None and bias._array.shape != (outputs,):
        raise RuntimeError(
            f"Given {'transposed=1, ' if transposed else ''}weight of size {sizes}, expected bias to be "
            f"1-dimensional with {outputs} elements, but got bias of size {list(bias._array.shape)} instead"
        )
    if 0 in sizes[2:]:
        raise RuntimeError(
            "could not create a primitive descriptor for the convolution forward propagation primitive: the "
            f"kernel of weight {sizes} is empty"
        )
    if not transposed:
        _check_kernel(shape[2:], sizes[2:], how)


def _check_kernel(spatial: list[int], kernel: list[int], how: Steps) -> None:
    room = [length + 2 * pad for length, pad in zip(spatial, how.padding, strict=True)]
    need = [gap * (size - 1) + 1 for size, gap in zip(kernel, how.dilation, strict=True)]
    if any(more > length for more, length in zip(need, room, strict=True)):
        raise RuntimeError(
            f"Calculated padded input size per channel: ({_times(room)}). Kernel size: ({_times(need)}). "
            "Kernel size can't be greater than actual input size"
        )


def _times(numbers: Sequence[int]) -> str:
    return " x ".join(map(str, numbers))


def transposed_spatial(input: Tensor, weight: Tensor, how: Steps, output_padding: Ints) -> Ints:
    """The spatial lengths of what a transposed convolution gives."""
    spatial, kernel = input._array.shape[2:], weight._array.shape[2:]
    if 0 in spatial:
        raise RuntimeError(
            "Only zero batch or zero channel inputs are supported, but got input shape: "
            f"{list(input._array.shape)}"
        )
    more = zip(output_padding, how.stride, how.dilation, strict=True)
    if any(extra >= step and extra >= gap for extra, step, gap in more):
        raise RuntimeError(
            "output padding must be smaller than either stride or dilation, but got "
            + _told(output_padding, how)
        )
    steps = zip(spatial, kernel, how.stride, how.padding, how.dilation, output_padding, strict=True)
    found = tuple(
        (length - 1) * step - 2 * pad + gap * (size - 1) + 1 + extra
        for length, size, step, pad, gap, extra in steps
    )
    if any(length < 0 for length in found):
        raise RuntimeError(
            f"Given input size per channel: ({_times(spatial)}). Calculated output size per channel: "
            f"({_times(found)}). Output size is too small"
        )
    return found


def _told(output_padding: Ints, how: Steps) -> str:
    """The settings of each dimension by name; PyTorch takes one dimension for the second of two."""
    names = ("depth", "height", "width") if len(output_padding) == 3 else ("height", "width")
    rows = (("output_padding", output_padding, 0), ("stride", how.stride, 1), ("dilation", how.dilation, 1))
    return " ".join(
        f"{title}_{name}: {number}"
        for title, numbers, default in rows
        for name, number in zip(names, (default,) * (len(names) - len(numbers)) + numbers, strict=True)
    )


def check_dtypes(input: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool) -> None:
    """All three have one type, and it is not bool."""
    kind = input._array.dtype
    for title, other in (("weight", weight), ("bias", bias)):
        if other is None or other._array.dtype == kind:
            continue
        if kind.name == "float32":
            raise RuntimeError(
                f"Input type ({input.type()}) and {title} type ({other.type()}) should be the same or input "
                f"should be a MKLDNN tensor and {title} is a dense tensor"
            )
        found = TITLES[other._array.dtype.name]
        raise RuntimeError(f"expected scalar type {TITLES[kind.name]} but found {found}")
    if kind.kind == "b":
        three = weight._array.ndim == 5
        kernel = f"slow_conv_transpose{2 + three}d_out_cpu" if transposed else "slow_conv2d_cpu"
        kernel = "compute_columns3d" if three and not transposed else kernel
        raise NotImplementedError(f"\"{kernel}\" not implemented for 'Bool'")


def check_bias_dtype(input: Tensor, bias: Tensor | None) -> None:
    """What ``conv1d`` and its like look at first."""
    if bias is not None and bias._array.dtype != input._array.dtype:
        theirs, own = C_NAMES[input._array.dtype.name], C_NAMES[bias._array.dtype.name]
        raise RuntimeError(f"Input type ({theirs}) and bias type ({own}) should be the same")
