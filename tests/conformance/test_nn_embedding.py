"""Embedding and EmbeddingBag give PyTorch's rows, gradients and shortened tables."""

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")

TABLE = np.random.default_rng(0).standard_normal((7, 4)).astype(np.float32)
INDICES = [[1, 2, 4, 2], [6, 3, 2, 0]]
FLAT = [1, 2, 4, 2, 6, 3, 2, 0]

EMBEDDINGS = {
    "plain": ({}, INDICES),
    "one index": ({}, 3),
    "no indices": ({}, []),
    "padding": ({"padding_idx": 2}, INDICES),
    "padding from the end": ({"padding_idx": -1}, INDICES),
    "padding of the first row": ({"padding_idx": 0}, INDICES),
    "short rows": ({"max_norm": 1.5}, INDICES),
    "short rows in another norm": ({"max_norm": 1.0, "norm_type": 1.0}, INDICES),
    "short rows in the largest norm": ({"max_norm": 0.5, "norm_type": float("inf")}, INDICES),
    "scaled gradient": ({"scale_grad_by_freq": True}, INDICES),
    "everything": ({"padding_idx": 4, "max_norm": 1.5, "scale_grad_by_freq": True}, INDICES),
}


def results(lib, layer, inputs, training=True):
    """What a layer gives for these inputs, the gradient of its table, and the table afterwards."""
    output = layer(*inputs)
    shape = tuple(output.shape)
    weights = lib.tensor(np.random.default_rng(5).standard_normal(shape).astype(np.float32))
    if training:
        (output * weights).sum().backward()
    gradients = [each.grad for each in (layer.weight, *inputs) if each is not None and each.grad is not None]
    return [each.detach().numpy() for each in (output, layer.weight, *gradients)]


def assert_same(program):
    ours, theirs = program(rushlight), program(torch)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["int64", "int32"])
@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embedding(name, kind):
    options, indices = EMBEDDINGS[name]

    def program(lib):
        layer = lib.nn.Embedding.from_pretrained(lib.tensor(TABLE), freeze=False, **options)
        return results(lib, layer, [lib.tensor(indices, dtype=getattr(lib, kind))])

    assert_same(program)


def test_embedding_is_differentiable_twice():
    def program(lib):
        table = lib.tensor(TABLE, requires_grad=True)
        rows = lib.nn.functional.embedding(lib.tensor(INDICES), table, padding_idx=2)
        (gradient,) = lib.autograd.grad((rows**3).sum(), table, create_graph=True)
        (gradient**2).sum().backward()
        return [gradient.detach().numpy(), table.grad.numpy()]

    assert_same(program)


BAGS = {
    "mean": {"mode": "mean"},
    "sum": {"mode": "sum"},
    "max": {"mode": "max"},
    "mean with padding": {"mode": "mean", "padding_idx": 2},
    "sum with padding": {"mode": "sum", "padding_idx": -5},
    "max with padding": {"mode": "max", "padding_idx": 2},
    "short rows": {"mode": "sum", "max_norm": 1.5, "norm_type": 1.0},
}
OFFSETS = {
    "rows": None,
    "one bag": [0],
    "three bags": [0, 3, 4],
    "empty bags": [0, 0, 3, 3, 8],
}


@pytest.mark.parametrize("offsets", OFFSETS)
@pytest.mark.parametrize("name", BAGS)
def test_bag(name, offsets):
    starts = OFFSETS[offsets]

    def program(lib):
        layer = lib.nn.EmbeddingBag.from_pretrained(lib.tensor(TABLE), freeze=False, **BAGS[name])
        inputs = [lib.tensor(INDICES)] if starts is None else [lib.tensor(FLAT), lib.tensor(starts)]
        return results(lib, layer, inputs)

    assert_same(program)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bag_with_the_last_offset(mode):
    def program(lib):
        options = {"mode": mode, "include_last_offset": True, "freeze": False}
        layer = lib.nn.EmbeddingBag.from_pretrained(lib.tensor(TABLE), **options)
        return results(lib, layer, [lib.tensor(FLAT), lib.tensor([0, 3, 3, 8])])

    assert_same(program)


def test_bag_with_scaled_gradients():
    """Not compared: PyTorch divides by the count of another row, for its kernel mixes up two indices."""
    table = rushlight.tensor(TABLE, requires_grad=True)
    numbers = rushlight.tensor(FLAT)
    bags = rushlight.nn.functional.embedding_bag
    bags(numbers, table, rushlight.tensor([0]), mode="sum", scale_grad_by_freq=True).sum().backward()
    assert table.grad.sum(dim=1).tolist() == [4.0 if row in FLAT else 0.0 for row in range(7)]


def test_bag_with_weights():
    def program(lib):
        layer = lib.nn.EmbeddingBag.from_pretrained(
            lib.tensor(TABLE), freeze=False, mode="sum", padding_idx=2
        )
        weights = lib.tensor(np.linspace(-1, 1, 8, dtype=np.float32), requires_grad=True)
        return results(lib, layer, [lib.tensor(FLAT), lib.tensor([0, 3]), weights])

    assert_same(program)


def test_pretrained_tables_share_memory_and_are_frozen():
    for lib in (rushlight, torch):
        table = lib.tensor(TABLE)
        for layer in (lib.nn.Embedding.from_pretrained(table), lib.nn.EmbeddingBag.from_pretrained(table)):
            assert layer.weight.data_ptr() == table.data_ptr()
            assert not layer.weight.requires_grad


@pytest.mark.parametrize("options", [{}, {"mode": 1}, {"mode": 2}, {"mode": 1, "padding_idx": 2}])
def test_the_core_form_of_embedding_bag(options):
    if "padding_idx" in options:  # PyTorch's binding takes it with all the others only
        options = dict(scale_grad_by_freq=False, sparse=False, per_sample_weights=None, **options)
        options["include_last_offset"] = False

    def program(lib):
        parts = lib.embedding_bag(lib.tensor(TABLE), lib.tensor(FLAT), lib.tensor([0, 3, 3]), **options)
        return [each.numpy() for each in parts]

    assert_same(program)
