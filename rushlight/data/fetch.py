"""Fetching: from the indices of a batch, or from a stream, to the batch itself.

The same code runs in the main process and in workers, which are sent a `Recipe`. It knows nothing of
shuffling, processes or epochs. Invariant: what it returns does not depend on which of three ways was
taken, a whole batch at once (``__getbatch__``), all samples at once (``__getitems__``), or one by one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rushlight.data import collate


@dataclass(frozen=True)
class Recipe:
    """All that is needed to make batches of a dataset, in this process or another."""

    dataset: Any
    is_iterable: bool
    auto_collation: bool
    collate_fn: Callable
    drop_last: bool

    def start(self) -> Callable[[Any], Any]:
        """A function from the indices of a batch to the batch; StopIteration when a stream has ended."""
        return _fetch_from_stream(self) if self.is_iterable else _fetch_by_index(self)


def _fetch_by_index(recipe: Recipe) -> Callable[[Any], Any]:
    dataset, collate_fn = recipe.dataset, recipe.collate_fn
    if not recipe.auto_collation:
        return lambda index: collate_fn(dataset[index])
    get_batch = getattr(dataset, "__getbatch__", None) if collate.is_standard(collate_fn) else None
    get_items = getattr(dataset, "__getitems__", None)

    def fetch(indices: Any) -> Any:
        batch = get_batch(indices) if get_batch is not None else None
        if batch is not None:
            return batch
        return collate_fn(get_items(indices) if get_items else [dataset[index] for index in indices])

    return fetch


def _fetch_from_stream(recipe: Recipe) -> Callable[[Any], Any]:
    stream, collate_fn = iter(recipe.dataset), recipe.collate_fn
    if not recipe.auto_collation:
        return lambda _: collate_fn(next(stream))
    ended = False

    def fetch(places: Any) -> Any:
        nonlocal ended
        samples = [] if ended else list(itertools.islice(stream, len(places)))
        ended = len(samples) < len(places)  # a stream that has stopped once is not asked again
        if not samples or (ended and recipe.drop_last):
            raise StopIteration
        return collate_fn(samples)

    return fetch
