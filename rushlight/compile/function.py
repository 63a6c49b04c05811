"""The text of a function that all threads run: what each of them does, and where they meet.

Threads of a function share `sync`, memory with the counters behind barriers and shares. Invariant: blocks
begin and end where the text of one method does, so that methods can be called in any order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rushlight.compile.program import Buffer
from rushlight.storage import LINE

PIECES = 32  # into which a group is cut whose pieces threads take as they go
MOST_SHARING = 64  # threads that do so

ERROR = 128  # where `sync` has the number of the check that failed
CROSSING = 192  # where `sync` says that the first and last loops of steps are not its own
SHARES = 256  # where the lines begin that say, for a thread and a group, how much of its share is taken


def meeting_bytes(shared: int) -> int:
    """How much memory `sync` takes, if threads share so many groups as they go."""
    return SHARES + shared * MOST_SHARING * LINE


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

    def least(self, a: str, b: str) -> str:
        """The lesser of two numbers."""
        return self.op(f"select i1 {self.op(f'icmp slt i64 {a}, {b}')}, i64 {a}, i64 {b}")

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
        alone = self.op(f"icmp ule i64 %threads, {buffer.copies}")
        copy = self.op(f"select i1 {alone}, i64 %thread, i64 0")
        far = self.op(f"mul i64 {copy}, {buffer.nbytes // buffer.copies}")
        return self.op(f"getelementptr i8, ptr {pointer}, i64 {far}")

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
        self.line(call(begin, self.least(end, last)))
        self.line(f"br label %take{tag}")
        self.lines.append(f"taken{tag}:")
        self.line(f"%further{tag} = add i64 %after{tag}, 1")
        more = self.op(f"icmp slt i64 %further{tag}, %threads")
        self.line(f"br i1 {more}, label %whose{tag}, label %shared{tag}")
        self.lines.append(f"shared{tag}:")

    def begin_sharing(self, groups: int, clears: bool) -> None:
        """So many groups are shared: at the beginning."""
        self.lines[2:2] = [f"  %groups = add i64 0, {groups}"]
        if clears:
            self.clear_shares(groups, 3)

    def clear_shares(self, groups: int, at: int) -> None:
        """Nothing is taken of so many groups: at some line, a barrier before they are shared."""
        self.lines[at:at] = [
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
        if self.lines[-1].startswith("all") and self.lines[-2] == f"  br label %{self.lines[-1][:-1]}":
            del self.lines[-2]  # it goes on with what it was at
            return self.lines.pop()[:-1]
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

    @contextlib.contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """What is done if a condition holds."""
        self._count += 1
        tag = self._count
        self.line(f"br i1 {condition}, label %yes{tag}, label %no{tag}")
        self.lines.append(f"yes{tag}:")
        yield
        self.line(f"br label %no{tag}")
        self.lines.append(f"no{tag}:")

    @contextlib.contextmanager
    def either(self, condition: str) -> Iterator[Callable[[], None]]:
        """What is done if a condition holds, and, once what comes back was called, if it does not."""
        self._count += 1
        tag = self._count
        self.line(f"br i1 {condition}, label %either{tag}, label %or{tag}")
        self.lines.append(f"either{tag}:")

        def otherwise() -> None:
            self.line(f"br label %past{tag}")
            self.lines.append(f"or{tag}:")

        yield otherwise
        self.line(f"br label %past{tag}")
        self.lines.append(f"past{tag}:")

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
        with self.when(wanted):
            self.line(call)

    def barrier(self) -> None:
        """All threads meet."""
        self.line("call void @barrier(ptr %sync, i64 %threads)")

    def text(self) -> str:
        """The whole function."""
        return "\n".join([*self.lines, "}"])
