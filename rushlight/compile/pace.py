"""How many threads a program gets: as many as turn out to be fastest.

A second thread halves the time on an idle machine and wastes it on a busy one, where threads wait for each
other at every barrier. Since results do not depend on the number of threads, `Pace` just tries, now and then
anew. Invariant: never more threads than `get_num_threads` says.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rushlight.threads import get_num_threads

TRIAL_SECONDS = 0.004  # long enough for the start of a thread not to matter
TRUST_SECONDS = 1.0  # how long a choice is kept


class Pace:
    """Chooses the number of threads for one program.

    Args:
        can_share: whether any part of the program is split among threads.
    """

    def __init__(self, can_share: bool) -> None:
        self.can_share = can_share
        self.seconds: dict[int, float] = {}  # for a step, by number of threads
        self.tried_at = float("-inf")

    def next(self, threads: int | None, steps: int) -> tuple[int, int]:
        """The number of threads for the steps that come, and for how many of them."""
        if threads is not None:
            return threads, steps
        most = get_num_threads()
        if most == 1 or not self.can_share:
            return 1, steps
        if time.perf_counter() - self.tried_at > TRUST_SECONDS:
            self.seconds.clear()
            self.tried_at = time.perf_counter()
        for count in (1, most):
            if count not in self.seconds:
                known = self.seconds.get(1)
                trial = max(1, int(TRIAL_SECONDS / known)) if known else 16
                return count, min(steps, trial)
        return min(self.seconds, key=lambda count: self.seconds[count]), steps

    @contextlib.contextmanager
    def measured(self, threads: int, steps: int) -> Iterator[None]:
        """Take note of how long the steps in the block take."""
        start = time.perf_counter()
        yield
        self.seconds[threads] = (time.perf_counter() - start) / steps
