"""Batches of a step that is one of many: each thread's own copy, the next one asked for, weights turned."""

from __future__ import annotations

import importlib
import threading

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.fit.step import plain_step
from rushlight.nn import functional as F
from rushlight.utils.data import DataLoader, RandomSampler, TensorDataset
from tests.pacing import force_threads
from tests.spying import returned
from tests.widths import as_with_16_registers, vectors_of

pytest.importorskip("llvmlite", reason="native code needs llvmlite")

plan = importlib.import_module("rushlight.compile.plan")
products = importlib.import_module("rushlight.compile.products")

INPUTS, HIDDEN, BATCH = 301, 40, 61  # nothing of which fills tiles, panels or lines


@pytest.fixture(autouse=True)
def vectors(monkeypatch):
    """Tiles two vectors wide, as on CPUs with sixteen registers, on which weights are turned for products."""
    as_with_16_registers(monkeypatch)
    with vectors_of(32):
        yield


@pytest.fixture
def arrangements(monkeypatch):
    """How the plans that are made have things lie while many steps run."""
    return returned(monkeypatch, plan, "arranged")


def data(rows=4 * BATCH, inputs=INPUTS):
    rl.manual_seed(0)
    return rl.randn(rows, inputs), rl.randint(10, (rows,))


def training(optimizer, inputs=INPUTS, hidden=HIDDEN):
    rl.manual_seed(1)
    model = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 10))
    made = optimizer(model.parameters())
    return model, made, rl.compile(plain_step(model, F.cross_entropy, made))


def sgd(parameters):
    return optim.SGD(parameters, lr=0.05)


def adam(parameters):
    return optim.AdamW(parameters, lr=1e-3)


def momentum(parameters):
    return optim.SGD(parameters, lr=0.02, momentum=0.9, weight_decay=1e-2)


def ends(optimizer, together, sizes=(INPUTS, HIDDEN), batch=BATCH):
    """The losses of two epochs, and parameters, gradients and the optimizer's state after them."""
    x, y = data(4 * batch, sizes[0])
    model, made, step = training(optimizer, *sizes)
    sampler = RandomSampler(range(len(x)), generator=rl.Generator().manual_seed(3))
    loader = DataLoader(TensorDataset(x, y), batch_size=batch, sampler=sampler)
    losses = []
    for _ in range(2):
        losses += step.over(loader).tolist() if together else [step(*each).item() for each in loader]
    kept = [each.detach().numpy().copy() for each in model.parameters()]
    kept += [each.grad.numpy().copy() for each in model.parameters()]
    for state in made.state.values():
        kept += [each.numpy().copy() for each in state.values() if isinstance(each, rl.Tensor)]
    return losses, kept


def assert_equal_ends(found, expected):
    assert found[0] == expected[0]
    for mine, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_array_equal(mine, other)


def turned(arrangement):
    return {(shape.rows, shape.columns) for shape in arrangement.panels.values() if shape.is_turned}


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("optimizer", [sgd, momentum, adam])
def test_many_steps_are_the_single_steps(optimizer, threads, arrangements, monkeypatch):
    """Three threads share a batch, of which there are two copies."""
    force_threads(monkeypatch, threads)
    assert_equal_ends(ends(optimizer, True), ends(optimizer, False))
    together = arrangements[-1]
    assert turned(together) == {(HIDDEN, INPUTS)}
    assert len(together.left_out) == 1
    assert len(together.batches.own) == 2
    assert [each.window.shape for each in together.batches.coming] == [(BATCH, INPUTS)]
    assert together.batches.asking is not None


@pytest.mark.parametrize("threads", [1, 2])
def test_large_batches_are_shared(threads, arrangements, monkeypatch):
    force_threads(monkeypatch, threads)
    sizes = (900, 24)
    assert_equal_ends(ends(sgd, True, sizes, 80), ends(sgd, False, sizes, 80))
    assert not arrangements[-1].batches.own
    assert arrangements[-1].batches.coming


def test_small_batches_are_not_asked_for(arrangements):
    sizes = (100, 40)
    assert_equal_ends(ends(sgd, True, sizes), ends(sgd, False, sizes))
    assert arrangements[-1].batches.own
    assert not arrangements[-1].batches.coming


def test_weights_met_otherwise_are_not_turned(arrangements):
    """What penalizes them meets them element by element."""
    x, y = data()
    rl.manual_seed(1)
    model = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))

    def loss(found, target):
        return F.cross_entropy(found, target) + 1e-3 * model[0].weight.abs().sum()

    step = rl.compile(plain_step(model, loss, sgd(model.parameters())))
    step.over(DataLoader(TensorDataset(x, y), batch_size=BATCH))
    assert arrangements
    assert not any(turned(each) for each in arrangements)


def test_a_batch_that_is_returned_is_shared(arrangements, monkeypatch):
    force_threads(monkeypatch, 2)
    x, _ = data()
    compiled = rl.compile(lambda batch: (batch, batch.sum()))
    same, sums = compiled.over(DataLoader(TensorDataset(x), batch_size=BATCH))
    np.testing.assert_array_equal(same.numpy(), x.numpy().reshape(4, BATCH, INPUTS))
    np.testing.assert_allclose(sums.numpy(), x.numpy().reshape(4, -1).sum(1), rtol=1e-4)
    assert not any(each.batches.own for each in arrangements)


@pytest.mark.parametrize("threads", [1, 2])
def test_what_failed_is_told_of_the_batch_that_failed(threads, monkeypatch):
    """NumPy explains it, given the rows of that batch; the steps before it count."""
    force_threads(monkeypatch, threads)
    found = []
    for bad in (True, False):
        x, y = data()
        model, _, step = training(sgd)
        for _ in range(2):
            step(x[:BATCH], y[:BATCH])
        if bad:
            y[3 * BATCH + 1] = 17
            with pytest.raises(IndexError, match="Target 17 is out of bounds"):
                step.over(DataLoader(TensorDataset(x, y), batch_size=BATCH))
        else:
            step.over(DataLoader(TensorDataset(x[: 3 * BATCH], y[: 3 * BATCH]), batch_size=BATCH))
        found.append(model[0].weight.detach().numpy().copy())
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_are_copied_before_the_next_step_writes_them(threads, monkeypatch):
    """A function that is one product, whose result is what the steps return, with nothing that changes from
    step to step."""
    force_threads(monkeypatch, threads)
    rl.manual_seed(0)
    x, weight = rl.randn(40 * 128, 8), rl.randn(8, 1024)
    compiled = rl.compile(lambda batch: batch @ weight)
    found = compiled.over(DataLoader(TensorDataset(x), batch_size=128))
    expected = np.stack([compiled(batch).numpy() for batch in x.split(128)])
    np.testing.assert_array_equal(found.numpy()[1:], expected[1:])  # the first was recorded, in NumPy


def test_sums_of_many_rows_are_no_matter_of_the_stack(monkeypatch):
    """A thread's stack may be no larger than half a megabyte."""
    rl.manual_seed(0)
    x, layer = rl.randn(20_000, 512), nn.Linear(512, 64)
    compiled = rl.compile(lambda rows: layer(rows))
    ends = []

    def work():
        with rl.no_grad():
            ends.append(compiled(x).numpy())

    before = threading.stack_size(512 << 10)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    with rl.no_grad():
        np.testing.assert_allclose(ends[0], layer(x).numpy(), rtol=1e-4, atol=1e-5)


def test_weights_that_change_before_a_copy_of_them_is_read(arrangements, monkeypatch):
    """What `ordered` would have to do for it is rare, so the order is given."""
    panels = importlib.import_module("rushlight.compile.panels")
    monkeypatch.setattr(panels, "batches", lambda *_: panels.Batches({}))
    real = panels.panelled
    early = []

    def changed(plan, turning):
        found = real(plan, turning)
        turned = [number for number, shape in found.items() if shape.is_turned]
        for number in turned:
            writer = next(
                each for each in plan.groups if any(touch.writes for touch in each.touched.get(number, ()))
            )
            copy = next(each for each in plan.groups if number in each.touched and each.product is None)
            plan.groups.remove(writer)
            plan.groups.insert(plan.groups.index(copy) + 1, writer)
            early.append(real(plan, panels.Turning(plan)))
            plan.groups.remove(writer)
            plan.groups.append(writer)
        return found

    monkeypatch.setattr(panels, "panelled", changed)
    ends(sgd, True)
    assert early
    assert not any(shape.is_turned for found in early for shape in found.values())
