"""Native programs against the recorded ops run one by one, on one thread and on two."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import rushlight as torch
import rushlight.nn.functional as F
from rushlight import nn

pytest.importorskip("llvmlite", reason="native code needs llvmlite")

from rushlight.compile.function import meeting_bytes
from rushlight.compile.native import Native
from rushlight.compile.replay import Replay


def classifier(batch, optimizer):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(50, 33), nn.ReLU(), nn.Linear(33, 7))
    step = optimizer(model.parameters())
    data, labels = torch.rand(batch, 50), torch.randint(0, 7, (batch,))

    def train(x, y):
        loss = F.cross_entropy(model(x), y)
        step.zero_grad()
        loss.backward()
        step.step()
        return loss

    return train, (data, labels)


def regression(batch, optimizer):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(19, 24), nn.Tanh(), nn.LayerNorm(24), nn.Linear(24, 1), nn.Sigmoid())
    step = optimizer(model.parameters())
    data, target = torch.rand(batch, 19), torch.rand(batch, 1)

    def train(x, y):
        loss = F.mse_loss(model(x), y)
        step.zero_grad()
        loss.backward()
        step.step()
        return loss

    return train, (data, target)


def lookup(batch, optimizer):
    torch.manual_seed(0)
    users, items = nn.Embedding(30, 10), nn.Embedding(40, 10)
    step = optimizer([*users.parameters(), *items.parameters()])
    pairs = torch.stack([torch.randint(0, 30, (batch,)), torch.randint(0, 40, (batch,))], 1)

    def train(x, y):
        found = torch.sigmoid((users(x[:, 0]) * items(x[:, 1])).sum(1, keepdim=True)) * 5.5
        loss = F.mse_loss(found, y)
        step.zero_grad()
        loss.backward()
        step.step()
        return loss

    return train, (pairs, torch.rand(batch, 1) * 5)


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


def clipped(batch, optimizer):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 33), nn.ReLU(), nn.Linear(33, 7))
    step = optimizer(model.parameters())
    data, labels = torch.rand(batch, 20), torch.randint(0, 7, (batch,))

    def train(x, y):
        loss = F.cross_entropy(model(x), y)
        step.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        step.step()
        return loss

    return train, (data, labels)


def adam(parameters):
    return torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1)


def recorded(make, batch, optimizer):
    """The program of a step, with arrays to call it with."""
    train, given = make(batch, optimizer)
    compiled = torch.compile(train, backend="replay")
    for _ in range(3):
        compiled(*given)
    (recording,) = compiled.all_recordings()
    recording.refresh()
    return recording, [each._array for each in given]


def states_of(program):
    return [each.array for each in program.buffers if each.kind == "state"]


@pytest.mark.parametrize("optimizer", [sgd, adam])
@pytest.mark.parametrize("make", [classifier, regression, lookup, clipped])
@pytest.mark.parametrize("batch", [1, 2, 37])
def test_a_native_program_does_what_its_ops_do(make, batch, optimizer):
    recording, given = recorded(make, batch, optimizer)
    program = recording.program
    states = states_of(program)
    before = [each.copy() for each in states]
    replay = Replay(program)
    losses = [replay.run(given)[0] for _ in range(10)]
    wanted = [each.copy() for each in states]
    for each, old in zip(states, before, strict=True):
        each[...] = old
    native = Native(program, program.kept)
    assert all(isinstance(each, str) for each in native.segments), "nothing here is left to NumPy"
    np.testing.assert_allclose([native.run(given)[0] for _ in range(10)], losses, rtol=1e-5, atol=1e-7)
    for found, want in zip(states, wanted, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-6)
    for look in program.kept:
        np.testing.assert_allclose(native.memory.view(look), replay.memory.view(look), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("as_they_go", [False, True])
@pytest.mark.parametrize("make", [classifier, lookup, clipped])
def test_many_steps_in_one_call_are_the_same_bits_on_any_number_of_threads(make, as_they_go, monkeypatch):
    """Whether each does its own share or takes pieces as it goes."""
    monkeypatch.setenv("RUSHLIGHT_CACHE", "0")
    monkeypatch.setattr(importlib.import_module("rushlight.compile.schedule"), "WORTH_SPLITTING", 0)
    least = 0 if as_they_go else 1e9
    monkeypatch.setattr(importlib.import_module("rushlight.compile.plan"), "WORTH_SHARING", least)
    recording, given = recorded(make, 20, adam)
    program = recording.program
    live = [buffer for buffer, _ in recording.live]
    native = Native(program, program.kept, live)
    assert (native.built.meeting > meeting_bytes(1)) == as_they_go
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 20, (25, 20))
    rates = np.array([[read() for _, read in recording.live]] * len(rows), np.float64)
    states = states_of(program)
    before = [each.copy() for each in states]
    one_by_one = [native.run([each[chosen] for each in given])[0] for chosen in rows]
    wanted = [each.copy() for each in states]
    for threads in (1, 2, 3):
        for each, old in zip(states, before, strict=True):
            each[...] = old
        (losses,) = native.run_many(given, rows, rates, threads)
        assert losses.tolist() == [float(each) for each in one_by_one]
        for found, want in zip(states, wanted, strict=True):
            np.testing.assert_array_equal(found, want)


# Around the sizes of vectors and of register tiles: one less, one more, and several of them.
SIZES = [
    (1, 5, 70),
    (2, 33, 64),
    (7, 16, 17),
    (15, 31, 48),
    (16, 96, 5),
    (29, 28, 27),
    (37, 64, 130),
    (64, 50, 3),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_products_of_every_layout(size, dtype):
    """Operands and results with either dimension contiguous, and what follows at every finished piece."""
    m, n, k = size
    torch.manual_seed(0)
    left, right = torch.rand(m, k, dtype=dtype) - 0.5, torch.rand(k, n, dtype=dtype) - 0.5
    bias = torch.rand(n, dtype=dtype)
    turned = torch.empty(n, m, dtype=dtype).t()

    def products(a, b, c, out):
        found = [a @ b, a.t().contiguous().t() @ b, a @ b.t().contiguous().t(), (b.t() @ a.t()).t()]
        out.copy_(a @ b + c)
        return [torch.relu(each + c) * 2 for each in found], out + 0

    wanted, copied = products(left, right, bias, turned)
    compiled = torch.compile(products)
    for _ in range(2):
        found, last = compiled(left, right, bias, turned)
    (recording,) = compiled.all_recordings()
    assert all(isinstance(each, str) for each in recording.executor.segments)
    tolerance = 1e-5 if dtype is torch.float32 else 1e-13
    for each, want in [*zip(found, wanted, strict=True), (last, copied)]:
        np.testing.assert_allclose(each.numpy(), want.numpy(), tolerance, tolerance)


def test_a_label_out_of_range_is_found_before_anything_changes():
    recording, (data, labels) = recorded(classifier, 4, sgd)
    native = Native(recording.program)
    states = states_of(recording.program)
    before = [each.copy() for each in states]
    for bad in (7, -3):
        wrong = labels.copy()
        wrong[2] = bad
        with pytest.raises(IndexError, match=f"Target {bad} is out of bounds"):
            native.run([data, wrong])
    for each, old in zip(states, before, strict=True):
        np.testing.assert_array_equal(each, old)
    assert np.isfinite(native.run([data, labels])[0])


def test_what_has_no_loops_runs_in_numpy_between_native_parts():
    @torch.compile
    def step(x):
        return (torch.sort(x * 2, 0)[0] + 1).cumsum(0)

    for _ in range(3):
        x = torch.rand(5, 3)
        wanted = (torch.sort(x * 2, 0)[0] + 1).cumsum(0)
        np.testing.assert_allclose(step(x).numpy(), wanted.numpy(), rtol=1e-6)
    (recording,) = step.all_recordings()
    kinds = [type(each).__name__ for each in recording.executor.segments]
    assert kinds == ["str", "Call", "str", "Call"]


def recorded_classifier():
    """A compiled step that is running natively, its arguments, its recording, and a weight."""
    train, given = classifier(4, sgd)
    step = torch.compile(train)
    for _ in range(3):
        step(*given)
    (recording,) = step.all_recordings()
    return step, given, recording, recording.left.grads[0].leaf


def test_a_gradient_that_somebody_keeps_does_not_change():
    step, given, _, leaf = recorded_classifier()
    step(*given)
    for keep in (
        lambda g: g,
        lambda g: g[1],
        lambda g: g.detach(),
        lambda g: g.numpy(),
        lambda g: g.numpy()[1:],
    ):
        held = keep(leaf.grad)
        before = np.array(held)
        step(*given)
        np.testing.assert_array_equal(np.asarray(held), before)
        assert not np.array_equal(np.asarray(keep(leaf.grad)), before)
    del held
    step(*given)
    same = id(leaf.grad)
    step(*given)
    assert id(leaf.grad) == same, "what nobody else holds is written over"


def test_gradients_that_nobody_holds_keep_their_memory(monkeypatch):
    """Also after a gradient was held, set to None, or replaced; each at one step, and then no more."""
    step, given, recording, leaf = recorded_classifier()
    renewed = []
    memory = recording.executor.memory
    renew = memory.renew
    monkeypatch.setattr(memory, "renew", lambda window: (renewed.append(window), renew(window)))

    def changed(change):
        change()
        for _ in range(5):
            step(*given)
        found = len(renewed)
        renewed.clear()
        return found

    held = []
    assert changed(lambda: None) == 0
    assert changed(lambda: held.append(leaf.grad.numpy()[0])) == 1
    assert changed(lambda: None) == 0, "it is held still, but the program has other memory now"
    assert changed(held.clear) == 0
    assert changed(lambda: setattr(leaf, "grad", None)) == 0
    assert changed(lambda: setattr(leaf, "grad", torch.zeros(leaf.shape))) == 0
    assert changed(lambda: leaf.grad.requires_grad_()) == 1
    assert changed(lambda: setattr(leaf.grad, "data", torch.zeros(leaf.shape))) == 1


def test_leaves_of_different_calls_have_gradients_of_their_own():
    @torch.compile
    def step(weight, x):
        (weight * x).sum().square().backward()

    x = torch.rand(5)
    leaves = [torch.rand(5, requires_grad=True) for _ in range(6)]
    for leaf in leaves:
        step(leaf, x)
    for leaf in leaves:
        np.testing.assert_allclose(leaf.grad.numpy(), (2 * (leaf * x).sum() * x).detach().numpy(), rtol=1e-5)


def test_zeros_of_different_signs_are_different_operands():
    step = torch.compile(lambda x: (1 / (x * 0.0), 1 / (x * -0.0)))
    for _ in range(2):
        above, below = step(torch.tensor([1.0, 2.0]))
    assert above.tolist() == [float("inf")] * 2
    assert below.tolist() == [float("-inf")] * 2


def test_zeros_of_different_signs_are_different_arguments():
    step = torch.compile(lambda x, zero: 1 / (x * zero))
    scale = 0.0
    closed = torch.compile(lambda x: 1 / (x * scale))
    x = torch.tensor([1.0])
    for sign in (1, 1, -1, -1, 1):
        scale = sign * 0.0
        assert step(x, scale).tolist() == [sign * float("inf")]
        assert closed(x).tolist() == [sign * float("inf")]
