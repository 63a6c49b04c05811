"""Contractions: which way each product is computed, what is packed for it, and its loops with epilogue.

Three ways (see `contract`): lanes along the columns, lanes along the rows (the transposed product), and dot
products with lanes along the contracted index. `prepare` chooses by a count of cycles and adds the copies
that bring an operand into the order a way needs; `emit_product` writes the loops. Invariant: the way depends
on sizes and strides alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rushlight.compile.body import Body, Place, Spare
from rushlight.compile.contract import (
    Contraction,
    Matrix,
    Part,
    Stream,
    Supply,
    lanes_along_j,
    lanes_along_k,
    tile_of,
    units_of,
)
from rushlight.compile.emit import BYTES, Emitter, Reg
from rushlight.compile.expr import Symbols, kind_of
from rushlight.compile.llvm import vector_bytes
from rushlight.compile.program import Buffer
from rushlight.compile.statements import Access, Product, Statement, Work

FAR_BYTES = 1 << 19  # more than that does not stay in the second cache until it is wanted again

COLUMNS, ROWS, DOTS, DOTS_TURNED = "columns", "rows", "dots", "dots turned"


def lanes_of(product: Product) -> int:
    """Elements in a vector."""
    return vector_bytes() // BYTES[kind_of(product.store.buffer.dtype)]


def _tiled(rows: int, columns: int, k: int, lanes: int) -> float:
    """Cycles of register tiles with lanes along the columns."""
    mi, nv = tile_of(rows, columns, k, lanes)
    tiles = -(-rows // mi) * -(-columns // (nv * lanes))
    per_step = max(mi * nv / 2, (mi + nv) / 2, 4 if k > 4 else 0)
    return tiles * (k * per_step + mi * nv)


def way_of(product: Product) -> tuple[str, bool]:
    """The cheapest way, and whether the operand in lanes has to be packed for it."""
    *batch, m, n = product.domain
    k, lanes = product.k, lanes_of(product)
    along_n, along_m = product.b.strides[-1], product.a.strides[-2]
    c_m, c_n = product.store.strides[-2:]
    found: list[tuple[float, str, bool]] = []
    apart_n = m * n if c_n not in (0, 1) else 0
    apart_m = m * n if c_m not in (0, 1) else 0
    columns = _tiled(m, n, k, lanes) + apart_n
    rows = _tiled(n, m, k, lanes) + apart_m
    if along_n == 1 or n == 1:
        found.append((columns, COLUMNS, False))
    elif not batch:
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
    _, way, packed = min(found)
    return way, packed


def prepare(
    work: Sequence[Work], temporary: Callable[[int, object, str], Buffer]
) -> tuple[list[Work], dict[Product, str]]:
    """The work with packing added, and the way of every product."""
    made: list[Work] = []
    ways: dict[Product, str] = {}
    for each in work:
        if isinstance(each, Product):
            way, packed = way_of(each)
            if packed:
                copy = _packed(each, way, temporary)
                made.append(copy)
            ways[each] = way
        made.append(each)
    return made, ways


def _packed(product: Product, way: str, temporary: Callable[[int, object, str], Buffer]) -> Statement:
    """The copy that puts an operand's lanes side by side; the product reads it from then on."""
    m, n = product.domain
    operand, along, step = (
        (product.b, product.b.strides[1], product.b_k)
        if way == COLUMNS
        else (product.a, product.a.strides[0], product.a_k)
    )
    extent = n if way == COLUMNS else m
    aside = temporary(product.k * extent, operand.buffer.dtype, "packed")
    kind = kind_of(operand.buffer.dtype)
    domain = (product.k, extent)
    source = Access(operand.buffer, operand.offset, (step if product.k > 1 else 0, along))
    target = Access(aside, 0, (extent if product.k > 1 else 0, 1))
    if way == COLUMNS:
        product.b, product.b_k = Access(aside, 0, (0, 1)), extent
    else:
        product.a, product.a_k = Access(aside, 0, (1, 0)), extent
    return Statement(domain, (source,), Symbols().load(0, kind), target, product.call)


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
) -> None:
    """The loops of a product, and at every finished piece the statements that follow it; with `supply`, dot
    products with what that gives instead of the right operand.
    """
    *batch, m, n = product.domain
    kind = kind_of(product.store.buffer.dtype)
    body = Body(e, pointers, stored, spare)
    body.prepare(statements, lanes_of(product), [product.store.buffer])

    def nest(outer: tuple[Reg, ...]) -> None:
        def place_of(row: Reg, column: Reg, vector: int, lanes: int, mask: Reg | None) -> Place:
            return Place((*outer, row, column), len(outer) + vector, lanes, mask)

        def done(value: Reg, place: Place) -> None:
            first = [(product.store, value)] if store_product else []
            body.run(statements, place, {product.store: value}, first)

        zero = e.const(0, "i8")
        start = Place((*outer, zero, zero), -1, 1, None)
        a, b = body.address(product.a, start), body.address(product.b, start)
        (a_m, a_k), (b_k, b_n) = (
            (product.a.strides[-2], product.a_k),
            (product.b_k, product.b.strides[-1]),
        )
        lanes = lanes_of(product)
        c_m, c_n = product.store.strides[-2:]

        if way in (COLUMNS, DOTS):
            left, right = Matrix(a, a_m, a_k), Matrix(b, b_k, b_n)
            spec = Contraction(m, n, product.k, left, right, kind, lanes, c_m == 1 and c_n != 1)

            def finish(row: Reg, column: Reg, value: Reg, mask: Reg | None, turned: bool) -> None:
                done(value, place_of(row, column, 0 if turned else 1, value.lanes, mask))
        else:
            left, right = Matrix(b, b_n, b_k), Matrix(a, a_k, a_m)
            spec = Contraction(n, m, product.k, left, right, kind, lanes, c_n == 1 and c_m != 1)

            def finish(row: Reg, column: Reg, value: Reg, mask: Reg | None, turned: bool) -> None:
                done(value, place_of(column, row, 1 if turned else 0, value.lanes, mask))

        if way in (COLUMNS, ROWS):
            streams = [] if batch else _streams(spec, body, start, statements, way)
            lanes_along_j(e, spec, finish, part, streams)
        else:
            lanes_along_k(e, spec, finish, part, supply)

    _batches(e, batch, (), nest)


def _streams(
    spec: Contraction, body: Body, start: Place, statements: Sequence[Statement], way: str
) -> list[Stream]:
    """What of a product comes from far away in long rows."""
    row, column = (0, 1) if way == COLUMNS else (1, 0)
    read = [
        each for each in body.streams(statements) if (each.strides[row], each.strides[column]) == (spec.n, 1)
    ]
    found = []
    if sum(each.buffer.dtype.itemsize for each in read) * spec.m * spec.n > FAR_BYTES:
        found += [Stream(body.address(each, start), spec.n, kind_of(each.buffer.dtype)) for each in read]
    if (spec.a.row, spec.a.column) == (spec.k, 1) and spec.m * spec.k * BYTES[spec.kind] > FAR_BYTES:
        found.append(Stream(spec.a.pointer, spec.k, spec.kind))
    return found


def product_units(product: Product, way: str) -> int:
    """Into how many units a product can be split among threads."""
    if len(product.domain) > 2:
        return 1
    return units_of(_sizes(product, way), way in (DOTS, DOTS_TURNED))


def _sizes(product: Product, way: str) -> Contraction:
    """A product's sizes alone."""
    m, n = product.domain
    lanes, kind = lanes_of(product), kind_of(product.store.buffer.dtype)
    rows, columns = (m, n) if way in (COLUMNS, DOTS) else (n, m)
    nothing = Matrix("", 0, 0)
    return Contraction(rows, columns, product.k, nothing, nothing, kind, lanes)


def _batches(
    e: Emitter, batch: Sequence[int], outer: tuple[Reg, ...], nest: Callable[[tuple[Reg, ...]], None]
) -> None:
    if not batch:
        nest(outer)
        return
    with e.loop(0, batch[0]) as loop:
        _batches(e, batch[1:], (*outer, loop.index), nest)
