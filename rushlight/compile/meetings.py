"""Whether threads have to meet before a group: what they have touched since they met last.

Of groups in strands each strand may have a stretch of memory to itself (see `strands`), which the same
thread touches in all groups. Invariant: two accesses to the same memory, one of which writes, have a meeting
between them unless one thread makes both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rushlight.compile.extents import Extents


class Place(NamedTuple):
    """What an access of a group may touch: a range of some memory.

    `apart` is how far from each other the stretches begin that strands have to themselves, the first where
    the range does; 0 if they have none.
    """

    writes: bool
    memory: Any
    low: int
    high: int
    apart: int = 0


class Meetings:
    """What was touched since threads met."""

    def __init__(self) -> None:
        # by whether threads share the group, whether it writes, and memory
        self._ranges: dict[tuple[bool, bool, Any], Extents] = {}
        # by memory, the beginning and how far apart: the end of the last stretch, and whether any was written
        self._stretches: dict[tuple[Any, int, int], tuple[int, bool]] = {}

    def clear(self) -> None:
        """They have met."""
        self._ranges.clear()
        self._stretches.clear()

    def add(self, is_split: bool, places: Sequence[Place]) -> None:
        """A group touches some places; `is_split` if threads share it."""
        for writes, memory, low, high, apart in places:
            if not apart:
                self._ranges.setdefault((is_split, writes, memory), Extents()).add(low, high)
                continue
            end, written = self._stretches.get((memory, low, apart), (high, False))
            self._stretches[memory, low, apart] = max(end, high), written or writes

    def are_needed(self, is_split: bool, places: Sequence[Place]) -> bool:
        """Whether threads must meet before a group that touches these."""
        return any(self._is_shared(is_split, each) or self._is_stretch_of_others(each) for each in places)

    def _is_shared(self, is_split: bool, place: Place) -> bool:
        for before_split in (False, True) if is_split else (True,):
            for before_writes in (False, True) if place.writes else (True,):
                before = self._ranges.get((before_split, before_writes, place.memory))
                if before is not None and before.meet(place.low, place.high):
                    return True
        return False

    def _is_stretch_of_others(self, place: Place) -> bool:
        own = (place.memory, place.low, place.apart)
        for before, (end, written) in self._stretches.items():
            memory, low, _ = before
            is_changed = memory == place.memory and (place.writes or written) and before != own
            if is_changed and place.low < end and low < place.high:
                return True
        return False
