"""JAX's side of the workloads: one jitted step a batch, or a `lax.scan` over many batches in one call.

Invariant: parameters are given back to JAX to be overwritten (donated), as a JAX user would; the data lies on
JAX's device beforehand.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.peers_torch import Run
from benchmarks.task import RATING_RANGE, SCHEDULE_STEPS, Task

DECAY, BETAS, EPSILON = 0.01, (0.9, 0.999), 1e-8


def forward(weights: list[Any], x: Any) -> Any:
    """The MLP."""
    last = len(weights) - 2
    for place in range(0, len(weights), 2):
        x = x @ weights[place].T + weights[place + 1]
        if place != last:
            x = jnp.maximum(x, 0)
    return x


def ratings(weights: list[Any], pairs: Any) -> Any:
    """Factors and biases of users and items."""
    users, user_bias, items, item_bias = weights
    user, item = pairs[:, 0], pairs[:, 1]
    score = (users[user] * items[item]).sum(1, keepdims=True) + user_bias[user] + item_bias[item]
    low, high = RATING_RANGE
    return jax.nn.sigmoid(score) * (high - low) + low


def loss_of(kind: str, weights: list[Any], x: Any, y: Any) -> Any:
    """The mean loss of a batch."""
    if kind == "classes":
        logs = jax.nn.log_softmax(forward(weights, x))
        return -jnp.take_along_axis(logs, y[:, None], 1).mean()
    return ((ratings(weights, x) if kind == "ratings" else forward(weights, x)) - y).__pow__(2).mean()


def one_cycle(highest: float, step: Any) -> Any:
    """PyTorch's OneCycleLR with its defaults: up to the highest rate and down again, by cosines."""
    top = 0.3 * SCHEDULE_STEPS - 1
    end = SCHEDULE_STEPS - 1.0

    def between(start: float, stop: float, share: Any) -> Any:
        return stop + (start - stop) / 2 * (1 + jnp.cos(math.pi * share))

    rising = between(highest / 25, highest, step / top)
    falling = between(highest, highest / 25 / 1e4, (step - top) / (end - top))
    return jnp.where(step <= top, rising, falling)


def update(task: Task, state: Any, grads: list[Any]) -> Any:
    """The optimizer: weights, moments and the number of steps after one more."""
    workload = task.workload
    weights, first, second, count = state
    if workload.optimizer == "sgd":
        return [w - workload.rate * g for w, g in zip(weights, grads, strict=True)], first, second, count
    rate: Any = workload.rate
    if workload.kind == "ratings":
        rate = one_cycle(rate, count)
    if workload.optimizer == "adamw":
        weights = [w * (1 - rate * DECAY) for w in weights]
    count = count + 1
    b1, b2 = BETAS
    first = [b1 * m + (1 - b1) * g for m, g in zip(first, grads, strict=True)]
    second = [b2 * v + (1 - b2) * g * g for v, g in zip(second, grads, strict=True)]
    scale, root = rate / (1 - b1**count), jnp.sqrt(1 - b2**count)
    moved = [
        w - scale * m / (jnp.sqrt(v) / root + EPSILON) for w, m, v in zip(weights, first, second, strict=True)
    ]
    return moved, first, second, count


def contestant(way: str, task: Task, threads: int) -> Run:
    """ "jax step" or "jax scan"; the number of threads is a matter of the environment."""
    kind = task.workload.kind
    weights = [jnp.asarray(each) for each in task.weights]
    if kind == "predict":
        call = jax.jit(forward)

        def predict(first: int, count: int) -> np.ndarray:
            return np.array(
                [np.asarray(call(weights, task.inputs[r]))[0, 0] for r in task.rows(first, count)]
            )

        return predict
    zeros = [[jnp.zeros_like(each) for each in weights] for _ in range(2)]
    state = [(weights, *zeros, jnp.zeros((), jnp.float32))]
    inputs, targets = jnp.asarray(task.inputs), jnp.asarray(task.targets)

    def step(state: Any, rows: Any) -> Any:
        x, y = inputs[rows], targets[rows]
        loss, grads = jax.value_and_grad(lambda w: loss_of(kind, w, x, y))(state[0])
        return update(task, state, grads), loss

    if way == "jax scan":
        scan = jax.jit(lambda state, rows: lax.scan(step, state, rows), donate_argnums=0)

        def run(first: int, count: int) -> np.ndarray:
            state[0], losses = scan(state[0], jnp.asarray(task.rows(first, count)))
            return np.asarray(losses)

        return run
    single = jax.jit(step, donate_argnums=0)

    def run_steps(first: int, count: int) -> np.ndarray:
        losses = []
        for rows in task.rows(first, count):
            state[0], loss = single(state[0], rows)
            losses.append(loss)
        return np.asarray(jnp.stack(losses))

    return run_steps
