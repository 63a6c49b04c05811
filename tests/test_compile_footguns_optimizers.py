"""What freezes must not lie: optimizers that people write, and rates that their code reads."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

import rushlight as rl
from rushlight import nn, optim
from tests.footguns import ONE, Made, assert_refused, assert_seen


class Plain(optim.Optimizer):
    """Gradient descent as people write it."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})
        self.factor = 1.0

    @rl.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for each in group["params"]:
                each.add_(each.grad, alpha=-group["lr"] * self.factor)


class Counting(Plain):
    """Keeps a number in Python."""

    @rl.no_grad()
    def step(self, closure: Any = None) -> None:
        for each in self.param_groups[0]["params"]:
            kept = self.state[each]
            kept["n"] = kept.get("n", 0) + 1
            each.sub_(each.grad / kept["n"])


class Halving(optim.SGD):
    factor = 0.5

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            group["lr"] *= self.factor
        return super().step()


def trained(
    kind: Callable[..., Any],
    change: Callable[[Any], Any] | None,
    more: Callable[[Any, Any], Any] | None = None,
) -> Callable[[], Made]:
    """A step that trains one weight with an optimizer, and does something `more` with both."""

    def make() -> Made:
        weight = rl.zeros(1, requires_grad=True)
        optimizer = kind([weight])

        def step() -> rl.Tensor:
            optimizer.zero_grad()
            (weight - 3).square().sum().backward()
            optimizer.step()
            if more is not None:
                more(optimizer, weight)
            return weight.detach() * 1

        return step, None if change is None else lambda: change(optimizer)

    return make


def slower(optimizer: Any) -> None:
    optimizer.param_groups[0]["lr"] = 0.01


def test_optimizers_of_people() -> None:
    assert_seen(trained(Plain, slower))
    assert_seen(trained(Plain, lambda optimizer: setattr(optimizer, "factor", 3.0)))
    assert_refused(trained(Counting, None), "n changed from 1 to 2")
    assert_refused(trained(Halving, None), "lr changed")


def test_a_rate_that_the_step_reads() -> None:
    def decay(optimizer: Any, weight: rl.Tensor) -> None:
        with rl.no_grad():
            for group in optimizer.param_groups:
                for each in group["params"]:
                    each.mul_(1 - group["lr"])

    def by_default(optimizer: Any, weight: rl.Tensor) -> None:
        with rl.no_grad():
            weight.mul_(optimizer.defaults["lr"])

    def halve(optimizer: Any, weight: rl.Tensor) -> None:
        optimizer.param_groups[0]["lr"] *= 0.5

    sgd = functools.partial(optim.SGD, lr=0.1)
    assert_seen(trained(sgd, slower, decay))
    assert_seen(trained(sgd, lambda optimizer: optimizer.defaults.update(lr=0.5), by_default))
    assert_refused(trained(sgd, None, halve), "lr changed")


def test_a_rate_that_the_step_does_not_read_is_read_anew() -> None:
    """Going through groups for their parameters does not count."""

    def clip(optimizer: Any, weight: rl.Tensor) -> None:
        for group in optimizer.param_groups:
            nn.utils.clip_grad_norm_(group["params"], 1.0)

    step, change = trained(functools.partial(optim.SGD, lr=0.1), slower, clip)()
    assert change is not None
    compiled = rl.compile(step)
    for _ in range(3):
        compiled()
    change()
    compiled()
    assert repr(compiled).endswith("1 recorded>")


def test_what_a_schedule_tells() -> None:
    def make() -> Made:
        optimizer = optim.SGD([rl.zeros(1, requires_grad=True)], lr=1.0)
        schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        optimizer.step()
        return lambda: ONE * schedule.get_last_lr()[0] + schedule.last_epoch, schedule.step

    assert_seen(make)


@pytest.mark.parametrize("betas", [(0.0, 0.9), (0.9, 0.0), (0.0, 0.0)])
@pytest.mark.parametrize("kind", [optim.Adam, optim.AdamW, optim.NAdam, optim.RAdam, optim.Adamax])
def test_betas_of_zero(kind: Any, betas: tuple[float, float]) -> None:
    def change(optimizer: Any) -> None:
        optimizer.param_groups[0]["betas"] = (0.5, 0.5)

    assert_seen(trained(functools.partial(kind, lr=0.1, betas=betas), change))


def test_state_that_is_forgotten_again_and_again() -> None:
    """Each first step after that makes it anew, and is no worse for it."""
    found = []
    for wrap in (lambda step: step, rl.compile):
        weight = nn.Parameter(rl.ones(2))
        optimizer = rl.optim.Adam([weight], lr=0.1)

        def step(weight: Any = weight, optimizer: Any = optimizer) -> rl.Tensor:
            optimizer.zero_grad()
            loss = (weight * weight).sum()
            loss.backward()
            optimizer.step()
            return loss.detach()

        run = wrap(step)
        losses = []
        for number in range(8):
            if number in (1, 2, 3, 6):
                optimizer.state.clear()
            losses.append(run().item())
        found.append(losses)
    assert found[1] == pytest.approx(found[0], rel=1e-5)
