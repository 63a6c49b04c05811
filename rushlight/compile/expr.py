"""Scalar expressions: what a map's formula becomes when it runs on symbols instead of arrays.

`Symbols` is the `k` of a formula while compiling. Its functions build `Expr` trees in which equal
subexpressions are one object. What the hardware has no instruction for (exp, tanh, ...) stays a named node
here; `vmath` says how it is computed. Invariant: every node knows its element kind, promoted as NumPy
promotes arrays with Python numbers.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

KINDS = ("b1", "u1", "i1", "i2", "i4", "i8", "f4", "f8")


def kind_of(dtype: np.dtype) -> str:
    """The element kind of a NumPy type, such as "f4"."""
    return dtype.str[1:]


def is_float(kind: str) -> bool:
    """Whether elements of this kind are floating-point numbers."""
    return kind[0] == "f"


def single(value: float) -> float:
    """A number rounded to single precision; what is beyond its range is infinite, without a warning."""
    return ctypes.c_float(value).value


class Expr:
    """One scalar value: an operation on others.

    Args:
        op: "const", "load", or the name of an operation.
        args: the operands; for "const" the number, for "load" the number of the kernel's input.
        kind: the element kind.
        symbols: who made it.

    Attributes:
        operands: those of `args` that are expressions.
        parts: everything it is made of, as `vmath.in_order` lists it, once that was asked for.
    """

    __slots__ = ("args", "kind", "op", "operands", "parts", "symbols")

    def __init__(self, op: str, args: tuple[Any, ...], kind: str, symbols: Symbols) -> None:
        self.op, self.args, self.kind, self.symbols = op, args, kind, symbols
        self.operands = [each for each in args if isinstance(each, Expr)]
        self.parts: list[Expr] | None = None

    def __add__(self, other: Any) -> Expr:
        return self.symbols.arithmetic("add", self, other)

    def __radd__(self, other: Any) -> Expr:
        return self.symbols.arithmetic("add", other, self)

    def __sub__(self, other: Any) -> Expr:
        return self.symbols.arithmetic("sub", self, other)

    def __rsub__(self, other: Any) -> Expr:
        return self.symbols.arithmetic("sub", other, self)

    def __mul__(self, other: Any) -> Expr:
        return self.symbols.arithmetic("mul", self, other)

    def __rmul__(self, other: Any) -> Expr:
        return self.symbols.arithmetic("mul", other, self)

    def __truediv__(self, other: Any) -> Expr:
        return self.symbols.divide(self, other)

    def __rtruediv__(self, other: Any) -> Expr:
        return self.symbols.divide(other, self)

    def __pow__(self, other: Any) -> Expr:
        return self.symbols.power(self, other)

    def __neg__(self) -> Expr:
        return self.symbols.make("neg", (self,), self.kind)

    def __and__(self, other: Any) -> Expr:
        return self.symbols.arithmetic("and", self, other)

    def __or__(self, other: Any) -> Expr:
        return self.symbols.arithmetic("or", self, other)

    def __xor__(self, other: Any) -> Expr:
        return self.symbols.arithmetic("xor", self, other)

    def __invert__(self) -> Expr:
        return self.symbols.make("not", (self,), self.kind)

    def __lt__(self, other: Any) -> Expr:
        return self.symbols.compare("lt", self, other)

    def __le__(self, other: Any) -> Expr:
        return self.symbols.compare("le", self, other)

    def __gt__(self, other: Any) -> Expr:
        return self.symbols.compare("gt", self, other)

    def __ge__(self, other: Any) -> Expr:
        return self.symbols.compare("ge", self, other)

    def __eq__(self, other: object) -> Expr:  # type: ignore[override]
        return self.symbols.compare("eq", self, other)

    def __ne__(self, other: object) -> Expr:  # type: ignore[override]
        return self.symbols.compare("ne", self, other)

    __hash__ = object.__hash__  # by identity

    def __repr__(self) -> str:
        return self._text(8)

    def _text(self, depth: int) -> str:
        """The expression as calls, cut off at a depth: written out, shared parts take exponentially long."""
        if self.op == "const":
            return repr(self.args[0])
        if self.op == "load":
            return f"in{self.args[0]}"
        if not depth:
            return f"{self.op}(...)"
        given = [each._text(depth - 1) if isinstance(each, Expr) else repr(each) for each in self.args]
        return f"{self.op}({', '.join(given)})"


class Symbols:
    """The namespace that formulas run in while compiling, and the maker of all nodes of one kernel."""

    def __init__(self) -> None:
        self._known: dict[Any, Expr] = {}

    # -- making nodes ----------------------------------------------------------------------------------------

    def make(self, op: str, args: tuple[Any, ...], kind: str) -> Expr:
        """The node for an operation; the same object for the same operation on the same operands."""
        key = (
            op,
            tuple(id(each) if isinstance(each, Expr) else (type(each), repr(each)) for each in args),
            kind,
        )
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Expr(op, args, kind, self)
        return found

    def load(self, number: int, kind: str) -> Expr:
        """The element of a kernel's input."""
        return self.make("load", (number,), kind)

    def const(self, value: Any, kind: str) -> Expr:
        """A number of a given kind, rounded to it."""
        if kind == "b1":
            value = bool(value)
        elif kind == "f4":
            value = single(value)
        elif is_float(kind):
            value = float(value)
        else:
            value = int(value)
        return self.make("const", (value,), kind)

    def cast(self, value: Expr, kind: str) -> Expr:
        """The value converted to another kind, as C converts it."""
        if value.kind == kind:
            return value
        if value.op == "const":
            return self.const(value.args[0], kind)
        return self.make("cast", (value,), kind)

    def common(self, *values: Any) -> list[Expr]:
        """Operands in their promoted kind; Python numbers take the kind of the others where they fit it."""
        kinds = [each.kind for each in values if isinstance(each, Expr)]
        result = kinds[0]
        for kind in kinds[1:]:
            result = kind_of(np.promote_types(result, kind))
        for each in values:
            if isinstance(each, float) and not is_float(result):
                result = "f8"
            elif isinstance(each, int) and not isinstance(each, bool) and result == "b1":
                result = "i8"
        return [
            self.cast(each, result) if isinstance(each, Expr) else self.const(each, result) for each in values
        ]

    def arithmetic(self, op: str, left: Any, right: Any) -> Expr:
        """A binary operation in the common kind; on bools + and * are "or" and "and", as in NumPy."""
        a, b = self.common(left, right)
        if a.kind == "b1":
            op = {"add": "or", "mul": "and"}.get(op, op)
        return self.make(op, (a, b), a.kind)

    def divide(self, left: Any, right: Any) -> Expr:
        """True division."""
        a, b = self.common(left, right)
        if not is_float(a.kind):
            a, b = self.cast(a, "f8"), self.cast(b, "f8")
        return self.make("div", (a, b), a.kind)

    def compare(self, op: str, left: Any, right: Any) -> Expr:
        """A comparison: a bool."""
        a, b = self.common(left, right)
        return self.make(op, (a, b), "b1")

    def _float(self, op: str, *values: Any) -> Expr:
        operands = self.common(*values)
        if not is_float(operands[0].kind):
            operands = [self.cast(each, "f8") for each in operands]
        return self.make(op, tuple(operands), operands[0].kind)

    def _same(self, op: str, *values: Any) -> Expr:
        operands = self.common(*values)
        return self.make(op, tuple(operands), operands[0].kind)

    # -- what formulas call ----------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name in _FLOAT_FUNCTIONS:
            return lambda *values: self._float(name, *values)
        if name in _SAME_FUNCTIONS:
            return lambda *values: self._same(name, *values)
        if name in _TESTS:
            return lambda value: self.make(name, (value,), "b1")
        raise AttributeError(f"compiled formulas have no k.{name}")

    def where(self, condition: Any, a: Any, b: Any) -> Expr:
        """`a` where the condition holds, else `b`."""
        chosen = condition if condition.kind == "b1" else condition != 0
        if not isinstance(a, Expr) and not isinstance(b, Expr):
            kind = "f8" if isinstance(a, float) or isinstance(b, float) else "i8"
            return self.make("select", (chosen, self.const(a, kind), self.const(b, kind)), kind)
        left, right = self.common(a, b)
        return self.make("select", (chosen, left, right), left.kind)

    def _truth(self, value: Any) -> Expr:
        if not isinstance(value, Expr):
            return self.const(value, "b1")
        return value if value.kind == "b1" else value != 0

    def logical_and(self, a: Any, b: Any) -> Expr:
        """Both are true."""
        return self.make("and", (self._truth(a), self._truth(b)), "b1")

    def logical_or(self, a: Any, b: Any) -> Expr:
        """Either is true."""
        return self.make("or", (self._truth(a), self._truth(b)), "b1")

    def logical_xor(self, a: Any, b: Any) -> Expr:
        """Exactly one is true."""
        return self.make("xor", (self._truth(a), self._truth(b)), "b1")

    def logical_not(self, a: Any) -> Expr:
        """It is not true."""
        return self.make("not", (self._truth(a),), "b1")

    def is_whole(self, value: Any) -> bool:
        """Whether it is a whole number."""
        if isinstance(value, Expr):
            return value.kind != "b1" and not is_float(value.kind)
        return isinstance(value, int) and not isinstance(value, bool)

    def constant(self, value: float, like: Expr) -> Expr:
        """A number in the kind of another value."""
        return self.const(value, like.kind)

    def power(self, a: Any, b: Any) -> Expr:
        """``a ** b``; small whole exponents by multiplication, as NumPy computes them."""
        if isinstance(b, (int, float)) and isinstance(a, Expr) and is_float(a.kind):
            if b == 2:
                return a * a
            if b == 3:
                return a * a * a
            if b == 1:
                return a
            if b == 0.5:
                return self.make("sqrt", (a,), a.kind)
            if b == -1:
                return 1.0 / a
        return self._same("power", a, b)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Expr:
        """``a * b + c`` of floating-point numbers, rounded once."""
        operands = self.common(a, b, c)
        return self.make("fma", tuple(operands), operands[0].kind)

    def polynomial(self, x: Expr, double: tuple[float, ...], single: tuple[float, ...]) -> Expr:
        """A polynomial by Horner's rule, highest coefficient first, with the coefficients for the kind of
        `x`; each step is rounded once.
        """
        coefficients = single if x.kind == "f4" else double
        result: Any = self.const(coefficients[0], x.kind)
        for each in coefficients[1:]:
            result = self.multiply_add(result, x, each)
        return result


_FLOAT_FUNCTIONS = frozenset(
    [
        "acos",
        "acosh",
        "asin",
        "asinh",
        "atan",
        "atan2",
        "atanh",
        "copysign",
        "cos",
        "cosh",
        "exp",
        "exp2",
        "expm1",
        "fmod_float",
        "hypot",
        "log",
        "log10",
        "log1p",
        "log2",
        "logaddexp",
        "logaddexp2",
        "nextafter",
        "sigmoid",
        "sin",
        "sinh",
        "sqrt",
        "tan",
        "tanh",
    ]
)
_SAME_FUNCTIONS = frozenset(
    [
        "abs",
        "ceil",
        "floor",
        "fmax",
        "fmin",
        "fmod",
        "floor_divide",
        "gcd",
        "lcm",
        "maximum",
        "minimum",
        "remainder",
        "rint",
        "sign",
        "trunc",
        "trunc_divide",
    ]
)
_TESTS = frozenset(["isfinite", "isinf", "isnan", "signbit"])
