"""Warnings that PyTorch gives once in a process.

Invariant: whoever comes first gets the warning, at his own line; nobody gets it after him.
"""

from __future__ import annotations

import warnings

_given: set[str] = set()


def warn_once(what: str, message: str, stacklevel: int) -> None:
    """Warn, unless this was warned of before.

    Args:
        what: by which warnings are told apart.
        message: the warning.
        stacklevel: as in `warnings.warn`, seen from the caller.
    """
    if what not in _given:
        _given.add(what)
        warnings.warn(message, stacklevel=stacklevel + 1)


def forget(what: str) -> None:
    """Let it be warned of again."""
    _given.discard(what)
