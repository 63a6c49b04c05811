"""Functions of matrices built from factorisations: pseudoinverse, powers, rank, norms, least squares.

All are compositions of ops, so all derivatives follow. Invariant: nothing here calls LAPACK itself.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rushlight.dtype import int64
from rushlight.ops.decompose import _spd, eigh, eigvalsh, inv, svd, svdvals
from rushlight.ops.define import labelled, write_out
from rushlight.ops.kinds import composite
from rushlight.ops.linalg_checks import check_square
from rushlight.ops.norm import vector_norm
from rushlight.ops.return_types import return_type
from rushlight.ops.samples import Sample, T
from rushlight.ops.select import where
from rushlight.tensor import Tensor

_lstsq_type = return_type("linalg_lstsq", ("solution", "residuals", "rank", "singular_values"))


@composite(
    samples=lambda: [
        Sample([T((3, 2))], second=False, why="rounding"),
        Sample([T(values=_spd(3))]),
        Sample([T(values=_spd(3)), 0.4]),
        Sample([T(values=_spd(3)), 0.4, True], grads=False, why="PyTorch's is not symmetric"),
        Sample([T(values=_spd(3))], {"atol": 4.0, "hermitian": True}, grads=False),
        Sample([T(values=_spd(3))], {"rtol": T(values=0.4, grad=False)}, grads=False),
        Sample([T(values=_spd(2, (2,)))], {"atol": T(values=[0.0, 3.0], grad=False)}, grads=False),
    ],
    method=False,
    name="linalg.pinv",
)
def pinv(
    input: Tensor,
    rcond: Any = None,
    hermitian: bool = False,
    *,
    atol: Any = None,
    rtol: Any = None,
    out: Any = None,
) -> Tensor:
    """The Moore-Penrose pseudoinverse; singular values below ``max(atol, rtol * largest)`` count as zero.

    `rcond` is an older name of `rtol`. Of a symmetric matrix (`hermitian`) only the lower triangle is read.
    """
    if 0 in input._array.shape:
        return labelled(input.mT.clone(), "LinalgPinvBackward0")
    if hermitian:
        check_square("linalg.pinv", input)
        values, vectors = eigh(input)
        left, right, sizes = vectors, vectors.mT, values.abs()
    else:
        U, values, Vh = svd(input)
        left, right, sizes = Vh.mT, U.mT, values
    cut = _cut(sizes.detach(), input, atol, rcond if rtol is None else rtol)
    inverse = values.reciprocal().masked_fill(cut >= sizes, 0)
    result = labelled((left * inverse.unsqueeze(-2)) @ right, "LinalgPinvBackward0")
    return result if out is None else write_out(out, result)


def _cut(sizes: Tensor, matrix: Tensor, atol: Any, rtol: Any) -> Tensor:
    """Up to where singular values count as zero: numbers or tensors, with PyTorch's defaults."""
    least = _column(0.0 if atol is None else atol, sizes)
    if rtol is None:
        exact = max(matrix._array.shape[-2:]) * float(np.finfo(matrix._array.dtype).eps)
        relative = where(least > 0, 0.0, _column(exact, sizes))
    else:
        relative = _column(rtol, sizes)
    return (sizes.amax(-1, True) * relative).maximum(least)


def _column(tolerance: Any, sizes: Tensor) -> Tensor:
    """A tolerance, or one for each matrix of a batch, to compare singular values with."""
    if isinstance(tolerance, Tensor):
        return tolerance.to(sizes.dtype).unsqueeze(-1)
    return sizes.new_tensor(float(tolerance))


@composite(
    samples=lambda: [
        Sample([T(values=_spd(3)), 3]),
        Sample([T(values=_spd(3)), 0]),
        Sample([T(values=_spd(3)), -2]),
    ],
    method=False,
    name="linalg.matrix_power",
)
def matrix_power(input: Tensor, n: int, *, out: Any = None) -> Tensor:
    """The matrix multiplied by itself `n` times; the inverse's powers for negative `n`."""
    check_square("linalg.matrix_power", input)
    base = inv(input) if n < 0 else input
    count = abs(n)
    result = None
    if count == 0:
        identity = input.new_tensor(np.broadcast_to(np.eye(input.shape[-1]), input._array.shape).copy())
        result = input.new_empty(input._array.shape).copy_(identity + input * 0)
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
        Sample([T(values=_spd(3), grad=False), 4.0]),
        Sample([T(values=_spd(3), grad=False), 4.0, True]),
        Sample([T(values=[[1.0, 9.0], [2.0, 4.0]], grad=False)], {"hermitian": True}),
        Sample([T(values=_spd(3), grad=False)], {"atol": 4.0}),
        Sample([T(values=_spd(3), grad=False)], {"rtol": 0.7, "atol": 0.5}),
    ],
    method=False,
    name="linalg.matrix_rank",
)
def matrix_rank(
    input: Tensor,
    tol: Any = None,
    hermitian: bool = False,
    *,
    atol: Any = None,
    rtol: Any = None,
    out: Any = None,
) -> Tensor:
    """How many singular values exceed the tolerance; `tol` is an older name of `atol`.

    Of a symmetric matrix (`hermitian`) only the lower triangle is read.
    """
    if 0 in input._array.shape:
        return input.new_zeros(input._array.shape[:-2], dtype=int64)
    matrix = input.detach()
    values = eigvalsh(matrix).abs() if hermitian else svdvals(matrix)
    if tol is not None:
        atol, rtol = tol, 0.0
    result = (values > _cut(values, matrix, atol, rtol)).sum(-1)
    return result if out is None else write_out(out, result)


def _matrix_norm_samples() -> list[Sample]:
    kinds = ["fro", "nuc", 1, -1, math.inf, 2]
    return [Sample([T((3, 4), distinct=True), kind], second=kind == "fro", why="kinks") for kind in kinds]


@composite(samples=_matrix_norm_samples, method=False, name="linalg.matrix_norm")
def matrix_norm(
    input: Tensor,
    ord: Any = "fro",
    dim: tuple[int, int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: Any = None,
    out: Any = None,
) -> Tensor:
    """The matrix norm: "fro", "nuc", 1, -1, 2, -2, inf or -inf."""
    if input._array.ndim < 2:
        raise RuntimeError("linalg.matrix_norm: The input tensor A must have at least 2 dimensions.")
    input = input if dtype is None else input.to(dtype)
    if ord == "fro":
        return vector_norm(input, 2, dim, keepdim, out=out)
    input = input.movedim(dim, (-2, -1))
    if ord in ("nuc", 2, -2):
        values = svdvals(input)
        result = values.sum(-1) if ord == "nuc" else values.amax(-1) if ord == 2 else values.amin(-1)
    elif ord in (1, -1, math.inf, -math.inf):
        sums = input.abs().sum(-2 if abs(ord) == 1 else -1)
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
    input: Tensor,
    ord: Any = None,
    dim: Any = None,
    keepdim: bool = False,
    *,
    out: Any = None,
    dtype: Any = None,
) -> Tensor:
    """A vector or matrix norm, by `ord` and the number of dimensions."""
    if ord is not None and (isinstance(ord, str) or dim is None):
        if input._array.ndim == 2 and dim is None:
            return matrix_norm(input, ord, (-2, -1), keepdim, dtype=dtype, out=out)
        if isinstance(dim, (tuple, list)) and len(dim) == 2:
            return matrix_norm(input, ord, tuple(dim), keepdim, dtype=dtype, out=out)
    elif isinstance(dim, (tuple, list)) and len(dim) == 2 and ord is not None:
        return matrix_norm(input, ord, tuple(dim), keepdim, dtype=dtype, out=out)
    return vector_norm(input, 2 if ord is None else ord, dim, keepdim, dtype=dtype, out=out)


@composite(
    samples=lambda: [Sample([T((4, 2), distinct=True, grad=False), T((4, 3), grad=False)], tolerance=1e-4)],
    method=False,
    name="linalg.lstsq",
)
def lstsq(input: Tensor, b: Tensor, rcond: Any = None, *, driver: Any = None, out: Any = None) -> Any:
    """The least-squares solution of ``input @ X = b``, with residuals, rank and singular values.

    As with PyTorch's default driver the residuals and singular values are left empty.
    """
    if driver not in (None, "gelsy", "gels", "gelsd", "gelss"):
        raise RuntimeError(
            "torch.linalg.lstsq: parameter `driver` should be one of (gels, gelsy, gelsd, gelss), "
            f"got {driver}"
        )
    if driver not in (None, "gelsy"):
        raise NotImplementedError(f"linalg.lstsq(): driver={driver!r} is not supported, leave it out")
    rank = matrix_rank(input, rtol=rcond)
    parts = (pinv(input, rtol=rcond) @ b, input.new_empty(0), rank, input.new_empty(0))
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
