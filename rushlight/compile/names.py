"""Which names a piece of Python code mentions, and the methods of a class that it reaches through them.

Code is looked at, never run. Invariant: a name counts wherever it stands, as a variable or an attribute, so
that more is found than is read, and not less.
"""

from __future__ import annotations

import dis
import functools
import types
from typing import Any


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
            if code is not None:
                pending |= names_in(code) - names
    return names


def function_behind(attribute: Any) -> Any:
    """The function of a property or a method as a class stores them; anything else as it is."""
    if isinstance(attribute, property):
        return attribute.fget
    if isinstance(attribute, (classmethod, staticmethod)):
        return attribute.__func__
    return attribute.func if isinstance(attribute, functools.cached_property) else attribute


def names_in(code: types.CodeType) -> set[str]:
    """The global and attribute names that a piece of code mentions, functions inside it included; and its
    texts, marked as such (see `texts_of`).
    """
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= names_in(constant)
        elif isinstance(constant, str) and constant.isidentifier():
            names.add(_TEXT + constant)
    return names


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


def texts_of(names: frozenset[str]) -> frozenset[str]:
    """The texts among them that could be names, as in ``getattr(x, "name")`` and ``group["lr"]``. Most are
    not, so they do not count as names everywhere.
    """
    return frozenset(each.removeprefix(_TEXT) for each in names if each.startswith(_TEXT))


_TEXT = "'"  # which begins no name
