"""Code that a trainer calls while it trains.

A callback sees the trainer and may read anything, change learning rates and the like, or stop the run.
Invariant: what a callback counts is in its ``state_dict``, so that a resumed run decides as one that was
not interrupted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rushlight.fit.errors import FitError

if TYPE_CHECKING:
    from rushlight.fit.trainer import Trainer


class Callback:
    """Base class: a subclass defines those methods it needs.

    >>> class Rates(Callback):
    ...     def on_epoch_end(self, trainer, row):
    ...         print(row["epoch"], row["learning_rate"])
    """

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Before the first step, and again when a run goes on."""

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Before the first step of an epoch; ``trainer.epoch`` counts from 0."""

    def on_step_end(self, trainer: Trainer, loss: float) -> None:
        """After each step, with its loss. Where a callback defines this, steps run one by one."""

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """After each epoch, with its line of the history; before the best model is chosen and saved."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last epoch; not after an interruption."""

    def state_dict(self) -> dict[str, Any]:
        """What the callback must know again when the run is resumed."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of an interrupted run."""


def wants_each_step(callback: Callback) -> bool:
    """Whether a callback is to be told of each step before the next one runs.

    >>> wants_each_step(EarlyStopping())
    False
    """
    return type(callback).on_step_end is not Callback.on_step_end


class EarlyStopping(Callback):
    """Stops when the monitored value has not improved for `patience` epochs.

    Args:
        patience: epochs to wait for an improvement.
        min_delta: how much counts as one.
        monitor: a column of the history; by default the one that chooses the best model.
        higher_is_better: which way is up; by default known from the trainer.
    """

    def __init__(
        self,
        patience: int = 5,
        min_delta: float = 0.0,
        monitor: str | None = None,
        higher_is_better: bool | None = None,
    ) -> None:
        if patience < 1:
            raise FitError("patience must be at least 1 epoch")
        self.patience, self.min_delta = patience, min_delta
        self.monitor, self.higher_is_better = monitor, higher_is_better
        self.best, self.waited = math.nan, 0

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """Count epochs without an improvement."""
        name = self.monitor or trainer.monitor
        if name not in row:
            raise FitError(f"early stopping watches {name!r}, but an epoch gives {', '.join(row)}")
        up = self.higher_is_better if self.higher_is_better is not None else trainer.direction_of(name)
        value = row[name]
        gain = value - self.best if up else self.best - value
        if math.isnan(self.best) or gain > self.min_delta:
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.stop(f"{name} has not improved for {self.waited} epochs (best {self.best:.4g})")

    def state_dict(self) -> dict[str, Any]:
        """The best value and how long ago it was."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting."""
        self.best, self.waited = float(state["best"]), int(state["waited"])
