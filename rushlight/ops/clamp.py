"""Keeping values within bounds, interpolating between two, and the fused multiply-adds.

Maps of three or more operands, of which some are usually plain numbers. Numbers beside a floating
tensor are params of the op, so the common calls convert nothing; all other combinations promote their
operands. Invariant: both ways give the same values and the node that PyTorch names for them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.ops.arguments import older_form, require_tensor
from rushlight.ops.define import C_NAMES, apply
from rushlight.ops.kinds import alias, elementwise_op, only, public, renamed
from rushlight.ops.samples import Sample, T, binary
from rushlight.ops.select import WHERE, where
from rushlight.tensor import Tensor

# -- bounds ----------------------------------------------------------------------------------------------

# Where a value was kept its gradient passes, at the bounds too.
CLAMP_BACKWARD = elementwise_op(
    "clamp_backward",
    lambda k, grad, input, *, min, max: k.where((input >= min) & (input <= max), grad, 0.0),
    dict(grad=lambda g, input, min, max: apply(CLAMP_BACKWARD, (g, input), {"min": min, "max": max})),
)
CLAMP = elementwise_op(
    "clamp",
    lambda k, input, *, min, max: k.minimum(max, k.maximum(min, input)),
    dict(input=lambda g, input, min, max: apply(CLAMP_BACKWARD, (g, input), {"min": min, "max": max})),
    node_name="ClampBackward1",
    check=only("fiu", "clamp_scalar_cpu"),
)
CLAMP_TENSOR = elementwise_op(
    "clamp",
    lambda k, input, min, max: k.minimum(max, k.maximum(min, input)),
    dict(
        input=lambda g, input, min, max: where((input >= min) & (input <= max), g, 0.0),
        min=lambda g, input, min, max: where((min < max) & (input < min), g, 0.0),
        max=lambda g, input, min, max: where((input > max) | (max < min), g, 0.0),
    ),
    check=only("fiu", "clamp_cpu"),
)
CLAMP_NUMBERS = renamed(CLAMP_TENSOR, "ClampBackward1", ("min", "max"))
CLAMP_MIN_TENSOR = elementwise_op(
    "clamp_min",
    lambda k, input, min: k.maximum(min, input),
    dict(
        input=lambda g, input, min: apply(WHERE, (input >= min, g, 0.0)),
        min=lambda g, input, min: apply(WHERE, (input < min, g, 0.0)),
    ),
    node_name="ClampMinBackward1",
    check=only("fiu", "clamp_min_scalar_cpu"),
)
CLAMP_MAX_TENSOR = elementwise_op(
    "clamp_max",
    lambda k, input, max: k.minimum(max, input),
    dict(
        input=lambda g, input, max: apply(WHERE, (input <= max, g, 0.0)),
        max=lambda g, input, max: apply(WHERE, (input > max, g, 0.0)),
    ),
    node_name="ClampMaxBackward1",
    check=only("fiu", "clamp_max_scalar_cpu"),
)
CLAMP_MIN = renamed(CLAMP_MIN_TENSOR, "ClampMinBackward0", ("min",))
CLAMP_MAX = renamed(CLAMP_MAX_TENSOR, "ClampMaxBackward0", ("max",))
CLAMP_ONLY_MIN = renamed(CLAMP_MIN_TENSOR, "ClampBackward1", ("min",))
CLAMP_ONLY_MAX = renamed(CLAMP_MAX_TENSOR, "ClampBackward1", ("max",))
CLAMP_ONLY_MIN_TENSOR = renamed(CLAMP_MIN_TENSOR, "ClampBackward0")
CLAMP_ONLY_MAX_TENSOR = renamed(CLAMP_MAX_TENSOR, "ClampBackward0")

NAN = float("nan")


def _clamp_samples() -> list[Sample]:
    bounds = [(-0.5, 0.5), (0, 1), (-0.5, None), (None, 1), (1.0, -1.0)]
    found = [Sample([T(shape), *pair]) for shape in [(3, 4), (), (0, 3)] for pair in bounds]
    found += [Sample([T((3, 4), kind), *pair]) for kind in ("float64", "float16", "int64") for pair in bounds]
    special = T(values=[NAN, 0.0, -0.0, float("inf"), -3.0])
    found += [
        Sample([special, -1.0, 1.0]),
        Sample([special, NAN, 1.0]),
        Sample([special, 0.0, 1.0]),
        Sample([special, -1.0, 0.0]),
        Sample([special, 0.0]),
        Sample([special, T(values=[0.0, 0.0, 0.0, 0.0, 0.0]), T(values=[1.0])]),
        Sample([special], {"min": T(values=[0.0, NAN, 0.0, 0.0, 0.0])}),
        Sample([T((3, 4))], {"min": T((4,), high=0.0), "max": T((3, 1), low=0.0)}),
        Sample([T((3, 4)), T((3, 4)), T((4,))]),
        Sample([T((3, 4)), T(()), T(())]),
        Sample([T((3, 4)), T((4,))]),
        Sample([T((3, 4))], {"max": T((4,))}),
        Sample([T((3,), "int64"), T((3,)), T((3,), "int64")]),
        Sample([T((3,), "bool"), 0, 1]),
        Sample([T((3,))], raises=True),
        Sample([T((3,), "bool"), True], raises=True),
        Sample([T((3,)), T((2,))], raises=True),
    ]
    return found


@public(CLAMP, inplace=True, samples=_clamp_samples)
def clamp(input: Tensor, min: Any = None, max: Any = None, *, out: Any = None) -> Any:
    """`input` kept between `min` and `max`, numbers or tensors; one may be None; `max` wins over `min`.

    >>> import rushlight as torch
    >>> torch.clamp(torch.tensor([-2.0, 0.5, 3.0]), 0, 1)
    tensor([0.0000, 0.5000, 1.0000])
    """
    require_tensor("clamp", "input", 1, input)
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if isinstance(min, str) or isinstance(max, str):
        kinds = ", ".join(type(each).__name__ for each in (min, max) if each is not None)
        raise TypeError(
            f"clamp() received an invalid combination of arguments - got ({kinds}), but expected one of: "
            "(Tensor min, Tensor max) or (Number min, Number max)"
        )
    tensors = isinstance(min, Tensor) or isinstance(max, Tensor)
    if max is None:
        return apply(CLAMP_ONLY_MIN_TENSOR if tensors else CLAMP_ONLY_MIN, (input, min), out=out)
    if min is None:
        return apply(CLAMP_ONLY_MAX_TENSOR if tensors else CLAMP_ONLY_MAX, (input, max), out=out)
    if tensors:
        return apply(CLAMP_TENSOR, (input, min, max), out=out)
    if input._array.dtype.kind == "f":
        return apply(CLAMP, (input,), {"min": float(min), "max": float(max)}, out=out)
    return apply(CLAMP_NUMBERS, (input, min, max), out=out)


clip = alias("clip", clamp)


def _one_bound_samples() -> list[Sample]:
    return [
        *binary(numbers=(1, 0.5, NAN)),
        Sample([T(values=[1.0, 2.0, 3.0]), T(values=[1.0, 3.0, 2.0])]),
        Sample([T((3,), "bool"), True], raises=True),
    ]


@public(CLAMP_MIN, inplace=True, samples=_one_bound_samples)
def clamp_min(input: Tensor, min: Any, *, out: Any = None) -> Any:
    """`input`, or `min` where that is greater.

    >>> import rushlight as torch
    >>> torch.clamp_min(torch.tensor([-2.0, 0.5]), 0)
    tensor([0.0000, 0.5000])
    """
    require_tensor("clamp_min", "input", 1, input)
    return apply(CLAMP_MIN_TENSOR if isinstance(min, Tensor) else CLAMP_MIN, (input, min), out=out)


@public(CLAMP_MAX, inplace=True, samples=_one_bound_samples)
def clamp_max(input: Tensor, max: Any, *, out: Any = None) -> Any:
    """`input`, or `max` where that is less.

    >>> import rushlight as torch
    >>> torch.clamp_max(torch.tensor([-2.0, 0.5]), 0)
    tensor([-2.,  0.])
    """
    require_tensor("clamp_max", "input", 1, input)
    return apply(CLAMP_MAX_TENSOR if isinstance(max, Tensor) else CLAMP_MAX, (input, max), out=out)


# -- interpolation ---------------------------------------------------------------------------------------


def _lerp_into(input: np.ndarray, end: np.ndarray, *, weight: float, out: np.ndarray) -> None:
    """`LERP` with one temporary: what moving averages of large parameters are made of."""
    step = end - input
    if abs(weight) < 0.5:
        step *= weight
        np.add(input, step, out=out)
    else:
        step *= 1 - weight
        np.subtract(end, step, out=out)


LERP = elementwise_op(
    "lerp",
    # from the nearer end, so that weight 1 gives `end` exactly
    lambda k, input, end, *, weight: (
        input + weight * (end - input) if abs(weight) < 0.5 else end - (end - input) * (1 - weight)
    ),
    dict(input=lambda g, weight: g * (1 - weight), end=lambda g, weight: g * weight),
    check=only("f", "lerp_kernel_scalar"),
    into=_lerp_into,
)


def _lerp_by_tensor(k: Any, input: Any, end: Any, weight: Any) -> Any:
    """`LERP` with a choice of where to start and how far to go, not of two results."""
    near = k.abs(weight) < 0.5
    return k.where(near, input, end) + k.where(near, weight, weight - 1) * (end - input)


LERP_TENSOR = elementwise_op(
    "lerp",
    _lerp_by_tensor,
    dict(
        input=lambda g, weight: g * (1 - weight),
        end=lambda g, weight: g * weight,
        weight=lambda g, input, end: g * (end - input),
    ),
    node_name="LerpBackward1",
    check=only("f", "lerp_kernel_tensor"),
)


@public(
    LERP,
    inplace=True,
    samples=lambda: [
        *[Sample([T((3, 4)), T((4,)), weight]) for weight in (0.25, 0.5, 0.9, 1, -2.0)],
        Sample([T((3, 4)), T((3, 4)), T((3, 4))]),
        Sample([T((3, 1)), T((4,)), T(())]),
        Sample([T(()), T(()), 0.3]),
        Sample([T((0, 3)), T((3,)), 0.3]),
        Sample([T((3,), "float64"), T((3,), "float64"), T((3,), "float64", low=0, high=1)]),
        Sample([T((3,), "float16"), T((3,), "float16"), 0.3]),
        Sample([T((3,)), T((3,), "float64"), 0.3], raises=True),
        Sample([T((3,)), T((3,)), T((3,), "int64")], raises=True),
        Sample([T((3,), "int64"), T((3,), "int64"), 0.3], raises=True),
    ],
)
def lerp(input: Tensor, end: Tensor, weight: Any, *, out: Any = None) -> Any:
    """``input + weight * (end - input)``: `weight`, a number or a tensor, says how far to go.

    >>> import rushlight as torch
    >>> torch.lerp(torch.tensor([0.0, 10.0]), torch.tensor([1.0, 20.0]), 0.5)
    tensor([ 0.5000, 15.0000])
    """
    require_tensor("lerp", "input", 1, input)
    require_tensor("lerp", "end", 2, end)
    for name, operand in (("end", end), ("weight", weight)):
        if isinstance(operand, Tensor) and operand.dtype is not input.dtype:
            raise RuntimeError(
                f"expected dtype {C_NAMES[input.dtype.name]} for `{name}` but got dtype "
                f"{C_NAMES[operand.dtype.name]}"
            )
    if isinstance(weight, Tensor):
        return apply(LERP_TENSOR, (input, end, weight), out=out)
    return apply(LERP, (input, end), {"weight": weight}, out=out)


# -- multiply-add ----------------------------------------------------------------------------------------


def _addcmul_into(input: Any, tensor1: Any, tensor2: Any, *, value: Any, out: np.ndarray) -> None:
    """`ADDCMUL` with one temporary."""
    product = tensor1 * value
    product *= tensor2
    np.add(input, product, out=out)


def _addcdiv_into(input: Any, tensor1: Any, tensor2: Any, *, value: Any, out: np.ndarray) -> None:
    """`ADDCDIV` with one temporary."""
    quotient = tensor1 * value
    quotient /= tensor2
    np.add(input, quotient, out=out)


ADDCMUL = elementwise_op(
    "addcmul",
    lambda k, input, tensor1, tensor2, *, value: input + tensor1 * value * tensor2,
    dict(
        input=lambda g: g,
        tensor1=lambda g, tensor2, value: g * (tensor2 * value),
        tensor2=lambda g, tensor1, value: g * (tensor1 * value),
    ),
    into=_addcmul_into,
)
ADDCDIV = elementwise_op(
    "addcdiv",
    lambda k, input, tensor1, tensor2, *, value: input + tensor1 * value / tensor2,
    dict(
        input=lambda g: g,
        tensor1=lambda g, tensor2, value: g * (value / tensor2),
        tensor2=lambda g, tensor1, tensor2, value: -g * (value * tensor1 / (tensor2 * tensor2)),
    ),
    into=_addcdiv_into,
)


def _three_operands(low: float | None = None) -> list[Sample]:
    def operands(kind: str = "float32") -> list[T]:
        return [T((3, 4), kind), T((4,), kind), T((3, 1), kind, low=low)]

    return [
        *[Sample(operands(), {"value": value}) for value in (1, 0.5, -2)],
        Sample([T((3,)), T((3,), layout="noncontiguous"), T((3,), low=low)]),
        Sample([T(()), T(()), T((), low=low)], {"value": 0.3}),
        Sample([T((0, 3)), T((3,)), T((3,), low=low)]),
        *[Sample(operands(kind), {"value": 0.5}) for kind in ("float64", "float16")],
        Sample([T((3,)), T((3,), "float64"), T((3,), low=low)]),
    ]


@public(
    ADDCMUL,
    inplace=True,
    samples=lambda: [
        *_three_operands(),
        Sample([T((3,), "int64"), T((3,), "int64"), T((3,), "int64")], {"value": 2}),
        Sample([T((3,)), T((3,), "int64"), T((3,), "int64")], {"value": 2}),
    ],
)
def addcmul(
    input: Tensor, tensor1: Tensor, tensor2: Tensor, *older: Any, value: Any = 1, out: Any = None
) -> Any:
    """``input + value * tensor1 * tensor2``.

    >>> import rushlight as torch
    >>> torch.addcmul(torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([3.0]), value=0.5)
    tensor([4.])
    """
    if older:
        return older_form("addcmul", addcmul, (input, tensor1, tensor2, *older), "value", out)
    _require_three("addcmul", input, tensor1, tensor2)
    if isinstance(value, float) and not any(x.is_floating_point() for x in (input, tensor1, tensor2)):
        value = int(value)
    return apply(ADDCMUL, (input, tensor1, tensor2), {"value": value}, out=out)


@public(
    ADDCDIV,
    inplace=True,
    samples=lambda: [
        *_three_operands(low=0.5),
        Sample([T((3,)), T((3,), "int64"), T((3,), "int64", low=1)], raises=True),
        Sample([T((3,)), T((3,), "int64"), T((3,), low=0.5)], {"value": 2}),
    ],
)
def addcdiv(
    input: Tensor, tensor1: Tensor, tensor2: Tensor, *older: Any, value: Any = 1, out: Any = None
) -> Any:
    """``input + value * tensor1 / tensor2``; the division needs a floating operand.

    >>> import rushlight as torch
    >>> torch.addcdiv(torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([4.0]), value=3)
    tensor([2.5000])
    """
    if older:
        return older_form("addcdiv", addcdiv, (input, tensor1, tensor2, *older), "value", out)
    _require_three("addcdiv", input, tensor1, tensor2)
    if not tensor1.is_floating_point() and not tensor2.is_floating_point():
        raise RuntimeError(
            "Integer division with addcdiv is no longer supported, and in a future  release addcdiv will "
            "perform a true division of tensor1 and tensor2. The historic addcdiv behavior can be "
            "implemented as (input + value * torch.trunc(tensor1 / tensor2)).to(input.dtype) for integer "
            "inputs and as (input + value * tensor1 / tensor2) for float inputs. The future addcdiv behavior "
            "is just the latter implementation: (input + value * tensor1 / tensor2), for all dtypes."
        )
    return apply(ADDCDIV, (input, tensor1, tensor2), {"value": value}, out=out)


def _require_three(name: str, input: Any, tensor1: Any, tensor2: Any) -> None:
    for position, (argument, value) in enumerate(
        (("input", input), ("tensor1", tensor1), ("tensor2", tensor2)), start=1
    ):
        require_tensor(name, argument, position, value)
