"""Functions of matrices built from factorisations: pseudoinverse, powers, rank, norms, least squares.

All are compositions of ops, so all derivatives follow. Invariant: nothing here calls LAPACK itself.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rushlight.dtype import int64
from rushlight.ops.decompose import _spd, _square, inv, svd, svdvals
from rushlight.ops.define import labelled, write_out
from rushlight.ops.kinds import composite
from rushlight.ops.norm import vector_norm
from rushlight.ops.return_types import return_type
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor

_lstsq_type = return_type("linalg_lstsq", ("solution", "residuals", "rank", "singular_values"))


@composite(
    samples=lambda: [Sample([T((3, 2))], second=False, why="rounding"), Sample([T(values=_spd(3))])],
    method=False,
    name="linalg.pinv",
)
def pinv(
    A: Tensor, *, atol: Any = None, rtol: Any = None, hermitian: bool = False, out: Any = None
) -> Tensor:
    """The Moore-Penrose pseudoinverse; singular values below ``max(atol, rtol * largest)`` count as zero."""
    if 0 in A._array.shape:
        return labelled(A.mT.clone(), "LinalgPinvBackward0")
    U, S, Vh = svd(A)
    relative = (
        rtol
        if rtol is not None
        else (0.0 if atol else max(A._array.shape[-2:]) * np.finfo(A._array.dtype).eps)
    )
    cut = (S.detach().amax(-1, True) * relative).clamp(min=atol or 0.0)
    inverse = S.reciprocal().masked_fill(cut >= S, 0)
    result = labelled((Vh.mT * inverse.unsqueeze(-2)) @ U.mT, "LinalgPinvBackward0")
    return result if out is None else write_out(out, result)


@composite(
    samples=lambda: [
        Sample([T(values=_spd(3)), 3]),
        Sample([T(values=_spd(3)), 0]),
        Sample([T(values=_spd(3)), -2]),
    ],
    method=False,
    name="linalg.matrix_power",
)
def matrix_power(A: Tensor, n: int, *, out: Any = None) -> Tensor:
    """The matrix multiplied by itself `n` times; the inverse's powers for negative `n`."""
    _square("linalg.matrix_power", A)
    base = inv(A) if n < 0 else A
    count = abs(n)
    result = None
    if count == 0:
        identity = A.new_tensor(np.broadcast_to(np.eye(A.shape[-1]), A._array.shape).copy())
        result = A.new_empty(A._array.shape).copy_(identity + A * 0)
    while count:
        if count & 1:
            result = base if result is None else result @ base
        count >>= 1
        base = base @ base if count else base
    assert result is not None
    return result if out is None else write_out(out, result)


@composite(
    samples=lambda: [
        Sample([T((3, 2), distinct=True, grad=False)]),
        Sample([T(values=[[1.0, 2.0], [2.0, 4.0]], grad=False)]),
    ],
    method=False,
    name="linalg.matrix_rank",
)
def matrix_rank(
    A: Tensor,
    tol: Any = None,
    *,
    hermitian: bool = False,
    atol: Any = None,
    rtol: Any = None,
    out: Any = None,
) -> Tensor:
    """How many singular values exceed the tolerance."""
    if 0 in A._array.shape:
        return A.new_zeros(A._array.shape[:-2], dtype=int64)
    values = svdvals(A.detach())
    relative = (
        rtol
        if rtol is not None
        else (0.0 if atol or tol else max(A._array.shape[-2:]) * np.finfo(A._array.dtype).eps)
    )
    cut = (values.amax(-1, True) * relative).clamp(min=tol or atol or 0.0)
    result = (values > cut).sum(-1)
    return result if out is None else write_out(out, result)


def _matrix_norm_samples() -> list[Sample]:
    kinds = ["fro", "nuc", 1, -1, math.inf, 2]
    return [Sample([T((3, 4), distinct=True), kind], second=kind == "fro", why="kinks") for kind in kinds]


@composite(samples=_matrix_norm_samples, method=False, name="linalg.matrix_norm")
def matrix_norm(
    A: Tensor,
    ord: Any = "fro",
    dim: tuple[int, int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: Any = None,
    out: Any = None,
) -> Tensor:
    """The matrix norm: "fro", "nuc", 1, -1, 2, -2, inf or -inf."""
    if A._array.ndim < 2:
        raise RuntimeError("linalg.matrix_norm: The input tensor A must have at least 2 dimensions.")
    A = A if dtype is None else A.to(dtype)
    if ord == "fro":
        return vector_norm(A, 2, dim, keepdim, out=out)
    A = A.movedim(dim, (-2, -1))
    if ord in ("nuc", 2, -2):
        values = svdvals(A)
        result = values.sum(-1) if ord == "nuc" else values.amax(-1) if ord == 2 else values.amin(-1)
    elif ord in (1, -1, math.inf, -math.inf):
        sums = A.abs().sum(-2 if abs(ord) == 1 else -1)
        result = sums.amax(-1) if ord > 0 else sums.amin(-1)
    else:
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    if keepdim:
        result = result.unsqueeze(-1).unsqueeze(-1).movedim((-2, -1), dim)
    return result if out is None else write_out(out, result)


@composite(
    samples=lambda: [
        Sample([T((3, 4))]),
        Sample([T((3, 4)), "nuc"], second=False, why="kinks"),
        Sample([T((3, 4)), 1, 0]),
    ],
    method=False,
    name="linalg.norm",
)
def linalg_norm(
    A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, out: Any = None, dtype: Any = None
) -> Tensor:
    """A vector or matrix norm, by `ord` and the number of dimensions."""
    if ord is not None and (isinstance(ord, str) or dim is None):
        if A._array.ndim == 2 and dim is None:
            return matrix_norm(A, ord, (-2, -1), keepdim, dtype=dtype, out=out)
        if isinstance(dim, (tuple, list)) and len(dim) == 2:
            return matrix_norm(A, ord, tuple(dim), keepdim, dtype=dtype, out=out)
    elif isinstance(dim, (tuple, list)) and len(dim) == 2 and ord is not None:
        return matrix_norm(A, ord, tuple(dim), keepdim, dtype=dtype, out=out)
    return vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype, out=out)


@composite(
    samples=lambda: [Sample([T((4, 2), distinct=True, grad=False), T((4, 3), grad=False)], tolerance=1e-4)],
    method=False,
    name="linalg.lstsq",
)
def lstsq(A: Tensor, B: Tensor, rcond: Any = None, *, driver: Any = None, out: Any = None) -> Any:
    """The least-squares solution of ``A @ X = B``, with residuals, rank and singular values.

    As with PyTorch's default driver the residuals and singular values are left empty.
    """
    if driver not in (None, "gelsy", "gels", "gelsd", "gelss"):
        raise RuntimeError(
            "torch.linalg.lstsq: parameter `driver` should be one of (gels, gelsy, gelsd, gelss), "
            f"got {driver}"
        )
    if driver not in (None, "gelsy"):
        raise NotImplementedError(f"linalg.lstsq(): driver={driver!r} is not supported, leave it out")
    rank = matrix_rank(A, rtol=rcond)
    parts = (pinv(A, rtol=rcond) @ B, A.new_empty(0), rank, A.new_empty(0))
    return _lstsq_type(parts if out is None else write_out(out, parts))


@composite(
    samples=lambda: [Sample([[T((2, 3)), T((3, 4)), T((4, 2))]])], method=False, name="linalg.multi_dot"
)
def multi_dot(tensors: Any, *, out: Any = None) -> Tensor:
    """The product of several matrices, from left to right."""
    result = tensors[0]
    if result._array.ndim == 0:
        raise RuntimeError("multi_dot(): the first tensor must be 1D or 2D but got 0D")
    for each in tensors[1:]:
        result = result @ each
    result = result.view(result._array.shape)
    return result if out is None else write_out(out, result)


@composite(samples=lambda: [Sample([T((3, 4))]), Sample([T((4, 3))])])
def trace(input: Tensor) -> Tensor:
    """The sum of the diagonal of a matrix."""
    if input._array.ndim != 2:
        raise RuntimeError("trace: expected a matrix")
    return labelled(input.diagonal().sum(), "TraceBackward0")
