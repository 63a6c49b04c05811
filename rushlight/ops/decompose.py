"""Linear algebra that factors or inverts matrices, on NumPy's LAPACK, with gradients in matrix products.

Everything works on batches: the last two dimensions are the matrix. Where a result is not unique (signs in
`svd`, `eigh` and `qr`) it is LAPACK's. Invariant: rules are formulas in tensors, so second derivatives
follow.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rushlight.autograd.mode import reading
from rushlight.ops.define import TITLES, apply, labelled, write_out
from rushlight.ops.kinds import composite, primitive, public
from rushlight.ops.linalg_checks import (
    _LinAlgError,
    check_floating,
    check_matrix,
    check_square,
    guarded,
    indefinite_minor,
    not_finite,
    refuse_in_kernel,
    zero_pivot,
)
from rushlight.ops.matmul import regrouping
from rushlight.ops.return_types import return_type
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor

_slogdet_type = return_type("linalg_slogdet", ("sign", "logabsdet"))
_eigh_type = return_type("linalg_eigh", ("eigenvalues", "eigenvectors"))
_svd_type = return_type("linalg_svd", ("U", "S", "Vh"))
_qr_type = return_type("linalg_qr", ("Q", "R"))


def _spd(n: int, batch: tuple[int, ...] = ()) -> list[list[float]]:
    """A well-conditioned symmetric matrix as nested lists, for samples."""
    base = [[1.0 / (1 + abs(i - j)) + (2.0 + i if i == j else 0.0) for j in range(n)] for i in range(n)]
    for _ in batch:
        base = [base, base]  # type: ignore[list-item]
    return base


def _matrices() -> list[Sample]:
    return [
        Sample([T(values=_spd(3))]),
        Sample([T(values=_spd(2, (2,)))]),
        Sample([T(values=[[0.0, 2.0], [1.0, 3.0]])]),
    ]


INV = primitive(
    "linalg_inv",
    "opaque",
    guarded(
        "linalg.inv",
        lambda A: np.linalg.inv(A),
        zero_pivot,
        "The diagonal element {code} is zero, the inversion could not be completed because the input matrix "
        "is singular.",
    ),
    dict(A=lambda g, out: -(out.mT @ (g @ out.mT))),
    inputs=("A",),
    node_name="LinalgInvExBackward0",
)


@public(INV, samples=_matrices, method=False, name="linalg.inv")
def inv(A: Tensor, *, out: Any = None) -> Tensor:
    """The inverse of a square matrix, or of each in a batch.

    >>> import rushlight as torch
    >>> torch.linalg.inv(torch.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    check_square("linalg.inv", A)
    check_floating("linalg.inv", A)
    return apply(INV, (A,), out=out)


DET = primitive(
    "linalg_det",
    "opaque",
    lambda A: np.linalg.det(A).astype(A.dtype, copy=False),
    dict(A=lambda g, A, out: _det_rule(g, A, out)),
)


def _det_rule(g: Tensor, A: Tensor, out: Tensor) -> Tensor:
    """``g * det * inv(A).T``; through the cofactors where the matrix is singular."""
    reading("the gradient of det()", out)
    if (np.abs(out._array) > 1e-12).all():
        return (g * out).unsqueeze(-1).unsqueeze(-1) * inv(A).mT
    U, S, Vh = svd(A)
    n = S.shape[-1]
    others = []
    for k in range(n):
        rest = [S.select(-1, i) for i in range(n) if i != k]
        product = S.select(-1, 0) * 0 + 1
        for each in rest:
            product = product * each
        others.append(product)
    from rushlight.ops.join import stack

    signs = (apply(DET, (U.detach(),)) * apply(DET, (Vh.detach(),))).detach()
    cofactors = (U * stack(others, -1).unsqueeze(-2)) @ Vh
    return (g * signs).unsqueeze(-1).unsqueeze(-1) * cofactors


@public(DET, samples=lambda: _matrices(), method=False, name="linalg.det")
def linalg_det(A: Tensor, *, out: Any = None) -> Tensor:
    """The determinant."""
    check_square("linalg.det", A)
    check_floating("linalg.det", A, "lu_cpu")
    return apply(DET, (A,), out=out)


@composite(samples=_matrices)
def det(input: Tensor) -> Tensor:
    """The determinant of a square matrix, or of each in a batch."""
    return linalg_det(input)


@composite(samples=_matrices)
def inverse(input: Tensor, *, out: Any = None) -> Tensor:
    """The inverse of a square matrix, or of each in a batch."""
    return inv(input, out=out)


SLOGDET = primitive(
    "linalg_slogdet",
    "opaque",
    lambda A: tuple(np.asarray(each).astype(A.dtype, copy=False) for each in np.linalg.slogdet(A)),
    dict(A=lambda g, A: g[1].unsqueeze(-1).unsqueeze(-1) * inv(A).mT),
    outputs=("sign", "logabsdet"),
)


@public(SLOGDET, samples=_matrices, method=False, name="linalg.slogdet")
def slogdet(A: Tensor, *, out: Any = None) -> Any:
    """The sign of the determinant and the logarithm of its absolute value."""
    check_square("linalg.slogdet", A)
    check_floating("linalg.slogdet", A)
    return _slogdet_type(apply(SLOGDET, (A,), out=out))


def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant: NaN where that is negative."""
    check_square("logdet", input)
    check_floating("logdet", input)
    sign, value = slogdet(input)
    return labelled(value.masked_fill(sign < 0, math.nan), "WhereBackward0")


composite(samples=lambda: _matrices()[:2])(logdet)


UNSAFE_SOLUTION = regrouping("LinalgSolveExBackward0")


SOLVE = primitive(
    "linalg_solve",
    "opaque",
    guarded(
        "torch.linalg.solve",
        lambda A, B: np.linalg.solve(A, B),
        zero_pivot,
        "The solver failed because the input matrix is singular.",
    ),
    dict(
        A=lambda g, A, out: -(apply(SOLVE, (A.mT, g)) @ out.mT),
        B=lambda g, A: apply(SOLVE, (A.mT, g)),
    ),
    inputs=("A", "B"),
    node_name="LinalgSolveExBackward0",
)


@public(
    SOLVE,
    samples=lambda: [Sample([T(values=_spd(3)), T((3, 2))]), Sample([T(values=_spd(3)), T((3,))])],
    method=False,
    name="linalg.solve",
)
def solve(A: Tensor, B: Tensor, *, left: bool = True, out: Any = None) -> Tensor:
    """The X with ``A @ X = B`` (``X @ A = B`` if not `left`)."""
    check_square("linalg.solve", A)
    check_floating("linalg.solve", A, "lu_cpu")
    if A.dtype != B.dtype:
        raise RuntimeError(
            "linalg.solve: Expected A and B to have the same dtype, but found A of type "
            f"{TITLES[A.dtype.name]} and B of type {TITLES[B.dtype.name]} instead"
        )
    if not left:
        return solve(A.mT, B.mT).mT
    vector = B._array.ndim == 1 or B._array.shape == A._array.shape[:-1]
    columns = B.unsqueeze(-1) if vector else B
    batch = np.broadcast_shapes(A._array.shape[:-2], columns._array.shape[:-2])
    A = A.expand(*batch, *A._array.shape[-2:])
    result = apply(SOLVE, (A, columns.expand(*batch, *columns._array.shape[-2:])))
    result = apply(UNSAFE_SOLUTION, (result,), {"shape": result._array.shape[:-1]}) if vector else result
    return result if out is None else write_out(out, result)


def _phi(matrix: Tensor) -> Tensor:
    """The lower triangle with its diagonal halved."""
    return matrix.tril() - matrix.tril().diagonal(0, -2, -1).diag_embed() * 0.5


def _cholesky_rule(g: Tensor, out: Tensor) -> Tensor:
    """Murray (2016), "Differentiation of the Cholesky decomposition", made symmetric."""
    inverse = inv(out)
    inner = inverse.mT @ _phi(out.mT @ g.tril()) @ inverse
    return (inner + inner.mT) * 0.5


CHOLESKY = primitive(
    "linalg_cholesky",
    "opaque",
    guarded(
        "linalg.cholesky",
        lambda A: np.linalg.cholesky(A),
        indefinite_minor,
        "The factorization could not be completed because the input is not positive-definite (the leading "
        "minor of order {code} is not positive-definite).",
    ),
    dict(A=_cholesky_rule),
    inputs=("A",),
    node_name="LinalgCholeskyExBackward0",
)


@public(
    CHOLESKY,
    samples=lambda: [Sample([T(values=_spd(3))]), Sample([T(values=_spd(2, (2,)))])],
    method=False,
    name="linalg.cholesky",
)
def linalg_cholesky(input: Tensor, *, upper: bool = False, out: Any = None) -> Tensor:
    """The lower triangular L with ``input = L @ L.mT`` (its transpose if `upper`) of a positive-definite
    matrix.
    """
    check_square("linalg.cholesky", input)
    check_floating("linalg.cholesky", input, "cholesky_cpu")
    result = apply(CHOLESKY, (input,))
    result = result.mT if upper else result
    return result if out is None else write_out(out, result)


@composite(samples=lambda: [Sample([T(values=_spd(3))]), Sample([T(values=_spd(3))], {"upper": True})])
def cholesky(input: Tensor, upper: bool = False, *, out: Any = None) -> Tensor:
    """The Cholesky factor of a positive-definite matrix."""
    refuse_in_kernel(input, "cholesky_cpu")
    try:
        return labelled(linalg_cholesky(input, upper=upper, out=out), "CholeskyBackward0")
    except _LinAlgError as error:
        raise _LinAlgError(str(error).removeprefix("linalg.")) from None


# -- eigenvalues and singular values -------------------------------------------------------------------------


def _eigh(A: np.ndarray, *, UPLO: str) -> tuple[np.ndarray, np.ndarray]:
    values, vectors = np.linalg.eigh(A, UPLO)
    return values, vectors


def _gaps(values: Tensor) -> Tensor:
    """Differences ``values[j] - values[i]`` with 1 on the diagonal, to divide by."""
    n = values.shape[-1]
    identity = values.new_tensor(np.eye(n))
    return values.unsqueeze(-2) - values.unsqueeze(-1) + identity


def _turned(factor: Tensor, turn: Tensor, g: Tensor) -> Tensor:
    """``factor * turn``, or 0 where no gradient `g` comes to the vectors: equal values make the factor
    infinite, which only matters to who uses the vectors.
    """
    return (factor * turn).masked_fill((g == 0).all(), 0)


def _eigh_rule(g: Any, eigenvalues: Tensor, eigenvectors: Tensor) -> Tensor:
    g_values, g_vectors = g
    inner = eigenvectors.mT @ g_vectors
    n = eigenvalues.shape[-1]
    off = _turned(eigenvalues.new_tensor(1 - np.eye(n)) / _gaps(eigenvalues), inner, g_vectors)
    return eigenvectors @ (off + g_values.diag_embed()) @ eigenvectors.mT


EIGH = primitive(
    "linalg_eigh",
    "opaque",
    guarded(
        "linalg.eigh",
        _eigh,
        not_finite,
        "The algorithm failed to converge because the input matrix is ill-conditioned or has too many "
        "repeated eigenvalues.",
    ),
    dict(A=_eigh_rule),
    inputs=("A",),
    outputs=("eigenvalues", "eigenvectors"),
)


@public(
    EIGH,
    samples=None,
    method=False,
    name="linalg.eigh",
)
def eigh(input: Tensor, UPLO: str = "L", *, out: Any = None) -> Any:
    """Eigenvalues, rising, and eigenvectors of a symmetric matrix."""
    check_square("linalg.eigh", input)
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    refuse_in_kernel(input, "linalg_eigh_cpu")
    return _eigh_type(apply(EIGH, (input,), {"UPLO": UPLO}, out))


@composite(
    samples=lambda: [
        Sample([T(values=_spd(3))], second=False, why="PyTorch's second derivative is not symmetric")
    ],
    method=False,
    name="linalg.eigvalsh",
)
def eigvalsh(input: Tensor, UPLO: str = "L", *, out: Any = None) -> Tensor:
    """Eigenvalues, rising, of a symmetric matrix."""
    result = eigh(input, UPLO)[0]
    return result if out is None else write_out(out, result)


def _svd(A: np.ndarray, *, full: bool) -> tuple[np.ndarray, ...]:
    return tuple(np.linalg.svd(A, full_matrices=full))


def _svd_rule(g: Any, U: Tensor, S: Tensor, Vh: Tensor) -> Tensor:
    """Townsend (2016), "Differentiating the singular value decomposition", of the reduced factors."""
    n = S.shape[-1]
    g_u, g_s, g_vh = g[0][..., :n], g[1], g[2][..., :n, :]
    U, Vh = U[..., :n], Vh[..., :n, :]
    V = Vh.mT
    squares = S * S
    off = S.new_tensor(1 - np.eye(n))
    gaps = off / _gaps(squares)
    left, right = U.mT @ g_u, V.mT @ g_vh.mT
    core = (
        _turned(gaps, left - left.mT, g_u) * S.unsqueeze(-2)
        + S.unsqueeze(-1) * _turned(gaps, right - right.mT, g_vh)
        + g_s.diag_embed()
    )
    result = U @ core @ Vh
    inverse = 1 / S
    if U.shape[-2] > n:
        outside = g_u - U @ left
        result = result + (outside * inverse.unsqueeze(-2)) @ Vh
    if V.shape[-2] > n:
        outside = g_vh - (right.mT @ Vh)
        result = result + U @ (inverse.unsqueeze(-1) * outside)
    return result


SVD = primitive(
    "linalg_svd",
    "opaque",
    guarded(
        "linalg.svd",
        _svd,
        not_finite,
        "The algorithm failed to converge because the input matrix contained non-finite values.",
    ),
    dict(A=_svd_rule),
    inputs=("A",),
    outputs=("U", "S", "Vh"),
)


def svd(A: Tensor) -> Any:
    """The reduced singular value decomposition."""
    return _svd_of(A, False)


def _svd_of(A: Tensor, full: bool, out: Any = None) -> Any:
    check_matrix("linalg.svd", A)
    check_floating("linalg.svd", A, "linalg_svd_cpu")
    return _svd_type(apply(SVD, (A,), {"full": full}, out))


def _refuse_driver(driver: Any) -> None:
    if driver is not None:
        raise RuntimeError(
            "torch.linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER "
            f"backend: leave out driver={driver!r}."
        )


@public(
    SVD,
    samples=None,
    method=False,
    name="linalg.svd",
)
def linalg_svd(A: Tensor, full_matrices: bool = True, *, driver: Any = None, out: Any = None) -> Any:
    """``A = U @ diag(S) @ Vh``; with `full_matrices` U and Vh are square.

    Columns of U and rows of Vh beyond the number of singular values are not unique: gradients that come to
    them are ignored, as PyTorch does.
    """
    _refuse_driver(driver)
    return _svd_of(A, full_matrices, out)


@composite(
    samples=lambda: [
        Sample([T((3, 4), distinct=True)], second=False, why="rounding"),
        Sample([T((4, 2), distinct=True)], second=False, why="rounding"),
    ],
    method=False,
    name="linalg.svdvals",
)
def svdvals(A: Tensor, *, driver: Any = None, out: Any = None) -> Tensor:
    """Singular values, falling."""
    _refuse_driver(driver)
    result = svd(A)[1]
    return result if out is None else write_out(out, result)


def _qr_rule(g: Any, Q: Tensor, R: Tensor) -> Tensor:
    g_q, g_r = g
    middle = R @ g_r.mT - g_q.mT @ Q
    symmetric = middle.tril() + middle.tril(-1).mT
    return solve(R, (g_q + Q @ symmetric).mT).mT


QR = primitive(
    "linalg_qr",
    "opaque",
    lambda A, *, mode: tuple(np.linalg.qr(A, mode)),
    dict(A=_qr_rule),
    outputs=("Q", "R"),
    inputs=("A",),
)


@public(
    QR,
    samples=None,
    method=False,
    name="linalg.qr",
)
def qr(A: Tensor, mode: str = "reduced", *, out: Any = None) -> Any:
    """``A = Q @ R`` with orthonormal Q and upper triangular R; `mode` "reduced", "complete" or "r"."""
    check_matrix("linalg.qr", A)
    check_floating("linalg.qr", A, "geqrf_cpu")
    if mode not in ("reduced", "r", "complete"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or "
            "'complete'"
        )
    if mode == "r":
        reading("linalg.qr() with mode='r'", A)
        R = A.new_tensor(np.linalg.qr(A._array, "r"))
        return _qr_type((A.new_empty(0), R))
    if A.requires_grad and A.numel() and (mode != "reduced" or A.shape[-2] < A.shape[-1]):
        raise NotImplementedError(
            "linalg.qr(): gradients need mode='reduced' and at least as many rows as columns"
        )
    return _qr_type(apply(QR, (A,), {"mode": mode}, out))
