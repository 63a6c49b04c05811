"""A trainer's rehearsal: a few steps that are watched for the classic mistakes, and undone.

The steps of a run are compiled, and hooks see nothing of a program; so the trainer runs some plain ones on
the side, before the first epoch and after some others. Invariant: nothing is left but what was noticed.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from rushlight.autograd.mode import state
from rushlight.fit import randomness
from rushlight.fit.mistakes import Mistake
from rushlight.fit.step import Snapshot
from rushlight.fit.watching import DEAD_WINDOW, watch

if TYPE_CHECKING:
    from rushlight.fit.trainer import Trainer

BEFORE_TRAINING = 24  # steps: enough to see that a rate leads nowhere
BETWEEN_EPOCHS = DEAD_WINDOW
SECONDS = 1.0  # a slow network is watched for fewer steps
LEAST = 4


def rehearse(trainer: Trainer, steps: int) -> list[Mistake]:
    """What is noticed in up to `steps` steps from where the trainer is."""
    if state.watcher is not None:  # the user watches already
        return []
    generators = trainer.train_batches.generators
    before = Snapshot(trainer.model, trainer.optimizer)
    streams = randomness.capture(generators)
    watcher = watch(trainer.model, trainer.optimizer, warn=False)
    began = time.monotonic()
    try:
        with watcher:
            for done, batch in enumerate(trainer.train_batches.some(steps), 1):
                loss = trainer.plain_step(*batch).item()
                late = done >= LEAST and time.monotonic() - began > SECONDS
                if done >= steps or late or not math.isfinite(loss):
                    break
    finally:
        before.undo()
        randomness.restore(streams, generators)
    return watcher.mistakes
