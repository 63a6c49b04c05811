"""How functions that no CPU has an instruction for are computed: as formulas of primitive operations.

`lower` makes expressions of `primitives` only, so that a back end knows nothing of mathematics. The
formulas, in `vmath_exp`, `vmath_log`, `vmath_power`, `vmath_trig` and `vmath_divide`, have no branches
and no tables, and so run on vectors of any width. Invariant: values of float32 and float64 are within 2
units in the last place for all operands (for `logaddexp` and `logaddexp2`: of the largest operand or
result), denormals among them, and as C defines them for zeros, infinities and NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from rushlight.compile import vmath_divide, vmath_exp, vmath_log, vmath_power, vmath_trig
from rushlight.compile.expr import Expr, is_float
from rushlight.compile.primitives import (
    INF,
    NAN,
    PRIMITIVES,
    bits,
    is_nan,
    least,
    magnitude,
    most,
    number,
    select,
    unbits,
    with_sign,
)

# Primitives of floats that leave whole numbers as they are.
ROUNDINGS = frozenset(["ceil", "floor", "rint", "trunc"])


def _never_nan(x: Expr) -> bool:
    return not is_float(x.kind) or (x.op == "const" and x.args[0] == x.args[0])


def maximum(a: Expr, b: Expr) -> Expr:
    """The greater; NaN if either is."""
    return _extreme("or", most, a, b)


def minimum(a: Expr, b: Expr) -> Expr:
    """The lesser; NaN if either is."""
    return _extreme("and", least, a, b)


def _extreme(on_bools: str, choose: Callable[[Expr, Expr], Expr], a: Expr, b: Expr) -> Expr:
    if a.kind == "b1":
        return a.symbols.make(on_bools, (a, b), "b1")
    if _never_nan(a):
        return choose(a, b)
    return choose(b, a) if _never_nan(b) else select(is_nan(a), a, choose(a, b))


def fmax(a: Expr, b: Expr) -> Expr:
    """The greater; where one is NaN the other."""
    return _extreme("or", most, a, b) if _never_nan(b) and _never_nan(a) else select(is_nan(b), a, most(a, b))


def fmin(a: Expr, b: Expr) -> Expr:
    """The lesser; where one is NaN the other."""
    return (
        _extreme("and", least, a, b) if _never_nan(b) and _never_nan(a) else select(is_nan(b), a, least(a, b))
    )


def sign(x: Expr) -> Expr:
    """-1, 0 or 1; 0 for NaN."""
    if x.kind == "b1":
        return x
    positive = select(x > 0, number(1, x), 0)
    return positive if x.kind == "u1" else select(x < 0, number(-1, x), positive)


def isnan(x: Expr) -> Expr:
    """Whether it is NaN."""
    return x.symbols.const(False, "b1") if _never_nan(x) else is_nan(x)


def isinf(x: Expr) -> Expr:
    """Whether it is an infinity."""
    return magnitude(x) == INF if is_float(x.kind) else x.symbols.const(False, "b1")


def isfinite(x: Expr) -> Expr:
    """Whether it is neither infinite nor NaN."""
    return magnitude(x) < INF if is_float(x.kind) else x.symbols.const(True, "b1")


def signbit(x: Expr) -> Expr:
    """Whether the sign bit is set."""
    if is_float(x.kind):
        return bits(x) < 0
    return x < 0 if x.kind[0] == "i" else x.symbols.const(False, "b1")


def nextafter(a: Expr, b: Expr) -> Expr:
    """The next number after `a` in the direction of `b`."""
    away = (a < b) ^ (a < 0.0)  # from zero
    moved = unbits(bits(a) + select(away, number(1, bits(a)), -1))
    least_number = with_sign(unbits(number(1, bits(a))), b)
    value = select(a == 0.0, least_number, moved)
    return select(a == b, b, select(is_nan(a) | is_nan(b), NAN, value))


FORMULAS: dict[str, Callable[..., Expr]] = {
    function.__name__: function
    for function in (
        fmax,
        fmin,
        isfinite,
        isinf,
        isnan,
        maximum,
        minimum,
        nextafter,
        sign,
        signbit,
        vmath_divide.floor_divide,
        vmath_divide.fmod,
        vmath_divide.remainder,
        vmath_divide.trunc_divide,
        vmath_exp.cosh,
        vmath_exp.exp,
        vmath_exp.exp2,
        vmath_exp.expm1,
        vmath_exp.sigmoid,
        vmath_exp.sinh,
        vmath_exp.tanh,
        vmath_log.acosh,
        vmath_log.asinh,
        vmath_log.atanh,
        vmath_log.log,
        vmath_log.log1p,
        vmath_log.log2,
        vmath_log.logaddexp,
        vmath_log.logaddexp2,
        vmath_power.hypot,
        vmath_power.log10,
        vmath_power.power,
        vmath_trig.acos,
        vmath_trig.asin,
        vmath_trig.atan,
        vmath_trig.atan2,
        vmath_trig.cos,
        vmath_trig.sin,
        vmath_trig.tan,
    )
}


def is_known(op: str) -> bool:
    """Whether an operation is a primitive or has a formula."""
    return op in PRIMITIVES or op in FORMULAS


def expand(node: Expr) -> Expr | None:
    """A node as a formula of primitives on its operands; None if it is a primitive itself.

    Raises:
        NotImplementedError: for a function without a formula.
    """
    if not is_float(node.kind) and (node.op in ROUNDINGS or (node.op == "abs" and node.kind[0] in "bu")):
        return node.args[0]
    if node.op in PRIMITIVES:
        return None
    if node.op not in FORMULAS:
        raise NotImplementedError(f"{node.op} has no formula that can be compiled")
    return FORMULAS[node.op](*node.args)


def in_order(roots: Sequence[Expr], known: Container[Expr] = (), into_rare: bool = True) -> list[Expr]:
    """The nodes of some expressions, once each, after their operands.

    Args:
        roots: the expressions.
        known: nodes to leave out, with what only they need.
        into_rare: whether what only the rare values of ``rare`` nodes need is among them. A back end that
            skips it asks for it when it comes to such a node: ``in_order([node.args[1]], known)``.
    """
    if len(roots) == 1 and into_rare and not known:
        if roots[0].parts is None:
            roots[0].parts = _in_order(roots, (), True)
        return list(roots[0].parts)
    return _in_order(roots, known, into_rare)


def _in_order(roots: Sequence[Expr], known: Container[Expr], into_rare: bool) -> list[Expr]:
    found: dict[Expr, None] = {}
    waiting = [each for each in reversed(roots) if each not in known]
    while waiting:
        node = waiting[-1]
        if node not in found:
            skips = node.op == "rare" and not into_rare
            operands = node.operands if not skips else [node.args[0], node.args[2]]
            missing = [each for each in operands if each not in found and each not in known]
            if missing:
                waiting.extend(missing)
                continue
        found[waiting.pop()] = None
    return list(found)


def lower(roots: Sequence[Expr]) -> list[Expr]:
    """The expressions with every function expanded: primitives only, equal parts one object.

    >>> from rushlight.compile.expr import Symbols
    >>> k = Symbols()
    >>> lower([k.maximum(k.load(0, "f4"), 0.0)])
    [max(0.0, in0)]
    """
    return rebuilt(roots, expand)


def rebuilt(roots: Sequence[Expr], replace: Callable[[Expr], Expr | None]) -> list[Expr]:
    """The expressions with every node that `replace` knows something for replaced by that, operands first."""
    made: dict[Expr, Expr] = {}
    for node in in_order(roots):
        args = tuple(made[each] if isinstance(each, Expr) else each for each in node.args)
        same = node.symbols.make(node.op, args, node.kind)
        made[node] = replace(same) or same
    return [made[each] for each in roots]
