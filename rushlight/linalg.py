"""Linear algebra under the names of ``torch.linalg``.

This file only gathers names from the op table's modules. Eigenvalues of general matrices would be complex
and are not offered.
"""

from __future__ import annotations

from typing import Any

from rushlight.ops.decompose import eigh, eigvalsh, inv, qr, slogdet, solve, svdvals
from rushlight.ops.decompose import linalg_cholesky as cholesky
from rushlight.ops.decompose import linalg_det as det
from rushlight.ops.decompose import linalg_svd as svd
from rushlight.ops.linalg_checks import _LinAlgError as LinAlgError
from rushlight.ops.matmul import matmul
from rushlight.ops.matrices import linalg_norm as norm
from rushlight.ops.matrices import lstsq, matrix_norm, matrix_power, matrix_rank, multi_dot, pinv
from rushlight.ops.matrix_functions import cond, solve_triangular, tensorinv, tensorsolve
from rushlight.ops.matrix_functions import linalg_diagonal as diagonal
from rushlight.ops.matrix_functions import linalg_matrix_exp as matrix_exp
from rushlight.ops.matrix_products import linalg_cross as cross
from rushlight.ops.matrix_products import linalg_vander as vander
from rushlight.ops.matrix_products import vecdot
from rushlight.ops.norm import vector_norm

__all__ = [
    "LinAlgError",
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inv",
    "lstsq",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensorinv",
    "tensorsolve",
    "vander",
    "vecdot",
    "vector_norm",
]


def eig(input: Any, *, out: Any = None) -> Any:
    """Not offered: eigenvalues of a general matrix are complex. For symmetric matrices use `eigh`."""
    raise NotImplementedError(
        "linalg.eig(): complex numbers are not supported; for symmetric matrices use linalg.eigh"
    )


def eigvals(input: Any, *, out: Any = None) -> Any:
    """Not offered: eigenvalues of a general matrix are complex. For symmetric matrices use `eigvalsh`."""
    raise NotImplementedError(
        "linalg.eigvals(): complex numbers are not supported; for symmetric matrices use linalg.eigvalsh"
    )
