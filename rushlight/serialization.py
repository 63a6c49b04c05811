"""PyTorch's ``torch.serialization``: `save`, `load`, and the classes that a checkpoint may ask for besides.

`load` makes tensors and plain containers only. A program that trusts more names it here: while a class is a
safe global, a checkpoint that asks for it by its module and name gets it, and pickle makes its object.
Invariant: nothing is safe but what the program itself has named.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rushlight.serialize import load, save

__all__ = ["add_safe_globals", "clear_safe_globals", "get_safe_globals", "load", "safe_globals", "save"]

_Named = Callable[..., Any] | tuple[Callable[..., Any], str]

_safe: list[_Named] = []


def add_safe_globals(safe_globals: list[_Named]) -> None:
    """Let checkpoints ask for these classes or functions; a pair gives one the name that files have for it.

    >>> import fractions
    >>> add_safe_globals([fractions.Fraction])
    >>> get_safe_globals()
    [<class 'fractions.Fraction'>]
    >>> clear_safe_globals()
    """
    _safe.extend(each for each in safe_globals if each not in _safe)


def get_safe_globals() -> list[_Named]:
    """What checkpoints may ask for."""
    return list(_safe)


def clear_safe_globals() -> None:
    """Let checkpoints ask for nothing but tensors and plain containers."""
    _safe.clear()


class safe_globals:
    """Within the block, checkpoints may ask for these classes or functions.

    >>> import fractions
    >>> with safe_globals([fractions.Fraction]):
    ...     len(get_safe_globals())
    1
    >>> get_safe_globals()
    []
    """

    def __init__(self, safe_globals: list[_Named]) -> None:
        self._named = safe_globals
        self._before: list[_Named] = []

    def __enter__(self) -> None:
        self._before = get_safe_globals()
        add_safe_globals(self._named)

    def __exit__(self, *error: object) -> None:
        _safe[:] = self._before


def safe_global(module: str, name: str) -> Callable[..., Any] | None:
    """The safe class or function that a file calls ``module.name``, if there is one."""
    for each in _safe:
        found, called = each if isinstance(each, tuple) else (each, f"{each.__module__}.{each.__qualname__}")
        if called == f"{module}.{name}":
            return found
    return None
