"""Elements picked by index tensors and masks: the ops under ``x[index]``, and their gradients.

One index, two, or one mask have an op each; more are turned into one, which counts the elements of several
dimensions together. Invariant: results are row-major and have the shape PyTorch gives them: picks in adjacent
dimensions keep their place, others come first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.ops.accumulate import add_rows
from rushlight.ops.define import Op, apply
from rushlight.ops.gather import first_outside
from rushlight.ops.kinds import primitive
from rushlight.ops.shape import regrouped
from rushlight.storage import row_major


def out_of_bounds(index: np.ndarray, sizes: Sequence[int], dim: int = 0) -> IndexError:
    """The error for an index array that has elements outside of a dimension."""
    size = sizes[dim]
    if size == 0:
        return IndexError("index is out of bounds for dimension with size 0")
    bad = index[(index < -size) | (index >= size)]
    return IndexError(f"index {bad.reshape(-1)[0]} is out of bounds for dimension {dim} with size {size}")


def _wrapped(index: np.ndarray, sizes: Sequence[int], dim: int) -> np.ndarray:
    """An index array checked, and without negative numbers."""
    size = sizes[dim]
    if first_outside(index, size) is None:
        return index
    if ((index < -size) | (index >= size)).any():
        raise out_of_bounds(index, sizes, dim)
    return np.where(index < 0, index + size, index)


def _together(*picks: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Picks in several dimensions as one in all of them together: broadcast, checked, non-negative."""
    total: Any = 0
    try:
        for dim, (pick, size) in enumerate(zip(picks, sizes, strict=True)):
            total = total * size + _wrapped(pick, sizes, dim)
    except ValueError:
        raise _mismatch(picks) from None
    return total


def _mismatch(picks: Sequence[np.ndarray]) -> IndexError:
    shapes = ", ".join(str(list(each.shape)) for each in picks)
    return IndexError(
        f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
    )


class Places:
    """Where in an array picks go: an equivalent array in which the picked dimensions are one, at `dim`.

    Where no view shows them as one, `sizes` tells their lengths, and `key` gives an index for each.
    """

    __slots__ = ("array", "dim", "sizes")

    def __init__(self, array: np.ndarray, dims: tuple[int, ...]) -> None:
        dim, count = dims[0], len(dims)
        if dims[-1] - dim >= count:
            array, dim = np.moveaxis(array, dims, range(count)), 0
        self.array, self.dim, self.sizes = array, dim, array.shape[dim : dim + count]
        if count > 1:
            shape = (*array.shape[:dim], math.prod(self.sizes), *array.shape[dim + count :])
            joined = regrouped(array, shape)
            if joined is not None:
                self.array, self.sizes = joined, joined.shape[dim : dim + 1]

    def key(self, index: np.ndarray) -> tuple[Any, ...]:
        """What to index `array` with."""
        if len(self.sizes) == 1:
            return (*[slice(None)] * self.dim, index)
        return (*[slice(None)] * self.dim, *np.unravel_index(index, self.sizes))


def _laid_out(
    result: np.ndarray, input: np.ndarray, dims: Sequence[int], picks: Sequence[np.ndarray]
) -> np.ndarray:
    """What was picked from an array that is not row-major, laid out in memory as PyTorch does it.

    The order is that of the input's strides, then of the picks'; what both leave open stays in place.
    """
    adjacent = dims[-1] - dims[0] < len(dims)
    before = dims[0] if adjacent else 0
    kept = [stride for dim, stride in enumerate(input.strides) if dim not in dims]
    shape = np.broadcast_shapes(*[each.shape for each in picks])
    opinions = [(*kept[:before], *[0] * len(shape), *kept[before:])]
    for each in picks:
        spread = np.broadcast_to(each, shape).strides
        opinions.append((*[0] * before, *spread, *[0] * (len(kept) - before)))
    order = list(range(result.ndim - 1, -1, -1))  # from the innermost to the outermost
    for start in range(1, result.ndim):
        here = start
        for other in range(start - 1, -1, -1):
            inner = _is_inner(order[other], order[here], opinions, result.shape)
            if inner is False:
                order[other], order[here] = order[here], order[other]
                here = other
            elif inner:
                break
    outermost_first = order[::-1]
    if outermost_first == sorted(outermost_first):
        return row_major(result)
    made = np.empty([result.shape[dim] for dim in outermost_first], result.dtype)
    made = made.transpose(np.argsort(outermost_first))
    made[...] = result
    return made


def _is_inner(
    first: int, second: int, opinions: Sequence[tuple[int, ...]], shape: tuple[int, ...]
) -> bool | None:
    """Whether dimension `first` should lie further in than `second`; None if no operand has an opinion."""
    for strides in opinions:
        one, two = strides[first], strides[second]
        if one and two:
            if one != two:
                return one < two
            if shape[first] > shape[second]:
                return False
    return None


def _index(input: np.ndarray, index: np.ndarray, *, dims: tuple[int, ...]) -> np.ndarray:
    places = Places(input, dims) if len(dims) > 1 or not input.flags.c_contiguous else None
    try:
        if places is None:
            return input.take(index, dims[0])
        if places.array.flags.c_contiguous and len(places.sizes) == 1:
            return places.array.take(index, places.dim)
        return _laid_out(places.array[places.key(index)], input, dims, (index,))
    except IndexError:
        places = Places(input, dims)
        if input.size == 0 and 0 not in places.sizes:  # nothing is read, so PyTorch checks nothing
            shape = places.array.shape
            return np.empty((*shape[: places.dim], *index.shape, *shape[places.dim + 1 :]), input.dtype)
        raise out_of_bounds(index, places.sizes) from None


def _index_backward(
    grad: np.ndarray, index: np.ndarray, *, shape: tuple[int, ...], dims: tuple[int, ...]
) -> np.ndarray:
    whole = np.zeros(shape, grad.dtype)
    add_at(whole, index, grad, dims)
    return whole


def add_at(target: np.ndarray, index: np.ndarray, values: np.ndarray, dims: tuple[int, ...]) -> None:
    """Add `values`, of the shape that `_index` gives, where they came from, repeated places included."""
    places = Places(target, dims)
    if len(places.sizes) > 1:
        np.add.at(places.array, places.key(index), values)
        return
    if places.array.size == 0:
        return
    before = places.dim
    flat = _wrapped(index.reshape(-1), places.sizes, 0)
    rows = values.reshape(*places.array.shape[:before], flat.size, *places.array.shape[before + 1 :])
    add_rows(places.array.swapaxes(0, before), flat, rows.swapaxes(0, before))


def _index_pair(
    input: np.ndarray, first: np.ndarray, second: np.ndarray, *, dims: tuple[int, int]
) -> np.ndarray:
    key: list[Any] = [slice(None)] * (dims[1] + 1)
    key[dims[0]], key[dims[1]] = first, second
    try:
        found = input[tuple(key)]
        return (
            row_major(found) if input.flags.c_contiguous else _laid_out(found, input, dims, (first, second))
        )
    except IndexError:
        sizes = (input.shape[dims[0]], input.shape[dims[1]])
        return _index(input, _together(first, second, sizes=sizes), dims=dims)


def _index_pair_backward(
    grad: np.ndarray, first: np.ndarray, second: np.ndarray, *, shape: tuple[int, ...], dims: tuple[int, int]
) -> np.ndarray:
    index = _together(first, second, sizes=(shape[dims[0]], shape[dims[1]]))
    return _index_backward(grad, index, shape=shape, dims=dims)


def mask_key(mask: np.ndarray, dim: int) -> tuple[Any, ...]:
    """What to index an array with where a mask begins at dimension `dim`."""
    return (*[slice(None)] * dim, mask if mask.dtype.kind == "b" else mask.astype(bool))


def _index_mask(input: np.ndarray, mask: np.ndarray, *, dim: int) -> np.ndarray:
    found = input[mask_key(mask, dim)]
    if input.flags.c_contiguous or input.ndim == mask.ndim:
        return row_major(found)
    return _laid_out(found, input, range(dim, dim + max(mask.ndim, 1)), (np.empty(found.shape[dim]),))


def _index_mask_backward(
    grad: np.ndarray, mask: np.ndarray, *, shape: tuple[int, ...], dim: int
) -> np.ndarray:
    whole = np.zeros(shape, grad.dtype)
    whole[mask_key(mask, dim)] = grad
    return whole


TOGETHER = primitive("index_together", "indexed", _together, inputs=("*picks",))
NONZERO_TUPLE = primitive("nonzero_numpy", "opaque", lambda mask: np.nonzero(mask))
INDEX: Op = primitive(
    "index",
    "indexed",
    _index,
    dict(
        input=lambda g, index, input_shape, dims: apply(
            INDEX_BACKWARD, (g, index), {"shape": input_shape, "dims": dims}
        )
    ),
)
INDEX_BACKWARD: Op = primitive(
    "index_backward",
    "indexed",
    _index_backward,
    dict(grad=lambda g, index, dims: apply(INDEX, (g, index), {"dims": dims})),
)
INDEX_PAIR: Op = primitive(
    "index",
    "indexed",
    _index_pair,
    dict(
        input=lambda g, first, second, input_shape, dims: apply(
            INDEX_PAIR_BACKWARD, (g, first, second), {"shape": input_shape, "dims": dims}
        )
    ),
)
INDEX_PAIR_BACKWARD: Op = primitive(
    "index_backward",
    "indexed",
    _index_pair_backward,
    dict(grad=lambda g, first, second, dims: apply(INDEX_PAIR, (g, first, second), {"dims": dims})),
)
INDEX_MASK: Op = primitive(
    "index",
    "indexed",
    _index_mask,
    dict(
        input=lambda g, mask, input_shape, dim: apply(
            INDEX_MASK_BACKWARD, (g, mask), {"shape": input_shape, "dim": dim}
        )
    ),
)
INDEX_MASK_BACKWARD: Op = primitive(
    "index_backward",
    "indexed",
    _index_mask_backward,
    dict(grad=lambda g, mask, dim: apply(INDEX_MASK, (g, mask), {"dim": dim})),
)
