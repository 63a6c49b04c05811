"""The loop that two steps have in common (see `crossing`), without what zeros of the batches leave as it is.

Where a column of a batch is zero, plain gradient descent changes nothing that belongs to it, and where a
column of the next batch is zero, there is nothing to add up. So for many steps the weights lie turned, in
panels of a few vectors' width, where what belongs to a column lies side by side, and loops go through lists
of the other columns. Here is which loops can be taken so, and how their weights lie; what is listed is in
`column_lists`, the loop in `column_loop`. Invariant: every sum is that of dot products with lanes along the
columns (see `dots`), which add up each lane by itself, for single steps compute those.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TYPE_CHECKING, NamedTuple

from rushlight.compile.contract import in_units
from rushlight.compile.crossing import Crossing, read_elsewhere
from rushlight.compile.emit import Emitter
from rushlight.compile.expr import Expr, kind_of
from rushlight.compile.group import Group
from rushlight.compile.layout import BETWEEN_PANELS
from rushlight.compile.llvm import vector_registers
from rushlight.compile.nonzero import integer_of, largest_of, most_of, sizes
from rushlight.compile.products import lanes_of
from rushlight.compile.program import Buffer, Window
from rushlight.compile.registers import Reg
from rushlight.compile.schedule import PART
from rushlight.compile.statements import Access, Product, Statement, same_everywhere
from rushlight.compile.turned import turn_blocks
from rushlight.compile.vmath import in_order

if TYPE_CHECKING:
    from rushlight.compile.plan import Plan

MOST_SUMS = 8  # vectors of them under way, with 16 registers; twice as many with more
FULL = 3, 4  # of the lanes that the rows of weights take, rows fill so many at least
# What an expression is: a multiple of the product; the weight; the weight and such a multiple, once; one
# number for all places, wherever it is read.
PRODUCT, WEIGHT, UPDATED, FIXED = "product", "weight", "updated", "fixed"


class ColumnPlan(NamedTuple):
    """How such a loop goes.

    Args:
        crossing: the two groups.
        window: the argument whose zeros are left out.
        weights: their buffer, and `rows` and `columns`: those of the batch.
        panels: memory for them in panels.
        kind, lanes: of vectors.
        vectors: of a panel's width.
    """

    crossing: Crossing
    window: Window
    weights: Buffer
    rows: int
    columns: int
    panels: Buffer
    kind: str
    lanes: int
    vectors: int

    @property
    def first(self) -> Product:
        """The product that begins a step."""
        assert self.crossing.first.product is not None
        return self.crossing.first.product

    @property
    def last(self) -> Product:
        """The product that ends it."""
        assert self.crossing.last.product is not None
        return self.crossing.last.product

    @property
    def batch(self) -> int:
        """How many rows a batch has."""
        return self.window.shape[0]

    @property
    def width(self) -> int:
        """How many rows of weights lie side by side in a panel."""
        return self.vectors * self.lanes

    @property
    def units(self) -> int:
        """How many panels there are."""
        return -(-self.rows // self.width)

    @property
    def blocks(self) -> int:
        """How many columns a lane has."""
        return -(-self.columns // self.lanes)

    def panel(self, e: Emitter, start: str, row: Reg) -> str:
        """Where the panel begins that has so many rows of weights before it."""
        return e.pointer(start, e.times(row, _room(self.columns, self.lanes)), self.kind)

    def lane(self, e: Emitter, panel: str, lane: Reg) -> str:
        """Where in a panel the columns of a lane begin: one after another."""
        return e.pointer(panel, e.times(lane, self.blocks * self.width), self.kind)

    def unit(self, e: Emitter, row: Reg) -> Reg:
        """The number of the panel."""
        return e.binary("udiv", row, e.const(self.width, "i8"))

    def each_panel(self, e: Emitter, piece: Callable[[Reg, int], None]) -> None:
        """`piece` for each panel of this thread, with its first row of weights and how many it has."""
        in_units(e, self.rows, self.width, PART, piece)


def _room(columns: int, lanes: int) -> int:
    """How many elements a row of weights takes in a panel."""
    return -(-columns // lanes) * lanes + BETWEEN_PANELS


def columns_of(plan: Plan, crossing: Crossing) -> ColumnPlan | None:
    """How the loop of two steps can go through columns; None if it cannot, or if they do not fill vectors."""
    first, last, weights = crossing.first.product, crossing.last.product, crossing.store.buffer
    assert first is not None and last is not None
    window = next((each for each in crossing.arguments if each.buffer is first.a.buffer), None)
    if window is None or not _multiply_rows(window, first, last):
        return None
    if not _are_alone(plan, crossing, window) or not _leaves_weights(
        crossing.last, crossing.store, plan.stored, plan.spared
    ):
        return None
    rows, columns, lanes = first.domain[1], first.k, lanes_of(first)
    if rows * FULL[1] < -(-rows // lanes) * lanes * FULL[0]:
        return None
    vectors = _vectors_of_panels(rows, lanes, window.shape[0])
    width = vectors * lanes
    size = -(-rows // width) * width * _room(columns, lanes)
    panels = plan.lasting_temporary(size, weights.dtype, "panels", 1)
    return ColumnPlan(
        crossing, window, weights, rows, columns, panels, kind_of(weights.dtype), lanes, vectors
    )


def _multiply_rows(window: Window, first: Product, last: Product) -> bool:
    """Whether a step begins with dot products of the rows of a batch, and ends with the gradient of those: a
    column's numbers are found in each row then, and what it is moved along lies side by side.
    """
    batch, columns = window.shape[0], first.k
    if window.size != batch * columns or (first.domain[0], last.k) != (batch, batch):
        return False
    apart = columns if batch > 1 else 0
    in_rows = (first.a.offset, first.a.strides, first.a_k) == (0, (apart, 0), 1)
    in_columns = (last.b.offset, last.b.strides, last.b_k) == (0, (0, 1), columns)
    slopes_are_regular = last.a.strides[0] == 1 and not last.a.picks
    return in_rows and in_columns and last.b.buffer is window.buffer and slopes_are_regular


def _are_alone(plan: Plan, crossing: Crossing, window: Window) -> bool:
    """Whether nothing but the two products and the update reads weights, which lie elsewhere meanwhile, and
    nothing but the products the batch, of which the loop has addresses of rows.
    """
    first, last, weights = crossing.first, crossing.last, crossing.store.buffer
    if weights.number in read_elsewhere(plan, crossing):
        return False
    begun = [access.buffer for each in first.statements for access in each.reads()]
    ended = [access.buffer for each in last.statements for access in each.reads()]
    assert last.product is not None
    return weights not in begun and window.buffer not in [*begun, *ended, last.product.a.buffer]


def _vectors_of_panels(rows: int, lanes: int, batch: int) -> int:
    """How many vectors wide panels are: as sums have registers for, if that leaves panels for two threads."""
    most = MOST_SUMS if vector_registers() == 16 else 2 * MOST_SUMS
    vectors = 1
    while 2 * vectors * batch <= most and 4 * vectors * lanes <= rows:
        vectors *= 2
    return vectors


def _leaves_weights(group: Group, store: Access, stored: Container[object], spared: Container[int]) -> bool:
    """Whether a group changes nothing that lasts where its product is zero, if all else is finite: weights to
    which a multiple of the product is added, and nothing else. It is added once, so that weights are moved as
    far as zeros would be (`column_loop` relies on it), and on no way further.
    """
    product = group.product
    assert product is not None
    known = {product.store: PRODUCT, store: WEIGHT}
    for each in group.statements:
        found = _made_of(each, known)
        lasts = each in stored and each.store.buffer.number not in spared
        if found is None or each.fold or each.add or (lasts and each.store != store):
            return False
        known[each.store] = found
    return known[store] == UPDATED and (product not in stored or product.store.buffer.number in spared)


def _made_of(statement: Statement, known: dict[Access, str]) -> str | None:
    """What a statement's value is; None if it is nothing of that."""
    fixed = same_everywhere(statement.expr, statement.loads, {each.buffer.number for each in known})
    found: dict[Expr, str | None] = {}
    for node in in_order([statement.expr]):
        parts = [found[each] for each in node.operands]
        if node in fixed:
            found[node] = FIXED
        elif node.op == "load":
            found[node] = known.get(statement.loads[node.args[0]])
        else:
            found[node] = _MADE.get((node.op, *parts))
    return found[statement.expr]


_MADE: dict[tuple[str | None, ...], str] = {
    ("neg", PRODUCT): PRODUCT,
    ("mul", PRODUCT, FIXED): PRODUCT,
    ("mul", FIXED, PRODUCT): PRODUCT,
    ("add", WEIGHT, PRODUCT): UPDATED,
    ("add", PRODUCT, WEIGHT): UPDATED,
    ("sub", WEIGHT, PRODUCT): UPDATED,
    ("fma", PRODUCT, FIXED, WEIGHT): UPDATED,
    ("fma", FIXED, PRODUCT, WEIGHT): UPDATED,
}


def emit_into_panels(columns: ColumnPlan) -> Emitter:
    """Copy weights to panels, and note how large those of each panel are: ``(panels, weights, bounds, first,
    last)``; units are panels.
    """
    e = Emitter()
    kind, lanes = columns.kind, columns.lanes

    def copy(first: Reg, count: int) -> None:
        panel = columns.panel(e, "%b0", first)
        with e.loop(0, columns.blocks * lanes * columns.width, lanes) as place:  # what is filled up
            e.store(e.const(0.0, kind, lanes), e.pointer(panel, place.index, kind))

        def addresses(column: Reg, row: Reg) -> tuple[str, str]:
            return _weight(e, columns, first, row, column), _block(e, columns, panel, row, column)

        steps = columns.columns, columns.blocks * columns.width
        turn_blocks(e, (columns.columns, count), kind, lanes, steps, addresses, None)
        e.store(_largest(e, columns, panel), e.pointer("%b2", columns.unit(e, first), kind))

    columns.each_panel(e, copy)
    return e


def emit_from_panels(columns: ColumnPlan) -> Emitter:
    """Copy panels to weights: ``(panels, weights, first, last)``; units are panels."""
    e = Emitter()

    def copy(first: Reg, count: int) -> None:
        panel = columns.panel(e, "%b0", first)

        def addresses(row: Reg, column: Reg) -> tuple[str, str]:
            return _block(e, columns, panel, row, column), _weight(e, columns, first, row, column)

        steps = columns.blocks * columns.width, columns.columns
        turn_blocks(e, (count, columns.columns), columns.kind, columns.lanes, steps, addresses, None)

    columns.each_panel(e, copy)
    return e


def _weight(e: Emitter, columns: ColumnPlan, first: Reg, row: Reg, column: Reg) -> str:
    """Where a weight is, given the first row of its panel and the row in that."""
    start = e.pointer("%b1", e.times(e.binary("add", first, row), columns.columns), columns.kind)
    return e.pointer(start, column, columns.kind)


def _block(e: Emitter, columns: ColumnPlan, panel: str, row: Reg, column: Reg) -> str:
    """Where it is in the panel, in a column that falls to the first lane."""
    block = e.binary("udiv", column, e.const(columns.lanes, "i8"))
    return e.pointer(e.pointer(panel, e.times(block, columns.width), columns.kind), row, columns.kind)


def _largest(e: Emitter, columns: ColumnPlan, panel: str) -> Reg:
    """How large the numbers of a panel are."""
    kind, lanes = columns.kind, columns.lanes
    none = e.const(0, integer_of(kind), lanes)
    with e.loop(0, columns.blocks * lanes * columns.width, lanes, [none]) as loop:
        size = sizes(e, e.load(e.pointer(panel, loop.index, kind), kind, lanes))
        loop.next = [most_of(e, [loop.carry[0], size])]
    return largest_of(e, loop.carry[0], kind)
