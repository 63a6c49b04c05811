"""Lists of the columns in which a batch is not zero, for the loop through them (see `crossing_columns`).

There is a list for each lane of a vector, of the columns that fall to it, in order. Before the lists stand
how many columns they have, and how large the numbers of the batch are. Invariant: where columns are not
listed, all numbers of the batch are zero.
"""

from __future__ import annotations

from rushlight.compile.crossing_columns import ColumnPlan
from rushlight.compile.emit import Emitter
from rushlight.compile.function import Function
from rushlight.compile.nonzero import (
    BITS,
    TOGETHER,
    WORD,
    bits_of,
    integer_of,
    largest_of,
    list_flagged,
    most_of,
    put_word,
    sizes,
    word_at,
)
from rushlight.compile.registers import BYTES, Reg

HEAD = 4  # words before the lists: how many columns they have, and the largest number, of up to two words
LARGEST = 2  # where that is, eight bytes from the start


def _apart(columns: ColumnPlan) -> int:
    """How many words lists lie apart: a count, and the numbers, which are written several at a time."""
    return 1 + columns.blocks + BITS


def lists_bytes(columns: ColumnPlan) -> int:
    """How much memory the lists for a batch take."""
    return BYTES[WORD] * (HEAD + columns.lanes * _apart(columns))


def list_of(e: Emitter, columns: ColumnPlan, lists: str, lane: Reg) -> tuple[Reg, str]:
    """How many columns of a lane are listed, and where: for each, how far it is from the lane's first."""
    start = e.pointer(e.pointer(lists, HEAD, WORD), e.times(lane, _apart(columns)), WORD)
    return word_at(e, start), e.pointer(start, 1, WORD)


def total_listed(f: Function, lists: str) -> str:
    """How many columns the lists of a batch have."""
    return f.op(f"zext i32 {f.op(f'load i32, ptr {lists}, align 4')} to i64")


def largest_number(e: Emitter, columns: ColumnPlan, lists: str) -> Reg:
    """How large the numbers of the batch are."""
    return e.load(e.pointer(lists, LARGEST, WORD), columns.kind)


def emit_all(columns: ColumnPlan) -> Emitter:
    """List all columns: ``(lists)``."""
    e = Emitter()
    with e.loop(0, columns.lanes) as lane:
        last = e.binary("sub", e.const(columns.columns - 1 + columns.lanes, "i8"), lane.index)
        count = e.binary("udiv", last, e.const(columns.lanes, "i8"))
        _, numbers = list_of(e, columns, "%b0", lane.index)
        put_word(e, count, e.pointer(numbers, -1, WORD))
        with e.loop(0, count) as place:
            put_word(e, e.times(place.index, columns.lanes), e.pointer(numbers, place.index, WORD))
    return e


def emit_column_lists(columns: ColumnPlan) -> Emitter:
    """List the columns in which a batch is not zero: ``(lists, addresses of its rows)``."""
    e = Emitter()
    flag = "u1" if columns.lanes <= 8 else "i2"  # with a bit for each lane
    count = -(-columns.blocks // TOGETHER) * TOGETHER
    flags = e.stack(flag, 1, count)
    for number in range(columns.blocks, count):
        e.store(e.const(0, flag), e.pointer(flags, number, flag))
    largest = _flag(e, columns, flag, flags)
    e.store(largest_of(e, largest, columns.kind), e.pointer("%b0", LARGEST, WORD))
    chosen = e.stack("u1", TOGETHER // BITS, count // TOGETHER)
    with e.loop(0, columns.lanes, 1, [e.const(0, "i8")]) as lane:
        bit = e.binary("shl", e.const(1, "i8"), lane.index)
        bit = e.splat(e.op(f"trunc i64 {bit.text} to i{8 * BYTES[flag]}", flag, 1), TOGETHER)
        for first in range(0, count, TOGETHER):
            some = e.binary("and", e.load(e.pointer(flags, first, flag), flag, TOGETHER), bit)
            e.store(bits_of(e, some, WORD), e.pointer(chosen, first // BITS, "u1"))
        _, numbers = list_of(e, columns, "%b0", lane.index)
        listed = list_flagged(e, columns.lanes, chosen, -(-columns.blocks // BITS), numbers)
        put_word(e, listed, e.pointer(numbers, -1, WORD))
        lane.next = [e.binary("add", lane.carry[0], listed)]
    put_word(e, lane.carry[0], "%b0")
    return e


def _flag(e: Emitter, columns: ColumnPlan, flag: str, flags: str) -> Reg:
    """Flag what is not zero in some row, and find in each lane how large its numbers are."""
    kind, lanes = columns.kind, columns.lanes
    rows = [e.address_at("%b1", e.const(row, "i8")) for row in range(columns.batch)]

    def block(number: Reg, count: int, largest: Reg) -> Reg:
        mask = e.mask(count, lanes) if count < lanes else None
        starts = [e.pointer(row, e.times(number, lanes), kind) for row in rows]
        most = most_of(e, [sizes(e, e.load(each, kind, lanes, mask)) for each in starts])
        e.store(bits_of(e, most, flag), e.pointer(flags, number, flag))
        return most_of(e, [largest, most])

    full, rest = divmod(columns.columns, lanes)
    with e.loop(0, full, 1, [e.const(0, integer_of(kind), lanes)]) as loop:
        loop.next = [block(loop.index, lanes, loop.carry[0])]
    (largest,) = loop.carry
    return block(e.const(full, "i8"), rest, largest) if rest else largest
