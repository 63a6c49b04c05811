"""What linear algebra refuses: shapes, types, and matrices that LAPACK cannot factor.

LAPACK says where it failed, NumPy does not pass that on, so the place is looked for again once something has
failed. Invariant: every error begins with PyTorch's sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight.ops.define import TITLES
from rushlight.tensor import Tensor


class _LinAlgError(RuntimeError):
    """A matrix that cannot be factored or inverted."""


def check_square(name: str, A: Tensor) -> None:
    """Refuse all but a square matrix, or a batch of them."""
    shape = A._array.shape
    check_matrix(name, A)
    if shape[-1] != shape[-2]:
        raise RuntimeError(
            f"{name}: A must be batches of square matrices, but they are {shape[-2]} by {shape[-1]} matrices"
        )


def check_matrix(name: str, A: Tensor) -> None:
    """Refuse tensors of less than two dimensions."""
    if A._array.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions.")


def check_floating(name: str, A: Tensor, kernel: str = "") -> None:
    """Refuse integers, bools and float16, in the words of PyTorch's function or of its kernel."""
    kind = TITLES[A.dtype.name]
    if not A.is_floating_point():
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {kind}: use .float() first"
        )
    if kind == "Half":
        if kernel:
            refuse_in_kernel(A, kernel)
        raise RuntimeError(f"{name}: Low precision dtypes not supported. Got Half")


def refuse_in_kernel(A: Tensor, kernel: str) -> None:
    """Refuse all but float32 and float64 as a kernel of PyTorch's does."""
    if A.dtype.name not in ("float32", "float64"):
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{TITLES[A.dtype.name]}'")


def guarded(
    name: str, function: Callable[..., Any], code: Callable[[np.ndarray], int], sentence: str
) -> Callable[..., Any]:
    """Run a LAPACK routine; where it fails, the error says in which matrix of the batch, and where in it.

    Args:
        name: PyTorch's name, which the error begins with.
        function: computes from ndarrays, the first of which holds the matrices.
        code: LAPACK's number for what is wrong with a matrix, 0 if nothing is.
        sentence: PyTorch's, with ``{code}`` for the number.
    """

    def forward(*arrays: np.ndarray, **params: Any) -> Any:
        try:
            return function(*arrays, **params)
        except np.linalg.LinAlgError:
            matrices = arrays[0]
        where, found = "", 0
        for number, matrix in enumerate(matrices.reshape(-1, *matrices.shape[-2:])):
            found = code(matrix)
            if found:
                where = f"(Batch element {number}): " if matrices.ndim > 2 else ""
                break
        raise _LinAlgError(f"{name}: {where}{sentence.format(code=found)}")

    return forward


def zero_pivot(matrix: np.ndarray) -> int:
    """Which diagonal element of U in ``P @ L @ U`` is the first to be zero, counted from 1; 0 if none is."""
    try:
        np.linalg.inv(matrix)
        return 0
    except np.linalg.LinAlgError:
        work = matrix.copy()
    size = len(work)
    for k in range(size):
        largest = k + int(np.abs(work[k:, k]).argmax())
        work[[k, largest]] = work[[largest, k]]
        if work[k, k] == 0:
            return k + 1
        work[k + 1 :, k + 1 :] -= np.outer(work[k + 1 :, k] / work[k, k], work[k, k + 1 :])
    return size  # rounded otherwise than by LAPACK


def indefinite_minor(matrix: np.ndarray) -> int:
    """The order of the first leading minor that is not positive-definite, 0 if all are."""
    for order in range(1, len(matrix) + 1):
        try:
            np.linalg.cholesky(matrix[:order, :order])
        except np.linalg.LinAlgError:
            return order
    return 0


def not_finite(matrix: np.ndarray) -> int:
    """1 for a matrix with infinite or undefined elements, 0 otherwise."""
    return int(not np.isfinite(matrix).all())
