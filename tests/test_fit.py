"""The trainer: what it computes, keeps, refuses and says."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.fit import (
    Accuracy,
    Callback,
    Collected,
    EarlyStopping,
    FitError,
    MeanAbsoluteError,
    RootMeanSquaredError,
    Trainer,
    judge,
)
from rushlight.nn import functional as F


def line_data(count: int = 40) -> tuple[rl.Tensor, rl.Tensor]:
    """Points of a plane."""
    rl.manual_seed(0)
    inputs = rl.randn(count, 3)
    return inputs, inputs @ rl.tensor([[1.0], [-2.0], [0.5]]) + 0.1


def line_trainer(**options: Any) -> Trainer:
    """A linear model on a plane."""
    data = line_data()
    model = nn.Linear(3, 1)
    optimizer = options.pop("optimizer", optim.SGD)(model.parameters(), lr=options.pop("lr", 0.1))
    settings = {
        "epochs": 3,
        "batch_size": 16,
        "progress": False,
        "validation": data,
        "compiled": False,
        **options,
    }
    return Trainer(model, F.mse_loss, optimizer, data, **settings)


@pytest.mark.parametrize("compiled", [True, False])
def test_the_loop_is_the_one_you_would_write(compiled: bool) -> None:
    """Same order of batches, same losses as a loop by hand."""
    trainer = line_trainer(shuffle=False, clip_value=0.5, clip_norm=0.4, compiled=compiled)
    inputs, targets = line_data()
    model = nn.Linear(3, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(3):
        total = 0.0
        for start in range(0, 40, 16):
            x, y = inputs[start : start + 16], targets[start : start + 16]
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_value_(model.parameters(), 0.5)
            nn.utils.clip_grad_norm_(model.parameters(), 0.4)
            optimizer.step()
            total += loss.item() * len(x)
        losses.append(total / 40)
    found = [row["train_loss"] for row in trainer.fit()]
    np.testing.assert_allclose(found, losses, rtol=1e-6)


def test_metrics_are_of_the_whole_epoch() -> None:
    """Batches of unequal size do not change what a formula gives for all samples at once."""
    inputs, targets = line_data()
    metrics = {
        "rmse": RootMeanSquaredError(),
        "mae": MeanAbsoluteError(),
        "median": lambda prediction, target: (prediction - target).abs().median(),
    }
    trainer = line_trainer(metrics=metrics, evaluation_batch_size=7)
    row = trainer.fit()[-1]
    difference = (trainer.predict(inputs) - targets).numpy().astype(float)
    assert row["validation_rmse"] == pytest.approx(np.sqrt((difference**2).mean()))
    assert row["validation_mae"] == pytest.approx(np.abs(difference).mean())
    assert row["validation_median"] == pytest.approx(np.sort(np.abs(difference).ravel())[19])
    assert trainer.evaluate((inputs, targets))["loss"] == row["validation_loss"]


def test_accuracy_of_classes_and_of_logits() -> None:
    """Scores per class, and one score for two classes."""
    accuracy = Accuracy()
    accuracy.update(rl.tensor([[0.0, 1.0], [2.0, 1.0]]), rl.tensor([1, 1]))
    accuracy.update(rl.tensor([[0.0, 1.0]]), rl.tensor([1]))
    assert accuracy.compute() == pytest.approx(2 / 3)
    accuracy = Accuracy(threshold=0.5)
    accuracy.update(rl.tensor([[0.2], [0.7], [0.9]]), rl.tensor([0.0, 1.0, 0.0]))
    assert accuracy.compute() == pytest.approx(2 / 3)


class Scripted(Callback):
    """Writes made-up validation losses into the history."""

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        row["validation_loss"] = self.values[row["epoch"] - 1]


def test_the_best_epoch_is_kept_and_stopping_is_early(tmp_path: Path) -> None:
    """The best model is that of the best epoch; two epochs without an improvement end the run."""
    weights: list[list[float]] = []

    class Note(Callback):
        def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
            weights.append(trainer.model.weight.tolist())

    for folder in (None, tmp_path / "run"):
        weights.clear()
        callbacks = [Scripted([3, 2, 2.5, 2.5, 0, 0]), EarlyStopping(patience=2), Note()]
        trainer = line_trainer(epochs=6, callbacks=callbacks, folder=folder)
        assert len(trainer.fit()) == 4
        assert "has not improved for 2 epochs" in trainer.stopped
        assert trainer.load_best() == 2
        assert trainer.model.weight.tolist() == weights[1]
    rows = list(csv.DictReader((tmp_path / "run" / "history.csv").read_text().splitlines()))
    assert [float(row["validation_loss"]) for row in rows] == [3, 2, 2.5, 2.5]
    assert json.loads((tmp_path / "run" / "config.json").read_text())["epochs"] == 6


def test_schedules_go_by_step_or_epoch() -> None:
    """Three steps an epoch: a schedule by step moves three times as fast."""

    def rates(every: str) -> list[float]:
        model = nn.Linear(3, 1)
        optimizer = optim.SGD(model.parameters(), lr=1e-3)
        schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        trainer = Trainer(
            model, F.mse_loss, optimizer, line_data(), epochs=2, batch_size=16, progress=False,
            compiled=False, scheduler=schedule, scheduler_every=every,
        )  # fmt: skip
        trainer.fit()
        return [row["learning_rate"] for row in trainer.history] + [optimizer.param_groups[0]["lr"]]

    assert rates("step") == pytest.approx([1e-3 / 8, 1e-3 / 64, 1e-3 / 64])
    assert rates("epoch") == pytest.approx([1e-3, 1e-3 / 2, 1e-3 / 4])


def test_a_plateau_schedule_watches_the_monitored_value() -> None:
    model = nn.Linear(3, 1)
    optimizer = optim.SGD(model.parameters(), lr=1e-12)
    schedule = optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, eps=0.0)
    Trainer(
        model, F.mse_loss, optimizer, line_data(), line_data(), epochs=4, progress=False, scheduler=schedule
    ).fit()
    assert optimizer.param_groups[0]["lr"] < 1e-12


def test_an_optimizer_with_a_closure() -> None:
    """LBFGS evaluates the loss several times a step."""
    trainer = line_trainer(optimizer=optim.LBFGS, lr=1.0, batch_size=40, epochs=2, compiled=False)
    assert trainer.fit()[-1]["validation_loss"] < 1e-6


def test_a_loss_that_is_not_finite_is_explained() -> None:
    """A rate that is too large, or data that holds nan."""
    with pytest.raises(FitError, match=r"the loss became (inf|nan) in epoch \d, step \d+: .*Try lr=1e\+14"):
        line_trainer(lr=1e15, epochs=5).fit()
    inputs, targets = line_data()
    targets[3] = float("nan")
    model = nn.Linear(3, 1)
    trainer = Trainer(
        model, F.mse_loss, optim.SGD(model.parameters(), lr=0.1), (inputs, targets), progress=False
    )
    with pytest.raises(FitError, match="the target of this batch contains nan"):
        trainer.fit()


class Reader(nn.Module):
    """A model that looks at values in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 1)

    def forward(self, x: rl.Tensor) -> rl.Tensor:
        made = self.inner(x)
        return made * 2 if made.sum().item() > 0 else made


def test_a_step_that_cannot_be_compiled_runs_plainly() -> None:
    """One warning names the line, and the numbers are those of the plain step."""
    rl.manual_seed(1)
    model, twin = Reader(), Reader()
    twin.load_state_dict(model.state_dict())

    def trainer(model: nn.Module, compiled: bool) -> Trainer:
        optimizer = optim.Adam(model.parameters(), lr=0.01)
        return Trainer(
            model, F.mse_loss, optimizer, line_data(), shuffle=False, progress=False, batch_size=16,
            epochs=2, compiled=compiled,
        )  # fmt: skip

    with pytest.warns(RuntimeWarning, match=r"(?s)runs without compiling: .*item\(\).*test_fit\.py:\d+"):
        found = trainer(model, True).fit()
    assert found == trainer(twin, False).fit()


def test_senseless_arguments_are_refused() -> None:
    with pytest.raises(FitError, match=r"validation_f1.*an epoch gives train_loss, validation_loss"):
        line_trainer(monitor="validation_f1")
    with pytest.raises(FitError, match="which way is up"):
        line_trainer(metrics={"own": lambda p, t: 0.0}, monitor="validation_own")
    with pytest.raises(FitError, match="hand in validation="):
        line_trainer(metrics={"mae": MeanAbsoluteError()}, validation=None)
    with pytest.raises(FitError, match="same number of rows"):
        line_trainer(validation=(rl.ones(3), rl.ones(4))).fit()
    with pytest.raises(FitError, match="a batch must hold inputs and a target"):
        model = nn.Linear(3, 1)
        Trainer(model, F.mse_loss, optim.SGD(model.parameters(), lr=0.1), [rl.ones(3)]).fit()
    assert line_trainer(
        metrics={"own": Collected(lambda p, t: 1.0, higher_is_better=True)}, monitor="validation_own"
    ).higher_is_better


def test_plain_output_and_silence(capsys: pytest.CaptureFixture[str]) -> None:
    """A line per epoch without control codes, or nothing."""
    trainer = line_trainer(progress=True, metrics={"mae": MeanAbsoluteError()})
    trainer.fit()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[:3]] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert lines[3:] == [str(judge(trainer.history, trainer.first_loss, trainer.constant_loss))]
    assert "validation loss" in lines[0]
    assert "mae" in lines[0]
    assert "\x1b" not in "".join(lines)
    line_trainer().fit()
    assert capsys.readouterr().out == ""


def test_tensorboard_gets_the_history(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    line_trainer(tensorboard=tmp_path / "log").fit()
    written = b"".join(path.read_bytes() for path in (tmp_path / "log").iterdir())
    assert b"validation_loss" in written
    assert b"learning_rate" in written


def test_a_run_with_a_log_is_resumed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    first = line_trainer(folder=tmp_path / "run", tensorboard=True, epochs=2)
    first.fit()
    resumed = line_trainer(folder=tmp_path / "run", tensorboard=True, epochs=3, resume=True)
    resumed.fit()
    assert len(resumed.history) == 3
    logged = [each.callbacks[-1].state_dict()["steps"] for each in (first, resumed)]
    assert logged[0] > 0 and logged[1] == logged[0] * 3 // 2
