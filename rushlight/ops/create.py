"""Making tensors from nothing or from data."""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.dtype import dtype as Dtype, from_numpy, get_default_dtype
from rushlight.device import check_device
from rushlight.tensor import Tensor, new_tensor


def legacy_new(args: tuple[Any, ...], kind: Dtype) -> np.ndarray:
    """The array behind ``Tensor(2, 3)`` (a shape) or ``Tensor([1, 2])`` (data)."""
    if not args:
        return np.empty(0, kind.numpy)
    if isinstance(args[0], (list, tuple, np.ndarray)) and len(args) == 1:
        return np.array(args[0], dtype=kind.numpy)
    return np.empty(args, kind.numpy)


def zeros_of(shape: tuple[int, ...], kind: np.dtype) -> Tensor:
    """A zero gradient of a given shape and NumPy type."""
    return new_tensor(np.zeros(shape, kind))


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """A new tensor with a copy of `data`."""
    check_device(device)
    array = np.array(data)
    if dtype is None:
        kind = get_default_dtype() if array.dtype.kind == "f" and not isinstance(data, (np.ndarray, np.generic)) else from_numpy(array.dtype)
    else:
        kind = dtype
    made = new_tensor(array.astype(kind.numpy, copy=False))
    made.requires_grad = requires_grad
    return made
