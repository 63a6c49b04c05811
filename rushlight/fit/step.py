"""One training step: forward, backward, update; compiled where that is possible.

Recording a step means running it once outside the program, and a program may round differently from the
plain step. If that showed, a resumed run would not repeat the bits of one that ran through. So each recording
is made on the side and undone. Invariant: of a run's steps the first is plain, for it makes the optimizer's
state, and all others come from a program, whether the run was interrupted in between or not.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

from rushlight.autograd import no_grad
from rushlight.compile import compile
from rushlight.compile.record import RecordingError
from rushlight.fit import randomness
from rushlight.nn import Module
from rushlight.nn.utils import clip_grad_norm_, clip_grad_value_
from rushlight.optim import LBFGS, Optimizer
from rushlight.tensor import Tensor


def plain_step(
    model: Module,
    loss_function: Callable[..., Tensor],
    optimizer: Optimizer,
    scheduler: Any = None,
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
            loss = optimizer.step(lambda: gradients(batch))
        else:
            loss = gradients(batch)
            optimizer.step()
        if scheduler is not None:
            scheduler.step()
        return loss

    return step


class Snapshot:
    """What a step changes, kept so that it can be undone without moving any tensor's memory."""

    def __init__(self, model: Module, optimizer: Optimizer, scheduler: Any = None) -> None:
        self.optimizer, self.scheduler = optimizer, scheduler
        self.state = {key: dict(values) for key, values in optimizer.state.items()}
        kept = [*model.parameters(), *model.buffers()]
        kept += [each for group in optimizer.param_groups for each in group["params"]]
        kept += [v for values in self.state.values() for v in values.values() if isinstance(v, Tensor)]
        self.tensors = [(each, each.detach().clone()) for each in {id(t): t for t in kept}.values()]
        self.groups = [dict(group) for group in optimizer.param_groups]
        self.schedule = None if scheduler is None else copy.deepcopy(scheduler.state_dict())
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
        if self.scheduler is not None:
            self.scheduler.load_state_dict(self.schedule)
        randomness.restore(self.random)


class Step:
    """The step a trainer runs.

    Args:
        function: made by `plain_step`.
        snapshot: takes a `Snapshot` of what the function changes.
        compiled: whether to compile it; a step that cannot be compiled runs plainly, with one warning.
    """

    def __init__(
        self, function: Callable[..., Tensor], snapshot: Callable[[], Snapshot], compiled: bool
    ) -> None:
        self.function, self.snapshot = function, snapshot
        self.program = compile(function, name="step") if compiled else None

    def __call__(self, batch: tuple[Any, ...], first: bool) -> Tensor:
        """Run on one batch; `first` says that it is the first step of the run."""
        if self.program is None or first:
            return self.function(*batch)
        if not self.program.is_recorded(*batch):
            self._record(batch)
            if self.program is None:
                return self.function(*batch)
        return self.program(*batch)

    def _record(self, batch: tuple[Any, ...]) -> None:
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
                f"the training step runs without compiling: {reason} (compiled=False avoids this message)",
                RuntimeWarning,
                stacklevel=4,
            )
