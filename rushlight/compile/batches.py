"""How batches come to a step that is one of many.

Batches are picked from all over the data, which lies in main memory: rows that are fetched when a step begins
keep it waiting. So a large product of each step asks for the next batch, some lines with every finished tile
of its result. And each of a few threads has a copy of the batch of its own, unless that is large: all of them
read nearly all of it, and a core takes its time to get what another one has written. Invariant: asking
neither reads nor writes, so that no number depends on it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rushlight.compile.contract import FAR_BYTES, Meanwhile
from rushlight.compile.emit import Emitter
from rushlight.compile.group import Group
from rushlight.compile.nonzero import Lists, Marks
from rushlight.compile.products import DOTS, DOTS_TURNED, Factor, factors, lists_of
from rushlight.compile.program import Buffer, Window
from rushlight.compile.registers import Reg
from rushlight.compile.tiles import NEAR
from rushlight.storage import LINE

if TYPE_CHECKING:
    from rushlight.compile.panels import Arrangement
    from rushlight.compile.plan import Plan

AT_ONCE = 16  # lines, for which a core can ask without waiting
COPIES = 2  # of a batch; if there are more threads, they share it


def row_bytes(window: Window) -> int:
    """How many bytes a row of a batch takes."""
    return window.nbytes // window.shape[0]


def lines_of_row(window: Window) -> int:
    """How many lines of memory it takes, beginning at one."""
    return -(-row_bytes(window) // LINE)


def row_at(e: Emitter, window: Window, data: str, numbers: str, place: Reg) -> str:
    """The address of a row of the data, whose number stands at a place among `numbers`."""
    number = e.load(e.pointer(numbers, place, "i8"), "i8")
    return e.pointer(data, e.binary("mul", number, e.const(row_bytes(window), "i8")), "u1")


def ask_for_lines(e: Emitter, window: Window, data: str, numbers: str, lines: tuple[Reg, Reg]) -> None:
    """Have memory bring some lines of each row of a batch nearer."""
    with e.loop(0, window.shape[0]) as each:
        row = row_at(e, window, data, numbers, each.index)
        with e.loop(*lines) as line:
            e.prefetch(e.pointer(row, e.binary("mul", line.index, e.const(LINE, "i8")), "u1"), near=2)


class Coming(NamedTuple):
    """The next batch of an argument. `addresses` is the buffer that says where its rows are. Its first word
    is how many threads ask for the whole batch: all if each has a copy of its own, else 1, and they share it.
    """

    window: Window
    addresses: Buffer

    def ask(self, e: Emitter, addresses: str, part: Sequence[Reg], whole: int) -> None:
        """Ask for the lines that fall to a part of something, given where it begins and ends."""
        rows, lines = self.window.shape[0], lines_of_row(self.window)
        pieces = -(-lines // AT_ONCE)  # of a row
        times = e.load(addresses, "i8")
        table = e.pointer(addresses, 1, "i8")
        first, last = (
            e.binary("udiv", e.times(e.binary("mul", at, times), rows * pieces), e.const(whole, "i8"))
            for at in part
        )
        with e.loop(first, last) as piece:
            row, place = (e.binary(op, piece.index, e.const(pieces, "i8")) for op in ("udiv", "urem"))
            start = e.address_at(table, e.binary("urem", row, e.const(rows, "i8")))
            together = -(-lines // pieces)
            start = e.pointer(start, e.times(place, together * LINE), "u1")
            for line in range(together):
                e.prefetch(e.pointer(start, line * LINE, "u1"), near=2)


class Listing(NamedTuple):
    """The steps that a product of an argument is to take (see `nonzero`), whether it is one of the turned
    batch, the buffer for the lists, and that for the marks from which they are made.
    """

    lists: Lists
    is_turned: bool
    window: Window
    buffer: Buffer
    marks: Buffer


def marks_of(window: Window) -> Marks:
    """The marks of a batch."""
    return Marks(window.shape[0], window.size // window.shape[0])


class Batches(NamedTuple):
    """What happens to the arguments of a step that is one of many.

    Args:
        own: by the number of an argument the buffer with copies of it for threads; all arguments have one, or
            none has.
        coming: what is asked for.
        asking: the group whose loops do it.
        listed: by the group of a product what is listed for it.
    """

    own: Mapping[int, Buffer]
    coming: Sequence[Coming] = ()
    asking: Group | None = None
    listed: Mapping[Group, Listing] = MappingProxyType({})

    def listings(self, window: Window) -> list[Listing]:
        """What is listed of an argument."""
        return [each for each in self.listed.values() if each.window is window]

    def meanwhile(self, group: Group, e: Emitter, pointers: Mapping[int, str]) -> Meanwhile | None:
        """What to do with every finished tile of a group's product, if anything is to be done."""
        if group is not self.asking:
            return None
        rows, columns = group.domain

        def ask(*part: Reg) -> None:
            for each in self.coming:
                each.ask(e, pointers[each.addresses.number], part, rows * columns)

        return ask


def batches(plan: Plan, arrangement: Arrangement) -> Batches:
    """What happens to the arguments of a plan, given how all else lies."""
    arguments = plan.program.arguments
    own: dict[int, Buffer] = {}
    written = {each.number for group in plan.groups for each in group.touches() if each.writes}
    shared = any(each.buffer.number in plan.kept | written for each in arguments)
    if not shared and sum(each.nbytes for each in arguments) <= FAR_BYTES // 2:
        for each in arguments:
            own[each.buffer.number] = plan.lasting_temporary(each.buffer.size, each.dtype, "batch", COPIES)
    sizes = {
        group: group.domain[0] * group.domain[1] * group.product.k
        for group in plan.groups
        if group.product is not None
        and len(group.domain) == 2
        and plan.ways[group.product] not in (DOTS, DOTS_TURNED)
        and any(each.store.buffer.number not in plan.spared for each in group.storing(plan.stored))
    }
    listed = _listed(plan, arrangement, own)
    windows = [each for each in arguments if each.nbytes > NEAR]  # others come as soon as they are asked for
    if not windows or not sizes:
        return Batches(own, listed=listed)
    # Of the products that take long the one with most tiles, so that each asks for few lines.
    longest = max(sizes.values())
    large = [each for each, size in sizes.items() if 4 * size >= longest]
    coming = []
    for window in windows:
        copies = COPIES if window.buffer.number in own else 1
        size = window.shape[0] + 1
        coming.append(Coming(window, plan.lasting_temporary(size, np.dtype(np.int64), "coming", copies)))
    return Batches(own, coming, max(large, key=lambda each: each.domain[0] * each.domain[1]), listed)


def _listed(plan: Plan, arrangement: Arrangement, own: Container[int]) -> dict[Group, Listing]:
    """What is listed for products of arguments of which threads have copies."""
    found: dict[Group, Listing] = {}
    marks: dict[int, Buffer] = {}
    for group in plan.groups:
        product = arrangement.product(group)
        if product is None:
            continue
        way = arrangement.ways[product]
        left = factors(product, way)[0]
        number = left.access.buffer.number
        lists = lists_of(product, way, group.statements, arrangement.panels)
        if lists is None or number not in own:
            continue
        window = next(each for each in plan.program.arguments if each.buffer.number == number)
        is_turned = _is_turned(left, window)
        if is_turned is None:
            continue
        if number not in marks:
            size = marks_of(window).size
            marks[number] = plan.lasting_temporary(size, np.dtype(np.uint8), "marks", COPIES)
        buffer = plan.lasting_temporary(lists.size, np.dtype(np.int32), "nonzero", COPIES)
        found[group] = Listing(lists, is_turned, window, buffer, marks[number])
    return found


def _is_turned(left: Factor, window: Window) -> bool | None:
    """Whether an operand is a whole turned batch; None if it is not the whole batch row by row, either."""
    rows, columns = marks_of(window)
    if left.access.offset or left.access.picks:
        return None
    if left[1:] == (columns, 1, rows, columns):
        return False
    return True if left[1:] == (1, columns, columns, rows) else None
