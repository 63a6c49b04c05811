"""Operands of products in strips: copied to temporaries where what a register tile reads lies without gaps.

A tile reads a few neighbouring columns of its operand in lanes, one row after another. In a large matrix
these rows lie far apart, each on a line of its own and often a power of two from the next: caches have room
for few such lines, and every row of tiles fetches all of them again. A strip is a panel (see `layout`) just
as wide as the tile. Operands that are turned on the way (`turned`) go into strips too. Invariant: elements
are copied, never computed, and only products read strips.
"""

from __future__ import annotations

from collections.abc import Sequence

from rushlight.compile.contract import Part
from rushlight.compile.emit import Emitter
from rushlight.compile.expr import kind_of
from rushlight.compile.layout import Panels, copy_matrix, width_of
from rushlight.compile.llvm import vector_registers
from rushlight.compile.statements import Statement
from rushlight.compile.tiles import NEAR
from rushlight.storage import LINE

MANY_ROWS = 256  # of a result, that are worth a copy of an operand which just lies too far apart


def strips_for(k: int, columns: int, kind: str) -> Panels | None:
    """The strips for an operand in lanes of so many steps of k and columns; None where the lines of all steps
    stay in the nearest cache anyway, or a tile takes all columns; and on CPUs with 32 registers, whose tiles
    take many of them.
    """
    width = width_of(kind)
    if columns <= width or 2 * k * LINE <= NEAR or vector_registers() == 32:
        return None
    return Panels(width, width, k * width)


def strips_copy(statements: Sequence[Statement]) -> Statement | None:
    """The copy into strips that the statements are, if they are one that does not turn anything: whoever asks
    has asked `turned.turned_copy` before.
    """
    return statements[0] if statements[0].store.buffer.panels is not None else None


def units_of(copy: Statement) -> int:
    """Into how many units a copy can be split among threads."""
    return copy.domain[0]


def emit_strips(e: Emitter, copy: Statement, pointers: dict[int, str], part: Part | None) -> None:
    """The loops of a copy into strips, from where rows lie without gaps; `part` bounds this thread's."""
    strips, (source,) = copy.store.buffer.panels, copy.loads
    assert strips is not None and source.strides[1] == 1
    kind = kind_of(source.buffer.dtype)
    start = e.pointer(pointers[source.buffer.number], source.offset, kind)
    by_rows = Panels(strips.width, source.strides[0], strips.width)
    target = pointers[copy.store.buffer.number]
    copy_matrix(e, copy.domain[0], copy.domain[1], kind, (target, strips), (start, by_rows), part)
