"""The verdict in words: on made histories whose truth is known, and on real runs that show each fault."""

from __future__ import annotations

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.fit import Trainer, judge
from rushlight.nn import functional as F


def rows(train: np.ndarray, validation: np.ndarray | None = None) -> list[dict[str, float]]:
    """A history."""
    found = [{"train_loss": float(each)} for each in train]
    if validation is not None:
        for row, value in zip(found, validation, strict=True):
            row["validation_loss"] = float(value)
    return found


EPOCHS = np.arange(40.0)
SETTLING = 0.2 + 2 * np.exp(-EPOCHS / 4)
NOISE = np.random.default_rng(0).normal(0, 0.01, 40)


@pytest.mark.parametrize("turn", [5, 12, 30])
@pytest.mark.parametrize("noise", [0, 1])
def test_overfitting_is_dated(turn: int, noise: int) -> None:
    """The validation loss turns at a known epoch while the training loss falls on."""
    train = 2 * np.exp(-EPOCHS / 10)
    validation = 0.5 + 0.05 * np.abs(EPOCHS - turn) + noise * NOISE
    verdict = judge(rows(train, validation))
    assert verdict.kind == "overfits"
    assert verdict.epoch == pytest.approx(turn + 2, abs=1 if noise else 0)
    assert f"from epoch {verdict.epoch} on" in verdict.what
    assert "weight decay" in verdict.next


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_not_overfitting(seed: int) -> None:
    """A validation loss that has levelled off and jitters."""
    noise = np.random.default_rng(seed).normal(0, 0.02, 40)
    verdict = judge(rows(SETTLING, SETTLING + 0.02 + noise))
    assert verdict.kind == "fits"


def test_the_other_verdicts() -> None:
    """One made history each."""
    assert judge(rows(SETTLING, SETTLING + 0.5)).kind == "fits"
    assert "gap" in judge(rows(SETTLING, SETTLING + 0.5)).next
    assert judge(rows(SETTLING)).kind == "fits"
    flat = 0.68 + 0.01 * np.exp(-EPOCHS)
    assert judge(rows(flat, flat), start=0.7).kind == "underfits"
    slow = 0.55 + 0.15 * np.exp(-EPOCHS / 3)
    verdict = judge(rows(slow, slow), constant=0.6)
    assert "8% better than a constant answer" in verdict.what
    assert judge(rows(slow, slow), constant=2.0).kind == "fits"
    verdict = judge(rows(slow, slow + 0.01), start=0.7)
    assert verdict.kind == "underfits"
    assert verdict.epoch == 10
    assert judge(rows(2.3 - 0.04 * EPOCHS, 2.3 - 0.04 * EPOCHS)).kind == "unfinished"
    assert judge(rows(np.full(10, 2.3), np.full(10, 2.3))).kind == "does not learn"
    rising = np.concatenate([SETTLING[:10], SETTLING[9] * 1.5 ** np.arange(10)])
    verdict = judge(rows(rising, rising))
    assert (verdict.kind, verdict.epoch) == ("diverges", 11)
    assert judge(rows(SETTLING[:2])).kind == "too short"


def trained(model: nn.Module, data: rl.Tensor, held: rl.Tensor, truth: object, **options: object) -> Trainer:
    """A run on a function of the inputs."""
    update = optim.Adam(model.parameters(), lr=options.pop("lr", 0.01))  # type: ignore[arg-type]
    target = truth(data), truth(held)  # type: ignore[operator]
    trainer = Trainer(
        model,
        F.mse_loss,
        update,
        (data, target[0]),
        (held, target[1]),
        progress=False,
        compiled=False,
        **options,
    )
    trainer.fit()
    return trainer


def test_real_runs() -> None:
    """Memorised noise overfits, a line cannot follow a wave, a wave is learnt, a short run is cut off."""
    rl.manual_seed(0)
    few, many = rl.randn(24, 8), rl.randn(200, 8)
    wide = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
    noisy = trained(wide, few, many, lambda x: x[:, :1] + rl.randn(len(x), 1), epochs=60, batch_size=8)
    assert noisy.verdict().kind == "overfits"
    assert 2 <= (noisy.verdict().epoch or 0) < 40

    def wave(x: rl.Tensor) -> rl.Tensor:
        return (3 * x).sin()

    inputs, held = rl.rand(300, 1) * 6 - 3, rl.rand(100, 1) * 6 - 3
    line = trained(nn.Linear(1, 1), inputs, held, wave, epochs=30, batch_size=30)
    assert line.verdict().kind == "underfits"
    network = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
    short = trained(network, inputs, held, wave, epochs=8, batch_size=30, lr=0.001)
    assert short.verdict().kind in ("unfinished", "underfits")
    still = trained(nn.Linear(1, 1), inputs, held, wave, epochs=6, batch_size=30, lr=1e-12)
    assert still.verdict().kind == "does not learn"
