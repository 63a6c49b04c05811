"""Large weights, which lie in panels while many steps run: the same numbers, row by row again afterwards."""

from __future__ import annotations

import functools
import importlib

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.compile.llvm import vector_bytes
from rushlight.fit.step import plain_step
from rushlight.nn import functional as F
from rushlight.utils.data import DataLoader, TensorDataset
from tests.pacing import force_threads
from tests.spying import returned

pytest.importorskip("llvmlite", reason="native code needs llvmlite")

panels = importlib.import_module("rushlight.compile.panels")
products = importlib.import_module("rushlight.compile.products")

ROWS, BATCH = 96, 32
# of weights with more than half a megabyte and no whole last panel; the second have no whole last vector
SIZES = [(300, 528), (331, 457)]


@pytest.fixture(params=[False, True], ids=["vectors", "unit"], autouse=True)
def has_unit(request, monkeypatch):
    """Whether products are computed on the CPU's matrix unit, small ones too if that takes less time."""
    if request.param and not products.has_matrix_unit():
        pytest.skip("this CPU has no matrix unit")
    monkeypatch.setattr(products, "has_matrix_unit", lambda: request.param)
    monkeypatch.setattr(products, "MANY_PRODUCTS", 1)
    return request.param


@pytest.fixture
def shapes(monkeypatch):
    """What the plans that are made have in panels."""
    monkeypatch.setenv("RUSHLIGHT_CACHE", "0")
    return returned(monkeypatch, panels, "panelled")


@pytest.fixture
def on_threads(monkeypatch):
    """Have all runs of many steps use so many threads, whichever number were the fastest."""
    return functools.partial(force_threads, monkeypatch)


def data(inputs, dtype=rl.float32):
    rl.manual_seed(0)
    return rl.randn(ROWS, inputs, dtype=dtype), rl.randn(ROWS, 7, dtype=dtype)


def network(inputs, width, dtype=rl.float32):
    rl.manual_seed(1)
    layers = nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, inputs), nn.Tanh(), nn.Linear(inputs, 7)
    return nn.Sequential(*layers).to(dtype)


def training(model, optimizer, frozen=()):
    for place in frozen:
        model[place].weight.requires_grad_(False)
    return rl.compile(plain_step(model, F.mse_loss, optimizer))


def sgd(parameters):
    return optim.SGD(parameters, lr=0.05)


OPTIMIZERS = {
    "SGD": sgd,
    "momentum": lambda parameters: optim.SGD(parameters, lr=0.02, momentum=0.9, weight_decay=1e-2),
    "AdamW": lambda parameters: optim.AdamW(parameters, lr=1e-3),
}


def ends(model_of, make_optimizer, together, frozen=(), dtype=rl.float32, size=BATCH):
    """The losses, the state and the gradients after two epochs."""
    model = model_of()
    optimizer = make_optimizer(model.parameters())
    step = training(model, optimizer, frozen)
    x, y = data(model[0].in_features, dtype)
    for _ in range(2):  # recorded, with the optimizer's state there
        step(x[:size], y[:size])
    losses = []
    for _ in range(2):
        loader = DataLoader(TensorDataset(x, y), batch_size=size)
        losses += step.over(loader).tolist() if together else [step(*batch).item() for batch in loader]
    state = [each.detach().numpy().copy() for each in model.parameters()]
    state += [each.grad.numpy().copy() for each in model.parameters() if each.grad is not None]
    for kept in optimizer.state.values():
        state += [each.numpy().copy() for each in kept.values() if isinstance(each, rl.Tensor)]
    return losses, state


def assert_equal_runs(model_of, make_optimizer, **given):
    found, expected = (ends(model_of, make_optimizer, together, **given) for together in (True, False))
    assert found[0] == expected[0]
    assert len(found[1]) == len(expected[1])
    for mine, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize(("optimizer", "threads"), [("SGD", 1), ("momentum", 3), ("AdamW", 2)])
def test_many_steps_are_the_single_steps(optimizer, threads, shapes, on_threads):
    on_threads(threads)
    assert_equal_runs(lambda: network(512, 320), OPTIMIZERS[optimizer])
    found = next(each for each in reversed(shapes) if each)
    each_weight = {"SGD": 1, "momentum": 2, "AdamW": 3}[optimizer]
    assert len(found) == 2 * each_weight
    assert {(each.rows, each.columns) for each in found.values()} == {(320, 512), (512, 320)}


@pytest.mark.parametrize(("inputs", "width"), SIZES)
def test_sizes_that_fill_no_panel(inputs, width, shapes, on_threads):
    on_threads(2)
    assert_equal_runs(lambda: network(inputs, width), sgd)
    assert any(shapes)


@pytest.mark.parametrize("size", [2, vector_bytes() // 8])
def test_tiny_batches(size, shapes, on_threads, monkeypatch):
    """Their forward passes are dot products with weights, beside which the optimizer keeps its matrices."""
    plan = importlib.import_module("rushlight.compile.plan")
    monkeypatch.setattr(plan, "has_flush", lambda: False)  # so that updates may be joined to the next step
    on_threads(1)
    assert_equal_runs(lambda: network(512, 320), OPTIMIZERS["momentum"], size=size)
    assert shapes
    assert not any(shapes)


def test_float64(shapes):
    assert_equal_runs(lambda: network(260, 300, rl.float64), OPTIMIZERS["AdamW"], dtype=rl.float64)
    assert any(shapes)


def test_frozen_weights_are_only_read(shapes):
    models, before = [], network(512, 320)[2].weight.detach().numpy().copy()

    def model_of():
        model = network(512, 320)
        model[2].weight.requires_grad_(False)
        values = model[2].weight.detach().numpy()
        values.flags.writeable = False
        models.append(model)
        return model

    assert_equal_runs(model_of, sgd, frozen=(2,))
    (found,) = {tuple(sorted(each.is_written for each in some.values())) for some in shapes if some}
    assert found == (False, True)
    for each in models:
        np.testing.assert_array_equal(each[2].weight.detach().numpy(), before)


def test_two_weights_in_one_product(has_unit, shapes, on_threads):
    """For the matrix unit both are split before it, from rows."""
    on_threads(2)

    class Factored(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(448, 320, bias=False), nn.Linear(512, 448, bias=False)
            self.last = nn.Linear(320, 7)
            self.in_features = 512

        def __getitem__(self, place):
            return self

        def forward(self, x):
            return self.last(x @ (self.left.weight @ self.right.weight).T)

    def model_of():
        rl.manual_seed(1)
        model = Factored()
        for each in (model.left, model.right):  # else gradients would want the weights column by column
            each.weight.requires_grad_(False)
        return model

    assert_equal_runs(model_of, sgd)
    found = {(each.rows, each.columns) for some in shapes for each in some.values()}
    assert found == (set() if has_unit else {(320, 448), (448, 512)})


def test_more_threads_than_take_pieces(on_threads):
    """Beyond `function.MOST_SHARING` each does a share of its own."""
    found = []
    for threads in (1, 65):
        on_threads(threads)
        found.append(ends(lambda: network(512, 320), sgd, together=True))
    assert found[0][0] == found[1][0]
    for mine, other in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_array_equal(mine, other)


def test_weights_met_otherwise_stay_where_they_are(shapes):
    model = network(512, 320)

    def loss(found, y):
        return F.mse_loss(found, y) + 1e-4 * model[0].weight.abs().sum()

    step = rl.compile(plain_step(model, loss, sgd(model.parameters())))
    x, y = data(512)
    step.over(DataLoader(TensorDataset(x, y), batch_size=BATCH))
    found = [each for each in shapes if each]
    assert [{(shape.rows, shape.columns) for shape in each.values()} for each in found] == [{(512, 320)}]


def test_a_step_that_fails_leaves_the_weights_in_their_own_order():
    def run(bad):
        rl.manual_seed(1)
        model = nn.Sequential(nn.Linear(512, 320), nn.ReLU(), nn.Linear(320, 10))
        step = rl.compile(plain_step(model, F.cross_entropy, sgd(model.parameters())))
        rl.manual_seed(0)
        x, y = rl.randn(ROWS, 512), rl.randint(10, (ROWS,))
        step(x[:BATCH], y[:BATCH])
        step(x[:BATCH], y[:BATCH])
        if not bad:
            step(x[:BATCH], y[:BATCH])
            return model[0].weight.detach().numpy().copy()
        y[BATCH] = 10
        with pytest.raises(IndexError, match="out of bounds"):
            step.over(DataLoader(TensorDataset(x, y), batch_size=BATCH))
        return model[0].weight.detach().numpy().copy()

    np.testing.assert_array_equal(run(bad=True), run(bad=False))


def test_no_panels_where_memory_would_double(shapes, monkeypatch):
    monkeypatch.setattr(panels, "MOST_BYTES", 1 << 20)
    assert_equal_runs(lambda: network(512, 320), sgd)
    assert not any(shapes)
