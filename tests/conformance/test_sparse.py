"""Sparse tensors: made, printed, coalesced, multiplied, turned dense and differentiated as PyTorch does."""

from __future__ import annotations

import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")

from tests.conformance.side_by_side import assert_same

PARTS = """
    i = torch.tensor([[0, 1, 1], [2, 0, 2]])
    v = torch.tensor([3.0, 4.0, 5.0])
    s = torch.sparse_coo_tensor(i, v, (2, 3))
    twice = torch.sparse_coo_tensor([[1, 0, 0, 1], [2, 1, 1, 0]], [1.0, 2.0, 3.0, 4.0])
    rows = torch.sparse_coo_tensor([[2, 0, 2]], torch.arange(6.0).reshape(3, 2), (4, 2))
    d = torch.arange(6.0).reshape(3, 2).requires_grad_()
"""


def test_printed_text_is_pytorchs():
    """And so are shapes, types and parts."""
    assert_same(
        PARTS
        + """
    some = (s, twice, rows, twice.coalesce(), rows.coalesce(), s.t(), s.double(), s.detach(), s.to("cpu"))
    for each in some:
        note(repr(each), each.shape, each.size(0), each.dtype, each.layout, each.ndim, each.numel())
        note(each._nnz(), each.is_coalesced(), each.sparse_dim(), each.dense_dim(), each.is_sparse, len(each))
        note(each._indices(), each._values(), each.to_dense(), each.requires_grad, each.is_leaf, each.grad_fn)
    repr(torch.sparse_coo_tensor(i, v, (2, 3), requires_grad=True))
    repr(torch.sparse_coo_tensor(i, v.clone().requires_grad_(), (2, 3)))
    repr(torch.sparse_coo_tensor(i, v.clone().requires_grad_(), (2, 3)).coalesce())
    repr(torch.sparse_coo_tensor(size=(2, 3))), repr(torch.sparse_coo_tensor((2, 3)))
    repr(torch.sparse_coo_tensor(torch.arange(1200).reshape(1, -1), torch.ones(1200)))
    repr(torch.sparse_coo_tensor(i, [1, 2, 3])), repr(torch.sparse_coo_tensor(i, v > 3, (2, 3)))
    repr(torch.sparse_coo_tensor(i, v, (2, 3), dtype=torch.int32))
    torch.sparse_coo_tensor(i, v, (2, 3), is_coalesced=True).indices()
    torch.sparse_coo_tensor([[0], [1]], [2.0]).is_coalesced()
    torch.sparse_coo_tensor([[0, 0]], torch.tensor([True, False]), (2,)).coalesce().to_dense()
    twice.coalesce().indices(), twice.coalesce().values()
    f"{s}" == str(s), torch.is_tensor(s), isinstance(s, torch.Tensor)
    """
    )


def test_from_dense_and_back():
    assert_same(
        """
    x = torch.tensor([[0.0, 1.0], [2.0, 0.0], [0.0, 0.0]], requires_grad=True)
    for each in (x.to_sparse(), x.to_sparse(1), x.to_sparse_coo(), x.to_sparse(layout=torch.sparse_coo)):
        note(repr(each), each.to_dense())
    torch.tensor(3.0).to_sparse(), torch.zeros(2, 2).to_sparse(), torch.tensor([[0, 1]]).to_sparse().values()
    x.to_sparse(layout=torch.sparse_coo, dense_dim=1).to_dense()
    x.to_sparse(layout=torch.strided)
    (x.to_sparse().to_dense() ** 2).sum().backward()
    x.grad
    x.to_sparse().values().pow(2).sum().backward()
    x.grad
    x.to_sparse(0)
    x.to_sparse(3)
    x.to_dense()
    """
    )


def test_products_and_their_gradients():
    assert_same(
        PARTS
        + """
    s @ d, torch.mm(s, d), torch.matmul(s, d), s.mm(d), torch.sparse.mm(s, d), torch.spmm(s, d)
    s @ torch.ones(3), s.mv(torch.ones(3)), torch.mv(s, torch.ones(3))
    torch.ones(2, 2) @ s, torch.mm(torch.ones(2, 2), s), d.detach().t() @ s.t(), twice @ d.detach()
    torch.sparse.mm(torch.ones(2, 2), torch.ones(2, 2))
    w = v.clone().requires_grad_()
    q = torch.sparse_coo_tensor(i, w, (2, 3))
    (q @ d).pow(2).sum().backward()
    w.grad, d.grad
    (torch.ones(2, 2) @ torch.sparse_coo_tensor(i, w, (2, 3))).pow(2).sum().backward()
    w.grad
    q2 = torch.sparse_coo_tensor([[1, 0, 0], [2, 1, 1]], w)
    q2.to_dense().pow(2).sum().backward()
    w.grad
    torch.sparse_coo_tensor([[1, 0, 0], [2, 1, 1]], w).coalesce().values().pow(3).sum().backward()
    w.grad
    leaf = torch.sparse_coo_tensor([[1, 0, 0], [2, 1, 1]], [1.0, 2.0, 3.0], requires_grad=True)
    leaf.grad
    leaf.to_dense().pow(2).sum().backward()
    repr(leaf.grad)
    leaf.grad = None
    torch.sparse.mm(leaf, d.detach()).sum().backward()
    leaf.grad.to_dense()
    leaf.requires_grad_(False).requires_grad
    s.requires_grad_().requires_grad
    """
    )


def test_refusals_are_pytorchs():
    assert_same(
        PARTS
        + """
    s.indices()
    s.values()
    torch.ones(2, 3).indices()
    torch.ones(2, 3).values()
    torch.ones(2, 3).coalesce()
    torch.ones(2, 3).is_coalesced()
    torch.ones(2, 3).sparse_dim(), torch.ones(2, 3).dense_dim()
    torch.sparse_coo_tensor(i, v[:2], (2, 3))
    torch.sparse_coo_tensor(i[0], v, (2, 3))
    torch.sparse_coo_tensor(i, v, (2,))
    torch.sparse_coo_tensor(-i, v)
    torch.sparse_coo_tensor(-i, v, (2, 3), check_invariants=True)
    torch.sparse_coo_tensor(i, v, (1, 3), check_invariants=True)
    torch.sparse_coo_tensor([[0, 0]], [1.0, 2.0], (2,), check_invariants=True, is_coalesced=True)
    torch.sparse_coo_tensor(i, v, dtype=torch.int32, requires_grad=True)
    torch.sparse_coo_tensor()
    s @ torch.ones(2, 2)
    s @ torch.ones(2)
    s.to_dense(torch.float64)
    s.numpy()
    """
    )


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("relu", lambda s: s.relu()),
        ("relu", lambda s: rushlight.relu(s)),
        ("__getitem__|getitem", lambda s: s[0]),
        ("__add__|add", lambda s: s + s),
        ("mul", lambda s: s * 2),
        ("sum", lambda s: s.sum()),
        ("sum", lambda s: rushlight.sum(s)),
        ("cat", lambda s: rushlight.cat([s, s])),
        ("retain_grad", lambda s: s.retain_grad()),
        ("register_hook", lambda s: s.register_hook(print)),
        ("two sparse tensors", lambda s: s @ s.t()),
        ("backward", lambda s: s.backward()),
        ("save", lambda s: rushlight.save(s, "never.pt")),
        ("deepcopy", lambda s: __import__("copy").deepcopy(s)),
        ("linear", lambda s: rushlight.nn.functional.linear(s, rushlight.ones(2, 3))),
    ],
)
def test_all_else_is_refused_by_name(name, use, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    s = rushlight.sparse_coo_tensor([[0, 1], [2, 0]], [3.0, 4.0], (2, 3))
    with pytest.raises(NotImplementedError, match=f"({name}).* not (implemented|supported) for .*sparse"):
        use(s)
    assert not list(tmp_path.iterdir())


def test_index_is_not_that_of_lists():
    with pytest.raises(NotImplementedError, match=r"write \(tensor == value\).nonzero\(\)"):
        rushlight.ones(2).index(0, None)
