"""What freezes must not lie: variables of functions that only the library calls, attributes whose names are
computed, and what is replaced behind Python's names: code, classes, whole namespaces.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import operator
import types
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import rushlight as rl
from rushlight import nn
from tests.footguns import ONE, Made, assert_seen

# -- functions that nothing names ---------------------------------------------------------------------------


def reverse(values: dict[str, float], where: str) -> Any:
    """A function of autograd that closes over a dictionary."""

    class Reverse(rl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: rl.Tensor) -> rl.Tensor:
            return x * values["k"] if where == "forward" else x * 1

        @staticmethod
        def backward(ctx: Any, grad: rl.Tensor) -> rl.Tensor:
            return grad * (values["k"] if where == "backward" else 3)

    return Reverse


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("where", ["forward", "backward"])
def test_what_functions_of_autograd_close_over(where: str, inside: bool) -> None:
    values = {"k": 1.0}
    function = reverse(values, where)

    def plain(x: rl.Tensor) -> rl.Tensor:
        y = function.apply(x)
        if inside:
            y.sum().backward()
        return y

    def run(step: Any) -> list[tuple[float, float]]:
        found = []
        for each in (1.0, 1.0, 2.0, 3.0, 3.0):
            values["k"], x = each, rl.ones(1, requires_grad=True)
            y = step(x)
            if not inside:
                y.sum().backward()
            assert x.grad is not None
            found.append((y.item(), x.grad.item()))
        return found

    assert run(rl.compile(plain)) == run(plain)


def test_a_variable_that_a_function_of_autograd_closes_over() -> None:
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


def made(values: dict[str, float]) -> Any:
    """An object whose special method closes over a dictionary."""

    class Made:
        def __getitem__(self, _: int) -> float:
            return values["k"]

    return Made()


def multiply(values: dict[str, float]) -> Callable[[rl.Tensor], rl.Tensor]:
    return lambda x: x * values["k"]


def test_what_special_methods_close_over() -> None:
    def make() -> Made:
        values = {"k": 1.0}
        thing = made(values)
        return lambda: ONE * thing[0], lambda: values.update(k=5.0)

    assert_seen(make)


def test_one_of_several_functions_of_the_same_code() -> None:
    def make() -> Made:
        tables = [{"k": 1.0}, {"k": 2.0}]
        functions = [multiply(each) for each in tables]
        chosen = weakref.ref(functions[1])

        def change() -> None:
            functions[0], tables[1]["k"] = functions[1], 5.0

        return lambda: chosen()(ONE), change  # type: ignore[misc]

    assert_seen(make)


def test_functions_that_are_chosen_by_type() -> None:
    def make() -> Made:
        @functools.singledispatch
        def chosen(kind: Any, x: rl.Tensor) -> rl.Tensor:
            return x

        return lambda: chosen(3, ONE), lambda: chosen.register(int, lambda kind, x: x * 5)

    assert_seen(make)


def test_functions_that_the_step_makes_are_its_own() -> None:
    def step(x: rl.Tensor) -> rl.Tensor:
        count = 0

        def add(part: rl.Tensor) -> rl.Tensor:
            nonlocal count
            count += 1
            return x * count + part

        return add(add(x))

    compiled = rl.compile(step)
    for _ in range(3):
        assert compiled(ONE).item() == 4.0
    assert repr(compiled).endswith("1 recorded>")


# -- computed names ------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Inner:
    rate: float = 1.0


@dataclasses.dataclass
class Config:
    scale: float = 2.0
    alpha_1: float = 1.0
    parts: list[float] = dataclasses.field(default_factory=lambda: [1.0])
    inner: Inner = dataclasses.field(default_factory=Inner)


class Slotted:
    __slots__ = ("alpha_1", "scale")

    def __init__(self) -> None:
        self.scale, self.alpha_1 = 2.0, 1.0


class Shared:
    """Has its settings in the class."""

    scale, alpha_1 = 2.0, 1.0


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale, self.alpha_1 = 2.0, 1.0

    def forward(self, x: rl.Tensor) -> rl.Tensor:
        for number in range(1, 2):
            x = x * getattr(self, f"alpha_{number}")
        return x


class Weights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.alpha_1 = nn.Parameter(rl.ones(1))

    def forward(self, x: rl.Tensor) -> rl.Tensor:
        return x * sum(getattr(self, f"alpha_{number}", 0.0) for number in range(1, 3))


def matched(config: Any) -> float:
    match config:
        case Config(_, found):
            return found
    return 0.0


NAMES = ["alpha_1"]
READS: dict[str, Callable[[Any], float]] = {
    "getattr": lambda config: sum(getattr(config, name) for name in NAMES),
    "f-string": lambda config: getattr(config, f"al{'pha'}_{1}"),
    "attrgetter": lambda config: operator.attrgetter("_".join(["alpha", "1"]))(config),
    "vars": lambda config: vars(config)["_".join(["alpha", "1"])],
    "values": lambda config: list(vars(config).values())[1],
    "__dict__": lambda config: list(config.__dict__.values())[1],
    "**": lambda config: (lambda alpha_1, **_: alpha_1)(**vars(config)),
    "asdict": lambda config: list(dataclasses.asdict(config).values())[1],
    "astuple": lambda config: dataclasses.astuple(config)[1],
    "another name": lambda config: list(in_a_dictionary(config).values())[1],
    "replace": lambda config: list(dataclasses.asdict(dataclasses.replace(config, scale=9.0)).values())[1],
    "copy": lambda config: list(dataclasses.asdict(copy.copy(config)).values())[1],
    "fields": lambda config: [getattr(config, each.name) for each in dataclasses.fields(config)][1],
    "getmembers": lambda config: dict(inspect.getmembers(config))["".join(["alpha", "_1"])],
    "match": matched,
}
in_a_dictionary = dataclasses.asdict


@pytest.mark.parametrize("read", READS)
def test_computed_names(read: str) -> None:
    def make() -> Made:
        config = Config()
        return lambda: ONE * READS[read](config), lambda: setattr(config, "alpha_1", 5.0)

    assert_seen(make)


@pytest.mark.parametrize("read", ["getattr", "f-string", "getmembers"])
@pytest.mark.parametrize("kind", [Slotted, Shared, lambda: Shared, Layer, types.SimpleNamespace])
def test_computed_names_of_other_objects(read: str, kind: Callable[[], Any]) -> None:
    def make() -> Made:
        Shared.alpha_1 = 1.0
        config = kind()
        if kind is types.SimpleNamespace:
            config.scale, config.alpha_1 = 2.0, 1.0
        owner = Shared if kind is Shared else config
        return lambda: ONE * READS[read](config), lambda: setattr(owner, "alpha_1", 5.0)

    assert_seen(make)


@pytest.mark.parametrize("what", ["part", "inner"])
@pytest.mark.parametrize("read", ["asdict", "astuple", "vars"])
def test_what_is_in_attributes_of_computed_names(what: str, read: str) -> None:
    reads: dict[str, Callable[[Any], Any]] = {
        "asdict": lambda config: list(dataclasses.asdict(config).values())[2:],
        "astuple": lambda config: dataclasses.astuple(config)[2:],
        "vars": lambda config: [each for name, each in vars(config).items() if name in ("parts", "inner")],
    }

    def total(config: Any) -> float:
        parts, inner = reads[read](config)
        values = inner.values() if isinstance(inner, dict) else inner if isinstance(inner, tuple) else None
        return sum(parts) + sum([inner.rate] if values is None else values)

    def make() -> Made:
        config = Config()

        def change() -> None:
            if what == "part":
                config.parts[0] = 5.0
            else:
                config.inner.rate = 5.0

        return lambda: ONE * total(config), change

    assert_seen(make)


@pytest.mark.parametrize("change", ["number", "new", "order", "module", "parameter", "new parameter"])
def test_computed_names_change_in_other_ways(change: str) -> None:
    def make() -> Made:
        config, layer, weights = types.SimpleNamespace(a=1.0, b=2.0), Layer(), Weights()

        def folded() -> rl.Tensor:
            x = ONE
            for each in vars(config).values():
                x = x * 2 + each
            return weights(layer(x))

        def changed() -> None:
            if change == "number":
                config.a = 5.0
            elif change == "new":
                config.c = 5.0
            elif change == "order":
                del config.a
                config.a = 1.0
            elif change == "module":
                layer.alpha_1 = 5.0
            elif change == "parameter":
                weights.alpha_1 = nn.Parameter(rl.full((1,), 5.0))
            else:
                weights.alpha_2 = nn.Parameter(rl.full((1,), 5.0))

        return folded, changed

    assert_seen(make)


def test_names_that_stand_in_the_code_are_not_computed() -> None:
    """What else an object has may change at every call."""

    class Trainer:
        def __init__(self) -> None:
            self.scale, self.calls = 2.0, 0

        def step(self, x: rl.Tensor) -> rl.Tensor:
            return x * getattr(self, "scale", 1.0) * (2.0 if hasattr(self, "late") else 1.0)

    trainer = Trainer()
    step = rl.compile(trainer.step)
    for _ in range(4):
        trainer.calls += 1
        assert step(ONE).item() == 2.0
    assert repr(step).endswith("1 recorded>")
