"""Steps on few rows: the last loops of a step and the first of the next are one, over the same weights."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.fit.step import plain_step
from rushlight.nn import functional as F
from rushlight.utils.data import DataLoader, TensorDataset
from tests.epochs import both_ways
from tests.pacing import force_threads
from tests.spying import returned
from tests.widths import vectors_of

pytest.importorskip("llvmlite", reason="native code needs llvmlite")

plan = importlib.import_module("rushlight.compile.plan")

ROWS, BATCH, INPUTS = 20, 2, 784
SHARE = {"zeros": 0.0}


@pytest.fixture(autouse=True, params=[(1, 32), (2, 64), (3, 32)], ids=str)
def width(request, monkeypatch):
    """The bytes of vectors, and how many threads work on a run of many steps, whichever were the fastest."""
    threads, width = request.param
    force_threads(monkeypatch, threads)
    with vectors_of(width):
        yield width


@pytest.fixture(autouse=True, params=[0.0, 0.8], ids=["no zeros", "many zeros"])
def zeros(request, monkeypatch):
    """Which part of the inputs is zero: the loop goes through rows of weights, or through some columns."""
    monkeypatch.setitem(SHARE, "zeros", request.param)
    return request.param


@pytest.fixture
def crossings(monkeypatch):
    """What the plans that are made say about it."""
    monkeypatch.setenv("RUSHLIGHT_CACHE", "0")
    return returned(monkeypatch, plan, "crossing_of")


def data(labels=10):
    rl.manual_seed(0)
    return inputs(ROWS, INPUTS), rl.randint(labels, (ROWS,))


def inputs(rows, columns):
    return rl.randn(rows, columns) * (rl.rand(rows, columns) >= SHARE["zeros"])


def network(*extra, width=64):
    rl.manual_seed(1)
    return nn.Sequential(nn.Linear(INPUTS, width), nn.ReLU(), *extra, nn.Linear(width, 10))


def training(model, make_optimizer):
    optimizer = make_optimizer(model.parameters())
    return rl.compile(plain_step(model, F.cross_entropy, optimizer)), optimizer


def sgd(parameters):
    return optim.SGD(parameters, lr=0.1)


def assert_equal_runs(model_of, make_optimizer, rows=ROWS, schedule=None, size=BATCH):
    """An epoch in one call, beside the steps one by one, bit by bit."""

    def make():
        model = model_of()
        optimizer = make_optimizer(model.parameters())
        return model, optimizer, plain_step(model, F.cross_entropy, optimizer)

    x, y = (each[:rows] for each in data())
    for array, other in zip(*both_ways(make, x, y, size=size, schedule=schedule), strict=True):
        assert np.array_equal(array, other)


@pytest.mark.parametrize("rows", [2, 4, 6, ROWS])
def test_parameters_losses_and_last_gradients_are_those_of_single_steps(crossings, rows):
    assert_equal_runs(network, sgd, rows)
    assert crossings[-1] is not None


@pytest.mark.parametrize(("size", "hidden"), [(1, 64), (3, 67), (4, 30)])
def test_batches_and_layers_of_other_sizes(crossings, width, size, hidden):
    assert_equal_runs(lambda: network(width=hidden), sgd, rows=12, size=size)
    is_small = size == 1 and width == 64  # groups as small as that of one row are left as they are
    assert (crossings[-1] is None) == is_small


def test_larger_batches_are_computed_in_another_way(crossings):
    assert_equal_runs(network, sgd, size=5)
    assert crossings[-1] is None


@pytest.mark.parametrize(
    "make_optimizer",
    [
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda p: optim.Adam(p, lr=0.01),
        lambda p: optim.RMSprop(p, lr=0.01),
    ],
)
def test_other_optimizers(crossings, make_optimizer):
    assert_equal_runs(network, make_optimizer)


def test_rates_that_change_from_step_to_step(crossings):
    schedule = lambda optimizer: optim.lr_scheduler.ExponentialLR(optimizer, 0.5)  # noqa: E731
    assert_equal_runs(network, sgd, schedule=schedule)
    assert crossings[-1] is not None


def test_dropout_draws_the_same_numbers(crossings):
    assert_equal_runs(lambda: network(nn.Dropout(0.5)), sgd)
    assert crossings[-1] is None  # the loops of the first layer go on to what the step draws


def test_the_layer_is_not_the_first_to_read_the_batch(crossings):
    assert_equal_runs(lambda: nn.Sequential(nn.Tanh(), *network()), sgd)
    assert crossings[-1] is None


def test_weights_that_are_read_elsewhere_too(crossings):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = network()

        def forward(self, x):
            return self.layers(x) + self.layers[0].weight.sum() * 1e-3

    assert_equal_runs(Tied, sgd)


def test_rows_too_long_to_wait_on_the_stack(crossings):
    x, y = inputs(6, 20_000), rl.randint(10, (6,))
    model = nn.Linear(20_000, 10)
    step, _ = training(model, sgd)
    for _ in range(2):
        step(x[:BATCH], y[:BATCH])
    losses = step.over(DataLoader(TensorDataset(x, y), batch_size=BATCH))
    assert crossings[-1] is None and losses.isfinite().all()


def test_weights_that_fit_the_nearest_cache_are_left_as_they_are(crossings):
    x, y = rl.randn(ROWS, 16), rl.randint(10, (ROWS,))
    model = nn.Linear(16, 10)
    step, _ = training(model, sgd)
    for _ in range(2):
        step(x[:BATCH], y[:BATCH])
    assert crossings[-1] is None


def test_a_label_out_of_range_stops_at_its_step(crossings):
    x, y = data()
    y[11] = 10  # in the sixth batch
    ends = []
    for together in (True, False):
        model = network()
        step, _ = training(model, sgd)
        for _ in range(2):
            step(x[:BATCH], y[:BATCH])
        with pytest.raises(IndexError, match="Target 10 is out of bounds"):
            if together:
                step.over(DataLoader(TensorDataset(x, y), batch_size=BATCH))
            else:
                for start in range(0, ROWS, BATCH):
                    step(x[start : start + BATCH], y[start : start + BATCH])
        step(x[:BATCH], y[:BATCH])  # goes on as a step by itself
        ends.append([each.detach().numpy().copy() for each in model.parameters()])
    assert crossings[-1] is not None
    for array, other in zip(*ends, strict=True):
        assert np.array_equal(array, other)


def over_and_one_by_one(loss_of):
    """What an epoch returns, in one call and step by step, and the weights of the first layer after it."""
    x, y = data()
    ends = []
    for together in (True, False):
        model = network()
        optimizer = sgd(model.parameters())

        def step(x, y, model=model, optimizer=optimizer):
            loss, *others = loss_of(model, x, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return [loss, *others]

        compiled = rl.compile(step)
        for _ in range(2):
            compiled(x[:BATCH], y[:BATCH])
        loader = DataLoader(TensorDataset(x, y), batch_size=BATCH)
        if together:
            found = [each.detach().numpy() for each in compiled.over(loader)]
        else:
            steps = [[each.detach().numpy().copy() for each in compiled(*batch)] for batch in loader]
            found = [np.stack(each) for each in zip(*steps, strict=True)]
        ends.append([*found, model[0].weight.detach().numpy().copy()])
    return ends


def test_batches_that_are_read_elsewhere_too(crossings):
    def loss_of(model, x, y):
        return F.cross_entropy(model(x), y), x.sum(1), x.detach().clone()

    for one, other in zip(*over_and_one_by_one(loss_of), strict=True):
        assert np.array_equal(one, other)
    assert crossings[-1] is not None


def test_weights_that_are_returned(crossings):
    def loss_of(model, x, y):
        return F.cross_entropy(model(x), y), model[0].weight.detach()[:, :3].clone()

    for one, other in zip(*over_and_one_by_one(loss_of), strict=True):
        assert np.array_equal(one, other)
