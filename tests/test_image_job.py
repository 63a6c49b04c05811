"""The digit job from Python: every optimizer goes with every schedule. Runs: test_cli_images.py."""

from __future__ import annotations

import pytest

import rushlight as torch
from rushlight.jobs.images import OPTIMIZERS, SCHEDULES, Settings, build_model, build_schedule
from rushlight.nn import functional as F


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns_under_every_schedule(optimizer: str, schedule: str) -> None:
    settings = Settings(hidden=[8], optimizer=optimizer, schedule=schedule)
    settings.check()
    model = build_model(6, settings, 3)
    update = OPTIMIZERS[optimizer](model.parameters(), lr=settings.rate)
    rate = build_schedule(update, settings, steps=40)
    inputs, labels = torch.randn(12, 6), torch.arange(12) % 3
    losses = []
    for _ in range(40):
        loss = F.cross_entropy(model(inputs), labels)
        update.zero_grad()
        loss.backward()
        update.step()
        rate.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
def test_one_cycle_gives_no_momentum_to_an_optimizer_asked_for_without(optimizer: str) -> None:
    settings = Settings(hidden=[8], optimizer=optimizer)
    update = OPTIMIZERS[optimizer](build_model(6, settings, 3).parameters(), lr=settings.rate)
    build_schedule(update, settings, steps=10)
    assert update.param_groups[0]["momentum"] == 0


def test_one_cycle_moves_the_momentum_of_an_optimizer_that_has_it() -> None:
    settings = Settings(hidden=[8], optimizer="momentum")
    update = OPTIMIZERS["momentum"](build_model(6, settings, 3).parameters(), lr=settings.rate)
    build_schedule(update, settings, steps=10)
    assert update.param_groups[0]["momentum"] == pytest.approx(0.95)
