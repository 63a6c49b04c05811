"""The Python functions that really run while a step is recorded.

What a function names is known before it runs (see `surroundings`), but not always which functions run:
methods of what an argument holds, special methods such as ``__getitem__``, a function in a table. So while
the step runs Python tells of every function that begins and ends, and what those of the user's name is
watched as well, of what they were given. Invariant: nothing is watched that the step made itself.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import gc
import inspect
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

from rushlight.compile.names import names_in
from rushlight.compile.record import Recorder
from rushlight.compile.surroundings import is_of_a_library
from rushlight.compile.watched import MISSING, contents
from rushlight.optim.optimizer import Optimizer


@contextlib.contextmanager
def seen_running(recorder: Recorder) -> Iterator[None]:
    """Watch what functions of this thread name that begin or end meanwhile. A profiler that is at work
    already is left in place instead.
    """
    if sys.getprofile() is not None:
        yield
        return
    sys.setprofile(_Seen(recorder))
    try:
        yield
    finally:
        sys.setprofile(None)


# Functions of Python's that read all attributes of their first argument.
_READ_WHOLE = frozenset(
    each.__code__
    for each in (
        dataclasses.asdict,
        dataclasses.astuple,
        dataclasses.replace,
        copy.copy,
        copy.deepcopy,
        argparse.Namespace.__contains__,
        argparse.Namespace.__eq__,
    )
)


class _Seen:
    """What Python calls for each event of a function."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.names: dict[types.CodeType, frozenset[str] | None] = {}  # None for code of libraries
        self.functions: dict[types.CodeType, list[types.FunctionType]] = {}
        self.made_here: set[Any] = set()  # what is in code that began, of which the step makes functions

    def __call__(self, frame: types.FrameType, event: str, _: Any) -> None:
        if event not in ("call", "return"):
            return
        code = frame.f_code
        if code not in self.names:
            of_a_library = is_of_a_library(frame.f_globals.get("__name__"))
            self.names[code] = None if of_a_library else names_in(code)
        names = self.names[code]
        if names is None:
            if code in _READ_WHOLE and event == "call":
                self.recorder.surroundings.whole(frame.f_locals[code.co_varnames[0]])
            return
        if event == "call":
            self.begins(frame)
            if code.co_argcount:
                self.recorder.surroundings.method(frame.f_locals.get(code.co_varnames[0]), code)
        values = tuple(frame.f_locals.values())
        self.recorder.surroundings.ran(frame, values, names)
        for value in values:
            if isinstance(value, Optimizer) and _is_step_of(type(value), code):
                self.recorder.note_optimizer(value)

    def begins(self, frame: types.FrameType) -> None:
        """Watch the variables that a function closes over. Python tells its code and not which function it
        is, so it is one that has this code and closes over the same values.
        """
        code = frame.f_code
        functions = self.functions.get(code)
        if functions is None:
            is_closure = bool(set(code.co_freevars) - {"__class__"}) and code not in self.made_here
            functions = self.functions[code] = _functions_with(code) if is_closure else []
            self.made_here.update(code.co_consts)
        if functions:
            found = frame.f_locals
            for each in functions:
                if _closes_over(each, found):
                    self.recorder.surroundings.began(each)


def _functions_with(code: types.CodeType) -> list[types.FunctionType]:
    """All functions there are that have this code."""
    return [each for each in gc.get_referrers(code) if isinstance(each, types.FunctionType)]


def _closes_over(function: types.FunctionType, values: Mapping[str, Any]) -> bool:
    """Whether the variables that a function closes over have these values."""
    return all(
        contents(cell) is values.get(name, MISSING)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    )


def _is_step_of(kind: type[Optimizer], code: types.CodeType) -> bool:
    """Whether code is that of an optimizer's step."""
    steps = (inspect.unwrap(vars(each)["step"]) for each in kind.__mro__ if "step" in vars(each))
    return any(getattr(each, "__code__", None) is code for each in steps)
