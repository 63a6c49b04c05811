"""Functions of two tensors beyond arithmetic: log-sums, angles, lengths, and numbers taken apart and put
together.

Invariant: each is one formula; where an operand may be a number, PyTorch's own node name for that case
is kept.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rushlight.ops.arguments import require_tensor
from rushlight.ops.create import zeros_like
from rushlight.ops.define import INT_TO_FLOAT, NO_OPMATH, Op, apply
from rushlight.ops.functions import exp, exp2, reciprocal
from rushlight.ops.kinds import alias, elementwise, elementwise_op, only, public, renamed
from rushlight.ops.samples import Sample, T, binary
from rushlight.ops.select import where
from rushlight.tensor import Tensor

INF, NAN = float("inf"), float("nan")


def _floats_only(**limits: Any) -> list[Sample]:
    """Samples of a function of two floating tensors."""
    found = [each for each in binary(numbers=(), **limits) if each.args[0].dtype.startswith("float")]
    return [
        *found,
        Sample([T((3,), "int64"), T((3,), "int64")], raises=True),
        Sample([T((3,)), 2], raises=True),
    ]


def _over_squares(input: Tensor, other: Tensor) -> Tensor:
    """The reciprocal of the sum of two squares; 0 where both are 0."""
    total = input * input + other * other
    return where(total == 0, 0.0, reciprocal(total))


logaddexp = elementwise(
    "logaddexp",
    lambda k, input, other: k.logaddexp(input, other),
    dict(
        input=lambda g, input, other: g / (exp(other - input) + 1),
        other=lambda g, input, other: g / (exp(input - other) + 1),
    ),
    check=only("f", "logaddexp_cpu"),
    inplace=False,
    samples=lambda: [
        *_floats_only(),
        Sample([T(values=[1000.0, -1000.0, INF, -INF]), T(values=[1000.5, -999.0, 1.0, -INF])], grads=False),
    ],
    doc="``log(exp(input) + exp(other))`` without overflow.",
    example=("torch.logaddexp(torch.tensor([1000.0]), torch.tensor([1000.0]))", "tensor([1000.6932])"),
)
logaddexp2 = elementwise(
    "logaddexp2",
    lambda k, input, other: k.logaddexp2(input, other),
    dict(
        input=lambda g, input, other: g / (exp2(other - input) + 1),
        other=lambda g, input, other: g / (exp2(input - other) + 1),
    ),
    check=only("f", "logaddexp2_cpu"),
    inplace=False,
    samples=_floats_only,
    doc="``log2(2**input + 2**other)`` without overflow.",
    example=("torch.logaddexp2(torch.tensor([2000.0]), torch.tensor([2000.0]))", "tensor([2001.])"),
)
atan2 = elementwise(
    "atan2",
    lambda k, input, other: k.atan2(input, other),
    dict(
        input=lambda g, input, other: g * other * _over_squares(input, other),
        other=lambda g, input, other: g * -input * _over_squares(input, other),
    ),
    promote=INT_TO_FLOAT,
    samples=lambda: [*binary(numbers=()), Sample([T((3,)), 2], raises=True)],
    doc="The angle of the point (other, input), in radians between -pi and pi.",
    example=(
        "torch.atan2(torch.tensor([1.0, -1.0]), torch.tensor([-1.0, 1.0]))",
        "tensor([ 2.3562, -0.7854])",
    ),
)
arctan2 = alias("arctan2", atan2)
hypot = elementwise(
    "hypot",
    lambda k, input, other: k.hypot(input, other),
    dict(input=lambda g, input, out: g * (input / out), other=lambda g, other, out: g * (other / out)),
    check=only("f", "hypot_cpu"),
    samples=_floats_only,
    doc="The length of the vector (input, other), without overflow.",
    example=("torch.hypot(torch.tensor([3.0, 5.0]), torch.tensor([4.0, 12.0]))", "tensor([ 5., 13.])"),
)
nextafter = elementwise(
    "nextafter",
    lambda k, input, other: k.nextafter(input, other),
    dict(
        input=lambda g, input, other: where(input == other, 0.0, g),
        other=lambda g: zeros_like(g),
    ),
    promote=NO_OPMATH,
    check=only("f", "nextafter_cpu"),
    samples=_floats_only,
    doc="The next number of the type after `input`, towards `other`.",
    example=("torch.nextafter(torch.tensor(0.0), torch.tensor(1.0)).item()", "1.401298464324817e-45"),
)
ldexp = elementwise(
    "ldexp",
    lambda k, input, other: input * k.exp2(other),
    dict(
        input=lambda g, other: g * exp2(other),
        other=lambda g, input, other: g * (input * exp2(other) * math.log(2)),
    ),
    promote=INT_TO_FLOAT,
    samples=lambda: [
        # PyTorch takes the power in the type of `other`: wrong for negative integers, coarse beside float64
        *[each for each in binary(low=0.0, numbers=()) if each.args[0].dtype != "float64"],
        Sample([T((3,)), 2], raises=True),
    ],
    doc="``input * 2**other``.",
    example=("torch.ldexp(torch.tensor([1.5]), torch.tensor([3]))", "tensor([12.])"),
)


# -- x log y ---------------------------------------------------------------------------------------------

XLOGY = elementwise_op(
    "xlogy",
    lambda k, input, other: k.where((input == 0) & (other == other), 0.0, input * k.log(other)),
    dict(
        input=lambda g, input, other: where((input == 0) & (other <= 0), 0.0, xlogy(g, other)),
        other=lambda g, input, other: g * input / other,
    ),
    promote=INT_TO_FLOAT,
)
XLOGY_OF_NUMBER = renamed(XLOGY, "XlogyBackward1", ("input",))
XLOGY_NUMBER = elementwise_op(
    "xlogy",
    lambda k, input, *, factor, at_zero: k.where(input == 0, at_zero, input * factor),
    dict(input=lambda g, input, factor: _log_share(g, input, factor)),
    promote=INT_TO_FLOAT,
    node_name="XlogyBackward2",
)


def _log_share(g: Tensor, input: Tensor, factor: float) -> Tensor:
    """The gradient for `input` where the logarithm is a number; PyTorch asks the gradient itself about zeros
    where that is positive, and `input` where it is negative or there is none.
    """
    if math.isfinite(factor):
        return g * factor
    return where((g if factor > 0 else input) == 0, 0.0, g * factor)


def times_log(op: Op, input: Tensor, log: Any, other: Any, out: Any) -> Any:
    """``input * log(other)`` for a number, and 0 where `input` is 0 (also if the number has none)."""
    with np.errstate(all="ignore"):
        factor = float(log(other))
    return apply(op, (input,), {"factor": factor, "at_zero": 0.0 if other == other else math.nan}, out=out)


@public(
    XLOGY,
    inplace=True,
    samples=lambda: [
        *binary(low=0.1, numbers=(2, 0.5)),
        Sample([T(values=[0.0, 0.0, 0.0, 2.0]), T(values=[0.0, NAN, -1.0, 0.0])], grads=False),
        Sample([T(values=[0.0, 0.0, 2.0]), T(values=[0.0, -1.0, 3.0])], second=False, why="log of 0"),
        Sample([0, T(values=[0.0, NAN, 2.0])], grads=False),
        Sample([1.5, T((3,), low=0.1)]),
        Sample([T((3,)), 0]),
        *[Sample([T(values=[0.0, 2.0, -1.0]), n], second=False, why="NaN") for n in (-2, NAN, math.inf)],
        Sample([T((2,), "int64", values=[0, 2]), -1.5]),
    ],
)
def xlogy(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input * log(other)``, and 0 where `input` is 0 (unless `other` is NaN).

    >>> import rushlight as torch
    >>> torch.xlogy(torch.tensor([0.0, 2.0]), torch.tensor([0.0, 1.0]))
    tensor([0., 0.])
    """
    if not isinstance(other, Tensor):
        require_tensor("xlogy", "input", 1, input)
        return times_log(XLOGY_NUMBER, input, np.log, other, out)
    return apply(XLOGY if isinstance(input, Tensor) else XLOGY_OF_NUMBER, (input, other), out=out)


# -- signs -----------------------------------------------------------------------------------------------

COPYSIGN = elementwise_op(
    "copysign",
    lambda k, input, other: k.copysign(input, other),
    dict(
        input=lambda g, input, out: where(input == 0, 0.0, g * (out / input)),
        other=lambda g: zeros_like(g),
    ),
    promote=INT_TO_FLOAT,
)
COPYSIGN_NUMBER = renamed(COPYSIGN, "CopysignBackward1", ("other",))


@public(
    COPYSIGN,
    inplace=True,
    samples=lambda: [
        *binary(numbers=(-2, 0.5)),
        Sample([T(values=[1.0, -2.0, 3.0]), T(values=[-0.0, 0.0, -3.0])]),
        Sample([T(values=[0.0, -0.0]), T(values=[-1.0, 1.0])], second=False, why="the quotient 0 / 0"),
        Sample([T((3,), "int64"), -1]),
    ],
)
def copysign(input: Tensor, other: Any, *, out: Any = None) -> Any:
    """The magnitude of `input` with the sign of `other`.

    >>> import rushlight as torch
    >>> torch.copysign(torch.tensor([1.0, -2.0]), torch.tensor([-0.0, 3.0]))
    tensor([-1.,  2.])
    """
    require_tensor("copysign", "input", 1, input)
    return apply(COPYSIGN if isinstance(other, Tensor) else COPYSIGN_NUMBER, (input, other), out=out)
