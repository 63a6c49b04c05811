"""The digit job: a multilayer perceptron that classifies small grey images.

`Settings` is what a user can ask for, `train` runs it (or goes on with it), `evaluate` and `predict` use
what it left. Invariant: a run that was interrupted and resumed ends with the same bits as one that was not,
since everything random comes from one stream whose state is saved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

import rushlight as rl
from rushlight import nn, optim
from rushlight.jobs.errors import Interrupted, JobError
from rushlight.jobs.image_data import ImageData, describe, moments, to_input
from rushlight.jobs.progress import Progress
from rushlight.jobs.run_folder import RunFolder
from rushlight.nn import functional as F
from rushlight.optim import lr_scheduler
from rushlight.tensor import Tensor, new_tensor

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    "sgd": optim.SGD,
    "momentum": lambda parameters, lr: optim.SGD(parameters, lr=lr, momentum=0.9),
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "rmsprop": optim.RMSprop,
    "adagrad": optim.Adagrad,
    "nadam": optim.NAdam,
    "radam": optim.RAdam,
}
DEFAULT_RATES = {"sgd": 0.1, "momentum": 0.05, "adagrad": 0.02, "rmsprop": 0.001}
SCHEDULES = ("one-cycle", "cosine", "linear", "step", "constant")


@dataclass
class Settings:
    """What a training run is asked to do; the defaults reach 97 % on MNIST."""

    data: str = "mnist"
    hidden: list[int] = field(default_factory=lambda: [64, 32])
    activation: str = "relu"
    batch_size: int = 64
    epochs: int = 10
    lr: float | None = None
    optimizer: str = "adam"
    schedule: str = "one-cycle"
    validation: float = 0.1
    seed: int = 0

    def check(self) -> None:
        """Refuse settings that make no sense, naming the option."""
        wrong = [
            (any(n < 1 for n in self.hidden), "--hidden needs positive layer sizes, such as 64,32"),
            (self.activation not in ACTIVATIONS, f"--activation is one of {', '.join(ACTIVATIONS)}"),
            (self.optimizer not in OPTIMIZERS, f"--optimizer is one of {', '.join(OPTIMIZERS)}"),
            (self.schedule not in SCHEDULES, f"--schedule is one of {', '.join(SCHEDULES)}"),
            (self.batch_size < 1, "--batch-size must be at least 1"),
            (self.epochs < 1, "--epochs must be at least 1"),
            (self.lr is not None and not 0 < self.lr < math.inf, "--lr must be a positive number"),
            (not 0 < self.validation < 1, "--validation is a share between 0 and 1, such as 0.1"),
            (not -(2**63) <= self.seed < 2**64, "--seed must be a 64-bit number"),
        ]
        for bad, sentence in wrong:
            if bad:
                raise JobError(sentence)

    @property
    def rate(self) -> float:
        """The learning rate: the one asked for, or the optimizer's usual one."""
        return self.lr if self.lr is not None else DEFAULT_RATES.get(self.optimizer, 0.003)


def build_model(inputs: int, settings: Settings, classes: int) -> nn.Sequential:
    """Linear layers of the sizes asked for, with an activation after each but the last."""
    layers: list[nn.Module] = []
    width = inputs
    for size in settings.hidden:
        layers += [nn.Linear(width, size), ACTIVATIONS[settings.activation]()]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, classes))


def build_schedule(optimizer: optim.Optimizer, settings: Settings, steps: int) -> Any:
    """The learning-rate schedule over all `steps` of the run; it is stepped after every batch."""
    if settings.schedule == "one-cycle":
        # OneCycleLR would give momentum to an optimizer that was asked for without
        momentum = bool(optimizer.defaults.get("momentum") or "betas" in optimizer.defaults)
        return lr_scheduler.OneCycleLR(optimizer, settings.rate, total_steps=steps, cycle_momentum=momentum)
    if settings.schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    if settings.schedule == "linear":
        return lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=1e-3, total_iters=steps)
    if settings.schedule == "step":
        return lr_scheduler.StepLR(optimizer, step_size=max(1, steps // 3), gamma=0.3)
    return lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)


class Trainer:
    """One run in memory: data, model, optimizer, schedule, and where in the run we are."""

    def __init__(self, data: ImageData, settings: Settings, folder: RunFolder) -> None:
        self.data, self.settings, self.folder = data, settings, folder
        self.mean, self.deviation = moments(data.train_images)
        rl.manual_seed(settings.seed)
        order = rl.randperm(len(data.train_images)).numpy()
        held_out = round(len(order) * settings.validation)
        if not 0 < held_out < len(order):
            raise JobError(
                f"--validation {settings.validation} of {len(order)} images leaves nothing to train or to "
                "validate on"
            )
        train, validation = np.sort(order[held_out:]), np.sort(order[:held_out])
        self.images = new_tensor(to_input(data.train_images[train], self.mean, self.deviation))
        self.labels = new_tensor(data.train_labels[train].astype(np.int64))
        self.validation_images = new_tensor(
            to_input(data.train_images[validation], self.mean, self.deviation)
        )
        self.validation_labels = data.train_labels[validation]
        self.model = build_model(self.images.shape[1], settings, len(data.classes))
        self.optimizer = OPTIMIZERS[settings.optimizer](self.model.parameters(), lr=settings.rate)
        self.steps_per_epoch = math.ceil(len(self.images) / settings.batch_size)
        total = self.steps_per_epoch * settings.epochs
        self.schedule = build_schedule(self.optimizer, settings, total)
        self.epoch = self.step = 0
        self.epoch_state = rl.get_rng_state()
        self.loss_sum = 0.0
        self.history: list[dict[str, Any]] = []
        self.best = -1.0

    # -- the state -------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything needed to go on to the same bits."""
        return {
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "epoch_rng": self.epoch_state,
            "rng": rl.get_rng_state(),
            "loss_sum": self.loss_sum,
            "history": self.history,
            "best": self.best,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a saved state; JobError if it belongs to another network."""
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.epoch, self.step = int(state["epoch"]), int(state["step"])
            self.epoch_state, self.loss_sum = state["epoch_rng"], float(state["loss_sum"])
            self.history, self.best = list(state["history"]), float(state["best"])
            rl.set_rng_state(state["rng"])
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            raise JobError(
                f"{self.folder.path} cannot be resumed, its saved state does not fit: {error}"
            ) from None

    def save(self) -> None:
        """Write the state and the history to the run folder."""
        self.folder.write_state(self.state())
        self.folder.write_history(self.history)

    def config(self) -> dict[str, Any]:
        """What the run folder records: settings, data and how images become input."""
        return {
            "job": "images",
            "version": rl.__version__,
            "settings": asdict(self.settings),
            "data": describe(self.data),
            "mean": self.mean,
            "deviation": self.deviation,
            "parameters": sum(p.numel() for p in self.model.parameters()),
        }

    # -- training --------------------------------------------------------------------------------------------

    def train_step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Forward, backward and update on one batch; returns the loss."""
        loss = F.cross_entropy(self.model(images), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss

    def batches(self) -> Iterator[Tensor]:
        """The rest of this epoch's batches, as row numbers; the same order after a resume."""
        if self.step:
            now = rl.get_rng_state()
            rl.set_rng_state(self.epoch_state)
            order = rl.randperm(len(self.images))
            rl.set_rng_state(now)
        else:
            self.epoch_state = rl.get_rng_state()
            order = rl.randperm(len(self.images))
        size = self.settings.batch_size
        for step in range(self.step, self.steps_per_epoch):
            yield order[step * size : (step + 1) * size]

    def run(self, progress: Progress) -> None:
        """Train to the end; on Ctrl-C save what was learnt and raise `Interrupted`."""
        try:
            while self.epoch < self.settings.epochs:
                self._run_epoch(progress)
        except KeyboardInterrupt:
            self.save()
            raise Interrupted(
                f"stopped in epoch {self.epoch + 1} of {self.settings.epochs} after {self.step} of "
                f"{self.steps_per_epoch} steps. "
                f"What was learnt is saved: continue with  rushlight train {self.settings.data} --resume "
                f"{self.folder.path}"
            ) from None

    def _run_epoch(self, progress: Progress) -> None:
        count = len(self.images)
        progress.start_epoch(self.epoch, self.step * self.settings.batch_size)
        for rows in self.batches():
            loss = self.train_step(self.images[rows], self.labels[rows]).item()
            if not math.isfinite(loss):
                raise JobError(
                    f"the loss became {loss} in epoch {self.epoch + 1}, step {self.step + 1}: the learning "
                    "rate is too large for this "
                    f"network. Try --lr {self.settings.rate / 10:g}. What was saved in {self.folder.path} "
                    "is untouched."
                )
            self.loss_sum += loss * len(rows)
            self.step += 1
            progress.advance(len(rows), loss)
        scores = self.scores(self.validation_images)
        row = {
            "epoch": self.epoch + 1,
            "train_loss": self.loss_sum / count,
            "validation_loss": F.cross_entropy(
                scores, new_tensor(self.validation_labels.astype(np.int64))
            ).item(),
            "validation_accuracy": accuracy(scores.numpy(), self.validation_labels),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
        }
        self.history.append(row)
        self.epoch, self.step, self.loss_sum = self.epoch + 1, 0, 0.0
        if row["validation_accuracy"] > self.best:
            self.best = row["validation_accuracy"]
            self.folder.write_model(self.model.state_dict(), {"epoch": str(self.epoch)})
        self.save()
        progress.end_epoch(row)

    def scores(self, images: Tensor, batch: int = 4096) -> Tensor:
        """The network's scores for many images, without history."""
        return scores_of(self.model, images, batch)


def scores_of(model: nn.Module, images: Tensor, batch: int = 4096) -> Tensor:
    """The network's scores for many images, in pieces, without history."""
    model.eval()
    with rl.no_grad():
        parts = [model(images[start : start + batch]) for start in range(0, len(images), batch)]
    model.train()
    return rl.cat(parts)


def accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """The share of rows whose largest score is the label's."""
    return float((scores.argmax(1) == labels).mean())


@dataclass
class Result:
    """How a model did on the test images."""

    accuracy: float
    confusion: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    images: np.ndarray
    classes: list[str]


def test_result(model: nn.Module, data: ImageData, mean: float, deviation: float) -> Result:
    """Accuracy, confusion matrix (rows: truth) and scores on the test set."""
    scores = scores_of(model, new_tensor(to_input(data.test_images, mean, deviation))).numpy()
    labels = data.test_labels.astype(np.int64)
    count = len(data.classes)
    confusion = np.bincount(labels * count + scores.argmax(1), minlength=count * count).reshape(count, count)
    return Result(accuracy(scores, labels), confusion, scores, labels, data.test_images, data.classes)


def load_best(folder: RunFolder, config: dict[str, Any]) -> nn.Sequential:
    """The best model of a run, rebuilt from its folder."""
    try:
        settings = Settings(**config["settings"])
        rows, columns = config["data"]["shape"]
        model = build_model(rows * columns, settings, len(config["data"]["classes"]))
    except (KeyError, TypeError, ValueError) as error:
        raise JobError(f"{folder.path}/config.json does not describe a network: {error!r}") from None
    try:
        model.load_state_dict(folder.read_model())
    except RuntimeError as error:
        raise JobError(f"{folder.path}/model.safetensors does not fit its configuration: {error}") from None
    return model
