"""Adagrad: steps scaled by the sum of all squared gradients so far.

Invariant: every parameter has its state, ``step`` and ``sum``, from the moment the optimizer is made.
"""

from __future__ import annotations

from typing import Any

from rushlight.ops.create import full_like
from rushlight.optim.common import (
    Group,
    add_quotient_,
    check_fused,
    check_learning_rate,
    check_not_negative,
    count_of,
    new_counter,
)
from rushlight.optim.optimizer import Optimizer, Params
from rushlight.tensor import Tensor


class Adagrad(Optimizer):
    """``param -= lr / (1 + (step - 1) * lr_decay) * grad / (sqrt(sum_of_squares) + eps)``.

    After Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
    Optimization", 2011.

    Args:
        params: parameters or groups, see :class:`Optimizer`.
        lr: learning rate, a number or a tensor of one element.
        lr_decay: how fast the rate falls.
        weight_decay: L2 penalty, added to the gradient.
        initial_accumulator_value: what the sums of squares begin with.
        eps: added to the root.
        foreach, fused: how PyTorch runs the update; every allowed value gives the same result here.
        maximize: ascend instead of descend.
        differentiable: record the update, so that one can differentiate through it.

    Raises:
        ValueError: a rate, decay, first value or epsilon out of range.

    >>> import rushlight as torch
    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = torch.optim.Adagrad([w], lr=0.1)
    >>> (w * 2).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    _counters = ("step",)

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_learning_rate(lr)
        check_not_negative("lr_decay value", lr_decay)
        check_not_negative("weight_decay value", weight_decay)
        check_not_negative("initial_accumulator_value value", initial_accumulator_value)
        check_not_negative("epsilon value", eps)
        check_fused(fused, foreach, differentiable)
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                self.state[param].update(self._new_state(param, group))

    def _new_state(self, param: Tensor, group: Group) -> dict[str, Any]:
        start = self.defaults["initial_accumulator_value"]
        return {"step": new_counter(group), "sum": full_like(param, start)}

    def _update_group(self, group: Group) -> None:
        lr = self._setting(group, "lr")
        for param, grad, state in self._updates(group):
            state["step"] += 1
            state["sum"].addcmul_(grad, grad, value=1)
            rate = lr / (1 + (count_of(state["step"]) - 1) * group["lr_decay"])
            denominator = state["sum"].sqrt() + group["eps"]
            add_quotient_(param, grad, denominator, -rate)
