"""A time series from a table: its numbers in time order, with what was done to get them.

A `Series` is what the features of a forecast are built from (`rushlight.jobs.series_features`). Text columns
and further columns of times are left out, rows are put in time order, and everything that was left out or
put right has a note. Invariant: rows are strictly increasing in time where there are times, and values are
finite numbers or nan for missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rushlight.jobs.errors import JobError
from rushlight.jobs.reading import column_named, numbers, polars, read_table
from rushlight.jobs.times import first_time_name, is_time_name, put_in_order, times_of

TEXT_SHARE = 0.5  # a text column of which at least this share are numbers is a damaged column of numbers


@dataclass
class Series:
    """Numbers in time order.

    Attributes:
        names: the columns.
        values: float64 ``(rows, columns)``, nan where missing.
        times: ``datetime64[us]`` per row, or None for a table without times.
        step: the usual time between rows.
        gaps: the rows before which time is missing.
        notes: what was left out or put right, a sentence each.
        time_name: the column the times are from.
    """

    names: list[str]
    values: np.ndarray
    times: np.ndarray | None = None
    step: np.timedelta64 = field(default_factory=lambda: np.timedelta64(0, "us"))
    gaps: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    notes: list[str] = field(default_factory=list)
    time_name: str | None = None

    def __len__(self) -> int:
        return len(self.values)

    def column(self, name: str) -> np.ndarray:
        """One column's values."""
        return self.values[:, self.names.index(name)]


def read_series(
    path: str | Path,
    *,
    time: str | None = None,
    time_format: str | None = None,
    columns: Sequence[str] | None = None,
    needed: str | None = None,
    copies: int = 1,
    **form: Any,
) -> Series:
    """Read a series from a table.

    Args:
        path: CSV and the like, or Parquet, as `read_table` takes it.
        time: the column of timestamps; the first one so named if None. Without one, rows count as they stand.
        time_format: how timestamps are written; found if None.
        columns: the columns of numbers to use; all if None. Those that are not there, are all missing or no
            numbers are then an error, where otherwise columns of text are left out.
        needed: a column that is an error in the same way.
        copies: how many features each number is going to be in, which limits the rows.
        form: ``delimiter``, ``encoding``, ``header`` and ``rows`` of `read_table`. Of a table that has more
            rows the newest are used: the last ones, or the first ones where the file begins with them.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "candles.csv"
    >>> _ = file.write_text("time,high\\n2024-01-01 00:30,3\\n2024-01-01 00:15,2\\n2024-01-01 00:00,1\\n")
    >>> series = read_series(file)
    >>> series.names, series.column("high"), series.notes
    (['high'], array([1., 2., 3.]), ['the rows stand newest first: turned round'])
    """
    table = read_table(path, keep="last", copies=copies, **form)
    where, frame, notes = str(path), table.frame, list(table.notes)
    if time is not None:
        column_named(frame.columns, time, where)
    else:
        time = first_time_name(frame.columns)
    times = None if time is None else times_of(frame, time, where, time_format)
    if time is not None and times is not None and table.is_part and times[0] > times[-1]:  # newest first
        table = read_table(path, keep="first", copies=copies, **form)
        frame, notes = table.frame, list(table.notes)
        times = times_of(frame, time, where, time_format)
    names = _columns_of_numbers(frame, time, columns, needed, where, notes)
    values = np.empty((len(frame), len(names)), order="F")
    for number, name in enumerate(names):
        values[:, number] = numbers(frame, name, where)
    infinite = np.isinf(values)
    if infinite.any():
        values[infinite] = np.nan
        notes.append(f"{int(infinite.sum()):,} infinite values: taken as missing")
    if times is None:
        return Series(names, values, notes=notes)
    order = put_in_order(times, values, where)
    if not np.array_equal(order.rows, np.arange(len(times))):
        times, values = times[order.rows], values[order.rows]
    return Series(names, values, times, order.step, order.gaps, notes + order.notes, time)


def _columns_of_numbers(
    frame: Any,
    time: str | None,
    wanted: Sequence[str] | None,
    needed: str | None,
    where: str,
    notes: list[str],
) -> list[str]:
    """The columns to use; those without numbers go to `notes`, or are an error if they were asked for."""
    pl = polars()
    asked = [*(wanted or ()), *([needed] if needed else [])]
    for name in asked:
        column_named(frame.columns, name, where)
        if not _has_values(frame[name]):
            raise JobError(f"{where}, column {name!r}: every value is missing")
    if wanted is not None:
        if needed is not None and needed not in wanted:
            raise JobError(f"{where}: {needed!r} is to be predicted, so it must be among the columns to use")
        return [name for name in wanted if name != time]
    names, empty, text = [], [], []
    for name in frame.columns:
        column = frame[name]
        if name == time or (name != needed and (is_time_name(name) or column.dtype.is_temporal())):
            continue
        if not _has_values(column):
            empty.append(name)
        elif name != needed and column.dtype == pl.String and _share_of_numbers(column) < TEXT_SHARE:
            text.append(name)
        else:
            names.append(name)
    if empty:
        notes.append(f"every value is missing in {', '.join(empty)}: left out")
    if text:
        notes.append(f"text, not numbers, in {', '.join(text)}: left out")
    if not names:
        raise JobError(f"{where} has no column of numbers")
    return names


def _has_values(column: Any) -> bool:
    return column.null_count() < len(column)


def _share_of_numbers(column: Any) -> float:
    pl = polars()
    present = column.drop_nulls().head(10_000)
    return 1 - present.str.strip_chars().cast(pl.Float64, strict=False).null_count() / len(present)
