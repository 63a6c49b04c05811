"""What freezes must not lie: methods, code, classes and namespaces that are replaced, as a notebook
does whose cell is run again.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Callable
from typing import Any

import pytest

import rushlight as rl
from rushlight import nn
from tests.footguns import ONE, Made, assert_seen


def replaced(what: str) -> Made:
    """A step that has one of everything, and a change of one thing in it."""

    class Root:
        def base(self) -> float:
            return 1.0

    class Other(Root):
        def base(self) -> float:
            return 5.0

    class Thing(Root):
        k = 2.0

        def method(self) -> float:
            return self.k

        def __getitem__(self, _: int) -> float:
            return 1.0

    class Fives(Thing):
        def method(self) -> float:
            return 5.0

    class Layer(nn.Module):
        def forward(self, x: rl.Tensor) -> rl.Tensor:
            return x * 2

    class Deeper(Layer):
        def forward(self, x: rl.Tensor) -> rl.Tensor:
            return super().forward(x)

    class Stack(nn.Sequential):
        """Has no forward of its own."""

    class Doubling(rl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: rl.Tensor) -> rl.Tensor:
            return x * 2

    def factor(by: float = 1.0, *, more: float = 1.0) -> float:
        return by * more

    def five(by: float = 1.0, *, more: float = 1.0) -> float:
        return 5.0

    thing, layer, stack = Thing(), Layer(), Stack(Deeper())

    def step() -> rl.Tensor:
        x = stack(layer(ONE)) * thing.method() * thing[0] * thing.base() * factor()
        return Doubling.apply(x)

    changes: dict[str, Callable[[], Any]] = {
        "forward": lambda: setattr(Layer, "forward", lambda self, x: x * 5),
        "forward of a base": lambda: setattr(Layer, "forward", lambda self, x: x * 7),
        "forward where there was none": lambda: setattr(Stack, "forward", lambda self, x: x * 5),
        "forward of an object": lambda: setattr(layer, "forward", lambda x: x * 5),
        "forward's code": lambda: setattr(Layer.forward, "__code__", (lambda self, x: x * 5).__code__),
        "forward of a function": lambda: setattr(Doubling, "forward", staticmethod(lambda ctx, x: x * 5)),
        "method": lambda: setattr(Thing, "method", lambda self: 5.0),
        "special method": lambda: setattr(Thing, "__getitem__", lambda self, _: 5.0),
        "method of a base": lambda: setattr(Root, "base", lambda self: 5.0),
        "class of an object": lambda: setattr(thing, "__class__", Fives),
        "class of a module": lambda: setattr(layer, "__class__", Stack),
        "dictionary of an object": lambda: setattr(thing, "__dict__", {"k": 5.0}),
        "dictionary of a module": lambda: setattr(
            layer, "__dict__", {**vars(layer), "forward": lambda x: x * 5}
        ),
        "bases": lambda: setattr(Thing, "__bases__", (Other,)),
        "code": lambda: setattr(factor, "__code__", five.__code__),
        "defaults": lambda: setattr(factor, "__defaults__", (5.0,)),
        "keyword defaults": lambda: factor.__kwdefaults__.update(more=5.0),
        "all keyword defaults": lambda: setattr(factor, "__kwdefaults__", {"more": 5.0}),
    }
    return step, changes[what]


@pytest.mark.parametrize(
    "what",
    [
        "forward",
        "forward of a base",
        "forward where there was none",
        "forward of an object",
        "forward's code",
        "forward of a function",
        "method",
        "special method",
        "method of a base",
        "class of an object",
        "class of a module",
        "dictionary of an object",
        "dictionary of a module",
        "bases",
        "code",
        "defaults",
        "keyword defaults",
        "all keyword defaults",
    ],
)
def test_what_is_replaced(what: str) -> None:
    assert_seen(lambda: replaced(what))


def test_the_forward_of_a_layer_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, before = nn.Linear(1, 1), nn.Linear.forward
    step = rl.compile(lambda x: layer(x))
    plain = [step(ONE).item() for _ in range(3)][-1]
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: before(self, x) * 2)
    assert step(ONE).item() == 2 * plain


def test_the_code_of_the_step() -> None:
    def plain(x: rl.Tensor) -> rl.Tensor:
        return x * 2

    def other(x: rl.Tensor) -> rl.Tensor:
        return x * 5

    step = rl.compile(plain)
    assert [step(ONE).item() for _ in range(3)] == [2.0] * 3
    plain.__code__ = other.__code__
    assert step(ONE).item() == 5.0


def test_objects_whose_dictionary_is_made_up_are_left_alone() -> None:
    class Proxy:
        def __init__(self) -> None:
            object.__setattr__(self, "of", types.SimpleNamespace(k=2.0))

        @property
        def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
            return {"k": self.of.k}

        def __getattr__(self, name: str) -> float:
            return getattr(object.__getattribute__(self, "of"), name)

    proxy = Proxy()
    step = rl.compile(lambda x: x * proxy.k)
    assert [step(ONE).item() for _ in range(4)] == [2.0] * 4
    assert repr(step).endswith("1 recorded>")


def test_the_line_is_the_users() -> None:
    """Not one of Python's own, through which it went."""
    step = rl.compile(lambda x: copy.deepcopy(x))
    with pytest.raises(RuntimeError, match=r"(?s)deepcopy.*test_compile_footguns_replaced.py"):
        step(ONE)


def test_attributes_of_a_function_hide_no_methods() -> None:
    def plain(x: rl.Tensor) -> rl.Tensor:
        return x * plain.k

    plain.k, plain.keep, plain.code = 2.0, 1, None
    step = rl.compile(plain)
    assert [step(ONE).item() for _ in range(3)] == [2.0] * 3 and step.k == 2.0
    assert "mul" in step.code()
    plain.k = 5.0
    assert step(ONE).item() == 5.0
