"""Running a model over data without training it.

Invariant: the model's modules are left in the mode, training or evaluation, that each was found in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from rushlight.autograd import no_grad
from rushlight.fit.batches import batches_of
from rushlight.nn import Module
from rushlight.ops.join import cat
from rushlight.tensor import Tensor


class evaluating:
    """Context manager: the model in evaluation mode and without history; each module's mode is put back."""

    def __init__(self, model: Module) -> None:
        self.model = model

    def __enter__(self) -> None:
        self.modes = [(each, each.training) for each in self.model.modules()]
        self.model.eval()
        self.grad = no_grad()
        self.grad.__enter__()

    def __exit__(self, *details: Any) -> None:
        self.grad.__exit__(*details)
        for module, mode in self.modes:
            module.training = mode


def constant_loss(loss_function: Callable[..., Tensor], prediction: Tensor, target: Tensor) -> float | None:
    """The loss of the best answer that is the same for every sample; None where there is no telling.

    For classes that is their frequencies, for numbers the mean, the median or the logit of the mean.

    >>> import rushlight as torch
    >>> target = torch.tensor([1.0, 3.0, 1.0, 3.0])
    >>> constant_loss(torch.nn.functional.mse_loss, torch.zeros(4), target)
    1.0
    """
    constants: list[Tensor] = []
    if prediction.dim() == target.dim() + 1 == 2 and not target.is_floating_point():
        counts = target.long().bincount(minlength=prediction.shape[1]).double()
        constants.append((counts / counts.sum()).clamp(min=1e-12).log())
    elif prediction.shape == target.shape and target.is_floating_point():
        mean = target.double().mean(0)
        constants += [mean, target.double().median(0).values]
        if bool((target >= 0).all()) and bool((target <= 1).all()):
            constants.append(mean.clamp(min=1e-7, max=1 - 1e-7).logit())
    losses = []
    with no_grad():
        for each in constants:
            try:
                answer = each.to(prediction.dtype).expand(prediction.shape).contiguous()
                losses.append(loss_function(answer, target).item())
            except (RuntimeError, ValueError):  # not every loss takes every constant
                continue
    finite = [each for each in losses if math.isfinite(each)]
    return min(finite) if finite else None


def predictions(model: Module, inputs: Sequence[Tensor], batch_size: int = 4096) -> Tensor:
    """The model's output for many rows, in pieces, in evaluation mode and without history.

    >>> import rushlight as torch
    >>> predictions(torch.nn.Identity(), [torch.arange(5)], batch_size=2)
    tensor([0, 1, 2, 3, 4])
    """
    with evaluating(model):
        parts = [
            model(*(each[start : start + batch_size] for each in inputs))
            for start in range(0, len(inputs[0]), batch_size)
        ]
    return cat(parts)


def answers(
    model: Module, data: Any, batch_size: int, pressed: Callable[[], bool] = lambda: False
) -> tuple[Any, Any]:
    """All predictions and targets, in order; two times None as soon as `pressed` says that Ctrl-C was."""
    found, targets = [], []
    with evaluating(model):
        for batch in batches_of(data, batch_size, shuffle=False).epoch():
            found.append(model(*batch[:-1]))
            targets.append(batch[-1])
            if pressed():
                return None, None
    return cat(found), cat(targets)
