"""Compiled functions do what the plain function does, or say which line cannot be compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.compile.record import RecordingError
from rushlight.nn import functional as F

OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "sgd": lambda parameters: optim.SGD(parameters, lr=0.5),
    "momentum": lambda parameters: optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda parameters: optim.Adam(parameters, lr=0.01),
    "adamw": lambda parameters: optim.AdamW(parameters, lr=0.01),
    "rmsprop": lambda parameters: optim.RMSprop(parameters, lr=0.01),
}


def batches(count: int, odd: int | None = None) -> list[tuple[rl.Tensor, rl.Tensor]]:
    """Random inputs and labels; batch number `odd` is shorter than the others."""
    rng = np.random.default_rng(0)
    sizes = [3 if number == odd else 8 for number in range(count)]
    return [
        (rl.from_numpy(rng.random((size, 20), dtype=np.float32)), rl.from_numpy(rng.integers(0, 5, size)))
        for size in sizes
    ]


def train(
    compiled: bool, make: Callable[[Any], optim.Optimizer], *, dropout: bool = False, schedule: bool = False
):
    """The losses of 20 steps, with a shorter batch and a changed rate on the way."""
    rl.manual_seed(1)
    model = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Dropout(0.5 if dropout else 0.0), nn.Linear(16, 5))
    optimizer = make(model.parameters())
    scheduler = optim.lr_scheduler.StepLR(optimizer, 3, 0.5) if schedule else None

    def step(x: rl.Tensor, y: rl.Tensor) -> rl.Tensor:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        return loss

    run = rl.compile(step) if compiled else step
    losses = []
    for number, (x, y) in enumerate(batches(20, odd=7)):
        if number == 10:
            optimizer.param_groups[0]["lr"] *= 0.5
        losses.append(run(x, y).item())
    return losses, [p.detach().numpy().copy() for p in model.parameters()]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_step_gives_the_same_numbers(name: str) -> None:
    """Losses and parameters, through a shorter batch and a changed learning rate."""
    plain, compiled = train(False, OPTIMIZERS[name]), train(True, OPTIMIZERS[name])
    np.testing.assert_allclose(compiled[0], plain[0], rtol=1e-6)
    for ours, theirs in zip(compiled[1], plain[1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_dropout_draws_anew_and_schedules_advance() -> None:
    """Random masks come from the one stream, and a schedule inside the step moves at every call."""
    plain = train(False, OPTIMIZERS["sgd"], dropout=True, schedule=True)
    compiled = train(True, OPTIMIZERS["sgd"], dropout=True, schedule=True)
    np.testing.assert_allclose(compiled[0], plain[0], rtol=1e-6)


def test_reading_a_value_names_the_line() -> None:
    """item(), print, bool and tolist of what the step computes cannot be part of a program."""
    readers: list[Callable[[rl.Tensor], Any]] = [
        lambda t: t.item(),
        lambda t: t.tolist(),
        lambda t: repr(t),
        lambda t: bool(t > 0),
        lambda t: t.numpy(),
    ]
    for reader in readers:

        @rl.compile
        def step(x: rl.Tensor, reader: Callable[[rl.Tensor], Any] = reader) -> rl.Tensor:
            total = (x * 2).sum()
            reader(total)
            return total

        with pytest.raises(RecordingError, match=r"test_compile\.py:\d+"):
            step(rl.ones(3))


def test_keeping_a_tensor_is_refused() -> None:
    """A list that the step fills would not be filled by a program."""
    kept = []

    @rl.compile
    def step(x: rl.Tensor) -> rl.Tensor:
        loss = (x * x).sum()
        kept.append(loss.exp())
        return loss

    step(rl.ones(3))
    with pytest.raises(RecordingError, match="keeps a tensor that it made"):
        step(rl.ones(3))


def test_what_changes_between_calls_is_seen() -> None:
    """A replaced parameter, training and evaluation, loaded states, a closed-over number."""
    model = nn.Linear(3, 2)
    scale = 1.0

    @rl.compile
    def forward(x: rl.Tensor) -> rl.Tensor:
        with rl.no_grad():
            return F.dropout(model(x) * scale, 0.5, model.training)

    def check() -> None:
        rl.manual_seed(5)
        compiled = forward(x)
        rl.manual_seed(5)
        with rl.no_grad():
            plain = F.dropout(model(x) * scale, 0.5, model.training)
        np.testing.assert_array_equal(compiled.numpy(), plain.numpy())

    x = rl.ones(4, 3)
    check()
    check()
    model.weight = nn.Parameter(rl.ones(2, 3))
    check()
    model.eval()
    check()
    model.load_state_dict({"weight": rl.zeros(2, 3), "bias": rl.ones(2)})
    check()
    scale = 3.0
    check()


def test_results_are_fresh_and_structures_kept() -> None:
    """A result kept from one call is not overwritten by the next."""

    @rl.compile
    def step(x: rl.Tensor) -> dict[str, Any]:
        return {"double": x * 2, "pair": (x + 1, 3)}

    first = step(rl.ones(2))
    again = step(rl.zeros(2))
    assert first["double"].tolist() == [2.0, 2.0]
    assert again["double"].tolist() == [0.0, 0.0]
    assert again["pair"][0].tolist() == [1.0, 1.0]
    assert again["pair"][1] == 3


def test_views_and_in_place_changes_are_windows() -> None:
    """Writing through a view of a captured tensor changes it at every call."""
    counts = rl.zeros(4)

    @rl.compile
    def step(x: rl.Tensor) -> rl.Tensor:
        counts[1:3].add_(x)
        return counts.sum()

    assert [step(rl.ones(2)).item() for _ in range(3)] == [2.0, 4.0, 6.0]
    assert counts.tolist() == [0.0, 3.0, 3.0, 0.0]


def test_what_cannot_be_called_is_refused() -> None:
    """In PyTorch's words."""
    with pytest.raises(AssertionError, match="A callable function is expected, but <class 'int'> is"):
        rl.compile(3)
