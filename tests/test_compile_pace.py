"""How many threads a program gets."""

import pytest

import rushlight as torch
from rushlight.compile import pace


class Machine:
    """A clock that goes on by what steps take on it, and what was run: (threads, steps) in order. It goes on
    by `start` as well where other threads join one that worked alone.
    """

    def __init__(self, monkeypatch, seconds, start=0.0):
        self.now, self.seconds, self.start, self.runs = 0.0, seconds, start, []
        monkeypatch.setattr(pace.time, "perf_counter", lambda: self.now)

    def run(self, chooser, steps):
        """So many steps, as a native program runs them."""
        while steps:
            threads, some = chooser.next(None, steps)
            with chooser.measured(threads, some):
                self.now += some * self.seconds[threads]
                if threads > 1 and (not self.runs or self.runs[-1][0] == 1):
                    self.now += self.start
            self.runs.append((threads, some))
            steps -= some

    def share(self, threads, since=0):
        """Which part of the steps so many threads ran."""
        steps = sum(some for _, some in self.runs[since:])
        return sum(some for count, some in self.runs[since:] if count == threads) / steps


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("seconds", [{1: 3e-3, 2: 2e-3}, {1: 2e-5, 2: 5e-5}, {1: 0.5, 2: 0.4}])
def test_the_quicker_count_runs_nearly_all(monkeypatch, two_threads, seconds):
    machine, chooser = Machine(monkeypatch, seconds), pace.Pace(can_share=True)
    best = min(seconds, key=seconds.get)
    for _ in range(100):
        machine.run(chooser, max(1, int(0.1 / seconds[best])))
    assert machine.share(best, since=len(machine.runs) // 2) > 0.7
    assert {count for count, _ in machine.runs} == {1, 2}


def test_a_machine_that_changes_is_followed(monkeypatch, two_threads):
    machine, chooser = Machine(monkeypatch, {1: 3e-3, 2: 2e-3}), pace.Pace(can_share=True)
    machine.run(chooser, 1000)
    assert machine.share(2) > 0.8
    machine.seconds = {1: 3e-3, 2: 9e-3}
    machine.run(chooser, 400)
    before = len(machine.runs)
    machine.run(chooser, 1000)
    assert machine.share(1, since=before) > 0.8


def test_one_thread_where_nothing_is_shared_or_allowed(two_threads):
    assert pace.Pace(can_share=False).next(None, 7) == (1, 7)
    assert pace.Pace(can_share=True).next(2, 7) == (2, 7)
    torch.set_num_threads(1)
    assert pace.Pace(can_share=True).next(None, 7) == (1, 7)


def test_cores_that_take_their_time_to_get_going(monkeypatch, two_threads):
    """A second thread pays, but for the first milliseconds after one thread had worked alone."""
    machine = Machine(monkeypatch, {1: 2e-4, 2: 1.2e-4}, start=0.01)
    chooser = pace.Pace(can_share=True)
    for _ in range(20):
        machine.run(chooser, 800)
    assert machine.share(2, since=len(machine.runs) // 2) > 0.8


def test_fewer_threads_at_once(two_threads):
    chooser = pace.Pace(can_share=True)
    for _ in range(4):
        if chooser.waiting is None:
            chooser.next(None, 1000)
        if chooser.waiting is None:
            chooser.note(1, 1, 3e-3)
    assert chooser.waiting is not None
    torch.set_num_threads(1)
    assert chooser.next(None, 1000) == (1, 1000)
