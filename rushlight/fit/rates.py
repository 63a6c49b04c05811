"""The learning-rate finder: a short sweep over learning rates, and what it says.

After each step the rate is multiplied by a constant; the loss first falls, faster and
faster, and blows up where steps become unstable (Smith, "Cyclical Learning Rates for Training Neural
Networks", 2015). Invariant: the sweep is undone; the run goes on as if it had not been.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd import no_grad
from rushlight.fit import randomness
from rushlight.fit.batches import endless
from rushlight.fit.errors import FitError
from rushlight.fit.step import Snapshot, plain_step
from rushlight.ops.join import cat

if TYPE_CHECKING:
    from rushlight.fit.trainer import Trainer

# The sweep ends where the smoothed loss has risen by this share of its fall above where it began.
BLOWN_UP = 1.0
SMOOTHING = 0.5
PROBED = 8  # batches that the loss is measured on


@dataclass(frozen=True)
class RateCurve:
    """What a sweep found.

    Attributes:
        rates: the learning rates tried, rising.
        losses: the smoothed loss after each.
        suggestion: a rate to train with: where the loss fell fastest, and safely below the last stable one.
        lowest: the loss begins to fall here; smaller rates learn too slowly.
        highest: the loss was lowest here; larger rates are unstable.
    """

    rates: list[float]
    losses: list[float]
    suggestion: float
    lowest: float
    highest: float

    def __str__(self) -> str:
        """The curve as text, with the suggestion."""
        lines = _plotted(self)
        lines.append(
            f"the loss falls for rates from {self.lowest:.2g} to {self.highest:.2g}; "
            f"suggested: {self.suggestion:.2g}"
        )
        return "\n".join(lines)

    def draw(self, canvas: Any) -> None:
        """Draw the curve on a figure of matplotlib's."""
        axes = canvas.subplots()
        axes.semilogx(self.rates, self.losses)
        axes.axvspan(self.lowest, self.highest, alpha=0.1, label="the loss falls")
        axes.axvline(self.suggestion, color="tab:orange", label=f"suggested: {self.suggestion:.2g}")
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss")
        axes.legend()

    def _repr_html_(self) -> str:
        from rushlight.fit.report import figure

        return figure(self.draw, size=(7, 3.5))


def sweep(trainer: Trainer, lowest: float, highest: float, steps: int) -> RateCurve:
    """Try `steps` rates from `lowest` to `highest` on the trainer's data; see `Trainer.find_lr`."""
    if not 0 < lowest < highest < math.inf or steps < 10:
        raise FitError("a sweep needs 0 < lowest < highest and at least 10 steps")
    generators = trainer.train_batches.generators
    before = Snapshot(trainer.model, trainer.optimizer)
    streams = randomness.capture(generators)
    step = plain_step(trainer.model, trainer.loss_function, trainer.optimizer)
    trainer.model.train()
    try:
        rates, losses = _measured(trainer, step, np.geomspace(lowest, highest, steps))
    finally:
        before.undo()
        randomness.restore(streams, generators)
    return read_curve(rates, losses)


def _measured(
    trainer: Trainer, step: Callable[..., Any], rates: np.ndarray
) -> tuple[list[float], list[float]]:
    """The rates tried and the smoothed loss after each, up to where it blew up.

    The loss is always that of the same samples, so that it changes with the weights only.
    """
    probe = _probe(trainer)
    tried: list[float] = []
    smoothed: list[float] = []
    average = 0.0
    for count, (rate, batch) in enumerate(zip(rates, endless(trainer.train_batches), strict=False), 1):
        for group in trainer.optimizer.param_groups:
            group["lr"] = float(rate)
        step(*batch)
        with no_grad():
            loss = trainer.loss_function(trainer.model(*probe[:-1]), probe[-1]).item()
        if not math.isfinite(loss):
            break
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        tried.append(float(rate))
        smoothed.append(average / (1 - SMOOTHING**count))
        fall = smoothed[0] - min(smoothed)
        if count > 10 and smoothed[-1] - smoothed[0] > BLOWN_UP * fall + 0.1 * abs(smoothed[0]):
            break
    return tried, smoothed


def _probe(trainer: Trainer) -> tuple[Any, ...]:
    """The samples of an epoch's first batches."""
    batches = list(itertools.islice(trainer.train_batches.epoch(), PROBED))
    return tuple(cat(each) for each in zip(*batches, strict=True))


def read_curve(rates: list[float], losses: list[float]) -> RateCurve:
    """What a curve of smoothed losses says.

    Raises:
        FitError: the loss fell nowhere.

    >>> rates = [10.0**k for k in range(-6, 3)]
    >>> curve = read_curve(rates, [1.0, 1.0, 0.99, 0.9, 0.6, 0.4, 0.38, 0.9, 3.0])
    >>> f"{curve.suggestion:g} within {curve.lowest:g} to {curve.highest:g}"
    '0.01 within 0.001 to 1'
    """
    bottom = int(np.argmin(losses)) if losses else 0
    plateau = float(np.median(losses[: max(1, len(losses) // 5)])) if losses else 0.0
    fall = plateau - losses[bottom] if losses else 0.0
    if bottom < 2 or fall <= 0.01 * abs(plateau):
        raise FitError(
            "the loss fell at none of the learning rates tried: check that inputs are scaled and that the "
            "model's parameters are in the optimizer"
        )
    values, logs = np.array(losses[: bottom + 1]), np.log(rates[: bottom + 1])
    # a dip among the first, almost motionless steps is chance: the fall begins after the last high value
    start = int(np.flatnonzero(values >= plateau - 0.1 * fall)[-1]) + 1
    steepest = start + int(np.argmin(np.gradient(values, logs)[start:]))
    # the loss still falls a little where single steps already overshoot
    suggestion = min(rates[steepest], rates[bottom] / 10)
    return RateCurve(list(rates), list(losses), max(suggestion, rates[0]), rates[start], rates[bottom])


def _plotted(curve: RateCurve, height: int = 8, width: int = 60) -> list[str]:
    """The curve in characters, a mark at the suggestion."""
    places = np.linspace(0, len(curve.rates) - 1, min(width, len(curve.rates))).round().astype(int)
    losses = np.array(curve.losses)[places]
    low, high = float(losses.min()), float(min(losses.max(), losses[0] + (losses[0] - losses.min())))
    rows = np.clip((high - losses) / max(high - low, 1e-12) * (height - 1), 0, height - 1).round().astype(int)
    marked = int(np.argmin(np.abs(np.log(np.array(curve.rates)[places]) - math.log(curve.suggestion))))
    lines = []
    for row in range(height):
        drawn = "".join(
            "●" if found == row else "│" if place == marked else " " for place, found in enumerate(rows)
        )
        label = f"{high:9.3g}" if row == 0 else f"{low:9.3g}" if row == height - 1 else " " * 9
        lines.append(f"{label} ┤{drawn}".rstrip())
    left, right = f"{curve.rates[0]:.0e}", f"{curve.rates[-1]:.0e}"
    lines.append(" " * 10 + "└" + "─" * len(places))
    lines.append(" " * 11 + left + right.rjust(max(len(places) - len(left), len(right) + 1)))
    return lines
