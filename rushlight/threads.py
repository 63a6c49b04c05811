"""How many threads compiled programs use.

Eager ops run in the calling thread, but for matrix products, whose BLAS has threads of its own. Invariant:
results do not depend on the number.
"""

from __future__ import annotations

import os

_threads = max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def get_num_threads() -> int:
    """The number of threads for compiled programs.

    >>> import rushlight as torch
    >>> torch.set_num_threads(2)
    >>> torch.get_num_threads()
    2
    """
    return _threads


def set_num_threads(num: int) -> None:
    """Set the number of threads for compiled programs."""
    global _threads
    if not isinstance(num, int):
        raise TypeError(f"set_num_threads expects an int, but got {type(num).__name__}")
    if num < 1:
        raise RuntimeError("set_num_threads expects a positive integer")
    _threads = num
