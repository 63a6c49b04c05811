"""Whole quotients and remainders, of floats and of whole numbers, as formulas of primitives.

Remainders of floats are exact: by one step where the quotient fits a float, by a long division, marked
rare, where it is larger. Whole numbers are divided as float64 and put right. Invariant: the results are
those of the eager ops, and 0 for whole numbers divided by 0, for which those raise; a float remainder
of 0 has the dividend's sign.
"""

from __future__ import annotations

from rushlight.compile.expr import Expr, is_float
from rushlight.compile.primitives import (
    FRACTION_BITS,
    INF,
    bounded,
    cast,
    fma,
    magnitude,
    node,
    number,
    rare,
    select,
    with_sign,
)

# The exponents that quotients reach, and how many of them one step of a long division in float64 takes off.
QUOTIENT_BITS = {"f4": 128 + 149, "f8": 1024 + 1074}
STEP = 51


def _differ(a: Expr, b: Expr) -> Expr:
    """Whether one is negative and the other is not."""
    return (a < 0) ^ (b < 0)


def fmod(a: Expr, b: Expr) -> Expr:
    """The remainder of truncated division, with the sign of `a`."""
    if not is_float(a.kind):
        _, rest = _floor_division(a, b)
        return select(_differ(a, b) & (rest != 0), rest - b, rest)
    size, unit = magnitude(a), magnitude(b)
    quotient = node("trunc", size / unit)
    rest = fma(-quotient, unit, size)
    rest = select(rest < 0.0, rest + unit, rest)
    if a.kind == "f4":
        far = cast(_long_remainder(cast(size, "f8"), cast(unit, "f8"), QUOTIENT_BITS["f4"]), "f4")
    else:
        far = _long_remainder(size, unit, QUOTIENT_BITS["f8"])
    rest = rare(quotient >= 2.0 ** FRACTION_BITS[a.kind], far, rest)
    return with_sign(select(size < unit, size, rest), a)


def _long_remainder(size: Expr, unit: Expr, exponents: int) -> Expr:
    """The remainder of non-negative float64 whose quotient is below 2 to the power of `exponents`."""
    for exponent in reversed(range(0, exponents - STEP, STEP)):
        multiple = unit
        for part in (min(exponent, 1023), exponent - min(exponent, 1023)):
            if part:
                multiple = multiple * 2.0**part
        rest = fma(-node("trunc", size / multiple), multiple, size)
        rest = select(rest < 0.0, rest + multiple, rest)
        size = select(multiple < INF, rest, size)
    return size


def remainder(a: Expr, b: Expr) -> Expr:
    """The remainder of floor division, with the sign of `b`."""
    if not is_float(a.kind):
        return _floor_division(a, b)[1]
    rest = fmod(a, b)
    return select((rest != 0.0) & _differ(rest, b), rest + b, rest)


def floor_divide(a: Expr, b: Expr) -> Expr:
    """The quotient rounded down, from the exact remainder."""
    if not is_float(a.kind):
        return _floor_division(a, b)[0]
    rest, whole = fmod(a, b), a / b
    quotient = (a - rest) / b
    quotient = select((rest != 0.0) & _differ(rest, b), quotient - 1.0, quotient)
    below = node("floor", quotient)
    below = select(quotient - below > 0.5, below + 1.0, below)
    below = select(quotient == 0.0, with_sign(number(0.0, a), whole), below)
    return select(b == 0.0, whole, below)


def trunc_divide(a: Expr, b: Expr) -> Expr:
    """The quotient rounded towards zero."""
    if is_float(a.kind):
        return node("trunc", a / b)
    quotient, rest = _floor_division(a, b)
    return select(_differ(a, b) & (rest != 0), quotient + 1, quotient)


def _floor_division(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """The quotient rounded down, and the remainder, of whole numbers; 0 and 0 for division by 0."""
    width = 8 * int(a.kind[1])
    least = 0 if a.kind[0] == "u" else -(2 ** (width - 1))
    most = 2**width - 1 + least
    if width == 64:
        most -= 2**10 - 1  # the largest below that is a float64
    divisor = select(b == 0, 1, b)
    as_float = cast(divisor, "f8")

    def estimate(of: Expr) -> Expr:
        return cast(bounded(float(least), cast(of, "f8") / as_float, float(most)), a.kind)

    quotient = estimate(a)
    if width == 64:  # of these only the first digits were right
        quotient = quotient + estimate(a - quotient * divisor)
    rest = a - quotient * divisor
    below = (rest != 0) & _differ(rest, divisor)
    quotient, rest = select(below, quotient - 1, quotient), select(below, rest + divisor, rest)
    above = select(divisor < 0, divisor, rest) >= select(divisor < 0, rest, divisor)
    above = above & (rest != 0)
    quotient, rest = select(above, quotient + 1, quotient), select(above, rest - divisor, rest)
    return select(b == 0, 0, quotient), select(b == 0, 0, rest)
