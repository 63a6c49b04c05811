"""`step.over(loader)`: an epoch through a compiled step, and what the steps returned as one tensor.

Where the data lies in memory (a `TensorDataset`, or a `Subset` of one) only the sampler runs in Python:
batches are picked by their row numbers, and steps run in chunks of about a fifth of a second (`run_many`),
between which progress is told and Ctrl-C obeyed. Any other loader is iterated in the ordinary way. Invariant:
the batches, their order and every random draw are those of ``for batch in loader: step(*batch)``, and an
interrupt leaves everything as it is between two steps.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from rushlight.compile.program import SINGLE
from rushlight.compile.recording import Recording
from rushlight.compile.stand_in import rebuilt, with_values
from rushlight.data import collate
from rushlight.data.dataset import Subset, TensorDataset
from rushlight.data.loader import DataLoader
from rushlight.data.sampler import (
    BatchSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from rushlight.optim import lr_scheduler
from rushlight.tensor import Tensor, new_tensor

CHUNK_SECONDS = 0.2
MOST_OF_CHUNK = 1.5  # what the last chunk may have of it

# Samplers that look at nothing but their own random numbers, so that they may run ahead of the steps.
_FORESEEABLE = (SequentialSampler, RandomSampler, SubsetRandomSampler, WeightedRandomSampler)

# Schedules that change nothing but the settings of their optimizer, by no code of the user's.
_PREDICTABLE = frozenset(
    {
        lr_scheduler.ConstantLR,
        lr_scheduler.CosineAnnealingLR,
        lr_scheduler.CosineAnnealingWarmRestarts,
        lr_scheduler.ExponentialLR,
        lr_scheduler.LinearLR,
        lr_scheduler.MultiStepLR,
        lr_scheduler.OneCycleLR,
        lr_scheduler.PolynomialLR,
        lr_scheduler.StepLR,
    }
)

Progress = Callable[[int, int | None], None]


def next_chunk(chunk: int, steps: int, seconds: float) -> int:
    """How many steps the chunk after one of `chunk` has, where `steps` took so many seconds: as many as take
    `CHUNK_SECONDS`, but no sudden rise.
    """
    fitting = int(CHUNK_SECONDS * steps / max(seconds, 1e-9))
    return max(1, min(fitting, 8 * chunk))


def arrays_of(tensors: Sequence[Tensor]) -> list[np.ndarray] | None:
    """Tensors as arrays without gaps, if a batch is nothing but rows of them."""
    if any(type(each) is not Tensor or each.requires_grad for each in tensors):
        return None
    return [np.ascontiguousarray(each._array) for each in tensors]


def run_many(
    recording: Recording,
    columns: Sequence[np.ndarray],
    batches: np.ndarray,
    advance: Callable[[], None],
) -> list[Any]:
    """Run one step for each of several batches of equal size, by one recording, one after another.

    Args:
        recording: fits batches of this size.
        columns: the data: the arguments of a step are the rows of each that a batch names.
        batches: row numbers, (steps, batch).
        advance: called after each step.

    Returns:
        What the steps returned. Fewer than there are batches if the recording stopped fitting on the way.
    """
    results: list[Any] = []
    for rows in batches:
        given = batch_of(columns, rows)
        if results and recording.unfit(given):
            break
        results.append(recording.run(given))
        advance()
    return results


def batch_of(columns: Sequence[np.ndarray], rows: np.ndarray) -> list[Tensor]:
    """The arguments of a step: the rows of each column."""
    return [new_tensor(each.take(rows, axis=0)) for each in columns]


def run_natively(
    recording: Recording,
    columns: Sequence[np.ndarray],
    rows: np.ndarray,
    scheduler: Any,
) -> tuple[Any, int] | None:
    """The same in one native call, the rows gathered inside: what the steps returned, stacked, and how many
    there were.

    Returns None where this cannot be done: parts of the step run in NumPy, it changes its arguments, or rows
    are counted from the end.
    """
    executor: Any = recording.executor
    many = getattr(executor, "run_many", None)
    if many is None or not executor.can_run_many or not recording.is_self_contained:
        return None
    if rows.min() < 0 or rows.max() >= len(columns[0]):
        return None
    for window, column in zip(recording.program.arguments, columns, strict=True):
        if window.dtype != column.dtype or not column.flags.c_contiguous:
            return None
    with recording.lock:
        numbers = _numbers(recording, len(rows), scheduler)
        rows = rows[: len(numbers)]
        missing = recording.left.missing(())
        found = many(columns, rows, numbers)
        recording.leave((), missing, len(rows))
    return recording.results.shape_of_value(recording.results.build(found, ())), len(rows)


def _is_made_for_many(recording: Recording) -> bool:
    """Whether a single step would have to be compiled first."""
    has_code_for = getattr(recording.executor, "has_code_for", None)
    return has_code_for is not None and not has_code_for(SINGLE)


def _numbers(recording: Recording, steps: int, scheduler: Any) -> np.ndarray:
    """The numbers that Python may change between steps: (steps, count).

    Schedules are stepped ahead, and every step gets the numbers of its turn; where a schedule changes what
    the recording relies on, later steps are left out.
    """
    readers = [read for _, read in recording.live]
    if scheduler is None and not recording.after:
        return np.tile(np.array([read() for read in readers], np.float64), (steps, 1))
    only_settings = type(scheduler) in _PREDICTABLE and not recording.after
    guards = recording.guards
    broken = guards.broken_settings if only_settings else guards.broken
    numbers: list[list[float]] = []
    for _ in range(steps):
        numbers.append([read() for read in readers])
        recording.advance()
        if scheduler is not None:
            scheduler.step()
        if broken():
            break
    return np.array(numbers, np.float64)


def epoch(step: Any, loader: Iterable[Any], scheduler: Any = None, progress: Progress | None = None) -> Any:
    """Run `step` on every batch of a loader; see `CompiledFunction.over`."""
    if scheduler is not None and not callable(getattr(scheduler, "step", None)):
        raise TypeError(f"over(): scheduler must have a step() method, but got {type(scheduler).__name__}")
    if progress is not None and not callable(progress):
        raise TypeError(f"over(): progress must be callable, but got {type(progress).__name__}")
    columns = _columns(loader)
    run = _Epoch(step, scheduler, progress, _length(loader))
    with _Interrupts() as interrupts:
        if columns is None:
            run.plainly(loader, interrupts)
        else:
            step.runs_many = True
            try:
                run.by_rows(loader, columns, interrupts)
            finally:
                step.runs_many = False
    return run.result()


class _Epoch:
    """One pass: the results so far, and how fast the steps are."""

    def __init__(self, step: Any, scheduler: Any, progress: Progress | None, total: int | None) -> None:
        self.step = step
        self.scheduler = scheduler
        self.progress = progress
        self.total = total
        self.results: list[Any] = []  # of single steps, since the last chunk
        self.chunks: list[Any] = []  # results stacked already
        self.count = 0
        self.started = time.perf_counter()

    def plainly(self, loader: Iterable[Any], interrupts: _Interrupts) -> None:
        """Batch by batch, as they come."""
        for batch in loader:
            self._call(batch)
            if time.perf_counter() - self.started >= CHUNK_SECONDS:
                self._chunk_ended(0)
                interrupts.obey()
        self._chunk_ended(0)
        interrupts.obey()

    def by_rows(self, loader: Iterable[Any], data: _Columns, interrupts: _Interrupts) -> None:
        """By row numbers, in chunks of batches of equal size."""
        batches = _LookAhead(data.batches(loader))
        while (first := batches.peek()) is not None:
            given = data.batch(first)
            recording = None if self.step.check else self.step.recording_for(*given)
            count = self.count
            if recording is None:
                batches.take(1, first)
                self._call(given)
            else:
                rows = batches.take(self._next_chunk() if data.is_foreseeable(recording) else 1, first)
                done = self._run_rows(recording, data, rows)
                batches.put_back(rows[done:])
            self._chunk_ended(0 if recording is None else self.count - count)
            interrupts.obey()

    def _next_chunk(self) -> int:
        """How many steps come next: a chunk, or somewhat more if these are the last."""
        chunk: int = self.step.chunk
        left = 0 if self.total is None else self.total - self.count
        return left if chunk < left <= MOST_OF_CHUNK * chunk else chunk

    def _run_rows(self, recording: Recording, data: _Columns, rows: np.ndarray) -> int:
        """Steps on batches of equal size; how many were done."""
        several = len(rows) > 1 or (data.is_foreseeable(recording) and _is_made_for_many(recording))
        whole = run_natively(recording, data.arrays, rows, self.scheduler) if several else None
        if whole is not None:
            self._stack()
            self.chunks.append(whole[0])
            done = whole[1]
        else:
            made = run_many(recording, data.arrays, rows, self._advance)
            self.results += made
            done = len(made)
        self.count += done
        return done

    def _stack(self) -> None:
        if self.results:
            self.chunks.append(stacked(self.results))
            self.results = []

    def result(self) -> Any:
        """What all steps returned."""
        if not self.chunks:
            return stacked(self.results)
        self._stack()
        return joined(self.chunks)

    def _call(self, batch: Any) -> None:
        if isinstance(batch, (tuple, list)):
            self.results.append(self.step(*batch))
        elif isinstance(batch, dict):
            self.results.append(self.step(**batch))
        else:
            self.results.append(self.step(batch))
        self.count += 1
        self._advance()

    def _advance(self) -> None:
        if self.scheduler is not None:
            self.scheduler.step()

    def _chunk_ended(self, steps: int) -> None:
        """Tell progress, and choose how many steps the next chunk has."""
        now = time.perf_counter()
        if steps:
            self.step.chunk = next_chunk(self.step.chunk, steps, now - self.started)
        self.started = now
        if self.progress is not None:
            self.progress(self.count, self.total)
            self.started = time.perf_counter()


class _Columns:
    """The tensors behind a loader, and the rows its batches are made of."""

    def __init__(
        self, loader: DataLoader, arrays: Sequence[np.ndarray], subsets: Sequence[np.ndarray]
    ) -> None:
        self.arrays = arrays
        self.subsets = subsets
        sampler = loader.batch_sampler
        inner = sampler.sampler if type(sampler) is BatchSampler else None
        self._foreseeable = type(inner) in _FORESEEABLE
        self._sampler = sampler
        self._generator = getattr(inner, "generator", None)

    def batches(self, loader: Iterable[Any]) -> Iterator[np.ndarray]:
        """The row numbers of batches as the rows of arrays; drawn from the generators as in ordinary
        iteration.
        """
        iterator: Any = iter(loader)  # draws what ordinary iteration draws at its start
        if self._foreseeable:
            sampler: Any = self._sampler
            yield from sampler.arrays(self.subsets)
            return
        for indices in iterator._indices:
            rows = np.asarray(indices, dtype=np.int64)
            for subset in self.subsets:
                rows = subset[rows]
            yield rows[None]

    def batch(self, rows: np.ndarray) -> list[Tensor]:
        """One batch."""
        return batch_of(self.arrays, rows)

    def is_foreseeable(self, recording: Recording) -> bool:
        """Whether later batches may be asked for before the steps on earlier ones have run."""
        return self._foreseeable and not any(each is self._generator for each in recording.generators)


def _columns(loader: Any) -> _Columns | None:
    """The columns of a loader whose data lies in memory; None for any other."""
    if type(loader) is not DataLoader or loader.num_workers or not loader._auto_collation:
        return None
    dataset, subsets = loader.dataset, []
    while type(dataset) is Subset:
        subsets.append(np.asarray(dataset.indices, dtype=np.int64))
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset or not collate.is_standard(loader.collate_fn):
        return None
    arrays = arrays_of(dataset.tensors)
    return None if arrays is None else _Columns(loader, arrays, subsets)


def _length(loader: Any) -> int | None:
    try:
        return len(loader)
    except TypeError:  # a stream
        return None


class _LookAhead:
    """Batches that can be looked at before they are taken; they come as the rows of arrays."""

    def __init__(self, blocks: Iterator[np.ndarray]) -> None:
        self.blocks = blocks
        self.waiting: deque[np.ndarray] = deque()

    def peek(self) -> np.ndarray | None:
        """The next batch, None at the end."""
        if not self.waiting:
            following = next(self.blocks, None)
            if following is None:
                return None
            self.waiting.append(following)
        return self.waiting[0][0]

    def take(self, count: int, like: np.ndarray) -> np.ndarray:
        """The next batches, up to `count`, as long as they are of the same size."""
        taken: list[np.ndarray] = []
        while count and (following := self.peek()) is not None and following.size == like.size:
            block = self.waiting.popleft()
            taken.append(block[:count])
            if len(block) > count:
                self.waiting.appendleft(block[count:])
            count -= len(taken[-1])
        return taken[0] if len(taken) == 1 else np.concatenate(taken)

    def put_back(self, batches: np.ndarray) -> None:
        """Undo `take` for the last ones."""
        if len(batches):
            self.waiting.appendleft(batches)


class _Interrupts:
    """Holds Ctrl-C back until `obey` is called, so that no step is left half done."""

    def __init__(self) -> None:
        self.came = False
        self.before: Any = None

    def __enter__(self) -> _Interrupts:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self.before = signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, *_: Any) -> None:
        self.came = True

    def obey(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self.came:
            self.came = False
            raise KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)


def stacked(results: Sequence[Any]) -> Any:
    """Results of many steps as one: tensors of the same shape as one tensor with a new first dimension.

    Tuples, lists and dictionaries keep their structure; what cannot be stacked becomes a list.

    >>> import rushlight as torch
    >>> stacked([(torch.tensor(1.0), None), (torch.tensor(2.0), None)])
    (tensor([1., 2.]), None)
    """
    if not results:
        return new_tensor(np.zeros(0, np.float32))
    first = results[0]
    if isinstance(first, Tensor):
        arrays = [each._array for each in results]
        if any(each.shape != arrays[0].shape for each in arrays):
            return [each.detach() for each in results]
        return new_tensor(np.stack(arrays))
    if isinstance(first, dict):
        return with_values(first, {name: stacked([each[name] for each in results]) for name in first})
    if isinstance(first, (tuple, list)):
        return rebuilt(type(first), [stacked(each) for each in zip(*results, strict=True)])
    return None if all(each is None for each in results) else list(results)


def joined(chunks: Sequence[Any]) -> Any:
    """Results that are stacked already as one, in order.

    >>> import rushlight as torch
    >>> joined([torch.tensor([1.0]), torch.tensor([2.0, 3.0])])
    tensor([1., 2., 3.])
    """
    first = chunks[0]
    if len(chunks) == 1:
        return first
    if all(isinstance(each, Tensor) for each in chunks):
        arrays = [each._array for each in chunks]
        if all(each.shape[1:] == arrays[0].shape[1:] for each in arrays):
            return new_tensor(np.concatenate(arrays))
        return [new_tensor(row) for each in arrays for row in each]
    if isinstance(first, dict):
        return with_values(first, {name: joined([each[name] for each in chunks]) for name in first})
    if isinstance(first, (tuple, list)):
        return rebuilt(type(first), [joined(each) for each in zip(*chunks, strict=True)])
    return None
