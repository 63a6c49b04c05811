"""Arithmetic: maps that compute every element from the elements at the same place of their (broadcast)
operands.

Addition, multiplication, the divisions and remainders, signs, extremes and clamping. Powers,
exponentials and the like are in `functions`, comparisons and logic in `compare`, activations in
`activations`. Invariant: formulas use only operators and `k`, so they run on ndarrays and in generated
loops alike; a rule names an operand only where its value is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rushlight.dtype import BOOL_NUMPY, result_type_of
from rushlight.ops.arguments import older_form
from rushlight.ops.create import zeros_like
from rushlight.ops.define import INT_TO_FLOAT, ArgumentError, apply
from rushlight.ops.kinds import alias, elementwise, elementwise_op, only, public, renamed, whole_division
from rushlight.ops.samples import Sample, T, binary, divisions, unary, whole_divisions
from rushlight.tensor import Tensor

UNDIFFERENTIABLE = "NotImplemented"  # what PyTorch calls the node of an op without a derivative


def no_derivative(name: str) -> Callable[..., Any]:
    """A gradient rule that refuses, for ops that PyTorch does not differentiate either."""

    def refuse(g: Tensor) -> Any:
        raise RuntimeError(f"derivative for aten::{name} is not implemented")

    return refuse


# -- addition --------------------------------------------------------------------------------------------

ADD = elementwise_op(
    "add",
    lambda k, input, other: input + other,
    dict(input=lambda g: g, other=lambda g: g),
)
ADD_SCALED = elementwise_op(
    "add",
    lambda k, input, other, *, alpha: input + other * alpha,
    dict(input=lambda g: g, other=lambda g, alpha: g * alpha),
    into=lambda input, other, *, alpha, out: np.add(input, other * alpha, out=out),
)
SUB = elementwise_op(
    "sub",
    lambda k, input, other: input - other,
    dict(input=lambda g: g, other=lambda g: -g),
)
SUB_SCALED = elementwise_op(
    "sub",
    lambda k, input, other, *, alpha: input - other * alpha,
    dict(input=lambda g: g, other=lambda g, alpha: g * -alpha),
)
RSUB = elementwise_op(
    "rsub",
    lambda k, input, other, *, alpha: other - input * alpha,
    dict(input=lambda g, alpha: g * -alpha, other=lambda g: g),
)
RSUB_NUMBER = renamed(RSUB, "RsubBackward1", ("other",))


def _refusing_bools(prepare: Callable[..., Any]) -> Callable[..., Any]:
    """Preparation of operands for subtraction, which PyTorch does not define for bools."""

    def checked(op: Any, inputs: Sequence[Any]) -> Any:
        input, other = inputs
        if isinstance(input, Tensor) and input._array.dtype.kind == "f":
            if isinstance(other, Tensor):
                if other._array.dtype is not BOOL_NUMPY:
                    return prepare(op, inputs)
            elif type(other) is not bool:
                return prepare(op, inputs)
        prepared = prepare(op, inputs)
        bools = 0
        for each in inputs:
            if (each._array.dtype is BOOL_NUMPY) if isinstance(each, Tensor) else type(each) is bool:
                bools += 1
        if bools == 2:
            raise RuntimeError(
                "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
                "`logical_xor()` operator instead."
            )
        if bools:
            raise RuntimeError(
                "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to "
                "invert a mask, use the `~` or `logical_not()` operator instead."
            )
        return prepared

    return checked


for _op in (SUB, SUB_SCALED, RSUB, RSUB_NUMBER):
    _op.prepare = _refusing_bools(_op.prepare)


def _refuse_number(name: str, input: Any, other: Any) -> None:
    if isinstance(other, Tensor) and isinstance(input, (int, float)):
        raise TypeError(
            f"{name}() received an invalid combination of arguments - got ({type(input).__name__}, Tensor), "
            "but expected one of: (Tensor input, Tensor other) or (Tensor input, Number other)"
        )


def _multiplier(name: str, input: Any, other: Any, alpha: Any) -> Any:
    """The number that scales the second operand, checked against the type of the result."""
    if type(alpha) is float and isinstance(input, Tensor) and input._array.dtype.kind == "f":
        return alpha
    if isinstance(alpha, Tensor):
        alpha = alpha.item()
    if not isinstance(alpha, (bool, int, float, np.generic)):
        raise TypeError(f"{name}(): argument 'alpha' must be Number, not {type(alpha).__name__}")
    try:
        result = result_type_of([x._array if isinstance(x, Tensor) else x for x in (input, other)])
    except TypeError:
        raise ArgumentError(
            f"{name}(): argument 'other' (position 2) must be Tensor, not {type(other).__name__}"
        ) from None
    if result.category == 0:
        return bool(alpha)
    if isinstance(alpha, bool):
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if isinstance(alpha, float) and not result.is_floating_point:
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    return alpha


def _scaled_samples() -> list[Sample]:
    return [
        *binary(),
        Sample([T((2, 3)), T((3,))], {"alpha": 2.5}),
        Sample([T((2, 3), "int64"), T((3,), "int64")], {"alpha": 2}),
        Sample([T((2,)), 3], {"alpha": 2}),
        Sample([T((2, 3), "int64"), T((3,), "int64")], {"alpha": 2.5}, raises=True),
        Sample([T((2, 3)), T((3,))], {"alpha": True}, raises=True),
        Sample([T((2, 3)), T((4,))], raises=True),
        Sample([T((2, 3), "uint8"), 300]),
        Sample([T((), "int64"), T((3,), "uint8")]),
        Sample([T(()), T((3,), "int64")]),
        Sample([T((), "float64"), T((3,))]),
    ]


@public(ADD, inplace=True, samples=lambda: [*_scaled_samples(), Sample([T((3,), "bool"), T((3,), "bool")])])
def add(input: Any, other: Any, *older: Any, alpha: Any = 1, out: Any = None) -> Any:
    """``input + alpha * other``.

    >>> import rushlight as torch
    >>> torch.add(torch.tensor([1, 2]), 10, alpha=2)
    tensor([21, 22])
    """
    if older:
        return older_form("add", add, (input, other, *older), "alpha", out)
    if alpha == 1 and type(alpha) is int:
        return apply(ADD, (input, other), out=out)
    return apply(ADD_SCALED, (input, other), {"alpha": _multiplier("add", input, other, alpha)}, out=out)


@public(
    SUB,
    inplace=True,
    samples=lambda: [
        *[s for s in _scaled_samples() if "bool" not in repr(s)],
        Sample([T((3,), "bool"), T((3,), "bool")], raises=True),
        Sample([T((3,)), T((3,), "bool")], raises=True),
        Sample([T((3,)), True], raises=True),
    ],
)
def sub(input: Any, other: Any, *older: Any, alpha: Any = 1, out: Any = None) -> Any:
    """``input - alpha * other``; not for bools.

    >>> import rushlight as torch
    >>> torch.sub(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.5]), alpha=2)
    tensor([0., 1.])
    """
    if older:
        return older_form("sub", sub, (input, other, *older), "alpha", out)
    if alpha == 1 and type(alpha) is int:
        return apply(SUB, (input, other), out=out)
    return apply(SUB_SCALED, (input, other), {"alpha": _multiplier("sub", input, other, alpha)}, out=out)


subtract = alias("subtract", sub)


@public(
    RSUB,
    method=False,
    samples=lambda: [
        Sample([T((2, 3)), T((3,))]),
        Sample([T((2, 3)), 1.5]),
        Sample([T((2, 3)), 1], {"alpha": 2}),
        Sample([T((2, 3)), T((), "float64")], {"alpha": 0.5}),
        Sample([T((), "int64"), 3]),
        Sample([T((2,), "bool"), 3], raises=True),
    ],
)
def rsub(input: Tensor, other: Any, *, alpha: Any = 1) -> Any:
    """``other - alpha * input``.

    >>> import rushlight as torch
    >>> torch.rsub(torch.tensor([1, 2]), 10)
    tensor([9, 8])
    """
    _refuse_number("rsub", input, other)
    if alpha != 1 or type(alpha) is not int:
        alpha = _multiplier("rsub", input, other, alpha)
    return apply(RSUB if isinstance(other, Tensor) else RSUB_NUMBER, (input, other), {"alpha": alpha})


# -- multiplication and true division --------------------------------------------------------------------

MUL = elementwise_op(
    "mul",
    lambda k, input, other: input * other,
    dict(input=lambda g, other: g * other, other=lambda g, input: g * input),
)
DIV = elementwise_op(
    "div",
    lambda k, input, other: input / other,
    dict(input=lambda g, other: g / other, other=lambda g, input, other: -g * (input / other / other)),
    promote=INT_TO_FLOAT,
)


@public(
    MUL,
    inplace=True,
    samples=lambda: [
        *binary(),
        Sample([T((3,), "bool"), T((3,), "bool")]),
        Sample([T((3,), "uint8"), -1]),
        Sample([2.5, T((3,))]),
        Sample([T((2, 3)), T((4,))], raises=True),
    ],
)
def mul(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input * other``.

    >>> import rushlight as torch
    >>> torch.mul(torch.tensor([1.0, 2.0]), 3)
    tensor([3., 6.])
    """
    return apply(MUL, (input, other), out=out)


multiply = alias("multiply", mul)


# -- divisions that round --------------------------------------------------------------------------------


_ZERO_GRADIENTS = dict(input=lambda g: zeros_like(g), other=lambda g: zeros_like(g))

DIV_TRUNC = elementwise_op(
    "div_trunc",
    lambda k, input, other: k.trunc_divide(input, other),
    _ZERO_GRADIENTS,
    node_name="DivBackward2",
    **whole_division("div_trunc_cpu"),
)
DIV_FLOOR = elementwise_op(
    "div_floor",
    lambda k, input, other: k.floor_divide(input, other),
    _ZERO_GRADIENTS,
    node_name="DivBackward2",
    **whole_division("div_floor_cpu"),
)
FLOOR_DIVIDE = elementwise_op(
    "floor_divide",
    lambda k, input, other: k.floor_divide(input, other),
    dict(input=no_derivative("floor_divide"), other=no_derivative("floor_divide")),
    node_name=UNDIFFERENTIABLE,
    **whole_division("div_floor_cpu"),
)
REMAINDER = elementwise_op(
    "remainder",
    lambda k, input, other: k.remainder(input, other),
    dict(input=lambda g: g, other=lambda g, input, other: -g * div(input, other, rounding_mode="floor")),
    node_name="RemainderBackward1",
    **whole_division("remainder_cpu"),
)
REMAINDER_NUMBER = renamed(REMAINDER, "RemainderBackward0", ("other",))
REMAINDER_OF_NUMBER = elementwise_op(
    "remainder",
    lambda k, input, other: k.remainder(input, other),
    dict(other=no_derivative("remainder")),
    node_name=UNDIFFERENTIABLE,
    **whole_division("remainder_cpu"),
)
FMOD = elementwise_op(
    "fmod",
    lambda k, input, other: k.fmod(input, other),
    dict(input=lambda g: g, other=lambda g, input, other: -g * div(input, other, rounding_mode="trunc")),
    node_name="FmodBackward1",
    **whole_division("fmod_cpu"),
)
FMOD_NUMBER = renamed(FMOD, "FmodBackward0", ("other",))
_ROUNDED_DIVISION = {"trunc": DIV_TRUNC, "floor": DIV_FLOOR}


@public(
    DIV,
    inplace=True,
    samples=lambda: [
        *divisions(),
        *[
            Sample(each.args, {"rounding_mode": mode}, each.grads, raises=each.raises)
            for mode in ("trunc", "floor")
            for each in whole_divisions()
        ],
        Sample([T((3,), "int64"), 0]),
        Sample([T((3,), "bool"), T((3,), "bool")]),
        Sample([2, T((3,), low=0.5)]),
        Sample([T((3,)), 2], {"rounding_mode": "up"}, raises=True),
    ],
)
def div(input: Any, other: Any, *, rounding_mode: str | None = None, out: Any = None) -> Any:
    """``input / other``, as it is or rounded: `rounding_mode` None, "trunc" (towards zero) or "floor".

    >>> import rushlight as torch
    >>> torch.div(torch.tensor([7, -7]), 2)
    tensor([ 3.5000, -3.5000])
    >>> torch.div(torch.tensor([7, -7]), 2, rounding_mode="trunc")
    tensor([ 3, -3])
    """
    if rounding_mode is None:
        return apply(DIV, (input, other), out=out)
    op = _ROUNDED_DIVISION.get(rounding_mode)
    if op is None:
        raise RuntimeError(
            f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'"
        )
    return apply(op, (input, other), out=out)


divide = alias("divide", div)


@public(DIV, inplace=True, samples=lambda: divisions())
def true_divide(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input / other``.

    >>> import rushlight as torch
    >>> torch.true_divide(torch.tensor([1, 2]), 2)
    tensor([0.5000, 1.0000])
    """
    return apply(DIV, (input, other), out=out)


@public(FLOOR_DIVIDE, inplace=True, samples=lambda: whole_divisions())
def floor_divide(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input / other`` rounded down; not differentiable, as in PyTorch.

    >>> import rushlight as torch
    >>> torch.floor_divide(torch.tensor([7, -7]), 2)
    tensor([ 3, -4])
    """
    return apply(FLOOR_DIVIDE, (input, other), out=out)


@public(REMAINDER, inplace=True, samples=lambda: [*whole_divisions(), Sample([7, T((3,), low=0.5)])])
def remainder(input: Any, other: Any, *, out: Any = None) -> Any:
    """What floor division leaves over; it has the sign of `other`.

    >>> import rushlight as torch
    >>> torch.remainder(torch.tensor([-3, 3]), 2)
    tensor([1, 1])
    """
    op = REMAINDER if isinstance(other, Tensor) else REMAINDER_NUMBER
    if not isinstance(input, Tensor):
        op = REMAINDER_OF_NUMBER
    return apply(op, (input, other), out=out)


@public(FMOD, inplace=True, samples=lambda: whole_divisions())
def fmod(input: Tensor, other: Any, *, out: Any = None) -> Any:
    """What truncated division leaves over, C's ``fmod``; it has the sign of `input`.

    >>> import rushlight as torch
    >>> torch.fmod(torch.tensor([-3, 3]), 2)
    tensor([-1,  1])
    """
    _refuse_number("fmod", input, other)
    return apply(FMOD if isinstance(other, Tensor) else FMOD_NUMBER, (input, other), out=out)


# -- signs -----------------------------------------------------------------------------------------------


def _refuse_bool_negation(input: Any) -> None:
    if input.dtype is BOOL_NUMPY:
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a "
            "mask, use the `~` or `logical_not()` operator instead."
        )


def _numeric(**limits: Any) -> list[Sample]:
    """Samples of a function of one tensor that is not for bools."""
    return [each for each in unary(**limits) if each.args[0].dtype != "bool"]


neg = elementwise(
    "neg",
    lambda k, input: -input,
    dict(input=lambda g: -g),
    check=_refuse_bool_negation,
    samples=lambda: [*_numeric(), Sample([T((2,), "bool")], raises=True)],
    doc="``-input``.",
    example=("torch.neg(torch.tensor([1.0, -2.0]))", "tensor([-1.,  2.])"),
)
negative = alias("negative", neg)


@public(samples=lambda: [*_numeric(), Sample([T((2,), "bool")], raises=True)])
def positive(input: Tensor) -> Tensor:
    """`input` itself; not for bools.

    >>> import rushlight as torch
    >>> torch.positive(torch.tensor([1, -2]))
    tensor([ 1, -2])
    """
    if input._array.dtype is BOOL_NUMPY:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


abs = elementwise(
    "abs",
    lambda k, input: k.abs(input),
    dict(input=lambda g, input: g * sgn(input)),
    check=only("fiu", "abs_cpu"),
    samples=lambda: [
        *_numeric(),
        Sample([T(values=[0.0, -0.0, float("-inf"), float("nan")])]),
        Sample([T((2,), "int8", values=[-128, 127])]),
        Sample([T((2,), "bool")], raises=True),
    ],
    doc="The absolute value.",
    example=("torch.abs(torch.tensor([1, -2]))", "tensor([1, 2])"),
)
absolute = alias("absolute", abs)


def _sign_samples() -> list[Sample]:
    return [*unary(), Sample([T(values=[0.0, -0.0, float("-inf"), float("nan")])])]


sign = elementwise(
    "sign",
    lambda k, input: k.sign(input),
    dict(input=lambda g: zeros_like(g)),
    samples=_sign_samples,
    doc="-1, 0 or 1 by the sign of each element (0 for NaN).",
    example=("torch.sign(torch.tensor([0.5, -2.0, 0.0]))", "tensor([ 1., -1.,  0.])"),
)
sgn = elementwise(
    "sgn",
    lambda k, input: k.sign(input),
    dict(input=lambda g: zeros_like(g)),
    samples=_sign_samples,
    doc="`sign`, under the name that PyTorch gives the complex generalisation.",
    example=("torch.sgn(torch.tensor([3, -2]))", "tensor([ 1, -1])"),
)
