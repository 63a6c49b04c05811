"""The candle job: a network that predicts one column of a time series, and an honest account of how well.

`prepare` reads the file, builds the features and lets the leak guard try them; `train` walks forward through
the folds with the one fit loop and returns what was predicted for rows never trained on; `load` rebuilds what
a run left. Invariant: scaling, training and the choice of the best epoch see rows before a test block only,
and every error stands beside those of the naive forecasts for the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import rushlight as rl
from rushlight import nn
from rushlight.fit import Interrupted, Metric, RunFolder, Trainer, predictions
from rushlight.jobs.candles_settings import LOSSES, Settings
from rushlight.jobs.command import wording
from rushlight.jobs.errors import JobError
from rushlight.jobs.images import OPTIMIZERS, build_model, build_schedule, load_weights
from rushlight.jobs.kept import damaged, part, settings_of
from rushlight.jobs.reading import column_named
from rushlight.jobs.series import Series, read_series
from rushlight.jobs.series_errors import Errors, Fold, drift, errors_of, folds_in_time
from rushlight.jobs.series_features import FeatureFunction, Rows, build_rows, fingerprint, with_functions
from rushlight.jobs.series_guard import CHECKED_ROWS, check_past, check_target
from rushlight.jobs.series_scaling import Scaling
from rushlight.tensor import Tensor, new_tensor

LEAST_SQUARES = "least squares"


@dataclass
class Data:
    """A series made ready: with the columns of feature functions, as complete rows, and cut into folds."""

    series: Series
    rows: Rows
    folds: list[Fold]
    columns: list[str]  # of the series before functions added theirs


def read(settings: Settings, data: str | None = None, columns: Sequence[str] | None = None) -> Series:
    """The series of a run, or of another file with the same columns."""
    wanted = columns if columns is not None else settings.columns
    form = settings.form if data is None else {k: v for k, v in settings.form.items() if k != "rows"}
    return read_series(
        data or settings.data,
        time=settings.time,
        time_format=settings.time_format,
        columns=wanted,
        needed=settings.target,
        copies=settings.lags,
        **form,
    )


def rows_of(series: Series, settings: Settings, ahead: bool = False) -> Rows:
    """The complete rows of a series, by the settings of a run."""
    across = settings.gaps == "keep"
    return build_rows(
        series, settings.target, settings.lags, settings.features, ahead=ahead, across_gaps=across
    )


def prepare(settings: Settings, functions: Sequence[FeatureFunction] = ()) -> Data:
    """Read, build features, and let the leak guard try them.

    Args:
        settings: of the run.
        functions: further columns, as `with_functions` takes them.

    Raises:
        JobError: the file, the target or the settings do not do.
        LeakError: a feature knows what it cannot know at its time.
    """
    settings.check()
    series = read(settings)
    _check_target_column(series, settings)
    wide = with_functions(series, functions)
    for name in wide.names[len(series.names) :]:
        if np.isnan(wide.column(name)).all():
            raise JobError(f"the feature functions give {name!r} a finite number in no row")
    rows = rows_of(wide, settings)
    folds = folds_in_time(len(rows.index), settings.folds, settings.test, settings.validation, settings.gap)
    guard(series, settings, functions, int(rows.index[folds[0].train.stop - 1]) + 1)
    return Data(wide, rows, folds, series.names)


def _check_target_column(series: Series, settings: Settings) -> None:
    if settings.target == series.time_name:
        raise JobError(f"the target {settings.target!r} is the column of times; name a column of numbers")
    column_named(series.names, settings.target, settings.data)
    values = series.column(settings.target)
    known = values[~np.isnan(values)]
    if not len(known):
        raise JobError(f"{settings.data}, target {settings.target!r}: every value is missing")
    if (known == known[0]).all():
        raise JobError(
            f"{settings.data}, target {settings.target!r} is {known[0]:g} in every row: there is nothing to "
            "predict"
        )


def guard(
    series: Series, settings: Settings, functions: Sequence[FeatureFunction], trained_until: int
) -> None:
    """Let the leak guard try the user's columns, and the finished features with their scaling.

    Args:
        series: as read, without the functions' columns.
        settings: of the run.
        functions: of the user.
        trained_until: how many rows of the series the scaling may be fitted on.
    """

    def columns(values: np.ndarray) -> tuple[list[str], np.ndarray]:
        wide = with_functions(_cut(series, values), functions)
        return wide.names, wide.values

    def finished(values: np.ndarray) -> tuple[list[str], np.ndarray]:
        wide = with_functions(_cut(series, values), functions)
        rows = rows_of(wide, settings)
        scaling = Scaling.fit(settings.scale, rows.take(rows.index < trained_until))
        placed = np.full((len(values), len(rows.features)), np.nan)
        placed[rows.index] = scaling.apply(rows)
        return [feature.name for feature in rows.features], placed

    if functions:
        check_past(columns, series.values, seed=settings.seed)
        if settings.features == "all":
            target = series.names.index(settings.target)
            check_target(columns, series.values, target, allowed=series.names)
    trained_until = min(trained_until, CHECKED_ROWS // 2)
    check_past(finished, series.values, least=trained_until + 1, seed=settings.seed)


def _cut(series: Series, values: np.ndarray) -> Series:
    """The beginning of a series, with these values."""
    times = None if series.times is None else series.times[: len(values)]
    gaps = series.gaps[series.gaps < len(values)]
    return Series(series.names, values, times, series.step, gaps)


# -- training ------------------------------------------------------------------------------------------------


class OwnUnitError(Metric):
    """Mean absolute error in the target's own unit, of predictions for all `rows` in their order."""

    def __init__(self, scaling: Scaling, rows: Rows) -> None:
        self.scaling, self.rows = scaling, rows
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self.seen, self.total = 0, 0.0

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Take in the next rows' predictions."""
        rows = self.rows.take(slice(self.seen, self.seen + len(prediction)))
        values = self.scaling.restore(prediction.detach().numpy().ravel(), rows.last)
        self.total += float(np.abs(values - rows.target).sum())
        self.seen += len(prediction)

    def compute(self) -> float:
        """The mean."""
        return self.total / self.seen


@dataclass
class Outcome:
    """What was predicted for rows that were not trained on.

    Attributes:
        rows: the rows, in time order.
        prediction: of the network, in the target's unit.
        naive: other forecasts of the same rows by name.
        fold: the number of each row's fold, from 1.
    """

    rows: Rows
    prediction: np.ndarray
    naive: dict[str, np.ndarray]
    fold: np.ndarray

    def errors(self, fold: int | None = None) -> list[tuple[str, Errors]]:
        """The network's errors and those of the other forecasts, over all rows or those of one fold."""
        chosen = slice(None) if fold is None else self.fold == fold
        rows = self.rows.take(chosen)
        forecasts = {"network": self.prediction, **self.naive}
        return [
            (name, errors_of(values[chosen], rows.target, rows.last)) for name, values in forecasts.items()
        ]


def outcome_of(
    model: nn.Module, scaling: Scaling, series: Series, settings: Settings, rows: Rows, fold: int = 1
) -> Outcome:
    """The network's and the naive forecasts of some rows."""
    naive = {"last value": rows.last, "drift": drift(series.column(settings.target), rows.index)}
    return Outcome(rows, predict_rows(model, scaling, rows), naive, np.full(len(rows.index), fold))


def predict_rows(model: nn.Module, scaling: Scaling, rows: Rows) -> np.ndarray:
    """The network's predictions in the target's own unit."""
    if [feature.name for feature in rows.features] != scaling.names:
        raise JobError("the run's settings give other features than those that it was trained on")
    scaled = predictions(model, [new_tensor(scaling.apply(rows))]).numpy().ravel()
    return scaling.restore(scaled, rows.last)


def least_squares(train: Rows, scaling: Scaling, rows: Rows) -> np.ndarray:
    """What a linear model, fitted exactly on the same scaled features, predicts."""
    inputs = scaling.apply(train).astype(np.float64)
    centre, target = inputs.mean(0), scaling.apply_target(train)
    inputs -= centre
    weights = np.linalg.lstsq(inputs.T @ inputs, inputs.T @ (target - target.mean()), rcond=1e-14)[0]
    return scaling.restore((scaling.apply(rows) - centre) @ weights + target.mean(), rows.last)


@dataclass
class Run:
    """A finished training run: the last fold's trainer, and what all folds predicted."""

    trainer: Trainer
    scaling: Scaling
    outcome: Outcome


def train(data: Data, settings: Settings, folder: RunFolder, resume: bool = False) -> Run:
    """Train a network for each fold and test it on the rows that follow; the last one is kept in `folder`."""
    results = []
    for number, fold in enumerate(data.folds, 1):
        last = number == len(data.folds)
        fitted = data.rows.take(fold.train)
        scaling = Scaling.fit(settings.scale, fitted)
        trainer = fold_trainer(data, settings, fold, scaling, folder if last else None, resume and last)
        if len(data.folds) > 1:
            print(f"fold {number} of {len(data.folds)}: {len(fitted.index):,} rows to train on", flush=True)
        try:
            trainer.fit()
        except Interrupted as stopped:
            if last:
                raise
            raise Interrupted(
                f"stopped in fold {number} of {len(data.folds)}, before the network that is kept: nothing is "
                "saved yet"
            ) from stopped
        trainer.load_best()
        test = data.rows.take(fold.test)
        result = outcome_of(trainer.model, scaling, data.series, settings, test, number)
        result.naive[LEAST_SQUARES] = least_squares(fitted, scaling, test)
        results.append(result)
    return Run(trainer, scaling, _joined(results))


def fold_trainer(
    data: Data,
    settings: Settings,
    fold: Fold,
    scaling: Scaling,
    folder: RunFolder | None = None,
    resume: bool = False,
) -> Trainer:
    """The trainer of one fold; its run is kept in `folder`, if there is one."""
    train_rows, validation_rows = data.rows.take(fold.train), data.rows.take(fold.validation)
    rl.manual_seed(settings.seed)
    model = build_model(len(train_rows.features), settings, 1)
    optimizer = OPTIMIZERS[settings.optimizer](model.parameters(), lr=settings.rate)
    steps = math.ceil(len(train_rows.index) / settings.batch_size) * settings.epochs
    return Trainer(
        model,
        LOSSES[settings.loss](settings.quantile),
        optimizer,
        _tensors(scaling, train_rows),
        _tensors(scaling, validation_rows),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        scheduler=build_schedule(optimizer, settings, steps),
        metrics={"mae": OwnUnitError(scaling, validation_rows)},
        folder=folder,
        resume=resume,
        config=config_of(data, settings, fold, scaling),
        wording=wording(settings, "candles", folder),
        compiled=not settings.eager,
        tensorboard=settings.tensorboard and folder is not None,
        report=False,
    )


def _tensors(scaling: Scaling, rows: Rows) -> tuple[Tensor, Tensor]:
    target = scaling.apply_target(rows).astype(np.float32)[:, None]
    return new_tensor(scaling.apply(rows)), new_tensor(target)


def _joined(results: Sequence[Outcome]) -> Outcome:
    """The tests of all folds as one."""
    rows = [result.rows for result in results]
    whole = Rows(
        rows[0].features,
        np.concatenate([each.inputs for each in rows]),
        np.concatenate([each.target for each in rows]),
        np.concatenate([each.last for each in rows]),
        np.concatenate([each.index for each in rows]),
    )
    naive = {name: np.concatenate([result.naive[name] for result in results]) for name in results[0].naive}
    prediction = np.concatenate([result.prediction for result in results])
    return Outcome(whole, prediction, naive, np.concatenate([result.fold for result in results]))


def forecast_table(series: Series, target: str, result: Outcome) -> dict[str, np.ndarray]:
    """What was predicted, as columns: when, the prediction, the truth (nan where it is not known yet), and
    the naive forecasts.
    """
    index = result.rows.index
    when = index + 1
    if series.times is not None:
        when = np.append(series.times, series.times[-1] + series.step)[index]
    columns = {series.time_name or "row": when, f"{target}_predicted": result.prediction}
    columns[target] = result.rows.target
    return columns | {name.replace(" ", "_"): values for name, values in result.naive.items()}


# -- the run folder ------------------------------------------------------------------------------------------


def config_of(data: Data, settings: Settings, fold: Fold, scaling: Scaling) -> dict[str, Any]:
    """What the run folder records: settings, features, scaling, and where testing began."""
    series = data.series
    rows = data.rows.index
    begins = None if series.times is None else str(series.times[rows[fold.test.start]])
    return {
        "job": "candles",
        "version": rl.__version__,
        "settings": asdict(settings),
        "columns_read": data.columns,
        "functions": settings.feature_functions and fingerprint(settings.feature_functions),
        "features": [feature.name for feature in data.rows.features],
        "rows": len(rows),
        "scaling": scaling.as_dict(),
        "test_rows": [int(rows[fold.test.start]), int(rows[fold.test.stop - 1]) + 1],
        "test_begins": begins,
    }


@dataclass
class Saved:
    """A finished run as its folder describes it."""

    model: nn.Sequential
    settings: Settings
    scaling: Scaling
    config: dict[str, Any]


def load(folder: RunFolder) -> Saved:
    """The best model of a run with its scaling, rebuilt from its folder."""
    config = folder.read_config()
    file = folder.path / "config.json"
    settings = settings_of(Settings, config, file)
    scaling = Scaling.from_dict(part(config, "scaling", dict, file), file)
    features = part(config, "features", list[str], file)
    bends = scaling.bends or features  # there are none for straight scalings
    for each in (scaling.names, scaling.shifts, scaling.factors, scaling.related, bends):
        if len(each) != len(features):
            raise damaged(file, "its scaling is not that of its features")
    for name, kind in (("columns_read", list[str]), ("functions", str | None), ("test_begins", str | None)):
        part(config, name, kind, file)
    if len(part(config, "test_rows", list[int], file)) != 2:
        raise damaged(file, "'test_rows' are not two numbers")
    try:
        np.datetime64(config["test_begins"] or "NaT")
    except ValueError as error:
        raise damaged(file, str(error)) from None
    model = build_model(len(features), settings, 1)
    load_weights(model, folder)
    return Saved(model, settings, scaling, config)
