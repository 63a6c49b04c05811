"""What freezes must not lie: what lists and dictionaries of modules and parameters have in them, and in which
order; methods and classes that are replaced; what functions of autograd close over.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest

import rushlight as rl
from rushlight import nn
from tests.footguns import ONE, Made, assert_seen


class Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(rl.full((1,), factor))

    def forward(self, x: rl.Tensor) -> rl.Tensor:
        return x * self.factor


class Net(nn.Module):
    """Goes through members of all sorts."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Scale(2.0), Scale(3.0)])
        self.heads = nn.ModuleDict({"a": Scale(1.5)})
        self.scales = nn.ParameterList([rl.full((1,), 1.25)])
        self.named = nn.ParameterDict({"b": rl.full((1,), 0.5)})
        self.row = nn.Sequential(Scale(2.0), nn.Tanh())

    def forward(self, x: rl.Tensor) -> rl.Tensor:
        for layer in self.layers:
            x = layer(x) + 1
        for head in self.heads.values():
            x = head(x) + 1
        for factor in (*self.scales, *self.named.values()):
            x = x * factor
        return self.row(x / 8)


CHANGES: dict[str, Callable[[Net], Any]] = {
    "append": lambda net: net.layers.append(Scale(5.0)),
    "extend": lambda net: net.layers.extend([Scale(5.0)]),
    "insert": lambda net: net.layers.insert(0, Scale(5.0)),
    "pop": lambda net: net.layers.pop(0),
    "del": lambda net: net.layers.__delitem__(0),
    "replace": lambda net: net.layers.__setitem__(0, Scale(5.0)),
    "dictionary": lambda net: net.heads.__setitem__("c", Scale(5.0)),
    "update": lambda net: net.heads.update({"a": Scale(5.0)}),
    "parameter": lambda net: net.scales.append(rl.full((1,), 5.0)),
    "parameters": lambda net: net.named.update({"c": rl.full((1,), 5.0)}),
    "sequence": lambda net: net.row.append(Scale(5.0)),
    "exchange": lambda net: net.row._modules.update({"0": net.row[1], "1": net.row[0]}),
    "order": lambda net: net.row._modules.update({"0": net.row._modules.pop("0")}),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("how", ["module", "step"])
def test_members_that_change(change: str, how: str) -> None:
    def make() -> Made:
        net = Net()
        step: Any = (lambda: net(ONE)) if how == "step" else (lambda forward=net: forward(ONE))
        return step, lambda: CHANGES[change](net)

    assert_seen(make)


def test_members_of_a_compiled_module() -> None:
    net = Net()
    compiled = rl.compile(net)
    for change in ("append", "replace", "dictionary", "parameter", "sequence"):
        for _ in range(2):
            assert compiled(ONE).item() == pytest.approx(net(ONE).item(), rel=1e-5)
        CHANGES[change](net)
    assert compiled(ONE).item() == pytest.approx(net(ONE).item(), rel=1e-5)


@pytest.mark.parametrize(
    "through",
    [
        lambda net: sum(each.sum() for each in net.parameters()),
        lambda net: sum(each.sum() for _, each in net.named_parameters()),
        lambda net: sum(each.factor.sum() for each in net.layers.children()),
        lambda net: sum(each.factor.sum() for each in net.modules() if isinstance(each, Scale)),
    ],
)
def test_members_that_are_only_gone_through(through: Callable[[Net], rl.Tensor]) -> None:
    def make() -> Made:
        net = Net()
        return lambda: through(net) * ONE, lambda: net.layers.append(Scale(5.0))

    assert_seen(make)


# -- order ---------------------------------------------------------------------------------------------------


def weighed(table: Any) -> rl.Tensor:
    total = rl.zeros(1)
    for value in table.values():
        total = total * 2 + value
    return total


@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_the_order_of_a_dictionary(kind: Any) -> None:
    def make() -> Made:
        table = kind(a=1.0, b=5.0)
        return lambda: weighed(table), lambda: table.update(a=table.pop("a"))

    assert_seen(make)


def test_the_order_of_named_arguments() -> None:
    step = rl.compile(lambda **named: weighed(named))
    for _ in range(3):
        assert step(a=ONE, b=ONE * 5).item() == 7
        assert step(b=ONE * 5, a=ONE).item() == 11


# -- classes and functions -----------------------------------------------------------------------------------


def test_a_forward_that_is_defined_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> Made:
        class Own(nn.Module):
            def forward(self, x: rl.Tensor) -> rl.Tensor:
                return x * 2

        module = Own()
        return lambda: module(ONE), lambda: setattr(Own, "forward", lambda self, x: x * 5)

    assert_seen(make)


def test_a_module_of_another_class() -> None:
    class Other(Scale):
        def forward(self, x: rl.Tensor) -> rl.Tensor:
            return x - self.factor

    def make() -> Made:
        module = Scale(3.0)
        return lambda: module(ONE), lambda: setattr(module, "__class__", Other)

    assert_seen(make)


def test_what_functions_of_autograd_close_over() -> None:
    strength = 1.0

    class Reversed(rl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: rl.Tensor) -> rl.Tensor:
            return x * strength

        @staticmethod
        def backward(ctx: Any, grad: rl.Tensor) -> rl.Tensor:
            return -strength * grad

    step = rl.compile(lambda x: Reversed.apply(x).sum())
    for strength in (1.0, 1.0, 2.0, 3.0):
        x = rl.ones(1, requires_grad=True)
        total = step(x)
        total.backward()
        assert x.grad is not None
        assert (total.item(), x.grad.item()) == (strength, -strength)
