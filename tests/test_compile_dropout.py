"""Random ops in compiled steps: in native code, with the numbers and the state that the plain step gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.compile.native import Native
from rushlight.compile.record import Recorder
from rushlight.compile.recording import Recording
from rushlight.nn import functional as F
from rushlight.utils.data import DataLoader, TensorDataset

CASES: dict[str, Callable[[rl.Tensor], Any]] = {
    "dropout": lambda x: F.dropout(x, 0.3),
    "dropout2d": lambda x: F.dropout2d(x.reshape(2, 3, 4, -1), 0.5),
    "dropout in place": lambda x: F.dropout(x * 1, 0.1, inplace=True),
    "alpha dropout": lambda x: F.alpha_dropout(x, 0.2, training=True),
    "dropout of float64": lambda x: F.dropout(x.double(), 0.5),
    "part of a tensor": lambda x: (x * 1)[1:].uniform_(),
    "rand": lambda x: rl.rand(33) + x[0, 0],
    "interval": lambda x: rl.empty_like(x).uniform_(-1, 2),
    "rand of float64": lambda x: rl.rand(7, dtype=rl.float64),
    "bernoulli": lambda x: rl.bernoulli(x),
    "bernoulli in place": lambda x: rl.empty(40, 30).bernoulli_(0.6),
    "bernoulli of bool": lambda x: rl.zeros(9, dtype=rl.bool).bernoulli_(0.4),
    "bernoulli by tensor": lambda x: rl.zeros(40, 30).bernoulli_(x.double()),
    "columns first": lambda x: F.dropout(x.t().contiguous().t(), 0.5).contiguous(),
    "dimensions turned": lambda x: F.dropout((x * 2).reshape(5, 8, 30).transpose(0, 1), 0.2).contiguous(),
    "part of rows": lambda x: F.dropout(x[:, 1:], 0.5),
    "several": lambda x: F.dropout(rl.rand(40, 30), 0.5) + F.dropout(x, 0.5),
}
# What is left to NumPy, between native parts.
OPAQUE: dict[str, Callable[[rl.Tensor], Any]] = {
    "normal": lambda x: F.dropout(rl.randn(40, 30) + x, 0.5),
    "integers": lambda x: rl.randint(5, (30,)) + F.dropout(x, 0.5),
    "parts of rows": lambda x: (x * 1)[:, 1:].uniform_() + F.dropout(x[:, 1:], 0.5),
}


def native(function: Callable[[rl.Tensor], Any], monkeypatch: pytest.MonkeyPatch) -> Native:
    """The native code of a function of x, which is called once for that."""
    found: list[Recording] = []
    begin = Recording.__init__

    def note(self: Recording, recorder: Recorder, *others: Any) -> None:
        begin(self, recorder, *others)
        found.append(self)

    monkeypatch.setattr(Recording, "__init__", note)
    rl.compile(function)(sample())
    executor = found[-1].executor
    assert isinstance(executor, Native)
    return executor


def sample() -> rl.Tensor:
    """A matrix of chances."""
    return rl.from_numpy(np.random.default_rng(0).random((40, 30), dtype=np.float32))


@pytest.mark.parametrize("name", [*CASES, *OPAQUE])
def test_draws_are_those_of_the_plain_function(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Call after call, and other draws between the calls; in native code where that is possible."""
    function = (CASES | OPAQUE)[name]
    code = native(function, monkeypatch)
    assert all(isinstance(each, str) for each in code.segments) == (name in CASES)
    for seed in (0, 1):
        rl.manual_seed(seed)
        expected = [(function(sample()), rl.rand(3)) for _ in range(3)]
        after = rl.get_rng_state()
        rl.manual_seed(seed)
        for value, other in expected:
            (made,) = code.run([sample().numpy()])
            assert np.array_equal(made, value.numpy())
            assert rl.equal(rl.rand(3), other)
        assert rl.equal(rl.get_rng_state(), after)


def test_a_generator_of_ones_own_is_drawn_from() -> None:
    """The default one stays where it is."""
    own = rl.Generator().manual_seed(5)
    step = rl.compile(lambda x: x + rl.empty_like(x).uniform_(generator=own))
    twin = rl.Generator().manual_seed(5)
    before = rl.get_rng_state()
    for _ in range(3):
        x = sample()
        assert rl.equal(step(x), x + rl.rand(40, 30, generator=twin))
    assert rl.equal(rl.get_rng_state(), before)
    assert rl.equal(own.get_state(), twin.get_state())


@pytest.mark.parametrize(("way", "threads"), [("call", 1), ("over", 1), ("over", 2)])
def test_training_with_dropout_takes_the_same_words(way: str, threads: int) -> None:
    """The losses of a compiled step follow those of the plain one, and so does the generator."""

    def train(way: str) -> tuple[list[float], rl.Tensor]:
        rl.manual_seed(1)
        model = nn.Sequential(nn.Linear(30, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 1))
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        def step(x: rl.Tensor) -> rl.Tensor:
            loss = (model(x) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        loader = DataLoader(TensorDataset(sample()), batch_size=8, shuffle=True)
        compiled = rl.compile(step)
        losses: list[float] = []
        for _ in range(3):
            if way == "over":
                losses += compiled.over(loader).tolist()
            else:
                losses += [(compiled if way == "call" else step)(x).item() for (x,) in loader]
        return losses, rl.get_rng_state()

    before = rl.get_num_threads()
    try:
        rl.set_num_threads(threads)
        (plain, state), (losses, after) = train("plain"), train(way)
    finally:
        rl.set_num_threads(before)
    np.testing.assert_allclose(losses, plain, rtol=1e-4)
    assert rl.equal(after, state)
