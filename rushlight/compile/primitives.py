"""The operations a back end implements, and functions that write formulas with them.

`PRIMITIVES` is the whole list; whatever else a formula calls is reduced to these by `vmath`. Arithmetic
on floats is IEEE 754's, rounded to nearest, denormals kept. It is never re-associated, since formulas
add and subtract large numbers to round, and NaN and infinities do occur. Invariant: each primitive is
one or two instructions on a vector of any common CPU.

* ``add sub mul neg abs``: on floats, and on whole numbers, which wrap around. ``div sqrt copysign rint
  floor ceil trunc``: on floats; `rint` takes halves to even.
* ``fma(a, b, c)``: ``a * b + c``, rounded once.
* ``min(a, b)`` is ``a < b ? a : b`` and ``max(a, b)`` is ``a > b ? a : b``: the second operand where
  one is NaN.
* ``lt le gt ge eq ne``: give bools; of NaN all are false but `ne`. ``and or xor not``: on bools, and on
  the bits of whole numbers.
* ``select(condition, a, b)``. ``rare(condition, a, b)`` is the same, and says that the condition hardly
  ever holds: where it holds for no element of a vector, a back end should skip the operations that only
  `a` needs (`vmath.in_order` tells them apart).
* ``cast``: as C converts; u1 is unsigned. A number that a whole type cannot hold becomes any number of
  that type, and formulas do not use it.
* ``bits`` and ``unbits``: the same bits as a whole number (f4 as i4, f8 as i8) and back.
* ``shl shr lshr``: shifts of whole numbers by a constant; `shr` keeps the sign, `lshr` fills with
  zeros.
* ``const load index``: a number; an element of an input; the place along a dimension of the loops.
"""

from __future__ import annotations

from typing import Any

from rushlight.compile.expr import Expr, Symbols

PRIMITIVES = frozenset(
    [
        "const",
        "load",
        "index",
        "add",
        "sub",
        "mul",
        "div",
        "neg",
        "fma",
        "min",
        "max",
        "sqrt",
        "abs",
        "copysign",
        "rint",
        "floor",
        "ceil",
        "trunc",
        "select",
        "rare",
        "lt",
        "le",
        "gt",
        "ge",
        "eq",
        "ne",
        "and",
        "or",
        "xor",
        "not",
        "cast",
        "bits",
        "unbits",
        "shl",
        "shr",
        "lshr",
    ]
)

# Of each floating type: bits of the fraction, the bits of 1.0, the least normal number.
FRACTION_BITS = {"f4": 23, "f8": 52}
ONE_BITS = {"f4": 0x3F800000, "f8": 0x3FF0000000000000}
LEAST_NORMAL = {"f4": 2.0**-126, "f8": 2.0**-1022}
INF, NAN = float("inf"), float("nan")


def symbols_of(*values: Any) -> Symbols:
    """The maker of the nodes among the values."""
    return next(each.symbols for each in values if isinstance(each, Expr))


def node(op: str, *values: Any) -> Expr:
    """The node for an operation on values of one kind, some of them Python numbers, that gives this kind."""
    operands = symbols_of(*values).common(*values)
    return operands[0].symbols.make(op, tuple(operands), operands[0].kind)


def fma(a: Any, b: Any, c: Any) -> Expr:
    """``a * b + c``, rounded once."""
    return node("fma", a, b, c)


def least(a: Any, b: Any) -> Expr:
    """The lesser, `b` where one is NaN."""
    return node("min", a, b)


def most(a: Any, b: Any) -> Expr:
    """The greater, `b` where one is NaN."""
    return node("max", a, b)


def bounded(low: float, x: Expr, high: float) -> Expr:
    """`x` brought between two numbers; NaN stays."""
    return most(low, least(high, x))


def select(condition: Expr, a: Any, b: Any) -> Expr:
    """`a` where the condition holds, else `b`; one of them may be a number."""
    left, right = symbols_of(a, b).common(a, b)
    return left.symbols.make("select", (condition, left, right), left.kind)


def rare(condition: Expr, a: Expr, b: Expr) -> Expr:
    """`select` where the condition hardly ever holds."""
    return a.symbols.make("rare", (condition, a, b), a.kind)


def number(value: float, like: Expr) -> Expr:
    """A constant of the kind of another value."""
    return like.symbols.const(value, like.kind)


def cast(x: Expr, kind: str) -> Expr:
    """`x` converted as C converts."""
    return x.symbols.cast(x, kind)


def bits(x: Expr) -> Expr:
    """The bits of a float as a whole number."""
    return x.symbols.make("bits", (x,), "i" + x.kind[1])


def unbits(x: Expr) -> Expr:
    """The float with these bits."""
    return x.symbols.make("unbits", (x,), "f" + x.kind[1])


def shift(op: str, x: Expr, count: int) -> Expr:
    """A whole number shifted by a constant; `op` is shl, shr or lshr."""
    return x.symbols.make(op, (x, x.symbols.const(count, x.kind)), x.kind)


def magnitude(x: Expr) -> Expr:
    """The absolute value."""
    return node("abs", x)


def square_root(x: Expr) -> Expr:
    """The square root."""
    return node("sqrt", x)


def with_sign(size: Any, sign: Any) -> Expr:
    """The magnitude of one with the sign of the other."""
    return node("copysign", size, sign)


def is_nan(x: Expr) -> Expr:
    """Whether it is NaN."""
    return x != x


def horner(x: Expr, coefficients: tuple[float, ...]) -> Expr:
    """The polynomial with these coefficients, highest power first, each step rounded once."""
    total: Any = number(coefficients[0], x)
    for each in coefficients[1:]:
        total = fma(total, x, each)
    return total
