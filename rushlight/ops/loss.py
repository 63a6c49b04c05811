"""Primitives of the losses: picking log-probabilities by class, and the pointwise losses with gradients of their own.

The losses users call, with their checks and reductions, are in `rushlight.nn.functional.loss`. Invariant: every
pointwise formula is stable where PyTorch's is, and clamps where PyTorch clamps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.ops.define import apply
from rushlight.ops.kinds import elementwise_op, primitive
from rushlight.tensor import Tensor


def _valid_and_classes(
    target: np.ndarray, classes: int, ignore_index: int
) -> tuple[np.ndarray | None, np.ndarray]:
    """Which targets count (None for all), and the classes with 0 for those that do not; IndexError out of range."""
    ignored = target == ignore_index
    valid = None
    if ignored.any():
        valid = ~ignored
        target = np.where(ignored, 0, target)
    if target.size and (int(target.min()) < 0 or int(target.max()) >= classes):
        wrong = target[(target < 0) | (target >= classes)].reshape(-1)[0]
        raise IndexError(
            f"Target {wrong} is out of bounds. There are {classes} classes, so targets must be from 0 to {classes - 1}"
            f" (or the ignore_index {ignore_index})."
        )
    return valid, target


def _weights(
    shape: tuple[int, ...],
    target: np.ndarray,
    weight: np.ndarray | None,
    valid: np.ndarray | None,
    kind: np.dtype,
) -> np.ndarray:
    """The weight of each sample: its class's, or 0 where it is ignored."""
    each = np.ones(shape, kind) if weight is None else weight[target]
    return each if valid is None else each * valid


def _nll(
    input: np.ndarray, target: np.ndarray, weight: np.ndarray | None, *, reduction: str, ignore_index: int
) -> Any:
    classes = input.shape[1]
    valid, target = _valid_and_classes(target, classes, ignore_index)
    if input.ndim == 2:
        picked = input[np.arange(len(target)), target]
    else:
        picked = np.take_along_axis(input, target[:, None], axis=1)[:, 0]
    if weight is None and valid is None:
        if reduction == "none":
            return -picked
        total = -np.add.reduce(picked, axis=None)
        return total if reduction == "sum" else total / input.dtype.type(target.size)
    weights = _weights(picked.shape, target, weight, valid, input.dtype)
    losses = np.where(weights == 0, input.dtype.type(0), -picked * weights)
    if reduction == "none":
        return losses
    total = np.add.reduce(losses, axis=None)
    return total if reduction == "sum" else total / np.add.reduce(weights, axis=None)


def _nll_backward(
    g: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    *,
    shape: tuple[int, ...],
    reduction: str,
    ignore_index: int,
) -> np.ndarray:
    valid, target = _valid_and_classes(target, shape[1], ignore_index)
    if weight is None and valid is None:
        scale = -g if reduction != "mean" else -g / g.dtype.type(target.size)
    else:
        weights = _weights(target.shape, target, weight, valid, g.dtype)
        scale = -g * weights
        if reduction == "mean":
            scale = scale / np.add.reduce(weights, axis=None)
    result = np.zeros(shape, g.dtype)
    if len(shape) == 2:
        result[np.arange(len(target)), target] = scale
    else:
        np.put_along_axis(result, target[:, None], np.broadcast_to(scale, target.shape)[:, None], axis=1)
    return result


def _spread(
    g: Tensor, input: tuple[int, ...], target: Tensor, weight: Any, reduction: str, ignore_index: int
) -> Tensor:
    return apply(
        NLL_BACKWARD,
        (g, target, weight),
        {"shape": input, "reduction": reduction, "ignore_index": ignore_index},
    )


NLL = primitive(
    "nll_loss",
    "indexed",
    _nll,
    dict(
        input=lambda g, input_shape, target, weight, reduction, ignore_index: _spread(
            g, input_shape, target, weight, reduction, ignore_index
        )
    ),
)
NLL_2D = primitive("nll_loss", "indexed", _nll, NLL.rules, node_name="NllLoss2DBackward0")
NLL_BACKWARD = primitive(
    "nll_loss_backward",
    "indexed",
    _nll_backward,
    dict(
        # the map is linear in g, and nll_loss itself is its adjoint
        g=lambda g, target, weight, reduction, ignore_index: apply(
            NLL, (g, target, weight), {"reduction": reduction, "ignore_index": ignore_index}
        )
    ),
)


def nll(input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, ignore_index: int) -> Tensor:
    """Minus the log-probability of each sample's class, weighted and reduced.

    `input` is ``(N, C)`` or ``(N, C, d1, ...)`` and `target` ``(N)`` or ``(N, d1, ...)`` with classes.
    """
    op = NLL if input._array.ndim == 2 else NLL_2D
    return apply(op, (input, target, weight), {"reduction": reduction, "ignore_index": ignore_index})


BCE = elementwise_op(
    "binary_cross_entropy",
    lambda k, input, target: (
        -(target * k.maximum(k.log(input), -100.0) + (1 - target) * k.maximum(k.log1p(-input), -100.0))
    ),
    grad=dict(
        input=lambda g, input, target: g * (input - target) / ((1 - input) * input).clamp(min=1e-12),
        target=lambda g, input: g * ((-input).log1p().clamp(min=-100) - input.log().clamp(min=-100)),
    ),
)
BCE_LOGITS = elementwise_op(
    "binary_cross_entropy_with_logits",
    lambda k, input, target: (1 - target) * input + k.maximum(-input, 0.0) + k.log1p(k.exp(-k.abs(input))),
    grad=dict(
        input=lambda g, input, target: g * (input.sigmoid() - target), target=lambda g, input: -g * input
    ),
)
SMOOTH_L1 = elementwise_op(
    "smooth_l1_loss",
    lambda k, input, target, *, beta: k.where(
        k.abs(input - target) < beta,
        0.5 * (input - target) * (input - target) / beta,
        k.abs(input - target) - 0.5 * beta,
    ),
    grad=dict(
        input=lambda g, input, target, beta: g * ((input - target) / beta).clamp(-1, 1),
        target=lambda g, input, target, beta: -g * ((input - target) / beta).clamp(-1, 1),
    ),
)
HUBER = elementwise_op(
    "huber_loss",
    lambda k, input, target, *, delta: k.where(
        k.abs(input - target) < delta,
        0.5 * (input - target) * (input - target),
        delta * (k.abs(input - target) - 0.5 * delta),
    ),
    grad=dict(
        input=lambda g, input, target, delta: g * (input - target).clamp(-delta, delta),
        target=lambda g, input, target, delta: -g * (input - target).clamp(-delta, delta),
    ),
)
SQUARED_ERROR = elementwise_op(
    "mse_loss",
    lambda k, input, target: (input - target) * (input - target),
    grad=dict(
        input=lambda g, input, target: g * 2 * (input - target),
        target=lambda g, input, target: g * 2 * (target - input),
    ),
)
