"""Losses that compare scores or distances: margins, cosine similarity, triplets.

Companion of `loss`, which holds the likelihoods and regression losses. Invariant: each is a composition of
ops, so all derivatives follow.
"""

from __future__ import annotations

from collections.abc import Callable

from rushlight.dtype import get_default_dtype, result_type
from rushlight.nn.functional.reduction import REDUCTIONS, entered, legacy_reduction, pair_samples
from rushlight.ops.define import TITLES, labelled
from rushlight.ops.pointwise_loss import SOFT_MARGIN, reduced
from rushlight.ops.reduce import sum as sum_of
from rushlight.ops.samples import Sample, T
from rushlight.ops.smooth import logsigmoid
from rushlight.tensor import Tensor

__all__ = [
    "cosine_embedding_loss",
    "cosine_similarity",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "normalize",
    "pairwise_distance",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]


# -- similarities and distances ------------------------------------------------------------------------------


@entered(
    lambda: [
        Sample([T((3, 4)), T((3, 4))]),
        Sample([T((4,)), T((4,))], {"dim": 0}),
        Sample([T((2, 1, 4)), T((3, 4))], {"dim": -1}),
    ],
    torch_level=True,
)
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between `x1` and `x2` along `dim`; norms are not taken below `eps`.

    >>> import rushlight as torch
    >>> torch.nn.functional.cosine_similarity(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]]))
    tensor([0.7071])
    """
    first = x1 / _floored_norm(x1, dim, eps)
    second = x2 / _floored_norm(x2, dim, eps)
    return (first * second).sum(dim)


def _floored_norm(x: Tensor, dim: int, eps: float) -> Tensor:
    return (x * x).sum(dim, True).sqrt().clamp(min=eps)


@entered(
    lambda: [
        Sample([T((3, 4)), T((3, 4))]),
        Sample([T((3, 4)), T((3, 4))], {"p": 1.0, "keepdim": True}),
        Sample([T((4,)), T((3, 4))]),
    ],
    torch_level=True,
)
def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norm of ``x1 - x2 + eps`` along the last dimension."""
    return labelled((x1 - x2 + eps).norm(p, dim=-1, keepdim=keepdim), "NormBackward1")


@entered(
    lambda: [Sample([T((3, 4))]), Sample([T((3, 4))], {"p": 1.0, "dim": 0}), Sample([T((4,))], {"dim": 0})]
)
def normalize(
    input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    """`input` divided by its p-norm along `dim`, which is not taken below `eps`."""
    result = input / input.norm(p, dim, keepdim=True).clamp(min=eps).expand_as(input)
    if out is None:
        return result
    from rushlight.ops.define import write_out

    return write_out(out, result)


# -- losses over pairs ---------------------------------------------------------------------------------------

_SIGNS = T(values=[1.0, -1.0, 1.0], grad=False)


@entered(lambda: [Sample([T((3,)), T((3,)), _SIGNS], {"margin": 0.3, "reduction": r}) for r in REDUCTIONS])
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``max(0, -target * (input1 - input2) + margin)``: `target` 1 asks that input1 rank higher."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    if input1.dim() != input2.dim() or input1.dim() != target.dim():
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.size()}, input2: {input2.size()}, target: {target.size()} "
        )
    return reduced((-target * (input1 - input2) + margin).clamp_min(0), reduction)


@entered(lambda: [Sample([T((3,)), _SIGNS], {"reduction": r}) for r in REDUCTIONS])
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`input` itself where `target` is 1, ``max(0, margin - input)`` where it is -1."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    far = (margin - input).clamp_min(0).masked_fill(target == 1, 0)
    near = input.masked_fill(target == -1, 0)
    return reduced(far + near, reduction)


@entered(
    lambda: [Sample([T((3, 4)), T((3, 4)), _SIGNS], {"margin": 0.1, "reduction": r}) for r in REDUCTIONS]
)
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``1 - cos`` where `target` is 1, ``max(0, cos - margin)`` where it is -1."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    eps = 1e-12
    product = (input1 * input2).sum(-1)
    lengths = ((input1 * input1).sum(-1) + eps) * ((input2 * input2).sum(-1) + eps)
    cosine = product / lengths.sqrt()
    same = (1 - cosine).masked_fill(target != 1, 0)
    other = (cosine - margin).clamp_min(0).masked_fill(target != -1, 0)
    return reduced(same + other, reduction)


@entered(pair_samples(target_grad=False))
def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``log(1 + exp(-target * input))`` for targets 1 and -1."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    if target.requires_grad:
        raise RuntimeError(
            "The function 'soft_margin_loss' is not differentiable with respect to argument 'target'. This "
            "input cannot have requires_grad True."
        )
    if not input.is_floating_point():
        common = result_type(input, target)
        have = TITLES[(common if common.is_floating_point else get_default_dtype()).name]
        raise RuntimeError(
            f"result type {have} can't be cast to the desired output type {TITLES[input.dtype.name]}"
        )
    if target.is_floating_point() and target.dtype is not input.dtype:
        target = target.to(input.dtype)  # the input's type is that of the result
    return SOFT_MARGIN(input, target, reduction)


# -- losses over classes -------------------------------------------------------------------------------------

_CLASSES = T(values=[1, 0, 3], dtype="int64")


@entered(
    lambda: [
        Sample(
            [T((3, 4)), _CLASSES],
            {"p": p, "reduction": r},
            second=False,
            why="PyTorch has no second derivative",
        )
        for r in REDUCTIONS
        for p in (1, 2)
    ]
)
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The hinge of every wrong class against the right one, averaged over classes."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.dim() != 1:
        raise ValueError("weight must be one-dimensional")
    scores = input.unsqueeze(0) if input.dim() == 1 else input
    classes = target.reshape(-1, 1)
    hinge = (margin - scores.gather(1, classes) + scores).clamp_min(0)
    if p == 2:
        hinge = hinge * hinge
    if weight is not None:
        hinge = hinge * weight[classes.squeeze(1)].unsqueeze(1)
    right = input.new_zeros(scores.shape).scatter(1, classes, 1.0) == 1
    loss = hinge.masked_fill(right, 0).sum(1) / scores.shape[1]
    loss = loss.squeeze(0) if input.dim() == 1 else loss
    return labelled(reduced(loss, reduction), "MultiMarginLossBackward0")


_LABELS = T(values=[[1, 3, -1, 0], [0, -1, 1, 2], [2, 1, 3, 0]], dtype="int64")


@entered(
    lambda: [
        Sample([T((3, 4)), _LABELS], {"reduction": r}, second=False, why="PyTorch has no second derivative")
        for r in REDUCTIONS
    ]
)
def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The hinge between every labelled and every unlabelled class; labels end at the first -1."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    scores = input.unsqueeze(0) if input.dim() == 1 else input
    labels = target.unsqueeze(0) if target.dim() == 1 else target
    counted = (labels < 0).cumsum(1) == 0
    count = scores.shape[1]
    places = labels.masked_fill(counted.logical_not(), 0)
    marked = scores.new_zeros(scores.shape).scatter_add(1, places, counted.to(scores.dtype)) > 0
    hinge = (1 - scores.gather(1, places).unsqueeze(2) + scores.unsqueeze(1)).clamp_min(0)
    ignored = counted.logical_not().unsqueeze(2) | marked.unsqueeze(1)
    loss = sum_of(hinge.masked_fill(ignored, 0), (1, 2)) / count
    loss = loss.squeeze(0) if input.dim() == 1 else loss
    return labelled(reduced(loss, reduction), "MultilabelMarginLossBackward0")


def _multilabel_samples() -> list[Sample]:
    found = [each for each in pair_samples(low=0.0, high=1.0)() if len(each.args[0].shape)]
    pair, weight = [T((3, 4)), T((3, 4), low=0.0, high=1.0)], T((4,), low=0.1, grad=False)
    found += [Sample([*pair, weight], {"reduction": reduction}) for reduction in REDUCTIONS]
    return [*found, Sample([T(()), T(())], raises=True)]


@entered(_multilabel_samples)
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The binary cross entropy of every class's score, averaged over classes.

    >>> import rushlight as torch
    >>> torch.nn.functional.multilabel_soft_margin_loss(torch.zeros(1, 3), torch.tensor([[1.0, 0.0, 1.0]]))
    tensor(0.6931)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    if not loss._array.ndim:
        raise IndexError("Dimension specified as -1 but tensor has no dimensions")
    loss = loss.sum(-1) / input._array.shape[-1]
    if reduction not in REDUCTIONS:
        raise ValueError(f"{reduction} is not valid")
    return reduced(loss, reduction)


# -- triplets ------------------------------------------------------------------------------------------------


@entered(
    lambda: [
        Sample([T((3, 4)), T((3, 4)), T((3, 4))], {"swap": s, "reduction": r})
        for r in REDUCTIONS
        for s in (False, True)
    ]
)
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The anchor shall be nearer to the positive than to the negative, by `margin`."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")

    def distance(one: Tensor, other: Tensor) -> Tensor:
        return pairwise_distance(one, other, p, eps)

    return triplet_margin_with_distance_loss(
        anchor, positive, negative, distance_function=distance, margin=margin, swap=swap, reduction=reduction
    )


@entered(lambda: [Sample([T((3, 4)), T((3, 4)), T((3, 4))], {"margin": 0.5})])
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` with a distance of one's own (the Euclidean one by default)."""
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    distance = distance_function or pairwise_distance
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return reduced((margin + near - far).clamp_min(0), legacy_reduction(None, None, reduction))
