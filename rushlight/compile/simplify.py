"""Passes over a recorded program before it is lowered: one computation of what is computed twice.

Invariant: the program that comes out gives the same results and changes the same memory as the one that went
in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from typing import Any

import numpy as np

from rushlight.compile.program import TEMPORARY, Buffer, Call, Program, Window

# What gives something else at every call.
_FRESH = ("random", "create")


def without_repeats(program: Program, kept: Container[int]) -> Program:
    """The program with calls left out whose results are there already; those that write the buffers in
    `kept` stay.
    """
    writes: Counter[int] = Counter()
    for call in program.calls:
        for number in {window.buffer.number for window in call.outputs}:
            writes[number] += 1
    version: Counter[int] = Counter()
    known: dict[Any, tuple[Window, ...]] = {}
    moved: dict[int, Buffer] = {}
    calls = []
    for given in program.calls:
        call = Call(
            given.op,
            tuple(_moved(each, moved) if isinstance(each, Window) else each for each in given.inputs),
            given.params,
            given.outputs,
            given.where,
        )
        key = _key(call, version)
        once = all(
            window.buffer.kind == TEMPORARY and writes[window.buffer.number] == 1 and window.is_whole()
            for window in call.outputs
        )
        same = known.get(key) if key is not None and once else None
        if same is not None and all(
            b.buffer.number not in kept and (a.offset, a.shape, a.strides) == (b.offset, b.shape, b.strides)
            for a, b in zip(same, call.outputs, strict=True)
        ):
            for old, new in zip(same, call.outputs, strict=True):
                moved[new.buffer.number] = old.buffer
            continue
        for window in call.outputs:
            version[window.buffer.number] += 1
        if key is not None and once:
            known[key] = call.outputs
        calls.append(call)
    return Program(program.name, program.buffers, calls, program.arguments, program.results)


def _moved(window: Window, moved: dict[int, Buffer]) -> Window:
    buffer = moved.get(window.buffer.number)
    return window if buffer is None else Window(buffer, window.offset, window.shape, window.strides)


def _key(call: Call, version: Counter[int]) -> Any:
    """What a call computes: equal keys, equal results. None for what is never the same twice."""
    if call.op.kind in _FRESH and call.op.name != "full":
        return None
    if any(isinstance(each, np.ndarray) for each in call.params.values()):
        return None  # its text leaves elements out
    operands = tuple(
        (each.buffer.number, version[each.buffer.number], each.offset, each.shape, each.strides)
        if isinstance(each, Window)
        else (type(each), repr(each))  # by its text, in which 0.0 is not -0.0, and nan is nan
        for each in call.inputs
    )
    return call.op.name, id(call.op.forward), operands, repr(sorted(call.params.items()))
