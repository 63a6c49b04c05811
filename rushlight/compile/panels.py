"""What is arranged otherwise while many steps run than in a single one: which matrices lie in panels (see
`layout`), and when the next batch is asked for (see `batches`).

Invariant: a matrix in panels is met by no loop but those of products, and there only row by row, or, where it
lies turned, column by column.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple

from rushlight.compile.batches import Batches, batches
from rushlight.compile.contract import FAR_BYTES
from rushlight.compile.group import Group
from rushlight.compile.layout import Shape
from rushlight.compile.products import ROWS
from rushlight.compile.statements import Product
from rushlight.compile.tiles import NEAR
from rushlight.compile.turned_panels import Turning
from rushlight.compile.uses import is_large, met_beside, shape_of, uses_by_rows

if TYPE_CHECKING:
    from rushlight.compile.plan import Plan

MOST_BYTES = 1 << 28  # of all matrices in panels


class Arrangement(NamedTuple):
    """How things lie while many steps run, if not as in a single one.

    Args:
        panels: the matrices in panels, by the number of their buffer.
        products: those that read other operands than in a single step, and what they are instead.
        ways: of all products.
        left_out: the groups that would copy operands.
        batches: what happens to arguments.
    """

    panels: Mapping[int, Shape]
    products: Mapping[Product, Product]
    ways: Mapping[Product, str]
    left_out: Collection[Group]
    batches: Batches

    def product(self, group: Group) -> Product | None:
        """The product of a group."""
        return None if group.product is None else self.products.get(group.product, group.product)

    def is_usual(self) -> bool:
        """Whether all is as in a single step."""
        return not (self.panels or self.batches.own or self.batches.coming)


USUAL = Arrangement({}, {}, {}, (), Batches({}))


def arranged(plan: Plan) -> Arrangement:
    """How things lie while many steps of a plan run."""
    turning = Turning(plan)
    shapes = panelled(plan, turning)
    turned = {number for number, shape in shapes.items() if shape.is_turned}
    products, ways = dict[Product, Product](), dict(plan.ways)
    for group in plan.groups:
        if group.product is None:
            continue
        plain, reader = turning.plain(group.product), turning.readers.get(group.product)
        if reader is not None and reader.number in turned:
            products[group.product], ways[plain] = plain, reader.way
        elif not turned.isdisjoint(group.touched):
            products[group.product], ways[plain] = plain, ROWS
    left_out = [
        group
        for group in plan.groups
        if group.product is None
        and len(group.statements) == 1
        and plan.prepared.copies.get(group.statements[0]) in products
    ]
    found = Arrangement(shapes, products, ways, left_out, Batches({}))
    return found._replace(batches=batches(plan, found))


# -- panels --------------------------------------------------------------------------------------------------


def panelled(plan: Plan, turning: Turning) -> dict[int, Shape]:
    """The buffers of a plan that lie in panels while many steps run, by number: matrices that last, of which
    no loop wants anything but an operand of a product, or what goes with a product's result.
    """
    met: dict[int, list[Group]] = {each.number: [] for each in plan.buffers if is_large(each, NEAR)}
    for group in plan.groups:
        for number in group.touched:
            if number in met and number not in plan.kept:
                met[number].append(group)
    turned: dict[int, Shape] = {}
    for number, groups in met.items():
        buffer = plan.buffers[number]
        shape = shape_of(buffer, [turning.uses(each, buffer) for each in groups], groups)
        if shape is not None:
            turned[number] = shape._replace(is_turned=True)
    turning.drop(turned, met.keys())
    straight: dict[int, Shape] = {}
    for number, groups in met.items():
        buffer = plan.buffers[number]
        if number not in turned and is_large(buffer, FAR_BYTES):
            shape = shape_of(buffer, [uses_by_rows(each, buffer, plan.ways) for each in groups], groups)
            if shape is not None:
                straight[number] = shape
    _drop_what_is_alone(plan, straight)
    # They are there twice, which should not decide whether a network fits into memory.
    found = straight | turned
    total = sum(plan.buffers[number].nbytes for number in found)
    return found if total <= MOST_BYTES else {}


def _drop_what_is_alone(plan: Plan, found: dict[int, Shape]) -> None:
    """Leave out what a group writes beside a matrix that lies otherwise: it cannot go through one panel by
    panel and through the other row by row.
    """
    changed = True
    while changed:
        changed = False
        for group in plan.groups:
            beside = {number for number in met_beside(group) if is_large(plan.buffers[number], FAR_BYTES)}
            if not beside <= found.keys() and beside & found.keys():
                for number in beside:
                    found.pop(number, None)
                changed = True
