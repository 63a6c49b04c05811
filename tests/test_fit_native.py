"""Training epochs run natively, many steps in one call, and nobody can tell by what comes out."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.cli import main
from rushlight.compile import over
from rushlight.compile.native import Native
from rushlight.fit import Callback, EarlyStopping, FitError, Interrupted, Trainer, step, watch
from rushlight.utils.data import DataLoader, TensorDataset
from rushlight.vision.idx import TYPES

ROWS, BATCH, EPOCHS = 205, 8, 3
WHOLE = ROWS // BATCH  # batches of an epoch; one of five rows follows them


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many steps each native call ran."""
    calls: list[int] = []
    run_many = Native.run_many

    def counted(self: Native, data: Any, rows: np.ndarray, *more: Any) -> Any:
        calls.append(len(rows))
        return run_many(self, data, rows, *more)

    monkeypatch.setattr(Native, "run_many", counted)
    return calls


class EachStep(Callback):
    """Wants to be told of every step, and so keeps steps apart."""

    def __init__(self) -> None:
        self.told: list[float] = []

    def on_step_end(self, trainer: Trainer, loss: float) -> None:
        self.told.append(loss)


def make(*callbacks: Callback, **settings: Any) -> Trainer:
    """A run with a schedule, momenta, clipped gradients and a short last batch."""
    rl.manual_seed(3)
    inputs, labels = rl.randn(ROWS, 5), rl.randint(0, 3, (ROWS,))
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    update = optim.Adam(model.parameters(), lr=0.01)
    settings = {
        "scheduler": optim.lr_scheduler.OneCycleLR(update, 0.01, total_steps=EPOCHS * (WHOLE + 1)),
        "progress": False,
        "clip_value": 0.05,
        "train": (inputs, labels),
        **settings,
    }
    train = settings.pop("train")
    data = (inputs, labels)
    return Trainer(
        model,
        nn.CrossEntropyLoss(),
        update,
        train,
        data,
        epochs=EPOCHS,
        batch_size=BATCH,
        callbacks=callbacks,
        **settings,
    )


def left_by(trainer: Trainer) -> tuple[bytes, Any, Any]:
    """What a run leaves: the model's bits, the history, and where random numbers stand."""
    model = b"".join(each.detach().numpy().tobytes() for each in trainer.model.state_dict().values())
    return model, trainer.history, rl.get_rng_state().tolist()


@pytest.mark.parametrize("shuffle", [True, False])
def test_many_steps_in_one_call_give_the_bits_of_steps_one_by_one(native: list[int], shuffle: bool) -> None:
    """All but the first step and each epoch's short last batch."""
    together = make(EarlyStopping(9), shuffle=shuffle)
    together.fit()
    assert sum(native) == EPOCHS * WHOLE - 1
    assert max(native) > 1
    found = left_by(together)
    native.clear()
    each = EachStep()
    apart = make(each, EarlyStopping(9), shuffle=shuffle)
    apart.fit()
    assert not native and len(each.told) == EPOCHS * (WHOLE + 1)
    assert left_by(apart) == found
    assert together.first_loss == apart.first_loss == each.told[0]


def test_the_order_of_a_dataset_in_memory_is_kept(native: list[int]) -> None:
    """A TensorDataset and columns of a wider table run natively too."""
    rl.manual_seed(3)
    inputs, labels = rl.randn(ROWS, 5), rl.randint(0, 3, (ROWS,))
    make(train=TensorDataset(inputs, labels)).fit()
    assert sum(native) == EPOCHS * WHOLE - 1
    native.clear()
    wide = rl.cat([inputs, inputs], 1)
    make(train=(wide[:, ::2], labels)).fit()
    assert sum(native) == EPOCHS * WHOLE - 1


def test_steps_that_cannot_run_natively_run_one_by_one(native: list[int]) -> None:
    """Uncompiled, under the eyes of a watcher, and with inputs that take part in autograd."""
    make(compiled=False).fit()
    trainer = make()
    with watch(trainer.model, trainer.optimizer, warn=False):
        trainer.plain_step(*trainer.train_batches.tensors)
    rows = make(train=(rl.randn(ROWS, 5, requires_grad=True), rl.zeros(ROWS, dtype=rl.int64)), compiled=False)
    rows.fit()
    assert not native


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_in_a_native_call_saves_what_was_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is finished first; the resumed run ends with the bits of one that ran through."""
    monkeypatch.setattr(over, "CHUNK_SECONDS", 1e-9)  # the first call has 16 steps, the others one each
    whole = make(folder=tmp_path / "whole")
    whole.fit()
    run_many = Native.run_many
    calls = []

    def pressed(self: Native, *given: Any) -> Any:
        calls.append(len(given[1]))
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return run_many(self, *given)

    monkeypatch.setattr(Native, "run_many", pressed)
    with pytest.raises(Interrupted, match="stopped in epoch 1 of 3 after 19 of 26 steps"):
        make(folder=tmp_path / "run").fit()
    assert calls == [16, 1, 1]
    resumed = make(folder=tmp_path / "run", resume=True)
    assert (resumed.epoch, resumed.step, resumed.seen) == (0, 19, 19 * BATCH)
    resumed.fit()
    assert left_by(resumed) == left_by(whole)


def test_a_loss_that_is_not_finite_is_told_with_its_step() -> None:
    """Also if it comes in the middle of a native call."""
    rl.manual_seed(3)
    inputs = rl.randn(ROWS, 5)
    inputs[13 * BATCH + 2, 4] = float("nan")
    labels = rl.zeros(ROWS, dtype=rl.int64)
    for callbacks in ((), (EachStep(),)):
        trainer = make(*callbacks, train=(inputs, labels), shuffle=False, watch=False)
        with pytest.raises(FitError, match=r"nan in epoch 1, step 14: the input 1 of this batch"):
            trainer.fit()
        assert trainer.step == 13


# -- the jobs ------------------------------------------------------------------------------------------------


def idx(path: Path, array: np.ndarray) -> None:
    """An IDX file."""
    code = next(code for code, name in TYPES.items() if name == "u1")
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(bytes([0, 0, code, array.ndim]) + sizes + array.astype(np.uint8).tobytes())


def images(folder: Path) -> list[str]:
    draw = np.random.default_rng(0)
    for part, count in (("train", 300), ("t10k", 40)):
        labels = np.arange(count) % 3
        idx(
            folder / f"{part}-images-idx3-ubyte",
            draw.integers(0, 80, (count, 4, 4)) + 80 * labels[:, None, None],
        )
        idx(folder / f"{part}-labels-idx1-ubyte", labels)
    return [str(folder), "--hidden", "8", "--batch-size", "10"]


def table(path: Path, columns: dict[str, Any]) -> str:
    """A file of comma-separated values."""
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n")
    return str(path)


def ratings(folder: Path) -> list[str]:
    place = np.arange(400)
    columns = {"userId": place % 23 + 1, "movieId": place % 19 + 1, "rating": 1 + (place * place) % 5}
    return [table(folder / "ratings.csv", columns), "--batch-size", "16"]


def candles(folder: Path) -> list[str]:
    draw = np.random.default_rng(0)
    close = 1000 + np.cumsum(draw.normal(0, 2, 300)).round(1)
    times = np.datetime64("2023-06-01T00:00") + np.arange(300) * np.timedelta64(15, "m")
    columns = {"time": times, "open": close - 1, "high": close + 2, "low": close - 3, "close": close}
    given = ["--target", "high", "--hidden", "8", "--batch-size", "10"]
    return [table(folder / "candles.csv", columns), *given]


def people(folder: Path) -> list[str]:
    draw = np.random.default_rng(0)
    age, town = draw.integers(1, 80, 300), draw.choice(["A", "B", "C"], 300)
    columns = {"age": age, "town": town, "stays": np.where(age + 20 * (town == "A") > 40, "yes", "no")}
    return [table(folder / "people.csv", columns), "--target", "stays", "--batch-size", "10"]


@pytest.mark.parametrize("job", [images, ratings, candles, people])
def test_jobs_train_natively(
    job: Callable[[Path], list[str]],
    native: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All but the first step of a run and an epoch's short last batch."""
    taken: list[int] = []
    take = step.Step.take

    def noted(self: step.Step, *given: Any) -> Any:
        found = take(self, *given)
        taken.append(len(found.losses) if found else 0)
        return found

    monkeypatch.setattr(step.Step, "take", noted)
    command = ["train", *job(tmp_path), "--epochs", "2", "--no-report", "--out", str(tmp_path / "run")]
    assert main(command) == 0, capsys.readouterr().err
    runs = 2 if job is people else 1  # a linear model and a network
    assert sum(taken) - sum(native) <= runs * (1 + 2)
    assert sum(native) > 20 * runs


def test_a_loader_over_data_in_memory_runs_natively(native: list[int]) -> None:
    """What `step.over` promises, for a step such as users write."""
    rl.manual_seed(3)
    inputs, labels = rl.randn(ROWS, 5), rl.randint(0, 3, (ROWS,))
    model = nn.Linear(5, 3)
    update = optim.SGD(model.parameters(), lr=0.1)

    @rl.compile
    def learn(x: rl.Tensor, y: rl.Tensor) -> rl.Tensor:
        loss = nn.functional.cross_entropy(model(x), y)
        update.zero_grad()
        loss.backward()
        update.step()
        return loss

    loader = DataLoader(TensorDataset(inputs, labels), BATCH, shuffle=True)
    for _ in range(2):
        assert len(learn.over(loader)) == WHOLE + 1
    assert sum(native) >= 2 * WHOLE - 4
