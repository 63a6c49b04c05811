"""Resilient backpropagation: a step size for every single weight, ruled by the sign of its gradient only.

Invariant: every step size stays between the two bounds; the gradient's magnitude never matters.
"""

from __future__ import annotations

from typing import Any

from rushlight.ops.create import full_like, ones_like, zeros_like
from rushlight.optim.common import (
    Group,
    as_number,
    check_learning_rate,
    kept,
    new_counter,
)
from rushlight.optim.optimizer import Optimizer, Params
from rushlight.tensor import Tensor


class Rprop(Optimizer):
    """Grow a weight's step while its gradient keeps its sign; shrink it and wait once when the sign turns.

    After Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning", 1993. It is
    meant for full batches.

    Args:
        params: parameters or groups, see :class:`Optimizer`.
        lr: the first step size, a number or a tensor of one element.
        etas: factors by which a step size shrinks and grows.
        step_sizes: bounds of the step sizes.
        capturable, foreach: how PyTorch runs the update; every value gives the same result here.
        maximize: ascend instead of descend.
        differentiable: record the update, so that one can differentiate through it.

    Raises:
        ValueError: a negative rate, or etas that are not on either side of 1.

    >>> import rushlight as torch
    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = torch.optim.Rprop([w], lr=0.1)
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
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_learning_rate(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _new_state(self, param: Tensor, group: Group) -> dict[str, Any]:
        return {
            "step": new_counter(group),
            "prev": zeros_like(param),
            "step_size": full_like(param, as_number(group["lr"])),
        }

    def _update_group(self, group: Group) -> None:
        shrink, grow = group["etas"]
        smallest, largest = group["step_sizes"]
        for param, grad, state in self._updates(group):
            state["step"] += 1
            step_size = state["step_size"]
            agreement = grad.mul(state["prev"])
            turned = agreement.lt(0)
            factor = ones_like(step_size).masked_fill_(agreement.gt(0), grow).masked_fill_(turned, shrink)
            step_size.mul_(factor).clamp_(smallest, largest)
            grad = grad.masked_fill(turned, 0)
            param.addcmul_(grad.sign(), kept(step_size, group), value=-1)
            state["prev"].copy_(grad)
