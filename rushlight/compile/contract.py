"""Contractions: ``C[i, j] = sum over k of A[i, k] * B[k, j]`` for fixed sizes and strides.

Three ways to compute one, chosen by shape and CPU. *Lanes along j* (`tiles`): a tile of C lives in registers,
each step of k loads vectors of B and broadcasts numbers of A; right when one operand is contiguous along an
output index. *Lanes along k* (`dots`): every element of C is a dot product of two contiguous rows; right for
tiny batches, where the weights are read once and nothing is worth packing. *Blocks* (`blocks`): on the CPU's
matrix unit, if it has one, right for large products of float32. What happens to a finished piece of C
(bias, activation, mask, the optimizer's update) is the caller's, as `Finish`. Here is what they share.
Invariant: the order of summation depends on sizes, and in blocks on infinities, but never on threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from rushlight.compile.emit import Emitter
from rushlight.compile.layout import Panels
from rushlight.compile.registers import Reg

if TYPE_CHECKING:
    from rushlight.compile.nonzero import Listed


class Matrix(NamedTuple):
    """An operand: where it starts, and how many elements apart rows and columns lie, if not in panels, nor
    `in_pieces` for the matrix unit.
    """

    pointer: str
    row: int
    column: int
    panels: Panels | None = None
    in_pieces: bool = False

    def along(self, column: int) -> int:
        """How far a column lies from the first one of a row, whose columns lie side by side, or in panels."""
        return column if self.panels is None else self.panels.along(column)

    def step(self) -> tuple[int, bool]:
        """How far neighbouring rows of the memory lie apart, and whether columns follow each other there."""
        if self.panels is not None:
            return self.panels.row, True
        return (self.row, True) if self.column == 1 else (self.column, False)


# Called with (first row, first column, vector of values, mask or None, whether the lanes run along a column)
# for every finished piece of a row or column of C.
Finish = Callable[[Reg, Reg, Reg, "Reg | None", bool], None]


def call(piece: Callable[[], None]) -> None:
    """Write something once."""
    piece()


# Called with how many elements of C come before a finished tile, and before what follows it, in the order in
# which threads share them.
Meanwhile = Callable[[Reg, Reg], None]


class Contraction(NamedTuple):
    """One product: sizes, operands, element kind, lanes of a vector.

    `turned` says that columns of C, not rows, are contiguous in memory; `in_panels` that B lies in panels
    (`b_in_panels`), or what finished pieces of C are wanted with (which may do so turned:
    `in_turned_panels`); `in_strips` that B alone does, as a temporary (see `strips`). What is to be done
    `meanwhile` is done with every finished tile; `by_columns` says in which order threads share these. Some
    steps of k may be `listed` as those at which A is not zero. `is_short` says that little follows a
    finished piece; `either` writes that for steps of one and of another kind, if there are two.
    """

    m: int
    n: int
    k: int
    a: Matrix
    b: Matrix
    kind: str
    lanes: int
    turned: bool = False
    in_panels: bool = False
    b_in_panels: bool = False
    in_turned_panels: bool = False
    in_strips: bool = False
    by_columns: bool = False
    meanwhile: Meanwhile | None = None
    listed: Listed | None = None
    is_short: bool = False
    either: Callable[[Callable[[], None]], None] = call

    def element(self, e: Emitter, matrix: Matrix, row: Reg | int, column: Reg | int) -> str:
        """The address of one element of an operand."""
        pointer = matrix.pointer
        if matrix.panels is not None:
            return matrix.panels.address(e, pointer, e.index(row), column, self.kind)
        for index, stride in ((row, matrix.row), (column, matrix.column)):
            if isinstance(index, int):
                pointer = e.pointer(pointer, index * stride, self.kind)
            elif stride:
                pointer = e.pointer(pointer, e.times(index, stride), self.kind)
        return pointer


FAR_BYTES = 1 << 19  # more than that does not stay in the second cache until it is wanted again
Part = tuple[Reg, Reg]  # the first unit of work of this thread, and one past the last


def in_units(e: Emitter, count: int, size: int, part: Part | None, piece: Callable[[Reg, int], None]) -> None:
    """`piece` for every unit of `size` things, with its start and how many it has: the last perhaps fewer."""
    full, rest = divmod(count, size)
    first, last = part if part is not None else (0, full + bool(rest))
    if full:
        end = e.least(last, full)
        with e.loop(first, end) as loop:
            piece(e.times(loop.index, size), size)
    if rest:
        begin = e.most(first, full)
        with e.loop(begin, last):
            piece(e.const(full * size, "i8"), rest)


def divisor(count: int, limit: int) -> int:
    """How many rows a tile gets: at most `limit`, fewer if that leaves no ragged last tile."""
    limit = min(count, limit)
    return next((rows for rows in range(limit, limit * 2 // 3, -1) if count % rows == 0), limit)
