"""The memory behind an ndarray: which array owns it, all of it in one row, and other windows on it.

NumPy's own `as_strided` hides the owner of the memory behind an object of its own, so it is the last resort
here. Invariant: what is returned shares the memory of what was given, and leads back to the same owner; only
`empty`, `aligned` and `full` make new memory.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

LINE = 64  # bytes that memory moves at once
LEAST_ALIGNED = 1 << 14  # bytes; smaller arrays stay in the nearest cache, where it matters less


class _Block(np.ndarray):
    """Memory that an aligned array lies in, and nothing else does."""


def empty(shape: tuple[int, ...] | int, dtype: Any) -> np.ndarray:
    """Memory for an array, row-major and not initialised, which begins at a line of memory if it is large.

    NumPy's own arrays begin anywhere that suits a C structure, so that most vectors lie across two lines, and
    loops over what the nearest cache does not hold take up to twice as long.
    """
    dtype = np.dtype(dtype)
    size = _bytes_of(shape, dtype)
    if size > sys.maxsize:  # NumPy would raise ValueError
        raise MemoryError(f"cannot allocate {size:,} bytes")
    if size < LEAST_ALIGNED:
        return np.empty(shape, dtype)
    return aligned(shape, dtype, LINE)


def _bytes_of(shape: tuple[int, ...] | int, dtype: np.dtype) -> int:
    return dtype.itemsize * (math.prod(shape) if isinstance(shape, tuple) else shape)


def aligned(shape: tuple[int, ...] | int, dtype: np.dtype, alignment: int) -> np.ndarray:
    """Memory for an array, not initialised, which begins at a multiple of so many bytes. The array owns it as
    far as `owner_of` can see, and more arrays may be made over its base that do so too.
    """
    block = _Block(_bytes_of(shape, dtype) + alignment, np.uint8)
    return np.ndarray(shape, dtype, block, -address(block) % alignment)


def full(shape: tuple[int, ...] | int, value: Any, dtype: Any) -> np.ndarray:
    """Such an array with one value everywhere."""
    made = empty(shape, dtype)
    made[...] = value
    return made


def keep_freed_memory() -> None:
    """Have the C library keep freed memory up to 32 MB instead of returning it to the system each time.

    A training step frees and allocates the same arrays over and over; returned memory comes back page by
    page, which took a tenth of the time of a small step. glibc learns from the largest block that was freed
    how much to keep; other libraries take no notice. Nothing is used by this: the block is never touched.
    """
    np.empty(16 << 20, np.uint8)


def owner_of(array: np.ndarray) -> np.ndarray:
    """The array that owns the memory `array` looks into."""
    while isinstance(array.base, np.ndarray) and type(array.base) is not _Block:
        array = array.base
    return array


def storage_of(array: np.ndarray) -> np.ndarray:
    """All of the memory that an ndarray lies in, as one row of elements of its type."""
    owner = owner_of(array)
    row = owner.ravel(order="K")
    if owner.size and not np.may_share_memory(
        row, owner
    ):  # foreign memory with gaps: no more than this is known
        return owner.reshape(-1)[:0]
    return row.view(array.dtype)


def address(array: np.ndarray) -> int:
    """Where the first element lies in memory."""
    return array.__array_interface__["data"][0]


def strided(array: np.ndarray, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """An ndarray of this shape and these byte strides that begins where `array` does, in its memory.

    The caller sees to it that it stays within that memory.
    """
    if array.size and array.flags.c_contiguous:
        return np.ndarray(shape, array.dtype, array, 0, strides)
    if array.size:
        storage = storage_of(array)
        if storage.size:
            return np.ndarray(shape, array.dtype, storage, address(array) - address(storage), strides)
    return np.lib.stride_tricks.as_strided(array, shape, strides)


def row_major(array: np.ndarray) -> np.ndarray:
    """`array` itself if its elements lie in row-major order without gaps, else a copy whose elements do."""
    return array if array.flags.c_contiguous else array.copy()


def copy_order(array: np.ndarray) -> Literal["K", "C"]:
    """The order in which PyTorch lays out a copy: the array's own, but row-major if it repeats elements."""
    strides = array.strides
    if 0 not in strides:
        return "K"
    # NumPy gives a dimension of one element, such as that of ``x[None]``, the stride 0: it repeats nothing.
    repeats = any(n > 1 and not stride for n, stride in zip(array.shape, strides, strict=True))
    return "C" if repeats else "K"


def in_memory_order(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Flat `values` in the shape of `like`, each where the element of `like` lies in the order of memory."""
    if like.flags.c_contiguous:
        return values.reshape(like.shape)
    order = outermost_first(like)
    return values.reshape([like.shape[dim] for dim in order]).transpose(np.argsort(order))


def outermost_first(array: np.ndarray) -> list[int]:
    """The dimensions by falling stride; those of stride 0 (expanded ones) keep their place, as in PyTorch."""
    return by_falling_stride(array.shape, array.strides)


def by_falling_stride(shape: Sequence[int], strides: Sequence[int]) -> list[int]:
    """`outermost_first` of an array of this shape with these strides."""
    order = list(range(len(strides)))
    for start in range(len(order) - 2, -1, -1):
        here = start
        for other in range(start + 1, len(order)):
            outer, inner = strides[order[here]], strides[order[other]]
            if outer == 0 or inner == 0:
                continue
            if outer > inner:
                break
            if outer < inner or shape[order[here]] < shape[order[other]]:
                order[here], order[other] = order[other], order[here]
                here = other
    return order
