"""The main process's side of loading with processes: starting workers, handing out tasks, collecting batches.

Each worker has two pipes of its own, one for tasks and one for answers, so no lock is shared and the death
of one worker cannot leave another, or this process, waiting for ever. What a worker does is in `worker`.
Invariant: at any time at most ``prefetch_factor`` tasks per worker are with the workers, and
(``in_order``) batches come out in the order of the sampler.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import time
import warnings
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, NoReturn

from rushlight.data import worker
from rushlight.data.iterator import LoaderIterator
from rushlight.data.worker import StreamEnded, WorkerError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from rushlight.data.loader import DataLoader

EXIT_TIMEOUT = 5.0  # seconds given to a worker to finish what it is doing before it is killed


class WorkersIterator(LoaderIterator):
    """The batches of one pass, or with ``persistent_workers`` of several, made by worker processes."""

    def __init__(self, loader: DataLoader) -> None:
        super().__init__(loader)
        if not loader.prefetch_factor:
            raise AssertionError("prefetch_factor must be greater than 0 for MultiProcessingDataLoaderIter")
        self._max_tasks = loader.prefetch_factor * loader.num_workers
        self._in_order = loader.in_order
        self._persistent = loader.persistent_workers
        self._timeout = loader.timeout
        self._workers: list[BaseProcess] = []
        self._tasks: list[Connection] = []
        self._answers: list[Connection] = []
        context = loader.multiprocessing_context or multiprocessing.get_context()
        # Not an Event: its lock would stay locked for ever if a worker were killed while holding it.
        stopping = context.RawValue(ctypes.c_bool, False)
        self._stop = weakref.finalize(
            self, _stop_workers, os.getpid(), self._workers, self._tasks, self._answers, stopping
        )
        self._stop.atexit = False  # at exit, multiprocessing itself ends its daemons
        for worker_id in range(self._num_workers):
            self._start_worker(context, worker_id, loader.worker_init_fn, stopping)
        self._begin(loader)

    def _start_worker(self, context: Any, worker_id: int, init_fn: Any, stopping: Any) -> None:
        task_reader, task_writer = context.Pipe(duplex=False)
        answer_reader, answer_writer = context.Pipe(duplex=False)
        self._tasks.append(task_writer)
        self._answers.append(answer_reader)
        process = context.Process(
            target=worker.run,
            args=(
                self._recipe,
                worker_id,
                self._num_workers,
                self._base_seed,
                init_fn,
                task_reader,
                answer_writer,
                stopping,
            ),
            daemon=True,
        )
        try:
            process.start()
        except (TypeError, AttributeError, pickle.PicklingError):
            warnings.warn(
                "Got pickle error when attempting to start a worker Process. "
                "This might be because the worker Process arguments are not picklable. "
                "Python 3.14+ changed the multiprocessing start method in non-Mac POSIX platforms "
                "to 'forkserver', which requires the worker Process arguments to be picklable. "
                "You can also try multiprocessing.set_start_method('fork').",
                stacklevel=6,
            )
            raise
        finally:
            # The worker's ends are closed here, lest a later worker inherits them and keeps them open.
            task_reader.close()
            answer_writer.close()
        self._workers.append(process)

    def _begin(self, loader: DataLoader) -> None:
        self._indices = iter(self._index_sampler)
        self._num_yielded = 0
        self._promised_length = loader._promised_length
        self._sent = 0  # the number of the next task to send
        self._next = 0  # the number of the task whose batch comes next
        self._owner: dict[int, int] = {}  # the worker of each task whose batch has not been returned
        self._ready: dict[int, Any] = {}  # answers that came before their turn
        self._received: deque[Any] = deque()
        self._active = [True] * self._num_workers  # whose stream has not ended
        self._load = [0] * self._num_workers
        self._turn = itertools.cycle(range(self._num_workers))
        for _ in range(self._max_tasks):
            self._send_task()

    def restart(self, loader: DataLoader) -> None:
        """Begin another pass with the same workers, dropping what is left of the last."""
        self._active = [True] * self._num_workers
        self._received.clear()
        for worker_id in range(self._num_workers):
            self._send(worker_id, worker.RESTART)
        restarted = 0
        while restarted < self._num_workers:
            restarted += self._receive() == worker.RESTART
        self._begin(loader)

    def _send_task(self) -> None:
        try:
            indices = next(self._indices)
        except StopIteration:
            return
        for worker_id in itertools.islice(self._turn, self._num_workers):
            has_room = self._in_order or self._load[worker_id] < self._max_tasks // sum(self._active)
            if self._active[worker_id] and has_room:
                break
        else:
            return
        self._owner[self._sent] = worker_id
        self._load[worker_id] += 1
        self._send(worker_id, (self._sent, indices))
        self._sent += 1

    def _send(self, worker_id: int, message: Any) -> None:
        try:
            self._tasks[worker_id].send(message)
        except OSError as error:
            self._report_death(worker_id, error)

    def _next_data(self) -> Any:
        while True:
            self._skip_unanswered()
            if self._next == self._sent:
                if not self._persistent:
                    self._stop()
                raise StopIteration
            if self._next in self._ready:
                return self._hand_over(self._next, self._ready.pop(self._next))
            number, answer = self._receive()
            if isinstance(answer, StreamEnded):
                self._end_stream(self._owner[number])
            elif number == self._next or not self._in_order:
                return self._hand_over(number, answer)
            else:
                self._ready[number] = answer

    def _skip_unanswered(self) -> None:
        """Go to the next task that is or will be answered: a worker whose stream has ended is silent."""
        while self._next < self._sent and self._next not in self._ready:
            if self._next in self._owner and self._active[self._owner[self._next]]:
                return
            self._owner.pop(self._next, None)
            self._next += 1

    def _end_stream(self, worker_id: int) -> None:
        self._active[worker_id] = False
        if not self._persistent:
            self._send(worker_id, worker.STOP)
        self._send_task()

    def _hand_over(self, number: int, answer: Any) -> Any:
        self._load[self._owner.pop(number)] -= 1
        if number == self._next:
            self._next += 1
        self._send_task()
        if isinstance(answer, WorkerError):
            answer.reraise()
        return answer

    def _receive(self) -> Any:
        """The next answer of a worker whose stream has not ended; RuntimeError if one dies or none comes."""
        if not self._received:
            ids = [worker_id for worker_id in range(self._num_workers) if self._active[worker_id]]
            readers: dict[Any, int] = {self._answers[worker_id]: worker_id for worker_id in ids}
            exits: dict[Any, int] = {self._workers[worker_id].sentinel: worker_id for worker_id in ids}
            ready = multiprocessing.connection.wait([*readers, *exits], self._timeout or None)
            if not ready:
                raise RuntimeError(
                    f"DataLoader timed out after {self._timeout} seconds: no worker made a batch in that time"
                )
            for source in ready:
                if source in readers:
                    self._read_answer(readers[source])
            if not self._received:
                self._report_death(exits[ready[0]], None)
        return self._received.popleft()

    def _read_answer(self, worker_id: int) -> None:
        try:
            self._received.append(self._answers[worker_id].recv())
        except (EOFError, OSError) as error:
            self._report_death(worker_id, error)

    def _report_death(self, worker_id: int, cause: BaseException | None) -> NoReturn:
        self._active[worker_id] = False
        process = self._workers[worker_id]
        process.join(EXIT_TIMEOUT)
        code = process.exitcode
        how = f"it ended with exit code {code}"
        if code is not None and code < 0:
            how = f"it was killed by signal {signal.Signals(-code).name}"
        raise RuntimeError(
            f"DataLoader worker (pid(s) {process.pid}) exited unexpectedly: {how}. "
            "With num_workers=0 the same code runs in this process."
        ) from cause


def _stop_workers(
    owner: int, workers: list[BaseProcess], tasks: list[Connection], answers: list[Connection], stopping: Any
) -> None:
    """End the workers: at once if they wait, after what they are doing if that is short, else by force."""
    if os.getpid() != owner:
        return  # a worker's copy of an iterator that belongs to its parent
    stopping.value = True
    for connection in tasks:
        with contextlib.suppress(OSError):
            connection.send(worker.STOP)
    deadline = time.monotonic() + EXIT_TIMEOUT
    for process in workers:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.terminate()
            process.join(EXIT_TIMEOUT)
    for connection in (*tasks, *answers):
        connection.close()
