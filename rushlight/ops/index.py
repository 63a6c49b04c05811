"""Reading by index: ``x[0, 1:, None, mask]``. Basic indices give views, tensors, masks and lists give copies.

An index is taken apart into a *window* (ints, slices, None: one view, made by `slicing`) and *picks* (index
tensors and masks, by the dimension of that view they stand in, for the ops of `picking`). Invariant: what
PyTorch refuses is refused here, in the same words; the quick paths take only what they are sure of.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.dtype import BOOL_NUMPY, I64
from rushlight.ops.convert import array_from
from rushlight.ops.define import Op, apply
from rushlight.ops.picking import INDEX, INDEX_MASK, INDEX_PAIR, NONZERO_TUPLE, TOGETHER
from rushlight.ops.shape import ALIAS
from rushlight.ops.slicing import NEW_DIMENSION, SELECT, SLICE, WHOLE
from rushlight.tensor import Tensor, new_tensor

# -- taking an index apart -----------------------------------------------------------------------------------

_KINDS = "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices"
_NON_TUPLE = (
    "Using a non-tuple sequence for multidimensional indexing is deprecated and will be changed in "
    "pytorch 2.9; use x[tuple(seq)] instead of x[seq]. In pytorch 2.9 this will be interpreted as tensor "
    "index, x[torch.tensor(seq)], which will result either in an error or a different result"
)


class Parts:
    """An index taken apart for a tensor of a given shape.

    `window` has an entry for each dimension, as `slicing` takes them; `op` is the op of the last of them that
    is not the whole of a dimension, if any. `picks` has the dimension of the window that it stands in, and
    the index or mask, for each tensor, list or bool.
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
                self.window += [WHOLE] * (len(shape) - dim if dim + free > len(shape) else free)
                dim, made = dim + free, made + free
            elif dim > len(shape) - _dims_taken(item):
                raise _beyond(item, dim, made, shape)
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
                _check_step(item)
                if not _is_whole(item, shape[dim]):
                    self.op = SLICE
                self.window.append(item)
                dim, made = dim + 1, made + 1
            else:
                self.picks.append((made, item))
                taken = _dims_taken(item)
                self.window += [WHOLE] * taken
                dim, made = dim + taken, made + taken


def _beyond(item: Any, dim: int, made: int, shape: tuple[int, ...]) -> IndexError:
    """The error for what stands behind several ellipses: each counts as all dimensions that are left."""
    if isinstance(item, int) and not isinstance(item, bool):
        return IndexError(f"index {item} is out of bounds for dimension {dim} with size 0")
    if isinstance(item, Tensor):
        return IndexError(f"too many indices for tensor of dimension {len(shape)} (got {dim + 1})")
    extra = 1 if item is None else 0
    low, high = -len(shape) - extra, len(shape) - 1 + extra
    return IndexError(f"Dimension out of range (expected to be in range of [{low}, {high}], but got {made})")


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


def is_mask(tensor: Tensor) -> bool:
    """Whether an index tensor is a mask, not a tensor of numbers."""
    return tensor._array.dtype.itemsize == 1  # bool, or uint8 from old times


def _dims_taken(item: Any) -> int:
    """How many dimensions of the tensor one part of an index stands for."""
    if item is None or item is Ellipsis or item is True or item is False:
        return 0
    return item._array.ndim if isinstance(item, Tensor) and is_mask(item) else 1


def in_bounds(index: int, dim: int, shape: tuple[int, ...]) -> int:
    """`index`, if dimension `dim` has it."""
    size = shape[dim]
    if not -size <= index < size:
        raise IndexError(f"index {index} is out of bounds for dimension {dim} with size {size}")
    return index


def _check_step(part: slice) -> None:
    """Only positive steps, as in PyTorch; Python's own errors for what is no int."""
    if part.indices(1)[2] < 0:
        raise ValueError("step must be greater than zero")


def _is_whole(part: slice, size: int) -> bool:
    """Whether PyTorch makes no view for a slice, since it says it is the whole dimension."""
    return (
        not part.start and (part.stop is None or part.stop >= size) and (part.step is None or part.step == 1)
    )


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


def joined_picks(view: Tensor, picks: list[tuple[int, Tensor]]) -> tuple[Tensor, tuple[int, ...]]:
    """Several picks as one index tensor, and the dimensions whose elements it counts together."""
    if len(picks) == 1 and not is_mask(picks[0][1]):
        return picks[0][1], (picks[0][0],)
    shape = view._array.shape
    dims: list[int] = []
    found: list[Tensor] = []
    for dim, tensor in picks:
        if is_mask(tensor):
            check_mask(tensor, dim, shape)
            found += apply(NONZERO_TUPLE, (tensor,))
        else:
            found.append(tensor)
        dims += range(dim, dim + len(found) - len(dims))
    return apply(TOGETHER, found, {"sizes": tuple(shape[dim] for dim in dims)}), tuple(dims)


def check_mask(mask: Tensor, dim: int, shape: tuple[int, ...]) -> None:
    """Refuse a mask whose shape is not that of the dimensions it stands for."""
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

FIRST, FIRST_DIM = {"dim": 0}, {"dims": (0,)}


Window = tuple[Op, tuple[Any, ...], list[tuple[int, Tensor]]]


def quick_parts(items: tuple[Any, ...], shape: tuple[int, ...]) -> Window | None:
    """The op, the window and the picks of an index of ints, slices, None, one Ellipsis, numbers and masks.

    None where a closer look is needed, by `Parts`: for anything else, and where something is wrong.
    """
    op, dim, made, ndim = ALIAS, 0, 0, len(shape)
    window: list[Any] = []
    picks: list[tuple[int, Tensor]] = []
    dots = False
    for place, each in enumerate(items):
        kind = each.__class__
        if each is None:
            op = NEW_DIMENSION
            made += 1
        elif each is Ellipsis:
            rest = ndim - dim
            for later in items[place + 1 :]:
                rest -= _dims_taken(later)
            if dots or rest < 0:
                return None
            dots = True
            dim, made = dim + rest, made + rest
        elif dim >= ndim:
            return None
        elif kind is int:
            if not -shape[dim] <= each < shape[dim]:
                return None
            op = SELECT
            dim += 1
        elif kind is slice:
            if each.step is not None and not (each.step.__class__ is int and each.step > 0):
                return None
            if not _is_whole(each, shape[dim]):
                op = SLICE
            dim, made = dim + 1, made + 1
        elif kind is Tensor and each._array.ndim and each._array.dtype in (I64, BOOL_NUMPY):
            picks.append((made, each))
            taken = _dims_taken(each)
            if dim + taken > ndim:
                return None
            window += [WHOLE] * taken
            dim, made = dim + taken, made + taken
            continue
        else:
            return None
        window.append(each)
    if not dots:
        window.append(...)
    return op, tuple(window), picks


def getitem(self: Tensor, index: Any) -> Tensor:
    """``x[index]``: a view for ints, slices, None and Ellipsis, a copy where tensors, masks or lists pick.

    >>> import rushlight as torch
    >>> x = torch.arange(6).view(2, 3)
    >>> x[1, ::2]
    tensor([3, 5])
    >>> x[x > 3]
    tensor([4, 5])
    """
    kind, shape = index.__class__, self._array.shape
    if kind is int:
        if shape and -shape[0] <= index < shape[0]:
            return apply(SELECT, (self,), {"index": (index, ...)})
    elif kind is slice:
        if shape and index.step is None:
            return apply(SLICE, (self,), {"index": (index, ...)})
    elif kind is Tensor:
        picked = index._array
        if picked.ndim and shape:
            if picked.dtype is I64:
                return apply(INDEX, (self, index), FIRST_DIM)
            if picked.dtype is BOOL_NUMPY and picked.shape == shape[: picked.ndim]:
                return apply(INDEX_MASK, (self, index), FIRST)
    else:
        parts = quick_parts(index if kind is tuple else (index,), shape)
        if parts is not None:
            return _read(self, *parts)
    if not shape and isinstance(index, (int, slice)) and not isinstance(index, bool):
        raise no_dimensions(index)
    careful = Parts(shape, parts_of(index))
    op = careful.op or (SLICE if kind is slice else ALIAS)
    return _read(self, op, (*careful.window, ...), careful.picks)


def _read(self: Tensor, op: Op, window: tuple[Any, ...], picks: list[tuple[int, Tensor]]) -> Tensor:
    """The window of a tensor, and what is picked from it."""
    if op is not ALIAS:
        self = apply(op, (self,), {"index": window})
    if not picks:
        return apply(ALIAS, (self,)) if op is ALIAS else self
    dim, first = picks[0]
    if len(picks) == 1 and is_mask(first):
        check_mask(first, dim, self._array.shape)
        return apply(INDEX_MASK, (self, first), {"dim": dim})
    if len(picks) == 2 and not is_mask(first) and not is_mask(picks[1][1]):
        return apply(INDEX_PAIR, (self, first, picks[1][1]), {"dims": (dim, picks[1][0])})
    picked, dims = joined_picks(self, picks)
    return apply(INDEX, (self, picked), {"dims": dims})


def no_dimensions(index: int | slice) -> IndexError:
    """The error for an int or a slice where there is no dimension to index."""
    if isinstance(index, slice):
        return IndexError("slice() cannot be applied to a 0-dim tensor.")
    return IndexError(
        "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to "
        "convert a 0-dim tensor to a number"
    )


METHODS: dict[str, Any] = {"__getitem__": getitem}
