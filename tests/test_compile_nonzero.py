"""Products that leave out the steps at which a batch is zero: the same numbers as with all of them."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.fit.step import plain_step
from rushlight.nn import functional as F
from rushlight.utils.data import DataLoader, TensorDataset
from tests.pacing import force_threads
from tests.spying import returned
from tests.widths import as_with_16_registers, vectors_of

pytest.importorskip("llvmlite", reason="native code needs llvmlite")

native = importlib.import_module("rushlight.compile.native")
nonzero = importlib.import_module("rushlight.compile.nonzero")
plan = importlib.import_module("rushlight.compile.plan")
products = importlib.import_module("rushlight.compile.products")

INPUTS, HIDDEN, BATCH = 301, 40, 61  # nothing of which fills tiles, panels, bytes or stages


@pytest.fixture(autouse=True)
def vectors(monkeypatch):
    """Tiles as on CPUs with sixteen registers, where weights are turned for the products of a batch."""
    as_with_16_registers(monkeypatch)
    with vectors_of(32):
        yield


@pytest.fixture
def programs(monkeypatch):
    """The programs of which many steps were run."""
    found = []
    real = native.Native.run_many

    def noted(self, *args):
        if self not in found:
            found.append(self)
        return real(self, *args)

    monkeypatch.setattr(native.Native, "run_many", noted)
    return found


@pytest.fixture
def arrangements(monkeypatch):
    """How the plans that are made have things lie while many steps run."""
    return returned(monkeypatch, plan, "arranged")


def lists(program):
    """The lists of a program, of its first thread."""
    named = program.built.buffers(program.program)
    found = [number for number in program.memory.arrays if named[number].name == "nonzero"]
    return [program.memory.arrays[number] for number in found]


def are_followed(program):
    return [bool(each[0]) for each in lists(program)]


def sparse(rows, inputs, share, dtype=np.float32):
    """Numbers of which so large a share is zero: whole columns, stretches of rows, and here and there."""
    rng = np.random.default_rng(0)
    made = rng.standard_normal((rows, inputs)).astype(dtype)
    made[:, rng.random(inputs) < share / 2] = 0
    made[:, : inputs // 8] = 0
    made[rng.random(made.shape) < share] = 0
    made[::5, inputs // 2 :] = 0
    made[made == 0] *= rng.choice([-1, 1], (made == 0).sum()).astype(dtype)  # zeros of either sign
    return rl.from_numpy(made)


def sgd(parameters):
    return optim.SGD(parameters, lr=0.05)


def adam(parameters):
    return optim.AdamW(parameters, lr=1e-3)


def ends(x, together, optimizer=sgd, batch=BATCH, hidden=HIDDEN, change=None):
    """The losses of two epochs, and parameters and gradients after them; `change` is done to the model."""
    rl.manual_seed(1)
    y = rl.randint(10, (len(x),))
    layers = nn.Linear(x.shape[1], hidden, dtype=x.dtype), nn.Linear(hidden, 10, dtype=x.dtype)
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1])
    if change is not None:
        change(model)
    made = optimizer(model.parameters())
    step = rl.compile(plain_step(model, F.cross_entropy, made))
    loader = DataLoader(TensorDataset(x, y), batch_size=batch)
    losses = []
    for _ in range(2):
        losses += step.over(loader).tolist() if together else [step(*each).item() for each in loader]
    kept = [each.detach().numpy().copy() for each in model.parameters()]
    return losses, kept + [each.grad.numpy().copy() for each in model.parameters()]


def assert_equal_ends(found, expected):
    np.testing.assert_array_equal(found[0], expected[0])
    for mine, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("optimizer", [sgd, adam])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_steps_are_those_that_take_all(dtype, optimizer, threads, programs, monkeypatch):
    """Three threads share the lists, of which there are two copies."""
    force_threads(monkeypatch, threads)
    x = sparse(4 * BATCH, INPUTS, 0.9, dtype)
    assert_equal_ends(ends(x, True, optimizer), ends(x, False, optimizer))
    assert are_followed(programs[-1]) == [True, True]


def test_lists_are_right(programs):
    """Word by word: for each tile of three rows, or columns, the steps at which one of them is not zero."""
    inputs = 700
    x = sparse(BATCH, inputs, 0.9)
    ends(rl.cat([x, x]), True)
    x = x.numpy()
    for found, turned in zip(lists(programs[-1]), (False, True), strict=True):
        operand = x.T if turned else x
        rows, k = operand.shape
        # As much as two times 16 kB of two panels; or all, where B is a copy of columns of both side by side.
        stage = k if turned else 256
        width = (2 if turned else 1) * 16
        place = nonzero.HEAD
        total = 0
        for row in range(0, rows, 3):
            some = (operand[row : row + 3] != 0).any(0)
            for first in range(0, k, stage):
                expected = np.flatnonzero(some[first : first + stage]) * width
                count = found[place]
                total += count
                np.testing.assert_array_equal(found[place + 1 : place + 1 + count], expected)
                place += 1 + stage + nonzero.BITS
        assert found[1] == total


@pytest.mark.parametrize("share", [0.0, 0.05])
def test_lists_that_leave_out_little_are_not_followed(share, programs):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4 * BATCH, INPUTS)).astype(np.float32)
    x[rng.random(x.shape) < share] = 0
    x = rl.from_numpy(x)
    assert_equal_ends(ends(x, True), ends(x, False))
    assert are_followed(programs[-1]) == [False, False]


def test_data_that_changes_on_the_way(programs, monkeypatch):
    """Lists are given up when batches are full, and taken up again when they are not."""
    monkeypatch.setattr(importlib.import_module("rushlight.compile.many"), "AGAIN", 3)
    force_threads(monkeypatch, 2)
    thin = sparse(4 * BATCH, INPUTS, 0.9)
    full = rl.randn(5 * BATCH, INPUTS)
    for parts, last in (((thin, full), False), ((full, thin, thin), True)):
        x = rl.cat(parts)
        assert_equal_ends(ends(x, True), ends(x, False))
        assert are_followed(programs[-1]) == [last, last]


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("where", ["margin", "middle"])
def test_zeros_times_what_is_not_finite(value, where, programs):
    """Zero times infinity is no number, so weights that nothing but zeros meet still spoil what they go into.
    Of the lists one is followed no longer: not where weights or gradients are not finite.
    """
    x = sparse(4 * BATCH, INPUTS, 0.9)

    def spoil(model):
        with rl.no_grad():
            model[0].weight[3, 2 if where == "margin" else INPUTS // 2] = value

    found, expected = (ends(x, together, change=spoil) for together in (True, False))
    assert_equal_ends(found, expected)
    assert np.isnan(found[1][0]).all()
    assert np.isnan(found[0]).all()


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_data_that_is_not_finite(value):
    x = sparse(4 * BATCH, INPUTS, 0.9)
    x[7, 200] = value
    assert_equal_ends(ends(x, True), ends(x, False))


def test_batches_of_nothing(programs):
    x = rl.zeros(3 * BATCH, INPUTS)
    assert_equal_ends(ends(x, True), ends(x, False))
    assert are_followed(programs[-1]) == [True, True]
    assert [each[1] for each in lists(programs[-1])] == [0, 0]


@pytest.mark.parametrize(("batch", "inputs", "hidden"), [(64, 784, 64), (96, 517, 130), (48, 1024, 72)])
def test_sizes(batch, inputs, hidden, programs):
    x = sparse(3 * batch, inputs, 0.9)
    assert_equal_ends(ends(x, True, sgd, batch, hidden), ends(x, False, sgd, batch, hidden))
    assert are_followed(programs[-1]) == [True, True]


def test_weights_that_are_not_turned(programs):
    """``x @ weight``, as people write it by hand: the weights lie as the product wants them."""
    x = sparse(4 * BATCH, 600, 0.9)
    ends = []
    for together in (True, False):
        rl.manual_seed(1)
        weight = (rl.randn(600, 300) / 30).requires_grad_()
        optimizer = sgd([weight])

        def step(batch, weight=weight, optimizer=optimizer):
            loss = ((batch @ weight).relu() - 1).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        compiled = rl.compile(step)
        loader = DataLoader(TensorDataset(x), batch_size=BATCH)
        losses = [compiled.over(loader).tolist() if together else [compiled(*each).item() for each in loader]]
        ends.append((losses, [weight.detach().numpy().copy()]))
    np.testing.assert_allclose(ends[0][0], ends[1][0], rtol=1e-6)
    np.testing.assert_allclose(ends[0][1][0], ends[1][1][0], rtol=1e-5, atol=1e-6)
    assert are_followed(programs[-1]) == [True]  # the gradient is made of a turned copy of the batch


@pytest.mark.parametrize("inputs", [250, 500, 1100])
def test_the_other_operand_is_in_no_panel(inputs, programs):
    """Only what goes with the result is: lists hold for columns that are copied, if they are short enough."""
    rl.manual_seed(0)
    weight, total = rl.randn(inputs, 1400) / 30, rl.zeros(100, 1400)

    def step(batch):
        with rl.no_grad():
            total.add_(batch @ weight.tanh())
            return total.abs().sum()

    x = sparse(800, inputs, 0.9)
    rl.compile(step).over(DataLoader(TensorDataset(x), batch_size=100))
    expected = (x.numpy().reshape(8, 100, inputs) @ np.tanh(weight.numpy())).sum(0)
    np.testing.assert_allclose(total.numpy(), expected, rtol=1e-4, atol=1e-4)
    are_copied = inputs * 2 * 32 <= 32 << 10
    assert are_followed(programs[-1]) == ([True] if are_copied else [])


def test_batches_met_otherwise_have_no_lists(arrangements):
    """As rows of another length."""
    x = sparse(4 * BATCH, 2 * INPUTS, 0.9)
    rl.manual_seed(1)
    layer = nn.Linear(INPUTS, HIDDEN)

    def model(batch):
        return layer(batch.view(-1, INPUTS)).view(BATCH, -1)

    step = rl.compile(plain_step(model, F.mse_loss, sgd(layer.parameters())))
    step.over(DataLoader(TensorDataset(x, rl.randn(4 * BATCH, 2 * HIDDEN)), BATCH))
    assert arrangements
    assert not any(each.batches.listed for each in arrangements)
