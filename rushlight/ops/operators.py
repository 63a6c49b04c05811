"""Python's operators on tensors: what ``a + b`` and its like call.

An operator is its op without the checks of the named function. An operand of a type that the op cannot
take makes it return NotImplemented, so that the other operand gets its turn and Python raises its usual
TypeError. Invariant: an operator records the very node that PyTorch records for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight.ops import compare, elementwise, functions
from rushlight.ops.convert import from_numpy_array
from rushlight.ops.define import TABLE, ArgumentError, Op, apply
from rushlight.tensor import Tensor


def _operator(name: str, op: Op) -> Callable[[Tensor, Any], Any]:
    def operator(self: Tensor, other: Any) -> Any:
        try:
            return apply(op, (self, other))
        except ArgumentError:
            return NotImplemented

    operator.__name__ = name
    return operator


def _reflected(name: str, op: Op) -> Callable[[Tensor, Any], Any]:
    def operator(self: Tensor, other: Any) -> Any:
        try:
            return apply(op, (other, self))
        except ArgumentError:
            return NotImplemented

    operator.__name__ = name
    return operator


def _calling(
    name: str, function: Callable[..., Any], reflected: bool = False
) -> Callable[[Tensor, Any], Any]:
    """An operator that has to choose among ops, as its function does."""

    def operator(self: Tensor, other: Any) -> Any:
        try:
            return function(other, self) if reflected else function(self, other)
        except ArgumentError:
            return NotImplemented

    operator.__name__ = name
    return operator


def _reflected_sub(self: Tensor, other: Any) -> Any:
    try:
        return elementwise.rsub(self, other)
    except ArgumentError:
        return NotImplemented


def _reflected_div(self: Tensor, other: Any) -> Any:
    try:
        return functions.reciprocal(self) * other
    except TypeError:
        return NotImplemented


def _power(self: Tensor, other: Any, modulo: Any = None) -> Any:
    """``self ** other``; Python's three-argument `pow` is not for tensors."""
    try:
        return NotImplemented if modulo is not None else functions.pow(self, other)
    except ArgumentError:
        return NotImplemented


def _equality(name: str, op: Op) -> Callable[[Tensor, Any], Any]:
    """``==`` and ``!=``, which compare with the elements of NumPy's arrays too."""

    def operator(self: Tensor, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            other = from_numpy_array(other)
        try:
            return apply(op, (self, other))
        except ArgumentError:
            return NotImplemented

    operator.__name__ = name
    return operator


def _invert(self: Tensor) -> Tensor:
    if self.is_floating_point():
        raise TypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors")
    return compare.bitwise_not(self)


BINARY: dict[str, Any] = {
    "add": elementwise.ADD,
    "sub": elementwise.SUB,
    "mul": elementwise.MUL,
    "truediv": elementwise.DIV,
    "floordiv": elementwise.FLOOR_DIVIDE,
    "lt": TABLE["lt"].op,
    "le": TABLE["le"].op,
    "gt": TABLE["gt"].op,
    "ge": TABLE["ge"].op,
    "and": TABLE["bitwise_and"].op,
    "or": TABLE["bitwise_or"].op,
    "xor": TABLE["bitwise_xor"].op,
    "lshift": TABLE["bitwise_left_shift"].op,
    "rshift": TABLE["bitwise_right_shift"].op,
}
EQUALITY: dict[str, Any] = {"eq": TABLE["eq"].op, "ne": TABLE["ne"].op}
REFLECTED = ("add", "mul", "floordiv", "and", "or", "xor", "lshift", "rshift")
IN_PLACE: dict[str, Any] = {
    "add": TABLE["add"].inplace,
    "sub": TABLE["sub"].inplace,
    "mul": TABLE["mul"].inplace,
    "truediv": TABLE["div"].inplace,
    "floordiv": TABLE["floor_divide"].inplace,
    "mod": TABLE["remainder"].inplace,
    "pow": TABLE["pow"].inplace,
    "and": TABLE["bitwise_and"].inplace,
    "or": TABLE["bitwise_or"].inplace,
    "xor": TABLE["bitwise_xor"].inplace,
    "lshift": TABLE["bitwise_left_shift"].inplace,
    "rshift": TABLE["bitwise_right_shift"].inplace,
}

# What Tensor gets.
METHODS: dict[str, Callable[..., Any]] = {
    **{f"__{name}__": _operator(f"__{name}__", op) for name, op in BINARY.items()},
    **{f"__{name}__": _equality(f"__{name}__", op) for name, op in EQUALITY.items()},
    **{f"__r{name}__": _reflected(f"__r{name}__", BINARY[name]) for name in REFLECTED},
    **{f"__i{name}__": _calling(f"__i{name}__", function) for name, function in IN_PLACE.items()},
    "__mod__": _calling("__mod__", elementwise.remainder),
    "__rmod__": _calling("__rmod__", elementwise.remainder, reflected=True),
    "__pow__": _power,
    "__rpow__": _calling("__rpow__", functions.pow, reflected=True),
    "__rsub__": _reflected_sub,
    "__rtruediv__": _reflected_div,
    "__neg__": elementwise.neg,
    "__pos__": elementwise.positive,
    "__abs__": elementwise.abs,
    "__invert__": _invert,
}
