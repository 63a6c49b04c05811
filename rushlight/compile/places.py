"""Where temporaries lie in the one block of memory that they share.

Buffers get places in the order of their first use, each in the smallest gap that takes it; a gap opens where
a buffer was used for the last time, and neighbouring gaps become one. So the work grows with the number of
buffers and hardly more. Invariant: buffers that are needed at the same time do not overlap.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush

from rushlight.compile.program import Buffer

ALIGNMENT = 64


def places(
    buffers: Sequence[Buffer], spans: Mapping[int, tuple[int, int]]
) -> tuple[list[tuple[int, int]], int]:
    """The number and the offset in bytes of every buffer, and the size of the whole block.

    `spans` tells, by the number of a buffer, the first and the last moment at which it is needed.
    """
    gaps = _Gaps()
    found: list[tuple[int, int]] = []
    used: list[tuple[int, int, int]] = []  # last moment, offset, end
    order = sorted(buffers, key=lambda each: (spans[each.number][0], -each.nbytes))
    for buffer in order:
        first, last = spans[buffer.number]
        while used and used[0][0] < first:
            _, begin, end = heappop(used)
            gaps.give(begin, end)
        size = -(-buffer.nbytes // ALIGNMENT) * ALIGNMENT
        offset = gaps.take(size)
        heappush(used, (last, offset, offset + size))
        found.append((buffer.number, offset))
    return found, gaps.end


class _Gaps:
    """What is free of a block that grows where no gap is large enough."""

    def __init__(self) -> None:
        self.end = 0
        self._by_size: list[tuple[int, int]] = []  # size, offset
        self._after: dict[int, int] = {}  # the end of the gap that begins there
        self._before: dict[int, int] = {}  # the beginning of the gap that ends there

    def take(self, size: int) -> int:
        """A place for so many bytes."""
        at = bisect_left(self._by_size, (size, 0))
        if at < len(self._by_size):
            _, begin = self._by_size[at]
            end = self._after[begin]
            self._drop(begin)
        else:
            begin = self._before.get(self.end, self.end)
            if begin != self.end:
                self._drop(begin)
            end = self.end = begin + size
        if begin + size < end:
            self._add(begin + size, end)
        return begin

    def give(self, begin: int, end: int) -> None:
        """So many bytes are free again."""
        if begin == end:
            return
        if end in self._after:
            following, end = end, self._after[end]
            self._drop(following)
        if begin in self._before:
            begin = self._before[begin]
            self._drop(begin)
        self._add(begin, end)

    def _add(self, begin: int, end: int) -> None:
        self._after[begin], self._before[end] = end, begin
        insort(self._by_size, (end - begin, begin))

    def _drop(self, begin: int) -> None:
        end = self._after.pop(begin)
        del self._before[end]
        del self._by_size[bisect_left(self._by_size, (end - begin, begin))]
