"""Loading data as PyTorch does: the same program runs with both libraries, and all it saw must be equal.

A program is a function of the library and its ``utils.data``; it returns what is made of numbers, text,
lists, dicts and tensors. Where it raises, the type and the text of the error are compared.
"""

import collections
import random
import warnings

import numpy as np
import pytest

import rushlight
from rushlight.utils import data as rushlight_data

torch = pytest.importorskip("torch", reason="needs the conformance extra")
torch_data = pytest.importorskip("torch.utils.data", reason="needs the conformance extra")

LIBRARIES = ((torch, torch_data), (rushlight, rushlight_data))
Point = collections.namedtuple("Point", ["x", "y"])


def plain(value):
    """``value`` with tensors as (dtype, shape, values), so that results of both libraries can be compared."""
    if isinstance(value, torch.Tensor | rushlight.Tensor):
        return (str(value.dtype), tuple(value.shape), value.tolist())
    if isinstance(value, dict):
        return (type(value).__name__, {key: plain(part) for key, part in value.items()})
    if isinstance(value, list | tuple | collections.deque):
        return (type(value).__name__, [plain(part) for part in value])
    return value


def outcome(program, library, data):
    library.manual_seed(1234)
    random.seed(1234)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = plain(program(library, data))
        except Exception as error:  # noqa: BLE001 - whatever a library raises is what is compared
            result = (type(error).__name__, str(error))
    texts = [(warning.category, str(warning.message)) for warning in caught]
    return result, texts, library.get_rng_state().tolist()


def assert_same(program):
    (expected, warned, state), (got, also_warned, own_state) = (outcome(program, *pair) for pair in LIBRARIES)
    assert got == expected
    assert also_warned == warned
    assert own_state == state


def assert_same_error(program):
    """Both raise the same type; Rushlight's text begins with PyTorch's and may go on."""
    (expected, _, _), (got, _, _) = (outcome(program, *pair) for pair in LIBRARIES)
    assert got[0] == expected[0]
    assert got[1].startswith(expected[1])


def tensors(library, count):
    x = library.arange(3 * count).reshape(count, 3)
    return x, library.arange(count)


def loader_epochs(epochs=3, count=23, **options):
    """A program that goes over a shuffled (or not) TensorDataset several times."""

    def program(library, data):
        made = {key: value(library, data) if callable(value) else value for key, value in options.items()}
        loader = data.DataLoader(data.TensorDataset(*tensors(library, count)), **made)
        return [len(loader), [list(loader) for _ in range(epochs)], library.rand(2)]

    return program


def generator(library, data):
    return library.Generator().manual_seed(99)


ORDERS = {
    "in order": {"batch_size": 4},
    "shuffled": {"batch_size": 4, "shuffle": True},
    "shuffled, one by one": {"shuffle": True},
    "shuffled, in one batch": {"batch_size": 100, "shuffle": True},
    "shuffled, last batch dropped": {"batch_size": 4, "shuffle": True, "drop_last": True},
    "shuffled, without batches": {"batch_size": None, "shuffle": True},
    "shuffled, with a generator": {"batch_size": 5, "shuffle": True, "generator": generator},
    "in order, with a generator": {"batch_size": 5, "generator": generator},
    "random subset": {
        "batch_size": 2,
        "sampler": lambda library, data: data.SubsetRandomSampler([3, 1, 4, 15, 9, 2, 6]),
    },
    "random subset, with a generator": {
        "batch_size": 2,
        "sampler": lambda library, data: data.SubsetRandomSampler(
            range(9), generator=generator(library, data)
        ),
    },
    "weighted": {
        "batch_size": 4,
        "sampler": lambda library, data: data.WeightedRandomSampler([0.1 * (i + 1) for i in range(23)], 40),
    },
    "weighted, without replacement": {
        "batch_size": 4,
        "sampler": lambda library, data: data.WeightedRandomSampler(
            [1.0, 2.0, 0.0, 4.0, 0.5], 4, replacement=False
        ),
    },
    "drawn with replacement": {
        "batch_size": 4,
        "sampler": lambda library, data: data.RandomSampler(range(23), replacement=True, num_samples=75),
    },
    "more than one permutation": {
        "batch_size": 4,
        "sampler": lambda library, data: data.RandomSampler(range(23), num_samples=60),
    },
    "an exact multiple": {
        "batch_size": 4,
        "sampler": lambda library, data: data.RandomSampler(range(23), num_samples=46),
    },
    "a batch sampler of one's own": {"batch_sampler": lambda library, data: [[0, 1], [22, -1], [5]]},
    "a batch sampler of shuffled batches": {
        "batch_sampler": lambda library, data: data.BatchSampler(data.RandomSampler(range(10)), 3, True)
    },
}


@pytest.mark.parametrize("name", list(ORDERS))
def test_order_and_batches(name):
    assert_same(loader_epochs(**ORDERS[name]))


@pytest.mark.parametrize("seed", range(5))
def test_order_of_any_size_and_seed(seed):
    rng = random.Random(seed)
    count, batch_size = rng.randrange(1, 300), rng.randrange(1, 40)
    drop_last = rng.random() < 0.5

    def program(library, data):
        library.manual_seed(seed)
        return loader_epochs(4, count, batch_size=batch_size, shuffle=True, drop_last=drop_last)(
            library, data
        )

    assert_same(program)


def test_two_passes_at_once_draw_in_the_same_order():
    def program(library, data):
        loader = data.DataLoader(data.TensorDataset(library.arange(9)), batch_size=2, shuffle=True)
        return list(zip(loader, loader, strict=True))

    assert_same(program)


def test_a_pass_that_is_left_early():
    def program(library, data):
        loader = data.DataLoader(range(10), batch_size=2, shuffle=True)
        first = next(iter(loader))
        iterator = iter(loader)  # draws the seed of the workers, and no order
        return [first, library.rand(1), next(iterator), list(loader)]

    assert_same(program)


@pytest.mark.parametrize(
    "lengths",
    [[7, 3], [10], [0.5, 0.5], [0.33, 0.33, 0.34], [0.05, 0.95], [1 / 3, 1 / 3, 1 / 3], [0, 10], [0.9, 0.1]],
)
@pytest.mark.parametrize("given", [False, True])
def test_random_split(lengths, given):
    def program(library, data):
        options = {"generator": library.Generator().manual_seed(42)} if given else {}
        return [
            (len(part), list(part), part.indices) for part in data.random_split(range(10), lengths, **options)
        ]

    assert_same(program)


def test_a_loader_over_the_parts_of_a_split():
    def program(library, data):
        parts = data.random_split(data.TensorDataset(*tensors(library, 20)), [0.7, 0.3])
        nested = data.Subset(parts[0], [3, 1, 2, -1])
        return [list(data.DataLoader(part, batch_size=3, shuffle=True)) for part in (*parts, nested)]

    assert_same(program)


BATCHES = {
    "ints": [1, 2],
    "bools": [True, False],
    "floats": [0.5, 2],
    "ints and floats": [1, 2.5],
    "text": ["a", "b"],
    "bytes": [b"a", b"b"],
    "dicts": [{"a": 1, "b": (0.5, "x")}, {"a": 2, "b": (1.5, "y")}],
    "default dicts": [collections.defaultdict(int, {"a": 1}), {"a": 2}],
    "named tuples": [Point(1, 2.0), Point(3, 4.0)],
    "lists": [[1, 2], [3, 4]],
    "deques": [collections.deque([1, 2]), collections.deque([3, 4])],
    "ranges": [range(2), range(2)],
    "a tuple of samples": ((1, "a"), (2, "b")),
    "arrays": [np.zeros((2, 2), np.float32), np.ones((2, 2), np.float32)],
    "array scalars": [np.float32(1), np.float32(2)],
    "array doubles": [np.float64(1), np.float64(2)],
    "array ints": [np.int8(1), np.int8(2)],
    "array bools": [np.bool_(True), np.bool_(False)],
    "0-d arrays": [np.array(1.5), np.array(2.5)],
    "one array": np.zeros((2, 3), np.int64),
    "unequal lengths": [(1, 2), (3,)],
    "unequal shapes": [np.zeros(2), np.zeros(3)],
    "text arrays": [np.array("a"), np.array("b")],
    "None": [None, None],
    "sets": [{1}, {2}],
    "complex": [1j],
    "no samples": [],
    "missing keys": [{"a": 1}, {"b": 1}],
}


@pytest.mark.parametrize("name", list(BATCHES))
def test_default_collate(name):
    def program(library, data):
        return data.default_collate(BATCHES[name])

    (expected, _, _), (got, _, _) = (outcome(program, *pair) for pair in LIBRARIES)
    assert got[0] == expected[0]
    if isinstance(expected[1], str):
        assert got[1].startswith(expected[1])
    else:
        assert got == expected


@pytest.mark.parametrize("name", list(BATCHES))
def test_default_convert(name):
    assert_same(lambda library, data: [type(data.default_convert(BATCHES[name])).__name__])
    if name not in ("sets", "text arrays"):
        assert_same(lambda library, data: data.default_convert(BATCHES[name]))


def test_default_collate_of_tensors():
    def program(library, data):
        samples = [
            (library.ones(2, dtype=library.int8), library.tensor(True)),
            (library.zeros(2), library.tensor(False)),
        ]
        return [data.default_collate(samples), data.default_collate([x for x, _ in samples])]

    assert_same(program)


class Squares:
    def __getitem__(self, index):
        return index**2

    def __len__(self):
        return 7


def streams(data):
    """IterableDatasets made for either library: one of known length, one of a wrong one."""

    class Stream(data.IterableDataset):
        length = 7

        def __iter__(self):
            return iter(range(7))

        def __len__(self):
            return self.length

        def __repr__(self):
            return "Stream()"

    class Short(Stream):
        length = 3

    return Stream(), Short()


@pytest.mark.parametrize(
    "options",
    [{"batch_size": 3}, {"batch_size": 3, "drop_last": True}, {"batch_size": None}, {}, {"batch_size": 7}],
)
def test_streams_lengths_and_the_warning_about_them(options):
    def program(library, data):
        result = []
        for stream in streams(data):
            loader = data.DataLoader(stream, **options)
            result += [list(loader), len(loader), list(loader)]
        return result

    assert_same(program)


def test_combined_datasets():
    def program(library, data):
        dataset = data.TensorDataset(*tensors(library, 4))
        concat = data.ConcatDataset([dataset, dataset, data.Subset(dataset, [2])])
        stacked = data.StackDataset(dataset, range(4))
        named = data.StackDataset(a=data.Subset(Squares(), [6, 5, 4, 3]), b=dataset)
        chain = streams(data)[0] + streams(data)[1]
        results = [len(concat), concat[-1], concat[5], concat.cumulative_sizes, type(concat).__name__]
        results += [len(stacked), stacked[1], named[2], len(chain), list(chain)]
        return results + [list(data.DataLoader(each, 3)) for each in (concat, stacked, named, chain)]

    assert_same(program)


def without_length(data):
    class Endless(data.IterableDataset):
        def __iter__(self):
            return iter(range(3))

    return Endless()


ERRORS = {
    "num_workers below 0": lambda t, d: d.DataLoader([1], num_workers=-1),
    "timeout below 0": lambda t, d: d.DataLoader([1], timeout=-1),
    "timeout without workers": lambda t, d: iter(d.DataLoader([1], timeout=1)),
    "prefetch without workers": lambda t, d: d.DataLoader([1], prefetch_factor=2),
    "prefetch below 0": lambda t, d: d.DataLoader([1], num_workers=1, prefetch_factor=-1),
    "persistent without workers": lambda t, d: d.DataLoader([1], persistent_workers=True),
    "context without workers": lambda t, d: d.DataLoader([1], multiprocessing_context="fork"),
    "unknown context": lambda t, d: d.DataLoader([1], num_workers=1, multiprocessing_context="knife"),
    "context of a wrong type": lambda t, d: d.DataLoader([1], num_workers=1, multiprocessing_context=3),
    "sampler and shuffle": lambda t, d: d.DataLoader([1], sampler=[0], shuffle=True),
    "batch sampler and batch size": lambda t, d: d.DataLoader([1], batch_sampler=[[0]], batch_size=2),
    "batch sampler and shuffle": lambda t, d: d.DataLoader([1], batch_sampler=[[0]], shuffle=True),
    "batch sampler and drop last": lambda t, d: d.DataLoader([1], batch_sampler=[[0]], drop_last=True),
    "no batches and drop last": lambda t, d: d.DataLoader([1], batch_size=None, drop_last=True),
    "batch size 0": lambda t, d: d.DataLoader([1], batch_size=0),
    "batch size a float": lambda t, d: d.DataLoader([1], batch_size=2.0),
    "batch size a bool": lambda t, d: d.DataLoader([1], batch_size=True),
    "drop last a number": lambda t, d: d.DataLoader([1], drop_last=1),
    "shuffled stream": lambda t, d: d.DataLoader(without_length(d), shuffle=True),
    "stream with a sampler": lambda t, d: d.DataLoader(without_length(d), sampler=[0]),
    "stream with a batch sampler": lambda t, d: d.DataLoader(without_length(d), batch_sampler=[[0]]),
    "length of a stream without one": lambda t, d: len(d.DataLoader(without_length(d))),
    "nothing to shuffle": lambda t, d: d.DataLoader([], shuffle=True),
    "changing the batch size": lambda t, d: setattr(d.DataLoader([1]), "batch_size", 2),
    "changing the dataset": lambda t, d: setattr(d.DataLoader([1]), "dataset", [2]),
    "an index beyond the end": lambda t, d: list(
        d.DataLoader(d.TensorDataset(t.arange(3)), batch_sampler=[[0, 3]])
    ),
    "sizes of tensors": lambda t, d: d.TensorDataset(t.zeros(2), t.zeros(3)),
    "lengths of a stack": lambda t, d: d.StackDataset([1], [1, 2]),
    "a stack of nothing": lambda t, d: d.StackDataset(),
    "a stack of both kinds": lambda t, d: d.StackDataset([1], a=[1]),
    "concatenating nothing": lambda t, d: d.ConcatDataset([]),
    "concatenating a stream": lambda t, d: d.ConcatDataset([without_length(d)]),
    "an index before the start": lambda t, d: d.ConcatDataset([[1, 2]])[-3],
    "chaining a list": lambda t, d: list(d.ChainDataset([[1]])),
    "length of a chain with a list": lambda t, d: len(d.ChainDataset([[1]])),
    "an abstract stream": lambda t, d: d.IterableDataset(),
    "an abstract dataset": lambda t, d: d.Dataset()[0],
    "an abstract sampler": lambda t, d: iter(d.Sampler()),
    "a split that does not add up": lambda t, d: d.random_split([1, 2], [1, 2]),
    "a fraction above 1": lambda t, d: d.random_split([1, 2], [1.5, -0.5]),
    "replacement of a wrong type": lambda t, d: d.RandomSampler([1], replacement=1),
    "no samples": lambda t, d: d.RandomSampler([1], num_samples=0),
    "samples a float": lambda t, d: d.RandomSampler([1], num_samples=1.5),
    "drawing from nothing": lambda t, d: list(d.RandomSampler([], replacement=True, num_samples=2)),
    "permuting nothing": lambda t, d: list(d.RandomSampler([], num_samples=2)),
    "weights of two dimensions": lambda t, d: d.WeightedRandomSampler([[1.0]], 1),
    "weights without samples": lambda t, d: d.WeightedRandomSampler([1.0], 0),
    "weights, replacement of a wrong type": lambda t, d: d.WeightedRandomSampler([1.0], 1, replacement=1),
    "too few weights": lambda t, d: list(d.WeightedRandomSampler([1.0, 0.0], 3, replacement=False)),
}


@pytest.mark.parametrize("name", list(ERRORS))
def test_errors(name):
    assert_same_error(ERRORS[name])


def test_a_subset_that_overrides_only_one_of_its_two_ways_in():
    def program(library, data):
        class Doubled(data.Subset):
            def __getitem__(self, index):
                return 2 * super().__getitem__(index)

        return Doubled([1, 2], [0])

    assert_same_error(program)


def test_names_are_those_of_pytorch():
    missing = {
        "DistributedSampler",
        "DFIterDataPipe",
        "DataChunk",
        "IterDataPipe",
        "MapDataPipe",
        "_DatasetKind",
    }
    missing |= {"argument_validation", "functional_datapipe", "guaranteed_datapipes_determinism"}
    missing |= {"non_deterministic", "runtime_validation", "runtime_validation_disabled"}
    assert set(rushlight_data.__all__) == set(torch_data.__all__) - missing
