"""Linear algebra under the names it had before ``torch.linalg``: `svd`, `qr`, `slogdet`, `pinverse`, ...

Their arguments and results differ from the newer ones; the work is done there. Invariant: nothing is computed
here.
"""

from __future__ import annotations

import warnings
from typing import Any

from rushlight.ops.arguments import array_of
from rushlight.ops.decompose import _spd, linalg_svd, svdvals
from rushlight.ops.decompose import qr as linalg_qr
from rushlight.ops.decompose import slogdet as linalg_slogdet
from rushlight.ops.define import labelled, write_out
from rushlight.ops.kinds import composite
from rushlight.ops.matrices import matrix_power as linalg_matrix_power
from rushlight.ops.matrices import pinv
from rushlight.ops.matrix_functions import solve_triangular
from rushlight.ops.return_types import return_type
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor

_triangular_solve_type = return_type("triangular_solve", ("solution", "cloned_coefficient"))
_slogdet_type = return_type("slogdet", ("sign", "logabsdet"))
_svd_type = return_type("svd", ("U", "S", "V"))
_qr_type = return_type("qr", ("Q", "R"))


@composite(samples=None)
def svd(input: Tensor, some: bool = True, compute_uv: bool = True, *, out: Any = None) -> Any:
    """``input = U @ diag(S) @ V.mT``; reduced if `some`, else with square U and V; see `linalg.svd`.

    Without `compute_uv` only S is computed, and U and V are zeros.
    """
    array = array_of("svd", input)
    if array.ndim < 2:
        raise RuntimeError(
            f"linalg.svd: input should have at least 2 dimensions, but has {array.ndim} dimensions instead"
        )
    if compute_uv:
        U, S, Vh = linalg_svd(input, full_matrices=not some)
        parts = (U, S, Vh.mT)
    else:
        *batch, rows, columns = array.shape
        U, V = (input.new_zeros((*batch, n, n)) for n in (rows, columns))
        parts = (U, labelled(svdvals(input), "LinalgSvdBackward0"), V)
    return _svd_type(parts if out is None else write_out(out, parts))


@composite(samples=None)
def qr(input: Tensor, some: bool = True, *, out: Any = None) -> Any:
    """``input = Q @ R``, reduced if `some`; deprecated in favour of `linalg.qr`."""
    warnings.warn(
        "torch.qr is deprecated in favor of torch.linalg.qr and will be removed in a future PyTorch "
        "release.\n"
        "The boolean parameter 'some' has been replaced with a string parameter 'mode'.\n"
        "Q, R = torch.qr(A, some)\nshould be replaced with\n"
        "Q, R = torch.linalg.qr(A, 'reduced' if some else 'complete')",
        stacklevel=2,
    )
    if array_of("qr", input).ndim < 2:
        raise RuntimeError("linalg.qr: The input tensor A must have at least 2 dimensions.")
    parts = tuple(linalg_qr(input, "reduced" if some else "complete"))
    return _qr_type(parts if out is None else write_out(out, parts))


@composite(
    samples=lambda: [
        Sample([T(values=_spd(3))]),
        Sample([T(values=_spd(2, (2,)))]),
        Sample([T((3,))], raises=True),
    ]
)
def slogdet(input: Tensor, *, out: Any = None) -> Any:
    """The sign of the determinant and the logarithm of its absolute value; see `linalg.slogdet`."""
    return _slogdet_type(tuple(linalg_slogdet(input, out=out)))


@composite(
    samples=lambda: [
        Sample([T((3, 2))], second=False, why="rounding"),
        Sample([T(values=_spd(3)), 1e-3]),
    ]
)
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """The pseudoinverse; singular values below `rcond` times the largest count as zero; see `linalg.pinv`."""
    return pinv(input, rtol=rcond)


@composite(samples=lambda: [Sample([T(values=_spd(3)), n]) for n in (3, 0, -2)])
def matrix_power(input: Tensor, n: int, *, out: Any = None) -> Tensor:
    """`linalg.matrix_power` under its older name."""
    return linalg_matrix_power(input, n, out=out)


@composite(
    samples=lambda: [
        Sample([T((3, 2)), T(values=_spd(3))], grads=False, why="PyTorch crashes"),
        Sample([T((3, 2)), T(values=_spd(3)), False, True], grads=False, why="PyTorch crashes"),
    ]
)
def triangular_solve(
    input: Tensor,
    A: Tensor,
    upper: bool = True,
    transpose: bool = False,
    unitriangular: bool = False,
    *,
    out: Any = None,
) -> Any:
    """The solution of a triangular system and a copy of its matrix: the older `linalg.solve_triangular`."""
    matrix, triangle = (A.mT, not upper) if transpose else (A, upper)
    solution = solve_triangular(matrix, input, upper=triangle, unitriangular=unitriangular)
    parts = (
        labelled(solution, "TriangularSolveBackward0"),
        labelled(A.clone(), "TriangularSolveBackward0"),
    )
    return _triangular_solve_type(parts if out is None else write_out(out, parts))
