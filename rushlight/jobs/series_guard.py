"""The leak guard: proof by trial that a feature knows nothing of the future, nor the target itself.

Features are computed again on input that ends earlier: what is said about a past row must not depend on rows
that come later. They are also computed with another target in the last row: what is said about that row must
not depend on what is to be predicted. It is no proof for all inputs, but a centred window, a scaling over
the whole file or a shift of the wrong sign change something in every trial. Invariant: the guard looks at
what the features are, not at how they are made, so it holds for functions it has never seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rushlight.jobs.errors import JobError

Build = Callable[[np.ndarray], tuple[Sequence[str], np.ndarray]]
CHECKED_ROWS = 100_000  # of a longer series the first rows are tried
CUTS = 5
SHORTEST = 0.02  # of the rows: no shorter input is tried for the sake of an extreme value


class LeakError(JobError):
    """A feature uses what is not known at its time; `column` says which."""

    def __init__(self, column: str, sentence: str) -> None:
        super().__init__(sentence)
        self.column = column


class Change(NamedTuple):
    """The first place where a column differs."""

    column: str
    row: int
    before: float
    after: float


def check_past(build: Build, values: np.ndarray, *, least: int = 1, seed: int = 0) -> None:
    """Refuse features whose past rows change when later rows are taken away.

    Args:
        build: from values ``(rows, columns)`` to the names of the features and their values, a row for each
            row (nan where there is none).
        values: the input.
        least: the shortest input that `build` takes as it does the whole one.
        seed: of the places where the input is cut.

    Raises:
        LeakError: naming the column, the row and how it changed.

    >>> prices = np.arange(20.0)[:, None] ** 2
    >>> check_past(lambda values: (["change"], np.diff(values, axis=0, prepend=np.nan)), prices)
    >>> check_past(lambda values: (["share"], values / values.max()), prices)
    Traceback (most recent call last):
        ...
    rushlight.jobs.series_guard.LeakError: the feature 'share' leaks: ...
    """
    values = values[: max(CHECKED_ROWS, least + CUTS)]
    names, whole = build(values)
    for cut in _cuts(len(values), least, seed, np.hstack([values, whole])):
        _, short = build(values[:cut])
        change = _first_change(names, whole[:cut], short)
        if change is not None:
            raise LeakError(
                change.column,
                f"the feature {change.column!r} leaks: its value in row {change.row + 1} is "
                f"{_shown(change.before)} with all {len(values):,} rows and {_shown(change.after)} if the "
                f"rows after {cut:,} are not there yet. A feature may use its own row and rows before it: a "
                "window that ends there, a positive shift, a scaling fitted on the training rows",
            )


def check_target(build: Build, values: np.ndarray, target: int, allowed: Sequence[str] = ()) -> None:
    """Refuse features of a row that change with that row's own target.

    Args:
        build: as for `check_past`.
        values: the input.
        target: the column that is to be predicted.
        allowed: names of features that are the target itself.

    Raises:
        LeakError: naming the column.

    >>> def spread(values):
    ...     return ["spread"], values[:, :1] - values[:, 1:]
    >>> check_target(spread, np.random.default_rng(0).normal(size=(30, 2)), target=1)
    Traceback (most recent call last):
        ...
    rushlight.jobs.series_guard.LeakError: the feature 'spread' leaks: ...
    """
    values = values[:CHECKED_ROWS]
    names, before = build(values)
    other = values.copy()
    other[-1, target] = 1.5 * other[-1, target] + 1.0
    _, after = build(other)
    names_left = [name for name in names if name not in allowed]
    keep = [number for number, name in enumerate(names) if name not in allowed]
    change = _first_change(names_left, before[-1:, keep], after[-1:, keep])
    if change is not None:
        raise LeakError(
            change.column,
            f"the feature {change.column!r} leaks: it is computed from the target of its own row, which is "
            "what is to be predicted",
        )


def _cuts(count: int, least: int, seed: int, columns: np.ndarray) -> list[int]:
    """Some lengths between `least` and `count`: one close to the end, one in the middle, and one that ends
    before the largest and the smallest value of every column, on which many scalings hang.
    """
    if count <= least:
        return []
    drawn = np.random.default_rng(seed).integers(least, count, CUTS - 2)
    cuts = [*drawn, count - 1, (least + count) // 2]
    known = columns[:, ~np.isnan(columns).all(axis=0)]
    extremes = np.concatenate([np.nanargmax(known, axis=0), np.nanargmin(known, axis=0)])
    # a function of a window may need more than a handful of rows
    extremes = extremes[extremes >= max(least, int(count * SHORTEST))]
    if len(extremes):
        cuts.append(extremes.min())
    return sorted({int(cut) for cut in cuts if least <= cut < count})


def _first_change(names: Sequence[str], before: np.ndarray, after: np.ndarray) -> Change | None:
    """Where the two first differ by more than rounding; None if they do not."""
    if before.shape != after.shape:
        raise JobError(f"features have the shape {after.shape} where {before.shape} is expected")
    scale = np.nanmax(np.abs(np.vstack([before, np.zeros_like(before[:1])])), axis=0, initial=0.0)
    with np.errstate(invalid="ignore"):
        same = np.abs(before - after) <= 1e-9 * scale
    same |= np.isnan(before) & np.isnan(after)
    rows, columns = np.nonzero(~same)
    if not len(rows):
        return None
    row, column = int(rows[0]), int(columns[0])
    return Change(names[column], row, float(before[row, column]), float(after[row, column]))


def _shown(value: float) -> str:
    return "missing" if np.isnan(value) else f"{value:g}"
