"""What the update rules share: checking options, counting steps, and adding with a factor.

Only functions on single values and tensors; nothing here knows of optimizers. Invariant: whether a factor is
a Python number or a 0-d tensor, the same products are formed in the same order, so the results have the same
bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rushlight.autograd.mode import RECORDING, state
from rushlight.dtype import dtype, float32, float64, get_default_dtype
from rushlight.ops.create import zeros
from rushlight.ops.define import apply_inplace
from rushlight.ops.elementwise import ADD_SCALED
from rushlight.ops.select import where
from rushlight.tensor import Tensor

Group = dict[str, Any]

# -- checking options ----------------------------------------------------------------------------------------


def check_learning_rate(lr: Any) -> None:
    """Raise ``ValueError`` for a negative rate or a tensor of several elements."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    check_not_negative("learning rate", lr)


def check_not_negative(name: str, value: Any) -> None:
    """Raise ``ValueError`` where PyTorch calls ``value`` an invalid ``name``."""
    if not value >= 0.0:
        raise ValueError(f"Invalid {name}: {value}")


def check_betas(betas: Any) -> None:
    """Raise ``ValueError`` unless both decay rates are in [0, 1)."""
    for index in (0, 1):
        if not 0.0 <= betas[index] < 1.0:
            raise ValueError(f"Invalid beta parameter at index {index}: {betas[index]}")


def check_fused(fused: bool | None, foreach: bool | None, differentiable: bool) -> None:
    """Raise ``RuntimeError`` for the combinations of speed choices that PyTorch refuses."""
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


# -- gradients -----------------------------------------------------------------------------------------------


def dense_gradients(group: Group, optimizer: str) -> Iterator[tuple[Tensor, Tensor]]:
    """The parameters that have a gradient, with it (or its opposite); RuntimeError if it is sparse."""
    for param in group["params"]:
        grad = param.grad
        if grad is None:
            continue
        if grad.is_sparse:
            raise RuntimeError(f"{optimizer} does not support sparse gradients")
        yield param, -grad if group.get("maximize") else grad


# -- numbers that change from step to step -------------------------------------------------------------------


def as_scalar(value: Any) -> Any:
    """A setting as an update uses it: a Python number as it is, a tensor of one element as a 0-d tensor."""
    return value.squeeze() if isinstance(value, Tensor) and value.dim() != 0 else value


def as_number(value: Any) -> float:
    """A setting as a Python number, whatever it was given as."""
    return value.item() if isinstance(value, Tensor) else value


def count_of(counter: Tensor) -> Any:
    """The value of a 0-d counter of the state, a number (a tensor while a step is recorded): in double, as
    the bias corrections computed from it are."""
    return counter.to(float64) if state.mode & RECORDING else counter.item()


def chosen(condition: Any, then: Any, otherwise: Any) -> Any:
    """``then`` where a condition on a counter holds, else ``otherwise``; a recorded step has tensors."""
    if isinstance(condition, Tensor):
        return where(condition, then, otherwise)
    return then if condition else otherwise


def kept(tensor: Tensor, group: Group) -> Tensor:
    """A tensor as an operand: a copy if the update is recorded, for the tensor itself will change."""
    return tensor.clone() if group["differentiable"] else tensor


def counter_dtype(group: Group) -> dtype:
    """The type of a step counter: float32, or float64 if that is the default and the update not fused."""
    if group.get("fused") or get_default_dtype() is not float64:
        return float32
    return float64


def new_counter(group: Group) -> Tensor:
    """A step counter at zero."""
    return zeros((), dtype=counter_dtype(group))


# -- adding with a factor ------------------------------------------------------------------------------------
#
# A number goes into the operation's own factor. A tensor becomes an operand, so that gradients reach it and a
# recorded step sees it change.


def added(target: Tensor, other: Tensor, factor: Any) -> Tensor:
    """``target + factor * other``, a new tensor."""
    if isinstance(factor, Tensor):
        return target.addcmul(other, factor)
    return target.add(other, alpha=factor)


def add_(target: Tensor, other: Tensor, factor: Any) -> Tensor:
    """``target += factor * other``."""
    if isinstance(factor, Tensor):
        return target.addcmul_(other, factor)
    if type(factor) is float and target._array.dtype.kind == "f":
        return apply_inplace(ADD_SCALED, (target, other), {"alpha": factor})  # what add_ comes to
    return target.add_(other, alpha=factor)


def move_(target: Tensor, end: Tensor, share: Any) -> Tensor:
    """``target += share * (end - target)``; a tensor must be of the target's type there."""
    return target.lerp_(end, share.to(target.dtype) if isinstance(share, Tensor) else share)


def add_product_(target: Tensor, left: Tensor, right: Tensor, factor: Any) -> Tensor:
    """``target += factor * left * right``."""
    if isinstance(factor, Tensor):
        return target.addcmul_(left * factor, right)
    return target.addcmul_(left, right, value=factor)


def add_quotient_(target: Tensor, above: Tensor, below: Tensor, factor: Any) -> Tensor:
    """``target += factor * above / below``."""
    if isinstance(factor, Tensor):
        return target.addcdiv_(above * factor, below)
    return target.addcdiv_(above, below, value=factor)
