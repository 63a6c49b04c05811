"""Losses as functions: how wrong a prediction is, per element or reduced to one number.

Every loss is an ordinary function of ops; what has a gradient formula of its own is in
`rushlight.ops.loss`. Invariant: reductions and legacy arguments mean what they mean in PyTorch, and shapes
that do not fit raise PyTorch's sentence plus the shapes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from rushlight.ops import loss as ops
from rushlight.ops.define import apply, labelled
from rushlight.ops.kinds import composite
from rushlight.ops.samples import Sample, T
from rushlight.ops.softmax import log_softmax
from rushlight.tensor import Tensor

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "gaussian_nll_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
]

REDUCTIONS = ("none", "mean", "sum")


def legacy_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """PyTorch's old pair of flags as a reduction, with its warning; `reduction` itself where they are not
    given.
    """
    if size_average is None and reduce is None:
        if reduction not in REDUCTIONS:
            raise ValueError(f"{reduction} is not a valid value for reduction")
        return reduction
    average = True if size_average is None else size_average
    name = "none" if reduce is False else "mean" if average else "sum"
    warnings.warn(
        f"size_average and reduce args will be deprecated, please use reduction='{name}' instead.",
        stacklevel=3,
    )
    return name


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """The mean, the sum, or the losses themselves."""
    if reduction == "mean":
        return loss.mean()
    return loss.sum() if reduction == "sum" else loss


def _entered(samples: Callable[[], list[Sample]]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a loss into the op table as ``nn.functional.<name>``, so that the matrix tests it."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        return composite(samples=samples, method=False, name=f"nn.functional.{function.__name__}")(function)

    return enter


def _pair_samples(
    *, low: float | None = None, high: float | None = None, **kwargs: Any
) -> Callable[[], list[Sample]]:
    """Two tensors of one shape, each reduction, and the keywords given."""

    def samples() -> list[Sample]:
        found = []
        for reduction in REDUCTIONS:
            pair = [T((3, 4), low=low, high=high), T((3, 4), low=low, high=high)]
            found.append(Sample(pair, {"reduction": reduction, **kwargs}))
        double = [T((5,), "float64", low=low, high=high), T((5,), "float64", low=low, high=high)]
        return [*found, Sample(double), Sample([T((), low=low, high=high), T((), low=low, high=high)])]

    return samples


# -- classification ------------------------------------------------------------------------------------------


def _check_target(input: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Input and target with a batch dimension, after PyTorch's checks."""
    scores, classes = input._array, target._array
    if scores.ndim < 1:
        raise ValueError(f"Expected 1 or more dimensions (got {scores.ndim})")
    if classes.dtype.kind not in "iu" or classes.dtype.itemsize not in (1, 8):
        title = {"float32": "Float", "float64": "Double", "int32": "Int", "bool": "Bool"}.get(
            target.dtype.name, target.dtype.name
        )
        raise RuntimeError(
            f"expected target dtype to be Long or Byte, but got {title}. Class numbers are integers: use "
            "target.long()."
        )
    if scores.ndim == 1:
        if classes.ndim > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        input, target = input.unsqueeze(0), target.reshape(1)
    else:
        if classes.ndim == 0 or scores.shape[0] != classes.shape[0]:
            size = classes.shape[0] if classes.ndim else 1
            raise ValueError(
                f"Expected input batch_size ({scores.shape[0]}) to match target batch_size ({size})."
            )
        if scores.ndim == 2 and classes.ndim != 1:
            raise RuntimeError(
                "0D or 1D target tensor expected, multi-target not supported. The target has shape "
                f"{list(classes.shape)}; class numbers need the shape [{scores.shape[0]}]."
            )
        wanted = (scores.shape[0], *scores.shape[2:])
        if scores.ndim > 2 and classes.shape != wanted:
            raise RuntimeError(f"Expected target size {list(wanted)}, got {list(classes.shape)}")
    count = input._array.shape[1]
    if weight is not None and weight._array.shape != (count,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {count} classes or no classes but got weight "
            "tensor of shape: "
            f"{list(weight._array.shape)}"
        )
    return input, target


def _class_samples(log: bool) -> Callable[[], list[Sample]]:
    def samples() -> list[Sample]:
        scores, classes = T((4, 5)), T(values=[1, 0, 4, 2], dtype="int64")
        found = [Sample([scores, classes], {"reduction": reduction}) for reduction in REDUCTIONS]
        weight = T(values=[0.5, 1.0, 2.0, 0.0, 1.5], grad=False)
        found += [Sample([scores, classes, weight], {"reduction": reduction}) for reduction in REDUCTIONS]
        found += [
            Sample([scores, classes], {"ignore_index": 4}),
            Sample([T((5,)), T(values=3, dtype="int64")]),
        ]
        found += [
            Sample([T((2, 3, 4)), T((2, 4), "int64", low=0, high=3)], {"reduction": reduction})
            for reduction in REDUCTIONS
        ]
        if log:
            found += [
                Sample([scores, classes, weight], {"label_smoothing": 0.1, "reduction": r})
                for r in REDUCTIONS
            ]
            found += [Sample([scores, classes], {"label_smoothing": 0.2, "ignore_index": 0})]
            found += [Sample([scores, T((4, 5), low=0.0, high=1.0)], {"reduction": r}) for r in REDUCTIONS]
            found += [Sample([scores, T((4, 5), low=0.0, high=1.0), weight], {"label_smoothing": 0.1})]
            found += [Sample([T((5,)), T((5,), low=0.0, high=1.0)])]
        return found

    return samples


@_entered(_class_samples(log=False))
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Minus the log-probability of the right class.

    Args:
        input: log-probabilities, ``(C)``, ``(N, C)`` or ``(N, C, d1, ...)``.
        target: classes, ``()``, ``(N)`` or ``(N, d1, ...)``.
        weight: a weight per class, ``(C)``.
        ignore_index: targets of this value count nothing.
        reduction: "mean" (weighted), "sum" or "none".
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    batched, classes = _check_target(input, target, weight)
    loss = ops.nll(batched, classes.long(), weight, reduction, ignore_index)
    return loss.reshape(target._array.shape) if reduction == "none" and input._array.ndim == 1 else loss


@_entered(_class_samples(log=True))
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The cross entropy between scores (logits) and target classes or probabilities.

    Args:
        input: scores, ``(C)``, ``(N, C)`` or ``(N, C, d1, ...)``.
        target: classes as integers, or probabilities of the shape of `input`.
        weight: a weight per class, ``(C)``.
        ignore_index: target classes of this value count nothing.
        reduction: "mean" (weighted), "sum" or "none".
        label_smoothing: the share of probability spread evenly over all classes, 0 to 1.

    >>> import rushlight as torch
    >>> torch.nn.functional.cross_entropy(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor(0.1269)
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if input._array.ndim < 1:
        raise ValueError(f"Expected 1 or more dimensions (got {input._array.ndim})")
    if target._array.shape == input._array.shape and target._array.dtype.kind == "f":
        return _soft_cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)
    batched, classes = _check_target(input, target, weight)
    logs = log_softmax(batched, 1)
    classes = classes.long()
    loss = ops.nll(logs, classes, weight, reduction, ignore_index)
    if label_smoothing > 0:
        loss = _smoothed(loss, logs, classes, weight, ignore_index, reduction, label_smoothing)
    return loss.reshape(target._array.shape) if reduction == "none" and input._array.ndim == 1 else loss


def _smoothed(
    loss: Tensor,
    logs: Tensor,
    classes: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    smoothing: float,
) -> Tensor:
    """Mix the loss of the right class with the mean loss over all classes."""
    count = logs._array.shape[1]
    ignored = classes == ignore_index
    spread = -(logs if weight is None else logs * _by_class(weight, logs)).sum(1)
    spread = spread.masked_fill(ignored, 0)
    if reduction == "mean":
        if weight is None:
            spread = spread.sum() / (ignored.logical_not()).sum()
        else:
            spread = spread.sum() / weight[classes.masked_fill(ignored, 0)].masked_fill(ignored, 0).sum()
    elif reduction == "sum":
        spread = spread.sum()
    return loss * (1 - smoothing) + spread * (smoothing / count)


def _by_class(weight: Tensor, scores: Tensor) -> Tensor:
    """Class weights in a shape that broadcasts against ``(N, C, d1, ...)``."""
    return weight.reshape(1, -1, *(1,) * (scores._array.ndim - 2)) if scores._array.ndim > 1 else weight


def _soft_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, smoothing: float
) -> Tensor:
    """Cross entropy against probabilities."""
    if ignore_index >= 0:
        raise RuntimeError("ignore_index is not supported for floating point target")
    place = 0 if input._array.ndim == 1 else 1
    count = input._array.shape[place]
    if smoothing > 0:
        target = target * (1 - smoothing) + smoothing / count
    weighted = log_softmax(input, place) * target
    if weight is not None:
        weighted = weighted * _by_class(weight, input)
    if reduction == "none":
        return -weighted.sum(place)
    if reduction == "sum":
        return -weighted.sum()
    return labelled(-weighted.sum() / max(input._array.size // count, 1), "DivBackward1")


# -- regression ----------------------------------------------------------------------------------------------


def _warn_sizes(input: Tensor, target: Tensor) -> None:
    if input._array.shape != target._array.shape:
        warnings.warn(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}). "
            "This will likely lead to "
            "incorrect results due to broadcasting. Please ensure they have the same size.",
            stacklevel=3,
        )


def _weighted(loss: Tensor, weight: Tensor | None, reduction: str, name: str) -> Tensor:
    """Reduce a pointwise loss; with weights, the mean is divided by their sum."""
    if weight is None:
        return reduced(loss, reduction)
    if weight._array.shape != loss._array.shape:
        raise ValueError(
            f"Weights and input must have the same size: got {list(weight.shape)} and {list(loss.shape)} in "
            f"{name}."
        )
    if reduction == "mean":
        return (loss * weight).sum() / weight.sum()
    return reduced(loss * weight, reduction)


@_entered(_pair_samples())
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The squared difference.

    >>> import rushlight as torch
    >>> torch.nn.functional.mse_loss(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
    tensor(2.)
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    _warn_sizes(input, target)
    loss = apply(ops.SQUARED_ERROR, (input, target))
    if weight is not None:
        return _weighted(loss, weight, reduction, "mse_loss")
    return labelled(reduced(loss, reduction), "MseLossBackward0")


@_entered(_pair_samples())
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The absolute difference."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    _warn_sizes(input, target)
    return _weighted((input - target).abs(), weight, reduction, "l1_loss")


@_entered(_pair_samples(beta=0.7))
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Squared difference below `beta`, absolute above, smoothly joined."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    _warn_sizes(input, target)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    loss = apply(ops.SMOOTH_L1, (input, target), {"beta": beta})
    return labelled(reduced(loss, reduction), "SmoothL1LossBackward0")


@_entered(_pair_samples(delta=0.7))
def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """Half the squared difference below `delta`, linear above."""
    reduction = legacy_reduction(None, None, reduction)
    _warn_sizes(input, target)
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    loss = apply(ops.HUBER, (input, target), {"delta": delta})
    if weight is not None:
        return _weighted(loss, weight, reduction, "huber_loss")
    return labelled(reduced(loss, reduction), "HuberLossBackward0")


# -- probabilities -------------------------------------------------------------------------------------------


@_entered(_pair_samples(low=0.05, high=0.95))
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The cross entropy of probabilities `input` against `target`; logarithms are clamped at -100."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    if target._array.shape != input._array.shape:
        raise ValueError(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is "
            "deprecated. "
            "Please ensure they have the same size."
        )
    if input._array.dtype != target._array.dtype:
        names = {"float32": "Float", "float64": "Double", "float16": "Half", "int64": "Long", "bool": "Bool"}
        raise RuntimeError(
            f"Found dtype {names.get(target.dtype.name)} but expected {names.get(input.dtype.name)}"
        )
    if input._array.size and (input._array.min() < 0 or input._array.max() > 1):
        raise RuntimeError(
            "all elements of input should be between 0 and 1. For raw scores use "
            "binary_cross_entropy_with_logits."
        )
    loss = apply(ops.BCE, (input, target))
    if weight is not None:
        loss = loss * weight
    return labelled(reduced(loss, reduction), "BinaryCrossEntropyBackward0")


@_entered(_pair_samples())
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """`binary_cross_entropy` of ``sigmoid(input)``, computed without overflow; `pos_weight` weighs the
    positives.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if target._array.shape != input._array.shape:
        raise ValueError(f"Target size ({target.shape}) must be the same as input size ({input.shape})")
    if pos_weight is None:
        loss = apply(ops.BCE_LOGITS, (input, target))
    else:
        factor = (pos_weight - 1) * target + 1
        softplus = (-input.abs()).exp().log1p() + (-input).clamp(min=0)
        loss = (1 - target) * input + factor * softplus
    if weight is not None:
        loss = loss * weight
    return labelled(reduced(loss, reduction), "BinaryCrossEntropyWithLogitsBackward0")


@_entered(_pair_samples(low=0.05, high=2.0))
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """The Kullback-Leibler divergence of log-probabilities `input` from `target`; "batchmean" divides by
    the batch size.
    """
    if reduction == "batchmean" and size_average is None and reduce is None:
        total = kl_div(input, target, reduction="sum", log_target=log_target)
        return total / input._array.shape[0] if input._array.ndim else total
    reduction = legacy_reduction(size_average, reduce, reduction)
    if reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support "
            "size.'batchmean' divides only by the "
            "batch size, and aligns with the KL div math definition.'mean' will be changed to behave the "
            "same as 'batchmean' in "
            "the next major release.",
            stacklevel=2,
        )
    loss = target.exp() * (target - input) if log_target else target.xlogy(target) - target * input
    return reduced(loss, reduction)


@_entered(_pair_samples(low=0.1, high=3.0, full=True))
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The negative log-likelihood of counts under a Poisson law; `full` adds Stirling's term."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        loss = loss + stirling.masked_fill(target <= 1, 0)
    return reduced(loss, reduction)


def _gaussian_samples() -> list[Sample]:
    variance = T((3, 4), low=0.2, high=2.0)
    found = [Sample([T((3, 4)), T((3, 4)), variance], {"reduction": reduction}) for reduction in REDUCTIONS]
    return [
        *found,
        Sample([T((3, 4)), T((3, 4)), T((3, 1), low=0.2, high=2.0)], {"full": True}),
        Sample([T((3, 4)), T((3, 4)), 0.5]),
    ]


@_entered(_gaussian_samples)
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """The negative log-likelihood of `target` under a normal law of mean `input` and variance `var`."""
    if not isinstance(var, Tensor):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = input.new_full(input._array.shape, var)
    elif (var._array < 0).any():
        raise ValueError("var has negative entry/entries")
    if var._array.shape != input._array.shape:
        if input._array.shape[:-1] == var._array.shape:
            var = var.unsqueeze(-1)
        elif input._array.shape[:-1] != var._array.shape[:-1] or var._array.shape[-1] != 1:
            raise ValueError("var is of incorrect size")
    legacy_reduction(None, None, reduction)
    # the floor under the variance is not differentiated
    floor = var.detach().clamp(min=eps)
    var = var + (floor - var.detach())
    loss = 0.5 * (var.log() + (input - target).square() / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduced(loss, reduction)
