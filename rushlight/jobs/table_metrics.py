"""How good predictions of a table's target are, with 95 % confidence intervals.

Classes are judged by accuracy, balanced accuracy, log loss and the area under the ROC curve; numbers by RMSE,
MAE and R². Intervals come from the bootstrap: the same metric of many resamplings of the rows. Invariant: a
metric depends on truth and prediction only, and its interval on a fixed seed, so that reports repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

RESAMPLINGS = 500
MOST_ROWS = 20_000  # beyond, rows are resampled from this many, and the interval is narrowed as theory has it


class Measured(NamedTuple):
    """A metric's value and its 95 % interval."""

    value: float
    low: float
    high: float

    def text(self, percent: bool = False) -> str:
        """For people.

        >>> Measured(0.8123, 0.79, 0.83).text(percent=True)
        '81.2 % (79.0 to 83.0)'
        """
        if percent:
            return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


def softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities from scores ``(N, classes)``."""
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


# -- classes: truth (N,) int, chances (N, classes) -----------------------------------------------------------


def accuracy(truth: np.ndarray, chances: np.ndarray) -> float:
    """The share of rows whose likeliest class is the right one."""
    return float((chances.argmax(1) == truth).mean())


def balanced_accuracy(truth: np.ndarray, chances: np.ndarray) -> float:
    """The mean over classes of the share of their rows that is found."""
    right = (chances.argmax(1) == truth).astype(np.float64)
    counts = np.bincount(truth, minlength=chances.shape[1])
    found = np.bincount(truth, right, minlength=chances.shape[1])
    return float((found[counts > 0] / counts[counts > 0]).mean())


def log_loss(truth: np.ndarray, chances: np.ndarray) -> float:
    """The mean of minus the logarithm of the right class's probability."""
    return float(-np.log(np.maximum(chances[np.arange(len(truth)), truth], 1e-12)).mean())


def auc(truth: np.ndarray, chances: np.ndarray) -> float:
    """The area under the ROC curve: how often a row of a class gets a higher probability for it than another
    row; the mean over classes where there are more than two, nan where only one class occurs.

    >>> auc(np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.4, 0.6], [0.6, 0.4], [0.2, 0.8]]))
    0.75
    """
    classes = [1] if chances.shape[1] == 2 else range(chances.shape[1])
    areas = []
    for each in classes:
        inside = truth == each
        positive, negative = int(inside.sum()), int((~inside).sum())
        if positive and negative:
            ranks = _ranks(chances[:, each])
            areas.append((ranks[inside].sum() - positive * (positive + 1) / 2) / (positive * negative))
    return float(np.mean(areas)) if areas else float("nan")


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((ends - counts + 1 + ends) / 2)[place]


# -- numbers: truth and prediction (N,) ----------------------------------------------------------------------


def rmse(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(np.mean((prediction - truth) ** 2)))


def mae(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Mean absolute error."""
    return float(np.mean(np.abs(prediction - truth)))


def r2(truth: np.ndarray, prediction: np.ndarray) -> float:
    """The share of the target's variance that is explained; nan where it has none."""
    spread = float(np.sum((truth - truth.mean()) ** 2))
    return 1 - float(np.sum((prediction - truth) ** 2)) / spread if spread else float("nan")


CLASS_METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": accuracy,
    "balanced accuracy": balanced_accuracy,
    "AUC": auc,
    "log loss": log_loss,
}
NUMBER_METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {"RMSE": rmse, "MAE": mae, "R²": r2}


def measure(truth: np.ndarray, prediction: np.ndarray) -> dict[str, Measured]:
    """All metrics with intervals: of probabilities ``(N, classes)``, or of numbers ``(N,)``.

    >>> found = measure(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 3.0, 5.0]))
    >>> found["RMSE"].value, found["RMSE"].low <= 0.5 <= found["RMSE"].high
    (0.5, True)
    """
    metrics = CLASS_METRICS if prediction.ndim == 2 else NUMBER_METRICS
    return {name: interval(metric, truth, prediction) for name, metric in metrics.items()}


def interval(
    metric: Callable[[np.ndarray, np.ndarray], float], truth: np.ndarray, prediction: np.ndarray
) -> Measured:
    """A metric and its bootstrap interval."""
    draw = np.random.default_rng(0)
    value = metric(truth, prediction)
    count = min(len(truth), MOST_ROWS)
    found = np.empty(RESAMPLINGS)
    for turn in range(RESAMPLINGS):
        rows = draw.integers(0, len(truth), count)
        found[turn] = metric(truth[rows], prediction[rows])
    low, high = np.nanquantile(found, (0.025, 0.975)) if np.isfinite(found).any() else (np.nan, np.nan)
    narrowed = np.sqrt(count / len(truth))
    return Measured(value, float(value + (low - value) * narrowed), float(value + (high - value) * narrowed))


def importance(
    metric: Callable[[np.ndarray, np.ndarray], float],
    predict: Callable[[np.ndarray], np.ndarray],
    truth: np.ndarray,
    shuffle: Callable[[np.ndarray], None],
    repeats: int,
) -> np.ndarray:
    """How much worse a loss becomes when one column is shuffled: the differences, one per repeat.

    Args:
        metric: the loss, of truth and prediction.
        predict: the prediction when the column's values are taken from these rows.
        truth: the target.
        shuffle: puts an array in random order.
        repeats: how often to shuffle.
    """
    rows = np.arange(len(truth))
    before = metric(truth, predict(rows))
    found = np.empty(repeats)
    for turn in range(repeats):
        order = rows.copy()
        shuffle(order)
        found[turn] = metric(truth, predict(order)) - before
    return found
