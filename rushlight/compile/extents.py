"""Stretches of memory that were touched, joined where they meet, so that few remain.

Invariant: stretches are in order and apart from each other.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class Extents:
    """A set of numbers, as ranges.

    >>> touched = Extents()
    >>> touched.add(10, 20)
    >>> touched.add(20, 25)
    >>> touched.meet(24, 30), touched.meet(25, 30)
    (True, False)
    """

    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, low: int, high: int) -> None:
        """Add ``range(low, high)``."""
        first, last = bisect_left(self._ends, low), bisect_right(self._starts, high)
        if first < last:
            low, high = min(low, self._starts[first]), max(high, self._ends[last - 1])
        self._starts[first:last] = [low]
        self._ends[first:last] = [high]

    def meet(self, low: int, high: int) -> bool:
        """Whether anything of ``range(low, high)`` is in it."""
        at = bisect_right(self._ends, low)
        return at < len(self._starts) and self._starts[at] < high
