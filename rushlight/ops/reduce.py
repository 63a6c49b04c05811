"""Folds: sums and the like, which combine elements along dimensions.

Folds take their dimensions as a tuple of non-negative ints (None never reaches an op: it is made explicit first) so that
a recorded call says all. Invariant: accumulation is NumPy's pairwise summation in the type of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.dtype import I64
from rushlight.ops.define import apply
from rushlight.ops.kinds import primitive, public
from rushlight.tensor import Tensor, normal_dim


def dims_of(dim: Any, ndim: int) -> tuple[int, ...]:
    """The dimensions a reduction runs over, as a sorted tuple: all for None or ()."""
    if dim is None or (not isinstance(dim, int) and len(dim) == 0):
        return tuple(range(ndim))
    if isinstance(dim, int):
        return (normal_dim(dim, ndim),) if ndim else ()
    found = [normal_dim(each, ndim) for each in dim]
    for each in found:
        if found.count(each) > 1:
            raise RuntimeError(f"dim {each} appears multiple times in the list of dims")
    return tuple(sorted(found)) if ndim else ()


def restore_dims(g: Tensor, shape: tuple[int, ...], dim: tuple[int, ...], keepdim: bool) -> Tensor:
    """Spread the gradient of a reduction back over the shape that was reduced."""
    if not keepdim and dim:
        kept = tuple(1 if i in dim else n for i, n in enumerate(shape))
        g = g.reshape(kept)
    return g.expand(shape)


def _sum(input: np.ndarray, *, dim: tuple[int, ...], keepdim: bool, dtype: np.dtype) -> Any:
    if dtype.itemsize == 2 and dtype.kind == "f":
        return np.add.reduce(input, axis=dim, keepdims=keepdim, dtype=np.float32).astype(dtype)
    return np.add.reduce(input, axis=dim, keepdims=keepdim, dtype=dtype)


SUM = primitive(
    "sum",
    "fold",
    _sum,
    grad=dict(input=lambda g, input_shape, dim, keepdim: restore_dims(g, input_shape, dim, keepdim)),
)


@public(SUM)
def sum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None) -> Any:
    """The sum over all elements, or along `dim` (an int or several).

    Integers and bools are summed as int64 unless `dtype` says otherwise.

    >>> import rushlight as torch
    >>> torch.tensor([[1, 2], [3, 4]]).sum(dim=0)
    tensor([4, 6])
    """
    array = input._array
    kind = dtype.numpy if dtype is not None else array.dtype if array.dtype.kind == "f" else I64
    return apply(SUM, (input,), {"dim": dims_of(dim, array.ndim), "keepdim": keepdim, "dtype": kind}, out=out)


def expandable(shape: Sequence[int], to: Sequence[int]) -> bool:
    """Whether `shape` broadcasts to `to`."""
    if len(shape) > len(to):
        return False
    return all(n in (1, m) for n, m in zip(reversed(shape), reversed(to), strict=False))


def sum_to_size(input: Tensor, shape: Sequence[int]) -> Tensor:
    """Undo broadcasting: sum over the dimensions in which `shape` is 1 or missing."""
    current = input._array.shape
    leading = len(current) - len(shape)
    dims = [*range(leading), *(leading + i for i, n in enumerate(shape) if n == 1 and current[leading + i] != 1)]
    summed = sum(input, dims, keepdim=True) if dims else input
    return summed.reshape(tuple(shape)) if leading else summed
