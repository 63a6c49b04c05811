"""The steps of a training run: forward, backward, update; compiled where that is possible, and many in one
native call where the data lies in memory.

Recording a step means running it once outside the program, and a program may round differently from the
plain step. If that showed, a resumed run would not repeat the bits of one that ran through. So each recording
is made on the side and undone. Invariant: which steps are plain depends on their place in the run alone,
whether it was interrupted in between or not. These are the first, for it makes the optimizer's state, and an
epoch's last on fewer rows of tensors than the others, for one step an epoch is not worth compiling a program
of its own. All others come from a program, one by one or many at a time with the same bits.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from rushlight.autograd import no_grad
from rushlight.compile import compile
from rushlight.compile.compiled import CompiledFunction
from rushlight.compile.over import next_chunk, run_natively
from rushlight.compile.record import RecordingError
from rushlight.compile.recording import Recording
from rushlight.fit import randomness
from rushlight.fit.batches import Batch, RowBatches, rows_in
from rushlight.nn import Module
from rushlight.nn.utils import clip_grad_norm_, clip_grad_value_
from rushlight.optim import LBFGS, Optimizer
from rushlight.tensor import Tensor


def plain_step(
    model: Module,
    loss_function: Callable[..., Tensor],
    optimizer: Optimizer,
    clip_norm: float | None = None,
    clip_value: float | None = None,
) -> Callable[..., Tensor]:
    """The step as a function of a batch: everything before the batch's last tensor goes into the model.

    >>> import rushlight as torch
    >>> model = torch.nn.Linear(2, 1)
    >>> step = plain_step(model, torch.nn.functional.mse_loss, torch.optim.SGD(model.parameters(), lr=0.1))
    >>> x, y = torch.ones(4, 2), torch.zeros(4, 1)
    >>> bool(step(x, y) > step(x, y))
    True
    """
    parameters = [each for group in optimizer.param_groups for each in group["params"]]

    def gradients(batch: tuple[Any, ...]) -> Tensor:
        loss = loss_function(model(*batch[:-1]), batch[-1])
        optimizer.zero_grad()
        loss.backward()
        if clip_value is not None:
            clip_grad_value_(parameters, clip_value)
        if clip_norm is not None:
            clip_grad_norm_(parameters, clip_norm)
        return loss

    def step(*batch: Any) -> Tensor:
        if isinstance(optimizer, LBFGS):  # evaluates the loss several times a step
            return optimizer.step(lambda: gradients(batch))
        loss = gradients(batch)
        optimizer.step()
        return loss

    return step


class Snapshot:
    """What a step changes, kept so that it can be undone without moving any tensor's memory."""

    def __init__(self, model: Module, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.state = {key: dict(values) for key, values in optimizer.state.items()}
        kept = [*model.parameters(), *model.buffers()]
        kept += [each for group in optimizer.param_groups for each in group["params"]]
        kept += [v for values in self.state.values() for v in values.values() if isinstance(v, Tensor)]
        self.tensors = [(each, each.detach().clone()) for each in {id(t): t for t in kept}.values()]
        self.groups = [dict(group) for group in optimizer.param_groups]
        self.random = randomness.capture()

    def undo(self) -> None:
        """Put everything back."""
        with no_grad():
            for tensor, saved in self.tensors:
                tensor.copy_(saved)
        self.optimizer.zero_grad()
        for key in list(self.optimizer.state):
            if key in self.state:
                self.optimizer.state[key].clear()
                self.optimizer.state[key].update(self.state[key])
            else:
                del self.optimizer.state[key]
        for group, saved in zip(self.optimizer.param_groups, self.groups, strict=True):
            group.clear()
            group.update(saved)
        randomness.restore(self.random)


@dataclass(frozen=True)
class Taken:
    """Steps that were taken: the loss of each, how many samples each had, and the batch of one of them by its
    place among these.
    """

    losses: list[float]
    samples: int
    batch: Callable[[int], Batch]


class Step:
    """The step a trainer runs.

    Args:
        function: made by `plain_step`.
        snapshot: takes a `Snapshot` of what the function changes.
        scheduler: moves on after each step, if there is one.
        compiled: whether to compile it; a step that cannot be compiled runs plainly, with one warning.
    """

    def __init__(
        self,
        function: Callable[..., Tensor],
        snapshot: Callable[[], Snapshot],
        scheduler: Any,
        compiled: bool,
    ) -> None:
        self.function, self.snapshot, self.scheduler = function, snapshot, scheduler
        self.program = compile(function, name="step") if compiled else None
        self.chunk = 16  # steps in one native call, soon what `next_chunk` says
        self._not_native: Recording | None = None

    def take(self, batches: Iterator[Batch], first: bool, several: bool) -> Taken | None:
        """Take the next step on the batches of an epoch, or the next few if `several` and that can be done in
        one native call; None at their end. `first` says that it is the first step of the run.
        """
        plain = first
        if isinstance(batches, RowBatches):
            rows = batches.peek(self.chunk)
            taken = self._natively(batches, rows) if several and not first and len(rows) else None
            if taken is not None:
                return taken
            plain = first or not len(rows)
        batch = next(batches, None)
        if batch is None:
            return None
        return Taken([self._on(batch, plain).item()], rows_in(batch), lambda place: batch)

    def _on(self, batch: Batch, plain: bool) -> Tensor:
        """The loss of one step."""
        program = None if plain else self._program_for(batch)
        loss = self.function(*batch) if program is None else program(*batch)
        self._advance()
        return loss

    def _advance(self) -> None:
        if self.scheduler is not None:
            self.scheduler.step()

    def _program_for(self, batch: Batch, many: bool = False) -> CompiledFunction | None:
        """The compiled step, recorded for batches of this shape now if need be; then for `many` steps in one
        call.
        """
        if self.program is not None and not self.program.is_recorded(*batch):
            self.program.runs_many = many
            self._record(batch)
        return self.program

    def _natively(self, batches: RowBatches, rows: np.ndarray) -> Taken | None:
        """Take a step for each of several batches in one native call; None where that cannot be done."""
        columns = None if self.program is None else batches.columns
        if columns is None:
            return None
        example = batches.batch(rows[0])
        program = self._program_for(example, many=True)
        recording = None if program is None else program.recording_for(*example)
        if recording is None or recording is self._not_native:
            return None
        began = time.perf_counter()
        found = run_natively(recording, columns, rows, self.scheduler)
        if found is None:
            self._not_native = recording
            return None
        losses, count = found
        batches.skip(count)
        self.chunk = next_chunk(self.chunk, count, time.perf_counter() - began)
        return Taken(losses.tolist(), rows.shape[1], lambda place: batches.batch(rows[place]))

    def _record(self, batch: Batch) -> None:
        """Record the step for batches of this shape, leaving everything as it was."""
        assert self.program is not None
        before = self.snapshot()
        try:
            self.program(*batch)
            reason = "" if self.program.is_recorded(*batch) else "it keeps tensors that it makes"
        except RecordingError as error:
            reason = str(error)
        before.undo()
        if reason:
            self.program = None
            warnings.warn(
                f"the training step runs without compiling: {reason} (compiled=False, or --eager, avoids "
                "this message)",
                RuntimeWarning,
                stacklevel=5,
            )
