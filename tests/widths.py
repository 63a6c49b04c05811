"""Native code with vectors of another width than the CPU's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from rushlight.compile import llvm


@contextlib.contextmanager
def vectors_of(width: int) -> Iterator[None]:
    """Have native code that is made meanwhile use vectors of so many bytes, on whichever CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUSHLIGHT_VECTOR_BYTES", str(width))
        _ask_again()
        yield
    _ask_again()


def _ask_again() -> None:
    """Forget what follows from the width."""
    for each in vars(llvm).values():
        if hasattr(each, "cache_clear") and each is not llvm.binding:
            each.cache_clear()
