"""The Python functions that really run while a step is recorded.

What a function names is known before it runs (see `surroundings`), but not always which functions run:
methods of what an argument holds, special methods such as ``__getitem__``, a function in a table. So while
the step runs Python tells of every function that begins and ends, and what those of the user's name is
watched as well, of what they were given. Invariant: nothing is watched that the step made itself.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import types
from collections.abc import Iterator
from typing import Any

from rushlight.compile.names import names_in
from rushlight.compile.record import Recorder
from rushlight.compile.surroundings import is_of_a_library
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


class _Seen:
    """What Python calls for each event of a function."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.names: dict[types.CodeType, frozenset[str]] = {}  # empty for code of libraries

    def __call__(self, frame: types.FrameType, event: str, _: Any) -> None:
        if event not in ("call", "return"):
            return
        code = frame.f_code
        names = self.names.get(code)
        if names is None:
            of_a_library = is_of_a_library(frame.f_globals.get("__name__"))
            names = self.names[code] = frozenset() if of_a_library else frozenset(names_in(code))
        if not names:
            return
        values = tuple(frame.f_locals.values())
        self.recorder.surroundings.ran(frame, values, names)
        for value in values:
            if isinstance(value, Optimizer) and _is_step_of(type(value), code):
                self.recorder.note_optimizer(value)


def _is_step_of(kind: type[Optimizer], code: types.CodeType) -> bool:
    """Whether code is that of an optimizer's step."""
    steps = (inspect.unwrap(vars(each)["step"]) for each in kind.__mro__ if "step" in vars(each))
    return any(getattr(each, "__code__", None) is code for each in steps)
