"""`compile(..., check=N)` finds out where a program and the plain step part."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.compile.checking import CheckError
from rushlight.nn import functional as F
from rushlight.optim import lr_scheduler
from tests.footguns import batches, compare, flat, small_model


def training(wrap: Callable[[Any], Any]) -> Any:
    """What a run with dropout, statistics, momentum and a schedule leaves."""
    rl.manual_seed(1)
    model = small_model(nn.Dropout(0.3), nn.BatchNorm1d(4))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.9)

    def step(x: rl.Tensor, y: rl.Tensor) -> Any:
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
        return loss, x.mul_(0.5)

    run = wrap(step)
    results = []
    for number, (x, y) in enumerate(batches(8)):
        if number % 3 == 0:
            optimizer.zero_grad()
        results += flat(run(x, y)) + flat(x)
    state = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    grads = [p.grad.numpy().copy() for p in model.parameters()]
    assert scheduler.last_epoch == 8
    return results, state, grads, rl.get_rng_state().tolist()


def test_a_checked_run_leaves_what_a_run_leaves() -> None:
    """The plain step beside it leaves no trace."""
    plain = training(lambda step: step)
    for count, backend in ((1, "replay"), (3, "inductor"), (100, "replay")):
        compare(
            training(
                lambda step, count=count, backend=backend: rl.compile(step, check=count, backend=backend)
            ),
            plain,
            1e-4,
        )
    model = rl.compile(small_model(), check=2)
    x = batches(1)[0][0]
    for _ in range(4):
        model(x).sum().backward()


class Hidden:
    """A number that the guards cannot see: Python's library keeps it."""

    def __init__(self) -> None:
        self.is_three = threading.Event()

    def read(self) -> float:
        """The number."""
        return 3.0 if self.is_three.is_set() else 2.0


def test_what_was_frozen_is_found_with_its_line() -> None:
    """A number the guards cannot see has changed: the check names the op and the line."""
    hidden = Hidden()

    def step(x: rl.Tensor) -> rl.Tensor:
        y = x.exp()
        return y * hidden.read()

    run = rl.compile(step, check=2)
    assert run(rl.zeros(2)).tolist() == run(rl.zeros(2)).tolist() == [2.0, 2.0]
    hidden.is_three.set()
    with pytest.raises(CheckError, match=r"(?s)differs .* in result 0: .*mul\(.*test_compile_check\.py:\d+"):
        run(rl.zeros(2))
    assert run(rl.zeros(2)).tolist() == [2.0, 2.0]  # that was the last call to be checked


def test_a_state_that_differs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that computes wrongly: the parameter, its gradient, and the op."""
    for what, name in (("weight", "0.weight"), ("grad", "the gradient of 0.weight")):
        model = nn.Sequential(nn.Linear(2, 1))
        optimizer = optim.SGD(model.parameters(), lr=0.5)

        def step(
            x: rl.Tensor, model: nn.Module = model, optimizer: Any = optimizer, what: str = what
        ) -> None:
            optimizer.zero_grad()
            model(x).sum().backward()
            if what == "weight":
                optimizer.step()

        run = rl.compile(step, check=5, backend="replay")
        run(rl.ones(1, 2))
        run(rl.ones(1, 2))
        (made,) = {
            id(each): each for each in run.all_recordings() if not each.unfit([rl.ones(1, 2)])
        }.values()
        program, before = made.executor, made.executor.run

        def wrong(arrays: Any, program: Any = program, before: Any = before, made: Any = made) -> Any:
            found = before(arrays)
            for _, array in made.changed_arrays([]):
                array += 1
            for look in made.program.kept:
                program.memory.view(look)[...] += 1
            return found

        monkeypatch.setattr(program, "run", wrong)
        weight = model[0].weight.detach().clone()
        with pytest.raises(CheckError, match=rf"in {name}.*[Rr]un op by op with NumPy .* it does not differ"):
            run(rl.ones(1, 2))
        np.testing.assert_array_equal(model[0].weight.detach().numpy(), weight.numpy())


def test_a_negative_number_of_checks_is_refused() -> None:
    """By name."""
    with pytest.raises(ValueError, match="check=-1"):
        rl.compile(lambda x: x, check=-1)
