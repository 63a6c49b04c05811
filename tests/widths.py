"""Native code with vectors of another width than the CPU's, or as on CPUs with fewer registers."""

from __future__ import annotations

import contextlib
import importlib
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


def as_with_16_registers(patch: pytest.MonkeyPatch) -> None:
    """Low tiles of two vectors, without a matrix unit and without the cache, on whichever CPU."""
    patch.setenv("RUSHLIGHT_CACHE", "0")
    for name, function, answer in (
        ("products", "has_matrix_unit", False),
        ("tiles", "vector_registers", 16),
        *((name, "has_low_tiles", True) for name in ("layout", "strips", "nests", "products")),
    ):
        module = importlib.import_module(f"rushlight.compile.{name}")
        patch.setattr(module, function, lambda answer=answer: answer)
