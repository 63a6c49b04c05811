"""One pass over a DataLoader in the main process, and what passes with and without workers have in common.

Invariant: starting a pass draws the same numbers from the same generator as PyTorch's, in the same order:
first the seed for workers (drawn even without any), then, with the first batch, the sampler's own.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NoReturn

from rushlight.data.fetch import Recipe
from rushlight.data.sampler import draw_seed

if TYPE_CHECKING:
    from rushlight.data.loader import DataLoader


class LoaderIterator:
    """Base class: the batches of one pass; subclasses define ``_next_data``."""

    def __init__(self, loader: DataLoader) -> None:
        if loader.pin_memory:
            _warn_about_pinning(loader.pin_memory_device)
        self._recipe = Recipe(
            loader.dataset, loader._is_iterable, loader._auto_collation, loader.collate_fn, loader.drop_last
        )
        self._index_sampler = loader._index_sampler
        self._indices = iter(self._index_sampler)
        self._base_seed = draw_seed(loader.generator)
        self._num_workers = loader.num_workers
        self._promised_length = loader._promised_length
        self._num_yielded = 0

    def __iter__(self) -> LoaderIterator:
        return self

    def __next__(self) -> Any:
        data = self._next_data()
        self._num_yielded += 1
        if self._promised_length is not None and self._num_yielded > self._promised_length:
            self._warn_about_length()
        return data

    def _next_data(self) -> Any:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self._index_sampler)

    def __getstate__(self) -> NoReturn:
        raise NotImplementedError("{} cannot be pickled", type(self).__name__)

    def _warn_about_length(self) -> None:
        message = (
            f"Length of IterableDataset {self._recipe.dataset} was reported to be {self._promised_length}"
            f"(when accessing len(dataloader)), but {self._num_yielded} samples have been fetched. "
        )
        if self._num_workers > 0:
            message += (
                "For multiprocessing data-loading, this could be caused by not properly configuring the "
                "IterableDataset replica at each worker. Please see "
                "https://pytorch.org/docs/stable/data.html#torch.utils.data.IterableDataset for examples."
            )
        warnings.warn(message, stacklevel=3)


class SingleProcessIterator(LoaderIterator):
    """Makes each batch when it is asked for."""

    def __init__(self, loader: DataLoader) -> None:
        super().__init__(loader)
        if loader.timeout != 0:
            raise AssertionError(
                "_SingleProcessDataLoaderIter requires timeout == 0: without workers nothing is waited for"
            )
        self._fetch = self._recipe.start()

    def _next_data(self) -> Any:
        return self._fetch(next(self._indices))


def _warn_about_pinning(device: str) -> None:
    if device:
        warnings.warn(
            "pin_memory_device is deprecated, the current accelerator will be used as the device,"
            f"ignore pin_memory_device='{device}'.",
            stacklevel=5,
        )
    warnings.warn(
        "'pin_memory' argument is set as true but no accelerator is found, "
        "then device pinned memory won't be used.",
        stacklevel=5,
    )
