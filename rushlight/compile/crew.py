"""Threads that help with single steps.

`run_many` starts threads for thousands of steps. To start one for a single step would take as long as some
steps do, so there is a crew, which begins once and waits. Whoever runs a step has it come along: each helper
goes into the native function ``help``, which waits until the step's arguments are in place and then does a
thread's share of it. All meet at the end of the step, so nobody waits for a helper to come back. Invariant: a
crew helps with one step at a time, and no helper waits for a step that will not begin.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight.compile.pace import Pace

STARTED = 200  # where `sync` has the number of the last step that was begun with helpers
Help = Callable[[int], object]  # called with the number of a thread, from 1 on


class _Helper:
    """A thread that waits for something to do."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._job: Help | None = None
        self._bell = threading.Lock()
        self._bell.acquire()
        threading.Thread(target=self._work, name=f"rushlight helper {number}", daemon=True).start()

    def call(self, job: Help) -> None:
        """Have it do something, when it is done with what it does."""
        self._job = job
        self._bell.release()

    def _work(self) -> None:
        while True:
            self._bell.acquire()
            job, self._job = self._job, None
            if job is not None:
                job(self.number)
            del job  # which holds the memory of a program


class Crew:
    """Some helpers, and who has them."""

    def __init__(self) -> None:
        self._taken = threading.Lock()
        self._helpers: list[_Helper] = []

    def take(self) -> bool:
        """Have the crew for oneself, until `leave`; False if somebody else has it."""
        return self._taken.acquire(blocking=False)

    def leave(self) -> None:
        """Let others have it."""
        self._taken.release()

    def call(self, job: Help, count: int) -> None:
        """Have so many helpers do their share of a step; for who has taken the crew."""
        while len(self._helpers) < count:
            self._helpers.append(_Helper(len(self._helpers) + 1))
        for each in self._helpers[:count]:
            each.call(job)


_crew = Crew()


def _begin_anew() -> None:
    """A forked process has none of the threads."""
    global _crew
    _crew = Crew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


class HelpedCalls:
    """Calls of one program, which the crew comes along to if that pays.

    Args:
        alone: runs a step, on as many threads as the table says.
        help: the address of ``help``.
        table: its last two numbers are the number of threads and that of the step.
        sync: where threads meet.
        code: what has both functions.
    """

    def __init__(
        self, alone: Callable[..., int], help: int, table: np.ndarray, sync: np.ndarray, code: object
    ) -> None:
        self._alone, self._table, self._sync, self._code = alone, table, sync, code
        words = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
        self._help = ctypes.CFUNCTYPE(None, *words)(help)
        self._started = sync[STARTED : STARTED + 8].view(np.int64)
        self._number = 0
        self.pace = Pace(can_share=True)

    def call(self, *arguments: Any) -> int:
        """Run a step; what `alone` returns."""
        threads, _ = self.pace.next(None, 1)
        crew = _crew
        if threads > 1 and not crew.take():
            return self._alone(*arguments)
        try:
            with self.pace.measured(threads, 1):
                if threads == 1:
                    return self._alone(*arguments)
                return self._with(crew, threads, arguments)
        finally:
            if threads > 1:
                crew.leave()

    def _with(self, crew: Crew, threads: int, arguments: tuple[Any, ...]) -> int:
        self._number += 1
        self._table[-2:] = threads, self._number
        try:
            crew.call(functools.partial(self._share, self._number, threads), threads - 1)
            return self._alone(*arguments)
        finally:
            # If this is where Ctrl-C struck, helpers may wait for a step that will not begin.
            self._number += 1
            self._started[0] = self._number
            self._table[-2:] = 1, self._number

    def _share(self, number: int, threads: int, thread: int) -> None:
        self._help(self._table.ctypes.data, number, thread, threads, self._sync.ctypes.data)
