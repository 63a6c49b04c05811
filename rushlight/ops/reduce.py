"""Folds that combine elements along dimensions: sums, means, products, variances, norms.

Folds take their dimensions as a sorted tuple of non-negative ints (None never reaches an op: it is made explicit
first), so that a recorded call says all. Extremes are in `extreme`, running folds in `scan`, sorting in `sort`.
Invariant: float16 is accumulated in float32; everything else in the type of the result, by NumPy's pairwise summation.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.dtype import F16, I64, from_numpy
from rushlight.ops.arguments import numpy_names
from rushlight.ops.define import apply, labelled, write_out
from rushlight.ops.kinds import composite, primitive, public
from rushlight.ops.samples import Named, Sample, T
from rushlight.tensor import Tensor, normal_dim

_all_dims = [(), (0,), (0, 1), (0, 1, 2), (0, 1, 2, 3)]


def dims_of(dim: Any, ndim: int) -> tuple[int, ...]:
    """The dimensions a reduction runs over, as a sorted tuple: all for None or ()."""
    if dim is None:
        return _all_dims[ndim] if ndim < 5 else tuple(range(ndim))
    if isinstance(dim, int):
        found = normal_dim(dim, ndim)
        return (found,) if ndim else ()
    if len(dim) == 0:
        return tuple(range(ndim))
    several = [normal_dim(each.__index__(), ndim) for each in dim]
    for each in several:
        if several.count(each) > 1:
            raise RuntimeError(f"dim {each} appears multiple times in the list of dims")
    return tuple(sorted(several)) if ndim else ()


def restore_dims(g: Tensor, shape: tuple[int, ...], dim: tuple[int, ...], keepdim: bool) -> Tensor:
    """Spread the gradient of a reduction back over the shape that was reduced."""
    if not keepdim and 0 < len(dim) < len(shape):
        g = g.reshape(kept_shape(shape, dim))
    return g.expand(shape)


def kept_shape(shape: Sequence[int], dim: Sequence[int]) -> tuple[int, ...]:
    """`shape` with the reduced dimensions as 1."""
    return tuple(1 if i in dim else n for i, n in enumerate(shape))


def like_input(value: Tensor, shape: tuple[int, ...], dim: tuple[int, ...], keepdim: bool) -> Tensor:
    """A reduced value in a shape that broadcasts against the input."""
    return value if keepdim or not shape else value.reshape(kept_shape(shape, dim))


def count_of(shape: Sequence[int], dim: Sequence[int]) -> int:
    """How many elements each result of a reduction combines."""
    return math.prod(shape[i] for i in dim)


def reduction_samples(*, low: float | None = None, ints: bool = True, empty: bool = True) -> list[Sample]:
    """The usual samples of a reduction with `dim` and `keepdim`."""
    found = [
        Sample([T((3, 4), low=low)]),
        Sample([T((2, 3, 4), low=low), 1]),
        Sample([T((2, 3, 4), low=low), -1, True]),
    ]
    found += [Sample([T((2, 3, 4), low=low), (0, 2)]), Sample([T((), low=low)]), Sample([T((), low=low), 0])]
    found += [
        Sample([T((3, 4), low=low, layout="transposed"), 0]),
        Sample([T((2, 3), "float64", low=low), [0, 1], True]),
    ]
    found.append(Sample([T((3, 4), "float16", low=low), 0]))
    if empty:
        found += [Sample([T((0, 3), low=low), 1]), Sample([T((0, 3), low=low), 0])]
    if ints:
        found += [Sample([T((3, 4), kind), 0]) for kind in ("int64", "uint8", "bool")]
    return found


# -- sum and mean -------------------------------------------------------------------------------------------------------


def _sum(input: np.ndarray, *, dim: tuple[int, ...], keepdim: bool, dtype: np.dtype) -> Any:
    if dtype is F16:
        return np.add.reduce(input, axis=dim, keepdims=keepdim, dtype=np.float32).astype(dtype)
    return np.add.reduce(input, axis=dim, dtype=dtype, keepdims=keepdim)


_SUM_RULE = dict(input=lambda g, input_shape, dim, keepdim: restore_dims(g, input_shape, dim, keepdim))
SUM_ALL = primitive("sum", "fold", _sum, _SUM_RULE)
SUM = primitive("sum", "fold", _sum, _SUM_RULE, node_name="SumBackward1")


def _accumulate_type(dtype: Any, array: np.ndarray) -> np.dtype:
    if dtype is not None:
        return dtype.numpy
    return array.dtype if array.dtype.kind == "f" else I64


@public(SUM, samples=lambda: [*reduction_samples(), Sample([T((3, 4)), 0], {"dtype": Named("float64")})])
@numpy_names
def sum(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Tensor:
    """The sum over all elements, or along `dim` (an int or several).

    Integers and bools are summed as int64 unless `dtype` says otherwise.

    >>> import rushlight as torch
    >>> torch.tensor([[1, 2], [3, 4]]).sum(dim=0)
    tensor([4, 6])
    """
    array = input._array
    params = {"dim": dims_of(dim, array.ndim), "keepdim": keepdim, "dtype": _accumulate_type(dtype, array)}
    return apply(SUM_ALL if dim is None else SUM, (input,), params, out)


def expandable(shape: Sequence[int], to: Sequence[int]) -> bool:
    """Whether `shape` broadcasts to `to`."""
    if len(shape) > len(to):
        return False
    return all(n in (1, m) for n, m in zip(reversed(shape), reversed(to), strict=False))


def sum_to_size(input: Tensor, shape: Sequence[int]) -> Tensor:
    """Undo broadcasting: sum over the dimensions in which `shape` is 1 or missing."""
    current = input._array.shape
    leading = len(current) - len(shape)
    dims = (
        *range(leading),
        *(leading + i for i, n in enumerate(shape) if n == 1 and current[leading + i] != 1),
    )
    keep = len(dims) > leading
    summed = (
        apply(SUM, (input,), {"dim": dims, "keepdim": keep, "dtype": input._array.dtype}) if dims else input
    )
    return summed.reshape(tuple(shape)) if keep and leading else summed


def _mean(input: np.ndarray, *, dim: tuple[int, ...], keepdim: bool, dtype: np.dtype) -> Any:
    total = np.add.reduce(input, axis=dim, keepdims=keepdim, dtype=np.float32 if dtype is F16 else dtype)
    return (total / total.dtype.type(count_of(input.shape, dim))).astype(dtype, copy=False)


def _mean_rule(g: Tensor, input_shape: tuple[int, ...], dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return restore_dims(g, input_shape, dim, keepdim) / max(count_of(input_shape, dim), 1)


MEAN_ALL = primitive("mean", "fold", _mean, dict(input=_mean_rule))
MEAN = primitive("mean", "fold", _mean, dict(input=_mean_rule), node_name="MeanBackward1")


@public(
    MEAN,
    samples=lambda: [*reduction_samples(ints=False), Sample([T((3,), "int64")], {"dtype": Named("float32")})],
)
@numpy_names
def mean(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Tensor:
    """The mean over all elements, or along `dim`; of floating-point tensors only, unless `dtype` is given.

    >>> import rushlight as torch
    >>> torch.tensor([[1.0, 2.0], [3.0, 5.0]]).mean(1)
    tensor([1.5000, 4.0000])
    """
    array = input._array
    kind = array.dtype if dtype is None else dtype.numpy
    if kind.kind != "f":
        title = from_numpy(kind).name
        given = "Input dtype" if dtype is None else "Optional dtype"
        names = {
            "int64": "Long",
            "int32": "Int",
            "int16": "Short",
            "int8": "Char",
            "uint8": "Byte",
            "bool": "Bool",
        }
        raise RuntimeError(
            f"mean(): could not infer output dtype. {given} must be either a floating point or complex dtype. "
            f"Got: {names[title]}"
        )
    params = {"dim": dims_of(dim, array.ndim), "keepdim": keepdim, "dtype": kind}
    return apply(MEAN_ALL if dim is None else MEAN, (input,), params, out)


@composite(samples=lambda: reduction_samples(ints=False))
@numpy_names
def nanmean(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Tensor:
    """The mean of the elements that are not NaN."""
    valid = input.isnan().logical_not()
    result = nansum(input, dim, keepdim, dtype=dtype) / sum(valid, dim, keepdim)
    return result if out is None else write_out(out, result)


@composite(samples=lambda: [*reduction_samples(), Sample([T(values=[1.0, math.nan, 3.0])])])
@numpy_names
def nansum(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Tensor:
    """The sum of the elements that are not NaN."""
    known = input.masked_fill(input.isnan(), 0) if input._array.dtype.kind == "f" else input
    return labelled(sum(known, dim, keepdim, dtype=dtype, out=out), "NansumBackward0")


@composite(
    samples=lambda: [
        Sample([T((3, 4), grad=False)]),
        Sample([T((3, 4), "int64", low=0, high=2), 0]),
        Sample([T((2, 3), "bool"), (0, 1)]),
    ]
)
@numpy_names
def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """How many elements are not zero, in all or along `dim`."""
    return sum(input != 0, dim)


# -- products -----------------------------------------------------------------------------------------------------------


def _prod(input: np.ndarray, *, dim: tuple[int, ...], keepdim: bool, dtype: np.dtype) -> Any:
    if dtype is F16:
        return np.multiply.reduce(input, axis=dim, keepdims=keepdim, dtype=np.float32).astype(dtype)
    return np.multiply.reduce(input, axis=dim, keepdims=keepdim, dtype=dtype)


def _prod_rule(g: Tensor, input: Tensor, out: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    shape = input._array.shape
    g = like_input(g, shape, dim, keepdim)
    if not (input._array == 0).any():
        return g * like_input(out, shape, dim, keepdim) / input
    return g * _product_of_others(input, dim)


def _product_of_others(input: Tensor, dim: tuple[int, ...]) -> Tensor:
    """For each element the product of all others along `dim`, right also where some are zero."""
    if not input._array.ndim:
        return input * 0 + 1
    rest = [i for i in range(input._array.ndim) if i not in dim]
    shape = input._array.shape
    order = [*rest, *dim]
    lines = input.permute(order).reshape(*(shape[i] for i in rest), -1)
    one = lines.narrow(-1, 0, 1) * 0 + 1
    before = one.new_ones(one.shape) if lines.shape[-1] == 1 else _shifted_products(lines, one)
    after = one if lines.shape[-1] == 1 else _shifted_products(lines.flip(-1), one).flip(-1)
    others = (before * after).reshape([shape[i] for i in order])
    return others.permute([order.index(i) for i in range(len(order))])


def _shifted_products(lines: Tensor, one: Tensor) -> Tensor:
    """Products of the elements before each one, along the last dimension."""
    from rushlight.ops.join import cat

    running = [one.new_ones(one.shape)]
    for place in range(lines.shape[-1] - 1):
        running.append(running[-1] * lines.narrow(-1, place, 1))
    return cat(running, -1)


PROD_ALL = primitive("prod", "fold", _prod, dict(input=_prod_rule))
PROD = primitive("prod", "fold", _prod, dict(input=_prod_rule), node_name="ProdBackward1")


def _prod_samples() -> list[Sample]:
    zeros = [Sample([T(values=[[1.0, 0.0, 3.0], [0.0, 0.0, 2.0]]), 1]), Sample([T(values=[2.0, 0.0, 3.0])])]
    return [
        Sample([T((3, 4))]),
        Sample([T((2, 3, 4)), 1]),
        Sample([T((2, 3)), -1, True]),
        Sample([T(())]),
        Sample([T((0, 3)), 0]),
    ] + zeros


@public(PROD, samples=_prod_samples)
@numpy_names
def prod(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Tensor:
    """The product of all elements, or along one dimension.

    >>> import rushlight as torch
    >>> torch.tensor([2, 3, 4]).prod()
    tensor(24)
    """
    array = input._array
    params = {"dim": dims_of(dim, array.ndim), "keepdim": keepdim, "dtype": _accumulate_type(dtype, array)}
    return apply(PROD_ALL if dim is None else PROD, (input,), params, out)


# -- variance -----------------------------------------------------------------------------------------------------------


def _variance(input: np.ndarray, dim: tuple[int, ...], correction: float, keepdim: bool) -> np.ndarray:
    wide = input.astype(np.float32) if input.dtype is F16 else input
    count = count_of(input.shape, dim)
    kind = wide.dtype.type
    mean = np.add.reduce(wide, axis=dim, keepdims=True) / kind(count)
    away = wide - mean
    total = np.add.reduce(away * away, axis=dim, keepdims=keepdim)
    return np.asarray(total / kind(max(count - correction, 0)))


def _var(input: np.ndarray, *, dim: tuple[int, ...], correction: float, keepdim: bool) -> np.ndarray:
    return _variance(input, dim, correction, keepdim).astype(input.dtype, copy=False)


def _std(input: np.ndarray, *, dim: tuple[int, ...], correction: float, keepdim: bool) -> np.ndarray:
    return np.sqrt(_variance(input, dim, correction, keepdim)).astype(input.dtype, copy=False)


def _var_rule(g: Tensor, input: Tensor, dim: tuple[int, ...], correction: float, keepdim: bool) -> Tensor:
    shape = input._array.shape
    scale = 2.0 / max(count_of(shape, dim) - correction, 0) if count_of(shape, dim) > correction else math.inf
    return like_input(g, shape, dim, keepdim) * (
        (input - mean(input, dim, True) if dim else input * 0) * scale
    )


def _std_rule(
    g: Tensor, input: Tensor, out: Tensor, dim: tuple[int, ...], correction: float, keepdim: bool
) -> Tensor:
    g = (g / (out * 2)).masked_fill(out == 0, 0)
    return _var_rule(g, input, dim, correction, keepdim)


VAR = primitive("var", "fold", _var, dict(input=_var_rule))
STD = primitive("std", "fold", _std, dict(input=_std_rule))


def _spread_params(
    name: str, input: Tensor, dim: Any, unbiased: Any, correction: Any, keepdim: bool
) -> dict[str, Any]:
    """The params of `var` and its kin; the old call ``var(x, unbiased)`` gives a bool where `dim` stands."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None:
        correction = int(unbiased)
    elif correction is None:
        correction = 1
    if input._array.dtype.kind != "f":
        raise RuntimeError(f"{name}(): {name} only support floating point and complex dtypes")
    dims = dims_of(dim, input._array.ndim)
    if count_of(input._array.shape, dims) - correction <= 0 and 0 not in kept_shape(input._array.shape, dims):
        warnings.warn(
            f"{name}(): degrees of freedom is <= 0. Correction should be strictly less than the reduction factor (input numel "
            "divided by output numel).",
            stacklevel=4,
        )
    return {"dim": dims, "correction": correction, "keepdim": keepdim}


def _spread_samples() -> list[Sample]:
    found = [Sample([T((3, 4))]), Sample([T((2, 3, 4)), 1]), Sample([T((3, 4)), (0, 1)], {"keepdim": True})]
    found += [
        Sample([T((3, 4)), 0], {"correction": 0}),
        Sample([T((3, 4)), 0, False]),
        Sample([T((5,)), False]),
    ]
    return [
        *found,
        Sample([T((3, 4), "float64"), -1], {"correction": 2}),
        Sample([T((4, 3), layout="transposed"), 0]),
    ]


@public(VAR, samples=_spread_samples)
@numpy_names
def var(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
    out: Any = None,
) -> Tensor:
    """The variance over all elements or along `dim`, divided by ``count - correction`` (1 by default).

    >>> import rushlight as torch
    >>> torch.tensor([1.0, 2.0, 3.0]).var()
    tensor(1.)
    """
    return apply(VAR, (input,), _spread_params("var", input, dim, unbiased, correction, keepdim), out)


@public(STD, samples=_spread_samples)
@numpy_names
def std(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
    out: Any = None,
) -> Tensor:
    """The standard deviation: the square root of `var`."""
    return apply(STD, (input,), _spread_params("std", input, dim, unbiased, correction, keepdim), out)


@composite(samples=_spread_samples, method=False)
@numpy_names
def var_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
) -> tuple[Tensor, Tensor]:
    """Variance and mean."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    pair = var(input, dim, unbiased, keepdim, correction=correction), mean(input, dim, keepdim)
    return labelled(pair[0], "VarMeanBackward0"), labelled(pair[1], "VarMeanBackward0")


@composite(samples=_spread_samples, method=False)
@numpy_names
def std_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    pair = std(input, dim, unbiased, keepdim, correction=correction), mean(input, dim, keepdim)
    return labelled(pair[0], "StdMeanBackward0"), labelled(pair[1], "StdMeanBackward0")
