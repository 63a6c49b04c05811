"""Samplers: the orders in which a DataLoader takes samples, and their grouping into batches.

A sampler yields indices, a batch sampler lists of indices. Invariant: random samplers draw from the generator
exactly what PyTorch's draw, when PyTorch's do (when iteration starts, not when ``iter`` is called), so a seed
gives PyTorch's order.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Generic, TypeVar

import numpy as np

from rushlight import draws
from rushlight.dtype import I64, float64
from rushlight.ops.convert import as_tensor
from rushlight.ops.distributions import multinomial
from rushlight.random import Generator, default_generator

T_co = TypeVar("T_co", covariant=True)


class Sampler(Generic[T_co]):
    """Base class: subclasses define ``__iter__`` over indices, and ``__len__`` if the length is known.

    >>> class Backwards(Sampler):
    ...     def __iter__(self):
    ...         return iter([2, 1, 0])
    >>> list(BatchSampler(Backwards(), batch_size=2, drop_last=False))
    [[2, 1], [0]]
    """

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError


class SequentialSampler(Sampler[int]):
    """Indices 0, 1, 2, ... of ``data_source``.

    >>> list(SequentialSampler("abc"))
    [0, 1, 2]
    """

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def parts(self) -> Iterator[np.ndarray]:
        """The same indices in arrays."""
        yield np.arange(len(self.data_source))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """Indices of ``data_source`` in random order, each once; or drawn with ``replacement``.

    With ``num_samples`` larger than the dataset, one permutation follows another. Without a ``generator``,
    each iteration draws a seed from the default generator and makes a new generator of it.

    >>> import rushlight as torch
    >>> list(RandomSampler(range(5), generator=torch.Generator().manual_seed(0)))
    [4, 0, 1, 3, 2]
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            raise TypeError(f"replacement should be a boolean value, but got replacement={replacement}")
        if not isinstance(self.num_samples, int) or self.num_samples <= 0:
            raise ValueError(
                f"num_samples should be a positive integer value, but got num_samples={self.num_samples}"
            )

    @property
    def num_samples(self) -> int:
        """How many indices one iteration yields: as given, or the present length of the dataset."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        for part in self.parts():
            yield from part.tolist()

    def parts(self) -> Iterator[np.ndarray]:
        """The same indices in arrays; they are drawn as each is asked for."""
        size = len(self.data_source)
        generator = self.generator
        if generator is None:
            generator = Generator()
            generator.manual_seed(draw_seed())
        if self.replacement:
            if size == 0:
                raise RuntimeError("random_ expects 'from' to be less than 'to', but got from=0 >= to=0")
            # In 32s, as PyTorch does: a generator that the caller shares is read no further than needed.
            for start in range(0, self.num_samples, 32):
                count = min(32, self.num_samples - start)
                yield draws.integers_between(generator, count, I64, 0, size)
        else:
            for _ in range(self.num_samples // size):
                yield draws.permutation(generator, size)
            # PyTorch draws the last permutation even if nothing is taken from it.
            yield draws.permutation(generator, size)[: self.num_samples % size]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given ``indices`` in random order, each once.

    >>> import rushlight as torch
    >>> list(SubsetRandomSampler([10, 20, 30], generator=torch.Generator().manual_seed(0)))
    [30, 10, 20]
    """

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        order = draws.permutation(self.generator or default_generator, len(self.indices))
        for i in order.tolist():
            yield self.indices[i]

    def parts(self) -> Iterator[np.ndarray]:
        """The same indices in arrays."""
        order = draws.permutation(self.generator or default_generator, len(self.indices))
        yield np.asarray(self.indices, np.int64)[order]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """``num_samples`` indices, index ``i`` with a probability proportional to ``weights[i]``.

    >>> import rushlight as torch
    >>> generator = torch.Generator().manual_seed(0)
    >>> list(WeightedRandomSampler([0.0, 1.0, 3.0], 6, generator=generator))
    [2, 2, 2, 2, 2, 2]
    """

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        _check_positive("num_samples", num_samples)
        _check_bool("replacement", replacement)
        self.weights = as_tensor(weights, dtype=float64)
        if self.weights.dim() != 1:
            raise ValueError(
                f"weights should be a 1d sequence but given weights have shape {tuple(self.weights.shape)}"
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for part in self.parts():
            yield from part.tolist()

    def parts(self) -> Iterator[np.ndarray]:
        """The same indices in arrays."""
        yield multinomial(self.weights, self.num_samples, self.replacement, generator=self.generator).numpy()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of ``batch_size`` indices in the order of ``sampler``; ``drop_last`` omits a shorter last one.

    >>> list(BatchSampler(SequentialSampler(range(5)), batch_size=2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Sampler[int] | Iterable[int], batch_size: int, drop_last: bool) -> None:
        _check_positive("batch_size", batch_size)
        _check_bool("drop_last", drop_last)
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if self.drop_last and len(batch) < self.batch_size:
                return
            yield batch

    def arrays(self, lookups: Sequence[np.ndarray] = ()) -> Iterator[np.ndarray]:
        """The same batches as the rows of arrays, from a sampler that has `parts`; each index is looked up in
        `lookups`, one after another.
        """
        rest = np.zeros(0, np.int64)
        parts: Any = self.sampler
        for part in parts.parts():
            for each in lookups:
                part = each[part]
            indices = np.concatenate([rest, part]) if rest.size else part
            whole = len(indices) - len(indices) % self.batch_size
            if whole:
                yield indices[:whole].reshape(-1, self.batch_size)
            rest = indices[whole:]
        if rest.size and not self.drop_last:
            yield rest[None]

    def __len__(self) -> int:
        length = len(self.sampler)  # type: ignore[arg-type]
        return length // self.batch_size if self.drop_last else -(-length // self.batch_size)


def draw_seed(generator: Generator | None = None) -> int:
    """The 63-bit number that PyTorch draws as the seed of a shuffle or of the workers."""
    return int(draws.integers(generator or default_generator, 1, I64)[0])


def _check_positive(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"{name} should be a positive integer value, but got {name}={value}")


def _check_bool(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{name} should be a boolean value, but got {name}={value}")
