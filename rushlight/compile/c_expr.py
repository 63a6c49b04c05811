"""Expressions as C: what a formula of `expr` looks like to a reader who knows C's operators and math.h.

Functions are called by C's names and not expanded as `vmath` does for native code, so a value may differ
from a program's in the last places. What C has no name for is a function of its own (`c_helpers`).
Invariant: every operation is done in the type that NumPy would do it in.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np

from rushlight.compile.c_helpers import HELPERS, TYPES, Helpers, suffix
from rushlight.compile.expr import Expr, is_float
from rushlight.compile.vmath import ROUNDINGS, in_order

# How tightly C's operators bind.
ATOM, UNARY, SUM, COMPARISON, EQUALITY, CHOICE = 16, 14, 12, 10, 9, 3
OPERATORS = {
    "mul": ("*", 13),
    "div": ("/", 13),
    "add": ("+", 12),
    "sub": ("-", 12),
    "lt": ("<", 10),
    "le": ("<=", 10),
    "gt": (">", 10),
    "ge": (">=", 10),
    "eq": ("==", 9),
    "ne": ("!=", 9),
    "and": ("&", 8),
    "xor": ("^", 7),
    "or": ("|", 6),
}
ON_BOOLS = {"and": ("&&", 5), "or": ("||", 4), "xor": ("!=", 9)}

# How tightly operands must bind where C's rules are not everybody's.
OPERANDS = {"==": SUM, "!=": SUM, "&": SUM, "|": SUM, "^": SUM, "&&": EQUALITY, "||": EQUALITY}

# What math.h calls them, where it is not the same.
MATH = {"abs": "fabs", "power": "pow"}
OF_MATH = frozenset(
    ["abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "copysign", "cos", "cosh"]
    + ["exp", "exp2", "expm1", "floor", "fma", "fmod", "hypot", "log", "log10", "log1p", "log2", "nextafter"]
    + ["power", "rint", "sin", "sinh", "sqrt", "tan", "tanh", "trunc"]
)
TESTS = {"isfinite": True, "isinf": False, "isnan": False}  # with what holds for whole numbers

LONGEST = 72  # letters of an expression before a part of it gets a name


def literal(value: float | int | bool, kind: str) -> str:
    """A number as C writes it.

    >>> literal(0.1, "f4"), literal(2.0, "f8"), literal(float("-inf"), "f4"), literal(-1 << 63, "i8")
    ('0.1f', '2.0', '-INFINITY', 'INT64_MIN')
    """
    if kind == "b1":
        return "true" if value else "false"
    if not is_float(kind):
        number = int(value)
        if number == -(1 << 63):
            return "INT64_MIN"
        return str(number) if abs(number) < 1 << 31 else f"{number}LL"
    with np.errstate(over="ignore"):
        rounded = np.dtype(kind).type(value)
    if math.isnan(rounded):
        return "NAN"
    if math.isinf(rounded):
        return "INFINITY" if rounded > 0 else "-INFINITY"
    return str(rounded) + suffix(kind)


class Expressions:
    """Writes the values of expressions at one place of a function.

    Args:
        line: takes a line of code that must come before the value.
        helpers: collects what else the text needs.
        leaf: the C expression for a "load" or "index" node.
        name: a fresh name for a part of an expression.
    """

    def __init__(
        self,
        line: Callable[[str], None],
        helpers: Helpers,
        leaf: Callable[[Expr], str],
        name: Callable[[], str],
    ) -> None:
        self.line, self.helpers, self.leaf, self.name = line, helpers, leaf, name
        self._made: dict[Expr, tuple[str, int]] = {}

    def value(self, root: Expr) -> str:
        """The C expression for a value; parts that occur twice, or are long, get names first."""
        nodes = in_order([root])
        uses = Counter(each for node in nodes for each in node.operands)
        for node in nodes:
            text, binding = self._text(node)
            is_leaf = node.op in ("load", "index", "const")
            if node is not root and not is_leaf and (uses[node] > 1 or len(text) > LONGEST):
                name = self.name()
                self.line(f"const {TYPES[node.kind]} {name} = {text};")
                text, binding = name, ATOM
            self._made[node] = text, binding
        return self._made[root][0]

    def _part(self, node: Expr, least: int) -> str:
        """An operand, in parentheses unless it binds as tightly as it must."""
        text, binding = self._made[node]
        return text if binding >= least else f"({text})"

    def _text(self, node: Expr) -> tuple[str, int]:
        op, kind, args = node.op, node.kind, node.args
        if op == "const":
            text = literal(args[0], kind)
            return text, UNARY if text.startswith("-") else ATOM
        if op in ("load", "index"):
            return self.leaf(node), ATOM
        if op == "cast":
            return self._cast(args[0], kind)
        if op == "select":
            condition, yes = (self._part(each, CHOICE + 1) for each in args[:2])
            parts = condition, f"? {yes}", f": {self._part(args[2], CHOICE)}"
            return (" " if sum(map(len, parts)) < LONGEST else "\n").join(parts), CHOICE
        if op in OPERATORS:
            return self._operator(op, args[0], args[1], kind)
        if op in ("neg", "not"):
            sign = "-" if op == "neg" else "!" if kind == "b1" else "~"
            return self._small(sign + self._part(args[0], ATOM), UNARY, kind)
        return self._function(op, args, kind)

    def _cast(self, operand: Expr, kind: str) -> tuple[str, int]:
        if kind == "b1":
            return f"{self._part(operand, SUM)} != 0", EQUALITY
        return f"({TYPES[kind]}){self._part(operand, UNARY)}", UNARY

    def _operator(self, op: str, left: Expr, right: Expr, kind: str) -> tuple[str, int]:
        if op == "mul" and right.op == "const" and right.args[0] == 1:
            return self._made[left]
        sign, binding = OPERATORS[op]
        if left.kind == "b1" and op in ON_BOOLS:
            sign, binding = ON_BOOLS[op]
        least = OPERANDS.get(sign)
        before, after = (binding, binding + 1) if least is None else (least, least)
        text = f"{self._part(left, before)} {sign} {self._part(right, after)}"
        return (text, binding) if kind == "b1" else self._small(text, binding, kind)

    def _small(self, text: str, binding: int, kind: str) -> tuple[str, int]:
        """C computes with small whole numbers as int: back to their own type."""
        if kind in ("u1", "i1", "i2"):
            return f"({TYPES[kind]})({text})", UNARY
        return text, binding

    def _function(self, op: str, args: tuple[Expr, ...], kind: str) -> tuple[str, int]:
        first = args[0]
        if not is_float(first.kind):
            if op in ROUNDINGS or (op == "abs" and first.kind[0] in "bu"):
                return self._made[first]
            if op in TESTS:
                return literal(TESTS[op], "b1"), ATOM
            if op == "signbit":
                return f"{self._part(first, SUM)} < 0", COMPARISON
        given = ", ".join(self._made[each][0] for each in args)
        if op in ("isinf", "signbit"):  # these may be any number but 0
            return f"{op}({given}) != 0", EQUALITY
        if op in TESTS:
            return f"{op}({given})", ATOM
        if is_float(first.kind) and op in OF_MATH:
            return f"{MATH.get(op, op)}{suffix(first.kind)}({given})", ATOM
        if op not in HELPERS:
            raise NotImplementedError(f"code(): {op} is not written in C")
        return f"{self.helpers.need(op, first.kind)}({given})", ATOM
