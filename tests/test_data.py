"""Datasets, samplers and the DataLoader in this process: batches at once, lengths, options and errors."""

import collections
import pickle
import warnings

import numpy as np
import pytest

import rushlight as torch
from rushlight.data import collate
from rushlight.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    default_collate,
    default_convert,
    get_worker_info,
    random_split,
)


class Counted(TensorDataset):
    """A TensorDataset that counts how often samples are asked for one by one."""

    def __init__(self, *tensors):
        super().__init__(*tensors)
        self.asked = 0

    def __getitem__(self, index):
        self.asked += 1
        return super().__getitem__(index)


def dataset(count=10):
    return TensorDataset(torch.arange(2.0 * count).reshape(count, 2), torch.arange(count))


def no_items(monkeypatch):
    """Make asking a TensorDataset for a single sample an error."""

    def refuse(self, index):
        raise AssertionError("a sample was asked for by itself")

    monkeypatch.setattr(TensorDataset, "__getitem__", refuse)


def lists(batches):
    return [[part.tolist() for part in batch] for batch in batches]


@pytest.mark.parametrize("make", [dataset, lambda: Subset(Subset(dataset(), range(1, 9)), [0, 5, 2, -1])])
def test_a_tensor_dataset_is_indexed_once_a_batch(monkeypatch, make):
    one_by_one = lists(DataLoader(make(), 3, collate_fn=lambda samples: default_collate(samples)))
    no_items(monkeypatch)
    at_once = list(DataLoader(make(), 3))
    assert lists(at_once) == one_by_one
    assert all(type(batch) is list for batch in at_once)
    assert [part.dtype for part in at_once[0]] == [torch.float32, torch.int64]


def test_a_batch_at_once_is_a_copy():
    data = dataset()
    next(iter(DataLoader(data, 2)))[0].zero_()
    assert data.tensors[0][0].tolist() == [0.0, 1.0] and data.tensors[0][1].tolist() == [2.0, 3.0]


def test_an_overridden_getitem_is_used():
    data = Counted(torch.arange(4))
    assert lists(DataLoader(data, 3)) == [[[0, 1, 2]], [[3]]]
    assert data.asked == 4


def test_an_overridden_getitems_is_used():
    class Reversed(TensorDataset):
        def __getitems__(self, indices):
            return [self[index] for index in reversed(indices)]

    assert lists(DataLoader(Reversed(torch.arange(4)), 3)) == [[[2, 1, 0]], [[3]]]


def test_a_collate_function_of_ones_own_gets_samples():
    batches = list(DataLoader(dataset(3), 2, collate_fn=lambda samples: [type(sample) for sample in samples]))
    assert batches == [[tuple, tuple], [tuple]]


def test_an_extended_collate_map_is_used(monkeypatch):
    monkeypatch.setitem(
        collate.default_collate_fn_map, torch.Tensor, lambda batch, *, collate_fn_map: f"{len(batch)} tensors"
    )
    assert list(DataLoader(dataset(3), 2)) == [["2 tensors", "2 tensors"], ["1 tensors", "1 tensors"]]


def test_tensors_that_require_grad_keep_their_graph():
    x = torch.ones(4, requires_grad=True)
    (batch,) = next(iter(DataLoader(TensorDataset(x), 3)))
    batch.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("indices", [[0, 10], [-11]])
def test_an_index_out_of_range_is_the_tensors_own_error(indices):
    with pytest.raises(IndexError, match="out of bounds for dimension 0 with size 10"):
        list(DataLoader(dataset(), batch_sampler=[indices]))


def test_indices_may_be_tensors_arrays_or_negative():
    sampler = [torch.tensor([0, 1]), np.array([2, -1]), (5,)]
    assert [batch[1].tolist() for batch in DataLoader(dataset(), batch_sampler=sampler)] == [
        [0, 1],
        [2, 9],
        [5],
    ]


def test_a_list_is_a_dataset():
    assert [batch.tolist() for batch in DataLoader([5, 6, 7], batch_size=2)] == [[5, 6], [7]]
    assert list(DataLoader(["a", "b"], batch_size=2)) == [["a", "b"]]


def test_keys_may_be_anything_with_a_sampler():
    data = {"a": 1, "b": 2}
    assert list(DataLoader(data, batch_size=None, sampler=["b", "a"])) == [2, 1]


def test_without_batches_samples_come_as_they_are():
    loader = DataLoader([(np.array([1]), "a")], batch_size=None)
    ((array, text),) = loader
    assert array.tolist() == [1] and isinstance(array, torch.Tensor) and text == "a"


@pytest.mark.parametrize(
    ("count", "options", "length"),
    [
        (10, {"batch_size": 3}, 4),
        (10, {"batch_size": 3, "drop_last": True}, 3),
        (10, {"batch_size": 5}, 2),
        (10, {"batch_size": None}, 10),
        (10, {"batch_size": 4, "sampler": [1, 2, 3, 4, 5]}, 2),
        (10, {"batch_sampler": [[1], [2], [3]]}, 3),
        (0, {"batch_size": 3}, 0),
    ],
)
def test_lengths(count, options, length):
    loader = DataLoader(range(count), **options)
    assert len(loader) == length == len(list(loader))
    assert len(iter(loader)) == length


def test_a_seed_decides_the_order():
    def order():
        torch.manual_seed(7)
        return [batch.tolist() for batch in DataLoader(range(10), 3, shuffle=True)]

    first = order()
    assert first == order()
    assert sorted(index for batch in first for index in batch) == list(range(10))


def test_a_generator_leaves_the_default_one_alone():
    torch.manual_seed(0)
    expected = torch.rand(1).item()
    torch.manual_seed(0)
    list(DataLoader(range(10), 3, shuffle=True, generator=torch.Generator().manual_seed(1)))
    assert torch.rand(1).item() == expected


def test_each_pass_has_an_order_of_its_own():
    loader = DataLoader(range(50), batch_size=50, shuffle=True)
    assert next(iter(loader)).tolist() != next(iter(loader)).tolist()


class Stream(IterableDataset):
    def __init__(self, count, length=None):
        self.count = count
        self.length = length

    def __iter__(self):
        return iter(range(self.count))

    def __len__(self):
        if self.length is None:
            raise TypeError("this stream has no length")
        return self.length


def test_streams():
    loader = DataLoader(Stream(5), batch_size=2)
    assert [batch.tolist() for batch in loader] == [[0, 1], [2, 3], [4]]
    assert [batch.tolist() for batch in DataLoader(Stream(5), batch_size=2, drop_last=True)] == [
        [0, 1],
        [2, 3],
    ]
    with pytest.raises(TypeError, match="no length"):
        len(loader)


def test_a_stream_longer_than_it_said_warns_if_its_length_was_asked_for():
    loader = DataLoader(Stream(5, length=2))
    assert len(list(loader)) == 5
    assert len(loader) == 2
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(loader)
    assert len(caught) == 3
    assert "was reported to be 2" in str(caught[0].message)
    assert "but 3 samples have been fetched" in str(caught[0].message)


def test_pinning_memory_warns_that_it_does_nothing():
    with pytest.warns(UserWarning, match="no accelerator is found"):
        assert len(list(DataLoader([1, 2], pin_memory=True))) == 2


def test_a_deprecated_pinning_device_is_named():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(DataLoader([1], pin_memory=True, pin_memory_device="cuda"))
    assert "ignore pin_memory_device='cuda'" in str(caught[0].message)


@pytest.mark.parametrize("name", ["batch_size", "batch_sampler", "sampler", "drop_last", "dataset"])
def test_what_decides_the_batches_cannot_be_changed(name):
    with pytest.raises(
        ValueError, match=f"{name} attribute should not be set after DataLoader is initialized"
    ):
        setattr(DataLoader([1]), name, None)


def test_other_options_can_be_changed():
    loader = DataLoader([1, 2], batch_size=2)
    loader.collate_fn = sum
    assert list(loader) == [3]


def test_this_process_is_no_worker():
    assert get_worker_info() is None


def test_an_iterator_cannot_be_pickled():
    with pytest.raises(NotImplementedError):
        pickle.dumps(iter(DataLoader([1])))


def test_tensor_datasets_of_unequal_sizes_say_which():
    with pytest.raises(
        AssertionError, match="Size mismatch between tensors: their first dimensions are 2, 3"
    ):
        TensorDataset(torch.zeros(2), torch.zeros(3))


def test_random_split_covers_everything_once():
    parts = random_split(range(100), [0.2, 0.3, 0.5])
    assert [len(part) for part in parts] == [20, 30, 50]
    assert sorted(index for part in parts for index in part.indices) == list(range(100))


def test_random_split_warns_of_an_empty_part():
    with pytest.warns(UserWarning, match="Length of split at index 1 is 0"):
        random_split(range(2), [1.0, 0.0])


def test_random_split_says_what_the_lengths_sum_to():
    with pytest.raises(ValueError, match=r"The lengths \[1, 2\] sum to 3, the dataset has 2 samples"):
        random_split(range(2), [1, 2])


def test_adding_datasets():
    class Letters(Dataset):
        def __getitem__(self, index):
            return "abc"[index]

        def __len__(self):
            return 3

    both = Letters() + Letters()
    assert isinstance(both, ConcatDataset)
    assert [both[i] for i in range(6)] == list("abcabc") and both[-1] == "c"
    with pytest.raises(ValueError, match="absolute value of index should not exceed dataset length"):
        both[-7]


def test_samplers_follow_a_dataset_that_grows():
    data = [1, 2, 3]
    sampler, shuffled = SequentialSampler(data), RandomSampler(data)
    data.append(4)
    assert list(sampler) == [0, 1, 2, 3] and len(shuffled) == 4 and sorted(shuffled) == [0, 1, 2, 3]


def test_a_batch_sampler_takes_any_iterable():
    assert list(BatchSampler(iter("abcde"), 2, False)) == [["a", "b"], ["c", "d"], ["e"]]
    assert list(BatchSampler(iter("abcde"), 2, True)) == [["a", "b"], ["c", "d"]]


Point = collections.namedtuple("Point", ["x", "y"])


def test_default_collate_keeps_structure():
    batch = default_collate([Point(1, {"z": [0.5, "a"]}), Point(2, {"z": [1.5, "b"]})])
    assert type(batch) is Point and batch.x.tolist() == [1, 2]
    floats, text = batch.y["z"]
    assert floats.dtype == torch.float64 and floats.tolist() == [0.5, 1.5] and text == ("a", "b")


def test_default_collate_names_the_type_it_cannot_use():
    with pytest.raises(
        TypeError, match="must contain tensors, numpy arrays, numbers, dicts or lists; found <class 'set'>"
    ):
        default_collate([{1}])
    with pytest.raises(RuntimeError, match=r"should be of equal size: the lengths are \[2, 1\]"):
        default_collate([(1, 2), (3,)])


def test_default_convert_changes_arrays_only():
    converted = default_convert({"a": np.array([1]), "b": (np.float32(2), "c"), "d": np.array(["e"])})
    assert isinstance(converted["a"], torch.Tensor)
    assert type(converted["b"]) is list and converted["b"][0].item() == 2 and converted["b"][1] == "c"
    assert isinstance(converted["d"], np.ndarray)
