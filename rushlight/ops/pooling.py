"""Pooling as ops: the greatest number in each window of an image, where it is, and the mean of each window.

A maximum is found by going through the elements of the kernel once, all windows side by side; its gradient
goes to the place that was found. Means are linear, so an op and its adjoint are each other's gradients. While
a step is recorded both are windows of a strided view, folded. `nn.functional.pooling` checks arguments.
Invariant: what comes before the spatial dimensions is left alone, and indices count within an image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rushlight.autograd.mode import RECORDING, no_grad, state
from rushlight.dtype import F16
from rushlight.ops.columns import Steps, positions, strides_of
from rushlight.ops.convert import from_numpy_array
from rushlight.ops.create import zeros_of
from rushlight.ops.define import apply, labelled
from rushlight.ops.fused import fused
from rushlight.ops.kinds import primitive
from rushlight.ops.pad import pad
from rushlight.ops.ranges import arange
from rushlight.tensor import Tensor

Numbers = tuple[int, ...]


class Pooling(NamedTuple):
    """How a window slides: its shape, how far it goes at a time, the border around the image, how far apart
    its elements are. The number of `places` is not among it: the last windows may reach beyond the border,
    and there may be lines behind them that no window covers.
    """

    kernel: Numbers
    stride: Numbers
    padding: Numbers
    dilation: Numbers

    @property
    def how(self) -> Steps:
        """The same without the shape."""
        return Steps(self.stride, self.padding, self.dilation)

    def around(self, size: Sequence[int], places: Sequence[int]) -> list[tuple[int, int]]:
        """How much has to be put before and after the image, along each dimension."""
        found = []
        for length, n, kernel, step, before, apart in zip(size, places, *self, strict=True):
            reach = (n - 1) * step + apart * (kernel - 1) + 1
            found.append((before, max(0, reach - before - length)))
        return found


def _of(kernel: Numbers, stride: Numbers, padding: Numbers, dilation: Numbers) -> Pooling:
    return Pooling(kernel, stride, padding, dilation)


def _lowest(dtype: np.dtype[Any]) -> Any:
    return -math.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _surrounded(image: np.ndarray, borders: Sequence[tuple[int, int]], value: Any) -> np.ndarray:
    """The image with a border of this value; itself if there is none."""
    if not any(map(any, borders)):
        return image
    leading = [(0, 0)] * (image.ndim - len(borders))
    return np.pad(image, [*leading, *borders], constant_values=value)


def _starts(n: int, step: int, before: int) -> range:
    """Where windows begin along a dimension."""
    return range(-before, n * step - before, step)


# -- the greatest --------------------------------------------------------------------------------------------


def _places_of(sliding: Pooling, size: Sequence[int], places: Numbers, chosen: np.ndarray) -> np.ndarray:
    """Indices within the image, of which element of each window was chosen."""
    dims, found = len(size), np.zeros((), np.int64)
    elements = np.indices(sliding.kernel).reshape(dims, -1)
    for d in range(dims):
        starts = np.array(_starts(places[d], sliding.stride[d], sliding.padding[d]), np.int64)
        along = starts.reshape([-1 if each == d else 1 for each in range(dims)])
        along = along + np.take(elements[d] * sliding.dilation[d], chosen)
        if sliding.padding[d]:  # a window of nothing but the lowest number would have chosen the border
            along = along.clip(0, size[d] - 1)
        found = found * size[d] + along
    return found


def _max_pool(
    input: np.ndarray,
    *,
    kernel: Numbers,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    places: Numbers,
) -> tuple[np.ndarray, np.ndarray]:
    sliding, size = _of(kernel, stride, padding, dilation), input.shape[input.ndim - len(kernel) :]
    image = _surrounded(input, sliding.around(size, places), _lowest(input.dtype))
    has_nan = input.dtype.kind == "f" and bool(np.isnan(input).any())
    values = chosen = None
    for number, (_, where) in enumerate(positions(sliding.kernel, places, sliding.how)):
        here: Any = (..., *where)
        piece = image[here]
        if values is None or chosen is None:
            values, chosen = piece.copy(), np.zeros(piece.shape, np.intp)
            continue
        is_better = piece > values
        if has_nan:
            is_better |= np.isnan(piece)
        np.copyto(values, piece, where=is_better)
        np.copyto(chosen, number, where=is_better)
    assert values is not None and chosen is not None
    return values, _places_of(sliding, size, places, chosen)


def _flat(indices: np.ndarray, rows: int, area: int) -> np.ndarray:
    """Indices among all images, which are `rows` of so many numbers."""
    if not indices.size:
        return np.zeros(0, np.intp)
    return (indices.reshape(rows, -1) + np.arange(0, rows * area, area)[:, None]).reshape(-1)


def _spread(grad: np.ndarray, indices: np.ndarray, *, size: Numbers) -> np.ndarray:
    """Zeros, and at each index the sum of what belongs there."""
    dims, area = len(size), math.prod(size)
    leading = grad.shape[: grad.ndim - dims]
    rows = math.prod(leading)
    at = _flat(indices, rows, area)
    sums = np.bincount(at, grad.reshape(-1), rows * area) if at.size else np.zeros(rows * area)
    return sums.reshape(*leading, *size).astype(grad.dtype)


def _gathered(input: np.ndarray, indices: np.ndarray, *, size: Numbers) -> np.ndarray:
    rows, area = math.prod(input.shape[: input.ndim - len(size)]), math.prod(size)
    return np.take(input.reshape(-1), _flat(indices, rows, area)).reshape(indices.shape)


def _max_pool_rule(g: Tensor, indices: Tensor, input_shape: Numbers, kernel: Numbers) -> Tensor:
    return spread((g, indices), {"size": tuple(input_shape[len(input_shape) - len(kernel) :])})


def _gathered_spelled_out(input: Tensor, indices: Tensor, *, size: Numbers) -> Tensor:
    dims = len(size)
    places = indices.flatten(-dims)
    return input.flatten(-dims).gather(-1, places).reshape(indices.shape)


def _spread_spelled_out(grad: Tensor, indices: Tensor, *, size: Numbers) -> Tensor:
    dims = len(size)
    leading = grad.shape[: grad.dim() - dims]
    made = zeros_of((*leading, math.prod(size)), grad._array.dtype)
    return made.scatter_add_(-1, indices.flatten(-dims), grad.flatten(-dims)).reshape(*leading, *size)


MAX_POOL = primitive(
    "max_pool_with_indices",
    "opaque",
    _max_pool,
    dict(input=_max_pool_rule),
    outputs=("values", "indices"),
    differentiable=(0,),
)
SPREAD = primitive(
    "max_pool_with_indices_backward",
    "opaque",
    _spread,
    dict(grad=lambda g, indices, size: gathered((g, indices), {"size": size})),
)
GATHERED = primitive(
    "max_unpool_backward",
    "opaque",
    _gathered,
    dict(input=lambda g, indices, size: spread((g, indices), {"size": size})),
)
# Numbers at indices within an image, and zeros with numbers added at such indices.
gathered = fused(GATHERED, _gathered_spelled_out)
spread = fused(SPREAD, _spread_spelled_out)


def _windows(input: Tensor, sliding: Pooling, places: Numbers, value: Any) -> Tensor:
    """Windows of an image, ``(..., *places, *kernel)``: a view."""
    dims = len(places)
    borders = sliding.around(input.shape[input.dim() - dims :], places)
    if any(map(any, borders)):
        input = pad(input, [each for pair in reversed(borders) for each in pair], value=value)
    strides = input.stride()
    within, across = strides_of(strides[input.dim() - dims :], sliding.how)
    leading = input.dim() - dims
    shape = (*input.shape[:leading], *places, *sliding.kernel)
    return input.as_strided(shape, (*strides[:leading], *across, *within))


def _indices_spelled_out(input: Tensor, sliding: Pooling, places: Numbers) -> Tensor:
    dims = len(places)
    size = input.shape[input.dim() - dims :]
    windows = _windows(input, sliding, places, _lowest(input._array.dtype))
    rest = windows.flatten(-dims).argmax(-1)
    found: Tensor | None = None
    for d in range(dims):
        inner = math.prod(sliding.kernel[d + 1 :])
        element, rest = (rest // inner, rest % inner) if d + 1 < dims else (rest, rest)
        starts = _starts(places[d], sliding.stride[d], sliding.padding[d])
        steps = arange(starts.start, starts.stop, starts.step).reshape(-1, *[1] * (dims - d - 1))
        along = element * sliding.dilation[d] + steps
        if sliding.padding[d]:
            along = along.clamp(0, size[d] - 1)
        found = along if found is None else found * size[d] + along
    assert found is not None
    return found


def max_pool(input: Tensor, sliding: Pooling, places: Numbers, node_name: str) -> tuple[Tensor, Tensor]:
    """The greatest number in each window, and its index within the image."""
    if state.mode & RECORDING and input.numel() and input._array.dtype is not F16:
        with no_grad():
            indices = _indices_spelled_out(input.detach(), sliding, places)
        size = tuple(input.shape[input.dim() - len(places) :])
        values = gathered((input, indices), {"size": size})
    else:
        values, indices = apply(MAX_POOL, (input,), {**sliding._asdict(), "places": places})
    return labelled(values, node_name), indices


# -- the mean ------------------------------------------------------------------------------------------------


def _covered(length: int, starts: range, kernel: int, before: int, counts_padding: bool) -> np.ndarray:
    """How many elements windows along a dimension have: of the image, or of it and its padding."""
    low, high = (-before, length + before) if counts_padding else (0, length)
    first = np.array(starts)
    return np.minimum(first + kernel, high) - np.maximum(first, low)


def divisors(
    size: Sequence[int], sliding: Pooling, places: Numbers, counts_padding: bool, dtype: np.dtype[Any]
) -> Any:
    """What sums over windows are divided by: a number, or where windows differ, one for each place."""
    found = np.ones((), np.int64)
    for length, n, kernel, step, before, _ in zip(size, places, *sliding, strict=True):
        starts = _starts(n, step, before)
        found = found[..., None] * _covered(length, starts, kernel, before, counts_padding)
    if found.size and found.min() == found.max():
        return int(found.flat[0])
    return found.astype(dtype)


def _sums(
    input: np.ndarray,
    *,
    kernel: Numbers,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    places: Numbers,
) -> np.ndarray:
    sliding, size = _of(kernel, stride, padding, dilation), input.shape[input.ndim - len(kernel) :]
    image = _surrounded(input, sliding.around(size, places), 0)
    made = np.zeros((*input.shape[: input.ndim - len(size)], *places), input.dtype)
    for _, where in positions(sliding.kernel, places, sliding.how):
        here: Any = (..., *where)
        made += image[here]
    return made


def _added(
    input: np.ndarray,
    *,
    kernel: Numbers,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    places: Numbers,
    size: Numbers,
) -> np.ndarray:
    sliding = _of(kernel, stride, padding, dilation)
    borders = sliding.around(size, places)
    whole = [length + before + after for length, (before, after) in zip(size, borders, strict=True)]
    made = np.zeros((*input.shape[: input.ndim - len(size)], *whole), input.dtype)
    for _, where in positions(sliding.kernel, places, sliding.how):
        here: Any = (..., *where)
        made[here] += input
    inside: Any = (..., *(slice(before, before + n) for n, (before, _) in zip(size, borders, strict=True)))
    return np.ascontiguousarray(made[inside])


def _sums_spelled_out(input: Tensor, *, places: Numbers, **how: Numbers) -> Tensor:
    sliding = Pooling(**how)
    return _windows(input, sliding, places, 0).sum(tuple(range(-len(places), 0)))


def _added_spelled_out(input: Tensor, *, places: Numbers, size: Numbers, **how: Numbers) -> Tensor:
    sliding = Pooling(**how)
    borders = sliding.around(size, places)
    whole = [length + before + after for length, (before, after) in zip(size, borders, strict=True)]
    made = zeros_of((*input.shape[: input.dim() - len(size)], *whole), input._array.dtype)
    for _, where in positions(sliding.kernel, places, sliding.how):
        made[(..., *where)].add_(input)
    if not any(map(any, borders)):
        return made
    inside = (slice(before, before + n) for n, (before, _) in zip(size, borders, strict=True))
    return made[(..., *inside)].contiguous()


def _sums_rule(
    g: Tensor,
    input_shape: Numbers,
    kernel: Numbers,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    places: Numbers,
) -> Tensor:
    how = Pooling(kernel, stride, padding, dilation)._asdict()
    size = tuple(input_shape[len(input_shape) - len(kernel) :])
    return _add((g,), {**how, "places": places, "size": size})


def _added_rule(
    g: Tensor, kernel: Numbers, stride: Numbers, padding: Numbers, dilation: Numbers, places: Numbers
) -> Tensor:
    how = Pooling(kernel, stride, padding, dilation)._asdict()
    return _sum((g,), {**how, "places": places})


SUMS = primitive("avg_pool", "opaque", _sums, dict(input=_sums_rule))
ADDED = primitive("avg_pool_backward", "opaque", _added, dict(input=_added_rule))
_sum = fused(SUMS, _sums_spelled_out)
_add = fused(ADDED, _added_spelled_out)


def avg_pool(input: Tensor, sliding: Pooling, places: Numbers, divisor: Any, node_name: str) -> Tensor:
    """The sum of each window, divided: by a number, or by an array of one for each place."""
    half = input._array.dtype is F16
    whole = input.float() if half else input
    sums = _sum((whole,), {**sliding._asdict(), "places": places})
    by = from_numpy_array(divisor) if isinstance(divisor, np.ndarray) else divisor
    if input._array.dtype.kind == "f":
        made = sums / by
    else:
        made = sums.div(by, rounding_mode="trunc")
    return labelled(made.half() if half else made, node_name)
