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

TRIAL_SECONDS = 0.015  # of the faster count: long enough for the start of a thread not to matter
TRIALS = 3  # how many measurements of either count decide
_LEAST = 4  # steps in a call
PIECE_SECONDS = 0.1  # of the winner, after which a look at how it does
FIRST_REIGN, LONGEST_REIGN = 0.05, 1.0  # seconds until the loser is tried again, at least;
FIRST_SHARE, LARGEST_SHARE = 5, 40  # and so many times what that takes


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
        self.last = 1  # the count of the last steps
        self.is_counted = True  # whether what they take is worth noting
        # Cores that had nothing to do take some milliseconds to get going: what comes once they have.
        self.waiting: tuple[int, int] | None = None

    def next(self, threads: int | None, steps: int) -> tuple[int, int]:
        """The number of threads for the steps that come, and for how many of them."""
        if threads is not None:
            self.waiting, self.is_counted = None, True
            return threads, steps
        if self.waiting is not None and self.waiting[0] <= get_num_threads():
            count, wanted = self.waiting
            self.waiting, self.is_counted = None, True
            return count, min(steps, wanted)
        count, wanted = self._chosen(steps)
        warming = max(_LEAST, self._trial() // 2)
        self.is_counted = count <= self.last or steps < 2 * warming
        self.waiting = None if self.is_counted else (count, wanted)
        self.last = count
        return count, wanted if self.is_counted else warming

    def _chosen(self, steps: int) -> tuple[int, int]:
        most = get_num_threads()
        if most == 1 or not self.can_share:
            return 1, steps
        if self.seconds.keys() != {1, most}:
            self.seconds = {count: deque(maxlen=TRIALS) for count in (1, most)}
        fewest = min(self.seconds, key=lambda count: len(self.seconds[count]))
        if len(self.seconds[fewest]) < TRIALS:
            return fewest, min(steps, self._trial())
        best = min(self.seconds, key=lambda count: _median(self.seconds[count]))
        if best != self.chosen:
            self.chosen, self.reign, self.left = best, FIRST_REIGN, FIRST_REIGN
        if self.left <= 0:
            self.reign = min(2 * self.reign, LONGEST_REIGN)
            loser = 1 if best == most else most
            trial = self._trial()
            share = min(FIRST_SHARE * self.reign / FIRST_REIGN, LARGEST_SHARE)
            self.left = max(self.reign, share * trial * _median(self.seconds[loser]))
            return loser, min(steps, trial)
        piece = min(self.left, PIECE_SECONDS)
        return best, min(steps, max(_LEAST, int(piece / _median(self.seconds[best]))))

    def _trial(self) -> int:
        """How many steps make a measurement: as many for both counts. By what the slower one takes they would
        be so few that it were measured by the start of its threads, and never seem any faster.
        """
        known = [_median(each) for each in self.seconds.values() if each]
        return max(_LEAST, int(TRIAL_SECONDS / min(known))) if known else 16

    @contextlib.contextmanager
    def measured(self, threads: int, steps: int) -> Iterator[None]:
        """Take note of how long the steps in the block take."""
        start = time.perf_counter()
        try:
            yield
        except BaseException:
            self.waiting, self.last = None, 1
            raise
        self.note(threads, steps, time.perf_counter() - start)

    def note(self, threads: int, steps: int, taken: float) -> None:
        """So many steps took so many seconds."""
        self.left -= taken
        found = self.seconds.get(threads)
        if found is None or not self.is_counted:
            return
        if len(found) < TRIALS or threads != self.chosen or taken > TRIAL_SECONDS / 2:
            found.append(taken / steps)


def _median(found: Collection[float]) -> float:
    """The middle one; of an even number the greater of two. (`statistics` takes long to import.)"""
    return sorted(found)[len(found) // 2]
