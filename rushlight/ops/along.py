"""Elements of ndarrays picked and put by an index along one dimension.

What `np.take_along_axis` and `np.put_along_axis` do, for arrays of at least one dimension, at a fraction of
their cost on small arrays. Invariant: the index has the array's shape except along the dimension.
"""

from __future__ import annotations

import functools

import numpy as np

_SMALL = 4096


def _line_starts(size: int, length: int, shape: tuple[int, ...]) -> np.ndarray:
    """Where each line of a C-ordered array begins, shaped to broadcast against an index along the last
    dimension.
    """
    return np.arange(0, size, length).reshape((*shape[:-1], 1))


_kept_line_starts = functools.lru_cache(maxsize=64)(_line_starts)


def _flat_places(array: np.ndarray, indices: np.ndarray) -> np.ndarray:
    length = array.shape[-1]
    if array.ndim == 1:
        return indices
    starts = _kept_line_starts if array.size <= _SMALL else _line_starts
    return starts(array.size, length, array.shape) + indices


def pick(array: np.ndarray, indices: np.ndarray, dim: int) -> np.ndarray:
    """The elements at `indices` along `dim`, as a new array of the shape of `indices`.

    >>> import numpy as np
    >>> from rushlight.ops.along import pick
    >>> pick(np.array([[1, 5], [7, 2]]), np.array([[1], [0]]), 1)
    array([[5],
           [7]])
    """
    if array.size == 0:
        return np.empty(indices.shape, array.dtype)
    if dim == array.ndim - 1 and array.flags.c_contiguous:
        return array.reshape(-1).take(_flat_places(array, indices))
    return np.take_along_axis(array, indices, dim)


def put(array: np.ndarray, indices: np.ndarray, dim: int, values: np.ndarray) -> None:
    """Write `values` to the elements at `indices` along `dim`; nothing says which wins where an index
    repeats.

    >>> import numpy as np
    >>> from rushlight.ops.along import put
    >>> array = np.zeros((2, 2))
    >>> put(array, np.array([[1], [0]]), 1, np.array([[5.0], [7.0]]))
    >>> array
    array([[0., 5.],
           [7., 0.]])
    """
    if array.size == 0:
        return
    if dim == array.ndim - 1 and array.flags.c_contiguous:
        array.reshape(-1)[_flat_places(array, indices)] = values
    else:
        np.put_along_axis(array, indices, values, dim)
