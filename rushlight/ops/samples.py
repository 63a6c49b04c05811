"""Samples: the calls that an op's table entry is tested with, described without making any data.

A `Sample` is one call; the tensors in it are `T` specs, which say shape, type, range and memory layout.
The test matrix turns the same spec into the same numbers for this library and for PyTorch. This file
generates nothing, so the table costs no time at import. Invariant: a sample names no library object (a
dtype is written ``Named("float64")``), so it can be run under either library.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

LAYOUTS = ("contiguous", "noncontiguous", "transposed", "expanded")


class T:
    """A tensor to be made for a sample.

    Args:
        shape: its shape; left out where `values` are given.
        dtype: the name of its type.
        low: the lowest value drawn; by default -2 for floats and -5 (0 if unsigned) for integers.
        high: values are drawn below this; by default 2 for floats and 6 for integers.
        layout: how it lies in memory: "contiguous", "noncontiguous" (every second element of a larger one),
            "transposed" (column-major) or "expanded" (its first dimension repeated with stride 0).
        distinct: draw values that are all different and well apart, for ops that sort or pick an extreme.
        values: nested lists of numbers to use instead of drawing.
        grad: whether gradients are compared for it (floating types only).

    >>> T((2, 3), low=0.1)
    T((2, 3), 'float32', low=0.1)
    """

    __slots__ = ("distinct", "dtype", "grad", "high", "layout", "low", "shape", "values")

    def __init__(
        self,
        shape: Sequence[int] = (),
        dtype: str = "float32",
        *,
        low: float | None = None,
        high: float | None = None,
        layout: str = "contiguous",
        distinct: bool = False,
        values: Any = None,
        grad: bool = True,
    ) -> None:
        if layout not in LAYOUTS:
            raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, not {layout!r}")
        self.shape = tuple(shape)
        self.dtype = dtype
        self.low = low
        self.high = high
        self.layout = layout
        self.distinct = distinct
        self.values = values
        self.grad = grad

    def __repr__(self) -> str:
        parts = [repr(self.values if self.values is not None else self.shape), repr(self.dtype)]
        parts += [
            f"{name}={getattr(self, name)}" for name in ("low", "high") if getattr(self, name) is not None
        ]
        if self.layout != "contiguous":
            parts.append(f"layout={self.layout!r}")
        return f"T({', '.join(parts)})"


class Named:
    """An object that both libraries have under this name, such as a dtype: ``Named("int64")``."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


class Sample:
    """One call of an op: its arguments, and which of the matrix's checks make sense for it.

    Args:
        args: positional arguments; `T` and `Named` specs may stand anywhere in them, in lists too.
        kwargs: keyword arguments, likewise.
        grads: compare first and second derivatives.
        second: compare second derivatives (where a kink or a missing formula in PyTorch forbids it, say why).
        inplace: run the in-place variant too, where the entry has one.
        out: run with ``out=`` too, where the function takes it.
        raises: the call is an error: both libraries must raise the same type with the same first sentence.
        values: compare the values (False for uninitialised memory, of which only shape and type are).
        tolerance: relative tolerance in place of the type's usual one.
        why: the reason for anything that is switched off.

    >>> Sample([T((2, 3)), 2], {"alpha": 3})
    Sample(T((2, 3), 'float32'), 2, alpha=3)
    """

    __slots__ = (
        "args",
        "grads",
        "inplace",
        "kwargs",
        "out",
        "raises",
        "second",
        "values",
        "tolerance",
        "why",
    )

    def __init__(
        self,
        args: Sequence[Any],
        kwargs: dict[str, Any] | None = None,
        grads: bool = True,
        *,
        second: bool = True,
        inplace: bool = True,
        out: bool = True,
        raises: bool = False,
        values: bool = True,
        tolerance: float | None = None,
        why: str = "",
    ) -> None:
        self.args = tuple(args)
        self.kwargs = kwargs or {}
        self.grads = grads
        self.second = second
        self.inplace = inplace
        self.out = out
        self.raises = raises
        self.values = values
        self.tolerance = tolerance
        self.why = why

    def __repr__(self) -> str:
        parts = [repr(each) for each in self.args]
        parts += [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"Sample({', '.join(parts)})"


def unary(*, low: float | None = None, high: float | None = None, ints: bool = True) -> list[Sample]:
    """The usual samples of a function of one tensor: shapes from 0-d and empty up, layouts and types."""
    found = [Sample([T(shape, low=low, high=high)]) for shape in [(3, 4), (), (0, 3), (2, 1, 3)]]
    found += [Sample([T((3, 4), low=low, high=high, layout=layout)]) for layout in LAYOUTS[1:3]]
    found += [Sample([T((2, 5), kind, low=low, high=high)]) for kind in ("float64", "float16")]
    if ints:
        least = 0 if low is None else max(math.ceil(low), 0)
        most = None if high is None else max(int(high), least + 1)
        found += [Sample([T((4,), kind, low=least, high=most)]) for kind in ("int64", "uint8", "bool")]
    return found


def binary(
    *, low: float | None = None, high: float | None = None, numbers: Sequence[Any] = (2, 0.5)
) -> list[Sample]:
    """The usual samples of a function of two tensors: broadcasting, mixed types, `numbers` as second."""
    shapes = [((3, 4), (3, 4)), ((3, 4), (4,)), ((2, 1, 3), (4, 1)), ((), ()), ((3,), ()), ((0, 3), (3,))]
    found = [Sample([T(a, low=low, high=high), T(b, low=low, high=high)]) for a, b in shapes]
    found.append(
        Sample(
            [
                T((3, 4), low=low, high=high, layout="noncontiguous"),
                T((3, 4), layout="transposed", low=low, high=high),
            ]
        )
    )
    pairs = [
        ("float64", "float32"),
        ("float16", "float16"),
        ("float32", "int64"),
        ("int64", "int32"),
        ("uint8", "int8"),
        ("int64", "bool"),
    ]
    for left, right in pairs:
        floor = low if low is None or left.startswith("float") else max(int(low), 1)
        other = low if low is None or right.startswith("float") else max(int(low), 1)
        found.append(Sample([T((2, 3), left, low=floor, high=high), T((2, 3), right, low=other, high=high)]))
    found += [Sample([T((2, 3), low=low, high=high), number]) for number in numbers]
    found += [
        Sample([T((2, 3), "int64", low=low and max(int(low), 1), high=high), number]) for number in numbers
    ]
    return found


def divisions() -> list[Sample]:
    """Operands of both signs, away from zero divisors, and the special values of floating division."""
    signed = T(values=[5.0, -5.0, 3.0, -3.0, 0.0, -7.5])
    whole = T((6,), "int64", values=[5, -5, 7, -7, 0, 3])
    inf, nan = float("inf"), float("nan")
    return [
        *binary(low=0.5, high=4.0),
        Sample([signed, T(values=[3.0, 3.0, -3.0, -3.0, 2.0, -2.0])]),
        Sample([signed, -2.0]),
        Sample([whole, T((6,), "int64", values=[3, 3, -3, -3, 5, -5])]),
        Sample([whole, -3]),
        Sample([whole, -3.0]),
        Sample([T(values=[1.0, -1.0, 0.0, inf, -inf, nan]), 0.0], grads=False),
        Sample([T(values=[1.0, -1.0, 0.0, inf, -inf, nan]), inf], grads=False),
        Sample([T(values=[inf, 5.0, -5.0]), T(values=[3.0, -inf, inf])], grads=False),
        Sample([T((2, 3)), T((4,), low=0.5)], raises=True),
    ]


def whole_divisions() -> list[Sample]:
    """Those of divisions that round: no bools, and no whole numbers divided by zero."""
    return [
        *[each for each in divisions() if "bool" not in repr(each)],
        Sample([T((3,), "int64"), 0], raises=True),
        Sample([T((2,), "int64"), T((2,), "int64", values=[1, 0])], raises=True),
        Sample([T((3,), "bool"), T((3,), "bool")], raises=True),
    ]
