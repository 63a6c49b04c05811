"""PyTorch's ``torch.sparse``: products with sparse matrices. What such a matrix is, is in `rushlight.coo`."""

from __future__ import annotations

from rushlight.coo import SparseTensor, product
from rushlight.ops.matmul import mm as dense_product
from rushlight.tensor import Tensor

__all__ = ["mm"]


def mm(mat1: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices of which one is sparse.

    >>> import rushlight as torch
    >>> torch.sparse.mm(torch.eye(2).to_sparse(), torch.ones(2, 1))
    tensor([[1.],
            [1.]])
    """
    if isinstance(mat1, SparseTensor) or isinstance(mat2, SparseTensor):
        return product(mat1, mat2, "SparseAddmmBackward0")
    return dense_product(mat1, mat2)
