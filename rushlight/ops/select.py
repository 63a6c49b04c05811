"""Choosing and mixing: `where`, `masked_fill`, extremes, clamping, interpolation and the fused
multiply-adds.

Maps whose result is one of their operands, or a weighted mean or sum of them. Invariant: a gradient
rule gives each element's gradient to the operand that was chosen there, with PyTorch's shares where
operands tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.dtype import BOOL_NUMPY, result_type_of
from rushlight.ops.arguments import require_tensor
from rushlight.ops.define import C_NAMES, INPLACE, TITLES, ArgumentError, apply, convert_operand
from rushlight.ops.elementwise import UNDIFFERENTIABLE, no_derivative
from rushlight.ops.kinds import elementwise, elementwise_op, public, renamed
from rushlight.ops.samples import Sample, T, binary, unary
from rushlight.tensor import Tensor

NAN, INF = float("nan"), float("inf")

# -- where and masked_fill -------------------------------------------------------------------------------

WHERE = elementwise_op(
    "where",
    lambda k, condition, input, other: k.where(condition, input, other),
    dict(
        input=lambda g, condition: apply(WHERE, (condition, g, 0.0)),
        other=lambda g, condition: apply(WHERE, (condition, 0.0, g)),
    ),
)


def _prepare_where(op: Any, inputs: Sequence[Any]) -> tuple[Sequence[Any], Any]:
    """The condition as it is, the two values in their common type."""
    condition, input, other = inputs
    values = [x._array if isinstance(x, Tensor) else x for x in (input, other)]
    mask = condition._array
    if mask.dtype is not BOOL_NUMPY:
        if mask.dtype.kind != "u":
            raise RuntimeError(
                "where expected condition to be a boolean tensor, but got a tensor with dtype "
                f"{TITLES[condition.dtype.name]}"
            )
        mask = mask.astype(BOOL_NUMPY)
    try:
        common = result_type_of(values).numpy
    except TypeError:
        raise ArgumentError(
            f"where() received an invalid combination of arguments - got (Tensor, {type(input).__name__}, "
            f"{type(other).__name__}), but expected a Tensor condition and two Tensors or numbers"
        ) from None
    return (mask, convert_operand(values[0], common), convert_operand(values[1], common)), None


WHERE.prepare = _prepare_where


def _where_samples() -> list[Sample]:
    mask = T((2, 3), "bool")
    return [
        Sample([mask, T((2, 3)), T((2, 3))]),
        Sample([mask, T((3,)), T((2, 1))]),
        Sample([T((3,), "bool"), T((2, 3)), T(())]),
        Sample([T((), "bool"), T(()), T(())]),
        Sample([T((0, 3), "bool"), T((3,)), T((0, 3))]),
        Sample([mask, T((2, 3)), 0]),
        Sample([mask, 1.5, T((3,))]),
        *[Sample([mask, a, b]) for a, b in ((1, 0), (1.0, 0), (True, False))],
        *[
            Sample([mask, T((2, 3), a), T((3,), b)])
            for a, b in (("float64", "float32"), ("float32", "int64"), ("int64", "uint8"), ("bool", "bool"))
        ],
        Sample([mask, T((2, 3), "int64"), 2.5]),
        Sample([mask, T((2, 3), "float16"), T((), "float32")]),
        Sample([mask, T((2, 3), "float16"), 2.5]),
        Sample([T((2, 3), "int64"), T((3,)), T((3,))], raises=True),
        Sample([T((2,), "bool"), T((3,)), T((3,))], raises=True),
    ]


@public(WHERE, method=False, samples=_where_samples)
def where(condition: Tensor, input: Any = None, other: Any = None, *, out: Any = None) -> Any:
    """`input` where `condition` holds, `other` elsewhere; of `condition` alone, the indices where it holds.

    >>> import rushlight as torch
    >>> x = torch.tensor([-1.0, 2.0])
    >>> torch.where(x > 0, x, 0.0)
    tensor([0., 2.])
    """
    require_tensor("where", "condition", 1, condition)
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if out is not None:  # PyTorch's numbers have no such form
        require_tensor("where", "input", 2, input)
        require_tensor("where", "other", 3, other)
    return apply(WHERE, (condition, input, other), out=out)


def where_method(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """The tensor where `condition` holds, `other` elsewhere.

    >>> import rushlight as torch
    >>> x = torch.tensor([-1.0, 2.0])
    >>> x.where(x > 0, 0.0)
    tensor([0., 2.])
    """
    return where(condition, self, other)


METHODS = {"where": where_method}

MASKED_FILL = elementwise_op(
    "masked_fill",
    lambda k, input, mask, value: k.where(mask, value, input),
    dict(
        input=lambda g, mask: apply(WHERE, (mask, 0.0, g)),
        value=lambda g, mask: apply(WHERE, (mask, g, 0.0)),
    ),
    node_name="MaskedFillBackward1",
)
MASKED_FILL_NUMBER = renamed(MASKED_FILL, "MaskedFillBackward0", ("value",))


def _prepare_masked_fill(op: Any, inputs: Sequence[Any]) -> tuple[Sequence[Any], Any]:
    """The value in the type of the tensor it is put into."""
    input, mask, value = inputs
    array = input._array
    return (
        array,
        mask._array,
        convert_operand(value._array if isinstance(value, Tensor) else value, array.dtype),
    ), None


def _fill_masked(target: np.ndarray, mask: np.ndarray, value: Any) -> None:
    """The in-place form: an expanded target may have masked and other elements in one place of memory."""
    shape = np.broadcast_shapes(target.shape, mask.shape)
    if shape != target.shape:
        raise RuntimeError(
            f"output with shape {list(target.shape)} doesn't match the broadcast shape {list(shape)}"
        )
    np.copyto(target, convert_operand(value, target.dtype), casting="unsafe", where=mask)


for _op in (MASKED_FILL, MASKED_FILL_NUMBER):
    _op.prepare, _op.update, _op.overlap = _prepare_masked_fill, _fill_masked, "expanded"


@public(
    MASKED_FILL,
    inplace=True,
    samples=lambda: [
        Sample([T((2, 3)), T((2, 3), "bool"), 0.5]),
        Sample([T((2, 3)), T((3,), "bool"), T(())]),
        Sample([T((3,)), T((2, 3), "bool"), 2]),
        Sample([T(()), T((), "bool"), -INF]),
        Sample([T((0, 3)), T((3,), "bool"), 1]),
        Sample([T((2, 3), "int64"), T((3,), "bool"), 2.5]),
        Sample([T((2, 3), "int64"), T((3,), "bool"), T((), "float64", grad=False)]),
        Sample([T((2, 3), "float16"), T((3,), "bool"), 2.5]),
        Sample([T((3,), "bool"), T((3,), "bool"), 2]),
        Sample([T((3,)), T((3,), "bool"), T((1,))], raises=True),
        Sample([T((3,)), T((3,), "int64"), 1], raises=True),
        Sample([T((3,)), T((2,), "bool"), 1], raises=True),
    ],
)
def masked_fill(input: Tensor, mask: Tensor, value: Any, *, out: Any = None) -> Any:
    """`input` with `value`, a number or a 0-d tensor, where `mask` holds.

    >>> import rushlight as torch
    >>> torch.masked_fill(torch.tensor([1.0, 2.0]), torch.tensor([True, False]), 0.5)
    tensor([0.5000, 2.0000])
    """
    require_tensor("masked_fill", "input", 1, input)
    require_tensor("masked_fill", "mask", 2, mask)
    if mask._array.dtype is not BOOL_NUMPY:
        raise RuntimeError(
            f"masked_fill_ only supports boolean masks, but got mask with dtype {C_NAMES[mask.dtype.name]}"
        )
    if isinstance(value, Tensor):
        if value._array.ndim:
            raise RuntimeError(
                "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                f"{value._array.ndim} dimension(s)."
            )
        return apply(MASKED_FILL, (input, mask, value), out=out)
    if value is None or isinstance(value, (str, list, tuple)):
        name, kind = "masked_fill" + "_" * (out is INPLACE), type(value).__name__
        raise TypeError(
            f"{name}() received an invalid combination of arguments - got (Tensor, {kind}), but expected one "
            "of: (Tensor mask, Tensor value) or (Tensor mask, Number value)"
        )
    return apply(MASKED_FILL_NUMBER, (input, mask, value), out=out)


# -- extremes --------------------------------------------------------------------------------------------

# The gradient of an extreme: all of it to the operand that won, half to each where they tie.
WON = elementwise_op(
    "extreme_backward",
    lambda k, grad, winner, other: k.where(winner == other, grad * 0.5, k.where(winner < other, 0.0, grad)),
    dict(grad=lambda g, winner, other: apply(WON, (g, winner, other))),
)


def _extreme_samples() -> list[Sample]:
    return [
        *binary(numbers=()),
        Sample([T(values=[1.0, 2.0, 3.0]), T(values=[1.0, 3.0, 2.0])]),
        Sample([T(values=[NAN, 1.0, NAN, 0.0]), T(values=[1.0, NAN, NAN, 0.0])]),
        Sample([T((3,), "bool"), T((3,), "bool")]),
        Sample([T((3,)), 1.0], raises=True),
    ]


maximum = elementwise(
    "maximum",
    lambda k, input, other: k.maximum(input, other),
    dict(
        input=lambda g, input, other: apply(WON, (g, input, other)),
        other=lambda g, input, other: apply(WON, (g, other, input)),
    ),
    inplace=False,
    samples=_extreme_samples,
    doc="The greater of two elements; NaN where either is NaN.",
    example=("torch.maximum(torch.tensor([1, 5]), torch.tensor([3, 2]))", "tensor([3, 5])"),
)
minimum = elementwise(
    "minimum",
    lambda k, input, other: k.minimum(input, other),
    dict(
        input=lambda g, input, other: apply(WON, (g, -input, -other)),
        other=lambda g, input, other: apply(WON, (g, -other, -input)),
    ),
    inplace=False,
    samples=_extreme_samples,
    doc="The lesser of two elements; NaN where either is NaN.",
    example=("torch.minimum(torch.tensor([1, 5]), torch.tensor([3, 2]))", "tensor([1, 2])"),
)
fmax = elementwise(
    "fmax",
    lambda k, input, other: k.fmax(input, other),
    dict(
        input=lambda g, input, other: where((input >= other) | other.isnan(), g, 0.0),
        other=lambda g, input, other: where((input >= other) | other.isnan(), 0.0, g),
    ),
    inplace=False,
    samples=_extreme_samples,
    doc="The greater of two elements; the other one where one is NaN.",
    example=("torch.fmax(torch.tensor([1.0, float('nan')]), torch.tensor([3.0, 2.0]))", "tensor([3., 2.])"),
)
fmin = elementwise(
    "fmin",
    lambda k, input, other: k.fmin(input, other),
    dict(
        input=lambda g, input, other: where((input <= other) | other.isnan(), g, 0.0),
        other=lambda g, input, other: where((input <= other) | other.isnan(), 0.0, g),
    ),
    inplace=False,
    samples=_extreme_samples,
    doc="The lesser of two elements; the other one where one is NaN.",
    example=("torch.fmin(torch.tensor([1.0, float('nan')]), torch.tensor([3.0, 2.0]))", "tensor([1., 2.])"),
)
HEAVISIDE = elementwise_op(
    "heaviside",
    lambda k, input, values: k.where(input == 0, values, input > 0),
    dict(input=no_derivative("heaviside"), values=no_derivative("heaviside")),
    node_name=UNDIFFERENTIABLE,
)


@public(
    HEAVISIDE,
    inplace=True,
    samples=lambda: [
        *[Sample([T(values=[-1.0, 0.0, -0.0, 2.0, NAN]), values]) for values in (T((5,)), T(()), T((1,)))],
        Sample([T((2, 3), "int64", low=-1, high=2), T((3,), "int64")]),
        Sample([T((3,), "bool"), T((3,), "bool")]),
        Sample([T((0, 3)), T((3,))]),
        Sample([T((3,), "float16"), T((3,), "float16")]),
        Sample([T((3,)), T((3,), "float64")], raises=True),
    ],
)
def heaviside(input: Tensor, values: Tensor, *, out: Any = None) -> Any:
    """The step function: 0 below zero, 1 above, `values` at zero; not differentiable, as in PyTorch.

    >>> import rushlight as torch
    >>> torch.heaviside(torch.tensor([-1.0, 0.0, 2.0]), torch.tensor(0.5))
    tensor([0.0000, 0.5000, 1.0000])
    """
    require_tensor("heaviside", "input", 1, input)
    require_tensor("heaviside", "values", 2, values)
    if input.dtype is not values.dtype:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")
    return apply(HEAVISIDE, (input, values), out=out)


# -- replacing what is not a number ----------------------------------------------------------------------

NAN_TO_NUM = elementwise_op(
    "nan_to_num",
    lambda k, input, *, nan, posinf, neginf: k.where(
        input != input, nan, k.where(input == INF, posinf, k.where(input == -INF, neginf, input))
    ),
    dict(input=lambda g, input: g * input.isfinite()),
)
NAN_TO_NUM_WHOLE = elementwise_op("nan_to_num", lambda k, input: k.where(True, input, input))


@public(
    NAN_TO_NUM,
    inplace=True,
    samples=lambda: [
        *unary(),
        *[
            Sample([T((4,), kind, values=[NAN, INF, -INF, 1.5])], how)
            for kind in ("float32", "float64", "float16")
            for how in ({}, {"nan": 1.0}, {"nan": 0.5, "posinf": 2.0, "neginf": -3.0})
        ],
        Sample([T((3,), "int64")], {"nan": 2.0}),
    ],
)
def nan_to_num(
    input: Tensor,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
    *,
    out: Any = None,
) -> Any:
    """NaN replaced by `nan` (0), infinities by `posinf` and `neginf` (the greatest and least finite numbers).

    >>> import rushlight as torch
    >>> torch.nan_to_num(torch.tensor([float("nan"), float("inf"), 1.0]), posinf=9.0)
    tensor([0., 9., 1.])
    """
    require_tensor("nan_to_num", "input", 1, input)
    if not input.is_floating_point():
        return apply(NAN_TO_NUM_WHOLE, (input,), out=out)
    limits = np.finfo(input._array.dtype)
    numbers = {
        "nan": 0.0 if nan is None else nan,
        "posinf": float(limits.max) if posinf is None else posinf,
        "neginf": float(limits.min) if neginf is None else neginf,
    }
    return apply(NAN_TO_NUM, (input,), numbers, out=out)
