"""Norms and distances.

`linalg.vector_norm` is the primitive; `norm`, `dist`, `cdist` and the matrix norms come down to it.
Invariant: the gradient of a norm at zero is zero, as PyTorch has it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rushlight.dtype import F16, get_default_dtype
from rushlight.ops.arguments import numpy_names, require_tensor
from rushlight.ops.define import INPLACE, apply, labelled, write_out
from rushlight.ops.dims import dims_of
from rushlight.ops.kinds import composite, primitive, public
from rushlight.ops.reduce import like_input
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor


def _vector_norm(input: np.ndarray, *, ord: float, dim: tuple[int, ...], keepdim: bool) -> Any:
    wide = input.astype(np.float32) if input.dtype is F16 else input
    if ord == 2:
        total = np.sqrt(np.add.reduce(wide * wide, axis=dim, keepdims=keepdim))
    elif ord == 1:
        total = np.add.reduce(np.absolute(wide), axis=dim, keepdims=keepdim)
    elif ord == math.inf:
        total = np.maximum.reduce(np.absolute(wide), axis=dim, keepdims=keepdim, initial=0)
    elif ord == -math.inf:
        total = np.minimum.reduce(np.absolute(wide), axis=dim, keepdims=keepdim)
    elif ord == 0:
        total = np.add.reduce((wide != 0).astype(wide.dtype), axis=dim, keepdims=keepdim)
    else:
        total = np.add.reduce(np.absolute(wide) ** ord, axis=dim, keepdims=keepdim) ** (1 / ord)
    return np.asarray(total).astype(input.dtype, copy=False)


def _norm_rule(
    g: Tensor, input: Tensor, out: Tensor, ord: float, dim: tuple[int, ...], keepdim: bool
) -> Tensor | None:
    shape = input._array.shape
    g, norm = like_input(g, shape, dim, keepdim), like_input(out, shape, dim, keepdim)
    if ord == 0:
        return None
    if ord == 1:
        return input.sign() * g
    if ord == 2:
        return input * (g / norm).masked_fill(norm == 0, 0)
    if math.isinf(ord):
        chosen = (input.abs() == norm) | norm.isnan()
        return input.sign() * (g * chosen / chosen.sum(dim, True))
    power = input.abs().pow(ord - 1) if ord >= 1 else input.abs().pow(ord - 1).masked_fill(input == 0, 0)
    scale = (g / norm.pow(ord - 1)).masked_fill(norm == 0, 0)
    return input.sign() * power * scale


VECTOR_NORM = primitive(
    "linalg_vector_norm", "fold", _vector_norm, dict(input=_norm_rule), node_name="LinalgVectorNormBackward0"
)


def _samples() -> list[Sample]:
    found = [
        Sample([T((3, 4))]),
        Sample([T((3, 4)), 1]),
        Sample([T((3, 4)), 3, 0]),
        Sample([T((2, 3, 4)), 2, (0, 2), True]),
    ]
    found += [
        Sample([T((3, 4), distinct=True), math.inf, 1]),
        Sample([T((3, 4), distinct=True), -math.inf]),
        Sample([T((3,)), 0.5]),
    ]
    return [
        *found,
        Sample([T(values=[0.0, 0.0])], second=False, why="PyTorch gives nan"),
        Sample([T((3,)), 0]),
    ]


@public(VECTOR_NORM, samples=_samples, method=False, name="linalg.vector_norm")
@numpy_names
def vector_norm(
    input: Tensor,
    ord: float = 2,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    out: Any = None,
) -> Tensor:
    """The vector norm of order `ord` over all elements or along `dim`.

    >>> import rushlight as torch
    >>> torch.linalg.vector_norm(torch.tensor([3.0, 4.0]))
    tensor(5.)
    """
    if input._array.dtype.kind != "f" and dtype is None:
        title = input.dtype.name.replace("int64", "Long").replace("int32", "Int").replace("bool", "Bool")
        raise RuntimeError(
            f"linalg.vector_norm: Expected a floating point or complex tensor as input. Got {title}"
        )
    if dtype is not None:
        input = input.to(dtype)
    params = {"ord": float(ord), "dim": dims_of(dim, input._array.ndim), "keepdim": keepdim}
    return apply(VECTOR_NORM, (input,), params, out)


def _norm_samples() -> list[Sample]:
    found = [
        Sample([T((3, 4))]),
        Sample([T((3, 4)), 1]),
        Sample([T((3, 4)), "fro"]),
        Sample([T((3, 4)), 2, 1, True]),
    ]
    return [*found, Sample([T((3, 4))], {"p": 3, "dim": (0, 1)})]


@composite(samples=_norm_samples)
@numpy_names
def norm(
    input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, out: Any = None, dtype: Any = None
) -> Tensor:
    """The p-norm of all elements or along `dim`; "fro" is the 2-norm, "nuc" the sum of singular values."""
    if p == "nuc":
        from rushlight.ops.decompose import svdvals

        dims = (-2, -1) if dim is None else dim
        return svdvals(input.movedim(dims, (-2, -1))).sum(-1, keepdim)
    order = 2.0 if p in ("fro", None) else float(p)
    return vector_norm(input, order, dim, keepdim, dtype=dtype, out=out)


@composite(samples=lambda: [Sample([T((3, 4)), T((3, 4))]), Sample([T((3, 4)), T((4,)), 1])])
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of the difference."""
    require_tensor("dist", "input", 1, input)
    require_tensor("dist", "other", 2, other)
    return labelled(vector_norm(input - other, p), "DistBackward0")


@composite(
    samples=lambda: [
        Sample([T((3, 4)), T((5, 4))]),
        Sample([T((2, 3, 4)), T((2, 5, 4)), 1.0]),
        Sample([T((3, 4)), T((5, 4))], {"p": math.inf}, second=False, why="ties at the maximum"),
    ],
    method=False,
)
def cdist(
    x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary"
) -> Tensor:
    """The p-distances between all rows of `x1` and all rows of `x2`: ``(..., P, M), (..., R, M) -> (..., P,
    R)``.
    """
    for number, each in ((1, x1), (2, x2)):
        if each._array.ndim < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, X{number} got: {each._array.ndim}D")
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}"
        )
    return labelled(vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1), "CdistBackward0")


@numpy_names
def norm_method(
    self: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Tensor:
    """The p-norm of all elements or along `dim`; see `norm`."""
    return norm(self, p, dim, keepdim, dtype=dtype)


METHODS = {"norm": norm_method}


@composite(inplace=True, samples=lambda: [Sample([T((3, 4)), 2, 0, 1.0])])
def renorm(input: Tensor, p: float, dim: int, maxnorm: float, *, out: Any = None) -> Tensor:
    """Slices along `dim` whose p-norm exceeds `maxnorm`, scaled down to it."""
    if input._array.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input._array.ndim} dimensions")
    target, input = input, input.clone() if out is INPLACE else input
    others = [i for i in range(input.dim()) if i != dim % input.dim()]
    lengths = vector_norm(input, p, others, True)
    factor = (maxnorm / (lengths + 1e-7)).masked_fill(lengths <= maxnorm, 1)
    result = labelled(input * factor, "RenormBackward0")
    if out is INPLACE:
        return labelled(target.copy_(result), "RenormBackward0")
    return result if out is None else write_out(out, result)


def as_float(x: Tensor) -> Tensor:
    """The tensor itself if floating, else in the default type."""
    return x if x._array.dtype.kind == "f" else x.to(get_default_dtype())
