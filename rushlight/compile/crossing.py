"""Where one step's last loops and the next step's first go over the same weights.

With batches of a few rows a step is little more than reading its weights and writing them back. What the
last group of a step writes, the first product of the next reads again, after all of it has left the nearest
cache. Where nothing comes between, the two are one loop (`emit_both`), which ``run_crossing`` runs between
steps (see `many_crossing`). Invariant: every element is computed as the two groups would have done it, from
the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container
from typing import TYPE_CHECKING, Any, NamedTuple

from rushlight.compile.body import Body, Place
from rushlight.compile.dots import SUPPLIED_COLUMNS, SUPPLIED_ROWS
from rushlight.compile.emit import Emitter
from rushlight.compile.expr import kind_of
from rushlight.compile.group import Group, Touch
from rushlight.compile.products import COLUMNS, DOTS, emit_product, lanes_of
from rushlight.compile.program import ARGUMENT, STATE, TEMPORARY, Window
from rushlight.compile.registers import Reg
from rushlight.compile.schedule import PART
from rushlight.compile.statements import Access, Product, Statement

if TYPE_CHECKING:
    from rushlight.compile.plan import Plan

UNIT = SUPPLIED_COLUMNS
ON_STACK = 64 << 10  # bytes of a batch; each thread has that of its step there, and the next one
NEAREST = 48 << 10  # bytes of the nearest cache: weights that fit stay there anyway


class GroupCall(NamedTuple):
    """How a group is called: its function, the numbers of the buffers it is given, its units of work."""

    name: str
    numbers: list[int]
    units: int


class Crossing(NamedTuple):
    """Two groups that can be one loop.

    `first` begins a step with a product of the batch and weights; `last` ends it with a product whose
    epilogue stores these weights at `store`. `arguments` are what `first` reads of a step's batch.
    """

    first: Group
    last: Group
    store: Access
    arguments: list[Window]


def crossing_of(plan: Plan, offsets: dict[int, int], live: set[int]) -> Crossing | None:
    """The two groups of a plan, if it has such.

    Args:
        plan: with all groups in order.
        offsets: of temporaries in the block they share.
        live: numbers of the buffers that change from step to step.
    """
    if len(plan.groups) < 2:
        return None
    last = plan.groups[-1]
    if plan.split[last] < 2 or plan.fades(last):
        return None
    for place, first in enumerate(plan.groups[:-1]):
        store = _shared(plan, first, last)
        if store is not None and not plan.fades(first) and _is_movable(plan, place, offsets, live):
            read = {each.number for each in first.touches()}
            found = [each for each in plan.program.arguments if each.buffer.number in read]
            if sum(each.nbytes for each in found) <= ON_STACK:
                return Crossing(first, last, store, found)
    return None


def is_rest_alone(plan: Plan, crossing: Crossing) -> bool:
    """Whether threads share no other groups of a step."""
    return all(plan.split[each] == 1 for each in plan.groups if each not in (crossing.first, crossing.last))


def read_elsewhere(plan: Plan, crossing: Crossing) -> set[int]:
    """The numbers of the buffers that other groups touch."""
    rest = (each for each in plan.groups if each not in (crossing.first, crossing.last))
    return {number for each in rest for number in each.touched} | plan.kept


def _shared(plan: Plan, first: Group, last: Group) -> Access | None:
    """Where `last` stores the weights that `first` reads; None where it is not so."""
    reader, writer = first.product, last.product
    if reader is None or writer is None or plan.split[first] < 2:
        return None
    if plan.ways[reader] != DOTS or plan.ways[writer] != COLUMNS or len(reader.domain) != 2:
        return None
    rows, columns = reader.domain[1], reader.k
    weights = reader.b.buffer
    whole = (reader.b.offset, reader.b.strides[1], reader.b_k) == (0, columns, 1)
    if weights.kind != STATE or not whole or writer.domain != (rows, columns) or writer.b.strides[1] != 1:
        return None
    if reader.domain[0] > SUPPLIED_ROWS or writer.k > SUPPLIED_ROWS or weights.nbytes <= NEAREST:
        return None
    stores = [each.store for each in last.statements if each.store.buffer is weights]
    alike = [(each.offset, each.strides) for each in stores] == [(0, (columns, 1))]
    same_kind = weights.dtype == writer.store.buffer.dtype == reader.store.buffer.dtype
    return stores[0] if alike and same_kind else None


def _is_movable(plan: Plan, place: int, offsets: dict[int, int], live: set[int]) -> bool:
    """Whether the group at a place can run before all of its step, and while the last group of the step
    before still does.
    """
    first, last = plan.groups[place], plan.groups[-1]
    weights = first.product.b.buffer.number if first.product is not None else -1
    own = {each.number for each in first.touches() if each.writes}
    reads = [each for each in first.touches() if not each.writes and each.number not in own]
    writes = [each for each in first.touches() if each.writes]
    for each in reads:
        if plan.buffers[each.number].kind not in (ARGUMENT, STATE) or each.number in live:
            return False
    if any(plan.buffers[number].kind != TEMPORARY or number in plan.kept for number in own):
        return False
    earlier = [touch for group in plan.groups[:place] for touch in group.touches()]
    if _meets(plan, offsets, writes, [*earlier, *last.touches()]):
        return False
    changes = [each for each in earlier if each.writes]
    changes += [each for each in last.touches() if each.writes and each.number != weights]
    return not _meets(plan, offsets, reads, changes)


def _meets(plan: Plan, offsets: dict[int, int], some: list[Touch], others: list[Touch]) -> bool:
    """Whether some accesses may touch memory that others do."""

    def places(touches: list[Touch]) -> list[tuple[Any, int, int]]:
        return [plan.place(each, offsets) for each in touches]

    theirs = places(others)
    return any(
        memory == other and low < other_high and other_low < high
        for memory, low, high in places(some)
        for other, other_low, other_high in theirs
    )


def emit_both(
    crossing: Crossing,
    last_numbers: list[int],
    first_numbers: list[int],
    stored: Collection[Any],
    spared: Container[int],
) -> Emitter:
    """The code of both groups as one; its parameters ``%b0``, ``%b1``, ... are the buffers of the last group
    of a step, then those of the first group of the next. A unit is so many rows of weights: `UNIT`.
    """
    e = Emitter()
    first, last = crossing.first, crossing.last
    assert first.product is not None and last.product is not None
    # It never is the last step of a run, whose gradients somebody may look at.
    stored = {each for each in stored if each.store.buffer.number not in spared}
    pointers = {number: f"%b{place}" for place, number in enumerate(last_numbers)}
    body = Body(e, pointers, kept_of(last, stored))
    updates = _Updates(e, body, last.product, last.statements, last.product in stored, crossing.store)
    pointers = {number: f"%b{len(last_numbers) + place}" for place, number in enumerate(first_numbers)}
    kept, keeps = kept_of(first, stored), first.product in stored
    emit_product(e, first.product, DOTS, first.statements, pointers, kept, keeps, PART, supply=updates.rows)
    return e


def kept_of(group: Group, stored: Container[object]) -> set[Statement]:
    """The statements of a group whose values are to be in memory."""
    return {each for each in group.statements if each in stored}


class _Updates:
    """Writes a product with its epilogue vector by vector, and gives what it stores at each place."""

    def __init__(
        self,
        e: Emitter,
        body: Body,
        product: Product,
        statements: list[Statement],
        keeps: bool,
        store: Access,
    ) -> None:
        self.e, self.body, self.product, self.statements = e, body, product, statements
        self.keeps, self.store = keeps, store
        self.kind, self.lanes = kind_of(product.store.buffer.dtype), lanes_of(product)
        body.prepare(statements, self.lanes, [product.store.buffer])

    def rows(self, row: Reg, count: int) -> Callable[[int, Reg, Reg | None], Reg]:
        """Begin with some neighbouring rows; what comes back gives one's values from a column on."""
        e, product, kind, lanes = self.e, self.product, self.kind, self.lanes
        zero = e.const(0, "i8")
        left = self.body.address(product.a, Place((row, zero), -1, 1, None))
        right = self.body.address(product.b, Place((zero, zero), -1, 1, None))
        numbers = []
        for i in range(count):
            for k in range(product.k):
                at = e.pointer(left, i * product.a.strides[0] + k * product.a_k, kind)
                numbers.append(e.splat(e.load(at, kind), lanes))
        vectors: list[Reg] = []

        def value(i: int, column: Reg, mask: Reg | None) -> Reg:
            if i == 0:
                vectors.clear()
                start = e.pointer(right, column, kind)
                for k in range(product.k):
                    vectors.append(e.load(e.pointer(start, k * product.b_k, kind), kind, lanes, mask))
            total = e.const(0.0, kind, lanes)
            for k, vector in enumerate(vectors):
                total = e.intrinsic("fma", numbers[i * product.k + k], vector, total)
            at = row if i == 0 else e.binary("add", row, e.const(i, "i8"))
            place = Place((at, column), 1, lanes, mask)
            first = [(product.store, total)] if self.keeps else []
            self.body.run(self.statements, place, {product.store: total}, first)
            made = self.body.values[self.store]
            return made if mask is None else e.select(mask, made, e.const(0.0, kind, lanes))

        return value
