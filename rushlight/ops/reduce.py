"""Sums and means along dimensions.

A fold takes its dimensions as a sorted tuple of non-negative ints (None never reaches an op: it is made
explicit first), so a recorded call says all. Products are in `product`, variances in `variance`, extremes in
`extreme`, truth values in `truth`, running folds in `scan`. Invariant: float16 is accumulated in float32;
everything else in the type of the result, by NumPy's pairwise summation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.autograd.mode import RECORDING, state
from rushlight.dtype import F16, I64, from_numpy
from rushlight.ops.arguments import int_varargs, numpy_names, pytorch_names, require_tensor
from rushlight.ops.create import numpy_type
from rushlight.ops.define import C_NAMES, TITLES, apply, write_out
from rushlight.ops.dims import check_keepdim, count_of, dims_of, expandable, kept_shape
from rushlight.ops.kinds import composite, primitive, public
from rushlight.ops.samples import Named, Sample, T
from rushlight.ops.shape import reshape_to
from rushlight.storage import strided
from rushlight.tensor import Tensor

_add = np.add.reduce

# -- between a tensor and what it was reduced to -------------------------------------------------------------


def _spread(input: np.ndarray, *, shape: tuple[int, ...], dim: tuple[int, ...], keepdim: bool) -> np.ndarray:
    strides = list(input.strides)
    for place in dim:
        if keepdim:
            strides[place] = 0
        else:
            strides.insert(place, 0)
    return strided(input, shape, tuple(strides))


SPREAD = primitive(
    "spread",
    "view",
    _spread,
    dict(
        input=lambda g, dim, keepdim: apply(
            SUM, (g,), {"dim": dim, "keepdim": keepdim, "dtype": g._array.dtype}
        )
    ),
    node_name="ExpandBackward0",
)


def _spread_copy(
    input: np.ndarray, *, shape: tuple[int, ...], dim: tuple[int, ...], keepdim: bool, count: int
) -> np.ndarray:
    if count != 1:
        input = np.asarray(input / input.dtype.type(count))
    result = np.empty(shape, input.dtype)
    result[...] = input if keepdim or not input.ndim else input.reshape(kept_shape(shape, dim))
    return result


def _sum_scaled(g: Tensor, dim: tuple[int, ...], keepdim: bool, count: int) -> Tensor:
    total = apply(SUM, (g,), {"dim": dim, "keepdim": keepdim, "dtype": g._array.dtype})
    return total if count == 1 else total / count


SPREAD_COPY = primitive(
    "spread_copy", "opaque", _spread_copy, dict(input=_sum_scaled), node_name="ExpandBackward0"
)
_SMALL = 4096


def spread(g: Tensor, shape: tuple[int, ...], dim: tuple[int, ...], keepdim: bool, count: int = 1) -> Tensor:
    """A reduced value, divided by `count`, at every element that it came from: the gradient of a sum or mean.

    It is a view, but for small shapes when eager: there a copy is cheaper, since a leaf can keep it.
    """
    if not dim:
        return g if count == 1 else g / count
    params = {"shape": shape, "dim": dim, "keepdim": keepdim}
    if not state.mode & RECORDING and math.prod(shape) <= _SMALL and g._array.dtype is not F16:
        return apply(SPREAD_COPY, (g,), {**params, "count": count})
    return apply(SPREAD, (g if count == 1 else g / count,), params)


def like_input(value: Tensor, shape: tuple[int, ...], dim: tuple[int, ...], keepdim: bool) -> Tensor:
    """A reduced value in a shape that broadcasts against the input."""
    return value if keepdim or not shape else reshape_to(value, kept_shape(shape, dim))


def reduction_samples(*, low: float | None = None, ints: bool = True, empty: bool = True) -> list[Sample]:
    """The usual samples of a reduction with `dim` and `keepdim`."""
    cube = T((2, 3, 4), low=low)
    found = [
        Sample([T((3, 4), low=low)]),
        Sample([cube, 1]),
        Sample([cube, -1, True]),
        Sample([cube, (0, 2)]),
    ]
    found += [Sample([T((), low=low)]), Sample([T((), low=low), 0]), Sample([cube, ()])]
    found += [
        Sample([T((3, 4), low=low, layout="transposed"), 0]),
        Sample([T((3, 4), low=low, layout="expanded"), 1]),
        Sample([T((2, 3), "float64", low=low), [0, 1], True]),
        Sample([T((3, 4), "float16", low=low), 0]),
        Sample([T((3, 4)), 2], raises=True),
        Sample([T((3, 4)), (0, -2)], raises=True),
    ]
    if empty:
        found += [
            Sample([T((0, 3), low=low), 1]),
            Sample([T((0, 3), low=low), 0]),
            Sample([T((0,), low=low)]),
        ]
    if ints:
        found += [Sample([T((3, 4), kind), 0]) for kind in ("int64", "uint8", "bool")]
    return found


# -- sum -----------------------------------------------------------------------------------------------------


def _sum(input: np.ndarray, *, dim: tuple[int, ...], keepdim: bool, dtype: np.dtype) -> Any:
    if dtype is F16:
        return _add(input, dim, np.float32, None, keepdim).astype(dtype)
    return _add(input, dim, dtype, None, keepdim)


_SUM_RULE = dict(input=lambda g, input_shape, dim, keepdim: spread(g, input_shape, dim, keepdim))
SUM_ALL = primitive("sum", "fold", _sum, _SUM_RULE)
SUM = primitive("sum", "fold", _sum, _SUM_RULE, node_name="SumBackward1")


def accumulate_type(name: str, dtype: Any, array: np.ndarray, out: Any = None) -> np.dtype:
    """The type a sum or product of `array` has: its own, int64 for whole numbers and bools, or as asked, by
    `dtype` or by the tensor it is written to.
    """
    target = out.dtype if isinstance(out, Tensor) else None
    if dtype is not None:
        asked = numpy_type(name, dtype)
        if target is not None and target.numpy != asked:
            have, want = C_NAMES[target.name], C_NAMES[asked.name]
            raise RuntimeError(f"Expected out tensor to have dtype {want}, but got {have} instead")
        return asked
    if target is not None:
        return target.numpy
    return array.dtype if array.dtype.kind == "f" else I64


@public(
    SUM,
    samples=lambda: [
        *reduction_samples(),
        Sample([T((3, 4)), 0], {"dtype": Named("float64")}),
        Sample([T((3, 4), "int64")], {"dtype": Named("float32")}),
        Sample([T((2, 3)), None, True]),
        Sample([T((2, 3)), 0, 1], raises=True),
        Sample([T((3, 4)), 1.5], raises=True),
    ],
)
def sum(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None, **given: Any
) -> Tensor:
    """The sum over all elements, or along `dim` (an int or several).

    Whole numbers and bools are summed as int64 unless `dtype` says otherwise; `keepdim` leaves the summed
    dimensions in the result, with length 1.

    >>> import rushlight as torch
    >>> torch.tensor([[1, 2], [3, 4]]).sum(dim=0)
    tensor([4, 6])
    """
    if given:
        named = {"dim": dim, "keepdim": keepdim, "dtype": dtype, "out": out}
        return sum(input, **named | pytorch_names("sum", given))
    if input.__class__ is not Tensor:
        require_tensor("sum", "input", 1, input)
    check_keepdim("sum", keepdim)
    array = input._array
    params = {
        "dim": dims_of(dim, array.ndim, "sum"),
        "keepdim": keepdim,
        "dtype": accumulate_type("sum", dtype, array, out),
    }
    return apply(SUM_ALL if dim is None and not keepdim else SUM, (input,), params, out)


def sum_to_size(input: Tensor, shape: Sequence[int]) -> Tensor:
    """Undo broadcasting: sum over the dimensions in which `shape` is 1 or missing."""
    current = input._array.shape
    leading = len(current) - len(shape)
    dims = (
        *range(leading),
        *(leading + i for i, n in enumerate(shape) if n == 1 and current[leading + i] != 1),
    )
    if not dims:
        return input
    keep = len(dims) > leading
    summed = apply(SUM, (input,), {"dim": dims, "keepdim": keep, "dtype": input._array.dtype})
    return reshape_to(summed, tuple(shape)) if keep and leading else summed


@int_varargs("size")
def _sum_to_size(self: Tensor, size: tuple[int, ...]) -> Tensor:
    """This tensor summed to `size`, to which it would be a broadcast."""
    if not expandable(size, self._array.shape):
        raise RuntimeError(f"size {{{list(size)}}} is not expandable to size {{{list(self._array.shape)}}}.")
    return sum_to_size(self, size)


METHODS = {"sum_to_size": _sum_to_size}

# -- mean ----------------------------------------------------------------------------------------------------


def _mean(input: np.ndarray, *, dim: tuple[int, ...], keepdim: bool, dtype: np.dtype) -> Any:
    if dtype is F16:
        total = _add(input, dim, np.float32, None, keepdim)
        return (total / np.float32(count_of(input.shape, dim))).astype(dtype)
    return _add(input, dim, dtype, None, keepdim) / dtype.type(count_of(input.shape, dim))


def _mean_rule(g: Tensor, input_shape: tuple[int, ...], dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return spread(g, input_shape, dim, keepdim, max(count_of(input_shape, dim), 1))


MEAN_ALL = primitive("mean", "fold", _mean, dict(input=_mean_rule))
MEAN = primitive("mean", "fold", _mean, dict(input=_mean_rule), node_name="MeanBackward1")


@public(
    MEAN,
    samples=lambda: [
        *reduction_samples(ints=False),
        Sample([T((3,), "int64")], {"dtype": Named("float32")}),
        Sample([T((3,), "int64")], raises=True),
        Sample([T((3,)), 0], {"dtype": Named("int32")}, raises=True),
        Sample([T((3, 4)), 1.5], raises=True),
    ],
)
def mean(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None, **given: Any
) -> Tensor:
    """The mean over all elements, or along `dim`; of floating tensors only, unless `dtype` is given.

    >>> import rushlight as torch
    >>> torch.tensor([[1.0, 2.0], [3.0, 5.0]]).mean(1)
    tensor([1.5000, 4.0000])
    """
    if given:
        named = {"dim": dim, "keepdim": keepdim, "dtype": dtype, "out": out}
        return mean(input, **named | pytorch_names("mean", given))
    if input.__class__ is not Tensor:
        require_tensor("mean", "input", 1, input)
    check_keepdim("mean", keepdim)
    array = input._array
    kind = array.dtype if dtype is None else numpy_type("mean", dtype)
    if kind.kind != "f":
        which = "Input dtype" if dtype is None else "Optional dtype"
        raise RuntimeError(
            f"mean(): could not infer output dtype. {which} must be either a floating point or complex "
            f"dtype. Got: {TITLES[from_numpy(kind).name]}"
        )
    params = {"dim": dims_of(dim, array.ndim, "mean"), "keepdim": keepdim, "dtype": kind}
    return apply(MEAN_ALL if dim is None and not keepdim else MEAN, (input,), params, out)


# -- leaving out NaN, counting -------------------------------------------------------------------------------

_WITH_NAN = T(values=[[1.0, math.nan, 3.0], [math.nan, math.nan, math.nan]])


def _nansum(input: np.ndarray, *, dim: tuple[int, ...], keepdim: bool, dtype: np.dtype) -> Any:
    known = np.where(np.isnan(input), input.dtype.type(0), input) if input.dtype.kind == "f" else input
    return _sum(known, dim=dim, keepdim=keepdim, dtype=dtype)


def _nansum_rule(g: Tensor, input: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return spread(g, input._array.shape, dim, keepdim) * input.isnan().logical_not()


NANSUM = primitive("nansum", "fold", _nansum, dict(input=_nansum_rule))


@public(NANSUM, samples=lambda: [*reduction_samples(), Sample([_WITH_NAN]), Sample([_WITH_NAN, 1])])
@numpy_names
def nansum(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Tensor:
    """`sum` of the elements that are not NaN.

    >>> import rushlight as torch
    >>> torch.nansum(torch.tensor([1.0, float("nan"), 3.0]))
    tensor(4.)
    """
    require_tensor("nansum", "input", 1, input)
    params = {
        "dim": dims_of(dim, input._array.ndim, "nansum"),
        "keepdim": keepdim,
        "dtype": accumulate_type("nansum", dtype, input._array),
    }
    return apply(NANSUM, (input,), params, out)


@composite(
    samples=lambda: [
        *reduction_samples(ints=False),
        Sample([_WITH_NAN]),
        Sample([_WITH_NAN, 1]),
        Sample([T((3,), "int64")], raises=True),
    ]
)
@numpy_names
def nanmean(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Tensor:
    """`mean` of the elements that are not NaN.

    >>> import rushlight as torch
    >>> torch.nanmean(torch.tensor([1.0, float("nan"), 3.0]))
    tensor(2.)
    """
    if input._array.dtype.kind != "f":
        raise RuntimeError(
            "nanmean(): expected input to have floating point or complex dtype but got "
            f"{TITLES[input.dtype.name]}"
        )
    count = sum(input.isnan().logical_not(), dim, keepdim)
    result = nansum(input, dim, keepdim, dtype=dtype) / count
    return result if out is None else write_out(out, result)


@composite(
    samples=lambda: [
        Sample([T((3, 4), grad=False)]),
        Sample([T((3, 4), "int64", low=0, high=2), 0]),
        Sample([T((2, 3), "bool"), (0, 1)]),
        Sample([T((), "int64")]),
        Sample([T((0, 3), grad=False), 0]),
        Sample([T((3,), grad=False), 1], raises=True),
    ]
)
@numpy_names
def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """How many elements are not zero, in all or along `dim`.

    >>> import rushlight as torch
    >>> torch.count_nonzero(torch.tensor([[0, 1], [2, 3]]), dim=0)
    tensor([1, 2])
    """
    return sum(input != 0, dim)
