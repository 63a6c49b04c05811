"""Optimizers: PyTorch's names, options, numbers and state dicts, written in ordinary tensor operations.

Each file holds one family; ``optimizer`` holds what they share, ``lr_scheduler`` the learning rate
schedules and ``swa_utils`` averages of models. Not here: fused or grouped kernels, since the compiler fuses a
recorded update by itself.
"""

import importlib
from typing import Any

from rushlight.optim import lr_scheduler
from rushlight.optim.adadelta import Adadelta
from rushlight.optim.adafactor import Adafactor
from rushlight.optim.adagrad import Adagrad
from rushlight.optim.adam import Adam, AdamW
from rushlight.optim.adamax import Adamax
from rushlight.optim.asgd import ASGD
from rushlight.optim.lbfgs import LBFGS
from rushlight.optim.muon import Muon
from rushlight.optim.nadam import NAdam
from rushlight.optim.optimizer import Optimizer
from rushlight.optim.radam import RAdam
from rushlight.optim.rmsprop import RMSprop
from rushlight.optim.rprop import Rprop
from rushlight.optim.sgd import SGD

__all__ = [
    "ASGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "LBFGS",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SGD",
    "lr_scheduler",
    "swa_utils",
]


def __getattr__(name: str) -> Any:
    """The averages of models, which few programs need, when they are first used."""
    if name == "swa_utils":
        return importlib.import_module("rushlight.optim.swa_utils")
    raise AttributeError(f"module 'rushlight.optim' has no attribute {name!r}")
