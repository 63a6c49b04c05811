"""Reading by index: ``x[0, 1:, None, mask]``. Basic indices give views, tensors, masks and lists give copies.

An index is taken apart into a *window* (ints, slices, None: one view, made by `slicing`) and *picks* (index
tensors, by the dimension of that view they stand in). Picks in several dimensions are turned into one,
counting the elements of these dimensions together, so one op with one rule serves all. Invariant: results
have the shape PyTorch gives them: picks in adjacent dimensions keep their place, others come first.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.dtype import I64
from rushlight.ops.accumulate import add_rows
from rushlight.ops.convert import array_from
from rushlight.ops.define import Op, apply
from rushlight.ops.kinds import primitive
from rushlight.ops.shape import ALIAS, regrouped
from rushlight.ops.slicing import NEW_DIMENSION, SELECT, SLICE, WHOLE
from rushlight.tensor import Tensor, new_tensor

# -- picking elements ----------------------------------------------------------------------------------------


def out_of_bounds(index: np.ndarray, sizes: Sequence[int], dim: int = 0) -> IndexError:
    """The error for an index array that has elements outside of a dimension."""
    size = sizes[dim]
    if size == 0:
        return IndexError("index is out of bounds for dimension with size 0")
    bad = index[(index < -size) | (index >= size)]
    return IndexError(f"index {bad.reshape(-1)[0]} is out of bounds for dimension {dim} with size {size}")


def _together(*picks: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Picks in several dimensions as one in all of them together: broadcast, checked, non-negative."""
    try:
        np.broadcast_shapes(*[each.shape for each in picks])
    except ValueError:
        shapes = ", ".join(str(list(each.shape)) for each in picks)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
        ) from None
    total: Any = 0
    for dim, (pick, size) in enumerate(zip(picks, sizes, strict=True)):
        if ((pick < -size) | (pick >= size)).any():
            raise out_of_bounds(pick, sizes, dim)
        total = total * size + np.where(pick < 0, pick + size, pick)
    return total


TOGETHER = primitive("index_together", "indexed", _together, inputs=("*picks",))
FLAT_NONZERO = primitive("flat_nonzero", "opaque", lambda mask: np.flatnonzero(mask))
NONZERO_TUPLE = primitive("nonzero_numpy", "opaque", lambda mask: np.nonzero(mask))


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
            joined = regrouped(
                array, (*array.shape[:dim], math.prod(self.sizes), *array.shape[dim + count :])
            )
            if joined is not None:
                self.array, self.sizes = joined, joined.shape[dim : dim + 1]

    def key(self, index: np.ndarray) -> tuple[Any, ...]:
        """What to index `array` with."""
        if len(self.sizes) == 1:
            return (*[slice(None)] * self.dim, index)
        return (*[slice(None)] * self.dim, *np.unravel_index(index, self.sizes))


def _index(input: np.ndarray, index: np.ndarray, *, dims: tuple[int, ...]) -> np.ndarray:
    places = Places(input, dims)
    array, dim = places.array, places.dim
    try:
        if array.flags.c_contiguous and len(places.sizes) == 1:
            return array.take(index, dim)
        return np.ascontiguousarray(array[places.key(index)])
    except IndexError:
        if array.size == 0 and places.sizes != (0,):  # nothing is read, so PyTorch checks nothing
            return np.empty((*array.shape[:dim], *index.shape, *array.shape[dim + 1 :]), array.dtype)
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
    before, size = places.dim, places.sizes[0]
    after = places.array.shape[before + 1 :]
    flat = index.reshape(-1)
    rows = values.reshape(*places.array.shape[:before], flat.size, *after)
    flat = np.where(flat < 0, flat + size, flat)
    add_rows(places.array.swapaxes(0, before), flat, rows.swapaxes(0, before))


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

# -- taking an index apart -----------------------------------------------------------------------------------

_KINDS = "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices"
_NON_TUPLE = (
    "Using a non-tuple sequence for multidimensional indexing is deprecated and will be changed in "
    "pytorch 2.9; use x[tuple(seq)] instead of x[seq]. In pytorch 2.9 this will be interpreted as tensor "
    "index, x[torch.tensor(seq)], which will result either in an error or a different result"
)


class Parts:
    """An index taken apart for a tensor of a given shape.

    Attributes:
        window: the entries of the view that the basic parts make, as `slicing` takes them. op: the op whose
        node the view gets: that of the last basic part, or None if the window is the whole tensor. picks:
        (dimension of the view, index or mask) for each tensor, list or bool, in order.
    """

    __slots__ = ("op", "picks", "window")

    def __init__(self, shape: tuple[int, ...], items: Sequence[Any]) -> None:
        self.window: list[Any] = []
        self.op: Op | None = None
        self.picks: list[tuple[int, Tensor]] = []
        known = [_known(item) for item in items]
        free = len(shape) - sum(_dims_taken(item) for item in known)
        if free < 0:
            raise IndexError(f"too many indices for tensor of dimension {len(shape)}")
        dim = made = 0
        for item in known:
            if item is Ellipsis:
                self.window += [WHOLE] * free
                dim, made, free = dim + free, made + free, 0
            elif item is None or item is True or item is False:
                self.window.append(None)
                self.op = NEW_DIMENSION
                if item is not None:
                    self.picks.append((made, new_tensor(np.zeros(int(item), I64))))
                made += 1
            elif isinstance(item, int):
                self.window.append(in_bounds(item, dim, shape))
                self.op = SELECT
                dim += 1
            elif isinstance(item, slice):
                bounds = slice_bounds(item, shape[dim])
                whole = bounds[2] == 1 and not item.start and (item.stop is None or item.stop == shape[dim])
                self.window.append(WHOLE if whole else bounds)
                self.op = self.op if whole else SLICE
                dim, made = dim + 1, made + 1
            else:
                self.picks.append((made, item))
                taken = _dims_taken(item)
                self.window += [WHOLE] * taken
                dim, made = dim + taken, made + taken


def _known(item: Any) -> Any:
    """One part of an index as an int, bool, None, Ellipsis, slice or tensor with dimensions."""
    if item.__class__ in (int, slice, bool) or item is None or item is Ellipsis:
        return item
    if not isinstance(item, Tensor):
        if hasattr(item, "__index__") and not isinstance(item, np.ndarray):
            return item.__index__()
        item = _index_tensor(item)
    array = item._array
    if array.dtype.kind not in "iub" or (array.ndim and array.dtype.name in ("int8", "int16")):
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    if array.ndim:
        return item
    return bool(item.item()) if array.dtype.itemsize == 1 and array.dtype.kind in "ub" else int(item.item())


def _index_tensor(item: Any) -> Tensor:
    """A sequence of numbers or an ndarray as an index tensor."""
    if isinstance(item, (str, bytes)):
        raise TypeError("new(): invalid data type 'str'")
    if isinstance(item, np.ndarray):
        array = item
    elif hasattr(item, "__len__") and hasattr(item, "__getitem__") and not isinstance(item, dict):
        array = array_from(list(item), None)
    else:
        name = type_name(item)
        raise IndexError(f"{_KINDS} (got {name})")
    if array.dtype.kind != "b" and array.dtype != np.uint8:
        array = array.astype(I64)
    return new_tensor(array)


def type_name(value: Any) -> str:
    """How PyTorch's sentences name the type of a value: ``int``, ``numpy.float32``."""
    return f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")


def _is_mask(tensor: Tensor) -> bool:
    return tensor._array.dtype.itemsize == 1  # bool, or uint8 from old times


def _dims_taken(item: Any) -> int:
    """How many dimensions of the tensor one part of an index stands for."""
    if item is None or item is Ellipsis or item is True or item is False:
        return 0
    return item._array.ndim if isinstance(item, Tensor) and _is_mask(item) else 1


def in_bounds(index: int, dim: int, shape: tuple[int, ...]) -> int:
    """`index`, if dimension `dim` has it."""
    size = shape[dim]
    if not -size <= index < size:
        raise IndexError(f"index {index} is out of bounds for dimension {dim} with size {size}")
    return index


def slice_bounds(part: slice, size: int) -> tuple[int, int, int]:
    """Start, stop and step of a slice of a dimension; only positive steps, as in PyTorch."""
    start, stop, step = part.indices(size)
    if step < 0:
        raise ValueError("step must be greater than zero")
    return start, max(start, stop), step


def parts_of(index: Any) -> Sequence[Any]:
    """The parts of an index: those of a tuple, or it alone; some lists count as tuples, with a warning."""
    if isinstance(index, tuple):
        return index
    if isinstance(index, list) and len(index) < 32:
        nested = (Tensor, slice, list, tuple, np.ndarray, range)
        if any(each is None or each is Ellipsis or isinstance(each, nested) for each in index):
            warnings.warn(_NON_TUPLE, stacklevel=4)
            return index
    return (index,)


def picks_of(view: Tensor, picks: list[tuple[int, Tensor]]) -> tuple[Tensor, tuple[int, ...]]:
    """The picks in a view as one index tensor, and the dimensions that it counts together."""
    shape = view._array.shape
    if len(picks) == 1:
        dim, tensor = picks[0]
        if not _is_mask(tensor):
            return tensor, (dim,)
        _check_mask(tensor, dim, shape)
        return apply(FLAT_NONZERO, (tensor,)), tuple(range(dim, dim + tensor._array.ndim))
    dims: list[int] = []
    found: list[Tensor] = []
    for dim, tensor in picks:
        if _is_mask(tensor):
            _check_mask(tensor, dim, shape)
            found += apply(NONZERO_TUPLE, (tensor,))
        else:
            found.append(tensor)
        dims += range(dim, dim + len(found) - len(dims))
    return apply(TOGETHER, found, {"sizes": tuple(shape[dim] for dim in dims)}), tuple(dims)


def _check_mask(mask: Tensor, dim: int, shape: tuple[int, ...]) -> None:
    if mask._array.dtype.kind == "u":
        warnings.warn(
            "indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool instead.",
            stacklevel=5,
        )
    for own, size in enumerate(mask._array.shape):
        if size != shape[dim + own]:
            raise IndexError(
                f"The shape of the mask {list(mask._array.shape)} at index {own} does not match the shape "
                f"of the indexed tensor {list(shape)} at index {dim + own}"
            )


# -- x[index] ------------------------------------------------------------------------------------------------


def getitem(self: Tensor, index: Any) -> Tensor:
    """``x[index]``: a view for ints, slices, None and Ellipsis, a copy where tensors, masks or lists pick.

    >>> import rushlight as torch
    >>> x = torch.arange(6).view(2, 3)
    >>> x[1, ::2]
    tensor([3, 5])
    >>> x[x > 3]
    tensor([4, 5])
    """
    kind = index.__class__
    if kind is int:
        shape = self._array.shape
        if not shape:
            raise IndexError(
                "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in "
                "C++ to convert a 0-dim tensor to a number"
            )
        return apply(SELECT, (self,), {"index": (in_bounds(index, 0, shape),)})
    if kind is slice:
        shape = self._array.shape
        if not shape:
            raise IndexError("slice() cannot be applied to a 0-dim tensor.")
        return apply(SLICE, (self,), {"index": (slice_bounds(index, shape[0]),)})
    parts = Parts(self._array.shape, parts_of(index))
    if parts.op is not None:
        self = apply(parts.op, (self,), {"index": tuple(parts.window)})
    elif not parts.picks:
        return apply(ALIAS, (self,))
    if not parts.picks:
        return self
    picked, dims = picks_of(self, parts.picks)
    return apply(INDEX, (self, picked), {"dims": dims})


METHODS: dict[str, Any] = {"__getitem__": getitem}
