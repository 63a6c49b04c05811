"""What freezes must not lie: values that a step reaches through functions that are only found when they run,
through optimizers, iterators, generators of random numbers, and arrays of NumPy's.
"""

from __future__ import annotations

import collections
import functools
import itertools
import random
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.compile.record import RecordingError
from rushlight.utils.data import DataLoader, TensorDataset

ONE = rl.ones(1)
Made = tuple[
    Callable[[], rl.Tensor], Callable[[], Any] | None
]  # a step, and what is done before its fourth call


def ends(make: Callable[[], Made], compiled: bool) -> list[list[float]]:
    """What five calls return."""
    rl.manual_seed(0)
    step, change = make()
    step = rl.compile(step) if compiled else step
    found = []
    for turn in range(5):
        if turn == 3 and change is not None:
            change()
        found.append(step().detach().reshape(-1).tolist())
    return found


def assert_seen(make: Callable[[], Made]) -> None:
    """Compiled calls return what plain ones do; the change makes a difference."""
    found = ends(make, False)
    assert found[3] != found[2]
    np.testing.assert_allclose(ends(make, True), found, rtol=1e-6)


def assert_refused(make: Callable[[], Made], match: str) -> None:
    with pytest.raises(RecordingError, match=match):
        ends(make, True)


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


# -- optimizers ----------------------------------------------------------------------------------------------


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
@pytest.mark.parametrize("size", [3, 100])
def test_arrays_that_change(use: Callable[[np.ndarray], rl.Tensor], size: int) -> None:
    if size > 64 and use(np.ones(size, np.float32)).item() == 1.0:
        pytest.skip("elements that Python takes from long arrays are not watched")

    def make() -> Made:
        array = np.ones(size, np.float32)
        return lambda: use(array), lambda: array.fill(5)

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
