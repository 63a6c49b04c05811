"""Formulas of special functions, for floating operands: what the ops in `special` and some activations are
made of.

Each takes `k`, the namespace that formulas run in, and the operand, and uses only operators and `k`, so
that it runs on ndarrays and in generated loops. They were checked against 45-digit values to about two
units in the last place (near a zero of the function: of its scale). Invariant: NaN gives NaN, and no
operand raises.
"""

from __future__ import annotations

import math
from typing import Any

from rushlight.ops import coefficients as c

INF, NAN = float("inf"), float("nan")
TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)
FARTHEST = 28.0  # erfc is 0 beyond, in every type
ERF_IS_1 = 6.25  # from here on


def _gaussian(k: Any, x: Any) -> Any:
    """``exp(-x * x)`` without the error of rounding the square: x is split into a short number and a rest."""
    head = k.rint(x * 16) * 0.0625
    return k.exp(-head * head) * k.exp((head - x) * (head + x))


def _scaled_tail(k: Any, x: Any) -> Any:
    """``exp(x * x) * erfc(x)`` for x from 0.5 to `FARTHEST`: t * polynomial(t), where t = 1 / (x + 1.5)."""
    t = 1 / (x + 1.5)
    low, high = 1 / (FARTHEST + 1.5), 1 / 2
    scaled = (t - (low + high) / 2) * (2 / (high - low))
    return t * k.polynomial(scaled, c.ERFCX_DOUBLE, c.ERFCX_SINGLE)


def _tail(k: Any, x: Any) -> Any:
    """``erfc(x)`` for x of 0.5 or more."""
    near = k.minimum(x, FARTHEST)
    return _gaussian(k, near) * _scaled_tail(k, near)


def _center(k: Any, x: Any) -> Any:
    """``erf(x)`` for magnitudes below 0.5: x * polynomial(x * x)."""
    return x * k.polynomial(k.minimum(x * x, 0.25), c.ERF_NEAR_0_DOUBLE, c.ERF_NEAR_0_SINGLE)


def erf(k: Any, x: Any) -> Any:
    """The error function: 1 - exp(-y), y = a + a * (a + polynomial(a / (a + 4))), a the magnitude of x."""
    size = k.abs(x)
    near = k.minimum(size, ERF_IS_1)
    fraction = near / (near + 4)
    slope = k.polynomial(fraction, c.ERF_EXPONENT_DOUBLE, c.ERF_EXPONENT_SINGLE) + size
    return k.copysign(k.expm1(-k.multiply_add(slope, size, size)), x)


def erfc(k: Any, x: Any) -> Any:
    """``1 - erf(x)``, accurate in the far tail."""
    tail = _tail(k, k.maximum(k.abs(x), 0.5))
    return k.where(k.abs(x) < 0.5, 1 - _center(k, x), k.where(x < 0, 2 - tail, tail))


def erfcx(k: Any, x: Any) -> Any:
    """``exp(x * x) * erfc(x)``."""
    size = k.maximum(k.abs(x), 0.5)
    u = 1 / (2 * size * size)
    series = (1 - u * (1 - 3 * u * (1 - 5 * u * (1 - 7 * u * (1 - 9 * u))))) / (size * math.sqrt(math.pi))
    tail = k.where(size < FARTHEST, _scaled_tail(k, k.minimum(size, FARTHEST)), series)
    near = k.exp(x * x) * (1 - _center(k, x))
    return k.where(k.abs(x) < 0.5, near, k.where(x < 0, 2 * k.exp(x * x) - tail, tail))


def erfinv(k: Any, y: Any) -> Any:
    """The inverse of `erf`: a polynomial in sqrt(-log(1 - y * y)), and one step of Halley's method."""
    size = k.minimum(k.abs(y), 1.0)
    s = k.minimum(k.sqrt(-k.log((1 - size) * (1 + size))), 6.1)
    x = size * k.polynomial(s * (2 / 6.1) - 1, c.ERFINV, c.ERFINV)
    excess = k.where(size < 0.5, erf(k, x) - size, (1 - size) - erfc(k, x))
    step = excess / (TWO_OVER_ROOT_PI * k.exp(-x * x))
    x = k.copysign(x - step / (1 + x * step), y)
    return k.where(k.abs(y) < 1, x, k.where(k.abs(y) == 1, y * INF, NAN))


def ndtr(k: Any, x: Any) -> Any:
    """The normal distribution function, accurate in both tails."""
    return 0.5 * erfc(k, x * -math.sqrt(0.5))


def log_ndtr(k: Any, x: Any) -> Any:
    """The logarithm of the normal distribution function."""
    t = x * math.sqrt(0.5)
    low = k.log(erfcx(k, -k.minimum(t, 0.0)) * 0.5) - t * t
    return k.where(x < -1, low, k.log1p(erfc(k, k.maximum(t, -1.0)) * -0.5))


def ndtri(k: Any, p: Any) -> Any:
    """The normal quantile: `erfinv` in the middle, Newton's method on the log of the tail outside."""
    side = k.minimum(k.maximum(k.minimum(p, 1 - p), 0.0), 0.1)
    target = k.log(2 * side)
    y = k.sqrt(-target) - 0.3
    for _ in range(5):
        tail = erfcx(k, y)
        y = y + (k.log(tail) - y * y - target) * tail * (math.sqrt(math.pi) / 2)
    middle = k.abs(p - 0.5) < 0.4
    inside = k.where(middle, erfinv(k, 2 * p - 1), k.copysign(y, p - 0.5)) * math.sqrt(2)
    return k.where((p > 0) & (p < 1), inside, k.where((p == 0) | (p == 1), (p - 0.5) * INF, NAN))


def lgamma(k: Any, x: Any) -> Any:
    """``log |gamma(x)|``: a polynomial around 2, brought there by recurrence, Stirling's series above 3, and
    reflection for negative numbers."""
    negative = x <= 0
    z = k.where(negative, 1 - x, x)
    # d is the distance of the argument from 2 after raising it by 2, 1 or 0
    low, middle = z < 0.5, z < 1.5
    d = k.where(low, z, k.where(middle, z - 1, k.minimum(z - 2, 1.0)))
    near = d * k.polynomial(d, c.LGAMMA_DOUBLE, c.LGAMMA_SINGLE)
    near = near - k.where(low, k.log(z * (1 + z)), k.where(middle, k.log1p(d), 0.0))
    far = k.maximum(z, 3.0)
    u = 1 / (far * far)
    series = k.polynomial(u, c.STIRLING_DOUBLE, c.STIRLING_SINGLE) / far
    series = series + (far - 0.5) * (k.log(far) - 1) + (math.log(2 * math.pi) - 1) / 2
    positive = k.where(z < 3, near, k.where(z == INF, INF, series))
    sine = k.abs(k.sin((x - k.rint(x)) * math.pi))
    reflected = math.log(math.pi) - k.log(sine) - positive
    return k.where(negative, k.where((sine == 0) | (x == -INF), INF, reflected), positive)


def digamma(k: Any, x: Any) -> Any:
    """The derivative of `lgamma`: an asymptotic series above 2, reached by recurrence and reflection."""
    negative = x <= 0
    z = k.where(negative, 1 - x, x)
    small = z < 2
    far = k.where(small, z + 2, z)
    u = 1 / (far * far)
    value = k.log(far) - 0.5 / far - u * k.polynomial(u, c.DIGAMMA_DOUBLE, c.DIGAMMA_SINGLE)
    value = k.where(small, value - 1 / z - 1 / (z + 1), value)
    reflected = value - math.pi / k.tan((x - k.rint(x)) * math.pi)
    poles = k.where(x == 0, k.copysign(INF, -x), NAN)
    return k.where(negative, k.where(x == k.rint(x), poles, reflected), value)


def _bessel(k: Any, x: Any, low: Any, large: Any, scaled: bool) -> Any:
    """A modified Bessel function of ``|x|``: `low`, and beyond 8 a polynomial in 8 / x.

    That polynomial stands for the function without its factor ``exp(x) / sqrt(x)``.

    If `scaled`, without the factor ``exp(|x|)``.
    """
    size = k.abs(x)
    far = k.maximum(size, 8.0)
    high = k.polynomial(16 / far - 1, *large) / k.sqrt(far)
    if scaled:
        return k.where(size < 8, low * k.exp(-size), high)
    return k.where(size < 8, low, high * k.exp(far))


def _quarter_square(k: Any, x: Any) -> Any:
    near = k.minimum(k.abs(x), 8.0)
    return near * near * 0.25


def i0(k: Any, x: Any, scaled: bool = False) -> Any:
    """The modified Bessel function of order 0; `scaled` by ``exp(-|x|)``."""
    series = k.polynomial(_quarter_square(k, x), c.I0_SERIES_DOUBLE, c.I0_SERIES_SINGLE)
    return _bessel(k, x, series, (c.I0_LARGE_DOUBLE, c.I0_LARGE_SINGLE), scaled)


def i1(k: Any, x: Any, scaled: bool = False) -> Any:
    """The modified Bessel function of order 1; `scaled` by ``exp(-|x|)``."""
    series = k.polynomial(_quarter_square(k, x), c.I1_SERIES_DOUBLE, c.I1_SERIES_SINGLE) * k.abs(x) * 0.5
    value = _bessel(k, x, series, (c.I1_LARGE_DOUBLE, c.I1_LARGE_SINGLE), scaled)
    return k.where(x < 0, -value, value)
