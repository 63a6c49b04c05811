"""What freezes must not lie: values that a step reaches through functions that are only found when they run,
through iterators, generators of random numbers, and arrays of NumPy's.
"""

from __future__ import annotations

import array
import collections
import functools
import gc
import itertools
import random
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn
from rushlight.compile.record import RecordingError
from rushlight.utils.data import DataLoader, TensorDataset
from tests.footguns import ONE, Made, assert_refused, assert_seen


def setting(value: float = 1.0) -> types.SimpleNamespace:
    return types.SimpleNamespace(k=value)


def scaled(config: Any, x: rl.Tensor) -> rl.Tensor:
    return x * config.k


def doubled(module: nn.Module, x: rl.Tensor) -> rl.Tensor:
    return x * 2 if module.training else x


# -- modules -------------------------------------------------------------------------------------------------


class Dropping(nn.Dropout):
    """A layer that calls the one it is made of."""

    def forward(self, x: rl.Tensor) -> rl.Tensor:
        return super().forward(x) * 2


class Normal(nn.BatchNorm1d):
    def forward(self, x: rl.Tensor) -> rl.Tensor:
        return super().forward(x)


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.k, self.act = 1.0, rl.relu

    def forward(self, x: rl.Tensor) -> rl.Tensor:
        return self.act(x * self.k)

    def encode(self, x: rl.Tensor) -> rl.Tensor:
        return x * self.k


class Derived(Base):
    def forward(self, x: rl.Tensor) -> rl.Tensor:
        return super().forward(x)


class Several(nn.Module):
    """Calls methods of the modules in a list."""

    def __init__(self, by_number: bool) -> None:
        super().__init__()
        self.by_number, self.parts = by_number, nn.ModuleList([Base(), Base()])

    def forward(self, x: rl.Tensor) -> rl.Tensor:
        if self.by_number:
            return self.parts[0].encode(x)
        for each in self.parts:
            x = each.encode(x)
        return x


@pytest.mark.parametrize("kind", [Dropping, Normal])
def test_a_layer_that_calls_the_one_it_is_made_of_sees_eval(kind: type) -> None:
    def make() -> Made:
        module, x = kind(0.5 if kind is Dropping else 3), rl.arange(12.0).reshape(4, 3)
        return lambda: module(x), module.eval

    assert_seen(make)


@pytest.mark.parametrize("name", ["k", "act"])
def test_attributes_that_a_base_class_reads(name: str) -> None:
    def make() -> Made:
        module = Derived()
        return lambda: module(ONE), lambda: setattr(module, name, {"k": 5.0, "act": rl.neg}[name])

    assert_seen(make)


@pytest.mark.parametrize("by_number", [True, False])
def test_methods_of_modules_in_a_list(by_number: bool) -> None:
    def make() -> Made:
        module = Several(by_number)
        return lambda: module(ONE), lambda: setattr(module.parts[0], "k", 5.0)

    assert_seen(make)


def test_modules_given_to_a_function() -> None:
    def make() -> Made:
        module = nn.Identity()
        return lambda: doubled(module, ONE), module.eval

    assert_seen(make)


# -- objects -------------------------------------------------------------------------------------------------


class Trainer:
    def __init__(self) -> None:
        self.config, self.loss = setting(), lambda x, config: x * config.k

    def step(self) -> rl.Tensor:
        return self.loss(ONE, self.config)


def test_objects_given_to_functions() -> None:
    def make() -> Made:
        config = setting()
        return lambda: scaled(config, ONE), lambda: setattr(config, "k", 5.0)

    def make_trainer() -> Made:
        trainer = Trainer()
        return trainer.step, lambda: setattr(trainer.config, "k", 5.0)

    assert_seen(make)
    assert_seen(make_trainer)


def test_what_a_function_changes_in_an_object() -> None:
    def make() -> Made:
        config = setting()

        def bump(config: Any) -> float:
            config.k += 1
            return config.k

        return lambda: ONE * bump(config), None

    assert_refused(make, "k changed from ")


class Special:
    """Python calls its methods by other names."""

    def __init__(self) -> None:
        self.k = 1.0

    def __call__(self, x: rl.Tensor) -> rl.Tensor:
        return x * self.k

    def __getitem__(self, _: int) -> float:
        return self.k

    def __len__(self) -> int:
        return int(self.k)

    def __mul__(self, other: rl.Tensor) -> rl.Tensor:
        return other * self.k

    def __bool__(self) -> bool:
        return self.k > 2

    def __iter__(self) -> Any:
        return iter([self.k])

    def __float__(self) -> float:
        return self.k

    def __contains__(self, value: float) -> bool:
        return value == self.k


USES: dict[str, Callable[[Any], rl.Tensor]] = {
    "call": lambda special: special(ONE),
    "item": lambda special: ONE * special[0],
    "len": lambda special: ONE * len(special),
    "mul": lambda special: special * ONE,
    "bool": lambda special: ONE * 2 if special else ONE,
    "iter": lambda special: ONE * sum(special),
    "float": lambda special: ONE * float(special),
    "contains": lambda special: ONE * (5.0 in special),
    "getattr": lambda special: ONE * getattr(special, "k"),  # noqa: B009
}


@pytest.mark.parametrize("use", USES)
def test_special_methods(use: str) -> None:
    def make() -> Made:
        special, used = Special(), USES[use]
        return lambda: used(special), lambda: setattr(special, "k", 5.0)

    assert_seen(make)


@pytest.mark.parametrize("what", ["set", "keyword", "attribute of a function", "attribute of a list"])
def test_rarer_places(what: str) -> None:
    class Named(list[float]):
        k = 1.0

    def make() -> Made:
        members, named = {1.0, 2.0}, Named([1.0])
        partial = functools.partial(lambda x, k: x * k, k=1.0)
        named.k = 1.0

        def own() -> rl.Tensor:
            return ONE * own.k  # type: ignore[attr-defined]

        own.k = 1.0  # type: ignore[attr-defined]
        step: Any = {
            "set": lambda: ONE * sum(members),
            "keyword": lambda: partial(ONE),
            "attribute of a function": own,
            "attribute of a list": lambda: ONE * named.k,
        }[what]

        def change() -> None:
            members.symmetric_difference_update({2.0, 7.0})
            partial.keywords["k"] = own.k = named.k = 5.0  # type: ignore[attr-defined]

        return step, change

    assert_seen(make)


SOURCES = [
    "def step(x):\n    return {'loss': x.sum()}\n",
    "def step(x):\n    found = Result(x.sum())\n    return {'loss': found.loss}\n",
]


@pytest.mark.parametrize("source", SOURCES)
def test_texts_and_attributes_are_no_variables(source: str) -> None:
    """A part of what a step returns is not the variable of that name, in which people put it."""
    namespace: dict[str, Any] = {"Result": collections.namedtuple("Result", ["loss"]), "__name__": "people"}
    exec(source, namespace)
    step = rl.compile(namespace["step"])
    for value in range(5):
        namespace["loss"] = step(rl.full((2,), float(value)))["loss"]
        assert namespace["loss"].item() == 2 * value
    assert repr(step).endswith("1 recorded>")


def test_attributes_are_not_asked_for() -> None:
    """An object that makes attributes up is not asked for ones it does not have."""

    class Loose:
        def __init__(self) -> None:
            self.values = {"k": 1.0}

        def __getattr__(self, name: str) -> float:
            return self.values[name]

    def make() -> Made:
        loose = Loose()
        return lambda: ONE * loose.k, lambda: loose.values.update(k=5.0)

    assert_seen(make)


def test_callbacks_of_the_garbage_collector_are_not_the_step() -> None:
    """They run whenever it pleases, and count things."""
    namespace: dict[str, Any] = {"__name__": "somebodys", "collections": 0}
    exec("def count(phase, info):\n    global collections\n    collections += 1\n", namespace)
    gc.callbacks.append(namespace["count"])
    try:
        step = rl.compile(lambda x: (gc.collect(), x * 2)[1])
        for _ in range(3):
            assert step(ONE).item() == 2.0
    finally:
        gc.callbacks.remove(namespace["count"])
    assert namespace["collections"] >= 2


def test_a_profiler_stays_in_place() -> None:
    events: list[str] = []
    profiler = lambda frame, event, _: events.append(event)  # noqa: E731
    step = rl.compile(lambda x: x + 1)
    sys.setprofile(profiler)
    try:
        step(ONE)
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(None)
    assert events
    step = rl.compile(lambda x: x + 1)
    step(ONE)
    assert sys.getprofile() is None


# -- streams -------------------------------------------------------------------------------------------------

ITERATORS: dict[str, Callable[[], Any]] = {
    "count": lambda: itertools.count(1),
    "generator": lambda: (rl.ones(1) * i for i in range(9)),
    "list_iterator": lambda: iter([1.0, 2.0, 3.0]),
    "Iterator": lambda: (each for (each,) in iter(DataLoader(TensorDataset(rl.arange(6.0))))),
}


@pytest.mark.parametrize("kind", ITERATORS)
def test_iterators_are_refused(kind: str) -> None:
    def make() -> Made:
        iterator = ITERATORS[kind]()
        return lambda: ONE * next(iterator), None

    assert_refused(make, "reaches an iterator that was made outside")


def test_a_queue_that_is_emptied_is_refused() -> None:
    def make() -> Made:
        queue = collections.deque([1.0, 2.0, 3.0])
        return lambda: ONE * queue.popleft(), None

    assert_refused(make, "something was removed from queue")


def rewound() -> rl.Tensor:
    state = rl.get_rng_state()
    found = rl.rand(1)
    rl.set_rng_state(state)
    return found


def forked() -> rl.Tensor:
    with rl.random.fork_rng():
        return rl.rand(1)


def seeded() -> rl.Tensor:
    rl.manual_seed(3)
    return rl.rand(1)


@pytest.mark.parametrize(
    "step",
    [
        seeded,
        rewound,
        forked,
        lambda: rl.rand(1, generator=rl.Generator().manual_seed(0)),
        lambda: ONE * rl.initial_seed(),
    ],
)
def test_streams_that_are_set_or_asked_for_are_refused(step: Callable[[], rl.Tensor]) -> None:
    assert_refused(lambda: (step, None), "(?s)inside a compiled step.*test_compile_footguns_reached.py")


@pytest.mark.parametrize(
    "generator",
    [lambda: np.random.default_rng(0), lambda: random.Random(0), lambda: np.random.RandomState(0)],
)
def test_draws_from_generators_of_others_are_refused(generator: Callable[[], Any]) -> None:
    def make() -> Made:
        draws = generator()
        return lambda: ONE * float(draws.normal() if hasattr(draws, "normal") else draws.random()), None

    assert_refused(make, "draws from a .* of its own")


# -- arrays and containers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda array: rl.tensor(array).sum(),
        lambda array: ONE * float(array[0]),
        lambda array: ONE * array[0],
        lambda array: rl.from_numpy(array).sum(),
    ],
)
@pytest.mark.parametrize("size", [3, 100, 1000])
def test_arrays_that_change(use: Callable[[np.ndarray], rl.Tensor], size: int) -> None:
    def make() -> Made:
        array = np.ones(size, np.float32)
        return lambda: use(array), lambda: array.fill(5)

    assert_seen(make)


@pytest.mark.parametrize("size", [3, 100, 1000])
@pytest.mark.parametrize(
    "kind", [list, bytearray, functools.partial(array.array, "d"), lambda given: dict(enumerate(given))]
)
def test_numbers_in_containers_that_change(kind: Callable[[list[int]], Any], size: int) -> None:
    def make() -> Made:
        numbers = kind([1] * size)
        return lambda: ONE * numbers[0], lambda: numbers.__setitem__(0, 5)

    assert_seen(make)


def test_a_long_list_as_a_tensor() -> None:
    def make() -> Made:
        weights = [1.0] * 100
        return lambda: rl.tensor(weights).sum(), lambda: weights.__setitem__(99, 5.0)

    assert_seen(make)


# -- what is not there yet -----------------------------------------------------------------------------------


class Lazy(nn.Module):
    """Does without attributes until they come."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def forward(self, x: rl.Tensor) -> rl.Tensor:
        if self.way == "try":
            try:
                return x * self.late
            except AttributeError:
                return x
        if self.way == "hasattr":
            return x * self.late if hasattr(self, "late") else x
        if self.way == "vars":
            return x * vars(self).get("late", 1.0)
        return x * getattr(self, "late", 1.0)


@pytest.mark.parametrize("way", ["try", "hasattr", "getattr", "vars"])
def test_attributes_of_modules_that_come_later(way: str) -> None:
    def make() -> Made:
        module = Lazy(way)
        return lambda: module(ONE), lambda: setattr(module, "late", 5.0)

    assert_seen(make)


@pytest.mark.parametrize("way", ["try", "hasattr", "getattr"])
def test_attributes_of_objects_that_come_later(way: str) -> None:
    def make() -> Made:
        config = types.SimpleNamespace(other=1.0)

        def tried() -> rl.Tensor:
            try:
                return ONE * config.late
            except AttributeError:
                return ONE * 1

        ways = {
            "try": tried,
            "hasattr": lambda: ONE * config.late if hasattr(config, "late") else ONE * 1,
            "getattr": lambda: ONE * getattr(config, "late", 1.0),
        }
        return ways[way], lambda: setattr(config, "late", 5.0)

    assert_seen(make)


@pytest.mark.parametrize("way", ["try", "globals"])
def test_global_variables_that_come_later(way: str, request: pytest.FixtureRequest) -> None:
    request.addfinalizer(lambda: globals().pop("LATE", None))

    def tried() -> rl.Tensor:
        try:
            return ONE * LATE  # type: ignore[name-defined]
        except NameError:
            return ONE * 1

    def make() -> Made:
        globals().pop("LATE", None)
        step = tried if way == "try" else lambda: ONE * globals().get("LATE", 1.0)
        return step, lambda: globals().__setitem__("LATE", 5.0)

    assert_seen(make)


def test_containers_that_were_given_are_not_changed() -> None:
    step = rl.compile(lambda given: given.__setitem__("new", given["x"] * 2))
    with pytest.raises(RecordingError, match="changes a dict that it was given"):
        step({"x": ONE})
    step = rl.compile(lambda given: given.append(given[0] * 2))
    with pytest.raises(RecordingError, match="changes a list that it was given"):
        step([ONE])
    step = rl.compile(lambda given: given["deep"].append(1))
    with pytest.raises(RecordingError, match="changes a list that it was given"):
        step({"deep": [ONE]})
