"""The digit job: a multilayer perceptron that classifies small grey images.

`Settings` is what a user can ask for, `prepare` makes a run of it for the one fit loop (`rushlight.fit`),
`test_result` and `load_best` use what it left. Invariant: everything random comes from the default generator,
seeded here, so a seed gives the same run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

import rushlight as rl
from rushlight import nn, optim
from rushlight.compile import cache, compile
from rushlight.fit import Accuracy, RunFolder, Trainer, predictions
from rushlight.fit.step import plain_step
from rushlight.jobs.command import wording
from rushlight.jobs.errors import JobError, refuse
from rushlight.jobs.image_data import CLASSES, IMAGES, INPUTS, NAMED, ImageData, as_rows, describe, moments
from rushlight.jobs.kept import damaged, part, settings_of
from rushlight.nn import functional as F
from rushlight.optim import lr_scheduler
from rushlight.tensor import Tensor, new_tensor

ROWS_AT_ONCE = 512  # images that are classified at once: as floats they stay in the processor's cache

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
    epochs: int = 3
    lr: float | None = None
    optimizer: str = "adam"
    schedule: str = "one-cycle"
    validation: float = 0.1
    seed: int = 0
    eager: bool = False
    tensorboard: bool = False

    def check(self) -> None:
        """Refuse settings that make no sense, naming the option."""
        wrong = [
            *network_faults(self),
            (not 0 < self.validation < 1, "--validation is a share between 0 and 1, such as 0.1"),
        ]
        refuse(wrong)

    @property
    def rate(self) -> float:
        """The learning rate: the one asked for, or the optimizer's usual one."""
        return self.lr if self.lr is not None else DEFAULT_RATES.get(self.optimizer, 0.004)


class NetworkSettings(Protocol):
    """The settings that jobs have in common which train a network of linear layers."""

    hidden: list[int]
    activation: str
    optimizer: str
    schedule: str
    batch_size: int
    epochs: int
    lr: float | None
    seed: int

    @property
    def rate(self) -> float:
        """The highest learning rate."""


def network_faults(settings: NetworkSettings) -> list[tuple[bool, str]]:
    """What can be wrong with them, for `refuse`."""
    lr = settings.lr
    return [
        (any(n < 1 for n in settings.hidden), "--hidden needs positive layer sizes, such as 64,32"),
        (settings.activation not in ACTIVATIONS, f"--activation is one of {', '.join(ACTIVATIONS)}"),
        (settings.optimizer not in OPTIMIZERS, f"--optimizer is one of {', '.join(OPTIMIZERS)}"),
        (settings.schedule not in SCHEDULES, f"--schedule is one of {', '.join(SCHEDULES)}"),
        (settings.batch_size < 1, "--batch-size must be at least 1"),
        (settings.epochs < 1, "--epochs must be at least 1"),
        (lr is not None and not 0 < lr < math.inf, "--lr must be a positive number"),
        (not -(2**63) <= settings.seed < 2**64, "--seed must be a 64-bit number"),
    ]


def build_model(inputs: int, settings: NetworkSettings, classes: int) -> nn.Sequential:
    """Linear layers of the sizes asked for, with an activation after each but the last."""
    layers: list[nn.Module] = []
    width = inputs
    for size in settings.hidden:
        layers += [nn.Linear(width, size), ACTIVATIONS[settings.activation]()]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, classes))


def build_schedule(optimizer: optim.Optimizer, settings: NetworkSettings, steps: int) -> Any:
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


class ImageNetwork(nn.Sequential):
    """The layers of a network for rows of pixels, 0 to 255, which it brings to mean 0 and deviation 1 first.

    A data set thus stays a fourth of the size, and a batch is scaled where it is in the nearest cache.

    Args:
        layers: the modules.
        mean, deviation: of the pixels it was trained on, on the scale 0 to 1.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, layers: nn.Sequential, mean: float, deviation: float) -> None:
        super().__init__(*layers)
        self.register_buffer("mean", rl.tensor(mean), persistent=False)
        self.register_buffer("deviation", rl.tensor(deviation), persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        """The scores of each row's classes."""
        return super().forward((input.float() * (1 / 255) - self.mean) / self.deviation)


def build_parts(
    inputs: int, settings: Settings, classes: int, steps: int, mean: float = 0.0, deviation: float = 1.0
) -> tuple[ImageNetwork, optim.Optimizer, Any]:
    """The network, its optimizer, and the schedule over all steps."""
    model = ImageNetwork(build_model(inputs, settings, classes), mean, deviation)
    optimizer = OPTIMIZERS[settings.optimizer](model.parameters(), lr=settings.rate)
    return model, optimizer, build_schedule(optimizer, settings, steps)


def step_to_compile(settings: Settings) -> Callable[[], Any]:
    """A function that compiles the step of a run with these settings, so that it is in the cache when the run
    comes to it; it does nothing where that does not help. This draws weights, but the function draws nothing:
    it may run in another thread.
    """
    helps = settings.data in NAMED and not settings.eager and cache.folder() is not None
    helps = helps and settings.batch_size <= IMAGES
    if not helps or rl.get_num_threads() == 1:
        return lambda: None
    model, optimizer, _ = build_parts(INPUTS, settings, CLASSES, steps=2)
    step = compile(plain_step(model, F.cross_entropy, optimizer), name="step")
    step.runs_many = True
    images = rl.zeros(settings.batch_size, INPUTS, dtype=rl.uint8)
    batch = images, rl.zeros(settings.batch_size, dtype=rl.int64)
    step.function(*batch)  # makes the optimizer's state
    return lambda: step(*batch)


@dataclass
class Job:
    """What a run is made of: the trainer, and the images and labels it learns from and validates on."""

    trainer: Trainer
    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]


def prepare(data: ImageData, settings: Settings, folder: RunFolder | None, resume: bool = False) -> Job:
    """A run ready to be trained, or to go on if `resume` and something was saved in `folder`.

    Without a folder nothing is saved.
    """
    mean, deviation = moments(data.train_images)
    rl.manual_seed(settings.seed)
    order = rl.randperm(len(data.train_images)).numpy()
    held_out = round(len(order) * settings.validation)
    if not 0 < held_out < len(order):
        raise JobError(
            f"--validation {settings.validation} of {len(order)} images leaves nothing to train or to "
            "validate on"
        )

    def samples(rows: np.ndarray) -> tuple[Tensor, Tensor]:
        return new_tensor(as_rows(data.train_images)[rows]), new_tensor(
            data.train_labels[rows].astype(np.int64)
        )

    train, validation = samples(np.sort(order[held_out:])), samples(np.sort(order[:held_out]))
    steps = math.ceil(len(train[0]) / settings.batch_size) * settings.epochs
    inputs, classes = train[0].shape[1], len(data.classes)
    model, optimizer, schedule = build_parts(inputs, settings, classes, steps, mean, deviation)
    config = {
        "job": "images",
        "version": rl.__version__,
        "settings": asdict(settings),
        "data": describe(data),
        "mean": mean,
        "deviation": deviation,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    trainer = Trainer(
        model,
        F.cross_entropy,
        optimizer,
        train,
        validation,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        scheduler=schedule,
        metrics={"accuracy": Accuracy()},
        monitor="validation_accuracy",
        folder=folder,
        resume=resume,
        config=config,
        wording=wording(settings, "images", folder),
        compiled=not settings.eager,
        evaluation_batch_size=ROWS_AT_ONCE,
        tensorboard=settings.tensorboard and folder is not None,
        report=False,
    )
    return Job(trainer, train, validation)


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


def test_result(model: ImageNetwork, data: ImageData) -> Result:
    """Accuracy, confusion matrix (rows: truth) and scores on the test set."""
    scores = predictions(model, [new_tensor(as_rows(data.test_images))], ROWS_AT_ONCE).numpy()
    labels = data.test_labels.astype(np.int64)
    count = len(data.classes)
    confusion = np.bincount(labels * count + scores.argmax(1), minlength=count * count).reshape(count, count)
    return Result(accuracy(scores, labels), confusion, scores, labels, data.test_images, data.classes)


def load_weights(model: nn.Module, folder: RunFolder) -> None:
    """Give a model, rebuilt from a run's configuration, the best weights of the run."""
    try:
        model.load_state_dict(folder.read_model())
    except RuntimeError as error:
        raise JobError(f"{folder.path}/model.safetensors does not fit its configuration: {error}") from None


def load_best(folder: RunFolder, config: dict[str, Any]) -> ImageNetwork:
    """The best model of a run, rebuilt from its folder."""
    file = folder.path / "config.json"
    settings = settings_of(Settings, config, file)
    data = part(config, "data", dict, file)
    shape, classes = part(data, "shape", list[int], file), part(data, "classes", list[str], file)
    if len(shape) != 2 or min(shape) < 1 or not classes:
        raise damaged(file, f"there are no images of the shape {shape} in {len(classes)} classes")
    layers = build_model(math.prod(shape), settings, len(classes))
    mean, deviation = (float(part(config, name, float, file)) for name in ("mean", "deviation"))
    model = ImageNetwork(layers, mean, deviation)
    load_weights(model, folder)
    return model
