"""Training: the one loop behind all jobs, for networks of any kind.

>>> import rushlight as torch
>>> from rushlight.fit import Trainer, Accuracy, EarlyStopping
>>> _ = torch.manual_seed(0)
>>> x = torch.randn(200, 2)
>>> y = (x[:, 0] > x[:, 1]).long()
>>> model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
>>> trainer = Trainer(model, torch.nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), lr=0.02),
...                   train=(x[:150], y[:150]), validation=(x[150:], y[150:]), epochs=15, batch_size=10,
...                   metrics={"accuracy": Accuracy()}, monitor="validation_accuracy",
...                   callbacks=[EarlyStopping(patience=10)], progress=False)
>>> history = trainer.fit()
>>> history[-1]["validation_accuracy"] > 0.9
True
>>> trainer.predict(x[:3]).shape
torch.Size([3, 2])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rushlight.fit.callbacks import Callback, EarlyStopping
    from rushlight.fit.errors import FitError, Interrupted
    from rushlight.fit.evaluation import predictions
    from rushlight.fit.metrics import (
        Accuracy,
        Collected,
        MeanAbsoluteError,
        MeanSquaredError,
        Metric,
        RootMeanSquaredError,
    )
    from rushlight.fit.mistakes import Mistake, MistakeWarning
    from rushlight.fit.rates import RateCurve
    from rushlight.fit.report import Report
    from rushlight.fit.run_folder import RunFolder
    from rushlight.fit.trainer import Trainer, Wording
    from rushlight.fit.verdict import Verdict, judge
    from rushlight.fit.watching import watch

__all__ = [
    "Accuracy",
    "Callback",
    "Collected",
    "EarlyStopping",
    "FitError",
    "Interrupted",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "Mistake",
    "MistakeWarning",
    "RootMeanSquaredError",
    "RateCurve",
    "Report",
    "RunFolder",
    "Trainer",
    "Verdict",
    "Wording",
    "judge",
    "predictions",
    "watch",
]

_HOMES = {
    "Accuracy": "metrics",
    "Callback": "callbacks",
    "Collected": "metrics",
    "EarlyStopping": "callbacks",
    "FitError": "errors",
    "Interrupted": "errors",
    "MeanAbsoluteError": "metrics",
    "MeanSquaredError": "metrics",
    "Metric": "metrics",
    "Mistake": "mistakes",
    "MistakeWarning": "mistakes",
    "RootMeanSquaredError": "metrics",
    "RateCurve": "rates",
    "Report": "report",
    "RunFolder": "run_folder",
    "Trainer": "trainer",
    "Verdict": "verdict",
    "Wording": "trainer",
    "judge": "verdict",
    "predictions": "evaluation",
    "watch": "watching",
}


def __getattr__(name: str) -> Any:
    # The command line imports the errors of this package at its start; the rest waits until it is asked for.
    if name in _HOMES:
        return getattr(importlib.import_module(f"rushlight.fit.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'rushlight.fit' has no attribute {name!r}")
