"""PyTorch's switch for the precision of float32 products, where there is one precision only.

A program may set it and read it; products are the same either way.
"""

from __future__ import annotations

import warnings
from typing import Any

_PRECISIONS = ("highest", "high", "medium")
_precision = "highest"


def set_float32_matmul_precision(precision: str) -> None:
    """Say how exact products of float32 matrices have to be: "highest", "high" or "medium". They are always
    as exact as float32.

    >>> import rushlight as torch
    >>> torch.set_float32_matmul_precision("high")
    >>> torch.get_float32_matmul_precision()
    'high'
    >>> torch.set_float32_matmul_precision("highest")
    """
    global _precision
    given: Any = precision
    if not isinstance(given, str):
        raise RuntimeError(f"set_float32_matmul_precision expects a str, but got {type(given).__name__}")
    if given not in _PRECISIONS:
        warnings.warn(
            f"{given} is not one of 'highest', 'high', or 'medium'; the current"
            "setFloat32MatmulPrecision call has no effect.",
            stacklevel=2,
        )
        return
    _precision = given


def get_float32_matmul_precision() -> str:
    """What was said last with `set_float32_matmul_precision`, "highest" at first."""
    return _precision
