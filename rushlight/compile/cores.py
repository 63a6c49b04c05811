"""A core of its own for each thread that begins to work on something.

Linux often has a thread begin, or wake, on the core of the thread that wants it, and moves it elsewhere when
it finds that one core has two threads to run and another none: ten milliseconds later, in which both have
done next to nothing but wait for each other. So a thread that begins on a core that is taken moves to another
at once. Where it may run later on remains the system's choice. Invariant: a thread may run wherever it might
before, and nothing fails where a system has no such calls or forbids them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable


def _current_core() -> Callable[[], int] | None:
    """What tells the number of the core that a thread runs on, where that is known."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    try:
        found: Callable[[], int] = ctypes.CDLL(None).sched_getcpu
    except (OSError, AttributeError):  # another C library
        return None
    return found


current_core = _current_core()


class Cores:
    """The cores of threads that work together; the first is that of the thread that makes this."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: set[int] = set()
        self._allowed: set[int] = set()
        if current_core is not None:
            self._taken, self._allowed = {current_core()}, os.sched_getaffinity(0)

    def settle(self) -> None:
        """Have the calling thread go on on a core that none of the others has, if there is one; from then on
        it may run where the thread that made this might.
        """
        if current_core is None:
            return
        with self._lock, contextlib.suppress(OSError):
            here, free = current_core(), self._allowed - self._taken
            try:
                if here not in free and free:
                    here = min(free)
                    os.sched_setaffinity(0, {here})
            finally:
                self._taken.add(here)
                if os.sched_getaffinity(0) != self._allowed:
                    os.sched_setaffinity(0, self._allowed)
