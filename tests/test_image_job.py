"""The digit job from Python: every optimizer goes with every schedule. Runs: test_cli_images.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import rushlight as torch
from rushlight import nn
from rushlight.jobs.image_data import ImageData, as_rows, moments
from rushlight.jobs.images import (
    OPTIMIZERS,
    SCHEDULES,
    ImageNetwork,
    Settings,
    build_model,
    build_schedule,
    prepare,
    step_to_compile,
)
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


def grey_images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise of MNIST's shape, with labels."""
    images = np.random.default_rng(0).integers(0, 256, (count, 28, 28)).astype(np.uint8)
    return images, np.arange(count) % 10


@pytest.fixture
def threads() -> Iterator[None]:
    """The number of threads, put back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_the_step_compiled_ahead_is_the_one_that_the_run_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run finds its program in the cache, and adds none to it."""
    monkeypatch.setenv("RUSHLIGHT_CACHE", str(tmp_path))
    data = ImageData(*grey_images(60), *grey_images(10), [str(digit) for digit in range(10)])
    for optimizer in ("adam", "sgd"):
        settings = Settings(hidden=[8], batch_size=20, epochs=1, optimizer=optimizer)
        torch.set_num_threads(1)
        step_to_compile(settings)()
        assert not list(tmp_path.iterdir())
        torch.set_num_threads(2)
        step_to_compile(settings)()
        found = list(tmp_path.iterdir())
        assert len(found) == 1
        prepare(data, settings, None).trainer.fit()
        assert list(tmp_path.iterdir()) == found
        found[0].unlink()
    monkeypatch.setenv("RUSHLIGHT_CACHE", "off")
    step_to_compile(settings)()


def test_input_is_centred_and_scaled() -> None:
    """By the moments of all pixels."""
    images, _ = grey_images(300)
    mean, deviation = moments(images)
    assert mean == pytest.approx((images / 255).mean(), rel=1e-12)
    assert deviation == pytest.approx((images / 255).std(), rel=1e-12)
    scaled = ImageNetwork(nn.Sequential(), mean, deviation)(torch.from_numpy(as_rows(images)))
    assert scaled.dtype == torch.float32 and scaled.shape == (300, 784)
    np.testing.assert_allclose(
        scaled.numpy(), ((images / 255 - mean) / deviation).reshape(300, -1), 1e-5, 1e-5
    )
    assert moments(np.full((2, 3, 3), 7, np.uint8)) == (7 / 255, 1.0)
