"""Epochs of compiled steps, in one native call and step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import rushlight as rl
from rushlight.utils.data import DataLoader, TensorDataset


def both_ways(
    make: Callable[[], tuple[Any, Any, Any]],
    *data: Any,
    size: int,
    schedule: Callable[[Any], Any] | None = None,
    prepare: Callable[[Any], None] | None = None,
) -> list[list[np.ndarray]]:
    """What an epoch comes to in one call, and step by step: losses, parameters, and their gradients.

    Args:
        make: gives a model, its optimizer, and the step that is compiled, from a batch to a loss.
        data: what batches of `size` are rows of, in order.
        schedule: gives what sets the optimizer's rates.
        prepare: changes the model before the epoch.
    """
    ends = []
    for together in (True, False):
        model, optimizer, step = make()
        compiled = rl.compile(step)
        for _ in range(2):  # recorded, with the optimizer's state there
            compiled(*(each[:size] for each in data))
        if prepare is not None:
            with rl.no_grad():
                prepare(model)
        scheduler = None if schedule is None else schedule(optimizer)
        rl.manual_seed(5)
        loader = DataLoader(TensorDataset(*data), batch_size=size)
        if together:
            losses = compiled.over(loader, scheduler=scheduler).numpy()
        else:
            found = []
            for batch in loader:
                found.append(compiled(*batch).detach().numpy().copy())
                if scheduler is not None:
                    scheduler.step()
            losses = np.stack(found)
        arrays = [losses, *(each.detach().numpy().copy() for each in model.parameters())]
        ends.append([*arrays, *(each.grad.numpy().copy() for each in model.parameters())])
    return ends
