"""Slices by a vector of places in one dimension: `index_select`, `index_add`, `index_copy`, `index_fill`.

Invariant: an index that is out of bounds is noticed before anything is written; only `index_fill` takes
negative ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.dtype import I64
from rushlight.ops.accumulate import add_rows
from rushlight.ops.arguments import array_of, numpy_names, require_tensor
from rushlight.ops.create import zeros_of
from rushlight.ops.define import TITLES, Op, apply
from rushlight.ops.gather import first_outside, on_copy, with_dims
from rushlight.ops.kinds import primitive, public, renamed
from rushlight.ops.samples import Sample, T
from rushlight.ops.writes import fitting_number
from rushlight.storage import row_major
from rushlight.tensor import Tensor, normal_dim

_INT32 = np.dtype(np.int32)


def _along(dim: int, index: Any) -> tuple[Any, ...]:
    return (*[slice(None)] * dim, index)


# -- kernels -------------------------------------------------------------------------------------------------


def _select(input: np.ndarray, index: np.ndarray, *, dim: int) -> np.ndarray:
    source, index = with_dims(input), with_dims(index)
    if first_outside(index, source.shape[dim]) is not None:
        raise IndexError(
            f"index out of range in self: the index holds {first_outside(index, source.shape[dim])}, "
            f"dimension {dim} has {source.shape[dim]} elements"
        )
    if source.flags.c_contiguous:
        made = source.take(index, dim)
    else:
        made = row_major(source[_along(dim, index)])
    return made if input.ndim else made.reshape(())


def _refuse_outside(
    index: np.ndarray, dim: int, size: int, what: str = "", error: type[Exception] = RuntimeError
) -> None:
    bad = first_outside(index, size)
    if bad is not None:
        raise error(f"{what}index {bad} is out of bounds for dimension {dim} with size {size}")


def _add(target: np.ndarray, index: np.ndarray, source: np.ndarray, *, dim: int, alpha: Any) -> None:
    target, index, source = with_dims(target), with_dims(index), with_dims(source)
    _refuse_outside(index, dim, target.shape[dim])
    if target.size:
        scaled = source if alpha == 1 else source * np.asarray(alpha, source.dtype)
        add_rows(target.swapaxes(0, dim), index, scaled.swapaxes(0, dim))


def _copy(target: np.ndarray, index: np.ndarray, source: np.ndarray, *, dim: int) -> None:
    target, index, source = with_dims(target), with_dims(index), with_dims(source)
    _refuse_outside(index, dim, target.shape[dim], "index_copy_(): ", IndexError)
    target[_along(dim, index)] = source


def _fill(target: np.ndarray, index: np.ndarray, value: Any, *, dim: int) -> None:
    target, index = with_dims(target), with_dims(index)
    size = target.shape[dim]
    bad = index[(index < -size) | (index >= size)]
    if bad.size:
        raise IndexError(f"index {bad[0]} is out of bounds for dimension {dim} with size {size}")
    target[_along(dim, index)] = value


# -- ops -----------------------------------------------------------------------------------------------------


def _selected(g: Tensor, index: Tensor, dim: int) -> Tensor:
    return apply(INDEX_SELECT, (g, index), {"dim": dim})


def _selected_like(g: Tensor, index: Tensor, dim: int, shape: tuple[int, ...]) -> Tensor:
    """The slices that an index names, in the shape that the source of a write had."""
    chosen = _selected(g, index, dim)
    return chosen if chosen._array.shape == shape else chosen.reshape(shape)


def _selected_sum(g: Tensor, index: Tensor, dim: int) -> Tensor:
    return _selected(g, index, dim).sum()


INDEX_SELECT: Op = primitive(
    "index_select",
    "indexed",
    _select,
    dict(
        input=lambda g, index, input_shape, dim: apply(
            INDEX_ADD, (zeros_of(input_shape, g._array.dtype), index, g), {"dim": dim, "alpha": 1}
        )
    ),
)
INDEX_ADD: Op = primitive(
    "index_add",
    "indexed",
    on_copy(_add),
    dict(
        input=lambda g: g,
        source=lambda g, index, source_shape, dim, alpha: _selected_like(g, index, dim, source_shape) * alpha,
    ),
    inputs=("input", "index", "source"),
    update=_add,
    overlap="any",
)
INDEX_COPY: Op = primitive(
    "index_copy",
    "indexed",
    on_copy(_copy),
    dict(
        input=lambda g, index, dim: apply(INDEX_FILL_NUMBER, (g, index, 0.0), {"dim": dim}),
        source=lambda g, index, source_shape, dim: _selected_like(g, index, dim, source_shape),
    ),
    inputs=("input", "index", "source"),
    update=_copy,
    overlap="any",
)
INDEX_FILL: Op = primitive(
    "index_fill",
    "indexed",
    on_copy(_fill, preserve=True),
    dict(
        input=lambda g, index, dim: apply(INDEX_FILL_NUMBER, (g, index, 0.0), {"dim": dim}),
        value=lambda g, index, dim: _selected_sum(g, index, dim),
    ),
    inputs=("input", "index", "value"),
    node_name="IndexFillBackward1",
    update=_fill,
    overlap="expanded",
)
INDEX_FILL_NUMBER = renamed(INDEX_FILL, "IndexFillBackward0", ("value",))


def _rows(values: Any, dtype: str = "int64") -> T:
    return T((), dtype, values=values)


# -- index_select --------------------------------------------------------------------------------------------


def _select_samples() -> list[Sample]:
    x, rows = T((3, 4)), _rows([2, 0, 0])
    found = [
        Sample([x, 0, rows]),
        Sample([x, -1, rows]),
        Sample([T((2, 3, 2)), 1, rows]),
        Sample([x, 0, _rows(1)]),
    ]
    found += [
        Sample([x, 1, _rows([3], "int32")]),
        Sample([T(()), 0, _rows([0])]),
        Sample([T((3,), "bool"), 0, rows]),
    ]
    found += [
        Sample([x, 0, T((0,), "int64")]),
        Sample([T((0, 3)), 1, rows]),
        Sample([x], {"dim": 0, "index": rows}),
    ]
    refused: list[tuple[Any, ...]] = [
        (0, _rows([[0]])),
        (0, _rows([3])),
        (0, _rows([-1])),
        (0, _rows([0], "int16")),
        (2, rows),
        (0, T((3,), "bool")),
    ]
    return (
        found
        + [Sample([x, *each], raises=True) for each in refused]
        + [Sample([T(()), 0, _rows([0, 0])], raises=True)]
    )


@public(INDEX_SELECT, samples=_select_samples)
@numpy_names
def index_select(input: Tensor, dim: int, index: Tensor, *, out: Any = None) -> Tensor:
    """The slices of `input` at the places of a dimension that a vector names, in its order.

    >>> import rushlight as torch
    >>> torch.tensor([[1, 2], [3, 4]]).index_select(1, torch.tensor([1, 1]))
    tensor([[2, 2],
            [4, 4]])
    """
    array, chosen = array_of("index_select", input), array_of("index_select", index, "index", 3)
    if chosen.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    if chosen.dtype != I64 and chosen.dtype != _INT32:
        raise RuntimeError("index_select(): Expected dtype int32 or int64 for index")
    dim = normal_dim(dim, array.ndim)
    if array.ndim == 0 and chosen.size != 1:
        raise RuntimeError(
            f"index_select(): Index to scalar can have only 1 value, got {chosen.size} value(s)"
        )
    return apply(INDEX_SELECT, (input, index), {"dim": dim}, out)


# -- index_add -----------------------------------------------------------------------------------------------


def _add_samples() -> list[Sample]:
    x, rows = T((3, 4)), _rows([2, 0, 2])
    found = [
        Sample([x, 0, rows, T((3, 4))]),
        Sample([x, 1, rows, T((3, 3))], {"alpha": -2}),
        Sample([x, 0, _rows(1), T((1, 4))]),
    ]
    found += [
        Sample([T((3,), "int64"), 0, rows, T((3,), "int64")], {"alpha": 2}),
        Sample([T(()), 0, _rows(0), T(())]),
    ]
    found += [Sample([x, -1, _rows([0], "int32"), T((3, 1))]), Sample([x, 0, T((0,), "int64"), T((0, 4))])]
    refused: list[tuple[Any, ...]] = [
        (0, rows, T((3, 4), "int64")),
        (0, _rows([3]), T((1, 4))),
        (0, _rows([-1]), T((1, 4))),
        (0, rows, T((2, 4))),
    ]
    refused += [
        (0, _rows([[0]]), T((1, 4))),
        (0, _rows([0, 1]), T((2, 1))),
        (0, T((3,)), T((3, 4))),
        (0, rows, 1.0),
    ]
    return found + [Sample([x, *each], raises=True) for each in refused]


@public(INDEX_ADD, samples=_add_samples, inplace=True)
@numpy_names
def index_add(
    input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1, out: Any = None
) -> Tensor:
    """`input` with ``alpha * source`` added to the slices that a vector names, repeated ones included.

    >>> import rushlight as torch
    >>> torch.zeros(3).index_add(0, torch.tensor([0, 0, 2]), torch.tensor([1.0, 2.0, 3.0]))
    tensor([3., 0., 3.])
    """
    dim = check_slices("index_add", input, dim, index, source)
    alpha = alpha if input._array.dtype.kind == "f" else int(alpha)
    return apply(INDEX_ADD, (input, index, source), {"dim": dim, "alpha": alpha}, out)


def check_slices(name: str, input: Tensor, dim: int, index: Tensor, source: Tensor) -> int:
    """The dimension, counted from the front, where the slices of `source` may be combined into `input`'s."""
    array, chosen = array_of(name, input), array_of(name, index, "index", 3)
    given = array_of(name, source, "source", 4)
    dim = normal_dim(dim, array.ndim)
    if chosen.ndim > 1:
        raise IndexError(
            f"{name}_(): Index is supposed to be a vector, but got dim: {chosen.ndim} with type: "
            f"{TITLES[index.dtype.name]} and size: {list(chosen.shape)}"
        )
    if chosen.dtype != I64 and chosen.dtype != _INT32:
        raise RuntimeError(
            f"{name}_(): Expected dtype int32/int64 for index but got: {TITLES[index.dtype.name]}"
        )
    if given.dtype is not array.dtype:
        raise RuntimeError(
            f"{name}_(): self ({TITLES[input.dtype.name]}) and source ({TITLES[source.dtype.name]}) "
            "must have the same scalar type"
        )
    length = given.shape[dim] if given.ndim > dim else 1
    if chosen.size != length:
        raise RuntimeError(
            f"{name}_(): Number of indices ({chosen.size}) should be equal to source.size(dim): "
            f"({length}), for dim: {dim}"
        )
    if _without(array.shape, dim) != _without(given.shape, dim) or array.ndim != given.ndim:
        raise RuntimeError(
            "source tensor shape must match self tensor shape, excluding the specified dimension. Got "
            f"self.shape = {list(array.shape)} source.shape = {list(given.shape)}"
        )
    return dim


def _without(shape: tuple[int, ...], dim: int) -> tuple[int, ...]:
    return shape[:dim] + shape[dim + 1 :]


# -- index_copy ----------------------------------------------------------------------------------------------


def _copy_samples() -> list[Sample]:
    x, rows = T((3, 4)), _rows([2, 0])
    found = [
        Sample([x, 0, rows, T((2, 4))]),
        Sample([x, -1, rows, T((3, 2))]),
        Sample([x, 0, T((0,), "int64"), T((0, 4))]),
    ]
    found += [Sample([T((3,), "int64"), 0, rows, T((2,), "int64")]), Sample([T(()), 0, _rows(0), T(())])]
    refused: list[tuple[Any, ...]] = [
        (_rows([0, 3]), T((2, 4))),
        (_rows([-1]), T((1, 4))),
        (rows, T((3, 4))),
        (rows, T((4,))),
        (_rows([[0]]), x),
    ]
    refused += [(rows, T((2, 4), "int64")), (rows, T((2, 1))), (_rows([0], "int32"), T((1, 4))), (rows, 1.0)]
    return found + [Sample([x, 0, *each], raises=True) for each in refused]


@public(INDEX_COPY, samples=_copy_samples, inplace=True)
@numpy_names
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor, *, out: Any = None) -> Tensor:
    """`input` with the slices that a vector names replaced by those of `source`.

    >>> import rushlight as torch
    >>> torch.zeros(3).index_copy(0, torch.tensor([2, 0]), torch.tensor([1.0, 2.0]))
    tensor([2., 0., 1.])
    """
    array, chosen = array_of("index_copy", input), array_of("index_copy", index, "index", 3)
    given = array_of("index_copy", source, "source", 4)
    dim = normal_dim(dim, array.ndim)
    if chosen.ndim > 1:
        raise IndexError(f"index_copy_(): Index should have dimension 1 or 0 (got {chosen.ndim})")
    if given.ndim and array.ndim and given.ndim != array.ndim:
        raise IndexError(
            "index_copy_(): When source and destination are not scalars, their dimensionality must match. "
            f"Source dimensionality ({given.ndim}), destination dimensionality ({array.ndim})"
        )
    if chosen.dtype != I64:
        raise RuntimeError(
            f"index_copy_(): Expected a long tensor for index, but got {TITLES[index.dtype.name]}"
        )
    if given.dtype is not array.dtype:
        raise RuntimeError(
            "index_copy_(): self and source expected to have the same dtype, but got (self) "
            f"{TITLES[input.dtype.name]} and (source) {TITLES[source.dtype.name]}"
        )
    ours, theirs = _without(array.shape, dim), _without(given.shape, dim)
    if ours != theirs:
        raise RuntimeError(
            "index_copy_(): Source/destination tensor must have same slice shapes. Destination slice "
            f"shape: {' '.join(map(str, ours))} at dimension {dim} and source slice shape: "
            f"{' '.join(map(str, theirs))} at dimension 0."
        )
    length = given.shape[dim] if given.ndim else 1
    if chosen.size != length:
        raise IndexError(
            f"index_copy_(): Number of indices ({chosen.size}) should be equal to source.size(dim) ({length})"
        )
    return apply(INDEX_COPY, (input, index, source), {"dim": dim}, out)


# -- index_fill ----------------------------------------------------------------------------------------------


def _fill_samples() -> list[Sample]:
    x, rows = T((3, 4)), _rows([2, -3])
    found = [
        Sample([x, 0, rows, 1.5]),
        Sample([x, -1, rows, 2]),
        Sample([x, 0, rows, T(())]),
        Sample([T((3,), "int64"), 0, rows, 2.5]),
    ]
    found += [
        Sample([T(()), 0, _rows([0]), 5]),
        Sample([x, 0, T((0,), "int64"), 5]),
        Sample([x, 1, _rows(1), T((), "int64")]),
    ]
    refused: list[tuple[Any, ...]] = [
        (0, _rows([3]), 1),
        (0, rows, T((1,))),
        (0, _rows([[0]]), 1),
        (0, _rows([0], "int32"), 1),
        (2, rows, 1),
    ]
    return found + [Sample([x, *each], raises=True) for each in refused]


@public(INDEX_FILL_NUMBER, samples=_fill_samples, inplace=True)
@numpy_names
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any, *, out: Any = None) -> Tensor:
    """`input` with every element of the slices that a vector names set to `value`, a number or a 0-d tensor.

    `out` serves the in-place form.

    >>> import rushlight as torch
    >>> torch.zeros(2, 2).index_fill(1, torch.tensor([-1]), 7)
    tensor([[0., 7.],
            [0., 7.]])
    """
    array, chosen = array_of("index_fill", input), array_of("index_fill", index, "index", 3)
    dim = normal_dim(dim, array.ndim)
    if chosen.dtype != I64:
        raise IndexError("index_fill_(): Expected dtype int64 for index.")
    if chosen.ndim > 1:
        raise RuntimeError("Index has to be a vector/scalar")
    if not isinstance(value, Tensor):
        if not isinstance(value, (bool, int, float)):
            require_tensor("index_fill", "value", 4, value)
        return apply(INDEX_FILL_NUMBER, (input, index, fitting_number(value, array.dtype)), {"dim": dim}, out)
    if value._array.ndim:
        raise RuntimeError(
            "index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
            f"{value._array.ndim} dimension(s)."
        )
    return apply(INDEX_FILL, (input, index, value), {"dim": dim}, out)
