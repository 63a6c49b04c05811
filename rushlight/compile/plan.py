"""What a program becomes: groups in order, the values that go to memory, and the text of its functions.

`Plan` puts the passes in a row (`simplify`, `lower`, `products`, `group`, `schedule`); a `Segment` is a
native stretch of a step between calls that NumPy carries out. Invariant: a value that nobody outside its
group reads is never stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.compile.crossing import Crossing, GroupCall, crossing_of
from rushlight.compile.crossing_columns import ColumnPlan, columns_of
from rushlight.compile.denormals import Fading
from rushlight.compile.emit import Emitter
from rushlight.compile.entry import is_possible
from rushlight.compile.function import ERROR, Function
from rushlight.compile.group import Group, Touch, fuse, touches
from rushlight.compile.llvm import has_flush, pause_function
from rushlight.compile.loops import emit_loops
from rushlight.compile.lower import lower_program
from rushlight.compile.many import STEP_OF_MANY, panel_functions, run_function
from rushlight.compile.many_crossing import Calls, crossing_functions
from rushlight.compile.meetings import Meetings, Place
from rushlight.compile.panels import USUAL, Arrangement, arranged
from rushlight.compile.products import prepare
from rushlight.compile.program import MANY, SINGLE, TEMPORARY, Buffer, Call, Program, Window
from rushlight.compile.schedule import (
    HELP,
    WORTH_HELP,
    WORTH_SHARING,
    Kernels,
    cost,
    emit_group,
    entry_function,
    is_in_strands,
    module_text,
    ordered,
    units_of_group,
)
from rushlight.compile.simplify import without_repeats
from rushlight.compile.statements import Access, Check, Draw, Opaque, Product, Statement, Work, at
from rushlight.compile.strands import in_strands


class Plan:
    """What a program becomes: groups in order, which of their values are stored, and the memory they need."""

    def __init__(self, program: Program, kept: Sequence[Window]) -> None:
        self.buffers = list(program.buffers)
        self.kept = {each.buffer.number for each in (*program.results, *kept)}
        self.program = without_repeats(program, self.kept)
        lowered = lower_program(self.program, len(self.buffers))
        self.buffers += lowered.added
        self.generators = lowered.generators
        work = in_strands(self._needed(lowered.work), self._temporary)
        self.prepared = prepare(work, self._temporary)
        work, self.ways = self.prepared.work, self.prepared.ways
        self.fading = Fading(work) if has_flush() else None
        self.groups = fuse(work, {each.buffer.number for each in kept})
        self.is_whole = not any(isinstance(group.single, Opaque) for group in self.groups)
        self.runs_many = bool(self.groups) and self.is_whole and program.repeats and self._can_run_many()
        self.split = {group: units_of_group(group, group.product, self.ways, {}) for group in self.groups}
        self.groups = ordered(self.groups, self.split)
        self.has_entry = self.has_help = False
        self.runs: list[str] = []  # what `emit` wrote code for: `SINGLE` steps, `MANY` in one call
        self.shared = 0  # at most so many groups of a function are shared as threads go
        self.crossing: Crossing | None = None
        self.columns: ColumnPlan | None = None
        self.crossing_calls: list[GroupCall] = []  # those of the two groups that are one loop across steps
        self.checks: list[Check] = []
        self.flags = self._temporary(1, np.dtype(np.int32), "flags")
        self.kept.add(self.flags.number)
        self.stored = self._stores()
        self.spared = self._spared({each.buffer.number for each in program.results})
        self.spans = self._spans()
        self.arrangement = USUAL

    def _temporary(self, size: int, dtype: Any, name: str) -> Buffer:
        made = Buffer(len(self.buffers), TEMPORARY, size, dtype, name)
        self.buffers.append(made)
        return made

    def lasting_temporary(self, size: int, dtype: Any, name: str, copies: int) -> Buffer:
        """Memory of its own for what is not made in the step, with so many copies."""
        made = self._temporary(copies * size, dtype, name)
        made.copies = copies
        self.kept.add(made.number)
        return made

    def _needed(self, work: list[Work]) -> list[Work]:
        """The work whose results are read or remain."""
        lasting = {each.number for each in self.buffers if each.kind != TEMPORARY} | self.kept
        live, found = set(lasting), []
        for each in reversed(work):
            if isinstance(each, Opaque):
                live |= {window.buffer.number for window in each.call.reads()}
            elif isinstance(each, Check):
                live |= {access.buffer.number for access in each.loads}
                live |= {window.buffer.number for window in each.shown}
            elif isinstance(each, Draw):
                live |= {access.buffer.number for access in each.loads}
            else:
                if each.store.buffer.number not in live:
                    continue
                reads = [a for a, _ in each.reads()] if isinstance(each, Product) else each.reads()
                live |= {access.buffer.number for access in reads}
            found.append(each)
        return found[::-1]

    def _stores(self) -> set[Any]:
        """The statements and products whose value must be in memory."""
        read_by: dict[int, set[int]] = {}
        for group in self.groups:
            for touch in group.touches():
                if not touch.writes:
                    read_by.setdefault(touch.number, set()).add(group.number)
        stored: set[Any] = set()
        for group in self.groups:
            last: dict[Any, Any] = {}
            for each in group.work():
                if not isinstance(each, (Statement, Product)):
                    continue
                buffer = each.store.buffer
                lasting = buffer.kind != TEMPORARY or buffer.number in self.kept
                if isinstance(each, Statement) and (each.fold or each.add):
                    stored.add(each)
                elif lasting or read_by.get(buffer.number, set()) - {group.number}:
                    last[each.store] = each
            stored.update(last.values())
        stored.update(plain for each, plain in self.prepared.plain.items() if each in stored)
        return stored

    def _spared(self, results: set[int]) -> set[int]:
        """What is kept but read by nothing in the step but the loops that make it, such as the gradients of
        most weights: when many steps run, only the last one needs to store it.
        """
        needed, written = set(results), set[int]()
        for group in self.groups:
            made = {
                each.store.buffer.number
                for each in group.work()
                if isinstance(each, Product)
                or (isinstance(each, Statement) and not each.fold and not each.add)
            }
            needed |= group.touched.keys() - made
            needed |= made & written
            written |= made
        kept = {each.number for each in self.buffers if each.kind == TEMPORARY} & self.kept
        return kept & written - needed

    def _spans(self) -> dict[int, tuple[int, int]]:
        """For every temporary that needs memory of its own: the first and last group that touches it. Groups
        in strands that follow one another count as one: a thread may be at the last when another begins.
        """
        spans: dict[int, tuple[int, int]] = {}
        place = -1
        before = False
        for group in self.groups:
            in_strands = is_in_strands(group, self.split[group])
            if not (in_strands and before):
                place += 1
            before = in_strands
            numbers = {
                touch.number for touch in group.touches() if not touch.writes or group.single is not None
            }
            numbers |= {each.store.buffer.number for each in group.storing(self.stored)}
            plain = None if group.product is None else self.prepared.plain.get(group.product)
            if plain is not None and self.runs_many:  # which may read what single steps read a copy of
                numbers |= {access.buffer.number for access, _ in plain.reads()} & spans.keys()
            for number in numbers:
                first, _ = spans.get(number, (place, place))
                spans[number] = (first, place)
        return spans

    # -- code ------------------------------------------------------------------------------------------------

    def fades(self, group: Group) -> bool:
        """Whether denormal numbers count as zero in a group."""
        return self.fading is not None and self.fading.allows(group.statements)

    def place(self, touch: Touch, offsets: dict[int, int]) -> tuple[Any, int, int]:
        """The memory that an access may touch."""
        number = touch.number
        if number in offsets:
            size = self.buffers[number].dtype.itemsize
            return "block", offsets[number] + touch.low * size, offsets[number] + touch.high * size
        return number, touch.low, touch.high

    def emit(self, offsets: dict[int, int], live: Sequence[Buffer], way: str) -> tuple[str, list[str | Call]]:
        """The text of the module for one of the ways to run (see `built`), and what to run in order for a
        single step: native functions by name, opaque calls.
        """
        kernels = Kernels()
        functions: list[str] = []
        if self.runs_many:
            self.crossing = crossing_of(self, offsets, {each.number for each in live})
            if self.crossing is not None:
                self.columns = columns_of(self, self.crossing)
            else:  # whose loops go row by row
                self.arrangement = arranged(self)
        is_apart = self.runs_many and (self.crossing is not None or not self.arrangement.is_usual())
        if way == SINGLE or self.arrangement.is_usual():
            self.runs.append(SINGLE)
        if self.runs_many and (not is_apart or way == MANY):
            self.runs.append(MANY)
        self.has_entry = self.is_whole and bool(self.groups) and is_possible()
        work = sum(cost(group) for group in self.groups if self.split[group] > 1)
        self.has_help = self.has_entry and work > WORTH_HELP
        segments: list[str | Call] = ["step"]  # of what many steps can be run of
        if SINGLE in self.runs:
            segments = self._single_steps(kernels, functions, offsets)
        if MANY in self.runs:
            self._many_steps(kernels, functions, offsets, live)
        return module_text(kernels, functions, pause_function()), segments

    def _single_steps(
        self, kernels: Kernels, functions: list[str], offsets: dict[int, int]
    ) -> list[str | Call]:
        """The functions of single steps, and calls between them."""
        segments: list[str | Call] = []
        step: Segment | None = None
        for group in self.groups:
            if isinstance(group.single, Opaque):
                if step is not None:
                    functions.append(step.close())
                    step = None
                segments.append(group.single.call)
                continue
            if step is None:
                name = "step" if self.is_whole else f"segment{len(segments)}"
                segments.append(name)
                step = Segment(self, kernels, offsets, name)
            step.add(group)
        if step is not None:
            functions.append(step.close())
            self.crossing_calls = step.crossing_calls
        if self.has_entry:
            functions.append(entry_function(self.program.arguments, len(self.buffers)))
        if self.has_help:
            functions.append(HELP)
        return segments

    def _many_steps(
        self, kernels: Kernels, functions: list[str], offsets: dict[int, int], live: Sequence[Buffer]
    ) -> None:
        """The functions that run many steps."""
        if not self.arrangement.is_usual():
            step = Segment(self, kernels, offsets, STEP_OF_MANY, self.arrangement)
            for group in self.groups:
                if group not in self.arrangement.left_out:
                    step.add(group)
            functions += [step.close(), *panel_functions(kernels, self)]
        functions.append(run_function(kernels, self, live))
        if self.crossing is not None:
            calls = Calls(*self.crossing_calls)
            functions += crossing_functions(kernels, self, live, self.crossing, calls)

    def _can_run_many(self) -> bool:
        arguments = self.program.arguments
        return all(
            window.shape and window.is_contiguous() and not window.offset for window in arguments
        ) and (
            len({window.shape[0] for window in arguments}) == 1
            and len({window.buffer.number for window in arguments}) == len(arguments)
            and all(window.is_contiguous() for window in self.program.results)
        )


class Segment:
    """A native stretch of a step: one function that all threads run."""

    def __init__(
        self,
        plan: Plan,
        kernels: Kernels,
        offsets: dict[int, int],
        name: str,
        arrangement: Arrangement = USUAL,
    ) -> None:
        self.plan, self.kernels, self.offsets, self.arrangement = plan, kernels, offsets, arrangement
        self.f = Function(f"define i32 @{name}(ptr %table, i64 %thread, i64 %threads, ptr %sync) #0 {{")
        self.meetings = Meetings()
        self.has_met = not arrangement.is_usual()  # as `run` takes care of
        self.shared = 0  # groups whose pieces threads take as they go
        self.pending = False  # a check was made whose outcome not all threads know
        self.flushing = False  # denormal numbers count as zero
        # the two groups that are one loop across steps
        self.crossing_calls: list[GroupCall] = []
        self.error = self.f.op(f"getelementptr i8, ptr %sync, i64 {ERROR}")

    def add(self, group: Group) -> None:
        """Run one group."""
        plan, f, arrangement = self.plan, self.f, self.arrangement
        split, product = plan.split[group], arrangement.product(group)
        touched = group.touches()
        if not arrangement.is_usual():
            split = units_of_group(group, product, arrangement.ways, arrangement.panels)
        if product is not None and product is not group.product:
            touched += [each for each in touches(group, product) if not each.writes]
        operand = group.split()
        is_split = split > 1 or operand is not None  # which every thread splits, if there are copies
        in_strands = is_in_strands(group, split)
        places = [self._place(each, in_strands) for each in touched]
        writes_state = any(each.writes and plan.buffers[each.number].kind != TEMPORARY for each in touched)
        if (self.pending and writes_state) or self.meetings.are_needed(is_split, places):
            self._meet()
        self.meetings.add(is_split, places)
        if isinstance(group.single, Check):
            self._check(group.single)
            return
        if isinstance(group.single, Draw):
            self._draw(group.single)
            return
        numbers = _buffers(group.statements, product, plan.stored)
        if group is arrangement.batches.asking:
            numbers += [each.addresses.number for each in arrangement.batches.coming]
        if group in arrangement.batches.listed:
            numbers.append(arrangement.batches.listed[group].buffer.number)
        e = emit_group(plan, group, numbers, is_split, arrangement)
        name = self.kernels.add("_".join(group.ops())[:60], e, len(numbers), is_split)
        self._flush(plan.fades(group))
        if is_split:
            given = self._given(numbers)

            def call(first: str, last: str) -> str:
                return f"call void @{name}({', '.join([*given, f'i64 {first}', f'i64 {last}'])})"

            if plan.crossing is not None and group in (plan.crossing.first, plan.crossing.last):
                self.crossing_calls.append(GroupCall(name, numbers, split))
                f.unless_crossing(call(*f.part(split)))
            elif operand is not None:
                f.line(call(*f.part_or_all(split, operand.store.buffer.copies)))
            elif self.has_met and not in_strands and cost(group) > WORTH_SHARING:
                f.share(call, split, self.shared)
                self.shared += 1
            else:
                f.line(call(*f.part(split)))
            return
        after = f.only_first()
        f.line(f"call void @{name}({', '.join(self._given(numbers))})")
        f.everybody(after)

    def _given(self, numbers: Sequence[int]) -> list[str]:
        """The addresses of buffers as operands of a call."""
        return [f"ptr {self._pointer(number)}" for number in numbers]

    def _place(self, touch: Touch, in_strands: bool) -> Place:
        """The memory that an access may touch."""
        own = self.arrangement.batches.own.get(touch.number)
        if own is not None:
            return Place(touch.writes, own.number, 0, own.size)
        memory, low, high = self.plan.place(touch, self.offsets)
        size = (high - low) // (touch.high - touch.low)  # of an element, where places are counted in bytes
        return Place(touch.writes, memory, low, high, touch.strand * size if in_strands else 0)

    def _pointer(self, number: int) -> str:
        own = self.arrangement.batches.own.get(number)
        number = number if own is None else own.number
        # Where it is wanted: more addresses than there are registers would be kept on the stack.
        return self.f.own(self.f.pointer("%table", number), self.plan.buffers[number])

    def _flush(self, wanted: bool) -> None:
        """Have denormal numbers count as zero from here on, or no longer."""
        if wanted != self.flushing:
            self.flushing = wanted
            self.f.flush(wanted)

    def _check(self, check: Check) -> None:
        plan, f = self.plan, self.f
        if check not in plan.checks:
            plan.checks.append(check)
        number = plan.checks.index(check) + 1
        statement = _check_statement(check, plan.flags)
        numbers = _buffers([statement], None, {statement})
        e = Emitter()
        pointers = {number: f"%b{place}" for place, number in enumerate(numbers)}
        emit_loops(e, [statement], pointers, {statement})
        name = self.kernels.add("check", e, len(numbers), False)
        after = f.only_first()
        f.line(f"call void @{name}({', '.join(self._given(numbers))})")
        flag = f.op(f"load i32, ptr {self._pointer(plan.flags.number)}, align 4")
        bad = f.op(f"icmp ne i32 {flag}, 0")
        code = f.op(f"select i1 {bad}, i32 {number}, i32 0")
        known = f.op(f"load i32, ptr {self.error}, align 4")
        first = f.op(f"icmp ne i32 {known}, 0")
        f.line(f"store i32 {f.op(f'select i1 {first}, i32 {known}, i32 {code}')}, ptr {self.error}, align 4")
        f.everybody(after)
        self.pending = True
        if any(each.buffer.kind == TEMPORARY for each in check.loads):
            self._meet()  # what was bad is told of while it is still there

    def _draw(self, draw: Draw) -> None:
        f = self.f
        after = f.only_first()
        places = []
        for access in (draw.store, *draw.loads):
            pointer = self._pointer(access.buffer.number)
            distance = access.offset * access.buffer.dtype.itemsize
            places.append(f.op(f"getelementptr i8, ptr {pointer}, i64 {distance}"))
        state = self._pointer(draw.state.buffer.number)
        f.line(self.kernels.draws.call(draw, state, places))
        f.everybody(after)

    def _meet(self) -> None:
        f = self.f
        f.barrier()
        self.has_met = True
        self.meetings.clear()
        if self.pending:
            self.pending = False
            code = f.op(f"load i32, ptr {self.error}, align 4")
            bad = f.op(f"icmp ne i32 {code}, 0")
            tag = f.name()[1:]
            f.line(f"br i1 {bad}, label %stop{tag}, label %go{tag}")
            f.lines.append(f"stop{tag}:")
            if self.flushing:
                f.flush(False)
            f.barrier()  # all know the code before anybody clears it
            f.line(f"ret i32 {code}")
            f.lines.append(f"go{tag}:")

    def close(self) -> str:
        """The function's text."""
        self._flush(False)
        self._meet()
        self.f.line("ret i32 0")
        if self.shared:
            self.f.begin_sharing(self.shared, self.arrangement.is_usual())
            self.plan.shared = max(self.plan.shared, self.shared)
        return self.f.text()


def _buffers(statements: Sequence[Statement], product: Product | None, stored: set[Any]) -> list[int]:
    """The numbers of the buffers that a group's code touches, in order of first use."""
    found: dict[int, None] = {}
    made: set[Access] = set()
    if product is not None:
        for access, _ in product.reads():
            found[access.buffer.number] = None
        made.add(product.store)
        if product in stored:
            found[product.store.buffer.number] = None
    for each in statements:
        for access in each.loads:
            if access not in made:
                found[access.buffer.number] = None
        for access in (*each.loads, each.store):
            for pick in access.picks:
                if pick.access not in made:
                    found[pick.access.buffer.number] = None
        if each in stored:
            found[each.store.buffer.number] = None
        if not each.fold:
            made.add(each.store)
    return list(found)


def _check_statement(check: Check, flags: Buffer) -> Statement:
    """The greatest of 0 and 1 over the domain, 1 where something is bad."""
    symbols = check.bad.symbols
    value = symbols.where(check.bad, symbols.const(1, "i4"), symbols.const(0, "i4"))
    window = Window(flags, 0, (), ())
    store = at(window, (0,) * len(check.domain), check.domain)
    dims = frozenset(range(len(check.domain)))
    return Statement(check.domain, check.loads, value, store, check.call, "amax", dims)
