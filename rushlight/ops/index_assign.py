"""Writing by index: ``x[index] = value`` and `index_put`.

A basic index makes a view, which is filled or copied into; picks go through one op that writes only the
places picked. Invariant: a write through any index reaches the tensor's own memory, and its history knows it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.ops.arguments import array_of, require_tensor
from rushlight.ops.copies import convert, tensor_type
from rushlight.ops.define import INPLACE, TITLES, Op, apply, apply_inplace
from rushlight.ops.index import INDEX, Parts, Places, add_at, out_of_bounds, parts_of, picks_of, type_name
from rushlight.ops.kinds import primitive, public
from rushlight.ops.samples import Sample, T
from rushlight.ops.shape import reshape_to
from rushlight.ops.shapes import expanded_shape
from rushlight.ops.writes import COPY, FILL, fitting_number
from rushlight.tensor import Tensor


def _put(
    target: np.ndarray, index: np.ndarray, values: Any, *, dims: tuple[int, ...], accumulate: bool
) -> None:
    places = Places(target, dims)
    try:
        if not accumulate:
            places.array[places.key(index)] = values
            return
        shape = _picked_shape(target.shape, index.shape, dims)
        add_at(target, index, np.broadcast_to(np.asarray(values, target.dtype), shape), dims)
    except IndexError:
        raise out_of_bounds(index, places.sizes) from None


def _picked_shape(shape: tuple[int, ...], picked: tuple[int, ...], dims: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that picks of shape `picked` in these dimensions read or write."""
    adjacent = dims[-1] - dims[0] < len(dims)
    before = shape[: dims[0]] if adjacent else ()
    rest = [size for dim, size in enumerate(shape) if dim not in dims]
    return (*before, *picked, *rest[len(before) :])


def _index_put(
    input: np.ndarray, index: np.ndarray, values: Any, *, dims: tuple[int, ...], accumulate: bool
) -> np.ndarray:
    made = input.copy()
    _put(made, index, values, dims=dims, accumulate=accumulate)
    return made


def _kept(g: Tensor, index: Tensor, dims: tuple[int, ...], accumulate: bool) -> Tensor:
    """The gradient of what was there before: none where it was overwritten."""
    return g if accumulate else apply(INDEX_PUT, (g, index, 0.0), {"dims": dims, "accumulate": False})


INDEX_PUT: Op = primitive(
    "index_put",
    "indexed",
    _index_put,
    dict(
        input=lambda g, index, dims, accumulate: _kept(g, index, dims, accumulate),
        values=lambda g, index, dims: apply(INDEX, (g, index), {"dims": dims}),
    ),
    update=_put,
)


def put_picks(
    target: Tensor, picks: list[tuple[int, Tensor]], values: Any, accumulate: bool, out: Any
) -> Tensor:
    """`INDEX_PUT` after PyTorch's checks of the values: their type and their shape."""
    index, dims = picks_of(target, picks)
    if isinstance(values, Tensor):
        if values._array.dtype is not target._array.dtype:
            raise RuntimeError(
                "Index put requires the source and destination dtypes match, got "
                f"{TITLES[target.dtype.name]} for the destination and {TITLES[values.dtype.name]} for the "
                "source."
            )
        shape, given = _picked_shape(target._array.shape, index._array.shape, dims), values._array.shape
        surplus = len(given) - len(shape)
        if surplus > 0 and math.prod(given[:surplus]) == 1:
            values = reshape_to(values, given[surplus:])
        try:
            expanded_shape(values._array.shape, shape)
        except RuntimeError:
            raise RuntimeError(
                f"shape mismatch: value tensor of shape {list(given)} cannot be broadcast to indexing "
                f"result of shape {list(shape)}"
            ) from None
    return apply(INDEX_PUT, (target, index, values), {"dims": dims, "accumulate": accumulate}, out)


def _put_samples() -> list[Sample]:
    x = T((3, 4))
    rows, columns = T((), "int64", values=[0, 2]), T((), "int64", values=[-1, 0])
    twice = T((), "int64", values=[1, 1, 1])
    found = [
        Sample([x, (rows,), T((2, 4))]),
        Sample([x, (rows,), T((4,))]),
        Sample([x, [rows, columns], T((2,))]),
    ]
    found += [
        Sample([x, (rows, columns), T(())]),
        Sample([x, (twice,), T((3, 4)), True]),
        Sample([x, (twice, twice), T(()), True]),
    ]
    found += [
        Sample([x, (T((3, 4), "bool"),), T(())]),
        Sample([x, (rows, T((), "bool", values=[True, False, True, False])), T((2,))]),
    ]
    found += [
        Sample([T((2, 3), "int64"), (T((), "int64", values=[0, 0]),), T((3,), "int64")], {"accumulate": True})
    ]
    refused = [
        ((rows,), T((3,))),
        ((rows,), T((4,), "int64")),
        ((rows, rows, rows), T(())),
        (rows, T(())),
        ((rows,), 5.0),
    ]
    refused += [((T((), "int64", values=[3]),), T(())), ((T((2,)),), T(())), ((rows, None), T(()))]
    return found + [Sample([x, *each], raises=True) for each in refused]


@public(INDEX_PUT, samples=_put_samples, inplace=True)
def index_put(
    input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False, *, out: Any = None
) -> Tensor:
    """`input` with `values` written (or, with `accumulate`, added) where a tuple of index tensors points.

    `values` broadcasts to what ``input[indices]`` reads. `out` serves the in-place form.

    >>> import rushlight as torch
    >>> i = torch.tensor([0, 0])
    >>> torch.zeros(3).index_put((i,), torch.tensor([1.0, 2.0]), accumulate=True)
    tensor([3., 0., 0.])
    """
    name = "index_put_" if out is INPLACE else "index_put"
    array = array_of(name, input)
    if isinstance(indices, Tensor) or not isinstance(indices, (tuple, list)):
        raise TypeError(
            f"{name}(): argument 'indices' (position 2) must be tuple of Tensors, not "
            f"{type(indices).__name__}"
        )
    for element, each in enumerate(indices):
        if not isinstance(each, Tensor):
            raise TypeError(
                f"expected Tensor as element {element} in argument 1, but got {type(each).__name__}"
            )
    require_tensor(name, "values", 3, values)
    if not indices:
        raise RuntimeError(f"{name}(): needs at least one index tensor")
    if len(indices) > array.ndim:
        raise IndexError(f"too many indices for tensor of dimension {array.ndim} (got {len(indices)})")
    picks = [each if each._array.ndim else reshape_to(each, (1,)) for each in indices]
    return put_picks(input, Parts(array.shape, picks).picks, values, accumulate, out)


# -- x[index] = value ----------------------------------------------------------------------------------------


def setitem(self: Tensor, index: Any, value: Any) -> None:
    """``x[index] = value`` for a number or a tensor that broadcasts to what ``x[index]`` reads.

    >>> import rushlight as torch
    >>> x = torch.zeros(2, 3)
    >>> x[:, 1] = torch.tensor([1.0, 2.0])
    >>> x[0, [0, 2]] = 5
    >>> x
    tensor([[5., 1., 5.],
            [0., 2., 0.]])
    """
    if not isinstance(value, (Tensor, bool, int, float, np.integer)):
        raise TypeError(f"can't assign a {type_name(value)} to a {tensor_type(self)}")
    if index is False:
        return
    if index.__class__ is int and not self._array.shape:
        raise IndexError(
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ "
            "to convert a 0-dim tensor to a number"
        )
    parts = Parts(self._array.shape, parts_of(index))
    target = self if parts.op is None else apply(parts.op, (self,), {"index": tuple(parts.window)})
    if parts.picks:
        one_mask = len(parts.picks) == 1 and parts.picks[0][1]._array.dtype.itemsize == 1
        if not isinstance(value, Tensor):
            value = fitting_number(value, target._array.dtype)
        elif one_mask and value._array.size == 1:
            value = convert(value, target.dtype)
        put_picks(target, parts.picks, value, False, INPLACE)
    elif not isinstance(value, Tensor):
        apply_inplace(FILL[3], (target, fitting_number(value, target._array.dtype)))
    elif value._array.ndim == 0:
        apply_inplace(FILL[3], (target, value))
    else:
        _copy_broadcast(target, value)


def _copy_broadcast(target: Tensor, value: Tensor) -> None:
    """Copy a value into a view; leading dimensions of length 1 that the view does not have are dropped."""
    shape, given = target._array.shape, value._array.shape
    surplus = len(given) - len(shape)
    if surplus > 0 and math.prod(given[:surplus]) == 1:
        value = reshape_to(value, given[surplus:])
    expanded_shape(value._array.shape, shape, tensor_type(value))
    if value is not target:
        apply_inplace(COPY, (target, value))


METHODS: dict[str, Any] = {"__setitem__": setitem}
