"""Contractions: which way each product is computed, what is packed for it, and its loops with epilogue.

Four ways (see `contract`): lanes along the columns, lanes along the rows (the transposed product), dot
products with lanes along the contracted index, and blocks on the matrix unit. `prepare` chooses by a count of
cycles and adds the copies that bring an operand into the form a way needs; `emit_product` writes the loops.
Invariant: the way depends on sizes and strides alone, and on whether there is a matrix unit.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Container, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from rushlight.compile import blocks, dots, nests, strips
from rushlight.compile.body import Body, Place, Spare
from rushlight.compile.contract import FAR_BYTES, Contraction, Matrix, Meanwhile, Part
from rushlight.compile.dots import Supply, lanes_along_k
from rushlight.compile.emit import Emitter
from rushlight.compile.expr import Symbols, kind_of
from rushlight.compile.layout import Panels, Shape
from rushlight.compile.llvm import has_low_tiles, has_matrix_unit, vector_bytes
from rushlight.compile.nests import lanes_along_j
from rushlight.compile.nonzero import Listed, Lists
from rushlight.compile.pieces import bytes_of, copies_of
from rushlight.compile.program import STATE, Buffer, Window
from rushlight.compile.registers import BYTES, Reg
from rushlight.compile.statements import Access, Product, Split, Statement, Work, at
from rushlight.compile.tiles import Stream, tile_of
from rushlight.compile.turned import turned_copy
from rushlight.compile.vmath import in_order

MANY_STEPS = 16  # of a sum
SHORT = 8  # operations
MANY_PRODUCTS = 1 << 21  # of numbers, that are worth splitting operands for the matrix unit

COLUMNS, ROWS, DOTS, DOTS_TURNED = "columns", "rows", "dots", "dots turned"
BLOCKS, BLOCKS_TURNED = "blocks", "blocks turned"


class Factor(NamedTuple):
    """An operand as the nest of loops sees it, left or right: a matrix of so many rows and columns."""

    access: Access
    row: int
    column: int
    rows: int
    columns: int

    def met_by_rows(self) -> tuple[int, int] | None:
        """How many rows and columns it has if its elements lie row by row from the start of their buffer."""
        whole = not self.access.offset and not self.access.picks
        return (self.rows, self.columns) if whole and (self.row, self.column) == (self.columns, 1) else None


def factors(product: Product, way: str) -> tuple[Factor, Factor]:
    """The left and the right operand, if the product is computed in this way."""
    m, n = product.domain[-2:]
    a = product.a, product.a.strides[-2], product.a_k, m, product.k
    b = product.b, product.b_k, product.b.strides[-1], product.k, n
    if way in (COLUMNS, DOTS, BLOCKS):
        return Factor(*a), Factor(*b)
    return _turned(Factor(*b)), _turned(Factor(*a))


def _turned(factor: Factor) -> Factor:
    return Factor(factor.access, factor.column, factor.row, factor.columns, factor.rows)


def lanes_of(product: Product) -> int:
    """Elements in a vector."""
    return vector_bytes() // BYTES[kind_of(product.store.buffer.dtype)]


def _tiled(rows: int, columns: int, k: int, lanes: int) -> float:
    """Cycles of register tiles with lanes along the columns."""
    mi, nv = tile_of(rows, columns, k, lanes)

    def cycles(height: int) -> float:
        per_step = max(height * nv / 2, (height + nv) / 2, 4 if k > 4 else 0)
        return height and k * per_step + height * nv

    whole, rest = divmod(rows, mi)
    return -(-columns // (nv * lanes)) * (whole * cycles(mi) + cycles(rest))


def _lines(product: Product, way: str) -> float:
    """Cycles because tiles find the numbers they broadcast on a line of its own for each step of k."""
    left = factors(product, way)[0]
    return 0.1 * left.rows * product.k if left.column > 1 and product.k >= MANY_STEPS else 0.0


def way_of(product: Product) -> tuple[str, bool]:
    """The cheapest way, and whether the operand in lanes has to be packed for it."""
    *batch, m, n = product.domain
    k, lanes = product.k, lanes_of(product)
    along_n, along_m = product.b.strides[-1], product.a.strides[-2]
    c_m, c_n = product.store.strides[-2:]
    found: list[tuple[float, str, bool]] = []
    apart_n = m * n if c_n not in (0, 1) else 0
    apart_m = m * n if c_m not in (0, 1) else 0
    columns = _tiled(m, n, k, lanes) + apart_n + _lines(product, COLUMNS)
    rows = _tiled(n, m, k, lanes) + apart_m + _lines(product, ROWS)
    if along_n == 1 or n == 1:
        found.append((columns, COLUMNS, False))
    elif not any(product.b.strides[:-2]):
        found.append((columns + k * n * 1.2, COLUMNS, True))
    if along_m == 1 or m == 1:
        found.append((rows, ROWS, False))
    elif not batch:
        found.append((rows + k * m * 1.2, ROWS, True))
    if product.a_k == 1 and product.b_k == 1:
        dots = m * n * (-(-k // lanes) * 0.7 + 7)
        found.append((dots + apart_n, DOTS, False))
        found.append((dots + apart_m + 0.5 * m * n, DOTS_TURNED, False))
    if not found:
        raise NotImplementedError("a batch of products of this layout is left to NumPy")
    cheapest, way, packed = min(found)
    if suits_the_unit(product) and blocks.cycles(m, n, k) < 0.8 * cheapest:
        return _way_in_blocks(product), False
    return way, packed


def suits_the_unit(product: Product) -> bool:
    """Whether a product can be computed in blocks, and is large enough to be worth it."""
    if len(product.domain) > 2 or kind_of(product.store.buffer.dtype) != "f4" or not has_matrix_unit():
        return False
    m, n = product.domain
    is_regular = all(
        not each.access.picks and 1 in (each.row, each.column) for each in factors(product, BLOCKS)
    )
    return is_regular and m * n * product.k >= MANY_PRODUCTS


def _way_in_blocks(product: Product) -> str:
    """Which operand is to be on the left: where one is split on the way that in whose rows numbers along k
    lie side by side; else the one along whose rows the result is contiguous.
    """
    m, n = product.domain
    if blocks.has_many_blocks(m, n):
        return BLOCKS_TURNED if product.store.strides[-1] != 1 and product.store.strides[-2] == 1 else BLOCKS
    a, b = factors(product, BLOCKS)
    if m >= n:  # a is split on the way
        return BLOCKS if a.column == 1 else BLOCKS_TURNED
    return BLOCKS_TURNED if b.row == 1 else BLOCKS


class Prepared(NamedTuple):
    """Work with packing added.

    Args:
        work: in order.
        ways: that of every product.
        plain: products that read copies, as they would be without them.
        copies: the copies, and the product that reads each.
    """

    work: list[Work]
    ways: dict[Product, str]
    plain: dict[Product, Product]
    copies: dict[Statement, Product]


def prepare(work: Sequence[Work], temporary: Callable[[int, object, str], Buffer]) -> Prepared:
    """Choose the way of every product, and add the packing it wants."""
    made = Prepared([], {}, {}, {})
    copied: set[Buffer] = set()
    for each in work:
        if isinstance(each, Product):
            way, packed = way_of(each)
            made.ways[each] = way
            before, copies = copy.copy(each), []
            if packed or _is_worth_strips(each, way, copied):
                copied.add(factors(each, way)[1].access.buffer)
                copies.append(_by_rows(each, way, False, temporary))
            if way in (BLOCKS, BLOCKS_TURNED):
                made.work.extend(_splits(each, way, temporary))
            if _is_worth_turning(each, way):
                copies.append(_by_rows(each, way, True, temporary))
            if copies:
                made.plain[each] = before
                made.copies.update((one, each) for one in copies)
                made.work.extend(copies)
        made.work.append(each)
    return made


def _is_worth_turning(product: Product, way: str) -> bool:
    """Whether tiles find the numbers they broadcast on too many pages: one for each step of k."""
    if way not in (COLUMNS, ROWS) or len(product.domain) > 2:
        return False
    left = factors(product, way)[0]
    large = product.domain[0] * product.domain[1] * BYTES[kind_of(product.store.buffer.dtype)] > FAR_BYTES
    return large and left.row == 1 and left.column > 1 and product.k >= MANY_STEPS


def _is_worth_strips(product: Product, way: str, copied: Container[Buffer]) -> bool:
    """Whether tiles would find their operand in lanes, row by row, too far apart too often. What lasts can be
    in panels (see `layout`), unless it was `copied` already.
    """
    batch = product.domain[:-2]
    if way not in (COLUMNS, ROWS) or (batch and (way == ROWS or any(product.b.strides[:-2]))):
        return False
    left, right = factors(product, way)
    buffer = right.access.buffer
    rows = math.prod(batch) * left.rows
    lasts = buffer.kind == STATE and buffer not in copied
    if rows < strips.MANY_ROWS or right.access.picks or lasts:
        return False
    is_apart = right.column == 1 and right.row >= right.columns
    return is_apart and strips.strips_for(right.rows, right.columns, kind_of(buffer.dtype)) is not None


def _splits(product: Product, way: str, temporary: Callable[[int, object, str], Buffer]) -> list[Statement]:
    """What splits the operands into pieces that are not split on the way; the product reads these."""
    m, n = product.domain
    found: list[Statement] = []
    wanted = blocks.split_before(m, n, product.k, way == BLOCKS)
    for is_a in (is_a for is_a, is_wanted in zip((True, False), wanted, strict=True) if is_wanted):
        is_left = is_a == (way == BLOCKS)
        factor = factors(product, way)[0 if is_left else 1]
        if not is_left:
            factor = _turned(factor)
        length, k = factor.rows, factor.columns
        dtype = factor.access.buffer.dtype
        copies = copies_of(length, k)
        aside = temporary(copies * bytes_of(length, k) // dtype.itemsize, dtype, "pieces")
        aside.copies, aside.in_pieces = copies, True
        source = Access(factor.access.buffer, factor.access.offset, (factor.row, factor.column))
        target = Access(aside, 0, (k, 1))
        value = Symbols().load(0, kind_of(dtype))
        found.append(Split((length, k), (source,), value, target, product.call, is_left=is_left))
        if is_a:
            product.a, product.a_k = Access(aside, 0, (k, 0)), 1
        else:
            product.b, product.b_k = Access(aside, 0, (0, k)), 1
    return found


def _by_rows(
    product: Product, way: str, is_left: bool, temporary: Callable[[int, object, str], Buffer]
) -> Statement:
    """The copy of the left or the right operand in which it lies row by row, as the nest of loops sees it;
    the product reads that from then on.
    """
    factor = factors(product, way)[0 if is_left else 1]
    rows, columns, buffer = factor.rows, factor.columns, factor.access.buffer
    domain = rows, columns
    layout = None if is_left else strips.strips_for(rows, columns, kind_of(buffer.dtype))
    size = layout.elements(columns) if layout else rows * columns
    aside = temporary(size, buffer.dtype, "turned" if is_left else "packed")
    source = at(Window(buffer, factor.access.offset, (), ()), (factor.row, factor.column), domain)
    target = at(Window(aside, 0, (), ()), (columns, 1), domain)
    along, apart = (columns, 1) if is_left else (1, columns)  # how far apart what follows along m or n, and k
    same = (0,) * (len(product.domain) - 2)
    if is_left == (way == COLUMNS):
        product.a, product.a_k = Access(aside, 0, (*same, along, 0)), apart
    else:
        product.b, product.b_k = Access(aside, 0, (*same, 0, along)), apart
    made = Statement(domain, (source,), Symbols().load(0, kind_of(buffer.dtype)), target, product.call)
    if factor.column == 1 or turned_copy([made]) is not None:  # other copies go by strides
        aside.panels = layout
    return made


def emit_product(
    e: Emitter,
    product: Product,
    way: str,
    statements: Sequence[Statement],
    pointers: dict[int, str],
    stored: set[Statement],
    store_product: bool,
    part: Part | None = None,
    spare: Spare | None = None,
    supply: Supply | None = None,
    panels: Mapping[int, Panels] = MappingProxyType({}),
    meanwhile: Meanwhile | None = None,
    listed: Listed | None = None,
) -> None:
    """The loops of a product, and at every finished piece the statements that follow it; with `supply`, dot
    products with what that gives instead of the right operand.
    """
    batch = product.domain[:-2]
    body = Body(e, pointers, stored, spare, panels)
    body.prepare(statements, lanes_of(product), [product.store.buffer])

    def nest(outer: tuple[Reg, ...]) -> None:
        def place_of(row: Reg, column: Reg, vector: int, lanes: int, mask: Reg | None) -> Place:
            return Place((*outer, row, column), len(outer) + vector, lanes, mask)

        def done(value: Reg, place: Place) -> None:
            first = [(product.store, value)] if store_product else []
            body.run(statements, place, {product.store: value}, first)

        zero = e.const(0, "i8")
        start = Place((*outer, zero, zero), -1, 1, None)
        c_m, c_n = product.store.strides[-2:]
        left, right = (_matrix(each, body, start) for each in factors(product, way))
        by_rows = way in (COLUMNS, DOTS, BLOCKS)
        sizes = _sizes(product, way, statements, panels)
        lies_turned = c_m == 1 and c_n != 1 if by_rows else c_n == 1 and c_m != 1
        spec = sizes._replace(
            a=left,
            b=right,
            turned=lies_turned and not sizes.in_turned_panels,
            meanwhile=meanwhile,
            listed=listed,
        )
        if has_low_tiles():  # larger ones gain nothing
            spec = spec._replace(is_short=_is_short(statements), either=body.either)

        def finish(row: Reg, column: Reg, value: Reg, mask: Reg | None, turned: bool) -> None:
            if by_rows:
                done(value, place_of(row, column, 0 if turned else 1, value.lanes, mask))
            else:
                done(value, place_of(column, row, 1 if turned else 0, value.lanes, mask))

        if way in (DOTS, DOTS_TURNED):
            lanes_along_k(e, spec, finish, None if batch else part, supply)
            return
        streams = [] if batch else _streams(spec, body, start, statements, way)
        if way in (COLUMNS, ROWS):
            lanes_along_j(e, spec, finish, None if batch else part, streams)
        else:
            blocks.in_blocks(e, spec, finish, part, streams)

    _batches(e, batch, (), nest, part)


def _is_short(statements: Sequence[Statement]) -> bool:
    """Whether statements take so few instructions that they may be written for each vector of a tile."""
    return sum(len(in_order([each.expr])) for each in statements) <= SHORT


def _matrix(factor: Factor, body: Body, start: Place) -> Matrix:
    """An operand where it lies."""
    buffer = factor.access.buffer
    panels = body.panels_of(buffer)
    if panels is not None and panels.is_turned:  # the turned matrix is what it is an operand as
        panels = panels._replace(is_turned=False)
    address = body.address(factor.access, start)
    return Matrix(address, factor.row, factor.column, panels, buffer.in_pieces)


def _streams(
    spec: Contraction, body: Body, start: Place, statements: Sequence[Statement], way: str
) -> list[Stream]:
    """What of a product comes from far away in long rows."""
    row, column = (0, 1) if way in (COLUMNS, BLOCKS) else (1, 0)
    read = [
        each for each in body.streams(statements) if (each.strides[row], each.strides[column]) == (spec.n, 1)
    ]
    found = []
    if sum(each.buffer.dtype.itemsize for each in read) * spec.m * spec.n > FAR_BYTES:
        for each in read:
            kind, panels = kind_of(each.buffer.dtype), body.panels_of(each.buffer)
            if panels is not None or not spec.in_panels:
                found.append(Stream(body.pointers[each.buffer.number], spec.n, kind, panels))
    if way in (BLOCKS, BLOCKS_TURNED):
        return found
    by_rows = spec.a.panels is None and (spec.a.row, spec.a.column) == (spec.k, 1)
    if by_rows and not spec.in_panels and spec.m * spec.k * BYTES[spec.kind] > FAR_BYTES:
        found.append(Stream(spec.a.pointer, spec.k, spec.kind))
    return found


def lists_of(
    product: Product, way: str, statements: Sequence[Statement], panels: Mapping[int, Panels | Shape]
) -> Lists | None:
    """The lists of steps that are worth taking, if the product could go by such (see `nonzero`)."""
    if way not in (COLUMNS, ROWS) or len(product.domain) > 2 or product.k < MANY_STEPS:
        return None
    return nests.lists_for(_sizes(product, way, statements, panels))


def product_units(
    product: Product, way: str, statements: Sequence[Statement], panels: Mapping[int, Panels | Shape]
) -> int:
    """Into how many units a product can be split among threads."""
    if len(product.domain) > 2:
        return product.domain[0]
    sizes = _sizes(product, way, statements, panels)
    if way in (BLOCKS, BLOCKS_TURNED):
        return blocks.units_of(sizes, factors(product, way)[0].access.buffer.in_pieces)
    return nests.units_of(sizes) if way in (COLUMNS, ROWS) else dots.units_of(sizes)


def _sizes(
    product: Product, way: str, statements: Sequence[Statement], panels: Mapping[int, Panels | Shape]
) -> Contraction:
    """A product's sizes alone."""
    m, n = product.domain[-2:]
    lanes, kind = lanes_of(product), kind_of(product.store.buffer.dtype)
    rows, columns = (m, n) if way in (COLUMNS, DOTS, BLOCKS) else (n, m)
    nothing = Matrix("", 0, 0)
    spec = Contraction(rows, columns, product.k, nothing, nothing, kind, lanes)
    if way not in (COLUMNS, ROWS):
        return spec
    right = factors(product, way)[1].access.buffer
    beside = {access.buffer.number for each in statements for access in (*each.loads, each.store)}
    found = [panels[number] for number in beside if number in panels]
    return spec._replace(
        in_panels=bool(found) or right.number in panels,
        b_in_panels=right.number in panels,
        in_strips=right.panels is not None,
        in_turned_panels=any(each.is_turned for each in found),
    )


def _batches(
    e: Emitter,
    batch: Sequence[int],
    outer: tuple[Reg, ...],
    nest: Callable[[tuple[Reg, ...]], None],
    part: Part | None = None,
) -> None:
    if not batch:
        nest(outer)
        return
    first, last = part if part is not None else (0, batch[0])
    with e.loop(first, last) as loop:
        _batches(e, batch[1:], (*outer, loop.index), nest)
