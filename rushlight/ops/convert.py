"""Making tensors from data, and handing them back: lists, numbers, ndarrays, DLPack.

`tensor` copies, `as_tensor`, `from_numpy` and DLPack share memory where they can. Invariant: numbers given as
Python values get PyTorch's types (bool, int64, the default floating type), and integers that do not fit are
refused, not wrapped.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight.autograd.mode import RECORDING, reading, state
from rushlight.dtype import ALL, BOOL_NUMPY, I64, bool_, from_numpy, get_default_dtype
from rushlight.dtype import dtype as DType
from rushlight.ops.create import check_options, finish, numpy_type
from rushlight.ops.operands import C_NAMES
from rushlight.quiet import QUIET, error_state
from rushlight.tensor import Tensor, new_tensor

_SEQUENCES = (list, tuple)


def _flatten(data: Any) -> tuple[tuple[int, ...], list[Any]]:
    """Shape and elements, in order, of nested sequences; ValueError with PyTorch's sentence when ragged."""
    shape: list[int] = []
    level = [data]
    # The first element says whether there is one more dimension; a tensor counts as a number there.
    while level and not isinstance(level[0], Tensor) and _is_sequence(level[0]):
        length = len(level[0])
        following = []
        for each in level:
            if not _is_sequence(each):
                raise TypeError(f"not a sequence: {each!r}")
            if len(each) != length:
                raise ValueError(
                    f"expected sequence of length {length} at dim {len(shape)} (got {len(each)})"
                )
            following.extend(each)
        shape.append(length)
        level = following
    return tuple(shape), level


def _is_sequence(value: Any) -> bool:
    if isinstance(value, (str, bytes, dict)):
        return False
    if isinstance(value, Tensor):
        return value._array.ndim > 0
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, _SEQUENCES) or (hasattr(value, "__len__") and hasattr(value, "__getitem__"))


def array_from(data: Any, dtype: DType | None) -> np.ndarray:
    """A new array with the values of `data` in the type PyTorch would choose, or in `dtype`."""
    if isinstance(data, Tensor):
        return _cast(data._array, (dtype or data.dtype).numpy)
    if isinstance(data, np.ndarray):
        kind = dtype or from_numpy(data.dtype)
        _check_array(data)
        return _cast(data, kind.numpy)
    if isinstance(data, np.generic):
        return _cast(data, (dtype or from_numpy(data.dtype)).numpy)
    shape, elements = _flatten(data) if not isinstance(data, (int, float)) else ((), [data])
    if elements and isinstance(data, _SEQUENCES) and isinstance(data[0], np.ndarray):
        warnings.warn(
            "Creating a tensor from a list of numpy.ndarrays is extremely slow. Please consider converting "
            "the list to a "
            "single numpy.ndarray with numpy.array() before converting to a tensor.",
            stacklevel=4,
        )
    if elements and shape and isinstance(elements[0], str):
        raise ValueError("too many dimensions 'str'")
    try:
        inferred = _infer(elements)
    except RuntimeError:
        _refuse_element(elements, dtype)
        raise
    kind = dtype or inferred
    values = [
        _number(each, kind) if isinstance(each, (Tensor, np.generic, np.ndarray)) else each
        for each in elements
    ]
    if kind.category == 1 and not inferred.is_floating_point:
        _check_range(values, kind)
    elif kind.category == 1:
        values = [_whole(each, kind) for each in values]
    return _cast(values, kind.numpy).reshape(shape)


def _number(value: Tensor | np.generic | np.ndarray, kind: DType) -> Any:
    """An element of a list as a Python number; a tensor must have one element, and integers only those."""
    if isinstance(value, Tensor):
        hint = "" if value._array.size == 1 else ": put tensors together with torch.stack()"
        if kind.is_floating_point:
            if hint:
                raise ValueError(f"only one element tensors can be converted to Python scalars{hint}")
        elif hint or value.is_floating_point():
            raise TypeError(f"only integer tensors of a single element can be converted to an index{hint}")
    return value.item()


def _whole(value: Any, kind: DType) -> int:
    """A number without its fraction, for a type of whole numbers that must hold it."""
    limits = np.iinfo(kind.numpy)
    if not (math.isfinite(value) and limits.min <= int(value) <= limits.max):
        raise _overflow(kind)
    return int(value)


def _overflow(kind: DType) -> RuntimeError:
    return RuntimeError(f"value cannot be converted to type {kind.name} without overflow")


def _refuse_element(elements: list[Any], dtype: DType | None) -> None:
    """TypeError for a list among numbers, or for what cannot be converted to the type asked for."""
    for each in elements:
        if isinstance(each, (bool, int, float, np.generic, Tensor)):
            continue
        if dtype is not None or _is_sequence(each):
            floating = isinstance(elements[0], float) if dtype is None else dtype.is_floating_point
            name = type(each).__name__
            raise TypeError(
                f"must be real number, not {name}"
                if floating
                else f"'{name}' object cannot be interpreted as an integer"
            )
        return


def _cast(values: Any, kind: np.dtype) -> np.ndarray:
    token = error_state.set(QUIET)
    try:
        return np.array(values, dtype=kind, order="C")
    finally:
        error_state.reset(token)


def _infer(elements: list[Any]) -> DType:
    """The type of a list of numbers: the widest category, and PyTorch's default within it."""
    found: DType | None = None
    for kind in {type(each) if type(each) in (bool, int, float) else None for each in elements}:
        if kind is not None:
            continue
        for each in elements:
            found = _join(found, _type_of_element(each))
    kinds = {type(each) for each in elements}
    if any(issubclass(kind, float) for kind in kinds):
        found = _join(found, get_default_dtype()) if found is None or not found.is_floating_point else found
    elif int in kinds:
        found = _join(found, from_numpy(I64))
    elif bool in kinds:
        found = _join(found, bool_)
    return found or get_default_dtype()


def _join(found: DType | None, other: DType) -> DType:
    from rushlight.dtype import promote_types

    return other if found is None else promote_types(found, other)


def _type_of_element(value: Any) -> DType:
    if isinstance(value, (bool, np.bool_)):
        return bool_
    if isinstance(value, int):
        return from_numpy(I64)
    if isinstance(value, Tensor):
        return value.dtype
    if isinstance(value, (np.generic, np.ndarray)):
        return from_numpy(value.dtype)
    if isinstance(value, float):
        return get_default_dtype()
    if isinstance(value, (str, bytes)):
        raise TypeError(f"new(): invalid data type '{type(value).__name__}'")
    if isinstance(value, complex):
        raise NotImplementedError(
            "complex numbers are not supported: keep real and imaginary parts as two tensors"
        )
    raise RuntimeError(f"Could not infer dtype of {type(value).__name__}")


def _check_range(values: list[Any], kind: DType) -> None:
    if not values:
        return
    low, high = min(values), max(values)
    if low < -(2**63) or high >= 2**63:
        raise ValueError("Overflow when unpacking long long")
    limits = np.iinfo(kind.numpy)
    if low < limits.min or high > limits.max:
        # PyTorch lets small negative numbers wrap into uint8
        if kind.name == "uint8" and low >= -255 and high <= 255:
            values[:] = [each & 255 for each in values]
            return
        raise _overflow(kind)


FEW = 64  # elements of an array or a captured tensor, which `compile` watches by their values


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """A new leaf tensor with a copy of `data`: numbers, nested sequences, arrays, pandas values.

    >>> import rushlight as torch
    >>> torch.tensor([[1, 2], [3, 4]], dtype=torch.float64)
    tensor([[1., 2.],
            [3., 4.]], dtype=torch.float64)
    """
    if device is not None or pin_memory or (requires_grad is not False and requires_grad is not True):
        check_options("tensor", None, device, None, pin_memory, requires_grad)
    if isinstance(data, Tensor):
        warnings.warn(
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor).",
            stacklevel=2,
        )
    if dtype is not None:
        dtype = from_numpy(numpy_type("tensor", dtype))
    if state.mode & RECORDING and _is_read_anew(data):
        made = from_numpy_array(data).to(dtype or from_numpy(data.dtype), copy=True)
    else:
        made = new_tensor(array_from(data, dtype))
    if requires_grad:
        finish(made, True, None)
    if state.inference:
        made._mark_inference()
    return made


def _is_read_anew(data: Any) -> bool:
    """Whether a step that is recorded reads the memory of this array at every call. Of what cannot be shared,
    and of so few elements, the values belong to the program, which is recorded again where they change.
    """
    if type(data) is not np.ndarray or data.size <= FEW or not data.flags.writeable:
        return False
    return data.dtype.isnative and data.dtype.kind in "fiub" and min(data.strides) >= 0


def _check_array(ndarray: np.ndarray) -> None:
    """Refuse arrays that run backwards or whose bytes do, as PyTorch does even where it copies."""
    strides = ndarray.strides
    if strides and min(strides) < 0:
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative strides "
            "are not currently "
            "supported. (You can probably work around this by making a copy of your array  with "
            "array.copy().) "
        )
    if not ndarray.dtype.isnative:
        raise ValueError(
            "given numpy array has byte order different from the native byte order. Conversion between byte "
            "orders is "
            "currently not supported."
        )


def from_numpy_array(ndarray: Any) -> Tensor:
    """A tensor that shares the memory of an ndarray, which PyTorch calls `from_numpy`."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    kind = from_numpy(ndarray.dtype).numpy
    _check_array(ndarray)
    if not ndarray.flags.writeable:
        warnings.warn(
            "The given NumPy array is not writable, and PyTorch does not support non-writable tensors. This "
            "means writing to "
            "this tensor will result in undefined behavior. You may want to copy the array to protect its "
            "data or make it "
            "writable before converting it to a tensor.",
            stacklevel=2,
        )
    if type(ndarray) is np.ndarray and ndarray.dtype is kind:
        return new_tensor(ndarray.view())  # an object of its own, whose shape nobody else can set
    return new_tensor(ndarray.view(np.ndarray).view(kind))


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """`data` as a tensor, sharing memory with a tensor or ndarray of the right type."""
    if isinstance(data, Tensor):
        return data if dtype is None and device is None else data.to(device=device, dtype=dtype or data.dtype)
    if device is not None:
        check_options("as_tensor", None, device)
    if isinstance(data, np.ndarray):
        shared = from_numpy_array(data)
        return shared if dtype is None else shared.to(dtype)
    return tensor(data, dtype=dtype)


def asarray(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """`obj` as a tensor, copying only when needed (`copy=None`), always, or never (`copy=False`)."""
    made = as_tensor(obj, dtype=dtype, device=device)
    source = obj._array if isinstance(obj, Tensor) else obj
    shares = isinstance(source, np.ndarray) and np.shares_memory(made._array, source)
    if copy is False and not shares:
        raise ValueError(
            "cannot alias tensor with different dtype or device, or data that is not an array: copy=False"
        )
    if copy and shares:
        made = made.detach().clone()
    if requires_grad and not made.requires_grad:
        made = made.detach() if made is obj else made
        made.requires_grad = True
    elif not requires_grad and made.requires_grad:
        made = made.detach()
    return made


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor sharing memory with any object that speaks DLPack, or holding a copy of it.

    Args:
        ext_tensor: has ``__dlpack__`` and ``__dlpack_device__``, as NumPy's arrays and others' tensors do.
        device: "cpu", if given.
        copy: True always copies, False never does; None where it must.

    >>> import rushlight as torch
    >>> import numpy as np
    >>> array = np.zeros(2)
    >>> torch.from_dlpack(array).add_(1.0) is not None, array.tolist()
    (True, [1.0, 1.0])
    """
    if device is not None:
        check_options("from_dlpack", None, device)
    array = np.from_dlpack(ext_tensor)
    return from_numpy_array(array.copy() if copy else array)


def is_tensor(obj: Any) -> bool:
    """Whether `obj` is a Tensor."""
    return isinstance(obj, Tensor)


# -- methods -------------------------------------------------------------------------------------------------


def numpy(self: Tensor, *, force: bool = False) -> np.ndarray:
    """The ndarray that this tensor wraps: shared memory. ``force=True`` detaches first, as it also goes
    while no history is recorded.
    """
    if state.grad_enabled and self.requires_grad and not force:
        raise RuntimeError(
            "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
        )
    if state.mode & RECORDING:
        reading("numpy()", self)
    return self._array


def array_protocol(self: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    """NumPy's ``__array__``: the shared array, or a converted copy."""
    array = numpy(self)
    if dtype is not None and array.dtype != dtype:
        return _cast(array, np.dtype(dtype))
    return array.copy() if copy else array


def array_wrap(self: Tensor, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Any:
    """NumPy's ``__array_wrap__``: what a ufunc computed from a tensor is a tensor again."""
    if array.dtype == BOOL_NUMPY:  # PyTorch's answer dates from before it had bools
        array = np.asarray(array).astype(np.uint8)
    return new_tensor(np.asarray(array))


def dlpack(self: Tensor, **kwargs: Any) -> Any:
    """DLPack's ``__dlpack__``: hands out the memory."""
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    reading("DLPack", self)
    return self._array.__dlpack__(**kwargs)


def dlpack_device(self: Tensor) -> tuple[int, int]:
    """DLPack's ``__dlpack_device__``: the CPU."""
    return self._array.__dlpack_device__()


def new_tensor_method(
    self: Tensor,
    data: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """`tensor` with this tensor's type where none is given."""
    check_options("new_tensor", layout, device, None, pin_memory, requires_grad)
    return tensor(data, dtype=dtype or self.dtype, requires_grad=requires_grad)


def legacy_new(args: tuple[Any, ...], kind: DType, strict: bool = False) -> np.ndarray:
    """The array behind ``Tensor(2, 3)`` (a shape) or ``Tensor([1, 2])`` (data), in type `kind`; if `strict`,
    a tensor must have that type already.
    """
    if not args:
        return np.empty(0, kind.numpy)
    first = args[0]
    if len(args) == 1 and isinstance(first, Tensor):
        if strict and first.dtype is not kind:
            options = [
                f"TensorOptions(dtype={name}, device=cpu, layout=Strided, requires_grad=false (default), "
                "pinned_memory=false (default), memory_format=(nullopt))"
                for name in (C_NAMES[kind.name], C_NAMES[first.dtype.name])
            ]
            raise TypeError(f"expected {options[0]} (got {options[1]})")
        return first._array
    if len(args) == 1 and _is_sequence(first) and not isinstance(first, np.generic):
        from rushlight.size import Size

        if isinstance(first, Size):
            return np.empty(first, kind.numpy)
        return array_from(first, kind)
    if not all(isinstance(each, (int, np.integer)) for each in args):
        raise TypeError(f"new(): data must be a sequence (got {type(first).__name__})")
    return np.empty(args, kind.numpy)


class _LegacyMeta(type):
    """`isinstance(x, FloatTensor)` asks for the element type."""

    kind: DType

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor) and instance.dtype is cls.kind


def _legacy(name: str, kind: DType) -> Any:
    def __new__(cls: Any, *args: Any) -> Tensor:
        return new_tensor(legacy_new(args, kind, strict=True))

    doc = f"Old constructor: a {kind.name} tensor of a shape given as numbers, or of given data."
    return _LegacyMeta(
        name, (), {"__new__": __new__, "kind": kind, "__doc__": doc, "dtype": kind, "__module__": "torch"}
    )


_LEGACY_NAMES = ("Bool", "Byte", "Char", "Short", "Int", "Long", "Half", "Float", "Double")
(
    BoolTensor,
    ByteTensor,
    CharTensor,
    ShortTensor,
    IntTensor,
    LongTensor,
    HalfTensor,
    FloatTensor,
    DoubleTensor,
) = (_legacy(name + "Tensor", kind) for name, kind in zip(_LEGACY_NAMES, ALL, strict=True))

METHODS: dict[str, Callable[..., Any]] = {
    "numpy": numpy,
    "__array__": array_protocol,
    "__array_wrap__": array_wrap,
    "__dlpack__": dlpack,
    "__dlpack_device__": dlpack_device,
    "new_tensor": new_tensor_method,
}
