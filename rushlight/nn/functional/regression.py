"""Losses of predicted numbers: squared and absolute errors, their mixtures, and two likelihoods.

The formulas are in `rushlight.ops.pointwise_loss`. Invariant: input and target are broadcast, with PyTorch's
warning where their shapes differ.
"""

from __future__ import annotations

import math
from typing import Any

from rushlight.nn.functional.reduction import (
    REDUCTIONS,
    entered,
    legacy_reduction,
    pair_samples,
    warn_sizes,
    weighted_loss,
)
from rushlight.ops.arguments import require_tensor
from rushlight.ops.broadcast import broadcast_tensors
from rushlight.ops.pointwise_loss import HUBER, L1, MSE, SMOOTH_L1, reduced
from rushlight.ops.require import require
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor

__all__ = ["gaussian_nll_loss", "huber_loss", "l1_loss", "mse_loss", "poisson_nll_loss", "smooth_l1_loss"]


def _paired(name: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Input and target, broadcast to one shape with a warning where they differ."""
    if input.__class__ is not Tensor or target.__class__ is not Tensor:
        require_tensor(name, "input", 1, input)
        require_tensor(name, "target", 2, target)
    if input._array.shape != target._array.shape:
        warn_sizes(input, target)
        input, target = broadcast_tensors(input, target)
    return input, target


def _samples(**kwargs: Any) -> Any:
    def samples() -> list[Sample]:
        pair, weight = [T((3, 4)), T((3, 4))], T((3, 4), low=0.1, high=2.0, grad=False)
        found = pair_samples(**kwargs)()
        found += [Sample(pair, {"weight": weight, "reduction": r, **kwargs}) for r in REDUCTIONS]
        found += [Sample([T((3, 1)), T((4,))], kwargs), Sample([T((3,)), T((4,))], kwargs, raises=True)]
        found += [Sample([T((3,)), T((3,), "float64")], kwargs), Sample([T((3,)), T((3,), "int64")], kwargs)]
        found.append(Sample([T((3,)), T((3,))], {"weight": T((2,), grad=False), **kwargs}, raises=True))
        return [*found, Sample([T((3,), "int64"), T((3,), "int64")], kwargs, raises=True)]

    return samples


@entered(_samples())
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The squared difference.

    Args:
        input: predictions.
        target: what they should be, of the same shape.
        reduction: "mean", "sum" or "none".
        weight: a weight per element; the mean is then divided by their sum.

    >>> import rushlight as torch
    >>> torch.nn.functional.mse_loss(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
    tensor(2.)
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    given = input
    input, target = _paired("mse_loss", input, target)
    if weight is None:
        return MSE(input, target, reduction)
    return weighted_loss((input - target) ** 2, weight, given, reduction, by_weight=True)


@entered(
    lambda: [
        *_samples()(),
        Sample([T((3,), "int64"), T((3,), "int64")], {"reduction": "sum"}),
    ]
)
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The absolute difference; `weight` as in `mse_loss`.

    >>> import rushlight as torch
    >>> torch.nn.functional.l1_loss(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
    tensor(1.)
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    given = input
    input, target = _paired("l1_loss", input, target)
    if weight is not None:
        return weighted_loss((input - target).abs(), weight, given, reduction, by_weight=True)
    if input._array.dtype.kind != "f" and target._array.dtype.kind != "f":
        return reduced((input - target).abs(), reduction)
    return L1(input, target, reduction)


@entered(
    lambda: [
        *pair_samples(beta=0.7)(),
        Sample([T((3, 4)), T((3, 4))], {"beta": 0.0}),
        Sample([T((3, 1)), T((4,))]),
        Sample([T((3,)), T((3,))], {"beta": -1.0}, raises=True),
    ]
)
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Half the squared difference divided by `beta` where the difference is below `beta`, linear above.

    >>> import rushlight as torch
    >>> away = torch.tensor([0.5, 2.0])
    >>> torch.nn.functional.smooth_l1_loss(away, torch.zeros(2), reduction="none")
    tensor([0.1250, 1.5000])
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    input, target = _paired("smooth_l1_loss", input, target)
    if beta == 0:
        return L1(input, target, reduction)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    return SMOOTH_L1(input, target, reduction, float(beta))


@entered(
    lambda: [
        *[s for s in _samples(delta=0.7)() if not {"size_average", "reduce"} & set(s.kwargs)],
        Sample([T((3,)), T((3,))], {"delta": 0.0}, raises=True),
    ]
)
def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Half the squared difference where it is below `delta`, ``delta`` times as steep as a line above.

    `weight` weighs each element; the mean is still over all elements.

    >>> import rushlight as torch
    >>> torch.nn.functional.huber_loss(torch.tensor([1.0, 3.0]), torch.tensor([0.5, 1.0]), reduction="none")
    tensor([0.1250, 1.5000])
    """
    legacy_reduction(None, None, reduction)
    given = input
    input, target = _paired("huber_loss", input, target)
    if target._array.dtype is not input._array.dtype:
        target = target.to(input.dtype)  # PyTorch keeps the input's type here
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    if weight is None:
        return HUBER(input, target, reduction, float(delta))
    return weighted_loss(
        HUBER(input, target, "none", float(delta)), weight, given, reduction, by_weight=False
    )


@entered(
    lambda: [
        *pair_samples(low=0.1, high=3.0)(),
        *[Sample([T((3, 4)), T((3, 4), low=0.0, high=4.0)], {"full": full}) for full in (False, True)],
        Sample([T((3, 4), low=0.2), T((3, 4), low=0.0, high=4.0)], {"log_input": False, "eps": 1e-3}),
    ]
)
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
    """The negative log-likelihood of counts under a Poisson law.

    Args:
        input: the logarithm of the expected count, or the count itself if not `log_input`.
        target: the counts.
        full: add Stirling's approximation of ``log(target!)`` where the target is above 1.
        eps: keeps the logarithm of an `input` of 0 finite.

    >>> import rushlight as torch
    >>> torch.nn.functional.poisson_nll_loss(torch.tensor([0.0]), torch.tensor([2.0]))
    tensor(1.)
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        loss = loss + stirling.masked_fill(target <= 1, 0)
    return reduced(loss, reduction)


def _gaussian_samples() -> list[Sample]:
    pair, variance = [T((3, 4)), T((3, 4))], T((3, 4), low=0.2, high=2.0)
    found = [Sample([*pair, variance], {"reduction": reduction}) for reduction in REDUCTIONS]
    return [
        *found,
        Sample([*pair, T((3, 1), low=0.2, high=2.0)], {"full": True}),
        Sample([*pair, T((3,), low=0.2, high=2.0)]),
        Sample([*pair, 0.5]),
        Sample([*pair, variance], {"eps": 1.0}),
        Sample([*pair, T((4,), low=0.2)], raises=True),
        Sample([*pair, -0.5], raises=True),
        Sample([*pair, variance], {"reduction": "all"}, raises=True),
    ]


@entered(_gaussian_samples)
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """The negative log-likelihood of `target` under a normal law of mean `input` and variance `var`.

    Args:
        input: the expected values.
        target: what was seen.
        var: the variance: one for all, one per element, or one per row (last dimension 1 or missing).
        full: add the constant ``log(2 pi) / 2``.
        eps: variances below it count as `eps`, without changing their gradient.

    >>> import rushlight as torch
    >>> torch.nn.functional.gaussian_nll_loss(torch.zeros(2), torch.ones(2), torch.ones(2))
    tensor(0.5000)
    """
    variance = var if isinstance(var, Tensor) else input.new_full(input._array.shape, var)
    require((variance < 0).logical_not(), lambda: ValueError("var has negative entry/entries"))
    shape, wanted = variance._array.shape, input._array.shape
    if shape != wanted:
        if wanted[:-1] == shape:
            variance = variance.unsqueeze(-1)
        elif wanted[:-1] != shape[:-1] or shape[-1] != 1:
            raise ValueError(f"var is of incorrect size: {list(shape)} for an input of {list(wanted)}")
    if reduction not in REDUCTIONS:
        raise ValueError(f"{reduction} is not valid")
    # the floor under the variance is not differentiated
    floor = variance.detach().clamp(min=eps)
    variance = variance + (floor - variance.detach())
    loss = 0.5 * (variance.log() + (input - target).square() / variance)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduced(loss, reduction)
