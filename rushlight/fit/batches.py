"""Where batches come from: tensors cut up by the trainer, or a DataLoader of the user's own.

Both give one epoch after another, and can begin an epoch in the middle. Invariant: an epoch begun again from
the same random state gives the same batches in the same order.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rushlight.compile.over import arrays_of
from rushlight.data.dataset import Dataset, TensorDataset
from rushlight.data.loader import DataLoader
from rushlight.fit.errors import FitError
from rushlight.random import Generator
from rushlight.tensor import Tensor, new_tensor

Batch = tuple[Any, ...]


class TensorBatches:
    """Rows of tensors, `batch_size` at a time, in a new random order each epoch if `shuffle`."""

    def __init__(self, tensors: Sequence[Tensor], batch_size: int, shuffle: bool) -> None:
        lengths = {len(each) for each in tensors}
        if len(lengths) != 1 or not lengths.pop():
            shapes = ", ".join(str(tuple(each.shape)) for each in tensors)
            raise FitError(f"inputs and targets need the same number of rows, at least one: {shapes}")
        self.tensors, self.batch_size, self.shuffle = tuple(tensors), batch_size, shuffle
        self.samples: int | None = len(tensors[0])
        self.generators: list[Generator] = []

    def __len__(self) -> int:
        return math.ceil(len(self.tensors[0]) / self.batch_size)

    def some(self, count: int) -> RowBatches:
        """So many batches like those of an epoch, for which no order of all rows is drawn."""
        rows = len(self.tensors[0])
        size = min(self.batch_size, rows)
        chosen = _numbers(rows, count * size) if self.shuffle else np.arange(count * size) % rows
        return RowBatches(self.tensors, chosen, size, 0)

    def epoch(self, skip: int = 0) -> RowBatches:
        """The batches of an epoch without the first `skip`; the order is drawn at once."""
        order = _permutation(len(self.tensors[0])) if self.shuffle else None
        return RowBatches(self.tensors, order, self.batch_size, skip)


def _permutation(count: int) -> np.ndarray:
    import rushlight as rl

    return rl.randperm(count).numpy()


def _numbers(end: int, count: int) -> np.ndarray:
    import rushlight as rl

    return rl.randint(end, (count,)).numpy()


class RowBatches(Iterator[Batch]):
    """The batches of an epoch as rows of tensors: to be had one by one, or as row numbers for several steps.

    Args:
        tensors: the data.
        order: the row numbers of the batches; None: all as they come.
        batch_size: rows in a batch; the last one has what is left.
        skip: batches to leave out.
    """

    def __init__(
        self, tensors: Sequence[Tensor], order: np.ndarray | None, batch_size: int, skip: int
    ) -> None:
        self.tensors, self.order = tensors, order
        self.count = len(tensors[0]) if order is None else len(order)
        self.batch_size = min(batch_size, self.count)
        self.place = min(skip * self.batch_size, self.count)

    def __next__(self) -> Batch:
        if self.place >= self.count:
            raise StopIteration
        rows = slice(self.place, self.place + self.batch_size)
        self.skip(1)
        if self.order is None:
            return tuple(each[rows] for each in self.tensors)
        return self.batch(self.order[rows])

    def batch(self, rows: np.ndarray) -> Batch:
        """The batch of these rows."""
        chosen = new_tensor(rows)
        return tuple(each[chosen] for each in self.tensors)

    @functools.cached_property
    def columns(self) -> list[np.ndarray] | None:
        """The data as arrays without gaps, if a batch is nothing but rows of it."""
        return arrays_of(self.tensors)

    def peek(self, count: int) -> np.ndarray:
        """The row numbers ``(n, batch_size)`` of the next batches, up to `count`, a shorter one left out."""
        count = min(count, (self.count - self.place) // self.batch_size)
        rows = slice(self.place, self.place + count * self.batch_size)
        chosen = np.arange(rows.start, rows.stop) if self.order is None else self.order[rows]
        return chosen.reshape(count, self.batch_size)

    def skip(self, count: int) -> None:
        """Leave out the next `count` batches."""
        self.place = min(self.place + count * self.batch_size, self.count)


class LoaderBatches:
    """The batches of a DataLoader, or of anything else that can be iterated over again and again."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        dataset: Any = getattr(loader, "dataset", None)
        self.samples: int | None = len(dataset) if hasattr(dataset, "__len__") else None
        if getattr(loader, "drop_last", False) and loader.batch_size and self.samples:
            self.samples -= self.samples % loader.batch_size
        sampler = getattr(loader, "sampler", None)
        inner = getattr(getattr(loader, "batch_sampler", None), "sampler", None)
        found = {id(g): g for g in (getattr(each, "generator", None) for each in (loader, sampler, inner))}
        self.generators = [each for each in found.values() if isinstance(each, Generator)]

    def __len__(self) -> int:
        return len(self.loader)

    def some(self, count: int) -> Iterator[Batch]:
        """Batches of one epoch after another; whoever wants `count` of them stops there."""
        return endless(self)

    def epoch(self, skip: int = 0) -> Iterator[Batch]:
        """The batches of an epoch without the first `skip`, which are made and thrown away."""
        batches = iter(self.loader)
        for _ in range(skip):
            next(batches)
        return (_as_batch(each) for each in batches)


def _as_batch(batch: Any) -> Batch:
    if isinstance(batch, (tuple, list)) and len(batch) >= 2:
        return tuple(batch)
    raise FitError(
        f"a batch must hold inputs and a target, such as (x, y); the data gives {type(batch).__name__}"
        + (f" of {len(batch)}" if isinstance(batch, (tuple, list)) else "")
    )


def batches_of(data: Any, batch_size: int, shuffle: bool) -> TensorBatches | LoaderBatches:
    """The source of batches for what a user hands in: a DataLoader, a dataset, or a tuple of tensors."""
    if isinstance(data, TensorDataset):
        data = data.tensors
    if isinstance(data, (tuple, list)) and len(data) >= 2 and all(isinstance(x, Tensor) for x in data):
        return TensorBatches(data, batch_size, shuffle)
    if isinstance(data, DataLoader):
        return LoaderBatches(data)
    if isinstance(data, Dataset):
        return LoaderBatches(DataLoader(data, batch_size=batch_size, shuffle=shuffle))
    if hasattr(data, "__iter__") and hasattr(data, "__len__"):
        return LoaderBatches(data)
    raise FitError(
        f"data must be a DataLoader, a dataset or tensors (inputs, target), not {type(data).__name__}"
    )


def endless(source: TensorBatches | LoaderBatches) -> Iterator[Batch]:
    """The batches of one epoch after another."""
    while True:
        yield from source.epoch()


def rows_in(batch: Batch) -> int:
    """How many samples a batch holds."""
    return len(batch[-1])
