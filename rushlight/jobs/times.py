"""Timestamps in tables: which column they are, reading them, and bringing rows into time order.

Numbers count seconds, milli-, micro- or nanoseconds since 1970; text is ISO 8601 or one of the usual ways of
writing a date, with or without a zone. Invariant: times are ``datetime64[us]``, in UTC where the file names
a zone, and a timestamp that cannot be read, or in two ways, ends in a `JobError` that names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rushlight.jobs.errors import JobError
from rushlight.jobs.reading import polars

TIME_NAMES = frozenset(
    (
        "time",
        "date",
        "datetime",
        "timestamp",
        "ts",
        "epoch",
        "unix",
        "unixtime",
        "opentime",
        "closetime",
        "starttime",
        "endtime",
        "dateandtime",
        "localtime",
        "gmttime",
        "utc",
    )
)
_ZONED = (
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f %#z",
    "%Y-%m-%dT%H:%M%#z",
)
_CLOCKS = ("%H:%M:%S%.f", "%H:%M")
_DATES = (
    "%Y-%m-%d",
    "%Y.%m.%d",
    "%Y/%m/%d",
    "%Y%m%d",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%b %d, %Y",
)
_FORMATS = [f"{date}{between}{clock}" for date in _DATES for between in (" ", "T") for clock in _CLOCKS]
_UNITS = ((1e11, 1_000_000), (1e14, 1_000), (1e17, 1))  # upper bound of the number, microseconds in one of it
EARLIEST, LATEST = np.datetime64("1800-01-01", "us"), np.datetime64("2200-01-01", "us")


def is_time_name(name: str) -> bool:
    """Whether a column of this name holds times: ``time``, ``Date``, ``Open time``, ``close_time``...

    >>> [name for name in ("Open time", "timestamp", "open", "vol") if is_time_name(name)]
    ['Open time', 'timestamp']
    """
    return "".join(letter for letter in name.casefold() if letter.isalpha()) in TIME_NAMES


def first_time_name(names: Sequence[str]) -> str | None:
    """The first column whose name says that it holds times."""
    return next((name for name in names if is_time_name(name)), None)


def times_of(frame: Any, name: str, where: str, written: str | None = None) -> np.ndarray:
    """A column of timestamps as ``datetime64[us]``.

    Args:
        frame: a polars frame.
        name: the column.
        where: the file, for messages.
        written: how the timestamps are written, as for ``strftime``; found if None.

    >>> frame = polars().DataFrame({"time": ["2023-06-01T00:00:00+03:00", "2023-06-01T00:15:00+03:00"]})
    >>> print(times_of(frame, "time", "candles.csv")[0])
    2023-05-31T21:00:00.000000
    """
    pl = polars()
    column = frame[name]
    if column.null_count():
        row = int(column.is_null().arg_true()[0]) + 1
        raise JobError(f"{where}, column {name!r}: row {row} has no timestamp")
    if column.dtype.is_temporal() and column.dtype not in (pl.Time, pl.Duration):
        return _microseconds(column)
    if column.dtype == pl.String:
        found = _from_text(column, name, where, written)
    elif column.dtype.is_integer() and written is not None:
        found = _from_text(column.cast(pl.String), name, where, written)
    elif column.dtype.is_integer() and 18_000_101 <= column[0] <= 22_000_101:
        found = _from_text(column.cast(pl.String), name, where, "%Y%m%d")
    elif column.dtype.is_numeric():
        found = _from_numbers(column.to_numpy().astype(np.float64))
    else:
        raise JobError(f"{where}, column {name!r} holds {column.dtype}, not timestamps")
    odd = np.flatnonzero((found < EARLIEST) | (found > LATEST))
    if len(odd):
        raise JobError(
            f"{where}, column {name!r}: {column[int(odd[0])]!r} in row {odd[0] + 1} is no time between 1800 "
            "and 2200; name the column of timestamps with --time"
        )
    return found


def _from_numbers(values: np.ndarray) -> np.ndarray:
    """Seconds, milliseconds, microseconds or nanoseconds since 1970, by the size of the largest."""
    largest = np.abs(values).max()
    for bound, microseconds in _UNITS:
        if largest < bound:
            return np.rint(values * microseconds).astype(np.int64).astype("datetime64[us]")
    return np.rint(values / 1000).astype(np.int64).astype("datetime64[us]")


def _microseconds(column: Any) -> np.ndarray:
    pl = polars()
    naive = column.cast(pl.Datetime("us", getattr(column.dtype, "time_zone", None)))
    return naive.to_physical().to_numpy().astype("datetime64[us]")


def _from_text(column: Any, name: str, where: str, written: str | None) -> np.ndarray:
    """Try the usual ways of writing on the first rows, and read all with the one that fits."""
    column = column.str.strip_chars()
    ways = [written] if written is not None else [*_ZONED, *_FORMATS, *_DATES]
    sample = column.head(1000)
    fitting = [(way, parsed) for way in ways if not (parsed := _parsed(sample, way)).null_count()]
    if not fitting:
        counts = [(_parsed(sample, way).null_count(), way) for way in ways]
        failed = int(_parsed(sample, min(counts, key=lambda pair: pair[0])[1]).is_null().arg_true()[0])
        hint = f"written as --time-format {written}" if written else "a timestamp"
        raise JobError(f"{where}, column {name!r}: {sample[failed]!r} in row {failed + 1} is not {hint}")
    if len(fitting) > 1:
        whole = [(way, parsed) for way, _ in fitting if not (parsed := _parsed(column, way)).null_count()]
        if len({tuple(_microseconds(parsed.head(1000)).tolist()) for _, parsed in whole}) > 1:
            raise JobError(
                f"{where}, column {name!r}: {column[0]!r} can be read in more than one way; say which with "
                + " or ".join(f"--time-format {way!r}" for way, _ in whole)
            )
    parsed = _parsed(column, fitting[0][0])
    bad = parsed.is_null().arg_true()
    if len(bad):
        row = int(bad[0])
        raise JobError(
            f"{where}, column {name!r}: {column[row]!r} in row {row + 1} is not written like the others "
            f"({fitting[0][0]})"
        )
    return _microseconds(parsed)


def _parsed(column: Any, way: str) -> Any:
    pl = polars()
    if not any(code in way for code in ("%H", "%I", "%S")):
        return column.str.to_date(way, strict=False).cast(pl.Datetime("us"))
    return column.str.to_datetime(way, strict=False, time_unit="us", ambiguous="earliest")


# -- order ---------------------------------------------------------------------------------------------------


class Order(NamedTuple):
    """How rows stand in time: the row numbers in time order without repeats, the usual step between rows, the
    places (in that order) before which time is missing, and notes on all of it.
    """

    rows: np.ndarray
    step: np.timedelta64
    gaps: np.ndarray
    notes: list[str]


def put_in_order(times: np.ndarray, values: np.ndarray, where: str) -> Order:
    """Sort rows by time; rows that are there twice count once.

    Args:
        times: ``datetime64[us]``, one per row.
        values: the rows' numbers ``(rows, columns)``, by which repeated rows are compared.
        where: the file, for messages.

    Raises:
        JobError: one moment has two different rows.
    """
    notes = []
    rows = np.arange(len(times))
    if (times[1:] < times[:-1]).any():
        rows = np.argsort(times, kind="stable")
        newest_first = bool((times[1:] <= times[:-1]).all())
        notes.append(
            "the rows stand newest first: turned round"
            if newest_first
            else "the rows were not in time order: sorted"
        )
    ordered = times[rows]
    again = np.flatnonzero(ordered[1:] == ordered[:-1]) + 1
    if len(again):
        here, before = values[rows[again]], values[rows[again - 1]]
        differing = again[~((here == before) | (np.isnan(here) & np.isnan(before))).all(1)]
        if len(differing):
            raise JobError(
                f"{where} has different rows for the same time, {shown(ordered[differing[0]])} (and "
                f"{len(differing) - 1:,} more): a series has one row per time"
            )
        rows = np.delete(rows, again)
        many = "1 row is" if len(again) == 1 else f"{len(again):,} rows are"
        notes.append(f"{many} there twice: counted once")
        ordered = times[rows]
    if len(ordered) < 2:
        return Order(rows, np.timedelta64(0, "us"), np.empty(0, np.int64), notes)
    steps = ordered[1:] - ordered[:-1]
    kinds, counts = np.unique(steps, return_counts=True)
    usual = kinds[counts.argmax()]
    gaps = np.flatnonzero(steps > usual) + 1
    if len(gaps):
        longest = gaps[steps[gaps - 1].argmax()]
        many = "1 gap" if len(gaps) == 1 else f"{len(gaps):,} gaps"
        notes.append(
            f"{many} in time, the longest from {shown(ordered[longest - 1])} to {shown(ordered[longest])}"
        )
    return Order(rows, usual, gaps, notes)


def shown(time: Any) -> str:
    """A time as people write it, without what is zero at its end.

    >>> shown(np.datetime64("2023-06-01T00:15:00.000000"))
    '2023-06-01 00:15'
    """
    text = str(np.datetime64(time, "us")).replace("T", " ")
    return text.removesuffix(".000000").removesuffix(":00")
