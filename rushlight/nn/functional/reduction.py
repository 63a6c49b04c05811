"""What all losses share: how they are reduced, PyTorch's old flags for that, and entering them into the op
table.

Invariant: a reduction is one of "none", "mean" and "sum", checked before anything is computed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from rushlight.ops.kinds import composite
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor

REDUCTIONS = ("none", "mean", "sum")


def legacy_reduction(
    size_average: bool | None, reduce: bool | None, reduction: str, stacklevel: int = 3
) -> str:
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
        stacklevel=stacklevel,
    )
    return name


def entered(
    samples: Callable[[], list[Sample]], *, torch_level: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function of ``nn.functional`` into the op table; `torch_level` where it is ``torch.<name>``,
    too.
    """

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__
        torch_name = name if torch_level else f"nn.functional.{name}"
        return composite(samples=samples, method=False, torch_name=torch_name)(function)

    return enter


def pair_samples(
    *, low: float | None = None, high: float | None = None, target_grad: bool = True, **kwargs: Any
) -> Callable[[], list[Sample]]:
    """Samples of a loss of two tensors of one shape: each reduction, types, layouts, and the keywords
    given.
    """

    def of(shape: tuple[int, ...], kind: str = "float32", layout: str = "contiguous") -> list[T]:
        return [T(shape, kind, low=low, high=high, layout=layout, grad=grad) for grad in (True, target_grad)]

    def samples() -> list[Sample]:
        found = [Sample(of((3, 4)), {"reduction": reduction, **kwargs}) for reduction in REDUCTIONS]
        found += [Sample(of((5,), kind), kwargs) for kind in ("float64", "float16")]
        found += [Sample(of((3, 4), layout="transposed"), kwargs), Sample(of(()), kwargs)]
        for reduction in REDUCTIONS:
            how = {"reduction": reduction, **kwargs}
            found.append(Sample(of((0, 3)), how, second=False, why="PyTorch divides by no elements"))
        found.append(Sample(of((3,)), {"reduction": "all", **kwargs}, raises=True))
        return [*found, *[Sample(of((3,)), {flag: False, **kwargs}) for flag in ("size_average", "reduce")]]

    return samples


def weighted_loss(loss: Tensor, weight: Tensor, input: Tensor, reduction: str, by_weight: bool) -> Tensor:
    """A pointwise loss with a weight per element; the mean is divided by the weights' sum where
    `by_weight`.
    """
    if weight._array.shape != input._array.shape:
        raise ValueError(
            f"Weights and input must have the same size. Got {list(weight.shape)} and {list(input.shape)}."
        )
    weighed = loss * weight
    if reduction == "none":
        return weighed
    if reduction == "mean":
        return weighed.sum() / weight.sum() if by_weight else weighed.mean()
    return weighed.sum()


def warn_sizes(input: Tensor, target: Tensor) -> None:
    """Warn, as PyTorch does, where prediction and target will be broadcast."""
    if input._array.shape != target._array.shape:
        warnings.warn(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}). "
            "This will likely lead to incorrect results due to broadcasting. Please ensure they have the "
            "same "
            "size.",
            stacklevel=3,
        )
