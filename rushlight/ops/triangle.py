"""Triangles and diagonals of matrices: `tril`, `triu`, `diag`, `diagflat`, `diag_embed`.

Invariant: these are copies; the diagonal as a view is `diagonal`, in `slicing`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.ops.arguments import array_of
from rushlight.ops.define import Op, apply
from rushlight.ops.kinds import composite, primitive, public
from rushlight.ops.samples import Sample, T
from rushlight.ops.slicing import DIAG_EMBED, DIAGONAL_COPY, diagonal_dims, embed_diagonal
from rushlight.storage import row_major
from rushlight.tensor import Tensor

# -- triangles -----------------------------------------------------------------------------------------------


def _below(input: np.ndarray, diagonal: int) -> np.ndarray:
    """A mask of the elements of a matrix on a diagonal and below it."""
    rows, columns = input.shape[-2:]
    return np.greater_equal.outer(np.arange(rows), np.arange(-diagonal, columns - diagonal))


def _lower(input: np.ndarray, *, diagonal: int) -> np.ndarray:
    return row_major(np.where(_below(input, diagonal), input, input.dtype.type(0)))


def _upper(input: np.ndarray, *, diagonal: int) -> np.ndarray:
    return row_major(np.where(_below(input, diagonal - 1), input.dtype.type(0), input))


TRIL: Op = primitive(
    "tril", "indexed", _lower, dict(input=lambda g, diagonal: apply(TRIL, (g,), {"diagonal": diagonal}))
)
TRIU: Op = primitive(
    "triu", "indexed", _upper, dict(input=lambda g, diagonal: apply(TRIU, (g,), {"diagonal": diagonal}))
)


def _triangle_samples() -> list[Sample]:
    found = [Sample([T((3, 4)), *each]) for each in ((), (1,), (-1,), (9,), (-9,))] + [Sample([T((2, 3, 3))])]
    found += [
        Sample([T((4, 2), "int64"), -1]),
        Sample([T((3, 3), "bool")]),
        Sample([T((0, 3))], {"diagonal": 1}),
    ]
    return [*found, Sample([T((3, 3), layout="transposed")]), Sample([T((3,))], raises=True)]


@public(TRIL, samples=_triangle_samples, inplace=True)
def tril(input: Tensor, diagonal: int = 0, *, out: Any = None) -> Tensor:
    """Matrices with the elements above a diagonal set to zero.

    >>> import rushlight as torch
    >>> torch.ones(2, 3).tril()
    tensor([[1., 0., 0.],
            [1., 1., 0.]])
    """
    if array_of("tril", input).ndim < 2:
        raise RuntimeError("tril: input tensor must have at least 2 dimensions")
    return apply(TRIL, (input,), {"diagonal": diagonal}, out)


@public(TRIU, samples=_triangle_samples, inplace=True)
def triu(input: Tensor, diagonal: int = 0, *, out: Any = None) -> Tensor:
    """Matrices with the elements below a diagonal set to zero.

    >>> import rushlight as torch
    >>> torch.ones(2, 3).triu(1)
    tensor([[0., 1., 1.],
            [0., 0., 1.]])
    """
    if array_of("triu", input).ndim < 2:
        raise RuntimeError("triu: input tensor must have at least 2 dimensions")
    return apply(TRIU, (input,), {"diagonal": diagonal}, out)


# -- diagonals -----------------------------------------------------------------------------------------------


def _embed_samples() -> list[Sample]:
    cases: list[Any] = [(), (1,), (-2,), (0, 0, 1), (1, 0, 2), (0, 1, 0)]
    found = [Sample([T((2, 3)), *each]) for each in cases] + [
        Sample([T((3,))]),
        Sample([T((0,))]),
        Sample([T((2,), "bool")]),
    ]
    return [*found, Sample([T((2, 3)), 0, 1, 1], raises=True), Sample([T((2, 3)), 0, 0, 5], raises=True)]


@public(DIAG_EMBED, samples=_embed_samples)
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices of zeros with the last dimension of `input` as a diagonal, in two new dimensions.

    >>> import rushlight as torch
    >>> torch.tensor([[1, 2], [3, 4]]).diag_embed()
    tensor([[[1, 0],
             [0, 2]],
    <BLANKLINE>
            [[3, 0],
             [0, 4]]])
    """
    shape = array_of("diag_embed", input).shape
    first, second = diagonal_dims(len(shape) + 1, dim1, dim2)
    if not shape:
        raise IndexError(f"Dimension out of range (expected to be in range of [-1, 0], but got {dim1})")
    length = shape[-1] + abs(offset)
    result = list(shape[:-1])
    for dim in sorted((first, second)):
        result.insert(dim, length)
    return embed_diagonal(input, tuple(result), offset, first, second)


def _diag_samples() -> list[Sample]:
    found = [Sample([T((3,)), *each]) for each in ((), (1,), (-1,))]
    found += [Sample([T((2, 3)), *each]) for each in ((), (1,), (-1,), (5,))]
    return [*found, Sample([T((2, 2, 2))], raises=True), Sample([T(())], raises=True)]


@composite(samples=_diag_samples)
def diag(input: Tensor, diagonal: int = 0, *, out: Any = None) -> Tensor:
    """A matrix with a vector as its diagonal, or the diagonal of a matrix, copied.

    >>> import rushlight as torch
    >>> torch.diag(torch.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    shape = array_of("diag", input).shape
    if len(shape) not in (1, 2):
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {len(shape)}D")
    params: dict[str, Any] = {"offset": diagonal, "dim1": 0, "dim2": 1}
    if len(shape) == 2:
        return apply(DIAGONAL_COPY, (input,), params, out)
    size = shape[0] + abs(diagonal)
    return apply(DIAG_EMBED, (input,), {"shape": (size, size), **params}, out)


@composite(samples=lambda: [Sample([T((2, 3))]), Sample([T((3,)), 1]), Sample([T(())])])
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A matrix with all elements of `input`, in one row, as its diagonal."""
    return diag_embed(input.reshape(-1), offset)
