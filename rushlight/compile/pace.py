"""How many threads a program gets: as many as turn out to be fastest.

A second thread halves the time on an idle machine and wastes it on a busy one, where threads wait for each
other at every barrier. Since results do not depend on the number of threads, `Pace` just tries: one thread
and all threads in turns, several times, since a machine has moods; then the better one, and the other again
from time to time, the more seldom the more often it has lost. Invariant: never more threads than
`get_num_threads` says.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Collection, Iterator

from rushlight.threads import get_num_threads

TRIAL_SECONDS = 0.005  # long enough for the start of a thread not to matter
TRIALS = 3  # how many measurements of either count decide
_LEAST = 4  # steps in a call
FIRST_REIGN, LONGEST_REIGN = 0.05, 1.0  # seconds until the loser is tried again


class Pace:
    """Chooses the number of threads for one program.

    Args:
        can_share: whether any part of the program is split among threads.
    """

    def __init__(self, can_share: bool) -> None:
        self.can_share = can_share
        self.seconds: dict[int, deque[float]] = {}  # for a step, the last few, by number of threads
        self.chosen = 0  # the count that won last
        self.reign = FIRST_REIGN
        self.left = 0.0  # of its reign, in seconds

    def next(self, threads: int | None, steps: int) -> tuple[int, int]:
        """The number of threads for the steps that come, and for how many of them."""
        if threads is not None:
            return threads, steps
        most = get_num_threads()
        if most == 1 or not self.can_share:
            return 1, steps
        if self.seconds.keys() != {1, most}:
            self.seconds = {count: deque(maxlen=TRIALS) for count in (1, most)}
        fewest = min(self.seconds, key=lambda count: len(self.seconds[count]))
        if len(self.seconds[fewest]) < TRIALS:
            return fewest, min(steps, self._trial(fewest))
        best = min(self.seconds, key=lambda count: _median(self.seconds[count]))
        if best != self.chosen:
            self.chosen, self.reign, self.left = best, FIRST_REIGN, FIRST_REIGN
        if self.left <= 0:
            self.reign = min(2 * self.reign, LONGEST_REIGN)
            loser = 1 if best == most else most
            trial = self._trial(loser)
            self.left = max(self.reign, 10 * trial * _median(self.seconds[loser]))
            return loser, min(steps, trial)
        return best, min(steps, max(_LEAST, int(self.left / _median(self.seconds[best]))))

    def _trial(self, count: int) -> int:
        """How many steps make a measurement: by what this count took before, for threads that wait for each
        other may take ten times as long; cautiously if it was never tried.
        """
        found = self.seconds[count]
        known = found or [4 * each for others in self.seconds.values() for each in others]
        return max(_LEAST, int(TRIAL_SECONDS / _median(known))) if known else 16

    @contextlib.contextmanager
    def measured(self, threads: int, steps: int) -> Iterator[None]:
        """Take note of how long the steps in the block take."""
        start = time.perf_counter()
        yield
        self.note(threads, steps, time.perf_counter() - start)

    def note(self, threads: int, steps: int, taken: float) -> None:
        """So many steps took so many seconds."""
        self.left -= taken
        found = self.seconds.get(threads)
        if found is None:
            return
        if len(found) < TRIALS or threads != self.chosen or taken > TRIAL_SECONDS / 2:
            found.append(taken / steps)


def _median(found: Collection[float]) -> float:
    """The middle one; of an even number the greater of two. (`statistics` takes long to import.)"""
    return sorted(found)[len(found) // 2]
