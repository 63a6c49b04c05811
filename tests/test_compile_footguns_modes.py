"""Steps that put modules into training or evaluation mode, and steps that would be recorded anew for ever."""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn
from rushlight.utils.data import DataLoader, TensorDataset
from tests.footguns import ONE, Made, assert_seen

Net = nn.Module


class Frozen(nn.Module):
    """Keeps a part in evaluation mode, as people do with norms."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm, self.drop = nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)

    def forward(self, x: rl.Tensor) -> rl.Tensor:
        return self.drop(self.norm(self.layer(x))) * (2 if self.training else 3)

    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        self.norm.eval()
        return self


KINDS: dict[str, Callable[[], Net]] = {
    "library": lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)),
    "own": Frozen,
    "both": lambda: nn.Sequential(Frozen(), nn.Dropout(0.5)),
}


def steps_of(net: Net, wrap: Callable[[Any], Any]) -> tuple[Any, Any]:
    """A step that trains and one that tests, each of which says so itself."""
    optimizer = rl.optim.SGD(net.parameters(), lr=0.01)

    def train(x: rl.Tensor) -> rl.Tensor:
        net.train()
        loss = net(x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    def test(x: rl.Tensor) -> rl.Tensor:
        net.eval()
        with rl.no_grad():
            return net(x).sum()

    return wrap(train), wrap(test)


def modes(net: Net) -> list[bool]:
    return [each.training for each in net.modules()]


@pytest.mark.parametrize("kind", KINDS)
def test_training_and_testing_in_turn(kind: str) -> None:
    def run(wrap: Callable[[Any], Any]) -> tuple[list[Any], tuple[Any, Any]]:
        rl.manual_seed(0)
        net = KINDS[kind]()
        train, test = steps_of(net, wrap)
        found: list[Any] = []
        for number in range(12):
            x = rl.randn(4, 3)
            found.append((train(x).item(), modes(net)))
            if number == 8:
                net.eval()
            if number % 3:
                found.append((test(x).item(), modes(net)))
            if number == 9:
                net.train()
        return found, (train, test)

    (plain, _), (compiled, made) = run(lambda step: step), run(rl.compile)
    for (one, before), (other, after) in zip(plain, compiled, strict=True):
        assert one == pytest.approx(other, rel=1e-4) and before == after
    assert all(1 <= each.latest().number <= 2 for each in made)


def test_a_mode_for_a_moment() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))

    def plain(x: rl.Tensor) -> rl.Tensor:
        net.eval()
        found = net(x)
        net.train()
        return found + net(x)

    for begin in (True, False):
        found = []
        for step in (plain, rl.compile(plain)):
            rl.manual_seed(0)
            for _ in range(3):
                net.train(begin)
                found.append(step(rl.ones(2, 3)).flatten().tolist())
                assert modes(net) == [True] * 3
        for one, other in zip(found[:3], found[3:], strict=True):
            assert one == pytest.approx(other, rel=1e-5)


def test_modes_that_are_read_first_are_relied_on() -> None:
    def make() -> Made:
        rl.manual_seed(0)
        net = nn.Dropout(0.5)

        def step() -> rl.Tensor:
            found = net(rl.ones(20))
            net.eval()
            return found + net(rl.ones(20))

        return step, net.train

    assert_seen(make)


def test_modules_that_come_later_are_put_into_the_mode() -> None:
    net = nn.Sequential(nn.Linear(1, 1))

    def plain(x: rl.Tensor) -> rl.Tensor:
        net.eval()
        return net(x)

    step = rl.compile(plain)
    for _ in range(3):
        net.train()
        step(ONE)
    net.append(nn.Dropout(0.5)).train()
    assert step(ONE).tolist() == plain(ONE).tolist()
    assert modes(net) == [False] * 3


def test_modes_over_a_loader() -> None:
    loader = DataLoader(TensorDataset(rl.randn(12, 3)), batch_size=4)
    net = KINDS["library"]()
    train, test = steps_of(net, rl.compile)
    for _ in range(3):
        train.over(loader)
        assert all(modes(net))
        found = test.over(loader)
        assert not any(modes(net))
        with rl.no_grad():
            assert found.tolist() == pytest.approx([net(x).sum().item() for (x,) in loader], rel=1e-4)
    assert train.latest().number <= 2 and test.latest().number == 1


# -- recorded for ever ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["attribute", "variable", "list"])
def test_what_changes_at_every_call(way: str) -> None:
    config, values, count = types.SimpleNamespace(k=0), [0], 0
    ways: dict[str, Callable[[rl.Tensor], rl.Tensor]] = {
        "attribute": lambda x: x * config.k,
        "variable": lambda x: x * count,
        "list": lambda x: x * values[0],
    }
    step = rl.compile(ways[way], recompile_limit=12)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for count in range(1, 30):
            config.k = values[0] = count
            assert step(ONE).item() == count
    assert len(said) == 1 and "has been recorded 12 times" in str(said[0].message)
    assert step.made == 12


@pytest.mark.parametrize("kind", ["number", "range", "slice"])
def test_values_that_are_made_anew_for_every_call(kind: str) -> None:
    kinds: dict[str, tuple[Callable[[int], Any], Callable[[Any], Any]]] = {
        "number": (np.float32, lambda given: given),
        "range": (lambda number: range(number, 4), lambda given: sum(given)),
        "slice": (lambda number: slice(number, 4), lambda given: rl.arange(4.0)[given].sum()),
    }
    make, use = kinds[kind]
    step = rl.compile(lambda x, given: x * use(given))
    for number in (1, 1, 1, 2, 2, 1):
        assert step(ONE, make(number)).item() == (ONE * use(make(number))).item()
    assert step.made == 2
