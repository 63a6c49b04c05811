"""Where one step's last loops and the next step's first go over the same weights.

With batches of a few rows a step is little more than reading its weights and writing them back. What the last
group of a step writes, the first product of the next reads again, after all of it has left the nearest cache.
Where nothing comes between, `run_alone` (see `many`) does both block by block instead. Invariant: every group
computes what it would have computed, from the same numbers; only blocks of two groups take turns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from rushlight.compile.group import Group, Touch
from rushlight.compile.products import COLUMNS, DOTS, rows_in_unit
from rushlight.compile.program import ARGUMENT, STATE, TEMPORARY, Window

if TYPE_CHECKING:
    from rushlight.compile.plan import Plan

NEAREST = 48 << 10  # bytes of the nearest cache: weights that fit stay there anyway
BLOCK = 32 << 10  # bytes of weights that stay there while both go over them


class Crossing(NamedTuple):
    """Two groups that can take turns.

    `first` begins a step and `last` ends it; each of the `units` of `first` reads what `ratio` units of
    `last` write.
    `arguments` are what `first` reads of a step's batch.
    """

    first: Group
    last: Group
    units: int
    ratio: int
    arguments: list[Window]


def crossing_of(plan: Plan, offsets: dict[int, int], live: set[int]) -> Crossing | None:
    """The two groups of a plan, if it has such.

    Args:
        plan: with all groups in order.
        offsets: of temporaries in the block they share.
        live: numbers of the buffers that change from step to step.
    """
    if len(plan.groups) < 2:
        return None
    last = plan.groups[-1]
    written = [each for each in last.touches() if each.writes]
    if plan.split[last] < 2 or _fades(plan, last):
        return None
    for place, first in enumerate(plan.groups[:-1]):
        ratio = _ratio(plan, first, last)
        if ratio and not _fades(plan, first) and _is_movable(plan, place, offsets, live, written):
            read = {each.number for each in first.touches()}
            found = [each for each in plan.program.arguments if each.buffer.number in read]
            return Crossing(first, last, plan.split[first], ratio, found)
    return None


def _fades(plan: Plan, group: Group) -> bool:
    return plan.fading is not None and plan.fading.allows(group.statements)


def _ratio(plan: Plan, first: Group, last: Group) -> int:
    """How many units of `last` write the weights that a unit of `first` reads; 0 where that is not so."""
    reader, writer = first.product, last.product
    if reader is None or writer is None or plan.split[first] < 2:
        return 0
    if plan.ways[reader] != DOTS or plan.ways[writer] != COLUMNS or len(reader.domain) != 2:
        return 0
    rows, columns = reader.domain[1], reader.k
    weights = reader.b.buffer
    whole = (reader.b.offset, reader.b.strides[1], reader.b_k) == (0, columns, 1)
    if weights.kind != STATE or not whole or writer.domain != (rows, columns):
        return 0
    stores = [each.store for each in last.statements if each.store.buffer is weights]
    if [(each.offset, each.strides) for each in stores] != [(0, (columns, 1))]:
        return 0
    block, unit = rows_in_unit(reader, DOTS), rows_in_unit(writer, COLUMNS)
    if not unit or block % unit or rows % block:
        return 0
    near = block * columns * weights.dtype.itemsize <= BLOCK and weights.nbytes > NEAREST
    return block // unit if near else 0


def _is_movable(
    plan: Plan, place: int, offsets: dict[int, int], live: set[int], written_last: list[Touch]
) -> bool:
    """Whether the group at a place can run before all of its step, and while the last group of the step
    before still does.
    """
    first = plan.groups[place]
    weights = first.product.b.buffer.number if first.product is not None else -1
    own = {each.number for each in first.touches() if each.writes}
    reads = [each for each in first.touches() if not each.writes and each.number not in own]
    writes = [each for each in first.touches() if each.writes]
    for each in reads:
        if plan.buffers[each.number].kind not in (ARGUMENT, STATE) or each.number in live:
            return False
    if any(plan.buffers[number].kind != TEMPORARY or number in plan.kept for number in own):
        return False
    earlier = [touch for group in plan.groups[:place] for touch in group.touches()]
    if any(_meets(plan, offsets, writes, [*earlier, *plan.groups[-1].touches()])):
        return False
    changes = [each for each in earlier if each.writes]
    changes += [each for each in written_last if each.number != weights]
    return not any(_meets(plan, offsets, reads, changes))


def _meets(plan: Plan, offsets: dict[int, int], some: list[Touch], others: list[Touch]) -> Iterator[bool]:
    def places(touches: list[Touch]) -> list[tuple[Any, int, int]]:
        return [plan.place(each, offsets) for each in touches]

    theirs = places(others)
    for memory, low, high in places(some):
        for other, other_low, other_high in theirs:
            yield memory == other and low < other_high and other_low < high
