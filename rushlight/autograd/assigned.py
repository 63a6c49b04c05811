"""Rare questions about gradients that tensors ask: what may become ``.grad``, and numbers made of tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rushlight.once import warn_once

if TYPE_CHECKING:
    from rushlight.tensor import Tensor


def check_grad(tensor: Tensor, value: Any) -> None:
    """Refuse what cannot be the gradient of `tensor`."""
    from rushlight.tensor import Tensor

    if not isinstance(value, Tensor):
        kind = type(value).__name__
        raise TypeError(f"assigned grad expected to be a Tensor or None but got grad of type {kind}")
    if value is tensor:
        raise RuntimeError("can't assign Variable as its own grad")
    if value._array.shape != tensor._array.shape:
        raise RuntimeError(
            f"attempting to assign a gradient of size '{list(value.shape)}' to a tensor of size "
            f"'{list(tensor.shape)}'. Please ensure that the gradient and the tensor are the same size"
        )
    if value.dtype is not tensor.dtype:
        from rushlight.ops.operands import C_NAMES, TITLES

        given, own = C_NAMES[value.dtype.name], TITLES[tensor.dtype.name]
        raise RuntimeError(
            f"attempting to assign a gradient with dtype '{given}' to a tensor with grad_dtype "
            f"'{own}'. The gradient must have the tensor's type."
        )


def warn_of_scalar() -> None:
    """Say, once in a process, that a number does not remember how it was computed."""
    warn_once(
        "scalar",
        "Converting a tensor with requires_grad=True to a scalar may lead to unexpected behavior.\n"
        "Consider using tensor.detach() first.",
        stacklevel=4,
    )
