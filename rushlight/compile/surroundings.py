"""What a step's Python code can reach by name: closures, globals, defaults, attributes.

A program holds the numbers that the code read while it was recorded. So everything the code names is watched:
variables it closes over, globals, default arguments, attributes (of objects that are themselves reached by
name), and so on through the functions it calls, as far as they are the user's; those that are found only
when they run (see `frames`) too. What is computed in other ways (from attributes of tensor arguments, files,
clocks, the environment) cannot be seen; draws from the random numbers of Python and NumPy are noticed
afterwards. Nothing is run or changed here. Invariant: a value is watched where it is stored, so replacing it
is seen.
"""

from __future__ import annotations

import array
import builtins
import functools
import inspect
import io
import random
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from rushlight.autograd.function import Function
from rushlight.compile.guards import FEW_ELEMENTS, PLAIN, Guards
from rushlight.compile.names import function_behind, globals_in, names_in, names_of_methods, texts_of
from rushlight.nn.module import Module
from rushlight.optim.lr_scheduler.base import LRScheduler
from rushlight.optim.optimizer import Optimizer
from rushlight.tensor import Tensor

# Of longer containers than `FEW_ELEMENTS` it is watched which elements they have, not what these are; of
# those longer than this, which are data and no settings, how many.
LONGEST = 1024

# Code that names one of these may reach attributes by texts.
_BY_TEXT = frozenset({"getattr", "hasattr", "vars", "__dict__", "attrgetter"})

# Methods that lead to what is in a module, at any depth.
_GOING_THROUGH = frozenset(
    [f"{kind}{what}" for what in ("parameters", "buffers", "children", "modules") for kind in ("", "named_")]
)
_OF_FUNCTIONS = frozenset({"forward", "backward", "setup_context"})  # what `apply` calls

_LIBRARIES = frozenset(sys.stdlib_module_names) | {"rushlight", "numpy", "torch", "jax", "pytest", "_pytest"}
# Objects that are watched in their own way, or whose changes do not concern a program.
_LEFT_ALONE = (*PLAIN, np.generic, np.dtype)


def is_of_a_library(module: Any) -> bool:
    """Whether code in a Python module of that name is not the user's."""
    return str(module or "").partition(".")[0] in _LIBRARIES


def _of_a_library(thing: Any) -> bool:
    return is_of_a_library(thing.__module__)


def _of_the_user(kind: type, name: str) -> Any:
    """What a class of the user's has under a name, as it is stored there; None where there is no such class.

    Descriptors are not asked: that would run the user's code.
    """
    owner = next((each for each in kind.__mro__ if name in vars(each)), None)
    return None if owner is None or _of_a_library(owner) else vars(owner)[name]


class Surroundings:
    """What is known of the surroundings of a step."""

    def __init__(self, guards: Guards) -> None:
        self.guards = guards
        self.seen: dict[tuple[int, frozenset[str]], Any] = {}  # keeps what was seen, and thereby its id
        self.known: set[int] = set()  # ids of what was seen
        self.namespaces: set[int] = set()  # ids of the variables of modules that were seen
        self.draws = OtherDraws()
        self.iterators: list[str] = []  # the types of those that were seen

    def step(self, function: Callable[..., Any], arguments: Iterable[Any]) -> None:
        """Enter everything that a function's code names, of its surroundings and of objects it is given."""
        self.value(function, frozenset())
        code = getattr(inspect.unwrap(function), "__code__", None)
        names = frozenset() if code is None else frozenset(names_in(code))
        for each in arguments:
            if not isinstance(each, Tensor):  # the next call has another one in its place
                self.value(each, names)

    def forward(self, module: Module) -> None:
        """The same for the hooks of a module and, if it is the user's own, for its forward."""
        own = module.__dict__
        for table in (own["_forward_pre_hooks"], own["_forward_hooks"], own["_backward_pre_hooks"]):
            self.functions(table)
        self.functions(own["_backward_hooks"])
        forward = type(module).forward
        if not _of_a_library(forward):
            self.value(forward, frozenset())
            self.value(module, frozenset(names_in(forward.__code__)))

    def hooks(self, *tables: dict[Any, Any]) -> None:
        """The same for functions in tables of hooks."""
        for table in tables:
            self.functions(table)

    def ran(self, frame: types.FrameType, values: Iterable[Any], names: frozenset[str]) -> None:
        """Watch what a function that begins or ends can reach by `names`, its variables' `values` included.
        It may have nothing to do with the step (a callback of the garbage collector's, say), so only what
        the step can reach counts.
        """
        if id(frame.f_globals) in self.namespaces:
            self.globals(frame.f_globals, frame.f_code, names)
        for value in values:
            self.reached(value, names)

    def reached(self, value: Any, names: frozenset[str]) -> None:
        """Watch what code that uses `names` can reach from a value it met when it ran. What was made during
        the step is left alone: only what was seen before it counts, and modules, which live long.
        """
        if id(value) in self.known or isinstance(value, Module):
            self.value(value, names)

    def value(self, value: Any, names: frozenset[str]) -> None:
        """Watch what the code that uses `names` can reach from a value."""
        if isinstance(value, _LEFT_ALONE) or (id(value), names) in self.seen:
            return
        self.seen[id(value), names] = value
        self.known.add(id(value))
        if isinstance(value, Tensor):  # its memory is watched in its own way
            self.attributes(vars(value), names)
        elif isinstance(value, types.FunctionType):
            self.function(value)
        elif isinstance(value, types.MethodType):
            self.value(value.__func__, names)
            self.value(value.__self__, frozenset(names_in(value.__func__.__code__)))
        elif isinstance(value, functools.partial):
            for each in (value.func, *value.args, value.keywords):
                self.value(each, names)
        elif isinstance(value, (list, tuple, dict, set, frozenset, deque)):
            self.container(value, names)
            if hasattr(value, "__dict__"):
                self.object(value, names)
        elif isinstance(value, (np.ndarray, bytearray, array.array)):
            self.array(value)
        elif isinstance(value, Optimizer):
            self.optimizer(value, names)
        elif isinstance(value, LRScheduler):  # its step is taken after every call of the program
            self.attributes(vars(value), names_of_methods(type(value), names - {"step"}))
        elif isinstance(value, Module):
            self.module(value, names)
        elif isinstance(value, types.ModuleType):
            if not is_of_a_library(value.__name__):
                self.namespaces.add(id(vars(value)))
                self.attributes(vars(value), names)
        elif isinstance(value, type):
            if not _of_a_library(value):
                self.class_attributes(value, names)
        elif "__wrapped__" in (getattr(value, "__dict__", None) or ()):
            self.value(value.__wrapped__, names)
        elif not self.draws.note(value):
            if hasattr(type(value), "__next__") and not isinstance(value, io.IOBase):
                self.iterators.append(type(value).__name__)
            self.object(value, names)

    def object(self, value: Any, names: frozenset[str]) -> None:
        """The attributes of an object that the code names, and those of its class."""
        kind, own = type(value), getattr(value, "__dict__", None)
        names = _with_texts(names)
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
            self.not_there_yet(own, kind, names)
            self.attributes(own, names)

    def functions(self, table: dict[Any, Any]) -> None:
        """The functions in a table of hooks."""
        for each in table.values():
            self.value(each, frozenset())

    def function(self, function: types.FunctionType) -> None:
        """The variables, globals and defaults of a function."""
        if _of_a_library(function):
            return
        self.namespaces.add(id(function.__globals__))
        names = frozenset(names_in(function.__code__))
        self.attributes(vars(function), names)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self.guards.watch_cell(cell, name)
            try:
                self.value(cell.cell_contents, names)
            except ValueError:  # not assigned yet
                continue
        self.globals(function.__globals__, function.__code__, names)
        for each in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self.value(each, names)

    def globals(self, table: dict[str, Any], code: types.CodeType, names: frozenset[str]) -> None:
        """The global variables that the code reads, and what it reaches through them by these names."""
        asked = globals_in(code) | (texts_of(names) if "globals" in names else frozenset())
        for name in asked - (vars(builtins).keys() - table.keys()):  # those that are not there yet, too
            self.guards.watch(table, name)
            self.value(table.get(name), names)

    def attributes(self, table: dict[str, Any], names: frozenset[str]) -> None:
        """The entries of a namespace that the code names."""
        for name in names & table.keys():
            self.guards.watch(table, name)
            self.value(table[name], names)

    def class_attributes(self, kind: type, names: frozenset[str]) -> None:
        """The attributes of a class that the code names, and ``__call__``; methods are walked through."""
        for each in kind.__mro__:
            if not _of_a_library(each) and each.__module__ in sys.modules:
                self.namespaces.add(id(vars(sys.modules[each.__module__])))
        if issubclass(kind, Function):
            names |= _OF_FUNCTIONS
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

    def not_there_yet(self, own: dict[str, Any], kind: type, names: frozenset[str]) -> None:
        """That an object gets no attribute that the code asks for, ready to do without it."""
        asked = names if "AttributeError" in names else texts_of(names) if names & _BY_TEXT else frozenset()
        for name in asked - own.keys():
            if not any(name in vars(each) for each in kind.__mro__):
                self.guards.watch(own, name)

    def module(self, module: Module, names: frozenset[str]) -> None:
        """The members of a module that the code names; its forward is watched when it runs. Of a list of
        modules, or a sequence, those in it: they have numbers for names.
        """
        own, kind = module.__dict__, type(module)
        names = _with_texts(names)
        if not _of_a_library(kind):
            names = names_of_methods(kind, names)
            self.class_attributes(kind, names)
            self.hidden_by(own, kind, names)
            self.not_there_yet(own, kind, names)
        else:  # nothing else may watch what a list of modules or parameters has
            self.guards.watch_members(module)
            for each in own["_modules"].values():
                self.value(each, names)
        if names & _GOING_THROUGH:
            for each in module.modules():
                self.guards.watch_members(each)
        for table in (own, own["_parameters"], own["_buffers"], own["_modules"]):
            for name in names & table.keys():
                if not name.endswith("hooks") and name not in ("_parameters", "_buffers", "_modules"):
                    self.guards.watch(table, name)
                    self.value(table[name], names)

    def optimizer(self, optimizer: Optimizer, names: frozenset[str]) -> None:
        """What the code names of an optimizer; its step watches what that depends on."""
        if names & {"param_groups", "defaults"} or not _of_a_library(type(optimizer)):
            self.guards.watch_settings(optimizer, texts_of(names))
        if not _of_a_library(type(optimizer)):
            self.class_attributes(type(optimizer), names)
        own = vars(optimizer)
        self.attributes(own, names - {"param_groups", "defaults", "state"})

    def array(self, value: Any) -> None:
        """The elements of an array, if it is not a long one of NumPy's, or of Python's."""
        if isinstance(value, np.ndarray):
            is_short = value.size <= LONGEST and not value.dtype.hasobject
        else:
            is_short = len(value) <= LONGEST
        if is_short:
            self.guards.watch_array(value)

    def container(self, value: Any, names: frozenset[str]) -> None:
        """The elements of a list and the like."""
        if len(value) > LONGEST:
            self.guards.watch_length(value)
            return
        is_long = len(value) > FEW_ELEMENTS
        if isinstance(value, (set, frozenset)):
            self.guards.watch_set(value)
            return
        if isinstance(value, dict) and is_long:
            self.guards.watch_items(value)
        elif isinstance(value, dict):
            self.guards.watch_all(value)
            self.guards.watch_order(value)
        elif not isinstance(value, tuple):
            self.guards.watch_sequence(value)
        if not is_long:
            for each in value.values() if isinstance(value, dict) else tuple(value):
                self.value(each, names)


def _with_texts(names: frozenset[str]) -> frozenset[str]:
    """The names, and the texts among them where attributes may be reached by texts."""
    return names | texts_of(names) if names & _BY_TEXT else names


class OtherDraws:
    """Whether random numbers of Python or NumPy were drawn since this was made: from the generators that all
    share, or from one that was noted.
    """

    def __init__(self) -> None:
        self.python = random.getstate()
        self.numpy = _numpy_state()
        self.noted: list[tuple[Any, str]] = []

    def note(self, value: Any) -> bool:
        """Note a value if it is a generator; whether it is."""
        if not (isinstance(value, random.Random) or type(value).__module__.startswith("numpy.random")):
            return False
        self.noted.append((value, _state_of(value)))
        return True

    def made(self) -> str:
        """Which random numbers were drawn, or an empty text."""
        if random.getstate() != self.python:
            return "Python's random"
        if _numpy_state() != self.numpy:
            return "numpy.random"
        drawn = (type(value).__name__ for value, before in self.noted if _state_of(value) != before)
        return next((f"a {each} of its own" for each in drawn), "")


def _state_of(generator: Any) -> str:
    """Where a generator stands, as text."""
    if isinstance(generator, random.Random):
        return repr(generator.getstate())
    with np.printoptions(threshold=sys.maxsize):
        if hasattr(generator, "get_state"):
            return repr(generator.get_state(legacy=False))
        return repr(getattr(generator, "bit_generator", generator).state)


def _numpy_state() -> Any:
    if "numpy.random" not in sys.modules:
        return None
    kind, words, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - the global state is what is looked at
    return kind, np.asarray(words).tobytes(), *rest
