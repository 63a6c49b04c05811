"""Running folds: cumulative sums, products and extremes along one dimension, and differences between
neighbours.

Invariant: the result has the input's shape (`diff` and the integrals apart) and integers accumulate in int64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.autograd.mode import RECORDING, state
from rushlight.dtype import F16, from_numpy
from rushlight.ops.arguments import numpy_names, require_tensor
from rushlight.ops.create import numpy_type
from rushlight.ops.define import C_NAMES, INPLACE, TITLES, apply
from rushlight.ops.join import cat
from rushlight.ops.kinds import primitive, public
from rushlight.ops.reduce import accumulate_type
from rushlight.ops.return_types import values_and_indices
from rushlight.ops.samples import Named, Sample, T
from rushlight.tensor import Tensor, normal_dim


def _scan_samples(*, ints: bool = True) -> list[Sample]:
    found = [Sample([T((3, 4)), 1]), Sample([T((3, 4)), 0]), Sample([T((2, 3, 4)), -2]), Sample([T(()), 0])]
    found += [Sample([T((0, 3)), 1]), Sample([T((3, 0)), 1]), Sample([T((3, 4), layout="transposed"), 0])]
    found += [Sample([T((4,), kind), 0]) for kind in ("float64", "float16")]
    found += [Sample([T((3,)), 1], raises=True), Sample([T((3,)), 0.5], raises=True)]
    return found + [Sample([T((4,), kind), 0]) for kind in ("int64", "uint8", "bool") if ints]


def _extreme_samples() -> list[Sample]:
    special = T(values=[1.0, float("nan"), 3.0, float("inf"), 2.0])
    equal = T(values=[[1.0, 1.0, 0.0, 1.0], [2.0, 3.0, 3.0, 1.0]])
    return [*_scan_samples(), Sample([special, 0]), Sample([equal, 1]), Sample([T((0,)), 0])]


def _params(name: str, input: Any, dim: Any, dtype: Any, out: Any) -> dict[str, Any]:
    """The params of a running sum or product, checked; in place it keeps its type, which must be the one
    asked for.
    """
    require_tensor(name, "input", 1, input)
    array = input._array
    if out is not INPLACE:
        return {"dim": line_of(name, dim, array.ndim), "dtype": accumulate_type(name, dtype, array, out)}
    if array.dtype.kind == "b":
        raise NotImplementedError(f"\"{name}_out_cpu\" not implemented for 'Bool'")
    if dtype is not None and numpy_type(name, dtype) != array.dtype:
        have, want = C_NAMES[input.dtype.name], C_NAMES[from_numpy(numpy_type(name, dtype)).name]
        raise RuntimeError(
            f"Bad in-place call: input tensor dtype {have} and output tensor dtype {want} should match"
        )
    return {"dim": line_of(name, dim, array.ndim), "dtype": array.dtype}


def line_of(name: str, dim: Any, ndim: int) -> int:
    """The one dimension a running fold goes along."""
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise TypeError(f"{name}(): argument 'dim' (position 2) must be int, not {type(dim).__name__}")
    return normal_dim(dim.__index__(), ndim)


def _accumulate(ufunc: np.ufunc) -> Any:
    def forward(input: np.ndarray, *, dim: int, dtype: np.dtype) -> np.ndarray:
        if not input.ndim:
            return input.astype(dtype)
        if dtype is F16:
            return ufunc.accumulate(input, axis=dim, dtype=np.float32).astype(dtype)
        return ufunc.accumulate(input, axis=dim, dtype=dtype)

    return forward


CUMSUM = primitive(
    "cumsum",
    "fold",
    _accumulate(np.add),
    dict(input=lambda g, dim: g if not g._array.ndim else cumsum(g.flip(dim), dim).flip(dim)),
)


@public(
    CUMSUM,
    samples=lambda: [*_scan_samples(), Sample([T((3,)), 0], {"dtype": Named("float64")}, tolerance=1e-6)],
    inplace=True,
)
@numpy_names
def cumsum(input: Tensor, dim: int, *, dtype: Any = None, out: Any = None) -> Tensor:
    """Running sums along `dim`.

    >>> import rushlight as torch
    >>> torch.tensor([1, 2, 3]).cumsum(0)
    tensor([1, 3, 6])
    """
    return apply(CUMSUM, (input,), _params("cumsum", input, dim, dtype, out), out)


def _cumprod_rule(g: Tensor, input: Tensor, out: Tensor, dim: int) -> Tensor:
    """The sum over later products, divided by the element; product by product where there are zeros."""
    if not input._array.ndim:
        return g
    if not state.mode & RECORDING and input._array.all():
        return cumsum((g * out).flip(dim), dim).flip(dim) / input
    length = input._array.shape[dim]
    parts = []
    for place in range(length):
        before = out.narrow(dim, place - 1, 1) if place else g.narrow(dim, 0, 1) * 0 + 1
        following = input.narrow(dim, place, 1).detach() * 0 + 1
        if place + 1 < length:
            rest = cumprod(input.narrow(dim, place + 1, length - place - 1), dim)
            following = cat([following, rest], dim)
        parts.append((g.narrow(dim, place, length - place) * following * before).sum(dim, True))
    return cat(parts, dim) if parts else g


CUMPROD = primitive("cumprod", "fold", _accumulate(np.multiply), dict(input=_cumprod_rule))


def _cumprod_samples() -> list[Sample]:
    return [*_scan_samples(), Sample([T(values=[[1.0, 0.0, 2.0, 3.0], [0.0, 2.0, 0.0, 1.0]]), 1])]


@public(CUMPROD, samples=_cumprod_samples, inplace=True)
@numpy_names
def cumprod(input: Tensor, dim: int, *, dtype: Any = None, out: Any = None) -> Tensor:
    """Running products along `dim`.

    >>> import rushlight as torch
    >>> torch.tensor([1, 2, 3]).cumprod(0)
    tensor([1, 2, 6])
    """
    return apply(CUMPROD, (input,), _params("cumprod", input, dim, dtype, out), out)


def _logcumsumexp(input: np.ndarray, *, dim: int) -> np.ndarray:
    wide = input.astype(np.float32) if input.dtype is F16 else input
    return (
        np.logaddexp.accumulate(wide, axis=dim).astype(input.dtype, copy=False)
        if input.ndim
        else input.copy()
    )


def _logcumsumexp_rule(g: Tensor, input: Tensor, out: Tensor, dim: int) -> Tensor:
    if not input._array.ndim:
        return g
    return (cumsum((g * (-out).exp()).flip(dim), dim).flip(dim)) * input.exp()


LOGCUMSUMEXP = primitive("logcumsumexp", "fold", _logcumsumexp, dict(input=_logcumsumexp_rule))


@public(LOGCUMSUMEXP, samples=lambda: _scan_samples(ints=False))
@numpy_names
def logcumsumexp(input: Tensor, dim: int, *, out: Any = None) -> Tensor:
    """The logarithm of running sums of exponentials along `dim`.

    >>> import rushlight as torch
    >>> torch.logcumsumexp(torch.zeros(3), 0)
    tensor([0.0000, 0.6931, 1.0986])
    """
    require_tensor("logcumsumexp", "input", 1, input)
    if input._array.dtype.kind != "f":
        raise NotImplementedError(
            f"\"logcumsumexp_out_cpu\" not implemented for '{TITLES[input.dtype.name]}'"
        )
    return apply(LOGCUMSUMEXP, (input,), {"dim": line_of("logcumsumexp", dim, input._array.ndim)}, out)


# -- running extremes ----------------------------------------------------------------------------------------


def _running_extreme(name: str, ufunc: np.ufunc, result_type: Any, summary: str) -> Any:
    def forward(input: np.ndarray, *, dim: int) -> tuple[np.ndarray, np.ndarray]:
        if not input.ndim:
            return input.copy(), np.zeros((), np.int64)
        values = ufunc.accumulate(input, axis=dim)
        shape = [1] * input.ndim
        shape[dim] = input.shape[dim]
        # the latest place that holds the extreme so far: PyTorch moves on at equal elements, and to every NaN
        reached = (input == values) | np.isnan(input) if input.dtype.kind == "f" else input == values
        places = np.where(reached, np.arange(input.shape[dim]).reshape(shape), 0)
        return values, np.maximum.accumulate(places, axis=dim)

    def rule(g: Tensor, input_shape: tuple[int, ...], indices: Tensor, dim: int) -> Tensor:
        if not input_shape:
            return g
        return g.new_zeros(input_shape).scatter_add(dim, indices, g)

    op = primitive(
        name, "fold", forward, dict(input=rule), outputs=("values", "indices"), differentiable=(0,)
    )

    def function(input: Tensor, dim: int, *, out: Any = None) -> Any:
        require_tensor(name, "input", 1, input)
        return result_type(apply(op, (input,), {"dim": line_of(name, dim, input._array.ndim)}, out))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = summary
    return public(op, samples=_extreme_samples)(numpy_names(function))


cummax = _running_extreme(
    "cummax",
    np.maximum,
    values_and_indices("cummax"),
    """The largest element so far and its index, along `dim`.

    >>> import rushlight as torch
    >>> torch.cummax(torch.tensor([1, 3, 2]), 0).values
    tensor([1, 3, 3])
    """,
)
cummin = _running_extreme(
    "cummin",
    np.minimum,
    values_and_indices("cummin"),
    """The smallest element so far and its index, along `dim`.

    >>> import rushlight as torch
    >>> torch.cummin(torch.tensor([2, 3, 1]), 0).indices
    tensor([0, 0, 2])
    """,
)
