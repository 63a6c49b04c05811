"""Operands of products in three pieces of bfloat16, for CPUs with a unit that multiplies these.

A float32 has 24 significant bits and a bfloat16 the first 8 of these. The first piece of a number is that,
the second what it lacks, rounded, and the third what is left, so that ``a == a1 + a2 + a3`` exactly. A
product of two numbers is then the sum of six products of pieces, ``a1 b1 + a1 b2 + a2 b1 + a2 b2 + a1 b3 +
a3 b1``: the three that are left out come to two units in the last place of ``a b`` at most, mostly to far
less. (So proposed by Henry, Tang and Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For
Higher-Precision Computations", 2019.) How they are multiplied is `unit`'s affair.

A *chunk* is 32 x 32 numbers of an operand: `SIDE` rows of the left or columns of the right one, times as
many steps of k. It holds two tiles of each piece, in the order in which the unit takes that operand: two
steps of k side by side, here those that are 16 apart, so that two vectors become one of pairs. Behind the
tiles stand sums of squares, which are infinite or NaN if a number is, or exceeds 2**64: products of pieces
of such numbers come to ``inf * 0`` or ``inf - inf``, where the number's own product does not. Invariant:
what a chunk holds depends on its own numbers alone.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from rushlight.compile.emit import Emitter
from rushlight.compile.registers import Reg
from rushlight.storage import LINE

SIDE = 32  # rows or columns, and steps of k, of a chunk
HALF = SIDE // 2  # rows of a tile, and the numbers of float32 in each
TILE = HALF * LINE  # bytes
PIECE = 2 * TILE
SQUARES = 3 * PIECE  # where a chunk has 16 sums of its numbers' squares
CHUNK = SQUARES + LINE  # bytes
RESULT = SIDE * SIDE  # numbers of float32 that two chunks multiply to

# Two threads split what they need each for itself, if it is not large: to write what another one reads, and
# to read what it wrote, takes longer. More threads share the work.
COPIES, MOST_COPIED = 2, 1 << 19


def chunks(length: int) -> int:
    """How many chunks it takes along a dimension."""
    return -(-length // SIDE)


def bytes_of(rows: int, k: int) -> int:
    """The memory of an operand with so many rows (or columns) and steps of k."""
    return chunks(rows) * chunks(k) * CHUNK


def copies_of(rows: int, k: int) -> int:
    """How many copies of it there are."""
    return COPIES if bytes_of(rows, k) <= MOST_COPIED else 1


class Source(NamedTuple):
    """How an operand lies in memory before it is split.

    `step` numbers lie from one row of the memory to the next. In these numbers lie side by side `along_k`, or
    else along the operand's other dimension.
    """

    step: int
    along_k: bool
    is_left: bool


def split(e: Emitter, start: str, source: Source, counts: tuple[Reg, Reg], target: str) -> None:
    """Split one chunk.

    Args:
        e: where to write the call.
        start: address of its first number.
        source: how the operand lies.
        counts: rows (or columns) and steps of k that it has; the rest is filled up with zeros.
        target: where the chunk goes.
    """
    name, needed = splitting(source.along_k)
    e.declared |= needed
    given = ", ".join(f"i64 {each.text}" for each in counts)
    e.line(f"call void @{name}(ptr {start}, i64 {source.step}, {given}, ptr {target})")
    if source.is_left != source.along_k:  # a tile of the one is one of the other turned, pair by pair
        name, needed = _turning()
        e.declared |= needed
        e.line(f"call void @{name}(ptr {target})")


@functools.cache
def splitting(along_k: bool) -> tuple[str, set[str]]:
    """The function that splits a chunk whose numbers lie side by side along k, or along the other dimension:
    row by row, or two rows of the memory at once, which the unit takes as pairs.
    """
    e = Emitter()
    name = "split_along_k" if along_k else "split_across_k"
    e.begin(name, ["ptr %source", "i64 %step", "i64 %rows", "i64 %steps", "ptr %target"])
    rows, steps = (Reg(each, "i8", 1) for each in ("%rows", "%steps"))
    squares = e.const(0.0, "f4", HALF)
    if along_k:
        masks = _masks(e, steps)
        with e.loop(0, rows, 1, [squares]) as loop:
            at = row_of(e, loop.index)
            pair = [e.load(e.pointer(at, HALF * place, "f4"), "f4", HALF, masks[place]) for place in (0, 1)]
            loop.next = [split_pair(e, pair, place_of(e, loop.index, 0), loop.carry[0])]
        tiles, done = 1, rows
    else:
        masks = _masks(e, rows)
        done = e.least(steps, HALF)
        with e.loop(0, done, 1, [squares]) as loop:
            second = e.plus(loop.index, HALF)
            is_there = e.op(f"icmp slt i64 {second.text}, %steps", "b1", 1)
            found = loop.carry[0]
            for half, mask in enumerate(masks):
                there = e.binary("and", mask, e.splat(is_there, HALF))
                pair = [
                    e.load(e.pointer(row_of(e, at), HALF * half, "f4"), "f4", HALF, on)
                    for at, on in ((loop.index, mask), (second, there))
                ]
                found = split_pair(e, pair, place_of(e, loop.index, half), found)
            loop.next = [found]
        tiles = 2
    (squares,) = loop.carry
    with e.loop(done, SIDE // tiles) as loop:
        for half in range(tiles):
            _store_pieces(e, [e.const(0, "i4", HALF)] * 3, place_of(e, loop.index, half))
    e.store(squares, e.pointer("%target", SQUARES, "u1"))
    return name, e.shared()


def row_of(e: Emitter, number: Reg, start: str = "%source") -> str:
    """Where a row of the memory begins."""
    return e.pointer(start, e.op(f"mul nsw i64 {number.text}, %step", "i8", 1), "f4")


def _masks(e: Emitter, count: Reg) -> list[Reg]:
    """For so many numbers, in two vectors."""
    return [e.mask(count, HALF), e.mask(e.binary("sub", count, e.const(HALF, "i8")), HALF)]


def split_pair(e: Emitter, pair: list[Reg], place: str, squares: Reg) -> Reg:
    """Store the pieces of two vectors; what comes back are the sums of squares with theirs."""
    firsts = [_high(e, each) for each in pair]
    rests = [e.binary("fsub", each, first) for each, first in zip(pair, firsts, strict=True)]
    seconds = [_high(e, each, is_rounded=True) for each in rests]
    thirds = [e.binary("fsub", each, second) for each, second in zip(rests, seconds, strict=True)]
    _store_pieces(e, [_packed(e, *each) for each in (firsts, seconds, thirds)], place)
    for each in pair:
        squares = e.intrinsic("fma", each, each, squares)
    return squares


def place_of(e: Emitter, row: Reg, half: int) -> str:
    """Where the first piece of a row of a tile goes."""
    return e.pointer(e.pointer("%target", half * TILE, "u1"), e.times(row, LINE), "u1")


def _store_pieces(e: Emitter, pieces: list[Reg], place: str) -> None:
    for number, each in enumerate(pieces):
        e.store(each, e.pointer(place, number * PIECE, "u1"))


def _as_kind(e: Emitter, value: Reg, kind: str) -> Reg:
    """The same bits as another kind."""
    made = value._replace(kind=kind)
    return e.op(f"bitcast {value.type} {value.text} to {made.type}", kind, value.lanes)


def _high(e: Emitter, number: Reg, is_rounded: bool = False) -> Reg:
    """The upper half of each number of float32, as one: what a bfloat16 keeps of it."""
    bits = _as_kind(e, number, "i4")
    if is_rounded:
        bits = e.binary("add", bits, e.const(1 << 15, "i4", bits.lanes))
    return _as_kind(e, e.binary("and", bits, e.const(-1 << 16, "i4", bits.lanes)), "f4")


def _packed(e: Emitter, low: Reg, high: Reg) -> Reg:
    """The upper halves of two vectors as one vector of pairs; of the second the lower halves are zero, or
    else it is rounded towards zero."""
    shifted = e.binary("lshr", _as_kind(e, low, "i4"), e.const(16, "i4", low.lanes))
    return e.binary("or", shifted, _as_kind(e, _high(e, high), "i4"))


def unpacked(e: Emitter, pairs: Reg) -> list[Reg]:
    """The inverse of `_packed`."""
    low = e.binary("shl", pairs, e.const(16, "i4", pairs.lanes))
    return [_as_kind(e, low, "f4"), _high(e, _as_kind(e, pairs, "f4"))]


@functools.cache
def _turning() -> tuple[str, set[str]]:
    """The function that turns every tile of a chunk, pairs of numbers staying together."""
    e = Emitter()
    e.begin("turn_pieces", ["ptr %chunk"])
    with e.loop(0, 3 * PIECE, TILE) as loop:
        tile = e.pointer("%chunk", loop.index, "u1")
        rows = [e.load(e.pointer(tile, row * LINE, "u1"), "f4", HALF) for row in range(HALF)]
        for row, each in enumerate(e.turned(rows)):
            e.store(each, e.pointer(tile, row * LINE, "u1"))
    return "turn_pieces", e.shared()
