"""Copies that turn a matrix: rows of the source become columns of the target.

Whichever way a loop goes, one side lies far apart, and a gather or scatter takes a cycle for each element.
Here square blocks, as wide as a vector, are loaded along the source's rows, turned in registers and stored
along the target's. Products pack their operands this way. Invariant: elements are copied, never computed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rushlight.compile.body import Body, Place
from rushlight.compile.contract import Part, in_units
from rushlight.compile.emit import Emitter
from rushlight.compile.expr import is_float
from rushlight.compile.layout import Panels
from rushlight.compile.llvm import vector_bytes
from rushlight.compile.registers import BYTES, Reg
from rushlight.compile.statements import Access, Statement


class Turn(NamedTuple):
    """A copy of a matrix from `source` to `target`.

    `along` is the dimension in which the source's elements follow each other, `across` that of the target's.
    """

    statement: Statement
    source: Access
    target: Access
    along: int
    across: int
    lanes: int

    def units(self) -> int:
        """Into how many units the copy can be split among threads."""
        return -(-self.statement.domain[self.along] // self.lanes)


def turned_copy(statements: Sequence[Statement]) -> Turn | None:
    """What the statements are, if it is such a copy of at least one whole block."""
    if len(statements) != 1 or len(statements[0].domain) != 2:
        return None
    (statement,) = statements
    if statement.expr.op != "load" or statement.fold or statement.add:
        return None
    (source,), target = statement.loads, statement.store
    kind = statement.expr.kind
    if source.picks or target.picks or source.buffer is target.buffer or not is_float(kind):
        return None
    lanes = vector_bytes() // BYTES[kind]
    if min(statement.domain) < lanes:
        return None
    for along, across in ((0, 1), (1, 0)):
        steps = source.strides[along], target.strides[across]
        far = source.strides[across], target.strides[along]
        if steps == (1, 1) and min(far) > 1:
            return Turn(statement, source, target, along, across, lanes)
    return None


def emit_turn(e: Emitter, turn: Turn, pointers: dict[int, str], part: Part | None) -> None:
    """The loops of such a copy; `part` bounds the units this thread does."""
    body = Body(e, pointers, set())
    lanes, kind = turn.lanes, turn.statement.expr.kind
    no_lanes = Place((), -1, 1, None)
    panels = turn.target.buffer.panels
    steps = turn.source.strides[turn.across], panels.row if panels else turn.target.strides[turn.along]

    def addresses(at: Reg, other: Reg) -> tuple[str, str]:
        place = no_lanes._replace(indices=(at, other) if turn.along == 0 else (other, at))
        return body.address(turn.source, place), body.address(turn.target, place)

    sizes = turn.statement.domain[turn.along], turn.statement.domain[turn.across]
    turn_blocks(e, sizes, kind, lanes, steps, addresses, part)


def copy_turned(
    e: Emitter, rows: int, columns: int, kind: str, target: tuple[str, Panels], source: tuple[str, Panels]
) -> None:
    """Copy a matrix of so many rows and columns to where it lies turned."""
    lanes = vector_bytes() // BYTES[kind]

    (to, there), (start, here) = (
        (pointer, panels._replace(is_turned=False)) for pointer, panels in (target, source)
    )

    def addresses(at: Reg, other: Reg) -> tuple[str, str]:
        return here.address(e, start, other, at, kind), there.address(e, to, at, other, kind)

    turn_blocks(e, (columns, rows), kind, lanes, (here.row, there.row), addresses, None)


def turn_blocks(
    e: Emitter,
    sizes: tuple[int, int],
    kind: str,
    lanes: int,
    steps: tuple[int, int],
    addresses: Callable[[Reg, Reg], tuple[str, str]],
    part: Part | None,
) -> None:
    """Turn a matrix block by block, given its sizes along and across the source's elements, how far apart
    vectors lie in source and target, and where these have an element.
    """

    def block(at: Reg, rows: int, other: Reg, columns: int) -> None:
        source, target = addresses(at, other)
        name, needed = _block_function(kind, lanes, rows == columns == lanes)
        e.declared |= needed
        numbers = ", ".join(f"i64 {each}" for each in (*steps, rows, columns))
        e.line(f"call void @{name}(ptr {source}, ptr {target}, {numbers})")

    def strip(at: Reg, rows: int) -> None:
        in_units(e, sizes[1], lanes, None, lambda other, columns: block(at, rows, other, columns))

    in_units(e, sizes[0], lanes, part, strip)


@functools.cache
def _block_function(kind: str, lanes: int, is_whole: bool) -> tuple[str, set[str]]:
    """The function that turns one block, which all such copies share, for LLVM takes longer over it than over
    whole products: its name, and what the module must have for it, its own text among it.

    Its arguments are where to read and to write, how many elements apart the vectors lie there, how many
    elements each of those that are read has, and how many of them there are. Whole blocks go without masks,
    with which CPUs without AVX-512 take ten times as long to store.
    """
    e = Emitter()
    name = f"turn_{kind}" if is_whole else f"turn_rest_{kind}"
    source_step, target_step, rows, columns = (
        Reg(f"%{each}", "i8", 1) for each in ("source_step", "target_step", "rows", "columns")
    )
    parameters = ["ptr %source", "ptr %target", *(f"i64 {each.text}" for each in (source_step, target_step))]
    e.begin(name, [*parameters, "i64 %rows", "i64 %columns"])

    def apart(base: str, place: Reg, step: Reg) -> str:
        return e.pointer(base, e.binary("mul", place, step), kind)

    def mask(count: Reg) -> Reg:
        """Whose first `count` lanes are on."""
        bits = e.op(f"shl i64 1, {count.text}", "i8", 1)
        bits = e.binary("sub", bits, e.const(1, "i8"))
        small = e.op(f"trunc i64 {bits.text} to i{lanes}", "i8", 1)
        return e.op(f"bitcast i{lanes} {small.text} to <{lanes} x i1>", "b1", lanes)

    places = [e.const(place, "i8") for place in range(lanes)]
    if is_whole:
        vectors = [e.load(apart("%source", at, source_step), kind, lanes) for at in places]
        for at, vector in zip(places, e.turned(vectors), strict=True):
            e.store(vector, apart("%target", at, target_step))
        return name, e.shared()
    within = mask(rows)
    last = e.binary("sub", columns, e.const(1, "i8"))
    vectors = []
    for at in places:  # where there are fewer, the last one again, which is then not written
        at = e.intrinsic("smin", at, last)
        vectors.append(e.load(apart("%source", at, source_step), kind, lanes, within))
    for at, vector in zip(places, e.turned(vectors), strict=True):
        there = e.op(f"icmp slt i64 {at.text}, {rows.text}", "b1", 1)
        count = e.select(there, columns, e.const(0, "i8"))
        e.store(vector, apart("%target", at, target_step), mask(count))
    return name, e.shared()
