"""Dimensions of reductions, worked out on plain ints: which ones are meant, and the shapes before and after.

No tensors are made here. Invariant: a reduction's dimensions are a sorted tuple of non-negative ints, and for
a 0-d tensor the empty tuple.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from rushlight.tensor import normal_dim

_ALL = tuple(tuple(range(ndim)) for ndim in range(8))


def dims_of(dim: Any, ndim: int, name: str = "reduction") -> tuple[int, ...]:
    """The dimensions a reduction runs over: all for None or ().

    Args:
        dim: an int, several of them, or None.
        ndim: the number of dimensions of the tensor.
        name: the function, for errors.

    >>> from rushlight.ops.dims import dims_of
    >>> dims_of((-1, 0), 3), dims_of(None, 2)
    ((0, 2), (0, 1))
    """
    if dim is None:
        return _ALL[ndim] if ndim < 8 else tuple(range(ndim))
    if type(dim) is int:
        found = normal_dim(dim, ndim)
        return (found,) if ndim else ()
    if not isinstance(dim, (tuple, list)):
        return dims_of(_single_dim(dim, name), ndim)
    if not dim:
        return tuple(range(ndim))
    several = [normal_dim(_element(each, place, name), ndim) for place, each in enumerate(dim, start=1)]
    for each in several:
        if several.count(each) > 1:
            raise RuntimeError(f"dim {each} appears multiple times in the list of dims")
    return tuple(sorted(several)) if ndim else ()


def _single_dim(dim: Any, name: str) -> int:
    """A dimension given as something that counts as an int, such as a 0-d tensor."""
    if not isinstance(dim, bool) and hasattr(dim, "__index__"):
        return operator.index(dim)
    raise TypeError(
        f"{name}() received an invalid combination of arguments - got (Tensor, {type(dim).__name__}), but "
        "expected one of: (Tensor input), (Tensor input, int dim, bool keepdim), (Tensor input, tuple of "
        "ints dim, bool keepdim)"
    )


def _element(value: Any, place: int, name: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name}(): argument 'dim' failed to unpack the object at pos {place} with error "
            f'"type must be tuple of ints,but got {type(value).__name__}"'
        ) from None


def check_keepdim(name: str, keepdim: Any) -> None:
    """Refuse a `keepdim` that is no bool, as in the call ``x.sum(0, 1)`` that meant two dimensions."""
    if keepdim is not True and keepdim is not False:
        raise TypeError(
            f"{name}(): argument 'keepdim' (position 3) must be bool, not {type(keepdim).__name__}. "
            "Several dimensions are given as one tuple."
        )


def refuse_keepdim(name: str, keepdim: bool) -> None:
    """Refuse `keepdim` where no dimension is given; for functions that know one dimension or none."""
    if keepdim:
        raise TypeError(
            f"{name}() received an invalid combination of arguments - got (Tensor, keepdim=bool), but "
            "expected one of: (Tensor input), (Tensor input, int dim, bool keepdim)"
        )


def kept_shape(shape: Sequence[int], dim: Sequence[int]) -> tuple[int, ...]:
    """`shape` with the reduced dimensions as 1."""
    return tuple([1 if i in dim else n for i, n in enumerate(shape)])


def count_of(shape: Sequence[int], dim: Sequence[int]) -> int:
    """How many elements each result of a reduction combines."""
    return math.prod([shape[i] for i in dim])


def expandable(shape: Sequence[int], to: Sequence[int]) -> bool:
    """Whether `shape` broadcasts to `to`."""
    if len(shape) > len(to):
        return False
    return all(n in (1, m) for n, m in zip(reversed(shape), reversed(to), strict=False))
