"""What all schedulers share: the base class, and reading and writing one value of every parameter group.

A scheduler counts its steps in ``last_epoch`` and computes the next rates in ``get_lr()``, either from the
base rates (a closed form) or from the rates now in the groups (a chainable form, which lets several
schedulers act on one optimizer). This file holds no schedule. Invariant: after ``__init__`` and after every
``step()``, each group's ``"lr"`` holds the rate of epoch ``last_epoch``, ``get_last_lr()`` returns copies of
those rates, and a learning rate given as a tensor stays that very tensor and is only filled anew.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from rushlight.autograd.mode import RECORDING, state
from rushlight.optim.common import as_scalar
from rushlight.optim.optimizer import Optimizer
from rushlight.tensor import Tensor

EPOCH_DEPRECATION_WARNING = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where possible. "
    "Please use `scheduler.step()` to step the scheduler. During the deprecation, if epoch is different from "
    "None, the closed form is used instead of the new chainable form, where available. Please open an issue "
    "if you are unable to replicate your use case: https://github.com/pytorch/pytorch/issues/new/choose."
)
_ORDER_LINK = "See more details at https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate"


def require_optimizer(optimizer: Any) -> None:
    """Raise ``TypeError`` unless ``optimizer`` is an :class:`~rushlight.optim.Optimizer`."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def copied(value: Any) -> Any:
    """``value`` itself, or a copy if it is a tensor, which a later ``fill_`` would change."""
    return value.clone() if isinstance(value, Tensor) else value


def group_values(optimizer: Optimizer, key: str) -> list[Any]:
    """The value of ``key`` in each parameter group, tensors copied."""
    return [copied(group[key]) for group in optimizer.param_groups]


def set_group_value(group: dict[str, Any], key: str, value: float | Tensor) -> None:
    """Write ``value`` into the group; a tensor that is there keeps its identity and is filled."""
    if isinstance(group[key], Tensor):
        group[key].fill_(as_scalar(value))
    else:
        group[key] = value


def one_per_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """``value`` as a list with one entry for each group; a list or tuple must already have that length."""
    group_count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [copied(value) for _ in range(group_count)]
    if len(value) != group_count:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. {name} has {len(value)} values, "
            f"param_groups has {group_count}."
        )
    return [copied(entry) for entry in value]


def _function_of(method: Any) -> Any:
    """The function behind a bound method, or the callable itself."""
    return getattr(method, "__func__", method)


class LRScheduler:
    """Base class of the schedulers. A subclass defines ``get_lr()`` and may define ``_get_closed_form_lr()``.

    Args:
        optimizer: the optimizer whose groups are written.
        last_epoch: the epoch that was last finished; -1 starts anew and records each group's
            ``"initial_lr"``.

    Raises:
        TypeError: ``optimizer`` is not an Optimizer.
        KeyError: ``last_epoch`` is not -1 and a group has no ``"initial_lr"``.

    >>> import rushlight as torch
    >>> class Halve(torch.optim.lr_scheduler.LRScheduler):
    ...     def get_lr(self):
    ...         return [base_lr / 2**self.last_epoch for base_lr in self.base_lrs]
    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.8)
    >>> scheduler = Halve(optimizer)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.4]
    """

    # Read by get_lr(): is step() the caller, and is this the step that __init__ takes to set the first rates?
    _get_lr_called_within_step = False
    _is_initial = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        require_optimizer(optimizer)
        self.optimizer = optimizer
        for index, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", copied(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{index}] when resuming scheduler "
                    "with last_epoch >= 0.\nThis typically happens when:\n1. You're trying to resume "
                    "training from a checkpoint but haven't properly loaded the optimizer state\n2. You're "
                    "using last_epoch >= 0 for a fresh training run (not recommended)"
                )
        self.base_lrs: list[Any] = group_values(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        if optimizer._tracked_step is None:
            optimizer._tracked_step = _function_of(optimizer.step)
            optimizer._opt_called = False
        self._initial_step()

    def _initial_step(self) -> None:
        """Set the first rates."""
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """All attributes except the optimizer. Save it together with the optimizer's own state."""
        return {key: value for key, value in vars(self).items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what ``state_dict()`` of a scheduler of the same class returned."""
        vars(self).update(state_dict)

    def get_last_lr(self) -> list[float | Tensor]:
        """The rates that the last ``step()`` wrote, one for each group."""
        return self._last_lr

    def get_lr(self) -> list[float | Tensor]:
        """The rates for ``last_epoch``. Called by ``step()``; users want ``get_last_lr()``."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_lr()")

    def step(self, epoch: int | None = None) -> None:
        """Advance by one epoch, or (deprecated) jump to ``epoch``, and write the new rates."""
        if self._postponed(epoch):
            return
        if self._step_count == 1:
            self._warn_if_optimizer_did_not_step()
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_DEPRECATION_WARNING, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _postponed(self, *args: Any) -> bool:
        """Whether a step is being recorded: a compiled step advances schedules after each of its calls."""
        if state.mode & RECORDING:
            state.recorder.run_after(lambda: self.step(*args), self.optimizer)
            return True
        return False

    def _update_lr(self, epoch: int | None = None) -> None:
        self._get_lr_called_within_step = True
        try:
            if epoch is None:
                self.last_epoch += 1
                rates = self.get_lr()
            else:
                self.last_epoch = epoch
                closed_form = getattr(self, "_get_closed_form_lr", self.get_lr)
                rates = closed_form()
        finally:
            self._get_lr_called_within_step = False
        self._write_rates(rates)

    def _write_rates(self, rates: Sequence[float | Tensor]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            set_group_value(group, "lr", rate)
        self._last_lr = group_values(self.optimizer, "lr")

    def _warn_if_optimizer_did_not_step(self) -> None:
        if _function_of(self.optimizer.step) is not self.optimizer._tracked_step:
            message = (
                "Seems like `optimizer.step()` has been overridden after learning rate scheduler "
                "initialization. Please, make sure to call `optimizer.step()` before `lr_scheduler.step()`. "
            )
        elif not self.optimizer._opt_called:
            message = (
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. In PyTorch 1.1.0 and "
                "later, you should call them in the opposite order: `optimizer.step()` before "
                "`lr_scheduler.step()`.  Failure to do this will result in PyTorch skipping the first value "
                "of the learning rate schedule. "
            )
        else:
            return
        warnings.warn(message + _ORDER_LINK, UserWarning, stacklevel=3)


class _LRScheduler(LRScheduler):
    """PyTorch's older name for the base class, which older programs derive from."""


class BuiltInScheduler(LRScheduler):
    """Base of this package's schedulers: ``get_lr()`` warns if a user calls it, then calls ``_rates()``."""

    def get_lr(self) -> list[float | Tensor]:
        """The rates for ``last_epoch``. Called by ``step()``; users want ``get_last_lr()``."""
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use `get_last_lr()`.",
                UserWarning,
                stacklevel=2,
            )
        return self._rates()

    def _rates(self) -> list[float | Tensor]:
        raise NotImplementedError

    def _current_rates(self) -> list[float | Tensor]:
        return group_values(self.optimizer, "lr")

    def _scaled_rates(self, factor: float) -> list[float | Tensor]:
        return [group["lr"] * factor for group in self.optimizer.param_groups]
