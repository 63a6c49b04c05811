"""The worker's side of loading with processes: what runs in each of them.

A worker reads tasks from one pipe, makes batches and writes them to another, until it is told to stop or
its parent is gone. It is never told about samplers or epochs. Invariant: tasks are answered in their
order, each by a batch or the error that prevented it, until the end of a stream, which is answered once.
"""

from __future__ import annotations

import contextlib
import os
import queue
import random
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, NoReturn

import numpy as np

from rushlight.data.fetch import Recipe
from rushlight.random import manual_seed
from rushlight.threads import set_num_threads

PARENT_CHECK_INTERVAL = 5.0  # seconds

STOP = "stop"
RESTART = "restart"  # the answer to it is the same word, so that the parent knows what came before it


@dataclass(frozen=True)
class WorkerInfo:
    """What `get_worker_info` tells a worker about itself."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_worker_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a worker of a DataLoader, its id, number of workers, seed and copy of the dataset; else None.

    >>> get_worker_info() is None
    True
    """
    return _worker_info


@dataclass(frozen=True)
class StreamEnded:
    """A worker's answer when its copy of an iterable dataset has no more samples."""


class _ReadableKey(str):
    """The message of a KeyError, which shows its argument's ``repr``: this one's has real line breaks."""

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class WorkerError:
    """An exception on its way to the main process, with the traceback as text."""

    kind: type[BaseException]
    message: str

    @classmethod
    def of(cls, error: BaseException, worker_id: int) -> WorkerError:
        """Describe ``error``, which was caught in worker ``worker_id``."""
        text = "".join(traceback.format_exception(error))
        return cls(
            type(error),
            f"Caught {type(error).__name__} in DataLoader worker process {worker_id}.\nOriginal {text}",
        )

    def reraise(self) -> NoReturn:
        """Raise an exception of the same type, or RuntimeError if that type cannot be made from a message."""
        if getattr(self.kind, "message", None):
            raise self.kind(message=self.message)  # type: ignore[call-arg]
        message = _ReadableKey(self.message) if self.kind is KeyError else self.message
        try:
            error = self.kind(message)
        except Exception:  # noqa: BLE001 - the constructor is the user's
            raise RuntimeError(message) from None
        raise error


def run(
    recipe: Recipe,
    worker_id: int,
    num_workers: int,
    base_seed: int,
    init_fn: Callable[[int], None] | None,
    tasks: Connection,
    results: Connection,
    stopping: Any,
) -> None:
    """The main function of a worker process.

    ``stopping.value`` becomes true when answers are no longer wanted, before the word to stop arrives.
    """
    global _worker_info
    seed = base_seed + worker_id
    set_num_threads(1)  # there are other workers
    _seed_everything(base_seed, worker_id, seed)
    _worker_info = WorkerInfo(worker_id, num_workers, seed, recipe.dataset)
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    # A thread does the writing, because a full pipe must not keep the worker from its next task.
    threading.Thread(target=_write_all, args=(answers, results), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):  # the main process is interrupted too, and reports it
        _answer_tasks(recipe, worker_id, init_fn, tasks, answers, stopping)


def _seed_everything(base_seed: int, worker_id: int, seed: int) -> None:
    random.seed(seed)
    manual_seed(seed)
    # Not the same seed: NumPy's algorithm is that of `random` and would give the same numbers.
    entropy = [worker_id, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]
    numpy_seed = np.random.SeedSequence(entropy).generate_state(4)
    np.random.seed(numpy_seed)  # noqa: NPY002 - for datasets that draw from NumPy's global generator


def _answer_tasks(
    recipe: Recipe,
    worker_id: int,
    init_fn: Callable[[int], None] | None,
    tasks: Connection,
    answers: queue.SimpleQueue[Any],
    stopping: Any,
) -> None:
    parent = os.getppid()
    fetch = _start(recipe, worker_id, init_fn)
    ended = False
    while (task := _next_task(tasks, parent)) != STOP:
        if task == RESTART:
            answers.put(ForkingPickler.dumps(RESTART))
            fetch = _start(recipe, worker_id, None)
            ended = False
        elif not stopping.value and not ended:
            number, indices = task
            try:
                answer = fetch(indices)
            except Exception as error:  # noqa: BLE001 - the user's code; the main process raises it
                ended = recipe.is_iterable and isinstance(error, StopIteration)
                answer = StreamEnded() if ended else WorkerError.of(error, worker_id)
            answers.put(_pickle(number, answer, worker_id))


def _next_task(tasks: Connection, parent: int) -> Any:
    """What the main process sends next; the word to stop if there is no main process any more."""
    while not tasks.poll(PARENT_CHECK_INTERVAL):
        if os.getppid() != parent:
            return STOP
    try:
        return tasks.recv()
    except EOFError:
        return STOP


def _start(recipe: Recipe, worker_id: int, init_fn: Callable[[int], None] | None) -> Callable[[Any], Any]:
    """The function that makes batches; if it cannot be had, one whose every answer is the reason."""
    try:
        if init_fn is not None:
            init_fn(worker_id)
        return recipe.start()
    except Exception as error:  # noqa: BLE001 - the user's code, as above
        failure = WorkerError.of(error, worker_id)
        return lambda indices: failure


def _pickle(number: int, answer: Any, worker_id: int) -> Any:
    try:
        return ForkingPickler.dumps((number, answer), 5)
    except Exception as error:  # noqa: BLE001 - pickling runs the user's code
        failure = answer if isinstance(answer, WorkerError) else WorkerError.of(error, worker_id)
        # The type of the error may be what could not be pickled.
        return ForkingPickler.dumps((number, WorkerError(RuntimeError, failure.message)), 5)


def _write_all(answers: queue.SimpleQueue[Any], results: Connection) -> None:
    while True:
        try:
            results.send_bytes(answers.get())
        except OSError:
            return  # the main process has closed its end: it wants no more
