"""Worker processes as PyTorch's: the batches, the seeds, and what an error looks like here."""

import multiprocessing
import random

import numpy as np
import pytest

import rushlight
from rushlight.utils import data as rushlight_data

torch = pytest.importorskip("torch", reason="needs the conformance extra")
torch_data = pytest.importorskip("torch.utils.data", reason="needs the conformance extra")

LIBRARIES = ((torch, torch_data), (rushlight, rushlight_data))

pytestmark = [
    pytest.mark.skipif(
        multiprocessing.get_start_method(allow_none=True) not in (None, "fork"), reason="needs fork"
    ),
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),
]


def assert_same(program):
    outcomes = []
    for library, data in LIBRARIES:
        library.manual_seed(77)
        outcomes.append((program(library, data), library.get_rng_state().tolist()))
    assert outcomes[0] == outcomes[1]


OPTIONS = [
    {},
    {"persistent_workers": True},
    {"prefetch_factor": 1, "drop_last": True},
    {"batch_size": None},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("given", [False, True])
def test_batches_of_several_passes(options, given):
    def program(library, data):
        generator = library.Generator().manual_seed(5) if given else None
        dataset = data.TensorDataset(library.arange(23))
        made = {"batch_size": 4, **options}
        loader = data.DataLoader(dataset, shuffle=True, num_workers=2, generator=generator, **made)
        return [[batch[0].tolist() for batch in loader] for _ in range(2)]

    assert_same(program)


@pytest.mark.parametrize("options", [{}, {"persistent_workers": True}])
def test_random_numbers_in_workers(options):
    def program(library, data):
        class Draws(data.Dataset):
            def __getitem__(self, index):
                info = data.get_worker_info()
                drawn = random.random(), np.random.rand(), library.rand(1).item()  # noqa: NPY002
                return (info.id, info.num_workers, info.seed, library.get_num_threads(), *drawn)

            def __len__(self):
                return 5

        loader = data.DataLoader(Draws(), batch_size=None, num_workers=2, **options)
        return [list(loader) for _ in range(2)]

    assert_same(program)


@pytest.mark.parametrize(
    "options", [{}, {"drop_last": True}, {"persistent_workers": True}, {"batch_size": None}]
)
def test_streams(options):
    def program(library, data):
        class Sharded(data.IterableDataset):
            def __iter__(self):
                info = data.get_worker_info()
                return iter(range(info.id, 11, info.num_workers + 1))  # of unequal length

        loader = data.DataLoader(Sharded(), num_workers=2, **{"batch_size": 2, **options})
        return [[library.as_tensor(batch).tolist() for batch in loader] for _ in range(2)]

    assert_same(program)


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("bad"), KeyError("k"), UnicodeDecodeError("ascii", b"x", 0, 1, "no")]
)
def test_the_text_of_an_error(error):
    texts = []
    for _, data in LIBRARIES:

        class Failing(data.Dataset):
            def __getitem__(self, index):
                raise error

            def __len__(self):
                return 2

        with pytest.raises(Exception) as raised:
            list(data.DataLoader(Failing(), num_workers=1))
        lines = str(raised.value).splitlines()
        texts.append((raised.type, str(raised.value.args[0]) == str(raised.value), lines[:2], lines[-1]))
    assert texts[0] == texts[1]
