"""Operands of an op: from tensors and numbers to ndarrays of the promoted type.

Each promotion kind of PyTorch is one function here; the common cases (same floating type, tensor with
Python number) take a short way. Invariant: a formula sees ndarrays of one type, Python numbers that do not
change it, or None; float16 comes as float32 and is rounded once afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.dtype import BOOL_NUMPY, F16, F32, F64, I64, get_default_dtype, result_type_of
from rushlight.storage import copy_order
from rushlight.tensor import Tensor

if TYPE_CHECKING:
    from rushlight.ops.table import Op

# PyTorch's kinds. DEFAULT computes float16 in float32 and rounds once; NO_OPMATH does not.
DEFAULT, NO_OPMATH, INT_TO_FLOAT, ALWAYS_BOOL, BOOL_TO_LONG, NONE = range(6)

# PyTorch's two other ways to name a type in error messages.
C_NAMES = {
    "bool": "bool",
    "uint8": "unsigned char",
    "int8": "signed char",
    "int16": "short int",
    "int32": "int",
    "int64": "long int",
    "float16": "c10::Half",
    "float32": "float",
    "float64": "double",
}
TITLES = {
    "bool": "Bool",
    "uint8": "Byte",
    "int8": "Char",
    "int16": "Short",
    "int32": "Int",
    "int64": "Long",
    "float16": "Half",
    "float32": "Float",
    "float64": "Double",
}

_ndarray = np.ndarray


class ArgumentError(TypeError):
    """An operand of a type the op cannot take (operators turn it into NotImplemented).

    To programs it is a TypeError: it says so in tracebacks and becomes a plain one in other processes.
    """

    def __reduce__(self) -> Any:
        return TypeError, self.args


ArgumentError.__name__ = ArgumentError.__qualname__ = "TypeError"
ArgumentError.__module__ = "builtins"


_HEAP_TYPE = 1 << 9  # of a class that Python code defined; others tell their module too


def type_of(value: Any) -> str:
    """The type of a value as PyTorch's errors name it: ``list``, ``numpy.ndarray``.

    >>> type_of([1]), type_of(np.ones(1))
    ('list', 'numpy.ndarray')
    """
    kind = type(value)
    told = kind.__flags__ & _HEAP_TYPE or kind.__module__ == "builtins"
    return kind.__name__ if told else f"{kind.__module__}.{kind.__name__}"


def operand_of(op: Op, inputs: Sequence[Any], index: int) -> Any:
    """The ndarray of a tensor, a Python number as it is; ArgumentError for anything else."""
    value = inputs[index]
    if isinstance(value, Tensor):
        return value._array
    if isinstance(value, (bool, int, float)) or (value is None and op.kind != "map"):
        return value
    if isinstance(value, np.generic):
        return value.item()
    name = op.input_names[0] if op.variadic else op.input_names[index]
    raise ArgumentError(
        f"{op.name}(): argument '{name}' (position {index + 1}) must be Tensor, not {type_of(value)}"
    )


def _prepare_none(op: Op, inputs: Sequence[Any]) -> tuple[Sequence[Any], Any]:
    operands = []
    for index, each in enumerate(inputs):
        operands.append(each._array if isinstance(each, Tensor) else operand_of(op, inputs, index))
    return operands, None


def convert_operand(operand: Any, kind: np.dtype) -> Any:
    """Bring one operand to the common type; integers wrap around as they do in C."""
    if isinstance(operand, _ndarray):
        return operand if operand.dtype == kind else operand.astype(kind, copy_order(operand))
    if kind.kind == "f":
        return np.asarray(operand, dtype=kind)
    if kind.kind == "b":
        return np.asarray(bool(operand))
    try:
        return np.asarray(int(operand) & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64).astype(kind)
    except (OverflowError, ValueError):  # infinity or NaN
        raise RuntimeError(f"value cannot be converted to type {kind.name}_t without overflow") from None


def _common(op: Op, inputs: Sequence[Any], to_float: bool) -> tuple[list[Any], np.dtype]:
    """Operands in their promoted type, and that type: the general path behind the quick ones below."""
    operands = [operand_of(op, inputs, i) for i in range(len(inputs))]
    common = result_type_of([x for x in operands if x is not None])
    if to_float and not common.is_floating_point:
        common = get_default_dtype()
    kind = common.numpy
    compute = F32 if kind is F16 and op.promote != NO_OPMATH else kind
    return [None if x is None else convert_operand(x, compute) for x in operands], kind


def _prepare_default(op: Op, inputs: Sequence[Any]) -> tuple[Sequence[Any], Any]:
    if len(inputs) == 2:
        left, right = inputs
        if isinstance(left, Tensor):
            a = left._array
            if isinstance(right, Tensor):
                b = right._array
                kind = a.dtype
                if kind is b.dtype and kind is not F16:
                    return (a, b), None
            elif (type(right) is float or type(right) is int) and (a.dtype is F32 or a.dtype is F64):
                return (a, right), None
    elif len(inputs) == 1:
        a = inputs[0]._array if isinstance(inputs[0], Tensor) else operand_of(op, inputs, 0)
        if isinstance(a, _ndarray) and a.dtype is not F16:
            return (a,), None
    elif len(inputs) == 3:
        first, second, third = inputs
        if isinstance(first, Tensor) and isinstance(second, Tensor) and isinstance(third, Tensor):
            a, b, c = first._array, second._array, third._array
            kind = a.dtype
            if kind is b.dtype and kind is c.dtype and kind is not F16:
                return (a, b, c), None
    operands, kind = _common(op, inputs, to_float=False)
    return operands, kind if kind is F16 else None


def _prepare_to_float(op: Op, inputs: Sequence[Any]) -> tuple[Sequence[Any], Any]:
    if len(inputs) == 1:
        a = inputs[0]._array if isinstance(inputs[0], Tensor) else operand_of(op, inputs, 0)
        if isinstance(a, _ndarray) and (a.dtype is F32 or a.dtype is F64):
            return (a,), None
    elif len(inputs) == 2:
        left, right = inputs
        if isinstance(left, Tensor):
            a = left._array
            if a.dtype is F32 or a.dtype is F64:
                if isinstance(right, Tensor):
                    if right._array.dtype is a.dtype:
                        return (a, right._array), None
                elif type(right) is float or type(right) is int:
                    return (a, right), None
    operands, kind = _common(op, inputs, to_float=True)
    return operands, kind if kind is F16 else None


def _prepare_bool(op: Op, inputs: Sequence[Any]) -> tuple[Sequence[Any], Any]:
    operands, _ = _prepare_default(op, inputs)
    return operands, None  # the formulas of such ops return bools by themselves


def _prepare_bool_to_long(op: Op, inputs: Sequence[Any]) -> tuple[Sequence[Any], Any]:
    operands, kind = _common(op, inputs, to_float=False)
    if kind is BOOL_NUMPY:
        return [convert_operand(x, I64) for x in operands], None
    return operands, kind if kind is F16 else None


PREPARE = {
    DEFAULT: _prepare_default,
    NO_OPMATH: _prepare_default,
    INT_TO_FLOAT: _prepare_to_float,
    ALWAYS_BOOL: _prepare_bool,
    BOOL_TO_LONG: _prepare_bool_to_long,
    NONE: _prepare_none,
}
