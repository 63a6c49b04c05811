"""What functions of the package return while others call them."""

from __future__ import annotations

from typing import Any


def returned(monkeypatch: Any, module: Any, name: str) -> list[Any]:
    """A list that grows by what a module's function returns, whenever it is called."""
    found: list[Any] = []
    real = getattr(module, name)

    def noted(*args: Any) -> Any:
        found.append(real(*args))
        return found[-1]

    monkeypatch.setattr(module, name, noted)
    return found
