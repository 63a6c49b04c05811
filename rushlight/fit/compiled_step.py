"""The compiled step of a trainer by itself, to be looked at.

Invariant: the trainer is as if nothing had happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rushlight.compile import compile
from rushlight.compile.record import RecordingError
from rushlight.fit import randomness
from rushlight.fit.errors import FitError
from rushlight.fit.step import Snapshot

if TYPE_CHECKING:
    from rushlight.compile.compiled import CompiledFunction
    from rushlight.fit.trainer import Trainer


def compiled_step(trainer: Trainer) -> CompiledFunction:
    """The step of a trainer, recorded for the first batch of an epoch, even if the trainer does not compile.

    Raises:
        FitError: the step cannot be compiled.
    """
    generators = trainer.train_batches.generators
    before = Snapshot(trainer.model, trainer.optimizer)
    streams = randomness.capture(generators)
    step: CompiledFunction = compile(trainer.plain_step, name="step")
    trainer.model.train()
    try:
        batch = next(iter(trainer.train_batches.epoch()))
        for _ in range(2):  # the first step makes the optimizer's state
            step(*batch)
        if not step.is_recorded(*batch):
            raise FitError("the training step cannot be compiled: it keeps tensors that it makes")
    except RecordingError as error:
        raise FitError(f"the training step cannot be compiled: {error}") from None
    finally:
        before.undo()
        randomness.restore(streams, generators)
    return step
