"""A compiled program as C: a function for each group of loops as the plan made it, and one that calls them.

What is written is the plan itself: which ops share loops, which values are never stored, where temporaries
lie in the arena. Invariant: the text compiles by itself with any C compiler (C99), and its functions, called
in order on the memory of the program, do what the program does, up to rounding.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from rushlight.compile.c_group import GroupText, Lines, Names, remark
from rushlight.compile.c_helpers import TYPES, Helpers
from rushlight.compile.expr import kind_of
from rushlight.compile.group import Group
from rushlight.compile.native import Native
from rushlight.compile.places import ALIGNMENT
from rushlight.compile.plan import Plan
from rushlight.compile.program import Buffer, Call
from rushlight.compile.recording import Recording
from rushlight.compile.statements import Check, Opaque

HEAD = """\
/*
 * {title}
 *
 * Written by rushlight from the program it runs: each function below is one group of loops of that program,
 * and what shares a function was fused. The native code has vectors, register tiles and threads besides,
 * and the order of sums differs. Compile with
 *     cc -std=c99 -O2 -fwrapv -ffp-contract=off -shared -fPIC step.c -o step.so -lm
 */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
"""


@dataclass
class Entry:
    """A C function ``int name(void **buffers)`` to call, or a call that NumPy carries out between them.

    ``buffers`` holds the address of each of `buffers`, and then that of `arena` bytes of memory, if any. The
    function returns 0, or the number of the check of indices that failed.
    """

    name: str
    buffers: list[Buffer] = field(default_factory=list)
    arena: int = 0
    call: Call | None = None


@dataclass
class CText:
    """C code, and what a run of the program consists of, in order."""

    text: str
    entries: list[Entry]


class _Writer:
    """Collects the functions of one or two programs."""

    def __init__(self) -> None:
        self.helpers = Helpers()
        self.functions: list[str] = []
        self.entries: list[Entry] = []
        self._groups = 0

    def program(self, name: str, native: Native) -> None:
        """The functions of one program."""
        plan = Plan(native.program, native.program.kept)  # the native code may have come from the cache
        names = Names(native.program, plan.buffers)
        checks = [group.single for group in plan.groups if isinstance(group.single, Check)]
        segment: list[tuple[str, Group, GroupText]] = []
        parts = 0
        is_whole = not any(isinstance(group.single, Opaque) for group in plan.groups)

        def close() -> None:
            nonlocal parts
            if segment:
                parts += 1
                self._entry(native, names, checks, name if is_whole else f"{name}_part{parts}", segment)
                segment.clear()

        for group in plan.groups:
            self._groups += 1
            if isinstance(group.single, Opaque):
                close()
                call = group.single.call
                self.entries.append(Entry(call.op.name, call=call))
                about = f"{call.op.name}{_place(call.where)}: {group.single.reason}"
                self.functions.append(f"/* Here NumPy carries out {remark(about)}. */\n")
                continue
            written = GroupText(group, names, self.helpers, plan.stored)
            written.write()
            title = f"g{self._groups}_" + "_".join(group.ops())[:40].rstrip("_")
            segment.append((title, group, written))
            self.functions.append(_function(title, group, written, names, plan.split[group]))
        close()

    def _entry(
        self,
        native: Native,
        names: Names,
        checks: Sequence[Check],
        name: str,
        segment: Sequence[tuple[str, Group, GroupText]],
    ) -> None:
        """The function that calls those of a segment."""
        used = {each.number: each for _, _, written in segment for each in written.used}
        offsets = dict(native.built.offsets)
        own = [used[number] for number in sorted(used) if number not in offsets]
        shared = [used[number] for number in sorted(used) if number in offsets]
        lines = Lines()
        lines.line(f"int {name}(void **buffers)")
        with lines.block(""):
            for place, buffer in enumerate(own):
                kind = TYPES[kind_of(buffer.dtype)]
                lines.line(f"{kind} *{names.of(buffer)} = buffers[{place}]; /* {names.about(buffer)} */")
            if shared:
                lines.line(
                    f"char *arena = buffers[{len(own)}]; "
                    f"/* {native.built.size} bytes, aligned to {ALIGNMENT} */"
                )
            for buffer in shared:
                kind, offset = TYPES[kind_of(buffer.dtype)], offsets[buffer.number]
                lines.line(
                    f"{kind} *{names.of(buffer)} = ({kind} *)(arena + {offset}); /* {names.about(buffer)} */"
                )
            lines.lines.append("")
            for title, group, written in segment:
                given = ", ".join(names.of(each) for each in written.used)
                if isinstance(group.single, Check):
                    number = checks.index(group.single) + 1
                    with lines.block(f"if ({title}({given}))"):
                        lines.line(f"return {number};")
                else:
                    lines.line("\n".join(textwrap.wrap(f"{title}({given});", 100, break_long_words=False)))
            lines.line("return 0;")
        self.functions.append("\n".join(lines.lines) + "\n")
        self.entries.append(Entry(name, own, native.built.size if shared else 0))


def _function(title: str, group: Group, written: GroupText, names: Names, units: int) -> str:
    """The text of a group's function."""
    result = "int" if isinstance(group.single, Check) else "void"
    given = [
        f"{'' if writes else 'const '}{TYPES[kind_of(buffer.dtype)]} *{names.of(buffer)}"
        for buffer, writes in written.used.items()
    ]
    about = [f" *   {names.of(buffer)}: {names.about(buffer)}" for buffer in written.used]
    shared = f" Threads share it in {units} units." if units > 1 else ""
    ops, loops = " + ".join(group.ops()), " x ".join(map(str, group.domain)) or "one element"
    head = [f"/* {ops}, for {loops}.{shared}"]
    head += [f" *   {remark(each)}" for each in group.places()]
    signature = _wrapped(f"static {result} {title}(", given)
    return "\n".join([*head, *about, " */", signature, "{", *written.body.lines, "}", ""])


def _wrapped(start: str, given: Sequence[str]) -> str:
    """A function's head, over several lines if it is long."""
    whole = start + ", ".join(given) + ")"
    return whole if len(whole) < 110 else start + "\n    " + ",\n    ".join(given) + ")"


def _place(where: str) -> str:
    return f" ({where})" if where else ""


def c_text(programs: Sequence[tuple[str, Native]], title: str) -> CText:
    """Native programs as one C text.

    Args:
        programs: with the names of their functions.
        title: what the comment at the top says.
    """
    writer = _Writer()
    for name, native in programs:
        writer.program(name, native)
    text = [HEAD.format(title=remark(title)), "".join(writer.helpers.texts.values()), *writer.functions]
    return CText("\n".join(text), writer.entries)


def programs_of(made: Recording) -> list[tuple[str, Native]]:
    """The program of a recording, and that of the backward pass that belongs to it, if there is one.

    Raises:
        NotImplementedError: the recording does not run as native code.
    """
    found = [("step", made.executor)]
    if made.half is not None:
        found.append(("step_backward", made.half.executor))
    for _, executor in found:
        if not isinstance(executor, Native):
            raise NotImplementedError("this program has no native code: its ops run one by one in NumPy")
    return found
