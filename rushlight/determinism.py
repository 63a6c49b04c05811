"""PyTorch's switch for deterministic algorithms, where every algorithm is deterministic.

A program may set it and read it; results are the same from run to run either way.
"""

from __future__ import annotations

_enabled = False
_warn_only = False


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Ask for deterministic algorithms, which there are no others of.

    >>> import rushlight as torch
    >>> torch.use_deterministic_algorithms(True)
    >>> torch.are_deterministic_algorithms_enabled()
    True
    >>> torch.use_deterministic_algorithms(False)
    """
    global _enabled, _warn_only
    _enabled, _warn_only = bool(mode), bool(warn_only)


def are_deterministic_algorithms_enabled() -> bool:
    """Whether a program asked for deterministic algorithms."""
    return _enabled


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether a program asked for warnings in place of errors."""
    return _enabled and _warn_only
