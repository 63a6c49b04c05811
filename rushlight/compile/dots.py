"""Contractions as dot products of contiguous rows, with lanes along the contracted index (see `contract`).

Invariant: what a dot product comes to does not depend on which others are computed beside it.
"""

from __future__ import annotations

from collections.abc import Callable

from rushlight.compile.contract import Contraction, Finish, Part, divisor, in_units
from rushlight.compile.emit import Emitter
from rushlight.compile.llvm import vector_registers
from rushlight.compile.registers import Reg

SUPPLIED_ROWS, SUPPLIED_COLUMNS = 4, 4
FEW = 3  # rows, of which so few are multiplied with more columns at once
MANY_UNITS = 8  # that threads share evenly enough, however many there are

# Called with (first column, how many) before the dot products of some columns of B; what comes back is called
# with (which of them, index along k, mask or None) and gives B's elements there.
Supply = Callable[[Reg, int], Callable[[int, Reg, "Reg | None"], Reg]]


def _sums() -> int:
    """How many are under way at once: what vector registers hold, beside those of operands."""
    return 24 if vector_registers() == 32 else 12


def _group(spec: Contraction) -> int:
    """How many neighbouring columns dot products are computed for at once."""
    return min(_sums() // FEW if spec.m <= FEW else 4, spec.n)


def units_of(spec: Contraction) -> int:
    """Into how many units the nest can be split among threads."""
    by_rows, by_columns = _units(spec)
    return by_rows if _shares_rows(spec) else by_columns


def _units(spec: Contraction) -> tuple[int, int]:
    group = _group(spec)
    return -(-spec.m // divisor(spec.m, _sums() // group)), -(-spec.n // group)


def _shares_rows(spec: Contraction) -> bool:
    """Whether threads share the rows of A: if there are too few columns of B to share them evenly."""
    by_rows, by_columns = _units(spec)
    return by_columns < MANY_UNITS <= by_rows


def lanes_along_k(
    e: Emitter, spec: Contraction, finish: Finish, part: Part | None = None, supply: Supply | None = None
) -> None:
    """Emit the nest as dot products of contiguous rows; `part` bounds the units this thread computes.

    With `supply`, B is not read but given, once: for no more than `SUPPLIED_ROWS` rows of A.
    """
    group, mi = min(SUPPLIED_COLUMNS, spec.n), spec.m
    if supply is None:
        group = _group(spec)
        mi = divisor(spec.m, _sums() // group)
    shared_rows, shared_columns = (part, None) if supply is None and _shares_rows(spec) else (None, part)

    def dots(row: Reg, rows: int, column: Reg, columns: int) -> None:
        _dots(e, spec, finish, row, rows, column, columns, supply)

    def columns_from(column: Reg, columns: int) -> None:
        if columns == group:
            in_units(e, spec.m, mi, shared_rows, lambda row, rows: dots(row, rows, column, group))
            return
        with e.loop(0, columns) as loop:
            single = e.binary("add", column, loop.index)
            in_units(e, spec.m, mi, shared_rows, lambda row, rows: dots(row, rows, single, 1))

    in_units(e, spec.n, group, shared_columns, columns_from)


def _dots(
    e: Emitter,
    spec: Contraction,
    finish: Finish,
    row: Reg,
    rows: int,
    column: Reg,
    group: int,
    supply: Supply | None,
) -> None:
    """The dot products of some rows with `group` neighbouring columns."""
    kind, lanes = spec.kind, spec.lanes
    a_rows = [spec.element(e, spec.a, e.plus(row, i), 0) for i in range(rows)]
    b_columns = [spec.element(e, spec.b, 0, e.plus(column, j)) for j in range(group)]

    def read(j: int, k: Reg, mask: Reg | None) -> Reg:
        return e.load(e.pointer(b_columns[j], k, kind), kind, lanes, mask)

    given = read if supply is None else supply(column, group)

    def step(k: Reg, sums: list[Reg], mask: Reg | None) -> list[Reg]:
        left = [e.load(e.pointer(each, k, kind), kind, lanes, mask) for each in a_rows]
        following = list(sums)
        for j in range(group):
            right = given(j, k, mask)
            for i in range(rows):
                place = i * group + j
                following[place] = e.intrinsic("fma", left[i], right, sums[place])
        return following

    sums = [e.const(0.0, kind, lanes)] * (rows * group)
    whole = spec.k // lanes * lanes
    if whole:
        with e.loop(0, whole, lanes, sums) as loop:
            loop.next = step(loop.index, loop.carry, None)
        sums = loop.carry
    if spec.k % lanes:
        sums = step(e.const(whole, "i8"), sums, e.mask(spec.k % lanes, lanes))
    for i in range(rows):
        numbers = [e.reduce("fadd", sums[i * group + j]) for j in range(group)]
        finish(e.plus(row, i), column, _gathered(e, numbers), None, False)


def _gathered(e: Emitter, numbers: list[Reg]) -> Reg:
    """Scalars as the lanes of one vector."""
    if len(numbers) == 1:
        return numbers[0]
    vector = Reg("poison", numbers[0].kind, len(numbers))
    for lane, each in enumerate(numbers):
        vector = e.op(
            f"insertelement {vector.type} {vector.text}, {each.type} {each.text}, i64 {lane}",
            vector.kind,
            vector.lanes,
        )
    return vector
