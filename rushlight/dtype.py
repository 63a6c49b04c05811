"""Data types and PyTorch's promotion rules.

A `dtype` names one element type and knows its NumPy twin. This file decides which type the result of an
operation has; it never touches data. Invariant: promotion follows PyTorch, in which tensors with dimensions
outrank 0-d tensors, which outrank Python numbers, unless the lower-ranked operand is of a higher category
(bool < integer < floating).
"""

from __future__ import annotations

from typing import Any

import numpy as np

BOOL, INTEGER, FLOATING = 0, 1, 2


class dtype:
    """The type of a tensor's elements; compare with ``is`` or ``==``, as in PyTorch.

    >>> import rushlight as torch
    >>> torch.float32
    torch.float32
    >>> torch.float32.itemsize, torch.int64.is_floating_point
    (4, False)
    """

    __slots__ = ("category", "is_complex", "is_floating_point", "is_signed", "itemsize", "name", "numpy")

    def __init__(self, name: str, numpy_name: str, category: int) -> None:
        self.name = name
        self.numpy = np.dtype(numpy_name)
        self.category = category
        self.is_floating_point = category == FLOATING
        self.is_complex = False
        self.is_signed = self.numpy.kind not in "bu"
        self.itemsize = self.numpy.itemsize

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return _by_name, (self.name,)

    def to_real(self) -> dtype:
        """The real type of the same precision: itself, since no complex types exist here."""
        return self


float32 = float_ = dtype("float32", "float32", FLOATING)
float64 = double = dtype("float64", "float64", FLOATING)
float16 = half = dtype("float16", "float16", FLOATING)
int8 = dtype("int8", "int8", INTEGER)
int16 = short = dtype("int16", "int16", INTEGER)
int32 = int_ = dtype("int32", "int32", INTEGER)
int64 = long = dtype("int64", "int64", INTEGER)
uint8 = dtype("uint8", "uint8", INTEGER)
bool_ = dtype("bool", "bool", BOOL)

ALL = (bool_, uint8, int8, int16, int32, int64, float16, float32, float64)
FLOATS = (float16, float32, float64)
_BY_NUMPY = {each.numpy: each for each in ALL}

F32, F64, F16, I64, BOOL_NUMPY = float32.numpy, float64.numpy, float16.numpy, int64.numpy, bool_.numpy


def _by_name(name: str) -> dtype:
    return next(each for each in ALL if each.name == name)


def from_numpy(numpy_dtype: Any) -> dtype:
    """The dtype whose NumPy twin is `numpy_dtype`; TypeError for a type PyTorch has no name for."""
    try:
        return _BY_NUMPY[numpy_dtype]
    except (KeyError, TypeError):
        pass
    native = np.dtype(numpy_dtype).newbyteorder("=")
    if native in _BY_NUMPY:
        return _BY_NUMPY[native]
    supported = ", ".join(each.name for each in reversed(ALL))
    raise TypeError(
        f"can't convert np.ndarray of type numpy.{native.type.__name__}. "
        f"The only supported types are: {supported}."
    )


_default = float32


def get_default_dtype() -> dtype:
    """The floating type given to Python floats and to results of integer division.

    >>> import rushlight as torch
    >>> torch.get_default_dtype()
    torch.float32
    """
    return _default


def set_default_dtype(d: dtype) -> None:
    """Set the default floating type (float16, float32 or float64)."""
    global _default
    if not isinstance(d, dtype):
        raise TypeError(f"invalid dtype object: {type(d).__name__}")
    if not d.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    _default = d


def _promotion_table() -> dict[tuple[dtype, dtype], dtype]:
    table = {}
    for a in ALL:
        for b in ALL:
            if a.category != b.category:
                table[a, b] = a if a.category > b.category else b
            else:  # within one category NumPy and PyTorch agree (uint8 with int8 gives int16)
                table[a, b] = _BY_NUMPY[np.promote_types(a.numpy, b.numpy)]
    return table


_PROMOTED = _promotion_table()


def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The smallest type to which both may be safely cast, PyTorch's lattice.

    >>> import rushlight as torch
    >>> torch.promote_types(torch.int32, torch.float16)
    torch.float16
    """
    return _PROMOTED[type1, type2]


def of_number(value: Any) -> dtype:
    """The type a Python or NumPy number has in promotion: bool, int64 or the default floating type."""
    if isinstance(value, (bool, np.bool_)):
        return bool_
    if isinstance(value, (int, np.integer)):
        return int64
    if isinstance(value, (float, np.floating)):
        return _default
    raise TypeError(f"expected a number, got {type(value).__name__}")


def _combine(higher: dtype | None, lower: dtype | None) -> dtype | None:
    """Join the results of two ranks: the lower one counts only where its category is higher."""
    if higher is None or lower is None:
        return higher or lower
    if higher.category >= lower.category:
        return higher
    return _PROMOTED[higher, lower]


def result_type_of(operands: Any) -> dtype:
    """The common type of ndarrays and Python numbers, by PyTorch's three ranks."""
    ranks: list[dtype | None] = [None, None, None]
    for operand in operands:
        if isinstance(operand, np.ndarray):
            rank, kind = (0 if operand.ndim else 1), from_numpy(operand.dtype)
        else:
            rank, kind = 2, of_number(operand)
        current = ranks[rank]
        ranks[rank] = kind if current is None else _PROMOTED[current, kind]
    result = _combine(ranks[0], _combine(ranks[1], ranks[2]))
    if result is None:
        raise ValueError("result_type_of needs at least one operand")
    return result


def result_type(tensor: Any, other: Any) -> dtype:
    """The type that an operation on two tensors or numbers would have.

    >>> import rushlight as torch
    >>> torch.result_type(torch.tensor([1, 2], dtype=torch.int), 1.0)
    torch.float32
    """
    return result_type_of([getattr(each, "_array", each) for each in (tensor, other)])


def can_cast(from_: dtype, to: dtype) -> bool:
    """Whether PyTorch lets a result of type `from_` be written into a tensor of type `to`.

    >>> import rushlight as torch
    >>> torch.can_cast(torch.double, torch.float), torch.can_cast(torch.float, torch.int)
    (True, False)
    """
    return from_.category <= to.category


class _TypeLimits:
    """What finfo and iinfo share: the limits of one type, read from NumPy."""

    def __init__(self, kind: dtype, info: Any) -> None:
        self.bits = kind.itemsize * 8
        self.dtype = kind.name
        self.max = info.max
        self.min = info.min


class finfo(_TypeLimits):
    """Limits of a floating type; `type` defaults to the default dtype.

    >>> import rushlight as torch
    >>> torch.finfo(torch.float32).eps
    1.1920928955078125e-07
    """

    def __init__(self, type: dtype | None = None) -> None:
        kind = type or _default
        if not kind.is_floating_point:
            raise TypeError(
                "torch.finfo() requires a floating point input type. Use torch.iinfo to handle 'torch.finfo'"
            )
        info = np.finfo(kind.numpy)
        super().__init__(kind, info)
        self.max, self.min = float(info.max), float(info.min)
        self.eps = float(info.eps)
        self.tiny = self.smallest_normal = float(info.tiny)
        self.resolution = 10.0**-info.precision

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
            f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )


class iinfo(_TypeLimits):
    """Limits of an integer type.

    >>> import rushlight as torch
    >>> torch.iinfo(torch.int8).max
    127
    """

    def __init__(self, type: dtype) -> None:
        if type.category != INTEGER:
            raise TypeError(
                "torch.iinfo() requires an integer input type. Use torch.finfo to handle 'torch.iinfo'"
            )
        super().__init__(type, np.iinfo(type.numpy))
        self.max, self.min = int(self.max), int(self.min)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"
