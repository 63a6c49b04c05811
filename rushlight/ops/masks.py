"""Elements chosen by a mask or by number in row-major order: `masked_select`, `nonzero`, `take`, `put`.

How many elements a mask chooses depends on its values, so these ops have no fixed shape. Invariant: elements
are read and written in row-major order, whatever the layout in memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rushlight.dtype import BOOL_NUMPY, I64
from rushlight.ops.accumulate import add_rows
from rushlight.ops.arguments import array_of, require_tensor
from rushlight.ops.broadcast import expand
from rushlight.ops.create import zeros_of
from rushlight.ops.define import INPLACE, TITLES, Op, apply
from rushlight.ops.gather import on_copy
from rushlight.ops.kinds import primitive, public
from rushlight.ops.samples import Sample, T
from rushlight.ops.shape import reshape_to
from rushlight.ops.shapes import broadcast_shape, expanded_shape
from rushlight.ops.slicing import PLACE
from rushlight.tensor import Tensor

# -- masks ---------------------------------------------------------------------------------------------------


def _masked_select(input: np.ndarray, mask: np.ndarray) -> np.ndarray:
    shape = broadcast_shape(mask.shape, input.shape)
    return np.broadcast_to(input, shape)[np.broadcast_to(mask, shape)]


def _scatter_masked(target: np.ndarray, mask: np.ndarray, source: np.ndarray) -> None:
    mask = np.broadcast_to(mask, target.shape)
    count = int(np.count_nonzero(mask))
    if source.size < count:
        raise RuntimeError(
            f"Number of elements of source < number of ones in mask: {source.size} elements for {count} "
            "places"
        )
    target[mask] = source.reshape(-1)[:count]


def _put_back(g: Tensor, mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The gradient of `masked_select`: zeros of the common shape, with the gradients where the mask chose."""
    common = broadcast_shape(mask._array.shape, shape)
    return apply(MASKED_SCATTER, (zeros_of(common, g._array.dtype), mask, g))


def _used_part(g: Tensor, mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The gradient of the source of `masked_scatter`: zero for the elements that were not used."""
    used = masked_select(g, mask)
    count = used._array.size
    padded = apply(PLACE, (used,), {"shape": (math.prod(shape),), "index": (slice(count),)})
    return reshape_to(padded, shape)


MASKED_SELECT: Op = primitive(
    "masked_select",
    "indexed",
    _masked_select,
    dict(input=lambda g, mask, input_shape: _put_back(g, mask, input_shape)),
)
MASKED_SCATTER: Op = primitive(
    "masked_scatter",
    "indexed",
    on_copy(_scatter_masked),
    dict(
        input=lambda g, mask: g.masked_fill(mask, 0),
        source=lambda g, mask, source_shape: _used_part(g, mask, source_shape),
    ),
    inputs=("input", "mask", "source"),
    update=_scatter_masked,
    overlap="any",
)


def _select_samples() -> list[Sample]:
    found = [
        Sample([T((2, 3)), T((2, 3), "bool")]),
        Sample([T((2, 3)), T((3,), "bool")]),
        Sample([T((3,)), T((2, 3), "bool")]),
    ]
    found += [
        Sample([T(()), T((), "bool", values=True)]),
        Sample([T((2, 3), "int64"), T((2, 1), "bool")]),
        Sample([T((0, 3)), T((3,), "bool")]),
    ]
    return [
        *found,
        Sample([T((3,)), T((3,), "uint8")], raises=True),
        Sample([T((3,)), T((2,), "bool")], raises=True),
    ]


@public(MASKED_SELECT, samples=_select_samples)
def masked_select(input: Tensor, mask: Tensor, *, out: Any = None) -> Tensor:
    """The elements of `input` where a bool tensor, broadcast with it, is true, in one dimension.

    >>> import rushlight as torch
    >>> x = torch.tensor([[1, 2], [3, 4]])
    >>> x.masked_select(x > 2)
    tensor([3, 4])
    """
    array_of("masked_select", input)
    if array_of("masked_select", mask, "mask", 2).dtype != BOOL_NUMPY:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    return apply(MASKED_SELECT, (input, mask), out=out)


def _scatter_samples() -> list[Sample]:
    mask = T((), "bool", values=[[True, False, True], [False, True, False]])
    x = T((2, 3))
    found = [
        Sample([x, mask, T((4,))]),
        Sample([x, mask, T((2, 2))]),
        Sample([x, T((), "bool", values=[True, False, True]), T((5,))]),
    ]
    found += [
        Sample([T((3,), grad=False), mask, T((3,))], inplace=False, why="the mask is larger"),
        Sample([T((2, 3), "int64"), mask, T((3,), "int64")]),
    ]
    refused = [
        (mask, T((2,))),
        (mask, T((4,), "int64")),
        (T((2, 3), "uint8"), T((6,))),
        (T((2,), "bool"), T((6,))),
    ]
    return found + [Sample([x, *each], raises=True) for each in refused]


@public(MASKED_SCATTER, samples=_scatter_samples, inplace=True)
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor, *, out: Any = None) -> Tensor:
    """`input` with its elements where a bool tensor is true replaced by those of `source`, in order.

    `out` serves the in-place form.

    >>> import rushlight as torch
    >>> x = torch.zeros(4)
    >>> x.masked_scatter(torch.tensor([True, False, True, False]), torch.tensor([5.0, 6.0]))
    tensor([5., 0., 6., 0.])
    """
    array, chosen = array_of("masked_scatter", input), array_of("masked_scatter", mask, "mask", 2)
    given = array_of("masked_scatter", source, "source", 3)
    if out is INPLACE:
        expanded_shape(chosen.shape, array.shape)
    else:
        shape = broadcast_shape(chosen.shape, array.shape)
        input = input if array.shape == shape else expand(input, shape)
    if given.dtype is not array.dtype:
        raise RuntimeError(
            "masked_scatter: expected self and source to have same dtypes but got"
            f"{TITLES[input.dtype.name]} and {TITLES[source.dtype.name]}"
        )
    if chosen.dtype != BOOL_NUMPY:
        title = TITLES[mask.dtype.name]
        raise RuntimeError(f"masked_scatter_ only supports boolean masks, but got mask with dtype {title}")
    return apply(MASKED_SCATTER, (input, mask, source), out=out)


# -- nonzero -------------------------------------------------------------------------------------------------


def _nonzero(input: np.ndarray) -> np.ndarray:
    if input.ndim == 0:
        return np.empty((int(bool(input)), 0), I64)
    return np.stack(np.nonzero(input)).T


NONZERO = primitive("nonzero", "opaque", _nonzero)


def _nonzero_samples() -> list[Sample]:
    some = T((), "int64", values=[[0, 2, 0], [3, 0, 4]])
    found = [
        Sample([some]),
        Sample([T((2, 3), "bool")]),
        Sample([T(())]),
        Sample([T((), "int64", values=0)]),
        Sample([T((0, 3))]),
    ]
    return found


@public(
    NONZERO,
    samples=lambda: [
        *_nonzero_samples(),
        *[Sample(s.args, {"as_tuple": True}, out=False) for s in _nonzero_samples()],
    ],
)
def nonzero(input: Tensor, *, as_tuple: bool = False, out: Any = None) -> Any:
    """The indices of the elements that are not zero, as rows, or as a vector for each dimension.

    >>> import rushlight as torch
    >>> torch.tensor([[0, 5], [7, 0]]).nonzero()
    tensor([[0, 1],
            [1, 0]])
    >>> torch.tensor([[0, 5], [7, 0]]).nonzero(as_tuple=True)
    (tensor([0, 1]), tensor([1, 0]))
    """
    array = array_of("nonzero", input)
    if as_tuple:
        return nonzero(input if array.ndim else reshape_to(input, (1,))).unbind(1)
    return apply(NONZERO, (input,), out=out)


@public(NONZERO, samples=_nonzero_samples)
def argwhere(input: Tensor) -> Tensor:
    """The indices of the elements that are not zero, as rows: `nonzero` under NumPy's name."""
    return nonzero(input)


# -- elements by number --------------------------------------------------------------------------------------


def _checked(index: np.ndarray, count: int) -> np.ndarray:
    """Numbers of elements, negative ones counted from the end, all in range."""
    bad = index[(index < -count) | (index >= count)]
    if bad.size:
        raise IndexError(
            f"out of range: tried to access index {bad.reshape(-1)[0]} on a tensor of {count} elements."
        )
    return np.where(index < 0, index + count, index)


def _take(input: np.ndarray, index: np.ndarray) -> np.ndarray:
    if input.size == 0 and index.size:
        raise IndexError("take(): tried to take from an empty tensor")
    return np.take(input, _checked(index, input.size)) if input.size else np.empty(index.shape, input.dtype)


def _put(target: np.ndarray, index: np.ndarray, source: Any, *, accumulate: bool) -> None:
    places = _checked(index, target.size).reshape(-1)
    values = np.broadcast_to(np.asarray(source, target.dtype).reshape(-1), places.shape)
    if not accumulate:
        np.put(target, places, values)
    elif target.flags.c_contiguous:
        add_rows(target.reshape(-1), places, values)
    else:
        np.add.at(target, np.unravel_index(places, target.shape), values)


TAKE: Op = primitive(
    "take",
    "indexed",
    _take,
    dict(
        input=lambda g, index, input_shape: apply(
            PUT, (zeros_of(input_shape, g._array.dtype), index, g), {"accumulate": True}
        )
    ),
)
PUT: Op = primitive(
    "put",
    "indexed",
    on_copy(_put, preserve=True),
    dict(
        input=lambda g, index, accumulate: (
            g if accumulate else apply(PUT, (g, index, 0.0), {"accumulate": False})
        ),
        source=lambda g, index, source_shape: reshape_to(apply(TAKE, (g, index)), source_shape),
    ),
    inputs=("input", "index", "source"),
    update=_put,
    overlap="any",
)


def _take_samples() -> list[Sample]:
    x = T((2, 3))
    found = [Sample([x, T((), "int64", values=each)]) for each in ([0, 5, 0], [[-1, 2]], 3)]
    found += [
        Sample([x, T((0,), "int64")]),
        Sample([T((2, 3), "bool"), T((), "int64", values=[1])]),
        Sample([T((0,)), T((0,), "int64")]),
    ]
    refused = [
        (x, T((), "int64", values=[6])),
        (x, T((), "int64", values=[-7])),
        (x, T((2,))),
        (T((0,)), T((), "int64", values=[0])),
    ]
    return found + [Sample(each, raises=True) for each in refused]


@public(TAKE, samples=_take_samples)
def take(input: Tensor, index: Tensor, *, out: Any = None) -> Tensor:
    """The elements of `input` with these numbers in row-major order, in the shape of `index`.

    >>> import rushlight as torch
    >>> torch.tensor([[4, 3], [6, 8]]).take(torch.tensor([0, -1]))
    tensor([4, 8])
    """
    array_of("take", input)
    if array_of("take", index, "index", 2).dtype != I64:
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {TITLES[index.dtype.name]}")
    return apply(TAKE, (input, index), out=out)


def _put_samples() -> list[Sample]:
    x, some = T((2, 3)), T((), "int64", values=[1, -1])
    found = [
        Sample([x, some, T((2,))]),
        Sample([x, T((), "int64", values=[[1, 1]]), T((2,)), True]),
        Sample([x, some, T((1, 2))]),
    ]
    found += [Sample([T((2, 3), "int64"), some, T((2,), "int64")])]
    refused = [
        (T((), "int64", values=[6]), T((1,))),
        (some, T((3,))),
        (some, T((2,), "int64")),
        (T((2,)), T((2,))),
        (some, 1.0),
    ]
    return found + [Sample([x, *each], raises=True) for each in refused]


@public(PUT, samples=_put_samples, inplace=True)
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False, *, out: Any = None) -> Tensor:
    """`input` with the elements of these row-major numbers replaced (or increased) by those of `source`.

    `out` serves the in-place form.

    >>> import rushlight as torch
    >>> torch.zeros(2, 2).put(torch.tensor([1, -1]), torch.tensor([5.0, 6.0]))
    tensor([[0., 5.],
            [0., 6.]])
    """
    array, numbers = array_of("put", input), array_of("put", index, "index", 2)
    require_tensor("put", "source", 3, source)
    given = source._array
    if numbers.dtype != I64:
        raise RuntimeError(f"put_(): Expected a long tensor for index, but got {TITLES[index.dtype.name]}")
    if given.dtype is not array.dtype:
        raise RuntimeError(
            "put_(): self and source expected to have the same dtype, but got self.dtype = "
            f"{TITLES[input.dtype.name]} and source.dtype = {TITLES[source.dtype.name]}"
        )
    if given.size != numbers.size:
        raise IndexError(
            "put_(): Expected source and index to have the same number of elements, but got source.numel() = "
            f"{given.size}, index.numel() = {numbers.size}"
        )
    return apply(PUT, (input, index, source), {"accumulate": accumulate}, out)
