"""The notebook's loop: a network of two hidden layers in plain NumPy, with its gradients written out.

It is the training loop of the notebook that this library grew from: weights as ``(in, out)``, targets as
one-hot rows, the gradient of a weight matrix formed for every sample and then averaged. Two things are
different: everything is float32, as for the other contestants, and the loss is averaged over the batch.
Invariant: only for the workloads whose network the notebook has.
"""

from __future__ import annotations

import numpy as np

from benchmarks.peers_torch import Run
from benchmarks.task import Task


def relu(x: np.ndarray) -> np.ndarray:
    """``max(x, 0)``, as the notebook has it."""
    y = np.copy(x)
    y[x <= 0] = 0
    return y


def relu_derivative(x: np.ndarray) -> np.ndarray:
    """1 where x is positive, else 0."""
    y = np.ones(x.shape, x.dtype)
    y[x <= 0] = 0
    return y


def softmax(x: np.ndarray) -> np.ndarray:
    """Rows of probabilities."""
    x = np.copy(x)
    x -= np.max(x, axis=1).reshape((-1, 1))
    np.exp(x, x)
    x /= np.sum(x, axis=1).reshape((-1, 1))
    return x


def calculate_dw(b: np.ndarray, a: np.ndarray) -> np.ndarray:
    """The gradient of a weight matrix for each sample: from the gradient `b` behind it and the input `a`."""
    m, n = b.shape[0], a.shape[1]
    y = np.zeros([m, n, b.shape[1]], b.dtype)
    for i in range(m):
        y[i,] = b[i,] * a[i,].reshape(n, 1)
    return y


def contestant(way: str, task: Task, threads: int) -> Run:
    """The notebook's way; threads are those of NumPy's BLAS."""
    w1, b1, w2, b2, wo, bo = (np.ascontiguousarray(each.T) for each in task.weights)
    if task.workload.kind == "predict":

        def predict(first: int, count: int) -> np.ndarray:
            found = []
            for rows in task.rows(first, count):
                h1a = relu(task.inputs[rows] @ w1 + b1)
                found.append((relu(h1a @ w2 + b2) @ wo + bo)[0, 0])
            return np.array(found)

        return predict
    lr = np.float32(task.workload.rate)
    one_hot = np.zeros((len(task.targets), 10), np.float32)
    one_hot[np.arange(len(task.targets)), task.targets] = 1

    def run(first: int, count: int) -> np.ndarray:
        losses = []
        for rows in task.rows(first, count):
            x, y = task.inputs[rows], one_hot[rows]
            h1a = relu(x @ w1 + b1)
            h2a = relu(h1a @ w2 + b2)
            z = softmax(h2a @ wo + bo)
            losses.append(-np.sum(y * np.log(z)) / len(rows))
            dl_dbo = z - y
            dl_db2 = (dl_dbo @ wo.T) * relu_derivative(h2a)
            dl_db1 = (dl_db2 @ w2.T) * relu_derivative(h1a)
            dl_dwo = calculate_dw(b=dl_dbo, a=h2a)
            dl_dw2 = calculate_dw(b=dl_db2, a=h1a)
            dl_dw1 = calculate_dw(b=dl_db1, a=x)
            for array, gradient in (
                (bo, dl_dbo),
                (wo, dl_dwo),
                (b2, dl_db2),
                (w2, dl_dw2),
                (b1, dl_db1),
                (w1, dl_dw1),
            ):
                array -= lr * gradient.mean(axis=0)
        return np.array(losses)

    return run
