"""Adafactor: second moments of a matrix as a column times a row, which take next to no memory.

Invariant: a parameter with two dimensions or more has ``row_var`` and ``col_var`` in its state, one with
fewer ``variance``; there is no average of gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rushlight.dtype import finfo, float64
from rushlight.ops.create import zeros, zeros_like
from rushlight.optim.common import Group, add_, chosen, count_of, dense_gradients, move_, new_counter
from rushlight.optim.optimizer import Optimizer, Params
from rushlight.tensor import Tensor


class Adafactor(Optimizer):
    """``param -= alpha * update``, with the update clipped and alpha in proportion to the parameter's size.

    After Shazeer and Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018.

    Args:
        params: parameters or groups, see :class:`Optimizer`.
        lr: the largest relative step, and the rate of weight decay; a number or a tensor of one element.
        beta2_decay: the exponent with which averages of squares come to last longer.
        eps: the least divisor (the square root of the type's own precision, if None), and the least size a
            parameter is taken to have.
        d: updates with a larger root mean square are scaled down to it.
        weight_decay: how much parameters shrink in each step, times the rate.
        foreach: how PyTorch runs the update; every value gives the same result here.
        maximize: ascend instead of descend.

    Raises:
        ValueError: a rate, exponent, epsilon, threshold or decay out of range.

    >>> import rushlight as torch
    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = torch.optim.Adafactor([w], lr=0.1)
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
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr >= 0.0:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not beta2_decay <= 0.0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        for number, least in enumerate(eps, start=1):
            if least is not None and not least >= 0.0:
                raise ValueError(f"epsilon{number} should be >= 0 but is: {least}")
        if not d >= 1.0:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight_decay should be >= 0 but is: {weight_decay}")
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _new_state(self, param: Tensor, group: Group) -> dict[str, Any]:
        shape, kind = list(param.shape), param.grad.dtype if param.grad is not None else param.dtype
        state: dict[str, Any] = {"step": new_counter(group)}
        if len(shape) < 2:
            return state | {"variance": zeros_like(param, dtype=kind)}
        state["row_var"] = zeros([*shape[:-1], 1], dtype=kind)
        state["col_var"] = zeros([*shape[:-2], 1, shape[-1]], dtype=kind)
        return state

    def _directions(self, group: Group) -> Iterator[tuple[Tensor, Tensor]]:
        return dense_gradients(group, "Adafactor")

    def _update_group(self, group: Group) -> None:
        lr = self._setting(group, "lr")
        least, least_size = group["eps"]
        for param, grad, state in self._updates(group):
            least = finfo(param.dtype).eps if least is None else least
            state["step"] += 1
            count = count_of(state["step"])
            size = _root_mean_square(param)
            if group["weight_decay"] != 0:
                param.mul_(1 - lr * group["weight_decay"])
            squares = _mean_squares(grad, state, count ** group["beta2_decay"], least)
            update = squares.clamp_(min=least * least).rsqrt_().mul_(grad)
            limit = 1 / count**0.5
            rate = chosen(lr < limit, lr, limit) * size.clamp(min=least_size)
            add_(param, update, -rate / (_root_mean_square(update) / group["d"]).clamp(min=1.0))


def _root_mean_square(x: Tensor) -> Tensor:
    """The root of the mean of squares, as a number of double precision."""
    return x.norm(2).to(float64) / x.numel() ** 0.5


def _mean_squares(grad: Tensor, state: dict[str, Any], share: Any, least: float) -> Tensor:
    """What the averages say of the squares of gradients, after `share` of this one has gone into them."""
    if grad.dim() < 2:
        move_(state["variance"], grad * grad, share)
        return state["variance"].clone()
    rows, columns = state["row_var"], state["col_var"]
    for average, dim in ((rows, -1), (columns, -2)):
        move_(average, grad.norm(2, dim, True).square() / grad.shape[dim], share)
    return rows @ columns / rows.mean(-2, True).clamp(min=least)
