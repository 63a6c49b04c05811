"""How many threads run many steps, whichever number were the fastest."""

from __future__ import annotations

import importlib
from typing import Any


def force_threads(monkeypatch: Any, threads: int) -> None:
    """Have all runs of many steps use so many threads from now on."""
    executor = importlib.import_module("rushlight.compile.native").Native
    real = getattr(executor.run_many, "real", executor.run_many)

    def run_many(self: Any, *given: Any) -> Any:
        return real(self, *given, threads)

    run_many.real = real  # type: ignore[attr-defined]
    monkeypatch.setattr(executor, "run_many", run_many)
