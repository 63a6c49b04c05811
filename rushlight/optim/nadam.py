"""NAdam: Adam with Nesterov's look-ahead in its running mean.

Invariant: the state of a parameter holds PyTorch's keys in PyTorch's order: ``step``, ``mu_product``,
``exp_avg``, ``exp_avg_sq``.
"""

from __future__ import annotations

from typing import Any

from rushlight.ops.create import ones, zeros_like
from rushlight.optim.common import (
    Group,
    add_product_,
    add_quotient_,
    check_betas,
    check_learning_rate,
    check_not_negative,
    count_of,
    counter_dtype,
    kept,
    move_,
    new_counter,
)
from rushlight.optim.optimizer import Optimizer, Params
from rushlight.tensor import Tensor


class NAdam(Optimizer):
    """A step along ``(1 - mu) * grad + mu_next * mean``, where ``mu`` grows from ``beta1 / 2`` to ``beta1``.

    After Dozat, "Incorporating Nesterov Momentum into Adam", 2016.

    Args:
        params: parameters or groups, see :class:`Optimizer`.
        lr: learning rate, a number or a tensor of one element.
        betas: decay rates of the two running means.
        eps: added to the denominator.
        weight_decay: L2 penalty; or, if ``decoupled_weight_decay``, the share of ``lr`` by which parameters
            shrink.
        momentum_decay: how fast ``mu`` grows.
        foreach, capturable: how PyTorch runs the update; every value gives the same result here.
        maximize: ascend instead of descend.
        differentiable: record the update, so that one can differentiate through it.

    Raises:
        ValueError: a rate, decay or epsilon out of range.

    >>> import rushlight as torch
    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = torch.optim.NAdam([w], lr=0.1)
    >>> (w * 2).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8944], requires_grad=True)
    """

    _counters = ("step", "mu_product")

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_learning_rate(lr)
        check_not_negative("epsilon value", eps)
        check_betas(betas)
        check_not_negative("weight_decay value", weight_decay)
        check_not_negative("momentum_decay value", momentum_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _new_state(self, param: Tensor, group: Group) -> dict[str, Any]:
        return {
            "step": new_counter(group),
            "mu_product": ones((), dtype=counter_dtype(group)),
            "exp_avg": zeros_like(param),
            "exp_avg_sq": zeros_like(param),
        }

    def _update_group(self, group: Group) -> None:
        lr = self._setting(group, "lr")
        beta1, beta2 = self._setting(group, "betas")
        shrink_by = group["weight_decay"] if group["decoupled_weight_decay"] else 0
        momentum_decay = group["momentum_decay"]
        for param, grad, state in self._updates(group):
            state["step"] += 1
            step = count_of(state["step"])
            if shrink_by != 0:
                param.mul_(1 - lr * shrink_by)
            mu = beta1 * (1.0 - 0.5 * 0.96 ** (step * momentum_decay))
            mu_next = beta1 * (1.0 - 0.5 * 0.96 ** ((step + 1) * momentum_decay))
            state["mu_product"] *= mu
            mu_product = count_of(state["mu_product"])
            mean, mean_square = state["exp_avg"], state["exp_avg_sq"]
            move_(mean, grad, 1 - beta1)
            add_product_(mean_square.mul_(beta2), grad, grad, 1 - beta2)
            denominator = (mean_square / (1 - beta2**step)).sqrt() + group["eps"]
            add_quotient_(param, grad, denominator, -lr * (1.0 - mu) / (1.0 - mu_product))
            add_quotient_(param, kept(mean, group), denominator, -lr * mu_next / (1.0 - mu_product * mu_next))
