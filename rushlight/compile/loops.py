"""Loop nests of groups: loops over a domain with one dimension in vector lanes.

`Body` writes what happens at one place of the loops; `emit_loops` writes the loops of a group without a
contraction. Invariant: the order in which a fold adds its terms depends on sizes and strides alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from rushlight.compile.contract import Part, in_units
from rushlight.compile.emit import BYTES, Emitter, Reg
from rushlight.compile.expr import Expr, is_float, kind_of
from rushlight.compile.llvm import vector_bytes
from rushlight.compile.scalar import Scalars, cast
from rushlight.compile.statements import Access, Pick, Statement
from rushlight.compile.vmath import in_order, rebuilt

_IDENTITY = {"sum": 0, "prod": 1, "any": 0, "all": 1}


class Place(NamedTuple):
    """Where in the loops we are: an index for each dimension, the one in lanes (-1: none), and the mask."""

    indices: tuple[Reg, ...]
    vector: int
    lanes: int
    mask: Reg | None


class Body:
    """Writes the statements of a group at one place.

    Args:
        e: the code.
        pointers: the register that holds the address of each buffer, by number.
        stored: the statements whose value goes to memory.
    """

    def __init__(self, e: Emitter, pointers: dict[int, str], stored: set[Statement]) -> None:
        self.e, self.pointers, self.stored = e, pointers, stored
        self.values: dict[Access, Reg] = {}  # what is known at the place at hand

    def run(
        self,
        statements: Sequence[Statement],
        place: Place,
        known: dict[Access, Reg],
        first: Sequence[tuple[Access, Reg]] = (),
    ) -> list[tuple[Statement, Reg]]:
        """All statements at a place; the values to be folded come back.

        Stores come last, those in `first` before the others: a load that follows a store to an address with
        the same low bits waits for it, which costs more than all the arithmetic.
        """
        self.values = dict(known)
        folds: list[tuple[Statement, Reg]] = []
        waiting = list(first)
        for each in statements:
            value = self._value(each, place)
            if each.fold:
                folds.append((each, value))
            elif each.add:
                before = self.load(each.store, place)
                self.store(each.store, place, self.e.binary(_adding(value), before, value))
            else:
                self.values[each.store] = value
                if each in self.stored:
                    waiting.append((each.store, value))
        for access, value in waiting:
            self.store(access, place, value)
        return folds

    def _value(self, statement: Statement, place: Place) -> Reg:
        def leaf(node: Expr) -> Reg:
            if node.op == "index":
                return self.index(node.args[0], place)
            access = statement.loads[node.args[0]]
            found = self.values.get(access)
            if found is None:
                found = self.values[access] = self.load(access, place)
            return found

        return Scalars(self.e, place.lanes, leaf).values([statement.expr])[0]

    def index(self, d: int, place: Place) -> Reg:
        """The place along a dimension, in all lanes."""
        e = self.e
        at = e.splat(place.indices[d], place.lanes)
        if d != place.vector or place.lanes == 1:
            return at
        steps = "<" + ", ".join(f"i64 {i}" for i in range(place.lanes)) + ">"
        return e.binary("add", at, Reg(steps, "i8", place.lanes))

    # -- memory ----------------------------------------------------------------------------------------------

    def address(self, access: Access, place: Place) -> str:
        """The address of the element at the place, picks aside."""
        e, kind = self.e, kind_of(access.buffer.dtype)
        pointer = e.pointer(self.pointers[access.buffer.number], access.offset, kind)
        for at, stride in zip(place.indices, access.strides, strict=True):
            if stride:
                step = at if stride == 1 else e.op(f"mul nsw i64 {at.text}, {stride}", "i8", 1)
                pointer = e.pointer(pointer, step, kind)
        return pointer

    def _picked(self, pick: Pick, place: Place) -> Reg:
        """What a pick adds to the address; 0 where the number is out of range."""
        e = self.e
        found = self.values.get(pick.access)  # its store may still be waiting
        number = cast(e, self.load(pick.access, place) if found is None else found, "i8")
        bound = e.const(pick.bound, "i8", number.lanes)
        if pick.from_the_end:
            zero = e.const(0, "i8", number.lanes)
            negative = e.op(f"icmp slt {number.type} {number.text}, {zero.text}", "b1", number.lanes)
            number = e.binary("add", number, e.select(negative, bound, zero))
        inside = e.op(f"icmp ult {number.type} {number.text}, {bound.text}", "b1", number.lanes)
        safe = e.select(inside, number, e.const(0, "i8", number.lanes))
        return e.binary("mul", safe, e.const(pick.scale, "i8", number.lanes))

    def _spread(self, access: Access, place: Place) -> tuple[str, Reg | None]:
        """The start, and the distance of every lane from it, where lanes do not follow each other."""
        e, start = self.e, self.address(access, place)
        step = access.strides[place.vector] if place.vector >= 0 else 0
        apart: Reg | None = None
        for pick in access.picks:
            far = self._picked(pick, place)
            if far.lanes == 1:
                start = e.pointer(start, far, kind_of(access.buffer.dtype))
            else:
                apart = far if apart is None else e.binary("add", apart, far)
        if place.lanes > 1 and (apart is not None or step not in (0, 1)):
            lanes = "<" + ", ".join(f"i64 {i * step}" for i in range(place.lanes)) + ">"
            along = Reg(lanes, "i8", place.lanes)
            apart = along if apart is None else e.binary("add", apart, along)
        return start, apart

    def load(self, access: Access, place: Place) -> Reg:
        """The elements at a place: a vector, or one element where the lanes share it."""
        e, kind = self.e, kind_of(access.buffer.dtype)
        start, apart = self._spread(access, place)
        if apart is not None:
            return e.gather(start, apart, kind, place.mask)
        if place.lanes == 1 or access.strides[place.vector] == 0:
            return e.load(start, kind)
        return e.load(start, kind, place.lanes, place.mask)

    def store(self, access: Access, place: Place, value: Reg) -> None:
        """Write the elements at a place."""
        e, kind = self.e, kind_of(access.buffer.dtype)
        start, apart = self._spread(access, place)
        value = e.splat(value, place.lanes)
        if apart is not None:
            e.scatter(value, start, apart, place.mask)
        else:
            e.store(value, start, place.mask)
        assert value.kind == kind


def _adding(value: Reg) -> str:
    return "fadd" if is_float(value.kind) else "add"


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
            if access.buffer.number not in written and not access.picks
        ]

    def emit(self) -> None:
        """Write everything."""
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
) -> None:
    """The loops of a group without a contraction."""
    small, kept = squeezed(statements, stored)
    Nest(e, Body(e, pointers, kept), small, part).emit()


def loop_units(statements: Sequence[Statement]) -> int:
    """Into how many units a group's loops can be split among threads; 1 for scatters."""
    if any(each.add for each in statements):
        return 1
    small, _ = squeezed(statements, set())
    return Nest(Emitter(), Body(Emitter(), {}, set()), small).units()
