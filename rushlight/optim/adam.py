"""Adam and AdamW: steps scaled by running averages of the gradient and of its square.

The scalar factors of a step (rate, bias corrections) are computed in double, as in PyTorch's loop over single
tensors, and are tensors only where ``lr`` or ``betas`` are. Invariant: the state of a parameter holds
PyTorch's keys in PyTorch's order: ``step``, ``exp_avg``, ``exp_avg_sq`` and, with amsgrad,
``max_exp_avg_sq``.
"""

from __future__ import annotations

from typing import Any

from rushlight.ops.create import zeros_like
from rushlight.optim.common import (
    Group,
    add_product_,
    add_quotient_,
    as_scalar,
    check_betas,
    check_fused,
    check_learning_rate,
    check_not_negative,
    count_of,
    kept,
    move_,
    new_counter,
)
from rushlight.optim.optimizer import Optimizer, Params
from rushlight.tensor import Tensor


class Adam(Optimizer):
    """``param -= lr * mean / (sqrt(mean_square) + eps)``, with both means corrected for their start at zero.

    After Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2014; ``amsgrad`` after Reddi et al.,
    "On the Convergence of Adam and Beyond", 2018.

    Args:
        params: parameters or groups, see :class:`Optimizer`.
        lr: learning rate, a number or a tensor of one element.
        betas: decay rates of the two running means, both floats or both tensors of one element.
        eps: added to the denominator.
        weight_decay: L2 penalty, added to the gradient; or, if ``decoupled_weight_decay``, the share of
            ``lr`` by which parameters shrink before the step.
        amsgrad: divide by the largest mean square so far.
        maximize: ascend instead of descend.
        foreach, fused, capturable: how PyTorch runs the update; every allowed value gives the same result
            here.
        differentiable: record the update, so that one can differentiate through it.

    Raises:
        ValueError: a rate, decay or epsilon out of range, or betas of mixed types.

    >>> import rushlight as torch
    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = torch.optim.Adam([w], lr=0.1)
    >>> (w * 2).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    _counters = ("step",)

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        refuse_tensors = bool(foreach) and not capturable
        if isinstance(lr, Tensor) and refuse_tensors:
            raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
        check_learning_rate(lr)
        check_not_negative("epsilon value", eps)
        check_betas(betas)
        check_not_negative("weight_decay value", weight_decay)
        _check_beta_types(betas, refuse_tensors)
        check_fused(fused, foreach, differentiable)
        defaults = {
            "lr": lr,
            "betas": tuple(as_scalar(beta) for beta in betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def _new_state(self, param: Tensor, group: Group) -> dict[str, Any]:
        state = {
            "step": new_counter(group),
            "exp_avg": zeros_like(param),
            "exp_avg_sq": zeros_like(param),
        }
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = zeros_like(param)
        return state

    def _update_group(self, group: Group) -> None:
        lr = self._setting(group, "lr")
        beta1, beta2 = self._setting(group, "betas")
        eps = group["eps"]
        shrink_by = group["weight_decay"] if group["decoupled_weight_decay"] else 0
        for param, grad, state in self._updates(group):
            state["step"] += 1
            if shrink_by != 0:
                param.mul_(1 - lr * shrink_by)
            mean, mean_square = state["exp_avg"], state["exp_avg_sq"]
            move_(mean, grad, 1 - beta1)
            add_product_(mean_square.mul_(beta2), grad, grad, 1 - beta2)
            if group["amsgrad"]:
                largest = state["max_exp_avg_sq"]
                mean_square = kept(largest, group).maximum(kept(mean_square, group))
                largest.copy_(mean_square)
            step = count_of(state["step"])
            root_correction = (1 - beta2**step) ** 0.5
            denominator = mean_square.sqrt() / root_correction + eps
            add_quotient_(param, kept(mean, group), denominator, -(lr / (1 - beta1**step)))


def _check_beta_types(betas: tuple[Any, Any], refuse_tensors: bool) -> None:
    are_tensors = [isinstance(beta, Tensor) for beta in betas]
    are_floats = [isinstance(beta, float) for beta in betas]
    if not (all(are_tensors) or all(are_floats)):
        raise ValueError("betas must be either both floats or both Tensors")
    for index, beta in enumerate(betas):
        if are_tensors[index] and refuse_tensors:
            raise ValueError(
                f"betas[{index}] as a Tensor is not supported for capturable=False and foreach=True"
            )
        if are_tensors[index] and beta.numel() != 1:
            raise ValueError(f"Tensor betas[{index}] must be 1-element")


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters instead of entering the gradient.

    After Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2017. The arguments are those of
    :class:`Adam`.

    >>> import rushlight as torch
    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = torch.optim.AdamW([w], lr=0.1, weight_decay=1.0)
    >>> (w * 0).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
