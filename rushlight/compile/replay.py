"""Running a recorded program call by call with the ops' own NumPy forwards.

This is the reference the native back end is compared with, and the way ops without a lowering run.
Invariant: temporaries live in memory made once per program, so a replay allocates only what NumPy does
inside an op.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.compile.program import STATE, Call, Program, Window, look
from rushlight.quiet import QUIET, error_state
from rushlight.tensor import new_tensor


def flat(array: np.ndarray) -> np.ndarray:
    """The memory an owning array holds, as one dimension, in address order."""
    if array.ndim == 1 and array.flags.c_contiguous:
        return array
    order = np.argsort([-abs(stride) for stride in array.strides], kind="stable")
    return array.transpose(order).reshape(-1)


class Memory:
    """The arrays behind a program's buffers: states as they are, arguments and temporaries of our own."""

    def __init__(self, program: Program) -> None:
        self.arrays: list[np.ndarray] = []
        for buffer in program.buffers:
            if buffer.kind == STATE:
                assert buffer.array is not None
                self.arrays.append(flat(buffer.array))
            else:
                self.arrays.append(np.zeros(buffer.size, buffer.dtype))

    def view(self, window: Window) -> np.ndarray:
        """A window as an ndarray."""
        return look(self.arrays[window.buffer.number], window)


class Replay:
    """A program bound to memory, ready to run."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.memory = Memory(program)
        self.arguments = [self.memory.view(each) for each in program.arguments]
        self.results = [self.memory.view(each) for each in program.results]
        self.steps = [bind(call, self.memory) for call in program.calls]

    def run(self, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        """One step: fresh copies of the results."""
        for place, given in zip(self.arguments, arguments, strict=True):
            np.copyto(place, given)
        token = error_state.set(QUIET)
        try:
            for step in self.steps:
                _run(step)
        finally:
            error_state.reset(token)
        return [each.copy() for each in self.results]


def bind(call: Call, memory: Any) -> tuple[Any, ...]:
    """A call with its operands as tensors on the memory, for `run_call`."""
    inputs = [new_tensor(memory.view(x)) if isinstance(x, Window) else x for x in call.inputs]
    return call.op, inputs, call.params, [memory.view(each) for each in call.outputs], call.where


def run_call(bound: tuple[Any, ...]) -> None:
    """One call by its NumPy forward."""
    token = error_state.set(QUIET)
    try:
        _run(bound)
    finally:
        error_state.reset(token)


def _run(bound: tuple[Any, ...]) -> None:
    op, inputs, params, outputs, where = bound
    try:
        operands, _ = op.prepare(op, inputs)
        made = op.forward(*operands, **params)
    except Exception as error:
        error.add_note(f"in a compiled step, at {where}")
        raise
    for place, value in zip(outputs, made if type(made) is tuple else (made,), strict=True):
        np.copyto(place, value, casting="unsafe")
