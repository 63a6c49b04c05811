"""Losses that compare each element of a prediction with its target: squares, absolutes and their kin.

Each is a value formula and the formula of its slope. Unreduced it is a map; as a mean or a sum it is one op
when eager, forward and backward each. The functions users call are in `rushlight.nn.functional.loss`.
Invariant: formulas are stable where PyTorch's are, and clamp where PyTorch clamps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight.dtype import F16
from rushlight.ops.create import zeros_like
from rushlight.ops.define import DEFAULT, Op, apply
from rushlight.ops.fused import fused
from rushlight.ops.kinds import elementwise_op, only
from rushlight.ops.numeric import numpy_namespace
from rushlight.ops.reduce import mean, sum
from rushlight.ops.select import where
from rushlight.tensor import Tensor

Bend = Callable[[Tensor, Tensor, Tensor, float], Tensor]


class Slope:
    """The derivative of a loss by one of its two operands.

    Args:
        formula: the derivative, from `k`, the operands and the threshold.
        bends: its own derivatives by "input" and "target", times a gradient, in Tensor ops.
    """

    def __init__(self, name: str, formula: Callable[..., Any], bends: dict[str, Bend]) -> None:
        self.formula = formula
        self.bends = bends
        rules = {
            "input": lambda g, input, target, threshold: bends["input"](g, input, target, threshold),
            "target": lambda g, input, target, threshold: bends["target"](g, input, target, threshold),
        }
        self.map = elementwise_op(f"{name}_slope", formula, rules)
        self.backward_op = Op(
            f"{name}_backward",
            "opaque",
            self._backward,
            ("grad", "input", "target"),
            {
                "grad": lambda g, input, target, reduction, threshold: self._by_grad(
                    g, input, target, reduction, threshold
                ),
                "input": lambda g, grad, input, target, reduction, threshold: bends["input"](
                    g * _scaled(grad, input, target, reduction), input, target, threshold
                ),
                "target": lambda g, grad, input, target, reduction, threshold: bends["target"](
                    g * _scaled(grad, input, target, reduction), input, target, threshold
                ),
            },
        )
        self.run_backward = fused(self.backward_op, self._spelled_out)

    def _backward(
        self, grad: np.ndarray, input: np.ndarray, target: np.ndarray, *, reduction: str, threshold: float
    ) -> np.ndarray:
        if grad.dtype is F16:
            grad, input, target = (each.astype(np.float32) for each in (grad, input, target))
        slope = self.formula(numpy_namespace, input, target, threshold=threshold)
        return slope * (grad / grad.dtype.type(max(slope.size, 1)) if reduction == "mean" else grad)

    def _spelled_out(
        self, grad: Tensor, input: Tensor, target: Tensor, *, reduction: str, threshold: float
    ) -> Tensor:
        slope = apply(self.map, (input, target), {"threshold": threshold})
        return slope * _scaled(grad, input, target, reduction)

    def _by_grad(self, g: Tensor, input: Tensor, target: Tensor, reduction: str, threshold: float) -> Tensor:
        return reduced(g * apply(self.map, (input, target), {"threshold": threshold}), reduction)


def _scaled(grad: Tensor, input: Tensor, target: Tensor, reduction: str) -> Tensor:
    """The gradient of the reduced loss as it reaches each element."""
    return grad / max(input._array.size, target._array.size, 1) if reduction == "mean" else grad


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """The mean, the sum, or the losses themselves."""
    if reduction == "mean":
        return mean(loss)
    return sum(loss) if reduction == "sum" else loss


class PointwiseLoss:
    """A loss of pairs of elements, reduced or not: call it with two tensors of one shape.

    Args:
        name: PyTorch's name.
        value: the loss of one pair, from `k`, the operands and the threshold (which most ignore).
        input_slope: the derivative by the input.
        target_slope: the derivative by the target; left out where it is minus the input's.
        node_names: what `grad_fn` prints for the reductions "none", "mean" and "sum".
        check: refuses operands, and `refused` says which; see `elementwise_op`.
    """

    def __init__(
        self,
        name: str,
        value: Callable[..., Any],
        input_slope: Slope,
        target_slope: Slope | None = None,
        *,
        node_names: tuple[str, str, str],
        check: Callable[..., None] | None = None,
        refused: Callable[..., Any] | None = None,
    ) -> None:
        def by_input(g: Tensor, input: Tensor, target: Tensor, reduction: str, threshold: float) -> Tensor:
            params = {"reduction": reduction, "threshold": threshold}
            return input_slope.run_backward((g, input, target), params)

        def by_target(g: Tensor, input: Tensor, target: Tensor, reduction: str, threshold: float) -> Tensor:
            params = {"reduction": reduction, "threshold": threshold}
            if target_slope is None:
                return -input_slope.run_backward((g, input, target), params)
            return target_slope.run_backward((g, input, target), params)

        def unreduced(k: Any, input: Any, target: Any, *, reduction: str, threshold: float) -> Any:
            return value(k, input, target, threshold=threshold)

        rules = {"input": by_input, "target": by_target}
        self.map = elementwise_op(
            name, unreduced, rules, node_name=node_names[0], check=check, refused=refused
        )
        self.runs = {}
        for reduction, node_name in zip(("mean", "sum"), node_names[1:], strict=True):
            forward = self._reducing(self.map.forward)
            op = Op(name, "opaque", forward, ("input", "target"), rules, promote=DEFAULT, node_name=node_name)
            self.runs[reduction] = fused(op, self._spelled_out)

    @staticmethod
    def _reducing(values: Callable[..., Any]) -> Callable[..., Any]:
        def forward(input: np.ndarray, target: np.ndarray, *, reduction: str, threshold: float) -> Any:
            losses = values(input, target, reduction=reduction, threshold=threshold)
            total = np.add.reduce(losses, None)
            return total / total.dtype.type(losses.size) if reduction == "mean" else total

        return forward

    def _spelled_out(self, input: Tensor, target: Tensor, *, reduction: str, threshold: float) -> Tensor:
        losses = apply(self.map, (input, target), {"reduction": "none", "threshold": threshold})
        return reduced(losses, reduction)

    def __call__(self, input: Tensor, target: Tensor, reduction: str, threshold: float = 0.0) -> Tensor:
        params = {"reduction": reduction, "threshold": threshold}
        if reduction == "none":
            return apply(self.map, (input, target), params)
        return self.runs[reduction]((input, target), params)


def _flat(g: Tensor, input: Tensor, target: Tensor, threshold: float) -> Tensor:
    """The bend of a slope that is constant."""
    return zeros_like(g)


MSE = PointwiseLoss(
    "mse_loss",
    lambda k, input, target, *, threshold: k.power(input - target, 2),
    Slope(
        "mse_loss",
        lambda k, input, target, *, threshold: (input - target) * 2,
        {
            "input": lambda g, input, target, threshold: g * 2,
            "target": lambda g, input, target, threshold: g * -2,
        },
    ),
    node_names=("MseLossBackward0",) * 3,
    check=only("f", "mse_cpu"),
)
L1 = PointwiseLoss(
    "l1_loss",
    lambda k, input, target, *, threshold: k.abs(input - target),
    Slope(
        "l1_loss",
        lambda k, input, target, *, threshold: k.sign(input - target),
        {"input": _flat, "target": _flat},
    ),
    node_names=("AbsBackward0", "MeanBackward0", "SumBackward0"),
)


def _near(g: Tensor, input: Tensor, target: Tensor, threshold: float) -> Tensor:
    """The gradient where the difference is below the threshold, 0 elsewhere."""
    return where((input - target).abs() < threshold, g, 0.0)


def _smooth_l1(k: Any, input: Any, target: Any, *, threshold: float) -> Any:
    away = input - target
    far = k.abs(away)
    return k.where(far < threshold, away * away * (0.5 / threshold), far - 0.5 * threshold)


def _huber(k: Any, input: Any, target: Any, *, threshold: float) -> Any:
    away = input - target
    far = k.abs(away)
    return k.where(far < threshold, away * away * 0.5, (far - 0.5 * threshold) * threshold)


SMOOTH_L1 = PointwiseLoss(
    "smooth_l1_loss",
    _smooth_l1,
    Slope(
        "smooth_l1_loss",
        lambda k, input, target, *, threshold: k.minimum(k.maximum((input - target) / threshold, -1.0), 1.0),
        {
            "input": lambda g, input, target, threshold: _near(g / threshold, input, target, threshold),
            "target": lambda g, input, target, threshold: _near(g / -threshold, input, target, threshold),
        },
    ),
    node_names=("SmoothL1LossBackward0",) * 3,
    check=only("f", "smooth_l1_cpu"),
)
HUBER = PointwiseLoss(
    "huber_loss",
    _huber,
    Slope(
        "huber_loss",
        lambda k, input, target, *, threshold: k.minimum(k.maximum(input - target, -threshold), threshold),
        {
            "input": lambda g, input, target, threshold: _near(g, input, target, threshold),
            "target": lambda g, input, target, threshold: _near(-g, input, target, threshold),
        },
    ),
    node_names=("HuberLossBackward0",) * 3,
    check=only("f", "huber_cpu"),
)


# -- of probabilities and scores -----------------------------------------------------------------------------


def _within_one(input: Any, target: Any) -> None:
    """Refuse probabilities below 0 or above 1."""
    for name, values in (("input", input), ("target", target)):
        if values.size and not (
            np.minimum.reduce(values, None) >= 0 and np.maximum.reduce(values, None) <= 1
        ):
            hint = " For raw scores use binary_cross_entropy_with_logits." if name == "input" else ""
            raise RuntimeError(f"all elements of {name} should be between 0 and 1.{hint}")


def _bce_bend(g: Tensor, input: Tensor, target: Tensor, threshold: float) -> Tensor:
    spread = ((1 - input) * input).clamp(min=1e-12)
    return g * (input * input - input * target * 2 + target) / (spread * spread)


def _bce_cross(g: Tensor, input: Tensor, target: Tensor, threshold: float) -> Tensor:
    return -g / ((1 - input) * input).clamp(min=1e-12)


BCE = PointwiseLoss(
    "binary_cross_entropy",
    lambda k, input, target, *, threshold: (
        (target - 1) * k.maximum(k.log1p(-input), -100.0) - target * k.maximum(k.log(input), -100.0)
    ),
    Slope(
        "binary_cross_entropy",
        lambda k, input, target, *, threshold: (input - target) / k.maximum((1 - input) * input, 1e-12),
        {"input": _bce_bend, "target": _bce_cross},
    ),
    Slope(
        "binary_cross_entropy_target",
        lambda k, input, target, *, threshold: (
            k.maximum(k.log1p(-input), -100.0) - k.maximum(k.log(input), -100.0)
        ),
        {"input": _bce_cross, "target": _flat},
    ),
    node_names=("BinaryCrossEntropyBackward0",) * 3,
    check=_within_one,
    refused=lambda k, input, target: k.logical_not(
        (input >= 0) & (input <= 1) & (target >= 0) & (target <= 1)  # NaN too
    ),
)
BCE_LOGITS = PointwiseLoss(
    "binary_cross_entropy_with_logits",
    lambda k, input, target, *, threshold: (
        (1 - target) * input + k.maximum(-input, 0.0) + k.log1p(k.exp(-k.abs(input)))
    ),
    Slope(
        "binary_cross_entropy_with_logits",
        lambda k, input, target, *, threshold: k.sigmoid(input) - target,
        {
            "input": lambda g, input, target, threshold: g * input.sigmoid() * (1 - input.sigmoid()),
            "target": lambda g, input, target, threshold: -g,
        },
    ),
    Slope(
        "binary_cross_entropy_with_logits_target",
        lambda k, input, target, *, threshold: -input,
        {"input": lambda g, input, target, threshold: -g, "target": _flat},
    ),
    node_names=("BinaryCrossEntropyWithLogitsBackward0",) * 3,
)
SOFT_MARGIN = PointwiseLoss(
    "soft_margin_loss",
    lambda k, input, target, *, threshold: k.log1p(k.exp(-target * input)),
    Slope(
        "soft_margin_loss",
        lambda k, input, target, *, threshold: -target * k.sigmoid(-target * input),
        {
            "input": lambda g, input, target, threshold: (
                g * (target * target * (target * input).sigmoid() * (-target * input).sigmoid())
            ),
            "target": _flat,  # the target may not require a gradient
        },
    ),
    node_names=("SoftMarginLossBackward0",) * 3,
)
