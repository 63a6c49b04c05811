"""Which large matrices lie in panels while many steps run (see `layout`).

Invariant: a matrix in panels is met by no loop but those of products, and there only row by row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from rushlight.compile.contract import FAR_BYTES
from rushlight.compile.expr import is_float, kind_of
from rushlight.compile.group import Group
from rushlight.compile.layout import Shape
from rushlight.compile.products import BLOCKS, BLOCKS_TURNED, COLUMNS, DOTS, DOTS_TURNED, factors
from rushlight.compile.program import STATE, Buffer
from rushlight.compile.statements import Access, Product, Statement

if TYPE_CHECKING:
    from rushlight.compile.plan import Plan

MOST_BYTES = 1 << 28  # of all matrices in panels


def panelled(plan: Plan) -> dict[int, Shape]:
    """The buffers of a plan that lie in panels while many steps run, by number: large matrices that last, of
    which no loop wants anything but an operand of a product, or what goes with a product's result.
    """
    met: dict[int, list[Group]] = {each.number: [] for each in plan.buffers if _is_large(each)}
    for group in plan.groups:
        for number in group.touched:
            if number in met:
                met[number].append(group)
    found: dict[int, Shape] = {}
    for number, groups in met.items():
        shape = None if number in plan.kept else _shape(plan.buffers[number], groups, plan.ways)
        if shape is not None:
            found[number] = shape
    _drop_what_is_alone(plan, found, met)
    # They are there twice, which should not decide whether a network fits into memory.
    total = sum(plan.buffers[number].nbytes for number in found)
    return found if total <= MOST_BYTES else {}


def _drop_what_is_alone(plan: Plan, found: dict[int, Shape], large: Collection[int]) -> None:
    """Leave out what a group writes beside a matrix that is not in panels: it cannot go through one
    panel by panel and through the other row by row.
    """
    changed = True
    while changed:
        changed = False
        for group in plan.groups:
            loaded = {
                access.buffer.number for each in group.statements for access in (*each.loads, each.store)
            }
            beside = {number for number in loaded if number in large}
            if not beside <= found.keys() and beside & found.keys():
                for number in beside:
                    found.pop(number, None)
                changed = True


def _is_large(buffer: Buffer) -> bool:
    return buffer.kind == STATE and is_float(kind_of(buffer.dtype)) and buffer.nbytes > FAR_BYTES


def _shape(buffer: Buffer, groups: Sequence[Group], ways: Mapping[Product, str]) -> Shape | None:
    """The shape of the matrix as which these groups meet a buffer, if it is one and they do so row by row."""
    seen: set[tuple[int, int] | None] = set()
    is_written = False
    for group in groups:
        touched, uses = group.touched[buffer.number], _uses(group, buffer, ways)
        if len(touched) != len(uses):
            return None
        seen.update(uses)
        is_written |= any(each.writes for each in touched)
    if len(seen) != 1:
        return None
    (shape,) = seen
    if shape is None or shape[0] * shape[1] != buffer.size:
        return None
    return Shape(*shape, is_written)


def _uses(group: Group, buffer: Buffer, ways: Mapping[Product, str]) -> list[tuple[int, int] | None]:
    """For every use of a buffer in a group the shape of the matrix as which it is met row by row, or None."""
    product = group.product
    if product is None or len(product.domain) != 2 or ways[product] in (DOTS, DOTS_TURNED):
        return []
    way = ways[product]
    found = [each.met_by_rows() for each in factors(product, way) if each.access.buffer is buffer]
    if product.store.buffer is buffer:
        found.append(None)
    lanes_along_rows = way in (COLUMNS, BLOCKS, BLOCKS_TURNED) and product.store.strides[-1] == 1
    for statement in group.statements:
        for access in (*statement.reads(), statement.store):
            if access.buffer is buffer:
                follows = lanes_along_rows and _follows(statement, product)
                found.append(_met_by_rows(access, product.domain) if follows else None)
    return found


def _follows(statement: Statement, product: Product) -> bool:
    return statement.domain == product.domain and not statement.fold and not statement.add


def _met_by_rows(access: Access, domain: tuple[int, ...]) -> tuple[int, int] | None:
    rows, columns = domain
    by_rows = (access.offset, access.strides, access.picks) == (0, (columns, 1), ())
    return (rows, columns) if by_rows else None
