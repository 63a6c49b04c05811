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


BINARY = {
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
REFLECTED = ("add", "mul", "floordiv", "and", "or", "xor", "lshift", "rshift")
IN_PLACE = {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "truediv": "div",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "pow",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift",
}


def attach() -> None:
    """Give Tensor its operators."""
    for name, op in BINARY.items():
        assert op is not None
        setattr(Tensor, f"__{name}__", _operator(f"__{name}__", op))
        if name in REFLECTED:
            setattr(Tensor, f"__r{name}__", _reflected(f"__r{name}__", op))
    for name in ("eq", "ne"):
        setattr(Tensor, f"__{name}__", _equality(f"__{name}__", TABLE[name].op))
    for name, entry in IN_PLACE.items():
        setattr(Tensor, f"__i{name}__", _calling(f"__i{name}__", TABLE[entry].inplace))
    for name, function in (("mod", elementwise.remainder), ("pow", functions.pow)):
        setattr(Tensor, f"__{name}__", _calling(f"__{name}__", function))
        setattr(Tensor, f"__r{name}__", _calling(f"__r{name}__", function, reflected=True))
    Tensor.__pow__ = _power
    Tensor.__rsub__ = _reflected_sub
    Tensor.__rtruediv__ = _reflected_div
    Tensor.__neg__ = elementwise.neg
    Tensor.__pos__ = elementwise.positive
    Tensor.__abs__ = elementwise.abs
    Tensor.__invert__ = _invert
