"""In which order register tiles (see `tiles`) follow each other, and what part of them is a thread's.

Without panels, rows of tiles or columns of them; where the operand in lanes, or what finished tiles are
wanted with, lies in panels (see `layout`), one panel after another, or two side by side after two others.
Invariant: each tile is computed once, by one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rushlight.compile.contract import FAR_BYTES, Contraction, Finish, Matrix, Part, in_units
from rushlight.compile.emit import Emitter
from rushlight.compile.layout import vectors_in_width, width_of
from rushlight.compile.llvm import has_low_tiles
from rushlight.compile.nonzero import TOGETHER, Among, Lists, integer_of
from rushlight.compile.registers import BYTES, Reg
from rushlight.compile.tiles import (
    NEAR,
    Stream,
    Tile,
    compute_tile,
    finish_tile,
    row_of,
    steps_of_sums,
    tile_of,
    vectors_of,
)

PANEL_ROWS = 6  # of tiles that go through panels
LOW_ROWS = 3  # of tiles that go through two at a time
STAGE = 16 << 10  # bytes of a panel that a tile meets before the next one does


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
    if spec.in_strips:
        tiles = -(-spec.m // rows)
        # Strips go by once for each part of the left operand, which stays in the second cache meanwhile.
        parts = max(8, -(-spec.m * spec.k * BYTES[spec.kind] // FAR_BYTES * 2))
        parts = min(parts, tiles)
        return Nesting(rows, width, False, False, parts * -(-spec.n // width), parts)
    fits = spec.b_in_panels or _is_copied(spec, 2 * width)
    if has_low_tiles() and spec.n > width and fits:
        # Low tiles have a row that is not zero at fewer steps of k, and load as little in each.
        rows, width = min(LOW_ROWS, spec.m), 2 * width
    tiles = -(-spec.m // rows)
    parts = 4 if tiles >= 32 else 2 if tiles >= 8 else 1
    by_columns = spec.in_turned_panels or spec.k > spec.m
    return Nesting(rows, width, False, by_columns, parts * -(-spec.n // width), parts)


def _stage(spec: Contraction, nesting: Nesting, is_listed: bool) -> int:
    """How many steps of k a tile takes before the next one does; with lists it leaves out some of them."""
    width, stage = nesting.columns * BYTES[spec.kind], STAGE * (1 + is_listed)
    is_long = spec.k * width > stage
    is_little = _rows_of_part(spec, nesting) * width <= NEAR
    # Larger tiles gain nothing from it.
    if not (is_long and is_little and has_low_tiles()):
        return spec.k
    steps = -(-spec.k // -(-spec.k * width // stage))
    return -(-steps // TOGETHER) * TOGETHER


def _rows_of_part(spec: Contraction, nesting: Nesting) -> int:
    """The most rows of a part of a panel."""
    tiles = -(-spec.m // nesting.rows)
    return min(spec.m, (-(-tiles // nesting.parts) + 1) * nesting.rows)


def lists_for(spec: Contraction) -> Lists | None:
    """The lists with which steps of k could be left out, if tiles follow each other in a way that allows it:
    several with the same columns of B, which are worth a look whether they are finite, and whose rows lie as
    in panels; and there are several panels, for which it is worth making lists.
    """
    nesting = _nesting(spec)
    if not nesting.parts or spec.in_strips or spec.n <= width_of(spec.kind):
        return None
    if not spec.b_in_panels and not _is_copied(spec, nesting.columns):
        return None
    apart = width_of(spec.kind) if spec.b_in_panels else nesting.columns
    return Lists(spec.m, spec.k, nesting.rows, _stage(spec, nesting, True), apart)


def _is_copied(spec: Contraction, width: int) -> bool:
    """Whether so many columns of B that are in no panel are copied to where their rows lie as in one."""
    return spec.k * width * BYTES[spec.kind] <= NEAR


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
        compute_tile(e, spec, finish, row, rows, column, columns, right, streams)

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
    is_copied = not spec.b_in_panels and _is_copied(spec, width)
    vectors = width // spec.lanes
    near = e.stack(spec.kind, spec.lanes, spec.k * vectors) if is_copied else ""
    stage, rows_of_part = _stage(spec, nesting, spec.listed is not None), _rows_of_part(spec, nesting)
    sums = e.stack(spec.kind, spec.lanes, rows_of_part * vectors) if stage < spec.k else ""

    def divided(value: Reg, by: int) -> tuple[Reg, Reg]:
        return e.binary("udiv", value, e.const(by, "i8")), e.binary("urem", value, e.const(by, "i8"))

    def tiles_below(column: Reg, columns: int, place: Reg) -> None:
        right = spec.b._replace(pointer=spec.element(e, spec.b, 0, column))
        if is_copied:
            right = _copied(e, spec, right, near, width, columns)
        begin, _ = divided(e.times(place, tiles), parts)
        end, _ = divided(e.times(e.plus(place, 1), tiles), parts)
        if sums:
            _in_stages(e, spec, finish, nesting, stage, column, columns, right, (begin, end), sums)
            return
        is_followed = _follows_lists(e, spec, right, columns, spec.k)

        def tile(row: Reg, rows: int) -> None:
            among = _among(e, spec, row, e.const(0, "i8"), is_followed)
            compute_tile(e, spec, finish, row, rows, column, columns, right, streams, among)

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


def _follows_lists(
    e: Emitter, spec: Contraction, right: Matrix, columns: int, count: Reg | int
) -> Reg | None:
    """Whether tiles go through their lists: there are such, worth it, and the numbers of B are finite."""
    if spec.listed is None:
        return None
    is_worth = spec.listed.are_worth_it(e)
    whole = integer_of(spec.kind)
    none = e.const(0, whole, spec.lanes)
    rows = e.select(is_worth, e.index(count), e.const(0, "i8"))
    with e.loop(0, rows, 1, [none]) as loop:
        (odd,) = loop.carry
        for vector in vectors_of(e, spec, right, row_of(e, spec, right, loop.index), columns):
            nothing = e.binary("fsub", vector, vector)  # which it is only of finite numbers
            odd = e.binary(
                "or", odd, e.op(f"bitcast {nothing.type} {nothing.text} to {odd.type}", whole, spec.lanes)
            )
        loop.next = [odd]
    odd = e.reduce("or", loop.carry[0])
    is_finite = e.op(f"icmp eq {odd.type} {odd.text}, 0", "b1", 1)
    return e.binary("and", is_worth, is_finite)


def _among(e: Emitter, spec: Contraction, row: Reg, stage: Reg, is_followed: Reg | None) -> Among | None:
    """The list for the tile that begins in a row, if there are lists."""
    if spec.listed is None or is_followed is None:
        return None
    return spec.listed.among(e, row, stage, is_followed)


def _in_stages(
    e: Emitter,
    spec: Contraction,
    finish: Finish,
    nesting: Nesting,
    steps: int,
    column: Reg,
    columns: int,
    right: Matrix,
    part: Part,
    sums: str,
) -> None:
    """Some tiles of a panel, summed over a few steps of k at a time, so that those rows of it stay in the
    nearest cache from tile to tile. Meanwhile `sums` are in memory.
    """
    kind, lanes, height, width = spec.kind, spec.lanes, nesting.rows, nesting.columns
    nv = -(-columns // lanes)
    stages = -(-spec.k // steps)
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
        here = right._replace(pointer=row_of(e, spec, right, first))
        is_followed = _follows_lists(e, spec, here, columns, count)

        def advance(row: Reg, rows: int) -> None:
            among = _among(e, spec, row, stage.index, is_followed)
            start = row_of_sums(row)
            places = [e.pointer(start, i * width + v * lanes, kind) for i in range(rows) for v in range(nv)]
            starts = [spec.element(e, spec.a, e.plus(row, i), first) for i in range(rows)]
            before = [e.load(each, kind, lanes) for each in places]
            after = steps_of_sums(e, spec, starts, here, columns, count, before, [], among)
            for place, each in zip(places, after, strict=True):
                e.store(each, place)

        in_units(e, spec.m, height, part, advance)
    in_units(e, spec.m, height, part, finished)


def _copied(e: Emitter, spec: Contraction, right: Matrix, near: str, width: int, columns: int) -> Matrix:
    """Some columns of an operand, copied to where rows lie so many elements apart."""
    with e.loop(0, spec.k) as loop:
        target = e.pointer(near, e.times(loop.index, width), spec.kind)
        for v, each in enumerate(vectors_of(e, spec, right, row_of(e, spec, right, loop.index), columns)):
            e.store(each, e.pointer(target, v * spec.lanes, spec.kind))
    return Matrix(near, width, 1)
