"""What is in containers, and what stands behind proxies, references and views.

`surroundings` follows a step's code to the values it reaches, and some of these only stand for others.
Nothing is run or changed here. Invariant: nothing is asked of a value but what Python's own types answer.
"""

from __future__ import annotations

import contextlib
import math
import types
import weakref
from collections import ChainMap, UserDict, UserList, UserString
from collections.abc import Iterable
from typing import Any

from rushlight.compile.watched import PLAIN

# Of longer containers than `FEW_ELEMENTS` it is watched which elements they have, not what these are; of
# those longer than this, which are data and no settings, how many.
LONGEST, FEW_REACHED = 1024, 256


def plain_size(value: Any, depth: int = 8) -> float:
    """How many plain values a container of containers has; infinity where it has other things."""
    if type(value) in PLAIN:
        return 1
    if type(value) not in (list, tuple, dict, set, frozenset) or not depth or len(value) > LONGEST:
        return math.inf
    parts = (*value, *value.values()) if isinstance(value, dict) else value
    return sum(plain_size(each, depth - 1) for each in parts)


def parts_of(value: Any) -> Iterable[Any]:
    """What is in a container of Python's, if it is a short one."""
    if type(value) not in (list, tuple, dict) or len(value) > FEW_REACHED:
        return ()
    return value.values() if isinstance(value, dict) else value


def behind(value: Any) -> Any:
    """What stands behind a proxy or a reference of Python's, and behind a view or a method of a container;
    None where there is nothing.
    """
    if type(value) in weakref.ProxyTypes:
        with contextlib.suppress(ReferenceError):
            return value.__str__.__self__
    if isinstance(value, weakref.ReferenceType):
        return value()
    if isinstance(value, types.BuiltinMethodType):
        return None if isinstance(value.__self__, types.ModuleType) else value.__self__
    if isinstance(value, _VIEWS):
        return value.mapping
    if isinstance(value, _WITH_DATA):
        return value.data
    return value.maps if isinstance(value, ChainMap) else None


_WITH_DATA: tuple[Any, ...] = (
    *(UserDict, UserList, UserString),
    *(weakref.WeakValueDictionary, weakref.WeakKeyDictionary, weakref.WeakSet),
)
_VIEWS: tuple[Any, ...] = type({}.keys()), type({}.values()), type({}.items())
