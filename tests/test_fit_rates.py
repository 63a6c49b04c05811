"""The learning-rate finder: its suggestion trains, rates above its range do not, and it leaves no trace."""

from __future__ import annotations

from pathlib import Path

import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.cli import main
from rushlight.fit import FitError, Trainer
from rushlight.nn import functional as F
from rushlight.utils.data import DataLoader, TensorDataset


def trainer_for(rate: float = 1e-3, optimizer: type = optim.SGD, loader: bool = False) -> Trainer:
    """A small classification."""
    rl.manual_seed(0)
    inputs = rl.randn(400, 10)
    labels = (inputs @ rl.randn(10, 4)).argmax(1)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.BatchNorm1d(32), nn.Dropout(0.1), nn.Linear(32, 4))
    data = (inputs, labels)
    if loader:
        generator = rl.Generator().manual_seed(4)
        data = DataLoader(TensorDataset(*data), batch_size=20, shuffle=True, generator=generator)
    update = optimizer(model.parameters(), lr=rate)
    return Trainer(
        model, F.cross_entropy, update, data, epochs=5, batch_size=20, progress=False, compiled=False
    )


@pytest.mark.parametrize("optimizer", [optim.SGD, optim.Adam])
def test_the_suggestion_trains(optimizer: type) -> None:
    """Much better than a rate a thousand times smaller, and the range holds it."""
    curve = trainer_for(optimizer=optimizer).find_lr()
    assert curve.lowest <= curve.suggestion <= curve.highest
    good = trainer_for(curve.suggestion, optimizer).fit()[-1]["train_loss"]
    slow = trainer_for(curve.suggestion / 1000, optimizer).fit()[-1]["train_loss"]
    assert good < 0.5 * slow
    assert "suggested" in str(curve)
    assert len(str(curve).splitlines()) == 11


@pytest.mark.parametrize("loader", [False, True])
def test_the_sweep_leaves_no_trace(loader: bool) -> None:
    """A run after a sweep has the bits of one without."""
    plain, swept = (
        trainer_for(optimizer=optim.Adam, loader=loader),
        trainer_for(optimizer=optim.Adam, loader=loader),
    )
    swept.find_lr(steps=30)
    rl.manual_seed(1)
    plain.fit()
    rl.manual_seed(1)
    swept.fit()
    assert plain.history == swept.history


def test_what_cannot_be_swept_is_said() -> None:
    """Targets that the inputs say nothing of and a model that cannot move."""
    model = nn.Linear(3, 1)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    other = nn.Linear(1, 1)
    data = (rl.randn(50, 3), rl.randn(50, 1))
    trainer = Trainer(
        nn.Sequential(model, other), F.mse_loss, optim.SGD(other.parameters(), lr=0.1), data, progress=False
    )
    with pytest.raises(FitError, match="0 < lowest < highest"):
        trainer.find_lr(lowest=1.0, highest=0.1)
    constant = Trainer(
        nn.Sequential(model, other),
        lambda prediction, target: F.mse_loss(prediction * 0, target * 0 + 1),
        optim.SGD(other.parameters(), lr=0.1),
        data,
        progress=False,
    )
    with pytest.raises(FitError, match="fell at none"):
        constant.find_lr()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints the curve, and refuses what only a whole run has."""
    from tests.test_cli_images import write_dataset

    write_dataset(tmp_path / "data")
    arguments = ["find-lr", str(tmp_path / "data"), "--hidden", "16", "--batch-size", "20"]
    assert main([*arguments, "--optimizer", "sgd"]) == 0
    assert "try: rushlight train" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    with pytest.raises(SystemExit):
        main([*arguments, "--epochs", "3"])
