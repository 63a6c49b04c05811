"""RAdam: Adam that waits with its scaling until the running mean square can be trusted.

Invariant: the state of a parameter holds PyTorch's keys in PyTorch's order: ``step``, ``exp_avg``,
``exp_avg_sq``.
"""

from __future__ import annotations

from typing import Any

from rushlight.ops.create import zeros_like
from rushlight.optim.common import (
    Group,
    add_product_,
    check_betas,
    check_learning_rate,
    check_not_negative,
    chosen,
    count_of,
    move_,
    new_counter,
)
from rushlight.optim.optimizer import Optimizer, Params
from rushlight.tensor import Tensor


class RAdam(Optimizer):
    """Momentum alone while the variance of the scaling is unbounded, then Adam with a rectifying factor.

    After Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", 2019.

    Args:
        params: parameters or groups, see :class:`Optimizer`.
        lr: learning rate, a number or a tensor of one element.
        betas: decay rates of the two running means.
        eps: added to the root of the mean square.
        weight_decay: L2 penalty; or, if ``decoupled_weight_decay``, the share of ``lr`` by which parameters
            shrink.
        foreach, capturable: how PyTorch runs the update; every value gives the same result here.
        maximize: ascend instead of descend.
        differentiable: record the update, so that one can differentiate through it.

    Raises:
        ValueError: a rate, decay or epsilon out of range.

    >>> import rushlight as torch
    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = torch.optim.RAdam([w], lr=0.1)
    >>> (w * 2).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8000], requires_grad=True)
    """

    _counters = ("step",)

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
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
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _new_state(self, param: Tensor, group: Group) -> dict[str, Any]:
        return {"step": new_counter(group), "exp_avg": zeros_like(param), "exp_avg_sq": zeros_like(param)}

    def _update_group(self, group: Group) -> None:
        lr = self._setting(group, "lr")
        beta1, beta2 = self._setting(group, "betas")
        shrink_by = group["weight_decay"] if group["decoupled_weight_decay"] else 0
        for param, grad, state in self._updates(group):
            state["step"] += 1
            step = count_of(state["step"])
            if shrink_by != 0:
                param.mul_(1 - lr * shrink_by)
            mean, mean_square = state["exp_avg"], state["exp_avg_sq"]
            move_(mean, grad, 1 - beta1)
            add_product_(mean_square.mul_(beta2), grad, grad, 1 - beta2)
            correction2 = 1 - beta2**step
            update = mean / (1 - beta1**step) * lr
            # The length of the mean square's memory decides whether its variance is bounded.
            longest = 2 / (1 - beta2) - 1
            length = longest - 2 * step * beta2**step / correction2
            is_bounded = length > 5.0
            # A recorded step holds both ways: its count is a tensor.
            if isinstance(is_bounded, Tensor) or is_bounded:
                denominator = mean_square.sqrt() + group["eps"]
                rectification = (
                    (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
                ) ** 0.5
                rectified = update * (correction2**0.5 / denominator) * rectification
                update = chosen(is_bounded, rectified, update)
            param.add_(update, alpha=-1.0)
