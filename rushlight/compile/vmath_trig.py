"""Trigonometric functions and their inverses as formulas of primitives.

Multiples of half of pi, given in three parts, are taken off the argument (Cody and Waite), and the rest
goes through two polynomials. Beyond `FAR` the multiple is found with as many digits of 2 / pi as the
argument needs (Payne and Hanek), in a path marked rare. Invariant: they are accurate for every finite
number, near their zeros too; infinities give NaN.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from rushlight.compile import vmath_coefficients as c
from rushlight.compile.expr import Expr
from rushlight.compile.primitives import (
    bits,
    cast,
    fma,
    horner,
    least,
    magnitude,
    most,
    node,
    number,
    rare,
    select,
    shift,
    square_root,
    unbits,
    with_sign,
)
from rushlight.compile.vmath_exp import odd, rounded

PI = 3.141592653589793

# Pi in three parts, each cut off and not rounded: taking 0 times a positive part from -0.0 leaves -0.0.
PI_PARTS = {
    "f4": (3.141592502593994, 1.5099578831723193e-07, 1.078060505991553e-14),
    "f8": (3.141592653589793, 1.224646799147353e-16, 2.1657133478438278e-32),
}
# Half of pi, rounded, and the rest.
HALF_PI = {
    "f4": (1.5707963705062866, -4.371138828673793e-08),
    "f8": (1.5707963267948966, 6.123233995736766e-17),
}

# Up to here three parts are enough.
FAR = {"f4": 2.0**17, "f8": 2.0**40}


def sin(x: Expr) -> Expr:
    """The sine."""
    return _anywhere(x, _circle, 0)


def cos(x: Expr) -> Expr:
    """The cosine: the sine a quarter turn further."""
    return _anywhere(x, _circle, 1)


def tan(x: Expr) -> Expr:
    """The tangent."""
    return _anywhere(x, _tangent, 0)


def _circle(count: Expr, rest: Expr, lost: Expr | None) -> Expr:
    """The sine of a number of quarter turns, whose last two bits count, and a rest."""
    square = rest * rest
    sine = with_sign(odd(rest, c.SIN[rest.kind]), rest)
    cosine = fma(square, horner(square, c.COS[rest.kind]), 1.0)
    return _flipped(select((count & 1) == 1, cosine, sine), shift("lshr", count, 1))


def _tangent(count: Expr, rest: Expr, lost: Expr | None) -> Expr:
    """The tangent: sine and cosine, each in two parts, and a quotient of such numbers."""
    square = rest * rest
    parts = [
        (rest, fma(rest * square, horner(square, c.SIN[rest.kind]), lost)),
        (number(1.0, rest), fma(square, horner(square, c.COS[rest.kind]), -rest * lost)),
    ]
    (sine, sine_low), (cosine, cosine_low) = [_renewed(*each) for each in parts]
    turned = (count & 1) == 1
    top, top_low = select(turned, cosine, sine), select(turned, cosine_low, sine_low)
    bottom, bottom_low = select(turned, sine, cosine), select(turned, sine_low, cosine_low)
    inverse = 1.0 / bottom
    quotient = top * inverse
    missing = fma(-quotient, bottom, top) + fma(-quotient, bottom_low, top_low)
    return _flipped(with_sign(fma(missing, inverse, quotient), rest), count)


def _renewed(high: Expr, low: Expr) -> tuple[Expr, Expr]:
    """The same sum with the first part rounded and the second what that lost (Dekker)."""
    total = high + low
    return total, (high - total) + low


def _flipped(x: Expr, count: Expr) -> Expr:
    """`x` with its sign changed if the count is odd."""
    return unbits(bits(x) ^ shift("shl", count, 8 * int(x.kind[1]) - 1))


def _anywhere(x: Expr, function: Callable[[Expr, Expr, Expr | None], Expr], ahead: int) -> Expr:
    """A function of the quarter turns in `x` and some more, however large `x` is."""
    count, rest, lost = _quarters(x, exactly=function is _tangent)
    near = function(bits(count) + ahead, rest, lost)
    count, rest, lost = _far_quarters(cast(x, "f8"), x.kind)
    far = cast(function(bits(count) + ahead, rest, lost), x.kind)
    return rare(magnitude(x) > FAR[x.kind], far, near)


def _quarters(x: Expr, exactly: bool) -> tuple[Expr, Expr, Expr | None]:
    """How many times half of pi fits into `x`, in the last bits of a float, the rest, and what that lost."""
    count, whole = rounded(x, 2 / PI)
    first, second, third = (part / 2 for part in PI_PARTS[x.kind])
    near = fma(whole, -first, x)  # nothing is rounded here
    if not exactly:
        return count, fma(whole, -third, fma(whole, -second, near)), None
    step = whole * second
    rest = near - step
    lost = ((near - rest) - step) - fma(whole, second, -step)
    return count, rest, fma(whole, -third, lost)


# -- far from 0 ------------------------------------------------------------------------------------------

SPAN = 128  # exponents that share digits of 2 / pi

# For each type: its greatest exponent, the numbers that hold those digits, the parts of the product's sum.
FAR_PARTS = {"f4": (128, 4, 2), "f8": (1024, 6, 3)}


@functools.cache
def _digits(first: int, count: int) -> tuple[float, ...]:
    """``2**first * 2 / pi``, less multiples of ``2**14``, in a count of floats of at most 53 bits."""
    bits_after = 53 * count - 14
    scale = first + bits_after + 64

    def arctangent(inverse: int) -> int:
        term = total = (1 << scale) // inverse
        n = 1
        while term:
            term //= -inverse * inverse
            n += 2
            total += term // n
        return total

    pi = 4 * (4 * arctangent(5) - arctangent(239))  # Machin's formula
    whole = ((2 << (2 * scale)) // pi >> (scale - first - bits_after)) % (1 << (53 * count))
    pieces = []
    for place in range(count):
        rest = 53 * (count - 1 - place)
        pieces.append((whole >> rest) % (1 << 53) * 2.0 ** (rest - bits_after))
    return tuple(pieces)


def _two_sum(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """The rounded sum and what rounding took away."""
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)


def _far_quarters(x: Expr, kind: str) -> tuple[Expr, Expr, Expr]:
    """`_quarters` for a float64 beyond `FAR`, for a result of another kind."""
    greatest, count, parts = FAR_PARTS[kind]
    scale = number(1.0, x)
    pieces = [number(each, x) for each in _digits(0, count)]
    for place in range(1, (greatest - 40 + SPAN - 1) // SPAN):
        further = magnitude(x) >= 2.0 ** (40 + place * SPAN)
        scale = select(further, 2.0 ** (-place * SPAN), scale)
        digits = _digits(place * SPAN, count)
        pieces = [select(further, new, old) for new, old in zip(digits, pieces, strict=True)]
    x = x * scale
    sums = [number(0.0, x)] * parts
    for piece in pieces:
        product = x * piece
        for part in (product, fma(x, piece, -product)):  # together the exact product, less multiples of 4
            rest = fma(node("rint", part * 0.25), -4.0, part)
            for place in range(parts):
                sums[place], rest = _two_sum(sums[place], rest)
    shifted, whole = rounded(sums[0], 1.0)
    low = sums[1] if parts == 2 else sums[1] + sums[2]
    rest, lost = _renewed(sums[0] - whole, low)
    first, second, _ = (part / 2 for part in PI_PARTS["f8"])
    angle = rest * first
    angle_lost = fma(rest, second, fma(lost, first, fma(rest, first, -angle)))
    return shifted, *_renewed(angle, angle_lost)


# -- inverses --------------------------------------------------------------------------------------------

# Up to here the series for the arcsine itself is used; above, that of the half angle to the end.
ASIN_NEAR = 0.5625


def _arcsine(x: Expr) -> tuple[Expr, Expr]:
    """Whether the magnitude of `x` is small; its arcsine, or else half of what that lacks to half of pi."""
    size = magnitude(x)
    near = size <= ASIN_NEAR
    square = select(near, size * size, fma(size, -0.5, 0.5))
    root = select(near, size, square_root(square))
    return near, fma(root * square, horner(square, c.ASIN[x.kind]), root)


def asin(x: Expr) -> Expr:
    """The inverse of sine."""
    high, low = HALF_PI[x.kind]
    near, angle = _arcsine(x)
    return with_sign(select(near, angle, fma(angle, -2.0, low) + high), x)


def acos(x: Expr) -> Expr:
    """The inverse of cosine."""
    high, low = HALF_PI[x.kind]
    near, angle = _arcsine(x)
    rest = high - (select(near, with_sign(angle, x), angle) - low)
    return select(near, rest, 2.0 * select(x < 0.0, rest, angle))


def atan(x: Expr) -> Expr:
    """The inverse of tangent: of x, or of 1 / x for large x."""
    high, low = HALF_PI[x.kind]
    size = magnitude(x)
    angle = odd(least(1.0, size) / most(1.0, size), c.ATAN[x.kind])
    return with_sign(select(size > 1.0, high - (angle - low), angle), x)


def atan2(y: Expr, x: Expr) -> Expr:
    """The angle of the point (x, y), with C's results for zeros and infinities."""
    high, low = HALF_PI[x.kind]
    height, width = magnitude(y), magnitude(x)
    steep, left = height > width, bits(x) < 0
    ratio = select(steep, width, height) / select(steep, height, width)
    ratio = select(height == width, select(width == 0.0, number(0.0, x), 1.0), ratio)
    angle = odd(ratio, c.ATAN[x.kind])
    # from the nearest of 0, half of pi and pi
    turns = select(steep, number(1.0, x), select(left, number(2.0, x), 0.0))
    return with_sign(fma(turns, high, fma(turns, low, select(steep ^ left, -angle, angle))), y)
