"""Functions of matrices: triangular systems, the exponential, condition numbers, and tensors as matrices.

Systems with triangular matrices are solved by substitution, so a zero on the diagonal gives inf or nan as in
PyTorch, not an error. Invariant: everything works on batches;
the last two dimensions are the matrix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.ops.arguments import array_of, require_tensor
from rushlight.ops.decompose import INV, _spd, inv, solve, svdvals
from rushlight.ops.define import TITLES, apply, labelled, write_out
from rushlight.ops.join import cat
from rushlight.ops.kinds import composite, primitive, public
from rushlight.ops.linalg_checks import check_square
from rushlight.ops.matrices import matrix_norm
from rushlight.ops.samples import Sample, T
from rushlight.ops.slicing import diagonal
from rushlight.tensor import Tensor

# -- triangular systems --------------------------------------------------------------------------------------


def _substituted(A: np.ndarray, B: np.ndarray, *, upper: bool, unitriangular: bool) -> np.ndarray:
    """The X with ``A @ X = B``, row by row, from the row with one unknown on."""
    n = A.shape[-1]
    X = np.zeros(np.broadcast_shapes(A.shape[:-2], B.shape[:-2]) + B.shape[-2:], B.dtype)
    for row in reversed(range(n)) if upper else range(n):
        known = slice(row + 1, n) if upper else slice(0, row)
        rest = B[..., row, :] - (A[..., row : row + 1, known] @ X[..., known, :])[..., 0, :]
        X[..., row, :] = rest if unitriangular else rest / A[..., row, row, None]
    return X


def _coefficient_rule(g: Tensor, A: Tensor, out: Tensor, upper: bool, unitriangular: bool) -> Tensor:
    params = {"upper": not upper, "unitriangular": unitriangular}
    grad = -(apply(SOLVE_TRIANGULAR, (A.mT, g), params) @ out.mT)
    return grad.triu(int(unitriangular)) if upper else grad.tril(-int(unitriangular))


SOLVE_TRIANGULAR = primitive(
    "linalg_solve_triangular",
    "opaque",
    _substituted,
    dict(
        A=_coefficient_rule,
        B=lambda g, A, upper, unitriangular: apply(
            SOLVE_TRIANGULAR, (A.mT, g), {"upper": not upper, "unitriangular": unitriangular}
        ),
    ),
    inputs=("A", "B"),
)


def _triangular_samples() -> list[Sample]:
    A, B = T(values=_spd(3)), T((3, 2))
    found = [
        Sample([A, B], {"upper": upper, "unitriangular": u}) for upper in (True, False) for u in (True, False)
    ]
    found += [
        Sample([A, T((2, 3))], {"upper": True, "left": False}),
        Sample([T(values=_spd(2, (2,))), T((2, 3))], {"upper": False}),
        Sample([T(values=[[0.0, 1.0], [0.0, 0.0]]), T((2, 1))], {"upper": True}, grads=False),
        Sample([A, T((2, 2))], {"upper": True}, raises=True),
        Sample([A, T((3,))], {"upper": True}, raises=True),
        Sample([T((2, 3)), T((2, 2))], {"upper": True}, raises=True),
    ]
    return found


@public(SOLVE_TRIANGULAR, samples=_triangular_samples, method=False, name="linalg.solve_triangular")
def solve_triangular(
    input: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False, out: Any = None
) -> Tensor:
    """The X with ``input @ X = B`` (``X @ input = B`` if not `left`) for a triangular matrix.

    Only the triangle that `upper` names is read; with `unitriangular` its diagonal counts as 1.

    >>> import rushlight as torch
    >>> A = torch.tensor([[2.0, 1.0], [0.0, 4.0]])
    >>> torch.linalg.solve_triangular(A, torch.tensor([[4.0], [8.0]]), upper=True)
    tensor([[1.],
            [2.]])
    """
    check_square("linalg.solve_triangular", input)
    require_tensor("linalg_solve_triangular", "B", 2, B)
    if B._array.ndim < 2:
        raise RuntimeError("linalg.solve_triangular: The input tensor B must have at least 2 dimensions.")
    n, rows, columns = input.shape[-1], B.shape[-2], B.shape[-1]
    if n != (rows if left else columns):
        equation = "AX = B" if left else "XA = B"
        raise RuntimeError(
            f"linalg.solve_triangular: Incompatible shapes of A and B for the equation {equation} "
            f"({n}x{n} and {rows}x{columns})"
        )
    if not left:
        turned = solve_triangular(input.mT, B.mT, upper=not upper, unitriangular=unitriangular)
        result = labelled(turned.mT, "LinalgSolveTriangularBackward0")
        return result if out is None else write_out(out, result)
    return apply(SOLVE_TRIANGULAR, (input, B), {"upper": upper, "unitriangular": unitriangular}, out)


# PyTorch gives the triangle that is not read a gradient too.
_FACTOR = T(values=[[2.0, 0.0, 0.0], [0.5, 1.0, 0.0], [-1.0, 0.3, 1.5]], grad=False)


@composite(
    samples=lambda: [
        Sample([T((3, 2)), _FACTOR], tolerance=1e-5),
        Sample([T((3, 2)), T(values=_spd(3), grad=False), True], tolerance=1e-5),
        Sample([T((3,)), _FACTOR], raises=True),
    ]
)
def cholesky_solve(input: Tensor, input2: Tensor, upper: bool = False, *, out: Any = None) -> Tensor:
    """The X with ``A @ X = input`` for the matrix A whose Cholesky factor is `input2`.

    >>> import rushlight as torch
    >>> L = torch.linalg.cholesky(torch.tensor([[4.0, 0.0], [0.0, 16.0]]))
    >>> torch.cholesky_solve(torch.tensor([[4.0], [8.0]]), L)
    tensor([[1.0000],
            [0.5000]])
    """
    for name, each in (("b", input), ("u", input2)):
        if array_of("cholesky_solve", each).ndim < 2:
            raise RuntimeError(
                f"{name} should have at least 2 dimensions, but has {each.dim()} dimensions instead"
            )
    lower = input2.mT if upper else input2
    halfway = solve_triangular(lower, input, upper=False)
    result = labelled(solve_triangular(lower.mT, halfway, upper=True), "CholeskySolveBackward0")
    return result if out is None else write_out(out, result)


@composite(samples=lambda: [Sample([_FACTOR], tolerance=1e-5), Sample([T((3,))], raises=True)])
def cholesky_inverse(input: Tensor, upper: bool = False, *, out: Any = None) -> Tensor:
    """The inverse of the matrix whose Cholesky factor is `input`."""
    check_square("cholesky_inverse", input)
    identity = input.new_tensor(np.eye(input.shape[-1])).expand(input.shape)
    result = labelled(cholesky_solve(identity, input, upper), "CholeskyInverseBackward0")
    return result if out is None else write_out(out, result)


# -- the exponential -----------------------------------------------------------------------------------------

# Higham (2005), "The scaling and squaring method for the matrix exponential revisited": the Padé approximant
# of degree 13, good to double precision for matrices of a 1-norm up to this.
_LARGEST_NORM = 5.371920351148152
_PADE = [math.factorial(26 - j) // (math.factorial(13 - j) * math.factorial(j)) for j in range(14)]


def _exponential(A: np.ndarray) -> np.ndarray:
    wide = A.astype(np.float64)
    result = np.empty(wide.shape)
    for place in np.ndindex(wide.shape[:-2]):
        result[place] = _exponential_of_one(wide[place])
    return result.astype(A.dtype)


def _exponential_of_one(A: np.ndarray) -> np.ndarray:
    norm = np.abs(A).sum(0).max(initial=0.0)
    if not math.isfinite(norm):
        return np.full_like(A, math.nan)
    halvings = max(0, math.ceil(math.log2(norm / _LARGEST_NORM))) if norm > 0 else 0
    A = A / 2.0**halvings
    square, power = A @ A, np.eye(A.shape[0])
    even, odd = np.zeros_like(A), np.zeros_like(A)
    for j in range(0, 14, 2):
        even += _PADE[j] * power
        odd += _PADE[j + 1] * power
        power = power @ square
    odd = A @ odd
    result = np.linalg.solve(even - odd, even + odd)
    for _ in range(halvings):
        result = result @ result
    return result


def _exponential_rule(g: Tensor, A: Tensor) -> Tensor:
    """The derivative in direction `g` at the transposed matrix: a corner of a larger exponential."""
    n = A.shape[-1]
    turned = A.mT
    above = cat([turned, g], -1)
    below = cat([turned.new_zeros(turned.shape), turned], -1)
    return apply(MATRIX_EXP, (cat([above, below], -2),)).narrow(-2, 0, n).narrow(-1, n, n)


MATRIX_EXP = primitive("linalg_matrix_exp", "opaque", _exponential, dict(A=_exponential_rule), inputs=("A",))


def _exponential_samples() -> list[Sample]:
    found = [Sample([T((3, 3))]), Sample([T((2, 2, 2), "float64", low=-9.0, high=9.0)]), Sample([T((0, 0))])]
    refused = [Sample([each], raises=True) for each in (T((2, 3)), T((2,)), T((2, 2), "int64"))]
    return [*found, Sample([T(values=[[0.0, 1.0], [0.0, 0.0]])]), *refused]


@public(MATRIX_EXP, samples=_exponential_samples, method=False, name="linalg.matrix_exp")
def linalg_matrix_exp(input: Tensor) -> Tensor:
    """The exponential of a square matrix: the sum of its powers, each over a factorial.

    >>> import rushlight as torch
    >>> torch.linalg.matrix_exp(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    tensor([[1., 1.],
            [0., 1.]])
    """
    if array_of("linalg_matrix_exp", input).dtype.kind != "f":
        title = TITLES[input.dtype.name]
        raise RuntimeError(
            f"linalg.matrix_exp: Expected a floating point or complex tensor as input. Got {title}"
        )
    check_square("linalg.matrix_exp", input)
    return apply(MATRIX_EXP, (input,))


@composite(samples=_exponential_samples)
def matrix_exp(input: Tensor) -> Tensor:
    """`linalg.matrix_exp` under its older name."""
    return linalg_matrix_exp(input)


# -- condition numbers ---------------------------------------------------------------------------------------


def _inverse_or_inf(A: np.ndarray) -> np.ndarray:
    """The inverse of each matrix; infinities for one that has none."""
    result = np.empty(A.shape, A.dtype)
    for place in np.ndindex(A.shape[:-2]):
        try:
            result[place] = np.linalg.inv(A[place])
        except np.linalg.LinAlgError:
            result[place] = math.inf
    return result


INVERSE_OR_INF = primitive(
    "linalg_inv_or_inf",
    "opaque",
    _inverse_or_inf,
    INV.rules,
    inputs=("A",),
)


def _condition_samples() -> list[Sample]:
    orders: list[Any] = [None, 2, -2, 1, -1, math.inf, "fro", "nuc"]
    found = [Sample([T(values=_spd(3)), p], second=False, why="rounding, kinks") for p in orders]
    found += [
        Sample([T((3, 2), distinct=True)], second=False, why="rounding"),
        Sample([T(values=[[1.0, 2.0], [2.0, 4.0]]), 1], grads=False),
        Sample([T(values=_spd(2, (2,))), "fro"], second=False, why="rounding"),
        Sample([T((3, 3)), 3], raises=True),
        Sample([T((3,))], raises=True),
        Sample([T((3, 2)), 1], raises=True),
    ]
    return found


@composite(samples=_condition_samples, method=False, name="linalg.cond")
def cond(input: Tensor, p: Any = None, *, out: Any = None) -> Tensor:
    """The condition number: the norm of a matrix times that of its inverse.

    Args:
        input: ``(..., m, n)``, square unless `p` is None, 2 or -2.
        p: the norm: None or 2 (the largest singular value over the smallest), -2, 1, -1, inf, -inf, "fro" or
            "nuc".
        out: written to, if given.

    >>> import rushlight as torch
    >>> torch.linalg.cond(torch.tensor([[1.0, 0.0], [0.0, 4.0]]))
    tensor(4.)
    """
    if array_of("linalg_cond", input).ndim < 2:
        raise RuntimeError("linalg.cond: The input tensor must have at least 2 dimensions.")
    if p not in (None, 2, -2, 1, -1, math.inf, -math.inf, "fro", "nuc"):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    if 0 in input.shape[-2:]:
        result = input.new_zeros(input.shape[:-2])
    elif p in (None, 2, -2):
        values = svdvals(input)
        largest, smallest = values.select(-1, 0), values.select(-1, -1)
        ratio = smallest / largest if p == -2 else largest / smallest
        result = labelled(ratio, "SqueezeBackward1")
    else:
        rows, columns = input.shape[-2:]
        if rows != columns:
            raise RuntimeError(
                f"linalg.cond(ord={p}): A must be batches of square matrices, "
                f"but they are {rows} by {columns} matrices"
            )
        product = matrix_norm(input, p) * matrix_norm(apply(INVERSE_OR_INF, (input,)), p)
        result = product if p == "nuc" else product.nan_to_num(math.inf, math.inf, -math.inf)
    return result if out is None else write_out(out, result)


# -- tensors as matrices -------------------------------------------------------------------------------------


@composite(
    samples=lambda: [Sample([T((2, 2, 4), low=0.0), 2]), Sample([T((2, 3))], raises=True)],
    method=False,
    name="linalg.tensorinv",
)
def tensorinv(input: Tensor, ind: int = 2, *, out: Any = None) -> Tensor:
    """The inverse of a tensor as a map from its last dimensions to its first `ind`."""
    if ind <= 0:
        raise RuntimeError(f"Expected a strictly positive integer for 'ind', but got {ind}")
    first, last = input.shape[:ind], input.shape[ind:]
    rows, columns = math.prod(first), math.prod(last)
    if rows != columns:
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), "
            f"but got {columns} != {rows}"
        )
    result = labelled(inv(input.reshape(rows, columns)).reshape(*last, *first), "ReshapeAliasBackward0")
    return result if out is None else write_out(out, result)


@composite(
    samples=lambda: [
        Sample(
            [T(values=[[[2.0, 0.0], [0.0, 1.0]], [[0.0, 3.0], [1.0, 0.0]]]), T((2, 1), grad=False)],
            raises=True,
        ),
        Sample([T((2, 2, 4), low=0.0), T((2, 2))]),
        Sample([T((2, 4, 2), low=0.0), T((2, 2))], {"dims": (1,)}),
    ],
    method=False,
    name="linalg.tensorsolve",
)
def tensorsolve(
    input: Tensor, other: Tensor, dims: Sequence[int] | None = None, *, out: Any = None
) -> Tensor:
    """The X with ``tensordot(input, X, X.ndim) = other``; `dims` of `input` are moved to its end first."""
    if dims is not None:
        input = input.movedim(tuple(dims), tuple(range(input.dim() - len(dims), input.dim())))
    first, last = input.shape[: other.dim()], input.shape[other.dim() :]
    rows, columns = math.prod(first), math.prod(last)
    if rows != columns:
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
            f"prod(self.shape[:other.ndim]), but got {columns} != {rows}"
        )
    result = labelled(solve(input.reshape(rows, columns), other.reshape(rows)).reshape(last), "ViewBackward0")
    return result if out is None else write_out(out, result)


@composite(
    samples=lambda: [Sample([T((3, 4))]), Sample([T((2, 3, 3))], {"offset": 1})],
    method=False,
    name="linalg.diagonal",
)
def linalg_diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """`diagonal` of each matrix of a batch."""
    return diagonal(A, offset, dim1, dim2)
