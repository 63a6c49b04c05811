"""A program as native code: built once, run with one call (and NumPy in between where an op is opaque).

`Native` takes the place of `Replay`. Calls become statements (`lower`), statements are grouped (`group`),
groups become functions (`loops`, `products`), and functions become machine code (`llvm`). Invariant: memory
of the user's (states) is changed only by the program's own writes, and results are fresh arrays.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.compile.emit import Emitter
from rushlight.compile.expr import Symbols, kind_of
from rushlight.compile.group import Group, fuse
from rushlight.compile.llvm import ATTRIBUTES, Code
from rushlight.compile.loops import emit_loops
from rushlight.compile.lower import lower_program
from rushlight.compile.products import emit_product, prepare
from rushlight.compile.program import STATE, TEMPORARY, Buffer, Call, Program, Window
from rushlight.compile.replay import bind, flat, look, run_call
from rushlight.compile.simplify import without_repeats
from rushlight.compile.statements import Access, Check, Opaque, Product, Statement, Work, at

ALIGNMENT = 64


class Native:
    """A program compiled and bound to memory, ready to run.

    Args:
        program: what to run.
        kept: windows that are looked at after a run besides the results, such as gradients.
    """

    def __init__(self, program: Program, kept: Sequence[Window] = ()) -> None:
        self.program = program
        self.plan = Plan(program, kept)
        self.memory = NativeMemory(program, self.plan)
        self.arguments = [self.memory.view(each) for each in program.arguments]
        self.results = [self.memory.view(each) for each in program.results]
        text, self.segments = self.plan.emit()
        self.text = text
        self.code = Code(text)
        self.steps: list[Any] = []
        for segment in self.segments:
            if isinstance(segment, str):
                function = self.code.function(segment, ctypes.c_int32, ctypes.c_void_p)
                self.steps.append((function, None))
            else:
                self.steps.append((None, bind(segment, self.memory)))
        self.table = self.memory.table
        self.checks = [bind(check.call, self.memory) for check in self.plan.checks]

    def run(self, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        """One step: fresh copies of the results."""
        for place, given in zip(self.arguments, arguments, strict=True):
            np.copyto(place, given)
        address = self.table.ctypes.data
        for function, opaque in self.steps:
            if function is None:
                run_call(opaque)
                continue
            failed = function(address)
            if failed:
                run_call(self.checks[failed - 1])
                raise AssertionError("a check failed that NumPy finds nothing wrong with")
        return [each.copy() for each in self.results]


class Plan:
    """What a program becomes: groups in order, which of their values are stored, and the memory they need."""

    def __init__(self, program: Program, kept: Sequence[Window]) -> None:
        self.program = program
        self.buffers = list(program.buffers)
        lowered = lower_program(without_repeats(program), len(self.buffers))
        self.buffers += lowered.added
        self.kept = {each.buffer.number for each in (*program.results, *kept)}
        work = self._needed(lowered.work)
        work, self.ways = prepare(work, self._temporary)
        self.groups = fuse(work)
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
                elif each in self.stored:
                    numbers.add(each.store.buffer.number)
            numbers |= {touch.number for touch in group.touched if not touch.writes}
            for number in numbers:
                first, _ = spans.get(number, (place, place))
                spans[number] = (first, place)
        return spans

    # -- code ------------------------------------------------------------------------------------------------

    def emit(self) -> tuple[str, list[str | Call]]:
        """The module's text, and what to run in order: native functions by name, opaque calls."""
        kernels = Kernels()
        segments: list[str | Call] = []
        lines: list[str] = []
        texts: list[str] = []

        def close() -> None:
            if lines:
                name = f"segment{len(segments)}"
                texts.append(f"define i32 @{name}(ptr %table) #0 {{\nentry:")
                texts.extend(lines)
                texts.append("  ret i32 0\n}")
                segments.append(name)
                lines.clear()

        for place, group in enumerate(self.groups):
            if isinstance(group.single, Opaque):
                close()
                segments.append(group.single.call)
                continue
            name, numbers = kernels.add(group, self)
            given = []
            for number in numbers:
                register = f"%p{place}_{number}"
                lines.append(f"  {register}a = getelementptr ptr, ptr %table, i64 {number}")
                lines.append(f"  {register} = load ptr, ptr {register}a, align 8")
                given.append(f"ptr {register}")
            lines.append(f"  call void @{name}({', '.join(given)})")
            if group.single is not None:
                flag = f"%p{place}_{self.flags.number}"
                lines.append(f"  {flag}v = load i32, ptr {flag}, align 4")
                lines.append(f"  {flag}t = icmp ne i32 {flag}v, 0")
                lines.append(f"  br i1 {flag}t, label %stop{place}, label %go{place}")
                lines.append(f"stop{place}:\n  ret i32 {len(self.checks)}\ngo{place}:")
        close()
        return kernels.module(texts), segments


class Kernels:
    """The functions of a module; groups with the same text share one."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.texts: list[str] = []
        self.declared: set[str] = set()

    def add(self, group: Group, plan: Plan) -> tuple[str, list[int]]:
        """The function of a group, and the buffers it takes."""
        if isinstance(group.single, Check):
            statements: list[Statement] = [_check_statement(group.single, plan.flags)]
            plan.checks.append(group.single)
            stored = set(statements)
            product = None
        else:
            statements, product = group.statements, group.product
            stored = {each for each in statements if each in plan.stored}
        numbers = _buffers(statements, product, stored, plan)
        e = Emitter()
        pointers = {number: f"%b{place}" for place, number in enumerate(numbers)}
        if product is None:
            emit_loops(e, statements, pointers, stored)
        else:
            way = plan.ways[product]
            emit_product(e, product, way, statements, pointers, stored, product in plan.stored)
        body = "\n".join([*e.rooms, *e.lines])
        self.declared |= e.declared
        key = f"{len(numbers)}\n{body}"
        name = self.names.get(key)
        if name is None:
            name = self.names[key] = f"kernel{len(self.names)}"
            given = ", ".join(f"ptr noalias %b{place}" for place in range(len(numbers)))
            self.texts.append(
                f"define internal void @{name}({given}) #1 {{\nentry:\n{body}\n  ret void\n}}"
            )
        return name, numbers

    def module(self, texts: Sequence[str]) -> str:
        """The text of the whole module."""
        attributes = [
            f"attributes #0 = {{ nounwind {ATTRIBUTES} }}",
            f"attributes #1 = {{ nounwind noinline {ATTRIBUTES} }}",
        ]
        return "\n".join([*self.texts, *texts, *sorted(self.declared), *attributes, ""])


def _buffers(
    statements: Sequence[Statement], product: Product | None, stored: set[Statement], plan: Plan
) -> list[int]:
    """The numbers of the buffers that a group's code touches, in order of first use."""
    found: dict[int, None] = {}
    made: set[Access] = set()
    if product is not None:
        for access, _ in product.reads():
            found[access.buffer.number] = None
        made.add(product.store)
        if product in plan.stored:
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
        offsets, self.size = _places(shared, plan.spans)
        self.block = aligned(self.size)
        for buffer in shared:
            offset = offsets[buffer.number]
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
