"""Keeping NumPy quiet: PyTorch computes inf and nan without a word, NumPy warns.

The user's own NumPy settings stay as they are: `apply` switches the warnings off around a forward and back
on after it, ``token = error_state.set(QUIET)`` and ``error_state.reset(token)``. Invariant: whoever sets
also resets.
"""

from __future__ import annotations

from typing import Any

import numpy as np

try:  # NumPy's own context variable: ten times cheaper than np.errstate, which is a wrapper around it
    from numpy._core.umath import _extobj_contextvar, _make_extobj

    error_state: Any = _extobj_contextvar
    QUIET: Any = _make_extobj(all="ignore")
except ImportError:  # a NumPy that keeps it elsewhere: the public interface, slower

    class _ErrorState:
        @staticmethod
        def set(_: Any) -> Any:
            return np.seterr(all="ignore")

        @staticmethod
        def reset(old: Any) -> None:
            np.seterr(**old)

    error_state = _ErrorState()
    QUIET = None
