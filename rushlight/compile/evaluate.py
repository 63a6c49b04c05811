"""A reference evaluator of expressions on NumPy arrays: what a native kernel has to compute, slowly.

Float32 stays float32 in every step and `fma` is rounded once, so that the results are, bit for bit,
those of hardware that carries the primitives out. What is no primitive is lowered first. Invariant: no
float's value depends on the machine this runs on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from rushlight.compile.expr import Expr
from rushlight.compile.vmath import in_order, lower

# Where a float64 product is above the first and no operand above the second, all parts of it are exact.
LEAST_PRODUCT, MOST = 2.0**-900, 2.0**990
SPLITTER = 2.0**27 + 1


def evaluate(roots: Sequence[Expr], inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The values of expressions, with the arrays that their loads number, broadcast together.

    >>> from rushlight.compile.expr import Symbols
    >>> k = Symbols()
    >>> x = k.load(0, "f8")
    >>> evaluate([k.exp(x) + 1.0], [np.array([0.0, 1.0])])
    [array([2.        , 3.71828183])]
    """
    lowered = lower(roots)
    values: dict[Expr, np.ndarray] = {}
    with np.errstate(all="ignore"):
        for each in in_order(lowered):
            values[each] = _value(each, values, inputs)
    shape = np.broadcast_shapes(*(each.shape for each in inputs))
    return [np.broadcast_to(values[each], shape).copy() for each in lowered]


def _value(node: Expr, values: dict[Expr, np.ndarray], inputs: Sequence[np.ndarray]) -> np.ndarray:
    """One node's value, given those of its operands."""
    if node.op == "load":
        return inputs[node.args[0]].astype(node.kind, copy=False)
    if node.op == "const":
        return np.array(node.args[0]).astype(node.kind)
    operands = [values[each] for each in node.args]
    if node.op == "unbits":
        return operands[0].view(node.kind)
    result = _OPERATIONS[node.op](*operands)
    return np.asarray(result).astype(node.kind, copy=False)


def _bits(x: np.ndarray) -> np.ndarray:
    return x.view(f"i{x.dtype.itemsize}")


def _shift_in_zeros(x: np.ndarray, count: np.ndarray) -> np.ndarray:
    unsigned = x.dtype.str.replace("i", "u")
    return (x.view(unsigned) >> count.astype(unsigned)).view(x.dtype)


# -- a * b + c, rounded once -----------------------------------------------------------------------------


def fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """``a * b + c`` rounded once, for arrays of one floating type."""
    a, b, c = np.broadcast_arrays(a, b, c)
    if a.dtype == np.float32:
        product = a.astype(np.float64) * b  # exact
        return _add_to_odd(product, c.astype(np.float64)).astype(np.float32)
    product = a * b
    size = np.abs(product)
    largest = np.maximum(np.maximum(np.abs(a), np.abs(b)), np.maximum(np.abs(c), size))
    result = np.where(np.isfinite(a) & np.isfinite(b) & np.isfinite(c), _exact_fma(a, b, c), product + c)
    hard = np.isfinite(a) & np.isfinite(b) & np.isfinite(c) & (a != 0) & (b != 0)
    hard &= ~((size > LEAST_PRODUCT) & (largest < MOST))
    if hard.any():
        result[hard] = [
            _fraction_fma(*each)
            for each in zip(a[hard].tolist(), b[hard].tolist(), c[hard].tolist(), strict=True)
        ]
    return result


def _two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rounded sum and what rounding took away (Knuth)."""
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)


def _add_to_odd(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The float64 sum with its last bit set where it is inexact: rounding it again is as rounding once."""
    total, rest = _two_sum(a, b)
    even = (_bits(total) & 1) == 0
    inexact = np.isfinite(rest) & (rest != 0) & even
    return np.where(inexact, np.nextafter(total, np.copysign(np.inf, rest)), total)


def _exact_fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """For float64 without overflow and underflow.

    The product is made as two numbers (Veltkamp and Dekker), and the sum of three is rounded once because the
    small ones were added to odd (Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums", 2008).
    """
    product = a * b
    a_high, b_high = a * SPLITTER - (a * SPLITTER - a), b * SPLITTER - (b * SPLITTER - b)
    a_low, b_low = a - a_high, b - b_high
    rest = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    upper, lower_part = _two_sum(c, rest)
    total, total_rest = _two_sum(product, upper)
    exact = total + _add_to_odd(total_rest, lower_part)
    return np.where((product == 0) | (rest == 0) & (c == 0), product + c, exact)


def _fraction_fma(a: float, b: float, c: float) -> float:
    """One float64 in exact arithmetic, for where splitting would overflow or underflow."""
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if exact == 0:
        return a * b + c if c == 0 else 0.0
    try:
        return float(exact)
    except OverflowError:
        return float("inf") if exact > 0 else float("-inf")


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.true_divide,
    "neg": np.negative,
    "abs": np.absolute,
    "sqrt": np.sqrt,
    "fma": fma,
    "min": lambda a, b: np.where(a < b, a, b),
    "max": lambda a, b: np.where(a > b, a, b),
    "copysign": np.copysign,
    "rint": np.rint,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "select": np.where,
    "rare": np.where,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.invert,
    "cast": lambda x: x,
    "bits": _bits,
    "shl": np.left_shift,
    "shr": np.right_shift,
    "lshr": _shift_in_zeros,
}
