"""Threads that help: with many steps (`on_threads`), and with single ones (`HelpedCalls`).

To start a thread takes as long as some steps do, and a new one often has to be moved to a core of its own
first (see `cores`). So there is a crew, which begins once and waits. Whoever runs a single step has it come
along: each helper goes into the native function ``help``, which waits until the step's arguments are in place
and then does a thread's share of it. All meet at the end of the step, also of one that fails, so there nobody
waits for a helper to come back. Jobs of steps that never began are done at once, since a later number has. A
crew that may have been left waiting among many steps is replaced. Invariant: a crew helps with one thing at a
time, and no helper that is asked waits for something that will not begin.
"""

from __future__ import annotations

import ctypes
import functools
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight.compile.cores import Cores
from rushlight.compile.entry import order_of
from rushlight.compile.pace import Pace
from rushlight.threads import get_num_threads

STARTED = 200  # where `sync` has the number of the step that has begun; `schedule` knows the rest of it
MOST_CALLS = 1 << 10  # between two looks at how long they take
Help = Callable[[int], object]  # called with the number of a thread, from 1 on


class _Helper:
    """A thread that does one job after another."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.jobs: queue.SimpleQueue[Help] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=f"rushlight helper {number}", daemon=True).start()

    def _work(self) -> None:
        while True:
            job = self.jobs.get()
            job(self.number)
            del job  # which holds the memory of a program


class Crew:
    """Some helpers, and who has them."""

    def __init__(self) -> None:
        self._taken = threading.Lock()
        self._helpers: list[_Helper] = []

    def take(self, count: int) -> bool:
        """Have so many helpers for oneself, until `leave`; False if somebody else has them, or there can be
        no more threads.
        """
        if not self._taken.acquire(blocking=False):
            return False
        try:
            while len(self._helpers) < count:
                self._helpers.append(_Helper(len(self._helpers) + 1))
        except RuntimeError:
            self._taken.release()
            return False
        except BaseException:
            self._taken.release()
            raise
        return True

    def leave(self) -> None:
        """Let others have them."""
        self._taken.release()

    def call(self, job: Help, count: int) -> None:
        """Have so many helpers do their share of a step; for who has taken them."""
        for each in self._helpers[:count]:
            each.jobs.put(job)


_crew = Crew()


def _begin_anew() -> None:
    """Have another crew: a forked process has none of the threads."""
    global _crew
    _crew = Crew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def on_threads(work: Callable[[int], object], threads: int) -> None:
    """``work(0)``, ``work(1)``, ... at once, the first by the calling thread, the others by helpers; if there
    are none to be had, by new threads.
    """
    others = threads - 1
    if not others:
        work(0)
        return
    cores, ended = Cores(), queue.SimpleQueue[BaseException | None]()

    def help(thread: int) -> None:
        error: BaseException | None = None
        try:
            cores.settle()
            work(thread)
        except BaseException as raised:  # noqa: BLE001 - which the calling thread raises
            error = raised
        ended.put(error)

    crew, has_taken = _crew, False
    errors: list[BaseException | None] = []
    try:
        has_taken = others < (os.cpu_count() or 1) and crew.take(others)
        if has_taken:
            crew.call(help, others)
        else:
            for number in range(1, threads):
                threading.Thread(target=help, args=(number,), daemon=True).start()
        work(0)
        while len(errors) < others:
            errors.append(ended.get())
    finally:
        if has_taken and len(errors) == others:
            crew.leave()
        elif has_taken:
            # Something struck on the way, perhaps Ctrl-C: helpers may wait for this thread for ever.
            _begin_anew()
    for error in errors:
        if error is not None:
            raise error


class HelpedCalls:
    """Calls of one program, which helpers come along to if that pays.

    Args:
        alone: runs a step, on as many threads as `order` says.
        help: the address of ``help``.
        table: of addresses (see `entry`).
        sync: where threads meet.
        code: what has both functions.
    """

    def __init__(
        self, alone: Callable[..., int], help: int, table: np.ndarray, sync: np.ndarray, code: object
    ) -> None:
        self._alone, self._table, self._sync, self._code = alone, table, sync, code
        words = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
        self._help = ctypes.CFUNCTYPE(None, *words)(help)
        self._order = order_of(table)
        self._started = sync[STARTED : STARTED + 8].view(np.int64)
        self._number = 0
        self.pace = Pace(can_share=True)
        self._threads = 1  # of these calls
        self._left = self._steps = 0  # how many are to come before `pace` is asked again, and were since
        self._seconds = 0.0

    def call(self, *arguments: Any) -> int:
        """Run a step; what `alone` returns."""
        if self._left <= 0 or self._threads > get_num_threads():
            if self._steps:
                self.pace.note(self._threads, self._steps, self._seconds)
            self._threads, self._left = self.pace.next(None, MOST_CALLS)
            self._steps, self._seconds = 0, 0.0
        began = time.perf_counter()
        failed = self._called(self._threads, arguments)
        self._seconds += time.perf_counter() - began
        self._steps += 1
        self._left -= 1
        return failed

    def _called(self, threads: int, arguments: tuple[Any, ...]) -> int:
        crew, has_taken = _crew, False
        self._number += 1
        try:
            has_taken = threads > 1 and crew.take(threads - 1)
            self._order[:] = threads if has_taken else 1, self._number
            if has_taken:
                crew.call(functools.partial(self._share, self._number, threads, Cores()), threads - 1)
            return self._alone(*arguments)
        finally:
            if has_taken:
                # If this is where Ctrl-C struck, helpers may wait for a step that will not begin.
                self._number += 1
                self._started[0] = self._number
                crew.leave()

    def _share(self, number: int, threads: int, cores: Cores, thread: int) -> None:
        cores.settle()
        self._help(self._table.ctypes.data, number, thread, threads, self._sync.ctypes.data)
