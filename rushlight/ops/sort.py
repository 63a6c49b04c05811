"""Sorting, and what rests on it: topk, medians, quantiles, unique values.

Ops that order elements return values and indices; gradients go to the elements chosen. Invariant: NaN
counts as the largest element, and the sort is stable, so equal elements keep their order (PyTorch promises
that for ``stable=True`` only).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rushlight.autograd.mode import reading
from rushlight.ops.arguments import numpy_names
from rushlight.ops.define import apply, labelled, write_out
from rushlight.ops.dims import refuse_keepdim
from rushlight.ops.extreme import check_not_empty, chosen_rule, share_rule
from rushlight.ops.kinds import composite, only, primitive, public
from rushlight.ops.return_types import values_and_indices
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor, new_tensor, normal_dim

_sort_type, _topk_type, _kthvalue_type, _mode_type = map(
    values_and_indices, ("sort", "topk", "kthvalue", "mode")
)


def _order(input: np.ndarray, dim: int, descending: bool) -> np.ndarray:
    """The stable order of the elements along `dim`; NaN is the largest."""
    if not descending:
        return np.argsort(input, axis=dim, kind="stable")
    # stable and descending: sort the reversed line ascending, then reverse the result
    flipped = np.argsort(np.flip(input, dim), axis=dim, kind="stable")
    return np.flip(input.shape[dim] - 1 - flipped, dim)


def _sort(input: np.ndarray, *, dim: int, descending: bool) -> tuple[np.ndarray, np.ndarray]:
    if not input.ndim:
        return input.copy(), np.zeros((), np.int64)
    order = np.ascontiguousarray(_order(input, dim, descending))
    return np.take_along_axis(input, order, dim), order


def _sorted_rule(g: Tensor, input_shape: tuple[int, ...], indices: Tensor, dim: int) -> Tensor:
    return chosen_rule(g, input_shape, indices, dim, True)


SORT = primitive(
    "sort", "fold", _sort, dict(input=_sorted_rule), outputs=("values", "indices"), differentiable=(0,)
)


def _sort_samples() -> list[Sample]:
    found = [
        Sample([T((3, 4), distinct=True)]),
        Sample([T((3, 4), distinct=True), 0, True]),
        Sample([T((5,), "int64", distinct=True)]),
    ]
    return [
        *found,
        Sample([T((), distinct=True)]),
        Sample([T((0, 3))]),
        Sample([T((2, 3, 4), distinct=True)], {"dim": 1}),
    ]


@public(SORT, samples=_sort_samples)
@numpy_names
def sort(
    input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False, out: Any = None
) -> Any:
    """The elements in order along `dim`, and where they came from.

    >>> import rushlight as torch
    >>> torch.tensor([3, 1, 2]).sort()
    torch.return_types.sort(
    values=tensor([1, 2, 3]),
    indices=tensor([1, 2, 0]))
    """
    params = {"dim": normal_dim(dim, input._array.ndim), "descending": bool(descending)}
    return _sort_type(apply(SORT, (input,), params, out))


@composite(samples=_sort_samples)
@numpy_names
def argsort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Tensor:
    """The indices that put the elements in order along `dim`."""
    return sort(input, dim, descending, stable=stable)[1]


@composite(samples=lambda: [Sample([T((4, 3), distinct=True)])])
def msort(input: Tensor, *, out: Any = None) -> Tensor:
    """The elements in order along the first dimension."""
    result = sort(input, 0)[0]
    return result if out is None else write_out(out, result)


def _topk(input: np.ndarray, *, k: int, dim: int, largest: bool) -> tuple[np.ndarray, np.ndarray]:
    if not input.ndim:
        return input.copy(), np.zeros((), np.int64)
    order = np.take(_order(input, dim, largest), np.arange(k), axis=dim)
    return np.take_along_axis(input, order, dim), order


TOPK = primitive(
    "topk", "fold", _topk, dict(input=_sorted_rule), outputs=("values", "indices"), differentiable=(0,)
)


@public(
    TOPK,
    samples=lambda: [
        Sample([T((3, 5), distinct=True), 2]),
        Sample([T((3, 5), distinct=True), 2, 0, False]),
        Sample([T((4,), "int64", distinct=True), 4]),
        Sample([T((3, 5)), 0]),
        Sample([T((3,), "bool"), 1], raises=True),
    ],
)
@numpy_names
def topk(
    input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True, *, out: Any = None
) -> Any:
    """The `k` largest (or smallest) elements along `dim`, in order, and their indices."""
    place = normal_dim(dim, input._array.ndim)
    length = input._array.shape[place] if input._array.ndim else 1
    if 0 <= k <= length and input._array.dtype.kind == "b":
        raise RuntimeError("topk does not support bool dtypes on CPU")
    if not 0 <= k <= length:
        raise RuntimeError(
            f"selected index k out of range: k is {k}, dimension {place} has {length} elements"
        )
    return _topk_type(apply(TOPK, (input,), {"k": k, "dim": place, "largest": largest}, out))


# -- order statistics ----------------------------------------------------------------------------------------


def _nth(input: np.ndarray, *, k: int, dim: int, keepdim: bool) -> tuple[np.ndarray, np.ndarray]:
    if not input.ndim:
        return input.copy(), np.zeros((), np.int64)
    index = np.take(np.argsort(input, axis=dim, kind="stable"), [k], axis=dim)
    value = np.take_along_axis(input, index, dim)
    return (value, index) if keepdim else (value.squeeze(dim), index.squeeze(dim))


KTH = primitive(
    "kthvalue", "fold", _nth, dict(input=chosen_rule), outputs=("values", "indices"), differentiable=(0,)
)


@public(
    KTH,
    samples=lambda: [
        Sample([T((3, 5), distinct=True), 2]),
        Sample([T((3, 5), distinct=True), 1, 0, True]),
        Sample([T((), distinct=True), 1]),
        Sample([T((3,), "bool"), 1], raises=True),
    ],
)
@numpy_names
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False, *, out: Any = None) -> Any:
    """The k-th smallest element along `dim` (counted from 1) and its index."""
    place = normal_dim(dim, input._array.ndim)
    check_not_empty("kthvalue", input, place)
    length = input._array.shape[place] if input._array.ndim else 1
    if not 1 <= k <= length:
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {place}")
    if input._array.ndim:
        only("fiu", "kthvalue_cpu")(input._array)
    return _kthvalue_type(apply(KTH, (input,), {"k": k - 1, "dim": place, "keepdim": keepdim}, out))


def _median(input: np.ndarray, *, dim: int, keepdim: bool, skip_nan: bool) -> tuple[np.ndarray, np.ndarray]:
    if not input.ndim:
        return input.copy(), np.zeros((), np.int64)
    order = np.argsort(input, axis=dim, kind="stable")
    length = input.shape[dim]
    if input.dtype.kind == "f":
        missing = np.isnan(input)
        known = length - missing.sum(axis=dim, keepdims=True)
        middle = np.maximum((known - 1) // 2, 0)
        if not skip_nan:  # a line with NaN has NaN for its median: the first one
            middle = np.where(missing.any(axis=dim, keepdims=True), known, middle)
    else:
        middle = np.full([1 if i == dim else n for i, n in enumerate(input.shape)], (length - 1) // 2)
    index = np.take_along_axis(order, np.minimum(middle, length - 1), dim)
    value = np.take_along_axis(input, index, dim)
    return (value, index) if keepdim else (value.squeeze(dim), index.squeeze(dim))


def _all_equal_rule(g: Tensor, input: Tensor, out: Tensor) -> Tensor:
    return share_rule(g, input, out, tuple(range(input._array.ndim)), False)


def _median_pair(name: str, result_type: Any, summary: str) -> Any:
    along = primitive(
        name, "fold", _median, dict(input=chosen_rule), outputs=("values", "indices"), differentiable=(0,)
    )
    skip = name == "nanmedian"

    def of_all(input: np.ndarray) -> np.ndarray:
        return _median(input.reshape(-1), dim=0, keepdim=False, skip_nan=skip)[0]

    all_op = primitive(name, "opaque", of_all, dict(input=_all_equal_rule))
    along.node_name = along.node_name.replace("Backward0", "Backward1")

    def function(input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: Any = None) -> Any:
        if dim is None:
            refuse_keepdim(name, keepdim)
            if input._array.size == 0:
                return labelled(input.sum() * math.nan, all_op.node_name)
            only("fiu", "median_cpu")(input._array)
            return apply(all_op, (input,), out=out)
        only("fiu", "median_out")(input._array)
        params = {"dim": normal_dim(dim, input._array.ndim), "keepdim": keepdim, "skip_nan": skip}
        return result_type(apply(along, (input,), params, out))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = summary
    samples = lambda: [  # noqa: E731
        Sample([T((3, 5), distinct=True)]),
        Sample([T((3, 4), distinct=True), 1]),
        Sample([T((3, 4), distinct=True), 0, True]),
        Sample([T(values=[[1.0, math.nan, 3.0], [2.0, 5.0, 4.0]], grad=False), 1]),
        Sample([T((4,), "int64", distinct=True)]),
        Sample([T(values=[[2.0, 2.0], [2.0, 1.0]])]),
        Sample([T(values=[math.nan, math.nan, 1.0, 1.0, 3.0])], second=False, why="NaN"),
        *[Sample([T((4,), "bool"), *dim], raises=True) for dim in ((), (0,))],
    ]
    return public(along, samples=samples)(numpy_names(function))


median = _median_pair(
    "median",
    values_and_indices("median"),
    "The median: of an even number of elements the lower one. Of all, or along `dim`.",
)
nanmedian = _median_pair(
    "nanmedian", values_and_indices("nanmedian"), "The median of the elements that are not NaN."
)


def _mode(input: np.ndarray, *, dim: int, keepdim: bool) -> tuple[np.ndarray, np.ndarray]:
    if not input.ndim:
        return input.copy(), np.zeros((), np.int64)
    lines = np.moveaxis(input, dim, -1)
    flat = lines.reshape(-1, lines.shape[-1])
    index: Any = np.empty(len(flat), np.int64)
    for row, line in enumerate(flat):
        values, counts = np.unique(line, return_counts=True)
        index[row] = np.flatnonzero(line == values[counts.argmax()])[-1]
    index = index.reshape(lines.shape[:-1])
    value = np.take_along_axis(lines, index[..., None], -1)[..., 0]
    return (np.expand_dims(value, dim), np.expand_dims(index, dim)) if keepdim else (value, index)


MODE = primitive(
    "mode", "fold", _mode, dict(input=chosen_rule), outputs=("values", "indices"), differentiable=(0,)
)


@public(
    MODE,
    samples=lambda: [
        Sample([T(values=[[1.0, 2.0, 2.0], [3.0, 1.0, 3.0]])]),
        Sample([T((3, 4), "int64", low=0, high=3), 1, True]),
    ],
)
@numpy_names
def mode(input: Tensor, dim: int = -1, keepdim: bool = False, *, out: Any = None) -> Any:
    """The most frequent element along `dim` (the smallest of several) and the last place it stands."""
    place = normal_dim(dim, input._array.ndim)
    check_not_empty("mode", input, place)
    return _mode_type(apply(MODE, (input,), {"dim": place, "keepdim": keepdim}, out))


def _quantile(
    input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, skip_nan: bool, name: str
) -> Tensor:
    if input._array.dtype.name not in ("float32", "float64"):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got "
            f"{interpolation}"
        )
    if input._array.size == 0:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    wanted = q if isinstance(q, Tensor) else new_tensor(np.asarray(q, dtype=input._array.dtype))
    if wanted._array.ndim > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
    if wanted._array.dtype != input._array.dtype:
        raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    if ((wanted._array < 0) | (wanted._array > 1)).any():
        raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {float(wanted._array.max())}")
    reading(f"{name}()", input, wanted)
    line = input.reshape(-1) if dim is None else input.transpose(dim, -1)
    ordered = sort(line, -1)[0]
    missing = np.isnan(ordered._array).sum(-1, keepdims=True)
    length = ordered._array.shape[-1]
    known = (length - missing if skip_nan else np.where(missing > 0, length, length)).astype(
        input._array.dtype
    )
    place = wanted._array.reshape(-1) * np.maximum(known - 1, 0)
    if not skip_nan:  # a line with NaN has NaN for every quantile: its last element
        place = np.where(missing > 0, length - 1, place)
    if interpolation in ("lower", "higher", "nearest"):
        place = {"lower": np.floor, "higher": np.ceil, "nearest": np.rint}[interpolation](place)
    below = np.floor(place)
    share = np.full_like(place, 0.5) * (place != below) if interpolation == "midpoint" else place - below
    low = ordered.gather(
        -1, new_tensor(np.broadcast_to(below, (*ordered.shape[:-1], below.shape[-1])).astype(np.int64))
    )
    high = ordered.gather(-1, new_tensor(np.broadcast_to(np.ceil(place), low.shape).astype(np.int64)))
    result = low.lerp(
        high, new_tensor(np.ascontiguousarray(np.broadcast_to(share, low.shape)).astype(input._array.dtype))
    )
    if dim is not None:
        result = result.transpose(dim, -1)
        result = result.movedim(dim, 0) if wanted._array.ndim else result.squeeze(dim)
        if keepdim:
            result = result.unsqueeze(dim + 1 if wanted._array.ndim and dim >= 0 else dim)
    else:
        result = result if wanted._array.ndim else result.squeeze(0)
        if keepdim:
            result = result.reshape(*result.shape, *(1,) * input._array.ndim)
    return labelled(result, "SqueezeBackward4")


def _quantile_samples() -> list[Sample]:
    found = [Sample([T((7,), distinct=True), 0.3]), Sample([T((3, 5), distinct=True), 0.6], {"dim": 1})]
    found.append(Sample([T((3, 5), distinct=True), T(values=[0.1, 0.5, 1.0], grad=False)], {"dim": 0}))
    found += [
        Sample([T((6,), distinct=True), 0.35], {"interpolation": how})
        for how in ("lower", "higher", "midpoint", "nearest")
    ]
    return [*found, Sample([T((3, 5), distinct=True), 0.5], {"dim": 1, "keepdim": True})]


@composite(samples=_quantile_samples)
@numpy_names
def quantile(
    input: Tensor,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
    out: Any = None,
) -> Tensor:
    """The q-th quantile (0 to 1, one or several) of all elements or along `dim`."""
    result = _quantile(input, q, dim, keepdim, interpolation, False, "quantile")
    return result if out is None else write_out(out, result)


@composite(samples=_quantile_samples)
@numpy_names
def nanquantile(
    input: Tensor,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
    out: Any = None,
) -> Tensor:
    """`quantile` of the elements that are not NaN."""
    result = _quantile(input, q, dim, keepdim, interpolation, True, "nanquantile")
    return result if out is None else write_out(out, result)


# -- unique values -------------------------------------------------------------------------------------------


def _first_of_runs(ordered: np.ndarray, dim: int | None) -> np.ndarray:
    """Where, along the first axis, an element (or slice) differs from the one before."""
    if len(ordered) == 0:
        return np.zeros(0, bool)
    changed = ordered[1:] != ordered[:-1]
    if dim is not None:
        changed = changed.reshape(len(changed), -1).any(1)
    return np.concatenate([[True], changed])


@composite(
    samples=lambda: [
        Sample([T((8,), "int64", low=0, high=4)]),
        Sample([T((3, 4), "int64", low=0, high=4)], {"return_inverse": True, "return_counts": True}),
        Sample([T((5, 2), "int64", low=0, high=2)], {"dim": 0, "return_inverse": True}),
    ]
)
@numpy_names
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The distinct elements (or slices along `dim`), in order; on request where each went and how often it
    stands.
    """
    reading("unique()", input)
    place = None if dim is None else normal_dim(dim, input._array.ndim)
    if place is not None and any(n == 0 for i, n in enumerate(input._array.shape) if i != place):
        raise RuntimeError(
            "There are 0 sized dimensions, and they aren't selected, so unique cannot be applied"
        )
    values, inverse, counts = np.unique(
        input._array, return_inverse=True, return_counts=True, axis=place, equal_nan=False
    )
    shape = input._array.shape if dim is None else (-1,)
    return _unique_result(values, inverse.reshape(shape), counts, return_inverse, return_counts)


def _unique_result(
    values: np.ndarray, inverse: np.ndarray, counts: np.ndarray, with_inverse: bool, with_counts: bool
) -> Any:
    result = [new_tensor(np.ascontiguousarray(values))]
    if with_inverse:
        result.append(new_tensor(inverse.astype(np.int64)))
    if with_counts:
        result.append(new_tensor(counts.astype(np.int64)))
    return result[0] if len(result) == 1 else tuple(result)


@composite(
    samples=lambda: [
        Sample([T((9,), "int64", low=0, high=3)], {"return_inverse": True, "return_counts": True}),
        Sample([T((6, 2), "int64", low=0, high=2)], {"dim": 0}),
    ]
)
@numpy_names
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The elements (or slices along `dim`) without those equal to the one before."""
    reading("unique_consecutive()", input)
    array = input._array.reshape(-1) if dim is None else np.moveaxis(input._array, dim, 0)
    first = _first_of_runs(array, dim)
    values = array[first] if dim is None else np.moveaxis(array[first], 0, dim)
    inverse = np.cumsum(first) - 1
    starts = np.flatnonzero(first)
    counts = np.diff(np.append(starts, len(array)))
    shape = input._array.shape if dim is None else (-1,)
    return _unique_result(values, inverse.reshape(shape), counts, return_inverse, return_counts)
