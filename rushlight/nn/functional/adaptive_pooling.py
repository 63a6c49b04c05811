"""Pooling to a size that is asked for, power means, and the way back from maxima, as functions.

`adaptive_avg_pool2d` and its siblings cut an image into so many parts, which overlap where it cannot be cut
evenly. Invariant: part i of n of a line of length m goes from ``i * m // n`` to ``(i + 1) * m / n``, rounded
up.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.dtype import F16
from rushlight.nn.functional.pooling import Ints, avg_pool1d, avg_pool2d, avg_pool3d
from rushlight.ops.arguments import require_tensor
from rushlight.ops.convert import from_numpy_array
from rushlight.ops.create import zeros_of
from rushlight.ops.define import TITLES, labelled
from rushlight.ops.join import stack
from rushlight.ops.kinds import composite
from rushlight.ops.pooling import Pooling, avg_pool, gathered
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor

Sizes = int | None | Sequence[int | None]


# -- adaptive ------------------------------------------------------------------------------------------------


def _size_wanted(mode: str, input: Tensor, given: Any, dims: int) -> tuple[int, ...]:
    """The size, where None stands for that of the image."""
    function = f"adaptive_{mode}_pool{dims}d"
    require_tensor(function, "input", 1, input)
    wanted = list(given) if isinstance(given, (tuple, list)) else [given] * dims
    if len(wanted) != dims:
        raise RuntimeError(f"{function}: output_size must be {dims}")
    if mode == "avg" and wanted == [1] * dims and dims > 1:
        return (1,) * dims
    _check_dims(function, input, dims)
    size = input.shape[input.dim() - dims :]
    pairs = zip(wanted, size, strict=True)
    found = [length if each is None else operator.index(each) for each, length in pairs]
    if min(found) < 0:
        raise RuntimeError(_negative(mode, input, found))
    if not math.prod(input.shape[1:]):
        raise RuntimeError(
            f"{function}(): Expected input to have non-zero size for non-batch dimensions, but input has "
            f"sizes {list(input.shape)}"
        )
    if input._array.dtype.kind != "f" and (mode, found) != ("avg", [1]):  # whose mean says it by itself
        kernel = f"adaptive_{mode}_pool{max(dims, 2)}d" + ("_cpu" if dims == 3 else "")
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{TITLES[input._array.dtype.name]}'")
    return tuple(found)


def _check_dims(function: str, input: Tensor, dims: int) -> None:
    if input.dim() in (dims + 1, dims + 2):
        return
    if dims == 1:
        raise RuntimeError(
            f"Expected 2 to 3 dimensions, but got {input.dim()}-dimensional tensor for argument #1 'self' "
            f"(while checking arguments for {function})"
        )
    colon = ":" if "max" in function else ""
    raise RuntimeError(
        f"{function}(): Expected {dims + 1}D or {dims + 2}D tensor, but got{colon} {list(input.shape)}"
    )


def _negative(mode: str, input: Tensor, wanted: list[int]) -> str:
    """What PyTorch says of a negative size; to it, lines are images of height one."""
    size = [1, *wanted] if len(wanted) == 1 else wanted
    if mode == "max":
        leading = list(input.shape[: input.dim() - len(wanted)])
        return f"Trying to create tensor with negative dimension {min(wanted)}: {[*leading, *size]}"
    listed = ", ".join(map(str, size[:2])) + "".join(f",{each}" for each in size[2:])
    return (
        f"adaptive_avg_pool{len(size)}d: elements of output_size must be greater than or equal to 0 but "
        f"received {{{listed}}}"
    )


def _parts(length: int, count: int) -> list[tuple[int, int]]:
    return [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]


def _even(input: Tensor, wanted: Sequence[int]) -> Pooling | None:
    """The window that does it, where parts do not overlap."""
    size = input.shape[input.dim() - len(wanted) :]
    if not all(wanted) or any(length % n for length, n in zip(size, wanted, strict=True)):
        return None
    kernel = tuple(length // n for length, n in zip(size, wanted, strict=True))
    return Pooling(kernel, kernel, (0,) * len(kernel), (1,) * len(kernel))


def _nothing(input: Tensor, wanted: Sequence[int]) -> Tensor:
    return zeros_of((*input.shape[: input.dim() - len(wanted)], *wanted), input._array.dtype)


def _adaptive_mean(dims: int, input: Tensor, output_size: Sizes) -> Tensor:
    wanted = _size_wanted("avg", input, output_size, dims)
    node = "SqueezeBackward1" if dims == 1 else f"AdaptiveAvgPool{dims}DBackward0"
    if wanted == (1,) * dims:
        mean = input.mean(tuple(range(-1, -dims - 1, -1)), keepdim=True)
        return labelled(mean, node) if dims == 1 else mean
    if not math.prod(wanted):
        return _nothing(input, wanted)
    sliding = _even(input, wanted)
    if sliding is not None:
        return avg_pool(input, sliding, wanted, math.prod(sliding.kernel), node)
    half = input._array.dtype is F16
    made, counts = input.float() if half else input, np.ones((), np.int64)
    for d, count in zip(range(-dims, 0), wanted, strict=True):
        parts = _parts(input.shape[d], count)
        made = stack([made.narrow(d, first, last - first).sum(d) for first, last in parts], d)
        counts = counts[..., None] * np.array([last - first for first, last in parts])
    made = made / from_numpy_array(counts.astype(made._array.dtype))
    return labelled(made.half() if half else made, node)


def _adaptive_max(dims: int, input: Tensor, output_size: Sizes) -> tuple[Tensor, Tensor]:
    wanted = _size_wanted("max", input, output_size, dims)
    size = tuple(input.shape[input.dim() - dims :])
    if not math.prod(wanted):
        return _nothing(input, wanted), _nothing(input, wanted).long()
    image, found = input.detach(), []
    for part in itertools.product(*map(_parts, size, wanted)):
        window = image[(..., *(slice(first, last) for first, last in part))]
        chosen, index = window.flatten(-dims).argmax(-1), None
        for d, (first, last) in enumerate(part):
            inner = math.prod(each[1] - each[0] for each in part[d + 1 :])
            along = chosen // inner % (last - first) + first
            index = along if index is None else index * size[d] + along
        found.append(index)
    indices = stack(found, -1).reshape(*input.shape[: input.dim() - dims], *wanted)
    values = gathered((input, indices), {"size": size})
    node = "SqueezeBackward1" if dims == 1 else f"AdaptiveMaxPool{dims}DBackward0"
    return labelled(values, node), indices


def _adaptive_samples(*sizes: int) -> list[Sample]:
    image, dims = T((7, 2, *sizes), distinct=True), len(sizes)
    return [
        Sample([image, 1]),
        Sample([image, 2]),
        Sample([image, 3]),
        Sample([T((2, *sizes), "float64", distinct=True), [2] * dims]),
        Sample([image, max(sizes) + 1]),
        Sample([image, -1], raises=True),
        Sample([T((7, 2, *sizes), "int64"), 1], raises=True),
        Sample([T((2,)), 1], raises=True),
    ]


@composite(samples=lambda: _adaptive_samples(6), method=False)
def adaptive_avg_pool1d(input: Tensor, output_size: Sizes) -> Tensor:
    """The means of so many parts of lines ``(N, C, L)``, or ``(C, L)``.

    >>> import rushlight as torch
    >>> torch.adaptive_avg_pool1d(torch.tensor([[1.0, 3.0, 5.0, 9.0]]), 2)
    tensor([[2., 7.]])
    """
    return _adaptive_mean(1, input, output_size)


@composite(
    samples=lambda: _adaptive_samples(4, 6), method=False, torch_name="nn.functional.adaptive_avg_pool2d"
)
def adaptive_avg_pool2d(input: Tensor, output_size: Sizes) -> Tensor:
    """The means of so many parts of images ``(N, C, H, W)``; None leaves a dimension as it is.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> F.adaptive_avg_pool2d(torch.ones(1, 64, 8, 9), (5, 7)).shape
    torch.Size([1, 64, 5, 7])
    """
    return _adaptive_mean(2, input, output_size)


@composite(
    samples=lambda: _adaptive_samples(4, 3, 5), method=False, torch_name="nn.functional.adaptive_avg_pool3d"
)
def adaptive_avg_pool3d(input: Tensor, output_size: Sizes) -> Tensor:
    """The means of so many parts of volumes ``(N, C, D, H, W)``; None leaves a dimension as it is.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> F.adaptive_avg_pool3d(torch.ones(1, 2, 8, 9, 10), (5, None, 1)).shape
    torch.Size([1, 2, 5, 9, 1])
    """
    return _adaptive_mean(3, input, output_size)


def _adaptive_max_functions(dims: int) -> tuple[Any, Any]:
    """`adaptive_max_pool1d` and its siblings, and the form with indices."""

    def with_indices(
        input: Tensor, output_size: Sizes, return_indices: bool = False
    ) -> tuple[Tensor, Tensor]:
        return _adaptive_max(dims, input, output_size)

    def function(input: Tensor, output_size: Sizes, return_indices: bool = False) -> Any:
        found = _adaptive_max(dims, input, output_size)
        return found if return_indices else found[0]

    name = f"adaptive_max_pool{dims}d"
    function.__name__ = function.__qualname__ = name
    with_indices.__name__ = with_indices.__qualname__ = f"{name}_with_indices"
    function.__doc__ = f"""The greatest number of each of so many parts of an image.

    Args:
        input: the image, with {dims + 2} dimensions or, without a batch, {dims + 1}.
        output_size: how many parts there are along each dimension; None for as many as there are numbers.
        return_indices: whether to return the index of each within its image, too.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> F.{name}(torch.ones({", ".join(["1", "3", *["9"] * dims])}), 4).shape
    torch.Size([{", ".join(["1", "3", *["4"] * dims])}])
    """
    with_indices.__doc__ = f"`{name}` and the index of each number within its image."
    sizes = {1: (6,), 2: (4, 6), 3: (4, 3, 5)}[dims]
    enter = composite(
        samples=lambda: _adaptive_samples(*sizes), method=False, torch_name=f"nn.functional.{name}"
    )
    indices = composite(
        samples=lambda: [Sample([T((7, 2, *sizes), distinct=True), 2])],
        method=False,
        torch_name=f"nn.functional.{name}_with_indices",
    )
    return enter(function), indices(with_indices)


adaptive_max_pool1d, adaptive_max_pool1d_with_indices = _adaptive_max_functions(1)
adaptive_max_pool2d, adaptive_max_pool2d_with_indices = _adaptive_max_functions(2)
adaptive_max_pool3d, adaptive_max_pool3d_with_indices = _adaptive_max_functions(3)


# -- power means ---------------------------------------------------------------------------------------------


def _power(means: Tensor, count: int, norm_type: float) -> Tensor:
    """The root of sums of powers, of their means."""
    return (means.sign() * means.abs().relu()).mul(count).pow(1.0 / norm_type)


def _count(kernel_size: Any, dims: int) -> int:
    if not isinstance(kernel_size, (tuple, list)):
        return int(kernel_size) ** dims
    return math.prod(kernel_size)


def _power_samples(*sizes: int) -> list[Sample]:
    image = T((7, 2, *sizes), low=0.5)
    return [Sample([image, 2, 2]), Sample([image, 3.0, 2, 1]), Sample([image, 1, 3, 2, True])]


@composite(samples=lambda: _power_samples(6), method=False, torch_name="nn.functional.lp_pool1d")
def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: int, stride: Ints | None = None, ceil_mode: bool = False
) -> Tensor:
    """The root ``sum(x ** norm_type) ** (1 / norm_type)`` of each window of lines ``(N, C, L)``.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> F.lp_pool1d(torch.tensor([[3.0, 4.0]]), 2, 2)
    tensor([[5.]])
    """
    means = avg_pool1d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return _power(means, _count(kernel_size, 1), norm_type)


@composite(samples=lambda: _power_samples(5, 6), method=False, torch_name="nn.functional.lp_pool2d")
def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Ints, stride: Ints | None = None, ceil_mode: bool = False
) -> Tensor:
    """`lp_pool1d` for images ``(N, C, H, W)``."""
    means = avg_pool2d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return _power(means, _count(kernel_size, 2), norm_type)


@composite(samples=lambda: _power_samples(4, 5, 3), method=False, torch_name="nn.functional.lp_pool3d")
def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Ints, stride: Ints | None = None, ceil_mode: bool = False
) -> Tensor:
    """`lp_pool1d` for volumes ``(N, C, D, H, W)``."""
    means = avg_pool3d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return _power(means, _count(kernel_size, 3), norm_type)


# -- the way back --------------------------------------------------------------------------------------------


def _each(given: Any, dims: int) -> list[int]:
    found = list(given) if isinstance(given, (tuple, list)) else [given]
    return found * dims if len(found) == 1 else found


def _unpool(
    dims: int, input: Tensor, indices: Tensor, kernel_size: Ints, stride: Any, padding: Ints, output_size: Any
) -> Tensor:
    kernel, before = _each(kernel_size, dims), _each(padding, dims)
    steps = kernel if stride is None else _each(stride, dims)
    if indices._array.dtype != np.int64:
        kind = TITLES[indices._array.dtype.name]
        raise RuntimeError(f"elements in indices should be type int64 but got: {kind}")
    if input.shape != indices.shape:
        raise RuntimeError(
            f"Expected shape of indices to be: {list(input.shape)} but got: {list(indices.shape)}"
        )
    places = input.shape[input.dim() - dims :]
    usual = [
        (n - 1) * step + length - 2 * zeros
        for n, step, length, zeros in zip(places, steps, kernel, before, strict=True)
    ]
    size = usual if output_size is None else _checked_size(output_size, usual, steps)
    area, flat = math.prod(size), indices.flatten(-dims)
    wrong = indices._array[(indices._array < 0) | (indices._array >= area)]
    if wrong.size:
        volumes = "x".join(map(str, size))
        raise RuntimeError(
            f"Found an invalid max index: {wrong.flat[0]} (output volumes are of size {volumes})"
        )
    leading = input.shape[: input.dim() - dims]
    made = zeros_of((*leading, area), input._array.dtype).scatter(-1, flat, input.flatten(-dims))
    node = "SqueezeBackward1" if dims == 1 else f"MaxUnpool{dims}DBackward0"
    return labelled(made.reshape(*leading, *size), node)


def _checked_size(output_size: Sequence[int], usual: Sequence[int], steps: Sequence[int]) -> list[int]:
    wanted = list(output_size)
    if len(wanted) == len(usual) + 2:
        wanted = wanted[2:]
    if len(wanted) != len(usual):
        raise ValueError(
            "output_size should be a sequence containing "
            f"{len(usual)} or {len(usual) + 2} elements, but it has a length of '{len(output_size)}'"
        )
    for d, (each, length, step) in enumerate(zip(wanted, usual, steps, strict=True)):
        if not length - step < each < length + step:
            raise ValueError(
                f'invalid output_size "{tuple(wanted)}" (dim {d} must be between {length - step} and '
                f"{length + step})"
            )
    return wanted


_INDICES = {1: [[[0, 3, 5]]], 2: [[[[0, 3], [8, 11]]]], 3: [[[[[0, 3], [8, 11]]]]]}


def _unpool_samples(dims: int) -> list[Sample]:
    indices = T(values=_INDICES[dims], dtype="int64")
    shape = np.array(_INDICES[dims]).shape
    return [
        Sample([T(shape), indices, 2]),
        Sample([T(shape), indices, 3, 2]),
        Sample([T(shape), T(shape), 2], raises=True),
    ]


@composite(samples=lambda: _unpool_samples(1), method=False, torch_name="nn.functional.max_unpool1d")
def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Zeros with maxima where `max_pool1d` found them.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> pooled, indices = F.max_pool1d(torch.tensor([[1.0, 3.0, 5.0, 4.0]]), 2, return_indices=True)
    >>> F.max_unpool1d(pooled, indices, 2)
    tensor([[0., 3., 5., 0.]])
    """
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)


@composite(samples=lambda: _unpool_samples(2), method=False, torch_name="nn.functional.max_unpool2d")
def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Zeros with maxima where `max_pool2d` found them."""
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)


@composite(samples=lambda: _unpool_samples(3), method=False, torch_name="nn.functional.max_unpool3d")
def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Zeros with maxima where `max_pool3d` found them."""
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)
