"""The DataLoader: batches of a dataset, in a given order, made here or by worker processes.

This file holds the options and what they mean together; `iterator` and `pool` make the passes. Invariant:
an object that was constructed without an error has options that fit each other, and those that decide
which samples come in which order cannot be changed afterwards.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rushlight.data.collate import default_collate, default_convert
from rushlight.data.dataset import Dataset, IterableDataset
from rushlight.data.iterator import SingleProcessIterator
from rushlight.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler
from rushlight.random import Generator

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

    from rushlight.data.pool import WorkersIterator

T_co = TypeVar("T_co", covariant=True)

FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")


class DataLoader(Generic[T_co]):
    """Iterates over the batches of ``dataset``.

    Args:
        dataset: map-style (``dataset[i]``) or an `IterableDataset`.
        batch_size: samples a batch; None loads single samples, without collating.
        shuffle: a new random order for each pass.
        sampler: an order of one's own: any iterable of indices; excludes ``shuffle``.
        batch_sampler: any iterable of lists of indices; excludes ``batch_size``, ``shuffle``, ``sampler`` and
            ``drop_last``.
        num_workers: how many processes make batches; 0: this one does, when a batch is asked for.
        collate_fn: makes a batch of a list of samples; by default `default_collate`, and `default_convert`
        for
            single samples.
        pin_memory: has no effect without an accelerator; a warning says so.
        drop_last: leave out a last batch that is not full.
        timeout: seconds to wait for a batch from the workers; 0: for ever.
        worker_init_fn: called in each worker with its number, after seeding.
        multiprocessing_context: a context of `multiprocessing` or the name of a start method.
        generator: for the order of samples, and the seed of the workers.
        prefetch_factor: batches that each worker makes in advance; 2 by default.
        persistent_workers: keep the workers for the next pass.
        pin_memory_device: deprecated, and without effect.
        in_order: return batches in the order of the sampler; False: as they become ready.

    A `TensorDataset`, or a `Subset` of one, is indexed once a batch when ``collate_fn`` is the default.

    >>> import rushlight as torch
    >>> from rushlight.utils.data import TensorDataset
    >>> data = TensorDataset(torch.arange(5))
    >>> [batch for (batch,) in DataLoader(data, batch_size=2)]
    [tensor([0, 1]), tensor([2, 3]), tensor([4])]
    >>> generator = torch.Generator().manual_seed(0)
    >>> [batch for (batch,) in DataLoader(data, batch_size=3, shuffle=True, generator=generator)]
    [tensor([3, 1, 0]), tensor([4, 2])]
    """

    _initialized = False

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler | Iterable | None = None,
        batch_sampler: Sampler[list] | Iterable[list] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_worker_options(num_workers, timeout, prefetch_factor, persistent_workers)
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers > 0 and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        self._is_iterable = isinstance(dataset, IterableDataset)
        if self._is_iterable:
            _check_no_order(shuffle, sampler, batch_sampler)
        _check_batch_options(batch_size, shuffle, sampler, batch_sampler, drop_last)
        if batch_sampler is not None:
            batch_size = None
        if sampler is None:
            if self._is_iterable:
                sampler = _EndlessSampler()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)  # type: ignore[arg-type]
            else:
                sampler = SequentialSampler(dataset)  # type: ignore[arg-type]
        if batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)  # type: ignore[arg-type]
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        if collate_fn is None:
            collate_fn = default_collate if self._auto_collation else default_convert
        self.collate_fn = collate_fn
        self.persistent_workers = persistent_workers
        self._promised_length: int | None = None  # what len() told the caller about an iterable dataset
        self._iterator: WorkersIterator | None = None  # kept only with persistent workers
        self._initialized = True
        self.check_worker_number_rationality()

    def __setattr__(self, attr: str, value: Any) -> None:
        if self._initialized and attr in FIXED:
            name = type(self).__name__
            raise ValueError(f"{attr} attribute should not be set after {name} is initialized")
        super().__setattr__(attr, value)

    @property
    def multiprocessing_context(self) -> Any:
        """The `multiprocessing` context that workers are started in, or None for the default."""
        return self._multiprocessing_context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context: Any) -> None:
        if context is not None:
            context = _checked_context(context, self.num_workers)
        self._multiprocessing_context = context

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self) -> Any:
        return self.batch_sampler if self._auto_collation else self.sampler

    def __iter__(self) -> Iterator[Any]:
        if self.num_workers == 0:
            return SingleProcessIterator(self)
        from rushlight.data.pool import WorkersIterator

        if not self.persistent_workers:
            self.check_worker_number_rationality()
            return WorkersIterator(self)
        if self._iterator is None:
            self._iterator = WorkersIterator(self)
        else:
            self._iterator.restart(self)
        return self._iterator

    def __len__(self) -> int:
        if not self._is_iterable:
            return len(self._index_sampler)
        length = self._promised_length = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is None:
            return length
        return length // self.batch_size if self.drop_last else math.ceil(length / self.batch_size)

    def check_worker_number_rationality(self) -> None:
        """Warn if there are more workers than processors that this process may use."""
        if hasattr(os, "sched_getaffinity"):
            processors, remark = len(os.sched_getaffinity(0)), ""
        else:
            processors, remark = os.cpu_count() or 1, " (`cpuset` is not taken into account)"
        if self.num_workers <= processors:
            return
        suggestion = (
            f"Our suggested max number of worker in current system is {processors}{remark}, which is "
            "smaller than what this DataLoader is going to create."
        )
        warnings.warn(
            f"This DataLoader will create {self.num_workers} worker processes in total. {suggestion} "
            "Please be aware that excessive worker creation might get DataLoader running slow or even "
            "freeze, lower the worker number to avoid potential slowness/freeze if necessary.",
            stacklevel=3,
        )


class _EndlessSampler(Sampler[None]):
    """For a stream, of which only the next sample can be asked for."""

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


def _check_worker_options(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent_workers: bool
) -> None:
    if num_workers < 0:
        raise ValueError(
            "num_workers option should be non-negative; use num_workers=0 to disable multiprocessing."
        )
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing."
            "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if persistent_workers and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")


def _check_no_order(shuffle: Any, sampler: Any, batch_sampler: Any) -> None:
    start = "DataLoader with IterableDataset: expected unspecified"
    if shuffle:
        raise ValueError(f"{start} shuffle option, but got shuffle={shuffle}")
    if sampler is not None:
        raise ValueError(f"{start} sampler option, but got sampler={sampler}")
    if batch_sampler is not None:
        raise ValueError(f"{start} batch_sampler option, but got batch_sampler={batch_sampler}")


def _check_batch_options(
    batch_size: int | None, shuffle: Any, sampler: Any, batch_sampler: Any, drop_last: bool
) -> None:
    if sampler is not None and shuffle:
        raise ValueError("sampler option is mutually exclusive with shuffle")
    if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
        raise ValueError(
            "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
        )
    if batch_size is None and drop_last:
        raise ValueError(
            "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
        )


def _checked_context(context: Any, num_workers: int) -> BaseContext:
    import multiprocessing.context

    if num_workers == 0:
        raise ValueError(
            "multiprocessing_context can only be used with "
            f"multi-process loading (num_workers > 0), but got num_workers={num_workers}"
        )
    if isinstance(context, str):
        methods = multiprocessing.get_all_start_methods()
        if context not in methods:
            raise ValueError(
                "multiprocessing_context option should specify a valid start method in "
                f"{methods!r}, but got multiprocessing_context={context!r}"
            )
        context = multiprocessing.get_context(context)
    if not isinstance(context, multiprocessing.context.BaseContext):
        raise TypeError(
            "multiprocessing_context option should be a valid context object or a string specifying the "
            f"start method, but got multiprocessing_context={context}"
        )
    return context
