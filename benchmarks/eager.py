"""What one operation and one training step cost, Rushlight and PyTorch side by side.

The same functions are given both libraries and the same numbers. Invariant: one thread on either side, and
gradients are dropped after every backward pass, as `zero_grad` does.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.timing import Comparison, compare

# Operands: x, y of 4x8 and positive, w of 8x8, b of 8, all with gradients; target of 4x8; labels of 4.
OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "x + y": lambda o: o.x + o.y,
    "x + b": lambda o: o.x + o.b,
    "x - y": lambda o: o.x - o.y,
    "x * y": lambda o: o.x * o.y,
    "x * 2.0": lambda o: o.x * 2.0,
    "x / y": lambda o: o.x / o.y,
    "x ** 2": lambda o: o.x**2,
    "exp": lambda o: o.x.exp(),
    "log": lambda o: o.x.log(),
    "sqrt": lambda o: o.x.sqrt(),
    "tanh": lambda o: o.x.tanh(),
    "sigmoid": lambda o: o.x.sigmoid(),
    "relu": lambda o: o.x.relu(),
    "x @ w": lambda o: o.x @ o.w,
    "linear": lambda o: o.F.linear(o.x, o.w, o.b),
    "sum": lambda o: o.x.sum(),
    "sum(0)": lambda o: o.x.sum(0),
    "mean": lambda o: o.x.mean(),
    "max": lambda o: o.x.max(),
    "softmax(1)": lambda o: o.x.softmax(1),
    "reshape": lambda o: o.x.reshape(8, 4),
    "t": lambda o: o.x.t(),
    "x[1:3]": lambda o: o.x[1:3],
    "cat": lambda o: o.lib.cat([o.x, o.y]),
    "mse_loss": lambda o: o.F.mse_loss(o.x, o.target),
    "cross_entropy": lambda o: o.F.cross_entropy(o.x, o.labels),
}
STEP_BATCHES = (2, 64)


def operands(lib: ModuleType) -> SimpleNamespace:
    """The operands as tensors of one of the libraries."""
    rng = np.random.default_rng(0)

    def values(*shape: int) -> np.ndarray:
        return (rng.random(shape) + 0.1).astype(np.float32)

    leaves = {name: lib.tensor(values(*shape), requires_grad=True) for name, shape in SHAPES.items()}
    return SimpleNamespace(
        lib=lib,
        F=lib.nn.functional,
        target=lib.tensor(values(4, 8)),
        labels=lib.tensor([1, 2, 3, 0]),
        **leaves,
    )


SHAPES = {"x": (4, 8), "y": (4, 8), "w": (8, 8), "b": (8,)}


def forward(operation: Callable[[Any], Any], o: SimpleNamespace) -> Callable[[], object]:
    """A call of the operation, gradients recorded."""
    return lambda: operation(o)


def forward_and_backward(operation: Callable[[Any], Any], o: SimpleNamespace) -> Callable[[], object]:
    """A call of the operation and the way back to its operands."""
    gradient = o.lib.ones_like(operation(o)).detach()
    leaves = [getattr(o, name) for name in SHAPES]
    operation(o).backward(gradient)
    used = [leaf for leaf in leaves if leaf.grad is not None]

    def call() -> None:
        operation(o).backward(gradient)
        for leaf in used:
            leaf.grad = None

    return call


def training_step(lib: ModuleType, batch: int) -> Callable[[], object]:
    """One step of SGD for 784-64-32-10 on a batch of so many."""
    nn = lib.nn
    lib.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = lib.optim.SGD(model.parameters(), lr=0.01)
    images, labels = lib.rand(batch, 784), lib.randint(0, 10, (batch,))

    def call() -> None:
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return call


def operation_costs(ours: ModuleType, theirs: ModuleType) -> dict[str, tuple[Comparison, Comparison]]:
    """Every operation: its forward alone, and forward and backward."""
    first, second = operands(ours), operands(theirs)
    return {
        name: (
            compare(forward(operation, first), forward(operation, second)),
            compare(forward_and_backward(operation, first), forward_and_backward(operation, second)),
        )
        for name, operation in OPERATIONS.items()
    }


def step_costs(ours: ModuleType, theirs: ModuleType) -> dict[int, Comparison]:
    """One training step for every batch size."""
    return {
        batch: compare(training_step(ours, batch), training_step(theirs, batch)) for batch in STEP_BATCHES
    }
