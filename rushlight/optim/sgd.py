"""Stochastic gradient descent, with momentum (Polyak's or Nesterov's) and weight decay.

The momentum is Sutskever's, with PyTorch's difference: the rate multiplies the velocity, not the gradient.
Invariant: a parameter has state only if its group has a momentum.
"""

from __future__ import annotations

from typing import Any

from rushlight.optim.common import (
    Group,
    add_,
    added,
    check_fused,
    check_learning_rate,
    check_not_negative,
    kept,
)
from rushlight.optim.optimizer import Optimizer, Params
from rushlight.tensor import Tensor


class SGD(Optimizer):
    """``velocity = momentum * velocity + (1 - dampening) * grad;  param -= lr * velocity``.

    The first velocity is the gradient itself, undampened. After Sutskever et al., "On the importance of
    initialization and momentum in deep learning", 2013.

    Args:
        params: parameters or groups, see :class:`Optimizer`.
        lr: learning rate, a number or a tensor of one element.
        momentum: share of the velocity that is kept.
        dampening: share of the gradient that is left out of the velocity.
        weight_decay: L2 penalty, added to the gradient as ``weight_decay * param``.
        nesterov: step along ``grad + momentum * velocity``.
        maximize: ascend instead of descend.
        foreach, fused: how PyTorch runs the update; every allowed value gives the same result here.
        differentiable: record the update, so that one can differentiate through it.

    Raises:
        ValueError: a negative rate, momentum or decay; Nesterov without momentum or with dampening.

    >>> import rushlight as torch
    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = torch.optim.SGD([w], lr=0.1, momentum=0.9)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     (w * 2).sum().backward()
    ...     optimizer.step()
    >>> w
    tensor([0.4200], requires_grad=True)
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_learning_rate(lr)
        check_not_negative("momentum value", momentum)
        check_not_negative("weight_decay value", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        check_fused(fused, foreach, differentiable)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def _update_group(self, group: Group) -> None:
        lr = self._setting(group, "lr")
        momentum = self._setting(group, "momentum")
        has_momentum = group["momentum"] != 0
        for param, grad in self._directions(group):
            if has_momentum:
                grad = self._with_momentum(self.state[param], grad, momentum, group)
            add_(param, grad, -lr)

    def _with_momentum(self, state: dict[str, Any], grad: Tensor, momentum: Any, group: Group) -> Tensor:
        """Bring the velocity up to date and return the direction to step along."""
        velocity = state.get("momentum_buffer")
        if velocity is None:
            velocity = state["momentum_buffer"] = grad.detach().clone()
        else:
            add_(velocity.mul_(momentum), grad, 1 - group["dampening"])
        velocity = kept(velocity, group)
        return added(grad, velocity, momentum) if group["nesterov"] else velocity
