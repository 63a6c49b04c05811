"""Contractions in blocks of 32 x 32 on the CPU's matrix unit (see `contract`, `pieces` and `unit`).

Both operands are split into pieces. If one meets no more than a few blocks of the other, as weights do in a
batch, it is split on the way, some chunks ahead of the unit, so that its pieces stay in the nearest cache.
The other one is split by a `Split` before, and its pieces lie in memory chunk by chunk, one row (or column)
of chunks after another. Where each meets many blocks the right one is split before, and the left one row by
row of chunks where they are wanted, if these are few, else before. Invariant: every element of the result is
one sum over the chunks in the order of k.
"""

from __future__ import annotations

from collections.abc import Sequence

from rushlight.compile.body import Body, Place
from rushlight.compile.contract import FAR_BYTES, Contraction, Finish, Matrix, Part, in_units
from rushlight.compile.emit import Emitter
from rushlight.compile.pieces import CHUNK, RESULT, SIDE, Source, bytes_of, chunks, split
from rushlight.compile.registers import Reg
from rushlight.compile.statements import Split
from rushlight.compile.tiles import Stream, Tile, finish_tile
from rushlight.compile.unit import (
    QUARTERS,
    Operands,
    begin,
    declare,
    end,
    multiply,
    multiply_and_split,
    quarter_of,
)

FEW_BLOCKS = 4  # of the other operand, that one is split for on the way
FEW_CHUNKS = 4  # along k, of which some rows of the left operand stay in the nearest cache
AHEAD = 2  # chunks that are split on the way before they are multiplied
ROWS = 2  # of blocks, that go through the right operand together if its pieces do not stay near


def cycles(m: int, n: int, k: int) -> float:
    """About how many cycles a product takes, splitting included."""
    splitting = (m + n) * k * 0.35
    return chunks(m) * chunks(n) * chunks(k) * 500 + splitting + m * n * 0.3


def has_many_blocks(m: int, n: int) -> bool:
    """Whether each operand meets many blocks of the other one, so that none is split on the way."""
    return min(chunks(m), chunks(n)) > FEW_BLOCKS


def split_before(m: int, n: int, k: int, a_is_left: bool) -> tuple[bool, bool]:
    """Whether A, of m rows, and B, of n columns, are split before the product."""
    if not has_many_blocks(m, n):
        return (m < n, m >= n)
    left = chunks(k) > FEW_CHUNKS
    return (left, True) if a_is_left else (True, left)


def units_of(spec: Contraction, left_in_pieces: bool) -> int:
    """Into how many units the nest can be split among threads."""
    if has_many_blocks(spec.m, spec.n):
        return -(-chunks(spec.m) // _rows_of(spec))
    return chunks(spec.n if left_in_pieces else spec.m)


def _rows_of(spec: Contraction) -> int:
    """How many rows of blocks go through the right operand together: few are soon done, which threads like
    that are not equally fast.
    """
    return 1 if bytes_of(spec.n, spec.k) <= FAR_BYTES else ROWS


def in_blocks(
    e: Emitter, spec: Contraction, finish: Finish, part: Part | None, streams: Sequence[Stream]
) -> None:
    """Emit the nest; `part` bounds the units this thread computes, `streams` are wanted with the result."""
    with declare(e):
        if has_many_blocks(spec.m, spec.n):
            _many_blocks(e, spec, finish, part, streams)
        else:
            _OnTheWay(e, spec, finish).emit(part)


def _many_blocks(
    e: Emitter, spec: Contraction, finish: Finish, part: Part | None, streams: Sequence[Stream]
) -> None:
    """Some rows of blocks after others, and in these column after column, so that the pieces of the left
    operand stay near and those of the right one are met once for all these rows.
    """
    result = e.stack("f4", 1, RESULT)
    count, together = chunks(spec.k), _rows_of(spec)
    rooms = "" if spec.a.in_pieces else e.stack("u1", 1, together * count * CHUNK)

    def row_of_chunks(start: str, at: Reg) -> str:
        return e.pointer(start, e.times(at, count * CHUNK // SIDE), "u1")

    def split_rows(first: Reg, have: int) -> None:
        def row_of(at: Reg, rows: int) -> None:
            row, target = e.binary("add", first, at), row_of_chunks(rooms, at)
            with e.loop(0, count) as chunk:
                start, steps = _start_of(e, spec, spec.a, row, chunk.index)
                room = e.pointer(target, e.times(chunk.index, CHUNK), "u1")
                split(e, start, _source(spec.a, is_left=True), (e.const(rows, "i8"), steps), room)

        in_units(e, have, SIDE, None, row_of)

    def block(row: Reg, rows: int, column: Reg, columns: int, left: str) -> None:
        for each in streams:
            each.fetch_block(e, row, rows, column, columns)
        right = row_of_chunks(spec.b.pointer, column)
        with e.loop(0, QUARTERS) as quarter:
            sums = quarter_of(e, result, quarter.index)
            begin(e, sums)
            with e.loop(0, count) as chunk:
                at = e.times(chunk.index, CHUNK)
                multiply(e, e.pointer(left, at, "u1"), e.pointer(right, at, "u1"), quarter.index, sums)
            end(e, sums)
        finish_tile(e, spec, finish, Tile(result, SIDE, row, rows, column, columns))

    def some_rows(first: Reg, have: int) -> None:
        left = row_of_chunks(spec.a.pointer, first) if spec.a.in_pieces else rooms
        if not spec.a.in_pieces:
            split_rows(first, have)

        def column_of_blocks(column: Reg, columns: int) -> None:
            def one(at: Reg, rows: int) -> None:
                block(e.binary("add", first, at), rows, column, columns, row_of_chunks(left, at))

            in_units(e, have, SIDE, None, one)

        in_units(e, spec.n, SIDE, None, column_of_blocks)

    in_units(e, spec.m, together * SIDE, part, some_rows)


def _source(matrix: Matrix, is_left: bool) -> Source:
    """How an operand lies."""
    step, by_columns = matrix.step()
    return Source(step, by_columns == is_left, is_left)


def _rest_of(e: Emitter, length: int, at: Reg) -> Reg:
    """How much of a dimension a chunk has that begins there."""
    return e.least(e.binary("sub", e.const(length, "i8"), at), SIDE)


def _start_of(
    e: Emitter, spec: Contraction, matrix: Matrix, at: Reg, number: Reg, is_left: bool = True
) -> tuple[str, Reg]:
    """Where the chunk of an operand begins that has this number along k, and how many steps of k it has."""
    k = e.times(number, SIDE)
    steps = _rest_of(e, spec.k, k)
    return spec.element(e, matrix, *((at, k) if is_left else (k, at))), steps


class _OnTheWay:
    """The nest in which one operand, the streamed one, is split on the way: strip by strip, which are rows of
    its chunks if it is the left one, else columns.
    """

    def __init__(self, e: Emitter, spec: Contraction, finish: Finish) -> None:
        self.e, self.spec, self.finish = e, spec, finish
        self.is_left = not spec.a.in_pieces
        self.streamed, self.other = (spec.a, spec.b) if self.is_left else (spec.b, spec.a)
        self.length, self.width = (spec.m, spec.n) if self.is_left else (spec.n, spec.m)
        self.source = _source(self.streamed, self.is_left)
        self.count, self.blocks = chunks(spec.k), chunks(self.width)
        self.ahead = min(AHEAD, self.count)
        self.rooms = e.stack("u1", 1, 2 * self.ahead * CHUNK)
        self.results = e.stack("f4", 1, self.blocks * RESULT)

    def emit(self, part: Part | None) -> None:
        """Write everything."""
        e, whole = self.e, self.length // SIDE
        first, last = part if part is not None else (e.const(0, "i8"), e.const(chunks(self.length), "i8"))
        start, end = e.times(first, SIDE), e.times(e.least(last, whole), SIDE)

        def strip(at: Reg, have: int) -> None:
            if have == SIDE:
                follows = e.op(f"icmp slt i64 {e.plus(at, SIDE).text}, {end.text}", "b1", 1)
                with e.when(e.op(f"icmp eq i64 {at.text}, {start.text}", "b1", 1)):
                    self._split_first(at, have)
            else:
                follows = e.const(False, "b1")
                self._split_first(at, have)
            self._strip(at, have, follows)

        in_units(e, self.length, SIDE, part, strip)

    def _split_first(self, at: Reg, have: int) -> None:
        """The chunks of a strip that are wanted at once."""
        with self.e.loop(0, self.ahead) as each:
            self._split(at, have, each.index, self._room(at, each.index))

    def _strip(self, at: Reg, have: int, follows: Reg) -> None:
        """So many rows (or columns) of the streamed operand. While some chunks are multiplied with all blocks
        of the other one, the next ones are split: at the end those of the next strip, if one follows.
        """
        e = self.e
        with e.loop(0, -(-self.count // self.ahead)) as turn:
            first = e.times(turn.index, self.ahead)
            is_fresh = e.op(f"icmp eq i64 {turn.index.text}, 0", "b1", 1)
            here = e.least(e.binary("sub", e.const(self.count, "i8"), first), self.ahead)
            with e.loop(0, QUARTERS * self.blocks) as part:
                block, quarter = (
                    e.binary(op, part.index, e.const(QUARTERS, "i8")) for op in ("udiv", "urem")
                )
                sums = quarter_of(e, e.pointer(self.results, e.times(block, RESULT), "f4"), quarter)
                begin(e, sums, is_fresh)
                with e.loop(0, here) as each:
                    number = e.binary("add", first, each.index)
                    place = e.binary("add", e.times(block, self.count), number)
                    other = e.pointer(self.other.pointer, e.times(place, CHUNK), "u1")
                    own = self._room(at, number)
                    left, right = (own, other) if self.is_left else (other, own)
                    self._chunk((left, right, quarter, sums), at, have, number, follows, part.index)
                end(e, sums)
        in_units(e, self.width, SIDE, None, lambda other, width: self._done(at, have, other, width))

    def _chunk(self, operands: Operands, at: Reg, have: int, number: Reg, follows: Reg, part: Reg) -> None:
        """Multiply a chunk with one of another block, for a quarter of the result, and split a part of one
        that is wanted later.
        """
        e = self.e
        later = e.plus(number, self.ahead)
        parts = QUARTERS * {1: 1, 2: 2, 3: 2, 4: 4}[self.blocks]  # of three blocks, two take part
        is_here = e.op(f"icmp slt i64 {later.text}, {self.count}", "b1", 1)
        takes_part = e.op(f"icmp slt i64 {part.text}, {parts}", "b1", 1)
        is_there = e.binary("or", is_here, follows)
        with e.either(e.binary("and", is_there, takes_part)) as otherwise:
            target = self._room(at, later)
            strip = e.select(is_here, at, e.plus(at, SIDE))
            later = e.select(is_here, later, e.plus(later, -self.count))
            if have == SIDE and self.source.along_k == self.is_left:
                start, steps = self._start(strip, later)
                last = (self.length - 1) // SIDE * SIDE
                below, _ = self._start(e.least(e.plus(strip, SIDE), last), later)
                multiply_and_split(e, operands, self.source, (part, parts), start, below, steps, target)
            else:
                with e.when(e.op(f"icmp eq i64 {part.text}, 0", "b1", 1)):
                    self._split(strip, have, later, target)
                multiply(e, *operands)
            otherwise()
            multiply(e, *operands)

    def _split(self, at: Reg, have: int, number: Reg, room: str) -> None:
        """Split a chunk that has so many rows (or columns)."""
        start, steps = self._start(at, number)
        split(self.e, start, self.source, (self.e.const(have, "i8"), steps), room)

    def _start(self, at: Reg, number: Reg) -> tuple[str, Reg]:
        """Where the chunk begins that has this number along k, and how many steps of k it has."""
        return _start_of(self.e, self.spec, self.streamed, at, number, self.is_left)

    def _room(self, at: Reg, number: Reg) -> str:
        """Where the pieces of a strip's chunk go: there is room for those at hand, and for the next ones."""
        e = self.e
        place = e.binary("add", e.times(e.binary("udiv", at, e.const(SIDE, "i8")), self.count), number)
        place = e.binary("urem", place, e.const(2 * self.ahead, "i8"))
        return e.pointer(self.rooms, e.times(place, CHUNK), "u1")

    def _done(self, at: Reg, have: int, other: Reg, width: int) -> None:
        """Hand over the result of a strip with a block of the other operand."""
        result = self.e.pointer(self.results, self.e.times(other, RESULT // SIDE), "f4")
        ends = (at, have, other, width) if self.is_left else (other, width, at, have)
        finish_tile(self.e, self.spec, self.finish, Tile(result, SIDE, *ends))


def emit_split(e: Emitter, statement: Split, pointers: dict[int, str], part: Part | None) -> None:
    """The loops of an operand that is split before its product; `part` bounds the units this thread does."""
    body = Body(e, pointers, set())
    (access,), target = statement.loads, pointers[statement.store.buffer.number]
    length, k = statement.domain
    count = chunks(k)
    row, column = access.strides
    source = Source(*Matrix("", row, column).step(), statement.is_left)
    first, last = part if part is not None else (0, units_of_split(statement))
    with e.loop(first, last) as unit:
        at = e.times(e.binary("udiv", unit.index, e.const(count, "i8")), SIDE)
        step = e.times(e.binary("urem", unit.index, e.const(count, "i8")), SIDE)
        rows, steps = _rest_of(e, length, at), _rest_of(e, k, step)
        start = body.address(access, Place((at, step), -1, 1, None))
        split(e, start, source, (rows, steps), e.pointer(target, e.times(unit.index, CHUNK), "u1"))


def units_of_split(statement: Split) -> int:
    """Into how many units the split can be shared among threads."""
    return chunks(statement.domain[0]) * chunks(statement.domain[1])
