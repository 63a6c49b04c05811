"""How long each group of a program takes, measured on copies of its memory.

Every group gets a function of its own that runs it over and over, so that calls from Python do not count.
What a group needs is in the caches after its first run, which is as it should be in a small step and
flatters a large one. Invariant: the program and its memory stay as they are.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight.compile.crew import on_threads
from rushlight.compile.function import Function
from rushlight.compile.llvm import Code, pause_function
from rushlight.compile.native import Native, aligned
from rushlight.compile.peak import best
from rushlight.compile.plan import Plan, Segment
from rushlight.compile.program import Window, look
from rushlight.compile.replay import bind, run_call
from rushlight.compile.schedule import Kernels, module_text
from rushlight.compile.statements import Opaque
from rushlight.threads import get_num_threads

LEAST_SECONDS = 0.001  # that a measurement takes
_REPEAT = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


class _Copies:
    """The memory of a program, to be written over."""

    def __init__(self, native: Native) -> None:
        self.given = native.memory.arrays
        self.arrays: dict[int, np.ndarray] = {}
        self.table = np.zeros(native.table.shape[-1], np.int64)
        block, offsets = aligned(native.built.size), dict(native.built.offsets)
        for number, array in self.given.items():
            start = offsets.get(number)
            place = aligned(array.nbytes) if start is None else block[start : start + array.nbytes]
            self.arrays[number] = place.view(array.dtype)
            self.table[number] = place.ctypes.data

    def view(self, window: Window) -> np.ndarray:
        """A window as an ndarray."""
        return look(self.arrays[window.buffer.number], window)

    def restore(self) -> None:
        """Everything as the program has it."""
        for number, array in self.given.items():
            np.copyto(self.arrays[number], array)


def measured_groups(native: Native, plan: Plan) -> tuple[list[float], int]:
    """The seconds that each group of the plan takes, and on how many threads: as many as are fastest."""
    code = Code(_text(plan, native))
    copies = _Copies(native)
    most = get_num_threads() if native.built.is_split else 1
    found: dict[int, list[float]] = {}
    for threads in sorted({1, most}):
        found[threads] = []
        for place, group in enumerate(plan.groups):
            copies.restore()
            if isinstance(group.single, Opaque):
                run = functools.partial(_call, bind(group.single.call, copies))
            else:
                function = code.function(f"repeat{place}", None, *_REPEAT)
                run = functools.partial(_run, function, copies, threads)
            found[threads].append(_seconds(run))
    fastest = min(found, key=lambda threads: sum(found[threads]))
    return found[fastest], fastest


def _text(plan: Plan, native: Native) -> str:
    """A module with a function for each group and one that repeats it."""
    kernels, functions = Kernels(), []
    for place, group in enumerate(plan.groups):
        if isinstance(group.single, Opaque):
            continue
        segment = Segment(plan, kernels, dict(native.built.offsets), f"group{place}")
        segment.add(group)
        functions.append(segment.close())
        f = Function(
            f"define void @repeat{place}(ptr %table, i64 %count, i64 %thread, i64 %threads, ptr %sync) #0 {{"
        )
        f.line("br label %again")
        f.lines.append("again:")
        f.line("%done = phi i64 [ 0, %entry ], [ %more, %again ]")
        f.op(f"call i32 @group{place}(ptr %table, i64 %thread, i64 %threads, ptr %sync)")
        f.line("%more = add i64 %done, 1")
        f.line("%left = icmp slt i64 %more, %count")
        f.line("br i1 %left, label %again, label %finished")
        f.lines.append("finished:")
        f.line("ret void")
        functions.append(f.text())
    return module_text(kernels, functions, pause_function())


def _call(bound: tuple[Any, ...], count: int) -> None:
    for _ in range(count):
        run_call(bound)


def _run(function: Any, copies: _Copies, threads: int, count: int) -> None:
    """A native function, by several threads at once."""
    sync = aligned(256)
    table, meeting = copies.table.ctypes.data, sync.ctypes.data
    on_threads(lambda thread: function(table, count, thread, threads, meeting), threads)


def _seconds(run: Callable[[int], None]) -> float:
    """The seconds for one of many runs."""
    count = 1
    while (taken := best(functools.partial(run, count), 3)) < LEAST_SECONDS:
        count *= 8 if taken < LEAST_SECONDS / 16 else 2
    return taken / count
