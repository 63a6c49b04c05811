"""What freezes must not lie: attributes of what a step meets on its way, in loops over the members of a
module, in containers of its own, under computed names.
"""

from __future__ import annotations

import argparse
import sys
import types
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import pytest

import rushlight as rl
from rushlight import nn
from tests.footguns import ONE, Made, assert_refused, assert_seen


class Part(nn.Module):
    def __init__(self, k: float) -> None:
        super().__init__()
        self.k = k
        self.weight = nn.Parameter(rl.ones(1))


class Half(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Part(1.0), Part(2.0)
        self.norm = nn.BatchNorm1d(1)


class Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = Half(), Half()


def over_modules(net: nn.Module) -> rl.Tensor:
    total = ONE
    for each in net.modules():
        if isinstance(each, Part):
            total = total * each.k
    return total


def over_children(net: nn.Module) -> rl.Tensor:
    total = ONE
    for half in net.children():
        for name, each in half.named_children():
            if name != "norm":
                total = total * each.k
    return total


def of_a_list(parts: Iterable[Any]) -> rl.Tensor:
    total = ONE
    for each in parts:
        total = total * each.k
    return total


def in_a_list(net: nn.Module) -> rl.Tensor:
    return of_a_list([each for each in net.modules() if isinstance(each, Part)])


def of_a_layer(net: nn.Module) -> rl.Tensor:
    total = ONE
    for each in net.modules():
        if isinstance(each, nn.BatchNorm1d):
            total = total * each.momentum
    return total


def of_parameters(net: nn.Module) -> rl.Tensor:
    total = rl.zeros(1)
    for name, each in net.named_parameters():
        if "norm" not in name:
            total = total + each * each.k
    return total


def asked_of_parameters(net: nn.Module) -> rl.Tensor:
    total = rl.zeros(1)
    for each in net.parameters():
        total = total + each * getattr(each, "k", 0.5)
    return total


def asked_two_ways(net: nn.Module) -> rl.Tensor:
    total = rl.zeros(1)
    for each in net.parameters():
        try:
            total = total * each.missing
        except AttributeError:
            total = total + getattr(each, "k", 0.5)
    return total


@pytest.mark.parametrize(
    "walk",
    [
        over_modules,
        over_children,
        in_a_list,
        of_a_layer,
        of_parameters,
        asked_of_parameters,
        asked_two_ways,
    ],
)
def test_attributes_of_members(walk: Callable[[nn.Module], rl.Tensor]) -> None:
    def make() -> Made:
        net = Whole()
        if walk is of_parameters:
            for each in net.parameters():
                each.k = 1.0

        def change() -> None:
            net.left.first.k = 5.0
            net.left.first.weight.k = 5.0
            net.left.norm.momentum = 0.5

        return lambda: walk(net), change

    assert_seen(make)


@pytest.mark.parametrize("in_a_function", [False, True])
def test_modes_that_are_read_in_a_loop(in_a_function: bool) -> None:
    def turned(modules: Iterable[nn.Module]) -> None:
        for each in modules:
            each.train(not each.training)

    def make() -> Made:
        net = Whole()

        def step() -> rl.Tensor:
            if in_a_function:
                turned([*net.children()])
            else:
                for each in net.children():
                    each.train(not each.training)
            return ONE * 2

        return step, None

    assert_refused(make, "training changed")


# -- objects of other sorts ----------------------------------------------------------------------------------


class Item:
    def __init__(self, k: float = 1.0) -> None:
        self.k = k

    def scaled(self, x: rl.Tensor) -> rl.Tensor:
        return x * self.k


class Asking:
    """Has no attribute of that name, and answers nevertheless."""

    def __init__(self) -> None:
        self.found = {"k": 1.0}

    def __getattr__(self, name: str) -> float:
        return self.found[name]


class Asked(type):
    @property
    def k(cls) -> float:
        return 1.0


def computed(change: str) -> Made:
    thing = types.SimpleNamespace(part_1=Item())
    changes: dict[str, Callable[[], Any]] = {
        "attribute": lambda: setattr(thing.part_1, "k", 5.0),
        "object": lambda: setattr(thing, "part_1", Item(5.0)),
    }
    return lambda: ONE * getattr(thing, f"part_{1}").k, changes[change]


def computed_method() -> Made:
    thing = types.SimpleNamespace(part_1=Item())
    return lambda: getattr(thing, f"part_{1}").scaled(ONE), lambda: setattr(thing.part_1, "k", 5.0)


def in_a_class() -> Made:
    class Table:
        weight_1 = 1.0

    def step() -> rl.Tensor:
        return ONE * sum(getattr(Table, name) for name in dir(Table) if name.startswith("weight"))

    return step, lambda: setattr(Table, "weight_2", 4.0)


def answered() -> Made:
    thing = Asking()
    return lambda: ONE * thing.k, lambda: setattr(thing, "k", 5.0)


def of_a_metaclass() -> Made:
    thing = Asked("thing", (), {})
    Asked.k = property(lambda cls: 1.0)  # type: ignore[method-assign]
    return lambda: ONE * thing.k, lambda: setattr(Asked, "k", property(lambda cls: 5.0))


def referred_by_name() -> Made:
    thing = Item()
    table = weakref.WeakValueDictionary({"one": thing})

    def step() -> rl.Tensor:
        return ONE * table["one"].k

    return step, lambda: setattr(thing, "k", 5.0)


def in_a_namespace() -> Made:
    options = argparse.Namespace(rate=1.0)
    return lambda: ONE * (2 if "fast" in options else 1), lambda: setattr(options, "fast", True)


def by_super() -> Made:
    class Base:
        def scaled(self) -> float:
            return 1.0

    class Derived(Base):
        def scaled(self) -> float:
            return super().scaled() * 2

    thing = Derived()
    return lambda: ONE * thing.scaled(), lambda: setattr(Base, "scaled", lambda self: 5.0)


OTHERS: dict[str, Callable[[], Made]] = {
    "computed name, attribute": lambda: computed("attribute"),
    "computed name, object": lambda: computed("object"),
    "computed name, method": computed_method,
    "class": in_a_class,
    "__getattr__": answered,
    "metaclass": of_a_metaclass,
    "weak dictionary": referred_by_name,
    "argparse": in_a_namespace,
    "super": by_super,
}


@pytest.mark.parametrize("case", OTHERS)
def test_objects_that_are_met(case: str) -> None:
    assert_seen(OTHERS[case])


# -- modules that are imported when the step runs ------------------------------------------------------------


@pytest.mark.parametrize("change", ["attribute", "module", "of a package"])
def test_imports_inside_a_step(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def module(rate: float) -> types.ModuleType:
        made = types.ModuleType("settings_of_a_step")
        made.__dict__["rate"] = rate
        return made

    def make() -> Made:
        monkeypatch.setitem(sys.modules, "settings_of_a_step", module(1.0))
        monkeypatch.setitem(sys.modules, "package_of_a_step.settings", module(1.0))
        monkeypatch.setitem(sys.modules, "package_of_a_step", types.ModuleType("package_of_a_step"))
        source = "from .settings import rate" if change == "of a package" else "import settings_of_a_step"
        value = "rate" if change == "of a package" else "settings_of_a_step.rate"
        space = {"ONE": ONE, "__package__": "package_of_a_step", "__name__": "package_of_a_step.steps"}
        exec(f"def step():\n    {source}\n    return ONE * {value}", space)
        changes: dict[str, Callable[[], Any]] = {
            "attribute": lambda: setattr(sys.modules["settings_of_a_step"], "rate", 5.0),
            "module": lambda: sys.modules.update({"settings_of_a_step": module(5.0)}),
            "of a package": lambda: setattr(sys.modules["package_of_a_step.settings"], "rate", 5.0),
        }
        return space["step"], changes[change]  # type: ignore[return-value]

    assert_seen(make)


class Gated(nn.Module):
    """Asks modules under computed names whether they are to be used."""

    def __init__(self) -> None:
        super().__init__()
        self.part_1 = Part(1.0)

    def forward(self, x: rl.Tensor) -> rl.Tensor:
        return x * 2 if getattr(self, f"part_{1}").k > 2 else x


def test_modules_under_computed_names() -> None:
    def make() -> Made:
        net = Gated()
        return lambda: net(ONE), lambda: setattr(net.part_1, "k", 5.0)

    assert_seen(make)


def test_methods_that_an_optimizer_gets() -> None:
    def make() -> Made:
        weight = nn.Parameter(rl.ones(1))
        optimizer = rl.optim.SGD([weight], lr=0.1)

        def step() -> rl.Tensor:
            optimizer.zero_grad()
            loss = (weight * weight).sum()
            loss.backward()
            optimizer.step()
            return weight.grad.clone()

        return step, lambda: setattr(optimizer, "zero_grad", lambda: None)

    assert_seen(make)
