"""Which names a piece of Python code mentions, and the methods of a class that it reaches through them.

Code is looked at, never run. Invariant: a name counts wherever it stands, as a variable or an attribute, so
that more is found than is read, and not less.
"""

from __future__ import annotations

import dis
import functools
import types
from typing import Any

from rushlight.nn.module import Module


def names_of_methods(kind: type, start: frozenset[str] = frozenset({"forward"})) -> frozenset[str]:
    """These names, and those that the methods of a class mention which are reached through them."""
    found = _METHOD_NAMES.get((kind, start))
    if found is None:
        found = _METHOD_NAMES[kind, start] = frozenset(_names_reached(kind, start))
    return found


_METHOD_NAMES: dict[tuple[type, frozenset[str]], frozenset[str]] = {}


def _names_reached(kind: type, start: frozenset[str]) -> set[str]:
    names: set[str] = set()
    pending = set(start)
    while pending:
        name = pending.pop()
        names.add(name)
        for each in kind.__mro__:  # what is overridden may be called by what overrides it
            code = getattr(function_behind(vars(each).get(name)), "__code__", None)
            if code is not None and code not in _SETTERS:
                pending |= names_in(code) - names
    return names


# They say in which mode a module is to be; which it was does not matter to them.
_SETTERS = frozenset({Module.train.__code__, Module.eval.__code__})


def function_behind(attribute: Any) -> Any:
    """The function of a property or a method as a class stores them; anything else as it is."""
    if isinstance(attribute, property):
        return attribute.fget
    if isinstance(attribute, (classmethod, staticmethod)):
        return attribute.__func__
    return attribute.func if isinstance(attribute, functools.cached_property) else attribute


@functools.lru_cache(maxsize=1024)
def names_in(code: types.CodeType) -> frozenset[str]:
    """The global and attribute names that a piece of code mentions, functions inside it included; its texts,
    marked as such (see `texts_of`); and `COMPUTED` where it reaches attributes by names that it computes.
    """
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= names_in(constant)
        elif isinstance(constant, str) and constant.isidentifier():
            names.add(_TEXT + constant)
    if not names.isdisjoint(_WHOLE) or _computes_names(code):
        names.add(COMPUTED)
    return frozenset(names)


COMPUTED = "*"  # which is no name

# What gives all attributes of an object, and what gives the one whose name it gets second.
_WHOLE = frozenset(
    {
        "vars",
        "__dict__",
        "dir",
        "attrgetter",
        "methodcaller",
        "getmembers",
        "getmembers_static",
        "__getattribute__",
    }
)
_ASKING = frozenset({"getattr", "hasattr", "getattr_static"})


def _computes_names(code: types.CodeType) -> bool:
    """Whether `getattr` and its like get anything but texts that stand in the code.

    Followed is how many values are on Python's stack: the second argument is what comes second above the
    function. Whatever is not as simple as a call in one piece counts as computed.
    """
    steps = list(dis.get_instructions(code))
    return any(
        each.opname == "MATCH_CLASS" or (each.argval in _ASKING and not _gets_a_text(steps[place + 1 :]))
        for place, each in enumerate(steps)
    )


def _gets_a_text(steps: list[dis.Instruction]) -> bool:
    """Whether the call that follows has a text of the code as its second argument."""
    depth, second = 0, ""
    for each in steps:
        if each.opcode in dis.hasjrel or each.opcode in dis.hasjabs:
            return False
        before = depth
        depth += dis.stack_effect(each.opcode, each.arg if each.opcode >= dis.HAVE_ARGUMENT else None)
        if depth < 1 <= before:
            return "CALL" in each.opname and second == "LOAD_CONST"
        if depth == 2 and each.opname != "EXTENDED_ARG":
            second = each.opname
    return False


@functools.lru_cache(maxsize=1024)
def globals_in(code: types.CodeType) -> frozenset[str]:
    """The global variables that a piece of code mentions, functions inside it included. An attribute of the
    same name is none: people call what they make of a step's results as the step calls its parts.
    """
    found = {each.argval for each in dis.get_instructions(code) if each.opname in _OF_GLOBALS}
    return frozenset(found).union(
        *(globals_in(each) for each in code.co_consts if isinstance(each, types.CodeType))
    )


_OF_GLOBALS = frozenset({"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME"})


@functools.lru_cache(maxsize=1024)
def imported_in(code: types.CodeType, package: str) -> frozenset[str]:
    """The modules that a piece of code of a package imports, functions inside it included."""
    found = set()
    for each in dis.get_instructions(code):
        if each.opname == "IMPORT_NAME":
            parts = str(each.argval).split(".")
            paths = {".".join(parts[: end + 1]) for end in range(len(parts))}
            # `from .config import rate` names a module as `from config import rate` does
            found |= paths | {f"{package}.{path}".rstrip(".") for path in paths if package}
    return frozenset(found - {""}).union(
        *(imported_in(each, package) for each in code.co_consts if isinstance(each, types.CodeType))
    )


def texts_of(names: frozenset[str]) -> frozenset[str]:
    """The texts among them that could be names, as in ``getattr(x, "name")`` and ``group["lr"]``. Most are
    not, so they do not count as names everywhere.
    """
    return frozenset(each.removeprefix(_TEXT) for each in names if each.startswith(_TEXT))


_TEXT = "'"  # which begins no name
