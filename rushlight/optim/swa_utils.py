"""Averages of a model's weights over its training: equal ones (SWA) and exponential ones (EMA).

After Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018, and Polyak's
averaging. Averages are ordinary tensor operations without history; no optimizer is touched, and no model but
the copy. Invariant: after n calls of ``update_parameters``, ``n_averaged`` is n, and the copy holds the
average of the weights that the model had at those calls (after the first, those weights).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

from rushlight.autograd.mode import no_grad
from rushlight.dtype import dtype as DType
from rushlight.dtype import int64
from rushlight.nn.batchnorm import _BatchNorm
from rushlight.nn.module import Module
from rushlight.ops.convert import tensor
from rushlight.optim.lr_scheduler.base import BuiltInScheduler, one_per_group
from rushlight.optim.optimizer import Optimizer
from rushlight.tensor import Tensor

__all__ = [
    "AveragedModel",
    "SWALR",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]

# What averages one tensor, and what averages lists of them in place; the last argument is a count.
Average = Callable[[Tensor, Tensor, Any], Tensor]
MultiAverage = Callable[[Any, Any, Any], None]
Tensors = list[Tensor] | tuple[Tensor, ...]


# -- averages ------------------------------------------------------------------------------------------------


def _check_decay(decay: float) -> None:
    if decay < 0.0 or decay > 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """A function of an average, a new value and a count: the average with weight `decay`, the value with the
    rest.

    Raises:
        ValueError: `decay` is not between 0 and 1.

    >>> import rushlight as torch
    >>> average = torch.optim.swa_utils.get_ema_avg_fn(0.75)
    >>> average(torch.tensor(4.0), torch.tensor(8.0), 1)
    tensor(5.)
    """
    _check_decay(decay)

    @no_grad()
    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAverage:
    """The same for lists of tensors, whose first are changed in place.

    Raises:
        ValueError: `decay` is not between 0 and 1.

    >>> import rushlight as torch
    >>> averages = [torch.tensor([4.0]), torch.tensor([0.0])]
    >>> update = torch.optim.swa_utils.get_ema_multi_avg_fn(0.75)
    >>> update(averages, [torch.tensor([8.0]), torch.tensor([1.0])], 1)
    >>> averages
    [tensor([5.]), tensor([0.2500])]
    """
    _check_decay(decay)

    @no_grad()
    def ema_update(ema_param_list: Tensors, current_param_list: Tensors, _: Any) -> None:
        lerped = ema_param_list[0].is_floating_point()
        for average, current in zip(ema_param_list, current_param_list, strict=True):
            if lerped:
                average.lerp_(current, 1 - decay)
            else:
                average.copy_(average * decay + current * (1 - decay))

    return ema_update


def get_swa_avg_fn() -> Average:
    """A function of an average, a new value and how many the average is of: the average of all of them.

    >>> import rushlight as torch
    >>> torch.optim.swa_utils.get_swa_avg_fn()(torch.tensor(4.0), torch.tensor(10.0), 2)
    tensor(6.)
    """

    @no_grad()
    def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


def get_swa_multi_avg_fn() -> MultiAverage:
    """The same for lists of tensors, whose first are changed in place.

    Raises:
        RuntimeError: the tensors hold whole numbers, which averages would not be.

    >>> import rushlight as torch
    >>> averages = [torch.tensor([4.0])]
    >>> torch.optim.swa_utils.get_swa_multi_avg_fn()(averages, [torch.tensor([10.0])], 2)
    >>> averages
    [tensor([6.])]
    """

    @no_grad()
    def swa_update(averaged_param_list: Tensors, current_param_list: Tensors, num_averaged: Any) -> None:
        lerped = averaged_param_list[0].is_floating_point()
        for average, current in zip(averaged_param_list, current_param_list, strict=True):
            if lerped:
                share = 1 / (num_averaged + 1)
                # PyTorch turns a count that is a tensor into a share in float32 for every type of parameter
                average.lerp_(current, share.to(average.dtype) if isinstance(share, Tensor) else share)
            elif isinstance(num_averaged, Tensor):
                average.addcdiv_(current - average, num_averaged + 1)
            else:
                average.add_(current - average, alpha=1.0 / (num_averaged + 1))

    return swa_update


# -- the model of averages -----------------------------------------------------------------------------------


class AveragedModel(Module):
    """A copy of `model` whose parameters are averages of those that `model` has at each update.

    Args:
        model: the model that is being trained; the copy is ``module``.
        device: where the copy goes, if not where `model` is.
        avg_fn: a function of an average, a new value and ``n_averaged`` that returns the new average; without
            it and `multi_avg_fn` all updates count alike.
        multi_avg_fn: a function of a list of averages, which it changes, a list of new values and
            ``n_averaged``; it is called once for each dtype.
        use_buffers: average buffers as well; otherwise they are copied at each update.

    Raises:
        AssertionError: both functions are given.

    >>> import rushlight as torch
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> averaged = torch.optim.swa_utils.AveragedModel(model)
    >>> for weight in (1.0, 2.0, 6.0):
    ...     _ = torch.nn.init.constant_(model.weight, weight)
    ...     averaged.update_parameters(model)
    >>> averaged(torch.ones(1)).item(), averaged.n_averaged
    (3.0, tensor(3))
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: MultiAverage | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", tensor(0, dtype=int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model makes of its arguments."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the weights that `model` has now into the average."""
        averages: Iterable[Tensor] = self.parameters()
        weights: Iterable[Tensor] = model.parameters()
        if self.use_buffers:
            averages = chain(self.module.parameters(), self.module.buffers())
            weights = chain(weights, model.buffers())
        pairs = [
            (average.detach(), weight.detach()) for average, weight in zip(averages, weights, strict=False)
        ]
        if self.n_averaged == 0:
            for average, weight in pairs:
                average.copy_(weight)
        elif self.multi_avg_fn is not None:
            for of_one_type in _by_dtype(pairs):
                self.multi_avg_fn(*of_one_type, self.n_averaged)
        else:
            function = self.avg_fn if self.avg_fn is not None else get_swa_avg_fn()
            for average, weight in pairs:
                average.copy_(function(average, weight, self.n_averaged))
        if not self.use_buffers:
            for ours, theirs in zip(self.module.buffers(), model.buffers(), strict=True):
                ours.detach().copy_(theirs.detach())
        self.n_averaged += 1


def _by_dtype(pairs: list[tuple[Tensor, Tensor]]) -> Iterable[tuple[list[Tensor], list[Tensor]]]:
    """The pairs as two lists for each dtype of the averages."""
    groups: dict[DType, tuple[list[Tensor], list[Tensor]]] = {}
    for average, weight in pairs:
        averages, weights = groups.setdefault(average.dtype, ([], []))
        averages.append(average)
        weights.append(weight)
    return groups.values()


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of the batch norms in `model` anew, from the batches of `loader`.

    Args:
        loader: batches that `model` takes, or lists and tuples that begin with one.
        model: it is run in training mode, and is left in the mode that it had.
        device: where batches go first.

    >>> import rushlight as torch
    >>> model = torch.nn.BatchNorm1d(1)
    >>> torch.optim.swa_utils.update_bn([torch.tensor([[1.0], [3.0]]), torch.tensor([[3.0], [5.0]])], model)
    >>> model.running_mean, model.running_var
    (tensor([3.]), tensor([2.]))
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        return
    was_training = model.training
    momenta = [norm.momentum for norm in norms]
    model.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average of all batches
    for batch in loader:
        input = batch[0] if isinstance(batch, (list, tuple)) else batch
        model(input if device is None else input.to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train(was_training)


# -- the schedule --------------------------------------------------------------------------------------------


class SWALR(BuiltInScheduler):
    """Go from the rate that a group has to `swa_lr` in `anneal_epochs` steps, and stay there.

    Args:
        optimizer: the optimizer whose groups are written; each also keeps its ``"swa_lr"``.
        swa_lr: the last rate, or a list with one for each group.
        anneal_epochs: how many steps that takes.
        anneal_strategy: ``"cos"`` for half a cosine wave, ``"linear"`` for a line.
        last_epoch: as for `LRScheduler`.

    Raises:
        ValueError: another strategy, a negative or fractional number of steps, a list of another length.

    >>> import rushlight as torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = torch.optim.swa_utils.SWALR(optimizer, 0.5, anneal_epochs=2, anneal_strategy="linear")
    >>> for _ in range(3): optimizer.step(); scheduler.step(); print(scheduler.get_last_lr())
    [0.75]
    [0.5]
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        rates = one_per_group("swa_lr", optimizer, swa_lr)
        for rate, group in zip(rates, optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._anneal_strategy = anneal_strategy
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def anneal_func(self, t: float) -> float:
        """How much of the way is done when the part `t` of the steps is."""
        return t if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * t)) / 2

    def _done(self, steps: int) -> float:
        return self.anneal_func(max(0, min(1, steps / max(1, self.anneal_epochs))))

    def _rates(self) -> list[float | Tensor]:
        steps = self._step_count - 1
        if self.anneal_epochs == 0:
            steps = max(1, steps)
        before, now = self._done(steps - 1), self._done(steps)
        rates = []
        for group in self.optimizer.param_groups:
            # The rate at the start, found from the one that the group has now, which others may have changed.
            start = group["swa_lr"]
            if before != 1:
                start = (group["lr"] - before * group["swa_lr"]) / (1 - before)
            rates.append(group["swa_lr"] * now + start * (1 - now))
        return rates
