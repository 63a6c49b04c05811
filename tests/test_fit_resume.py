"""A run that is interrupted and resumed ends with the bits of one that ran through, whatever feeds it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.fit import (
    Accuracy,
    Callback,
    EarlyStopping,
    FitError,
    Interrupted,
    RunFolder,
    Trainer,
    run_folder,
)
from rushlight.utils.data import DataLoader, Dataset, TensorDataset

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")

STEPS = 7  # 50 samples in batches of 8: the last batch of an epoch is shorter


class Noisy(Dataset):
    """Samples with noise from two random streams."""

    def __init__(self, inputs: rl.Tensor, labels: rl.Tensor) -> None:
        self.inputs, self.labels = inputs, labels

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> Any:
        return self.inputs[index] + 0.1 * rl.randn(5) + float(np.random.rand()), self.labels[index]  # noqa: NPY002 - the stream users draw from


class CtrlC(Callback):
    """Presses Ctrl-C after a number of steps."""

    def __init__(self, after: int) -> None:
        self.left = after

    def on_step_end(self, trainer: Trainer, loss: float) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


def feeds(kind: str, inputs: rl.Tensor, labels: rl.Tensor) -> Any:
    """Training data of one kind."""
    both = TensorDataset(inputs, labels)
    if kind == "tensors":
        return inputs, labels
    if kind == "loader":
        return DataLoader(both, batch_size=8, shuffle=True)
    if kind == "loader with a generator":
        return DataLoader(both, batch_size=8, shuffle=True, generator=rl.Generator().manual_seed(5))
    return DataLoader(Noisy(inputs, labels), batch_size=8, shuffle=True)


def make(
    kind: str,
    folder: Path | None = None,
    resume: bool = False,
    after: int = 0,
    compiled: bool = False,
    optimizer: str = "Adam",
) -> Trainer:
    """A run with everything that has state: momenta, a schedule, running statistics, dropout."""
    rl.manual_seed(3)
    np.random.seed(1)  # noqa: NPY002
    inputs, labels = rl.randn(50, 5), rl.randint(0, 3, (50,))
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 3))
    update = getattr(optim, optimizer)(model.parameters(), lr=0.01)
    return Trainer(
        model,
        nn.CrossEntropyLoss(),
        update,
        feeds(kind, inputs, labels),
        DataLoader(TensorDataset(inputs, labels), batch_size=9),
        epochs=3,
        batch_size=8,
        scheduler=optim.lr_scheduler.OneCycleLR(update, 0.01, total_steps=3 * STEPS),
        metrics={"accuracy": Accuracy()},
        clip_norm=1.0,
        folder=folder,
        resume=resume,
        callbacks=[EarlyStopping(10), CtrlC(after)],
        compiled=compiled,
        progress=False,
        report=False,
    )


def bits(trainer: Trainer) -> bytes:
    """All that the model knows."""
    return b"".join(each.detach().numpy().tobytes() for each in trainer.model.state_dict().values())


@pytest.mark.parametrize(
    ("kind", "compiled"),
    [
        ("tensors", False),
        ("loader", False),
        ("loader with a generator", True),
        ("noise in the samples", False),
    ],
)
def test_resumed_is_uninterrupted(kind: str, compiled: bool, tmp_path: Path) -> None:
    """After the first step, in the middle, at both sides of an epoch's end."""
    whole = make(kind, compiled=compiled)
    whole.fit()
    for after in (STEPS - 3, STEPS + 1) if compiled else (1, STEPS - 3, STEPS, STEPS + 1):
        folder = tmp_path / f"after {after}"
        with pytest.raises(Interrupted, match="What was learnt is saved: continue with"):
            make(kind, folder, after=after, compiled=compiled).fit()
        resumed = make(kind, folder, resume=True, compiled=compiled)
        assert (resumed.epoch, resumed.step) == (0, after) if after <= STEPS else (1, after - STEPS)
        resumed.restore(resumed.folder.read_state())  # the constructor's own numpy.random.seed came first
        resumed.fit()
        assert bits(resumed) == bits(whole)
        assert resumed.history == whole.history


def test_fit_goes_on_in_memory() -> None:
    """Without a folder the trainer itself is what can go on."""
    whole, parts = make("tensors"), make("tensors", after=9)
    whole.fit()
    parts = make("tensors", after=9)
    with pytest.raises(Interrupted, match="after 2 of 7 steps"):
        parts.fit()
    parts.fit()
    assert bits(parts) == bits(whole)


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    """Another optimizer, another network."""
    make("tensors", tmp_path / "run").fit()
    with pytest.raises(FitError, match="cannot be resumed"):
        make("loader with a generator", tmp_path / "run", resume=True)
    with pytest.raises(FitError, match="already holds a run"):
        make("tensors", tmp_path / "run")


def test_two_processes_do_not_begin_a_run_in_one_folder(tmp_path):
    script = (
        "import sys\n"
        "from rushlight.fit import RunFolder\n"
        "folder = RunFolder.create(sys.argv[1])\n"
        "print('made', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    place, before = tmp_path / "run", dict(run_folder._claimed)
    command = [sys.executable, "-c", script, str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "made\n"
        with pytest.raises(FitError, match=r"another process begins a run in .*run just now"):
            RunFolder.create(place)
        other.communicate("\n")
    for _ in range(2):  # the other one ended before it wrote anything
        folder = RunFolder.create(place)
    folder.write_config({})
    assert run_folder._claimed == before
    with pytest.raises(FitError, match="already holds a run"):
        RunFolder.create(place)
