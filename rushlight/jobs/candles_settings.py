"""What a candle run can be asked to do, and the losses it can make small.

Invariant: settings that make no sense are refused by `Settings.check` with the option's name, before any file
is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import rushlight as rl
from rushlight.jobs.errors import refuse
from rushlight.jobs.images import DEFAULT_RATES, network_faults
from rushlight.jobs.series_features import KINDS as FEATURES
from rushlight.jobs.series_scaling import KINDS as SCALES
from rushlight.nn import functional as F
from rushlight.tensor import Tensor

GAPS = ("keep", "drop")


def _quantile_loss(quantile: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Pinball loss: a prediction that is too low costs `quantile`, one too high the rest."""

    def loss(prediction: Tensor, target: Tensor) -> Tensor:
        missing = target - prediction
        return rl.maximum(quantile * missing, (quantile - 1) * missing).mean()

    return loss


LOSSES: dict[str, Callable[[float], Callable[[Tensor, Tensor], Tensor]]] = {
    "mae": lambda quantile: F.l1_loss,
    "mse": lambda quantile: F.mse_loss,
    "rmse": lambda quantile: lambda prediction, target: F.mse_loss(prediction, target).sqrt(),
    "huber": lambda quantile: F.huber_loss,
    "quantile": _quantile_loss,
}


@dataclass
class Settings:
    """What a run is asked to do: the options of ``rushlight train candles.csv --target high``."""

    data: str
    target: str
    lags: int = 3
    features: str = "lags"
    scale: str = "returns"
    loss: str = "mae"
    quantile: float = 0.5
    folds: int = 1
    test: float = 0.2
    validation: float = 0.1
    purge: int | None = None
    gaps: str = "keep"
    time: str | None = None
    time_format: str | None = None
    columns: list[str] | None = None
    form: dict[str, Any] = field(default_factory=dict)
    feature_functions: str | None = None
    hidden: list[int] = field(default_factory=lambda: [32])
    activation: str = "relu"
    batch_size: int = 64
    epochs: int = 30
    lr: float | None = None
    optimizer: str = "adam"
    schedule: str = "one-cycle"
    seed: int = 0
    eager: bool = False
    tensorboard: bool = False

    def check(self) -> None:
        """Refuse settings that make no sense, naming the option."""
        wrong = [
            (self.lags < 1, "--lags must be at least 1: the row before is what a forecast starts from"),
            (self.features not in FEATURES, f"--features is one of {', '.join(FEATURES)}"),
            (self.scale not in SCALES, f"--scale is one of {', '.join(SCALES)}"),
            (self.loss not in LOSSES, f"--loss is one of {', '.join(LOSSES)}"),
            (not 0 < self.quantile < 1, "--quantile is between 0 and 1, such as 0.9"),
            (self.folds < 1, "--folds must be at least 1"),
            (not 0 < self.test < 1, "--test is a share between 0 and 1, such as 0.2"),
            (not 0 < self.validation < 1, "--validation is a share between 0 and 1, such as 0.1"),
            (self.purge is not None and self.purge < 0, "--purge is a number of rows, 0 or more"),
            (self.gaps not in GAPS, f"--gaps is one of {', '.join(GAPS)}"),
            *network_faults(self),
        ]
        refuse(wrong)

    @property
    def rate(self) -> float:
        """The learning rate: the one asked for, or the optimizer's usual one."""
        return self.lr if self.lr is not None else DEFAULT_RATES.get(self.optimizer, 0.003)

    @property
    def gap(self) -> int:
        """Rows left out between spans: as far as features reach back, unless said otherwise."""
        return self.lags if self.purge is None else self.purge
