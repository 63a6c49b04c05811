"""The ratings job: who will like what, learnt from who rated what.

`Settings` is what a user can ask for; `prepare` makes a run of it for the one fit loop (`rushlight.fit`),
`finish` tests it beside two baselines, and `Recommender` uses what a run left. Invariant: the part held out
for testing chooses nothing (the model kept is the last epoch's), and a user or item that was not trained on
is the unknown row, which was trained on copies of other ratings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

import rushlight as rl
from rushlight import optim
from rushlight.files import write_bytes
from rushlight.fit import MeanAbsoluteError, RootMeanSquaredError, RunFolder, Trainer, predictions
from rushlight.jobs.command import wording
from rushlight.jobs.errors import JobError, refuse
from rushlight.jobs.kept import damaged, part, read_json, settings_of
from rushlight.jobs.ratings_data import (
    UNKNOWN,
    Ratings,
    Vocabulary,
    read_names,
    read_ratings,
    repeated_pairs,
)
from rushlight.jobs.ratings_model import DotProductBias
from rushlight.jobs.reading import ALL_ROWS
from rushlight.nn import functional as F
from rushlight.optim import lr_scheduler
from rushlight.serialize import load_file, save_file
from rushlight.tensor import Tensor, new_tensor

UNKNOWN_SHARE = 0.01  # of the training ratings, copied with the user or the item made unknown
SMALLEST_BATCH, STEPS_AN_EPOCH = 128, 1500
DAMPING = 5.0  # ratings of the average kind that the bias baseline adds to each user and item


@dataclass
class Settings:
    """What a run is asked to do; the defaults reach a test RMSE of 0.90 on MovieLens 100k."""

    data: str
    user: str | None = None
    item: str | None = None
    rating: str | None = None
    items: str | None = None
    reading: dict[str, Any] = field(default_factory=dict)
    n_factors: int = 50
    y_range: list[float] | None = None
    batch_size: int | None = None
    epochs: int = 5
    lr: float = 5e-3
    weight_decay: float = 0.2
    bias_decay: float = 0.01
    test: float = 0.2
    seed: int = 0
    eager: bool = False
    tensorboard: bool = False

    def check(self) -> None:
        """Refuse settings that make no sense, naming the option."""
        bounds = [0.0, 1.0] if self.y_range is None else self.y_range
        low, high = bounds if len(bounds) == 2 else (1.0, 0.0)
        wrong = [
            (self.n_factors < 1, "--n-factors must be at least 1"),
            (not -math.inf < low < high < math.inf, "--y-range is two numbers, the lower first: 0,5.5"),
            (self.batch_size is not None and self.batch_size < 1, "--batch-size must be at least 1"),
            (self.epochs < 1, "--epochs must be at least 1"),
            (not 0 < self.lr < math.inf, "--lr must be a positive number"),
            (not 0 <= self.weight_decay < math.inf, "--weight-decay must be a number from 0 on"),
            (not 0 <= self.bias_decay < math.inf, "--bias-decay must be a number from 0 on"),
            (not 0 < self.test < 1, "--test is a share between 0 and 1, such as 0.2"),
            (not -(2**63) <= self.seed < 2**64, "--seed must be a 64-bit number"),
        ]
        refuse(wrong)


@dataclass(frozen=True)
class Errors:
    """How far predictions are from ratings."""

    rmse: float
    mae: float

    @classmethod
    def of(cls, prediction: np.ndarray, rating: np.ndarray) -> Errors:
        """Root mean squared and mean absolute error.

        >>> Errors.of(np.array([3.0, 4.0]), np.array([3.0, 2.0]))
        Errors(rmse=1.4142135623730951, mae=1.0)
        """
        difference = prediction - rating
        return cls(float(np.sqrt(np.mean(difference**2))), float(np.mean(np.abs(difference))))


@dataclass
class Split:
    """Ratings numbered and divided: rows of user and item ``(N, 2)`` int64, ratings ``(N,)`` float64."""

    users: Vocabulary
    items: Vocabulary
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    notes: list[str]


def read_split(settings: Settings) -> Split:
    """The ratings of the settings' file, divided at random by the seed, which this sets."""
    given = {"user": settings.user, "item": settings.item, "rating": settings.rating}
    ratings = read_ratings(settings.data, given, settings.reading)
    assert ratings.rating is not None
    rl.manual_seed(settings.seed)
    order = rl.randperm(len(ratings.rating)).numpy()
    held_out = round(len(order) * settings.test)
    if not 0 < held_out < len(order):
        raise JobError(
            f"--test {settings.test} of {len(order)} ratings leaves nothing to train or to test on"
        )
    train, test = np.sort(order[held_out:]), np.sort(order[:held_out])
    if np.ptp(ratings.rating[train]) == 0:
        raise JobError(
            f"every rating in {settings.data} is {ratings.rating[train[0]]:g}: there is nothing to learn"
        )
    users, items = Vocabulary.of(ratings.users[train]), Vocabulary.of(ratings.items[train])
    pairs = np.stack([users.rows(ratings.users), items.rows(ratings.items)], axis=1)
    notes = list(ratings.notes)
    repeated = repeated_pairs(ratings)
    if repeated:
        notes.append(f"{repeated:,} ratings are of a user and item rated before; all are kept")
    return Split(
        users,
        items,
        (pairs[train], ratings.rating[train]),
        (pairs[test], ratings.rating[test]),
        notes,
    )


def with_unknown(pairs: np.ndarray, rating: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ratings, and copies of some with the user unknown and of others with the item unknown.

    >>> pairs, rating = with_unknown(np.ones((3, 2), dtype=np.int64), np.array([1.0, 2.0, 3.0]))
    >>> pairs[3:].tolist()
    [[0, 1], [1, 0]]
    """
    count = max(1, round(len(pairs) * UNKNOWN_SHARE))
    copies = []
    for column in (0, 1):
        rows = rl.randperm(len(pairs)).numpy()[:count]
        changed = pairs[rows]
        changed[:, column] = UNKNOWN
        copies.append((changed, rating[rows]))
    return np.concatenate([pairs, *(p for p, _ in copies)]), np.concatenate([rating, *(r for _, r in copies)])


def usual_range(rating: np.ndarray) -> list[float]:
    """The range of predictions for these ratings: a quarter of their span below, an eighth above.

    >>> usual_range(np.array([1.0, 5.0]))
    [0.0, 5.5]
    """
    low, high = float(rating.min()), float(rating.max())
    return [low - (high - low) / 4, high + (high - low) / 8]


def usual_batch(count: int) -> int:
    """Ratings per step for so many: 128, and more where an epoch would have several thousand steps, each of
    which updates all users and items.

    >>> usual_batch(80_000), usual_batch(800_000), usual_batch(20_000_000)
    (128, 512, 8192)
    """
    return max(SMALLEST_BATCH, 2 ** int(math.log2(max(count / STEPS_AN_EPOCH, 1))))


def build_model(users: Vocabulary, items: Vocabulary, settings: Settings) -> DotProductBias:
    """The model with a row for every user and item and one for the unknown."""
    assert settings.y_range is not None
    low, high = settings.y_range
    return DotProductBias(len(users), len(items), settings.n_factors, (low, high))


def tensors(pairs: np.ndarray, rating: np.ndarray) -> tuple[Tensor, Tensor]:
    """Input and target for the model."""
    return new_tensor(pairs), new_tensor(rating.astype(np.float32))


def prepare(split: Split, settings: Settings, folder: RunFolder | None, resume: bool = False) -> Trainer:
    """A run ready to be trained, or to go on if `resume` and something was saved in `folder`.

    Without a folder nothing is saved.
    """
    if settings.y_range is None:
        settings.y_range = usual_range(split.train[1])
    names = _names(split, settings)
    train = with_unknown(*split.train)
    model = build_model(split.users, split.items, settings)
    optimizer = optim.AdamW(
        [
            {"params": [model.user_factors, model.movie_factors], "weight_decay": settings.weight_decay},
            {"params": [model.user_bias, model.movie_bias], "weight_decay": settings.bias_decay},
        ],
        lr=settings.lr,
        betas=(0.9, 0.99),
        eps=1e-5,
    )
    batch_size = settings.batch_size or usual_batch(len(train[1]))
    steps = math.ceil(len(train[1]) / batch_size) * settings.epochs
    # a quarter of 4 steps is one, which PyTorch's OneCycleLR divides by zero for: it rises from step 0 to 0
    rising = 0.3 if steps == 4 else 0.25
    trainer = Trainer(
        model,
        F.mse_loss,
        optimizer,
        tensors(*train),
        tensors(*split.test),
        epochs=settings.epochs,
        batch_size=batch_size,
        scheduler=lr_scheduler.OneCycleLR(optimizer, settings.lr, total_steps=steps, pct_start=rising),
        metrics={"rmse": RootMeanSquaredError(), "mae": MeanAbsoluteError()},
        monitor="train_loss",
        folder=folder,
        resume=resume,
        config={
            "job": "ratings",
            "version": rl.__version__,
            "settings": asdict(settings),
            "ratings": len(split.train[1]) + len(split.test[1]),
            "users": len(split.users.ids),
            "items": len(split.items.ids),
            "parameters": sum(p.numel() for p in model.parameters()),
        },
        wording=wording(settings, "ratings", folder),
        compiled=not settings.eager,
        tensorboard=settings.tensorboard and folder is not None,
        report=False,
    )
    if folder is None:
        return trainer
    ids = {"users": split.users.ids, "items": split.items.ids, "names": names}
    rated = np.concatenate([split.train[0], split.test[0]])
    try:
        write_bytes(folder.path / "ids.json", json.dumps(ids, ensure_ascii=False).encode())
        save_file({"rated": new_tensor(rated)}, folder.path / "rated.safetensors")
    except OSError as error:
        raise JobError(f"cannot write to the folder {folder.path}: {error.strerror or error}") from None
    return trainer


def _names(split: Split, settings: Settings) -> list[str]:
    if settings.items is None:
        return [""] * len(split.items.ids)
    names, notes = read_names(settings.items, settings.item or "item", split.items)
    split.notes += notes
    return names


# -- how good it is ------------------------------------------------------------------------------------------


def bias_baseline(split: Split, sweeps: int = 20) -> np.ndarray:
    """Predictions for the test part from the mean and one number per user and item, each drawn towards 0
    where ratings are few; found by turns.
    """
    pairs, rating = split.train
    mean = rating.mean()
    biases = [np.zeros(len(split.users)), np.zeros(len(split.items))]
    counts = [np.bincount(pairs[:, c], minlength=len(biases[c])) for c in (0, 1)]
    for _ in range(sweeps):
        for column in (1, 0):
            rest = rating - mean - biases[1 - column][pairs[:, 1 - column]]
            sums = np.bincount(pairs[:, column], rest, minlength=len(biases[column]))
            biases[column] = sums / (counts[column] + DAMPING)
    test = split.test[0]
    return mean + biases[0][test[:, 0]] + biases[1][test[:, 1]]


def compare(split: Split, prediction: np.ndarray) -> dict[str, Errors]:
    """Errors on the test part of two baselines and of the model's predictions for it."""
    rating = split.test[1]
    return {
        "mean rating": Errors.of(np.full(len(rating), split.train[1].mean()), rating),
        "user + item bias": Errors.of(bias_baseline(split), rating),
        "DotProductBias": Errors.of(prediction, rating),
    }


def predicted(model: DotProductBias, pairs: np.ndarray) -> np.ndarray:
    """Predicted ratings (float64) of pairs ``(N, 2)``."""
    return predictions(model, (new_tensor(pairs),), 65536).numpy().astype(np.float64)


# -- using a finished run ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Suggestion:
    """An item for a user: its id, name ("" if not known), predicted rating, and how often it was rated."""

    item: str
    name: str
    rating: float
    times_rated: int


class Recommender:
    """A finished run: its model, ids and names.

    Args:
        folder: the run folder.

    Raises:
        JobError: the folder does not hold a finished run of ratings.
    """

    def __init__(self, folder: RunFolder) -> None:
        config, file = folder.read_config(), folder.path / "config.json"
        self.settings = settings_of(Settings, config, file)
        if self.settings.y_range is None:
            raise damaged(file, "'y_range' is missing")
        self.ratings: int = part(config, "ratings", int, file)
        file = folder.path / "ids.json"
        ids = read_json(file)
        self.users, self.items = (Vocabulary(part(ids, name, list[str], file)) for name in ("users", "items"))
        self.names: list[str] = part(ids, "names", list[str], file)
        if len(self.names) != len(self.items.ids):
            raise damaged(file, "there is not a name for each item")
        file = folder.path / "rated.safetensors"
        try:
            self.model = build_model(self.users, self.items, self.settings)
            self.model.load_state_dict(folder.read_model())
            self.rated = load_file(file)["rated"].numpy()
        except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise JobError(f"{folder.path} does not hold a finished run of ratings: {error}") from None
        most = len(self.users), len(self.items)
        if self.rated.ndim != 2 or self.rated.shape[1] != 2 or self.rated.dtype != np.int64:
            raise damaged(file, "it does not hold users and items")
        if ((self.rated < 0) | (self.rated >= most)).any():
            raise damaged(file, "it names users or items that there are not")

    def knows_user(self, user: str) -> bool:
        """Whether the user was trained on."""
        return user in self.users.ids

    def top(self, user: str, count: int = 10) -> list[Suggestion]:
        """The items that a user has not rated and would rate highest; for a stranger, by the unknown row."""
        row = self.users.ids.index(user) + 1 if self.knows_user(user) else UNKNOWN
        times = np.bincount(self.rated[:, 1], minlength=len(self.items))
        candidates = np.arange(1, len(self.items))
        if row != UNKNOWN:
            candidates = np.setdiff1d(candidates, self.rated[self.rated[:, 0] == row, 1])
        pairs = np.stack([np.full_like(candidates, row), candidates], axis=1)
        if not len(pairs):
            return []
        rating = predicted(self.model, pairs)
        best = np.argsort(-rating, kind="stable")[:count]
        return [
            Suggestion(
                self.items.ids[candidates[place] - 1],
                self.names[candidates[place] - 1],
                float(rating[place]),
                int(times[candidates[place]]),
            )
            for place in best
        ]

    def read(self, path: str, reading: Mapping[str, Any], need_rating: bool) -> Ratings:
        """Ratings of another file, by the column names of the training file where it has them."""
        given = {"user": self.settings.user, "item": self.settings.item, "rating": self.settings.rating}
        if not need_rating:
            given["rating"] = None
            reading = {**reading, "rows": ALL_ROWS}
        return read_ratings(path, given, reading, need_rating)

    def pairs(self, ratings: Ratings) -> np.ndarray:
        """Rows of user and item ``(N, 2)``, 0 where unknown."""
        return np.stack([self.users.rows(ratings.users), self.items.rows(ratings.items)], axis=1)
