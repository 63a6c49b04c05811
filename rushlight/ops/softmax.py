"""Row-wise maps: softmax, log_softmax and logsumexp.

Each is one primitive with a stable formula (the row's maximum is subtracted first), because their gradients need only the
result. Invariant: rows of -inf give what PyTorch gives, and nothing overflows.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from rushlight.dtype import F16, get_default_dtype
from rushlight.ops.arguments import numpy_names
from rushlight.ops.define import INT_TO_FLOAT, apply
from rushlight.ops.kinds import composite, primitive, public
from rushlight.ops.dims import dims_of
from rushlight.ops.reduce import like_input
from rushlight.ops.samples import Named, Sample, T
from rushlight.tensor import Tensor, normal_dim


def _softmax(input: np.ndarray, *, dim: int | tuple[()]) -> np.ndarray:
    powers = np.exp(input - np.maximum.reduce(input, axis=dim, keepdims=True, initial=-np.inf))
    return powers / np.add.reduce(powers, axis=dim, keepdims=True)


def _log_softmax(input: np.ndarray, *, dim: int | tuple[()]) -> np.ndarray:
    shifted = input - np.maximum.reduce(input, axis=dim, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.add.reduce(np.exp(shifted), axis=dim, keepdims=True))


def _softmax_rule(g: Tensor, out: Tensor, dim: int) -> Tensor:
    weighted = g * out
    return weighted - out * weighted.sum(dim, True)


SOFTMAX = primitive("softmax", "fold", _softmax, dict(input=_softmax_rule), promote=INT_TO_FLOAT)
LOG_SOFTMAX = primitive(
    "log_softmax",
    "fold",
    _log_softmax,
    dict(input=lambda g, out, dim: g - out.exp() * g.sum(dim, True)),
    promote=INT_TO_FLOAT,
)


def _rowwise(op: Any, name: str, input: Tensor, dim: Any, dtype: Any, out: Any = None) -> Tensor:
    if dtype is not None:
        input = input.to(dtype)
    if input._array.dtype.kind != "f":
        titles = {
            "int64": "Long",
            "int32": "Int",
            "int16": "Short",
            "int8": "Char",
            "uint8": "Byte",
            "bool": "Bool",
        }
        title = titles[input.dtype.name]
        raise NotImplementedError(f"\"{name}_lastdim_kernel_impl\" not implemented for '{title}'")
    # a 0-d tensor is a row of its own: it is reduced over no dimension at all
    place = normal_dim(dim, input._array.ndim)
    return apply(op, (input,), {"dim": place if input._array.ndim else ()}, out)


def implicit_dim(name: str, ndim: int, stacklevel: int) -> int:
    """PyTorch's old guess where no `dim` is given, with its warning."""
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
        stacklevel=stacklevel,
    )
    return 0 if ndim in (0, 1, 3) else 1


def _samples() -> list[Sample]:
    found = [
        Sample([T((3, 4)), 1]),
        Sample([T((3, 4)), 0]),
        Sample([T((2, 3, 4)), 1]),
        Sample([T(()), 0]),
        Sample([T((0, 3)), 1]),
    ]
    found += [Sample([T((3, 4), low=-90, high=90), -1]), Sample([T((3, 4), layout="transposed"), 1])]
    found += [Sample([T((2, 3), "float64"), 1]), Sample([T((2, 3), "float16"), 1])]
    return [*found, Sample([T((2, 3), "int64"), 1], {"dtype": Named("float32")})]


@public(SOFTMAX, samples=_samples)
@numpy_names
def softmax(input: Tensor, dim: int, dtype: Any = None, *, out: Any = None) -> Tensor:
    """Exponentials divided by their sum along `dim`, so that they add up to 1.

    >>> import rushlight as torch
    >>> torch.tensor([0.0, 0.0]).softmax(0)
    tensor([0.5000, 0.5000])
    """
    return _rowwise(SOFTMAX, "softmax", input, dim, dtype, out)


@public(LOG_SOFTMAX, samples=_samples)
@numpy_names
def log_softmax(input: Tensor, dim: int, dtype: Any = None, *, out: Any = None) -> Tensor:
    """The logarithm of `softmax`, computed without overflow or loss."""
    return _rowwise(LOG_SOFTMAX, "log_softmax", input, dim, dtype, out)


def _logsumexp(input: np.ndarray, *, dim: tuple[int, ...], keepdim: bool) -> np.ndarray:
    wide = input.astype(np.float32) if input.dtype is F16 else input
    top = np.maximum.reduce(wide, axis=dim, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(top), top, wide.dtype.type(0))
    total = np.log(np.add.reduce(np.exp(wide - shift), axis=dim, keepdims=keepdim))
    return np.asarray(total + (shift if keepdim else shift.reshape(np.shape(total)))).astype(
        input.dtype, copy=False
    )


def _logsumexp_rule(g: Tensor, input: Tensor, out: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    shape = input._array.shape
    value = like_input(out, shape, dim, keepdim)
    value = value.masked_fill(value.isinf(), 0)
    return like_input(g, shape, dim, keepdim) * (input - value).exp()


LOGSUMEXP = primitive("logsumexp", "fold", _logsumexp, dict(input=_logsumexp_rule))


def _logsumexp_samples() -> list[Sample]:
    found = [
        Sample([T((3, 4)), 1]),
        Sample([T((2, 3, 4)), (0, 2), True]),
        Sample([T((3, 4), low=80, high=99), 0]),
        Sample([T(()), 0]),
    ]
    return [*found, Sample([T((3,), "int64"), 0]), Sample([T((0, 3)), 0])]


@public(LOGSUMEXP, samples=_logsumexp_samples)
@numpy_names
def logsumexp(input: Tensor, dim: Any, keepdim: bool = False, *, out: Any = None) -> Tensor:
    """The logarithm of the sum of exponentials along `dim`, without overflow."""
    if input._array.dtype.kind != "f":
        input = input.to(get_default_dtype())
    return apply(LOGSUMEXP, (input,), {"dim": dims_of(dim, input._array.ndim), "keepdim": keepdim}, out)


@composite(samples=lambda: [Sample([T((3, 4)), 1])], method=False)
def softmin(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """`softmax` of the negative."""
    return softmax(-input, dim, dtype)
