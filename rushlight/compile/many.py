"""Many steps in one call: the function ``run``, which gathers rows of data and runs ``step`` on them.

Where one step's last loops and the next step's first can be one (see `crossing`), threads go through
``run_crossing`` instead (see `many_crossing`). Invariant: after each step memory holds what the steps called
one by one would have left, but for temporaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rushlight.compile.batches import Batches, Coming, Listing, ask_for_lines, marks_of, row_at, row_bytes
from rushlight.compile.built import FROM_PANELS, INTO_PANELS
from rushlight.compile.crossing import is_rest_alone
from rushlight.compile.emit import Emitter
from rushlight.compile.expr import kind_of
from rushlight.compile.function import Function
from rushlight.compile.layout import copy_matrix, row_by_row
from rushlight.compile.nonzero import AGAIN, Marks, copy_marking, emit_lists
from rushlight.compile.program import Buffer, Window
from rushlight.compile.schedule import PART, Kernels
from rushlight.compile.turned import copy_turned

if TYPE_CHECKING:
    from rushlight.compile.plan import Plan


STEP_OF_MANY = "step_of_many"  # the function for a step that is one of many, where it is another one


def _fetch_kernel(kernels: Kernels, window: Window, marks: Marks | None = None) -> str:
    """A function that gathers rows: ``(to, from, numbers of rows, first, last)``; and makes their marks,
    while memory is asked for the next: ``(to, from, numbers of rows, marks, first, last)``.
    """
    e = Emitter()
    row = row_bytes(window)
    with e.loop(PART[0], PART[1]) as loop:
        source = row_at(e, window, "%b1", "%b2", loop.index)
        target = e.pointer("%b0", e.binary("mul", loop.index, e.const(row, "i8")), "u1")
        if marks is None:
            e.copy(target, source, row)
        else:
            after, last = (
                e.binary("add", at, e.const(by, "i8")) for at, by in ((loop.index, 1), (PART[1], -1))
            )
            coming = row_at(e, window, "%b1", "%b2", e.intrinsic("smin", after, last))
            copy_marking(e, marks, kind_of(window.dtype), "%b3", loop.index, target, source, coming)
    return kernels.add("fetch", e, 3, True) if marks is None else kernels.add("fetch_marking", e, 4, True)


def _addresses_kernel(kernels: Kernels, window: Window) -> str:
    """A function that notes where rows are: ``(to, from, numbers of rows, first, last)``."""
    e = Emitter()
    with e.loop(PART[0], PART[1]) as loop:
        e.store_address(row_at(e, window, "%b1", "%b2", loop.index), e.pointer("%b0", loop.index, "i8"))
    return kernels.add("addresses", e, 3, True)


def _ask_kernel(kernels: Kernels, window: Window) -> str:
    """A function that has memory bring lines of rows nearer: ``(from, numbers of rows, first, last)``."""
    e = Emitter()
    ask_for_lines(e, window, "%b0", "%b1", PART)
    return kernels.add("ask", e, 2, True)


class Run:
    """What functions that run many steps are made of.

    ``job`` is a table of 8-byte words: the number of steps; the address of the numbers of the rows (for each
    step as many as a batch has); the address of the live numbers (for each step one for each of `live`);
    where to note the step that failed; then an address for the data of each of `fetched`, and one for each
    result. `table` has the addresses of buffers in the last step, and `other_table` in all others, which are
    spared to store some.
    """

    def __init__(
        self,
        head: str,
        kernels: Kernels,
        plan: Plan,
        live: Sequence[Buffer],
        tables_before: int,
    ) -> None:
        self.f, self.kernels, self.live = Function(head), kernels, live
        self.fetched, self.results = plan.program.arguments, plan.program.results
        f = self.f
        self.step = "step" if plan.arrangement.is_usual() else STEP_OF_MANY
        self.table = self._after("%table", tables_before * len(plan.buffers))
        self.other_table = self._after(self.table, len(plan.buffers)) if plan.spared else self.table
        self.steps = f.number("%job", 0)
        self.rows, self.numbers, self.failed = (f.pointer("%job", place) for place in (1, 2, 3))
        fetched = len(self.fetched)
        self.sources = [f.pointer("%job", 4 + place) for place in range(fetched)]
        self.targets = [f.pointer("%job", 4 + fetched + place) for place in range(len(self.results))]
        kernels.declared.add("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")

    def store_live(self) -> None:
        """What the live numbers are in step ``%s``."""
        f = self.f
        for place, buffer in enumerate(self.live):
            kind = "double" if buffer.dtype.itemsize == 8 else "float"
            at = f.op(f"mul i64 %s, {len(self.live)}")
            at = f.op(f"add i64 {at}, {place}")
            at = f.op(f"getelementptr double, ptr {self.numbers}, i64 {at}")
            value = f.op(f"load double, ptr {at}, align 8")
            if kind == "float":
                value = f.op(f"fptrunc double {value} to float")
            f.line(f"store {kind} {value}, ptr {f.pointer('%table', buffer.number)}, align 4")

    def fetch(self, window: Window, to: str, step: str, first: str, last: str) -> None:
        """Gather rows `first` to `last` of a step's batch."""
        name = _fetch_kernel(self.kernels, window)
        self.f.line(f"call void @{name}(ptr {to}, {self._batch(window, step)}, i64 {first}, i64 {last})")

    def fetch_shared(self, window: Window, batches: Batches) -> None:
        """Gather the batch of step ``%s``, a thread with a copy of its own all rows, others a part; and make
        the lists of where it is not zero, if they are wanted. Threads that share them decide alike, or some
        would wait for ever at the barrier: lists change only once all have passed that.
        """
        f, buffer = self.f, batches.own.get(window.buffer.number, window.buffer)
        to = self._address(buffer)
        first, last = f.part_or_all(window.shape[0], buffer.copies)
        listings = batches.listings(window)
        if not listings:
            self.fetch(window, to, "%s", first, last)
            return
        with f.either(self._wants_lists(listings)) as otherwise:
            marks = marks_of(window)
            name = _fetch_kernel(self.kernels, window, marks)
            marked = self._address(listings[0].marks)
            given = f"ptr {to}, {self._batch(window, '%s')}, ptr {marked}, i64 {first}, i64 {last}"
            f.line(f"call void @{name}({given})")
            # Threads that share the batch share its lists, too, which the first one makes.
            share = f.op(f"icmp ugt i64 %threads, {buffer.copies}")
            with f.when(share):
                f.barrier()
            is_first = f.op("icmp eq i64 %thread, 0")
            with f.when(f.op(f"select i1 {share}, i1 {is_first}, i1 true")):
                for each in listings:
                    e = Emitter()
                    emit_lists(e, each.lists, each.is_turned, marks, "%b0", "%b1")
                    name = self.kernels.add("list", e, 2, False)
                    f.line(f"call void @{name}(ptr {self._address(each.buffer)}, ptr {marked})")
            otherwise()
            self.fetch(window, to, "%s", first, last)

    def _wants_lists(self, listings: Sequence[Listing]) -> str:
        """Whether lists are to be made for step ``%s``: they are due, or some were worth it."""
        f = self.f
        wanted = f.op(f"icmp eq i64 {f.op(f'urem i64 %s, {AGAIN}')}, 0")
        for each in listings:
            before = f.op(f"load i32, ptr {self._address(each.buffer)}, align 4")
            wanted = f.op(f"or i1 {wanted}, {f.op(f'icmp ne i32 {before}, 0')}")
        return wanted

    def _address(self, buffer: Buffer) -> str:
        """Where a buffer is, or this thread's copy of it."""
        return self.f.own(self.f.pointer("%table", buffer.number), buffer)

    def note_next(self, coming: Coming) -> None:
        """Note where the rows of the batch after that of step ``%s`` are; after the last step, where those of
        its own are.
        """
        f, window, buffer = self.f, coming.window, coming.addresses
        name = _addresses_kernel(self.kernels, window)
        following = self.step_after(1)
        first, last = f.part_or_all(window.shape[0], buffer.copies)
        to = self._address(buffer)
        alone = f.op(f"icmp ule i64 %threads, {buffer.copies}")
        f.line(f"store i64 {f.op(f'select i1 {alone}, i64 %threads, i64 1')}, ptr {to}, align 8")
        to = f.op(f"getelementptr i64, ptr {to}, i64 1")
        f.line(f"call void @{name}(ptr {to}, {self._batch(window, following)}, i64 {first}, i64 {last})")

    def note_rows(self, window: Window, to: str, step: str) -> None:
        """Note where the rows of a step's batch are."""
        name, (data, numbers) = _addresses_kernel(self.kernels, window), self.batch_of(window, step)
        given = f"ptr {to}, ptr {data}, ptr {numbers}"
        self.f.line(f"call void @{name}({given}, i64 0, i64 {window.shape[0]})")

    def ask(self, window: Window, step: str, first: str, last: str) -> None:
        """Have memory bring some lines of each row of a step's batch nearer."""
        name = _ask_kernel(self.kernels, window)
        self.f.line(f"call void @{name}({self._batch(window, step)}, i64 {first}, i64 {last})")

    def batch_of(self, window: Window, step: str) -> tuple[str, str]:
        """Which rows make up a step's batch: where the data are, and the numbers of the rows."""
        at = self.f.op(f"mul i64 {step}, {window.shape[0]}")
        chosen = self.f.op(f"getelementptr i64, ptr {self.rows}, i64 {at}")
        return self.sources[self.fetched.index(window)], chosen

    def _batch(self, window: Window, step: str) -> str:
        """The same as arguments."""
        return ", ".join(f"ptr {each}" for each in self.batch_of(window, step))

    def step_after(self, count: int) -> str:
        """The step that comes so many after ``%s``; the last one if there are not so many."""
        last, after = self.f.op(f"add i64 {self.steps}, -1"), self.f.op(f"add i64 %s, {count}")
        return self.f.least(after, last)

    def is_last(self) -> str:
        """Whether ``%s`` is the last step."""
        return self.f.op(f"icmp eq i64 {self.f.op('add i64 %s, 1')}, {self.steps}")

    def _after(self, table: str, count: int) -> str:
        return self.f.op(f"getelementptr ptr, ptr {table}, i64 {count}") if count else table

    def call_step(self, table: str, thread: str, threads: str) -> str:
        """Run a step; the code that comes back."""
        return self.f.op(f"call i32 @{self.step}(ptr {table}, i64 {thread}, i64 {threads}, ptr %sync)")

    def stop_if(self, code: str) -> None:
        """Go on at ``good``, or at ``stopped`` if the code says that a step failed."""
        bad = self.f.op(f"icmp ne i32 {code}, 0")
        self.f.line(f"br i1 {bad}, label %stopped, label %good")
        self.f.lines.append("good:")

    def store_results(self) -> None:
        """Put the results of step ``%s`` where they are to be."""
        for window, target in zip(self.results, self.targets, strict=True):
            source = self.f.pointer("%table", window.buffer.number)
            offset = window.offset * window.dtype.itemsize
            source = self.f.op(f"getelementptr i8, ptr {source}, i64 {offset}")
            at = self.f.op(f"mul i64 %s, {window.nbytes}")
            self.copy(self.f.op(f"getelementptr i8, ptr {target}, i64 {at}"), source, window.nbytes)

    def in_turns(self, pair: Sequence[str]) -> tuple[str, str]:
        """Of two addresses that of step ``%s`` and that of the step after it."""
        is_odd = self.f.op("trunc i64 %s to i1")
        one, other = (f"i1 {is_odd}, ptr {each[1]}, ptr {each[0]}" for each in (pair, pair[::-1]))
        return self.f.op(f"select {one}"), self.f.op(f"select {other}")

    def copy(self, to: str, source: str, size: int) -> None:
        """Copy so many bytes."""
        self.f.line(f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {source}, i64 {size}, i1 false)")

    def next_step(self) -> None:
        """Begin the block that all steps but the last end with."""
        self.f.line("br label %next")
        self.f.lines += ["next:", "  %following = add i64 %s, 1", "  br label %head"]


def panel_functions(kernels: Kernels, plan: Plan) -> list[str]:
    """The texts of ``into_panels``, which copies large matrices from where they lie row by row, and of
    ``from_panels``, which copies those back that steps write. Their table is that of `run_function`.
    """
    texts = []
    for name, to_panels in ((INTO_PANELS, True), (FROM_PANELS, False)):
        f = Function(f"define void @{name}(ptr %table) #0 {{")
        table = f.op(f"getelementptr ptr, ptr %table, i64 {len(plan.buffers)}")
        for number, shape in plan.arrangement.panels.items():
            if to_panels or shape.is_written:
                e, kind = Emitter(), kind_of(plan.buffers[number].dtype)
                inside, outside = ("%b0", shape.panels(kind)), ("%b1", row_by_row(shape.columns, kind))
                places = (inside, outside) if to_panels else (outside, inside)
                if shape.is_turned:
                    sizes = (shape.rows, shape.columns) if to_panels else (shape.columns, shape.rows)
                    copy_turned(e, *sizes, kind, *places)
                else:
                    copy_matrix(e, shape.rows, shape.columns, kind, *places)
                kernel = kernels.add("copy_panels", e, 2, False)
                pointers = f.pointer(table, number), f.pointer("%table", number)
                f.line(f"call void @{kernel}(ptr {pointers[0]}, ptr {pointers[1]})")
        f.line("ret void")
        texts.append(f.text())
    return texts


def run_function(kernels: Kernels, plan: Plan, live: Sequence[Buffer]) -> str:
    """The text of ``run``, which goes through ``run_crossing`` where there is one, unless threads share more
    of a step than what that does.

    Its table is that of a single step, which those of other steps follow (see `Run`).
    """
    head = "define i32 @run(ptr %table, ptr %job, i64 %thread, i64 %threads, ptr %sync) #0 {"
    run = Run(head, kernels, plan, live, 1)
    f, fetched = run.f, run.fetched
    if plan.crossing is not None:
        crosses = "true" if is_rest_alone(plan, plan.crossing) else f.op("icmp eq i64 %threads, 1")
        f.line(f"br i1 {crosses}, label %crossing, label %together")
        f.lines.append("crossing:")
        given = f"ptr {run.table}, ptr %job, i64 %thread, i64 %threads, ptr %sync"
        f.line(f"ret i32 {f.op(f'call i32 @run_crossing({given})')}")
    else:
        f.line("br label %together")
    f.lines.append("together:")
    f.line("br label %head")
    f.lines.append("head:")
    f.line("%s = phi i64 [ 0, %together ], [ %following, %next ]")
    more = f.op(f"icmp slt i64 %s, {run.steps}")
    f.line(f"br i1 {more}, label %body, label %finished")
    f.lines.append("body:")
    if live:
        after = f.only_first()
        run.store_live()
        f.everybody(after)
    batches = plan.arrangement.batches
    for window in fetched:
        run.fetch_shared(window, batches)
    for coming in batches.coming:
        run.note_next(coming)
    if plan.shared and not plan.arrangement.is_usual():
        f.clear_shares(plan.shared, len(f.lines))
    f.barrier()  # the first thread may still be at results of the step before, which others would overwrite
    table = run.table
    if plan.spared:
        table = f.op(f"select i1 {run.is_last()}, ptr {table}, ptr {run.other_table}")
    code = run.call_step(table, "%thread", "%threads")
    run.stop_if(code)
    after = f.only_first()
    run.store_results()
    f.everybody(after)
    run.next_step()
    f.lines.append("stopped:")
    f.line(f"store i64 %s, ptr {run.failed}, align 8")
    f.line(f"ret i32 {code}")
    f.lines += ["finished:", "  ret i32 0"]
    return f.text()
