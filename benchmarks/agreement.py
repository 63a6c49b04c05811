"""``python -m benchmarks agreement``: whether compiled training is eager training, workload by workload.

A thousand steps compiled and eager, in float32 and in float64; compiled again, and on two threads. In float32
losses drift apart with every step wherever the order of a sum differs, so the drift of eager PyTorch from the
same steps in float64 is printed beside it: what no implementation can stay below. Invariant: nothing is
timed here.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import Any

import numpy as np

from benchmarks import peers_torch
from benchmarks.data import task_of
from benchmarks.task import WORKLOADS, Task

STEPS = 1000
DOUBLE_TOLERANCE = 1e-5  # relative, of every loss


def in_double(task: Task) -> Task:
    """The same task in float64."""

    def wide(array: np.ndarray) -> np.ndarray:
        return array.astype(np.float64) if array.dtype.kind == "f" else array

    weights = [wide(each) for each in task.weights]
    return dataclasses.replace(task, inputs=wide(task.inputs), targets=wide(task.targets), weights=weights)


def apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The greatest relative difference of two runs' losses."""
    return float(np.max(np.abs(ours - theirs) / np.abs(theirs)))


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
        "double": apart(losses("rushlight over", double), exact),
        "again": bool(np.array_equal(compiled, losses("rushlight over", task))),
        "threads": bool(np.array_equal(compiled, losses("rushlight over", task, 2))),
    }
    if importlib.util.find_spec("torch") is not None:
        found["drift"] = apart(losses("torch", task), exact)
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
        if not (row["double"] <= DOUBLE_TOLERANCE and row["again"] and row["threads"])
    ]


def show(found: dict[str, dict[str, Any]]) -> None:
    """One line a workload."""
    print("greatest relative difference of a loss, compiled from eager, and bit-equality of compiled runs\n")
    heads = f"{'steps':>6}{'float32':>10}{'float64':>10}{'PyTorch*':>10}{'run to run':>12}{'threads':>9}"
    print(f"{'':42}{heads}")
    for name, row in found.items():
        drift = f"{row['drift']:>10.1e}" if "drift" in row else f"{'-':>10}"
        figures = f"{row['steps']:>6}{row['single']:>10.1e}{row['double']:>10.1e}{drift}"
        print(f"{name:42}{figures}{_yes(row['again']):>12}{_yes(row['threads']):>9}")
    print("\n* PyTorch in float32 from the same steps in float64")


def _yes(value: bool) -> str:
    return "equal" if value else "NOT EQUAL"
