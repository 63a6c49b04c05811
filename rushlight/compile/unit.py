"""The CPU's unit that multiplies tiles of bfloat16 and adds in float32 (Intel's AMX), as products use it.

A tile is 16 rows of 64 bytes. At a time the unit holds one of sums, a quarter of a block's, and a piece of 16
rows of the left and of 16 columns of the right operand. A step of k adds the six products of pieces that
`pieces` speaks of. All that takes a third of the time that products of float32 take, and long sums come out
nearer to the true ones, as the unit adds up 32 terms before it rounds into a sum. The unit has eight
registers, and less would have to be loaded if all were in use. But what another program does on the same
core, as its other hyperthread, halves the physical registers behind these: then with eight in use there is
none to spare, and every instruction waits for the one before. With three in use products take as long as with
eight where the core is our own, and less than half as long where it is not.

Chunks with infinities, NaN or numbers beyond 2**64 are multiplied number by number. The unit counts pieces
and their products as zero below 1.2e-38. Invariant: a sum is taken chunk by chunk in the order of k; within a
chunk its order depends on whether that is such a chunk, never on threads.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator

from rushlight.compile.emit import Emitter
from rushlight.compile.pieces import (
    HALF,
    PIECE,
    SIDE,
    SQUARES,
    TILE,
    Source,
    place_of,
    row_of,
    split_pair,
    splitting,
    unpacked,
)
from rushlight.compile.registers import Reg
from rushlight.storage import LINE

# Which pieces of the left and the right operand are multiplied, one after the other: small products first,
# and never both operands new, so that one of them stays in the unit.
PAIRS = ((2, 0), (1, 0), (1, 1), (0, 1), (0, 2), (0, 0))
SUMS, LEFT, RIGHT = range(3)  # the tiles in use
QUARTERS = 4  # of a result: upper left, upper right, lower left, lower right
Operands = tuple[str, str, Reg, str]  # of `multiply`


@contextlib.contextmanager
def declare(e: Emitter) -> Iterator[None]:
    """Code that uses the unit: its tiles are to have 16 rows of 64 bytes, and are free afterwards."""
    content = [1, *[0] * 15, *[LINE, 0] * 8, *[0] * 16, *[HALF] * 8, *[0] * 8]  # Intel's palette 1
    sizes = ", ".join(f"i8 {each}" for each in content)
    e.declared |= {
        f"@tile_sizes = internal constant [{len(content)} x i8] [{sizes}], align 64",
        "declare void @llvm.x86.ldtilecfg(ptr)",
        "declare void @llvm.x86.tilerelease()",
    }
    e.line("call void @llvm.x86.ldtilecfg(ptr @tile_sizes)")
    yield
    e.line("call void @llvm.x86.tilerelease()")


def begin(e: Emitter, result: str, is_fresh: Reg | None = None) -> None:
    """Bring a quarter of a result into the unit, where products are added to it; or zeros, if it is fresh, as
    it is without this condition.
    """
    if is_fresh is None:
        _unit(e, "tilezero", SUMS)
        return
    with e.either(is_fresh) as otherwise:
        _unit(e, "tilezero", SUMS)
        otherwise()
        _unit(e, "tileloadd64", SUMS, result, SIDE * 4)


def end(e: Emitter, result: str) -> None:
    """Bring it back."""
    _unit(e, "tilestored64", SUMS, result, SIDE * 4)


def quarter_of(e: Emitter, result: str, quarter: Reg) -> str:
    """Where a quarter of a result begins."""
    row, column = _halves(e, quarter)
    return e.pointer(e.pointer(result, e.times(row, HALF * SIDE), "f4"), e.times(column, HALF), "f4")


def _halves(e: Emitter, quarter: Reg) -> list[Reg]:
    """Which half of the rows a quarter has, and which of the columns."""
    return [e.binary(op, quarter, e.const(2, "i8")) for op in ("udiv", "urem")]


def multiply(e: Emitter, left: str, right: str, quarter: Reg, result: str) -> None:
    """Add a quarter of the product of two chunks to that of the result, which is in the unit and has its
    place at an address.
    """
    name, needed = _multiplying()
    e.declared |= needed
    e.line(f"call void @{name}(ptr {left}, ptr {right}, i64 {quarter.text}, ptr {result})")


def multiply_and_split(
    e: Emitter,
    operands: Operands,
    source: Source,
    part: tuple[Reg, int],
    start: str,
    ahead: str,
    steps: Reg,
    target: str,
) -> None:
    """The same, and meanwhile split a part of a chunk: the unit leaves most of the CPU idle.

    Args:
        e: where to write the call.
        operands: of `multiply`.
        source: how the operand lies; a tile of it is not turned.
        part: which part is split, of how many; 0 before all others.
        start: address of the chunk's first number.
        ahead: that of the chunk which memory is asked for.
        steps: how many steps of k it has; rows (or columns) it has all.
        target: where the chunk goes.
    """
    number, parts = part
    name, needed = _multiplying_and_splitting(source.along_k, parts)
    e.declared |= needed
    given = f"ptr {start}, ptr {ahead}, i64 {source.step}, i64 {steps.text}, i64 {number.text}, ptr {target}"
    left, right, quarter, result = operands
    e.line(f"call void @{name}(ptr {left}, ptr {right}, i64 {quarter.text}, ptr {result}, {given})")


_QUARTER = Reg("%quarter", "i8", 1)
_OPERANDS = ["ptr %a", "ptr %b", "i64 %quarter", "ptr %c"]  # of `multiply`


@functools.cache
def _multiplying() -> tuple[str, set[str]]:
    """The function that adds a product."""
    e = Emitter()
    e.begin("multiply_pieces", _OPERANDS)
    with e.either(_is_extreme(e)) as otherwise:
        _multiply_extreme(e)
        otherwise()
        _multiply_tiles(e, lambda _: None)
    return "multiply_pieces", e.shared()


@functools.cache
def _multiplying_and_splitting(along_k: bool, parts: int) -> tuple[str, set[str]]:
    """The function that also splits one of so many parts of a chunk that has all rows: a few of them between
    the instructions of the unit, as they come out of order anyway.
    """
    e = Emitter()
    name = f"multiply_and_split_{'along' if along_k else 'across'}_k_{parts}"
    own = ["ptr %source", "ptr %ahead", "i64 %step", "i64 %steps", "i64 %part", "ptr %target"]
    e.begin(name, [*_OPERANDS, *own])
    is_first = e.op("icmp eq i64 %part, 0", "b1", 1)
    is_whole = e.op(f"icmp eq i64 %steps, {SIDE}", "b1", 1)
    is_plain = e.op(f"xor i1 {_is_extreme(e).text}, true", "b1", 1)
    with e.either(e.binary("and", is_whole, is_plain)) as otherwise:
        count = (SIDE if along_k else HALF) // parts
        first = e.times(Reg("%part", "i8", 1), count)
        at, place = row_of(e, first), place_of(e, first, 0)
        later = row_of(e, first, "%ahead")
        step = Reg("%step", "i8", 1)
        before = e.load(e.pointer("%target", SQUARES, "u1"), "f4", HALF)
        squares = e.select(is_first, e.const(0.0, "f4", HALF), before)
        done = 0

        def split_some(share: int) -> None:
            nonlocal at, later, squares, done
            while done < count * share // len(PAIRS):
                for half, pair in enumerate(_pairs(e, at, step, along_k)):
                    target = e.pointer(place, done * LINE + half * TILE, "u1")
                    squares = split_pair(e, pair, target, squares)
                for row in (later,) if along_k else (later, e.pointer(later, e.times(step, HALF), "f4")):
                    for half in (0, 1):
                        e.prefetch(e.pointer(row, half * HALF, "f4"), near=2)
                at, later = e.pointer(at, step, "f4"), e.pointer(later, step, "f4")
                done += 1

        _multiply_tiles(e, split_some)
        e.store(squares, e.pointer("%target", SQUARES, "u1"))
        otherwise()
        # All of it: at the first part, and at any if only this call is not plain, as the others may be.
        with e.when(e.binary("or", is_first, is_whole)):
            split_name, needed = splitting(along_k)
            e.declared |= needed
            e.line(f"call void @{split_name}(ptr %source, i64 %step, i64 {SIDE}, i64 %steps, ptr %target)")
        multiply(e, "%a", "%b", _QUARTER, "%c")
    return name, e.shared()


def _pairs(e: Emitter, at: str, step: Reg, along_k: bool) -> list[list[Reg]]:
    """The pairs of vectors that a row has, or two rows together."""
    if along_k:
        return [[e.load(e.pointer(at, HALF * half, "f4"), "f4", HALF) for half in (0, 1)]]
    second = e.pointer(at, e.times(step, HALF), "f4")
    return [
        [e.load(e.pointer(row, HALF * half, "f4"), "f4", HALF) for row in (at, second)] for half in (0, 1)
    ]


def _is_extreme(e: Emitter) -> Reg:
    """Whether something in either chunk is not finite, or so large that a product of pieces may not be."""
    squares = [e.load(e.pointer(each, SQUARES, "u1"), "f4", HALF) for each in ("%a", "%b")]
    total, limit = e.binary("fadd", *squares), e.const(float("inf"), "f4", HALF)
    test = e.op(f"fcmp uge {total.type} {total.text}, {limit.text}", "b1", HALF)
    bits = e.op(f"bitcast {test.type} {test.text} to i{HALF}", "i2", 1)
    return e.op(f"icmp ne i{HALF} {bits.text}, 0", "b1", 1)


def _multiply_extreme(e: Emitter) -> None:
    name, needed = _multiplying_slowly()
    e.declared |= needed
    end(e, "%c")
    e.line(f"call void @{name}({', '.join(_OPERANDS)})")
    _unit(e, "tileloadd64", SUMS, "%c", SIDE * 4)


def _multiply_tiles(e: Emitter, between: Callable[[int], None]) -> None:
    """All products of pieces; `between` is called after each with how many there were."""
    starts = [
        e.pointer(operand, e.times(half, TILE), "u1")
        for operand, half in zip(("%a", "%b"), _halves(e, _QUARTER), strict=True)
    ]
    held: list[int | None] = [None, None]
    for count, pair in enumerate(PAIRS, 1):
        for side, (start, tile) in enumerate(zip(starts, (LEFT, RIGHT), strict=True)):
            if held[side] != pair[side]:
                _unit(e, "tileloadd64", tile, e.pointer(start, pair[side] * PIECE, "u1"), LINE)
                held[side] = pair[side]
        _unit(e, "tdpbf16ps", SUMS, LEFT, RIGHT)
        between(count)


def _unit(e: Emitter, instruction: str, tile: int, *operands: str | int) -> None:
    """An instruction of the unit: on tiles, or on a tile, an address and how far its rows lie apart."""
    if instruction == "tdpbf16ps":
        types, given = ["i8"] * 3, [tile, *operands]
    elif operands:
        types, given = ["i8", "ptr", "i64"], [tile, *operands]
    else:
        types, given = ["i8"], [tile]
    e.declared.add(f"declare void @llvm.x86.{instruction}({', '.join(types)})".replace("i8", "i8 immarg"))
    listed = ", ".join(f"{kind} {each}" for kind, each in zip(types, given, strict=True))
    e.line(f"call void @llvm.x86.{instruction}({listed})")


@functools.cache
def _multiplying_slowly() -> tuple[str, set[str]]:
    """The function that adds the product of two chunks in float32, for infinities and NaN."""
    e = Emitter()
    e.begin("multiply_slowly", _OPERANDS)
    left, right = e.stack("f4", HALF, 2 * SIDE), e.stack("f4", HALF, 2 * SIDE)
    with e.loop(0, SIDE) as row:  # as they were: rows of the left, and of the right the halves of a row
        for start, room in (("%a", left), ("%b", right)):
            at = e.pointer(start, e.times(row.index, LINE), "u1")
            pieces = [e.load(e.pointer(at, each * PIECE, "u1"), "i4", HALF) for each in range(3)]
            for half, numbers in enumerate(zip(*(unpacked(e, each) for each in pieces), strict=True)):
                e.store(
                    _whole(e, *numbers), e.pointer(room, e.plus(e.times(row.index, SIDE), half * HALF), "f4")
                )
    first_row, first_column = (e.times(half, HALF) for half in _halves(e, _QUARTER))
    with e.loop(0, HALF) as row:
        c = e.pointer("%c", e.times(row.index, SIDE), "f4")
        own = e.pointer(left, e.times(e.binary("add", first_row, row.index), SIDE), "f4")
        with e.loop(0, SIDE, 1, [e.load(c, "f4", HALF)]) as loop:
            number = e.splat(e.load(e.pointer(own, loop.index, "f4"), "f4"), HALF)
            column = e.binary("add", e.binary("and", loop.index, e.const(HALF - 1, "i8")), first_column)
            which = e.binary("and", loop.index, e.const(HALF, "i8"))
            other = e.load(e.pointer(right, e.binary("add", e.times(column, SIDE), which), "f4"), "f4", HALF)
            loop.next = [e.intrinsic("fma", number, other, loop.carry[0])]
        e.store(loop.carry[0], c)
    return "multiply_slowly", e.shared()


def _whole(e: Emitter, first: Reg, second: Reg, third: Reg) -> Reg:
    """Numbers of their pieces, of which only the first means anything if it is not finite."""
    total = e.binary("fadd", first, e.binary("fadd", second, third))
    lost = e.binary("fsub", first, first)
    is_finite = e.op(f"fcmp ord {lost.type} {lost.text}, {lost.text}", "b1", lost.lanes)
    return e.select(is_finite, total, first)
