"""Work in a thread beside a command's own."""

from __future__ import annotations

import sys
import threading

import pytest

from rushlight.cli.background import SWITCH_SECONDS, Background


def test_the_thread_has_ended_at_the_end_of_the_block() -> None:
    """Whether or not its result was asked for, and after an error in the block."""
    before = sys.getswitchinterval()
    go = threading.Event()
    done: list[bool] = []

    def work() -> None:
        go.wait(10)
        done.append(True)

    with pytest.raises(KeyError), Background(work) as outer, Background(lambda: 1):
        assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
        assert not done
        go.set()
        raise KeyError
    assert done and not outer.thread.is_alive()
    assert sys.getswitchinterval() == pytest.approx(before)


def test_an_error_is_raised_where_the_result_is_asked_for() -> None:
    """And nowhere else."""
    with Background(lambda: 1 // 0) as wrong:
        pass
    with pytest.raises(ZeroDivisionError):
        wrong.result()
