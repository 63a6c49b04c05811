"""The short way to the recording that ran last: taken where it may be, and never where it may not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn
from rushlight.compile.compiled import CompiledFunction
from rushlight.compile.guards import Guards


@pytest.fixture
def long_way(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The arguments of the calls that went the long way."""
    seen: list[Any] = []
    plain = CompiledFunction._call

    def noted(self: CompiledFunction, args: Any, kwargs: Any) -> Any:
        seen.append(args)
        return plain(self, args, kwargs)

    monkeypatch.setattr(CompiledFunction, "_call", noted)
    return seen


def test_calls_that_are_alike_go_the_short_way(long_way: list[Any]) -> None:
    model = nn.Linear(3, 2)
    compiled = rl.compile(model)
    data = rl.rand(8, 3)
    with rl.no_grad():
        for start in range(4):
            x = data[start : start + 4]  # a view, and not always the same one
            assert rl.allclose(compiled(x), model(x))
    assert len(long_way) == 2, "the recording, and the first call that finds it"


def test_so_do_training_steps(long_way: list[Any]) -> None:
    weight = nn.Parameter(rl.ones(3))
    optimizer = rl.optim.SGD([weight], lr=0.1, momentum=0.9)

    @rl.compile
    def step(x: rl.Tensor, scale: int) -> rl.Tensor:
        optimizer.zero_grad()
        loss = (x * weight * scale).sum()
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(6):
        step(rl.ones(3), 2)
    assert len(long_way) == 3, "the state is made, the recording, and the first call that finds it"
    weight.requires_grad_(False)
    with pytest.raises(RuntimeError, match="does not require grad"):
        step(rl.ones(3), 2)


# One after the other: each differs from the one before, and comes twice.
CALLS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "plain": lambda: (rl.ones(2, 2), 1),
    "shape": lambda: (rl.ones(4, 1), 1),
    "strides": lambda: (rl.tensor([[1.0, 2.0], [3.0, 4.0]]).t(), 1),
    "expanded": lambda: (rl.tensor([[1.0, 2.0]]).expand(2, 2), 1),
    "type": lambda: (rl.ones(2, 2, dtype=rl.float64), 1),
    "grad": lambda: (rl.ones(2, 2, requires_grad=True), 1),
    "view that requires grad": lambda: (rl.ones(4, 2, requires_grad=True)[:2], 1),
    "class": lambda: (nn.Parameter(rl.ones(2, 2)), 1),
    "number": lambda: (rl.ones(2, 2), 2),
    "type of number": lambda: (rl.ones(2, 2), 1.0),
    "truth": lambda: (rl.ones(2, 2), True),
    "a tensor": lambda: (rl.ones(2, 2), rl.full((2, 2), 3.0)),
    "nothing": lambda: (rl.ones(2, 2), None),
    "one argument": lambda: (rl.ones(2, 2),),
    "more arguments": lambda: (rl.ones(2, 2), 1, 2),
    "not a tensor": lambda: (5.0, 1),
    "a tuple": lambda: ((rl.ones(2, 2), rl.ones(2, 2)), 1),
}


def test_whatever_differs_is_seen() -> None:
    def function(x: Any, factor: Any = 3, more: Any = 0) -> Any:
        x = x[0] + x[1] if isinstance(x, tuple) else x
        return (x * (7 if factor is None else factor) + more, type(factor) is bool)

    compiled = rl.compile(function)
    for _ in range(2):
        for make in CALLS.values():
            for _ in range(3):
                args = make()
                (ours, ours_bool), (theirs, theirs_bool) = compiled(*args), function(*args)
                assert (type(ours), ours_bool) == (type(theirs), theirs_bool)
                if isinstance(theirs, rl.Tensor):
                    assert (ours.dtype, ours.requires_grad) == (theirs.dtype, theirs.requires_grad)
                    np.testing.assert_array_equal(ours.detach().numpy(), theirs.detach().numpy())


def test_one_tensor_for_two_arguments_is_not_two_tensors() -> None:
    step = rl.compile(lambda a, b: a.requires_grad + (a is b) + a * b)
    a, b = rl.full((2,), 2.0), rl.full((2,), 3.0)
    for _ in range(3):
        assert step(a, b).tolist() == [6.0, 6.0]
    for _ in range(3):
        assert step(a, a).tolist() == [5.0, 5.0]
    assert step(a, b).tolist() == [6.0, 6.0]


def test_arguments_by_name_are_theirs() -> None:
    step = rl.compile(lambda a, b: a - b)
    a, b = rl.full((2,), 2.0), rl.full((2,), 3.0)
    for _ in range(3):
        assert step(a, b).tolist() == [-1.0, -1.0]
        assert step(b=a, a=b).tolist() == [1.0, 1.0]
        assert step(a, b=b).tolist() == [-1.0, -1.0]


@pytest.mark.parametrize("part", [lambda w: w, lambda w: w.detach(), lambda w: w.detach()[1:3]])
def test_an_argument_in_memory_that_the_step_changes(part: Callable[[rl.Tensor], rl.Tensor]) -> None:
    """A program would read it before or after its own writes, the plain step in the order of its lines."""

    def trained(compiled: bool) -> list[float]:
        state = rl.arange(4.0)

        def step(x: rl.Tensor) -> rl.Tensor:
            state.add_(1)
            return x * 2

        run = rl.compile(step) if compiled else step
        shape = part(state).shape
        for _ in range(3):
            run(rl.ones(shape))
        return [*run(part(state)).tolist(), *run(rl.ones(shape)).tolist(), *state.tolist()]

    assert trained(compiled=True) == trained(compiled=False)


def test_what_the_step_relies_on_is_looked_at_each_time() -> None:
    class Settings:
        scale = 2.0
        offsets = [1.0, 2.0]

    settings = Settings()
    bonus = 1.0

    def function(x: rl.Tensor) -> rl.Tensor:
        return x * settings.scale + settings.offsets[0] + bonus

    compiled = rl.compile(function)
    x = rl.ones(2)

    def agrees() -> None:
        for _ in range(3):
            assert compiled(x).tolist() == function(x).tolist()

    agrees()
    Settings.scale = 3.0
    agrees()
    settings.scale = 5.0
    agrees()
    settings.offsets[0] = 4.0
    agrees()
    Settings.offsets = [7.0, 8.0]
    agrees()
    bonus = 2.0
    agrees()


def test_attributes_of_an_object_hide_those_of_its_class() -> None:
    class Model(nn.Module):
        scale = 2.0

        def forward(self, x: rl.Tensor) -> rl.Tensor:
            return self.twice(x) * self.scale

        @classmethod
        def twice(cls, x: rl.Tensor) -> rl.Tensor:
            return x * 2

    model = Model()
    compiled = rl.compile(model)
    changes: list[tuple[str, Any]] = [
        ("scale", 5.0),
        ("twice", lambda x: x * 3),
        ("forward", lambda x: x - 1),
    ]
    for name, value in changes:
        for _ in range(3):
            assert compiled(rl.ones(2)).tolist() == model(rl.ones(2)).tolist()
        setattr(model, name, value)
    for _ in range(3):
        assert compiled(rl.ones(2)).tolist() == [0.0, 0.0]


def test_slots_and_properties_are_attributes_too() -> None:
    class Settings:
        __slots__ = ("scale",)

        def __init__(self) -> None:
            self.scale = 2.0

        @property
        def double(self) -> float:
            return self.scale * 2

    settings = Settings()
    compiled = rl.compile(lambda x: x * settings.double)
    for scale in (2.0, 3.0):
        settings.scale = scale
        for _ in range(3):
            assert compiled(rl.ones(2)).tolist() == [2 * scale] * 2


def test_a_descriptor_is_asked_for_the_value_of_the_object() -> None:
    class Doubled:
        def __get__(self, instance: Any, owner: Any) -> float:
            if instance is None:
                raise AttributeError("only objects have it")
            return 2 * instance.half

        def __set__(self, instance: Any, value: float) -> None:
            instance.half = value / 2

    class Settings:
        scale = Doubled()

        def __init__(self) -> None:
            self.scale = 2.0

    settings = Settings()
    compiled = rl.compile(lambda x: x * settings.scale)
    for scale in (2.0, 3.0):
        settings.scale = scale
        for _ in range(3):
            assert compiled(rl.ones(2)).tolist() == [scale] * 2


def test_class_methods_and_static_methods_are_walked_through() -> None:
    offset = 1.0

    class Model(nn.Module):
        scale = 2.0

        @classmethod
        def scaled(cls, x: rl.Tensor) -> rl.Tensor:
            return x * cls.scale

        @staticmethod
        def moved(x: rl.Tensor) -> rl.Tensor:
            return x + offset

        def forward(self, x: rl.Tensor) -> rl.Tensor:
            return self.moved(self.scaled(x))

    compiled = rl.compile(Model())
    for value in (2.0, 3.0):
        Model.scale, offset = value, value * 10
        for _ in range(3):
            assert compiled(rl.ones(2)).tolist() == [value * 11] * 2


def test_modes_of_the_calling_thread() -> None:
    weight = nn.Parameter(rl.ones(2))
    compiled = rl.compile(lambda x: x * weight)
    x = rl.ones(2)
    for _ in range(3):
        assert compiled(x).requires_grad
        with rl.no_grad():
            assert not compiled(x).requires_grad
    seen = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: seen.append(compiled(x).requires_grad))
        with rl.no_grad():
            compiled(x)
            thread.start()
            thread.join()
    assert seen == [True, True]
    with pytest.warns(UserWarning, match="Anomaly"), rl.autograd.detect_anomaly():
        assert "Mul" in compiled(x).grad_fn.name(), "the plain function runs"


def test_a_compiled_function_inside_another_is_part_of_it() -> None:
    inner = rl.compile(lambda x: x * 2)
    for _ in range(3):
        inner(rl.ones(2))
    outer = rl.compile(lambda x: inner(x) + 1)
    for value in (1.0, 2.0, 3.0):
        assert outer(rl.full((2,), value)).tolist() == [2 * value + 1] * 2


def test_a_check_that_is_wanted_is_made(long_way: list[Any]) -> None:
    compiled = rl.compile(lambda x: x + 1, check=3)
    for _ in range(6):
        compiled(rl.ones(2))
    assert len(long_way) == 5, "the recording, three checks, and the first call that finds it"


def test_numbers_computed_anew_are_not_looked_into_at_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def loss_scale(exponent: int) -> float:
        return 2.0**exponent  # another object each time

    settings = SimpleNamespace(scale=loss_scale(3))
    rate = loss_scale(-1)

    @rl.compile
    def step(x: rl.Tensor) -> rl.Tensor:
        return x * settings.scale + rate

    slow: list[str] = []
    plain = Guards._what_changed

    def noted(self: Guards) -> str:
        slow.append(plain(self))
        return slow[-1]

    monkeypatch.setattr(Guards, "_what_changed", noted)
    for _ in range(8):
        settings.scale, rate = loss_scale(3), loss_scale(-1)
        assert step(rl.ones(2)).tolist() == [8.5, 8.5]
    assert slow == [""], "the first time only"
    settings.scale = loss_scale(4)
    assert step(rl.ones(2)).tolist() == [16.5, 16.5]
    rate = loss_scale(0)
    assert step(rl.ones(2)).tolist() == [17.0, 17.0]
