"""The NumPy side of `k`, the namespace that formulas run in, and the guard that keeps NumPy quiet.

A formula such as ``lambda k, input: k.tanh(input)`` runs with this module's `numpy_namespace` when
eager and with an expression builder when compiling. Invariant: everything here works elementwise on
ndarrays and Python numbers and keeps float32 in float32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np


def _rounding(function: Any) -> Any:
    """A rounding ufunc for which whole numbers stay as they are, in every version of NumPy."""

    def rounded(a: Any) -> Any:
        return function(a) if a.dtype.kind == "f" else a.copy()

    return staticmethod(rounded)


@functools.lru_cache(maxsize=256)
def _typed(value: float, kind: np.dtype) -> np.ndarray:
    """A number as a 0-d array, read-only because it is handed out again (and -0.0 may come back as 0.0)."""
    array = np.asarray(value, kind)
    array.flags.writeable = False
    return array


class Numpy:
    """The functions that formulas may call: NumPy's, and those that NumPy lacks or defines otherwise."""

    abs = staticmethod(np.absolute)
    acos = staticmethod(np.arccos)
    acosh = staticmethod(np.arccosh)
    asin = staticmethod(np.arcsin)
    asinh = staticmethod(np.arcsinh)
    atan = staticmethod(np.arctan)
    atan2 = staticmethod(np.arctan2)
    atanh = staticmethod(np.arctanh)
    ceil = _rounding(np.ceil)
    copysign = staticmethod(np.copysign)
    cos = staticmethod(np.cos)
    cosh = staticmethod(np.cosh)
    exp = staticmethod(np.exp)
    exp2 = staticmethod(np.exp2)
    expm1 = staticmethod(np.expm1)
    floor = _rounding(np.floor)
    floor_divide = staticmethod(np.floor_divide)
    fmax = staticmethod(np.fmax)
    fmin = staticmethod(np.fmin)
    fmod = staticmethod(np.fmod)
    gcd = staticmethod(np.gcd)
    hypot = staticmethod(np.hypot)
    isfinite = staticmethod(np.isfinite)
    isinf = staticmethod(np.isinf)
    isnan = staticmethod(np.isnan)
    lcm = staticmethod(np.lcm)
    log = staticmethod(np.log)
    log1p = staticmethod(np.log1p)
    log2 = staticmethod(np.log2)
    logaddexp = staticmethod(np.logaddexp)
    logaddexp2 = staticmethod(np.logaddexp2)
    logical_and = staticmethod(np.logical_and)
    logical_not = staticmethod(np.logical_not)
    logical_or = staticmethod(np.logical_or)
    logical_xor = staticmethod(np.logical_xor)
    maximum = staticmethod(np.maximum)
    minimum = staticmethod(np.minimum)
    nextafter = staticmethod(np.nextafter)
    rint = _rounding(np.rint)
    sin = staticmethod(np.sin)
    sinh = staticmethod(np.sinh)
    sqrt = staticmethod(np.sqrt)
    tan = staticmethod(np.tan)
    tanh = staticmethod(np.tanh)
    trunc = _rounding(np.trunc)

    @staticmethod
    def constant(value: float, like: Any) -> Any:
        """A number as an array of the type of `like`: NumPy is twice as quick with it as with the number."""
        return _typed(value, like.dtype)

    @staticmethod
    def is_whole(a: Any) -> bool:
        """Whether the elements are whole numbers."""
        return np.asarray(a).dtype.kind in "iu"

    @staticmethod
    def where(condition: Any, a: Any, b: Any) -> Any:
        """`a` where the condition holds, `b` elsewhere; one of them may be a number."""
        if type(a) is float and isinstance(b, np.ndarray):
            a = _typed(a, b.dtype)
        elif type(b) is float and isinstance(a, np.ndarray):
            b = _typed(b, a.dtype)
        return np.where(condition, a, b)

    @staticmethod
    def sigmoid(a: Any) -> Any:
        """``1 / (1 + exp(-a))``."""
        total = np.exp(np.negative(a))
        return np.reciprocal(total + _typed(1.0, total.dtype))

    @staticmethod
    def log10(a: Any) -> Any:
        """The logarithm to base 10, exact for powers of ten in float32 too."""
        if a.dtype == np.float32:
            return np.log10(a, dtype=np.float64).astype(np.float32)
        return np.log10(a)

    @staticmethod
    def sign(a: Any) -> Any:
        """-1, 0 or 1; unlike NumPy's, 0 for NaN."""
        return (
            np.subtract(a > 0, a < 0, dtype=a.dtype)
            if a.dtype.kind == "f"
            else a.copy()
            if a.dtype.kind == "b"
            else np.sign(a)
        )

    @staticmethod
    def signbit(a: Any) -> Any:
        """Whether the sign bit is set; for whole numbers whether they are negative."""
        return np.signbit(a) if a.dtype.kind == "f" else np.less(a, 0)

    @staticmethod
    def remainder(a: Any, b: Any) -> Any:
        """The remainder with the sign of `b`; a remainder of zero keeps the sign of `a`, unlike NumPy's."""
        if np.result_type(a, b).kind != "f":
            return np.remainder(a, b)
        left = np.fmod(a, b)
        return np.where((left != 0) & ((left < 0) != np.less(b, 0)), left + b, left)

    @staticmethod
    def trunc_divide(a: Any, b: Any) -> Any:
        """The quotient rounded towards zero."""
        if np.result_type(a, b).kind == "f":
            return np.trunc(np.true_divide(a, b))
        quotient = np.floor_divide(a, b)
        return quotient + ((quotient * b != a) & ((a < 0) != (b < 0)))

    @staticmethod
    def power(a: Any, b: Any) -> Any:
        """``a ** b``; the exponents that PyTorch computes without a power are computed so here too."""
        number = b if isinstance(b, (int, float)) else b.item() if b.ndim == 0 else None
        whole = isinstance(b, np.ndarray) and b.dtype.kind in "iu"
        if number in _SIMPLE_POWERS and isinstance(a, np.ndarray) and not (whole and number < 0):
            return _SIMPLE_POWERS[number](a)
        if whole:
            return _whole_power(np.asarray(a), b)
        return np.power(a, b)

    @staticmethod
    def multiply_add(a: Any, b: Any, c: Any) -> Any:
        """``a * b + c``; generated code rounds it once, as it does each step of `polynomial`."""
        return a * b + c

    @staticmethod
    def polynomial(x: Any, double: tuple[float, ...], single: tuple[float, ...]) -> Any:
        """The polynomial with these coefficients, highest power first.

        `double` is accurate in float64; `single`, shorter, is enough for float32.
        """
        coefficients = single if x.dtype == np.float32 else double
        total = np.multiply(x, coefficients[0])
        if not isinstance(total, np.ndarray):
            for coefficient in coefficients[1:-1]:
                total = (total + coefficient) * x
            return total + coefficients[-1]
        for coefficient in coefficients[1:-1]:
            np.add(total, coefficient, out=total)
            np.multiply(total, x, out=total)
        return np.add(total, coefficients[-1], out=total)


_SIMPLE_POWERS: dict[float, Callable[[Any], Any]] = {
    0: np.ones_like,
    0.5: np.sqrt,
    1: np.copy,
    2: np.square,
    3: lambda a: a * a * a,
    -0.5: lambda a: 1 / np.sqrt(a),
    -1: lambda a: 1 / a,
    -2: lambda a: 1 / (a * a),
}


def _whole_power(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Powers of whole numbers; a negative exponent gives 0, or 1 and -1 for the bases 1 and -1."""
    powers = np.power(a, np.maximum(b, 0))
    if b.dtype.kind == "u" or not (b < 0).any():
        return powers
    odd = (b & 1).astype(a.dtype)
    return np.where(b >= 0, powers, np.where(a == 1, 1, np.where(a == -1, 1 - 2 * odd, 0))).astype(a.dtype)


numpy_namespace = Numpy()
