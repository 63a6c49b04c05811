"""Which weights lie in the panels of the turned matrix while many steps run.

A product that wants a matrix turned copies it in every step, or copies the data instead. While many steps run
the matrix can lie turned itself, provided that the products whose results meet it, such as those that update
it, can be computed with lanes along the other dimension. Invariant: a product reads what a copy would be made
of, instead of the copy, only if nothing changes that between the two.
"""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING, NamedTuple

from rushlight.compile.expr import kind_of
from rushlight.compile.group import Group
from rushlight.compile.layout import Shape
from rushlight.compile.products import COLUMNS, ROWS, Factor, factors
from rushlight.compile.program import ARGUMENT, STATE, TEMPORARY, Buffer
from rushlight.compile.statements import Product
from rushlight.compile.strips import strips_for
from rushlight.compile.tiles import NEAR
from rushlight.compile.uses import Uses, is_large, met_beside, uses_beside

if TYPE_CHECKING:
    from rushlight.compile.plan import Plan


class Reader(NamedTuple):
    """How a product reads a matrix that lies turned: the number of its buffer, the rows and columns of the
    matrix itself, and the way of the product.
    """

    number: int
    shape: tuple[int, int]
    way: str


class Turning:
    """What could be turned in a plan.

    `readers` has the products that could read a matrix if that lay turned.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._places: dict[object, int] = {}
        self._writers: dict[int, list[int]] = {}
        for place, group in enumerate(plan.groups):
            self._places.update((each, place) for each in group.work())
            for touch in group.touches():
                if touch.writes:
                    self._writers.setdefault(touch.number, []).append(place)
        self._copied_at: dict[Product, int] = {}
        for copy, product in plan.prepared.copies.items():
            place = self._places[copy]
            self._copied_at[product] = min(place, self._copied_at.get(product, place))
        self._plain = {product for product in plan.ways if self._goes_plain(product)}
        found = {product: self._reader(product) for product in plan.ways}
        self.readers = {product: reader for product, reader in found.items() if reader is not None}

    def plain(self, product: Product) -> Product:
        """A product as it is if it reads no copies."""
        return self.plan.prepared.plain.get(product, product)

    def _goes_plain(self, product: Product) -> bool:
        """Whether it may read what copies would be made of: that is in memory, and the same all the while."""
        if product not in self._copied_at:
            return True
        start, end = self._copied_at[product], self._places[product]
        read = {access.buffer.number: access.buffer for access, _ in product.reads()}
        for access, _ in self.plain(product).reads():
            buffer = access.buffer
            if buffer.number in read:
                continue
            if buffer.kind == TEMPORARY and buffer.number not in self.plan.spans:
                return False
            if any(start <= place <= end for place in self._writers.get(buffer.number, ())):
                return False
        return True

    def _reader(self, product: Product) -> Reader | None:
        plan, plain = self.plan, self.plain(product)
        is_tiled = len(product.domain) == 2 and plan.ways[product] in (COLUMNS, ROWS)
        if not is_tiled or product not in self._plain:
            return None
        read = {access.buffer.number for access, _ in product.reads()}
        for way in (COLUMNS, ROWS):
            left, right = factors(plain, way)
            number = right.access.buffer.number
            # A product that reads the matrix without a copy gains only if it need not copy the batch.
            is_gain = number not in read or left.access.buffer.kind == ARGUMENT
            if is_gain and left.column == 1 and _is_turned_whole(right):
                return Reader(number, (right.columns, right.rows), way)
        return None

    def uses(self, group: Group, buffer: Buffer) -> Uses:
        """For every use of a buffer in a group the shape of the matrix that could as well lie turned, or
        None.
        """
        product = group.product
        if product is None:
            if len(group.statements) != 1:
                return []
            product = self.plan.prepared.copies.get(group.statements[0])
            reader = None if product is None else self.readers.get(product)
            return [reader.shape] if reader is not None and reader.number == buffer.number else []
        found: Uses = []
        if any(access.buffer is buffer for access, _ in product.reads()):
            reader = self.readers.get(product)
            found = [reader.shape if reader is not None and reader.number == buffer.number else None]
        return found + uses_beside(group, product, buffer, self._can_be_turned(group, product))

    def _can_be_turned(self, group: Group, product: Product) -> bool:
        """Whether a product with what goes with it may as well be computed with lanes along the rows, if the
        matrices beside it lie turned: nothing else may be met on a line of its own at every turn, but for
        what the last step alone stores.
        """
        plan, plain = self.plan, self.plain(product)
        if len(product.domain) != 2 or plan.ways[product] != COLUMNS:
            return False
        if product in self.readers or product not in self._plain:
            return False
        operands = plain.a, plain.b
        if plain.a.strides[0] != 1 or any(each.buffer.panels is not None for each in operands):
            return False
        made = {product.store, *(each.store for each in group.statements)}
        met = [each.store for each in group.storing(plan.stored)]
        met += [access for each in group.statements for access in each.loads if access not in made]
        far = [each.buffer for each in met if each.strides[0] > 1 and each.buffer.number not in plan.spared]
        return all(is_large(each, NEAR) for each in far)

    def drop(self, found: dict[int, Shape], met: Set[int]) -> None:
        """Leave out what a group writes beside a matrix that does not lie turned: it cannot go through both
        in one direction. What no product wants to be turned need not be.
        """
        wanted = {reader.number for reader in self.readers.values()}
        changed = True
        while changed:
            changed = False
            for group in self.plan.groups:
                beside = met_beside(group) & met
                if beside & found.keys() and not (beside <= found.keys() and beside & wanted):
                    for number in beside:
                        found.pop(number, None)
                    changed = True


def _is_turned_whole(right: Factor) -> bool:
    """Whether an operand in lanes is a whole matrix that lasts, met column by column, and large enough for
    panels.
    """
    access, buffer = right.access, right.access.buffer
    is_whole = not access.offset and not access.picks and buffer.size == right.rows * right.columns
    is_turned = (right.row, right.column) == (1, right.rows)
    if buffer.kind != STATE or not is_whole or not is_turned:
        return False
    return strips_for(right.rows, right.columns, kind_of(buffer.dtype)) is not None
