"""Copies and pickles of compiled functions and modules: compiled anew, for what was copied along."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import rushlight as rl
from rushlight import nn


@rl.compile
def decorated(x: rl.Tensor) -> rl.Tensor:
    """Stands under its own name."""
    return x * 2


def plain(x: rl.Tensor) -> rl.Tensor:
    """Is compiled under another name."""
    return x * 3


under = rl.compile(plain, name="under")


def pickled(value: Any) -> Any:
    """There and back."""
    return pickle.loads(pickle.dumps(value))


class Holder(nn.Module):
    """A module with everything compiled among its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 2)
        self.second = rl.compile(nn.Linear(2, 2))
        self.method = rl.compile(self.double_first)
        self.free, self.decorated = under, decorated

    def double_first(self, x: rl.Tensor) -> rl.Tensor:
        """Compiled by itself."""
        return self.first(x) * 2

    def forward(self, x: rl.Tensor) -> rl.Tensor:
        """All of them."""
        return self.free(self.decorated(self.second(self.method(x))))


class CopiesItself(nn.Linear):
    """A module with a copy of its own kind."""

    def __deepcopy__(self, memo: dict[int, Any]) -> CopiesItself:
        made = CopiesItself(self.in_features, self.out_features)
        made.load_state_dict(self.state_dict())
        return made


copies = pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
called = pytest.mark.parametrize("calls", [0, 3])


@copies
@called
def test_a_module_copied_with_compiled_attributes(copied: Callable[[Any], Any], calls: int) -> None:
    """The copy computes with its own parameters, in programs of its own."""
    model, x = Holder(), rl.randn(4, 3)
    for _ in range(calls):
        model(x).sum().backward()
    made = copied(model)
    assert repr(made.method) == "<compiled double_first, 0 recorded>"
    assert made.method.function.__self__ is made
    rl.testing.assert_close(made(x), model(x))
    with rl.no_grad():
        for each in made.parameters():
            each.zero_()
    assert not made(x).any() and model(x).any()


@copies
@called
def test_a_compiled_module_copied(copied: Callable[[Any], Any], calls: int) -> None:
    """By its own way to copy too; mode and hooks of what is inside come along."""
    for module in (nn.Sequential(nn.Linear(3, 2), nn.Tanh()), CopiesItself(3, 2)):
        model, x = rl.compile(module), rl.randn(4, 3)
        for _ in range(calls):
            model(x).sum().backward()
        model.eval()
        made = copied(model)
        assert type(made) is type(model) and type(made._orig_mod) is type(module)
        assert made._orig_mod is not module and not made.training
        rl.testing.assert_close(made(x), model(x))
        made(x).sum().backward()
        rl.optim.SGD(made.parameters(), lr=0.1).step()
        assert not rl.equal(made(x), model(x))


@copies
def test_a_compiled_function_copied(copied: Callable[[Any], Any]) -> None:
    """The settings come along, and what refers to itself does so again."""
    function = rl.compile(plain, name="triple", backend="replay", recompile_limit=3)
    assert rl.equal(function(rl.ones(2)), rl.full((2,), 3.0))
    made = copied(function)
    assert repr(made) == "<compiled triple, 0 recorded>" and (made.backend, made.limit) == ("replay", 3)
    assert rl.equal(made(rl.ones(2)), rl.full((2,), 3.0))
    method = copied(Holder().method)
    assert method.function.__self__.method is method


def test_pickles_by_name() -> None:
    """A decorated function is found by its name; a lambda has none, as ever."""
    assert pickled(decorated) is decorated
    function = rl.compile(lambda x: x + 1)
    function(rl.ones(2))
    assert rl.equal(copy.deepcopy(function)(rl.ones(2)), rl.full((2,), 2.0))
    with pytest.raises((pickle.PicklingError, AttributeError), match=r"Can't (pickle|get local object)"):
        pickle.dumps(function)
