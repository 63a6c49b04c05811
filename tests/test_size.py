"""Size: a tuple of integers whose slices, sums and multiples are Sizes."""

import copy
import pickle

import numpy as np
import pytest

from rushlight.size import Size


def test_it_is_a_tuple():
    size = Size([2, 3])
    assert size == (2, 3)
    assert hash(size) == hash((2, 3))
    assert isinstance(size, tuple)
    assert {size: "found"}[(2, 3)] == "found"


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (Size(), "torch.Size([])"),
        (Size(range(2, 4)), "torch.Size([2, 3])"),
        (Size([True, np.int64(3)]), "torch.Size([1, 3])"),
        (Size([2, 3, 4])[1:], "torch.Size([3, 4])"),
        (Size([2]) + (3,), "torch.Size([2, 3])"),
        ((1,) + Size([2]), "torch.Size([1, 2])"),
        (Size([2]) * 3, "torch.Size([2, 2, 2])"),
        (Size([2]) * np.int64(2), "torch.Size([2, 2])"),
        (copy.deepcopy(Size([5])), "torch.Size([5])"),
        (pickle.loads(pickle.dumps(Size([5, 6]))), "torch.Size([5, 6])"),
    ],
)
def test_results_are_sizes(made, text):
    assert type(made) is Size
    assert repr(made) == text


def test_items_are_plain_integers():
    assert type(Size([np.int64(3)])[0]) is int


def test_numel():
    assert Size([2, 3, 4]).numel() == 24
    assert Size().numel() == 1
    assert Size([4, 0]).numel() == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Size([2, 2.5]), r"torch\.Size\(\) takes an iterable of 'int' \(item 1 is 'float'\)"),
        (lambda: Size([np.float32(1)]), r"item 0 is 'numpy\.float32'"),
        (lambda: Size("ab"), r"item 0 is 'str'"),
        (lambda: Size(3), r"'int' object is not iterable"),
        (lambda: Size([2]) + [3], r"can only concatenate tuple \(not list\) to torch\.Size"),
        (lambda: Size([2]) + 3, r"can only concatenate tuple \(not int\) to torch\.Size"),
        (lambda: Size([2]) + (2.5,), r"item 1 is 'float'"),
        (lambda: Size([2]) * 1.5, r"unsupported operand"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_arrays_add_and_multiply_numbers():
    assert (Size([2, 3]) + np.array([1, 1])).tolist() == [3, 4]
    assert (Size([2, 3]) * np.array([2, 2])).tolist() == [4, 6]
