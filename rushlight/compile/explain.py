"""What became of a compiled function, for people: its recordings, their loops and their memory.

An `Explanation` is made of plain facts, which tests and programs may read, and prints as text or, in a
notebook, as tables. With times measured it tells each group's share of what the machine can do. Invariant:
nothing here changes a program, and operations and bytes are counted from the plan that runs.
"""

from __future__ import annotations

import html
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rushlight.compile.expr import Expr
from rushlight.compile.group import Group
from rushlight.compile.native import Native
from rushlight.compile.peak import Peak, measured_peak
from rushlight.compile.plan import Plan
from rushlight.compile.program import ARGUMENT, STATE, Buffer, Call, Program, Window
from rushlight.compile.recording import Recording
from rushlight.compile.statements import Access, Check, Draw, Opaque
from rushlight.compile.vmath import in_order
from rushlight.threads import get_num_threads

FREE = frozenset(["const", "load", "index", "cast", "select"])  # what is not counted as an operation


@dataclass
class GroupFacts:
    """One group of loops, or one call that NumPy carries out.

    Args:
        ops: the names of its ops, in order.
        loops: the extents of its loops; that of a product's sum comes last.
        operations: arithmetic ones, a function such as exp counting as one; None where NumPy carries it out.
        bytes: read and written in memory.
        units: into how many parts threads can split it.
        changes: names of the memory that it writes and that outlives the step.
        places: the lines of code it comes from.
        reason: why NumPy carries it out; empty for native code.
        seconds: measured, or None.
    """

    ops: list[str]
    loops: tuple[int, ...]
    operations: int | None
    bytes: int
    units: int = 1
    changes: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    reason: str = ""
    seconds: float | None = None


@dataclass
class ProgramFacts:
    """One program: that of a recording, or of the backward pass that belongs to one.

    Args:
        title: which one it is.
        reason: why it was recorded.
        arguments: what it is called with.
        memory: bytes by what they hold.
        watched: how many things of each sort are looked at before a call.
        groups: what it does, in order.
        threads: how many were used when times were measured.
        is_helped: whether several may work on a single call.
    """

    title: str
    reason: str
    arguments: list[str]
    memory: dict[str, int]
    watched: dict[str, int]
    groups: list[GroupFacts]
    threads: int = 0
    is_helped: bool = False

    @property
    def seconds(self) -> float | None:
        """Of all groups, if they were measured."""
        found = [each.seconds for each in self.groups if each.seconds is not None]
        return sum(found) if found else None


@dataclass
class Explanation:
    """What `explain` returns: print it, or show it in a notebook.

    Args:
        name: of the compiled function.
        programs: the facts, in the order of recording.
        peak: what the machine can do, if times were measured.
    """

    name: str
    programs: list[ProgramFacts]
    peak: Peak | None = None

    def __str__(self) -> str:
        parts = [f"{self.name}: {_count(len(self.programs), 'program')}"]
        for program in self.programs:
            head, rows = _rows(program, self.peak)
            lines = [program.title, *("  " + line for line in _about(program)), ""]
            parts.append("\n".join([*lines, *("  " + line for line in _aligned([head, *rows]))]))
        if self.peak is not None:
            parts.append(_about_peak(self.peak))
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        parts = [f"<h4>{html.escape(self.name)}</h4>"]
        for program in self.programs:
            head, rows = _rows(program, self.peak)
            about = "<br>".join(html.escape(line) for line in _about(program))
            parts.append(f"<p><b>{html.escape(program.title)}</b><br>{about}</p>")
            parts.append(_html_table(head, rows))
        if self.peak is not None:
            parts.append(f"<p>{html.escape(_about_peak(self.peak))}</p>")
        return "\n".join(parts)


def explained(name: str, recordings: Iterable[Recording], measure: bool = False) -> Explanation:
    """The facts of some recordings."""
    found = Explanation(name, [], measured_peak() if measure else None)
    for made in recordings:
        facts = _of_program(f"recording {made.number}", made.program, made.executor, measure)
        facts.reason = made.reason
        facts.watched = {what: count for what, count in made.guards.counts().items() if count}
        found.programs.append(facts)
        if made.half is not None:
            title = f"{facts.title}, backward"
            found.programs.append(_of_program(title, made.half.program, made.half.executor, measure))
    return found


# -- facts ---------------------------------------------------------------------------------------------------


def _of_program(title: str, program: Program, executor: Any, measure: bool) -> ProgramFacts:
    """All but what belongs to the recording."""
    arguments = [_shown(each) for each in program.arguments]
    groups, threads = _groups(executor, program, measure)
    helped = isinstance(executor, Native) and executor.built.has_help
    return ProgramFacts(title, "", arguments, _memory(executor, program), {}, groups, threads, helped)


def _shown(window: Window) -> str:
    name = window.buffer.name or "a saved value"
    return f"{name} {tuple(window.shape)} {window.dtype}"


def _memory(executor: Any, program: Program) -> dict[str, int]:
    """Bytes by what they hold."""
    buffers, apart, arena = program.buffers, set[int](), 0
    if isinstance(executor, Native):
        made = executor.built
        buffers, apart, arena = made.buffers(program), set(made.apart), made.size
    found = {"arguments": 0, "captured": 0, "results and gradients": 0, "arena": arena}
    for each in buffers:
        size = each.nbytes
        if each.kind == ARGUMENT:
            found["arguments"] += size
        elif each.kind == STATE:
            found["captured"] += size
        elif each.number in apart:
            found["results and gradients"] += size
    return {what: size for what, size in found.items() if size}


def _groups(executor: Any, program: Program, measure: bool) -> tuple[list[GroupFacts], int]:
    """What a program does, and the number of threads it was measured with."""
    if not isinstance(executor, Native):
        return [_of_call(call, "the program runs op by op") for call in program.calls], 0
    plan = Plan(program, program.kept)
    found = [_of_group(each, plan) for each in plan.groups]
    if not measure:
        return found, 0
    from rushlight.compile.measure import measured_groups

    seconds, threads = measured_groups(executor, plan)
    for each, taken in zip(found, seconds, strict=True):
        each.seconds = taken
    return found, threads


def _of_call(call: Call, reason: str) -> GroupFacts:
    moved = sum(each.nbytes for each in (*call.reads(), *call.outputs))
    shape = call.outputs[0].shape if call.outputs else ()
    changes = _named(each.buffer for each in call.outputs)
    places = [call.where] if call.where else []
    return GroupFacts([call.op.name], shape, None, moved, 1, changes, places, reason)


def _of_group(group: Group, plan: Plan) -> GroupFacts:
    single = group.single
    if isinstance(single, Opaque):
        return _of_call(single.call, single.reason)
    loops = group.domain if group.product is None else (*group.domain, group.product.k)
    return GroupFacts(
        group.ops(),
        loops,
        _operations(group),
        _bytes(group, plan),
        plan.split[group],
        _named(each.store.buffer for each in group.storing(plan.stored)),
        group.places(),
    )


def _named(buffers: Iterable[Buffer]) -> list[str]:
    """The names of parameters and the like, once for what belongs to one parameter."""
    names = [each.name for each in buffers if each.name and (each.kind == STATE or "." in each.name)]
    return [each for each in dict.fromkeys(names) if not any(each.startswith(f"{other}.") for other in names)]


def _operations(group: Group) -> int:
    each = 0 if group.single is None else 1
    if group.product is not None:
        each += 2 * group.product.k
    for statement in group.statements:
        each += _arithmetic(statement.formula or statement.expr)
        each += bool(statement.fold) + statement.add
    return each * math.prod(group.domain)


def _arithmetic(expr: Expr) -> int:
    return sum(2 if node.op == "fma" else 1 for node in in_order([expr]) if node.op not in FREE)


def _bytes(group: Group, plan: Plan) -> int:
    """What a group reads from memory and writes there, every element once."""
    found: set[tuple[Access, tuple[int, ...]]] = set()
    single = group.single
    if isinstance(single, Draw):
        found = {(each, single.domain) for each in (single.store, *single.loads)}
    elif isinstance(single, Check):
        found = {(each, single.domain) for each in single.loads}
    made: set[Access] = set()
    if group.product is not None:
        found.update(group.product.reads())
        made.add(group.product.store)
    for each in group.statements:
        found |= {(access, each.domain) for access in each.reads() if access not in made}
        if not each.fold:
            made.add(each.store)
    stored = {(each.store, each.domain) for each in group.storing(plan.stored)}
    return sum(_size(access, domain) for access, domain in [*found, *stored])


def _size(access: Access, domain: Sequence[int]) -> int:
    """The bytes of the elements that an access touches."""
    count = 1
    for d, n in enumerate(domain):
        if access.strides[d] or any(pick.access.strides[d] for pick in access.picks):
            count *= n
    buffer: Buffer = access.buffer
    return min(count, buffer.size) * buffer.dtype.itemsize


# -- text ----------------------------------------------------------------------------------------------------


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _amount(number: float, unit: str) -> str:
    """A number with three digits and a prefix.

    >>> _amount(401408, "B"), _amount(12, "op")
    ('401 kB', '12 op')
    """
    for prefix in ("", "k", "M", "G"):
        if number < 999.5 or prefix == "G":
            break
        number /= 1000
    return f"{number:.3g} {prefix}{unit}"


def _about(program: ProgramFacts) -> list[str]:
    """The lines before a program's table."""
    groups = program.groups
    numpy = sum(1 for each in groups if each.reason)
    shared = sum(1 for each in groups if each.units > 1)
    lines = [f"recorded because {program.reason}"] if program.reason else []
    lines.append("called with " + (", ".join(program.arguments) or "nothing"))
    lines.append("memory: " + ", ".join(f"{what} {_amount(n, 'B')}" for what, n in program.memory.items()))
    if program.watched:
        lines.append("watched: " + ", ".join(_count(n, what) for what, n in program.watched.items()))
    by_numpy = f", {numpy} of them by NumPy" if numpy else ", all native"
    lines.append(_count(len(groups), "group") + by_numpy)
    if shared:
        most = get_num_threads()
        threads = f"{most} threads" if most > 1 else "threads (set_num_threads)"
        where = "in a call and in step.over()" if program.is_helped else "one in a call; in step.over()"
        lines.append(f"threads: {where} up to {threads} share {shared} of the groups")
    for each in groups:
        if each.reason:
            lines.append(f"by NumPy: {each.ops[0]}: {each.reason}" + "".join(f" ({p})" for p in each.places))
    return lines


def _rows(program: ProgramFacts, peak: Peak | None) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of a program's table."""
    head = ["#", "computes", "loops", "operations", "memory", "units"]
    timed = peak is not None and program.seconds is not None
    if timed:
        head += ["time", "of all", "product peak", "copy peak"]
    head.append("changes")
    places = {tuple(each.places) for each in program.groups}
    if len(places) > 1:
        head.append("from")
    rows = []
    total = program.seconds or 1.0
    for number, each in enumerate(program.groups, 1):
        row = [
            str(number),
            " + ".join(each.ops),
            " x ".join(map(str, each.loops)) or "1",
            "in NumPy" if each.operations is None else _amount(each.operations, ""),
            _amount(each.bytes, "B"),
            str(each.units),
        ]
        if timed and peak is not None and each.seconds is not None:
            row += _shares(each.operations, each.bytes, each.seconds, each.seconds / total, peak)
        row.append(", ".join(each.changes))
        if len(places) > 1:
            row.append(_short(each.places))
        rows.append(row)
    operations = sum(each.operations or 0 for each in program.groups)
    moved = sum(each.bytes for each in program.groups)
    last = ["", "together", "", _amount(operations, ""), _amount(moved, "B"), ""]
    if timed and peak is not None:
        last += _shares(operations, moved, total, 1.0, peak)
    return head, [*rows, last + [""] * (len(head) - len(last))]


def _short(places: Sequence[str]) -> str:
    """Lines of code without folders.

    >>> _short(["/home/train.py:3", "/home/train.py:5"])
    'train.py:3,5'
    """
    lines: dict[str, list[str]] = {}
    for place in places:
        path, _, line = place.rpartition(":")
        lines.setdefault(os.path.basename(path), []).append(line)
    return " ".join(f"{name}:{','.join(numbers)}" for name, numbers in lines.items())


def _shares(operations: int | None, moved: int, seconds: float, part: float, peak: Peak) -> list[str]:
    """Time, and what share of the machine's rates it makes use of."""
    product = "" if operations is None else f"{operations / seconds / peak.flops:.1%}"
    return [f"{seconds * 1e6:.2f} us", f"{part:.1%}", product, f"{moved / seconds / peak.bytes:.1%}"]


def _about_peak(peak: Peak) -> str:
    return (
        f"The machine's peak, on all cores: {_amount(peak.flops, 'op/s')} in a large matrix product, "
        f"{_amount(peak.bytes, 'B/s')} in a large copy. What lies in caches moves faster than that."
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns below each other, the head in the first row: words to the left, numbers to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if head in ("computes", "loops", "changes", "from") else cell.rjust(width)
            for cell, width, head in zip(row, widths, rows[0], strict=True)
        ).rstrip()
        for row in rows
    ]


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["<table>", "<tr>" + "".join(f"<th>{html.escape(each)}</th>" for each in head) + "</tr>"]
    for row in rows:
        lines.append("<tr>" + "".join(f"<td>{html.escape(each)}</td>" for each in row) + "</tr>")
    return "\n".join([*lines, "</table>"])
