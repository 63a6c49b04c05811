"""Normalised exponentials along a dimension: softmax, log_softmax and logsumexp, and their gradients.

The maximum of each line is subtracted first, so nothing overflows. Invariant: lines of -inf and +inf give
what PyTorch gives.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from rushlight.dtype import F16, from_numpy, get_default_dtype
from rushlight.ops.arguments import numpy_names, require_tensor
from rushlight.ops.define import INT_TO_FLOAT, TITLES
from rushlight.ops.dims import check_keepdim, dims_of
from rushlight.ops.extreme import amax
from rushlight.ops.fused import fused
from rushlight.ops.kinds import primitive, public
from rushlight.ops.reduce import like_input
from rushlight.ops.reduce import sum as sum_of
from rushlight.ops.samples import Named, Sample, T
from rushlight.tensor import Tensor, normal_dim

_add, _max = np.add.reduce, np.maximum.reduce
Line = int | tuple[()]  # a 0-d tensor is a line of its own: it is reduced over no dimension at all


# -- gradients -----------------------------------------------------------------------------------------------


def _softmax_backward(grad: np.ndarray, output: np.ndarray, *, dim: Line) -> np.ndarray:
    weighted = grad * output
    return weighted - output * _add(weighted, dim, None, None, True)


def _log_softmax_backward(grad: np.ndarray, output: np.ndarray, *, dim: Line) -> np.ndarray:
    return grad - np.exp(output) * _add(grad, dim, None, None, True)


def _softmax_backward_spelled_out(grad: Tensor, output: Tensor, *, dim: Line) -> Tensor:
    weighted = grad * output
    return weighted - output * sum_of(weighted, dim, True)


def _log_softmax_backward_spelled_out(grad: Tensor, output: Tensor, *, dim: Line) -> Tensor:
    return grad - output.exp() * sum_of(grad, dim, True)


def _curved_softmax(g: Tensor, grad: Tensor, output: Tensor, dim: Line) -> Tensor:
    return g * (grad - sum_of(grad * output, dim, True)) - grad * sum_of(g * output, dim, True)


SOFTMAX_BACKWARD = primitive(
    "_softmax_backward_data",
    "opaque",
    _softmax_backward,
    dict(
        grad=lambda g, output, dim: softmax_backward((g, output), {"dim": dim}),
        output=_curved_softmax,
    ),
)
LOG_SOFTMAX_BACKWARD = primitive(
    "_log_softmax_backward_data",
    "opaque",
    _log_softmax_backward,
    dict(
        grad=lambda g, output, dim: g - sum_of(g * output.exp(), dim, True),
        output=lambda g, grad, output, dim: -(g * output.exp()) * sum_of(grad, dim, True),
    ),
)
softmax_backward = fused(SOFTMAX_BACKWARD, _softmax_backward_spelled_out)
log_softmax_backward = fused(LOG_SOFTMAX_BACKWARD, _log_softmax_backward_spelled_out)

# -- softmax and its logarithm -------------------------------------------------------------------------------


def _softmax(input: np.ndarray, *, dim: Line) -> np.ndarray:
    if not input.size or not input.ndim:
        return np.exp(input - input)
    powers = input - _max(input, dim, None, None, True)
    np.exp(powers, powers)
    return np.divide(powers, _add(powers, dim, None, None, True), powers)


def _log_softmax(input: np.ndarray, *, dim: Line) -> np.ndarray:
    if not input.size or not input.ndim:
        return input - input
    shifted = input - _max(input, dim, None, None, True)
    total = np.log(_add(np.exp(shifted), dim, None, None, True))
    return np.subtract(shifted, total, shifted)


def _softmax_spelled_out(input: Tensor, *, dim: Line) -> Tensor:
    powers = (input - amax(input, dim, True)).exp()
    return powers / sum_of(powers, dim, True)


def _log_softmax_spelled_out(input: Tensor, *, dim: Line) -> Tensor:
    shifted = input - amax(input, dim, True)
    return shifted - sum_of(shifted.exp(), dim, True).log()


SOFTMAX = primitive(
    "softmax",
    "opaque",
    _softmax,
    dict(input=lambda g, out, dim: softmax_backward((g, out), {"dim": dim})),
    promote=INT_TO_FLOAT,
)
LOG_SOFTMAX = primitive(
    "log_softmax",
    "opaque",
    _log_softmax,
    dict(input=lambda g, out, dim: log_softmax_backward((g, out), {"dim": dim})),
    promote=INT_TO_FLOAT,
)
_run_softmax = fused(SOFTMAX, _softmax_spelled_out)
_run_log_softmax = fused(LOG_SOFTMAX, _log_softmax_spelled_out)


def _line(name: str, input: Any, dim: Any) -> Line:
    """The dimension, checked together with the input."""
    if input.__class__ is not Tensor:
        require_tensor(name, "input", 1, input)
    array = input._array
    if type(dim) is not int and (isinstance(dim, bool) or not hasattr(dim, "__index__")):
        raise TypeError(f"{name}(): argument 'dim' (position 2) must be int, not {type(dim).__name__}")
    place = normal_dim(dim.__index__(), array.ndim)
    if array.dtype.kind != "f" and array.size:
        kernel = f"{name}_lastdim" if place >= array.ndim - 1 else name
        title = TITLES[from_numpy(array.dtype).name]
        raise NotImplementedError(f"\"{kernel}_kernel_impl\" not implemented for '{title}'")
    return place if array.ndim else ()


def _is_nothing(input: Tensor) -> bool:
    """Whether there are no whole numbers to look at, which `_line` lets pass and PyTorch keeps."""
    return input._array.dtype.kind != "f"


def implicit_dim(name: str, ndim: int, stacklevel: int) -> int:
    """PyTorch's old guess where no `dim` is given, with its warning."""
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an "
        "argument.",
        stacklevel=stacklevel,
    )
    return 0 if ndim in (0, 1, 3) else 1


def _samples() -> list[Sample]:
    inf = float("inf")
    found = [Sample([T((3, 4)), 1]), Sample([T((3, 4)), 0]), Sample([T((2, 3, 4)), 1]), Sample([T(()), 0])]
    found += [Sample([T((0, 3)), 1]), Sample([T((0, 3)), 0]), Sample([T((3, 0)), 1])]
    found += [Sample([T((3, 4), low=-90, high=90), -1]), Sample([T((3, 4), layout="transposed"), 1])]
    found += [Sample([T((0, 3), kind), 1], out=False) for kind in ("int64", "bool")]
    found += [Sample([T((2, 3), "float64"), 1]), Sample([T((2, 3), "float16"), 1])]
    found += [Sample([T((2, 3), "int64"), 1], {"dtype": Named("float32")}, out=False)]
    found += [Sample([T((2, 3)), 1], {"dtype": Named("float64")}, out=False)]
    rows = [[-inf, -inf], [inf, 1.0], [-inf, 1.0], [float("nan"), 1.0]]
    found += [Sample([T(values=rows), 1], grads=False)]
    found += [Sample([T((2, 3), kind), dim], raises=True) for kind in ("int64", "bool") for dim in (0, 1)]
    return [*found, Sample([T((2, 3)), 2], raises=True), Sample([T((2, 3)), "a"], raises=True)]


@public(SOFTMAX, samples=_samples)
@numpy_names
def softmax(input: Tensor, dim: int, dtype: Any = None, *, out: Any = None) -> Tensor:
    """Exponentials divided by their sum along `dim`, so that they add up to 1.

    >>> import rushlight as torch
    >>> torch.tensor([0.0, 0.0]).softmax(0)
    tensor([0.5000, 0.5000])
    """
    if dtype is not None:
        input = input.to(dtype)
    line = _line("softmax", input, dim)
    return input.clone() if _is_nothing(input) else _run_softmax((input,), {"dim": line}, out)


@public(LOG_SOFTMAX, samples=_samples)
@numpy_names
def log_softmax(input: Tensor, dim: int, dtype: Any = None, *, out: Any = None) -> Tensor:
    """The logarithm of `softmax`, computed without overflow or loss.

    >>> import rushlight as torch
    >>> torch.tensor([0.0, 0.0]).log_softmax(0)
    tensor([-0.6931, -0.6931])
    """
    if dtype is not None:
        input = input.to(dtype)
    line = _line("log_softmax", input, dim)
    return input.clone() if _is_nothing(input) else _run_log_softmax((input,), {"dim": line}, out)


# -- logsumexp -----------------------------------------------------------------------------------------------


def _logsumexp(input: np.ndarray, *, dim: tuple[int, ...], keepdim: bool) -> Any:
    wide = input.astype(np.float32) if input.dtype is F16 else input
    top = np.maximum.reduce(wide, axis=dim, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(top), top, wide.dtype.type(0))
    total = np.log(_add(np.exp(wide - shift), dim, None, None, keepdim))
    return (total + (shift if keepdim else shift.reshape(np.shape(total)))).astype(input.dtype, copy=False)


def _logsumexp_spelled_out(input: Tensor, *, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    top = amax(input, dim, True)
    shift = top.masked_fill(top.isinf(), 0)
    total = sum_of((input - shift).exp(), dim, True).log() + shift
    return total if keepdim or not dim else total.squeeze(dim)


def _logsumexp_rule(g: Tensor, input: Tensor, out: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    shape = input._array.shape
    value = like_input(out, shape, dim, keepdim)
    value = value.masked_fill(value.isinf(), 0)
    return like_input(g, shape, dim, keepdim) * (input - value).exp()


LOGSUMEXP = primitive("logsumexp", "opaque", _logsumexp, dict(input=_logsumexp_rule))
_run_logsumexp = fused(LOGSUMEXP, _logsumexp_spelled_out)


def _logsumexp_samples() -> list[Sample]:
    inf = float("inf")
    found = [Sample([T((3, 4)), 1]), Sample([T((2, 3, 4)), (0, 2), True]), Sample([T(()), 0])]
    found += [Sample([T((3, 4), low=80, high=99), 0]), Sample([T((3,), "int64"), 0]), Sample([T((0, 3)), 0])]
    found += [Sample([T(values=[[-inf, -inf], [inf, 1.0], [-inf, 1.0]]), 1], grads=False)]
    return [*found, Sample([T((3, 4), "float16"), 1]), Sample([T((3, 4)), 2], raises=True)]


@public(LOGSUMEXP, samples=_logsumexp_samples)
@numpy_names
def logsumexp(input: Tensor, dim: Any, keepdim: bool = False, *, out: Any = None) -> Tensor:
    """The logarithm of the sum of exponentials along `dim`, without overflow.

    >>> import rushlight as torch
    >>> torch.logsumexp(torch.tensor([1000.0, 1000.0]), 0)
    tensor(1000.6932)
    """
    require_tensor("logsumexp", "input", 1, input)
    check_keepdim("logsumexp", keepdim)
    if input._array.dtype.kind != "f":
        input = input.to(get_default_dtype())
    params = {"dim": dims_of(dim, input._array.ndim, "logsumexp"), "keepdim": keepdim}
    return _run_logsumexp((input,), params, out)
