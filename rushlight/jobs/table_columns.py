"""What the columns of a table are, and what is taken of each: numbers, categories, dates, texts.

`describe_columns` looks at training rows and decides; `part_of` carries out what was decided, on any rows.
Turning parts into network input (missing values, scaling, numbering) is in `rushlight.jobs.table_features`.
Invariant: a part depends on its own row and column alone, so no row learns from another here, and a value
that cannot be read is missing, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rushlight.jobs.errors import JobError
from rushlight.jobs.reading import as_text, polars
from rushlight.jobs.times import times_of

MOST_LEVELS = 1000  # a text with more values than this is no category
FEW_NUMBERS = 10  # whole numbers with no more values than this are taken as categories as well
MOSTLY = 0.95  # of a text column's values that must be numbers for it to count as numbers
WORDS = 20  # of the most frequent words of a text, whether it has them
WORD_SHARES = (0.02, 0.98)  # a word is of use if it is in more than this share of rows, and in less than that
NUMERIC_PARTS = ("number", "days", "words", "shared", "has")


@dataclass(frozen=True)
class Column:
    """A column and what is taken of it.

    Attributes:
        name: the column.
        kind: number, boolean, category, date, text, or left out.
        parts: what is taken: ``number``, ``value`` (as a category), ``days``, ``month``, ``weekday``,
            ``hour``, ``words`` (how many), ``has:WORD``, ``prefix`` (letters a code begins with), ``shared``
            (how many rows have the same value).
        remark: why it is left out, or what to know about it.
    """

    name: str
    kind: str
    parts: list[str] = field(default_factory=list)
    remark: str = ""


def describe_columns(frame: Any, names: Sequence[str]) -> list[Column]:
    """What the named columns of some rows are.

    >>> frame = polars().DataFrame({"age": [3.5, None, 58.0], "city": ["Bonn", "Ulm", "Bonn"], "x": [1] * 3})
    >>> for each in describe_columns(frame, frame.columns):
    ...     print(each.name, each.kind, each.parts, each.remark)
    age number ['number'] 1 missing
    city category ['value'] 2 values
    x left out [] the same in every row
    """
    return [_describe(frame, name) for name in names]


def _describe(frame: Any, name: str) -> Column:
    pl = polars()
    column = frame[name]
    if column.dtype == pl.String:
        column = column.str.strip_chars()
        column = column.set(column == "", None)
    valid = column.drop_nulls()
    if column.dtype.is_float():
        valid = valid.filter(valid.is_finite())
    missing = len(column) - len(valid)
    if not len(valid):
        return Column(name, "left out", remark="nothing but missing values")
    if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object, pl.Time, pl.Duration):
        return Column(name, "left out", remark=f"values of type {column.dtype} are not understood")
    distinct = valid.n_unique()
    if distinct == 1 and not missing:
        return Column(name, "left out", remark="the same in every row")
    remark = f"{missing:,} missing" if missing else ""
    if column.dtype == pl.Boolean:
        return Column(name, "boolean", ["value"], remark)
    if column.dtype.is_numeric():
        return _number(name, valid, distinct, remark)
    if column.dtype.is_temporal() or _are_dates(frame, name):
        return Column(name, "date", _date_parts(part_of(frame, name, "time").drop_nulls()), remark)
    return _text(name, valid.cast(pl.String), distinct, remark)


def _number(name: str, valid: Any, distinct: int, remark: str) -> Column:
    whole = valid.dtype.is_integer() or bool((valid == valid.round()).all())
    if whole and distinct == len(valid) > 20:
        counting = valid.max() - valid.min() + 1 == len(valid)
        if counting or re.fullmatch(r"(?i)(.*[_ ])?id|.*I[dD]", name):
            return Column(name, "left out", remark="a number of the row: every row has another")
    if distinct == 2 and whole:
        return Column(name, "boolean", ["number"], remark)
    if whole and 2 < distinct <= FEW_NUMBERS and len(valid) >= 5 * distinct:
        few = f"{distinct} values: as a number and as a category"
        return Column(name, "number", ["number", "value"], f"{few}, {remark}" if remark else few)
    return Column(name, "number", ["number"], remark)


def _are_dates(frame: Any, name: str) -> bool:
    """Whether a column of text holds dates."""
    try:
        times_of(frame.select(name).drop_nulls().head(1000), name, "")
    except JobError:
        return False
    return True


def _date_parts(times: Any) -> list[str]:
    parts = ["days"] if times.n_unique() > 1 else []
    for part, values in (
        ("month", times.dt.month()),
        ("weekday", times.dt.weekday()),
        ("hour", times.dt.hour()),
    ):
        if values.n_unique() > 1:
            parts.append(part)
    return parts


def _text(name: str, valid: Any, distinct: int, remark: str) -> Column:
    numbers = valid.cast(polars().Float64, strict=False)
    words = len(valid) - numbers.null_count()
    if words >= MOSTLY * len(valid):
        strange = valid.filter(numbers.is_null())
        note = f"{len(strange):,} values such as {strange[0]!r} are no numbers: taken as missing"
        return Column(name, "number", ["number"], f"{remark}; {note}" if remark else note)
    rows_each = len(valid) / distinct
    if distinct <= MOST_LEVELS and rows_each >= (5 if distinct > 12 else 2 if len(valid) > 4 else 1):
        levels = f"{distinct} values"
        return Column(name, "category", ["value"], f"{levels}, {remark}" if remark else levels)
    parts = _text_parts(valid)
    if not parts:
        return Column(name, "left out", remark=f"free text or ids: {distinct:,} different values")
    return Column(name, "text", parts, f"{distinct:,} different values" + (f", {remark}" if remark else ""))


def _text_parts(valid: Any) -> list[str]:
    """What can be learnt from texts that hardly repeat: frequent words, beginnings of codes, sharing."""
    parts = []
    lengths = valid.str.extract_all(r"\S+").list.len()
    code = valid.str.contains(r"\d").mean() > 0.5 and lengths.mean() < 4
    if code:
        beginnings = valid.str.extract(r"^([A-Za-z]+)").drop_nulls().str.to_lowercase().value_counts()
        frequent = beginnings.filter(beginnings["count"] >= max(2, 0.01 * len(valid)))
        if len(frequent) > 1 or (len(frequent) == 1 and frequent["count"][0] < len(valid)):
            parts.append("prefix")
    else:
        parts += [f"has:{word}" for word in _frequent_words(valid)]
    if lengths.n_unique() > 1:
        parts.append("words")
    if not code and not any(part.startswith("has:") for part in parts):
        parts = []  # the number of words alone tells little of names or ids
    if valid.is_duplicated().mean() > 0.2:
        parts.append("shared")
    return parts


def _frequent_words(valid: Any) -> list[str]:
    """The words that divide the rows, most frequent first."""
    pl = polars()
    found = valid.str.to_lowercase().str.extract_all(r"[\p{L}\d]+").list.unique().explode()
    counts = found.drop_nulls().alias("word").to_frame().group_by("word").len()
    low, high = (share * len(valid) for share in WORD_SHARES)
    counts = counts.filter((pl.col("len") > low) & (pl.col("len") < high) & (pl.col("len") >= 3))
    return counts.sort(["len", "word"], descending=[True, False])["word"].head(WORDS).to_list()


# -- taking a part -------------------------------------------------------------------------------------------


def part_of(frame: Any, name: str, part: str) -> Any:
    """A part of a column: numbers as Float64, categories as text, ``time`` as Datetime; null where missing.

    >>> frame = polars().DataFrame({"seat": ["C85 C87", "e10", None], "seen": ["2024-03-01", None, "soon"]})
    >>> part_of(frame, "seat", "prefix").to_list(), part_of(frame, "seat", "words").to_list()
    (['c', 'e', None], [2.0, 1.0, None])
    >>> part_of(frame, "seen", "weekday").to_list()
    ['5', None, None]
    """
    pl = polars()
    column = frame[name]
    if part == "number":
        if column.dtype == pl.String:
            column = column.str.strip_chars()
        elif column.dtype.is_temporal():
            return pl.Series(name, [None] * len(column), dtype=pl.Float64)
        numbers = column.cast(pl.Float64, strict=False)
        return numbers.set(~numbers.is_finite(), None)
    if part in ("value", "shared"):
        text = as_text(column)
        return text.set(text == "", None)
    if part in ("time", "days", "month", "weekday", "hour"):
        return _time_part(column, part)
    text = as_text(column)
    text = text.set(text == "", None)
    if part == "words":
        return text.str.extract_all(r"\S+").list.len().cast(pl.Float64)
    if part == "prefix":
        # a code without letters is a kind of its own, not a missing one
        return text.str.extract(r"^([A-Za-z]*)").str.to_lowercase()
    word = re.escape(part.removeprefix("has:"))
    return text.str.to_lowercase().str.contains(rf"(^|[^\p{{L}}\d]){word}($|[^\p{{L}}\d])").cast(pl.Float64)


def _time_part(column: Any, part: str) -> Any:
    pl = polars()
    if column.dtype.is_temporal() and column.dtype not in (pl.Time, pl.Duration):
        times = column.cast(pl.Datetime("us"))
    else:
        times = _parsed_times(column)
    if part == "time":
        return times
    if part == "days":
        return times.dt.timestamp("us").cast(pl.Float64) / 86_400e6
    taken = {"month": times.dt.month, "weekday": times.dt.weekday, "hour": times.dt.hour}[part]()
    return taken.cast(pl.String)


def _parsed_times(column: Any) -> Any:
    """Text as times; what cannot be read is missing."""
    pl = polars()
    text = as_text(column)
    text = text.set(text == "", None)
    values = text.drop_nulls().unique(maintain_order=True)
    try:
        times = times_of(values.to_frame("time"), "time", "")
    except JobError:  # one by one, so that a single bad value does not cost the others
        times = np.array([_one_time(value) for value in values], dtype="datetime64[us]")
    known = pl.DataFrame({"text": values, "time": pl.Series(times, dtype=pl.Datetime("us"))})
    found = text.to_frame("text").join(known, on="text", how="left", maintain_order="left")
    return found["time"].rename(column.name)


def _one_time(value: str) -> np.datetime64:
    try:
        return times_of(polars().DataFrame({"time": [value]}), "time", "")[0]
    except JobError:
        return np.datetime64("NaT", "us")
