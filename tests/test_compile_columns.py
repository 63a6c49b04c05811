"""Steps on few rows, many of whose columns are zero: the same numbers as if none were left out."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.fit.step import plain_step
from rushlight.nn import functional as F
from tests.epochs import both_ways
from tests.pacing import force_threads
from tests.spying import returned
from tests.widths import vectors_of

pytest.importorskip("llvmlite", reason="native code needs llvmlite")

plan = importlib.import_module("rushlight.compile.plan")
column_lists = importlib.import_module("rushlight.compile.column_lists")
many_crossing = importlib.import_module("rushlight.compile.many_crossing")

ROWS, COLUMNS, WIDTH = 24, 785, 64
INFINITY, NAN = math.inf, math.nan


@pytest.fixture(autouse=True, params=[(1, 64), (3, 32)], ids=str)
def width(request, monkeypatch):
    """The bytes of vectors, and how many threads work on a run of many steps, whichever were the fastest."""
    threads, width = request.param
    force_threads(monkeypatch, threads)
    with vectors_of(width):
        yield width


@pytest.fixture
def found(monkeypatch):
    """What the plans that are made say about it."""
    monkeypatch.setenv("RUSHLIGHT_CACHE", "0")
    return returned(monkeypatch, plan, "columns_of")


def data(rows=ROWS, columns=COLUMNS, dtype=rl.float32):
    """Columns of which some are zero in all rows, some in none, and most in most."""
    rl.manual_seed(0)
    share = rl.linspace(-0.2, 1.2, columns)[rl.randperm(columns)]
    x = rl.randn(rows, columns) * (rl.rand(rows, columns) < share**4)
    return x.to(dtype), rl.randint(5, (rows,))


def network(columns=COLUMNS, width=WIDTH, activation=nn.ReLU, dtype=rl.float32):
    rl.manual_seed(1)
    return nn.Sequential(nn.Linear(columns, width), activation(), nn.Linear(width, 5)).to(dtype)


def sgd(parameters):
    return optim.SGD(parameters, lr=0.1)


def assert_equal_runs(
    model_of=network, x=None, y=None, make_optimizer=sgd, size=2, schedule=None, prepare=None
):
    """An epoch in one call, beside the steps one by one, bit by bit; what it returns is the losses."""

    def make():
        model = model_of()
        optimizer = make_optimizer(model.parameters())
        return model, optimizer, plain_step(model, F.cross_entropy, optimizer)

    if x is None or y is None:
        x, y = data()
    ends = both_ways(make, x, y, size=size, schedule=schedule, prepare=prepare)
    for array, other in zip(*ends, strict=True):
        assert np.array_equal(array, other, equal_nan=True)
    return ends[0][0]


def assert_equal_steps(loss_of, *tensors, update=None):
    """The same for steps of another kind: `loss_of` a model and a batch, and perhaps an `update` of it."""

    def make():
        model = network()
        optimizer = sgd(model.parameters())

        def step(*batch):
            loss = loss_of(model, *batch)
            optimizer.zero_grad()
            loss.backward()
            if update is None:
                optimizer.step()
            else:
                with rl.no_grad():
                    update(model[0].weight, *batch)
            return loss

        return model, optimizer, step

    for array, other in zip(*both_ways(make, *tensors, size=2), strict=True):
        assert np.array_equal(array, other)


def test_columns_are_left_out(found, monkeypatch):
    x, _ = data()
    assert 0.2 < (x != 0).float().mean() < 0.4 and (x == 0).all(0).any() and (x != 0).all(0).any()
    assert_equal_runs()
    assert found[-1] is not None
    # Without what is listed last it must go wrong, or nobody reads the lists.
    real = column_lists.list_flagged
    less = lambda e, *given: e.binary("sub", real(e, *given), e.const(1, "i8"))  # noqa: E731
    monkeypatch.setattr(column_lists, "list_flagged", less)
    with pytest.raises(AssertionError):
        assert_equal_runs()


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize(("columns", "hidden"), [(785, 64), (1000, 30), (1001, 67), (790, 130)])
def test_sizes(found, width, size, columns, hidden):
    x, y = data(columns=columns)
    assert_equal_runs(lambda: network(columns, hidden), x, y, size=size)
    # A group of so few multiplications may be left as it is.
    is_small = size * hidden < 2 * width if width == 64 else size == 1 and hidden < 130
    assert (is_small and not found) or found[-1] is not None


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Sigmoid, nn.GELU, nn.Softplus])
def test_what_follows_the_layer(found, activation):
    assert_equal_runs(lambda: network(activation=activation))
    assert found[-1] is not None


def test_float64(found):
    x, y = data(dtype=rl.float64)
    assert_equal_runs(lambda: network(dtype=rl.float64), x, y)
    assert found[-1] is not None


@pytest.mark.parametrize(
    "make_optimizer", [lambda p: optim.SGD(p, lr=0.1, maximize=True), lambda p: optim.SGD(p, lr=0.0)]
)
def test_plain_descent(found, make_optimizer):
    assert_equal_runs(make_optimizer=make_optimizer)
    assert found[-1] is not None


@pytest.mark.parametrize(
    "make_optimizer",
    [
        lambda p: optim.SGD(p, lr=0.1, weight_decay=0.01),
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: optim.Adam(p, lr=0.01),
    ],
)
def test_optimizers_that_move_weights_of_zeros_too(found, make_optimizer):
    assert_equal_runs(make_optimizer=make_optimizer)
    assert all(each is None for each in found)


def test_rates_that_change(found):
    assert_equal_runs(schedule=lambda optimizer: optim.lr_scheduler.ExponentialLR(optimizer, 0.5))
    assert found[-1] is not None


@pytest.mark.parametrize("rate", [INFINITY, NAN, -3e38, 3e38, 1e36, 1e35, 1e30, 1.0])
def test_a_rate_that_may_be_too_large_in_one_step(found, rate):
    """Weights that it made infinite belong to columns that are zero in all other batches, where eager steps
    multiply them with zeros: that gives NaN. It also makes NaN of zeros by itself, if it is infinite.
    """
    batches = ROWS // 2
    x, y = rl.randn(ROWS, COLUMNS), data()[1]
    x *= rl.arange(COLUMNS) % batches == rl.arange(ROWS)[:, None] // 2
    x[8:10] *= 100.0

    def model_of():
        rl.manual_seed(1)
        return nn.Sequential(nn.Linear(COLUMNS, WIDTH, bias=False), nn.ReLU(), nn.Linear(WIDTH, 5))

    def make_optimizer(parameters):
        first, *others = parameters
        return optim.SGD([{"params": [first]}, {"params": others}], lr=0.1)

    def schedule(optimizer):
        return optim.lr_scheduler.LambdaLR(
            optimizer, [lambda step: 10 * rate if step == 4 else 1.0, lambda step: 1.0]
        )

    losses = assert_equal_runs(model_of, x, y, make_optimizer, schedule=schedule)
    assert np.isfinite(losses[:5]).all()
    assert np.isfinite(losses[5:]).all() == (abs(rate) < 1e37)
    assert found[-1] is not None


@pytest.mark.parametrize("number", [INFINITY, -INFINITY, NAN, 3e38])
def test_weights_that_are_not_finite_where_all_inputs_are_zero(found, number):
    x, _ = data()
    column = int((x == 0).all(0).nonzero()[0])

    def prepare(model):
        model[0].weight[7, column] = number

    losses = assert_equal_runs(prepare=prepare)
    assert np.isfinite(losses).all() == (number == 3e38)
    assert found[-1] is not None


@pytest.mark.parametrize("number", [INFINITY, NAN, 1e38])
@pytest.mark.parametrize("row", [0, 9, ROWS - 1])
def test_inputs_that_are_not_finite(found, number, row):
    x, y = data()
    x[row, 11] = number
    x[:row, 11] = x[row + 1 :, 11] = 0.0
    assert_equal_runs(x=x, y=y)
    assert found[-1] is not None


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_batches_of_nothing_but_zeros(found, zero):
    x, y = data()
    x[4:9] = zero
    assert_equal_runs(x=x, y=y)
    x[:] = zero
    assert_equal_runs(x=x, y=y)
    assert found[-1] is not None


def test_denormal_numbers_are_not_zeros(found):
    x, y = data()
    x[:, 5] = 1e-42
    assert_equal_runs(x=x, y=y)


def test_data_that_become_dense(found):
    x, y = data()
    x[ROWS // 2 :] = rl.randn(ROWS - ROWS // 2, COLUMNS)
    assert_equal_runs(x=x, y=y)
    assert_equal_runs(x=x.flip(0).contiguous(), y=y)


def test_dense_data_go_through_rows(found, monkeypatch):
    x, y = rl.randn(ROWS, COLUMNS), data()[1]
    real = many_crossing._text
    names = []

    def without(run, plan, crossing, calls, loop):
        text = real(run, plan, crossing, calls, loop)
        names.append(type(loop).__name__)
        if names[-1] == "ByColumns":  # if it went through columns now, it would do nothing
            head = text.partition("\n")[0]
            return f"{head}\nentry:\n  ret i32 0\n}}"
        return text

    monkeypatch.setattr(many_crossing, "_text", without)
    assert_equal_runs(x=x, y=y)
    assert names[:2] == ["RowByRow", "ByColumns"]
    with pytest.raises(AssertionError):
        assert_equal_runs()


def test_other_arguments_that_the_first_loops_read(found):
    x, y = data()
    rl.manual_seed(3)

    def loss_of(model, x, shift, y):
        return F.cross_entropy(model[2](F.relu(model[0](x) + shift)), y)

    assert_equal_steps(loss_of, x, rl.randn(ROWS, WIDTH), y)
    assert found[-1] is not None and len(found[-1].crossing.arguments) == 2


def test_weights_that_are_read_elsewhere_are_left_as_they_lie(found):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = network()

        def forward(self, x):
            return self.layers(x) + self.layers[0].weight.sum() * 1e-3

    assert_equal_runs(Tied)
    assert all(each is None for each in found)


def test_layers_that_do_not_fill_vectors(found):
    x, y = data(columns=2000)
    assert_equal_runs(lambda: network(2000, 9), x, y)
    assert all(each is None for each in found)


@pytest.mark.parametrize(
    "between",
    [
        lambda hidden, x: hidden + x[:, :WIDTH],
        lambda hidden, x: F.relu(hidden) * x[:, 700 : 700 + WIDTH],
    ],
)
def test_first_loops_that_read_the_batch_themselves_go_through_rows(found, between):
    def loss_of(model, x, y):
        return F.cross_entropy(model[2](F.relu(between(model[0](x), x))), y)

    assert_equal_steps(loss_of, *data())
    assert found and all(each is None for each in found)


@pytest.mark.parametrize(
    ("update", "crosses"),
    [
        (lambda weight, x, y: weight.sub_(weight.grad * x[1, 5]), True),
        (lambda weight, x, y: weight.add_(weight.grad).sub_(weight.grad * 1.1), False),
    ],
)
def test_updates_that_read_the_batch_or_add_the_product_twice_go_through_rows(found, update, crosses):
    assert_equal_steps(lambda model, x, y: F.cross_entropy(model(x), y), *data(), update=update)
    assert all(each is None for each in found) and (found or not crosses)
