"""What a program becomes, as data: an object file, and where things lie when it runs.

`built` makes it, or takes it from the cache, in which case neither the passes nor LLVM run. The name of an
entry is a hash of the program itself (every call, operand and parameter; formulas as their byte code), the
compiler's own sources, the CPU and the versions of what takes part. Invariant: two programs with one name
become the same code; what cannot be described exactly is not cached.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import threading
import types
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rushlight.compile import cache
from rushlight.compile.llvm import object_code, target
from rushlight.compile.program import SINGLE, TEMPORARY, Buffer, Call, Program, Window
from rushlight.dtype import dtype, get_default_dtype
from rushlight.ops.require import Complaint
from rushlight.random import Generator
from rushlight.views import Geometry

# What decides, besides the program, which code comes out; below the package's folder.
SOURCES = ("compile", "ops", "dtype.py")

# Functions of the code that bring large matrices into panels and back (see `layout`), if it has any.
INTO_PANELS, FROM_PANELS = "into_panels", "from_panels"


@dataclass
class Built:
    """Machine code and what it takes for granted.

    Args:
        code: an object file.
        added: (kind, size, type, name) of each buffer besides those of the program.
        random: for some of these, by number, the generator whose words they are, by its place in the program.
        apart: numbers of temporaries with memory of their own, which lasts.
        spared: those among them that only the last of many steps stores.
        offsets: (number, offset in bytes) of temporaries that share one block of memory.
        size: of that block, in bytes.
        panels: (number, elements) of states that lie in panels while many steps run (see `layout`).
        segments: what to run in order: functions of the code by name, calls for NumPy by place.
        checks: places of the calls to which failed checks belong.
        meeting: bytes of the memory where threads meet.
        is_split: whether there is work for several threads.
        runs_many: whether there can be a function that runs many steps.
        has_entry: whether there is one for single steps of the form that Python calls without ctypes.
        has_help: whether there is one for threads that help with a single step.
        runs: what this code is for: `SINGLE`, `MANY`, or both.

    Places of calls count in the program without repeats. All but the code, `checks`, `meeting` and `runs` is
    the same for code that is made for another of the ways.
    """

    code: bytes
    added: list[tuple[str, int, str, str]]
    random: list[tuple[int, int]]
    apart: list[int]
    spared: list[int]
    offsets: list[tuple[int, int]]
    size: int
    panels: list[tuple[int, int]]
    segments: list[str | int]
    checks: list[int]
    meeting: int
    is_split: bool
    runs_many: bool
    has_entry: bool
    has_help: bool
    runs: list[str]

    def buffers(self, program: Program) -> list[Buffer]:
        """All buffers, those of the program first."""
        buffers = list(program.buffers)
        for kind, size, name_of_type, name in self.added:
            buffers.append(Buffer(len(buffers), kind, size, np.dtype(name_of_type), name))
        for (number, _), generator in zip(self.random, self.generators(program), strict=True):
            buffers[number].array = generator.engine_memory()
        return buffers

    def generators(self, program: Program) -> list[Generator]:
        """The generators that the code draws from."""
        if not self.random:
            return []
        known = generators_of(program)
        return [known[place] for _, place in self.random]

    def to_bytes(self) -> bytes:
        """Everything, for a file."""
        parts = asdict(self)
        code = parts.pop("code")
        return json.dumps(parts).encode() + b"\n" + code

    @staticmethod
    def from_bytes(content: bytes) -> Built:
        """The inverse of `to_bytes`; ValueError for what it did not write."""
        head, _, code = content.partition(b"\n")
        try:
            made = Built(code=code, **json.loads(head))
        except (TypeError, RecursionError) as error:  # other names of parts, or none at all
            raise ValueError(f"this is no program: {error}") from None
        if not code:
            raise ValueError("this is a program without code")
        return made


def generators_of(program: Program) -> list[Generator]:
    """The generators among the parameters of a program's calls, in the order of their first use."""
    given = (value for call in program.calls for value in call.params.values())
    return list(dict.fromkeys(value for value in given if isinstance(value, Generator)))


def built(program: Program, kept: Sequence[Window], live: Sequence[Buffer], way: str = SINGLE) -> Built:
    """What a program becomes: from the cache, or made now and put there.

    Args:
        program: what to compile.
        kept: windows that are looked at after a run besides the results.
        live: buffers whose numbers `run` takes anew for every step.
        way: what it is for: `SINGLE`, or `MANY` where that can be.
    """
    name = name_of(program, kept, live, way) if cache.folder() is not None else None
    if name is None:
        return build(program, kept, live, way)
    with _alone(name):
        content = cache.load(name)
        if content is not None:
            with contextlib.suppress(ValueError):  # what is no program is made anew, as what is not there
                return Built.from_bytes(content)
        made = build(program, kept, live, way)
        cache.store(name, made.to_bytes())
        return made


_guard = threading.Lock()
_under_way: dict[str, threading.Lock] = {}


def _forget() -> None:
    """What other threads were making they do not go on with in a forked process."""
    global _guard
    _guard = threading.Lock()
    _under_way.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """Only one thread at a time makes a program of this name: the next one finds it in the cache."""
    with _guard:
        lock = _under_way.setdefault(name, threading.Lock())
    try:
        with lock:
            yield
    finally:
        with _guard:
            _under_way.pop(name, None)


def build(program: Program, kept: Sequence[Window], live: Sequence[Buffer], way: str = SINGLE) -> Built:
    """Compile a program."""
    from rushlight.compile.expr import kind_of
    from rushlight.compile.function import meeting_bytes
    from rushlight.compile.places import places
    from rushlight.compile.plan import Plan

    plan = Plan(program, kept)
    shared = [each for each in plan.buffers if each.number in plan.spans and each.number not in plan.kept]
    offsets, size = places([each for each in shared if each.kind == TEMPORARY], plan.spans)
    text, segments = plan.emit(dict(offsets), live, way)
    place_of_call = {id(call): place for place, call in enumerate(plan.program.calls)}
    place_of_generator = {each: place for place, each in enumerate(generators_of(program))}
    added = plan.buffers[len(program.buffers) :]
    return Built(
        code=object_code(text),
        added=[(each.kind, each.size, each.dtype.str, each.name) for each in added],
        random=[(buffer.number, place_of_generator[each]) for each, buffer in plan.generators.items()],
        apart=sorted(plan.kept),
        spared=sorted(plan.spared),
        offsets=offsets,
        size=size,
        panels=[
            (number, shape.elements(kind_of(plan.buffers[number].dtype)))
            for number, shape in plan.arrangement.panels.items()
        ],
        segments=[each if isinstance(each, str) else place_of_call[id(each)] for each in segments],
        checks=[place_of_call[id(each.call)] for each in plan.checks],
        meeting=meeting_bytes(plan.shared),
        is_split=any(units > 1 for units in plan.split.values()),
        runs_many=plan.runs_many,
        has_entry=plan.has_entry,
        has_help=plan.has_help,
        runs=plan.runs,
    )


# -- names ---------------------------------------------------------------------------------------------------


class _Indescribable(Exception):
    """A parameter of which no text says all."""


def name_of(
    program: Program, kept: Sequence[Window], live: Sequence[Buffer], way: str = SINGLE
) -> str | None:
    """The name under which a program's code is cached; None where no name can say all that matters."""
    try:
        described = _Description(program).all(kept, live)
        sources = _own_sources()
    except (_Indescribable, OSError):  # there may be no source files
        return None
    surroundings = way, sources, target(), np.__version__, sys.version, get_default_dtype()
    return cache.hashed(repr((described, surroundings)).encode()).hex()


@functools.cache
def _own_sources() -> bytes:
    """A hash of the sources that decide what comes out."""
    root = Path(__file__).resolve().parent.parent
    content = []
    for each in SOURCES:
        for path in sorted((root / each).glob("*.py")) or [root / each]:
            content += [path.name.encode(), path.read_bytes()]
    return cache.hashed(b"\0".join(content))


class _Description:
    """A program as nested tuples of plain values, whose text leaves nothing out.

    Names of buffers and places in source files are left out: they have no part in the code.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.generators = {each: place for place, each in enumerate(generators_of(program))}
        self.ops: dict[Any, tuple[int, Any]] = {}
        self.forwards: dict[int, int] = {}

    def all(self, kept: Sequence[Window], live: Sequence[Buffer]) -> Any:
        """The program, and what is wanted of it."""
        program = self.program
        return (
            [(each.kind, each.size, each.dtype.str) for each in program.buffers],
            [self._call(each) for each in program.calls],
            [op for _, op in self.ops.values()],
            [[_window(each) for each in windows] for windows in (program.arguments, program.results, kept)],
            [each.number for each in live],
            program.repeats,
        )

    def _call(self, call: Call) -> Any:
        op = call.op
        if op not in self.ops:
            # passes ask whether two ops compute the same, so which of them share a forward is told as well
            forward = self.forwards.setdefault(id(op.forward), len(self.forwards))
            traced = [None if each is None else _function(each) for each in (op.formula, op.refused)]
            self.ops[op] = len(self.ops), (op.name, op.kind, op.promote, op.input_names, traced, forward)
        inputs = [_window(each) if isinstance(each, Window) else self._value(each) for each in call.inputs]
        params = [(name, self._value(value)) for name, value in call.params.items()]
        return self.ops[op][0], inputs, params, [_window(each) for each in call.outputs]

    def _value(self, value: Any) -> Any:
        if value is None or value is ... or type(value) in (bool, int, float, complex, str):
            return value
        if isinstance(value, (tuple, list)):
            return type(value).__name__, [self._value(each) for each in value]
        if isinstance(value, dict):
            return "dict", [(self._value(key), self._value(each)) for key, each in value.items()]
        if isinstance(value, slice):
            return "slice", self._value((value.start, value.stop, value.step))
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "fiubc":
            return "array", value.dtype.str, value.shape, cache.hashed(value.tobytes())
        if isinstance(value, (np.dtype, dtype)) or (
            isinstance(value, type) and issubclass(value, np.generic)
        ):
            return "dtype", str(value)
        if isinstance(value, Generator) and value in self.generators:
            return "generator", self.generators[value]
        if isinstance(value, Geometry):
            return "geometry", [self._value(getattr(value, name)) for name in value.__slots__]
        if isinstance(value, types.FunctionType):
            return _function(value)
        if isinstance(value, Complaint):
            return "complaint"  # what it says has no part in the code
        raise _Indescribable


def _window(window: Window) -> Any:
    return "window", window.buffer.number, window.offset, window.shape, window.strides


def _function(function: Any) -> Any:
    """A function as its byte code and what it closes over; what it names is covered by the sources."""
    if not isinstance(function, types.FunctionType) or function.__defaults__ or function.__kwdefaults__:
        raise _Indescribable
    if not function.__module__.startswith("rushlight.ops."):
        raise _Indescribable
    closed = [_function(cell.cell_contents) for cell in function.__closure__ or ()]
    return function.__module__, _code(function.__code__), closed


def _code(code: types.CodeType) -> Any:
    constants = [_code(each) if isinstance(each, types.CodeType) else each for each in code.co_consts]
    names = code.co_names, code.co_varnames, code.co_freevars
    return code.co_qualname, code.co_firstlineno, code.co_code, constants, names
