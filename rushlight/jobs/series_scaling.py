"""Scaling of features and target, fitted on the rows that are trained on and on no others.

Each kind is a curve (straight, or a logarithm), perhaps a reference (the last known target), and then a shift
and a factor per column. Prediction goes the way back to the target's own unit. Invariant: `apply` of a row
depends on that row and the fitted numbers alone, and ``restore(apply_target(y)) == y`` up to rounding.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rushlight.jobs.errors import JobError
from rushlight.jobs.kept import made_of
from rushlight.jobs.series_features import Rows

KINDS = ("max", "standard", "minmax", "log", "returns")
BEND = 1e-3  # of a column's median size: the curve is a logarithm well above it and straight below
RELATED = 2.0  # columns whose median is within this factor of the target's are in the target's unit
CHUNK = 65_536  # rows converted at a time, so that a long series needs little more than its result


@dataclass
class Scaling:
    """A fitted scaling; every attribute is a number, a word or a list, so that it can be kept as JSON.

    Attributes:
        kind: one of `KINDS`.
        names: the features, in their order.
        bends: per feature, where the logarithm bends into a line; empty for straight scalings.
        related: per feature, whether it is measured against the last known target (``returns``).
        shifts, factors: per feature, ``(value - shift) * factor``.
        target_bend, target_shift, target_factor: the same for the target.
    """

    kind: str
    names: list[str]
    bends: list[float]
    related: list[bool]
    shifts: list[float]
    factors: list[float]
    target_bend: float
    target_shift: float
    target_factor: float

    @classmethod
    def fit(cls, kind: str, rows: Rows) -> Scaling:
        """Fit on the rows to train on.

        >>> from rushlight.jobs.series import Series
        >>> from rushlight.jobs.series_features import build_rows
        >>> rows = build_rows(Series(["high"], np.array([[100.0], [200.0], [400.0], [300.0]])), "high", 1)
        >>> scaling = Scaling.fit("max", rows)
        >>> scaling.apply(rows).ravel().tolist()
        [0.25, 0.5, 1.0]
        >>> scaling.restore(scaling.apply_target(rows), rows.last)
        array([200., 400., 300.])
        """
        if kind not in KINDS:
            raise JobError(f"--scale is one of {', '.join(KINDS)}, not {kind!r}")
        names = [feature.name for feature in rows.features]
        curved = kind in ("log", "returns")
        bends = [_bend(column) for column in rows.inputs.T] if curved else []
        target_bend = _bend(rows.target) if curved else 0.0
        related = [kind == "returns" and _alike(column, rows.target) for column in rows.inputs.T]
        straight = cls(
            kind, names, bends, related, [0.0] * len(names), [1.0] * len(names), target_bend, 0.0, 1.0
        )
        pairs = [_shift_and_factor(kind, straight._bent(rows, number)) for number in range(len(names))]
        target_shift, target_factor = _shift_and_factor(kind, straight._bent_target(rows))
        shifts, factors = [shift for shift, _ in pairs], [factor for _, factor in pairs]
        return cls(kind, names, bends, related, shifts, factors, target_bend, target_shift, target_factor)

    def apply(self, rows: Rows) -> np.ndarray:
        """The features as the network sees them: float32 ``(rows, features)``."""
        scaled = np.empty(rows.inputs.shape, np.float32)
        for start in range(0, len(scaled), CHUNK):
            part = rows.take(slice(start, start + CHUNK))
            for number, (shift, factor) in enumerate(zip(self.shifts, self.factors, strict=True)):
                scaled[start : start + CHUNK, number] = (self._bent(part, number) - shift) * factor
        return scaled

    def apply_target(self, rows: Rows) -> np.ndarray:
        """The target as the network learns it: float64 ``(rows)``."""
        return (self._bent_target(rows) - self.target_shift) * self.target_factor

    def restore(self, scaled: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Predictions in the target's own unit.

        Args:
            scaled: what the network gives ``(rows)``.
            last: the last known target of each row ``(rows)``.
        """
        values = np.asarray(scaled, np.float64) / self.target_factor + self.target_shift
        if self.kind == "returns":
            values = values + np.arcsinh(last / self.target_bend)
        if self.target_bend:
            # far outside what was trained on the exponential would overflow: infinity says the same
            with np.errstate(over="ignore"):
                values = np.sinh(values) * self.target_bend
        return values

    def as_dict(self) -> dict[str, Any]:
        """Everything, for the run folder."""
        return asdict(self)

    @classmethod
    def from_dict(cls, kept: dict[str, Any], file: Path = Path("config.json")) -> Scaling:
        """The scaling that `as_dict` described; JobError naming the file where something is damaged."""
        return made_of(cls, kept, file)

    def _bent(self, rows: Rows, number: int) -> np.ndarray:
        """One feature on its curve, against its reference."""
        values = rows.inputs[:, number]
        if self.related[number]:
            return np.arcsinh(values / self.target_bend) - np.arcsinh(rows.last / self.target_bend)
        return np.arcsinh(values / self.bends[number]) if self.bends else values

    def _bent_target(self, rows: Rows) -> np.ndarray:
        if not self.target_bend:
            return rows.target
        values = np.arcsinh(rows.target / self.target_bend)
        return values - np.arcsinh(rows.last / self.target_bend) if self.kind == "returns" else values


def _bend(column: np.ndarray) -> float:
    """A small part of the column's usual size; 1 for a column of zeros."""
    sizes = np.abs(column[column != 0])
    return BEND * float(np.median(sizes)) if len(sizes) else 1.0


def _alike(column: np.ndarray, target: np.ndarray) -> bool:
    """Whether a column has the target's size and sign, as the prices of a candle have."""
    here, there = float(np.median(column)), float(np.median(target))
    return here * there > 0 and 1 / RELATED <= here / there <= RELATED


def _shift_and_factor(kind: str, values: np.ndarray) -> tuple[float, float]:
    """What brings a column to the scale of its kind; a constant column stays at 0, or at 1 by ``max``."""
    if kind == "max":
        shift, spread = 0.0, float(np.abs(values).max())
    elif kind == "minmax":
        shift = float(values.min())
        spread = float(values.max()) - shift
    else:
        shift, spread = float(values.mean()), float(values.std())
    # a spread that is only rounding is none
    return shift, 1 / spread if spread > 1e-12 * max(1.0, abs(shift)) else 1.0
