"""Writing by index: ``x[index] = value`` and `index_put`.

A window is written by one op, picks by another, so only the elements concerned are touched. Invariant: a
write through any index reaches the tensor's own memory, and its history knows it; elements that were
overwritten get a gradient of zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.autograd.mode import state
from rushlight.ops.arguments import array_of, require_tensor
from rushlight.ops.broadcast import expand
from rushlight.ops.copies import convert, tensor_type
from rushlight.ops.define import INPLACE, TITLES, Op, apply, apply_inplace, shape_of
from rushlight.ops.gather import on_copy
from rushlight.ops.index import (
    Parts,
    check_mask,
    is_mask,
    joined_picks,
    no_dimensions,
    parts_of,
    quick_parts,
    type_name,
)
from rushlight.ops.kinds import primitive, public
from rushlight.ops.picking import INDEX, INDEX_MASK, Places, add_at, mask_key, out_of_bounds
from rushlight.ops.samples import Sample, T
from rushlight.ops.shape import ALIAS, reshape_to
from rushlight.ops.shapes import expanded_shape
from rushlight.ops.slicing import SLICE
from rushlight.ops.writes import COPY, FILL, fitting_number
from rushlight.tensor import Tensor
from rushlight.views import REPEATED, repeats_memory

# -- the ops -------------------------------------------------------------------------------------------------


def _write(target: np.ndarray, value: Any, *, index: tuple[Any, ...]) -> None:
    target[index] = value


def _put_masked(target: np.ndarray, mask: np.ndarray, values: Any, *, dim: int) -> None:
    target[mask_key(mask, dim)] = values


def _put(
    target: np.ndarray, index: np.ndarray, values: Any, *, dims: tuple[int, ...], accumulate: bool
) -> None:
    if accumulate:
        shape = picked_shape(target.shape, index.shape, dims)
        add_at(target, index, np.broadcast_to(np.asarray(values, target.dtype), shape), dims)
        return
    places = Places(target, dims)
    try:
        places.array[places.key(index)] = values
    except IndexError:
        if target.size == 0 and 0 not in places.sizes:  # nothing is written, so PyTorch checks nothing
            return
        raise out_of_bounds(index, places.sizes) from None


def picked_shape(shape: tuple[int, ...], picked: tuple[int, ...], dims: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that picks of shape `picked` in these dimensions read or write."""
    adjacent = dims[-1] - dims[0] < len(dims)
    before = shape[: dims[0]] if adjacent else ()
    rest = [size for dim, size in enumerate(shape) if dim not in dims]
    return (*before, *picked, *rest[len(before) :])


WRITE: Op = primitive(
    "write_window",
    "indexed",
    on_copy(_write, preserve=True),
    dict(
        input=lambda g, index: apply(WRITE, (g, 0.0), {"index": index}),
        value=lambda g, index: apply(SLICE, (g,), {"index": index}),
    ),
    inputs=("input", "value"),
    node_name="CopySlices",
    update=_write,
)
PUT_MASKED: Op = primitive(
    "index_put",
    "indexed",
    on_copy(_put_masked, preserve=True),
    dict(
        input=lambda g, mask, dim: apply(PUT_MASKED, (g, mask, 0.0), {"dim": dim}),
        values=lambda g, mask, dim: apply(INDEX_MASK, (g, mask), {"dim": dim}),
    ),
    inputs=("input", "mask", "values"),
    update=_put_masked,
    overlap="expanded",
)
INDEX_PUT: Op = primitive(
    "index_put",
    "indexed",
    on_copy(_put, preserve=True),
    dict(
        input=lambda g, index, dims, accumulate: _kept(g, index, dims, accumulate),
        values=lambda g, index, dims: apply(INDEX, (g, index), {"dims": dims}),
    ),
    inputs=("input", "index", "values"),
    update=_put,
    overlap="expanded",
)


def _kept(g: Tensor, index: Tensor, dims: tuple[int, ...], accumulate: bool) -> Tensor:
    """The gradient of what was there before: none where it was overwritten."""
    return g if accumulate else apply(INDEX_PUT, (g, index, 0.0), {"dims": dims, "accumulate": False})


# -- picks ---------------------------------------------------------------------------------------------------


def put_picks(
    target: Tensor, picks: list[tuple[int, Tensor]], values: Any, accumulate: bool, out: Any
) -> Tensor:
    """Write values where picks point, after PyTorch's checks of their type and shape."""
    dim, first = picks[0]
    shape = target._array.shape
    if len(picks) == 1 and is_mask(first) and not accumulate:
        check_mask(first, dim, shape)
        if isinstance(values, Tensor):
            count = int(np.count_nonzero(first._array))
            values = _fitting(target, values, (*shape[:dim], count, *shape[dim + first._array.ndim :]))
        return apply(PUT_MASKED, (target, first, values), {"dim": dim}, out)
    index, dims = joined_picks(target, picks)
    if isinstance(values, Tensor):
        values = _fitting(target, values, picked_shape(shape, index._array.shape, dims))
    return apply(INDEX_PUT, (target, index, values), {"dims": dims, "accumulate": accumulate}, out)


def _fitting(target: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`values` as they broadcast to a shape, without leading dimensions of length 1 that it lacks."""
    given = values._array.shape
    if values._array.dtype is not target._array.dtype:
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {TITLES[target.dtype.name]} "
            f"for the destination and {TITLES[values.dtype.name]} for the source."
        )
    if given == shape or not given:
        return values
    values = without_surplus(values, len(shape))
    try:
        expanded_shape(values._array.shape, shape)
    except RuntimeError:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(given)} cannot be broadcast to indexing result "
            f"of shape {list(shape)}"
        ) from None
    return values


def without_surplus(value: Tensor, ndim: int) -> Tensor:
    """A tensor without leading dimensions of length 1 beyond `ndim` dimensions."""
    shape = value._array.shape
    surplus = len(shape) - ndim
    return reshape_to(value, shape[surplus:]) if surplus > 0 and math.prod(shape[:surplus]) == 1 else value


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
    array = self._array
    if not isinstance(value, Tensor):
        if not isinstance(value, (int, float, np.integer)):
            raise TypeError(f"can't assign a {type_name(value)} to a {tensor_type(self)}")
        value = fitting_number(value, array.dtype)
    if index is False:
        return
    parts = quick_parts(index if index.__class__ is tuple else (index,), array.shape)
    if parts is None:
        if not array.shape and isinstance(index, (int, slice)) and not isinstance(index, bool):
            raise no_dimensions(index)
        careful = Parts(array.shape, parts_of(index))
        parts = careful.op or ALIAS, (*careful.window, ...), careful.picks
    op, window, picks = parts
    if not picks:
        _write_window(self, op, window, value)
        return
    target = self if op is ALIAS else apply(op, (self,), {"index": window})
    if isinstance(value, Tensor) and value._array.size == 1 and len(picks) == 1 and is_mask(picks[0][1]):
        value = convert(value, target.dtype)
        if np.may_share_memory(value._array, target._array):
            value = value.clone()  # PyTorch reads the one value before it writes
    if value is target and array.ndim and array.shape[0] == 1:
        value = without_surplus(value, array.ndim - 1)  # PyTorch does, and so sees another tensor
    put_picks(target, picks, value, False, INPLACE)


def _write_window(self: Tensor, op: Op, window: tuple[Any, ...], value: Any) -> None:
    """Fill or copy into a window; `op` is the one that would make the view, `ALIAS` for the whole tensor."""
    array = self._array
    part = array[window]
    shape = part.shape
    if 0 in part.strides and repeats_memory(shape, part.strides):
        raise RuntimeError(REPEATED)
    if isinstance(value, Tensor) and value._array.ndim and value._array.shape != shape:
        value = without_surplus(value, len(shape))
        expanded_shape(value._array.shape, shape, value._array.dtype)
    if op is not ALIAS and not _needs_view(self, value):
        apply_inplace(WRITE, (self, value), {"index": window})
        if self._node is not None and self._node.op is WRITE:
            self._node.out = self._node.params  # as PyTorch's CopySlices, which a second backward finds freed
        return
    target = self if op is ALIAS else apply(op, (self,), {"index": window})
    if shape and (not isinstance(value, Tensor) or value._array.ndim == 0):
        apply_inplace(FILL[3], (target, value))
    else:
        apply_inplace(COPY, (target, value if shape_of(value) == shape else expand(value, shape)))


def _needs_view(self: Tensor, value: Any) -> bool:
    """Whether a write must go through a view of its window: only the view knows what PyTorch forbids."""
    if self._requires_grad and self._node is None:
        return True
    array = self._array
    if self._base is not None and state.grad_enabled:
        return True  # the view itself goes stale: only the base and the window learn of the write
    if not array.flags.c_contiguous and repeats_memory(array.shape, array.strides):
        return True
    return isinstance(value, Tensor) and np.may_share_memory(array, value._array)


def delitem(self: Tensor, index: Any) -> None:
    """``del x[index]``, which there is not."""
    raise TypeError("Tensor does not support deleting items")


METHODS: dict[str, Any] = {"__setitem__": setitem, "__delitem__": delitem}
