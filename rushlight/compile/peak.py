"""What this machine can do at most, measured: the largest matrix product and the largest copy.

Invariant: the best of several tries counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

SIZE, COPIED = 2048, 64 << 20


class Peak(NamedTuple):
    """Floating-point operations, and bytes read and written, a second."""

    flops: float
    bytes: float


def best(function: Callable[[], object], tries: int = 7) -> float:
    """The least seconds that a call takes."""
    found = []
    for _ in range(tries):
        began = time.perf_counter()
        function()
        found.append(time.perf_counter() - began)
    return min(found)


def measured_peak() -> Peak:
    """The rates of a product of two 2048 x 2048 float32 matrices and of a copy of 64 MB, on all cores."""
    a, b = (np.random.default_rng(seed).random((SIZE, SIZE), np.float32) for seed in range(2))
    product = np.empty_like(a)
    source, target = np.ones(COPIED, np.uint8), np.empty(COPIED, np.uint8)
    flops = 2 * SIZE**3 / best(lambda: np.matmul(a, b, out=product))
    return Peak(flops, 2 * COPIED / best(lambda: np.copyto(target, source)))
