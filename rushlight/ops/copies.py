"""Copies: `clone`, `contiguous`, and conversions to other types: `to`, `type`, `float` and their like.

Invariant: a copy keeps the order in which its source lies in memory (PyTorch's "preserve format") unless
row-major order is asked for, and a conversion that changes nothing returns its input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from rushlight import dtype as types
from rushlight.device import check_device, device
from rushlight.dtype import dtype as DType
from rushlight.layout import strided as strided_layout
from rushlight.ops.arguments import array_of, require_tensor
from rushlight.ops.create import check_options, numpy_type
from rushlight.ops.define import TITLES, apply
from rushlight.ops.kinds import composite, primitive, public
from rushlight.ops.samples import Named, Sample, T, unary
from rushlight.storage import copy_order
from rushlight.tensor import Tensor

Order = Literal["K", "C"]
PRESERVE: Order = "K"
ROW_MAJOR: Order = "C"


def _clone(input: np.ndarray, *, order: Order) -> np.ndarray:
    return input.copy(copy_order(input) if order == PRESERVE else order)


def _to_copy(input: np.ndarray, *, dtype: np.dtype, order: Order) -> np.ndarray:
    return input.astype(dtype, copy_order(input) if order == PRESERVE else order)


CLONE = primitive("clone", "map", _clone, dict(input=lambda g: g))
TO_COPY = primitive("_to_copy", "map", _to_copy, dict(input=lambda g: g), node_name="ToCopyBackward0")


def _row_major(name: str, memory_format: Any) -> bool:
    """Whether a ``memory_format=`` asks for row-major order; the formats for images are not supported."""
    if memory_format is None:
        return False
    check_options(name, None, None, memory_format)
    return str(memory_format) == "torch.contiguous_format"


def _clone_samples() -> list[Sample]:
    row_major = Sample([T((2, 3), layout="transposed")], {"memory_format": Named("contiguous_format")})
    return [*unary(), Sample([T((3, 4), layout="expanded")]), row_major]


@public(
    CLONE,
    samples=lambda: [*_clone_samples(), Sample([T((2, 3))], {"memory_format": Named("preserve_format")})],
)
def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy with memory of its own that stays in the history: gradients flow through it.

    >>> import rushlight as torch
    >>> x = torch.zeros(2)
    >>> y = x.clone()
    >>> y[0] = 1
    >>> x
    tensor([0., 0.])
    """
    order = ROW_MAJOR if _row_major("clone", memory_format) else PRESERVE
    return apply(CLONE, (input,), {"order": order})


def row_major_copy(input: Tensor) -> Tensor:
    """A copy whose elements lie in row-major order."""
    return apply(CLONE, (input,), {"order": ROW_MAJOR})


@public(CLONE, samples=_clone_samples, torch_name="Tensor.contiguous")
def contiguous(input: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself if its elements lie in row-major order without gaps, a copy that does otherwise."""
    if memory_format is not None and not _row_major("contiguous", memory_format):
        raise RuntimeError("preserve memory format is unsupported by the contiguous operator")
    return input if array_of("contiguous", input).flags.c_contiguous else row_major_copy(input)


# -- types ---------------------------------------------------------------------------------------------------


def convert(input: Tensor, dtype: DType, copy: bool = False, memory_format: Any = None) -> Tensor:
    """`input` as another type: itself where it has that type already, unless `copy`."""
    kind = dtype.numpy
    array = input._array
    if array.dtype is kind and not copy:
        return input
    order = ROW_MAJOR if _row_major("to", memory_format) else PRESERVE
    return apply(TO_COPY, (input,), {"dtype": kind, "order": order})


def _to_samples() -> list[Sample]:
    x = T((2, 3), low=0.0, high=9.0)
    found = [Sample([x, Named(name)]) for name in ("float64", "int32", "bool", "float32", "float16")]
    found += [
        Sample([x, "cpu"]),
        Sample([x, "cpu", Named("float64"), True, True]),
        Sample([x, T((), "int64")]),
    ]
    found += [
        Sample([x], {"dtype": Named("int8"), "copy": True}),
        Sample([x], {"copy": True}),
        Sample([x, None]),
    ]
    found += [
        Sample(
            [T((2, 3), layout="transposed"), Named("float64")], {"memory_format": Named("contiguous_format")}
        )
    ]
    found += [
        Sample([T((4,), "float32", values=[-1.5, 300.0, 1e20, float("nan")]), Named(k)])
        for k in ("uint8", "int64", "bool")
    ]
    return [*found, Sample([x, "float64"], raises=True), Sample([x, "cuda"], raises=True)]


@public(TO_COPY, samples=_to_samples, torch_name="Tensor.to")
def to(input: Tensor, *args: Any, copy: bool = False, memory_format: Any = None, **named: Any) -> Tensor:
    """The tensor with another type: ``to(dtype)``, ``to(device)``, ``to(device, dtype)`` or ``to(other)``.

    Each takes ``non_blocking`` (which has no effect here) and ``copy`` too. Without a change the tensor
    itself is returned, unless ``copy=True``. The device must be the CPU.

    >>> import rushlight as torch
    >>> torch.tensor([1.5, 2.5]).to(torch.int64)
    tensor([1, 2])
    """
    if len(args) == 1 and type(args[0]) is DType and not named and not copy and memory_format is None:
        return convert(input, args[0])
    array_of("to", input)
    wanted, where, rest = _destination(args, named)
    if len(rest) > 2 or named:
        raise TypeError(f"to() received an invalid combination of arguments: {[*rest[2:], *named]} left over")
    if where is not None:
        check_device(where)
    kind = input.dtype if wanted is None else types.from_numpy(numpy_type("to", wanted))
    return convert(input, kind, rest[1] if len(rest) > 1 else copy, memory_format)


def _destination(args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any, tuple[Any, ...]]:
    """The dtype and the device among the arguments of `to`, and the positional arguments after them."""
    wanted, where = named.pop("dtype", None), named.pop("device", None)
    named.pop("non_blocking", None)
    if not args:
        return wanted, where, args
    first, rest = args[0], args[1:]
    if isinstance(first, Tensor):
        return first.dtype, None, rest
    if isinstance(first, (DType, type)):
        return first, where, rest
    if first is None or isinstance(first, (str, int, device)):
        if rest and not isinstance(rest[0], bool):
            wanted, rest = rest[0], rest[1:]
        return wanted, first, rest
    raise TypeError(f"to() received an invalid combination of arguments - got ({type(first).__name__})")


def _conversion(name: str, dtype: DType) -> Callable[..., Tensor]:
    """``x.float()`` and its like."""

    def method(input: Tensor, memory_format: Any = None) -> Tensor:
        return convert(input, dtype, memory_format=memory_format)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"The tensor as {dtype.name}: itself where it is that already."

    def samples() -> list[Sample]:
        return [Sample([T((2, 3), kind, low=0, high=9)]) for kind in ("float32", "float64", "int64", "uint8")]

    return public(TO_COPY, samples=samples, torch_name=f"Tensor.{name}")(method)


_CONVERSIONS = {"float": types.float32, "double": types.float64, "half": types.float16, "int": types.int32}
_CONVERSIONS |= {"long": types.int64, "short": types.int16, "byte": types.uint8, "char": types.int8}
_CONVERSIONS |= {"bool": types.bool_}
for _name, _dtype in _CONVERSIONS.items():
    _conversion(_name, _dtype)


def tensor_type(input: Tensor) -> str:
    """PyTorch's old name for a tensor's type, such as ``torch.FloatTensor``."""
    return f"torch.{TITLES[input.dtype.name]}Tensor"


def _type_samples() -> list[Sample]:
    asked = [Sample([T((2, 3), kind)]) for kind in ("float32", "bool", "uint8")]
    return [
        *asked,
        Sample([T((2,)), Named("int64")]),
        Sample([T((2,)), "torch.DoubleTensor"]),
        Sample([T((2,)), 3], raises=True),
    ]


@public(TO_COPY, samples=_type_samples, name="type", torch_name="Tensor.type")
def as_type(input: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The name of the tensor's type or, given a dtype or such a name, the tensor converted to it.

    >>> import rushlight as torch
    >>> torch.zeros(2).type()
    'torch.FloatTensor'
    >>> torch.zeros(2).type(torch.int64)
    tensor([0, 0])
    """
    array_of("type", input)
    if dtype is None:
        return tensor_type(input)
    if isinstance(dtype, type):  # torch.DoubleTensor and its like know their dtype
        dtype = getattr(dtype, "dtype", dtype.__name__)
    if isinstance(dtype, str):
        by_name = {f"torch.{TITLES[each.name]}Tensor": each for each in types.ALL}
        if dtype not in by_name:
            raise ValueError(f"invalid type: '{dtype}'")
        dtype = by_name[dtype]
    if not isinstance(dtype, DType):
        raise TypeError("dtype must be a type, str, or dtype object")
    return convert(input, dtype)


@composite(
    samples=lambda: [Sample([T((2, 3)), T((), kind)]) for kind in ("float32", "int64", "float64")],
    torch_name="Tensor.type_as",
)
def type_as(input: Tensor, other: Tensor) -> Tensor:
    """The tensor with the type of `other`."""
    array_of("type_as", input)
    require_tensor("type_as", "other", 1, other)
    return convert(input, other.dtype)


def cpu(self: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself: it is on the CPU."""
    return contiguous(self) if _row_major("cpu", memory_format) else self


def cuda(self: Tensor, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Tensor:
    """Raises: there is no CUDA here. Use ``to(device)`` with the device a script was given."""
    check_device("cuda" if device is None else device)
    raise RuntimeError("Invalid device, must be cuda device")


METHODS: dict[str, Any] = {"cpu": cpu, "cuda": cuda, "layout": strided_layout}
