"""``python -m benchmarks agreement``: whether compiled training is eager training, workload by workload.

A thousand steps compiled and eager, in float32 and in float64; compiled again, and on two threads. In float32
losses drift apart with every step wherever the order of a sum differs, so three figures stand beside that:
how far compiled steps are from eager ones that begin with the same numbers, which is what compiling does;
the drift of eager PyTorch from the same steps in float64, which is what training does to any rounding; and
how far eager PyTorch with two threads is from itself with one.
Invariant: nothing is timed here.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
from typing import Any

import numpy as np

from benchmarks import peers_torch
from benchmarks.data import task_of
from benchmarks.task import WORKLOADS, Task

STEPS = 1000
TOLERANCE = 1e-5  # relative, of every loss


def in_double(task: Task) -> Task:
    """The same task in float64."""

    def wide(array: np.ndarray) -> np.ndarray:
        return array.astype(np.float64) if array.dtype.kind == "f" else array

    weights = [wide(each) for each in task.weights]
    return dataclasses.replace(task, inputs=wide(task.inputs), targets=wide(task.targets), weights=weights)


def apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The greatest relative difference of two runs' losses."""
    return float(np.max(np.abs(ours - theirs) / np.abs(theirs)))


def each_apart(task: Task, steps: int) -> float:
    """The greatest relative difference of a compiled step's loss from that of the eager step which begins
    with the same parameters and the same state of the optimizer, in float32.
    """
    lib = importlib.import_module("rushlight")
    lib.set_num_threads(1)
    inputs, targets = lib.from_numpy(task.inputs), lib.from_numpy(task.targets)
    eager_parts, parts = (peers_torch.parts(lib, task) for _ in range(2))
    eager, step = (peers_torch.step_of(*each[:3]) for each in (eager_parts, parts))
    compiled = lib.compile(step)
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for rows in lib.from_numpy(task.rows(0, steps)):
        _copy_state(lib, eager_parts, parts)
        batch = inputs[rows], targets[rows]
        pairs.append((compiled(*batch).detach().numpy(), eager(*batch).detach().numpy()))
        for *_, scheduler in (eager_parts, parts):
            if scheduler is not None:
                scheduler.step()
    ours, theirs = (np.stack(each) for each in zip(*pairs, strict=True))
    return apart(ours, theirs)


def _copy_state(lib: Any, source: tuple[Any, ...], target: tuple[Any, ...]) -> None:
    """Give one training the parameters of another, and what its optimizer keeps for each."""
    (model, _, optimizer, _), (other_model, _, other, _) = source, target
    with lib.no_grad():
        for parameter, copy in zip(model.parameters(), other_model.parameters(), strict=True):
            copy.copy_(parameter)
            for name, value in other.state.get(copy, {}).items():
                if isinstance(value, lib.Tensor):
                    value.copy_(optimizer.state[parameter][name])


def agreement(task: Task, steps: int) -> dict[str, Any]:
    """Differences between ways of running the same steps."""

    def losses(way: str, task: Task, threads: int = 1) -> np.ndarray:
        return peers_torch.contestant(way, task, threads)(0, steps)

    double = in_double(task)
    compiled = losses("rushlight over", task)
    exact = losses("rushlight", double)
    found = {
        "steps": steps,
        "single": apart(compiled, losses("rushlight", task)),
        "each": each_apart(task, steps),
        "double": apart(losses("rushlight over", double), exact),
        "again": bool(np.array_equal(compiled, losses("rushlight over", task))),
        "threads": bool(np.array_equal(compiled, losses("rushlight over", task, 2))),
    }
    if importlib.util.find_spec("torch") is not None:
        shared, alone = (losses("torch", task, threads) for threads in (2, 1))
        found["drift"] = apart(alone, exact)
        found["itself"] = apart(shared, alone)
    return found


def all_agreements() -> dict[str, dict[str, Any]]:
    """Every workload that trains."""
    found = {}
    for workload in WORKLOADS:
        if workload.kind != "predict":
            found[workload.name] = agreement(task_of(workload), STEPS)
    return found


def failures(found: dict[str, dict[str, Any]]) -> list[str]:
    """Workloads that do not agree."""
    return [
        name
        for name, row in found.items()
        if not (max(row["each"], row["double"]) <= TOLERANCE and row["again"] and row["threads"])
    ]


def show(found: dict[str, dict[str, Any]]) -> None:
    """One line a workload."""
    print("greatest relative difference of a loss, compiled from eager, and bit-equality of compiled runs\n")
    heads = f"{'steps':>6}{'float32':>10}{'each*':>10}{'float64':>10}{'PyTorch**':>11}{'2 from 1***':>12}"
    heads += f"{'run to run':>12}{'threads':>9}"
    print(f"{'':42}{heads}")
    for name, row in found.items():
        figures = f"{row['steps']:>6}{row['single']:>10.1e}{row['each']:>10.1e}{row['double']:>10.1e}"
        for key, width in (("drift", 11), ("itself", 12)):
            figures += f"{row[key]:>{width}.1e}" if key in row else f"{'-':>{width}}"
        print(f"{name:42}{figures}{_yes(row['again']):>12}{_yes(row['threads']):>9}")
    print("\n* in float32, every step from the numbers with which the eager one began")
    print("** PyTorch in float32 from the same steps in float64")
    print("*** PyTorch in float32 with two threads from itself with one")


def _yes(value: bool) -> str:
    return "equal" if value else "NOT EQUAL"
