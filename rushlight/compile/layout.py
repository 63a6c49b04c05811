"""Where the elements of a large matrix lie while many steps run: row by row, or in panels.

A row of a large matrix fills a page, so that a tile of a product, a few elements of many rows, meets a page
at every turn: memory is slow to begin on each. While ``run`` works (see `many`), such weights, and what the
optimizer keeps for each of them, lie in panels of a few vectors' width, one panel after another, in each of
which the rows follow each other without gaps. All other code sees them row by row, single steps among it, for
which it would not be worth while to bring them into panels and back. A matrix that would be turned for a
product in each step lies in the panels of the turned one. Which matrices these are `panels` decides.
Invariant: memory of the user's has its own order whenever ``run`` does not work.
"""

from __future__ import annotations

from typing import NamedTuple

from rushlight.compile.emit import Emitter
from rushlight.compile.llvm import has_low_tiles, vector_bytes
from rushlight.compile.registers import BYTES, Reg

# Rows left free after a panel. A tile meets a few rows of one panel after the other: these would else often
# lie a power of two apart, and caches have room for few such lines.
BETWEEN_PANELS = 7


def vectors_in_width() -> int:
    """How many vectors wide a panel is. Register tiles are as wide as one, or two."""
    return 2 if has_low_tiles() else 4


class Panels(NamedTuple):
    """Where elements of a matrix are: the one in row i and column j is ``j // width`` times `apart`, plus i
    times `row`, plus ``j % width`` elements from the start. Row by row, `apart` would be `width`. With
    `is_turned` that holds for row j and column i.
    """

    width: int
    row: int
    apart: int
    is_turned: bool = False

    def address(self, e: Emitter, start: str, row: Reg, column: Reg | int, kind: str) -> str:
        """The address of an element."""
        if self.is_turned:
            return self._replace(is_turned=False).address(e, start, e.index(column), row, kind)
        pointer = e.pointer(start, e.times(row, self.row), kind)
        if isinstance(column, int):
            assert column < self.width
            return e.pointer(pointer, column, kind)
        number, rest = e.divided(column, self.width)
        return e.pointer(self.panel(e, pointer, number, kind), rest, kind)

    def along(self, column: int) -> int:
        """How far a column lies from the first one of its row, which begins a panel."""
        return column // self.width * self.apart + column % self.width

    def elements(self, columns: int) -> int:
        """How many elements so many columns take: the last panel is filled up."""
        return -(-columns // self.width) * self.apart

    def panel(self, e: Emitter, start: str, number: Reg, kind: str) -> str:
        """The same place in a later panel."""
        return e.pointer(start, e.times(number, self.apart), kind)


class Shape(NamedTuple):
    """A matrix that may lie in panels, whether steps write it, and whether the panels are those of the turned
    matrix.
    """

    rows: int
    columns: int
    is_written: bool = False
    is_turned: bool = False

    def panels(self, kind: str) -> Panels:
        """Where its elements are in panels."""
        width, rows = width_of(kind), self.columns if self.is_turned else self.rows
        return Panels(width, width, (rows + BETWEEN_PANELS) * width, self.is_turned)

    def elements(self, kind: str) -> int:
        """How many elements it takes in panels."""
        return self.panels(kind).elements(self.rows if self.is_turned else self.columns)


def width_of(kind: str) -> int:
    """The columns of a panel."""
    return vectors_in_width() * vector_bytes() // BYTES[kind]


def row_by_row(length: int, kind: str) -> Panels:
    """Where elements are whose rows begin so many apart, in terms of panels."""
    return Panels(width_of(kind), length, width_of(kind))


def copy_matrix(
    e: Emitter,
    rows: int,
    columns: int,
    kind: str,
    target: tuple[str, Panels],
    source: tuple[str, Panels],
    part: tuple[Reg, Reg] | None = None,
) -> None:
    """Copy a matrix between places where it lies in panels of one width, or row by row; the rows from a first
    to a last one with `part`.
    """
    width, size = target[1].width, BYTES[kind]

    def piece(row: Reg, panel: Reg | int, count: int) -> None:
        number = e.const(panel, "i8") if isinstance(panel, int) else panel
        to, start = (
            panels.panel(e, panels.address(e, pointer, row, 0, kind), number, kind)
            for pointer, panels in (target, source)
        )
        e.copy(to, start, count * size)

    full, rest = divmod(columns, width)
    first, last = part if part is not None else (0, rows)
    with e.loop(first, last) as row:
        if full:
            with e.loop(0, full) as panel:
                piece(row.index, panel.index, width)
        if rest:
            piece(row.index, full, rest)
