"""Threads that work together begin on cores of their own, and helpers come back whatever happens."""

from __future__ import annotations

import importlib
import os
import threading

import pytest

pytest.importorskip("llvmlite", reason="native code needs llvmlite")

cores = importlib.import_module("rushlight.compile.cores")
crew = importlib.import_module("rushlight.compile.crew")


class System:
    """Four cores; every thread begins on the first."""

    def __init__(self, monkeypatch, allowed=(0, 1, 2, 3)):
        self.allowed, self.at, self.asked = set(allowed), threading.local(), []
        monkeypatch.setattr(cores, "current_core", lambda: getattr(self.at, "core", 0))
        monkeypatch.setattr(
            os, "sched_getaffinity", lambda _: getattr(self.at, "bound", set(self.allowed)), raising=False
        )
        monkeypatch.setattr(os, "sched_setaffinity", self.move, raising=False)

    def move(self, _, wanted):
        self.asked.append(set(wanted))
        self.at.bound = set(wanted)
        if getattr(self.at, "core", 0) not in wanted:
            self.at.core = min(wanted)


def settled(count):
    """The cores on which so many threads go on beside this one."""
    together, found = cores.Cores(), []

    def work():
        together.settle()
        found.append(cores.current_core())

    for _ in range(count):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    return found


def test_each_has_its_own_and_may_go_anywhere_later(monkeypatch):
    system = System(monkeypatch)
    assert settled(3) == [1, 2, 3]
    assert system.asked == [{1}, {0, 1, 2, 3}, {2}, {0, 1, 2, 3}, {3}, {0, 1, 2, 3}]


def test_only_cores_that_are_allowed(monkeypatch):
    System(monkeypatch, allowed=(0, 2))
    assert settled(2) == [2, 0]  # there is none left for the second


def test_a_system_that_forbids_it_or_has_no_such_call(monkeypatch):
    System(monkeypatch)

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refuse, raising=False)
    assert settled(2) == [0, 0]
    monkeypatch.setattr(cores, "current_core", None)
    together = cores.Cores()
    together.settle()


@pytest.mark.parametrize("threads", [1, 2, 3, 9])
def test_all_shares_are_done(threads):
    done = []
    for _ in range(3):
        crew.on_threads(done.append, threads)
    assert sorted(done) == sorted(3 * [*range(threads)])


def test_an_error_of_a_helper_is_raised_and_the_helper_goes_on():
    def work(thread):
        if thread == 1:
            raise ValueError("share 1")

    with pytest.raises(ValueError, match="share 1"):
        crew.on_threads(work, 2)
    done = []
    crew.on_threads(done.append, 2)
    assert sorted(done) == [0, 1]


def test_new_threads_where_the_crew_is_taken():
    done = []

    def work(thread):
        crew.on_threads(done.append, 2)

    crew.on_threads(work, 2)
    assert sorted(done) == [0, 0, 1, 1]


def test_what_strikes_on_the_way_leaves_no_crew_waiting():
    """A helper that waits for the calling thread in native code would wait for ever."""
    gone = threading.Event()

    def work(thread):
        if thread == 0:
            raise KeyboardInterrupt
        gone.wait()

    with pytest.raises(KeyboardInterrupt):
        crew.on_threads(work, 2)
    done = []
    crew.on_threads(done.append, 2)
    assert sorted(done) == [0, 1]
    gone.set()
