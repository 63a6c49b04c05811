"""Adamax: Adam with the largest recent gradient in place of the mean square.

Invariant: the state of a parameter holds PyTorch's keys in PyTorch's order: ``step``, ``exp_avg``,
``exp_inf``.
"""

from __future__ import annotations

from typing import Any

from rushlight.ops.create import zeros_like
from rushlight.optim.common import (
    Group,
    add_quotient_,
    check_betas,
    check_learning_rate,
    check_not_negative,
    count_of,
    kept,
    move_,
    new_counter,
)
from rushlight.optim.optimizer import Optimizer, Params
from rushlight.tensor import Tensor


class Adamax(Optimizer):
    """``param -= lr * mean / largest``, where ``largest = max(beta2 * largest, abs(grad) + eps)``.

    After Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2014, section 7.

    Args:
        params: parameters or groups, see :class:`Optimizer`.
        lr: learning rate, a number or a tensor of one element.
        betas: decay rates of the running mean and of the running maximum.
        eps: added to the gradient's magnitude.
        weight_decay: L2 penalty, added to the gradient.
        foreach, capturable: how PyTorch runs the update; every value gives the same result here.
        maximize: ascend instead of descend.
        differentiable: record the update, so that one can differentiate through it.

    Raises:
        ValueError: a rate, decay or epsilon out of range.

    >>> import rushlight as torch
    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = torch.optim.Adamax([w], lr=0.1)
    >>> (w * 2).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    _counters = ("step",)

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_learning_rate(lr)
        check_not_negative("epsilon value", eps)
        check_betas(betas)
        check_not_negative("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _new_state(self, param: Tensor, group: Group) -> dict[str, Any]:
        return {"step": new_counter(group), "exp_avg": zeros_like(param), "exp_inf": zeros_like(param)}

    def _update_group(self, group: Group) -> None:
        lr = self._setting(group, "lr")
        beta1, beta2 = self._setting(group, "betas")
        for param, grad, state in self._updates(group):
            state["step"] += 1
            mean, largest = state["exp_avg"], state["exp_inf"]
            move_(mean, grad, 1 - beta1)
            largest.copy_((largest * beta2).maximum(grad.abs() + group["eps"]))
            rate = lr / (1 - beta1 ** count_of(state["step"]))
            add_quotient_(param, kept(mean, group), kept(largest, group), -rate)
