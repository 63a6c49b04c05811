"""Muon: the momentum of a matrix, made nearly orthogonal before it is added.

Singular values of the momentum are pushed towards one by a few products of matrices. PyTorch computes these
in bfloat16, and so they are rounded here. Invariant: every parameter is a matrix.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from rushlight.ops.create import zeros_like
from rushlight.optim.common import Group, add_, dense_gradients
from rushlight.optim.optimizer import Optimizer, Params
from rushlight.tensor import Tensor


class Muon(Optimizer):
    """``param -= lr * orthogonal(momentum)``, for the matrices of hidden layers.

    After Jordan and others, "Muon: An optimizer for hidden layers in neural networks", 2024. What is no
    matrix goes to another optimizer, such as AdamW.

    Args:
        params: matrices or groups of them, see :class:`Optimizer`.
        lr: learning rate, a number or a tensor of one element.
        weight_decay: how much parameters shrink in each step, times the rate.
        momentum: the share that stays of the average of gradients.
        nesterov: look ahead along the average.
        ns_coefficients: the three factors of the polynomial that is applied to singular values.
        eps: the least norm of the momentum.
        ns_steps: how often the polynomial is applied, less than 100 times.
        adjust_lr_fn: "original" scales the rate by the root of rows over columns, if there are more rows;
            "match_rms_adamw" by 0.2 times the root of the longer side, to suit rates of AdamW.

    Raises:
        ValueError: a rate, momentum or decay out of range, a parameter that is no matrix.

    >>> import rushlight as torch
    >>> w = torch.eye(2, requires_grad=True)
    >>> optimizer = torch.optim.Muon([w], lr=0.1, weight_decay=0.0)
    >>> (w[0] * 2).sum().backward()
    >>> optimizer.step()
    >>> w[1]
    tensor([0., 1.], grad_fn=<SelectBackward0>)
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr >= 0.0:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not momentum >= 0.0:
            raise ValueError(f"momentum should be >= 0 but is: {momentum}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight decay should be >= 0 but is: {weight_decay}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                if param.dim() != 2:
                    raise ValueError(
                        "Muon only supports 2D parameters whereas we found a parameter with size: "
                        f"{param.size()}"
                    )

    def _new_state(self, param: Tensor, group: Group) -> dict[str, Any]:
        return {"momentum_buffer": zeros_like(param if param.grad is None else param.grad)}

    def _directions(self, group: Group) -> Iterator[tuple[Tensor, Tensor]]:
        return dense_gradients(group, "Muon")

    def _update_group(self, group: Group) -> None:
        lr, momentum = self._setting(group, "lr"), group["momentum"]
        for param, grad, state in self._updates(group):
            average = state["momentum_buffer"]
            average.lerp_(grad, 1 - momentum)
            update = grad.lerp(average, momentum) if group["nesterov"] else average
            update = _orthogonal(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
            param.mul_(1 - lr * group["weight_decay"])
            add_(param, update.to(param.dtype), -lr * _scale(group["adjust_lr_fn"], *param.shape))


def _scale(adjustment: str | None, rows: int, columns: int) -> float:
    """The factor of the rate for a matrix of this shape."""
    if adjustment == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1, rows / columns))


def _orthogonal(x: Tensor, factors: tuple[float, float, float], steps: int, least: float) -> Tensor:
    """The matrix with its singular values near one, by Newton and Schulz's iteration in bfloat16."""
    if steps >= 100:
        raise ValueError("Number of steps must be less than 100 for computational efficiency")
    if len(factors) != 3:
        raise ValueError("Coefficients must be a tuple of exactly 3 values")
    first, second, third = factors
    is_tall = x.shape[0] > x.shape[1]
    x = _rounded(x.float())
    if is_tall:
        x = x.T
    x = _rounded(x / _rounded(x.norm()).clamp(min=least))
    for _ in range(steps):
        gram = _rounded(x @ x.T)
        x = _rounded(x * first + _rounded(gram * second + gram @ gram * third) @ x)
    return x.T if is_tall else x


def _rounded(x: Tensor) -> Tensor:
    """Numbers of float32 rounded to the eight bits of bfloat16: a large multiple has no room for the others.

    T. J. Dekker, "A floating-point technique for extending the available precision", 1971.
    """
    large = x * 65537.0
    return large - (large - x)
