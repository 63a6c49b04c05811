"""What freezes must not lie: training steps whose state, rates and draws change from call to call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.compile.record import RecordingError
from rushlight.nn import functional as F
from rushlight.optim import lr_scheduler
from tests.footguns import Step, batches, check, small_model

OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.5),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "amsgrad": lambda p: optim.Adam(p, lr=0.01, amsgrad=True, weight_decay=0.1, maximize=True),
    "adamw": lambda p: optim.AdamW(p, lr=0.01),
    "nadam": lambda p: optim.NAdam(p, lr=0.01, weight_decay=0.1, decoupled_weight_decay=True),
    "radam": lambda p: optim.RAdam(p, lr=0.01),
    "adadelta": lambda p: optim.Adadelta(p, lr=0.5),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.1),
    "adafactor": lambda p: optim.Adafactor(p, lr=0.01, weight_decay=0.1),
    "adamax": lambda p: optim.Adamax(p, lr=0.01),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01),
    "rmsprop centered": lambda p: optim.RMSprop(p, lr=0.01, centered=True, momentum=0.5),
    "rprop": lambda p: optim.Rprop(p, lr=0.01),
    "asgd": lambda p: optim.ASGD(p, lr=0.1, t0=3),
}

SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "step": lambda o: lr_scheduler.StepLR(o, 2, 0.5),
    "multistep": lambda o: lr_scheduler.MultiStepLR(o, [2, 4], 0.5),
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda n: min(1.0, n / 4)),
    "multiplicative": lambda o: lr_scheduler.MultiplicativeLR(o, lambda n: 0.9),
    "constant": lambda o: lr_scheduler.ConstantLR(o, 0.5, 3),
    "linear": lambda o: lr_scheduler.LinearLR(o, 0.3, total_iters=4),
    "exponential": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "polynomial": lambda o: lr_scheduler.PolynomialLR(o, 5),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 5),
    "restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 3, cycle_momentum=False),
    "one cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=20),
    "chained": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ExponentialLR(o, 0.9), lr_scheduler.StepLR(o, 2)]
    ),
    "sequential": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.ConstantLR(o, 0.1), lr_scheduler.ExponentialLR(o, 0.9)], [3]
    ),
}


def trained(
    make: Callable[[Any], optim.Optimizer], *layers: nn.Module, schedule: Callable[[Any], Any] | None = None
) -> tuple[nn.Module, Step]:
    """A model and a whole training step for it."""
    model = small_model(*layers)
    optimizer = make(model.parameters())
    scheduler = schedule(optimizer) if schedule else None

    def step(x: rl.Tensor, y: rl.Tensor) -> rl.Tensor:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        return loss

    return model, step


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_step_counts_go_on(name: str) -> None:
    """Bias corrections, rectification and averaging follow the count; RAdam and ASGD change their ways."""
    check(lambda: trained(OPTIMIZERS[name]), steps=9)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedules_go_on(name: str) -> None:
    """Inside the step, and with it the rates and momenta that a program reads anew."""
    native = name == "one cycle"
    check(lambda: trained(OPTIMIZERS["momentum"], schedule=SCHEDULERS[name]), steps=8, native=native)
    check(lambda: trained(OPTIMIZERS["adam"], schedule=SCHEDULERS[name]), steps=8, native=native)


def test_schedules_outside_of_the_step() -> None:
    """The same, with the schedule stepped between calls, and a rate set by hand, to zero too."""
    for name in ("lambda", "one cycle", "cosine"):
        held: list[Any] = []

        def make(name: str = name, held: list[Any] = held) -> tuple[nn.Module, Step]:
            def schedule(optimizer: optim.Optimizer) -> None:
                held[:] = [SCHEDULERS[name](optimizer), optimizer]

            return trained(OPTIMIZERS["adam"], schedule=schedule)

        def between(number: int, *_: Any, held: list[Any] = held) -> None:
            if number == 5:
                held[1].param_groups[0]["lr"] = 0.0
            elif number:
                held[0].step()

        check(make, steps=8, between=between, native=name == "lambda")


def test_a_plateau_needs_the_value_of_the_metric() -> None:
    """ReduceLROnPlateau looks at a number: refused by line inside, right outside."""
    model = small_model()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer)

    @rl.compile
    def step(x: rl.Tensor, y: rl.Tensor) -> rl.Tensor:
        loss = F.cross_entropy(model(x), y)
        scheduler.step(loss)
        return loss

    with pytest.raises(RecordingError, match=r"test_compile_footguns\.py:\d+"):
        step(*batches(1)[0])


def test_a_schedule_before_the_optimizer_is_refused() -> None:
    """A program reads the rates when it starts, so they cannot change half way."""
    model = small_model()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.9)
    optimizer.step()

    @rl.compile
    def step(x: rl.Tensor, y: rl.Tensor) -> None:
        scheduler.step()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    with pytest.raises(RecordingError, match=r"call the schedule last\. .*footguns\.py:\d+"):
        step(*batches(1)[0])


def test_returning_a_learning_rate_is_refused() -> None:
    """It would be the rate of the call that was recorded, for ever."""
    weight = nn.Parameter(rl.ones(2))
    optimizer = optim.SGD([weight], lr=0.125)

    @rl.compile
    def step() -> Any:
        weight.sum().backward()
        optimizer.step()
        return optimizer.param_groups[0]["lr"]

    with pytest.raises(RecordingError, match=r"returns the number 0\.125"):
        step()


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.Dropout(0.5),
        lambda: nn.BatchNorm1d(4),
        lambda: nn.BatchNorm1d(4, momentum=None),
        lambda: nn.AlphaDropout(0.3),
        lambda: nn.RReLU(),
        lambda: nn.LayerNorm(4),
    ],
)
def test_draws_and_buffers(layer: Callable[[], nn.Module]) -> None:
    """Masks come from the one stream at each call; running statistics move."""
    check(lambda: trained(OPTIMIZERS["sgd"], layer()))


def test_a_generator_of_the_users_own() -> None:
    """Draws go to the generator they name, and the default stream stays where it is."""

    def make() -> tuple[nn.Module, Step]:
        generator = rl.Generator().manual_seed(5)
        model = nn.Linear(5, 3)

        def step(x: rl.Tensor, y: rl.Tensor) -> Any:
            noise = rl.randn(x.shape, generator=generator)
            keep = rl.empty(x.shape).bernoulli_(0.5, generator=generator)
            return (
                model(x * keep + noise),
                rl.rand(2),
                rl.randperm(5),
                rl.randint(9, (2,), generator=generator),
            )

        return model, step

    check(make)


def test_draws_of_python_and_numpy_are_refused() -> None:
    """They would be frozen: the second call says so."""
    import random

    rng_draws: list[Callable[[], float]] = [random.random, lambda: float(np.random.random())]  # noqa: NPY002
    for draw in rng_draws:

        @rl.compile
        def step(x: rl.Tensor, draw: Callable[[], float] = draw) -> rl.Tensor:
            return x * draw()

        step(rl.ones(2))
        with pytest.raises(RecordingError, match="would repeat the same numbers"):
            step(rl.ones(2))


@pytest.mark.parametrize("set_to_none", [True, False])
def test_gradients_accumulate_over_calls(set_to_none: bool) -> None:
    """The step only adds to .grad; the optimizer runs plainly between calls, or in a program of its own."""
    for compiled_update in (False, True):
        held: list[Any] = []

        def make(held: list[Any] = held, compiled: bool = compiled_update) -> tuple[nn.Module, Step]:
            model = small_model()
            optimizer = optim.Adam(model.parameters(), lr=0.01)

            def update() -> None:
                optimizer.step()
                optimizer.zero_grad(set_to_none=set_to_none)

            held[:] = [rl.compile(update) if compiled else update]

            def step(x: rl.Tensor, y: rl.Tensor) -> rl.Tensor:
                loss = F.cross_entropy(model(x), y)
                (loss / 2).backward()
                return loss

            return model, step

        def between(number: int, *_: Any, held: list[Any] = held) -> None:
            if number and number % 2 == 0:
                held[0]()

        check(make, steps=9, between=between, native=set_to_none and not compiled_update)


def test_gradients_are_kept_and_old_ones_are_not_overwritten() -> None:
    """.grad after a call is a fresh tensor, as zero_grad() leaves old ones to whoever holds them."""
    model, step = trained(OPTIMIZERS["sgd"])
    run = rl.compile(step)
    data = batches(4)
    run(*data[0])
    run(*data[1])
    first = model[0].weight.grad
    assert first is not None
    before = first.clone()
    run(*data[2])
    assert first is not model[0].weight.grad
    assert rl.equal(first, before)


@pytest.mark.parametrize("clip", ["norm", "value"])
def test_clipping(clip: str) -> None:
    """Both ways of clipping, between backward and the update."""

    def make() -> tuple[nn.Module, Step]:
        model = small_model()
        optimizer = optim.SGD(model.parameters(), lr=0.5)

        def step(x: rl.Tensor, y: rl.Tensor) -> Any:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            norm = None
            if clip == "norm":
                norm = nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            else:
                nn.utils.clip_grad_value_(model.parameters(), 0.01)
            optimizer.step()
            return loss, norm

        return model, step

    check(make)


def test_tied_weights() -> None:
    """One parameter in two places gets one gradient and one update."""

    def make() -> tuple[nn.Module, Step]:
        model = nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 5))
        model[2].weight = model[0].weight
        optimizer = optim.SGD(model.parameters(), lr=0.5, momentum=0.5)

        def step(x: rl.Tensor, y: rl.Tensor) -> rl.Tensor:
            loss = F.mse_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return model, step

    check(make)


def test_shorter_batches_are_recorded_anew() -> None:
    """Sizes that take turns, with branches on shapes."""

    def make() -> tuple[nn.Module, Step]:
        model, inner = trained(OPTIMIZERS["adam"], nn.Dropout(0.2))

        def step(x: rl.Tensor, y: rl.Tensor) -> rl.Tensor:
            return inner(x * 2, y) if x.shape[0] > 4 else inner(x - 1, y)

        return model, step

    check(make, steps=9, sizes=(6, 3, 6))


def test_a_result_built_on_a_graph_that_the_step_has_used_up():
    rl.manual_seed(0)
    table = nn.Parameter(rl.rand(5, 4))
    optimizer = optim.SGD([table], lr=0.1)

    def step(rows, more):
        loss = (table[rows] ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss + table[more].sum()

    start = table.detach().clone()
    rows, more = rl.tensor([0, 1]), rl.tensor([4, 2])
    expected = [step(rows, more).item() for _ in range(3)]
    with rl.no_grad():
        table.copy_(start)
    compiled = rl.compile(step)
    assert [compiled(rows, more).item() for _ in range(3)] == pytest.approx(expected, rel=1e-6)


def test_attributes_of_captured_tensors_are_watched() -> None:
    weight = nn.Parameter(rl.ones(3))
    weight.factor = 2.0
    model = nn.Linear(3, 1)
    model.weight.factor = 2.0

    @rl.compile
    def step(x: rl.Tensor) -> rl.Tensor:
        return x * weight * weight.factor + model.weight.factor

    x = rl.ones(3)
    for _ in range(2):
        assert step(x).tolist() == [4.0, 4.0, 4.0]
    weight.factor = 3.0
    assert step(x).tolist() == [5.0, 5.0, 5.0]
    model.weight.factor = 1.0
    assert step(x).tolist() == [4.0, 4.0, 4.0]
