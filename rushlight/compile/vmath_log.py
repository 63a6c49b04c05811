"""Logarithms as formulas of primitives, and what is made of them: inverse hyperbolic functions, `logaddexp`.

A number is split by its bits into a power of 2 and a factor from 2/3 to 4/3, the logarithm of which is
a polynomial of its distance from 1; denormals are made normal first. Invariant: 0 gives minus infinity,
infinity infinity, negative numbers and NaN give NaN; `log2` of a power of 2 is exact.
"""

from __future__ import annotations

import math

from rushlight.compile import vmath_coefficients as c
from rushlight.compile.expr import Expr
from rushlight.compile.primitives import (
    FRACTION_BITS,
    INF,
    LEAST_NORMAL,
    NAN,
    ONE_BITS,
    bits,
    cast,
    fma,
    horner,
    magnitude,
    most,
    number,
    select,
    shift,
    square_root,
    unbits,
    with_sign,
)
from rushlight.compile.vmath_exp import LOG_2_PARTS, exp, exp2

TWO_THIRDS_BITS = {"f4": 0x3F2AAAAB, "f8": 0x3FE5555555555555}

# Beyond this its square plus or minus 1 is its square, and no square overflows up to it.
LARGE = 2.0**60

# 1 / log(2) in two parts.
LOG2_E_PARTS = {
    "f4": (1.4426950216293335, 1.925963033500011e-08),
    "f8": (1.4426950408889634, 2.0355273740931033e-17),
}


def split(x: Expr) -> tuple[Expr, Expr]:
    """Exponent and rest, as floats, of a positive number: ``x == 2**exponent * (1 + rest)``."""
    shifts, offset = FRACTION_BITS[x.kind], TWO_THIRDS_BITS[x.kind]
    tiny = x < LEAST_NORMAL[x.kind]
    lift = shifts + 1
    from_offset = bits(select(tiny, x * 2.0**lift, x)) - select(
        tiny, number(0, bits(x)) + ((lift << shifts) + offset), offset
    )
    factor = unbits((from_offset & ((1 << shifts) - 1)) + offset)
    return cast(shift("shr", from_offset, shifts), x.kind), factor - 1.0


def of_positive(x: Expr, value: Expr) -> Expr:
    """The logarithm's value for all `x`, given that for positive finite ones."""
    return select(x > 0.0, select(x < INF, value, x), select(x == 0.0, number(-INF, x), NAN))


def _joined(exponent: Expr, rest: Expr, lost: Expr | None = None) -> Expr:
    """``exponent * log(2) + log(1 + rest)``, and `lost`, which is small."""
    high, low = LOG_2_PARTS[rest.kind]
    curve = horner(rest, c.LOG[rest.kind])
    tail = exponent * low if lost is None else fma(exponent, low, lost)
    return fma(exponent, high, rest + fma(rest * rest, curve, tail))


def log(x: Expr) -> Expr:
    """The natural logarithm."""
    return of_positive(x, _joined(*split(x)))


def log2(x: Expr) -> Expr:
    """The logarithm to base 2."""
    exponent, rest = split(x)
    high, low = LOG2_E_PARTS[x.kind]
    curve = rest * rest * horner(rest, c.LOG2[x.kind])
    return of_positive(x, exponent + fma(rest, high, fma(rest, low, curve)))


def _log1p(x: Expr, more: Expr | None = None, lost: Expr | None = None) -> Expr:
    """``log(1 + x + lost) + more * log(2)`` for finite `x` above -1 and `lost` less than its last place.

    The exponent is that of ``1 + x``, rounded as that is; the rest is made from `x` itself.
    """
    shifts = FRACTION_BITS[x.kind]
    from_offset = bits(x + 1.0) - TWO_THIRDS_BITS[x.kind]
    whole = shift("shr", from_offset, shifts)
    # 4 * 2**-exponent: without the factor it would be no normal number for the largest exponents
    scale = unbits((ONE_BITS[x.kind] + (2 << shifts)) - shift("shl", whole, shifts)) * 0.25
    exponent = cast(whole, x.kind)
    return _joined(
        exponent if more is None else exponent + more,
        fma(x, scale, scale - 1.0),
        lost if lost is None else lost * scale,
    )


def log1p(x: Expr) -> Expr:
    """``log(1 + x)``, accurate where `x` is small."""
    value = select(x < INF, with_sign(_log1p(x), x), x)
    return select(x > -1.0, value, select(x == -1.0, number(-INF, x), NAN))


def asinh(x: Expr) -> Expr:
    """The inverse of sinh."""
    size = magnitude(x)
    large = size > LARGE
    square = size * size
    risen = size + square / (square_root(square + 1.0) + 1.0)
    value = _log1p(select(large, size, risen), select(large, number(1.0, x), 0.0))
    return with_sign(select(size < INF, value, size), x)


def acosh(x: Expr) -> Expr:
    """The inverse of cosh."""
    large = x > LARGE
    over = x - 1.0
    root = square_root(fma(over, over, over + over))
    risen = root + over
    lost = (root - risen) + over
    value = _log1p(select(large, x, risen), select(large, number(1.0, x), 0.0), select(large, 0.0, lost))
    return select(x >= 1.0, select(x < INF, value, x), NAN)


def atanh(x: Expr) -> Expr:
    """The inverse of tanh."""
    size = magnitude(x)
    twice = size + size
    value = with_sign(log1p(fma(twice, size / (1.0 - size), twice)) * 0.5, x)
    return select(size <= 1.0, value, NAN)


def logaddexp(a: Expr, b: Expr) -> Expr:
    """``log(exp(a) + exp(b))``."""
    return most(a, b) + _log1p(exp(_distance(a, b)))


def logaddexp2(a: Expr, b: Expr) -> Expr:
    """``log2(2**a + 2**b)``."""
    return most(a, b) + _log1p(exp2(_distance(a, b))) * (1 / math.log(2))


def _distance(a: Expr, b: Expr) -> Expr:
    """``-|a - b|``, 0 for equal infinities."""
    return select(a == b, 0.0, -magnitude(a - b))
