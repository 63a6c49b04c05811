"""Pooling as functions: the greatest, the mean, or a power mean of each window of an image.

Arguments are made regular here and refused in PyTorch's words; `ops.pooling` has the arithmetic. Invariant:
a window begins within the image or the border before it, whatever `ceil_mode` adds.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from rushlight.ops.arguments import require_tensor
from rushlight.ops.define import TITLES, write_out
from rushlight.ops.kinds import composite
from rushlight.ops.pooling import Pooling, avg_pool, divisors, max_pool
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor

Ints = int | Sequence[int]

_WORDS = {1: "one int", 2: "two ints", 3: "three ints"}
FLOATS = ("float16", "float32", "float64")
NUMBERS = (*FLOATS, "int8", "int16", "int32", "int64", "uint8")
_LETTERS = {1: "W", 2: "HW", 3: "TWH"}


# -- arguments -----------------------------------------------------------------------------------------------


def _numbers(function: str, name: str, given: Any, dims: int) -> tuple[int, ...]:
    """One number for each dimension, of one for all or a list."""
    found = tuple(map(operator.index, given if isinstance(given, (tuple, list)) else [given]))
    if len(found) not in (1, dims):
        if dims == 1:
            raise RuntimeError(f"{function}() argument '{name}' should contain one int (got {len(found)})")
        or_none = "omitted, " if name == "stride" else ""
        raise RuntimeError(
            f"{function}: {name} must either be {or_none}a single int, or a tuple of {_WORDS[dims]}"
        )
    return found * dims if len(found) == 1 else found


def _sliding(
    function: str, dims: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1
) -> Pooling:
    kernel = _numbers(function, "kernel_size", kernel_size, dims)
    is_omitted = stride is None or (isinstance(stride, (tuple, list)) and not stride)
    steps = kernel if is_omitted else _numbers(function, "stride", stride, dims)
    zeros = _numbers(function, "padding", padding, dims)
    apart = _numbers(function, "dilation", dilation, dims)
    if function == "max_pool1d":
        _check_line(kernel[0], steps[0], zeros[0], apart[0])
    if min(steps) <= 0:
        raise RuntimeError("stride should not be zero")
    if min(kernel) <= 0:
        raise RuntimeError(f"kernel size should be greater than zero, but got {list(kernel)}")
    if min(apart) <= 0:
        raise RuntimeError(f"dilation should be greater than zero, but got {list(apart)}")
    for before, length, each in zip(zeros, kernel, apart, strict=True):
        if before < 0:
            raise RuntimeError(f"pad must be non-negative, but got pad: {before}")
        if before > (each * (length - 1) + 1) // 2:
            raise RuntimeError(
                "pad should be at most half of effective kernel size, but got "
                f"pad={before}, kernel_size={length} and dilation={each}"
            )
    return Pooling(kernel, steps, zeros, apart)


def _check_line(kernel: int, stride: int, padding: int, dilation: int) -> None:
    """What PyTorch says of windows of lines alone."""
    for name, each in (("kernel_size", kernel), ("stride", stride)):
        if each <= 0:
            raise RuntimeError(f"max_pool1d() {name} must be greater than zero, but got {each}")
    if padding < 0:
        raise RuntimeError(f"max_pool1d() padding must be non-negative, but got {padding}")
    if padding > kernel // 2:
        raise RuntimeError(
            "max_pool1d() padding should be at most half of kernel size, but got "
            f"padding={padding} and kernel_size={kernel}"
        )
    if dilation <= 0:
        raise RuntimeError(f"max_pool1d() dilation must be greater than zero, but got {dilation}")


def _places(function: str, input: Tensor, sliding: Pooling, ceil_mode: bool) -> tuple[int, ...]:
    """How many windows there are along each dimension; RuntimeError where there is none."""
    dims = len(sliding.kernel)
    size, found = input.shape[input.dim() - dims :], []
    for length, window, step, before, apart in zip(size, *sliding, strict=True):
        room = length + 2 * before - apart * (window - 1) - 1
        n = (-(-room // step) if ceil_mode else room // step) + 1
        if ceil_mode and (n - 1) * step >= length + before:
            n -= 1  # a window that would begin behind the image
        found.append(n)
    if min(found) < 1:
        if function == "max_pool1d":
            raise RuntimeError(f"max_pool1d() Invalid computed output size: {found[0]}")
        if function == "avg_pool3d":
            image, kernel = (
                " ".join(f"{prefix}{letter}: {n}" for letter, n in zip("THW", each, strict=True))
                for prefix, each in (("", size), ("k", sliding.kernel))
            )
            raise RuntimeError(f"input image ({image}) smaller than kernel size ({kernel})")
        channels = f"{input.shape[-dims - 1]}" + ("x1" if dims == 1 else "")
        old, new = ("x".join(map(str, [channels, *each])) for each in (size, found))
        raise RuntimeError(
            f"Given input size: ({old}). Calculated output size: ({new}). Output size is too small"
        )
    return tuple(found)


def _check_image(function: str, input: Tensor, dims: int, other: bool = False) -> None:
    """Refuse what is no image, or has nothing in it but for the batch."""
    require_tensor(function, "input", 1, input)
    shape = list(input.shape)
    if len(shape) not in (dims + 1, dims + 2):
        if dims == 1:
            raise RuntimeError(
                f"{function}: Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for "
                f"input, but got:{shape}"
            )
        raise RuntimeError(f"non-empty {dims + 1}D or {dims + 2}D (batch mode) tensor expected for input")
    if not math.prod(shape[len(shape) - dims - 1 :]):
        raise RuntimeError(
            f"Expected {dims + 1}D or {dims + 2}D (batch mode) tensor with optional 0 dim batch size for "
            f"input, but got:{shape}"
        )


def _refuse_types(kernel: str, input: Tensor, allowed: Sequence[str]) -> None:
    """Refuse the types that PyTorch's kernel does not know."""
    dtype = input._array.dtype
    if dtype.name not in allowed:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{TITLES[dtype.name]}'")


def _node(name: str, dims: int) -> str:
    return "SqueezeBackward1" if dims == 1 else f"{name.replace('*', str(dims))}Backward0"


# -- the greatest --------------------------------------------------------------------------------------------


def _max(
    dims: int, input: Tensor, kernel_size: Ints, stride: Any, padding: Ints, dilation: Ints, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    function = f"max_pool{dims}d"
    _check_image(function, input, dims)
    _refuse_types("max_pool1d_impl" if dims == 1 else function, input, FLOATS if dims == 1 else NUMBERS)
    sliding = _sliding(function, dims, kernel_size, stride, padding, dilation)
    return max_pool(
        input, sliding, _places(function, input, sliding, ceil_mode), _node("MaxPool*DWithIndices", dims)
    )


def _max_samples(*sizes: int) -> list[Sample]:
    image = T((7, 2, *sizes), distinct=True)
    return [
        Sample([image, 2]),
        Sample([image, 3, 1, 1]),
        Sample([image, 3, 2, 1], {"ceil_mode": True}),
        Sample([image, 2], {"stride": 1, "dilation": 2}),
        Sample([T((2, *sizes), "float64", distinct=True), 2]),
        Sample([T((7, 2, *sizes), "float16", distinct=True), 3, 1]),
        Sample([T((7, 2, *sizes), distinct=True, layout="transposed"), 2]),
        Sample([T(sizes), 2], raises=True),
        Sample([image, 2, 2, 2], raises=True),
        Sample([image, max(sizes) + 1], raises=True),
        Sample([image, 2, 0], raises=True),
    ]


def _max_functions(dims: int) -> tuple[Any, Any]:
    """`max_pool1d` and its siblings, and the form with indices."""

    def with_indices(
        input: Tensor,
        kernel_size: Ints,
        stride: Ints | None = None,
        padding: Ints = 0,
        dilation: Ints = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> tuple[Tensor, Tensor]:
        return _max(dims, input, kernel_size, stride, padding, dilation, ceil_mode)

    def function(
        input: Tensor,
        kernel_size: Ints,
        stride: Ints | None = None,
        padding: Ints = 0,
        dilation: Ints = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        found = _max(dims, input, kernel_size, stride, padding, dilation, ceil_mode)
        return found if return_indices else found[0]

    name = f"max_pool{dims}d"
    function.__name__ = function.__qualname__ = name
    with_indices.__name__ = with_indices.__qualname__ = f"{name}_with_indices"
    letters = ", ".join(_LETTERS[dims])
    shape = f"``(N, C, {letters})``"
    function.__doc__ = f"""The greatest number in each window of an image {shape}, or without the batch.

    Args:
        input: the image.
        kernel_size: how large windows are.
        stride: how far they lie apart; by default as far as they are large.
        padding: how many numbers lower than all others are around the image; at most half a window.
        dilation: how far apart the elements of a window are.
        ceil_mode: whether a last window that is not whole counts.
        return_indices: whether to return the index of each within its image, too.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> F.{name}(torch.ones({", ".join(["1", "3", *["28"] * dims])}), 2).shape
    torch.Size([{", ".join(["1", "3", *["14"] * dims])}])
    """
    with_indices.__doc__ = f"`{name}` and the index of each number within its image."
    sizes = {1: (6,), 2: (5, 6), 3: (4, 5, 3)}[dims]
    enter = composite(samples=lambda: _max_samples(*sizes), method=False, torch_name=f"nn.functional.{name}")
    indices = composite(
        samples=lambda: [Sample([T((7, 2, *sizes), distinct=True), 2])],
        method=False,
        torch_name=f"nn.functional.{name}_with_indices",
    )
    return enter(function), indices(with_indices)


max_pool1d, max_pool1d_with_indices = _max_functions(1)
max_pool2d, max_pool2d_with_indices = _max_functions(2)
max_pool3d, max_pool3d_with_indices = _max_functions(3)


# -- the mean ------------------------------------------------------------------------------------------------


def _mean(
    dims: int,
    input: Tensor,
    kernel_size: Ints,
    stride: Any,
    padding: Ints,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> Tensor:
    function = f"avg_pool{dims}d"
    _check_image(function, input, dims)
    kernel = "avg_pool3d_out_frame" if dims == 3 else "avg_pool2d"
    floats = FLOATS[1:] if dims == 3 else FLOATS
    _refuse_types(kernel, input, (*floats, "int64"))
    sliding = _sliding(function, dims, kernel_size, stride, padding)
    places = _places(function, input, sliding, ceil_mode)
    if divisor_override is not None:
        divisor: Any = operator.index(divisor_override)
        if not divisor:
            raise RuntimeError("divisor must be not zero")
    else:
        size = input.shape[input.dim() - dims :]
        divisor = divisors(size, sliding, places, count_include_pad, input._array.dtype)
    return avg_pool(input, sliding, places, divisor, _node("AvgPool*D", dims))


def _mean_samples(*sizes: int) -> list[Sample]:
    image = T((7, 2, *sizes))
    found = [
        Sample([image, 2]),
        Sample([image, 3, 1, 1]),
        Sample([image, 3, 2, 1, True, False]),
        Sample([image, 3, 2, 1], {"ceil_mode": True}),
        Sample([T((2, *sizes), "float64"), 2]),
        Sample([T((7, 2, *sizes), "float16"), 3, 1], raises=len(sizes) == 3),
        Sample([T((7, 2, *sizes), layout="transposed"), 2]),
        Sample([image, 2, 2, 2], raises=True),
        Sample([image, max(sizes) + 1], raises=True),
    ]
    return found if len(sizes) == 1 else [*found, Sample([image, 2], {"divisor_override": 3})]


@composite(samples=lambda: _mean_samples(6), method=False)
def avg_pool1d(
    input: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of lines ``(N, C, L)``, or ``(C, L)``.

    Args:
        input: the lines.
        kernel_size: how large windows are.
        stride: how far they lie apart; by default as far as they are large.
        padding: how many zeros are at both ends; at most half a window.
        ceil_mode: whether a last window that is not whole counts.
        count_include_pad: whether the zeros count as elements.

    >>> import rushlight as torch
    >>> torch.avg_pool1d(torch.tensor([[1.0, 3.0, 5.0, 9.0]]), 2)
    tensor([[2., 7.]])
    """
    return _mean(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


@composite(samples=lambda: _mean_samples(5, 6), method=False, torch_name="nn.functional.avg_pool2d")
def avg_pool2d(
    input: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: Any = None,
) -> Tensor:
    """The mean of each window of images ``(N, C, H, W)``; as `avg_pool1d`, and sums may be divided by another
    number.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> F.avg_pool2d(torch.ones(64, 10, 4, 4), 4).shape
    torch.Size([64, 10, 1, 1])
    """
    given = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    made = _mean(2, input, *given)
    return made if out is None else write_out(out, made)


@composite(samples=lambda: _mean_samples(4, 5, 3), method=False, torch_name="nn.functional.avg_pool3d")
def avg_pool3d(
    input: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: Any = None,
) -> Tensor:
    """The mean of each window of volumes ``(N, C, D, H, W)``; as `avg_pool2d`.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> F.avg_pool3d(torch.ones(1, 2, 4, 4, 4), 2).shape
    torch.Size([1, 2, 2, 2, 2])
    """
    given = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    made = _mean(3, input, *given)
    return made if out is None else write_out(out, made)
