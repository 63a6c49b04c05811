"""From the parts of columns to network input: numbers scaled, categories numbered, gaps filled.

`Encoder.fit` learns medians, scales and levels from training rows; `Encoder.encode` applies them to any rows.
Which parts there are is decided in `rushlight.jobs.table_columns`. Invariant: encoding depends on training
rows and the row at hand only, and never fails: a value not seen in training is row 0 of its category, and
what is missing has a value of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rushlight.jobs.kept import made_of
from rushlight.jobs.kept import part as part_kept
from rushlight.jobs.reading import polars
from rushlight.jobs.table_columns import Column, part_of

UNKNOWN = 0  # the row of rare categories and of those that were not trained on
MISSING = "(missing)"
LONG_TAIL = 2.0  # skewness from which on a number from 0 up is taken as its logarithm
FURTHEST = 10.0  # standard deviations: no number is let further from the mean than this


class Inputs(NamedTuple):
    """What a model of a table is given: scaled ``numbers (N, F)`` float32 and ``codes (N, C)`` int64."""

    numbers: np.ndarray
    codes: np.ndarray

    def rows(self, rows: np.ndarray) -> Inputs:
        """Some of the rows."""
        return Inputs(self.numbers[rows], self.codes[rows])


@dataclass(frozen=True)
class Number:
    """A number: missing ones become the median and, where training had some, a second column says so."""

    column: str
    part: str
    median: float
    mean: float
    scale: float
    logarithm: bool
    indicator: bool
    counts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def fit(cls, frame: Any, column: str, part: str) -> Number:
        """Learn from training rows."""
        counts = _shared_counts(frame, column) if part == "shared" else {}
        values = _numbers(frame, column, part, counts)
        known = values[np.isfinite(values)]
        known = known if len(known) else np.zeros(1)
        logarithm = bool(known.min() >= 0 and _skewness(known) > LONG_TAIL and part in ("number", "shared"))
        known = np.log1p(known) if logarithm else known
        median, scale = float(np.median(known)), float(known.std())
        indicator = bool(np.isnan(values).any()) and not part.startswith("has:")
        return cls(column, part, median, float(known.mean()), scale or 1.0, logarithm, indicator, counts)

    def encode(self, frame: Any) -> list[np.ndarray]:
        """One or two columns of input."""
        values = _numbers(frame, self.column, self.part, self.counts)
        if self.logarithm:
            values = np.log1p(np.maximum(values, 0))
        gaps = np.isnan(values)
        scaled = (np.where(gaps, self.median, values) - self.mean) / self.scale
        found = [np.clip(scaled, -FURTHEST, FURTHEST)]
        return [*found, gaps.astype(np.float64)] if self.indicator else found


def _numbers(frame: Any, column: str, part: str, counts: dict[str, int]) -> np.ndarray:
    taken = part_of(frame, column, part)
    if part == "shared":
        taken = taken.replace_strict(counts, default=1, return_dtype=polars().Float64)
    return taken.fill_null(float("nan")).to_numpy().astype(np.float64)


def _shared_counts(frame: Any, column: str) -> dict[str, int]:
    """How often each value occurs, of those that occur more than once."""
    counts = part_of(frame, column, "shared").drop_nulls().alias("value").value_counts()
    repeated = counts.filter(counts["count"] > 1).sort("value")
    return dict(zip(repeated["value"].to_list(), repeated["count"].to_list(), strict=True))


def _skewness(values: np.ndarray) -> float:
    centred = values - values.mean()
    variance = float(np.mean(centred**2))
    return float(np.mean(centred**3)) / variance**1.5 if variance > 0 else 0.0


@dataclass(frozen=True)
class Category:
    """A category: levels that occur often enough have a row each, from 1; all others share row 0.

    Missing values are a level where training had enough of them, else they count as the most frequent one.
    """

    column: str
    part: str
    levels: list[str]
    mode: str

    @classmethod
    def fit(cls, frame: Any, column: str, part: str, rare: int) -> Category:
        """Learn from training rows; a level with fewer than `rare` rows is not told apart."""
        taken = part_of(frame, column, part)
        counts = taken.fill_null(MISSING).alias("level").value_counts()
        counts = counts.filter(counts["count"] >= rare).sort(["count", "level"], descending=[True, False])
        levels = counts["level"].to_list()
        named = [level for level in levels if level != MISSING]
        return cls(column, part, levels, named[0] if named else MISSING)

    def __len__(self) -> int:
        """How many rows a table of parameters needs."""
        return len(self.levels) + 1

    def encode(self, frame: Any) -> np.ndarray:
        """The level of each row, numbered from 1; 0 where it is rare or unknown."""
        gap = MISSING if MISSING in self.levels else self.mode
        taken = part_of(frame, self.column, self.part).fill_null(gap)
        places = {level: place for place, level in enumerate(self.levels, 1)}
        if not places:
            return np.zeros(len(taken), dtype=np.int64)
        return taken.replace_strict(places, default=UNKNOWN, return_dtype=polars().Int64).to_numpy()


@dataclass(frozen=True)
class Encoder:
    """All that is taken of a table's columns, fitted to training rows."""

    numbers: list[Number]
    categories: list[Category]

    @classmethod
    def fit(cls, frame: Any, columns: Sequence[Column]) -> Encoder:
        """Learn medians, scales and levels from training rows.

        >>> from rushlight.jobs.table_columns import describe_columns
        >>> frame = polars().DataFrame({"age": [2.5, None, 4.0, 5.5], "city": ["Ulm", "Bonn"] * 2})
        >>> encoder = Encoder.fit(frame, describe_columns(frame, frame.columns))
        >>> rows = encoder.encode(polars().DataFrame({"age": [4.0, None], "city": ["Rome", "Ulm"]}))
        >>> rows.numbers.round(2).tolist(), rows.codes.tolist()
        ([[0.0, 0.0], [0.0, 1.0]], [[0], [2]])
        """
        rare = max(1, min(5, len(frame) // 100))
        numbers, categories = [], []
        for column in columns:
            for part in column.parts:
                if part.partition(":")[0] in ("number", "days", "words", "shared", "has"):
                    numbers.append(Number.fit(frame, column.name, part))
                else:
                    categories.append(Category.fit(frame, column.name, part, rare))
        return cls(numbers, categories)

    def encode(self, frame: Any) -> Inputs:
        """Network input for some rows; every column that was fitted must be there."""
        count = len(frame)
        numbers = [column for each in self.numbers for column in each.encode(frame)]
        codes = [each.encode(frame) for each in self.categories]
        return Inputs(
            np.stack(numbers, axis=1).astype(np.float32) if numbers else np.zeros((count, 0), np.float32),
            np.stack(codes, axis=1) if codes else np.zeros((count, 0), np.int64),
        )

    @property
    def sources(self) -> tuple[list[str], list[str]]:
        """The table's column behind each column of numbers and of codes."""
        numbers = [each.column for each in self.numbers for _ in range(2 if each.indicator else 1)]
        return numbers, [each.column for each in self.categories]

    def unread(self, frame: Any) -> Counter[str]:
        """What in these rows could not be taken as in training, in words, and of how many rows that holds."""
        found: Counter[str] = Counter()
        for number in self.numbers:
            if number.part in ("number", "days"):
                given = len(frame) - part_of(frame, number.column, "value").null_count()
                read = int(np.isfinite(_numbers(frame, number.column, number.part, {})).sum())
                if read < given:
                    what = "dates" if number.part == "days" else "numbers"
                    found[f"values of {number.column!r} are no {what}: taken as missing"] = given - read
        for category in self.categories:
            if category.part == "value" and not any(n.column == category.column for n in self.numbers):
                unknown = int((category.encode(frame) == UNKNOWN).sum())
                if unknown:
                    found[f"rows have a {category.column!r} that was rare or not trained on"] = unknown
        return found

    def to_json(self) -> dict[str, Any]:
        """What `from_json` makes the encoder of again."""
        return asdict(self)

    @classmethod
    def from_json(cls, saved: dict[str, Any], file: Path = Path("encoder.json")) -> Encoder:
        """The encoder that was saved; JobError naming the file where something in it is damaged."""
        numbers = part_kept(saved, "numbers", list[dict[str, Any]], file)
        categories = part_kept(saved, "categories", list[dict[str, Any]], file)
        return cls(
            [made_of(Number, each, file) for each in numbers],
            [made_of(Category, each, file) for each in categories],
        )
