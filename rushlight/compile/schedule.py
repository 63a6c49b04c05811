"""Groups in an order, with threads: which groups are split, where threads wait, and the functions that run.

The module has a function for every group, ``step``, which runs one step, and ``run``, which runs many (see
`many`). All threads run the same function; a group that is split is done by all of them, any other by the
first. Invariant: between two groups that touch the same memory, not both done by the first thread, there is a
barrier; what is computed does not depend on the number of threads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from rushlight.compile.blocks import emit_split, units_of_split
from rushlight.compile.body import Spare
from rushlight.compile.crew import STARTED
from rushlight.compile.emit import Emitter
from rushlight.compile.entry import HEAD, NEEDED
from rushlight.compile.expr import kind_of
from rushlight.compile.function import Function
from rushlight.compile.group import Group
from rushlight.compile.layout import Shape
from rushlight.compile.llvm import ATTRIBUTES, vector_bytes
from rushlight.compile.loops import emit_loops, loop_units
from rushlight.compile.nonzero import Listed
from rushlight.compile.products import emit_product, product_units
from rushlight.compile.program import Window
from rushlight.compile.registers import Reg
from rushlight.compile.statements import Product, Statement
from rushlight.compile.twister import Draws
from rushlight.compile.vmath import in_order

if TYPE_CHECKING:
    from rushlight.compile.panels import Arrangement
    from rushlight.compile.plan import Plan

WORTH_SPLITTING = 3000  # cycles, several times what meeting at a barrier costs
WORTH_HELP = 500_000  # cycles of a step, many times what it takes a helper to come
WORTH_SHARING = 100_000  # cycles, many times what it costs to ask which piece is next

PATIENCE = 4000  # looks of a thread that waits, before it lets others run

# Threads meet here. `sync` holds the round at 0 and the number of those that have come at 64; after a bounded
# number of looks a waiting thread lets others run, so that too few cores make it slow, not stuck.
BARRIER = """
define internal i32 @rest(i32 %looks) #1 {
entry:
  PAUSE
  %more = add i32 %looks, 1
  %long = icmp ugt i32 %more, PATIENCE
  br i1 %long, label %yield, label %done
yield:
  %unused = call i32 @sched_yield()
  br label %done
done:
  ret i32 %more
}

define internal void @barrier(ptr %sync, i64 %threads) #1 {
entry:
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %done, label %meet
meet:
  %round = load atomic i32, ptr %sync acquire, align 4
  %count = getelementptr i8, ptr %sync, i64 64
  %before = atomicrmw add ptr %count, i32 1 acq_rel
  %here = add i32 %before, 1
  %all = trunc i64 %threads to i32
  %last = icmp eq i32 %here, %all
  br i1 %last, label %release, label %wait
release:
  store atomic i32 0, ptr %count monotonic, align 4
  %next = add i32 %round, 1
  store atomic i32 %next, ptr %sync release, align 4
  ret void
wait:
  %looks = phi i32 [ 0, %meet ], [ %more, %again ]
  %now = load atomic i32, ptr %sync acquire, align 4
  %same = icmp eq i32 %now, %round
  br i1 %same, label %again, label %done
again:
  %more = call i32 @rest(i32 %looks)
  br label %wait
done:
  ret void
}
"""

# A thread's share of the step with a number, as soon as it has begun (see `crew`); nothing if it never did,
# and a later one has.
HELP = f"""
define void @help(ptr %table, i64 %number, i64 %thread, i64 %threads, ptr %sync) #0 {{
entry:
  %started = getelementptr i8, ptr %sync, i64 {STARTED}
  br label %wait
wait:
  %looks = phi i32 [ 0, %entry ], [ %more, %again ]
  %now = load atomic i64, ptr %started acquire, align 8
  %early = icmp slt i64 %now, %number
  br i1 %early, label %again, label %come
again:
  %more = call i32 @rest(i32 %looks)
  br label %wait
come:
  %due = icmp eq i64 %now, %number
  br i1 %due, label %work, label %done
work:
  %code = call i32 @step(ptr %table, i64 %thread, i64 %threads, ptr %sync)
  br label %done
done:
  ret void
}}
"""


def cost(group: Group) -> float:
    """About how many cycles a group takes."""
    count = 1
    for n in group.domain:
        count *= n
    total = 0.0
    lanes = vector_bytes() / 4
    if group.product is not None:
        total += count * max(group.product.k, 4) / lanes / 1.6
    for each in group.statements:
        size = len(in_order([each.expr], into_rare=False))
        total += count / (1 if each.add else lanes) * (size * 0.5 + len(each.loads) + 1)
    return total


def units_of_group(
    group: Group, product: Product | None, ways: Mapping[Product, str], panels: Mapping[int, Shape]
) -> int:
    """Into how many units a group is split, whose product may read other operands than in a single step: 1 if
    that is not worth it.
    """
    operand = group.split()
    if operand is not None:
        return units_of_split(operand)
    if group.single is not None or (cost(group) < WORTH_SPLITTING and group.strands() == 1):
        return 1
    if product is not None:
        return product_units(product, ways[product], group.statements, panels)
    return loop_units(group.statements)


def is_in_strands(group: Group, units: int) -> bool:
    """Whether the units in which a group is split are strands (see `strands`)."""
    return units == group.strands() > 1


ALONE, IN_STRANDS, SHARED = "alone", "in strands", "shared"


def _sharing(group: Group, units: int) -> str:
    """How threads do a group that is split into so many units."""
    if is_in_strands(group, units):
        return IN_STRANDS
    return SHARED if units > 1 else ALONE


def ordered(groups: Sequence[Group], split: dict[Group, int]) -> list[Group]:
    """The groups in an order that respects what each needs, with few changes between those that threads do
    not share, do in strands, and share in other ways.
    """
    waits_for = [len(each.before) for each in groups]
    number_of: dict[object, int] = {each: number for number, each in enumerate(groups)}
    sorts = [_sharing(each, split[each]) for each in groups]
    ready: dict[str, list[int]] = {ALONE: [], IN_STRANDS: [], SHARED: []}  # heaps, by the sort
    for number, count in enumerate(waits_for):
        if not count:
            ready[sorts[number]].append(number)
    order: list[Group] = []
    sort = ALONE
    while any(ready.values()):
        sort = sort if ready[sort] else next(each for each in ready if ready[each])
        chosen = groups[heappop(ready[sort])]
        order.append(chosen)
        for each in chosen.after:
            number = number_of[each]
            waits_for[number] -= 1
            if not waits_for[number]:
                heappush(ready[sorts[number]], number)
    assert len(order) == len(groups), "groups wait for each other"
    return order


class Kernels:
    """The functions of a module, one for each different text."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.texts: list[str] = []
        self.declared: set[str] = set()
        self.draws = Draws(vector_bytes(), "#1")

    def add(self, name: str, e: Emitter, pointers: int, split: bool) -> str:
        """A function of so many pointers, and of the units to do if it can be split; its name."""
        body = "\n".join([*e.rooms, *e.lines])
        self.declared |= e.declared
        given = [f"ptr noalias %b{place}" for place in range(pointers)]
        if split:
            given += ["i64 %first", "i64 %last"]
        key = f"({', '.join(given)}) #1 {{\nentry:\n{body}\n  ret void\n}}"
        known = self.names.get(key)
        if known is None:
            known = self.names[key] = f"{name}_{len(self.names)}"
            self.texts.append(f"define internal void @{known}{key}")
        return known


PART = (Reg("%first", "i8", 1), Reg("%last", "i8", 1))


def emit_group(
    plan: Plan, group: Group, numbers: Sequence[int], split: bool, arrangement: Arrangement
) -> Emitter:
    """The code of a group; its buffers are the parameters ``%b0``, ``%b1``, ... in the order of `numbers`.

    What it stores in buffers that are spared is left out if their address is null.
    """
    stored, spared = plan.stored, plan.spared
    e = Emitter()
    pointers = {number: f"%b{place}" for place, number in enumerate(numbers)}
    panels = {
        number: arrangement.panels[number].panels(kind_of(plan.buffers[number].dtype))
        for number in numbers
        if number in arrangement.panels
    }
    part = PART if split else None
    operand = group.split()

    storing = group.storing(stored)
    kept: set[Statement] = {each for each in group.statements if each in stored}
    spare: Spare | None = None
    if any(each.store.buffer.number in spared for each in storing):
        first = next(number for number in numbers if number in spared)
        spare = Spare(spared, e.op(f"icmp ne ptr {pointers[first]}, null", "b1", 1))
    with contextlib.ExitStack() as stack:
        if spare is not None and all(each.store.buffer.number in spared for each in storing):
            stack.enter_context(e.when(spare.wanted))
            spare = spare._replace(holds=True)
        product = arrangement.product(group)
        if product is not None:
            keeps = product in stored
            way = (arrangement.ways or plan.ways)[product]
            meanwhile = arrangement.batches.meanwhile(group, e, pointers)
            listing = arrangement.batches.listed.get(group)
            emit_product(
                e,
                product,
                way,
                group.statements,
                pointers,
                kept,
                keeps,
                part,
                spare,
                panels=panels,
                meanwhile=meanwhile,
                listed=None if listing is None else Listed(listing.lists, pointers[listing.buffer.number]),
            )
        elif operand is not None:
            emit_split(e, operand, pointers, part)
        else:
            emit_loops(e, group.statements, pointers, kept, part, spare)
    return e


def entry_function(arguments: Sequence[Window], buffers: int) -> str:
    """The text of ``call``, which Python calls with an array for each of `arguments` (see `entry`).

    Its owner is an array, the table: addresses of all `buffers`, then of where threads meet, then `NEEDED`,
    then how many threads run the step, and its number, for which helpers wait.
    """
    f = Function("define ptr @call(ptr %owner, ptr %arrays, i64 %count) #0 {")

    def elements(array: str) -> str:
        return f.op(f"load ptr, ptr {f.op(f'getelementptr i8, ptr {array}, i64 {HEAD}')}, align 8")

    table = elements("%owner")
    for place, window in enumerate(arguments):
        first = elements(f.pointer("%arrays", place))
        begin = f.op(f"getelementptr i8, ptr {first}, i64 {-window.offset * window.dtype.itemsize}")
        entry = f.op(f"getelementptr ptr, ptr {table}, i64 {window.buffer.number}")
        f.line(f"store ptr {begin}, ptr {entry}, align 8")
    sync, release, acquire, make_int = (f.pointer(table, buffers + place) for place in range(1 + len(NEEDED)))
    threads, number = (f.number(table, buffers + 1 + len(NEEDED) + place) for place in range(2))
    thread = f.op(f"call ptr {release}()")
    started = f.op(f"getelementptr i8, ptr {sync}, i64 {STARTED}")
    f.line(f"store atomic i64 {number}, ptr {started} release, align 8")
    code = f.op(f"call i32 @step(ptr {table}, i64 0, i64 {threads}, ptr {sync})")
    f.line(f"call void {acquire}(ptr {thread})")
    number = f.op(f"sext i32 {code} to i64")
    f.line(f"ret ptr {f.op(f'call ptr {make_int}(i64 {number})')}")
    return f.text()


def module_text(kernels: Kernels, functions: Sequence[str], pause: str) -> str:
    """The whole module."""
    attributes = [
        f"attributes #0 = {{ nounwind {ATTRIBUTES} }}",
        f"attributes #1 = {{ nounwind noinline {ATTRIBUTES} }}",
    ]
    declared = kernels.declared | kernels.draws.declared | {"declare i32 @sched_yield()"}
    if any("llvm.memset" in each for each in functions):
        declared.add("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
    if pause:
        declared.add(f"declare void @{pause}()")
    if any("mxcsr" in each for each in functions):
        declared |= {f"declare void @llvm.x86.sse.{name}mxcsr(ptr)" for name in ("ld", "st")}
    barrier = BARRIER.replace("PAUSE", f"call void @{pause}()" if pause else "")
    barrier = barrier.replace("PATIENCE", str(PATIENCE))
    return "\n".join(
        [barrier, *kernels.draws.texts, *kernels.texts, *functions, *sorted(declared), *attributes, ""]
    )
