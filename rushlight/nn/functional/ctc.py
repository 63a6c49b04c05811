"""The loss of sequences whose alignment with the input is unknown (CTC), with PyTorch's checks.

The sums over alignments are in `rushlight.ops.ctc`; other losses of classes are in `loss`. Invariant: lengths
may be tensors or tuples of ints, targets padded or one after the other, and all give the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rushlight.dtype import int64
from rushlight.nn.functional.reduction import REDUCTIONS, entered, legacy_reduction
from rushlight.ops.convert import tensor
from rushlight.ops.ctc import CTC_LOSS, PLACE
from rushlight.ops.define import TITLES, ArgumentError, apply
from rushlight.ops.operands import type_of
from rushlight.ops.pointwise_loss import reduced
from rushlight.ops.samples import Sample, T
from rushlight.ops.select import where
from rushlight.tensor import Tensor

__all__ = ["ctc_loss"]


def _lengths(name: str, given: Any, batch: int) -> Tensor:
    """Lengths as a tensor of int64, one for each sequence."""
    if not isinstance(given, Tensor):
        given = tensor(list(given), dtype=int64)
    elif given._array.dtype.kind not in "iu":
        raise RuntimeError(f"{name} must be integral")
    if given._array.size != batch:
        raise RuntimeError(f"{name} must be of size batch_size")
    return given.reshape(-1).to(int64)


def _check_kinds(log_probs: Any, targets: Any, *lengths: Any) -> None:
    """Two tensors, and two more or two sequences of ints."""

    def ints(given: Any) -> bool:
        return isinstance(given, (list, tuple)) and all(type(each) is int for each in given)

    tensors = all(isinstance(each, Tensor) for each in lengths)
    if isinstance(log_probs, Tensor) and isinstance(targets, Tensor) and (tensors or all(map(ints, lengths))):
        return
    kinds = ", ".join(type_of(each) for each in (log_probs, targets, *lengths))
    raise ArgumentError(
        f"ctc_loss() received an invalid combination of arguments - got ({kinds}), but log_probs and targets "
        "must be Tensors, and both lengths Tensors or tuples of ints"
    )


def _samples() -> list[Sample]:
    padded = T(values=[[1, 2, 2], [3, 1, 0]], dtype="int64")
    joined = T(values=[1, 2, 2, 3, 1], dtype="int64")
    lengths = [T(values=[7, 6], dtype="int64"), T(values=[3, 2], dtype="int64")]
    scores = [T((7, 2, 4), kind) for kind in ("float32", "float64")]
    how: list[tuple[list[Any], dict[str, Any]]] = [
        *[([score, padded, *lengths], {"reduction": each}) for score in scores for each in REDUCTIONS],
        ([scores[0], joined, *lengths], {}),
        ([scores[0], padded, (7, 5), (3, 1)], {"reduction": "none"}),
        ([scores[0], padded, (3, 7), (3, 2)], {"reduction": "none", "zero_infinity": True}),
        ([scores[0], padded, (3, 7), (3, 0)], {"zero_infinity": True}),
        ([scores[0], padded, (0, 7), (0, 2)], {"blank": 3, "reduction": "sum"}),
        ([T((7, 4)), T(values=[1, 2], dtype="int64"), (7,), (2,)], {"reduction": "none"}),
    ]
    samples = [Sample(args, each, second=False, why="PyTorch has no second derivative") for args, each in how]
    return [*samples, Sample([scores[0], padded, (8, 7), (3, 2)], raises=True)]


@entered(_samples)
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Minus the log-probability that a sequence of classes is read, whenever each of them is.

    Args:
        log_probs: log-probabilities ``(T, N, C)`` of C classes in T frames, or ``(T, C)`` for one sequence.
        targets: classes, ``(N, S)``, or those of all sequences one after the other.
        input_lengths: how many frames each sequence has.
        target_lengths: how many classes each target has.
        blank: the class that stands for none.
        reduction: "mean" divides each loss by its target's length before averaging.
        zero_infinity: whether the loss of a target that is too long for its input is 0 instead of infinite.

    Raises:
        RuntimeError: lengths that are not in the data, or not one for each sequence; no such `blank`.
        IndexError: a target that is no class.
        NotImplementedError: `log_probs` of float16 or whole numbers.

    >>> import rushlight as torch
    >>> even = torch.full((3, 1, 2), 0.5).log()
    >>> torch.nn.functional.ctc_loss(even, torch.tensor([[1]]), (3,), (1,)).exp()  # 6 of 8 ways
    tensor(1.3333)
    """
    reduction = legacy_reduction(None, None, reduction)
    _check_kinds(log_probs, targets, input_lengths, target_lengths)
    single = log_probs.dim() != 3
    scores = log_probs.unsqueeze(1) if single else log_probs
    if not scores._array.size:
        raise RuntimeError("log_probs tensor must not be empty")
    if scores.dim() != 3:
        raise RuntimeError(
            f"Expected 3-dimensional tensor, but got {scores.dim()}-dimensional tensor for argument #1 "
            f"'log_probs' {PLACE}"
        )
    if not 1 <= targets.dim() <= 2:
        raise RuntimeError(
            f"Expected 1 to 2 dimensions, but got {targets.dim()}-dimensional tensor for argument #2 "
            f"'targets' {PLACE}"
        )
    _, batch, classes = scores._array.shape
    if not 0 <= blank < classes:
        raise RuntimeError("blank must be in label range")
    frames = _lengths("input_lengths", input_lengths, batch)
    counts = _lengths("target_lengths", target_lengths, batch)
    if scores._array.dtype.name not in ("float32", "float64"):
        raise NotImplementedError(f"\"ctc_loss_cpu\" not implemented for '{TITLES[scores.dtype.name]}'")
    params = {"blank": blank, "zero_infinity": bool(zero_infinity)}
    losses = apply(CTC_LOSS, (scores, targets.to(int64), frames, counts), params)
    if zero_infinity:
        losses = where(losses == float("inf"), 0.0, losses)
    if reduction == "mean":
        return (losses / counts.clamp_min(1).to(losses.dtype)).mean()
    if reduction == "none" and single:
        return losses.squeeze(0)
    return reduced(losses, reduction)
