"""Tensors put together: `cat`, `stack` and their kin, `block_diag`, `meshgrid`, `combinations`.

The ops take any number of tensors; types are promoted over all of them. Invariant: the gradient of a part is
cut out of the gradient of the whole as a view.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.dtype import can_cast, from_numpy, result_type_of
from rushlight.ops.arguments import numpy_names
from rushlight.ops.broadcast import atleast_1d, atleast_2d, atleast_3d, check_tensors, expand
from rushlight.ops.convert import from_numpy_array
from rushlight.ops.create import empty
from rushlight.ops.define import TABLE, TITLES, apply
from rushlight.ops.kinds import composite, primitive, public
from rushlight.ops.samples import Sample, T
from rushlight.ops.shape import reshape_to
from rushlight.ops.slicing import SLICE
from rushlight.storage import row_major
from rushlight.tensor import Tensor, normal_dim


def tensor_list(name: str, tensors: Any) -> Sequence[Tensor]:
    """An argument that must be a list or tuple of tensors, checked."""
    if not isinstance(tensors, (tuple, list)):
        raise TypeError(
            f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not "
            f"{type(tensors).__name__}"
        )
    check_tensors(tensors)
    return tensors


def _common_type(arrays: Sequence[np.ndarray]) -> np.dtype | None:
    """The type that arrays are promoted to; None where they all have it."""
    kind = arrays[0].dtype
    for each in arrays:
        if each.dtype is not kind:
            return result_type_of(arrays).numpy
    return None


# -- along a dimension that exists ---------------------------------------------------------------------------


def _cat(*tensors: np.ndarray, dim: int, dtype: np.dtype | None) -> np.ndarray:
    try:
        if dtype is None:
            return row_major(np.concatenate(tensors, dim))
        return row_major(np.concatenate(tensors, dim, dtype=dtype, casting="unsafe"))
    except ValueError:
        raise RuntimeError(_why_not(tensors, dim)) from None


def _why_not(arrays: Sequence[np.ndarray], dim: int) -> str:
    first = arrays[0].shape
    for number, each in enumerate(arrays):
        if each.ndim != len(first):
            return f"Tensors must have same number of dimensions: got {len(first)} and {each.ndim}"
        for axis, (expected, got) in enumerate(zip(first, each.shape, strict=True)):
            if axis != dim and expected != got:
                return (
                    f"Sizes of tensors must match except in dimension {dim}. Expected size {expected} but "
                    f"got size {got} for tensor number {number} in the list. The shapes are "
                    f"{[list(array.shape) for array in arrays]}"
                )
    return f"cannot concatenate the shapes {[list(array.shape) for array in arrays]}"


def _pieces(g: Tensor, shapes: Sequence[tuple[int, ...]], dim: int) -> Sequence[Tensor]:
    params = {"sizes": tuple([shape[dim] for shape in shapes]), "dim": dim}
    return apply(TABLE["split_with_sizes"].op, (g,), params)  # type: ignore[arg-type]


CAT = primitive(
    "cat",
    "indexed",
    _cat,
    dict(tensors=lambda g, tensors_shape, dim: _pieces(g, tensors_shape, dim)),
    inputs=("*tensors",),
)


def _cat_samples() -> list[Sample]:
    pair = [T((2, 3)), T((2, 3))]
    found = [
        Sample([pair]),
        Sample([pair, 1]),
        Sample([pair], {"axis": -1}),
        Sample([[T((2, 3)), T((1, 3)), T((0, 3))]]),
    ]
    found += [
        Sample([[T((0,), grad=False), T((2, 3))], 1]),
        Sample([[T((0,)), T((0,), "int64")]]),
        Sample([[T((2,)), T((3,), "int64")]]),
    ]
    found += [
        Sample([[T((2,), "float16"), T((1,), "float64"), T((1,), "bool")]]),
        Sample([(T((2, 3), layout="transposed"),)]),
    ]
    refused = [[], [T((2, 3)), T((3,))], [T((2, 3)), T((2, 4))], [T(()), T((2,))], [T((0, 4)), T((2, 3))]]
    return found + [Sample([each], raises=True) for each in refused] + [Sample([pair, 2], raises=True)]


@public(CAT, samples=_cat_samples, method=False)
@numpy_names
def cat(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """Tensors of equal shape, but for the length of one dimension, put together along that dimension.

    Tensors of the shape (0,) are skipped, as PyTorch does for old times' sake.

    >>> import rushlight as torch
    >>> torch.cat([torch.tensor([1, 2]), torch.tensor([3])])
    tensor([1, 2, 3])
    """
    tensors = tensor_list("cat", tensors)
    if not tensors:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    arrays = [each._array for each in tensors]
    dtype, empty_seen = _common_type(arrays), False
    for position, array in enumerate(arrays):
        if array.ndim < 2 and array.size == 0:
            empty_seen = True
        elif array.ndim == 0:
            raise RuntimeError(f"zero-dimensional tensor (at position {position}) cannot be concatenated")
    if out is not None:
        kind = from_numpy(arrays[0].dtype if dtype is None else dtype)
        if not can_cast(kind, out.dtype):
            title = TITLES[out.dtype.name]
            raise TypeError(f"torch.cat(): input types can't be cast to the desired output type {title}")
    if empty_seen:
        kept = [each for each in tensors if each._array.shape != (0,)]
        if kept and len(kept) < len(tensors):
            tensors = kept
            arrays = [each._array for each in kept]
            dtype = dtype if dtype is not None and any(array.dtype != dtype for array in arrays) else None
    return apply(CAT, tensors, {"dim": normal_dim(dim, arrays[0].ndim), "dtype": dtype}, out)


@composite(samples=_cat_samples, method=False)
@numpy_names
def concat(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """`cat` under another name."""
    return cat(tensors, dim, out=out)


@composite(samples=_cat_samples, method=False)
@numpy_names
def concatenate(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """`cat` under NumPy's name."""
    return cat(tensors, dim, out=out)


# -- along a new dimension -----------------------------------------------------------------------------------


def _stack(*tensors: np.ndarray, dim: int, dtype: np.dtype | None) -> np.ndarray:
    place = (slice(None),) * dim + (None,)
    return _cat(*[each[place] for each in tensors], dim=dim, dtype=dtype)


STACK = primitive(
    "stack", "indexed", _stack, dict(tensors=lambda g, dim: g.unbind(dim)), inputs=("*tensors",)
)


def _stack_samples() -> list[Sample]:
    pair = [T((2, 3)), T((2, 3))]
    found = [Sample([pair, *each]) for each in ((), (1,), (-1,))] + [
        Sample([[T(()), T(()), T(())]]),
        Sample([[T((2,)), T((2,), "int64")]]),
    ]
    return [
        *found,
        Sample([[]], raises=True),
        Sample([[T((2,)), T((3,))]], raises=True),
        Sample([pair, 3], raises=True),
    ]


@public(STACK, samples=_stack_samples, method=False)
@numpy_names
def stack(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """Tensors of one shape put together along a new dimension.

    >>> import rushlight as torch
    >>> torch.stack([torch.tensor([1, 2]), torch.tensor([3, 4])], dim=1)
    tensor([[1, 3],
            [2, 4]])
    """
    tensors = tensor_list("stack", tensors)
    if not tensors:
        raise RuntimeError("stack expects a non-empty TensorList")
    arrays = [each._array for each in tensors]
    shape = arrays[0].shape
    for entry, array in enumerate(arrays):
        if array.shape != shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and "
                f"{list(array.shape)} at entry {entry}"
            )
    return apply(STACK, tensors, {"dim": normal_dim(dim, len(shape) + 1), "dtype": _common_type(arrays)}, out)


def _widened(name: str, tensors: Any, widen: Any) -> Sequence[Tensor]:
    tensors = tensor_list(name, tensors)
    if not tensors:
        raise RuntimeError(f"{name} expects a non-empty TensorList")
    return [widen(each) for each in tensors]


def _xstack_samples() -> list[Sample]:
    lists = [
        [T(()), T(())],
        [T((3,)), T((3,))],
        [T((2, 3)), T((2, 3), "int64")],
        [T((2, 3, 2)), T((2, 3, 2))],
    ]
    return [Sample([each]) for each in lists] + [Sample([[]], raises=True)]


@composite(samples=_xstack_samples, method=False)
def hstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Tensors put side by side: `cat` along dimension 1, or 0 if they have one dimension."""
    wide = _widened("hstack", tensors, atleast_1d)
    return cat(wide, 0 if wide[0]._array.ndim == 1 else 1, out=out)


@composite(samples=_xstack_samples, method=False)
def vstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Tensors put above each other: `cat` along dimension 0, vectors as rows."""
    return cat(_widened("vstack", tensors, atleast_2d), 0, out=out)


@composite(samples=_xstack_samples, method=False)
def row_stack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """`vstack` under another name."""
    return vstack(tensors, out=out)


@composite(samples=_xstack_samples, method=False)
def dstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Tensors put behind each other: `cat` along dimension 2, with missing dimensions added."""
    return cat(_widened("dstack", tensors, atleast_3d), 2, out=out)


@composite(samples=lambda: [*_xstack_samples(), Sample([[T((2, 3)), T((2,))]])], method=False)
def column_stack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """`hstack` with vectors as columns."""

    def as_column(tensor: Tensor) -> Tensor:
        return tensor if tensor.ndim > 1 else reshape_to(tensor, (tensor.numel(), 1))

    return hstack(_widened("column_stack", tensors, as_column), out=out)


# -- block diagonal ------------------------------------------------------------------------------------------


def _corners(shapes: Sequence[tuple[int, ...]]) -> list[tuple[int, int, int, int]]:
    """First and last row and column of each block; vectors are rows, 0-d tensors single elements."""
    row = column = 0
    found = []
    for shape in shapes:
        height, width = ((1, 1) + shape)[-2:]
        found.append((row, row + height, column, column + width))
        row, column = row + height, column + width
    return found


def _block_diag(*tensors: np.ndarray, dtype: np.dtype) -> np.ndarray:
    corners = _corners([each.shape for each in tensors])
    whole = np.zeros((corners[-1][1], corners[-1][3]), dtype)
    for block, (top, bottom, left, right) in zip(tensors, corners, strict=True):
        whole[top:bottom, left:right] = block
    return whole


def _blocks(g: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    found = []
    for shape, (top, bottom, left, right) in zip(shapes, _corners(shapes), strict=True):
        block = apply(SLICE, (g,), {"index": (slice(top, bottom), slice(left, right))})
        found.append(reshape_to(block, shape))
    return found


BLOCK_DIAG = primitive(
    "block_diag",
    "indexed",
    _block_diag,
    dict(tensors=lambda g, tensors_shape: _blocks(g, tensors_shape)),
    inputs=("*tensors",),
)


def _block_samples() -> list[Sample]:
    found = [
        Sample([T((2, 3)), T((4,)), T(())]),
        Sample([T((1, 2)), T((2, 1), "int64")]),
        Sample([]),
        Sample([T((0, 2)), T((1, 1))]),
    ]
    return [*found, Sample([T((2, 2, 2))], raises=True)]


@public(BLOCK_DIAG, samples=_block_samples, method=False)
def block_diag(*tensors: Tensor) -> Tensor:
    """A matrix of zeros with the tensors, of at most two dimensions, along its diagonal.

    >>> import rushlight as torch
    >>> torch.block_diag(torch.tensor([[1, 2]]), torch.tensor(3))
    tensor([[1, 2, 0],
            [0, 0, 3]])
    """
    check_tensors(tensors)
    if not tensors:
        return empty((1, 0))
    for number, each in enumerate(tensors):
        if each.ndim > 2:
            raise RuntimeError(
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {number} has "
                f"{each.ndim} dimensions"
            )
    arrays = [each._array for each in tensors]
    return apply(BLOCK_DIAG, tensors, {"dtype": _common_type(arrays) or arrays[0].dtype})


# -- grids ---------------------------------------------------------------------------------------------------


def _grid_samples() -> list[Sample]:
    found = [
        Sample([T((2,)), T((3,))], {"indexing": "ij"}),
        Sample([T((2,)), T(()), T((3,))], {"indexing": "ij"}),
    ]
    found += [
        Sample([[T((2,)), T((3,))]], {"indexing": "xy"}),
        Sample([T((2,))], {"indexing": "xy"}),
        Sample([T((2,)), T((3,))]),
    ]
    refused = [
        Sample([T((2,))], {"indexing": "zz"}, raises=True),
        Sample([T((2,)), T((2,), "int64")], {"indexing": "ij"}, raises=True),
    ]
    return [*found, *refused]


@composite(samples=_grid_samples, method=False)
def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Coordinates of the grid that vectors span: as many views, of as many dimensions, as there are vectors.

    With ``indexing="ij"`` dimension i belongs to vector i; with ``"xy"`` the first two are exchanged, as in
    pictures.

    >>> import rushlight as torch
    >>> x, y = torch.meshgrid(torch.arange(2), torch.arange(3), indexing="ij")
    >>> x
    tensor([[0, 0, 0],
            [1, 1, 1]])
    """
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    check_tensors(tensors)
    if not tensors:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    if indexing is None:
        warnings.warn(
            "torch.meshgrid: in an upcoming release, it will be required to pass the indexing argument.",
            stacklevel=2,
        )
    elif indexing not in ("ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    for each in tensors:
        if each.ndim > 1:
            raise RuntimeError(
                "torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got a tensor of shape "
                f"{list(each.shape)}"
            )
        if each.dtype is not tensors[0].dtype:
            raise RuntimeError("meshgrid expects all tensors to have the same dtype")
    dims = list(range(len(tensors)))
    if indexing == "xy":
        dims[:2] = dims[1::-1] if len(dims) > 1 else dims
    lengths = tuple(tensors[dim].numel() for dim in dims)  # exchanging two is its own inverse
    grids = []
    for each, own in zip(tensors, dims, strict=True):
        alone = tuple(length if dim == own else 1 for dim, length in enumerate(lengths))
        grids.append(expand(reshape_to(each, alone), lengths))
    return tuple(grids)


def _check_vector(tensor: Tensor) -> None:
    if tensor.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(tensor.shape)}")


@composite(
    samples=lambda: [Sample([T((2,)), T((3,))]), Sample([T((3,))]), Sample([T((2, 2))], raises=True)],
    method=False,
)
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of one element of each vector, as rows.

    >>> import rushlight as torch
    >>> torch.cartesian_prod(torch.tensor([1, 2]), torch.tensor([3, 4]))
    tensor([[1, 3],
            [1, 4],
            [2, 3],
            [2, 4]])
    """
    check_tensors(tensors)
    for each in tensors:
        _check_vector(each)
    if len(tensors) == 1:
        return tensors[0]
    grids = meshgrid(*tensors, indexing="ij")
    return stack([reshape_to(each, (each.numel(),)) for each in grids], 1)


def _combinations_samples() -> list[Sample]:
    found = [Sample([T((4,)), *each]) for each in ((), (3,), (1,), (5,), (2, True), (0,))]
    return [*found, Sample([T((4,)), -1], raises=True), Sample([T((2, 2))], raises=True)]


@composite(samples=_combinations_samples, method=False)
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All ways to choose `r` elements of a vector, as rows, in the order of `itertools`.

    >>> import rushlight as torch
    >>> torch.combinations(torch.tensor([1, 2, 3]))
    tensor([[1, 2],
            [1, 3],
            [2, 3]])
    """
    _check_vector(input)
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return empty((0,), dtype=input.dtype)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(choose(range(input.numel()), r)), np.int64).reshape(-1, r)
    return stack([input.index_select(0, from_numpy_array(column.copy())) for column in rows.T], 1)
