"""Mathematical functions of one or two tensors: powers, exponentials, logarithms, trigonometry, rounding.

Whole numbers and bools are computed in the default floating type, except by powers and rounding, which
keep them. Special functions (erf, lgamma ...) are in `special`, activations in `activations`.
Invariant: each function is one formula and one gradient rule per differentiable input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight.ops.arguments import require_tensor
from rushlight.ops.create import zeros_like
from rushlight.ops.define import INPLACE, INT_TO_FLOAT, TITLES, apply
from rushlight.ops.kinds import alias, composite, elementwise, elementwise_op, only, public
from rushlight.ops.samples import Sample, T, binary, unary
from rushlight.ops.select import where
from rushlight.tensor import Tensor

INF, NAN = float("inf"), float("nan")

# -- powers ----------------------------------------------------------------------------------------------


def _number_power_backward(g: Tensor, input: Tensor, exponent: Any) -> Tensor:
    """The gradient of a power with a number for exponent; at exponent 0 it is 0, even for a base of 0."""
    if exponent == 0:
        return zeros_like(g)
    if exponent == 1:
        return g
    return g * (input * 2 if exponent == 2 else pow(input, exponent - 1) * exponent)


def _power_backward(g: Tensor, input: Tensor, exponent: Tensor) -> Tensor:
    return where(exponent == 0, 0.0, g * (exponent * pow(input, exponent - 1)))


def _exponent_backward(g: Tensor, input: Any, exponent: Tensor, out: Tensor) -> Tensor:
    """The gradient for the exponent; 0 where the base is 0 and the exponent not negative."""
    return where((input == 0) & (exponent >= 0), 0.0, g * (out * log(input)))


def _number_base_backward(g: Tensor, input: Any, exponent: Tensor, out: Tensor) -> Tensor:
    if input == 0:
        return where(exponent >= 0, 0.0, g * (out * -INF))
    return g * (out * (math.log(input) if input > 0 else NAN))


_POWER = lambda k, input, exponent: k.power(input, exponent)  # noqa: E731 - one formula for three ops
POW_NUMBER = elementwise_op(
    "pow",
    _POWER,
    dict(input=_number_power_backward),
)
POW = elementwise_op(
    "pow",
    _POWER,
    dict(input=_power_backward, exponent=_exponent_backward),
    node_name="PowBackward1",
    check=only("fiu", "pow"),
)
POW_OF_NUMBER = elementwise_op(
    "pow",
    _POWER,
    dict(exponent=_number_base_backward),
    node_name="PowBackward2",
    check=only("fiu", "pow"),
)


def _power_samples() -> list[Sample]:
    exponents = (0, 1, 2, 3, -1, -2, 0.5, -0.5, 2.5, -1.5, 4)
    whole = T((6,), "int64", values=[1, -1, 2, -2, 3, 0])
    return [
        *binary(low=0.3, high=3.0, numbers=exponents[:3]),
        *[Sample([T((2, 3), low=0.2), exponent]) for exponent in exponents],
        *[Sample([T((2, 3)), exponent]) for exponent in (2, 3, -1, -2, 2.0)],
        *[Sample([T((2,), kind, low=0.2), 2]) for kind in ("float64", "float16")],
        *[Sample([base, T((2, 3))]) for base in (2, 0.5, 2.5)],
        Sample([0, T(values=[2.0, 0.0, 1.5])], second=False, why="log of 0"),
        Sample([2, T((3,), "int64", low=0, high=5)]),
        Sample([2.5, T((3,), "int64", low=0, high=5)]),
        Sample(
            [T(values=[0.0, 0.0, 2.0, -2.0]), T(values=[2.0, 0.0, 0.0, 2.0])], second=False, why="log of 0"
        ),
        Sample([T(values=[NAN, INF, 0.0]), 0]),
        Sample([whole, 2]),
        Sample([whole, 2.0]),
        Sample([whole, 0]),
        Sample([whole, T((6,), "int64", values=[-1, -3, 2, 3, 0, 0])]),
        *[Sample([whole, T((), "int64", values=exponent)]) for exponent in (-1, -2, 2)],
        Sample([T((3,), "bool"), 2]),
        Sample([T((3,), "bool"), 1.5]),
        Sample([whole, -1], raises=True),
        Sample([T((3,), "uint8"), -1], raises=True),
        Sample([T((3,), "bool"), T((3,), "bool")], raises=True),
    ]


@public(POW_NUMBER, inplace=True, samples=_power_samples)
def pow(input: Any, exponent: Any, *, out: Any = None) -> Any:
    """``input ** exponent``; either may be a number.

    >>> import rushlight as torch
    >>> torch.pow(torch.tensor([1.0, 2.0, 3.0]), 2)
    tensor([1., 4., 9.])
    """
    if not isinstance(exponent, Tensor):
        require_tensor("pow", "input", 1, input)
        # asked of the number as it was given: as a uint8 it would not be negative
        if isinstance(exponent, (int, np.integer)) and exponent < 0 and not input.is_floating_point():
            raise RuntimeError("Integers to negative integer powers are not allowed.")
        return apply(POW_NUMBER, (input, exponent), out=out)
    return apply(POW if isinstance(input, Tensor) else POW_OF_NUMBER, (input, exponent), out=out)


@composite(
    inplace=True,
    samples=lambda: [
        *[Sample([T(shape, low=0.1), 1.5]) for shape in ((2, 3), (), (0, 3))],
        Sample([T((3,), low=0.1), T((2, 1))]),
        Sample([T((3,), "float64", low=0.1), T((3,), "int64")]),
        Sample([T((3,), "int64", low=1), 2]),
        Sample([2, T((3,))]),
        Sample([T((3,), "bool"), T((3,), "uint8")]),
    ],
)
def float_power(input: Any, exponent: Any, *, out: Any = None) -> Any:
    """``input ** exponent``, always computed in float64.

    >>> import rushlight as torch
    >>> torch.float_power(torch.tensor([1, 2]), -1)
    tensor([1.0000, 0.5000], dtype=torch.float64)
    """
    if out is INPLACE and input.dtype.name != "float64":
        raise RuntimeError(
            f"the base given to float_power_ has dtype {TITLES[input.dtype.name]} but the operation's "
            "result requires dtype Double"
        )
    base, power = (
        x if x is input and out is INPLACE else x.double() if isinstance(x, Tensor) else float(x)
        for x in (input, exponent)
    )
    return pow(base, power, out=out)


@composite(inplace=True, samples=unary)
def square(input: Tensor, *, out: Any = None) -> Any:
    """``input ** 2``.

    >>> import rushlight as torch
    >>> torch.square(torch.tensor([1.0, -3.0]))
    tensor([1., 9.])
    """
    return pow(input, 2, out=out)


# -- functions of one tensor -----------------------------------------------------------------------------


def _function(
    name: str,
    formula: Callable[..., Any],
    rule: Callable[..., Any],
    doc: str,
    example: tuple[str, str],
    node_name: str | None = None,
    inplace_name: str | None = None,
    special: list[float] | None = None,
    **limits: Any,
) -> Callable[..., Any]:
    """A function of one tensor that computes whole numbers in floating point."""
    values = special if special is not None else [0.0, -0.0, INF, -INF, NAN]
    argument, shown = example
    return elementwise(
        name,
        formula,
        dict(input=rule),
        promote=INT_TO_FLOAT,
        node_name=node_name,
        inplace_name=inplace_name,
        samples=lambda: [*unary(**limits), Sample([T((len(values),), values=values)], grads=False)],
        doc=doc,
        example=(f"torch.{name}(torch.tensor({argument}))", f"tensor({shown})"),
    )


reciprocal = _function(
    "reciprocal",
    lambda k, input: 1 / input,
    lambda g, out: -g * (out * out),
    "``1 / input``.",
    ("[2.0, 4.0]", "[0.5000, 0.2500]"),
    low=0.2,
)
sqrt = _function(
    "sqrt",
    lambda k, input: k.sqrt(input),
    lambda g, out: g / (out * 2),
    "The square root.",
    ("[4.0, 9.0]", "[2., 3.]"),
    low=0.1,
)
rsqrt = _function(
    "rsqrt",
    lambda k, input: 1 / k.sqrt(input),
    lambda g, out: g * -0.5 * (out * out * out),
    "The reciprocal of the square root.",
    ("[4.0, 16.0]", "[0.5000, 0.2500]"),
    low=0.1,
)
exp = _function(
    "exp",
    lambda k, input: k.exp(input),
    lambda g, out: g * out,
    "The exponential function.",
    ("[0.0, 1.0]", "[1.0000, 2.7183]"),
)
exp2 = _function(
    "exp2",
    lambda k, input: k.exp2(input),
    lambda g, out: g * out * math.log(2),
    "2 to the power of `input`.",
    ("[0.0, 3.0]", "[1., 8.]"),
)
expm1 = _function(
    "expm1",
    lambda k, input: k.expm1(input),
    lambda g, out: g * (out + 1),
    "``exp(input) - 1``, accurate near 0.",
    ("[0.0, 1.0]", "[0.0000, 1.7183]"),
)
log = _function(
    "log",
    lambda k, input: k.log(input),
    lambda g, input: g / input,
    "The natural logarithm.",
    ("[1.0, 10.0]", "[0.0000, 2.3026]"),
    low=0.1,
)
log2 = _function(
    "log2",
    lambda k, input: k.log2(input),
    lambda g, input: g / (input * math.log(2)),
    "The logarithm to base 2.",
    ("[1.0, 8.0]", "[0., 3.]"),
    low=0.1,
)
log10 = _function(
    "log10",
    lambda k, input: k.log10(input),
    lambda g, input: g / (input * math.log(10)),
    "The logarithm to base 10.",
    ("[1.0, 100.0]", "[0., 2.]"),
    low=0.1,
)
log1p = _function(
    "log1p",
    lambda k, input: k.log1p(input),
    lambda g, input: g / (input + 1),
    "``log(1 + input)``, accurate near 0.",
    ("[0.0, 1.0]", "[0.0000, 0.6931]"),
    node_name="Log1PBackward0",
    low=-0.9,
)
sin = _function(
    "sin",
    lambda k, input: k.sin(input),
    lambda g, input: g * cos(input),
    "The sine.",
    ("[0.0, 1.0]", "[0.0000, 0.8415]"),
)
cos = _function(
    "cos",
    lambda k, input: k.cos(input),
    lambda g, input: g * -sin(input),
    "The cosine.",
    ("[0.0, 1.0]", "[1.0000, 0.5403]"),
)
tan = _function(
    "tan",
    lambda k, input: k.tan(input),
    lambda g, out: g * (out * out + 1),
    "The tangent.",
    ("[0.0, 1.0]", "[0.0000, 1.5574]"),
    low=-1.4,
    high=1.4,
)
asin = _function(
    "asin",
    lambda k, input: k.asin(input),
    lambda g, input: g * rsqrt(1 - input * input),
    "The arcsine.",
    ("[0.0, 1.0]", "[0.0000, 1.5708]"),
    low=-0.9,
    high=0.9,
)
acos = _function(
    "acos",
    lambda k, input: k.acos(input),
    lambda g, input: -g * rsqrt(1 - input * input),
    "The arccosine.",
    ("[1.0, 0.0]", "[0.0000, 1.5708]"),
    low=-0.9,
    high=0.9,
)
atan = _function(
    "atan",
    lambda k, input: k.atan(input),
    lambda g, input: g / (input * input + 1),
    "The arctangent.",
    ("[0.0, 1.0]", "[0.0000, 0.7854]"),
)
sinh = _function(
    "sinh",
    lambda k, input: k.sinh(input),
    lambda g, input: g * cosh(input),
    "The hyperbolic sine.",
    ("[0.0, 1.0]", "[0.0000, 1.1752]"),
)
cosh = _function(
    "cosh",
    lambda k, input: k.cosh(input),
    lambda g, input: g * sinh(input),
    "The hyperbolic cosine.",
    ("[0.0, 1.0]", "[1.0000, 1.5431]"),
)
asinh = _function(
    "asinh",
    lambda k, input: k.asinh(input),
    lambda g, input: g * rsqrt(input * input + 1),
    "The inverse of the hyperbolic sine.",
    ("[0.0, 1.0]", "[0.0000, 0.8814]"),
    inplace_name="AsinhBackward1",
)
acosh = _function(
    "acosh",
    lambda k, input: k.acosh(input),
    lambda g, input: g * rsqrt(input * input - 1),
    "The inverse of the hyperbolic cosine.",
    ("[1.0, 2.0]", "[0.0000, 1.3170]"),
    low=1.2,
    high=4.0,
    inplace_name="AcoshBackward1",
)
atanh = _function(
    "atanh",
    lambda k, input: k.atanh(input),
    lambda g, input: g / (1 - input * input),
    "The inverse of the hyperbolic tangent.",
    ("[0.0, 0.5]", "[0.0000, 0.5493]"),
    low=-0.9,
    high=0.9,
    inplace_name="AtanhBackward1",
)
rad2deg = _function(
    "rad2deg",
    lambda k, input: input * (180 / math.pi),
    lambda g: g * (180 / math.pi),
    "Radians as degrees.",
    ("[0.0, 1.0]", "[ 0.0000, 57.2958]"),
    node_name="Rad2DegBackward0",
)
deg2rad = _function(
    "deg2rad",
    lambda k, input: input * (math.pi / 180),
    lambda g: g * (math.pi / 180),
    "Degrees as radians.",
    ("[0.0, 180.0]", "[0.0000, 3.1416]"),
    node_name="Deg2RadBackward0",
)
sinc = _function(
    "sinc",
    lambda k, input: k.where(input == 0, 1.0, k.sin(input * math.pi) / (input * math.pi)),
    lambda g, input: _sinc_backward(g, input),
    "``sin(pi x) / (pi x)``, and 1 at 0.",
    ("[0.0, 0.5]", "[1.0000, 0.6366]"),
)


def _sinc_backward(g: Tensor, input: Tensor) -> Tensor:
    angle = input * math.pi
    return where(input == 0, 0.0, g * ((angle * cos(angle) - sin(angle)) / (angle * input)))


# tanh and sigmoid are met in every network: their gradients are one op each instead of three.
TANH_BACKWARD = elementwise_op(
    "tanh_backward",
    lambda k, grad, output: grad * (1 - output * output),
    dict(
        grad=lambda g, output: apply(TANH_BACKWARD, (g, output)),
        output=lambda g, grad, output: g * (grad * output * -2),
    ),
)
tanh = _function(
    "tanh",
    lambda k, input: k.tanh(input),
    lambda g, out: apply(TANH_BACKWARD, (g, out)),
    "The hyperbolic tangent.",
    ("[0.0, 1.0]", "[0.0000, 0.7616]"),
)
SIGMOID_BACKWARD = elementwise_op(
    "sigmoid_backward",
    lambda k, grad, output: grad * ((1 - output) * output),
    dict(
        grad=lambda g, output: apply(SIGMOID_BACKWARD, (g, output)),
        output=lambda g, grad, output: g * grad * (output * -2 + 1),
    ),
)
sigmoid = _function(
    "sigmoid",
    lambda k, input: k.sigmoid(input),
    lambda g, out: apply(SIGMOID_BACKWARD, (g, out)),
    "``1 / (1 + exp(-input))``.",
    ("[0.0, 1.0]", "[0.5000, 0.7311]"),
)
arccos = alias("arccos", acos)
arccosh = alias("arccosh", acosh)
arcsin = alias("arcsin", asin)
arcsinh = alias("arcsinh", asinh)
arctan = alias("arctan", atan)
arctanh = alias("arctanh", atanh)
