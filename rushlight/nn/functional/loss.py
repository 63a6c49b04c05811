"""Losses of classes: the negative log-likelihood and the cross entropy.

Regression losses are in `regression`, those of probabilities in `probability`, margins in `margin`.
Invariant: shapes and classes that do not fit raise PyTorch's sentence, plus the shapes.
"""

from __future__ import annotations

from rushlight.dtype import I64
from rushlight.nn.functional.reduction import REDUCTIONS, entered, legacy_reduction
from rushlight.ops import loss as ops
from rushlight.ops.arguments import require_tensor
from rushlight.ops.define import TITLES, labelled
from rushlight.ops.kinds import only
from rushlight.ops.samples import Sample, T
from rushlight.ops.softmax import log_softmax
from rushlight.tensor import Tensor

__all__ = ["cross_entropy", "nll_loss"]


def _check_classes(target: Tensor) -> None:
    kind = target._array.dtype
    if kind.kind not in "iu" or kind.itemsize not in (1, 8) or kind.name == "int8":
        raise RuntimeError(
            f"expected target dtype to be Long or Byte, but got {TITLES[target.dtype.name]}. Class numbers "
            "are integers: use target.long()."
        )


def _check_target(input: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Input and target with a batch dimension, after PyTorch's checks."""
    scores, classes = input._array.shape, target._array.shape
    if not scores:
        raise ValueError(f"Expected 1 or more dimensions (got {len(scores)})")
    if len(scores) > 1 and (not classes or scores[0] != classes[0]):
        size = classes[0] if classes else 1
        raise ValueError(f"Expected input batch_size ({scores[0]}) to match target batch_size ({size}).")
    if len(scores) < 3 and len(classes) > 1:
        wanted = f"; class numbers need the shape [{scores[0]}]" if len(scores) == 2 else ""
        raise RuntimeError(
            "0D or 1D target tensor expected, multi-target not supported. The target has shape "
            f"{list(classes)}{wanted}."
        )
    if len(scores) > 2 and classes != (scores[0], *scores[2:]):
        _refuse_spatial(scores, classes)
    if target._array.dtype is not I64:
        _check_classes(target)
    if len(scores) == 1:
        if target._array.size != 1:
            raise ValueError(
                f"For 1D input, 1D target must have size 1, but got target size: {target._array.size}"
            )
        input, target = input.unsqueeze(0), target.reshape(1)
    count = input._array.shape[1]
    if weight is not None and weight._array.shape != (count,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {count} classes or no classes but got weight "
            f"tensor of shape: {list(weight._array.shape)}"
        )
    if weight is not None and weight._array.dtype != input._array.dtype:
        want, have = TITLES[input.dtype.name], TITLES[weight.dtype.name]
        raise RuntimeError(f"expected scalar type {want} but found {have}")
    return input, target if target._array.dtype is I64 else target.long()


def _refuse_spatial(scores: tuple[int, ...], classes: tuple[int, ...]) -> None:
    wanted = [scores[0], *scores[2:]]
    if len(scores) != 4:
        raise RuntimeError(f"Expected target size {wanted}, got {list(classes)}")
    if len(classes) != 3:
        raise RuntimeError(
            "only batches of spatial targets supported (3D tensors) but got targets of dimension: "
            f"{len(classes)}"
        )
    raise RuntimeError(
        f"size mismatch (got input: {list(scores)} , target: {list(classes)}. The target should be {wanted}."
    )


_SCORES, _CLASSES = T((4, 5)), T(values=[1, 0, 4, 2], dtype="int64")
_WEIGHT = T(values=[0.5, 1.0, 2.0, 0.0, 1.5], grad=False)


def _class_samples() -> list[Sample]:
    """Samples of both losses: reductions, weights, ignored classes, shapes, and what is refused."""
    spatial, line = (
        [T((2, 3, 2, 4)), T((2, 2, 4), "int64", low=0, high=3)],
        [T((5,)), T(values=3, dtype="int64")],
    )
    found = []
    for reduction in REDUCTIONS:
        how = {"reduction": reduction}
        found += [
            Sample([_SCORES, _CLASSES], how),
            Sample([_SCORES, _CLASSES, _WEIGHT], how),
            Sample([_SCORES, _CLASSES], {"ignore_index": 4, **how}),
            Sample([_SCORES, _CLASSES, _WEIGHT], {"ignore_index": 1, **how}),
            Sample([T((2, 3, 4)), T((2, 4), "int64", low=0, high=3)], how),
            Sample(spatial, how),
            Sample([*spatial, T((3,), low=0.1, grad=False)], {"ignore_index": 0, **how}),
            Sample(line, how),
            Sample([T((5,)), T(values=[3], dtype="int64")], how),
            Sample([T((0, 5)), T((0,), "int64")], how),
        ]
    found += [
        Sample([_SCORES, T(values=[1, -100, 4, -100], dtype="int64")]),
        Sample([_SCORES, T(values=[-100] * 4, dtype="int64")]),
        Sample([_SCORES, T(values=[1, 0, 4, 2], dtype="uint8")]),
        Sample([T((4, 5), "float64"), _CLASSES]),
        Sample([T((4, 5), "float16"), _CLASSES]),
        Sample([T((4, 5), layout="transposed"), _CLASSES]),
        Sample([_SCORES, _CLASSES], {"size_average": False}),
        Sample([_SCORES, _CLASSES], {"reduce": False}),
    ]
    wrong = [
        [_SCORES, T(values=[1, 5, 0, 0], dtype="int64")],
        [_SCORES, T(values=[1, -1, 0, 0], dtype="int64")],
        [_SCORES, T((3,), "int64", low=0, high=5)],
        [_SCORES, T((4,), grad=False)],
        [_SCORES, T((4,), "int32", low=0, high=5)],
        [_SCORES, T((4,), "int8", low=0, high=5)],
        [_SCORES, T((4, 1), "int64", low=0, high=5)],
        [_SCORES, _CLASSES, T((4,), grad=False)],
        [_SCORES, _CLASSES, T((5,), "float64", grad=False)],
        [T((2, 3, 4)), T((2, 3), "int64", low=0, high=3)],
        [T((2, 3, 4, 5)), T((2, 4, 4), "int64", low=0, high=3)],
        [T((5,)), T((2,), "int64", low=0, high=3)],
    ]
    found += [Sample(each, raises=True) for each in wrong]
    return [*found, Sample([_SCORES, _CLASSES], {"reduction": "all"}, raises=True)]


def _cross_entropy_samples() -> list[Sample]:
    found = _class_samples()
    soft = T((4, 5), low=0.0, high=1.0)
    for reduction in REDUCTIONS:
        how = {"reduction": reduction}
        found += [
            Sample([_SCORES, _CLASSES], {"label_smoothing": 0.2, **how}),
            Sample([_SCORES, _CLASSES, _WEIGHT], {"label_smoothing": 0.1, **how}),
            Sample([_SCORES, _CLASSES, _WEIGHT], {"label_smoothing": 0.1, "ignore_index": 0, **how}),
            Sample([_SCORES, soft], how),
            Sample([_SCORES, soft, _WEIGHT], {"label_smoothing": 0.1, **how}),
            Sample([T((2, 3, 4)), T((2, 3, 4), low=0.0, high=1.0), T((3,), low=0.1, grad=False)], how),
            Sample([T((5,)), T((5,), low=0.0, high=1.0)], how),
        ]
    found += [Sample([T(values=[[1000.0, 0.0], [0.0, -1000.0]]), T(values=[1, 1], dtype="int64")])]
    found += [Sample([_SCORES, soft], {"ignore_index": 1}, raises=True)]
    return [*found, Sample([_SCORES, _CLASSES], {"label_smoothing": 2.0}, raises=True)]


@entered(_class_samples)
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

    >>> import rushlight as torch
    >>> torch.nn.functional.nll_loss(torch.tensor([[-0.5, -1.0]]), torch.tensor([1]))
    tensor(1.)
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    require_tensor("nll_loss", "input", 1, input)
    require_tensor("nll_loss", "target", 2, target)
    batched, classes = _check_target(input, target, weight)
    flat = batched._array.ndim == 2
    only("f", "nll_loss_out_frame" if flat else "nll_loss2d_forward_out_frame")(batched._array)
    return _as_given(ops.nll(batched, classes, weight, reduction, ignore_index), input, reduction)


@entered(_cross_entropy_samples)
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
    if input.__class__ is not Tensor or target.__class__ is not Tensor:
        require_tensor("cross_entropy_loss", "input", 1, input)
        require_tensor("cross_entropy_loss", "target", 2, target)
    if target._array.shape == input._array.shape:
        return _soft_cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)
    batched, classes = _check_target(input, target, weight)
    if (
        weight is None
        and label_smoothing == 0
        and batched._array.ndim == 2
        and batched._array.dtype.kind == "f"
    ):
        loss = ops.cross_entropy_of_scores(batched, classes, reduction, ignore_index)
    else:
        logs = log_softmax(batched, 1)
        loss = ops.nll(logs, classes, weight, reduction, ignore_index)
        if label_smoothing > 0:
            loss = _smoothed(loss, logs, classes, weight, ignore_index, reduction, label_smoothing)
    return _as_given(loss, input, reduction)


def _as_given(loss: Tensor, input: Tensor, reduction: str) -> Tensor:
    """Unreduced losses in the shape of the target; for scores of one sample without a batch a 0-d tensor."""
    if reduction == "none" and input._array.ndim == 1:
        return labelled(loss.squeeze(0), "NllLossBackward0")
    if reduction == "none" and input._array.ndim == 3:
        return labelled(loss, "ViewBackward0")
    return loss


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
    if target._array.dtype.kind != "f":
        raise RuntimeError(
            "Expected floating point type for target with class probabilities, got "
            f"{TITLES[target.dtype.name]}"
        )
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
