"""Strands: rows of a batch that one thread can take from the first layer to the last.

What a layer does for a row needs only that row of the layer before. So where a batch has many rows and the
layers are small, threads need not meet between them: the batch is cut into strands of neighbouring rows, and
what is computed row by row gets a dimension for these, its first. A sum over all rows, such as the gradient
of weights, becomes one for each strand, and these are added up: no more than that goes from core to core.
Invariant: into what a batch is cut depends on sizes alone, and with it the order of summation.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from rushlight.compile.expr import Symbols, kind_of
from rushlight.compile.products import suits_the_unit
from rushlight.compile.program import STATE, Buffer, Window
from rushlight.compile.statements import Access, Product, Statement, Work, at, over
from rushlight.compile.vmath import in_order
from rushlight.ops.writes import row_major_strides

COUNT = 4  # strands
FEWEST_ROWS = 32  # of a strand
LARGEST_SUM = 1 << 15  # bytes of what is summed over all rows
WORTH_CUTTING = 1 << 20  # multiplications

Temporary = Callable[[int, object, str], Buffer]


def in_strands(work: Sequence[Work], temporary: Temporary) -> list[Work]:
    """The work with all in strands that can be, if that is worth it."""
    sums = [each for each in work if isinstance(each, Product) and _adds_rows(each)]
    rows = max((each.k for each in sums), default=0)
    sums = [each for each in sums if each.k == rows]
    if rows % COUNT or rows < COUNT * FEWEST_ROWS or any(_size(each) > LARGEST_SUM for each in sums):
        return list(work)
    if sum(math.prod(each.domain) * each.k for each in sums) < WORTH_CUTTING:
        return list(work)
    products = [each for each in work if isinstance(each, Product) and rows in (each.k, *each.domain)]
    if any(map(suits_the_unit, products)):
        return list(work)  # which takes no batches of products
    made: list[Work] = []
    for each in work:
        made += _cut(each, rows, temporary)
    return made


def _size(product: Product) -> int:
    return math.prod(product.domain) * product.store.buffer.dtype.itemsize


def _adds_rows(product: Product) -> bool:
    """Whether both operands are matrices of the step, row by row, whose rows are contracted."""
    if len(product.domain) != 2 or product.a.picks or product.b.picks:
        return False
    m, n = product.domain
    of_the_step = STATE not in (product.a.buffer.kind, product.b.buffer.kind)
    return of_the_step and (product.a.strides[0] == 1 or m == 1) and (product.b.strides[1] == 1 or n == 1)


def _cut(work: Work, rows: int, temporary: Temporary) -> list[Work]:
    """A piece of work in strands, if it is one for each of so many rows, or adds them up."""
    length = rows // COUNT
    if isinstance(work, Product):
        if len(work.domain) != 2:
            return [work]
        if work.domain[0] == rows and not work.b.strides[0]:
            return [_product_of_rows(work, length)]
        return _sum_of_products(work, length, temporary) if work.k == rows and _adds_rows(work) else [work]
    if not isinstance(work, Statement) or not work.domain or work.domain[0] != rows or work.add:
        return [work]
    if any(node.op == "index" for node in in_order([work.expr])):
        return [work]
    if not work.fold or 0 not in work.dims:
        return [_statement_of_rows(work, length)]
    is_sum = work.fold == "sum" and work.dims == {0} and work.post is None
    is_small = math.prod(work.domain[1:]) * work.store.buffer.dtype.itemsize <= LARGEST_SUM
    return _sum_of_rows(work, length, temporary) if is_sum and is_small else [work]


def _product_of_rows(product: Product, length: int) -> Product:
    a, b, store = (each.in_parts(length) for each in (product.a, product.b, product.store))
    domain = COUNT, length, product.domain[1]
    return dataclasses.replace(product, domain=domain, a=a, b=b, store=store, strands=COUNT)


def _statement_of_rows(statement: Statement, length: int) -> Statement:
    return dataclasses.replace(
        statement,
        domain=(COUNT, length, *statement.domain[1:]),
        loads=tuple(each.in_parts(length) for each in statement.loads),
        store=statement.store.in_parts(length),
        dims=frozenset(each + 1 for each in statement.dims),
        strands=COUNT,
    )


def _sum_of_products(product: Product, length: int, temporary: Temporary) -> list[Work]:
    """A product whose contracted index counts rows."""
    domain = COUNT, *product.domain
    aside = _aside(product.store, domain, temporary)
    a = dataclasses.replace(product.a, strides=(product.a_k * length, *product.a.strides))
    b = dataclasses.replace(product.b, strides=(product.b_k * length, *product.b.strides))
    parts = dataclasses.replace(
        product, domain=domain, k=length, a=a, b=b, store=over(aside, domain), strands=COUNT
    )
    return [parts, _added(aside, product)]


def _sum_of_rows(statement: Statement, length: int, temporary: Temporary) -> list[Work]:
    """A sum over rows, and over nothing else."""
    made = _statement_of_rows(statement, length)
    aside = _aside(statement.store, (COUNT, *statement.domain[1:]), temporary)
    first, *rest = aside.strides
    store = at(Window(aside.buffer, 0, (), ()), (first, 0, *rest), made.domain)
    made = dataclasses.replace(made, store=store)
    whole = dataclasses.replace(
        statement, domain=statement.domain[1:], store=statement.store.without(frozenset({0}))
    )
    return [made, _added(aside, whole)]


def _aside(store: Access, domain: tuple[int, ...], temporary: Temporary) -> Window:
    """Memory for the sums of strands."""
    buffer = temporary(math.prod(domain), store.buffer.dtype, "strands")
    return Window(buffer, 0, domain, row_major_strides(domain))


def _added(parts: Window, whole: Product | Statement) -> Statement:
    """The sum of the sums of strands, which are the first dimension."""
    first, *strides = parts.strides
    kind, symbols = kind_of(parts.dtype), Symbols()
    loads = tuple(
        at(Window(parts.buffer, place * first, (), ()), strides, whole.domain) for place in range(COUNT)
    )
    total = symbols.load(0, kind)
    for place in range(1, COUNT):
        total = total + symbols.load(place, kind)
    return Statement(whole.domain, loads, total, whole.store, whole.call)
