"""Contractions in register tiles, with lanes along the columns of the result (see `contract`).

Invariant: every element of the result is one sum in the order of k, whichever tile it falls into.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rushlight.compile.contract import FAR_BYTES, Contraction, Finish, Matrix, Part, divisor, in_units, plus
from rushlight.compile.emit import BYTES, Emitter, Reg
from rushlight.compile.layout import Panels, vectors_in_width
from rushlight.compile.llvm import vector_registers
from rushlight.storage import LINE

OPERANDS = 4  # vector registers that hold no sums
FEW_ROWS, MANY_ROWS = 6, 32
PANEL_ROWS = 6  # of tiles that go through panels
SMALL = 1 << 20  # multiplications that take less time than compiling a few more lines
STAGE = 16 << 10  # bytes of a panel that a tile meets before the next one does
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


class Nesting(NamedTuple):
    """How tiles follow each other where lanes run along j.

    Args:
        rows, columns: of a tile.
        rows_first: one row of tiles after another, so that the result is written from top to bottom as one
            stream; jumping between its rows would cost a page each.
        by_columns: whether threads share the columns of tiles, or their rows.
        units: how many there are of what they share.
        parts: into how many parts each panel is cut, which are the units then; 0 if there are no panels.
    """

    rows: int
    columns: int
    rows_first: bool
    by_columns: bool
    units: int
    parts: int = 0


def units_of(spec: Contraction) -> int:
    """Into how many units the nest can be split among threads."""
    return _nesting(spec).units


def _nesting(spec: Contraction) -> Nesting:
    if spec.in_panels or spec.in_strips:
        return _panel_nesting(spec)
    if spec.k <= 4 and spec.m > 1:  # little is summed: a tile gains nothing over a row
        return Nesting(1, 4 * spec.lanes, True, False, spec.m)
    mi, nv = tile_of(spec.m, spec.n, spec.k, spec.lanes)
    width = nv * spec.lanes
    blocks, tiles = -(-spec.n // width), -(-spec.m // mi)
    stays_near = spec.k * spec.n * BYTES[spec.kind] <= 1 << 20  # the operand in lanes, in the second cache

    def balance(count: int) -> float:
        return count / (2 * -(-count // 2)) + min(count, 16) / 100

    if not (tiles >= 4 and stays_near) and balance(blocks) > balance(tiles):
        return Nesting(mi, width, False, True, blocks)
    return Nesting(mi, width, stays_near, False, tiles)


def _panel_nesting(spec: Contraction) -> Nesting:
    """Each panel from top to bottom. Of panels that are the result a thread does the upper parts, as it does
    where they are the left operand, so that they stay in its cache.
    """
    rows, width = min(PANEL_ROWS, spec.m), vectors_in_width() * spec.lanes
    tiles = -(-spec.m // rows)
    if spec.in_strips:
        # Strips go by once for each part of the left operand, which stays in the second cache meanwhile.
        parts = max(8, -(-spec.m * spec.k * BYTES[spec.kind] // FAR_BYTES * 2))
        parts = min(parts, tiles)
        return Nesting(rows, width, False, False, parts * -(-spec.n // width), parts)
    parts = 4 if tiles >= 32 else 2 if tiles >= 8 else 1
    by_columns = spec.in_turned_panels or spec.k > spec.m
    return Nesting(rows, width, False, by_columns, parts * -(-spec.n // width), parts)


def lanes_along_j(
    e: Emitter, spec: Contraction, finish: Finish, part: Part | None = None, streams: Sequence[Stream] = ()
) -> None:
    """Emit the nest with register tiles; `part` bounds the units this thread computes."""
    nesting = _nesting(spec)
    spec = spec._replace(by_columns=nesting.by_columns)
    if not nesting.rows_first:
        streams = [each for each in streams if each.panels is not None]
    if nesting.parts:
        _through_panels(e, spec, finish, nesting, part, streams)
        return
    shared_rows, shared_columns = (None, part) if nesting.by_columns else (part, None)

    def tile(row: Reg, rows: int, column: Reg, columns: int) -> None:
        right = spec.b._replace(pointer=spec.element(e, spec.b, 0, column))
        _tile(e, spec, finish, row, rows, column, columns, right, streams)

    def all_rows(piece: Callable[[Reg, int], None]) -> None:
        in_units(e, spec.m, nesting.rows, shared_rows, piece)

    def all_columns(piece: Callable[[Reg, int], None]) -> None:
        in_units(e, spec.n, nesting.columns, shared_columns, piece)

    if nesting.rows_first:
        all_rows(lambda row, rows: all_columns(lambda column, columns: tile(row, rows, column, columns)))
    else:
        all_columns(lambda column, columns: all_rows(lambda row, rows: tile(row, rows, column, columns)))


def _through_panels(
    e: Emitter,
    spec: Contraction,
    finish: Finish,
    nesting: Nesting,
    part: Part | None,
    streams: Sequence[Stream],
) -> None:
    """The nest where B, or what goes with C, lies in panels: one part of a panel after another."""
    width, parts = nesting.columns, nesting.parts
    full, rest = divmod(spec.n, width)
    tiles = -(-spec.m // nesting.rows)
    is_copied = spec.b.panels is None and spec.k * width * BYTES[spec.kind] <= NEAR
    near = e.stack(spec.kind, spec.lanes, spec.k * vectors_in_width()) if is_copied else ""
    is_long = spec.k * width * BYTES[spec.kind] > STAGE
    rows_of_part = min(spec.m, (-(-tiles // parts) + 1) * nesting.rows)
    is_little = rows_of_part * width * BYTES[spec.kind] <= NEAR
    # Larger tiles gain nothing.
    in_stages = is_long and is_little and spec.a.panels is None and vector_registers() == 16
    sums = e.stack(spec.kind, spec.lanes, rows_of_part * vectors_in_width()) if in_stages else ""

    def divided(value: Reg, by: int) -> tuple[Reg, Reg]:
        return e.binary("udiv", value, e.const(by, "i8")), e.binary("urem", value, e.const(by, "i8"))

    def tiles_below(column: Reg, columns: int, place: Reg) -> None:
        right = spec.b._replace(pointer=spec.element(e, spec.b, 0, column))
        if is_copied:
            right = _copied(e, spec, right, near, columns)
        begin, _ = divided(e.times(place, tiles), parts)
        end, _ = divided(e.times(plus(e, place, 1), tiles), parts)
        if sums:
            _in_stages(e, spec, finish, nesting.rows, column, columns, right, (begin, end), sums)
            return

        def tile(row: Reg, rows: int) -> None:
            _tile(e, spec, finish, row, rows, column, columns, right, streams)

        in_units(e, spec.m, nesting.rows, (begin, end), tile)

    first, last = part if part is not None else (0, nesting.units)
    with e.loop(first, last) as unit:
        if nesting.by_columns:
            panel, place = divided(unit.index, parts)
        else:
            place, panel = divided(unit.index, full + bool(rest))
        column = e.times(panel, width)
        is_full = e.op(f"icmp ult i64 {panel.text}, {full}", "b1", 1)
        if full:
            with e.when(is_full):
                tiles_below(column, width, place)
        if rest:
            with e.when(e.op(f"xor i1 {is_full.text}, true", "b1", 1)):
                tiles_below(column, rest, place)


def _in_stages(
    e: Emitter,
    spec: Contraction,
    finish: Finish,
    height: int,
    column: Reg,
    columns: int,
    right: Matrix,
    part: Part,
    sums: str,
) -> None:
    """Some tiles of a panel, summed over a few steps of k at a time, so that those rows of it stay in the
    nearest cache from tile to tile. Meanwhile `sums` are in memory.
    """
    kind, lanes, width = spec.kind, spec.lanes, vectors_in_width() * spec.lanes
    nv = -(-columns // lanes)
    stages = -(-spec.k * width * BYTES[kind] // STAGE)
    steps = -(-spec.k // stages)
    top = e.times(part[0], height)

    def row_of_sums(row: Reg) -> str:
        return e.pointer(sums, e.times(e.binary("sub", row, top), width), kind)

    def begin(row: Reg, rows: int) -> None:
        with e.loop(0, rows) as each:
            start = row_of_sums(e.binary("add", row, each.index))
            for v in range(nv):
                e.store(e.const(0.0, kind, lanes), e.pointer(start, v * lanes, kind))

    def finished(row: Reg, rows: int) -> None:
        finish_tile(e, spec, finish, Tile(row_of_sums(row), width, row, rows, column, columns))

    in_units(e, spec.m, height, part, begin)
    with e.loop(0, stages) as stage:
        first = e.times(stage.index, steps)
        count = e.least(e.binary("sub", e.const(spec.k, "i8"), first), steps)
        here = right._replace(pointer=_row_of(e, spec, right, first))

        def advance(row: Reg, rows: int) -> None:
            start = row_of_sums(row)
            places = [e.pointer(start, i * width + v * lanes, kind) for i in range(rows) for v in range(nv)]
            starts = [spec.element(e, spec.a, plus(e, row, i), first) for i in range(rows)]
            before = [e.load(each, kind, lanes) for each in places]
            after = _steps(e, spec, starts, here, columns, count, before, [])
            for place, each in zip(places, after, strict=True):
                e.store(each, place)

        in_units(e, spec.m, height, part, advance)
    in_units(e, spec.m, height, part, finished)


def _copied(e: Emitter, spec: Contraction, right: Matrix, near: str, columns: int) -> Matrix:
    """Some columns of an operand, copied to where they lie without gaps."""
    with e.loop(0, spec.k) as loop:
        target = e.pointer(near, e.times(loop.index, vectors_in_width() * spec.lanes), spec.kind)
        for v, each in enumerate(_vectors(e, spec, _row_of(e, spec, right, loop.index), columns)):
            e.store(each, e.pointer(target, v * spec.lanes, spec.kind))
    return Matrix(near, vectors_in_width() * spec.lanes, 1)


def _row_of(e: Emitter, spec: Contraction, matrix: Matrix, row: Reg | int) -> str:
    return spec.element(e, matrix, row, 0)


def _vectors(e: Emitter, spec: Contraction, start: str, columns: int) -> list[Reg]:
    """So many neighbouring elements."""
    count, tail = -(-columns // spec.lanes), columns % spec.lanes
    mask = e.mask(tail, spec.lanes) if tail else None
    masks = [None] * (count - 1) + [mask]
    return [
        e.load(e.pointer(start, v * spec.lanes, spec.kind), spec.kind, spec.lanes, each)
        for v, each in enumerate(masks)
    ]


def _tile(
    e: Emitter,
    spec: Contraction,
    finish: Finish,
    row: Reg,
    mi: int,
    column: Reg,
    columns: int,
    right: Matrix,
    streams: Sequence[Stream],
) -> None:
    """One register tile: the loop over k and what is done with its results. `right` is B from `column` on."""
    kind, lanes = spec.kind, spec.lanes
    nv, tail = -(-columns // lanes), columns % lanes
    sums = _summed(e, spec, row, mi, column, columns, right, streams)
    mask = e.mask(tail, lanes) if tail else None
    if mi == 1:
        _finish_row(e, spec, finish, row, column, sums, mask)
        _do_meanwhile(e, spec, row, 1, column, columns)
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
) -> list[Reg]:
    """The sums over k of a tile, vector by vector."""
    kind, lanes = spec.kind, spec.lanes
    nv = -(-columns // lanes)
    sums = [e.const(0.0, kind, lanes)] * (mi * nv)
    starts = [spec.element(e, spec.a, plus(e, row, i), 0) for i in range(mi)]
    if spec.k <= 4:
        for few in range(spec.k):
            sums = _step(e, spec, starts, few, _row_of(e, spec, right, few), columns, sums)
        return sums
    coming: list[_Ahead] = []
    for each in streams:
        if each.panels is not None:
            # the same of the tile after the next below it in the panel
            below = each.panels.address(e, each.pointer, plus(e, row, 2 * mi), column, each.kind)
            coming.append(_Ahead(e, below, each.kind, mi * each.panels.width, spec.k))
        else:
            # this tile's share of the next rows
            each_column = -(-mi * each.length // spec.n)
            below = e.pointer(each.pointer, e.times(plus(e, row, mi), each.length), each.kind)
            below = e.pointer(below, e.times(column, each_column), each.kind)
            coming.append(_Ahead(e, below, each.kind, each_column * columns, spec.k))
    panels = spec.a.panels
    if panels is None:
        return _steps(e, spec, starts, right, columns, spec.k, sums, coming)
    with e.loop(0, -(-spec.k // panels.width), 1, sums) as outer:
        first = e.times(outer.index, panels.width)
        steps = e.least(e.binary("sub", e.const(spec.k, "i8"), first), panels.width)
        here = right._replace(pointer=_row_of(e, spec, right, first))
        there = [panels.panel(e, each, outer.index, kind) for each in starts]
        below = panels.address(e, spec.a.pointer, plus(e, row, 2 * mi), first, kind)
        coming = [_Ahead(e, below, kind, mi * panels.width, panels.width)]
        outer.next = _steps(e, spec, there, here, columns, steps, outer.carry, coming)
    return outer.carry


def _steps(
    e: Emitter,
    spec: Contraction,
    starts: Sequence[str],
    right: Matrix,
    columns: int,
    count: Reg | int,
    sums: Sequence[Reg],
    coming: Sequence[_Ahead],
) -> list[Reg]:
    """A tile's sums after so many steps of k, from where rows of A and columns of B start."""
    with e.loop(0, count, 1, sums) as loop:
        for share in coming:
            share.fetch(loop.index)
        b_row = _row_of(e, spec, right, loop.index)
        loop.next = _step(e, spec, starts, loop.index, b_row, columns, loop.carry)
    return loop.carry


def _step(
    e: Emitter,
    spec: Contraction,
    starts: Sequence[str],
    k: Reg | int,
    b_row: str,
    columns: int,
    sums: Sequence[Reg],
) -> list[Reg]:
    vectors = _vectors(e, spec, b_row, columns)
    following: list[Reg] = []
    for start in starts:
        number = e.load(spec.element(e, Matrix(start, spec.a.column, 1), k, 0), spec.kind)
        spread = e.splat(number, spec.lanes)
        for vector in vectors:
            following.append(e.intrinsic("fma", spread, vector, sums[len(following)]))
    return following


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
        finish(row, plus(e, column, v * spec.lanes), value, last, False)


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
    (_finish_columns if spec.turned else _finish_rows)(e, spec, finish, tile)
    _do_meanwhile(e, spec, tile.row, tile.rows, tile.column, tile.columns)


def _do_meanwhile(e: Emitter, spec: Contraction, row: Reg, rows: int, column: Reg, columns: int) -> None:
    """What is to be done with every finished tile besides, if anything is."""
    if spec.meanwhile is None:
        return
    if spec.by_columns:
        begin = e.binary("add", e.times(column, spec.m), e.times(row, columns))
    else:
        begin = e.binary("add", e.times(row, spec.n), e.times(column, rows))
    spec.meanwhile(begin, plus(e, begin, rows * columns))


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
            finish(plus(e, row, first), e.binary("add", column, loop.index), value, mask, True)
