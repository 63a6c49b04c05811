"""Timing two functions against each other on a machine that has other things to do.

Both run in turns, in bursts so short that most are not interrupted; every pair of bursts gives one ratio, and
the median of the ratios counts. The processor's time is taken, of all threads of this process: waiting for a
busy processor does not count. Invariant: the garbage collector is off during a burst, as in `timeit`.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

BURST = 0.001  # seconds


class Comparison(NamedTuple):
    """Medians over all bursts: microseconds a call of each, and the ratio of the first to the second."""

    ours: float
    theirs: float
    ratio: float


def burst(function: Callable[[], object], calls: int) -> float:
    """Seconds of the processor's time that so many calls take."""
    began = time.process_time()
    for _ in range(calls):
        function()
    return time.process_time() - began


def compare(ours: Callable[[], object], theirs: Callable[[], object], rounds: int = 61) -> Comparison:
    """Time two functions in turns."""
    calls = []
    for function in (ours, theirs):
        burst(function, 20)
        once = min(burst(function, 5) for _ in range(5)) / 5
        calls.append(max(1, round(BURST / once)))
    pairs = []
    collecting = gc.isenabled()
    gc.collect()
    gc.freeze()  # or the next comparison would look through all of PyTorch once more
    gc.disable()
    try:
        for _ in range(rounds):
            pairs.append((burst(ours, calls[0]) / calls[0], burst(theirs, calls[1]) / calls[1]))
            gc.collect(0)
    finally:
        if collecting:
            gc.enable()
    return Comparison(
        ours=1e6 * statistics.median(first for first, _ in pairs),
        theirs=1e6 * statistics.median(second for _, second in pairs),
        ratio=statistics.median(first / second for first, second in pairs),
    )
