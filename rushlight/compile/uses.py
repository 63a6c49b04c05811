"""As which matrices the loops of a step meet a buffer that lasts, such as weights.

Invariant: what is found holds for all indices of a group's loops.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rushlight.compile.expr import is_float, kind_of
from rushlight.compile.group import Group
from rushlight.compile.layout import Shape
from rushlight.compile.products import BLOCKS, BLOCKS_TURNED, COLUMNS, DOTS, DOTS_TURNED, factors
from rushlight.compile.program import STATE, Buffer
from rushlight.compile.statements import Access, Product, Statement


def is_large(buffer: Buffer, size: int) -> bool:
    """Whether it holds a matrix that lasts, of more bytes than that."""
    return buffer.kind == STATE and is_float(kind_of(buffer.dtype)) and buffer.nbytes > size


def met_beside(group: Group) -> set[int]:
    """The numbers of the buffers that a group's statements read and write."""
    return {access.buffer.number for each in group.statements for access in (*each.loads, each.store)}


Uses = list[tuple[int, int] | None]  # the rows and columns of the matrix as which a buffer is met


def shape_of(buffer: Buffer, uses: Sequence[Uses], groups: Sequence[Group]) -> Shape | None:
    """The shape of the matrix as which all groups meet a buffer, if it is one."""
    seen: set[tuple[int, int] | None] = set()
    is_written = False
    for group, found in zip(groups, uses, strict=True):
        touched = group.touched[buffer.number]
        if len(touched) != len(found):
            return None
        seen.update(found)
        is_written |= any(each.writes for each in touched)
    if len(seen) != 1:
        return None
    (shape,) = seen
    if shape is None or shape[0] * shape[1] != buffer.size:
        return None
    return Shape(*shape, is_written)


def uses_by_rows(group: Group, buffer: Buffer, ways: Mapping[Product, str]) -> Uses:
    """For every use of a buffer in a group the shape of the matrix as which it is met row by row, or None."""
    product = group.product
    if product is None or len(product.domain) != 2 or ways[product] in (DOTS, DOTS_TURNED):
        return []
    way = ways[product]
    found = [each.met_by_rows() for each in factors(product, way) if each.access.buffer is buffer]
    lanes_along_rows = way in (COLUMNS, BLOCKS, BLOCKS_TURNED) and product.store.strides[-1] == 1
    return found + uses_beside(group, product, buffer, lanes_along_rows)


def uses_beside(group: Group, product: Product, buffer: Buffer, is_possible: bool) -> Uses:
    """The same for uses by what goes with a product's result."""
    found: Uses = [None] if product.store.buffer is buffer else []
    for statement in group.statements:
        for access in (*statement.reads(), statement.store):
            if access.buffer is buffer:
                follows = is_possible and _follows(statement, product)
                found.append(_met_by_rows(access, product.domain) if follows else None)
    return found


def _follows(statement: Statement, product: Product) -> bool:
    return statement.domain == product.domain and not statement.fold and not statement.add


def _met_by_rows(access: Access, domain: tuple[int, ...]) -> tuple[int, int] | None:
    rows, columns = domain
    by_rows = (access.offset, access.strides, access.picks) == (0, (columns, 1), ())
    return (rows, columns) if by_rows else None
