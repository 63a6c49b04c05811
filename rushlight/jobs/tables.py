"""The table job: one column predicted from the others, by a linear model and a network side by side.

`Settings` is what a user can ask for; `read_task` reads the table and finds out what is to be learnt,
`fit_models` trains both models on some rows with the one fit loop (`rushlight.fit`), `cross_validate` and
`hold_out` test them on rows they have not seen. What a finished run can do is in `rushlight.jobs.table_run`.
Invariant: everything learnt from rows (levels, medians, scales, weights, the best epoch) is learnt from
training rows, so that a test tells what new rows will bring.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import rushlight as rl
from rushlight import nn, optim
from rushlight.fit import Interrupted, RunFolder, Trainer, predictions
from rushlight.jobs.command import wording
from rushlight.jobs.errors import JobError, counted_rows, refuse
from rushlight.jobs.reading import LARGEST, as_text, column_named, numbers, polars, read_table
from rushlight.jobs.table_columns import MOSTLY, Column, describe_columns
from rushlight.jobs.table_features import Encoder, Inputs
from rushlight.jobs.table_metrics import importance, log_loss, rmse, softmax
from rushlight.jobs.table_model import LinearModel, Network, state_of
from rushlight.nn import functional as F
from rushlight.optim import lr_scheduler
from rushlight.tensor import Tensor, new_tensor

KINDS = ("linear model", "network")
MOST_CLASSES = 100
FEW_NUMBERS = 10  # a target of whole numbers with no more values than this is taken as classes
IMBALANCE = 5.0  # how many times rarer than the most frequent class the rarest may be before it gets weight
IMPORTANCE_ROWS, IMPORTANCE_REPEATS, IMPORTANCE_COLUMNS = 5000, 5, 500


@dataclass
class Settings:
    """What a run is asked to do; None and "auto" are found from the data."""

    data: str
    target: str
    task: str = "auto"
    drop: list[str] = field(default_factory=list)
    reading: dict[str, Any] = field(default_factory=dict)
    hidden: list[int] = field(default_factory=lambda: [64, 32])
    dropout: float = 0.4
    categories: str = "auto"
    class_weights: str = "auto"
    batch_size: int | None = None
    epochs: int | None = None
    lr: float = 5e-3
    weight_decay: float = 1.0
    test: float = 0.2
    validation: float = 0.1
    folds: int = 0
    seed: int = 0
    eager: bool = False
    tensorboard: bool = False

    def check(self) -> None:
        """Refuse settings that make no sense, naming the option."""
        wrong = [
            (any(n < 1 for n in self.hidden), "--hidden needs positive layer sizes, such as 64,32"),
            (not 0 <= self.dropout < 1, "--dropout is a share from 0 to below 1"),
            (self.batch_size is not None and self.batch_size < 1, "--batch-size must be at least 1"),
            (self.epochs is not None and self.epochs < 1, "--epochs must be at least 1"),
            (not 0 < self.lr < math.inf, "--lr must be a positive number"),
            (not 0 <= self.weight_decay < math.inf, "--weight-decay must be a number from 0 on"),
            (not 0 < self.test < 1, "--test is a share between 0 and 1, such as 0.2"),
            (not 0 < self.validation < 1, "--validation is a share between 0 and 1, such as 0.1"),
            (self.folds < 0 or self.folds == 1, "--folds must be at least 2"),
            (not -(2**63) <= self.seed < 2**64, "--seed must be a 64-bit number"),
        ]
        refuse(wrong)


@dataclass(frozen=True)
class Task:
    """What is to be learnt: rows (a polars frame) and their target, class numbers or float64.

    ``classes`` are the names of the classes, empty where the target is a number.
    """

    frame: Any
    target: np.ndarray
    classes: list[str]
    columns: list[Column]
    notes: list[str]


def read_task(settings: Settings) -> Task:
    """Read the table and find out what is to be learnt from what.

    Raises:
        JobError: there is nothing to learn (a constant target, no usable column, too few rows).
    """
    table = read_table(settings.data, **settings.reading)
    frame, notes = table.frame, list(table.notes)
    for name in (settings.target, *settings.drop):
        column_named(frame.columns, name, settings.data)
    if settings.target in settings.drop:
        raise JobError(f"--drop leaves out the target {settings.target!r}")
    target, classes = target_of(frame, settings)
    known = np.abs(target) <= LARGEST
    if not known.all():
        notes.append(f"left out: {counted_rows(np.sum(~known))} without {settings.target}")
        frame, target = frame.filter(known), target[known]
    if len(np.unique(target)) < 2:
        value = classes[int(target[0])] if classes else f"{target[0]:g}"
        raise JobError(
            f"{settings.target} is {value} in every row of {settings.data}: there is nothing to learn"
        )
    if len(target) < 10:
        raise JobError(
            f"{settings.data} has {len(target)} rows with {settings.target}: too few to learn and to test"
        )
    names = [name for name in frame.columns if name != settings.target and name not in settings.drop]
    columns = describe_columns(frame, names)
    if not any(column.parts for column in columns):
        reasons = "; ".join(f"{column.name}: {column.remark}" for column in columns)
        raise JobError(f"no column of {settings.data} is left to learn {settings.target} from ({reasons})")
    return Task(frame, target.astype(np.int64) if classes else target, classes, columns, notes)


def target_of(frame: Any, settings: Settings) -> tuple[np.ndarray, list[str]]:
    """The target as float64 with nan where it is missing, and the names of the classes if it is one."""
    column = frame[settings.target]
    if column.null_count() == len(column):
        raise JobError(f"{settings.target} is missing in every row of {settings.data}")
    many = column.dtype.is_numeric() and column.n_unique() > MOST_CLASSES  # no need to look at them as text
    if settings.task == "regression" or (settings.task == "auto" and many):
        return numbers(frame, settings.target, settings.data), []
    texts = as_text(column)
    texts = texts.set(texts == "", None)
    if settings.task == "auto":
        _refuse_strays(texts, settings)
    levels = texts.drop_nulls().unique().to_frame("level")
    levels = levels.sort(levels["level"].str.len_chars(), "level")["level"].to_list()
    if settings.task == "auto" and column.dtype.is_numeric():
        whole = all(level.lstrip("-").isdigit() for level in levels)
        if not whole or len(levels) > FEW_NUMBERS:
            return numbers(frame, settings.target, settings.data), []
    if len(levels) > MOST_CLASSES:
        raise JobError(
            f"{settings.target} has {len(levels):,} different values, such as {levels[0]!r}: too many for "
            f"classes (at most {MOST_CLASSES}). If it should be a number, some values are none: --task "
            "regression names the first"
        )
    return class_numbers(texts, levels), levels


def _refuse_strays(texts: Any, settings: Settings) -> None:
    """JobError where all but a few values of a target in text are numbers."""
    known = texts.drop_nulls()
    strays = known.cast(polars().Float64, strict=False).null_count()
    if 0 < strays <= (1 - MOSTLY) * len(known):
        try:
            numbers(texts.to_frame(settings.target), settings.target, settings.data)
        except JobError as error:
            raise JobError(f"{error}. If it is the name of a class, say --task classification") from None


def class_numbers(texts: Any, classes: Sequence[str]) -> np.ndarray:
    """The place of each text among the classes, as float64; nan where it is missing or none of them."""
    places = {name: float(place) for place, name in enumerate(classes)}
    found = texts.replace_strict(places, default=None, return_dtype=polars().Float64)
    return found.fill_null(math.nan).to_numpy().astype(np.float64)


# -- dividing rows -------------------------------------------------------------------------------------------


def spread_out(target: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """All rows in random order, but so that any stretch of them has its share of each class (or of small and
    large numbers).
    """
    order = rl.randperm(len(target)).numpy()
    if not classes:
        # numbers: in runs of neighbours by size, each run in random order
        order = order[np.argsort(target[order], kind="stable")]
        place = np.arange(len(order)) // 20 + rl.rand(len(order)).numpy() * 1e-3
        within = np.argsort(place, kind="stable")
        order = order[within]
        share = _even_places(np.arange(len(order)) // 20)
    else:
        order = order[np.argsort(target[order], kind="stable")]
        share = _even_places(target[order])
    return order[np.argsort(share, kind="stable")]


def _even_places(groups: np.ndarray) -> np.ndarray:
    """For rows sorted by group: each row's place within its group, from 0 to 1."""
    _, starts, counts = np.unique(groups, return_index=True, return_counts=True)
    which = np.repeat(np.arange(len(counts)), counts)
    return (np.arange(len(groups)) - starts[which] + 0.5) / counts[which]


def divide(target: np.ndarray, classes: Sequence[str], share: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and rows held out, with like shares of each class."""
    order = spread_out(target, classes)
    count = round(len(order) * share)
    if not 0 < count < len(order):
        raise JobError(f"a share of {share} of {len(order)} rows leaves nothing to train or to test on")
    return np.sort(order[count:]), np.sort(order[:count])


# -- training ------------------------------------------------------------------------------------------------


@dataclass
class Fitted:
    """A trained model with all that turns rows into its input and its output into an answer.

    ``centre`` and ``scale`` are the target's, where it is a number; ``trainer`` is its run, where it was
    trained just now.
    """

    encoder: Encoder
    model: nn.Module
    classes: list[str]
    centre: float = 0.0
    scale: float = 1.0
    trainer: Trainer | None = None

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Probabilities ``(N, classes)``, or numbers ``(N,)``."""
        scores = predictions(self.model, [new_tensor(inputs.numbers), new_tensor(inputs.codes)]).numpy()
        scores = scores.astype(np.float64)
        return softmax(scores) if self.classes else scores[:, 0] * self.scale + self.centre


def build_model(kind: str, encoder: Encoder, classes: Sequence[str], settings: Settings) -> nn.Module:
    """An untrained model for this encoder's input."""
    width = len(encoder.sources[0])
    levels = [len(each) for each in encoder.categories]
    outputs = len(classes) or 1
    if kind == "linear model":
        return LinearModel(width, levels, outputs)
    return Network(width, levels, outputs, settings.hidden, settings.dropout, settings.categories)


def length_of(rows: int, settings: Settings) -> tuple[int, int]:
    """Epochs and batch size for this many rows: small tables are passed over more often.

    >>> settings = Settings("people.csv", "Survived")
    >>> length_of(700, settings), length_of(10**6, settings)
    ((30, 64), (5, 512))
    """
    batch = settings.batch_size or (64 if rows < 10_000 else 128 if rows < 100_000 else 512)
    return settings.epochs or max(5, min(30, round(200_000 / rows))), batch


def class_weights(labels: np.ndarray, classes: Sequence[str], settings: Settings) -> np.ndarray | None:
    """The weight of each class in the loss, or None for equal ones: rare classes count for more where
    asked for, or where the classes are far from balanced.
    """
    if not classes or settings.class_weights == "none":
        return None
    counts = np.maximum(np.bincount(labels, minlength=len(classes)), 1)
    if settings.class_weights == "auto" and counts.max() <= IMBALANCE * counts.min():
        return None
    # the square root holds between equal weights, which forget rare classes, and full ones, which overdo them
    weights = counts.sum() / counts
    weights = weights if settings.class_weights == "balanced" else np.sqrt(weights)
    return weights / (weights * counts).sum() * counts.sum()


@dataclass
class Prepared:
    """Training and validation rows as tensors ``(numbers, codes, target)``, and how they became that."""

    encoder: Encoder
    train: tuple[Tensor, ...]
    validation: tuple[Tensor, ...]
    loss: Any
    centre: float
    scale: float


def prepare_rows(task: Task, rows: np.ndarray, settings: Settings) -> Prepared:
    """Divide rows into a training and a validation part, and learn from the first how to encode both."""
    rl.manual_seed(settings.seed)
    train, held_out = divide(task.target[rows], task.classes, settings.validation)
    train, held_out = rows[train], rows[held_out]
    encoder = Encoder.fit(task.frame[train], task.columns)
    target = task.target.astype(np.float64)
    centre, scale = (0.0, 1.0) if task.classes else (float(target[train].mean()), float(target[train].std()))
    scale = scale or 1.0

    def tensors(chosen: np.ndarray) -> tuple[Tensor, ...]:
        inputs = encoder.encode(task.frame[chosen])
        if task.classes:
            wanted = task.target[chosen]
        else:
            wanted = ((target[chosen] - centre) / scale).astype(np.float32)[:, None]
        return new_tensor(inputs.numbers), new_tensor(inputs.codes), new_tensor(wanted)

    loss: Any = F.mse_loss
    if task.classes:
        weights = class_weights(task.target[train], task.classes, settings)
        loss = nn.CrossEntropyLoss(None if weights is None else new_tensor(weights.astype(np.float32)))
    return Prepared(encoder, tensors(train), tensors(held_out), loss, centre, scale)


def trainer_of(
    kind: str,
    prepared: Prepared,
    classes: Sequence[str],
    settings: Settings,
    folder: RunFolder | None = None,
    resume: bool = False,
) -> Trainer:
    """A run of one of the models, in `folder` if there is one."""
    rl.manual_seed(settings.seed)
    model = build_model(kind, prepared.encoder, classes, settings)
    rows = len(prepared.train[0])
    epochs, batch_size = length_of(rows, settings)
    trained = [each for each in model.parameters() if each.requires_grad]
    optimizer = optim.AdamW(trained, lr=settings.lr, weight_decay=settings.weight_decay)
    steps = math.ceil(rows / batch_size) * epochs
    return Trainer(
        model,
        prepared.loss,
        optimizer,
        prepared.train,
        prepared.validation,
        epochs=epochs,
        batch_size=batch_size,
        scheduler=lr_scheduler.OneCycleLR(optimizer, settings.lr, total_steps=steps),
        folder=folder,
        resume=resume and folder is not None,
        config=None if folder is None else folder.read_config(),
        wording=wording(settings, "tables", folder),
        progress=folder is not None,
        compiled=not settings.eager,
        tensorboard=settings.tensorboard and folder is not None,
        report=False,
    )


def fit_models(
    task: Task, rows: np.ndarray, settings: Settings, folder: RunFolder | None = None, resume: bool = False
) -> dict[str, Fitted]:
    """Train both models on some rows; the network's run is kept in `folder`, if there is one."""
    prepared = prepare_rows(task, rows, settings)
    fitted = {}
    for kind in KINDS:
        last = folder if kind == "network" else None
        trainer = trainer_of(kind, prepared, task.classes, settings, last, resume)
        try:
            trainer.fit()
        except Interrupted:
            if folder is None or trainer.folder is not None:
                raise
            raise KeyboardInterrupt from None  # of this model nothing is kept, but its run can be resumed
        if not (kept := {} if last is None else state_of(kind, last.read_model())):
            trainer.load_best()
        else:  # the run is resumed for what comes after training
            trainer.model.load_state_dict(kept)
        fitted[kind] = Fitted(
            prepared.encoder, trainer.model, task.classes, prepared.centre, prepared.scale, trainer
        )
    return fitted


# -- testing -------------------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """Predictions for rows that were not trained on, by model, and what each column was worth to the better
    one: how much worse the loss becomes when it is shuffled, one number per repeat.
    """

    rows: np.ndarray
    truth: np.ndarray
    predictions: dict[str, np.ndarray]
    better: str
    worth: dict[str, np.ndarray]
    by_fold: dict[str, list[float]] = field(default_factory=dict)


def loss_of(task: Task) -> Any:
    """What models are compared by: log loss, or RMSE."""
    return log_loss if task.classes else rmse


def baseline(task: Task, train: np.ndarray, count: int) -> np.ndarray:
    """What to predict without looking at any column: the classes' shares, or the mean."""
    if not task.classes:
        return np.full(count, task.target[train].mean())
    shares = np.bincount(task.target[train], minlength=len(task.classes)) / len(train)
    return np.tile(shares, (count, 1))


def try_models(task: Task, fitted: dict[str, Fitted], train: np.ndarray, test: np.ndarray) -> Outcome:
    """Both models and the baseline on the rows `test`."""
    inputs = next(iter(fitted.values())).encoder.encode(task.frame[test])
    found = {"no columns": baseline(task, train, len(test))}
    found |= {kind: each.predict(inputs) for kind, each in fitted.items()}
    best = {kind: each.trainer.best for kind, each in fitted.items() if each.trainer is not None}
    better = min(best, key=lambda kind: best[kind])
    return Outcome(test, task.target[test], found, better, worth_of(task, fitted[better], inputs, test))


def worth_of(task: Task, fitted: Fitted, inputs: Inputs, rows: np.ndarray) -> dict[str, np.ndarray]:
    """What each column is worth to a model: how much the loss grows when its values are shuffled. With more
    columns than `IMPORTANCE_COLUMNS` nothing is found: time grows with the square of their number.
    """
    if sum(bool(each.parts) for each in task.columns) > IMPORTANCE_COLUMNS:
        return {}
    draw = np.random.default_rng(0)
    chosen = np.arange(len(rows))
    if len(rows) > IMPORTANCE_ROWS:
        chosen = draw.choice(chosen, IMPORTANCE_ROWS, replace=False)
    inputs, truth = inputs.rows(chosen), task.target[rows[chosen]]
    of_numbers, of_codes = (np.array(names, dtype=object) for names in fitted.encoder.sources)
    found = {}
    for column in task.columns:
        if not column.parts:
            continue
        numbers_of, codes_of = (
            np.flatnonzero(of_numbers == column.name),
            np.flatnonzero(of_codes == column.name),
        )

        def with_values_of(
            order: np.ndarray, numbers_of: np.ndarray = numbers_of, codes_of: np.ndarray = codes_of
        ) -> np.ndarray:
            changed = Inputs(inputs.numbers.copy(), inputs.codes.copy())
            changed.numbers[:, numbers_of] = inputs.numbers[np.ix_(order, numbers_of)]
            changed.codes[:, codes_of] = inputs.codes[np.ix_(order, codes_of)]
            return fitted.predict(changed)

        found[column.name] = importance(
            loss_of(task), with_values_of, truth, draw.shuffle, IMPORTANCE_REPEATS
        )
    return found


def hold_out(
    task: Task, settings: Settings, folder: RunFolder, resume: bool
) -> tuple[dict[str, Fitted], Outcome]:
    """Train on a part of the rows and test on the rest."""
    rl.manual_seed(settings.seed)
    train, test = divide(task.target, task.classes, settings.test)
    fitted = fit_models(task, train, settings, folder, resume)
    return fitted, try_models(task, fitted, train, test)


def cross_validate(task: Task, settings: Settings) -> Outcome:
    """Every row predicted by models that were trained without it and the others of its fold."""
    rl.manual_seed(settings.seed)
    if settings.folds > len(task.target) // 2:
        raise JobError(f"--folds {settings.folds} of {len(task.target)} rows leaves folds of one row")
    order = spread_out(task.target, task.classes)
    fold_of = np.empty(len(order), dtype=np.int64)
    fold_of[order] = np.arange(len(order)) % settings.folds
    found: list[Outcome] = []
    for fold in range(settings.folds):
        train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        try:
            fitted = fit_models(task, train, settings)
        except Interrupted as stopped:
            raise Interrupted(
                f"stopped in fold {fold + 1} of {settings.folds}, before the models that are kept: "
                "nothing is saved yet"
            ) from stopped
        found.append(try_models(task, fitted, train, test))
        print(f"fold {fold + 1} of {settings.folds}: {_fold_text(task, found[-1])}", flush=True)
    return _joined(task, found)


def _fold_text(task: Task, tested: Outcome) -> str:
    from rushlight.jobs.table_metrics import accuracy

    name, metric = ("accuracy", accuracy) if task.classes else ("RMSE", rmse)
    shown = [f"{kind} {metric(tested.truth, tested.predictions[kind]):.4g}" for kind in KINDS]
    return f"{name} " + ", ".join(shown)


def _joined(task: Task, found: list[Outcome]) -> Outcome:
    """The folds as one test; the better model is the one with the smaller loss over all rows."""
    from rushlight.jobs.table_metrics import accuracy

    truth = np.concatenate([each.truth for each in found])
    joined = {
        name: np.concatenate([each.predictions[name] for each in found]) for name in found[0].predictions
    }
    better = min(KINDS, key=lambda kind: loss_of(task)(truth, joined[kind]))
    worth = {name: np.concatenate([each.worth[name] for each in found]) for name in found[0].worth}
    metric = accuracy if task.classes else rmse
    by_fold = {name: [metric(each.truth, each.predictions[name]) for each in found] for name in joined}
    return Outcome(np.concatenate([each.rows for each in found]), truth, joined, better, worth, by_fold)
