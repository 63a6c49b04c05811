"""Loop nests of groups without a contraction: loops over a domain with one dimension in vector lanes.

`emit_loops` writes the loops around what `body` writes. Invariant: the order in which a fold adds its terms
depends on sizes and strides alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from rushlight.compile.body import Body, Place, Spare
from rushlight.compile.contract import Part, in_units
from rushlight.compile.emit import Emitter
from rushlight.compile.expr import Expr, is_float, kind_of
from rushlight.compile.llvm import vector_bytes
from rushlight.compile.registers import BYTES, Reg
from rushlight.compile.scalar import Scalars, cast
from rushlight.compile.statements import Access, Statement
from rushlight.compile.strips import StripsCopy, emit_strips, strips_copy
from rushlight.compile.turned import Turn, emit_turn, turned_copy
from rushlight.compile.vmath import in_order, rebuilt

_IDENTITY = {"sum": 0, "prod": 1, "any": 0, "all": 1}


# -- dimensions ----------------------------------------------------------------------------------------------


def squeezed(
    statements: Sequence[Statement], stored: set[Statement]
) -> tuple[list[Statement], set[Statement]]:
    """The same statements over fewer dimensions: neighbours that all accesses step through evenly are one."""
    domain = statements[0].domain
    folded = frozenset().union(*(each.dims for each in statements))
    indexed = {node.args[0] for each in statements for node in in_order([each.expr]) if node.op == "index"}
    accesses = [access for each in statements for access in _with_picks(each)]
    parts: list[list[int]] = []
    for d, n in enumerate(domain):
        if n == 1 and d not in indexed:
            continue
        before = parts[-1][-1] if parts else None
        if (
            before is not None
            and (before in folded) == (d in folded)
            and d not in indexed
            and before not in indexed
            and not (before == 0 and statements[0].strands > 1)
            and all(each.strides[before] == each.strides[d] * n for each in accesses)
        ):
            parts[-1].append(d)
        else:
            parts.append([d])
    extents = tuple(_product([domain[d] for d in part]) for part in parts)

    def small(access: Access) -> Access:
        strides = tuple(access.strides[part[-1]] for part in parts)
        picks = tuple(replace(each, access=small(each.access)) for each in access.picks)
        return Access(access.buffer, access.offset, strides, picks)

    renumbered = {part[0]: place for place, part in enumerate(parts)}
    made, kept = [], set()
    for each in statements:
        expr = each.expr
        if indexed:
            expr = _renumbered(expr, renumbered)
        new = Statement(
            extents,
            tuple(small(access) for access in each.loads),
            expr,
            small(each.store),
            each.call,
            each.fold,
            frozenset(place for place, part in enumerate(parts) if part[0] in each.dims),
            each.post,
            each.add,
            strands=each.strands,
        )
        made.append(new)
        if each in stored:
            kept.add(new)
    return made, kept


def _renumbered(expr: Expr, places: dict[int, int]) -> Expr:
    """The expression with dimensions numbered anew."""

    def renumber(node: Expr) -> Expr | None:
        return node.symbols.make("index", (places[node.args[0]],), node.kind) if node.op == "index" else None

    return rebuilt([expr], renumber)[0]


def _with_picks(statement: Statement) -> list[Access]:
    return [*statement.reads(), statement.store]


def _product(numbers: Sequence[int]) -> int:
    total = 1
    for each in numbers:
        total *= each
    return total


def lanes_for(statements: Sequence[Statement], extent: int) -> int:
    """How many lanes a dimension of this extent gets."""
    kinds = {kind_of(access.buffer.dtype) for each in statements for access in _with_picks(each)}
    floats = [BYTES[kind] for kind in kinds if is_float(kind)]
    lanes = vector_bytes() // (min(floats) if floats else 8)
    while lanes > 1 and lanes // 2 >= extent:
        lanes //= 2
    return lanes


def vector_dimension(statements: Sequence[Statement]) -> int:
    """The dimension to put into lanes: the one along which most accesses touch neighbouring elements."""
    domain = statements[0].domain
    best, found = 0.0, -1
    for d, n in enumerate(domain):
        if n == 1:
            continue
        score = 0.0
        for each in statements:
            if each.add and (
                each.store.strides[d] != 1 or any(pick.access.strides[d] for pick in each.store.picks)
            ):
                score -= 1e9
            for access, weight in [(access, 1.0) for access in each.loads] + [(each.store, 1.5)]:
                if access.strides[d] == 1:
                    score += weight
                elif access.strides[d] or any(pick.access.strides[d] for pick in access.picks):
                    score -= weight
        score = score * min(n, 16) + n / 1e6 + 0.5
        if score > best or (found < 0 and score > -1e8):
            best, found = score, d
    return found


# -- loops ---------------------------------------------------------------------------------------------------


class Nest:
    """The loops of one group without a contraction."""

    def __init__(
        self, e: Emitter, body: Body, statements: Sequence[Statement], part: Part | None = None
    ) -> None:
        self.e, self.body, self.statements = e, body, list(statements)
        self.part = part
        self.domain = self.statements[0].domain
        folded = frozenset().union(*(each.dims for each in self.statements))
        self.folds = [each for each in self.statements if each.fold]
        self.vector = vector_dimension(self.statements)
        extent = self.domain[self.vector] if self.vector >= 0 else 1
        self.lanes = lanes_for(self.statements, extent) if self.vector >= 0 else 1
        kept = [d for d in range(len(self.domain)) if d not in folded]
        inner = [d for d in range(len(self.domain)) if d in folded]
        for order in (kept, inner):
            if self.vector in order:
                order.remove(self.vector)
                order.append(self.vector)
        self.kept, self.inner = kept, inner
        self.order = kept + inner
        written = {each.store.buffer.number for each in self.statements}
        self.free = [
            access
            for access in dict.fromkeys(a for each in self.statements for a in each.loads)
            if access.buffer.number not in written and any(access.strides) and not access.picks
        ]

    def emit(self) -> None:
        """Write everything."""
        self.body.prepare(self.statements, self.lanes)
        index = [self.e.const(0, "i8")] * len(self.domain)
        self._kept(0, index, {}, None)

    def _hoisted(
        self, depth: int, index: list[Reg], known: dict[Access, Reg], mask: Reg | None = None
    ) -> dict[Access, Reg]:
        """Loads that need none of the loops still to come, done before them."""
        coming = self.order[depth:]
        ready = [
            access
            for access in self.free
            if access not in known and not any(access.strides[d] for d in coming)
        ]
        if not ready or not coming:
            return known
        known = dict(known)
        inside = self.vector in self.order[:depth]
        place = (
            Place(tuple(index), self.vector, self.lanes, mask) if inside else Place(tuple(index), -1, 1, None)
        )
        for access in ready:
            known[access] = self.body.load(access, place)
        return known

    def _kept(self, depth: int, index: list[Reg], known: dict[Access, Reg], mask: Reg | None) -> None:
        """The loops over dimensions that are not folded."""
        if depth == len(self.kept):
            self._element(index, known, mask)
            return
        d = self.kept[depth]
        known = self._hoisted(depth, index, known)
        n = self.domain[d]
        size = self.lanes if d == self.vector else 1

        def piece(at: Reg, count: int) -> None:
            index[d] = at
            inner = self.e.mask(count, self.lanes) if count < size else mask
            self._kept(depth + 1, index, known, inner)

        in_units(self.e, n, size, self.part if depth == 0 else None, piece)

    def units(self) -> int:
        """Into how many units the nest can be split among threads."""
        if not self.kept:
            return 1
        first = self.kept[0]
        size = self.lanes if first == self.vector else 1
        return -(-self.domain[first] // size)

    def _element(self, index: list[Reg], known: dict[Access, Reg], mask: Reg | None) -> None:
        """What is inside the kept loops: the statements, or the folds with their own loops."""
        in_kept = self.vector in self.kept
        lanes = self.lanes if in_kept else 1
        vector = self.vector if in_kept else -1
        if not self.folds:
            self.body.run(self.statements, Place(tuple(index), vector, lanes, mask), known)
            return
        totals = [self._start(each) for each in self.folds]
        totals = self._folded(0, list(index), known, mask, totals)
        for each, total in zip(self.folds, totals, strict=True):
            value = total if in_kept else reduced(self.e, each.fold, total)
            if each.post is not None:
                post = each.post
                (value,) = Scalars(self.e, lanes, _always(value)).values([post])
            value = cast(self.e, value, kind_of(each.store.buffer.dtype))
            self.body.store(each.store, Place(tuple(index), vector, lanes, mask), value)

    def _start(self, statement: Statement) -> Reg:
        return self.e.const(identity(statement.fold, statement.expr.kind), statement.expr.kind, self.lanes)

    def _folded(
        self, depth: int, index: list[Reg], known: dict[Access, Reg], mask: Reg | None, totals: list[Reg]
    ) -> list[Reg]:
        """The loops over folded dimensions; the totals are carried through them."""
        if depth == len(self.inner):
            place = Place(tuple(index), self.vector, self.lanes, mask)
            found = self.body.run(self.statements, place, known)
            return [
                self._combined(each, total, value, mask)
                for (each, value), total in zip(found, totals, strict=True)
            ]
        d = self.inner[depth]
        known = self._hoisted(len(self.kept) + depth, index, known, mask)
        if d != self.vector:
            with self.e.loop(0, self.domain[d], 1, totals) as loop:
                index[d] = loop.index
                loop.next = self._folded(depth + 1, index, known, mask, loop.carry)
            return loop.carry
        n = self.domain[d]
        whole = n // self.lanes * self.lanes
        if whole:
            with self.e.loop(0, whole, self.lanes, totals) as loop:
                index[d] = loop.index
                loop.next = self._folded(depth + 1, index, known, None, loop.carry)
            totals = loop.carry
        if n - whole:
            index[d] = self.e.const(whole, "i8")
            totals = self._folded(depth + 1, index, known, self.e.mask(n - whole, self.lanes), totals)
        return totals

    def _combined(self, statement: Statement, total: Reg, value: Reg, mask: Reg | None) -> Reg:
        e = self.e
        if mask is not None and self.vector in self.inner:
            value = e.select(mask, value, self._start(statement))
        return combine(e, statement.fold, total, value)


def _always(value: Reg) -> Callable[[Expr], Reg]:
    """A leaf function for expressions of one value."""
    return lambda _: value


def identity(fold: str, kind: str) -> float | int:
    """The value that changes nothing."""
    if fold in _IDENTITY:
        return _IDENTITY[fold]
    if is_float(kind):
        return float("-inf") if fold == "amax" else float("inf")
    bits = 8 * BYTES[kind]
    if kind == "u1":
        return 0 if fold == "amax" else 255
    return -(1 << (bits - 1)) if fold == "amax" else (1 << (bits - 1)) - 1


def combine(e: Emitter, fold: str, a: Reg, b: Reg) -> Reg:
    """One step of a fold."""
    if fold in ("sum", "prod"):
        name = {"sum": "add", "prod": "mul"}[fold]
        return e.binary("f" + name if is_float(a.kind) else name, a, b)
    if fold in ("any", "all"):
        return e.binary("or" if fold == "any" else "and", a, b)
    if is_float(a.kind):
        return e.intrinsic("maximum" if fold == "amax" else "minimum", a, b)
    sign = "u" if a.kind == "u1" else "s"
    return e.intrinsic(sign + fold[1:], a, b)


def reduced(e: Emitter, fold: str, value: Reg) -> Reg:
    """All lanes folded into one."""
    if value.lanes == 1:
        return value
    is_number = is_float(value.kind)
    if fold in ("sum", "prod"):
        name = {"sum": "add", "prod": "mul"}[fold]
        return e.reduce("f" + name if is_number else name, value)
    if fold in ("any", "all"):
        return e.reduce("or" if fold == "any" else "and", value)
    if is_number:
        return e.reduce("fmaximum" if fold == "amax" else "fminimum", value)
    return e.reduce(("u" if value.kind == "u1" else "s") + fold[1:], value)


def emit_loops(
    e: Emitter,
    statements: Sequence[Statement],
    pointers: dict[int, str],
    stored: set[Statement],
    part: Part | None = None,
    spare: Spare | None = None,
) -> None:
    """The loops of a group without a contraction."""
    small, kept = squeezed(statements, stored)
    copy = _as_copy(statements, small)
    if isinstance(copy, Turn):
        emit_turn(e, copy, pointers, part)
    elif copy is not None:
        emit_strips(e, copy, pointers, part)
    else:
        Nest(e, Body(e, pointers, kept, spare), small, part).emit()


def loop_units(statements: Sequence[Statement]) -> int:
    """Into how many units a group's loops can be split among threads; 1 for scatters."""
    if any(each.add for each in statements):
        return 1
    small, _ = squeezed(statements, set())
    copy = _as_copy(statements, small)
    if copy is not None:
        return copy.units()
    return Nest(Emitter(), Body(Emitter(), {}, set()), small).units()


def _as_copy(statements: Sequence[Statement], small: Sequence[Statement]) -> Turn | StripsCopy | None:
    """The copy that some statements are, `small` once squeezed, if it has loops of its own."""
    return turned_copy(small) or strips_copy(statements)
