"""What is arranged otherwise while many steps run than in a single one: which matrices lie in panels (see
`layout`), and when the next batch is asked for (see `batches`).

Invariant: a matrix in panels is met by no loop but those of products, and there only row by row, or, where it
lies turned, column by column.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from typing import TYPE_CHECKING, NamedTuple

from rushlight.compile.batches import Batches, batches
from rushlight.compile.contract import FAR_BYTES
from rushlight.compile.expr import is_float, kind_of
from rushlight.compile.group import Group
from rushlight.compile.layout import Shape
from rushlight.compile.products import (
    BLOCKS,
    BLOCKS_TURNED,
    COLUMNS,
    DOTS,
    DOTS_TURNED,
    ROWS,
    factors,
)
from rushlight.compile.program import STATE, Buffer
from rushlight.compile.statements import Access, Product, Statement
from rushlight.compile.tiles import NEAR
from rushlight.compile.turned import Turn, turned_copy

if TYPE_CHECKING:
    from rushlight.compile.plan import Plan

MOST_BYTES = 1 << 28  # of all matrices in panels


class Arrangement(NamedTuple):
    """How things lie while many steps run, if not as in a single one.

    Args:
        panels: the matrices in panels, by the number of their buffer, and operands made of them.
        instead: for such operands the number of the matrix that lies just like them, so that nothing is to
            be copied; for arguments that of the copies for threads.
        left_out: the groups that would copy it.
        ways: of products whose results go to panels of the turned matrix.
        batches: what happens to arguments.
    """

    panels: Mapping[int, Shape]
    instead: Mapping[int, int]
    left_out: Collection[Group]
    ways: Mapping[Product, str]
    batches: Batches

    def states(self) -> list[tuple[int, Shape]]:
        """The matrices in panels, by the number of their buffer."""
        return [(number, shape) for number, shape in self.panels.items() if number not in self.instead]

    def is_usual(self) -> bool:
        """Whether all is as in a single step."""
        return not (self.panels or self.instead or self.batches.coming)


USUAL = Arrangement({}, {}, (), {}, Batches({}))


def arranged(plan: Plan) -> Arrangement:
    """How things lie while many steps of a plan run."""
    shapes = panelled(plan)
    ways = dict(plan.ways)
    instead: dict[int, int] = {}
    left_out = []
    for group, number in _turning(plan, shapes):
        left_out.append(group)
        instead[group.statements[0].store.buffer.number] = number
    for group in plan.groups:
        if group.product is not None and any(
            shapes[number].is_turned for number in group.touched if number in shapes
        ):
            ways[group.product] = ROWS
    copies = {
        number: Shape(shapes[original].columns, shapes[original].rows) for number, original in instead.items()
    }
    found = batches(plan)
    instead |= {number: buffer.number for number, buffer in found.own.items()}
    return Arrangement(shapes | copies, instead, left_out, ways, found)


# -- panels --------------------------------------------------------------------------------------------------


def panelled(plan: Plan) -> dict[int, Shape]:
    """The buffers of a plan that lie in panels while many steps run, by number: matrices that last, of which
    no loop wants anything but an operand of a product, or what goes with a product's result.
    """
    met: dict[int, list[Group]] = {each.number: [] for each in plan.buffers if _is_large(each, NEAR)}
    for group in plan.groups:
        for number in group.touched:
            if number in met:
                met[number].append(group)
    found: dict[int, Shape] = {}
    for number, groups in met.items():
        if number in plan.kept:
            continue
        buffer, shape = plan.buffers[number], None
        if _is_large(buffer, FAR_BYTES):
            shape = _shape(buffer, [_uses(each, buffer, plan.ways) for each in groups], groups)
        if shape is None:
            shape = _shape(buffer, [_turned_uses(plan, each, buffer) for each in groups], groups)
            shape = None if shape is None else shape._replace(is_turned=True)
        if shape is not None:
            found[number] = shape
    _drop_what_changes_too_early(plan, found)
    _drop_what_is_alone(plan, found, met.keys())
    # They are there twice, which should not decide whether a network fits into memory.
    total = sum(plan.buffers[number].nbytes for number in found)
    return found if total <= MOST_BYTES else {}


def _turning(plan: Plan, found: Mapping[int, Shape]) -> list[tuple[Group, int]]:
    """The groups that turn a matrix for products, which need not be done where it lies turned, with the
    number of that matrix.
    """
    return [
        (group, number)
        for group in plan.groups
        if group.product is None
        for number in group.touched
        if number in found and found[number].is_turned
    ]


def _drop_what_changes_too_early(plan: Plan, found: dict[int, Shape]) -> None:
    """Leave out a matrix that lies turned if a group writes it before, or while, another one reads the copy
    that would have been made of it.
    """
    place_of = {group: place for place, group in enumerate(plan.groups)}
    last_touch = {number: place_of[group] for group in plan.groups for number in group.touched}
    writers: dict[int, list[int]] = {}
    for group in plan.groups:
        for touch in group.touches():
            if touch.writes:
                writers.setdefault(touch.number, []).append(place_of[group])
    for group, number in _turning(plan, found):
        last = last_touch[group.statements[0].store.buffer.number]
        if any(place_of[group] <= place <= last for place in writers.get(number, ())):
            found.pop(number, None)


def _drop_what_is_alone(plan: Plan, found: dict[int, Shape], met: Set[int]) -> None:
    """Leave out what a group writes beside a matrix that lies otherwise: it cannot go through one panel by
    panel and through the other row by row. What no product wants to be turned need not be.
    """
    copied = {number for _, number in _turning(plan, found)}
    changed = True
    while changed:
        changed = False
        for group in plan.groups:
            loaded = {
                access.buffer.number for each in group.statements for access in (*each.loads, each.store)
            }
            beside = loaded & met
            turned = {number for number in beside & found.keys() if found[number].is_turned}
            if turned:
                is_alone = turned != beside or not turned & copied
            else:
                beside = {number for number in beside if _is_large(plan.buffers[number], FAR_BYTES)}
                is_alone = not beside <= found.keys()
            if is_alone and beside & found.keys():
                for number in beside:
                    found.pop(number, None)
                changed = True


def _is_large(buffer: Buffer, size: int) -> bool:
    return buffer.kind == STATE and is_float(kind_of(buffer.dtype)) and buffer.nbytes > size


Uses = list[tuple[int, int] | None]  # the rows and columns of the matrix as which a buffer is met


def _shape(buffer: Buffer, uses: Sequence[Uses], groups: Sequence[Group]) -> Shape | None:
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


def _uses(group: Group, buffer: Buffer, ways: Mapping[Product, str]) -> Uses:
    """For every use of a buffer in a group the shape of the matrix as which it is met row by row, or None."""
    product = group.product
    if product is None or len(product.domain) != 2 or ways[product] in (DOTS, DOTS_TURNED):
        return []
    way = ways[product]
    found = [each.met_by_rows() for each in factors(product, way) if each.access.buffer is buffer]
    lanes_along_rows = way in (COLUMNS, BLOCKS, BLOCKS_TURNED) and product.store.strides[-1] == 1
    return found + _uses_beside(group, product, buffer, lanes_along_rows)


def _uses_beside(group: Group, product: Product, buffer: Buffer, is_possible: bool) -> Uses:
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


# -- turned panels -------------------------------------------------------------------------------------------


def _turned_uses(plan: Plan, group: Group, buffer: Buffer) -> Uses:
    """For every use of a buffer in a group the shape of the matrix that could as well lie turned, or None."""
    product = group.product
    if product is None:
        turn = turned_copy(group.statements)
        if turn is None or not _fills_strips(turn):
            return []
        rows, columns = turn.statement.domain
        return [(columns, rows)]
    if any(each.access.buffer is buffer for each in factors(product, COLUMNS)):
        return [None]
    return _uses_beside(group, product, buffer, _can_be_turned(plan, group, product))


def _fills_strips(turn: Turn) -> bool:
    """Whether a copy turns a whole matrix, from its first element on, for products."""
    rows, columns = turn.statement.domain
    target = turn.target.buffer
    is_whole = (turn.source.offset, turn.source.strides) == (0, (1, rows))
    return is_whole and turn.source.buffer.size == rows * columns and target.panels is not None


def _can_be_turned(plan: Plan, group: Group, product: Product) -> bool:
    """Whether a product with what goes with it may as well be computed with lanes along the rows, if the
    matrices beside it lie turned: nothing else may be met on a line of its own at every turn, but for what
    the last step alone stores.
    """
    if len(product.domain) != 2 or plan.ways[product] != COLUMNS:
        return False
    operands = product.a, product.b
    if product.a.strides[0] != 1 or any(each.buffer.panels is not None for each in operands):
        return False
    made = {product.store, *(each.store for each in group.statements)}
    met = [each.store for each in group.storing(plan.stored)]
    met += [access for each in group.statements for access in each.loads if access not in made]
    far = [each.buffer for each in met if each.strides[0] > 1 and each.buffer.number not in plan.spared]
    return all(_is_large(each, NEAR) for each in far)
