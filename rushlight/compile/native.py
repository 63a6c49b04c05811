"""A program as native code: built once, run with one call (and NumPy in between where an op is opaque).

`Native` takes the place of `Replay`. What it runs comes from `built`: calls become statements (`lower`),
statements are grouped (`group`), groups become functions (`loops`, `products`), and functions become machine
code (`llvm`); or all that is in the cache. Invariant: memory of the user's (states) is changed only by the
program's own writes, and results are fresh arrays.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from rushlight import storage
from rushlight.compile.built import FROM_PANELS, INTO_PANELS, Built, built
from rushlight.compile.crew import HelpedCalls, on_threads
from rushlight.compile.entry import ROOM, entry
from rushlight.compile.function import ERROR
from rushlight.compile.llvm import Code
from rushlight.compile.pace import Pace
from rushlight.compile.places import ALIGNMENT
from rushlight.compile.program import ARGUMENT, MANY, SINGLE, STATE, Buffer, Call, Program, Window, look
from rushlight.compile.replay import bind, flat, run_call
from rushlight.compile.simplify import without_repeats
from rushlight.storage import address

_STEP = (ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
_RUN = (
    ctypes.c_int32,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_int64,
    ctypes.c_int64,
    ctypes.c_void_p,
)


class Native:
    """A program compiled and bound to memory, ready to run.

    Args:
        program: what to run.
        kept: windows that are looked at after a run besides the results, such as gradients.
        live: buffers whose numbers are taken anew for every step.
        way: what to compile at once, see `built`.
    """

    def __init__(
        self,
        program: Program,
        kept: Sequence[Window] = (),
        live: Sequence[Buffer] = (),
        way: str = SINGLE,
    ) -> None:
        self.program = program
        self.kept = list(kept)
        self.live = list(live)
        self._loaded: dict[str, Loaded] = {}
        self.built = self._code_for(way).built
        self.generators = self.built.generators(program)
        self.memory = NativeMemory(program, self.built)
        self.arguments = [self.memory.view(each) for each in program.arguments]
        self._copies = [self.memory.view(each).copy for each in program.results]
        self.table = self.memory.table
        segments = self.built.segments
        self.segments = [each if isinstance(each, str) else self._calls[each] for each in segments]
        self.pace = Pace(self.built.is_split)
        self._call: Callable[..., int] = self._first_call if self.built.has_entry else self._run_segments

    def _code_for(self, way: str) -> Loaded:
        """The code for one of the ways, compiled now if it was not wanted before."""
        found = self._loaded.get(way)
        if found is None:
            found = self._loaded[way] = Loaded(built(self.program, self.kept, self.live, way))
            for other in found.built.runs:
                self._loaded.setdefault(other, found)
        return found

    def has_code_for(self, way: str) -> bool:
        """Whether the code for one of the ways is there."""
        return way in self._loaded

    def _entry(self) -> Callable[..., int]:
        """What makes a single step of the addresses of arguments."""
        single, table = self._code_for(SINGLE), self.memory.entry_table
        call = entry(single.code.address("call"), table, single.sync_at)
        if not self.built.has_help:
            return call
        return HelpedCalls(call, single.code.address("help"), table, single.sync, single.code).call

    def _first_call(self, *arguments: np.ndarray) -> int:
        self._call = self._entry()
        return self._call(*arguments)

    @functools.cached_property
    def steps(self) -> list[tuple[Any, Any]]:
        """A single step in parts: functions of the code, and calls for NumPy."""
        single, table = self._code_for(SINGLE), self.table.ctypes.data
        return [
            (functools.partial(single.code.function(each, *_STEP), table, 0, 1, single.sync_at), None)
            if isinstance(each, str)
            else (None, bind(each, self.memory))
            for each in self.segments
        ]

    @functools.cached_property
    def _calls(self) -> list[Call]:
        """The calls that `Built` counts."""
        return without_repeats(self.program, self.built.apart).calls

    def run(self, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        """One step: fresh copies of the results."""
        for place, given in zip(self.arguments, arguments, strict=True):
            place[...] = given
        return self.run_on(self.arguments)

    @property
    def can_run_on(self) -> bool:
        """Whether `run_on` may be called with arrays other than `arguments`."""
        return self.built.has_entry

    def run_on(self, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The same without a copy of the arguments, which must be laid out as those of the program."""
        if self.generators:
            with self._drawing():
                failed = self._call(*arguments)
        else:
            failed = self._call(*arguments)
        if failed:
            self._explain(failed, arguments, self._code_for(SINGLE))
        return [copy() for copy in self._copies]

    def _run_segments(self, *_: np.ndarray) -> int:
        """The step in parts, on `arguments`; the number of the check that failed, or 0."""
        for function, opaque in self.steps:
            if function is None:
                run_call(opaque)
                continue
            failed: int = function()
            if failed:
                return failed
        return 0

    def is_renewable(self, window: Window) -> bool:
        """Whether the memory of what is kept may be exchanged: nothing else holds on to it."""
        number = window.buffer.number
        return (
            window.is_whole()
            and all(isinstance(each, str) for each in self.segments)
            and all(each.buffer.number != number for each in (*self.program.results, *self.program.arguments))
        )

    def _drawing(self) -> contextlib.ExitStack:
        """What keeps other threads from the generators that native code draws from."""
        stack = contextlib.ExitStack()
        for each in self.generators:
            stack.enter_context(each.drawing_natively())
        return stack

    def _explain(self, failed: int, arguments: Sequence[np.ndarray], loaded: Loaded) -> None:
        """Raise what NumPy says about the call whose check failed."""
        loaded.error[0] = 0
        for place, given in zip(self.arguments, arguments, strict=True):
            place[...] = given
        call = self._calls[loaded.built.checks[failed - 1]]
        # without its outputs, which need not be in memory
        run_call(bind(Call(call.op, call.inputs, call.params, (), call.where), _Remains(self.memory)))
        raise AssertionError("a check failed that NumPy finds nothing wrong with")

    @property
    def can_run_many(self) -> bool:
        """Whether `run_many` can be called: no part of the step runs in NumPy, and arguments have rows."""
        return self.built.runs_many

    def run_many(
        self,
        data: Sequence[np.ndarray],
        rows: np.ndarray,
        live: np.ndarray,
        threads: int | None = None,
    ) -> list[np.ndarray]:
        """Many steps in few native calls.

        Args:
            data: for every argument the array whose rows make up the batches.
            rows: (steps, batch) numbers of rows, which must be there.
            live: (steps, count) what each live number is in each step.
            threads: how many threads work on it; by default as many as turn out to be fastest, up to
                `get_num_threads`. The results do not depend on it.

        Returns for every result an array with the steps as its first dimension.
        """
        assert self.can_run_many
        found = [np.empty((len(rows), *each.shape), each.dtype) for each in self.program.results]
        rows = np.ascontiguousarray(rows, np.int64)
        live = np.ascontiguousarray(live, np.float64)
        done = 0
        with self._in_panels():
            while done < len(rows):
                count, stop = self.pace.next(threads, len(rows) - done)
                part = slice(done, done + stop)
                with self.pace.measured(count, stop):
                    self._run_part(data, rows[part], live[part], [each[part] for each in found], count)
                done += stop
        return found

    @contextlib.contextmanager
    def _in_panels(self) -> Iterator[None]:
        """Large matrices lie in panels meanwhile."""
        if not self.built.panels:
            yield
            return
        code = self._code_for(MANY).code
        into, back = (code.function(name, None, ctypes.c_void_p) for name in (INTO_PANELS, FROM_PANELS))
        table = self.table.ctypes.data
        into(table)
        try:
            yield
        finally:
            back(table)

    def _run_part(
        self,
        data: Sequence[np.ndarray],
        rows: np.ndarray,
        numbers: np.ndarray,
        found: Sequence[np.ndarray],
        threads: int,
    ) -> None:
        steps = len(rows)
        failed_at = np.zeros(1, np.int64)
        words = [steps, rows.ctypes.data, numbers.ctypes.data, failed_at.ctypes.data]
        words += [each.ctypes.data for each in (*data, *found)]
        job = np.array(words, np.int64)
        many, table = self._code_for(MANY), self.table.ctypes.data
        codes = [0] * threads

        def work(thread: int) -> None:
            codes[thread] = many.run(table, job.ctypes.data, thread, threads, many.sync_at)

        with self._drawing():
            on_threads(work, threads)
        if codes[0]:
            self._explain(codes[0], [each[rows[failed_at[0]]] for each in data], many)


class Loaded:
    """Code in memory, and the memory in which its threads meet."""

    def __init__(self, built: Built) -> None:
        self.built = built
        self.code = Code(built.code)
        self.sync = aligned(built.meeting)
        self.sync_at = self.sync.ctypes.data
        self.error = self.sync[ERROR : ERROR + 4].view(np.int32)

    @functools.cached_property
    def run(self) -> Callable[..., int]:
        """The function that runs many steps."""
        return self.code.function("run", *_RUN)


class NativeMemory:
    """The arrays behind a plan's buffers: states as they are, what is kept in arrays of its own, and all
    other temporaries in one block in which those that are not needed at once share places.
    """

    def __init__(self, program: Program, built: Built) -> None:
        self.arrays: dict[int, np.ndarray] = {}
        self.panels: dict[int, np.ndarray] = {}
        buffers = built.buffers(program)
        # The addresses in a single step, in the last of many steps, and in the others of these, which are
        # spared to store what nobody sees.
        self.table = np.zeros((3, len(buffers)), np.int64)
        apart = set(built.apart)
        for buffer in buffers:
            if buffer.kind == STATE:
                assert buffer.array is not None
                self.arrays[buffer.number] = flat(buffer.array)
            elif buffer.kind == ARGUMENT or buffer.number in apart:
                self.arrays[buffer.number] = zeros(buffer)
        self.block = aligned(built.size)
        for number, offset in built.offsets:
            buffer = buffers[number]
            self.arrays[number] = self.block[offset : offset + buffer.nbytes].view(buffer.dtype)
        for number, array in self.arrays.items():
            self.table[:, number] = array.ctypes.data
        self.table[2, built.spared] = 0
        for number, count in built.panels:
            self.panels[number] = aligned(count * buffers[number].dtype.itemsize)
            self.table[1:, number] = self.panels[number].ctypes.data
        self.entry_table = np.append(self.table[0], [0] * ROOM)

    def view(self, window: Window) -> np.ndarray:
        """A window as an ndarray."""
        return look(self.arrays[window.buffer.number], window)

    def own(self, window: Window) -> np.ndarray:
        """A whole window as the array that owns its memory, as `owner_of` sees it: for tensors that others
        get hold of, and other programs may use.
        """
        array = self.arrays[window.buffer.number]
        block: Any = array.base
        strides = tuple(stride * array.itemsize for stride in window.strides)
        return np.ndarray(window.shape, array.dtype, block, address(array) - address(block), strides)

    def renew(self, window: Window) -> None:
        """Fresh memory for a buffer; whoever looks at the old keeps that."""
        buffer = window.buffer
        array = self.arrays[buffer.number] = zeros(buffer)
        address = array.ctypes.data
        spared = self.table[2, buffer.number] == 0
        self.table[:, buffer.number] = address, address, 0 if spared else address
        self.entry_table[buffer.number] = array.ctypes.data


class _Remains:
    """What there is to look at after a failed check: zeros for what is never in memory, or was not yet."""

    def __init__(self, memory: NativeMemory) -> None:
        self.memory = memory

    def view(self, window: Window) -> np.ndarray:
        if window.buffer.number in self.memory.arrays:
            return self.memory.view(window)
        return np.zeros(window.shape, window.dtype)


def zeros(buffer: Buffer) -> np.ndarray:
    """Zeroed memory for a buffer by itself."""
    made = storage.aligned(buffer.size, buffer.dtype, ALIGNMENT)
    made.fill(0)
    return made


def aligned(size: int) -> np.ndarray:
    """Zeroed bytes that begin at a multiple of the alignment."""
    block = np.zeros(size + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + size]
