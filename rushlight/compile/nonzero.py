"""Steps of sums that a product leaves out because they would add nothing but zeros.

The margins of pictures, the words of a text, one of many: a batch may be zero for the greater part. A
register tile (see `tiles`) takes a few rows of its left operand, and where all of them are zero at a step of
k, that step adds nothing, if what it is multiplied with is finite. So when a batch comes, it is marked which
of its numbers are zero, and from these marks the other steps are listed for each tile, whose loop goes
through the list. Lists that leave out little are not worth following; then the next few batches go without.
Invariant: a step is left out only if it adds zeros, so that each sum is the same number as without lists, but
for the sign of a zero to which a product underflowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rushlight.compile.contract import in_units
from rushlight.compile.emit import Emitter
from rushlight.compile.registers import BYTES, Reg, type_of

WORD = "i4"
HEAD = 2  # words before the first list
WORTH = 3, 4  # of all steps, or columns; if so many are listed, lists are not followed
AGAIN = 32  # batches after which they are tried anew

BITS = 8  # numbers that have marks in one byte
TOGETHER = 32  # bytes that are looked at together; so many steps of k, or a multiple, make a stage


class Marks(NamedTuple):
    """A bit for each number of a batch of so many rows and columns: whether it is not zero. There are two
    matrices of bytes, each of which is about `BITS` neighbours of a row: one has the bytes of a row side by
    side, the other those of a column.
    """

    rows: int
    columns: int

    @property
    def size(self) -> int:
        """How many bytes they take."""
        return self.rows * self.row + (self._blocks + 1) * self.column

    @property
    def row(self) -> int:
        """How many bytes rows lie apart."""
        return _together(self._blocks)

    @property
    def column(self) -> int:
        """How many bytes columns of bytes lie apart."""
        return _together(self.rows)

    @property
    def _blocks(self) -> int:
        return -(-self.columns // BITS)

    def in_row(self, e: Emitter, pointer: str, row: Reg) -> str:
        """The bytes of a row."""
        return e.pointer(pointer, e.times(row, self.row), "u1")

    def in_column(self, e: Emitter, pointer: str, block: Reg) -> str:
        """The bytes of a column."""
        return e.pointer(e.pointer(pointer, self.rows * self.row, "u1"), e.times(block, self.column), "u1")


def _together(count: int) -> int:
    return -(-count // TOGETHER) * TOGETHER


def copy_marking(
    e: Emitter, marks: Marks, kind: str, pointer: str, row: Reg, target: str, source: str, coming: str
) -> None:
    """Copy a row of a batch, and make its marks on the way; memory is asked for the row that comes next."""
    whole = integer_of(kind)

    def block(number: Reg, size: int) -> None:
        at, to = (e.pointer(each, e.times(number, BITS), kind) for each in (source, target))
        e.prefetch(e.pointer(coming, e.times(number, BITS), kind))
        mask = e.mask(size, BITS) if size < BITS else None
        found = e.load(at, whole, BITS, mask)
        e.store(found, to, mask)
        bits = e.binary("shl", found, e.const(1, whole, BITS))  # without the sign
        byte = bits_of(e, bits, "u1")
        e.store(byte, e.pointer(marks.in_row(e, pointer, row), number, "u1"))
        e.store(byte, e.pointer(marks.in_column(e, pointer, number), row, "u1"))

    full, rest = divmod(marks.columns, BITS)
    with e.loop(0, full) as loop:
        block(loop.index, BITS)
    if rest:
        block(e.const(full, "i8"), rest)


class Lists(NamedTuple):
    """The lists for an operand of so many `rows` and steps of `k`: one for each `height` rows and each
    `stage` steps.

    A list begins with how many steps there are; then comes, for each, how far the row of the other operand
    lies from the stage's first. These rows are `width` elements apart, a power of two, as in panels.
    """

    rows: int
    k: int
    height: int
    stage: int
    width: int

    @property
    def size(self) -> int:
        """How many words they take."""
        return HEAD + -(-self.rows // self.height) * self.stages * self._apart

    @property
    def stages(self) -> int:
        """How many there are."""
        return -(-self.k // self.stage)

    @property
    def _apart(self) -> int:
        return 1 + self.stage + BITS  # which are written together

    def list_of(self, e: Emitter, pointer: str, row: Reg, stage: Reg) -> str:
        """The list for the tile that begins in a row."""
        tile = e.binary("udiv", row, e.const(self.height, "i8"))
        number = e.binary("add", e.times(tile, self.stages), stage)
        return e.pointer(e.pointer(pointer, HEAD, WORD), e.times(number, self._apart), WORD)


class Listed(NamedTuple):
    """Lists, and where they are."""

    lists: Lists
    pointer: str

    def are_worth_it(self, e: Emitter) -> Reg:
        """Whether they leave out enough."""
        return e.op(f"icmp ne i64 {word_at(e, self.pointer).text}, 0", "b1", 1)

    def among(self, e: Emitter, row: Reg, stage: Reg, is_followed: Reg) -> Among:
        """The list for the tile that begins in a row."""
        return Among(self.lists, self.lists.list_of(e, self.pointer, row, stage), is_followed)


class Among(NamedTuple):
    """A tile's list, and whether its loop is to follow it."""

    lists: Lists
    start: str
    is_followed: Reg

    def listed(self, e: Emitter) -> Reg:
        """How many steps are taken that are listed: none if the list is not followed."""
        return e.select(self.is_followed, word_at(e, self.start), e.const(0, "i8"))

    def others(self, e: Emitter, count: Reg | int) -> Reg:
        """How many others, of so many in all."""
        return e.select(self.is_followed, e.const(0, "i8"), e.index(count))

    def step(self, e: Emitter, place: Reg) -> tuple[Reg, Reg]:
        """The step at a place, and how far the other operand's row lies."""
        distance = word_at(e, e.pointer(e.pointer(self.start, 1, WORD), place, WORD))
        # From the distance, or LLVM would keep sums in memory to have the step at hand for both.
        bits = self.lists.width.bit_length() - 1
        return e.op(f"lshr exact i64 {distance.text}, {bits}", "i8", 1), distance


def emit_lists(e: Emitter, lists: Lists, is_turned: bool, marks: Marks, pointer: str, marked: str) -> None:
    """Make the lists for a batch, or for the turned batch, from its marks. The first word says whether they
    are worth following, the second how many steps they have.
    """
    total = e.pointer(pointer, 1, WORD)
    put_word(e, e.const(0, "i8"), total)
    flags = e.stack("u1", TOGETHER, -(-lists.k // (BITS * TOGETHER)))

    def list_tile(row: Reg, rows: int) -> None:
        flag = _flag_columns if is_turned else _flag_rows
        flag(e, marks, marked, row, rows, flags)
        in_units(e, lists.k, lists.stage, None, lambda first, steps: list_stage(row, first, steps))

    def list_stage(row: Reg, first: Reg, steps: int) -> None:
        start = lists.list_of(e, pointer, row, e.binary("udiv", first, e.const(lists.stage, "i8")))
        begin = e.pointer(flags, e.binary("udiv", first, e.const(BITS, "i8")), "u1")
        to = e.pointer(start, 1, WORD)
        count = list_flagged(e, lists.width, begin, -(-steps // BITS), to)
        put_word(e, count, start)
        put_word(e, e.binary("add", word_at(e, total), count), total)

    in_units(e, lists.rows, lists.height, None, list_tile)
    limit = -(-lists.rows // lists.height) * lists.k * WORTH[0] // WORTH[1]
    is_worth = e.op(f"icmp slt i64 {word_at(e, total).text}, {limit}", "b1", 1)
    put_word(e, _number(e, is_worth), pointer)


def _flag_rows(e: Emitter, marks: Marks, marked: str, row: Reg, rows: int, flags: str) -> None:
    """Flag the columns in which some rows of a batch are not all zero: a bit for each."""
    starts = [marks.in_row(e, marked, e.plus(row, i)) for i in range(rows)]
    with e.loop(0, marks.row, TOGETHER) as loop:
        some = e.const(0, "u1", TOGETHER)
        for each in starts:
            some = e.binary("or", some, e.load(e.pointer(each, loop.index, "u1"), "u1", TOGETHER))
        e.store(some, e.pointer(flags, loop.index, "u1"))


def _flag_columns(e: Emitter, marks: Marks, marked: str, column: Reg, columns: int, flags: str) -> None:
    """Flag the rows in which some columns of a batch are not all zero."""
    assert columns <= BITS + 1, "marks of more than two bytes"
    block = e.binary("udiv", column, e.const(BITS, "i8"))
    wanted = e.binary("shl", e.const((1 << columns) - 1, "i8"), e.binary("urem", column, e.const(BITS, "i8")))
    starts = [marks.in_column(e, marked, e.plus(block, i)) for i in range(2)]
    chosen = []
    for i in range(2):
        bits = e.op(f"trunc i64 {e.binary('lshr', wanted, e.const(i * BITS, 'i8')).text} to i8", "u1", 1)
        chosen.append(e.splat(bits, TOGETHER))
    with e.loop(0, marks.column, TOGETHER) as loop:
        some = e.const(0, "u1", TOGETHER)
        for start, bits in zip(starts, chosen, strict=True):
            found = e.load(e.pointer(start, loop.index, "u1"), "u1", TOGETHER)
            some = e.binary("or", some, e.binary("and", found, bits))
        e.store(
            bits_of(e, some, WORD), e.pointer(flags, e.binary("udiv", loop.index, e.const(BITS, "i8")), "u1")
        )


def bits_of(e: Emitter, vector: Reg, kind: str) -> Reg:
    """An integer with a bit for each lane of a vector of integers: whether it is not zero."""
    is_some = e.op(f"icmp ne {vector.type} {vector.text}, zeroinitializer", "b1", vector.lanes)
    bits = e.op(f"bitcast {is_some.type} {is_some.text} to i{vector.lanes}", kind, 1)
    if vector.lanes == 8 * BYTES[kind]:
        return bits
    return e.op(f"zext i{vector.lanes} {bits.text} to {type_of(kind, 1)}", kind, 1)


def list_flagged(e: Emitter, apart: int, flags: str, blocks: int, to: str) -> Reg:
    """List those of the multiples of a number that have a flag; how many there are."""
    zero = e.const(0, "i8")
    with e.loop(0, blocks, 1, [zero]) as loop:
        (count,) = loop.carry
        byte = e.op(f"zext i8 {e.load(e.pointer(flags, loop.index, 'u1'), 'u1').text} to i64", "i8", 1)
        chosen = e.load(e.pointer(_set_bits(e), e.times(byte, BITS), "u1"), "u1", BITS)
        steps = e.op(f"zext {chosen.type} {chosen.text} to <{BITS} x i32>", WORD, BITS)
        distances = e.binary("mul", steps, e.const(apart, WORD, BITS))
        first = e.op(f"trunc i64 {e.times(loop.index, BITS * apart).text} to i32", WORD, 1)
        e.store(e.binary("add", distances, e.splat(first, BITS)), e.pointer(to, count, WORD))
        loop.next = [e.binary("add", count, e.intrinsic("ctpop", byte))]
    return loop.carry[0]


def _set_bits(e: Emitter) -> str:
    """A table with the numbers of the bits that are set in each byte, and zeros behind them."""
    numbers = []
    for byte in range(1 << BITS):
        found = [bit for bit in range(BITS) if byte >> bit & 1]
        numbers += found + [0] * (BITS - len(found))
    values = ", ".join(f"i8 {each}" for each in numbers)
    e.declared.add(f"@set_bits = internal constant [{len(numbers)} x i8] [{values}], align {BITS}")
    return "@set_bits"


def _number(e: Emitter, condition: Reg) -> Reg:
    """1 if a condition holds, else 0."""
    return e.op(f"zext i1 {condition.text} to i64", "i8", 1)


def integer_of(kind: str) -> str:
    """The kind of integers that are as wide as floating-point numbers of a kind."""
    return "i4" if BYTES[kind] == 4 else "i8"


def sizes(e: Emitter, vector: Reg) -> Reg:
    """Unsigned integers that are ordered as the numbers are without their signs, NaN above all; 0 for 0."""
    whole = integer_of(vector.kind)
    bits = e.op(f"bitcast {vector.type} {vector.text} to {type_of(whole, vector.lanes)}", whole, vector.lanes)
    return e.binary("shl", bits, e.const(1, whole, vector.lanes))


def most_of(e: Emitter, sizes: Sequence[Reg]) -> Reg:
    """The largest of some such integers in each lane."""
    most = sizes[0]
    for each in sizes[1:]:
        most = e.intrinsic("umax", most, each)
    return most


def largest_of(e: Emitter, sizes: Reg, kind: str) -> Reg:
    """The number with the largest of some such integers."""
    most = e.reduce("umax", sizes)
    most = e.binary("lshr", most, e.const(1, most.kind))
    return e.op(f"bitcast {most.type} {most.text} to {type_of(kind, 1)}", kind, 1)


def word_at(e: Emitter, pointer: str) -> Reg:
    """A word of a list."""
    return e.op(f"zext i32 {e.load(pointer, WORD).text} to i64", "i8", 1)


def put_word(e: Emitter, value: Reg, pointer: str) -> None:
    """Write a word of a list."""
    e.store(e.op(f"trunc i64 {value.text} to i32", WORD, 1), pointer)
