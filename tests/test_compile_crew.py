"""Helpers of single steps: the same bits whoever helps, and nobody waits when a step does not begin."""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import threading
import time

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.fit.step import plain_step
from rushlight.nn import functional as F

pytest.importorskip("llvmlite", reason="native code needs llvmlite")

crew = importlib.import_module("rushlight.compile.crew")
llvm = importlib.import_module("rushlight.compile.llvm")
BATCH = 48


@pytest.fixture(autouse=True)
def for_all(monkeypatch):
    """Helpers for smaller steps than are worth it, compiled anew."""
    monkeypatch.setenv("RUSHLIGHT_CACHE", "0")
    monkeypatch.setattr(importlib.import_module("rushlight.compile.plan"), "WORTH_HELP", 100_000)


@pytest.fixture
def on_threads(monkeypatch):
    """Have all single steps use so many threads, whichever number were the fastest."""

    def choose(threads):
        monkeypatch.setattr(crew.Pace, "next", lambda self, given, steps: (threads, steps))

    return choose


@pytest.fixture
def helped(monkeypatch):
    """How many threads each step had that the crew came along to."""
    found, real = [], crew.Crew.call

    def call(self, job, count):
        found.append(count + 1)
        return real(self, job, count)

    monkeypatch.setattr(crew.Crew, "call", call)
    monkeypatch.setattr(crew, "get_num_threads", lambda: 64)
    return found


def training(seed=0, dropout=0.2):
    rl.manual_seed(seed)
    model = nn.Sequential(nn.Linear(200, 320), nn.ReLU(), nn.Dropout(dropout), nn.Linear(320, 10))
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    return model, rl.compile(plain_step(model, F.cross_entropy, optimizer))


def batches(count=6):
    rng = np.random.default_rng(0)
    for _ in range(count):
        x = rng.standard_normal((BATCH, 200)).astype(np.float32)
        yield rl.from_numpy(x), rl.from_numpy(rng.integers(0, 10, BATCH))


def ends(seed=0, dropout=0.2):
    return run(*training(seed, dropout))


def run(model, step):
    losses = [step(x, y).item() for x, y in batches()]
    return losses, [each.detach().numpy().copy() for each in model.parameters()]


def assert_same(found, expected):
    assert found[0] == expected[0]
    for mine, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_any_number_of_threads_gives_the_same_bits(on_threads, helped, threads):
    on_threads(1)
    expected = ends()
    assert not helped
    on_threads(threads)
    assert_same(ends(), expected)
    assert helped and set(helped) == {threads}


def test_steps_at_once_do_not_wait_for_each_other(on_threads, helped):
    on_threads(2)
    seeds = range(3)
    expected = [ends(seed, dropout=0.0) for seed in seeds]
    made, found = [training(seed, dropout=0.0) for seed in seeds], {}
    threads = [
        threading.Thread(target=lambda seed=seed: found.update({seed: run(*made[seed])})) for seed in seeds
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(timeout=60)
        assert not each.is_alive()
    for seed in seeds:
        assert_same(found[seed], expected[seed])
    assert helped


def test_a_step_that_does_not_begin_leaves_no_helper_waiting(on_threads, helped, monkeypatch):
    on_threads(1)
    expected = ends()
    on_threads(2)
    struck = []
    real_init = crew.HelpedCalls.__init__

    def init(self, alone, *given):
        def strike(*arguments):
            if len(struck) < 20:
                struck.append(self)
                raise KeyboardInterrupt
            return alone(*arguments)

        real_init(self, strike, *given)

    monkeypatch.setattr(crew.HelpedCalls, "__init__", init)
    model, step = training()
    losses = []
    for x, y in batches():
        while True:
            state = rl.get_rng_state()
            try:
                losses.append(step(x, y).item())
                break
            except KeyboardInterrupt:
                rl.set_rng_state(state)
    assert len(struck) == 20
    assert_same((losses, [each.detach().numpy() for each in model.parameters()]), expected)


@pytest.mark.parametrize("threads", [2, 4])
def test_a_step_that_fails(on_threads, helped, threads):
    """Also with more threads than cores, of which some learn late that it has."""
    on_threads(threads)
    model, step = training()
    given = list(batches())
    for x, y in given[:3]:
        step(x, y)
    x, y = given[3]
    before = model[0].weight.detach().numpy().copy()
    for _ in range(30):
        with pytest.raises(IndexError, match="out of bounds"):
            step(x, rl.where(rl.arange(BATCH) == 7, 10, y))
    np.testing.assert_array_equal(model[0].weight.detach().numpy(), before)
    step(x, y)
    assert (model[0].weight.detach().numpy() != before).any()
    assert len(helped) >= 3


def ends_in_time(child):
    """What a forked process ends with."""
    for _ in range(600):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the forked process hangs")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_has_helpers_of_its_own(on_threads, helped):
    on_threads(1)
    expected = ends()
    on_threads(2)
    assert_same(ends(), expected)
    child = os.fork()
    if not child:
        code = 1
        faulthandler.dump_traceback_later(45)  # where it hangs, if it does
        try:
            assert_same(ends(), expected)
            code = 0 if crew._crew._helpers else 2
        finally:
            os._exit(code)
    assert ends_in_time(child) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_process_forked_while_another_thread_is_inside_llvm():
    """As helpers are when they let go of a program."""
    text = "\n".join(f"define i32 @f{i}(i32 %x) {{ %y = add i32 %x, {i} ret i32 %y }}" for i in range(2000))
    ended = threading.Event()

    def work():
        while not ended.is_set():
            llvm.object_code(text)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(3):
            time.sleep(0.1)
            child = os.fork()
            if not child:
                code = 1
                faulthandler.dump_traceback_later(45)
                try:
                    llvm.object_code("define void @f() { ret void }")
                    code = 0
                finally:
                    os._exit(code)
            assert ends_in_time(child) == 0
    finally:
        ended.set()
        thread.join()


def test_programs_that_go_while_helpers_come_back(on_threads, helped):
    on_threads(2)
    x = rl.randn(160, 160)
    expected = (x @ x).relu()
    for _ in range(60):
        step = rl.compile(lambda a: (a @ a).relu())
        for _ in range(3):
            found = step(x)
        del step
        assert rl.equal(found, found) and rl.allclose(found, expected, atol=1e-4)
    assert helped


def test_a_crew_that_cannot_grow(on_threads, helped, monkeypatch):
    on_threads(1)
    expected = ends()
    on_threads(3)

    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(crew, "_crew", crew.Crew())
    monkeypatch.setattr(threading.Thread, "start", start)
    assert_same(ends(), expected)
    assert not helped


def test_small_steps_have_none(on_threads, helped):
    on_threads(2)
    rl.manual_seed(0)
    model = nn.Linear(200, 10)
    step = rl.compile(plain_step(model, F.cross_entropy, optim.SGD(model.parameters(), lr=0.1)))
    for x, y in batches():
        step(x, y)
    assert not helped
    assert "one in a call" in str(step.explain())
    _, step = training()
    for x, y in batches(3):
        step(x, y)
    assert "threads: in a call and in step.over() up to" in str(step.explain())
