"""The history of a run: a list with a dict per epoch, which a notebook shows as a table."""

from __future__ import annotations

from typing import Any


class History(list[dict[str, Any]]):
    """What was measured in each epoch, by name; else a list like any other.

    >>> history = History([{"epoch": 1, "train_loss": 0.5}])
    >>> history[-1]["train_loss"]
    0.5
    """

    def _repr_html_(self) -> str:
        from rushlight.fit.report import table

        names = list(dict.fromkeys(name for row in self for name in row))
        return table(names, ([row.get(name, "") for name in names] for row in self))
