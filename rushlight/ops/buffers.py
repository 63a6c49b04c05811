"""`frombuffer`: a tensor on the memory of a Python object, such as a bytearray, an array or a memory map.

Invariant: the tensor shares the memory if that may be written to, and has a copy if not.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from rushlight.dtype import dtype as DType
from rushlight.ops.create import finish
from rushlight.tensor import Tensor, new_tensor


def frombuffer(
    buffer: Any, *, dtype: DType, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    r"""A one-dimensional tensor of the bytes of `buffer`, read as `dtype`.

    Args:
        buffer: an object with Python's buffer protocol. Its memory is shared, or copied with a warning where
            it is read-only.
        dtype: the type of the elements.
        count: how many elements to read; all for a negative number.
        offset: how many bytes to leave out at the beginning.
        requires_grad: whether the tensor asks for gradients.

    >>> import rushlight as torch
    >>> memory = bytearray(b"\x01\x00\x02\x00")
    >>> x = torch.frombuffer(memory, dtype=torch.int16)
    >>> x[0] = 7
    >>> x, memory[0]
    (tensor([7, 2], dtype=torch.int16), 7)
    """
    if not isinstance(dtype, DType):
        raise TypeError(f"frombuffer(): argument 'dtype' must be torch.dtype, not {type(dtype).__name__}")
    try:
        memory = memoryview(buffer)
    except TypeError:
        raise ValueError("object does not implement Python buffer protocol.") from None
    size, width = memory.nbytes, dtype.itemsize
    if size == 0 or count == 0:
        raise ValueError(f"both buffer length ({size}) and count ({count}) must not be 0")
    if not 0 <= offset < size:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({size} bytes) "
            "minus 1"
        )
    if count < 0 and (size - offset) % width:
        raise ValueError(
            f"buffer length ({size - offset} bytes) after offset ({offset} bytes) must be a multiple of "
            f"element size ({width})"
        )
    if count > 0 and count * width > size - offset:
        raise ValueError(
            f"requested buffer length ({count} * {width} bytes) after offset ({offset} bytes) must not be "
            f"greater than actual buffer length ({size} bytes)"
        )
    array = np.frombuffer(buffer, dtype.numpy, count, offset)
    if memory.readonly:
        warnings.warn(
            "The given buffer is not writable, and PyTorch does not support non-writable tensors. The tensor "
            "has a copy of it.",
            stacklevel=2,
        )
        array = array.copy()
    return finish(new_tensor(array), requires_grad, None)
