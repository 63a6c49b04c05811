"""Averaged stochastic gradient descent: plain descent that keeps a running average of the parameters.

Invariant: the parameters themselves follow the un-averaged path; the average is ``state["ax"]``.
"""

from __future__ import annotations

from typing import Any

from rushlight.ops.create import full, ones, zeros_like
from rushlight.ops.select import where
from rushlight.optim.common import (
    Group,
    add_,
    as_number,
    check_learning_rate,
    check_not_negative,
    chosen,
    count_of,
    counter_dtype,
    new_counter,
)
from rushlight.optim.optimizer import Optimizer, Params
from rushlight.tensor import Tensor


class ASGD(Optimizer):
    """``param -= eta * grad``, where ``eta = lr / (1 + lambd * lr * step) ** alpha``.

    After Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992.

    Args:
        params: parameters or groups, see :class:`Optimizer`.
        lr: learning rate, a number or a tensor of one element.
        lambd: decay of the parameters and of the rate.
        alpha: power by which the rate falls.
        t0: the step at which averaging begins.
        weight_decay: L2 penalty, added to the gradient.
        foreach, capturable: how PyTorch runs the update; every value gives the same result here.
        maximize: ascend instead of descend.
        differentiable: record the update, so that one can differentiate through it.

    Raises:
        ValueError: a rate or decay out of range.

    >>> import rushlight as torch
    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = torch.optim.ASGD([w], lr=0.1, lambd=0.0)
    >>> (w * 2).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8000], requires_grad=True)
    """

    _counters = ("step", "eta", "mu")

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_learning_rate(lr)
        check_not_negative("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _new_state(self, param: Tensor, group: Group) -> dict[str, Any]:
        return {
            "step": new_counter(group),
            "eta": full((), as_number(group["lr"]), dtype=counter_dtype(group)),
            "mu": ones((), dtype=counter_dtype(group)),
            "ax": zeros_like(param),
        }

    def _update_group(self, group: Group) -> None:
        lr = self._setting(group, "lr")
        lambd, alpha, t0 = group["lambd"], group["alpha"], group["t0"]
        for param, grad, state in self._updates(group):
            state["step"] += 1
            step, eta, mu = count_of(state["step"]), count_of(state["eta"]), count_of(state["mu"])
            average = state["ax"]
            param.mul_(1 - lambd * eta)
            add_(param, grad, -eta)
            is_start = mu == 1
            if isinstance(is_start, Tensor):  # a recorded step holds both ways
                average.copy_(where(is_start, param, average + param.sub(average).mul_(mu)))
            elif is_start:
                average.copy_(param)
            else:
                average.add_(param.sub(average).mul_(mu))
            state["eta"].fill_(lr / (1 + lambd * lr * step) ** alpha)
            averaged = step - t0
            state["mu"].fill_(1 / chosen(averaged > 1, averaged, 1))
