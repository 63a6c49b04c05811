"""Copies that turn a matrix: rows of the source become columns of the target.

Whichever way a loop goes, one side lies far apart, and a gather or scatter takes a cycle for each element.
Here square blocks, as wide as a vector, are loaded along the source's rows, turned in registers and stored
along the target's. Products pack their operands this way. Invariant: elements are copied, never computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rushlight.compile.body import Body, Place
from rushlight.compile.contract import Part, in_units
from rushlight.compile.emit import BYTES, Emitter, Reg
from rushlight.compile.expr import is_float
from rushlight.compile.llvm import vector_bytes
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

    def address(access: Access, at: Reg, other: Reg, moved: int, by: int) -> str:
        """The address at a place of both dimensions, moved along one of them."""
        indices = [at, other] if turn.along == 0 else [other, at]
        start = body.address(access, no_lanes._replace(indices=tuple(indices)))
        return e.pointer(start, access.strides[moved] * by, kind)

    def block(at: Reg, rows: int, other: Reg, columns: int) -> None:
        within = e.mask(rows, lanes) if rows < lanes else None
        vectors = [
            e.load(address(turn.source, at, other, turn.across, c), kind, lanes, within)
            for c in range(columns)
        ]
        vectors += [e.const(0.0, kind, lanes)] * (lanes - columns)
        within = e.mask(columns, lanes) if columns < lanes else None
        for row, vector in enumerate(e.turned(vectors)[:rows]):
            e.store(vector, address(turn.target, at, other, turn.along, row), within)

    def strip(at: Reg, rows: int) -> None:
        in_units(e, turn.statement.domain[turn.across], lanes, None, lambda o, n: block(at, rows, o, n))

    in_units(e, turn.statement.domain[turn.along], lanes, part, strip)
