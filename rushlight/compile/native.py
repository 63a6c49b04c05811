"""A program as native code: built once, run with one call (and NumPy in between where an op is opaque).

`Native` takes the place of `Replay`. Calls become statements (`lower`), statements are grouped (`group`),
groups become functions (`loops`, `products`), and functions become machine code (`llvm`). Invariant: memory
of the user's (states) is changed only by the program's own writes, and results are fresh arrays.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.compile.emit import Emitter
from rushlight.compile.expr import Symbols, kind_of
from rushlight.compile.group import Group, Touch, fuse
from rushlight.compile.llvm import Code, pause_function
from rushlight.compile.loops import emit_loops
from rushlight.compile.lower import lower_program
from rushlight.compile.pace import Pace
from rushlight.compile.products import prepare
from rushlight.compile.program import STATE, TEMPORARY, Buffer, Call, Program, Window, look
from rushlight.compile.replay import bind, flat, run_call
from rushlight.compile.schedule import (
    Function,
    Kernels,
    clustered,
    emit_group,
    module_text,
    run_function,
    units_of_group,
)
from rushlight.compile.simplify import without_repeats
from rushlight.compile.statements import Access, Check, Draw, Opaque, Product, Statement, Work, at

ALIGNMENT = 64
_STEP = (ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
_RUN = (
    ctypes.c_int32,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_int64,
    ctypes.c_int64,
    ctypes.c_void_p,
)


class Native:
    """A program compiled and bound to memory, ready to run.

    Args:
        program: what to run.
        kept: windows that are looked at after a run besides the results, such as gradients.
    """

    def __init__(self, program: Program, kept: Sequence[Window] = (), live: Sequence[Buffer] = ()) -> None:
        self.program = program
        self.live = list(live)
        self.plan = Plan(program, kept)
        self.memory = NativeMemory(program, self.plan)
        self.arguments = [self.memory.view(each) for each in program.arguments]
        self.results = [self.memory.view(each) for each in program.results]
        self.text, self.segments = self.plan.emit(self.memory.offsets, self.live)
        self.code = Code(self.text)
        self.table = self.memory.table
        self.sync = aligned(256)
        self.error = self.sync[128:132].view(np.int32)
        self.steps: list[Any] = []
        for segment in self.segments:
            if isinstance(segment, str):
                self.steps.append((self.code.function(segment, *_STEP), None))
            else:
                self.steps.append((None, bind(segment, self.memory)))
        self.checks = [bind(check.call, self.memory) for check in self.plan.checks]
        self.pace = Pace(any(units > 1 for units in self.plan.split.values()))
        self._run = self.code.function("run", *_RUN) if self.plan.runs_many else None

    def run(self, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        """One step: fresh copies of the results."""
        for place, given in zip(self.arguments, arguments, strict=True):
            np.copyto(place, given)
        table, sync = self.table.ctypes.data, self.sync.ctypes.data
        with self._drawing():
            for function, opaque in self.steps:
                if function is None:
                    run_call(opaque)
                    continue
                failed = function(table, 0, 1, sync)
                if failed:
                    self._explain(failed)
        return [each.copy() for each in self.results]

    def _drawing(self) -> contextlib.ExitStack:
        """What keeps other threads from the generators that native code draws from."""
        stack = contextlib.ExitStack()
        for each in self.plan.generators:
            stack.enter_context(each.drawing_natively())
        return stack

    def _explain(self, failed: int) -> None:
        """Raise what NumPy says about the call whose check failed."""
        self.error[0] = 0
        run_call(self.checks[failed - 1])
        raise AssertionError("a check failed that NumPy finds nothing wrong with")

    @property
    def can_run_many(self) -> bool:
        """Whether `run_many` can be called: no part of the step runs in NumPy, and arguments have rows."""
        return self._run is not None

    def run_many(
        self,
        data: Sequence[np.ndarray],
        rows: np.ndarray,
        live: np.ndarray,
        threads: int | None = None,
    ) -> list[np.ndarray]:
        """Many steps in few native calls.

        Args:
            data: for every argument the array whose rows make up the batches.
            rows: (steps, batch) numbers of rows, which must be there.
            live: (steps, count) what each live number is in each step.
            threads: how many threads work on it; by default as many as turn out to be fastest, up to
                `get_num_threads`. The results do not depend on it.

        Returns for every result an array with the steps as its first dimension.
        """
        assert self._run is not None
        found = [np.empty((len(rows), *each.shape), each.dtype) for each in self.program.results]
        rows = np.ascontiguousarray(rows, np.int64)
        live = np.ascontiguousarray(live, np.float64)
        done = 0
        while done < len(rows):
            count, stop = self.pace.next(threads, len(rows) - done)
            part = slice(done, done + stop)
            with self.pace.measured(count, stop):
                self._run_part(data, rows[part], live[part], [each[part] for each in found], count)
            done += stop
        return found

    def _run_part(
        self,
        data: Sequence[np.ndarray],
        rows: np.ndarray,
        numbers: np.ndarray,
        found: Sequence[np.ndarray],
        threads: int,
    ) -> None:
        steps = len(rows)
        failed_at = np.zeros(1, np.int64)
        words = [steps, rows.ctypes.data, numbers.ctypes.data, failed_at.ctypes.data]
        words += [each.ctypes.data for each in (*data, *found)]
        job = np.array(words, np.int64)
        table, sync = self.table.ctypes.data, self.sync.ctypes.data
        codes = [0] * threads

        def work(thread: int) -> None:
            assert self._run is not None
            codes[thread] = self._run(table, job.ctypes.data, thread, threads, sync)

        others = [threading.Thread(target=work, args=(each,), daemon=True) for each in range(1, threads)]
        with self._drawing():
            for each in others:
                each.start()
            work(0)
            for each in others:
                each.join()
        if codes[0]:
            self._explain(codes[0])


class Plan:
    """What a program becomes: groups in order, which of their values are stored, and the memory they need."""

    def __init__(self, program: Program, kept: Sequence[Window]) -> None:
        self.program = program
        self.buffers = list(program.buffers)
        self.kept = {each.buffer.number for each in (*program.results, *kept)}
        lowered = lower_program(without_repeats(program, self.kept), len(self.buffers))
        self.buffers += lowered.added
        self.generators = list(lowered.generators)
        work = self._needed(lowered.work)
        work, self.ways = prepare(work, self._temporary)
        groups = fuse(work)
        self.split = {group: units_of_group(group, self.ways) for group in groups}
        self.groups = clustered(groups, self.split)
        self.runs_many = False
        self.checks: list[Check] = []
        self.flags = self._temporary(1, np.dtype(np.int32), "flags")
        self.kept.add(self.flags.number)
        self.stored = self._stores()
        self.spans = self._spans()

    def _temporary(self, size: int, dtype: Any, name: str) -> Buffer:
        made = Buffer(len(self.buffers), TEMPORARY, size, dtype, name)
        self.buffers.append(made)
        return made

    def _needed(self, work: list[Work]) -> list[Work]:
        """The work whose results are read or remain."""
        lasting = {each.number for each in self.buffers if each.kind != TEMPORARY} | self.kept
        live, found = set(lasting), []
        for each in reversed(work):
            if isinstance(each, Opaque):
                live |= {window.buffer.number for window in each.call.reads()}
            elif isinstance(each, Check):
                live.add(each.access.buffer.number)
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
            for touch in group.touched:
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
        return stored

    def _spans(self) -> dict[int, tuple[int, int]]:
        """For every temporary that needs memory of its own: the first and last group that touches it."""
        spans: dict[int, tuple[int, int]] = {}
        for place, group in enumerate(self.groups):
            numbers = set()
            for each in group.work():
                if isinstance(each, Opaque):
                    numbers |= {window.buffer.number for window in (*each.call.reads(), *each.call.outputs)}
                elif isinstance(each, Check):
                    numbers.add(each.access.buffer.number)
                elif isinstance(each, Draw):
                    numbers |= {access.buffer.number for access in (each.store, *each.loads)}
                elif each in self.stored:
                    numbers.add(each.store.buffer.number)
            numbers |= {touch.number for touch in group.touched if not touch.writes}
            for number in numbers:
                first, _ = spans.get(number, (place, place))
                spans[number] = (first, place)
        return spans

    # -- code ------------------------------------------------------------------------------------------------

    def _place(self, touch: Touch, offsets: dict[int, int]) -> tuple[Any, int, int]:
        """The memory that an access may touch."""
        number = touch.number
        if number in offsets:
            size = self.buffers[number].dtype.itemsize
            return "block", offsets[number] + touch.low * size, offsets[number] + touch.high * size
        return number, touch.low, touch.high

    def emit(self, offsets: dict[int, int], live: Sequence[Buffer]) -> tuple[str, list[str | Call]]:
        """The module's text, and what to run in order: native functions by name, opaque calls."""
        kernels = Kernels()
        segments: list[str | Call] = []
        functions: list[str] = []
        is_whole = not any(isinstance(group.single, Opaque) for group in self.groups)
        step: Segment | None = None
        for group in self.groups:
            if isinstance(group.single, Opaque):
                if step is not None:
                    functions.append(step.close())
                    step = None
                segments.append(group.single.call)
                continue
            if step is None:
                name = "step" if is_whole else f"segment{len(segments)}"
                segments.append(name)
                step = Segment(self, kernels, offsets, name)
            step.add(group)
        if step is not None:
            functions.append(step.close())
        if is_whole and segments and self._can_run_many():
            functions.append(run_function(kernels, self.program.arguments, live, self.program.results))
            self.runs_many = True
        return module_text(kernels, functions, pause_function()), segments

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

    def __init__(self, plan: Plan, kernels: Kernels, offsets: dict[int, int], name: str) -> None:
        self.plan, self.kernels, self.offsets = plan, kernels, offsets
        self.f = Function(f"define i32 @{name}(ptr %table, i64 %thread, i64 %threads, ptr %sync) #0 {{")
        self.pointers: dict[int, str] = {}
        self.since: list[tuple[bool, bool, tuple[Any, int, int]]] = []
        self.pending = False  # a check was made whose outcome not all threads know
        self.error = self.f.op("getelementptr i8, ptr %sync, i64 128")

    def add(self, group: Group) -> None:
        """Run one group."""
        plan, f = self.plan, self.f
        split = plan.split[group]
        places = [(each.writes, plan._place(each, self.offsets)) for each in group.touched]
        writes_state = any(
            each.writes and plan.buffers[each.number].kind != TEMPORARY for each in group.touched
        )
        if (self.pending and writes_state) or self._conflict(split > 1, places):
            self._meet()
        self.since += [(split > 1, writes, place) for writes, place in places]
        if isinstance(group.single, Check):
            self._check(group.single)
            return
        if isinstance(group.single, Draw):
            self._draw(group.single)
            return
        numbers = _buffers(group.statements, group.product, plan.stored)
        e = emit_group(group, numbers, split > 1, plan.ways, plan.stored)
        name = self.kernels.add(_name_of(group), e, len(numbers), split > 1)
        given = [f"ptr {self._pointer(number)}" for number in numbers]
        if split > 1:
            first, last = f.part(split)
            f.line(f"call void @{name}({', '.join([*given, f'i64 {first}', f'i64 {last}'])})")
            return
        after = f.only_first()
        f.line(f"call void @{name}({', '.join(given)})")
        f.everybody(after)

    def _pointer(self, number: int) -> str:
        # Loaded once, in the entry block, where every later block can use it.
        found = self.pointers.get(number)
        if found is None:
            found = self.pointers[number] = f"%p{number}"
            self.f.lines[2:2] = [
                f"  %q{number} = getelementptr ptr, ptr %table, i64 {number}",
                f"  {found} = load ptr, ptr %q{number}, align 8",
            ]
        return found

    def _conflict(self, split: bool, places: list[tuple[bool, tuple[Any, int, int]]]) -> bool:
        for before_split, before_writes, (one, low, high) in self.since:
            if not (split or before_split):
                continue
            for writes, (other, begin, end) in places:
                if (writes or before_writes) and one == other and low < end and begin < high:
                    return True
        return False

    def _check(self, check: Check) -> None:
        plan, f = self.plan, self.f
        plan.checks.append(check)
        statement = _check_statement(check, plan.flags)
        numbers = _buffers([statement], None, {statement})
        e = Emitter()
        pointers = {number: f"%b{place}" for place, number in enumerate(numbers)}
        emit_loops(e, [statement], pointers, {statement})
        name = self.kernels.add("check", e, len(numbers), False)
        given = ", ".join(f"ptr {self._pointer(number)}" for number in numbers)
        after = f.only_first()
        f.line(f"call void @{name}({given})")
        flag = f.op(f"load i32, ptr {self._pointer(plan.flags.number)}, align 4")
        bad = f.op(f"icmp ne i32 {flag}, 0")
        code = f.op(f"select i1 {bad}, i32 {len(plan.checks)}, i32 0")
        known = f.op(f"load i32, ptr {self.error}, align 4")
        first = f.op(f"icmp ne i32 {known}, 0")
        f.line(f"store i32 {f.op(f'select i1 {first}, i32 {known}, i32 {code}')}, ptr {self.error}, align 4")
        f.everybody(after)
        self.pending = True

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
        self.since.clear()
        if self.pending:
            self.pending = False
            code = f.op(f"load i32, ptr {self.error}, align 4")
            bad = f.op(f"icmp ne i32 {code}, 0")
            tag = f.name()[1:]
            f.line(f"br i1 {bad}, label %stop{tag}, label %go{tag}")
            f.lines.append(f"stop{tag}:")
            f.line(f"ret i32 {code}")
            f.lines.append(f"go{tag}:")

    def close(self) -> str:
        """The function's text."""
        self._meet()
        self.f.line("ret i32 0")
        return self.f.text()


def _name_of(group: Group) -> str:
    """A name for people: the ops of a group."""
    names = dict.fromkeys(each.call.op.name for each in group.work())
    return "_".join(names)[:60]


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
            for pick in access.picks:
                found[pick.access.buffer.number] = None
        for pick in each.store.picks:
            found[pick.access.buffer.number] = None
        if each in stored:
            found[each.store.buffer.number] = None
        if not each.fold:
            made.add(each.store)
    return list(found)


def _check_statement(check: Check, flags: Buffer) -> Statement:
    """The greatest of 0 and 1 over all numbers, 1 where one is out of range."""
    symbols = Symbols()
    number = symbols.cast(symbols.load(0, kind_of(check.access.buffer.dtype)), "i8")
    bad = symbols.logical_or(number < 0, number >= check.bound)
    if check.ignored is not None:
        bad = symbols.logical_and(bad, number != check.ignored)
    value = symbols.where(bad, symbols.const(1, "i4"), symbols.const(0, "i4"))
    window = Window(flags, 0, (), ())
    store = at(window, (0,) * len(check.domain), check.domain)
    dims = frozenset(range(len(check.domain)))
    return Statement(check.domain, (check.access,), value, store, check.call, "amax", dims)


class NativeMemory:
    """The arrays behind a plan's buffers: states as they are, what is kept in arrays of its own, and all
    other temporaries in one block in which those that are not needed at once share places.
    """

    def __init__(self, program: Program, plan: Plan) -> None:
        self.arrays: dict[int, np.ndarray] = {}
        self.table = np.zeros(len(plan.buffers), np.int64)
        shared: list[Buffer] = []
        for buffer in plan.buffers:
            if buffer.kind == STATE:
                assert buffer.array is not None
                self.arrays[buffer.number] = flat(buffer.array)
            elif buffer.kind != TEMPORARY or buffer.number in plan.kept:
                self.arrays[buffer.number] = aligned(buffer.size * buffer.dtype.itemsize).view(buffer.dtype)
            elif buffer.number in plan.spans:
                shared.append(buffer)
        self.offsets, self.size = _places(shared, plan.spans)
        self.block = aligned(self.size)
        for buffer in shared:
            offset = self.offsets[buffer.number]
            size = buffer.size * buffer.dtype.itemsize
            self.arrays[buffer.number] = self.block[offset : offset + size].view(buffer.dtype)
        for number, array in self.arrays.items():
            self.table[number] = array.ctypes.data

    def view(self, window: Window) -> np.ndarray:
        """A window as an ndarray."""
        return look(self.arrays[window.buffer.number], window)


def aligned(size: int) -> np.ndarray:
    """Zeroed bytes that begin at a multiple of the alignment."""
    block = np.zeros(size + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + size]


def _places(buffers: Sequence[Buffer], spans: dict[int, tuple[int, int]]) -> tuple[dict[int, int], int]:
    """An offset for every buffer such that those alive at the same time lie apart; large ones first."""
    placed: list[tuple[int, int, int, int]] = []
    offsets: dict[int, int] = {}
    total = 0
    for buffer in sorted(buffers, key=lambda each: -each.size * each.dtype.itemsize):
        first, last = spans[buffer.number]
        size = -(-buffer.size * buffer.dtype.itemsize // ALIGNMENT) * ALIGNMENT
        offset = 0
        for low, high, begin, end in sorted(placed):
            if end < first or last < begin:
                continue
            if low - offset >= size:
                break
            offset = max(offset, high)
        offsets[buffer.number] = offset
        placed.append((offset, offset + size, first, last))
        total = max(total, offset + size)
    return offsets, total
