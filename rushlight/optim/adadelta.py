"""Adadelta: steps scaled by the ratio of the running mean squares of past updates and gradients.

Invariant: the state of a parameter holds PyTorch's keys in PyTorch's order: ``step``, ``square_avg``,
``acc_delta``.
"""

from __future__ import annotations

from typing import Any

from rushlight.ops.create import zeros_like
from rushlight.optim.common import (
    Group,
    add_,
    check_learning_rate,
    check_not_negative,
    new_counter,
)
from rushlight.optim.optimizer import Optimizer, Params
from rushlight.tensor import Tensor


class Adadelta(Optimizer):
    """``delta = sqrt(mean_delta_square + eps) / sqrt(mean_square + eps) * grad;  param -= lr * delta``.

    After Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012.

    Args:
        params: parameters or groups, see :class:`Optimizer`.
        lr: factor of the step, a number or a tensor of one element.
        rho: decay rate of both running means.
        eps: added under the roots.
        weight_decay: L2 penalty, added to the gradient.
        foreach, capturable: how PyTorch runs the update; every value gives the same result here.
        maximize: ascend instead of descend.
        differentiable: record the update, so that one can differentiate through it.

    Raises:
        ValueError: a rate, decay or epsilon out of range.

    >>> import rushlight as torch
    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = torch.optim.Adadelta([w], eps=0.1)
    >>> (w * 1).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.2929], requires_grad=True)
    """

    _counters = ("step",)

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_learning_rate(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_not_negative("epsilon value", eps)
        check_not_negative("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _new_state(self, param: Tensor, group: Group) -> dict[str, Any]:
        return {"step": new_counter(group), "square_avg": zeros_like(param), "acc_delta": zeros_like(param)}

    def _update_group(self, group: Group) -> None:
        lr = self._setting(group, "lr")
        rho, eps = group["rho"], group["eps"]
        for param, grad, state in self._updates(group):
            state["step"] += 1
            mean_square, mean_delta_square = state["square_avg"], state["acc_delta"]
            mean_square.mul_(rho).addcmul_(grad, grad, value=1 - rho)
            delta = (mean_delta_square + eps).sqrt() / (mean_square + eps).sqrt() * grad
            mean_delta_square.mul_(rho).addcmul_(delta, delta, value=1 - rho)
            add_(param, delta, -lr)
