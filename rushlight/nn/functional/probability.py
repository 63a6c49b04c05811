"""Losses of probabilities: binary cross entropy, of probabilities and of scores, and the Kullback-Leibler
divergence.

The formulas are in `rushlight.ops.pointwise_loss`. Invariant: logarithms of 0 count as -100, as in PyTorch.
"""

from __future__ import annotations

import warnings

from rushlight.nn.functional.reduction import REDUCTIONS, entered, legacy_reduction, pair_samples
from rushlight.ops.arguments import require_tensor
from rushlight.ops.define import TITLES, labelled
from rushlight.ops.pointwise_loss import BCE, BCE_LOGITS, reduced
from rushlight.ops.samples import Sample, T
from rushlight.ops.smooth import logsigmoid
from rushlight.tensor import Tensor

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div"]


def _probability_samples() -> list[Sample]:
    pair = [T((3, 4), low=0.05, high=0.95), T((3, 4), low=0.05, high=0.95)]
    weight = T((3, 4), low=0.1, high=2.0, grad=False)
    sure = [T(values=[0.0, 1.0, 0.5]), T(values=[0.0, 1.0, 1.0])]
    found = pair_samples(low=0.05, high=0.95)()
    found += [Sample([*pair, weight], {"reduction": reduction}) for reduction in REDUCTIONS]
    found += [
        Sample([*pair, T((4,), low=0.1, grad=False)]),
        Sample(sure, second=False, why="clamped at 0 and 1"),
    ]
    found += [Sample([T(values=[1.5, 0.5]), T(values=[0.0, 1.0])], raises=True)]
    found += [Sample([T(values=[0.5, 0.5]), T(values=[0.0, 1.5])], raises=True)]
    found += [Sample([T((3,), low=0.1, high=0.9), T((4,), low=0.1, high=0.9)], raises=True)]
    return [*found, Sample([T((3,), low=0.1, high=0.9), T((3,), "int64", low=0, high=2)], raises=True)]


@entered(_probability_samples)
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The cross entropy of probabilities `input` against `target`, both from 0 to 1.

    Args:
        input: probabilities.
        target: what they should be, of the same shape.
        weight: a weight per element, broadcast.
        reduction: "mean", "sum" or "none".

    >>> import rushlight as torch
    >>> torch.nn.functional.binary_cross_entropy(torch.tensor([0.5]), torch.tensor([1.0]))
    tensor(0.6931)
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    require_tensor("binary_cross_entropy", "input", 1, input)
    require_tensor("binary_cross_entropy", "target", 2, target)
    if target._array.shape != input._array.shape:
        raise ValueError(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is "
            "deprecated. Please ensure they have the same size."
        )
    if input._array.dtype != target._array.dtype:
        have, want = TITLES[target.dtype.name], TITLES[input.dtype.name]
        raise RuntimeError(f"Found dtype {have} but expected {want}")
    if weight is None:
        return BCE(input, target, reduction)
    loss = reduced(BCE(input, target, "none") * weight, reduction)
    return labelled(loss, "BinaryCrossEntropyBackward0")


def _score_samples() -> list[Sample]:
    pair, weight = [T((3, 4)), T((3, 4), low=0.0, high=1.0)], T((3, 4), low=0.1, high=2.0, grad=False)
    positive = T((4,), low=0.5, high=3.0, grad=False)
    found = pair_samples()()
    found += [Sample([*pair, weight], {"reduction": reduction}) for reduction in REDUCTIONS]
    found += [Sample(pair, {"pos_weight": positive, "reduction": reduction}) for reduction in REDUCTIONS]
    found += [Sample([*pair, weight], {"pos_weight": positive})]
    found += [Sample([T(values=[-200.0, 200.0]), T(values=[1.0, 0.0])])]
    found += [Sample([T((3,)), T((4,))], raises=True)]
    whole = [T((3, 4), "int64", low=0, high=2), T((3, 4), "bool")]
    found += [
        Sample([pair[0], each], {"reduction": how}, raises=True) for each in whole for how in REDUCTIONS
    ]
    found += [Sample([pair[0], each], {"pos_weight": T((4,), grad=False)}, raises=True) for each in whole]
    found += [Sample([whole[0], each], raises=True) for each in (pair[1], whole[0])]
    return [*found, Sample(pair, {"pos_weight": T((3,), grad=False)}, raises=True)]


def _refuse_whole_numbers(input: Tensor, target: Tensor) -> None:
    """PyTorch's errors for integers and bools: it writes the loss into the memory of ``1 - target``."""
    score, wanted = TITLES[input.dtype.name], TITLES[target.dtype.name]
    if input._array.dtype.kind != "f":
        raise NotImplementedError(f"\"log_sigmoid_cpu\" not implemented for '{score}'")
    if wanted == "Bool":
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
            "`logical_xor()` operator instead. Targets are numbers from 0 to 1: use target.to(input.dtype)."
        )
    raise RuntimeError(
        f"result type {score} can't be cast to the desired output type {wanted}. Targets are numbers from 0 "
        "to 1: use target.to(input.dtype)."
    )


@entered(_score_samples, torch_level=False)
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """`binary_cross_entropy` of ``sigmoid(input)``, computed without overflow.

    Args:
        input: scores.
        target: probabilities, of the same shape.
        weight: a weight per element, broadcast.
        reduction: "mean", "sum" or "none".
        pos_weight: how much more positives count, per class (broadcast against the last dimensions).

    >>> import rushlight as torch
    >>> torch.nn.functional.binary_cross_entropy_with_logits(torch.tensor([0.0]), torch.tensor([1.0]))
    tensor(0.6931)
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    require_tensor("binary_cross_entropy_with_logits", "input", 1, input)
    require_tensor("binary_cross_entropy_with_logits", "target", 2, target)
    if target._array.shape != input._array.shape:
        raise ValueError(f"Target size ({target.shape}) must be the same as input size ({input.shape})")
    if target._array.dtype.kind != "f" or input._array.dtype.kind != "f":
        _refuse_whole_numbers(input, target)
    if pos_weight is None and weight is None and input._array.dtype is target._array.dtype:
        return BCE_LOGITS(input, target, reduction)
    if pos_weight is None:
        loss = BCE_LOGITS(input, target, "none")
    else:
        factor = (pos_weight - 1) * target + 1
        loss = (1 - target) * input - factor * logsigmoid(input)
    if weight is not None:
        loss = loss * weight
    if loss.dtype is not target.dtype:
        loss = loss.to(target.dtype)  # PyTorch works in the target's memory
    return labelled(reduced(loss, reduction), "BinaryCrossEntropyWithLogitsBackward0")


def _divergence_samples() -> list[Sample]:
    pair = [T((3, 4)), T((3, 4), low=0.05, high=1.0)]
    found = pair_samples(low=0.05, high=2.0)()
    for log_target in (False, True):
        for reduction in (*REDUCTIONS, "batchmean"):
            found.append(Sample(pair, {"log_target": log_target, "reduction": reduction}))
    whole = T((3, 4), "int64", low=0, high=2)
    for wrong in ([pair[0], whole], [pair[0], T((3, 4), "bool")], [whole, pair[1]]):
        found.append(Sample(wrong, raises=True))
    return [*found, Sample([T((2, 3)), T(values=[[0.0, 1.0, 0.5], [0.2, 0.3, 0.0]], grad=False)])]


@entered(_divergence_samples)
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """The Kullback-Leibler divergence of log-probabilities `input` from `target`.

    Args:
        input: log-probabilities.
        target: probabilities, or their logarithms if `log_target`.
        reduction: "mean" over all elements, "batchmean" (the divergence itself: the sum divided by the batch
            size), "sum" or "none".

    >>> import rushlight as torch
    >>> p = torch.tensor([[0.5, 0.5]])
    >>> torch.nn.functional.kl_div(torch.tensor([[0.25, 0.75]]).log(), p, reduction="batchmean")
    tensor(0.1438)
    """
    if size_average is not None or reduce is not None or reduction != "batchmean":
        reduction = legacy_reduction(size_average, reduce, reduction)
        if reduction == "mean" and size_average is None and reduce is None:
            warnings.warn(
                "reduction: 'mean' divides the total loss by both the batch size and the support size."
                "'batchmean' divides only by the batch size, and aligns with the KL div math definition."
                "'mean' will be changed to behave the same as 'batchmean' in the next major release.",
                stacklevel=2,
            )
    if input._array.dtype.kind != "f" or target._array.dtype.kind != "f":
        raise RuntimeError(
            "kl_div: Integral inputs not supported. Probabilities and their logarithms are floating point "
            "numbers: use .float()."
        )
    loss = target.exp() * (target - input) if log_target else target.xlogy(target) - target * input
    if reduction != "batchmean":
        return reduced(loss, reduction)
    return loss.sum() / input._array.shape[0] if input._array.ndim else loss.sum()
