"""PyTorch's side of the workloads, eager and with `torch.compile`; and Rushlight's, which is the same code.

Invariant: the same lines run under either library; only what each offers to be quicker differs, and only in
the ways named for it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.task import RATING_RANGE, SCHEDULE_STEPS, Task

Run = Callable[[int, int], np.ndarray]


def parts(lib: Any, task: Task) -> tuple[Any, Any, Any, Any]:
    """Model, loss function, optimizer and scheduler (None where there is none)."""
    nn, workload = lib.nn, task.workload
    if workload.kind == "ratings":
        model = ratings_model(lib, task)
        loss = nn.functional.mse_loss
    else:
        layers: list[Any] = []
        for inputs, outputs in zip(workload.sizes, workload.sizes[1:], strict=False):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        model = nn.Sequential(*layers[:-1])
        loss = nn.functional.mse_loss if workload.kind == "values" else nn.functional.cross_entropy
    model = model.to(lib.from_numpy(task.weights[0]).dtype)
    with lib.no_grad():
        for parameter, value in zip(model.parameters(), task.weights, strict=True):
            parameter.copy_(lib.from_numpy(value))
    if workload.kind == "predict":
        return model.eval(), None, None, None
    kinds = {"sgd": lib.optim.SGD, "adam": lib.optim.Adam, "adamw": lib.optim.AdamW}
    optimizer = kinds[workload.optimizer](model.parameters(), lr=workload.rate)
    scheduler = None
    if workload.kind == "ratings":
        scheduler = lib.optim.lr_scheduler.OneCycleLR(
            optimizer, workload.rate, total_steps=SCHEDULE_STEPS, cycle_momentum=False
        )
    return model, loss, optimizer, scheduler


def ratings_model(lib: Any, task: Task) -> Any:
    """Users' and items' factors and biases; the rating is their product, squeezed into its range."""
    nn = lib.nn
    low, high = RATING_RANGE

    class DotProductBias(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            users, user_bias, items, item_bias = (lib.empty(each.shape) for each in task.weights)
            self.users, self.user_bias = nn.Parameter(users), nn.Parameter(user_bias)
            self.items, self.item_bias = nn.Parameter(items), nn.Parameter(item_bias)

        def forward(self, pairs: Any) -> Any:
            user, item = pairs[:, 0], pairs[:, 1]
            score = (self.users[user] * self.items[item]).sum(1, keepdim=True)
            score = score + self.user_bias[user] + self.item_bias[item]
            return lib.sigmoid(score) * (high - low) + low

    return DotProductBias()


def contestant(way: str, task: Task, threads: int) -> Run:
    """A way to run steps: "torch", "torch.compile", "rushlight", "rushlight compiled" or "rushlight over"."""
    name, _, how = way.replace("torch.compile", "torch compile").partition(" ")
    lib = importlib.import_module(name)
    lib.set_num_threads(threads)
    model, loss_of, optimizer, scheduler = parts(lib, task)
    inputs, targets = lib.from_numpy(task.inputs), lib.from_numpy(task.targets)
    if task.workload.kind == "predict":
        return predictions(lib, how, model, inputs, task)

    step = step_of(model, loss_of, optimizer, lib.compile if how == "compile" else None)
    if how in ("compiled", "over"):
        step = lib.compile(step)
    if how == "over":
        return epochs(lib, step, inputs, targets, scheduler, task)

    def run(first: int, count: int) -> np.ndarray:
        losses = []
        for rows in lib.from_numpy(task.rows(first, count)):
            losses.append(step(inputs[rows], targets[rows]).detach())
            if scheduler is not None:
                scheduler.step()
        return lib.stack(losses).numpy()

    return run


def step_of(model: Any, loss_of: Any, optimizer: Any, compiled: Any = None) -> Any:
    """A training step, from a batch to its loss; `compiled` is what to call the forward pass through."""

    def forward(x: Any, y: Any) -> Any:
        return loss_of(model(x), y)

    if compiled is not None:
        forward = compiled(forward)

    def step(x: Any, y: Any) -> Any:
        loss = forward(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def epochs(lib: Any, step: Any, inputs: Any, targets: Any, scheduler: Any, task: Task) -> Run:
    """Steps through ``step.over(loader)``."""
    data = lib.utils.data.TensorDataset(inputs, targets)

    def run(first: int, count: int) -> np.ndarray:
        rows = lib.utils.data.Subset(data, task.rows(first, count).reshape(-1))
        loader = lib.utils.data.DataLoader(rows, batch_size=task.workload.batch)
        return step.over(loader, scheduler=scheduler).numpy()

    return run


def predictions(lib: Any, how: str, model: Any, inputs: Any, task: Task) -> Run:
    """Single rows through the model: from a NumPy row to the scores as a NumPy array."""
    call = lib.compile(model) if how in ("compile", "compiled") else model

    def run(first: int, count: int) -> np.ndarray:
        found = []
        with lib.inference_mode() if how != "compiled" else lib.no_grad():
            for rows in task.rows(first, count):
                found.append(call(lib.from_numpy(task.inputs[rows])).numpy()[0, 0])
        return np.array(found)

    return run
