"""Loading with worker processes: the same batches, seeds, errors and clean ends.

The datasets are defined at the top of the file, because workers that do not begin as a copy of this process
import them from here.
"""

import gc
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import rushlight as torch
from rushlight.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, get_worker_info

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),  # on a machine with one processor
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),  # NumPy has threads
]


class Draws(Dataset):
    """Each sample tells who made it and the first random numbers there."""

    def __getitem__(self, index):
        info = get_worker_info()
        return info.id, info.seed, random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    def __len__(self):
        return 4


class Failing(Dataset):
    def __init__(self, error):
        self.error = error

    def __getitem__(self, index):
        if index == 3:
            raise self.error
        return index

    def __len__(self):
        return 6


class NeedsTwo(Exception):
    """An exception that cannot be made from a message."""

    def __init__(self, first, second):
        super().__init__(first, second)


class Sharded(IterableDataset):
    """The numbers below ``count``, divided among the workers."""

    def __init__(self, count):
        self.count = count

    def __iter__(self):
        info = get_worker_info()
        return iter(range(info.id, self.count, info.num_workers))


class Slow(Dataset):
    def __init__(self, seconds):
        self.seconds = seconds

    def __getitem__(self, index):
        time.sleep(self.seconds[index])
        return index

    def __len__(self):
        return len(self.seconds)


class Dying(Dataset):
    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)

    def __len__(self):
        return 4


class Who(Dataset):
    def __getitem__(self, index):
        return os.getpid()

    def __len__(self):
        return 4


def values(loader):
    return [batch.tolist() for batch in loader]


def children():
    return multiprocessing.active_children()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "options", [{}, {"drop_last": True}, {"prefetch_factor": 1}, {"persistent_workers": True}]
)
def test_batches_and_their_order_are_those_without_workers(workers, options):
    data = TensorDataset(torch.arange(26.0).reshape(13, 2), torch.arange(13))
    expected = {key: value for key, value in options.items() if key == "drop_last"}
    torch.manual_seed(3)
    alone = [[part.tolist() for part in batch] for batch in DataLoader(data, 3, shuffle=True, **expected)]
    torch.manual_seed(3)
    loader = DataLoader(data, 3, shuffle=True, num_workers=workers, **options)
    assert [[part.tolist() for part in batch] for batch in loader] == alone
    assert len(loader) == len(alone)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_ways_to_start_processes(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    assert values(DataLoader(Who(), num_workers=1, multiprocessing_context=method))[0][0] not in (
        0,
        os.getpid(),
    )


def test_without_batches():
    assert list(DataLoader([1, "a"], batch_size=None, num_workers=1)) == [1, "a"]


def test_each_worker_has_seeds_of_its_own():
    torch.manual_seed(0)
    rows = list(DataLoader(Draws(), batch_size=None, num_workers=2))
    assert [row[0] for row in rows] == [0, 1, 0, 1]
    assert rows[1][1] == rows[0][1] + 1
    for column in (2, 3, 4):
        assert len({row[column] for row in rows}) == 4
    random.seed(rows[0][1])
    assert rows[0][2] == random.random()
    assert rows[0][4] == torch.rand(1, generator=torch.Generator().manual_seed(rows[0][1])).item()
    torch.manual_seed(0)
    assert list(DataLoader(Draws(), batch_size=None, num_workers=2)) == rows


def set_offset(worker_id):
    get_worker_info().dataset.offset = 100 * worker_id


class Offset(Dataset):
    offset = None

    def __getitem__(self, index):
        return index + self.offset

    def __len__(self):
        return 4


def test_the_init_function_can_change_the_workers_copy_of_the_dataset():
    loader = DataLoader(Offset(), num_workers=2, worker_init_fn=set_offset)
    assert values(loader) == [[0], [101], [2], [103]]


def fail_to_init(worker_id):
    raise ValueError(f"no start for {worker_id}")


def test_an_error_in_the_init_function_is_raised():
    with pytest.raises(ValueError, match="Caught ValueError in DataLoader worker process 0"):
        list(DataLoader(Offset(), num_workers=1, worker_init_fn=fail_to_init))


def test_an_error_is_raised_here_with_the_workers_traceback():
    iterator = iter(DataLoader(Failing(ZeroDivisionError("bad sample")), batch_size=2, num_workers=2))
    assert next(iterator).tolist() == [0, 1]
    with pytest.raises(ZeroDivisionError) as raised:
        next(iterator)
    text = str(raised.value)
    assert text.startswith(
        "Caught ZeroDivisionError in DataLoader worker process 1.\nOriginal Traceback (most"
    )
    assert "raise self.error" in text and text.endswith("ZeroDivisionError: bad sample\n")
    assert next(iterator).tolist() == [4, 5], "batches after the one that failed can still be had"


@pytest.mark.parametrize(
    ("error", "kind"),
    [(KeyError("k"), KeyError), (NeedsTwo(1, 2), RuntimeError), (StopIteration(), StopIteration)],
)
def test_errors_that_are_special(error, kind):
    with pytest.raises(kind) as raised:
        values = []
        iterator = iter(DataLoader(Failing(error), batch_size=None, num_workers=1))
        while len(values) < 4:
            values.append(next(iterator))
    assert "in DataLoader worker process 0.\nOriginal Traceback" in str(raised.value)


def test_a_batch_that_cannot_be_sent_is_an_error():
    with pytest.raises(RuntimeError, match=r"(?s)Caught.*pickle"):
        list(DataLoader([1], num_workers=1, collate_fn=lambda samples: lambda: samples))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_a_killed_worker_is_an_error_that_says_how_it_ended():
    start = time.monotonic()
    with pytest.raises(
        RuntimeError, match=r"DataLoader worker \(pid\(s\) \d+\) exited unexpectedly.*SIGKILL"
    ):
        list(DataLoader(Dying(), num_workers=2))
    assert time.monotonic() - start < 4


def test_nothing_can_be_made_in_advance_by_no_one():
    with pytest.raises(AssertionError, match="prefetch_factor must be greater than 0"):
        iter(DataLoader([1], num_workers=1, prefetch_factor=0))


def test_a_worker_that_takes_too_long():
    with pytest.raises(RuntimeError, match=r"DataLoader timed out after 0\.2 seconds"):
        list(DataLoader(Slow([1.0]), num_workers=1, timeout=0.2))


def test_streams_are_divided_by_the_dataset():
    batches = values(DataLoader(Sharded(9), batch_size=2, num_workers=2))
    assert batches == [[0, 2], [1, 3], [4, 6], [5, 7], [8]]
    assert values(DataLoader(Sharded(9), batch_size=2, num_workers=2, drop_last=True)) == batches[:-1]


def test_a_stream_can_be_gone_through_again_by_the_same_workers():
    loader = DataLoader(Sharded(5), batch_size=None, num_workers=2, persistent_workers=True)
    for _ in range(3):
        assert sorted(loader) == [0, 1, 2, 3, 4]


def test_persistent_workers_stay_and_others_do_not():
    loader = DataLoader(Who(), num_workers=2, persistent_workers=True)
    first = values(loader)
    assert values(loader) == first
    assert next(iter(loader)).tolist() == first[0], "also after a pass that was left early"
    assert values(loader) == first
    other = DataLoader(Who(), num_workers=2)
    assert values(other) != values(other)


def test_workers_end_with_the_pass_or_with_its_iterator():
    before = set(children())
    list(DataLoader(Who(), num_workers=2))
    assert not set(children()) - before
    iterator = iter(DataLoader(Who(), num_workers=2))
    next(iterator)
    assert len(set(children()) - before) == 2
    del iterator
    gc.collect()
    assert not set(children()) - before


def test_order_can_be_given_up_for_speed():
    loader = DataLoader(Slow([0.5, 0, 0, 0, 0, 0]), batch_size=None, num_workers=2, in_order=False)
    order = list(loader)
    assert sorted(order) == [0, 1, 2, 3, 4, 5] and order[0] != 0
    assert list(DataLoader(Slow([0.1, 0, 0]), batch_size=None, num_workers=2)) == [0, 1, 2]


def test_large_batches_and_many_indices_pass():
    data = TensorDataset(torch.arange(200_000))
    batches = list(DataLoader(data, batch_size=50_000, num_workers=2))
    assert [batch[0].sum().item() for batch in batches] == [
        sum(range(i, i + 50_000)) for i in range(0, 200_000, 50_000)
    ]


def test_a_program_that_ends_in_the_middle_of_a_pass_leaves_no_worker():
    program = (
        "import os, sys, rushlight\n"
        "from rushlight.utils.data import DataLoader\n"
        "iterator = iter(DataLoader(list(range(100)), num_workers=1, persistent_workers=True))\n"
        "next(iterator)\n"
        "print(iterator._workers[0].pid)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0 and run.stderr == ""
    with pytest.raises(ProcessLookupError):
        os.kill(int(run.stdout), 0)
