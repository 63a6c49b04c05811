"""Views, joins, copies and writes: what they promise about memory, history and cost."""

import numpy as np
import pytest

import rushlight as torch
from rushlight.ops import full_table
from rushlight.ops.accumulate import add_rows
from rushlight.storage import owner_of, storage_of, strided


def shares(view, base):
    return np.shares_memory(view._array, base._array)


VIEWS = {
    "view": lambda x: x.view(3, 8),
    "reshape": lambda x: x.reshape(-1),
    "flatten": lambda x: x.flatten(),
    "unflatten": lambda x: x.unflatten(2, (2, 2)),
    "expand": lambda x: x.expand(5, 2, 3, 4),
    "squeeze": lambda x: x[:, :1].squeeze(),
    "unsqueeze": lambda x: x.unsqueeze(0),
    "transpose": lambda x: x.transpose(0, 2),
    "permute": lambda x: x.permute(2, 0, 1),
    "movedim": lambda x: x.movedim(0, -1),
    "mT": lambda x: x.mT,
    "select": lambda x: x.select(1, 2),
    "narrow": lambda x: x.narrow(2, 1, 2),
    "diagonal": lambda x: x.diagonal(1, 1, 2),
    "unfold": lambda x: x.unfold(2, 2, 1),
    "as_strided": lambda x: x.as_strided((3, 3), (1, 4), 2),
    "unbind": lambda x: x.unbind(1)[2],
    "split": lambda x: x.split(2, 1)[1],
    "tensor_split": lambda x: x.tensor_split(2, 2)[1],
    "index": lambda x: x[1, ..., None, ::2],
    "detach": lambda x: x.detach(),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_share_memory_and_version(name):
    x = torch.arange(24.0).view(2, 3, 4).clone()
    view = VIEWS[name](x)
    assert shares(view, x)
    assert owner_of(view._array) is owner_of(x._array)
    before = x._version
    x.add_(1)
    assert view._version == before + 1
    assert np.array_equal(view._array, VIEWS[name](x)._array)


@pytest.mark.parametrize(
    "name", [name for name in VIEWS if name not in ("expand", "unfold", "unbind", "split", "detach")]
)
def test_gradients_follow_a_write_through_a_view(name):
    leaf = torch.arange(24.0).view(2, 3, 4).requires_grad_()
    x = leaf * 1
    VIEWS[name](x).mul_(3)
    x.sum().backward()
    expected = torch.ones(2, 3, 4)
    VIEWS[name](expected).fill_(3)
    assert torch.equal(leaf.grad, expected)


def test_parts_of_one_node():
    x = torch.arange(6.0).view(3, 2).requires_grad_() * 1
    rows = x.unbind()
    assert len({id(row.grad_fn) for row in rows}) == 1
    assert [row.output_nr for row in rows] == [0, 1, 2]


def test_gradient_of_many_parts_takes_linear_memory(monkeypatch):
    made = []
    real = np.zeros

    def counting(shape, *args, **kwargs):
        made.append(int(np.prod(shape)))
        return real(shape, *args, **kwargs)

    x = torch.zeros(400, 50, requires_grad=True)
    total = sum(row.sum() for row in x)
    monkeypatch.setattr(np, "zeros", counting)
    total.backward()
    monkeypatch.undo()
    assert torch.equal(x.grad, torch.ones(400, 50))
    assert sum(made) <= 2 * x.numel()


def test_parts_may_not_be_changed_in_place():
    x = torch.zeros(4, requires_grad=True) * 1
    for part in (x.split(2)[0], x.unbind()[1], x.chunk(2)[1]):
        with pytest.raises(RuntimeError, match="is a view and is being modified inplace"):
            part.add_(1)
    x.tensor_split(2)[0].add_(1)


def test_reshape_copies_only_when_it_must():
    x = torch.arange(6.0).view(2, 3)
    assert shares(x.t().reshape(3, 1, 2), x)
    copied = x.t().reshape(-1)
    assert not shares(copied, x)
    assert not copied._is_view()


def test_view_tells_the_strides_it_stumbled_over():
    with pytest.raises(RuntimeError, match=r"view size is not compatible.*\[1, 3\]"):
        torch.zeros(2, 3).t().view(6)


def test_expanded_dimensions_have_no_stride_and_refuse_writes():
    x = torch.zeros(3, 1).expand(3, 4)
    assert x.stride() == (1, 0)
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        x.add_(1)


def test_contiguous_returns_the_tensor_itself():
    x = torch.zeros(2, 3)
    assert x.contiguous() is x
    assert x.t().contiguous().stride() == (2, 1)
    assert x.to(torch.float32) is x
    assert x.float() is x
    assert x.to(x.dtype, copy=True) is not x


def test_view_as_bytes():
    x = torch.tensor([1.0, -2.0])
    bits = x.view(torch.int32)
    assert bits.tolist() == [0x3F800000, -0x40000000]
    bits[0] = 0x40000000
    assert x.tolist() == [2.0, -2.0]


def test_changing_shape_in_place_keeps_the_history():
    leaf = torch.arange(6.0).view(2, 3).requires_grad_()
    x = leaf * 2
    x.t_().unsqueeze_(0).squeeze_(0).transpose_(0, 1)
    assert x.shape == (2, 3)
    (x * torch.arange(6.0).view(2, 3)).sum().backward()
    assert torch.equal(leaf.grad, 2 * torch.arange(6.0).view(2, 3))
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        leaf.t_()


def test_clone_of_an_expanded_tensor_is_row_major():
    assert torch.zeros(4).expand(3, 4).clone().stride() == (4, 1)
    assert torch.zeros(2, 3).t().clone().stride() == (1, 3)


def test_cat_skips_old_style_empty_tensors():
    x = torch.ones(2, 3)
    assert torch.equal(torch.cat([torch.empty(0), x, x], 1), torch.ones(2, 6))


def test_cat_error_lists_the_shapes():
    with pytest.raises(
        RuntimeError, match=r"Sizes of tensors must match.*tensor number 1.*\[\[2, 3\], \[2, 4\]\]"
    ):
        torch.cat([torch.zeros(2, 3), torch.zeros(2, 4)])


def test_out_is_resized_with_a_warning_unless_empty():
    empty = torch.empty(0)
    assert torch.cat([torch.ones(2), torch.ones(1)], out=empty) is empty
    assert empty.tolist() == [1.0, 1.0, 1.0]
    with pytest.warns(UserWarning, match="An output with one or more elements was resized"):
        torch.cat([torch.ones(2), torch.ones(1)], out=torch.zeros(7))


def test_resize_keeps_the_storage():
    x = torch.arange(6)
    view = x.view(2, 3)
    x.resize_(2, 2)
    assert x.tolist() == [[0, 1], [2, 3]]
    view[0, 0] = 9
    assert x[0, 0] == 9
    x.resize_(10)
    assert x[:6].tolist() == [9, 1, 2, 3, 4, 5]
    with pytest.raises(RuntimeError, match="cannot resize variables that require grad"):
        torch.zeros(2, requires_grad=True).resize_(3)


def test_set_shows_other_memory():
    source = torch.arange(6.0)
    x = torch.zeros(2).set_(source, 1, (2, 2), (2, 1))
    assert x.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert shares(x, source)
    with pytest.raises(RuntimeError, match="Could not set tensor of type long int to a tensor of type float"):
        x.set_(torch.arange(3))


def test_fill_refuses_what_does_not_fit():
    with pytest.raises(RuntimeError, match="value cannot be converted to type int8_t without overflow"):
        torch.zeros(2, dtype=torch.int8).fill_(300)
    assert torch.zeros(2, dtype=torch.uint8).fill_(-1).tolist() == [255, 255]


def test_other_devices_are_refused():
    with pytest.raises(AssertionError, match="Torch not compiled with CUDA enabled"):
        torch.zeros(2).cuda()
    with pytest.raises(AssertionError, match="Torch not compiled with CUDA enabled"):
        torch.zeros(2).to("cuda")
    assert torch.zeros(2).to("cpu", torch.int64).dtype is torch.int64


def test_storage_is_found_behind_any_view():
    owner = np.arange(24).reshape(2, 3, 4)
    window = owner.transpose(2, 0, 1)[1:, :, ::2]
    assert storage_of(window).tolist() == list(range(24))
    again = strided(window, (2,), (8,))
    assert again.tolist() == [1, 2]
    assert owner_of(again) is owner_of(owner)


@pytest.mark.parametrize("width", [1, 3, 40])
@pytest.mark.parametrize(("rows", "count"), [(5, 8), (5, 2000), (300, 40), (40_000, 300)])
def test_rows_are_added_exactly_and_the_same_each_time(rows, count, width):
    rng = np.random.default_rng(0)
    index = np.minimum(rng.zipf(1.5, count), rows) - 1
    source = rng.integers(-8, 8, (count, width)).astype(np.float32)
    expected = np.zeros((rows, width), np.float32)
    np.add.at(expected, index, source)
    results = []
    for layout in ("C", "F"):
        target = np.zeros((rows, width), np.float32, order=layout)
        add_rows(target, index, source)
        assert np.array_equal(target, expected)  # small whole numbers: exact in any order
        noisy = np.zeros((rows, width), np.float32, order=layout)
        add_rows(noisy, index, source * np.float32(0.1))
        results.append(noisy)
    assert np.array_equal(*results)


def test_integers_are_added_without_rounding():
    target = np.zeros((3, 2), np.int64)
    add_rows(target, np.zeros(1000, np.int64), np.full((1000, 2), 2**53 + 1))
    assert target[0].tolist() == [1000 * (2**53 + 1)] * 2


def test_every_entry_of_these_families_has_samples():
    families = (
        "shape",
        "broadcast",
        "transpose",
        "slicing",
        "split",
        "join",
        "copies",
        "writes",
        "arrange",
        "triangle",
        "pad",
    )
    families += ("gather", "scatter_reduce", "index_dim", "index_assign", "lookup", "masks")
    modules = {f"rushlight.ops.{each}" for each in families}
    silent = [
        name
        for name, entry in full_table().items()
        if entry.function.__module__ in modules and entry.samples is None
    ]
    assert silent == []
