"""The loop through listed columns that ends a step and begins the next (see `crossing_columns`).

A column of a batch is left out only if zeros times what they meet are zeros: the gradient and the weights
must be finite. To see this in all weights would take as long as to use them, so each panel has a bound for
how large they are, to which every step adds how far it can move them at most. Invariant: the numbers are
those of the two groups as single steps compute them, but for the sign of a zero.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rushlight.compile.batches import ask_for_lines, lines_of_row
from rushlight.compile.body import Body, Place
from rushlight.compile.column_lists import largest_number, list_of
from rushlight.compile.crossing import kept_of
from rushlight.compile.crossing_columns import ColumnPlan
from rushlight.compile.emit import Emitter
from rushlight.compile.nonzero import WORD, largest_of, most_of, sizes, word_at
from rushlight.compile.registers import Reg

FAR = {"f4": 1e37, "f8": 1e306}  # weights below that are finite, whatever sums of them round to
# Parameters of the loop's function, after the buffers of the two groups: the weights, the lists of the batch
# that was, of the next one, and of all columns; the bounds; the data, and which of its rows come later.
EXTRAS = ("panels", "lists", "next_lists", "all", "bounds", "data", "later")


def emit_column_loop(
    columns: ColumnPlan,
    last_numbers: Sequence[int],
    first_numbers: Sequence[int],
    stored: Collection[object],
) -> Emitter:
    """The code of both groups as one: ``(buffers of the last group of a step, those of the first group of the
    next, EXTRAS, first, last)``; units are panels. Instead of a batch it gets the addresses of its rows, so
    nothing but the two products may read that, as `columns_of` sees to.
    """
    e = Emitter()
    loop = _Loop(e, columns, last_numbers, first_numbers, stored)
    columns.each_panel(e, loop.panel)
    return e


class _Loop:
    """Writes the loop: for each panel the columns of one lane after those of another."""

    def __init__(
        self,
        e: Emitter,
        columns: ColumnPlan,
        last_numbers: Sequence[int],
        first_numbers: Sequence[int],
        stored: Collection[object],
    ) -> None:
        self.e, self.columns = e, columns
        first, last = columns.crossing.first, columns.crossing.last
        names = [*last_numbers, *first_numbers, *EXTRAS]
        given = [f"%b{place}" for place in range(len(names))]
        ended, begun = len(last_numbers), len(last_numbers) + len(first_numbers)
        pointers = dict(zip(last_numbers, given[:ended], strict=True))
        next_pointers = dict(zip(first_numbers, given[ended:begun], strict=True))
        self.extra = dict(zip(EXTRAS, given[begun:], strict=True))
        self.batch = pointers[columns.window.buffer.number]
        self.next_batch = next_pointers[columns.window.buffer.number]
        self.update = Body(e, pointers, set())  # weights are stored here
        self.update.prepare(last.statements, columns.lanes, [columns.last.store.buffer])
        self.finish = Body(e, next_pointers, kept_of(first, stored))
        self.finish.prepare(first.statements, columns.lanes, [columns.first.store.buffer])
        self.keeps = columns.first in stored
        self.largest = largest_number(e, columns, self.extra["lists"])

    def panel(self, row: Reg, count: int) -> None:
        """All of the loop for one panel, which has so many rows of weights from a first one on."""
        e, columns, lanes = self.e, self.columns, self.columns.lanes
        unit = columns.unit(e, row)
        masks = [
            e.mask(min(count - v, lanes), lanes) if count - v < lanes else None
            for v in range(0, count, lanes)
        ]
        slopes = self._slopes(row, masks)
        is_small = self._move_bound(unit, slopes)
        lists, next_lists = (
            e.address_of(is_small, self.extra[each], self.extra["all"]) for each in ("lists", "next_lists")
        )
        panel = columns.panel(e, self.extra["panels"], row)
        size = columns.batch * len(masks) * lanes
        sums = e.stack(columns.kind, lanes, size)
        with e.loop(0, lanes) as loop:
            start = columns.lane(e, panel, loop.index)
            self._advance(loop.index, start, lists, slopes)
            made = self._multiply(loop.index, start, next_lists, len(masks))
            to = e.pointer(sums, e.times(loop.index, size), columns.kind)
            for which, each in enumerate(made):
                e.store(each, e.pointer(to, which * lanes, columns.kind))
            self._ask(unit, loop.index)
        self._add_lanes(sums, size)
        self._finish_rows(row, masks, sums)

    def _add_lanes(self, sums: str, size: int) -> None:
        """Add up the sums of all lanes as those of a vector are added: one half to the other."""
        e, kind, lanes = self.e, self.columns.kind, self.columns.lanes
        half = lanes
        while half := half // 2:
            with e.loop(0, half * size, lanes) as loop:
                to = e.pointer(sums, loop.index, kind)
                other = e.load(e.pointer(to, half * size, kind), kind, lanes)
                e.store(e.binary("fadd", e.load(to, kind, lanes), other), to)

    def _finish_rows(self, row: Reg, masks: Sequence[Reg | None], sums: str) -> None:
        """What follows the sums of each row of the next batch with some rows of weights."""
        e, kind, lanes, store = self.e, self.columns.kind, self.columns.lanes, self.columns.first.store
        with e.loop(0, self.columns.batch) as loop:
            start = e.pointer(sums, e.times(loop.index, len(masks) * lanes), kind)
            for v, mask in enumerate(masks):
                total = e.load(e.pointer(start, v * lanes, kind), kind, lanes)
                place = Place((loop.index, e.plus(row, v * lanes)), 1, lanes, mask)
                kept = [(store, total)] if self.keeps else []
                self.finish.run(self.columns.crossing.first.statements, place, {store: total}, kept)

    def _slopes(self, row: Reg, masks: Sequence[Reg | None]) -> list[list[Reg]]:
        """For each row of the batch what the columns of weights from a row on are to be moved along."""
        e, operand = self.e, self.columns.last.a
        kind, lanes, apart = self.columns.kind, self.columns.lanes, self.columns.last.a_k
        start = self.update.address(operand, Place((row, e.const(0, "i8")), -1, 1, None))
        return [
            [
                e.load(e.pointer(start, i * apart + v * lanes, kind), kind, lanes, mask)
                for v, mask in enumerate(masks)
            ]
            for i in range(self.columns.batch)
        ]

    def _move_bound(self, unit: Reg, slopes: Sequence[Sequence[Reg]]) -> Reg:
        """Move the bound of a panel as far as this step may move its weights; whether these are then surely
        finite, and what they are moved by is: with NaN anywhere it becomes NaN. If they are not, all columns
        are taken from then on until weights come into panels anew.
        """
        e, kind, lanes = self.e, self.columns.kind, self.columns.lanes
        steepest = largest_of(e, most_of(e, [sizes(e, each) for row in slopes for each in row]), kind)
        product = e.binary(
            "fmul", steepest, e.binary("fmul", self.largest, e.const(self.columns.batch, kind))
        )
        step = self._updated(e.const(0.0, kind, lanes), e.splat(product, lanes))
        step = e.op(f"extractelement {step.type} {step.text}, i64 0", kind, 1)
        at = e.pointer(self.extra["bounds"], unit, kind)
        bound = e.binary("fadd", e.load(at, kind), e.intrinsic("fabs", step))
        e.store(bound, at)
        return e.op(f"fcmp ole {bound.type} {bound.text}, {e.const(FAR[kind], kind).text}", "b1", 1)

    def _updated(self, weights: Reg, product: Reg) -> Reg:
        """What becomes of weights, given the product there."""
        columns, zero = self.columns, self.e.const(0, "i8")
        known = {columns.crossing.store: weights, columns.last.store: product}
        self.update.run(columns.crossing.last.statements, Place((zero, zero), 0, columns.lanes, None), known)
        return self.update.values[columns.crossing.store]

    def _rows(self, batch: str, lane: Reg) -> list[str]:
        """Where in each row of a batch the columns of a lane begin."""
        e, kind = self.e, self.columns.kind
        rows = [e.address_at(batch, e.const(i, "i8")) for i in range(self.columns.batch)]
        return [e.pointer(each, lane, kind) for each in rows]

    def _column(self, start: str, numbers: str, place: Reg, rows: Sequence[str]) -> tuple[str, list[Reg]]:
        """Where the weights of a listed column are, and its numbers, each in all lanes."""
        e, kind, lanes = self.e, self.columns.kind, self.columns.lanes
        far = word_at(e, e.pointer(numbers, place, WORD))
        found = [e.splat(e.load(e.pointer(row, far, kind), kind), lanes) for row in rows]
        return e.pointer(start, e.times(far, self.columns.vectors), kind), found

    def _advance(self, lane: Reg, start: str, lists: str, slopes: Sequence[Sequence[Reg]]) -> None:
        """Update what belongs to the listed columns of a lane."""
        e, kind, lanes = self.e, self.columns.kind, self.columns.lanes
        count, numbers = list_of(e, self.columns, lists, lane)
        rows = self._rows(self.batch, lane)
        with e.loop(e.const(0, "i8"), count) as loop:
            at, found = self._column(start, numbers, loop.index, rows)
            for v in range(len(slopes[0])):
                product = e.const(0.0, kind, lanes)
                for number, slope in zip(found, slopes, strict=True):
                    product = e.intrinsic("fma", number, slope[v], product)
                to = e.pointer(at, v * lanes, kind)
                e.store(self._updated(e.load(to, kind, lanes), product), to)

    def _multiply(self, lane: Reg, start: str, lists: str, vectors: int) -> list[Reg]:
        """The sums of the next batch's listed columns of a lane: for each row of the batch the vectors."""
        e, kind, lanes = self.e, self.columns.kind, self.columns.lanes
        count, numbers = list_of(e, self.columns, lists, lane)
        rows = self._rows(self.next_batch, lane)
        none = [e.const(0.0, kind, lanes)] * (len(rows) * vectors)
        with e.loop(e.const(0, "i8"), count, 1, none) as loop:
            at, found = self._column(start, numbers, loop.index, rows)
            weights = [e.load(e.pointer(at, v * lanes, kind), kind, lanes) for v in range(vectors)]
            pairs = [(number, weight) for number in found for weight in weights]
            loop.next = [
                e.intrinsic("fma", *pair, before) for pair, before in zip(pairs, loop.carry, strict=True)
            ]
        return loop.carry

    def _ask(self, unit: Reg, lane: Reg) -> None:
        """Have memory bring some lines of each row of a later batch nearer."""
        e, columns = self.e, self.columns
        lines, parts = lines_of_row(columns.window), columns.units * columns.lanes
        part = e.binary("add", e.times(unit, columns.lanes), lane)
        first, last = (
            e.binary("udiv", e.times(each, lines), e.const(parts, "i8")) for each in (part, e.plus(part, 1))
        )
        ask_for_lines(e, columns.window, self.extra["data"], self.extra["later"], (first, last))
