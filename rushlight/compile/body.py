"""What happens at one place of the loops: the statements of a group, with their loads and stores.

`Body` writes it, for as many places at once as a vector has lanes. Which loops there are it does not know.
Invariant: what is the same at every place is computed once, before the loops (`Body.prepare`).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from rushlight.compile.emit import Emitter
from rushlight.compile.expr import Expr, is_float, kind_of
from rushlight.compile.layout import Panels
from rushlight.compile.program import Buffer
from rushlight.compile.quotients import shared_out
from rushlight.compile.registers import Reg
from rushlight.compile.scalar import Scalars, cast
from rushlight.compile.statements import Access, Pick, Statement, same_everywhere
from rushlight.compile.vmath import in_order


class Place(NamedTuple):
    """Where in the loops we are: an index for each dimension, the one in lanes (-1: none), and the mask."""

    indices: tuple[Reg, ...]
    vector: int
    lanes: int
    mask: Reg | None


class Spare(NamedTuple):
    """Buffers that are stored to only if a condition holds, by number; and whether it does, where that is
    known.
    """

    buffers: Container[int]
    wanted: Reg
    holds: bool | None = None


class Body:
    """Writes the statements of a group at one place.

    Args:
        e: the code.
        pointers: the register that holds the address of each buffer, by number.
        stored: the statements whose value goes to memory.
        spare: where it does so not always.
        panels: where elements are of buffers that may lie in panels, by number.
    """

    def __init__(
        self,
        e: Emitter,
        pointers: dict[int, str],
        stored: set[Statement],
        spare: Spare | None = None,
        panels: Mapping[int, Panels] = MappingProxyType({}),
    ) -> None:
        self.e, self.pointers, self.stored, self.spare, self.panels = e, pointers, stored, spare, panels
        self.values: dict[Access, Reg] = {}  # what is known at the place at hand
        self.lanes = 0
        self.wide: dict[Statement, Expr] = {}  # what to compute in places of that many lanes
        self.fixed: dict[Statement, dict[Expr, Reg]] = {}  # and what of it is known there

    def prepare(self, statements: Sequence[Statement], lanes: int, written: Iterable[Buffer] = ()) -> None:
        """Compute what is the same at every place, in all lanes, before the loops.

        Args:
            statements: those that `run` will carry out.
            lanes: of most places.
            written: what else than the statements' own results the loops write.
        """
        self.lanes = lanes
        changing = {each.number for each in written} | {each.store.buffer.number for each in statements}
        for statement, expr in zip(statements, shared_out(statements, lanes, changing), strict=True):
            start = Place((self.e.const(0, "i8"),) * len(statement.domain), -1, 1, None)

            def leaf(node: Expr, loads: Sequence[Access] = statement.loads, start: Place = start) -> Reg:
                return self.load(loads[node.args[0]], start)

            self.wide[statement] = expr
            parts = _fixed_parts(expr, statement.loads, changing)
            values = Scalars(self.e, lanes, leaf).values(parts)
            self.fixed[statement] = dict(zip(parts, values, strict=True))

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
            wanted = self._wanted(access.buffer)
            if wanted is None or wanted.holds:
                self.store(access, place, value)
            elif wanted.holds is None:
                with self.e.when(wanted.wanted):
                    self.store(access, place, value)
        return folds

    def either(self, piece: Callable[[], None]) -> None:
        """Write something twice: for when what is spared is stored to, and for when it is not."""
        if self.spare is None or self.spare.holds is not None:
            piece()
            return
        before = self.spare
        with self.e.either(before.wanted) as otherwise:
            self.spare = before._replace(holds=True)
            piece()
            otherwise()
            self.spare = before._replace(holds=False)
            piece()
        self.spare = before

    def _value(self, statement: Statement, place: Place) -> Reg:
        def leaf(node: Expr) -> Reg:
            if node.op == "index":
                return self.index(node.args[0], place)
            access = statement.loads[node.args[0]]
            found = self.values.get(access)
            if found is None:
                found = self.values[access] = self.load(access, place)
            return found

        scalars = Scalars(self.e, place.lanes, leaf)
        if place.lanes != self.lanes:
            return scalars.values([statement.expr])[0]
        scalars.made.update(self.fixed[statement])
        return scalars.values([self.wide[statement]])[0]

    def index(self, d: int, place: Place) -> Reg:
        """The place along a dimension, in all lanes."""
        e = self.e
        at = e.splat(place.indices[d], place.lanes)
        if d != place.vector or place.lanes == 1:
            return at
        steps = "<" + ", ".join(f"i64 {i}" for i in range(place.lanes)) + ">"
        return e.binary("add", at, Reg(steps, "i8", place.lanes))

    def streams(self, statements: Sequence[Statement]) -> list[Access]:
        """What the statements read from memory that is another element at every place. A buffer that is
        spared may have no address, and what they read of it they stored themselves.
        """
        read = dict.fromkeys(access for each in statements for access in each.loads)
        return [
            each
            for each in read
            if each.buffer.number in self.pointers
            and self._wanted(each.buffer) is None
            and any(each.strides)
            and not each.picks
        ]

    def _wanted(self, buffer: Buffer) -> Spare | None:
        """The condition on which a buffer is stored to, if it is spared."""
        return self.spare if self.spare is not None and buffer.number in self.spare.buffers else None

    # -- memory ----------------------------------------------------------------------------------------------

    def address(self, access: Access, place: Place) -> str:
        """The address of the element at the place, picks aside."""
        e, kind, number = self.e, kind_of(access.buffer.dtype), access.buffer.number
        panels = self.panels_of(access.buffer)
        if panels is not None:
            row, column = place.indices
            return panels.address(e, self.pointers[number], row, column, kind)
        pointer = e.pointer(self.pointers[number], access.offset, kind)
        for at, stride in zip(place.indices, access.strides, strict=True):
            if stride:
                pointer = e.pointer(pointer, e.times(at, stride), kind)
        return pointer

    def panels_of(self, buffer: Buffer) -> Panels | None:
        """Where elements of a buffer are, if it lies in panels: while many steps run, or always."""
        return self.panels.get(buffer.number) or buffer.panels

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
        panels = self.panels_of(access.buffer)
        if panels is not None and panels.is_turned:
            step = int(place.vector == 0)
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


def _fixed_parts(expr: Expr, loads: Sequence[Access], changing: Container[int]) -> list[Expr]:
    """The largest parts of an expression that have one value for all places, constants aside.

    Args:
        expr: the expression.
        loads: what its loads read.
        changing: the numbers of the buffers that the loops write.
    """

    fixed = same_everywhere(expr, loads, changing)
    parts: dict[Expr, None] = {}
    for node in in_order([expr]):
        if node not in fixed:
            parts.update((each, None) for each in node.operands if each in fixed)
    if expr in fixed:
        parts[expr] = None
    return [each for each in parts if each.op != "const"]


def _adding(value: Reg) -> str:
    return "fadd" if is_float(value.kind) else "add"
