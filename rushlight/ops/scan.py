"""Running folds: cumulative sums, products and extremes along one dimension, and differences between neighbours.

Invariant: the result has the input's shape (`diff` and the integrals apart) and integers accumulate in int64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.dtype import F16, I64
from rushlight.ops import return_types
from rushlight.ops.arguments import numpy_names
from rushlight.ops.define import C_NAMES, INPLACE, apply, labelled, write_out
from rushlight.ops.kinds import composite, primitive, public
from rushlight.ops.samples import Named, Sample, T
from rushlight.tensor import Tensor, normal_dim


def _scan_samples(*, ints: bool = True) -> list[Sample]:
    found = [Sample([T((3, 4)), 1]), Sample([T((3, 4)), 0]), Sample([T((2, 3, 4)), -2]), Sample([T(()), 0])]
    found += [Sample([T((0, 3)), 1]), Sample([T((3, 0)), 1]), Sample([T((3, 4), layout="transposed"), 0])]
    if ints:
        found += [Sample([T((4,), "uint8"), 0]), Sample([T((4,), "bool"), 0])]
    return found


def _wide(dtype: Any, array: np.ndarray) -> np.dtype:
    if dtype is not None:
        return dtype.numpy
    return array.dtype if array.dtype.kind == "f" else I64


def _result_type(name: str, input: Tensor, dtype: Any, out: Any) -> np.dtype:
    """The type of a running fold; in place it is the tensor's own, which PyTorch insists on."""
    array = input._array
    if out is not INPLACE:
        return _wide(dtype, array)
    if dtype is not None and dtype is not input.dtype:
        raise RuntimeError(
            f"Bad in-place call: input tensor dtype {C_NAMES[input.dtype.name]} and output tensor dtype "
            f"{C_NAMES[dtype.name]} should match"
        )
    if array.dtype.kind == "b":
        raise NotImplementedError(f"\"{name}_out_cpu\" not implemented for 'Bool'")
    return array.dtype


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
    samples=lambda: [*_scan_samples(), Sample([T((3,)), 0], {"dtype": Named("float64")})],
    inplace=True,
)
@numpy_names
def cumsum(input: Tensor, dim: int, *, dtype: Any = None, out: Any = None) -> Tensor:
    """Running sums along `dim`.

    >>> import rushlight as torch
    >>> torch.tensor([1, 2, 3]).cumsum(0)
    tensor([1, 3, 6])
    """
    params = {"dim": normal_dim(dim, input._array.ndim), "dtype": _result_type("cumsum", input, dtype, out)}
    return apply(CUMSUM, (input,), params, out)


def _cumprod_rule(g: Tensor, input: Tensor, out: Tensor, dim: int) -> Tensor:
    """The sum over later products, divided by the element; product by product where there are zeros."""
    if not input._array.ndim:
        return g
    if not (input._array == 0).any():
        return cumsum((g * out).flip(dim), dim).flip(dim) / input
    length = input._array.shape[dim]
    parts = []
    for place in range(length):
        before = out.narrow(dim, place - 1, 1) if place else g.narrow(dim, 0, 1) * 0 + 1
        following = input.narrow(dim, place, 1) * 0 + 1
        if place + 1 < length:
            rest = cumprod(input.narrow(dim, place + 1, length - place - 1), dim)
            from rushlight.ops.join import cat

            following = cat([following, rest], dim)
        parts.append((g.narrow(dim, place, length - place) * following * before).sum(dim, True))
    from rushlight.ops.join import cat

    return cat(parts, dim)


CUMPROD = primitive("cumprod", "fold", _accumulate(np.multiply), dict(input=_cumprod_rule))


def _cumprod_samples() -> list[Sample]:
    return [*_scan_samples(), Sample([T(values=[[1.0, 0.0, 2.0, 3.0], [0.0, 2.0, 0.0, 1.0]]), 1])]


@public(CUMPROD, samples=_cumprod_samples, inplace=True)
@numpy_names
def cumprod(input: Tensor, dim: int, *, dtype: Any = None, out: Any = None) -> Tensor:
    """Running products along `dim`."""
    params = {"dim": normal_dim(dim, input._array.ndim), "dtype": _result_type("cumprod", input, dtype, out)}
    return apply(CUMPROD, (input,), params, out)


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
    """The logarithm of running sums of exponentials along `dim`."""
    return apply(LOGCUMSUMEXP, (input,), {"dim": normal_dim(dim, input._array.ndim)}, out)


# -- running extremes ---------------------------------------------------------------------------------------------------


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
        return result_type(apply(op, (input,), {"dim": normal_dim(dim, input._array.ndim)}, out))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = summary
    return public(op, samples=lambda: _scan_samples(ints=False))(numpy_names(function))


cummax = _running_extreme(
    "cummax", np.maximum, return_types.cummax, "The largest element so far and its index, along `dim`."
)
cummin = _running_extreme(
    "cummin", np.minimum, return_types.cummin, "The smallest element so far and its index, along `dim`."
)


# -- differences and integrals ------------------------------------------------------------------------------------------


@composite(
    samples=lambda: [
        Sample([T((5,))]),
        Sample([T((3, 4))], {"dim": 0}),
        Sample([T((6,)), 2]),
        Sample([T((2, 3)), 1, -1, T((2, 1)), T((2, 2))]),
    ]
)
@numpy_names
def diff(
    input: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
    *,
    out: Any = None,
) -> Tensor:
    """Differences between neighbours along `dim`, `n` times over.

    >>> import rushlight as torch
    >>> torch.tensor([1, 4, 9]).diff()
    tensor([3, 5])
    """
    from rushlight.ops.join import cat

    if input._array.ndim == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    parts = [each for each in (prepend, input, append) if each is not None]
    result = input if len(parts) == 1 else cat(parts, dim)
    if result.size(dim) == 0:
        n = 0
    for _ in range(n):
        length = result.size(dim)
        count = max(length - 1, 0)
        later, earlier = result.narrow(dim, min(1, length), count), result.narrow(dim, 0, count)
        result = later.logical_xor(earlier) if result._array.dtype.kind == "b" else later - earlier
    return result if out is None else write_out(out, result)


def _pairs(y: Tensor, dim: int) -> Tensor:
    """Sums of neighbours along `dim`."""
    count = max(y.size(dim) - 1, 0)
    return y.narrow(dim, 1 if count else 0, count) + y.narrow(dim, 0, count)


def _steps(y: Tensor, x: Tensor, dim: int) -> Tensor:
    """The distances between places along `dim`, in a shape that broadcasts against pairs of `y`."""
    if x._array.ndim > 1:
        return x.diff(dim=dim)
    shape = [1] * y._array.ndim
    shape[dim] = -1
    return x.diff().reshape(shape)


@composite(
    samples=lambda: [
        Sample([T((5,))]),
        Sample([T((2, 5)), T((5,))]),
        Sample([T((2, 5))], {"dx": 0.5, "dim": 0}),
    ],
    method=False,
)
def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = 1.0, dim: int = -1) -> Tensor:
    """The integral along `dim` by the trapezoidal rule."""
    place = normal_dim(dim, y._array.ndim)
    if y.size(place) < 2:
        return y.new_zeros([n for i, n in enumerate(y.shape) if i != place])
    if x is None:
        ends = (y.select(place, 0) + y.select(place, -1)) * 0.5
        return labelled((y.sum(place) - ends) * dx, "MulBackward1")
    return labelled((_pairs(y, place) * _steps(y, x, place)).sum(place) / 2.0, "DivBackward1")


@composite(samples=lambda: [Sample([T((5,))]), Sample([T((2, 5)), T((5,))])], method=False)
def trapz(y: Tensor, x: Tensor | None = None, *, dx: Any = 1.0, dim: int = -1) -> Tensor:
    """Another name of `trapezoid`."""
    return trapezoid(y, x, dx=dx, dim=dim)


@composite(samples=lambda: [Sample([T((5,))]), Sample([T((2, 5)), T((5,))])], method=False)
def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = 1.0, dim: int = -1) -> Tensor:
    """Running integrals along `dim` by the trapezoidal rule."""
    place = normal_dim(dim, y._array.ndim)
    if x is None:
        return (_pairs(y, place) * (dx / 2.0)).cumsum(place)
    return labelled((_pairs(y, place) * _steps(y, x, place)).cumsum(place) / 2.0, "DivBackward1")
