"""Variance and standard deviation, alone and with the mean, and covariances between variables.

Invariant: the mean is subtracted before squares are summed, so nothing cancels; float16 is computed in
float32.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from rushlight.dtype import F16, F32
from rushlight.ops.arguments import numpy_names, require_tensor
from rushlight.ops.define import TITLES, apply, labelled
from rushlight.ops.dims import count_of, dims_of, kept_shape
from rushlight.ops.kinds import composite, primitive, public
from rushlight.ops.reduce import like_input, mean
from rushlight.ops.require import require
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor

_add = np.add.reduce
_SMALL = 1e-30


def _variance(
    input: np.ndarray, dim: tuple[int, ...], correction: float, keepdim: bool, squared_in: Any = None
) -> Any:
    wide = input.astype(np.float32) if input.dtype is F16 else input
    count, kind = count_of(input.shape, dim), wide.dtype.type
    away = np.subtract(wide, _add(wide, dim, None, None, True) / kind(count))
    if squared_in is not None:
        away, kind = away.astype(squared_in), squared_in
    squares = _add(away * away, dim, None, None, keepdim)
    return squares / kind(max(count - correction, 0))


def _var(input: np.ndarray, *, dim: tuple[int, ...], correction: float, keepdim: bool) -> Any:
    return _variance(input, dim, correction, keepdim).astype(input.dtype, copy=False)


def _std(input: np.ndarray, *, dim: tuple[int, ...], correction: float, keepdim: bool) -> Any:
    found = _variance(input, dim, correction, keepdim)
    if found.dtype is F32 and found.size and not (found.min() > _SMALL and found.max() < np.inf):
        # squares that float32 does not hold; their root it may
        found = _variance(input, dim, correction, keepdim, np.float64)
    return np.sqrt(found).astype(input.dtype, copy=False)


def _var_rule(g: Tensor, input: Tensor, dim: tuple[int, ...], correction: float, keepdim: bool) -> Tensor:
    shape = input._array.shape
    freedom = count_of(shape, dim) - correction
    scale = 2.0 / freedom if freedom > 0 else math.inf
    away = input - mean(input, dim, True) if dim else input * 0
    return like_input(g, shape, dim, keepdim) * (away * scale)


def _std_rule(
    g: Tensor, input: Tensor, out: Tensor, dim: tuple[int, ...], correction: float, keepdim: bool
) -> Tensor:
    halved = (g / (out * 2)).masked_fill(out == 0, 0)
    return _var_rule(halved, input, dim, correction, keepdim)


VAR = primitive("var", "fold", _var, dict(input=_var_rule))
STD = primitive("std", "fold", _std, dict(input=_std_rule))


def _params(name: str, input: Any, dim: Any, unbiased: Any, correction: Any, keepdim: bool) -> dict[str, Any]:
    """The params of `var` and its kin, checked; the old ``var(x, unbiased)`` gives a bool where `dim`
    stands.
    """
    require_tensor(name, "input", 1, input)
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None:
        correction = int(unbiased)
    elif correction is None:
        correction = 1
    shape = input._array.shape
    if input._array.dtype.kind != "f":
        who = name if name.endswith("mean") else "std and var"
        raise RuntimeError(f"{who} only support floating point and complex dtypes")
    dims = dims_of(dim, len(shape), name)
    combined = 0 if 0 in kept_shape(shape, dims) else count_of(shape, dims)
    if combined - correction <= 0:
        warnings.warn(
            f"{name}(): degrees of freedom is <= 0. Correction should be strictly less than the reduction "
            "factor (input numel divided by output numel).",
            stacklevel=4,
        )
    return {"dim": dims, "correction": correction, "keepdim": keepdim}


def _samples() -> list[Sample]:
    return [
        Sample([T((3, 4))]),
        Sample([T((2, 3, 4)), 1]),
        Sample([T((3, 4)), (0, 1)], {"keepdim": True}),
        Sample([T((3, 4)), 0], {"correction": 0}),
        Sample([T((3, 4)), 0], {"correction": 1.5}),
        Sample([T((3, 4)), 0, False]),
        Sample([T((3, 4)), 0, True, True]),
        Sample([T((5,)), False]),
        Sample([T((5,))], {"unbiased": False}),
        Sample([T((3, 4), "float64"), -1], {"correction": 2}),
        Sample([T((3, 4), "float16"), 0]),
        Sample([T((4, 3), layout="transposed"), 0]),
        Sample([T((3, 1)), 1], {"correction": 0}),
        Sample([T(())], grads=False),
        Sample([T((1,))], grads=False),
        Sample([T((3, 4)), 0], {"correction": 5}, grads=False),
        Sample([T((0, 3)), 0], grads=False),
        Sample([T((3, 4), "int64")], raises=True),
        Sample([T((3, 4)), 2], raises=True),
    ]


@public(VAR, samples=_samples)
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
    return apply(VAR, (input,), _params("var", input, dim, unbiased, correction, keepdim), out)


@public(STD, samples=_samples)
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
    """The standard deviation: the square root of `var`.

    >>> import rushlight as torch
    >>> torch.tensor([[1.0, 3.0], [2.0, 6.0]]).std(dim=1, correction=0)
    tensor([1., 2.])
    """
    return apply(STD, (input,), _params("std", input, dim, unbiased, correction, keepdim), out)


def _with_mean(name: str, op: Any, input: Tensor, params: dict[str, Any]) -> tuple[Tensor, Tensor]:
    node_name = "".join(part.capitalize() for part in name.split("_")) + "Backward0"
    pair = apply(op, (input,), params), mean(input, params["dim"], params["keepdim"])
    return labelled(pair[0], node_name), labelled(pair[1], node_name)


@composite(samples=_samples, method=False)
@numpy_names
def var_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
) -> tuple[Tensor, Tensor]:
    """Variance and mean.

    >>> import rushlight as torch
    >>> torch.var_mean(torch.tensor([1.0, 2.0, 3.0]))
    (tensor(1.), tensor(2.))
    """
    params = _params("var_mean", input, dim, unbiased, correction, keepdim)
    return _with_mean("var_mean", VAR, input, params)


@composite(samples=_samples, method=False)
@numpy_names
def std_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean.

    >>> import rushlight as torch
    >>> torch.std_mean(torch.tensor([1.0, 2.0, 3.0]))
    (tensor(1.), tensor(2.))
    """
    params = _params("std_mean", input, dim, unbiased, correction, keepdim)
    return _with_mean("std_mean", STD, input, params)


# -- covariance ----------------------------------------------------------------------------------------------


def _cov_samples() -> list[Sample]:
    table = T((3, 5))
    counts, weights = T((5,), "int64", low=1, high=4), T((5,), low=0.1, high=2.0, grad=False)
    return [
        Sample([table]),
        Sample([table], {"correction": 0}),
        Sample([T((5,))]),
        Sample([T((3, 5), "float64")]),
        Sample([T((3, 5), "int64")]),
        Sample([table], {"fweights": counts}),
        Sample([table], {"aweights": weights}),
        Sample([table], {"fweights": counts, "aweights": weights, "correction": 2}),
        Sample([T((2, 3, 4))], raises=True),
        Sample([table], {"fweights": weights}, raises=True),
        Sample([T((3, 5), "bool")], raises=True),
    ]


def _check_weights(name: str, weights: Tensor, count: int, kinds: str, wanted: str) -> None:
    array = weights._array
    if array.ndim > 1:
        raise RuntimeError(
            f"cov(): expected {name} to have one or fewer dimensions but got {name} with {array.ndim} "
            "dimensions"
        )
    if array.dtype.kind not in kinds:
        title = TITLES[weights.dtype.name]
        raise RuntimeError(f"cov(): expected {name} to have {wanted} dtype but got {name} with {title} dtype")
    if array.size != count:
        raise RuntimeError(
            f"cov(): expected {name} to have the same numel as there are observations in the input but got "
            f"{array.size} != {count}"
        )
    require(weights >= 0, lambda: RuntimeError(f"cov(): {name} cannot be negative"))


@composite(samples=_cov_samples)
def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """The covariances of variables (rows) over observations (columns): ``(V, N) -> (V, V)``, ``(N) -> ()``.

    Args:
        input: a table of at most two dimensions.
        correction: what is taken from the number of observations before it divides.
        fweights: how often each observation counts, whole numbers ``(N)``.
        aweights: how much each observation weighs, ``(N)``.

    >>> import rushlight as torch
    >>> torch.cov(torch.tensor([[0.0, 2.0, 4.0], [1.0, 1.0, 4.0]]))
    tensor([[4., 3.],
            [3., 3.]])
    """
    require_tensor("cov", "input", 1, input)
    array = input._array
    if array.ndim > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with {array.ndim} "
            "dimensions"
        )
    if array.dtype.kind == "b":
        raise RuntimeError("cov(): bool dtype is not supported for input")
    table = input.reshape(1, -1) if array.ndim < 2 else input
    count = table._array.shape[1]
    weights = None
    if fweights is not None:
        _check_weights("fweights", fweights, count, "iu", "integral")
        weights = fweights
    if aweights is not None:
        _check_weights("aweights", aweights, count, "f", "floating point")
        weights = aweights if weights is None else weights * aweights
    total = count if weights is None else weights.sum()
    if weights is None:
        average = table.sum(1, True) / total
        norm: Any = total - correction
    else:
        average = (table * weights).sum(1, True) / total
        norm = total if aweights is None else (weights * aweights).sum() / total
        norm = total - (correction if aweights is None else correction * norm)
    if bool(norm <= 0):
        warnings.warn("cov(): degrees of freedom is <= 0", stacklevel=2)
        norm = norm.clamp(min=0) if isinstance(norm, Tensor) else 0
    away = table - average
    weighed = (away if weights is None else away * weights).t()
    return labelled((away @ weighed / norm).squeeze(), "SqueezeBackward0")


@composite(
    samples=lambda: [
        Sample([T((3, 5))], second=False, why="clipped at 1"),
        Sample([T((5,))], second=False, why="clipped at 1"),
        Sample([T((2, 3), "float64")], second=False, why="clipped at 1"),
        Sample([T((2, 3, 4))], raises=True),
    ]
)
def corrcoef(input: Tensor) -> Tensor:
    """The correlations of variables (rows) over observations (columns), from -1 to 1.

    >>> import rushlight as torch
    >>> torch.corrcoef(torch.tensor([[0.0, 1.0, 2.0], [0.0, 2.0, 4.0]]))
    tensor([[1., 1.],
            [1., 1.]])
    """
    require_tensor("corrcoef", "input", 1, input)
    if input._array.ndim > 2:
        raise RuntimeError(
            "corrcoef(): expected input to have two or fewer dimensions but got an input with "
            f"{input._array.ndim} dimensions"
        )
    covariance = cov(input)
    if covariance._array.ndim == 0:
        return covariance / covariance
    deviation = covariance.diagonal().sqrt()
    return (covariance / deviation.reshape(-1, 1) / deviation).clamp(-1, 1)
