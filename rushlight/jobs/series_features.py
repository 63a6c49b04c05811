"""Features of a time series: lagged columns, and columns that a user's own functions add.

A feature is a column of the series some rows back, named as pandas users name it: ``close_s1`` is the close
of the row before. With ``lags`` a row's features are from rows before it alone, a forecast; with ``all`` they
are also the other columns of the same row. Invariant: a user's function may use the rows up to and including
the one it gives a value for; `rushlight.jobs.series_guard` refuses one that does not keep to that.
"""

from __future__ import annotations

import hashlib
import runpy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rushlight.jobs.errors import JobError
from rushlight.jobs.series import Series

FeatureFunction = Callable[[dict[str, np.ndarray]], Mapping[str, Any]]
KINDS = ("lags", "all")


class Feature(NamedTuple):
    """A column of the series, `lag` rows back."""

    column: str
    lag: int

    @property
    def name(self) -> str:
        """``close_s1`` for the close one row back; ``close`` for that of the row itself."""
        return f"{self.column}_s{self.lag}" if self.lag else self.column


def feature_list(columns: Sequence[str], target: str, lags: int, kind: str) -> list[Feature]:
    """The features in the notebook's order: the oldest rows first, each with its columns as in the file.

    >>> [feature.name for feature in feature_list(["open", "high"], "high", 2, "all")]
    ['open_s2', 'high_s2', 'open_s1', 'high_s1', 'open']
    >>> [feature.name for feature in feature_list(["open", "high"], "high", 2, "lags")]
    ['open_s2', 'high_s2', 'open_s1', 'high_s1']
    """
    features = [Feature(column, lag) for lag in range(lags, 0, -1) for column in columns]
    if kind == "all":
        features += [Feature(column, 0) for column in columns if column != target]
    return features


@dataclass
class Rows:
    """The rows of a series that can be learnt from.

    Attributes:
        features: what the columns of `inputs` are.
        inputs: float64 ``(rows, features)``, complete.
        target: float64 ``(rows)``; nan where it is not known yet.
        last: the target one row before, float64 ``(rows)``: what a naive forecast says.
        index: the row of the series that each row is about; ``len(series)`` for the one after its end.
    """

    features: list[Feature]
    inputs: np.ndarray
    target: np.ndarray
    last: np.ndarray
    index: np.ndarray

    def take(self, chosen: np.ndarray | slice) -> Rows:
        """Some of the rows."""
        return Rows(
            self.features, self.inputs[chosen], self.target[chosen], self.last[chosen], self.index[chosen]
        )


def build_rows(
    series: Series,
    target: str,
    lags: int,
    kind: str = "lags",
    *,
    ahead: bool = False,
    across_gaps: bool = True,
) -> Rows:
    """The features and the target of every row that is complete.

    Args:
        series: what to build from, with any columns that feature functions added.
        target: the column to predict.
        lags: how many rows back the features go.
        kind: ``lags`` or ``all``.
        ahead: also give rows whose target is not known: with ``lags`` the one after the last row too.
        across_gaps: whether lags may reach across missing time.

    >>> series = Series(["high"], np.array([[1.0], [2.0], [4.0], [8.0]]))
    >>> rows = build_rows(series, "high", 2, ahead=True)
    >>> rows.inputs.tolist(), rows.target.tolist(), rows.index.tolist()
    ([[1.0, 2.0], [2.0, 4.0], [4.0, 8.0]], [4.0, 8.0, nan], [2, 3, 4])
    """
    features = feature_list(series.names, target, lags, kind)
    count = len(series) + (1 if ahead and kind == "lags" else 0)
    if count <= lags:
        return _no_rows(features)
    position = {name: number for number, name in enumerate(series.names)}
    truth = np.full(count, np.nan)
    truth[: len(series)] = series.column(target)
    complete = np.arange(count) >= lags
    for feature in features:
        complete[feature.lag :] &= ~np.isnan(_shifted(series, position[feature.column], feature.lag, count))
    last = np.full(count, np.nan)
    last[1:] = truth[: count - 1]
    complete &= ~np.isnan(last)
    if not ahead:
        complete &= ~np.isnan(truth)
    if not across_gaps:
        for back in range(lags):
            complete[np.minimum(series.gaps + back, count - 1)] &= series.gaps + back >= count
    index = np.flatnonzero(complete)
    inputs = np.empty((len(index), len(features)))
    for number, feature in enumerate(features):
        values = _shifted(series, position[feature.column], feature.lag, count)
        inputs[:, number] = values[index - feature.lag]
    return Rows(features, inputs, truth[index], last[index], index)


def _shifted(series: Series, column: int, lag: int, count: int) -> np.ndarray:
    """The values that the rows from `lag` to `count` see of a column `lag` rows back."""
    return series.values[: count - lag, column]


def _no_rows(features: list[Feature]) -> Rows:
    nothing = np.empty(0)
    return Rows(features, np.empty((0, len(features))), nothing, nothing, np.empty(0, np.int64))


# -- functions of the user's own -----------------------------------------------------------------------------


def load_functions(path: str | Path) -> list[FeatureFunction]:
    """The public functions that a Python file defines, in its order.

    Each is called with a dictionary of the series' columns by name (float64 arrays, oldest first) and returns
    a dictionary of new columns of the same length. The file is the user's own and named by the user: a run
    folder never brings code with it.
    """
    try:
        content = runpy.run_path(str(path))
    except FileNotFoundError:
        raise JobError(f"there is no file {path}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the user's to mend, whatever it is
        raise JobError(f"{path} cannot be run: {type(error).__name__}: {error}") from None
    found = [
        value
        for name, value in content.items()
        if callable(value)
        and not name.startswith("_")
        and not isinstance(value, type)
        and getattr(value, "__globals__", {}).get("__file__") == str(path)
    ]
    if not found:
        raise JobError(f"{path} defines no function")
    return found


def fingerprint(path: str | Path) -> str:
    """What tells one file of feature functions from another."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise JobError(f"{path} cannot be read: {error.strerror or error}") from None


def with_functions(series: Series, functions: Sequence[FeatureFunction]) -> Series:
    """The series with the columns that the functions add.

    >>> series = Series(["close"], np.array([[1.0], [2.0], [4.0]]))
    >>> wider = with_functions(series, [lambda columns: {"double": 2 * columns["close"]}])
    >>> wider.names, wider.column("double")
    (['close', 'double'], array([2., 4., 8.]))
    """
    if not functions:
        return series
    added: dict[str, np.ndarray] = {}
    for function in functions:
        for name, values in _called(function, series).items():
            if name in series.names or name in added:
                raise JobError(f"a feature function gives a column {name!r}, which there is already")
            added[name] = values
    wider = np.column_stack([series.values, *added.values()])
    return Series(
        [*series.names, *added], wider, series.times, series.step, series.gaps, series.notes, series.time_name
    )


def _called(function: FeatureFunction, series: Series) -> dict[str, np.ndarray]:
    """What a function gives, as float64 columns; a JobError that names it where it fails."""
    called = f"the feature function {getattr(function, '__name__', function)!s}"
    # each call has columns of its own, so that a function that writes into them harms nobody
    columns = {name: series.column(name).copy() for name in series.names}
    try:
        with np.errstate(all="ignore"):
            given = function(columns)
            found = {str(name): np.asarray(values, dtype=np.float64) for name, values in given.items()}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the user's to mend, whatever it is
        raise JobError(f"{called} failed: {type(error).__name__}: {error}") from None
    for name, values in found.items():
        if values.shape != (len(series),):
            raise JobError(
                f"{called} gives {name!r} the shape {values.shape}; a column here has ({len(series)},)"
            )
        found[name] = np.where(np.isinf(values), np.nan, values)
    return found
