"""What this machine can do at most: the largest matrix product and the largest copy, on all its cores.

Prints JSON: operations a second of the product of two 2048 x 2048 float32 matrices, and bytes a second read
and written by a copy of 64 MB. Invariant: the best of several tries counts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import numpy as np

SIZE, COPIED = 2048, 64 << 20


def best(function: Callable[[], object], tries: int = 7) -> float:
    """The least seconds that a call takes."""
    found = []
    for _ in range(tries):
        began = time.perf_counter()
        function()
        found.append(time.perf_counter() - began)
    return min(found)


def main() -> None:
    """Measure and print."""
    a, b = (np.random.default_rng(seed).random((SIZE, SIZE), np.float32) for seed in range(2))
    product = np.empty_like(a)
    source, target = np.ones(COPIED, np.uint8), np.empty(COPIED, np.uint8)
    flops = 2 * SIZE**3 / best(lambda: np.matmul(a, b, out=product))
    moved = 2 * COPIED / best(lambda: np.copyto(target, source))
    print(json.dumps({"flops": flops, "bytes": moved}))


if __name__ == "__main__":
    main()
