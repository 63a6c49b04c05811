"""Views that cut a part out: `select`, `narrow`, slices, `diagonal`, `unfold`, `as_strided`.

Basic indexing (``x[0, 1:, None]``) runs through one op here, in three guises that differ only in the name of
their node: a window of the input, given as one entry for each dimension. Invariant: nothing here copies
except the gradients, which are zeros of the input's shape with the part filled in.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.ops.arguments import array_of, int_tuple, numpy_names
from rushlight.ops.define import Op, apply
from rushlight.ops.kinds import primitive, public
from rushlight.ops.samples import Sample, T
from rushlight.ops.window import spread_window
from rushlight.ops.writes import fill_
from rushlight.storage import storage_of, strided
from rushlight.tensor import Tensor, normal_dim
from rushlight.views import Geometry, change_geometry

# -- windows -------------------------------------------------------------------------------------------------

# A window is a tuple of ints, slices, None and one Ellipsis, as NumPy takes it. The Ellipsis makes the result
# an array even where one element is left.
WHOLE = slice(None)


def _cut(input: np.ndarray, *, index: tuple[Any, ...]) -> np.ndarray:
    return input[index]


def _place(grad: np.ndarray, *, shape: tuple[int, ...], index: tuple[Any, ...]) -> np.ndarray:
    whole = np.zeros(shape, grad.dtype)
    whole[index] = grad
    return whole


def _window_op(name: str) -> Op:
    rules = dict(
        input=lambda g, input_shape, index: apply(PLACE, (g,), {"shape": input_shape, "index": index})
    )
    return primitive(name, "view", _cut, rules)


SELECT, SLICE, NEW_DIMENSION = _window_op("select"), _window_op("slice"), _window_op("unsqueeze")
PLACE = primitive(
    "slice_backward", "indexed", _place, dict(grad=lambda g, index: apply(SLICE, (g,), {"index": index}))
)


def _select_samples() -> list[Sample]:
    found = [
        Sample([T((2, 3, 4)), 0, 1]),
        Sample([T((2, 3, 4)), -1, -1]),
        Sample([T((3,)), 0, 2]),
        Sample([T((2, 3), "bool"), 1, 0]),
    ]
    return (
        found
        + [Sample([T((2, 3)), *each], raises=True) for each in ((0, 2), (0, -3), (2, 0))]
        + [Sample([T(()), 0, 0], raises=True)]
    )


@public(SELECT, samples=_select_samples)
@numpy_names
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The slice of `input` at one place of a dimension, without that dimension.

    >>> import rushlight as torch
    >>> torch.arange(6).view(2, 3).select(1, -1)
    tensor([2, 5])
    """
    shape = array_of("select", input).shape
    if not shape:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    dim = normal_dim(dim, len(shape))
    try:
        (index,) = int_tuple("select", "index", (index.__index__(),))
    except AttributeError:
        raise TypeError(
            f"select(): argument 'index' (position 2) must be int, not {type(index).__name__}"
        ) from None
    length = shape[dim]
    if not -length <= index < length:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(shape)} at dimension {dim}"
        )
    return apply(SELECT, (input,), {"index": (*[WHOLE] * dim, index, ...)})


def _narrow_samples() -> list[Sample]:
    found = [Sample([T((4, 3)), *each]) for each in ((0, 1, 2), (-1, -2, 1), (0, 4, 0), (1, 0, 3))]
    refused = ((0, 2, 3), (0, -5, 1), (0, 1, -1), (0, 5, 0), (2, 0, 1))
    return [
        *found,
        Sample([T((4,)), 0, T((), "int64", values=1), 2]),
        *(Sample([T((4, 3)), *each], raises=True) for each in refused),
    ]


@public(SLICE, samples=_narrow_samples)
@numpy_names
def narrow(input: Tensor, dim: int, start: int | Tensor, length: int) -> Tensor:
    """`length` elements of a dimension from `start` (an int or a 0-d integer tensor) on.

    >>> import rushlight as torch
    >>> torch.arange(5).narrow(0, 1, 3)
    tensor([1, 2, 3])
    """
    shape = array_of("narrow", input).shape
    if not shape:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    if isinstance(start, Tensor):
        if start._array.ndim or start._array.dtype.kind not in "iu":
            raise RuntimeError("start must be an 0-dim integral Tensor.")
        start = int(start.item())
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    dim = normal_dim(dim, len(shape))
    size = shape[dim]
    if not -size <= start <= size:
        raise IndexError(
            f"start out of range (expected to be in range of [-{size}, {size}], but got {start})"
        )
    start += size if start < 0 else 0
    if start + length > size:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({size}).")
    return sliced(input, dim, start, start + length)


def sliced(input: Tensor, dim: int, start: int, stop: int, step: int = 1) -> Tensor:
    """``input[..., start:stop:step, ...]`` in dimension `dim`; all non-negative and in range."""
    return apply(SLICE, (input,), {"index": (*[WHOLE] * dim, slice(start, stop, step), ...)})


# -- diagonals -----------------------------------------------------------------------------------------------


def _diagonal(input: np.ndarray, *, offset: int, dim1: int, dim2: int) -> np.ndarray:
    view = input.diagonal(offset, dim1, dim2)
    view.flags.writeable = input.flags.writeable  # NumPy hands it out read-only
    return view


def _embed(input: np.ndarray, *, shape: tuple[int, ...], offset: int, dim1: int, dim2: int) -> np.ndarray:
    whole = np.zeros(shape, input.dtype)
    _diagonal(whole, offset=offset, dim1=dim1, dim2=dim2)[...] = input
    return whole


def _place_of(offset: int, dim1: int, dim2: int) -> dict[str, int]:
    return {"offset": offset, "dim1": dim1, "dim2": dim2}


def embed_diagonal(input: Tensor, shape: tuple[int, ...], offset: int, dim1: int, dim2: int) -> Tensor:
    """Zeros of this shape with `input` as their diagonal between two dimensions."""
    return apply(DIAG_EMBED, (input,), {"shape": shape, **_place_of(offset, dim1, dim2)})


_DIAGONAL_RULES: Any = dict(
    input=lambda g, input_shape, offset, dim1, dim2: embed_diagonal(g, input_shape, offset, dim1, dim2)
)
DIAGONAL = primitive("diagonal", "view", _diagonal, _DIAGONAL_RULES)
DIAGONAL_COPY = primitive(
    "diagonal_copy",
    "indexed",
    lambda input, *, offset, dim1, dim2: _diagonal(input, offset=offset, dim1=dim1, dim2=dim2).copy(),
    _DIAGONAL_RULES,
    node_name="DiagonalBackward0_copy",
)
DIAG_EMBED = primitive(
    "diag_embed",
    "indexed",
    _embed,
    dict(input=lambda g, offset, dim1, dim2: apply(DIAGONAL, (g,), _place_of(offset, dim1, dim2))),
)


def diagonal_dims(ndim: int, dim1: int, dim2: int) -> tuple[int, int]:
    """The two dimensions of a diagonal, counted from the front; they must differ."""
    first, second = normal_dim(dim1, ndim), normal_dim(dim2, ndim)
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return first, second


def _diagonal_samples() -> list[Sample]:
    found = [Sample([T((3, 4)), *each]) for each in ((), (1,), (-2,), (7,), (0, 1, 0))]
    found += [
        Sample([T((2, 3, 4)), 1, 1, 2]),
        Sample([T((2, 3, 4))], {"dim1": -1, "dim2": 0}),
        Sample([T((2, 2), "int64")]),
    ]
    return found + [Sample([T((2, 3)), 0, *dims], raises=True) for dims in ((0, 0), (0, -2), (0, 2))]


@public(DIAGONAL, samples=_diagonal_samples)
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of two dimensions as a view, in a new last dimension; `offset` chooses one above or below.

    >>> import rushlight as torch
    >>> torch.arange(6).view(2, 3).diagonal(1)
    tensor([1, 5])
    """
    first, second = diagonal_dims(array_of("diagonal", input).ndim, dim1, dim2)
    return apply(DIAGONAL, (input,), _place_of(offset, first, second))


def _fill_diagonal_samples() -> list[Sample]:
    found = [Sample([T(shape, grad=False), 1.5]) for shape in ((3, 3), (2, 4), (5, 2), (2, 2, 2))]
    found += [Sample([T((7, 2), grad=False), 2, True]), Sample([T((3, 3), "int64"), 2.5])]
    return found + [Sample([T(shape, grad=False), 1], raises=True) for shape in ((3,), (2, 3, 2))]


@public(DIAGONAL, samples=_fill_diagonal_samples, torch_name="Tensor.fill_diagonal_")
def fill_diagonal_(input: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """Set the main diagonal; with `wrap`, that of a tall matrix starts anew every ``columns + 1`` rows.

    >>> import rushlight as torch
    >>> torch.zeros(2, 3).fill_diagonal_(1)
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    shape = array_of("fill_diagonal_", input).shape
    if len(shape) < 2:
        raise RuntimeError("dimensions must larger than 1")
    if len(shape) > 2 and len(set(shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    steps = input.stride()
    offset = input.storage_offset()
    fill_(as_strided(input, (min(shape),), (sum(steps),), offset), fill_value)
    if wrap and len(shape) == 2 and shape[0] > shape[1] + 1:
        period = shape[1] + 1
        for start in range(period, shape[0], period):
            length = min(shape[1], shape[0] - start)
            fill_(as_strided(input, (length,), (sum(steps),), offset + start * steps[0]), fill_value)
    return input


# -- windows that slide --------------------------------------------------------------------------------------


def _unfold(input: np.ndarray, *, dim: int, size: int, step: int) -> np.ndarray:
    if input.ndim == 0:
        return strided(input, (size,), (input.itemsize,))
    shape, strides = list(input.shape), list(input.strides)
    shape[dim] = (shape[dim] - size) // step + 1
    strides.append(strides[dim])
    strides[dim] *= step
    return strided(input, (*shape, size), tuple(strides))


def _fold_back(grad: np.ndarray, *, shape: tuple[int, ...], dim: int, size: int, step: int) -> np.ndarray:
    whole = np.zeros(shape, grad.dtype)
    if not shape:
        whole[...] = grad.sum()
        return whole
    places = np.moveaxis(whole, dim, -1)
    windows = np.moveaxis(grad, dim, -2)
    reach = (windows.shape[-2] - 1) * step + 1
    for k in range(size):
        places[..., k : k + reach : step] += windows[..., k]
    return whole


UNFOLD: Op = primitive(
    "unfold",
    "view",
    _unfold,
    dict(
        input=lambda g, input_shape, dim, size, step: apply(
            FOLD_BACK, (g,), {"shape": input_shape, "dim": dim, "size": size, "step": step}
        )
    ),
)
FOLD_BACK: Op = primitive(
    "unfold_backward",
    "indexed",
    _fold_back,
    dict(grad=lambda g, dim, size, step: apply(UNFOLD, (g,), {"dim": dim, "size": size, "step": step})),
)


def _unfold_samples() -> list[Sample]:
    found = [
        Sample([T((5,)), 0, 2, 1]),
        Sample([T((5,)), 0, 2, 2]),
        Sample([T((2, 5, 3)), 1, 3, 1]),
        Sample([T((2, 4)), -1, 2, 3]),
    ]
    found += [Sample([T(()), 0, 1, 1]), Sample([T((4,), "int64"), 0, 4, 1])]
    return found + [
        Sample([T((4,)), *each], raises=True) for each in ((0, 5, 1), (0, 2, 0), (0, -1, 1), (1, 1, 1))
    ]


@public(UNFOLD, samples=_unfold_samples, torch_name="Tensor.unfold")
def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """All windows of `size` elements of a dimension, `step` apart, in a new last dimension, as a view.

    >>> import rushlight as torch
    >>> torch.arange(5).unfold(0, 3, 2)
    tensor([[0, 1, 2],
            [2, 3, 4]])
    """
    shape = array_of("unfold", input).shape
    dim = normal_dim(dimension, len(shape))
    length = shape[dim] if shape else 1
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if size > length:
        raise RuntimeError(f"maximum size for tensor at dimension {dim} is {length} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    return apply(UNFOLD, (input,), {"dim": dim, "size": size, "step": step})


# -- any window of the storage -------------------------------------------------------------------------------


def window_of_storage(
    array: np.ndarray, size: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> np.ndarray:
    """The window of the memory that `array` lies in of this shape, strides and offset, in elements."""
    if len(size) != len(stride):
        raise RuntimeError("mismatch in length of strides and shape")
    if min(stride, default=0) < 0:
        raise RuntimeError(
            f"as_strided: Negative strides are not supported at the moment, got strides: {list(stride)}"
        )
    if min(size, default=0) < 0:
        raise RuntimeError(
            f"Storage size calculation overflowed with sizes={list(size)} and strides={list(stride)}"
        )
    if offset < 0:
        raise RuntimeError(f"Tensor: invalid storage offset {offset}")
    storage, unit = storage_of(array), array.itemsize
    reach = (
        offset + 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if 0 not in size else 0
    )
    if reach > storage.size:
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset}, and "
            f"itemsize {unit} requiring a storage size of {reach * unit} are out of bounds for storage of "
            f"size {storage.nbytes}"
        )
    if 0 in size:
        return storage[:0].reshape(size)
    return np.ndarray(size, array.dtype, storage, offset * unit, tuple(step * unit for step in stride))


def _as_strided(input: np.ndarray, *, geometry: Geometry, offset: int) -> np.ndarray:
    unit = input.itemsize
    return window_of_storage(input, geometry.shape, tuple(step // unit for step in geometry.strides), offset)


AS_STRIDED = [
    primitive(
        "as_strided",
        "view",
        _as_strided,
        dict(input=lambda g, geometry: spread_window(g, geometry)),
        node_name=f"AsStridedBackward{number}",
    )
    for number in range(2)
]


def _strided_samples() -> list[Sample]:
    found = [
        Sample([T((6,)), *each])
        for each in (((2, 3), (3, 1)), ((2, 2), (1, 2), 1), ((4, 3), (1, 1)), ((), ()), ((0, 2), (1, 1)))
    ]
    refused = (((2, 2), (6, 1)), ((2, 2), (-1, 1)), ((2, 2), (1,)), ((2,), (1,), -1))
    return found + [Sample([T((6,)), *each], raises=True) for each in refused]


def _strided_window(input: Tensor, size: Any, stride: Any, storage_offset: int | None) -> dict[str, Any]:
    array = array_of("as_strided", input)
    shape, steps = int_tuple("as_strided", "size", (size,)), int_tuple("as_strided", "stride", (stride,))
    offset = input.storage_offset() if storage_offset is None else storage_offset
    return {"geometry": Geometry(array, window_of_storage(array, shape, steps, offset)), "offset": offset}


@public(AS_STRIDED[0], samples=_strided_samples)
def as_strided(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """The window of the tensor's storage of this shape, strides and offset, in elements: any view at all.

    >>> import rushlight as torch
    >>> torch.arange(4).as_strided((3, 2), (1, 1))
    tensor([[0, 1],
            [1, 2],
            [2, 3]])
    """
    return apply(AS_STRIDED[0], (input,), _strided_window(input, size, stride, storage_offset))


@public(AS_STRIDED[1], samples=_strided_samples, torch_name="as_strided_")
def as_strided_(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """`as_strided`, changing the tensor itself."""
    return change_geometry(AS_STRIDED[1], input, _strided_window(input, size, stride, storage_offset))
