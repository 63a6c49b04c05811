"""The workloads of the benchmarks: tasks travel as files; contestants that need no other library agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import agreement, peers_numpy, peers_torch, workloads
from benchmarks.task import WORKLOADS, Task, Workload, initial_weights, load


def small_task(kind: str = "classes", sizes: tuple[int, ...] = (6, 5, 4, 10)) -> Task:
    """A task like that of the first workload, but small."""
    rng = np.random.default_rng(1)
    workload = Workload("small", kind, sizes, 2, "sgd" if kind == "classes" else "adamw", 0.1, 8)
    if kind == "ratings":
        inputs = np.stack([rng.integers(0, sizes[0], 32), rng.integers(0, sizes[1], 32)], axis=1)
        targets = rng.integers(1, 6, (32, 1)).astype(np.float32)
    else:
        inputs, targets = rng.random((32, sizes[0]), np.float32), rng.integers(0, 10, 32)
    return Task(workload, inputs, targets, initial_weights(workload, rng), rng.permutation(32))


def test_a_task_is_read_as_it_was_written(tmp_path: Path) -> None:
    task = small_task()
    task.save(tmp_path)
    read = load(tmp_path)
    assert read.workload == task.workload
    assert (read.rows(0, 8) == task.rows(0, 8)).all()
    assert all((a == b).all() for a, b in zip(read.weights, task.weights, strict=True))


def test_epochs_repeat_their_order() -> None:
    task = small_task()
    assert (task.rows(16, 4) == task.rows(0, 4)).all()
    assert sorted(task.rows(0, 16).reshape(-1)) == list(range(32))


def test_the_size_of_a_step_is_counted() -> None:
    first = WORKLOADS[0]
    assert first.parameters == 784 * 64 + 64 + 64 * 32 + 32 + 32 * 10 + 10
    products = 784 * 64 + 64 * 32 + 32 * 10
    assert first.flops == 2 * (6 * products - 2 * 784 * 64)


@pytest.mark.parametrize("way", ["rushlight compiled", "rushlight over"])
@pytest.mark.parametrize("kind", ["classes", "ratings"])
def test_compiled_ways_take_the_steps_of_the_eager_one(way: str, kind: str) -> None:
    task = small_task(kind, (6, 5, 4, 10) if kind == "classes" else (7, 9, 3))
    eager = peers_torch.contestant("rushlight", task, 1)(0, 12)
    np.testing.assert_allclose(peers_torch.contestant(way, task, 1)(0, 12), eager, rtol=1e-4)


@pytest.mark.parametrize("kind", ["classes", "ratings"])
def test_compiled_training_agrees_with_eager_training(kind: str) -> None:
    task = small_task(kind, (6, 5, 4, 10) if kind == "classes" else (7, 9, 3))
    found = agreement.agreement(task, 12)
    assert not agreement.failures({"small": found})
    assert found["double"] < 1e-12 and found["single"] < 1e-4
    assert agreement.failures({"small": {**found, "threads": False}}) == ["small"]


def test_the_notebook_takes_the_same_steps() -> None:
    task = small_task()
    eager = peers_torch.contestant("rushlight", task, 1)(0, 12)
    np.testing.assert_allclose(peers_numpy.contestant("notebook", task, 1)(0, 12), eager, rtol=1e-4)


def test_contestants_take_turns_and_errors_are_told(tmp_path: Path) -> None:
    small_task().save(tmp_path)
    able, unable = (workloads.Contestant(way, 1, tmp_path) for way in ("rushlight", "nobody"))
    for number in range(3):
        for each in (able, unable):
            each.run(number * 4, 4)
    for each in (able, unable):
        each.end()
    assert unable.error is not None and "nobody" in unable.error
    assert able.error is None and len(able.seconds) == 2 and able.peak > 1
    workload = small_task().workload
    limits = [{"flops": 1e9, "bytes": 1e10}] * 2
    found = workloads.figures(workload, [able, unable], limits, 4)
    assert [row["error"] is None for row in found["contestants"]] == [True, False]
    row = found["contestants"][0]
    assert row["agrees"] and row["ratio"] == 1
    rates = [workload.flops / seconds for seconds in able.seconds]
    assert row["shares"]["flops"] == pytest.approx(sum(rates) / 2 / 1e9)


def test_the_machine_is_measured_when_told_to() -> None:
    machine = workloads.Machine()
    machine.measure()
    machine.end()
    (limits,) = machine.limits
    assert limits["flops"] > 1e8 and limits["bytes"] > 1e7


def test_another_loss_is_noticed() -> None:
    rows = [{"way": "a", "error": None, "agrees": True}, {"way": "b", "error": None, "agrees": False}]
    assert workloads.disagreements({"workloads": [{"name": "w", "contestants": rows}]}) == ["w: b"]
