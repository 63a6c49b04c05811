"""Where denormal numbers may count as zero.

Averages of gradients that are zero for long get ever smaller, and arithmetic on denormal numbers takes a
hundred times as long as on others. Where such averages are only added up, multiplied, and divided by what is
never near zero, nothing else feels the difference. Elsewhere it may decide: a sign is all that Rprop goes by;
in the centered RMSprop a lost square makes a difference negative, and its root NaN; Adam without its `eps`
would divide by zero. Invariant: loops count denormal numbers as zero only if they change averages, and only
in steps in which whatever is computed from averages is of the harmless kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rushlight.compile.expr import Expr, is_float
from rushlight.compile.program import STATE
from rushlight.compile.statements import Access, Product, Statement, Work, same_everywhere
from rushlight.compile.vmath import in_order

# Primitives whose results move little when an operand goes from a denormal number to zero.
_CONTINUOUS = frozenset(["load", "const", "cast", "add", "sub", "mul", "neg", "fma", "abs", "min", "max"])
_COMPARISONS = frozenset(["lt", "le", "gt", "ge", "eq", "ne"])
_FAR_FROM_ZERO = 1e-30  # so far that no denormal number makes a difference beside it


class Fading:
    """Where denormal numbers may become zero in a step.

    `averages` are the buffers, by number, that are worth it: what lasts, is changed, and is read element by
    element alone, as an optimizer's state is and weights are not. There are none where something computed
    from them could feel it.
    """

    def __init__(self, work: Sequence[Work]) -> None:
        self.averages = _averages(work)
        self.harmless: set[Statement] = set()
        if not self.averages:
            return
        reached = set(self.averages)  # buffers with values that come of them
        facts = _Facts()
        for each in work:
            if not isinstance(each, Statement):
                continue
            values = _Values(facts, each)
            if all(map(values.harmless, in_order([each.expr]))):
                self.harmless.add(each)
            if any(access.buffer.number in reached for access in each.loads):
                if each not in self.harmless:
                    self.averages = set()
                    return
                reached.add(each.store.buffer.number)
            facts.note(each, values)

    def allows(self, statements: Sequence[Statement]) -> bool:
        """Whether these statements, in loops of their own, change averages and do no harm."""
        changes = any(each.store.buffer.number in self.averages for each in statements)
        return changes and all(each in self.harmless for each in statements)


def _averages(work: Iterable[Work]) -> set[int]:
    places: dict[int, set[Access]] = {}
    changed, others = set[int](), set[int]()
    for each in work:
        if isinstance(each, Statement):
            plain = not (each.fold or each.add or each.store.picks)
            for access in each.reads():
                places.setdefault(access.buffer.number, set()).add(access)
                if access.is_one_element() or access.picks:
                    others.add(access.buffer.number)
            store = each.store.buffer
            places.setdefault(store.number, set()).add(each.store)
            if plain and store.kind == STATE and is_float(each.expr.kind):
                changed.add(store.number)
            else:
                others.add(store.number)
        elif isinstance(each, Product):
            others |= {access.buffer.number for access, _ in each.reads()} | {each.store.buffer.number}
    return {number for number in changed - others if len(places[number]) == 1}


class _Facts:
    """What is known of memory as statements follow each other.

    `signed` are the buffers, by number, that have held differences; what else is read is taken for a square,
    and single numbers (decay rates, corrections) for positive. `far` are the places that now hold nothing
    near zero, and `multiples` those that hold what another place holds, times a positive number, with that
    place; by number of the buffer. `copied` says which multiples come from a buffer.
    """

    def __init__(self) -> None:
        self.signed: set[int] = set()
        self.far: dict[int, Access] = {}
        self.multiples: dict[int, tuple[Access, Access]] = {}
        self.copied: dict[int, set[int]] = {}

    def note(self, statement: Statement, values: _Values) -> None:
        """Take in what a statement stores."""
        store, number = statement.store, statement.store.buffer.number
        if not values.never_negative(statement.expr):
            self.signed.add(number)
        self.far.pop(number, None)
        for each in (number, *self.copied.pop(number, ())):
            self.multiples.pop(each, None)
        if statement.fold or statement.add or store.picks:
            return
        if values.far_from_zero(statement.expr):
            self.far[number] = store
        factors = values.factors(statement.expr)
        varying = [each for each in factors if each not in values.same]
        is_one = len(varying) == 1 and varying[0].op == "load" and factors[varying[0]] == 1
        if is_one and values.positive_factors(statement.expr):
            source = values.place(varying[0])
            if source.buffer is not store.buffer:
                self.multiples[number] = store, source
                self.copied.setdefault(source.buffer.number, set()).add(number)


class _Values:
    """The parts of one statement's expression, in the light of what is known."""

    def __init__(self, facts: _Facts, statement: Statement) -> None:
        self.facts, self.loads = facts, statement.loads
        self.same = same_everywhere(statement.expr, statement.loads)
        # answers for parts that others share: each is asked for once
        self._far: dict[Expr, bool] = {}
        self._positive: dict[Expr, bool] = {}
        self._factors: dict[Expr, Counter[Expr]] = {}

    def harmless(self, node: Expr) -> bool:
        """Whether a part moves little when an operand goes from a denormal number to zero."""
        if node in self.same:
            return True
        if node.op == "sqrt":
            return self.never_negative(node.args[0])
        if node.op == "div":
            return self.far_from_zero(node.args[1])
        if node.op in ("select", "rare"):
            return node.args[0] in self.same or _tests_for_nan(node.args[0])
        return node.op in _CONTINUOUS or _tests_for_nan(node)

    def far_from_zero(self, node: Expr) -> bool:
        """Whether no value of a part is near zero."""
        if node not in self._far:
            self._far[node] = self._is_far(node)
        return self._far[node]

    def _is_far(self, node: Expr) -> bool:
        if node.op == "const":
            return abs(node.args[0]) > _FAR_FROM_ZERO
        if node in self.same:
            return True
        if node.op == "load":
            access = self.loads[node.args[0]]
            return self.facts.far.get(access.buffer.number) == access
        if node.op in ("sqrt", "cast"):
            return self.far_from_zero(node.args[0])
        if node.op in ("select", "rare") and _tests_for_nan(node.args[0]):
            return self.far_from_zero(node.args[2])
        if node.op not in ("add", "max"):
            return False
        far = any(
            self.far_from_zero(each) for each in node.args if each.op == "const" or each not in self.same
        )
        return far and self.never_negative(node)

    def never_negative(self, node: Expr) -> bool:
        """Whether a part is a sum, product or quotient of squares and positive numbers."""
        if node not in self._positive:
            self._positive[node] = self._is_never_negative(node)
        return self._positive[node]

    def _is_never_negative(self, node: Expr) -> bool:
        if node.op == "const":
            return node.args[0] >= 0
        if node in self.same or node.op in ("sqrt", "abs"):
            return True
        if node.op == "load":
            return self.loads[node.args[0]].buffer.number not in self.facts.signed
        if node.op == "mul":
            factors = self.factors(node)
            times: Counter[object] = Counter()
            for each, count in factors.items():
                times[self._what(each)] += count
            return all(times[self._what(each)] % 2 == 0 or self.never_negative(each) for each in factors)
        if node.op in ("select", "rare"):
            return all(map(self.never_negative, node.args[1:]))
        return node.op in ("add", "div", "min", "max", "cast", "fma") and all(
            map(self.never_negative, node.args)
        )

    def positive_factors(self, node: Expr) -> bool:
        """Whether all factors with one value for all places are positive."""
        return all(each.op != "const" or each.args[0] > 0 for each in self.factors(node))

    def factors(self, node: Expr) -> Counter[Expr]:
        """What is multiplied, and how often."""
        if node.op != "mul":
            return Counter([node])
        if node not in self._factors:
            first, second = node.args
            self._factors[node] = self.factors(first) + self.factors(second)
        return self._factors[node]

    def place(self, load: Expr) -> Access:
        """The place that a part is read from, or that it was a multiple of."""
        access = self.loads[load.args[0]]
        place, source = self.facts.multiples.get(access.buffer.number, (access, access))
        return source if place == access else access

    def _what(self, node: Expr) -> object:
        """By which equal factors are known, positive numbers aside."""
        return self.place(node) if node.op == "load" else node


def _tests_for_nan(node: Expr) -> bool:
    return node.op in _COMPARISONS and node.args[0] is node.args[1]
