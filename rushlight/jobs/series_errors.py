"""Judging a forecast: splits in time order, naive forecasts to compare with, errors in the target's own unit.

Invariant: what is tested on lies after what is trained on; with a gap between them as long as a row's
features reach back, no value is on both sides.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rushlight.jobs.errors import JobError

LEAST_ROWS = {"train": 20, "validate": 5, "test": 5}  # fewer say nothing


class Fold(NamedTuple):
    """Rows to train on, to choose the best epoch by, and to test on: from each start to each end."""

    train: slice
    validation: slice
    test: slice


def folds_in_time(count: int, folds: int, test: float, validation: float, purge: int) -> list[Fold]:
    """Walk forward: the last share of the rows is tested on, in `folds` blocks, each after training on all
    that comes before it.

    Args:
        count: how many rows there are.
        folds: how many blocks; with 1 this is a single split.
        test: the share of all rows that is tested on.
        validation: the share of the rows before a block that the best epoch is chosen by, the last of them.
        purge: rows left out before each validation and test span.

    >>> for fold in folds_in_time(1000, 2, 0.2, 0.1, 3):
    ...     print(fold.train, fold.validation, fold.test)
    slice(0, 714, None) slice(717, 797, None) slice(800, 900, None)
    slice(0, 804, None) slice(807, 897, None) slice(900, 1000, None)
    """
    edges = np.rint(np.linspace(count * (1 - test), count, folds + 1)).astype(int)
    found = []
    for start, end in itertools.pairwise(edges):
        validated = round(int(start) * validation)
        valid = slice(int(start) - purge - validated, int(start) - purge)
        fold = Fold(slice(0, valid.start - purge), valid, slice(int(start), int(end)))
        spans = (("train", fold.train), ("validate", fold.validation), ("test", fold.test))
        for name, span in spans:
            if span.stop - span.start < LEAST_ROWS[name]:
                raise JobError(
                    f"{count:,} complete rows leave {max(0, span.stop - span.start)} to {name} on; at least "
                    f"{LEAST_ROWS[name]} are needed. Take fewer --folds, other shares, or more data"
                )
        found.append(fold)
    return found


def drift(series: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The naive forecast that goes on as the series went so far: last value plus mean step until then.

    Args:
        series: the target of the whole series, in its order; nan where missing.
        index: the rows to forecast, each from the rows before it.

    >>> drift(np.array([1.0, 2.0, 3.0, 5.0]), np.array([2, 3, 4]))
    array([3.        , 4.        , 6.33333333])
    """
    known = np.flatnonzero(~np.isnan(series))
    first = known[0]
    last = series[index - 1]
    steps = index - 1 - first
    return last + (last - series[first]) / np.maximum(steps, 1)


class Errors(NamedTuple):
    """How far predictions are from the truth, in the target's unit.

    Attributes:
        mae: mean absolute error.
        rmse: root of the mean squared error.
        mape: mean absolute error in percent of the truth; nan where some truth is 0.
        skill: the share of the last-value forecast's `mae` that is saved; 0 for that forecast itself.
    """

    mae: float
    rmse: float
    mape: float
    skill: float


def errors_of(prediction: np.ndarray, truth: np.ndarray, last: np.ndarray) -> Errors:
    """The errors of predictions, beside the forecast that the last value stays.

    >>> errors_of(np.array([1.5, 4.0]), truth=np.array([2.0, 4.0]), last=np.array([1.0, 3.0]))
    Errors(mae=0.25, rmse=0.353..., mape=12.5, skill=0.75)
    """
    away = np.abs(prediction - truth)
    naive = float(np.abs(last - truth).mean())
    mae = float(away.mean())
    mape = float(100 * (away / np.abs(truth)).mean()) if (truth != 0).all() else float("nan")
    skill = 1 - mae / naive if naive else float("nan")
    return Errors(mae, float(np.sqrt((away**2).mean())), mape, skill)


def errors_text(rows: Sequence[tuple[str, Errors]]) -> str:
    """A table of errors, a line for each forecast.

    >>> print(errors_text([("last value", Errors(25.25, 40.0, 0.1, 0.0))]))
                            MAE        RMSE     MAPE   skill
    last value            25.25          40   0.100%    0.0%
    """
    lines = [f"{'':16} {'MAE':>10}  {'RMSE':>10}  {'MAPE':>7}  {'skill':>6}"]
    for name, found in rows:
        mape = "-" if np.isnan(found.mape) else f"{found.mape:.3f}%"
        skill = "-" if np.isnan(found.skill) else f"{found.skill:.1%}"
        lines.append(f"{name:16} {found.mae:>10.5g}  {found.rmse:>10.5g}  {mape:>7}  {skill:>6}")
    return "\n".join(lines)
