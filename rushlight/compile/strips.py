"""Operands of products in strips: copied to temporaries where what a register tile reads lies without gaps.

A tile reads a few neighbouring columns of its operand in lanes, one row after another. In a large matrix
these rows lie far apart, each on a line of its own and often a power of two from the next: caches have room
for few such lines, and every row of tiles fetches all of them again. A strip is a panel (see `layout`) just
as wide as the tile. Operands that are turned on the way (`turned`) go into strips too. Invariant: elements
are copied, never computed, and only products read strips.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rushlight.compile.contract import Part
from rushlight.compile.emit import Emitter
from rushlight.compile.expr import kind_of
from rushlight.compile.layout import Panels, Shape, copy_matrix, row_by_row, width_of
from rushlight.compile.llvm import has_low_tiles
from rushlight.compile.statements import Access, Statement
from rushlight.compile.tiles import NEAR
from rushlight.storage import LINE

MANY_ROWS = 256  # of a result, that are worth a copy of an operand which just lies too far apart


def strips_for(k: int, columns: int, kind: str) -> Panels | None:
    """The strips for an operand in lanes of so many steps of k and columns; None where the lines of all steps
    stay in the nearest cache anyway, or a tile takes all columns; and on CPUs whose tiles are not low.
    """
    width = width_of(kind)
    if columns <= width or 2 * k * LINE <= NEAR or not has_low_tiles():
        return None
    return Shape(k, columns).panels(kind)


class StripsCopy(NamedTuple):
    """A copy into strips, from where rows lie without gaps."""

    statement: Statement
    source: Access
    strips: Panels

    def units(self) -> int:
        """Into how many units the copy can be split among threads."""
        return self.statement.domain[0]


def strips_copy(statements: Sequence[Statement]) -> StripsCopy | None:
    """What the statements are, if they are such a copy."""
    first = statements[0]
    strips = first.store.buffer.panels
    return None if strips is None else StripsCopy(first, first.loads[0], strips)


def emit_strips(e: Emitter, copy: StripsCopy, pointers: dict[int, str], part: Part | None) -> None:
    """The loops of such a copy; `part` bounds the units this thread does."""
    source, (rows, columns) = copy.source, copy.statement.domain
    kind = kind_of(source.buffer.dtype)
    start = (
        e.pointer(pointers[source.buffer.number], source.offset, kind),
        row_by_row(source.strides[0], kind),
    )
    target = pointers[copy.statement.store.buffer.number], copy.strips
    copy_matrix(e, rows, columns, kind, target, start, part)
