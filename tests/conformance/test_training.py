"""The same 300-step training scripts under PyTorch and Rushlight, with the same seed.

Initial weights are bit-equal where they are drawn uniformly and within 5e-7 where normally; batches come in
the same order; every loss agrees within 1e-5 relative; and the models print the same text.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")

STEPS = 300


class Run(NamedTuple):
    """What a training script leaves to compare."""

    weights: dict[str, np.ndarray]
    batches: list[list[int]]
    losses: list[float]
    text: str


def blobs(lib: Any, classes: int, width: int, count: int) -> tuple[Any, Any]:
    """Noisy class centres as float32 inputs and int64 labels."""
    rng = np.random.default_rng(11)
    labels = rng.integers(0, classes, count)
    centres = rng.standard_normal((classes, width))
    inputs = (centres[labels] + 0.9 * rng.standard_normal((count, width))).astype(np.float32)
    return lib.from_numpy(inputs), lib.from_numpy(labels)


def digits(lib: Any, count: int) -> tuple[Any, Any]:
    """The first MNIST images of the checkout, scaled to 0..1, and their labels."""
    from rushlight.vision.idx import load_folder

    found = load_folder(Path(__file__).parents[2] / "data" / "mnist")
    inputs = (found.train_images[:count].reshape(count, -1) / 255).astype(np.float32)
    return lib.from_numpy(inputs), lib.from_numpy(found.train_labels[:count].astype(np.int64))


def train(
    lib: Any, model: Any, dataset: Any, size: int, loss_of: Callable[..., Any], optimizer: Any, schedule: Any
) -> Run:
    """300 steps over a shuffling DataLoader."""
    data = __import__("importlib").import_module(f"{lib.__name__}.utils.data")
    weights = {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}
    numbered = data.TensorDataset(*dataset, lib.arange(len(dataset[0])))
    loader = data.DataLoader(numbered, batch_size=size, shuffle=True)
    losses, batches = [], []
    while len(losses) < STEPS:
        for *batch, rows in loader:
            batches.append(rows.tolist())
            loss = loss_of(model, *batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
            losses.append(loss.item())
            if len(losses) == STEPS:
                break
    return Run(weights, batches, losses, repr(model))


def mlp_sgd(lib: Any) -> Run:
    """784-64-32-10 with plain SGD, on real digits."""
    lib.manual_seed(42)
    nn = lib.nn
    model = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = lib.optim.SGD(model.parameters(), lr=0.05)
    criterion = nn.CrossEntropyLoss()
    return train(lib, model, digits(lib, 3000), 32, lambda m, x, y: criterion(m(x), y), optimizer, None)


def mlp_adam_dropout_one_cycle(lib: Any) -> Run:
    """Dropout masks, Adam and a one-cycle schedule."""
    lib.manual_seed(7)
    nn = lib.nn
    model = nn.Sequential(
        nn.Linear(40, 64),
        nn.GELU(),
        nn.Dropout(0.2),
        nn.Linear(64, 32),
        nn.Tanh(),
        nn.Dropout(0.1),
        nn.Linear(32, 5),
    )
    optimizer = lib.optim.Adam(model.parameters(), lr=1e-3)
    schedule = lib.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=STEPS)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    return train(
        lib, model, blobs(lib, 5, 40, 500), 25, lambda m, x, y: criterion(m(x), y), optimizer, schedule
    )


def embeddings_adamw(lib: Any) -> Run:
    """A dot product of embeddings with biases, squashed to a range, with AdamW."""
    lib.manual_seed(3)
    nn = lib.nn

    class DotProductBias(nn.Module):
        def __init__(
            self, users: int, items: int, factors: int, y_range: tuple[float, float] = (0, 5.5)
        ) -> None:
            super().__init__()
            self.user_factors = nn.Embedding(users, factors)
            self.user_bias = nn.Embedding(users, 1)
            self.item_factors = nn.Embedding(items, factors)
            self.item_bias = nn.Embedding(items, 1)
            self.y_range = y_range

        def forward(self, x: Any) -> Any:
            product = (self.user_factors(x[:, 0]) * self.item_factors(x[:, 1])).sum(dim=1, keepdim=True)
            product += self.user_bias(x[:, 0]) + self.item_bias(x[:, 1])
            low, high = self.y_range
            return lib.sigmoid(product) * (high - low) + low

    rng = np.random.default_rng(5)
    pairs = lib.from_numpy(np.stack([rng.integers(0, 50, 800), rng.integers(0, 80, 800)], 1))
    ratings = lib.from_numpy(rng.integers(1, 6, (800, 1)).astype(np.float32))
    model = DotProductBias(50, 80, 16)
    optimizer = lib.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.1)
    loss_of = lambda m, x, y: lib.nn.functional.mse_loss(m(x), y)  # noqa: E731
    return train(lib, model, (pairs, ratings), 64, loss_of, optimizer, None)


@pytest.mark.parametrize(
    ("script", "weight_tolerance"),
    [(mlp_sgd, 0.0), (mlp_adam_dropout_one_cycle, 0.0), (embeddings_adamw, 5e-7)],
)
def test_training_script_agrees(script: Callable[[Any], Run], weight_tolerance: float) -> None:
    """Initial weights, batch order, every loss and the printed model."""
    theirs, ours = script(torch), script(rushlight)
    assert ours.text == theirs.text
    assert list(ours.weights) == list(theirs.weights)
    for name, array in theirs.weights.items():
        np.testing.assert_allclose(ours.weights[name], array, rtol=0, atol=weight_tolerance, err_msg=name)
    assert ours.batches == theirs.batches
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-5)
