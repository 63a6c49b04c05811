"""Stand-ins: what a step gets while it is recorded, instead of the tensors it was called with.

A program has memory of its own for its arguments. So the recorded run gets copies, laid out alike; what it
changes in them is copied back. Invariant: no buffer of a recording belongs to an argument and to
something captured at the same time.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.tensor import Tensor, new_tensor
from rushlight.views import extent


def copy_alike(array: np.ndarray) -> np.ndarray:
    """A copy with the same strides over memory of its own."""
    if array.flags.c_contiguous or not array.size:
        return array.copy()
    low, high = extent(array)
    memory = np.empty(high - low + 1, array.dtype)
    made = np.ndarray(array.shape, array.dtype, memory, -low * array.itemsize, array.strides)
    np.copyto(made, array)
    return made


def stand_in(tensor: Tensor) -> Tensor:
    """A leaf that looks like `tensor`; it shares ``.grad`` with it."""
    made: Tensor = new_tensor(copy_alike(tensor._array), type(tensor))
    made._requires_grad = tensor.requires_grad
    made._grad = tensor._grad
    made.__dict__.update(tensor.__dict__)
    return made


def replaced(value: Any, stand_ins: dict[int, Tensor]) -> Any:
    """An argument with its tensors replaced by their stand-ins."""
    if isinstance(value, Tensor):
        return stand_ins[id(value)]
    if isinstance(value, (tuple, list)):
        return rebuilt(type(value), [replaced(each, stand_ins) for each in value])
    if isinstance(value, dict):
        return with_values(value, {name: replaced(each, stand_ins) for name, each in value.items()})
    return value


def rebuilt(kind: Any, parts: Sequence[Any]) -> Any:
    """A tuple or list of some type, also one with named fields, with these elements."""
    return kind(*parts) if hasattr(kind, "_make") else kind(parts)


def with_values(table: dict[Any, Any], values: dict[Any, Any]) -> dict[Any, Any]:
    """A dictionary of the same type with these values."""
    if type(table) is dict:
        return values
    made = copy.copy(table)
    made.update(values)
    return made


class Same:
    """A value that is told apart by which object it is, kept alive so that no other can take its place."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value


_PLAIN = (int, float, bool, str, bytes, type(None))


def signature(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, list[Tensor]]:
    """What tells calls apart, and the different tensors among the arguments in order."""
    tensors: list[Tensor] = []
    key = tuple([_describe(each, tensors) for each in args])
    if kwargs:
        key = (*key, *((name, _describe(kwargs[name], tensors)) for name in sorted(kwargs)))
    return key, tensors


def _describe(value: Any, tensors: list[Tensor]) -> Any:
    if isinstance(value, Tensor):
        for place, each in enumerate(tensors):
            if each is value:
                return "again", place
        tensors.append(value)
        array = value._array
        return array.shape, array.strides, array.dtype.char, value.requires_grad, type(value)
    if isinstance(value, float):
        return type(value), repr(value)  # 0.0 is not -0.0
    if isinstance(value, _PLAIN):
        return type(value), value
    if isinstance(value, (tuple, list)):
        return type(value), tuple([_describe(each, tensors) for each in value])
    if isinstance(value, dict):
        return type(value), tuple((name, _describe(each, tensors)) for name, each in value.items())
    return Same(value)
