"""Exponential functions as formulas of primitives: exp, its relatives, and the hyperbolic functions.

The argument is split into a whole number of logarithms of 2 and a rest; the rest goes through a
polynomial, the whole number into the bits of an exponent. To round, `ROUNDER` is added: the last bits
of the sum are the whole number, and the sum less `ROUNDER` is it as a float. Invariant: NaN gives NaN,
odd functions keep the sign of zero, and denormal results are rounded once.
"""

from __future__ import annotations

import math

from rushlight.compile import vmath_coefficients as c
from rushlight.compile.expr import Expr
from rushlight.compile.primitives import (
    FRACTION_BITS,
    ONE_BITS,
    bits,
    bounded,
    fma,
    horner,
    least,
    magnitude,
    select,
    shift,
    unbits,
    with_sign,
)

ROUNDER = {"f4": 1.5 * 2**23, "f8": 1.5 * 2**52}
LOG_2 = math.log(2)

# The logarithm of 2 in two parts; the first has so few bits that its products with exponents are exact.
LOG_2_PARTS = {
    "f4": (0.693145751953125, 1.428606765330187e-06),
    "f8": (0.6931471803691238, 1.9082149292705877e-10),
}

# Beyond these the results are 0 and infinity.
EXP_BOUNDS = {"f4": (-104.0, 89.0), "f8": (-746.0, 710.0)}
TANH_IS_1 = {"f4": 10.0, "f8": 20.0}
TANH_NEAR = 0.625
SINH_IS_X = 2.0**-27
EXP2_BOUNDS = {"f4": (-151.0, 129.0), "f8": (-1076.0, 1025.0)}


def rounded(x: Expr, factor: float) -> tuple[Expr, Expr]:
    """``x * factor`` rounded to a whole number: in the last bits of a float, and as a float."""
    rounder = ROUNDER[x.kind]
    shifted = fma(x, factor, rounder) if factor != 1 else x + rounder
    return shifted, shifted - rounder


def power_of_two(shifted: Expr) -> Expr:
    """2 to the whole number that the last bits hold, which must be that of a normal number or infinity."""
    return with_exponent(bits(shifted))


def with_exponent(exponent: Expr) -> Expr:
    """2 to the whole number in the last bits of another."""
    kind = "f" + exponent.kind[1]
    return unbits(shift("shl", exponent, FRACTION_BITS[kind]) + ONE_BITS[kind])


def scaled(x: Expr, shifted: Expr) -> Expr:
    """`x` times 2 to the whole number that the last bits hold, in two steps: any in the range of results."""
    whole = bits(shifted)
    half = shift("shr", whole, 1)
    return x * with_exponent(half) * with_exponent(whole - half)


def less_logs(x: Expr, whole: Expr, logs: int = 1) -> Expr:
    """``x - whole * log(2**logs)``."""
    high, low = LOG_2_PARTS[x.kind]
    return fma(whole, -low * logs, fma(whole, -high * logs, x))


def exp(x: Expr) -> Expr:
    """e to the x."""
    low, high = EXP_BOUNDS[x.kind]
    x = bounded(low, x, high)
    shifted, whole = rounded(x, 1 / LOG_2)
    return scaled(horner(less_logs(x, whole), (*c.EXP[x.kind], 1.0, 1.0)), shifted)


def exp2(x: Expr) -> Expr:
    """2 to the x, exact for whole numbers."""
    low, high = EXP2_BOUNDS[x.kind]
    x = bounded(low, x, high)
    shifted, whole = rounded(x, 1.0)
    return scaled(horner(x - whole, (*c.EXP2[x.kind], 1.0)), shifted)


def expm1(x: Expr) -> Expr:
    """``exp(x) - 1``: ``2**n * (exp(r) - 1) + (2**n - 1)``, with ``2**n`` in two factors as in `scaled`.

    The part of ``exp(r) - 1`` that is r itself is added to the other term first: that loses less.
    """
    low, high = EXP_BOUNDS[x.kind]
    inside = bounded(low, x, high)
    shifted, whole = rounded(inside, 1 / LOG_2)
    rest = less_logs(inside, whole)
    curve = rest * rest * horner(rest, c.EXP[x.kind])
    half = shift("shr", bits(shifted), 1)
    small, big = with_exponent(half), with_exponent(bits(shifted) - half)
    line = fma(big, rest, big - reciprocal(small))
    return with_sign(small * fma(big, curve, line), x)


def reciprocal(power: Expr) -> Expr:
    """1 over a power of 2 whose exponent is not extreme."""
    return unbits(2 * ONE_BITS[power.kind] - bits(power))


def sigmoid(x: Expr) -> Expr:
    """``1 / (1 + exp(-x))``, of small exponentials: ``e / (1 + e)`` as ``e - e * (e / (1 + e))``."""
    small = exp(-magnitude(x))
    part = select(x < 0.0, small, 1.0) / (small + 1.0)
    return select(x < 0.0, fma(-small, part, small), part)


def tanh(x: Expr) -> Expr:
    """``1 - 2 / (exp(2 * x) + 1)``, and a polynomial near 0.

    A rational function takes half as long, but is wrong by up to 5 units in the last place, and above 1.
    """
    size = magnitude(x)
    near = least(TANH_IS_1[x.kind], size)
    shifted, whole = rounded(near, 2 / LOG_2)
    power = horner(less_logs(near + near, whole), (*c.EXP[x.kind], 1.0, 1.0))
    far = 1.0 - 2.0 / fma(power_of_two(shifted), power, 1.0)
    return with_sign(select(size < TANH_NEAR, odd(size, c.TANH[x.kind]), far), x)


def odd(x: Expr, coefficients: tuple[float, ...]) -> Expr:
    """``x + x**3 * polynomial(x**2)``."""
    square = x * x
    return fma(x * square, horner(square, coefficients), x)


def _hyperbolic(x: Expr, side: int) -> Expr:
    """``exp(|x|) / 2 + side * exp(-|x|) / 2``: cosh and sinh of the rest by those of n logarithms of 2."""
    size = least(EXP_BOUNDS[x.kind][1] + 0.5, magnitude(x))
    shifted, whole = rounded(size, 1 / LOG_2)
    rest = less_logs(size, whole)
    square = rest * rest
    curve, sine = square * horner(square, c.COSH[x.kind]), odd(rest, c.SINH[x.kind])
    rise = power_of_two(shifted - 2.0)  # a quarter of 2**n, which may be as large as twice the largest number
    fall = reciprocal(rise) * (side * 0.0625)
    total, other = rise + fall, rise - fall
    lost = (rise - total) + fall
    return 2.0 * (fma(sine, other, fma(curve, total, lost)) + total)


def sinh(x: Expr) -> Expr:
    """The hyperbolic sine; halves of the least denormals would be lost on the way."""
    size = magnitude(x)
    return with_sign(select(size < SINH_IS_X, size, _hyperbolic(x, -1)), x)


def cosh(x: Expr) -> Expr:
    """The hyperbolic cosine."""
    return _hyperbolic(x, 1)
