"""What the workloads are trained on: real data where it is found, numbers of the same shapes where not.

MNIST is in the repository. MovieLens 100k is looked for as ``ml-100k/u.data`` in ``$RUSHLIGHT_DATA``; the
candles are always drawn, since speed depends on their shape alone. Invariant: the same call gives the same
numbers.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from benchmarks.task import Task, Workload, initial_weights

TRAINING_IMAGES = 54_000
RATINGS, CANDLES = 100_000, 11_712


def task_of(workload: Workload, seed: int = 0) -> Task:
    """A workload with its data, initial weights and order."""
    rng = np.random.default_rng(seed)
    if workload.kind == "ratings":
        inputs, targets = ratings(workload, rng)
    elif workload.kind == "values":
        inputs, targets = candles(workload, rng)
    else:
        inputs, targets = digits()
    return Task(workload, inputs, targets, initial_weights(workload, rng), rng.permutation(len(inputs)))


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The first 54,000 images of MNIST as rows from 0 to 1, and their classes."""
    from rushlight.jobs.image_data import load_image_data

    found = load_image_data("mnist")
    images = found.train_images[:TRAINING_IMAGES].reshape(TRAINING_IMAGES, -1).astype(np.float32) / 255
    return images, found.train_labels[:TRAINING_IMAGES].astype(np.int64)


def ratings(workload: Workload, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of user and item number, and ratings from 1 to 5."""
    path = Path(os.environ.get("RUSHLIGHT_DATA", "data")) / "ml-100k" / "u.data"
    if path.exists():
        table = np.loadtxt(path, dtype=np.int64)
        return table[:, :2] - 1, table[:, 2:3].astype(np.float32)
    users, items, _ = workload.sizes
    pairs = np.stack([rng.integers(0, users, RATINGS), rng.integers(0, items, RATINGS)], axis=1)
    return pairs, rng.integers(1, 6, (RATINGS, 1)).astype(np.float32)


def candles(workload: Workload, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """As many rows as four months of quarter-hours, and a target that a network can learn."""
    inputs = rng.standard_normal((CANDLES, workload.sizes[0]), dtype=np.float32)
    targets = np.tanh(inputs[:, :1]) * inputs[:, 1:2] + 0.1 * rng.standard_normal((CANDLES, 1))
    return inputs, targets.astype(np.float32)
