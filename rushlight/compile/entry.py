"""How Python calls a step: a built-in function made of native code.

ctypes converts every argument of every call, and the address of an array costs it a few attributes; for a
small network that took as long as the step. So a module has a function ``call`` (`schedule.entry_function`)
of the form that Python's own built-in functions have. It is given arrays, enters their addresses in a table,
gives up Python's lock, runs ``step``, and returns what that returned as an int. Of an array it reads nothing
but the address of the elements, which comes right after the head that all objects have: the place that
NumPy's macro `PyArray_DATA` reads, on which all extensions rely. Invariant: what the arrays are is not looked
at; who calls sees to it that they are ndarrays, as many and laid out as the program has them.
"""

from __future__ import annotations

import ctypes
import functools
import platform
from collections.abc import Callable

import numpy as np

HEAD = object.__basicsize__  # bytes of an object before its own fields
FASTCALL = 0x80  # METH_FASTCALL: called with a pointer to the arguments, and their number
# What `call` calls of Python's: to give up the lock, to take it back, and to make an int.
NEEDED = ("PyEval_SaveThread", "PyEval_RestoreThread", "PyLong_FromLong")


class _Definition(ctypes.Structure):
    """Python's `PyMethodDef`."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_NAME = b"call"
_WORDS = ctypes.sizeof(_Definition) // 8
ROOM = 1 + len(NEEDED) + 2 + _WORDS  # words of a table after the addresses of buffers (see `entry`)


@functools.cache
def is_possible() -> bool:
    """Whether this Python has such functions, and arrays hold their address where `call` looks."""
    if platform.python_implementation() != "CPython":
        return False
    array = np.zeros(3)
    return ctypes.c_void_p.from_address(id(array) + HEAD).value == array.ctypes.data


def entry(address: int, table: np.ndarray, sync: int) -> Callable[..., int]:
    """``call`` as something Python can call.

    Args:
        address: of its code, which must stay where it is for as long as the function is used.
        table: addresses of buffers, and `ROOM`: for one more address and `NEEDED`; the number of threads and
            that of the step, for which helpers wait (`order_of`); and what Python knows of the function,
            which lives as long as that because the array is its ``self``. Later changes are seen.
        sync: the address of the place where threads meet.
    """
    needed = [ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value for name in NEEDED]
    definition = bytes(_Definition(_NAME, address, FASTCALL, None))
    table[-ROOM:] = [sync, *needed, 1, 0, *np.frombuffer(definition, np.int64)]
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(
        ("PyCFunction_NewEx", ctypes.pythonapi)
    )
    made: Callable[..., int] = make(table.ctypes.data + table.nbytes - len(definition), table, None)
    return made


def order_of(table: np.ndarray) -> np.ndarray:
    """Where a table says how many threads run the step, and which number it has."""
    return table[-2 - _WORDS : -_WORDS]
