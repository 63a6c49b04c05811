"""What a step's Python code can reach by name: closures, globals, defaults, attributes.

A program holds the numbers that the code read while it was recorded. So everything the code names is watched:
variables it closes over, globals, default arguments, attributes (of objects that are themselves reached by
name), and so on through the functions it calls, as far as they are the user's. What is computed in other
ways (by `getattr`, from attributes of tensor arguments, files, clocks, the environment) cannot be seen; draws
from Python's and NumPy's random numbers are noticed afterwards. Nothing is run or changed here. Invariant: a
value is watched where it is stored, so replacing it is seen.
"""

from __future__ import annotations

import functools
import inspect
import random
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from rushlight.compile.guards import PLAIN, Guards, function_behind, names_in, names_of_methods
from rushlight.nn.module import Module
from rushlight.optim.lr_scheduler.base import LRScheduler
from rushlight.optim.optimizer import Optimizer
from rushlight.tensor import Tensor

# Longer containers are watched by their length alone: they are data, not settings.
LONGEST = 64

_LIBRARIES = frozenset(sys.stdlib_module_names) | {"rushlight", "numpy", "torch", "jax", "pytest", "_pytest"}
# Objects that are watched in their own way, or whose changes do not concern a program.
_LEFT_ALONE = (*PLAIN, np.ndarray, np.generic, np.dtype, Optimizer, LRScheduler)


def watch(function: Callable[..., Any], guards: Guards, arguments: Iterable[Any] = ()) -> None:
    """Enter everything that a function's code names, of its surroundings and of objects it is given."""
    walk = _Walk(guards)
    walk.value(function, frozenset())
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is not None:
        names = frozenset(names_in(code))
        for each in arguments:
            if not isinstance(each, Tensor):  # the next call has another one in its place
                walk.value(each, names)


def watch_forward(module: Module, guards: Guards) -> None:
    """The same for the hooks of a module and, if it is the user's own, for its forward."""
    walk = _Walk(guards)
    own = module.__dict__
    for table in (own["_forward_pre_hooks"], own["_forward_hooks"], own["_backward_pre_hooks"]):
        walk.functions(table)
    walk.functions(own["_backward_hooks"])
    forward = type(module).forward
    if not _of_a_library(forward):
        walk.value(forward, frozenset())
        walk.value(module, frozenset(names_in(forward.__code__)))


def watch_hooks(guards: Guards, *tables: dict[Any, Any]) -> None:
    """The same for functions in tables of hooks."""
    walk = _Walk(guards)
    for table in tables:
        walk.functions(table)


def _of_a_library(thing: Any) -> bool:
    name = getattr(thing, "__module__", None) or ""
    return name.partition(".")[0] in _LIBRARIES


def _of_the_user(kind: type, name: str) -> Any:
    """What a class of the user's has under a name, as it is stored there; None where there is no such class.

    Descriptors are not asked: that would run the user's code.
    """
    owner = next((each for each in kind.__mro__ if name in vars(each)), None)
    return None if owner is None or _of_a_library(owner) else vars(owner)[name]


class _Walk:
    """One walk over the surroundings of a function."""

    def __init__(self, guards: Guards) -> None:
        self.guards = guards
        self.seen: dict[tuple[int, frozenset[str]], Any] = {}  # keeps what was seen, and thereby its id

    def value(self, value: Any, names: frozenset[str]) -> None:
        """Watch what the code that uses `names` can reach from a value."""
        if isinstance(value, _LEFT_ALONE) or (id(value), names) in self.seen:
            return
        self.seen[id(value), names] = value
        if isinstance(value, Tensor):  # its memory is watched in its own way
            self.attributes(vars(value), names)
        elif isinstance(value, types.FunctionType):
            self.function(value)
        elif isinstance(value, types.MethodType):
            self.value(value.__func__, names)
            self.value(value.__self__, frozenset(names_in(value.__func__.__code__)))
        elif isinstance(value, functools.partial):
            for each in (value.func, *value.args, *value.keywords.values()):
                self.value(each, names)
        elif isinstance(value, (list, tuple)):
            self.sequence(value, names)
        elif isinstance(value, dict):
            if len(value) <= LONGEST:
                self.guards.watch_all(value)
                for each in value.values():
                    self.value(each, names)
            else:
                self.guards.watch_length(value)
        elif isinstance(value, (set, frozenset)):
            self.guards.watch_length(value)
        elif isinstance(value, Module):
            self.module(value, names)
        elif isinstance(value, types.ModuleType):
            if value.__name__.partition(".")[0] not in _LIBRARIES:
                self.attributes(vars(value), names)
        elif isinstance(value, type):
            if not _of_a_library(value):
                self.class_attributes(value, names)
        elif hasattr(value, "__wrapped__") and not isinstance(value, type):
            self.value(value.__wrapped__, names)
        else:
            self.object(value, names)

    def object(self, value: Any, names: frozenset[str]) -> None:
        """The attributes of an object that the code names, and those of its class."""
        kind, own = type(value), getattr(value, "__dict__", None)
        if not _of_a_library(kind):
            names = names_of_methods(kind, names)
            self.class_attributes(kind, names)
            for name in names:
                stored = _of_the_user(kind, name)
                if inspect.isdatadescriptor(stored) and not isinstance(stored, property):  # slots, mostly
                    self.guards.watch_slot(value, name)
                    self.value(getattr(value, name, None), names)
        if own is not None:
            self.hidden_by(own, kind, names)
            self.attributes(own, names)

    def functions(self, table: dict[Any, Any]) -> None:
        """The functions in a table of hooks."""
        for each in table.values():
            self.value(each, frozenset())

    def function(self, function: types.FunctionType) -> None:
        """The variables, globals and defaults of a function."""
        if _of_a_library(function):
            return
        names = frozenset(names_in(function.__code__))
        for cell in function.__closure__ or ():
            self.guards.watch_cell(cell)
            try:
                self.value(cell.cell_contents, names)
            except ValueError:  # not assigned yet
                continue
        self.attributes(function.__globals__, names)
        for each in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self.value(each, names)

    def attributes(self, table: dict[str, Any], names: frozenset[str]) -> None:
        """The entries of a namespace that the code names."""
        for name in names & table.keys():
            self.guards.watch(table, name)
            self.value(table[name], names)

    def class_attributes(self, kind: type, names: frozenset[str]) -> None:
        """The attributes of a class that the code names, and ``__call__``; methods are walked through."""
        for name in (*names, "__call__"):
            stored = _of_the_user(kind, name)
            if stored is not None:
                self.guards.watch_class(kind, name)
                self.value(function_behind(stored), names)

    def hidden_by(self, own: dict[str, Any], kind: type, names: frozenset[str]) -> None:
        """That an object gets no attribute of its own that hides one of its class."""
        for name in names - own.keys():
            if _of_the_user(kind, name) is not None:
                self.guards.watch(own, name)

    def module(self, module: Module, names: frozenset[str]) -> None:
        """The members of a module that the code names; its forward is watched when it runs."""
        own, kind = module.__dict__, type(module)
        if not _of_a_library(kind):
            names = names_of_methods(kind, names)
            self.class_attributes(kind, names)
            self.hidden_by(own, kind, names)
        for table in (own, own["_parameters"], own["_buffers"], own["_modules"]):
            for name in names & table.keys():
                if not name.endswith("hooks") and name not in ("_parameters", "_buffers", "_modules"):
                    self.guards.watch(table, name)
                    self.value(table[name], names)

    def sequence(self, value: Any, names: frozenset[str]) -> None:
        """A list or tuple."""
        if len(value) > LONGEST:
            self.guards.watch_length(value)
            return
        if isinstance(value, list):
            self.guards.watch_sequence(value)
        for each in value:
            self.value(each, names)


class OtherDraws:
    """Whether random numbers of Python or of NumPy's global generator were drawn since this was made."""

    def __init__(self) -> None:
        self.python = random.getstate()
        self.numpy = _numpy_state()

    def made(self) -> str:
        """Which random numbers were drawn, or an empty text."""
        if random.getstate() != self.python:
            return "Python's random"
        return "numpy.random" if _numpy_state() != self.numpy else ""


def _numpy_state() -> Any:
    if "numpy.random" not in sys.modules:
        return None
    kind, words, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - the global state is what is looked at
    return kind, np.asarray(words).tobytes(), *rest
