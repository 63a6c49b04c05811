"""Groups in an order, with threads: which groups are split, where threads wait, and the functions that run.

The module has a function for every group, ``step``, which runs one step, and ``run``, which runs many (see
`many`). All threads run the same function; a group that is split is done by all of them, any other by the
first. Invariant: between two groups that touch the same memory, not both done by the first thread, there is a
barrier; what is computed does not depend on the number of threads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from rushlight.compile.blocks import emit_split, units_of_split
from rushlight.compile.body import Spare
from rushlight.compile.crew import STARTED
from rushlight.compile.emit import Emitter, Reg
from rushlight.compile.entry import HEAD, NEEDED
from rushlight.compile.expr import kind_of
from rushlight.compile.group import Group
from rushlight.compile.layout import Shape
from rushlight.compile.llvm import ATTRIBUTES, vector_bytes
from rushlight.compile.loops import emit_loops, loop_units
from rushlight.compile.products import emit_product, product_units
from rushlight.compile.program import Buffer, Window
from rushlight.compile.statements import Product, Statement
from rushlight.compile.twister import Draws
from rushlight.compile.vmath import in_order
from rushlight.storage import LINE

if TYPE_CHECKING:
    from rushlight.compile.panels import Arrangement
    from rushlight.compile.plan import Plan

WORTH_SPLITTING = 3000  # cycles, several times what meeting at a barrier costs

WORTH_HELP = 500_000  # cycles of a step, many times what it takes a helper to come
WORTH_SHARING = 100_000  # cycles, many times what it costs to ask which piece is next
PIECES = 32  # into which a group is cut whose pieces threads take as they go
MOST_SHARING = 64  # threads that do so

ERROR = 128  # where `sync` has the number of the check that failed
CROSSING = 192  # where `sync` says that the first and last loops of steps are not its own
SHARES = 256  # where the lines begin that say, for a thread and a group, how much of its share is taken
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


def units_of_group(group: Group, ways: Mapping[Product, str], panels: Mapping[int, Shape]) -> int:
    """Into how many units a group is split: 1 if that is not worth it."""
    operand = group.split()
    if operand is not None:
        return units_of_split(operand)
    if group.single is not None or cost(group) < WORTH_SPLITTING:
        return 1
    if group.product is not None:
        return product_units(group.product, ways[group.product], group.statements, panels)
    return loop_units(group.statements)


def meeting_bytes(shared: int) -> int:
    """How much memory `sync` takes, if threads share so many groups as they go."""
    return SHARES + shared * MOST_SHARING * LINE


def ordered(groups: Sequence[Group], split: dict[Group, int]) -> list[Group]:
    """The groups in an order that respects what each needs, with few changes between split and other ones."""
    waits_for = [len(each.before) for each in groups]
    number_of: dict[object, int] = {each: number for number, each in enumerate(groups)}
    ready: dict[bool, list[int]] = {False: [], True: []}  # heaps, by whether the group is split
    for number, count in enumerate(waits_for):
        if not count:
            ready[split[groups[number]] > 1].append(number)
    order: list[Group] = []
    sharing = False
    while ready[False] or ready[True]:
        sharing = sharing if ready[sharing] else not sharing
        chosen = groups[heappop(ready[sharing])]
        order.append(chosen)
        for each in chosen.after:
            number = number_of[each]
            waits_for[number] -= 1
            if not waits_for[number]:
                heappush(ready[split[groups[number]] > 1], number)
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
        if group.product is not None:
            product, keeps = group.product, group.product in stored
            way = arrangement.ways.get(product, plan.ways[product])
            meanwhile = arrangement.batches.meanwhile(group, e, pointers)
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
            )
        elif operand is not None:
            emit_split(e, operand, pointers, part)
        else:
            emit_loops(e, group.statements, pointers, kept, part, spare)
    return e


# How this thread's arithmetic treats denormal numbers, and the same with both bits that make them zero.
_MODES = """\
  %usual = alloca i32, align 4
  call void @llvm.x86.sse.stmxcsr(ptr %usual)
  %mode = load i32, ptr %usual, align 4
  %zeros = or i32 %mode, 32832
  %flushing = alloca i32, align 4
  store i32 %zeros, ptr %flushing, align 4"""


class Function:
    """The text of a function that runs groups on several threads."""

    def __init__(self, head: str) -> None:
        self.lines = [head, "entry:"]
        self._count = 0
        self._has_modes = False

    def name(self) -> str:
        """A fresh register."""
        self._count += 1
        return f"%x{self._count}"

    def op(self, text: str) -> str:
        """An instruction with a result."""
        made = self.name()
        self.lines.append(f"  {made} = {text}")
        return made

    def line(self, text: str) -> None:
        """An instruction without one."""
        self.lines.append("  " + text)

    def pointer(self, table: str, place: int) -> str:
        """An address from a table of addresses."""
        at = self.op(f"getelementptr ptr, ptr {table}, i64 {place}")
        return self.op(f"load ptr, ptr {at}, align 8")

    def number(self, table: str, place: int) -> str:
        """A number from a table of 8-byte words."""
        at = self.op(f"getelementptr i64, ptr {table}, i64 {place}")
        return self.op(f"load i64, ptr {at}, align 8")

    def part(self, units: int, thread: str = "%thread") -> tuple[str, str]:
        """A thread's units."""
        low = self.op(f"mul i64 {thread}, {units}")
        high = self.op(f"add i64 {low}, {units}")
        return self.op(f"udiv i64 {low}, %threads"), self.op(f"udiv i64 {high}, %threads")

    def part_or_all(self, units: int, copies: int) -> tuple[str, str]:
        """A thread's units of what there are so many copies of: all if it has one of its own."""
        first, last = self.part(units)
        if copies == 1:
            return first, last
        alone = self.op(f"icmp ule i64 %threads, {copies}")
        first = self.op(f"select i1 {alone}, i64 0, i64 {first}")
        return first, self.op(f"select i1 {alone}, i64 {units}, i64 {last}")

    def own(self, pointer: str, buffer: Buffer) -> str:
        """The address of a thread's own copy, given that of the first."""
        if buffer.copies == 1:
            return pointer
        made = self.name()
        self.lines += own_copy(made, pointer, buffer)
        return made

    def share(self, call: Callable[[str, str], str], units: int, place: int) -> None:
        """Have threads do a group's units, of which `call` does those from a first one up to a last: each its
        share, and who is done before the others takes pieces of theirs. `place` tells such groups apart.
        """
        self._count += 1
        tag, piece = self._count, -(-units // PIECES)
        others = self.op("sub i64 %threads, 2")
        several = self.op(f"icmp ult i64 {others}, {MOST_SHARING - 1}")
        self.line(f"br i1 {several}, label %several{tag}, label %own{tag}")
        self.lines.append(f"own{tag}:")
        self.line(call(*self.part(units)))
        self.line(f"br label %shared{tag}")
        self.lines += [f"several{tag}:", f"  br label %whose{tag}", f"whose{tag}:"]
        self.line(f"%after{tag} = phi i64 [ 0, %several{tag} ], [ %further{tag}, %taken{tag} ]")
        owner = self.op(f"urem i64 {self.op(f'add i64 %thread, %after{tag}')}, %threads")
        first, last = self.part(units, owner)
        line = self.op(f"add i64 {self.op(f'mul i64 {owner}, %groups')}, {place}")
        line = self.op(f"shl i64 {line}, 6")
        line = self.op(f"getelementptr i8, ptr %sync, i64 {self.op(f'add i64 {line}, {SHARES}')}")
        self.line(f"br label %take{tag}")
        self.lines.append(f"take{tag}:")
        taken = self.op(f"atomicrmw add ptr {line}, i64 {piece} monotonic")
        begin = self.op(f"add i64 {first}, {taken}")
        left = self.op(f"icmp slt i64 {begin}, {last}")
        self.line(f"br i1 {left}, label %do{tag}, label %taken{tag}")
        self.lines.append(f"do{tag}:")
        end = self.op(f"add i64 {begin}, {piece}")
        end = self.op(f"select i1 {self.op(f'icmp slt i64 {end}, {last}')}, i64 {end}, i64 {last}")
        self.line(call(begin, end))
        self.line(f"br label %take{tag}")
        self.lines.append(f"taken{tag}:")
        self.line(f"%further{tag} = add i64 %after{tag}, 1")
        more = self.op(f"icmp slt i64 %further{tag}, %threads")
        self.line(f"br i1 {more}, label %whose{tag}, label %shared{tag}")
        self.lines.append(f"shared{tag}:")

    def begin_sharing(self, groups: int) -> None:
        """Nothing is taken of so many groups: at the beginning, a barrier before they are shared."""
        self.lines[2:2] = [
            f"  %groups = add i64 0, {groups}",
            f"  %lines = mul i64 %threads, {groups * LINE}",
            f"  %are_few = icmp ule i64 %threads, {MOST_SHARING}",
            "  %is_first = icmp eq i64 %thread, 0",
            "  %clears = and i1 %are_few, %is_first",
            "  %cleared = select i1 %clears, i64 %lines, i64 0",
            f"  %shares = getelementptr i8, ptr %sync, i64 {SHARES}",
            "  call void @llvm.memset.p0.i64(ptr %shares, i8 0, i64 %cleared, i1 false)",
        ]

    def only_first(self) -> str:
        """Begin what only the first thread does; returns the label to go on at."""
        self._count += 1
        tag = self._count
        is_first = self.op("icmp eq i64 %thread, 0")
        self.line(f"br i1 {is_first}, label %only{tag}, label %all{tag}")
        self.lines.append(f"only{tag}:")
        return f"all{tag}"

    def everybody(self, label: str) -> None:
        """Go on with all threads."""
        self.line(f"br label %{label}")
        self.lines.append(f"{label}:")

    def flush(self, wanted: bool) -> None:
        """Have denormal numbers count as zero from here on, or as they did when the function was called."""
        if not self._has_modes:
            self._has_modes = True
            self.lines[2:2] = _MODES.splitlines()
        self.line(f"call void @llvm.x86.sse.ldmxcsr(ptr {'%flushing' if wanted else '%usual'})")

    def unless_crossing(self, call: str) -> None:
        """A call that is left out in steps whose first and last loops are done elsewhere (see `crossing`)."""
        at = self.op(f"getelementptr i8, ptr %sync, i64 {CROSSING}")
        flag = self.op(f"load i32, ptr {at}, align 4")
        wanted = self.op(f"icmp eq i32 {flag}, 0")
        self._count += 1
        self.line(f"br i1 {wanted}, label %do{self._count}, label %past{self._count}")
        self.lines.append(f"do{self._count}:")
        self.line(call)
        self.line(f"br label %past{self._count}")
        self.lines.append(f"past{self._count}:")

    def barrier(self) -> None:
        """All threads meet."""
        self.line("call void @barrier(ptr %sync, i64 %threads)")

    def text(self) -> str:
        """The whole function."""
        return "\n".join([*self.lines, "}"])


def own_copy(made: str, pointer: str, buffer: Buffer) -> list[str]:
    """The lines by which the register `made` is the address of a thread's copy, given that of the first."""
    name = made[1:]
    return [
        f"  %alone.{name} = icmp ule i64 %threads, {buffer.copies}",
        f"  %copy.{name} = select i1 %alone.{name}, i64 %thread, i64 0",
        f"  %far.{name} = mul i64 %copy.{name}, {buffer.nbytes // buffer.copies}",
        f"  {made} = getelementptr i8, ptr {pointer}, i64 %far.{name}",
    ]


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
