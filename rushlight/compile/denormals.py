"""Where denormal numbers may count as zero.

Averages of gradients that are zero for long get ever smaller, and arithmetic on denormal numbers takes a
hundred times as long as on others; in what changes by steps of ordinary size they make no difference. But
the sign of a number may matter however small it is: Rprop goes by nothing else, and in the centered RMSprop a
square that is lost makes a difference negative, and its root NaN. Invariant: a step that takes signs, or
roots of differences, keeps denormal numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

from rushlight.compile.expr import Expr
from rushlight.compile.group import Group
from rushlight.compile.program import STATE, TEMPORARY
from rushlight.compile.statements import Statement, Work
from rushlight.compile.vmath import in_order


def updates_state(group: Group) -> bool:
    """Whether a group changes what lasts: parameters, an optimizer's averages."""
    return any(each.store.buffer.kind == STATE for each in (group.product, *group.statements) if each)


def goes_by_signs(work: Sequence[Work]) -> bool:
    """Whether a step takes signs, or the root of what may be a difference of two small numbers.

    What lasts, and what is folded, is taken for a sum of squares.
    """
    differences: set[int] = set()  # buffers
    for each in work:
        if not isinstance(each, Statement):
            continue
        if each.call.op.name in ("sign", "sgn"):
            return True
        if each.fold or _has_constant_term(each.expr):
            continue
        nodes = in_order([each.expr])
        if any(access.buffer.number in differences for access in each.loads) or any(map(_subtracts, nodes)):
            if any(node.op == "sqrt" for node in nodes):
                return True
            if each.store.buffer.kind == TEMPORARY:
                differences.add(each.store.buffer.number)
    return False


def _constants(node: Expr) -> list[float]:
    return [each.args[0] for each in node.args if isinstance(each, Expr) and each.op == "const"]


def _has_constant_term(node: Expr) -> bool:
    """Whether a constant is added, beside which denormal numbers do not count: 1 - x, or x + eps."""
    return node.op in ("add", "sub") and any(_constants(node))


def _subtracts(node: Expr) -> bool:
    if node.op == "mul":
        return any(each < 0 for each in _constants(node))
    return node.op == "neg" or (node.op == "sub" and not _has_constant_term(node))
