"""Picking log-probabilities by class: the primitives of the classification losses.

The losses users call, with their checks and reductions, are in `rushlight.nn.functional.loss`; losses that
compare element with element are in `pointwise_loss`. Invariant: a target out of range raises, and one that is
ignored adds nothing to the loss, its mean, or a gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.dtype import F16, I64
from rushlight.ops.along import pick, put
from rushlight.ops.define import apply
from rushlight.ops.fused import fused
from rushlight.ops.kinds import primitive
from rushlight.ops.reduce import sum as sum_of
from rushlight.ops.softmax import log_softmax, log_softmax_backward, softmax, softmax_backward
from rushlight.tensor import Tensor

_add = np.add.reduce


def _valid_and_classes(
    target: np.ndarray, classes: int, ignore_index: int
) -> tuple[np.ndarray | None, np.ndarray]:
    """Which targets count (None for all), and the classes with 0 for those that do not; IndexError out of
    range.
    """
    # as unsigned numbers negative ones are huge, so one maximum finds them all
    nothing_ignored = target.dtype is I64 and not 0 <= ignore_index < classes
    if nothing_ignored and (not target.size or np.maximum.reduce(target.view(np.uint64), None) < classes):
        return None, target
    ignored = target == ignore_index
    valid = None
    if ignored.any():
        valid = ~ignored
        target = np.where(ignored, 0, target)
    wrong = (target < 0) | (target >= classes)
    if wrong.any():
        raise IndexError(
            f"Target {target[wrong][0]} is out of bounds. There are {classes} classes, so targets must be "
            f"from 0 to {classes - 1} (or the ignore_index {ignore_index})."
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


def _picked(input: np.ndarray, target: np.ndarray) -> np.ndarray:
    """``input[n, target[n, ...], ...]``, one value per sample."""
    if input.ndim == 2:
        return pick(input, target[:, None], 1)[:, 0]
    return np.take_along_axis(input, target[:, None], axis=1)[:, 0]


def _nll(
    input: np.ndarray, target: np.ndarray, weight: np.ndarray | None, *, reduction: str, ignore_index: int
) -> Any:
    valid, target = _valid_and_classes(target, input.shape[1], ignore_index)
    picked = _picked(input, target)
    if weight is None and valid is None:
        if reduction == "none":
            return -picked
        total = _add(-picked, None)
        return total if reduction == "sum" else total / input.dtype.type(target.size)
    weights = _weights(picked.shape, target, weight, valid, input.dtype)
    losses = np.where(weights == 0, input.dtype.type(0), -picked * weights)
    if reduction == "none":
        return losses
    total = _add(losses, None)
    return total if reduction == "sum" else total / _add(weights, None)


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
            scale = np.where(weights == 0, weights, scale / _add(weights, None))
    result = np.zeros(shape, g.dtype)
    if len(shape) == 2:
        put(result, target[:, None], 1, np.asarray(scale)[..., None] if np.ndim(scale) else scale)
    else:
        np.put_along_axis(result, target[:, None], np.broadcast_to(scale, target.shape)[:, None], axis=1)
    return result


def _spread(
    g: Tensor, shape: tuple[int, ...], target: Tensor, weight: Any, reduction: str, ignore_index: int
) -> Tensor:
    params = {"shape": shape, "reduction": reduction, "ignore_index": ignore_index}
    return apply(NLL_BACKWARD, (g, target, weight), params)


_NLL_RULE = dict(
    input=lambda g, input_shape, target, weight, reduction, ignore_index: _spread(
        g, input_shape, target, weight, reduction, ignore_index
    )
)
NLL = primitive("nll_loss", "indexed", _nll, _NLL_RULE)
NLL_2D = primitive("nll_loss", "indexed", _nll, _NLL_RULE, node_name="NllLoss2DBackward0")
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


# -- the cross entropy of scores, in one step ----------------------------------------------------------------


def _cross_entropy(input: np.ndarray, target: np.ndarray, *, reduction: str, ignore_index: int) -> Any:
    valid, target = _valid_and_classes(target, input.shape[1], ignore_index)
    wide = input.astype(np.float32) if input.dtype is F16 else input
    if not input.size:
        return _nll(input, target, None, reduction=reduction, ignore_index=ignore_index)
    shifted = wide - np.maximum.reduce(wide, 1, None, None, True)
    picked = pick(shifted, target[:, None], 1)
    losses = np.log(_add(np.exp(shifted, shifted), 1, None, None, True)) - picked
    if valid is not None:
        losses = np.where(valid[:, None], losses, losses.dtype.type(0))
    if reduction == "none":
        result = losses[:, 0]
    else:
        result = _add(losses, None)
        if reduction == "mean":
            result = result / losses.dtype.type(losses.size if valid is None else np.count_nonzero(valid))
    return result.astype(F16) if input.dtype is F16 else result


def _cross_entropy_backward(
    grad: np.ndarray, input: np.ndarray, target: np.ndarray, *, reduction: str, ignore_index: int
) -> np.ndarray:
    valid, target = _valid_and_classes(target, input.shape[1], ignore_index)
    wide = input.astype(np.float32) if input.dtype is F16 else input
    if not input.size:
        return np.zeros_like(input)
    powers = wide - np.maximum.reduce(wide, 1, None, None, True)
    np.exp(powers, powers)
    powers /= _add(powers, 1, None, None, True)
    column = target[:, None]
    put(powers, column, 1, pick(powers, column, 1) - 1)
    if reduction == "mean":
        grad = grad / grad.dtype.type(len(target) if valid is None else np.count_nonzero(valid))
    if valid is not None:
        grad = np.where(valid, grad, grad.dtype.type(0))
    powers *= grad[:, None] if grad.ndim else grad
    return powers


def _cross_entropy_spelled_out(input: Tensor, target: Tensor, *, reduction: str, ignore_index: int) -> Tensor:
    return nll(log_softmax(input, 1), target, None, reduction, ignore_index)


def _cross_entropy_backward_spelled_out(
    grad: Tensor, input: Tensor, target: Tensor, *, reduction: str, ignore_index: int
) -> Tensor:
    spread = _spread(grad, input._array.shape, target, None, reduction, ignore_index)
    return log_softmax_backward((spread, log_softmax(input, 1)), {"dim": 1})


def _by_gradient(g: Tensor, input: Tensor, target: Tensor, reduction: str, ignore_index: int) -> Tensor:
    """What a change of the loss's gradient does: the adjoint of the backward, which is linear in it."""
    centred = g - sum_of(g * softmax(input, 1), 1, True)
    return nll(centred, target, None, reduction, ignore_index)


def _by_input(
    g: Tensor, grad: Tensor, input: Tensor, target: Tensor, reduction: str, ignore_index: int
) -> Tensor:
    """What a change of the scores does, through the probabilities alone."""
    scale = -sum_of(_spread(grad, input._array.shape, target, None, reduction, ignore_index), 1, True)
    return softmax_backward((g * scale, softmax(input, 1)), {"dim": 1})


CROSS_ENTROPY_BACKWARD = primitive(
    "cross_entropy_backward",
    "opaque",
    _cross_entropy_backward,
    dict(grad=_by_gradient, input=_by_input),
)
_run_backward = fused(CROSS_ENTROPY_BACKWARD, _cross_entropy_backward_spelled_out)
CROSS_ENTROPY = primitive(
    "cross_entropy_loss",
    "opaque",
    _cross_entropy,
    dict(
        input=lambda g, input, target, reduction, ignore_index: _run_backward(
            (g, input, target), {"reduction": reduction, "ignore_index": ignore_index}
        )
    ),
    node_name="NllLossBackward0",
)
_run_cross_entropy = fused(CROSS_ENTROPY, _cross_entropy_spelled_out)


def cross_entropy_of_scores(input: Tensor, target: Tensor, reduction: str, ignore_index: int) -> Tensor:
    """The cross entropy of scores ``(N, C)`` against classes ``(N)``: `nll` of their `log_softmax`, as one
    op.
    """
    return _run_cross_entropy((input, target), {"reduction": reduction, "ignore_index": ignore_index})
