"""Reading and writing by index: memory, cost, errors that help, and gathers that repeat places."""

import numpy as np
import pytest

import rushlight as torch


@pytest.fixture
def x():
    return torch.arange(24.0).view(2, 3, 4).clone()


def test_basic_indices_are_views_and_others_copies(x):
    for index in (0, slice(1, None), (..., 0), (None, 0), (slice(None), 1, slice(None, None, 2)), ..., ()):
        assert np.shares_memory(x[index]._array, x._array)
    for index in ([0, 1], torch.tensor([0]), x > 3, (0, [1, 2]), True):
        assert not np.shares_memory(x[index]._array, x._array)


def test_picks_keep_their_place_only_if_adjacent(x):
    i = torch.tensor([0, 1, 1, 0, 1])
    assert x[:, i, i].shape == (2, 5)
    assert x[i, :, i].shape == (5, 3)
    assert x[0, :, i].shape == (3, 5)


def test_one_row_is_written_without_touching_the_rest(monkeypatch):
    x = torch.zeros(1000, 8)
    copied = []
    real = np.copyto
    monkeypatch.setattr(np, "copyto", lambda *args, **kwargs: (copied.append(args), real(*args, **kwargs)))
    x[torch.tensor([3, 5])] = torch.ones(2, 8)
    x[7] = 2.0
    x.index_add_(0, torch.tensor([9]), torch.ones(1, 8))
    x.scatter_(0, torch.full((1, 8), 11), 4.0)
    assert copied == []
    assert x.sum() == 16 + 16 + 8 + 32


def test_swapping_rows():
    x = torch.arange(6).view(3, 2).clone()
    x[0], x[2] = x[2].clone(), x[0].clone()
    assert x.tolist() == [[4, 5], [2, 3], [0, 1]]
    x[1] = x[0]
    assert x.tolist() == [[4, 5], [4, 5], [0, 1]]


def test_repeated_places_accumulate_in_gradients():
    table = torch.zeros(3, 2, requires_grad=True)
    table[torch.tensor([[0, 2], [0, 0]])].sum().backward()
    assert table.grad.tolist() == [[3.0, 3.0], [0.0, 0.0], [1.0, 1.0]]


def test_picking_one_class_for_each_row():
    scores = torch.arange(6.0).view(3, 2).requires_grad_()
    picked = scores[torch.arange(3), torch.tensor([1, 0, -1])]
    assert picked.tolist() == [1.0, 2.0, 5.0]
    (picked * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert scores.grad.tolist() == [[0.0, 1.0], [2.0, 0.0], [0.0, 3.0]]


def test_changing_an_index_in_place_is_noticed():
    x = torch.zeros(3, requires_grad=True)
    index = torch.tensor([0, 1])
    y = x[index]
    index.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_the_indexed_tensor_itself_may_change():
    leaf = torch.ones(3, requires_grad=True)
    x = leaf * 1
    y = x[torch.tensor([0, 1])]
    x.mul_(5)
    y.sum().backward()
    assert leaf.grad.tolist() == [1.0, 1.0, 0.0]


def test_a_mask_write_is_differentiable():
    leaf = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    value = torch.tensor(5.0, requires_grad=True)
    x = leaf * 1
    x[x < 0] = value
    x.sum().backward()
    assert leaf.grad.tolist() == [1.0, 0.0, 1.0]
    assert value.grad == 1


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (lambda x: x[2], "index 2 is out of bounds for dimension 0 with size 2"),
        (lambda x: x[0, 1, 2, 3], "too many indices for tensor of dimension 3"),
        (lambda x: x[:, torch.tensor([5])], "index 5 is out of bounds for dimension 0 with size 3"),
        (
            lambda x: x[torch.tensor([0, 1]), torch.tensor([0, 1, 2])],
            "shape mismatch: indexing tensors could not be",
        ),
        (
            lambda x: x[torch.zeros(3, dtype=torch.bool)],
            r"The shape of the mask \[3\] at index 0 does not match",
        ),
        (lambda x: x[1.0], r"only integers, slices .* are valid indices \(got float\)"),
        (lambda x: x[torch.tensor([1.0])], "tensors used as indices must be long, int, byte or bool tensors"),
    ],
)
def test_wrong_indices(x, read, text):
    with pytest.raises(IndexError, match=text):
        read(x)


def test_steps_must_be_positive(x):
    with pytest.raises(ValueError, match="step must be greater than zero"):
        x[::-1]
    with pytest.raises(ValueError, match="step must be greater than zero"):
        x[::-1] = 0


def test_nothing_is_written_when_an_index_is_wrong():
    x = torch.zeros(3)
    for write in (
        lambda: x.scatter_(0, torch.tensor([0, 7]), 1.0),
        lambda: x.index_add_(0, torch.tensor([0, 7]), torch.ones(2)),
        lambda: x.index_copy_(0, torch.tensor([0, 7]), torch.ones(2)),
        lambda: x.put_(torch.tensor([0, 7]), torch.ones(2)),
        lambda: x.__setitem__(torch.tensor([0, 7]), 1.0),
    ):
        with pytest.raises((IndexError, RuntimeError), match="7"):
            write()
    assert x.tolist() == [0.0, 0.0, 0.0]
    assert x._version == 0


def test_padding_row_gets_no_gradient():
    table = torch.ones(3, 2, requires_grad=True)
    torch.embedding(table, torch.tensor([0, 1, 1]), padding_idx=1).sum().backward()
    assert table.grad.tolist() == [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]


def test_embedding_names_the_wrong_row():
    with pytest.raises(IndexError, match=r"index out of range in self.*no row 3 in a table of 3 rows"):
        torch.embedding(torch.zeros(3, 2), torch.tensor([3]))


def test_sparse_gradients_are_refused_by_name():
    with pytest.raises(NotImplementedError, match="sparse"):
        torch.embedding(torch.zeros(3, 2), torch.tensor([0]), sparse=True)
    with pytest.raises(NotImplementedError, match="sparse_grad"):
        torch.zeros(3).gather(0, torch.tensor([0]), sparse_grad=True)


def test_iteration_unpacks_rows(x):
    first, second = x
    assert torch.equal(first, x[0])
    assert torch.equal(second, x[1])
    assert [row.tolist() for row in torch.tensor([[1], [2]])] == [[1], [2]]
