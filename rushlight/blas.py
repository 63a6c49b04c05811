"""How many threads NumPy's matrix products use, where NumPy brought its BLAS along, as its wheels do.

The threads of OpenBLAS spin while they wait for one another. For the products of small networks that takes
longer than doing without, on a busy machine many times as long; and the order of summation depends on their
number. Nothing else of BLAS is touched. Invariant: what the user said in the environment holds.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")


@functools.cache
def _switch() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """The functions of OpenBLAS that tell and set the number of threads; None with another BLAS."""
    packages = Path(np.__file__).resolve().parents[1]
    for place in (packages / "numpy.libs", packages / "numpy" / ".dylibs"):
        for path in sorted(place.glob("*openblas*")):
            try:
                library = ctypes.CDLL(str(path))  # it is loaded already: this finds it
                count = library.scipy_openblas_get_num_threads64_
                change = library.scipy_openblas_set_num_threads64_
            except (OSError, AttributeError):
                continue
            change.argtypes, change.restype = [ctypes.c_int], None
            return count, change
    return None


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """In the block, NumPy's products run in the calling thread, so that they do not depend on the number of
    processors; unless ``OPENBLAS_NUM_THREADS`` or ``OMP_NUM_THREADS`` says otherwise.
    """
    switch = None if any(os.environ.get(name) for name in VARIABLES) else _switch()
    if switch is None:
        yield
        return
    count, change = switch
    before = count()
    change(1)
    try:
        yield
    finally:
        change(before)
