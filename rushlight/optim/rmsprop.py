"""RMSprop: steps scaled by a running average of the gradient's square.

Invariant: the state of a parameter holds PyTorch's keys in PyTorch's order: ``step``, ``square_avg`` and,
where asked for, ``momentum_buffer`` and ``grad_avg``.
"""

from __future__ import annotations

from typing import Any

from rushlight.ops.create import zeros_like
from rushlight.optim.common import (
    Group,
    add_,
    add_product_,
    add_quotient_,
    check_learning_rate,
    check_not_negative,
    kept,
    new_counter,
)
from rushlight.optim.optimizer import Optimizer, Params
from rushlight.tensor import Tensor


class RMSprop(Optimizer):
    """``param -= lr * grad / (sqrt(mean_square) + eps)``.

    After Hinton's lecture notes, 2012; ``centered`` after Graves, "Generating Sequences With Recurrent Neural
    Networks", 2013: it divides by the gradient's standard deviation.

    Args:
        params: parameters or groups, see :class:`Optimizer`.
        lr: learning rate, a number or a tensor of one element.
        alpha: decay rate of the running means.
        eps: added to the root.
        weight_decay: L2 penalty, added to the gradient.
        momentum: share of the last step that is kept.
        centered: subtract the square of the mean gradient.
        capturable, foreach: how PyTorch runs the update; every value gives the same result here.
        maximize: ascend instead of descend.
        differentiable: record the update, so that one can differentiate through it.

    Raises:
        ValueError: a rate, decay, momentum or epsilon out of range.

    >>> import rushlight as torch
    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = torch.optim.RMSprop([w], lr=0.01)
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
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_learning_rate(lr)
        check_not_negative("epsilon value", eps)
        check_not_negative("momentum value", momentum)
        check_not_negative("weight_decay value", weight_decay)
        check_not_negative("alpha value", alpha)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _new_state(self, param: Tensor, group: Group) -> dict[str, Any]:
        state = {"step": new_counter(group), "square_avg": zeros_like(param)}
        if group["momentum"] > 0:
            state["momentum_buffer"] = zeros_like(param)
        if group["centered"]:
            state["grad_avg"] = zeros_like(param)
        return state

    def _update_group(self, group: Group) -> None:
        lr = self._setting(group, "lr")
        momentum = self._setting(group, "momentum")
        alpha, eps = group["alpha"], group["eps"]
        has_momentum = group["momentum"] > 0
        for param, grad, state in self._updates(group):
            state["step"] += 1
            mean_square = state["square_avg"]
            add_product_(mean_square.mul_(alpha), grad, grad, 1 - alpha)
            if group["centered"]:
                mean = kept(state["grad_avg"].lerp_(grad, 1 - alpha), group)
                root = mean_square.addcmul(mean, mean, value=-1).sqrt()
            else:
                root = mean_square.sqrt()
            denominator = root + eps
            if has_momentum:
                velocity = state["momentum_buffer"]
                velocity.mul_(momentum).addcdiv_(grad, denominator)
                add_(param, kept(velocity, group), -lr)
            else:
                add_quotient_(param, grad, denominator, -lr)
