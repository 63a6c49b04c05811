"""Views that regroup elements: `view`, `reshape`, `flatten`, and dimensions of length 1 added and dropped.

Views that repeat elements are in `broadcast`, those that reorder dimensions in `transpose`, those that cut
out a part in `slicing` and `split`. A view is an op of the kind "view": its forward returns an ndarray over
the same memory, and its gradient rule undoes it. Invariant: nothing here copies, except `reshape` and what is
built on it, and those only where PyTorch copies too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.dtype import dtype as DType
from rushlight.ops.arguments import array_of, int_tuple, numpy_names
from rushlight.ops.copies import contiguous, row_major_copy
from rushlight.ops.define import TITLES, Op, apply
from rushlight.ops.dims import dims_of
from rushlight.ops.kinds import composite, primitive, public
from rushlight.ops.samples import Named, Sample, T
from rushlight.ops.shapes import concrete_shape, quick_shape
from rushlight.tensor import Tensor, normal_dim
from rushlight.views import change_geometry

# -- regrouping ----------------------------------------------------------------------------------------------

if np.lib.NumpyVersion(np.__version__) >= "2.1.0":

    def regrouped(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
        """`array` in another shape over the same memory, or None where its strides do not allow that."""
        try:
            return array.reshape(shape, copy=False)
        except ValueError:
            return None

else:  # the first NumPy 2 cannot be told not to copy

    def regrouped(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
        """`array` in another shape over the same memory, or None where its strides do not allow that."""
        made = array.view()
        try:
            made.shape = shape
        except AttributeError:
            return None
        return made


def _view(input: np.ndarray, *, shape: tuple[int, ...]) -> np.ndarray:
    made = input.reshape(shape) if input.flags.c_contiguous else regrouped(input, shape)
    if made is None:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension "
            "spans across two contiguous subspaces). Use .reshape(...) instead. The tensor of shape "
            f"{list(input.shape)} has the strides "
            f"{[stride // input.itemsize for stride in input.strides]}, which {list(shape)} does not fit."
        )
    return made


def _regrouping(name: str, node_name: str) -> Op:
    """An op that shows the same elements, in the same order, in another shape."""
    rules = dict(input=lambda g, input_shape: reshape_to(g, input_shape))
    return primitive(name, "view", _view, rules, node_name=node_name)


VIEW = _regrouping("view", "ViewBackward0")
RESHAPE_ALIAS = _regrouping("_reshape_alias", "ReshapeAliasBackward0")
UNSAFE_VIEW = _regrouping("_unsafe_view", "UnsafeViewBackward0")
# The last three are those of squeeze_(); likewise below.
SQUEEZE = [_regrouping("squeeze", f"SqueezeBackward{number}") for number in range(6)]
UNSQUEEZE = [_regrouping("unsqueeze", f"UnsqueezeBackward{number}") for number in range(2)]
ALIAS = primitive("alias", "view", lambda input: input.view(), dict(input=lambda g: g))
VIEW_DTYPE = primitive("view_dtype", "view", lambda input, *, dtype: input.view(dtype))


def _reshape_samples() -> list[Sample]:
    found = [Sample([T((2, 3, 4)), (6, 4)]), Sample([T((2, 3, 4)), (4, -1)]), Sample([T(()), (1,)])]
    found += [
        Sample([T((0, 3)), (3, 0)]),
        Sample([T((2, 6), layout="expanded"), (2, 2, 3)]),
        Sample([T((2, 3), "int64"), (-1,)]),
    ]
    refused = [((2, 3), (4, 2)), ((2, 3), (-1, -1)), ((2, 3), (-2, 3)), ((0, 3), (0, -1)), ((2, 3), (4, -1))]
    return found + [Sample([T(shape), to], raises=True) for shape, to in refused]


def _view_samples() -> list[Sample]:
    refused = Sample([T((3, 4), layout="transposed"), -1], raises=True)
    retyped = [Sample([T((3, 4)), Named(name)]) for name in ("int32", "float32", "int16", "float64")]
    return [*_reshape_samples(), refused, *retyped, Sample([T((3, 4)), 2, 6])]


@public(VIEW, samples=_view_samples, torch_name="Tensor.view")
def view(input: Tensor, *shape: Any, size: Any = None, dtype: DType | None = None) -> Tensor:
    """The same memory in another shape (one length may be -1) or, given a dtype, its bytes read as that type.

    RuntimeError where the strides do not allow the shape without a copy; `reshape` copies then. Reading bytes
    as another type is not differentiable.

    >>> import rushlight as torch
    >>> torch.arange(6).view(2, -1)
    tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    array = array_of("view", input)
    found = quick_shape(shape, array.size) if shape else None
    if found is None:
        if size is not None:
            shape = (size,)
        if dtype is None and len(shape) == 1 and isinstance(shape[0], DType):
            dtype = shape[0]
        if dtype is not None:
            return _view_as_type(input, dtype)
        found = concrete_shape(int_tuple("view", "size", shape), array.size)
    return apply(VIEW, (input,), {"shape": found})


def _view_as_type(input: Tensor, new: DType) -> Tensor:
    array, old = input._array, input.dtype
    if old.itemsize != new.itemsize:
        what = f"to view {TITLES[old.name]} as {TITLES[new.name]} (different element sizes)"
        if array.ndim == 0:
            raise RuntimeError(f"self.dim() cannot be 0 {what}")
        if array.strides[-1] != array.itemsize:
            raise RuntimeError(
                f"self.stride(-1) must be 1 {what}, but got {array.strides[-1] // array.itemsize}"
            )
        if array.shape[-1] * old.itemsize % new.itemsize:
            ratio = new.itemsize // old.itemsize
            raise RuntimeError(
                f"self.size(-1) must be divisible by {ratio} {what}, but got {array.shape[-1]}"
            )
    made = apply(VIEW_DTYPE, (input,), {"dtype": new.numpy})
    made._base = None  # it shares the version, but there is no history to follow
    return made


@public(VIEW, samples=_reshape_samples)
def reshape(input: Tensor, *shape: Any, **named: Any) -> Tensor:
    """`input` in another shape: a view where the strides allow it, a copy elsewhere. One length may be -1.

    >>> import rushlight as torch
    >>> torch.arange(6).reshape(2, 3).t().reshape(-1)
    tensor([0, 3, 1, 4, 2, 5])
    """
    array = array_of("reshape", input)
    found = quick_shape(shape, array.size) if shape else None
    if found is None:
        if "shape" in named:
            shape = (*shape, named.pop("shape"))
        if named:
            raise TypeError(f"reshape() got an unexpected keyword argument '{next(iter(named))}'")
        found = concrete_shape(int_tuple("reshape", "shape", shape), array.size)
    return reshape_to(input, found)


def reshape_to(input: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`reshape` for a shape without -1 that has the right number of elements."""
    array = input._array
    if array.flags.c_contiguous:
        return apply(VIEW, (input,), {"shape": shape})
    if regrouped(array, shape) is not None:
        return apply(RESHAPE_ALIAS, (input,), {"shape": shape})
    made = apply(UNSAFE_VIEW, (row_major_copy(input),), {"shape": shape})
    made._base = made._root = None  # nobody else holds the copy: the result stands on its own, as in PyTorch
    return made


def _two_shapes() -> list[Sample]:
    return [
        Sample([T((2, 6)), T((3, 4), grad=False)]),
        Sample([T(()), T((1, 1), "int64")]),
        Sample([T((2, 3)), T((4,))], raises=True),
    ]


@composite(samples=_two_shapes, torch_name="Tensor.view_as")
def view_as(input: Tensor, other: Tensor) -> Tensor:
    """`view` with the shape of `other`."""
    return view(input, array_of("view_as", other, "other").shape)


@composite(samples=_two_shapes, torch_name="Tensor.reshape_as")
def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """`reshape` to the shape of `other`."""
    return reshape(input, array_of("reshape_as", other, "other").shape)


def _flatten_samples() -> list[Sample]:
    found = [
        Sample([T((2, 3, 4))]),
        Sample([T((2, 3, 4)), 1]),
        Sample([T((2, 3, 4)), -3, -2]),
        Sample([T(())]),
        Sample([T((3,))]),
    ]
    return [*found, Sample([T((2, 3)), 1, 0], raises=True), Sample([T((2, 3)), 2], raises=True)]


@composite(samples=_flatten_samples)
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """`input` with the dimensions from `start_dim` to `end_dim` made one.

    >>> import rushlight as torch
    >>> torch.zeros(2, 3, 4).flatten(1).shape
    torch.Size([2, 12])
    """
    shape = array_of("flatten", input).shape
    start, end = normal_dim(start_dim, len(shape)), normal_dim(end_dim, len(shape))
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if not shape:
        return reshape_to(input, (1,))
    if start == end:
        return input
    return reshape_to(input, (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))


@composite(samples=lambda: [Sample([T((2, 3))]), Sample([T((4,))]), Sample([T(())])])
def ravel(input: Tensor) -> Tensor:
    """All elements in one dimension: a view if they lie in row-major order, a copy elsewhere."""
    return apply(VIEW, (contiguous(input),), {"shape": (input._array.size,)})


def _unflatten_samples() -> list[Sample]:
    found = [Sample([T((2, 6)), 1, (2, 3)]), Sample([T((6, 2)), -2, (-1, 2)]), Sample([T((2, 6)), 1, [6, 1]])]
    return [*found, Sample([T((2, 6)), 1, (4, 2)], raises=True), Sample([T((2, 6)), 1, ()], raises=True)]


@composite(samples=_unflatten_samples)
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """`input` with one dimension split into several, of which one may be -1.

    >>> import rushlight as torch
    >>> torch.zeros(2, 6).unflatten(1, (3, -1)).shape
    torch.Size([2, 3, 2])
    """
    shape = array_of("unflatten", input).shape
    dim = normal_dim(dim, len(shape))
    parts = int_tuple("unflatten", "sizes", (sizes,))
    if not parts:
        raise RuntimeError("unflatten: sizes must be non-empty")
    try:
        parts = concrete_shape(parts, shape[dim])
    except RuntimeError as error:
        if "one dimension can be inferred" in str(error):
            raise RuntimeError(f"unflatten got an unexpected error:\n{error}") from None
        raise RuntimeError(
            f"unflatten: Provided sizes {list(parts)} don't multiply up to the size of dim {dim} "
            f"({shape[dim]}) in the input tensor"
        ) from None
    return view(input, (*shape[:dim], *parts, *shape[dim + 1 :]))


# -- dimensions of length 1 ----------------------------------------------------------------------------------


def _squeezed(input: Tensor, dim: Any) -> tuple[int, dict[str, Any]]:
    """Which of the squeeze ops a call means, and its params."""
    shape = array_of("squeeze", input).shape
    if dim is None:
        return 0, {"shape": tuple(n for n in shape if n != 1)}
    if isinstance(dim, (tuple, list)):
        kind, dropped = 2, dims_of(dim, len(shape), "squeeze") if len(dim) else ()
    else:
        kind, dropped = 1, (normal_dim(dim, len(shape)),)
    return kind, {"shape": tuple(n for i, n in enumerate(shape) if n != 1 or i not in dropped)}


def _squeeze_samples() -> list[Sample]:
    found = [
        Sample([T((1, 3, 1))]),
        Sample([T((1, 3, 1)), 0]),
        Sample([T((1, 3, 1)), 1]),
        Sample([T((1, 3, 1)), (0, -1)]),
    ]
    found += [Sample([T(())]), Sample([T(()), 0]), Sample([T((1, 3)), ()]), Sample([T((1, 3))], {"axis": 0})]
    return [*found, Sample([T((1, 3)), 2], raises=True), Sample([T((1, 3)), (0, 0)], raises=True)]


@public(SQUEEZE[0], samples=_squeeze_samples)
@numpy_names
def squeeze(input: Tensor, dim: int | Sequence[int] | None = None, *more: int) -> Tensor:
    """`input` without its dimensions of length 1, or without those of them that `dim` (and `more`) names.

    >>> import rushlight as torch
    >>> torch.zeros(1, 3, 1).squeeze(0).shape
    torch.Size([3, 1])
    """
    kind, params = _squeezed(input, (dim, *more) if more else dim)
    return apply(SQUEEZE[kind], (input,), params)


def _unsqueezed(input: Tensor, dim: int) -> dict[str, Any]:
    shape = array_of("unsqueeze", input).shape
    dim = normal_dim(dim, len(shape) + 1)
    return {"shape": (*shape[:dim], 1, *shape[dim:])}


def _unsqueeze_samples() -> list[Sample]:
    found = [Sample([T((2, 3)), dim]) for dim in (0, 1, 2, -1, -3)]
    return [*found, Sample([T(()), 0]), Sample([T((2, 3)), 3], raises=True), Sample([T((2, 3))], {"axis": 1})]


@public(UNSQUEEZE[0], samples=_unsqueeze_samples)
@numpy_names
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """`input` with a dimension of length 1 inserted before dimension `dim`.

    >>> import rushlight as torch
    >>> torch.zeros(2, 3).unsqueeze(-1).shape
    torch.Size([2, 3, 1])
    """
    return apply(UNSQUEEZE[0], (input,), _unsqueezed(input, dim))


@public(SQUEEZE[3], samples=_squeeze_samples, torch_name="Tensor.squeeze_")
@numpy_names
def squeeze_(input: Tensor, dim: int | Sequence[int] | None = None, *more: int) -> Tensor:
    """`squeeze`, changing the tensor itself."""
    kind, params = _squeezed(input, (dim, *more) if more else dim)
    return change_geometry(SQUEEZE[kind + 3], input, params)


@public(UNSQUEEZE[1], samples=_unsqueeze_samples, torch_name="Tensor.unsqueeze_")
@numpy_names
def unsqueeze_(input: Tensor, dim: int) -> Tensor:
    """`unsqueeze`, changing the tensor itself."""
    return change_geometry(UNSQUEEZE[1], input, _unsqueezed(input, dim))
