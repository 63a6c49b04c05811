"""Powers as formulas of primitives, `log10` and `hypot`.

A power is ``2 ** (y * log2(x))`` with the logarithm in two parts, and C's special cases. Float32 is
done in float64, where one part is enough. Whole numbers are squared and multiplied. By the same
logarithm `log10` is exact for powers of ten. Invariant: ``x ** 0`` and ``1 ** y`` are 1 even for NaN.
"""

from __future__ import annotations

from collections.abc import Callable

from rushlight.compile import vmath_coefficients as c
from rushlight.compile.expr import Expr, is_float
from rushlight.compile.primitives import (
    INF,
    NAN,
    bounded,
    cast,
    fma,
    horner,
    magnitude,
    node,
    number,
    select,
    shift,
    square_root,
    with_sign,
)
from rushlight.compile.vmath_exp import EXP2_BOUNDS, power_of_two, rounded, scaled
from rushlight.compile.vmath_log import of_positive, split

MOST = 1.7976931348623157e308

# Each with its logarithm to base 2 in two parts.
FACTORS = (
    (1.25, 0.32192809488736235, -3.717019964142682e-19),
    (0.875, -0.19264507794239588, -1.1104012146962652e-17),
)

# In two parts: 2 / log(2), 1 / 3, log10(2).
TWO_LOG2_E = (2.8853900817779268, 4.0710547481862066e-17)
THIRD = (0.3333333333333333, 1.850371707708594e-17)
LOG10_2 = (0.3010299956639812, -2.8037281277851704e-18)


def _product(a: Expr, b: Expr | float) -> tuple[Expr, Expr]:
    """The rounded product and what rounding took away."""
    product = a * b
    return product, fma(a, b, -product)


def _sum(large: Expr, small: Expr) -> tuple[Expr, Expr]:
    """The rounded sum and what rounding took away, where the first is the larger, or 0."""
    total = large + small
    return total, (large - total) + small


def _log2(x: Expr) -> tuple[Expr, Expr]:
    """The logarithm to base 2 of a positive float64 in two parts, to about ``2**-66`` of itself.

    What `split` leaves is brought nearer to 1 by one of `FACTORS`, which loses nothing. The logarithm of
    ``1 + rest`` is ``2 * atanh(s) / log(2)``, where ``s = rest / (2 + rest)``.
    """
    exponent, rest = split(x)
    zero = number(0.0, x)
    factor_less_1, offset, offset_lost = zero, zero, zero
    for chosen, (factor, high, low) in zip((rest < -0.1, rest > 0.1), FACTORS, strict=True):
        factor_less_1 = select(chosen, factor - 1, factor_less_1)
        offset, offset_lost = select(chosen, -high, offset), select(chosen, -low, offset_lost)
    rest = fma(rest, factor_less_1 + 1.0, factor_less_1)
    below, below_lost = _sum(number(2.0, x), rest)
    inverse = 1.0 / below
    s = rest * inverse
    s_lost = fma(-s, below_lost, fma(-s, below, rest)) * inverse
    square, square_lost = _product(s, s)
    square_lost = fma(s + s, s_lost, square_lost)
    # more = atanh(s) / s - 1
    third, third_lost = _product(square, THIRD[0])
    third_lost = fma(square_lost, THIRD[0], fma(square, THIRD[1], third_lost))
    more, more_lost = _sum(third, square * square * horner(square, c.ATANH["f8"]))
    more_lost = more_lost + third_lost
    line, line_lost = _product(s, TWO_LOG2_E[0])
    line_lost = fma(s_lost, TWO_LOG2_E[0], fma(s, TWO_LOG2_E[1], line_lost))
    curve, curve_lost = _product(line, more)
    curve_lost = fma(line, more_lost, fma(line_lost, more, curve_lost))
    value, value_lost = _sum(line, curve)
    base, base_lost = _sum(exponent, offset)
    total, total_lost = _sum(base, value)
    lost = value_lost + (curve_lost + line_lost) + (base_lost + offset_lost)
    return total, total_lost + lost


def log10(x: Expr) -> Expr:
    """The logarithm to base 10; that of float32 is rounded from float64."""
    if x.kind == "f4":
        return cast(log10(cast(x, "f8")), "f4")
    high, low = _log2(x)
    value, lost = _product(high, LOG10_2[0])
    return of_positive(x, value + fma(low, LOG10_2[0], fma(high, LOG10_2[1], lost)))


def power(x: Expr, y: Expr) -> Expr:
    """``x ** y``."""
    if not is_float(x.kind):
        return _whole_power(x, y)
    if y.op == "const" and y.args[0] in _SIMPLE:
        return _SIMPLE[y.args[0]](x)
    if x.kind == "f4":
        return cast(_with_special_cases(cast(x, "f8"), cast(y, "f8"), _rough_power), "f4")
    return _with_special_cases(x, y, _power)


# The exponents that the eager op computes so, too.
_SIMPLE = {
    -2.0: lambda x: 1.0 / (x * x),
    -1.0: lambda x: 1.0 / x,
    -0.5: lambda x: 1.0 / square_root(x),
    0.0: lambda x: number(1.0, x),
    0.5: square_root,
    1.0: lambda x: x,
    2.0: lambda x: x * x,
    3.0: lambda x: x * x * x,
}


def _power(size: Expr, y: Expr) -> Expr:
    """The power of a magnitude, by a finite exponent."""
    high, low = _log2(size)
    high = select(size == 0.0, number(-INF, size), select(size < INF, high, size))
    product, lost = _product(y, high)
    inside = bounded(EXP2_BOUNDS["f8"][0], product, EXP2_BOUNDS["f8"][1])
    lost = select(inside == product, fma(y, low, lost), 0.0)
    shifted, whole = rounded(inside, 1.0)
    return scaled(horner((inside - whole) + lost, (*c.EXP2["f8"], 1.0)), shifted)


def _rough_power(size: Expr, y: Expr) -> Expr:
    """`_power` for what will be rounded to float32."""
    exponent, rest = split(size)
    high = fma(rest, horner(rest, c.LOG2_SHORT["f8"]), exponent)
    high = select(size == 0.0, number(-INF, size), select(size < INF, high, size))
    inside = bounded(-200.0, y * high, 200.0)
    shifted, whole = rounded(inside, 1.0)
    return horner(inside - whole, (*c.EXP2["f4"], 1.0)) * power_of_two(shifted)


def _with_special_cases(x: Expr, y: Expr, power: Callable[[Expr, Expr], Expr]) -> Expr:
    """The power of two float64, given a function for the power of a magnitude by a finite exponent."""
    size = power(magnitude(x), bounded(-MOST, y, MOST))
    half = y * 0.5
    whole = node("trunc", y) == y
    odd = whole & (node("trunc", half) != half)
    value = select(odd, with_sign(size, x), size)
    value = select((x < 0.0) & (x > -INF) & ~whole, NAN, value)
    return select((x == 1.0) | (y == 0.0), 1.0, value)


def _whole_power(x: Expr, y: Expr) -> Expr:
    """The power of whole numbers, which wraps around; a negative exponent gives 0 but for 1 and -1."""
    total, square = number(1, x), x
    known = y.args[0] if y.op == "const" else None
    for place in range(8 * int(x.kind[1]) if known is None else max(known, 0).bit_length()):
        if place:
            square = square * square
        if known is None:
            total = select((shift("lshr", y, place) & 1) == 1, total * square, total)
        elif known >> place & 1:
            total = total * square
    if known is not None and known >= 0:
        return total
    sign = select((y & 1) == 1, x, 1)
    return select(y >= 0, total, select((x == 1) | (x == -1), sign, 0))


def hypot(x: Expr, y: Expr) -> Expr:
    """The length of (x, y): infinite if either is, else NaN if either is."""
    if x.kind == "f4":
        return cast(hypot(cast(x, "f8"), cast(y, "f8")), "f4")
    width, height = magnitude(x), magnitude(y)
    longer, shorter = select(width > height, width, height), select(width > height, height, width)
    # brought to where squares neither overflow nor underflow
    huge, tiny = longer > 2.0**500, longer < 2.0**-500
    scale = select(huge, number(2.0**-600, x), select(tiny, number(2.0**600, x), 1.0))
    back = select(huge, number(2.0**600, x), select(tiny, number(2.0**-600, x), 1.0))
    longer, shorter = longer * scale, shorter * scale
    length = square_root(fma(longer, longer, shorter * shorter)) * back
    return select((width == INF) | (height == INF), INF, length)
