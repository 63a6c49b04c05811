"""Loop nests of contractions: ``C[i, j] = sum over k of A[i, k] * B[k, j]`` for fixed sizes and strides.

Two ways, chosen by shape. *Lanes along j*: a tile of C lives in registers, each step of k loads vectors of
B and broadcasts numbers of A; right when one operand is contiguous along an output index. *Lanes along k*:
every element of C is a dot product of two contiguous rows; right for tiny batches, where the weights are
read once and nothing is worth packing. What happens to a finished piece of C (bias, activation, mask, the
optimizer's update) is the caller's, as `finish`. Invariant: the order of summation depends on the sizes
alone, never on threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rushlight.compile.emit import BYTES, Emitter, Reg
from rushlight.storage import LINE

REGISTERS = 28  # accumulators, of 32 vector registers
FEW_ROWS, MANY_ROWS = 6, 32
SUPPLIED_ROWS, SUPPLIED_COLUMNS = 4, 4
SMALL = 1 << 20  # multiplications that take less time than compiling a few more lines


class Matrix(NamedTuple):
    """An operand: where it starts and how many elements apart rows and columns lie."""

    pointer: str
    row: int
    column: int


# Called with (first column, how many) before the dot products of some columns of B; what comes back is called
# with (which of them, index along k, mask or None) and gives B's elements there.
Supply = Callable[[Reg, int], Callable[[int, Reg, "Reg | None"], Reg]]
# Called with (first row, first column, vector of values, mask or None, whether the lanes run along a column)
# for every finished piece of a row or column of C.
Finish = Callable[[Reg, Reg, Reg, "Reg | None", bool], None]


class Stream(NamedTuple):
    """A large matrix in memory that is met from top to bottom, once, as rows of tiles follow each other: the
    operand whose numbers are broadcast, or what the finished pieces are wanted with. Its rows, of `length`
    elements, follow each other without gaps.

    While a row of tiles is computed, memory is asked for the rows of the next, in the order of addresses:
    left to itself the CPU meets a page it knows nothing of at every turn, and waits.
    """

    pointer: str
    length: int
    kind: str


class Contraction(NamedTuple):
    """One product: sizes, operands, element kind, lanes of a vector.

    `turned` says that columns of C, not rows, are contiguous in memory.
    """

    m: int
    n: int
    k: int
    a: Matrix
    b: Matrix
    kind: str
    lanes: int
    turned: bool = False

    def element(self, e: Emitter, matrix: Matrix, row: Reg | int, column: Reg | int) -> str:
        """The address of one element of an operand."""
        pointer = matrix.pointer
        for index, stride in ((row, matrix.row), (column, matrix.column)):
            if isinstance(index, int):
                pointer = e.pointer(pointer, index * stride, self.kind)
            elif stride == 1:
                pointer = e.pointer(pointer, index, self.kind)
            elif stride:
                scaled = e.op(f"mul nsw i64 {index.text}, {stride}", "i8", 1)
                pointer = e.pointer(pointer, scaled, self.kind)
        return pointer


def tile_of(rows: int, columns: int, k: int, lanes: int) -> tuple[int, int]:
    """Rows and vectors of the register tile for lanes along j.

    What holds a tile back is the loads, of which two are done in a cycle: one for a row and one for a vector,
    and fewest where these are about as many. So tiles are low and wide where the result is wide, or as wide
    as four vectors; else two vectors wide, so that the operand in lanes is read in narrow panels, which stay
    in near caches; wider again where rows are so few that there would be too few sums under way to hide how
    long each takes. A small product gets tiles that leave no ragged ones, which are code of their own.
    """
    if k > 4 and rows >= MANY_ROWS and 3 * lanes < columns <= 4 * lanes:
        return 6, 4
    if k > 4 and rows % 8 == 0:
        if columns >= 8 * lanes:
            return 8, 3
        if columns > lanes and rows * columns * k <= SMALL:
            return 8, 2
    nv = min(max(1, -(-columns // lanes)), 2 if rows > FEW_ROWS else 4)
    limit = max(1, REGISTERS // nv)
    mi = _divisor(rows, limit)
    if rows > limit and rows % mi:  # an even number of tiles, so that two threads have the same to do
        mi = -(-rows // (2 * -(-rows // (2 * limit))))
    return mi, nv


Part = tuple[Reg, Reg]  # the first unit of work of this thread, and one past the last


def units_of(spec: Contraction, dots: bool) -> int:
    """Into how many units the nest can be split among threads."""
    if dots:
        return -(-spec.n // _group(spec))
    return _nesting(spec).units


class Nesting(NamedTuple):
    """How tiles follow each other where lanes run along j.

    Args:
        rows, columns: of a tile.
        rows_first: one row of tiles after another, so that the result is written from top to bottom as one
            stream; jumping between its rows would cost a page each.
        by_columns: whether threads share the columns of tiles, or their rows.
        units: how many there are of what they share.
    """

    rows: int
    columns: int
    rows_first: bool
    by_columns: bool
    units: int


def _nesting(spec: Contraction) -> Nesting:
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


def in_units(e: Emitter, count: int, size: int, part: Part | None, piece: Callable[[Reg, int], None]) -> None:
    """`piece` for every unit of `size` things, with its start and how many it has: the last perhaps fewer."""
    full, rest = divmod(count, size)
    first, last = part if part is not None else (0, full + bool(rest))
    if full:
        end = e.least(last, full)
        with e.loop(first, end) as loop:
            piece(_times(e, loop.index, size), size)
    if rest:
        begin = e.most(first, full)
        with e.loop(begin, last):
            piece(e.const(full * size, "i8"), rest)


def lanes_along_j(
    e: Emitter, spec: Contraction, finish: Finish, part: Part | None = None, streams: Sequence[Stream] = ()
) -> None:
    """Emit the nest with register tiles; `part` bounds the units this thread computes."""
    nesting = _nesting(spec)
    shared_rows, shared_columns = (None, part) if nesting.by_columns else (part, None)
    if not nesting.rows_first:
        streams = ()

    def tile(row: Reg, rows: int, column: Reg, columns: int) -> None:
        _tile(e, spec, finish, row, rows, column, columns, streams)

    def all_rows(piece: Callable[[Reg, int], None]) -> None:
        in_units(e, spec.m, nesting.rows, shared_rows, piece)

    def all_columns(piece: Callable[[Reg, int], None]) -> None:
        in_units(e, spec.n, nesting.columns, shared_columns, piece)

    if nesting.rows_first:
        all_rows(lambda row, rows: all_columns(lambda column, columns: tile(row, rows, column, columns)))
    else:
        all_columns(lambda column, columns: all_rows(lambda row, rows: tile(row, rows, column, columns)))


def _times(e: Emitter, index: Reg, factor: int) -> Reg:
    return index if factor == 1 else e.op(f"mul nsw i64 {index.text}, {factor}", "i8", 1)


def _tile(
    e: Emitter,
    spec: Contraction,
    finish: Finish,
    row: Reg,
    mi: int,
    column: Reg,
    columns: int,
    streams: Sequence[Stream],
) -> None:
    """One register tile: the loop over k and what is done with its results."""
    kind, lanes = spec.kind, spec.lanes
    nv, tail = -(-columns // lanes), columns % lanes
    mask = e.mask(tail, lanes) if tail else None
    zero = e.const(0.0, kind, lanes)
    a_rows = [spec.element(e, spec.a, _plus(e, row, i), 0) for i in range(mi)]
    b_start = spec.element(e, spec.b, 0, column)

    def step(k: Reg | int, sums: list[Reg]) -> list[Reg]:
        b_row = spec.element(e, Matrix(b_start, spec.b.row, 1), k, 0)
        vectors = []
        for v in range(nv):
            last = mask if v == nv - 1 else None
            vectors.append(e.load(e.pointer(b_row, v * lanes, kind), kind, lanes, last))
        following = []
        for i in range(mi):
            number = e.load(spec.element(e, Matrix(a_rows[i], spec.a.column, 1), k, 0), kind)
            spread = e.splat(number, lanes)
            following += [e.intrinsic("fma", spread, vectors[v], sums[i * nv + v]) for v in range(nv)]
        return following

    sums = [zero] * (mi * nv)
    if spec.k <= 4:
        for k in range(spec.k):
            sums = step(k, sums)
    else:
        coming = [_Coming(e, each, spec, row, mi, column, columns) for each in streams]
        with e.loop(0, spec.k, 1, sums) as loop:
            for share in coming:
                share.fetch(loop.index)
            loop.next = step(loop.index, loop.carry)
        sums = loop.carry
    if mi == 1:
        _finish_row(e, spec, finish, row, column, sums, mask)
        return
    # The finished tile goes through the stack, so that what follows is written once and not for every row.
    tile = e.stack(kind, lanes, mi * nv)
    for place, each in enumerate(sums):
        e.store(each, e.pointer(tile, place * lanes, kind))
    if spec.turned:
        _finish_columns(e, spec, finish, tile, row, mi, column, columns)
        return
    with e.loop(0, mi) as rows:
        offset = e.op(f"mul nsw i64 {rows.index.text}, {nv * lanes}", "i8", 1)
        start = e.pointer(tile, offset, kind)
        values = [e.load(e.pointer(start, v * lanes, kind), kind, lanes) for v in range(nv)]
        at = e.op(f"add nsw i64 {row.text}, {rows.index.text}", "i8", 1)
        _finish_row(e, spec, finish, at, column, values, mask)


class _Coming:
    """What a tile asks memory for: its share of a stream's next rows, a piece in every round of k."""

    def __init__(
        self, e: Emitter, stream: Stream, spec: Contraction, row: Reg, mi: int, column: Reg, columns: int
    ) -> None:
        self.e, self.kind = e, stream.kind
        below = e.pointer(stream.pointer, _times(e, _plus(e, row, mi), stream.length), stream.kind)
        each_column = -(-mi * stream.length // spec.n)
        self.start = e.pointer(below, _times(e, column, each_column), stream.kind)
        self.each_round = -(-each_column * columns // spec.k)

    def fetch(self, k: Reg) -> None:
        """What falls to round `k`."""
        at = self.e.pointer(self.start, _times(self.e, k, self.each_round), self.kind)
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
        finish(row, _plus(e, column, v * spec.lanes), value, last, False)


def _finish_columns(
    e: Emitter, spec: Contraction, finish: Finish, tile: str, row: Reg, mi: int, column: Reg, columns: int
) -> None:
    """Hand over the columns of a tile in memory, one after another, once its blocks are turned."""
    kind = spec.kind
    apart = -(-columns // spec.lanes) * spec.lanes
    for first in range(0, mi, spec.lanes):
        count = min(spec.lanes, mi - first)
        lanes = spec.lanes
        while lanes // 2 >= count:
            lanes //= 2
        mask = e.mask(count, lanes) if count < lanes else None
        turned = e.stack(kind, lanes, apart)
        with e.loop(0, columns, lanes) as loop:
            start = e.pointer(tile, loop.index, kind)
            rows = [
                e.load(e.pointer(start, i * apart, kind), kind, lanes) for i in range(first, first + count)
            ]
            rows += [e.const(0.0, kind, lanes)] * (lanes - count)
            start = e.pointer(turned, _times(e, loop.index, lanes), kind)
            for place, each in enumerate(e.turned(rows)):
                e.store(each, e.pointer(start, place * lanes, kind))
        with e.loop(0, columns) as loop:
            value = e.load(e.pointer(turned, _times(e, loop.index, lanes), kind), kind, lanes)
            finish(_plus(e, row, first), e.binary("add", column, loop.index), value, mask, True)


def _group(spec: Contraction) -> int:
    """How many neighbouring columns dot products are computed for at once."""
    return min(8 if spec.m <= 3 else 4, spec.n)


def lanes_along_k(
    e: Emitter, spec: Contraction, finish: Finish, part: Part | None = None, supply: Supply | None = None
) -> None:
    """Emit the nest as dot products of contiguous rows; `part` bounds the units this thread computes.

    With `supply`, B is not read but given, once: for no more than `SUPPLIED_ROWS` rows of A.
    """
    group = _group(spec) if supply is None else min(SUPPLIED_COLUMNS, spec.n)
    mi = _divisor(spec.m, 24 // group)

    def dots(row: Reg, rows: int, column: Reg, columns: int) -> None:
        _dots(e, spec, finish, row, rows, column, columns, supply)

    def columns_from(column: Reg, columns: int) -> None:
        if columns == group:
            in_units(e, spec.m, mi, None, lambda row, rows: dots(row, rows, column, group))
            return
        with e.loop(0, columns) as loop:
            single = e.binary("add", column, loop.index)
            in_units(e, spec.m, mi, None, lambda row, rows: dots(row, rows, single, 1))

    in_units(e, spec.n, group, part, columns_from)


def _divisor(count: int, limit: int) -> int:
    """How many rows a tile gets: at most `limit`, fewer if that leaves no ragged last tile."""
    limit = min(count, limit)
    return next((rows for rows in range(limit, limit * 2 // 3, -1) if count % rows == 0), limit)


def _dots(
    e: Emitter,
    spec: Contraction,
    finish: Finish,
    row: Reg,
    rows: int,
    column: Reg,
    group: int,
    supply: Supply | None,
) -> None:
    """The dot products of some rows with `group` neighbouring columns."""
    kind, lanes = spec.kind, spec.lanes
    a_rows = [spec.element(e, spec.a, _plus(e, row, i), 0) for i in range(rows)]
    b_columns = [spec.element(e, spec.b, 0, _plus(e, column, j)) for j in range(group)]

    def read(j: int, k: Reg, mask: Reg | None) -> Reg:
        return e.load(e.pointer(b_columns[j], k, kind), kind, lanes, mask)

    given = read if supply is None else supply(column, group)

    def step(k: Reg, sums: list[Reg], mask: Reg | None) -> list[Reg]:
        left = [e.load(e.pointer(each, k, kind), kind, lanes, mask) for each in a_rows]
        following = list(sums)
        for j in range(group):
            right = given(j, k, mask)
            for i in range(rows):
                place = i * group + j
                following[place] = e.intrinsic("fma", left[i], right, sums[place])
        return following

    sums = [e.const(0.0, kind, lanes)] * (rows * group)
    whole = spec.k // lanes * lanes
    if whole:
        with e.loop(0, whole, lanes, sums) as loop:
            loop.next = step(loop.index, loop.carry, None)
        sums = loop.carry
    if spec.k % lanes:
        sums = step(e.const(whole, "i8"), sums, e.mask(spec.k % lanes, lanes))
    for i in range(rows):
        numbers = [e.reduce("fadd", sums[i * group + j]) for j in range(group)]
        finish(_plus(e, row, i), column, _gathered(e, numbers), None, False)


def _gathered(e: Emitter, numbers: list[Reg]) -> Reg:
    """Scalars as the lanes of one vector."""
    if len(numbers) == 1:
        return numbers[0]
    vector = Reg("poison", numbers[0].kind, len(numbers))
    for lane, each in enumerate(numbers):
        vector = e.op(
            f"insertelement {vector.type} {vector.text}, {each.type} {each.text}, i64 {lane}",
            vector.kind,
            vector.lanes,
        )
    return vector


def _plus(e: Emitter, index: Reg, amount: int) -> Reg:
    """An index moved by a constant."""
    return index if amount == 0 else e.op(f"add nsw i64 {index.text}, {amount}", "i8", 1)
