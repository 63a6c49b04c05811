"""The workloads as plain data: what is trained, on what, from which weights, in which order.

A `Task` is written to a folder by the parent and read there by every contestant, so that all begin with the
same numbers. Invariant: nothing here imports a library but NumPy, so that a contestant's memory is its own.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

RATING_RANGE = (0.0, 5.5)
SCHEDULE_STEPS = 100_000  # what the one-cycle schedule is laid out for; more than are ever run


@dataclass(frozen=True)
class Workload:
    """One row of the table.

    `kind` is "classes" (an MLP with cross-entropy), "values" (an MLP with squared error), "ratings" (factors
    and biases of users and items) or "predict" (one row through the MLP of "classes"). `sizes` are the widths
    of the layers, or users, items and factors. `segment` is how many steps are timed at a time.
    """

    name: str
    kind: str
    sizes: tuple[int, ...]
    batch: int
    optimizer: str
    rate: float
    segment: int

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        if self.kind == "ratings":
            users, items, factors = self.sizes
            return (users + items) * (factors + 1)
        return sum(n * m + m for n, m in zip(self.sizes, self.sizes[1:], strict=False))

    @property
    def flops(self) -> float:
        """Multiplications and additions of a step's matrix products; those of the update for ratings."""
        if self.kind == "ratings":
            return 14.0 * self.parameters
        products = [2 * n * m for n, m in zip(self.sizes, self.sizes[1:], strict=False)]
        if self.kind == "predict":
            return float(sum(products))
        return float(self.batch * (3 * sum(products) - products[0]))  # nobody asks for the input's gradient

    @property
    def bytes(self) -> float:
        """What must be moved at least: parameters and moments read and written once, and the batch read."""
        row = 16 if self.kind == "ratings" else 4 * self.sizes[0]
        if self.kind == "predict":
            return 4.0 * self.parameters + row
        arrays = {"sgd": 2, "adam": 6, "adamw": 6}[self.optimizer]
        return 4.0 * arrays * self.parameters + self.batch * row


WORKLOADS = (
    Workload("784-64-32-10, SGD, batch 2", "classes", (784, 64, 32, 10), 2, "sgd", 0.01, 5400),
    Workload("784-64-32-10, SGD, batch 64", "classes", (784, 64, 32, 10), 64, "sgd", 0.05, 843),
    Workload("784-512-512-10, SGD, batch 64", "classes", (784, 512, 512, 10), 64, "sgd", 0.05, 100),
    Workload("784-512-512-10, Adam, batch 64", "classes", (784, 512, 512, 10), 64, "adam", 1e-3, 100),
    Workload("943 x 1682 x 50 ratings, AdamW, batch 64", "ratings", (943, 1682, 50), 64, "adamw", 5e-3, 600),
    Workload("19-64-64-1, Adam, batch 256", "values", (19, 64, 64, 1), 256, "adam", 1e-3, 600),
    Workload("784-64-32-10, one row predicted", "predict", (784, 64, 32, 10), 1, "none", 0.0, 1000),
)


@dataclass(frozen=True)
class Task:
    """A workload with its numbers: inputs and targets by row, initial weights, and the order of an epoch."""

    workload: Workload
    inputs: np.ndarray
    targets: np.ndarray
    weights: list[np.ndarray]
    order: np.ndarray

    def rows(self, first: int, count: int) -> np.ndarray:
        """The row numbers of steps `first` and following, ``(count, batch)``; epochs repeat their order."""
        batch = self.workload.batch
        whole = self.order[: len(self.order) // batch * batch].reshape(-1, batch)
        return whole[np.arange(first, first + count) % len(whole)]

    def save(self, folder: Path) -> None:
        """Write it for `load`."""
        (folder / "workload.json").write_text(json.dumps(asdict(self.workload)), encoding="utf-8")
        named: dict[str, Any] = {f"weight{i}": each for i, each in enumerate(self.weights)}
        np.savez(folder / "numbers.npz", inputs=self.inputs, targets=self.targets, order=self.order, **named)


def load(folder: Path) -> Task:
    """Read what `Task.save` wrote."""
    fields = json.loads((folder / "workload.json").read_text(encoding="utf-8"))
    workload = Workload(**{**fields, "sizes": tuple(fields["sizes"])})
    with np.load(folder / "numbers.npz") as numbers:
        weights = [numbers[f"weight{i}"] for i in range(sum(name.startswith("weight") for name in numbers))]
        return Task(workload, numbers["inputs"], numbers["targets"], weights, numbers["order"])


def initial_weights(workload: Workload, rng: np.random.Generator) -> list[np.ndarray]:
    """Weight and bias of each layer, ``(out, in)`` and ``(out)``; of ratings users' and items' factors and
    biases, in this order.
    """
    found = []
    if workload.kind == "ratings":
        users, items, factors = workload.sizes
        for shape in ((users, factors), (users, 1), (items, factors), (items, 1)):
            found.append((rng.standard_normal(shape) * 0.01).astype(np.float32))
        return found
    for inputs, outputs in zip(workload.sizes, workload.sizes[1:], strict=False):
        bound = 1 / np.sqrt(inputs)
        found.append(rng.uniform(-bound, bound, (outputs, inputs)).astype(np.float32))
        found.append(rng.uniform(-bound, bound, outputs).astype(np.float32))
    return found
