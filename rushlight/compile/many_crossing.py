"""Many steps in one call where one step's last loops and the next step's first are one: ``run_crossing``.

Which loops these are is `crossing`'s to say. Each thread has the batches that they read to itself, and its
rows of the weights. The rest of a step is the first thread's. The loops go through columns (see
`crossing_columns`) if they can, and if so many are zero in some batches that it is worth it, else through
rows. Invariant: as in `many`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rushlight.compile import column_lists, column_loop, crossing_columns
from rushlight.compile.batches import AT_ONCE, lines_of_row
from rushlight.compile.crossing import UNIT, Crossing, GroupCall, emit_both, read_elsewhere
from rushlight.compile.crossing_columns import ColumnPlan
from rushlight.compile.function import CROSSING, ERROR, Function
from rushlight.compile.many import Run
from rushlight.compile.nonzero import WORTH
from rushlight.compile.program import Buffer, Window
from rushlight.compile.registers import BYTES
from rushlight.compile.schedule import Kernels
from rushlight.storage import LINE

if TYPE_CHECKING:
    from rushlight.compile.plan import Plan

Batch = Mapping[int, str]  # by the number of an argument, where this thread has it


class Calls(NamedTuple):
    """The two groups that cross, as a step calls them: the `last` of a step, and the `first` of the next."""

    first: GroupCall
    last: GroupCall

    def given(self, f: Function, last_table: str, first_table: str, current: Batch, following: Batch) -> str:
        """The arguments of a function that is both groups, that of the next step with the next batch."""
        found = _addresses(f, last_table, self.last.numbers, current)
        found += _addresses(f, first_table, self.first.numbers, following)
        return ", ".join(f"ptr {each}" for each in found)


def _addresses(f: Function, table: str, numbers: Sequence[int], batch: Batch) -> list[str]:
    return [batch.get(number) or f.pointer(table, number) for number in numbers]


class _Batches:
    """This thread's copies of arguments: of a step, and of the next."""

    def __init__(self, run: Run, windows: Sequence[Window]) -> None:
        self.run, self.windows = run, windows
        self.memory = {
            each.buffer.number: (_room(run.f, each.nbytes), _room(run.f, each.nbytes)) for each in windows
        }

    def begin(self) -> None:
        """Fetch those of the first step."""
        for each in self.windows:
            self._fetch(each, self.memory[each.buffer.number][0], "0")

    def prepare(self, step: str) -> None:
        """Fetch those of the step after ``%s``."""
        for each in self.windows:
            self._fetch(each, self.run.in_turns(self.memory[each.buffer.number])[1], step)

    def both(self) -> tuple[dict[int, str], dict[int, str]]:
        """Those of ``%s``, and of the step after it."""
        turns = {number: self.run.in_turns(each) for number, each in self.memory.items()}
        one, other = ({number: each[place] for number, each in turns.items()} for place in range(2))
        return one, other

    def _fetch(self, window: Window, to: str, step: str) -> None:
        self.run.fetch(window, to, step, "0", str(window.shape[0]))


def _room(f: Function, size: int) -> str:
    """So many bytes of the stack."""
    return f.op(f"alloca [{size} x i8], align {LINE}")


class Loop(Protocol):
    """The loop that crosses, and what it wants before and after."""

    def enter(self) -> None:
        """After the first group of the first step."""

    def prepare(self, step: str) -> None:
        """Before the loop that ends ``%s`` and begins `step`, which follows it: the batch of that."""

    def turn(self, later: str) -> None:
        """The loop at the end of ``%s``; `later` is the step after the one it begins."""

    def leave(self) -> None:
        """Before the last group of the last step, or when a step failed."""


class RowByRow:
    """The loop over rows of weights, where they always are. Each thread has copies of two batches."""

    def __init__(self, run: Run, plan: Plan, crossing: Crossing, calls: Calls) -> None:
        self.run, self.crossing, self.calls = run, crossing, calls
        first, last = calls.first, calls.last
        e = emit_both(crossing, last.numbers, first.numbers, plan.stored, plan.spared)
        self.name = run.kernels.add("update_and_next", e, len(last.numbers) + len(first.numbers), True)
        self.batches = _Batches(run, crossing.arguments)

    def enter(self) -> None:
        """A copy of the batch."""
        self.batches.begin()

    def prepare(self, step: str) -> None:
        """A copy of the batch."""
        self.batches.prepare(step)

    def turn(self, later: str) -> None:
        """Some rows at a time, and between them memory is asked for lines of a batch."""
        run, f, crossing = self.run, self.run.f, self.crossing
        given = self.calls.given(f, run.other_table, "%table", *self.batches.both())
        rows = crossing.store.buffer.size // crossing.store.strides[0]
        parts = -(-rows // UNIT)
        low, high = f.part(parts)
        f.everybody("some")
        f.line("br label %part")
        f.lines += [
            "part:",
            f"  %unit = phi i64 [ {low}, %some ], [ %after, %share ]",
            f"  %left = icmp slt i64 %unit, {high}",
            "  br i1 %left, label %share, label %whole",
            "share:",
            "  %after = add i64 %unit, 1",
        ]
        f.line(f"call void @{self.name}({given}, i64 %unit, i64 %after)")
        for window in crossing.arguments:  # little by little, or memory would be busy with nothing else
            lines = lines_of_row(window)
            begin, end = (
                f.op(f"udiv i64 {f.op(f'mul i64 {each}, {lines}')}, {parts}") for each in ("%unit", "%after")
            )
            run.ask(window, later, begin, end)
        f.line("br label %part")
        f.lines.append("whole:")

    def leave(self) -> None:
        """Nothing."""


class ByColumns:
    """The loop over columns of weights in panels, where a batch is not zero. It reads rows of batches where
    the data have them.
    """

    def __init__(self, run: Run, plan: Plan, columns: ColumnPlan, listing: str, calls: Calls) -> None:
        self.run, self.columns, self.listing, self.calls = run, columns, listing, calls
        f, kernels = run.f, run.kernels
        self.rows = _room(f, 8 * columns.batch), _room(f, 8 * columns.batch)  # addresses
        size = column_lists.lists_bytes(columns)
        self.lists, self.all = (_room(f, size), _room(f, size)), _room(f, size)
        self.bounds = _room(f, columns.units * BYTES[columns.kind])
        self.others = _Batches(
            run, [each for each in columns.crossing.arguments if each is not columns.window]
        )
        given = calls.last.numbers, calls.first.numbers
        e = column_loop.emit_column_loop(columns, *given, plan.stored)
        self.both = kernels.add(
            "update_and_next_columns", e, sum(map(len, (*given, column_loop.EXTRAS))), True
        )
        self.into = kernels.add("into_panels", crossing_columns.emit_into_panels(columns), 3, True)
        self.back = kernels.add("from_panels", crossing_columns.emit_from_panels(columns), 2, True)
        self.list_all = kernels.add("list_all_columns", column_lists.emit_all(columns), 1, False)

    def enter(self) -> None:
        """This thread's weights in panels, and the batch."""
        f = self.run.f
        self._copy(self.into, self.bounds)
        f.line(f"call void @{self.list_all}(ptr {self.all})")
        _note_batch(self.run, self.columns.window, self.listing, self.rows[0], self.lists[0], "0")
        self.others.begin()

    def prepare(self, step: str) -> None:
        """Where the rows of the batch are, and what of it is not zero."""
        run = self.run
        (_, rows), (_, lists) = run.in_turns(self.rows), run.in_turns(self.lists)
        _note_batch(run, self.columns.window, self.listing, rows, lists, step)
        self.others.prepare(step)

    def turn(self, later: str) -> None:
        """The loop over this thread's panels."""
        run, f, columns = self.run, self.run.f, self.columns
        number = columns.window.buffer.number
        current, following = self.others.both()
        current[number], following[number] = run.in_turns(self.rows)
        given = self.calls.given(f, run.other_table, "%table", current, following)
        extras = [self._panels(), *run.in_turns(self.lists), self.all, self.bounds]
        extras += run.batch_of(columns.window, later)
        given = ", ".join([given, *(f"ptr {each}" for each in extras)])
        low, high = f.part(columns.units)
        f.line(f"call void @{self.both}({given}, i64 {low}, i64 {high})")

    def leave(self) -> None:
        """All weights back."""
        self._copy(self.back)
        self.run.f.barrier()

    def _panels(self) -> str:
        return self.run.f.pointer("%table", self.columns.panels.number)

    def _copy(self, function: str, *others: str) -> None:
        """Copy this thread's weights."""
        f = self.run.f
        weights = f.pointer("%table", self.columns.weights.number)
        given = ", ".join(f"ptr {each}" for each in (self._panels(), weights, *others))
        low, high = f.part(self.columns.units)
        f.line(f"call void @{function}({given}, i64 {low}, i64 {high})")


def _note_batch(run: Run, window: Window, listing: str, rows: str, lists: str, step: str) -> None:
    """Note where the rows of a step's batch are, and have a function list which columns are not zero."""
    run.note_rows(window, rows, step)
    run.f.line(f"call void @{listing}(ptr {lists}, ptr {rows})")


SAMPLES, SAMPLED = 8, 128  # at most so many batches of a run are looked at, one of so many steps
PARAMETERS = "(ptr %table, ptr %job, i64 %thread, i64 %threads, ptr %sync)"
BY_ROWS, BY_COLUMNS = "run_crossing_rows", "run_crossing_columns"


def crossing_functions(
    kernels: Kernels, plan: Plan, live: Sequence[Buffer], crossing: Crossing, calls: Calls
) -> list[str]:
    """The texts of ``run_crossing``, and of what it chooses from."""

    def begin(name: str) -> Run:
        return Run(f"define internal i32 @{name}{PARAMETERS} #0 {{", kernels, plan, live, 0)

    def by_rows(name: str) -> str:
        run = begin(name)
        return _text(run, plan, crossing, calls, RowByRow(run, plan, crossing, calls))

    columns = plan.columns
    if columns is None:
        return [by_rows("run_crossing")]
    listing = kernels.add("list_columns", column_lists.emit_column_lists(columns), 2, False)
    texts, run = [by_rows(BY_ROWS)], begin(BY_COLUMNS)
    texts.append(_text(run, plan, crossing, calls, ByColumns(run, plan, columns, listing, calls)))
    return [*texts, _choice(begin("run_crossing"), columns, listing)]


def _choice(run: Run, columns: ColumnPlan, listing: str) -> str:
    """The text of ``run_crossing``: by columns if those of some batches that are not zero are few enough. All
    threads look at the same batches.
    """
    f = run.f

    def leave_to(name: str) -> None:
        f.line(f"ret i32 {f.op(f'call i32 @{name}{PARAMETERS}')}")

    rows, lists = _room(f, 8 * columns.batch), _room(f, column_lists.lists_bytes(columns))
    samples = f.least(f.op(f"udiv i64 {run.steps}, {SAMPLED}"), str(SAMPLES - 1))
    samples = f.least(f.op(f"add i64 {samples}, 1"), run.steps)
    f.line("br label %look")
    f.lines += [
        "look:",
        "  %sample = phi i64 [ 0, %entry ], [ %after, %list ]",
        "  %total = phi i64 [ 0, %entry ], [ %sum, %list ]",
        f"  %more = icmp ult i64 %sample, {samples}",
        "  br i1 %more, label %list, label %choose",
        "list:",
        "  %after = add i64 %sample, 1",
    ]
    step = f.op(f"udiv i64 {f.op(f'mul i64 %sample, {run.steps}')}, {samples}")
    _note_batch(run, columns.window, listing, rows, lists, step)
    f.line(f"%sum = add i64 %total, {column_lists.total_listed(f, lists)}")
    f.line("br label %look")
    f.lines.append("choose:")
    most = f.op(f"mul i64 {samples}, {columns.columns * WORTH[0]}")
    are_few = f.op(f"icmp ult i64 {f.op(f'mul i64 %total, {WORTH[1]}')}, {most}")
    f.line(f"br i1 {are_few}, label %columns, label %rows")
    f.lines.append("columns:")
    leave_to(BY_COLUMNS)
    f.lines.append("rows:")
    leave_to(BY_ROWS)
    return f.text()


def _text(run: Run, plan: Plan, crossing: Crossing, calls: Calls, loop: Loop) -> str:
    """The text of a function that runs many steps with a loop."""
    f = run.f
    own = {each.buffer.number: _room(f, each.nbytes) for each in crossing.arguments}
    elsewhere = read_elsewhere(plan, crossing)
    flag = f.op(f"getelementptr i8, ptr %sync, i64 {CROSSING}")

    def call_own_part(group: GroupCall, step: str) -> None:
        for window in crossing.arguments:
            run.fetch(window, own[window.buffer.number], step, "0", str(window.shape[0]))
        given = ", ".join(f"ptr {each}" for each in _addresses(f, "%table", group.numbers, own))
        low, high = f.part(group.units)
        f.line(f"call void @{group.name}({given}, i64 {low}, i64 {high})")

    def set_flag(value: int) -> None:
        after = f.only_first()
        f.line(f"store i32 {value}, ptr {flag}, align 4")
        f.everybody(after)

    some = f.op(f"icmp sgt i64 {run.steps}, 0")
    f.line(f"br i1 {some}, label %start, label %finished")
    f.lines.append("start:")
    call_own_part(calls.first, "0")
    loop.enter()
    set_flag(1)
    f.everybody("ready")  # which the head must know by name
    f.line("br label %head")
    f.lines += ["head:", "  %s = phi i64 [ 0, %ready ], [ %following, %next ]"]
    next_step = run.step_after(1)
    f.barrier()  # what the step before changed is there, and what this one begins with
    is_last, is_first = run.is_last(), f.op("icmp eq i64 %thread, 0")
    with f.either(is_first) as otherwise:
        run.store_live()
        for window in run.fetched:
            number = window.buffer.number
            if number in elsewhere or number not in own:
                run.fetch(window, f.pointer("%table", number), "%s", "0", str(window.shape[0]))
        run.call_step(f.op(f"select i1 {is_last}, ptr %table, ptr {run.other_table}"), "0", "1")
        run.store_results()
        otherwise()
        loop.prepare(next_step)  # meanwhile; the first thread does it later
    f.barrier()
    code = f.op(f"load i32, ptr {f.op(f'getelementptr i8, ptr %sync, i64 {ERROR}')}, align 4")
    run.stop_if(code)
    f.line(f"br i1 {is_last}, label %ending, label %turns")
    f.lines.append("ending:")
    loop.leave()
    call_own_part(calls.last, "%s")
    f.line("br label %finished")
    f.lines.append("turns:")
    with f.when(is_first):
        loop.prepare(next_step)
        for window in run.fetched:  # labels and the like
            lines = lines_of_row(window)
            if window.buffer.number not in own and lines * window.shape[0] <= AT_ONCE:
                run.ask(window, next_step, "0", str(lines))
    loop.turn(run.step_after(2))
    run.next_step()
    f.lines.append("stopped:")
    loop.leave()
    f.line(f"store i64 %s, ptr {run.failed}, align 8")
    set_flag(0)
    f.line(f"ret i32 {code}")
    f.lines.append("finished:")
    set_flag(0)
    f.line("ret i32 0")
    return f.text()
