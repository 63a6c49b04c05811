"""Elements gathered along a dimension, and scattered back: `gather`, `scatter`, `scatter_add`.

Element ``index[i, j]`` along the chosen dimension is read, or written, for each place (i, j) of the index
tensor. Unlike indexing with brackets, negative indices are refused here. Invariant: an index that is out of
bounds is noticed before anything is written.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from rushlight.dtype import I64
from rushlight.ops.accumulate import add_rows
from rushlight.ops.arguments import array_of, numpy_names, require_tensor
from rushlight.ops.create import zeros_of
from rushlight.ops.define import TITLES, Op, apply
from rushlight.ops.kinds import composite, primitive, public
from rushlight.ops.samples import Sample, T
from rushlight.ops.shape import reshape_to
from rushlight.ops.shapes import broadcast_shape
from rushlight.ops.slicing import SLICE
from rushlight.ops.writes import fitting_number
from rushlight.storage import copy_order, row_major
from rushlight.tensor import Tensor, normal_dim

# -- places --------------------------------------------------------------------------------------------------

_INT32 = np.dtype(np.int32)


def first_outside(index: np.ndarray, size: int) -> int | None:
    """The first element of an int64 or int32 array that is negative or not below `size`."""
    if index.size == 0:
        return None
    if index.dtype is I64:  # as unsigned numbers the negative ones are the largest: one pass finds both
        if np.maximum.reduce(index.view(np.uint64), axis=None) < size:
            return None
    elif np.minimum.reduce(index, axis=None) >= 0 and np.maximum.reduce(index, axis=None) < size:
        return None
    return int(index[(index < 0) | (index >= size)].reshape(-1)[0])


def places_along(index: np.ndarray, dim: int, size: int) -> tuple[np.ndarray, ...]:
    """What to index an array with to reach the places that `index` names along `dim`."""
    bad = first_outside(index, size)
    if bad is not None:
        raise RuntimeError(f"index {bad} is out of bounds for dimension {dim} with size {size}")
    ndim = index.ndim
    key = []
    for each, length in enumerate(index.shape):
        if each == dim:
            key.append(index)
        else:
            own = np.arange(length)
            key.append(own if each == ndim - 1 else own.reshape((length,) + (1,) * (ndim - each - 1)))
    return tuple(key)


def with_dims(array: np.ndarray) -> np.ndarray:
    """0-d arrays as 1-d ones, a view."""
    return array if array.ndim else array.reshape(1)


def _part(source: Any, index: np.ndarray) -> Any:
    """The corner of `source` that an index of possibly smaller shape uses."""
    if not isinstance(source, np.ndarray) or source.shape == index.shape:
        return source
    return with_dims(source)[tuple([slice(length) for length in index.shape])]


def scatter_into(target: np.ndarray, index: np.ndarray, source: Any, *, dim: int) -> None:
    """``target[index[i]] = source[i]`` along a dimension, in place."""
    target, index = with_dims(target), with_dims(index)
    if index.size:
        target[places_along(index, dim, target.shape[dim])] = _part(source, index)


def add_into(target: np.ndarray, index: np.ndarray, source: np.ndarray, *, dim: int) -> None:
    """``target[index[i]] += source[i]`` along a dimension, in place, repeated places included."""
    target, index = with_dims(target), with_dims(index)
    if not index.size:
        return
    key, source = places_along(index, dim, target.shape[dim]), _part(source, index)
    if index.shape[dim] == 1:
        target[key] += source
    elif target.flags.c_contiguous:
        flat = np.ravel_multi_index(np.broadcast_arrays(*key), target.shape)
        add_rows(target.reshape(-1), flat.reshape(-1), source.reshape(-1))
    else:
        np.add.at(target, key, source)


# -- the ops -------------------------------------------------------------------------------------------------


def _gather(input: np.ndarray, index: np.ndarray, *, dim: int) -> np.ndarray:
    if not index.size:
        return np.empty(index.shape, input.dtype)
    source, places = with_dims(input), with_dims(index)
    return row_major(source[places_along(places, dim, source.shape[dim])]).reshape(index.shape)


def on_copy(update: Any, preserve: bool = False) -> Any:
    """The out-of-place form of an update, on a row-major copy or one that preserves the order in memory."""

    def forward(input: np.ndarray, *others: Any, **params: Any) -> np.ndarray:
        made = input.copy(copy_order(input) if preserve else "C")
        update(made, *others, **params)
        return made

    return forward


def _gather_op(g: Tensor, index: Tensor, dim: int) -> Tensor:
    return apply(GATHER, (g, index), {"dim": dim})


def _scatter_back(g: Tensor, index: Tensor, shape: tuple[int, ...], dim: int) -> Tensor:
    return apply(SCATTER_ADD, (zeros_of(shape, g._array.dtype), index, g), {"dim": dim})


GATHER: Op = primitive(
    "gather",
    "indexed",
    _gather,
    # PyTorch keeps the input itself, not only its shape, and so forbids changing it in place: so do we
    dict(input=lambda g, input, index, dim: _scatter_back(g, index, input._array.shape, dim)),
)
SCATTER: Op = primitive(
    "scatter",
    "indexed",
    on_copy(scatter_into),
    dict(
        input=lambda g, index, dim: apply(SCATTER_NUMBER, (g, index, 0.0), {"dim": dim}),
        src=lambda g, index, dim: _gather_op(g, index, dim),
    ),
    inputs=("input", "index", "src"),
    update=scatter_into,
    overlap="any",
)
SCATTER_NUMBER: Op = primitive(
    "scatter",
    "indexed",
    on_copy(scatter_into),
    dict(input=lambda g, index, dim: apply(SCATTER_NUMBER, (g, index, 0.0), {"dim": dim})),
    inputs=("input", "index", "value"),
    node_name="ScatterBackward1",
    update=scatter_into,
    overlap="any",
)
SCATTER_ADD: Op = primitive(
    "scatter_add",
    "indexed",
    on_copy(add_into),
    dict(input=lambda g: g, src=lambda g, index, dim: _gather_op(g, index, dim)),
    inputs=("input", "index", "src"),
    update=add_into,
    overlap="any",
)


def check_index_type(name: str, index: Any, position: int = 3) -> None:
    """Refuse an index that is no tensor of int64 or int32."""
    kind = array_of(name, index, "index", position).dtype
    if kind is not I64 and kind != _INT32:
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index")


def _larger(index: tuple[int, ...], other: tuple[int, ...], dim: int) -> int | None:
    """The first dimension but `dim` (-1: any) in which an index is larger than what it points into."""
    for each, length in enumerate(index):
        if each != dim and length > (other[each] if other else 1):
            return each
    return None


# -- gather --------------------------------------------------------------------------------------------------


def _rows(values: Any, dtype: str = "int64") -> T:
    return T((), dtype, values=values)


def _gather_samples() -> list[Sample]:
    x, one, rows = T((3, 4)), _rows([[0, 2, 1, 0]]), _rows([[0, 0], [2, 1], [1, 3]])
    found = [
        Sample([x, 0, one]),
        Sample([x, 1, rows]),
        Sample([x, -1, rows]),
        Sample([x, 1, _rows([[3], [0], [3]])]),
    ]
    found += [
        Sample([x, 0, _rows([[0, 1]], "int32")]),
        Sample([T(()), 0, _rows(0)]),
        Sample([T(()), 0, _rows([0, 0])]),
    ]
    found += [
        Sample([T((3,)), 0, _rows(2)]),
        Sample([T((3,), "bool"), 0, _rows([2, 0])]),
        Sample([x, 0, T((0, 4), "int64")]),
    ]
    refused = [
        (0, _rows([[3]])),
        (0, _rows([[-1]])),
        (0, _rows([0])),
        (1, _rows([[0]] * 4)),
        (2, one),
        (0, T((1, 2))),
    ]
    return found + [Sample([x, *each], raises=True) for each in refused]


@public(GATHER, samples=_gather_samples)
@numpy_names
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False, out: Any = None) -> Tensor:
    """The elements of `input` at the places along `dim` that an index tensor of as many dimensions names.

    In two dimensions along 0: ``result[i, j] = input[index[i, j], j]``. `sparse_grad` is not supported.

    >>> import rushlight as torch
    >>> torch.tensor([[1, 2], [3, 4]]).gather(1, torch.tensor([[0, 0], [1, 0]]))
    tensor([[1, 1],
            [4, 3]])
    """
    if sparse_grad:
        raise NotImplementedError("gather(): sparse_grad is not supported: gradients are dense")
    shape = array_of("gather", input).shape
    dim = normal_dim(dim, len(shape))
    check_index_type("gather", index)
    own = index._array.shape
    if index._array.size:
        if max(len(own), 1) != max(len(shape), 1):
            raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
        large = _larger(own, shape, dim)
        if large is not None:
            raise RuntimeError(
                f"Size does not match at dimension {large} expected index {list(own)} to be no larger than "
                f"self {list(shape)} apart from dimension {dim}"
            )
    return apply(GATHER, (input, index), {"dim": dim}, out)


def _along_samples() -> list[Sample]:
    x = T((3, 4))
    found = [
        Sample([x, _rows([[0, 2, -1, 0]]), 0]),
        Sample([x, _rows([[0], [3], [1]]), 1]),
        Sample([x, _rows([0, 11, 5])]),
    ]
    found += [Sample([x, _rows([[1]])], {"dim": -1}), Sample([T((1, 4)), _rows([[1], [2]]), 1])]
    refused = [(_rows([0]), 0), (T((1, 4)), 0), (_rows([[0]]), 2), (_rows([12]),)]
    return found + [Sample([x, *each], raises=True) for each in refused]


@composite(samples=_along_samples)
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None, *, out: Any = None) -> Tensor:
    """`gather` with broadcasting between `input` and `indices`; without `dim`, from all elements in one row.

    >>> import rushlight as torch
    >>> x = torch.tensor([[3, 1, 2]])
    >>> x.take_along_dim(x.argsort(dim=1), dim=1)
    tensor([[1, 2, 3]])
    """
    shape = array_of("take_along_dim", input).shape
    array = array_of("take_along_dim", indices, "indices", 2)
    if array.dtype != I64:
        title = TITLES[indices.dtype.name]
        raise RuntimeError(f"torch.take_along_dim(): dtype of indices should be Long but got {title}")
    if dim is None:
        input, indices, dim = input.reshape(-1), indices.reshape(-1), 0
    else:
        if array.ndim != len(shape):
            raise RuntimeError(
                "torch.take_along_dim(): input and indices should have the same number of dimensions, but "
                f"got {len(shape)} dimensions for input, and {array.ndim} dimensions for indices"
            )
        dim = normal_dim(dim, len(shape))
        ours, theirs = list(shape), list(array.shape)
        ours[dim] = theirs[dim] = 1
        common = broadcast_shape(ours, theirs)
        input = input.expand((*common[:dim], shape[dim], *common[dim + 1 :]))
        indices = indices.expand((*common[:dim], array.shape[dim], *common[dim + 1 :]))
        indices = indices.remainder(shape[dim]) if shape[dim] else indices  # PyTorch wraps them around, too
    return gather(input, dim, indices, out=out)


# -- scatter -------------------------------------------------------------------------------------------------


def check_scatter(name: str, input: Tensor, dim: int, index: Tensor, src: Any) -> tuple[int, Any]:
    """The checks of `scatter` and its kin; returns `dim` from the front, and the part of `src` in use."""
    shape = array_of(name, input).shape
    dim = normal_dim(dim, len(shape))
    check_index_type("scatter", index)
    own = index._array.shape
    if isinstance(src, Tensor) and src._array.dtype is not input._array.dtype:
        raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
    if not index._array.size:
        return dim, zeros_of(own, input._array.dtype) if isinstance(src, Tensor) else src
    if max(len(own), 1) != max(len(shape), 1):
        raise RuntimeError("Index tensor must have the same number of dimensions as self tensor")
    too_large = _larger(own, shape, dim) is not None
    theirs = src._array.shape if isinstance(src, Tensor) else own
    if isinstance(src, Tensor) and max(len(own), 1) != max(len(theirs), 1):
        raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
    if too_large or _larger(own, theirs, -1) is not None:
        beyond = f" and to be no larger size than src {list(theirs)}" if isinstance(src, Tensor) else ""
        raise RuntimeError(
            f"Expected index {list(own)} to be no larger than self {list(shape)} apart from dimension "
            f"{dim}{beyond}"
        )
    if theirs != own and theirs and own:
        src = apply(SLICE, (src,), {"index": tuple([slice(length) for length in own])})
    elif theirs != own:
        src = reshape_to(src, own)
    return dim, src


def _scatter_samples() -> list[Sample]:
    x, rows = T((3, 4)), _rows([[0, 0], [2, 1]])
    one = _rows([[0, 2, 1, 0]])
    found = [
        Sample([x, 0, one, T((1, 4))]),
        Sample([x, 0, one, 1.5]),
        Sample([x, 1, _rows([[1, 0], [2, 3]]), T((2, 2))]),
    ]
    found += [
        Sample([x, 0, one, T((2, 4), grad=False)]),
        Sample([T((3,), "int64"), 0, _rows([1]), 2.7]),
        Sample([T(()), 0, _rows(0), 2]),
    ]
    found += [Sample([x, 0, T((0, 4), "int64"), T((3, 4), grad=False)])]
    for how in ("add", "multiply"):
        found.append(Sample([x, 0, rows, 2.0], {"reduce": how}, grads=False, why="PyTorch has no derivative"))
        found.append(
            Sample([x, 0, rows, T((2, 2))], {"reduce": how}, grads=False, why="PyTorch has no derivative")
        )
    refused = [
        (0, one, T((1, 4), "int64")),
        (0, _rows([[3]]), 1.0),
        (0, _rows([[-1]]), 1.0),
        (0, _rows([0]), 1.0),
    ]
    refused += [(0, _rows([[0] * 5]), 1.0), (0, _rows([[0] * 4] * 2), T((1, 4))), (0, T((1, 4)), 1.0)]
    found += [Sample([x, *each], raises=True) for each in refused]
    return [*found, Sample([x, 0, one, 1.0], {"reduce": "mean"}, raises=True)]


@public(SCATTER, samples=_scatter_samples, inplace=True)
@numpy_names
def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Any = None,
    *,
    value: Any = None,
    reduce: str | None = None,
    out: Any = None,
) -> Tensor:
    """`input` with the elements of `src` (a tensor or a number) written where `index` points along `dim`.

    In two dimensions along 0: ``result[index[i, j], j] = src[i, j]``. `reduce` may be "add" or "multiply",
    for which `scatter_reduce` is the newer name. Of several elements for one place an arbitrary one stays.

    >>> import rushlight as torch
    >>> torch.zeros(2, 3).scatter(0, torch.tensor([[0, 1, 0]]), torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[1., 0., 3.],
            [0., 2., 0.]])
    """
    given = src if value is None else value
    if given is None or not isinstance(given, (Tensor, bool, int, float)):
        raise TypeError(
            "scatter() received an invalid combination of arguments: it needs a Tensor src or a number "
            f"value, got {type(given).__name__}"
        )
    if reduce is not None:
        return _scatter_reducing(input, dim, index, given, reduce, out)
    dim, given = check_scatter("scatter", input, dim, index, given)
    if isinstance(given, Tensor):
        return apply(SCATTER, (input, index, given), {"dim": dim}, out)
    return apply(SCATTER_NUMBER, (input, index, fitting_number(given, input._array.dtype)), {"dim": dim}, out)


def _scatter_reducing(input: Tensor, dim: int, index: Tensor, given: Any, reduce: str, out: Any) -> Tensor:
    from rushlight.ops.scatter_reduce import scatter_reduce

    if reduce not in ("add", "multiply"):
        raise RuntimeError("reduce argument must be either add or multiply.")
    if isinstance(given, Tensor):
        warnings.warn(
            "The reduce argument of torch.scatter with Tensor src is deprecated and will be removed in a "
            "future PyTorch release. Use torch.scatter_reduce instead for more reduction options.",
            stacklevel=3,
        )
    else:
        check_index_type("scatter", index)
        given = input.new_full(tuple(index.shape), fitting_number(given, input._array.dtype))
    return scatter_reduce(input, dim, index, given, "sum" if reduce == "add" else "prod", out=out)


def _scatter_add_samples() -> list[Sample]:
    x, rows = T((3, 4)), _rows([[0, 0, 2, 0], [0, 1, 2, 2]])
    found = [Sample([x, 0, rows, T((2, 4))]), Sample([x, 1, _rows([[1, 1, 1], [3, 0, 3]]), T((2, 3))])]
    found += [
        Sample([x, 0, rows, T((3, 4), grad=False)]),
        Sample([T((3,), "int64"), 0, _rows([1, 1]), T((2,), "int64")]),
    ]
    found += [
        Sample([T(()), 0, _rows([0, 0]), T((2,))]),
        Sample([x, 0, T((0, 4), "int64"), T((3, 4), grad=False)]),
    ]
    refused = [
        (0, rows, T((2, 4), "int64")),
        (0, _rows([[3]]), x),
        (0, _rows([0]), x),
        (0, rows, 1.0),
        (0, rows, T((1, 4))),
    ]
    return found + [Sample([x, *each], raises=True) for each in refused]


@public(SCATTER_ADD, samples=_scatter_add_samples, inplace=True)
@numpy_names
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor, *, out: Any = None) -> Tensor:
    """`input` with the elements of `src` added where `index` points along `dim`, repeated places included.

    >>> import rushlight as torch
    >>> torch.zeros(3).scatter_add(0, torch.tensor([0, 2, 2]), torch.tensor([1.0, 2.0, 3.0]))
    tensor([1., 0., 5.])
    """
    require_tensor("scatter_add", "src", 4, src)
    dim, part = check_scatter("scatter_add", input, dim, index, src)
    return apply(SCATTER_ADD, (input, index, part), {"dim": dim}, out)
