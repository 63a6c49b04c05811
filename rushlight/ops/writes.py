"""Writes: `copy_`, `fill_`, `zero_`, and tensors given other memory: `resize_`, `set_`, ``out=``.

Invariant: a write touches only the elements of its target, through whichever view it is made, and gives them
the target's type. Elements that were overwritten get a gradient of zero.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from rushlight.dtype import FLOATS
from rushlight.ops.arguments import array_of, int_tuple, require_tensor
from rushlight.ops.create import check_options, zeros_like
from rushlight.ops.define import C_NAMES, Op, apply, apply_inplace
from rushlight.ops.kinds import primitive, public
from rushlight.ops.samples import Sample, T, unary
from rushlight.ops.shapes import broadcast_shape
from rushlight.storage import copy_order, storage_of
from rushlight.tensor import Tensor


def _copied(input: np.ndarray, other: Any) -> np.ndarray:
    made = np.empty_like(input, order=copy_order(input), subok=False)
    np.copyto(made, other, casting="unsafe")
    return made


def _copy_into(target: np.ndarray, other: Any) -> None:
    np.copyto(target, other, casting="unsafe")


COPY = primitive(
    "copy",
    "map",
    _copied,
    dict(input=lambda g: zeros_like(g), other=lambda g: g),
    node_name="CopyBackwards",
    update=_copy_into,
)


def _copy_samples() -> list[Sample]:
    found = [Sample([T((2, 3), grad=False), T((3,))]), Sample([T((2, 3), "int64"), T((2, 3), high=9.0)])]
    found += [
        Sample([T((2, 3), grad=False), T((2, 3), "int64")]),
        Sample([T((2,), grad=False), 1.5]),
        Sample([T((), grad=False), T(())]),
    ]
    return found + [
        Sample([T((2, 3), grad=False), T(shape, grad=False)], raises=True)
        for shape in ((4,), (3, 1), (1, 2, 3))
    ]


@public(COPY, samples=_copy_samples, torch_name="Tensor.copy_")
def copy_(input: Tensor, other: Any, non_blocking: bool = False) -> Tensor:
    """Write the elements of `other`, broadcast and converted, into the tensor; returns it.

    `non_blocking` has no effect.

    >>> import rushlight as torch
    >>> torch.zeros(2, 2).copy_(torch.tensor([1, 2]))
    tensor([[1., 2.],
            [1., 2.]])
    """
    shape = array_of("copy_", input).shape
    if isinstance(other, Tensor):
        if other._array.shape != shape:
            common = broadcast_shape(shape, other._array.shape)
            if common != shape:
                raise RuntimeError(
                    f"output with shape {list(shape)} doesn't match the broadcast shape {list(common)}"
                )
    elif not isinstance(other, (bool, int, float)):
        require_tensor("copy_", "other", 1, other)
    else:
        other = wrapped_number(other, input._array.dtype)
    return apply_inplace(COPY, (input, other))


def wrapped_number(value: Any, kind: np.dtype) -> Any:
    """A Python number as one that a NumPy array of this type takes; integers wrap around as they do in C."""
    if kind.kind in "iu":
        bits = 8 * kind.itemsize
        value = int(value) % 2**bits
        return value - 2**bits if kind.kind == "i" and value >= 2 ** (bits - 1) else value
    return value


_WIDE = {"uint8": "uint8_t", "int8": "int8_t", "int16": "int16_t", "int32": "int", "int64": "int64_t"}
_WIDE |= {"float16": "c10::Half", "float32": "float"}
_LARGEST = {each.numpy: float(np.finfo(each.numpy).max) for each in FLOATS}


def fitting_number(value: Any, kind: np.dtype) -> Any:
    """A Python number as this type holds it, truncated for integers; RuntimeError where it does not fit."""
    if kind.kind == "f":
        if -_LARGEST[kind] <= value <= _LARGEST[kind] or not math.isfinite(value):
            return float(value)
    elif kind.kind == "b":
        return bool(value)
    elif math.isfinite(value):
        whole, limits = int(value), np.iinfo(kind)
        if (-limits.max if kind.kind == "u" else limits.min) <= whole <= limits.max:
            return whole % 256 if kind.kind == "u" else whole
    raise RuntimeError(f"value cannot be converted to type {_WIDE[kind.name]} without overflow")


def _fill_op(node_name: str, of_number: bool) -> Op:
    rules = dict(input=lambda g: zeros_like(g))
    if not of_number:
        rules["value"] = lambda g: g
    return primitive(
        "fill",
        "map",
        _copied,
        rules,
        inputs=("input", "value"),
        node_name=node_name,
        update=_copy_into,
        overlap="none",
    )


# For numbers and tensors out of place, then in place.
FILL = [_fill_op(f"FillBackward{number}", of_number=number in (0, 2)) for number in range(4)]
ZERO = primitive(
    "zero",
    "map",
    lambda input: np.zeros_like(input, order=copy_order(input), subok=False),
    dict(input=lambda g: zeros_like(g)),
    update=lambda target: target.fill(0),
    overlap="none",
)


def _fill_samples() -> list[Sample]:
    found = [
        Sample([T((2, 3)), 1.5]),
        Sample([T((2, 3), "int64"), 2.7]),
        Sample([T((2,), "bool"), 3]),
        Sample([T((2, 3)), T(())]),
    ]
    found += [Sample([T((2,)), T((), "int64")]), Sample([T((0, 3)), 1]), Sample([T((2,), "uint8"), -1])]
    return [*found, Sample([T((2,), "int8"), 300], raises=True), Sample([T((2,)), T((1,))], raises=True)]


def _fill_operand(name: str, input: Tensor, value: Any) -> Any:
    array = array_of(name, input)
    if isinstance(value, Tensor):
        if value._array.ndim:
            raise RuntimeError(
                f"fill_ only supports 0-dimension value tensor but got tensor with {value._array.ndim} "
                "dimensions."
            )
        return value
    if not isinstance(value, (bool, int, float, np.number)):
        raise TypeError(
            f"{name}() received an invalid combination of arguments - got ({type(value).__name__}), but "
            "expected one of:\n * (Tensor value)\n * (Number value)"
        )
    return fitting_number(value, array.dtype)


@public(FILL[0], samples=_fill_samples, method=False)
def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor like `input` with every element `value`, a number or a 0-d tensor."""
    value = _fill_operand("fill", input, value)
    return apply(FILL[isinstance(value, Tensor)], (input, value))


@public(FILL[2], samples=_fill_samples, torch_name="Tensor.fill_")
def fill_(input: Tensor, value: Any) -> Tensor:
    """Set every element to `value`, a number or a 0-d tensor; returns the tensor.

    >>> import rushlight as torch
    >>> torch.empty(3).fill_(2)
    tensor([2., 2., 2.])
    """
    value = _fill_operand("fill_", input, value)
    return apply_inplace(FILL[2 + isinstance(value, Tensor)], (input, value))


@public(ZERO, samples=unary, name="zero_")
def zero_(input: Tensor) -> Tensor:
    """Set every element to zero; returns the tensor."""
    return apply_inplace(ZERO, (input,))


# -- storage -------------------------------------------------------------------------------------------------


def _resized(input: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """An array of this shape from the tensor's first element on, over new memory if its storage is short."""
    array = input._array
    count, offset = math.prod(shape), input.storage_offset()
    storage = storage_of(array)
    if offset + count > storage.size:
        larger = np.empty(offset + count, array.dtype)
        larger[: storage.size] = storage
        storage = larger
    return storage[offset : offset + count].reshape(shape)


def resize_(self: Tensor, *sizes: Any, size: Any = None, memory_format: Any = None) -> Tensor:
    """Give the tensor another shape over its own storage, which grows by arbitrary values if it is short.

    >>> import rushlight as torch
    >>> torch.arange(6).resize_(2, 2)
    tensor([[0, 1],
            [2, 3]])
    """
    check_options("resize_", None, None, memory_format)
    if self.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    shape = int_tuple("resize_", "size", sizes if size is None else (size,))
    if min(shape, default=0) < 0:
        raise RuntimeError(f"Trying to resize a tensor to a negative length: {list(shape)}")
    if shape != self._array.shape:
        self._array = _resized(self, shape)
    self._bump_version()
    return self


def resize_as_(self: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """`resize_` to the shape of another tensor."""
    return resize_(self, tuple(the_template.shape), memory_format=memory_format)


def resize_output(self: Tensor, shape: tuple[int, ...]) -> None:
    """What ``out=`` does to a tensor of the wrong shape: resize it, with a warning unless it is empty."""
    if self._array.size:
        warnings.warn(
            "An output with one or more elements was resized since it had shape "
            f"{list(self._array.shape)}, which does not match the required output shape {list(shape)}. "
            "This behavior is deprecated, and in a future PyTorch release outputs will not be resized "
            "unless they have zero elements. You can explicitly reuse an out tensor t by resizing it, "
            "inplace, to zero elements with t.resize_(0).",
            stacklevel=3,
        )
    self._array = _resized(self, shape)


def set_(
    self: Tensor, source: Tensor | None = None, storage_offset: int = 0, size: Any = None, stride: Any = None
) -> Tensor:
    """Let the tensor show the memory of `source` (or a window of it), or nothing if there is none.

    >>> import rushlight as torch
    >>> x = torch.zeros(2)
    >>> x.set_(torch.arange(3.0))
    tensor([0., 1., 2.])
    """
    if self.requires_grad and not self.is_leaf:
        raise RuntimeError("set_() cannot replace the memory of a tensor that was computed: detach it first")
    if source is None:
        self._array = np.empty(0, self._array.dtype)
    else:
        array = array_of("set_", source, "source")
        if array.dtype is not self._array.dtype:
            ours, theirs = (C_NAMES[each.dtype.name] for each in (self, source))
            raise RuntimeError(f"Could not set tensor of type {theirs} to a tensor of type {ours}")
        if size is not None:
            from rushlight.ops.slicing import window_of_storage  # imports this module

            size = int_tuple("set_", "size", (size,))
            steps = row_major_strides(size) if stride is None else int_tuple("set_", "stride", (stride,))
            array = window_of_storage(array, size, steps, storage_offset)
        self._array = array
    self._bump_version()
    return self


def row_major_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in elements, of a row-major tensor of this shape."""
    strides = [1] * len(shape)
    for dim in range(len(shape) - 2, -1, -1):
        strides[dim] = strides[dim + 1] * max(shape[dim + 1], 1)
    return tuple(strides)


METHODS: dict[str, Any] = {
    "resize_": resize_,
    "resize_as_": resize_as_,
    "set_": set_,
    "_resize_output": resize_output,
}
