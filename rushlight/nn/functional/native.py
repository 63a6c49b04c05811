"""Layers and losses as PyTorch keeps them beside its tensor functions, such as ``torch.layer_norm``.

They do what their namesakes in ``nn.functional`` do, with the arguments of PyTorch's C++ core: a reduction is
a number (0 for "none", 1 for "mean", 2 for "sum"; 0 if left out, whatever the core's own default says), and
nothing is optional that the core asks for. The switches for cuDNN have no effect: there is none. Invariant:
no loss and no normalisation is computed here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rushlight.nn.functional import ctc, norm, probability, regression
from rushlight.nn.functional import margin as losses
from rushlight.nn.functional.embedding import embedding_bag as bags_of
from rushlight.nn.functional.reduction import REDUCTIONS
from rushlight.ops.kinds import composite
from rushlight.ops.lookup import bucketize
from rushlight.ops.pointwise_loss import reduced
from rushlight.ops.ranges import arange
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor


def entered(samples: Callable[[], list[Sample]]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function into the op table beside its namesake of ``nn.functional``."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        name = f"torch.{function.__name__}"
        return composite(samples=samples, method=False, name=name, torch_name=name)(function)

    return enter


def _word(reduction: int) -> str:
    if reduction not in (0, 1, 2):
        raise ValueError(f"{reduction} is not a valid value for reduction: 0 is none, 1 the mean, 2 the sum")
    return REDUCTIONS[reduction]


# -- normalisation -------------------------------------------------------------------------------------------

_CHANNELS = [T((3,)), T((3,)), T((3,), grad=False), T((3,), low=0.5, grad=False)]


@entered(lambda: [Sample([T((4, 5)), (5,)]), Sample([T((2, 3, 4)), [3, 4], T((3, 4)), T((3, 4)), 0.1])])
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """`nn.functional.layer_norm`.

    >>> import rushlight as torch
    >>> torch.layer_norm(torch.tensor([[1.0, 3.0]]), (2,))
    tensor([[-1.0000,  1.0000]])
    """
    return norm.layer_norm(input, normalized_shape, weight, bias, eps)


@entered(lambda: [Sample([T((3, 4, 5)), 2, T((4,)), T((4,))]), Sample([T((3, 4)), 2], {"eps": 0.1})])
def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    """`nn.functional.group_norm`."""
    return norm.group_norm(input, num_groups, weight, bias, eps)


@entered(
    lambda: [
        Sample([T((5, 3)), *_CHANNELS, False, 0.1, 1e-5, True]),
        Sample([T((5, 3, 2)), *_CHANNELS, True, 0.1, 0.1, True]),
        Sample([T((5, 3)), None, None, None, None, True, 0.1, 1e-5, False]),
    ]
)
def batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """`nn.functional.batch_norm`, with the weight before the statistics."""
    return norm.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


@entered(
    lambda: [
        Sample([T((2, 3, 5)), None, None, None, None, True, 0.1, 1e-5, True]),
        Sample([T(values=[[[0.5, -1.0], [2.0, 1.0], [0.0, 3.0]]]), *_CHANNELS, True, 0.1, 1e-5, True]),
    ]
)
def instance_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """`nn.functional.instance_norm`, with the weight before the statistics."""
    return norm.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


# -- bags of embeddings --------------------------------------------------------------------------------------


def embedding_bag(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`nn.functional.embedding_bag` for mode 0 (sum), 1 (mean) or 2 (max), and what its core keeps beside it.

    Returns:
        The bags; the number of each index's bag and the length of each bag (both empty or zero for sums); and
        for "max" the row that each element came from, else the lengths again.

    >>> import rushlight as torch
    >>> torch.embedding_bag(torch.eye(3), torch.tensor([2, 0, 1]), torch.tensor([0, 2]))[0]
    tensor([[1., 0., 1.],
            [0., 1., 0.]])
    """
    if mode not in (0, 1, 2):
        raise ValueError(f"mode has to be 0 (sum), 1 (mean) or 2 (max), not {mode}")
    bags = bags_of(
        indices,
        weight,
        offsets,
        scale_grad_by_freq=scale_grad_by_freq,
        mode=("sum", "mean", "max")[mode],
        sparse=sparse,
        per_sample_weights=per_sample_weights,
        include_last_offset=include_last_offset,
        padding_idx=padding_idx,
    )
    starts = offsets[:-1] if include_last_offset else offsets
    lengths = starts.new_zeros(starts.shape)
    if mode == 0:
        return bags, indices.new_empty(0), lengths, lengths.clone()
    number = bucketize(arange(indices.shape[0]), starts, right=True) - 1
    padding = -1 if padding_idx is None else padding_idx % weight.shape[0]
    counted = (indices != padding).to(lengths.dtype)
    lengths = lengths.index_add(0, number, counted)
    if mode == 1:
        return bags, number, lengths, lengths.clone()
    # the last index whose row holds the largest element of its bag: scanned backwards, the first stays
    rows = weight.detach()[indices] == bags.detach()[number]
    rows = rows & counted.bool().unsqueeze(1)
    chosen = lengths.new_zeros(bags.shape)
    for place in range(indices.shape[0] - 1, -1, -1):
        bag = int(number[place])
        chosen[bag] = indices[place].where(rows[place], chosen[bag])
    return bags, number, lengths, chosen


# -- losses --------------------------------------------------------------------------------------------------

_SIGNS = T(values=[1.0, -1.0, 1.0], grad=False)
_PAIR = [T((3, 4)), T((3, 4))]


@entered(lambda: [Sample([T((3,)), T((3,)), _SIGNS, 0.3, reduction]) for reduction in (0, 1, 2)])
def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 0
) -> Tensor:
    """`nn.functional.margin_ranking_loss`."""
    return losses.margin_ranking_loss(input1, input2, target, margin, reduction=_word(reduction))


@entered(lambda: [Sample([*_PAIR, _SIGNS, 0.1, reduction]) for reduction in (0, 1, 2)])
def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 0
) -> Tensor:
    """`nn.functional.cosine_embedding_loss`."""
    return losses.cosine_embedding_loss(input1, input2, target, margin, reduction=_word(reduction))


@entered(lambda: [Sample([T((3,)), _SIGNS, 0.5, reduction]) for reduction in (0, 1, 2)])
def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, reduction: int = 0) -> Tensor:
    """`nn.functional.hinge_embedding_loss`."""
    return losses.hinge_embedding_loss(input, target, margin, reduction=_word(reduction))


@entered(lambda: [Sample([*_PAIR, T((3, 4)), 0.5, 2.0, 1e-6, True, reduction]) for reduction in (0, 1, 2)])
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: int = 0,
) -> Tensor:
    """`nn.functional.triplet_margin_loss`."""
    return losses.triplet_margin_loss(
        anchor, positive, negative, margin, p, eps, swap, reduction=_word(reduction)
    )


@entered(
    lambda: [
        *[Sample([T((3, 4)), T((3, 4), low=0.1), reduction]) for reduction in (0, 1, 2)],
        Sample(_PAIR, {"log_target": True}),
    ]
)
def kl_div(input: Tensor, target: Tensor, reduction: int = 0, *, log_target: bool = False) -> Tensor:
    """`nn.functional.kl_div`; the mean is that over all elements.

    >>> import rushlight as torch
    >>> torch.kl_div(torch.tensor([0.5]).log(), torch.tensor([1.0]))
    tensor([0.6931])
    """
    loss = probability.kl_div(input, target, reduction="none", log_target=log_target)
    return reduced(loss, _word(reduction))


@entered(lambda: [Sample([T((3, 4)), T((3, 4), low=0.0, high=5.0), True, True, 1e-8, n]) for n in (0, 1, 2)])
def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool, full: bool, eps: float, reduction: int
) -> Tensor:
    """`nn.functional.poisson_nll_loss`."""
    return regression.poisson_nll_loss(input, target, log_input, full, eps=eps, reduction=_word(reduction))


@entered(
    lambda: [
        *[Sample([*_PAIR, None, None, reduction]) for reduction in (0, 1, 2)],
        Sample([*_PAIR, T((4,), low=0.1, grad=False), T((4,), low=0.1, grad=False)]),
    ]
)
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: int = 0,
) -> Tensor:
    """`nn.functional.binary_cross_entropy_with_logits`."""
    return probability.binary_cross_entropy_with_logits(
        input, target, weight, reduction=_word(reduction), pos_weight=pos_weight
    )


@entered(
    lambda: [
        Sample(
            [T((7, 2, 4)), T(values=[[1, 2], [3, 0]], dtype="int64"), (7, 6), (2, 1), 0, reduction],
            second=False,
            why="PyTorch has no second derivative",
        )
        for reduction in (0, 1, 2)
    ]
)
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: int = 0,
    zero_infinity: bool = False,
) -> Tensor:
    """`nn.functional.ctc_loss`."""
    return ctc.ctc_loss(
        log_probs, targets, input_lengths, target_lengths, blank, _word(reduction), zero_infinity
    )
