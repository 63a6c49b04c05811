"""Contractions in register tiles, with lanes along the columns of the result (see `contract`).

Invariant: every element of the result is one sum in the order of k, whichever tile it falls into.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rushlight.compile.contract import Contraction, Finish, Matrix, divisor
from rushlight.compile.emit import Emitter
from rushlight.compile.layout import Panels
from rushlight.compile.llvm import vector_registers
from rushlight.compile.nonzero import Among
from rushlight.compile.registers import BYTES, Reg
from rushlight.storage import LINE

OPERANDS = 4  # vector registers that hold no sums
FEW_ROWS, MANY_ROWS = 6, 32
SMALL = 1 << 20  # multiplications that take less time than compiling a few more lines
NEAR = 32 << 10  # bytes that stay in the nearest cache beside what streams through it


class Stream(NamedTuple):
    """A large matrix in memory that is met from top to bottom, once, as rows of tiles follow each other: the
    operand whose numbers are broadcast, or what the finished pieces are wanted with. Its rows, of `length`
    elements, follow each other without gaps.

    While a row of tiles is computed, memory is asked for the rows of the next, in the order of addresses:
    left to itself the CPU meets a page it knows nothing of at every turn, and waits. In `panels` it is asked,
    while a tile is computed, for the one after the next below it.
    """

    pointer: str
    length: int
    kind: str
    panels: Panels | None = None

    def fetch_block(self, e: Emitter, row: Reg, rows: int, column: Reg, columns: int) -> None:
        """Have memory bring a block nearer."""
        with e.loop(0, rows) as loop:
            at = e.binary("add", row, loop.index)
            if self.panels is not None:
                start = self.panels.address(e, self.pointer, at, column, self.kind)
            else:
                start = e.pointer(self.pointer, e.times(at, self.length), self.kind)
                start = e.pointer(start, column, self.kind)
            for done in range(0, columns, LINE // BYTES[self.kind]):
                e.prefetch(e.pointer(start, done, self.kind), to_write=True)


def tile_of(rows: int, columns: int, k: int, lanes: int) -> tuple[int, int]:
    """Rows and vectors of the register tile for lanes along j.

    What holds a tile back is the loads, of which two are done in a cycle: one for a row and one for a vector,
    and fewest where these are about as many. So tiles are low and wide where the result is wide, or as wide
    as four vectors; else two vectors wide, so that the operand in lanes is read in narrow panels, which stay
    in near caches; wider again where rows are so few that there would be too few sums under way to hide how
    long each takes. With 16 registers all but these are two vectors wide. A small product gets tiles that
    leave no ragged ones, which are code of their own.
    """
    sums = vector_registers() - OPERANDS
    if k > 4 and sums >= 24:
        if rows >= MANY_ROWS and 3 * lanes < columns <= 4 * lanes:
            return 6, 4
        if rows % 8 == 0 and columns >= 8 * lanes:
            return 8, 3
        if rows % 8 == 0 and columns > lanes and rows * columns * k <= SMALL:
            return 8, 2
    nv = min(max(1, -(-columns // lanes)), 2 if rows > FEW_ROWS else 4)
    limit = sums // nv
    mi = divisor(rows, limit)
    if rows > limit and rows % mi:  # an even number of tiles, so that two threads have the same to do
        mi = -(-rows // (2 * -(-rows // (2 * limit))))
    return mi, nv


def row_of(e: Emitter, spec: Contraction, matrix: Matrix, row: Reg | int) -> str:
    """Where a row begins."""
    return spec.element(e, matrix, row, 0)


def vectors_of(e: Emitter, spec: Contraction, matrix: Matrix, start: str, columns: int) -> list[Reg]:
    """So many neighbouring elements of a row."""
    return [_vector_of(e, spec, matrix, start, columns, v) for v in range(-(-columns // spec.lanes))]


def _vector_of(e: Emitter, spec: Contraction, matrix: Matrix, start: str, columns: int, v: int) -> Reg:
    """One vector of these."""
    there = min(columns - v * spec.lanes, spec.lanes)
    mask = e.mask(there, spec.lanes) if there < spec.lanes else None
    return e.load(e.pointer(start, matrix.along(v * spec.lanes), spec.kind), spec.kind, spec.lanes, mask)


def compute_tile(
    e: Emitter,
    spec: Contraction,
    finish: Finish,
    row: Reg,
    mi: int,
    column: Reg,
    columns: int,
    right: Matrix,
    streams: Sequence[Stream],
    among: Among | None = None,
) -> None:
    """One register tile: the loop over k and what is done with its results. `right` is B from `column` on."""
    kind, lanes = spec.kind, spec.lanes
    nv, tail = -(-columns // lanes), columns % lanes
    sums = _summed(e, spec, row, mi, column, columns, right, streams, among)
    mask = e.mask(tail, lanes) if tail else None
    if mi == 1:
        _finish_row(e, spec, finish, row, column, sums, mask)
        _do_meanwhile(e, spec, row, 1, column, columns)
        return
    if spec.is_short and not spec.turned:

        def finish_in_registers() -> None:
            for i in range(mi):
                _finish_row(e, spec, finish, e.plus(row, i), column, sums[i * nv : (i + 1) * nv], mask)

        spec.either(finish_in_registers)
        _do_meanwhile(e, spec, row, mi, column, columns)
        return
    # The finished tile goes through the stack, so that what follows is written once and not for every row.
    tile = e.stack(kind, lanes, mi * nv)
    for place, each in enumerate(sums):
        e.store(each, e.pointer(tile, place * lanes, kind))
    finish_tile(e, spec, finish, Tile(tile, nv * lanes, row, mi, column, columns))


def _summed(
    e: Emitter,
    spec: Contraction,
    row: Reg,
    mi: int,
    column: Reg,
    columns: int,
    right: Matrix,
    streams: Sequence[Stream],
    among: Among | None,
) -> list[Reg]:
    """The sums over k of a tile, vector by vector."""
    kind, lanes = spec.kind, spec.lanes
    nv = -(-columns // lanes)
    sums = [e.const(0.0, kind, lanes)] * (mi * nv)
    starts = [spec.element(e, spec.a, e.plus(row, i), 0) for i in range(mi)]
    if spec.k <= 4:
        for few in range(spec.k):
            there = _numbers_at(e, spec, starts, few)
            sums = _step(e, spec, there, right, row_of(e, spec, right, few), columns, sums)
        return sums
    coming: list[_Ahead] = []
    for each in streams:
        if each.panels is not None:
            # the same of the tile after the next below it in its panels
            for v in range(0, columns, each.panels.width):
                at = e.plus(row, 2 * mi), e.plus(column, v)
                below = each.panels.address(e, each.pointer, *at, each.kind)
                coming.append(_Ahead(e, below, each.kind, mi * each.panels.width, spec.k))
        else:
            # this tile's share of the next rows
            each_column = -(-mi * each.length // spec.n)
            below = e.pointer(each.pointer, e.times(e.plus(row, mi), each.length), each.kind)
            below = e.pointer(below, e.times(column, each_column), each.kind)
            coming.append(_Ahead(e, below, each.kind, each_column * columns, spec.k))
    return steps_of_sums(e, spec, starts, right, columns, spec.k, sums, coming, among)


def steps_of_sums(
    e: Emitter,
    spec: Contraction,
    starts: Sequence[str],
    right: Matrix,
    columns: int,
    count: Reg | int,
    sums: Sequence[Reg],
    coming: Sequence[_Ahead],
    among: Among | None = None,
) -> list[Reg]:
    """A tile's sums after so many steps of k, or those of them that are listed, from where rows of A and
    columns of B start.
    """
    panels = spec.a.panels
    if panels is not None:
        return _steps_by_panels(e, spec, panels, starts, right, columns, count, sums)
    if among is not None:
        with e.loop(0, among.listed(e), 1, sums) as loop:
            k, distance = among.step(e, loop.index)
            b_row = e.pointer(right.pointer, distance, spec.kind)
            there = _numbers_at(e, spec, starts, k)
            loop.next = _step(e, spec, there, right, b_row, columns, loop.carry)
        count, sums = among.others(e, count), loop.carry
    with e.loop(0, count, 1, sums) as loop:
        for share in coming:
            share.fetch(loop.index)
        there = _numbers_at(e, spec, starts, loop.index)
        b_row = row_of(e, spec, right, loop.index)
        loop.next = _step(e, spec, there, right, b_row, columns, loop.carry)
    return loop.carry


def _steps_by_panels(
    e: Emitter,
    spec: Contraction,
    panels: Panels,
    starts: Sequence[str],
    right: Matrix,
    columns: int,
    count: Reg | int,
    sums: Sequence[Reg],
) -> list[Reg]:
    """The same where A lies in panels, at the beginning of one of which its rows start."""
    straight, rows = spec._replace(a=spec.a._replace(panels=None, column=1)), len(starts)
    whole = e.binary("udiv", e.plus(e.index(count), panels.width - 1), e.const(panels.width, "i8"))
    with e.loop(0, whole, 1, sums) as loop:
        first = e.times(loop.index, panels.width)
        steps = e.least(e.binary("sub", e.index(count), first), panels.width)
        here = right._replace(pointer=row_of(e, spec, right, first))
        there = [panels.panel(e, each, loop.index, spec.kind) for each in starts]
        below = e.pointer(there[0], 2 * rows * panels.row, spec.kind)
        coming = [_Ahead(e, below, spec.kind, rows * panels.width, panels.width)]
        loop.next = steps_of_sums(e, straight, there, here, columns, steps, loop.carry, coming)
    return loop.carry


def _numbers_at(e: Emitter, spec: Contraction, starts: Sequence[str], k: Reg | int) -> list[str]:
    """Where the numbers of a step of k are, in rows that start there."""
    return [spec.element(e, Matrix(start, spec.a.column, 1), k, 0) for start in starts]


def _step(
    e: Emitter,
    spec: Contraction,
    numbers: Sequence[str],
    right: Matrix,
    b_row: str,
    columns: int,
    sums: Sequence[Reg],
) -> list[Reg]:
    nv, made = -(-columns // spec.lanes), list(sums)

    def spread(number: str) -> Reg:
        return e.splat(e.load(number, spec.kind), spec.lanes)

    # What there are fewer of stays in registers, while the others come one by one.
    if len(numbers) < nv:
        rows = [spread(each) for each in numbers]
        for v in range(nv):
            vector = _vector_of(e, spec, right, b_row, columns, v)
            for i, number in enumerate(rows):
                made[i * nv + v] = e.intrinsic("fma", number, vector, made[i * nv + v])
        return made
    vectors = vectors_of(e, spec, right, b_row, columns)
    for i, each in enumerate(numbers):
        number = spread(each)
        for v, vector in enumerate(vectors):
            made[i * nv + v] = e.intrinsic("fma", number, vector, made[i * nv + v])
    return made


class _Ahead:
    """Elements without gaps that a tile asks memory for, a few in each of so many rounds."""

    def __init__(self, e: Emitter, start: str, kind: str, count: int, rounds: int) -> None:
        self.e, self.start, self.kind, self.each_round = e, start, kind, -(-count // rounds)

    def fetch(self, k: Reg) -> None:
        """What falls to round `k`."""
        at = self.e.pointer(self.start, self.e.times(k, self.each_round), self.kind)
        for done in range(0, self.each_round, LINE // BYTES[self.kind]):
            self.e.prefetch(self.e.pointer(at, done, self.kind))


def _finish_row(
    e: Emitter,
    spec: Contraction,
    finish: Finish,
    row: Reg,
    column: Reg,
    values: list[Reg],
    mask: Reg | None,
) -> None:
    """Hand over one row of a tile."""
    for v, value in enumerate(values):
        last = mask if v == len(values) - 1 else None
        finish(row, e.plus(column, v * spec.lanes), value, last, False)


class Tile(NamedTuple):
    """A finished tile in memory: where it lies, how many elements its rows are apart there, and which piece
    of the result it is.
    """

    pointer: str
    apart: int
    row: Reg
    rows: int
    column: Reg
    columns: int


def finish_tile(e: Emitter, spec: Contraction, finish: Finish, tile: Tile) -> None:
    """Hand over a tile, along the direction in which the result is contiguous."""
    along = _finish_columns if spec.turned else _finish_rows
    spec.either(lambda: along(e, spec, finish, tile))
    _do_meanwhile(e, spec, tile.row, tile.rows, tile.column, tile.columns)


def _do_meanwhile(e: Emitter, spec: Contraction, row: Reg, rows: int, column: Reg, columns: int) -> None:
    """What is to be done with every finished tile besides, if anything is."""
    if spec.meanwhile is None:
        return
    if spec.by_columns:
        begin = e.binary("add", e.times(column, spec.m), e.times(row, columns))
    else:
        begin = e.binary("add", e.times(row, spec.n), e.times(column, rows))
    spec.meanwhile(begin, e.plus(begin, rows * columns))


def _finish_rows(e: Emitter, spec: Contraction, finish: Finish, tile: Tile) -> None:
    """Hand over a tile row by row."""
    kind, lanes, columns = spec.kind, spec.lanes, tile.columns
    mask = e.mask(columns % lanes, lanes) if columns % lanes else None
    with e.loop(0, tile.rows) as rows:
        start = e.pointer(tile.pointer, e.times(rows.index, tile.apart), kind)
        values = [e.load(e.pointer(start, v, kind), kind, lanes) for v in range(0, columns, lanes)]
        at = e.op(f"add nsw i64 {tile.row.text}, {rows.index.text}", "i8", 1)
        _finish_row(e, spec, finish, at, tile.column, values, mask)


def _finish_columns(e: Emitter, spec: Contraction, finish: Finish, tile: Tile) -> None:
    """Hand over the columns of a tile, one after another, once its blocks are turned."""
    kind, row, column, columns = spec.kind, tile.row, tile.column, tile.columns
    for first in range(0, tile.rows, spec.lanes):
        count = min(spec.lanes, tile.rows - first)
        lanes = spec.lanes
        while lanes // 2 >= count:
            lanes //= 2
        mask = e.mask(count, lanes) if count < lanes else None
        turned = e.stack(kind, lanes, -(-columns // spec.lanes) * spec.lanes)
        with e.loop(0, columns, lanes) as loop:
            start = e.pointer(tile.pointer, loop.index, kind)
            rows = [
                e.load(e.pointer(start, i * tile.apart, kind), kind, lanes)
                for i in range(first, first + count)
            ]
            rows += [e.const(0.0, kind, lanes)] * (lanes - count)
            start = e.pointer(turned, e.times(loop.index, lanes), kind)
            for place, each in enumerate(e.turned(rows)):
                e.store(each, e.pointer(start, place * lanes, kind))
        with e.loop(0, columns) as loop:
            value = e.load(e.pointer(turned, e.times(loop.index, lanes), kind), kind, lanes)
            finish(e.plus(row, first), e.binary("add", column, loop.index), value, mask, True)
