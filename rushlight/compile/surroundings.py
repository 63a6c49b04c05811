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

import argparse
import array
import builtins
import dataclasses
import functools
import inspect
import io
import sys
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from rushlight.autograd.function import Function
from rushlight.compile.behind import FEW_REACHED, LONGEST, behind, parts_of, plain_size
from rushlight.compile.draws import OtherDraws
from rushlight.compile.guards import Guards
from rushlight.compile.names import (
    COMPUTED,
    function_behind,
    globals_in,
    imported_in,
    names_in,
    names_of_methods,
    texts_of,
)
from rushlight.compile.watched import PLAIN, is_plain
from rushlight.compile.written import FEW_ELEMENTS
from rushlight.nn.containers import ModuleDict, ModuleSequence
from rushlight.nn.module import Module
from rushlight.nn.parameter_containers import ParameterDict, ParameterList
from rushlight.optim.lr_scheduler.base import LRScheduler
from rushlight.optim.optimizer import Optimizer
from rushlight.tensor import Tensor

# Code that names one of these may reach attributes by texts.
_BY_TEXT = frozenset({"getattr", "hasattr", "vars", "__dict__", "attrgetter"})

_LIBRARIES = frozenset(sys.stdlib_module_names) | {"rushlight", "numpy", "torch", "jax", "pytest", "_pytest"}
_CONTAINERS = (ModuleSequence, ModuleDict, ParameterList, ParameterDict)
# What an object holds that is looked at where names of attributes are computed.
_DATA = (list, tuple, dict, set, frozenset, deque, np.ndarray, types.SimpleNamespace, argparse.Namespace)
# What of it must stay the same object; anything else (loaders, loggers) comes and goes as it pleases.
_WATCHED = (*PLAIN, *_DATA, types.FunctionType, types.BuiltinFunctionType, Tensor, Module, Optimizer)
_OF_EVERY_MODULE = frozenset(vars(Module()))
_OF_FUNCTIONS = frozenset({"forward", "backward", "vjp", "setup_context"})  # what `apply` calls
_MEMBERS = frozenset({"_modules", "_parameters", "_buffers"})
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
        self.is_made: Callable[[Tensor], bool] = lambda tensor: False  # by the step, which has not begun
        self.iterators: list[str] = []  # the types of those that were seen

    def step(self, function: Callable[..., Any], arguments: Iterable[Any]) -> None:
        """Enter everything that a function's code names, of its surroundings and of objects it is given."""
        self.value(function, frozenset())
        code = getattr(inspect.unwrap(function), "__code__", None)
        names = frozenset() if code is None else names_in(code)
        for each in arguments:
            if not isinstance(each, Tensor):  # the next call has another one in its place
                self.value(each, names)

    def forward(self, module: Module) -> None:
        """The same for the hooks of a module and, if it is the user's own, for its forward."""
        own = module.__dict__
        for table in (own["_forward_pre_hooks"], own["_forward_hooks"], own["_backward_pre_hooks"]):
            self.functions(table)
        self.functions(own["_backward_hooks"])
        kind, forward = type(module), type(module).forward
        if not _of_a_library(kind):
            self.guards.watch_class(kind, "forward")
            self.guards.watch_fact(module, "__dict__")
        if not _of_a_library(forward):
            self.value(forward, frozenset())
            self.value(module, names_in(forward.__code__))

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

    def began(self, function: types.FunctionType) -> None:
        """The same for a function that was there before the step, and that nothing named."""
        if id(function.__globals__) in self.namespaces:
            self.value(function, frozenset())

    def walked(self, module: Module, names: frozenset[str]) -> None:
        """Watch what code that uses `names` reads of the members of a module as it goes through them."""
        own = module.__dict__
        for each in (
            module,
            *own["_modules"].values(),
            *own["_parameters"].values(),
            *own["_buffers"].values(),
        ):
            self.value(each, names)

    def whole(self, value: Any) -> None:
        """The step reads all that an object has."""
        if id(value) in self.known:
            self.value(value, frozenset({COMPUTED}))

    def method(self, owner: Any, code: types.CodeType) -> None:
        """Watch where a class has a method that begins: Python itself finds special ones."""
        if id(owner) in self.known or isinstance(owner, Module):
            kind = owner if isinstance(owner, type) else type(owner)
            for each in kind.__mro__:  # one that is overridden is found by super()
                stored = function_behind(vars(each).get(code.co_name))
                if getattr(stored, "__code__", None) is code and not _of_a_library(each):
                    self.guards.watch_class(kind, code.co_name)
                    self.guards.watch_class(each, code.co_name)

    def reached(self, value: Any, names: frozenset[str]) -> None:
        """Watch what code that uses `names` can reach from a value it met when it ran. What was made during
        the step is left alone: only what was seen before it counts, and modules, which live long; also in a
        container that the step has made for them.
        """
        for each in (value, *parts_of(value)):
            if id(each) in self.known or isinstance(each, Module):
                self.value(each, names)

    def value(self, value: Any, names: frozenset[str]) -> None:
        """Watch what the code that uses `names` can reach from a value."""
        if isinstance(value, _LEFT_ALONE) or (id(value), names) in self.seen:
            return
        if isinstance(value, Tensor) and self.is_made(value):
            return  # and is not kept alive
        self.seen[id(value), names] = value
        self.known.add(id(value))
        hidden = behind(value)
        if hidden is not None:
            self.value(hidden, names)
            if type(value) in weakref.ProxyTypes:
                return
            for name in {"data", "maps"} & getattr(value, "__dict__", {}).keys():
                self.guards.watch(vars(value), name)
        if isinstance(value, Tensor):
            self.guards.watch_of_tensor(value, "_array")  # its shape may be all that the code looks at
            self.not_there_yet(vars(value), type(value), names)
            self.attributes(vars(value), _with_texts(names))
        elif isinstance(value, types.FunctionType):
            self.function(value)
        elif isinstance(value, types.MethodType):
            self.value(value.__func__, names)
            self.value(value.__self__, names_in(value.__func__.__code__))
        elif isinstance(value, functools.partial):
            for each in (value.func, *value.args, value.keywords):
                self.value(each, names)
        elif isinstance(value, (list, tuple, dict, set, frozenset, deque, types.MappingProxyType)):
            self.container(value, names)
            if hasattr(value, "__dict__"):
                self.object(value, names)
        elif isinstance(value, (np.ndarray, bytearray, memoryview, array.array)):
            self.array(value, names)
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
                if COMPUTED in names:
                    self.entries(vars(value), names)
        elif isinstance(value, type):
            if not _of_a_library(value):
                self.class_attributes(value, names)
                if not _of_a_library(type(value)):
                    self.class_attributes(type(value), names)
                if COMPUTED in names:
                    self.of_classes(value, names)
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
            self.guards.watch_fact(value, "__class__")
            self.class_attributes(kind, names)
            for name in names:
                stored = _of_the_user(kind, name)
                if inspect.isdatadescriptor(stored) and not isinstance(stored, property):  # slots, mostly
                    self.guards.watch_slot(value, name)
                    self.value(getattr(value, name, None), names)
        if COMPUTED in names:
            self.everything(value, names)
        if own is not None:
            self.guards.watch_fact(value, "__dict__")
            self.hidden_by(own, kind, names)
            self.not_there_yet(own, kind, names)
            self.attributes(own, names)

    def everything(self, value: Any, names: frozenset[str]) -> None:
        """All attributes of an object and their order: names for them may be computed. What they hold is
        looked at where it is data; objects of other sorts are reached by more names than this one.
        """
        own = getattr(value, "__dict__", None)
        if own is not None:
            self.guards.watch_order(own)
            self.entries(own, names)
        self.of_classes(type(value), names)
        for each in type(value).__mro__:
            if _of_a_library(each):
                continue
            for name, stored in vars(each).items():
                if inspect.ismemberdescriptor(stored):  # a slot
                    self.guards.watch_slot(value, name)
                    self.data(getattr(value, name, None), names)

    def of_classes(self, kind: type, names: frozenset[str]) -> None:
        """All attributes of a class and those it is derived from, and their order."""
        for each in kind.__mro__:
            if not _of_a_library(each):
                self.guards.watch_order(vars(each))
                self.entries(vars(each), names)

    def entries(self, table: Mapping[str, Any], names: frozenset[str]) -> None:
        """Those entries of a namespace that are data, and of an object's functions too."""
        for name, value in tuple(table.items()):
            if isinstance(table, types.MappingProxyType) and isinstance(value, types.FunctionType):
                continue
            if name not in _OF_EVERY_MODULE and not (name.startswith("__") and name.endswith("__")):
                is_data = isinstance(value, _WATCHED) or dataclasses.is_dataclass(value)
                if is_data or not _of_a_library(type(value)):
                    self.guards.watch(table, name)
                self.data(value, names)

    def data(self, value: Any, names: frozenset[str]) -> None:
        """What is in a value, if it is data."""
        if isinstance(value, _DATA) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
            self.value(value, names | {COMPUTED})
        elif not _of_a_library(type(value)):
            self.value(value, names - {COMPUTED})

    def functions(self, table: dict[Any, Any]) -> None:
        """The functions in a table of hooks."""
        for each in table.values():
            self.value(each, frozenset())

    def function(self, function: types.FunctionType) -> None:
        """The variables, globals and defaults of a function."""
        if _of_a_library(function):
            return
        self.namespaces.add(id(function.__globals__))
        self.guards.watch_fact(function, "__code__")  # which a notebook replaces in place
        for each in ("__defaults__", "__kwdefaults__"):
            if getattr(function, each) is not None:
                self.guards.watch_fact(function, each)
        if function.__kwdefaults__:
            self.guards.watch_all(function.__kwdefaults__)
        names = names_in(function.__code__)
        self.attributes(vars(function), names)
        if "registry" in vars(function):  # of functools.singledispatch
            self.value(vars(function)["registry"], names)
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
        if "globals" in names:
            self.entries(table, names)
        for name in imported_in(code, str(table.get("__package__") or "")):
            self.guards.watch(sys.modules, name)
            self.value(sys.modules.get(name), names)
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
        self.guards.watch_fact(kind, "__mro__")
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
        asked = texts_of(names) if names & _BY_TEXT else frozenset()
        if "AttributeError" in names or _of_the_user(kind, "__getattr__") is not None:
            asked |= names
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
            if COMPUTED in names:
                self.everything(module, names)
                self.guards.watch_members(module)
                self.walked(module, names - {COMPUTED})
        if isinstance(module, _CONTAINERS):
            self.members(module, names)
        elif names & _MEMBERS:
            self.guards.watch_members(module)
        if _of_a_library(kind) or isinstance(module, _CONTAINERS):
            for each in own["_modules"].values():
                self.value(each, names)
        for table in (own, own["_parameters"], own["_buffers"], own["_modules"]):
            for name in names & table.keys():
                if not name.endswith("hooks") and name not in ("_parameters", "_buffers", "_modules"):
                    self.guards.watch(table, name)
                    self.value(table[name], names)

    def members(self, module: Module, names: frozenset[str]) -> None:
        """What a list or dictionary of modules or parameters has, and in which order."""
        own = module.__dict__
        if isinstance(module, ModuleSequence):
            self.guards.watch_modules(module)
        else:
            self.guards.watch_members(module)
        if isinstance(module, ParameterDict):
            self.guards.watch_order(module._keys)
            self.attributes(own, frozenset(own.keys() & {"_keys", *module._keys}))
        elif isinstance(module, ParameterList):
            self.attributes(own, frozenset(own.keys() & {"_size", *map(str, range(len(module)))}))

    def optimizer(self, optimizer: Optimizer, names: frozenset[str]) -> None:
        """What the code names of an optimizer; its step watches what that depends on."""
        if names & {"param_groups", "defaults"} or not _of_a_library(type(optimizer)):
            self.guards.watch_settings(optimizer, texts_of(names))
        if not _of_a_library(type(optimizer)):
            self.class_attributes(type(optimizer), names)
        own = vars(optimizer)
        for name in names - own.keys():
            if hasattr(type(optimizer), name):  # a method, which one of its own would hide
                self.guards.watch(own, name)
        self.attributes(own, names - {"param_groups", "defaults", "state"})

    def array(self, value: Any, names: frozenset[str]) -> None:
        """The elements of an array, if it is not a long one of NumPy's, or of Python's."""
        if isinstance(value, np.ndarray):
            size = value.size
        else:
            size = value.nbytes if isinstance(value, memoryview) else len(value)
        if size <= LONGEST:
            self.guards.watch_array(value)
            if isinstance(value, np.ndarray) and value.dtype == object:
                for each in value.flat:
                    self.value(each, names)

    def container(self, value: Any, names: frozenset[str]) -> None:
        """The elements of a list and the like."""
        if len(value) > LONGEST:
            self.guards.watch_length(value)
            return
        is_table = isinstance(value, (dict, types.MappingProxyType))
        if isinstance(value, (set, frozenset)):
            self.guards.watch_set(value)
            if not all(type(each) is str for each in value) and plain_size(value) <= LONGEST:
                self.guards.watch_array(value)  # for 1 and 1.0 are the same to a set
        elif is_table:
            if len(value) > FEW_ELEMENTS:
                self.guards.watch_items(value)
            else:
                self.guards.watch_all(value)
                self.guards.watch_order(value)
        elif not isinstance(value, tuple):
            self.guards.watch_sequence(value)
        parts = [*value, *value.values()] if is_table else list(value)
        if len(value) > FEW_ELEMENTS and plain_size(value) <= 4 * LONGEST:
            if not all(map(is_plain, parts)):
                self.guards.watch_array(value)
        elif len(value) <= FEW_REACHED:
            for each in parts:
                self.value(each, names)


def _with_texts(names: frozenset[str]) -> frozenset[str]:
    """The names, and the texts among them where attributes may be reached by texts."""
    return names | texts_of(names) if names & _BY_TEXT else names
