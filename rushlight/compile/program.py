"""A recorded step as data: buffers, windows on them, and the calls in the order they were made.

This is what the recorder writes, passes rewrite and back ends read. It executes nothing. Invariant (checked
by `verify`): every window lies inside its buffer, and a temporary is written before it is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.ops.define import Op

if TYPE_CHECKING:
    from rushlight.compile.layout import Panels

ARGUMENT, STATE, TEMPORARY = "argument", "state", "temporary"

# How a program may be run: a step at a time, or many in one call. Code for each is compiled when it is first
# asked for, for most programs are run in one way only; where both have the same loops it is for both.
SINGLE, MANY = "single", "many"


class Buffer:
    """A stretch of memory.

    Args:
        number: its place in the program's list.
        kind: ARGUMENT (a tensor handed to the step), STATE (memory that outlives the step: parameters,
            optimizer state, captured tensors) or TEMPORARY (made during the step).
        size: elements.
        dtype: NumPy type of the elements.
        name: for people: a parameter's path, an argument's name.
        array: the memory itself, for STATE.

    Of a temporary there may be several `copies`: no more threads than these have one each, more threads
    share the first. It may hold an operand of a product `in_pieces` for the matrix unit (see `pieces`): an
    access to it may touch all of it. The same holds for a temporary that lies in `panels` (see `layout`).
    """

    __slots__ = ("array", "copies", "dtype", "in_pieces", "kind", "name", "number", "panels", "size")

    def __init__(
        self,
        number: int,
        kind: str,
        size: int,
        dtype: np.dtype,
        name: str = "",
        array: np.ndarray | None = None,
    ) -> None:
        self.number, self.kind, self.size, self.dtype = number, kind, size, dtype
        self.name, self.array = name, array
        self.copies = 1
        self.in_pieces = False
        self.panels: Panels | None = None

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return self.size * self.dtype.itemsize

    def __repr__(self) -> str:
        letter = {ARGUMENT: "a", STATE: "s", TEMPORARY: "t"}[self.kind]
        return f"{letter}{self.number}" + (f":{self.name}" if self.name else "")


@dataclass(frozen=True, slots=True)
class Window:
    """A strided look at a buffer; offset and strides count elements of the buffer's type."""

    buffer: Buffer
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        """NumPy type of the elements."""
        return self.buffer.dtype

    @property
    def size(self) -> int:
        """Number of elements."""
        count = 1
        for n in self.shape:
            count *= n
        return count

    @property
    def nbytes(self) -> int:
        """The bytes of the elements."""
        return self.size * self.dtype.itemsize

    def is_contiguous(self) -> bool:
        """Whether the elements lie in row-major order without gaps."""
        expected = 1
        for n, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if n != 1:
                if stride != expected:
                    return False
                expected *= n
        return True

    def is_whole(self) -> bool:
        """Whether the window shows every element of its buffer exactly once, in some order of dimensions."""
        if self.size != self.buffer.size or self.offset:
            return False
        reach = 1
        for stride, n in sorted(
            (stride, n) for stride, n in zip(self.strides, self.shape, strict=True) if n != 1
        ):
            if stride != reach:
                return False
            reach *= n
        return True

    def with_dimension(self, dim: int) -> Window:
        """The same with one more dimension, of one index."""
        shape, strides = self.shape, self.strides
        shape, strides = (*shape[:dim], 1, *shape[dim:]), (*strides[:dim], 0, *strides[dim:])
        return Window(self.buffer, self.offset, shape, strides)

    def extent(self) -> tuple[int, int]:
        """The first and one past the last element of the buffer that the window can reach."""
        if 0 in self.shape:
            return self.offset, self.offset
        low = high = self.offset
        for n, stride in zip(self.shape, self.strides, strict=True):
            reach = (n - 1) * stride
            low, high = (low + reach, high) if reach < 0 else (low, high + reach)
        return low, high + 1

    def overlaps(self, other: Window) -> bool:
        """Whether the two may share an element (never wrongly False)."""
        if self.buffer is not other.buffer:
            return False
        (a, b), (c, d) = self.extent(), other.extent()
        return a < d and c < b

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape)) or "scalar"
        text = f"{self.buffer!r}[{shape}]"
        if not self.is_contiguous() or self.offset:
            text += f"@{self.offset}{list(self.strides)}"
        return text


def look(memory: np.ndarray, window: Window) -> np.ndarray:
    """The ndarray of a window on a flat memory."""
    size = memory.itemsize
    strides = tuple(stride * size for stride in window.strides)
    if memory.size and memory.flags.c_contiguous:
        return np.ndarray(window.shape, memory.dtype, memory, window.offset * size, strides)
    return np.lib.stride_tricks.as_strided(memory[window.offset :], window.shape, strides)


Operand = Window | int | float | bool | None


@dataclass(slots=True)
class Call:
    """One op on windows and numbers.

    `outputs` are written; for an in-place call the first output is the target, which was also read if it is
    among `inputs`.
    """

    op: Op
    inputs: tuple[Operand, ...]
    params: dict[str, Any]
    outputs: tuple[Window, ...]
    where: str = ""

    def reads(self) -> list[Window]:
        """The windows among the inputs."""
        return [each for each in self.inputs if isinstance(each, Window)]

    def __repr__(self) -> str:
        given = [repr(each) for each in self.inputs]
        given += [f"{name}={value!r}" for name, value in self.params.items()]
        made = ", ".join(repr(each) for each in self.outputs)
        return f"{made} = {self.op.name}({', '.join(given)})"


@dataclass(slots=True)
class Program:
    """A recorded step.

    `arguments` are the windows of the tensors handed in, in order; `results` those of the tensors returned.
    `kept` are windows that must be readable after a run besides: gradients, and arguments that were changed.
    `repeats` tells whether an epoch may run it many times in one call.
    """

    name: str
    buffers: list[Buffer] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    arguments: list[Window] = field(default_factory=list)
    results: list[Window] = field(default_factory=list)
    kept: list[Window] = field(default_factory=list)
    repeats: bool = True

    def __str__(self) -> str:
        lines = [f"program {self.name}({', '.join(repr(each) for each in self.arguments)})"]
        for buffer in self.buffers:
            if buffer.kind == STATE:
                lines.append(f"  state {buffer!r}: {buffer.size} {buffer.dtype}")
        for call in self.calls:
            lines.append(f"  {call!r}" + (f"  # {call.where}" if call.where else ""))
        lines.append(f"  return {', '.join(repr(each) for each in self.results)}")
        return "\n".join(lines)

    def verify(self) -> None:
        """Raise AssertionError where the invariant does not hold."""
        written = {each.number for each in self.buffers if each.kind != TEMPORARY}
        for call in self.calls:
            for window in (*call.reads(), *call.outputs):
                low, high = window.extent()
                if not 0 <= low <= high <= window.buffer.size:
                    raise AssertionError(f"{window!r} leaves its buffer in {call!r}")
            for window in call.reads():
                if window.buffer.number not in written:
                    raise AssertionError(f"{window!r} is read before it is written in {call!r}")
            written.update(window.buffer.number for window in call.outputs)
        for window in (*self.results, *self.kept):
            if window.buffer.number not in written:
                raise AssertionError(f"{window!r} is to be returned, and never written")
