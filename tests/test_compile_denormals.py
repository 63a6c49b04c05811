"""Denormal numbers in compiled steps: zero in what lasts, kept elsewhere, and the CPU left as it was."""

import importlib

import numpy as np
import pytest

import rushlight as torch
from rushlight import nn

pytest.importorskip("llvmlite", reason="native code needs llvmlite")

from rushlight.compile import denormals
from rushlight.compile.llvm import has_flush

TINY = 1e-40  # in float32, a denormal number


def test_averages_that_fade_become_zero():
    torch.manual_seed(0)
    weight = nn.Parameter(torch.ones(40))
    optimizer = torch.optim.Adam([weight], lr=0.1)
    mask = torch.zeros(40)
    mask[::2] = 1

    @torch.compile
    def step(scale):
        loss = (weight * mask * scale).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(3):  # averages come with the first step, so that the second is recorded anew
        step(torch.tensor(1.0))
    before = weight.detach().clone()
    with torch.no_grad():
        optimizer.state[weight]["exp_avg"].mul_(TINY)
    step(torch.tensor(0.0))
    average = optimizer.state[weight]["exp_avg"]
    assert bool((average == 0).all()) == has_flush()
    assert torch.equal(weight.detach(), before)  # such averages move nothing


def test_other_values_keep_them():
    state = torch.zeros(50)

    @torch.compile
    def step(x):
        state.add_(x)
        return x * 1.0, (x * 0.5).sum()

    x = torch.full((50,), TINY)
    half, total = step(x)
    assert torch.equal(half, x)
    assert total.item() == pytest.approx(25 * TINY, rel=1e-3)


@pytest.mark.parametrize(
    ("make", "size"),
    [
        # The squares of such gradients are denormal numbers and their means are not: without squares their
        # spread would be negative, and its root NaN.
        (lambda weight: torch.optim.RMSprop([weight], lr=0.1, centered=True), 1e-18),
        # Whether two of them have the same sign is read off their product.
        (lambda weight: torch.optim.Rprop([weight], lr=0.1), 1e-20),
        # Without eps the root of the mean square is all that is divided by.
        (lambda weight: torch.optim.Adam([weight], lr=0.1, eps=0), 1e-20),
    ],
    ids=["root of a difference", "sign", "divisor"],
)
def test_they_are_kept_where_signs_matter(make, size):
    gradients = torch.full((40, 32), size) * torch.linspace(0.5, 1.0, 40)[:, None]
    weights = []
    for compiled in (False, True):
        weight = nn.Parameter(torch.zeros(32))
        optimizer = make(weight)

        def step(gradient, weight=weight, optimizer=optimizer):
            optimizer.zero_grad()
            (weight * gradient).sum().backward()
            optimizer.step()

        run = torch.compile(step) if compiled else step
        for gradient in gradients:
            run(gradient)
        weights.append(weight.detach())
    assert weights[0].abs().min() > 0
    torch.testing.assert_close(weights[1], weights[0])


@pytest.mark.parametrize(
    ("name", "arguments", "fades"),
    [
        *[(name, {}, True) for name in ("Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam")],
        ("Adam", {"amsgrad": True, "weight_decay": 0.1}, True),
        ("Adam", {"maximize": True}, True),
        ("Adam", {"eps": 0}, False),
        ("RMSprop", {"momentum": 0.9}, True),
        ("RMSprop", {"centered": True}, False),
        ("Rprop", {}, False),
        ("SGD", {"momentum": 0.9, "nesterov": True}, True),
        ("SGD", {}, False),
    ],
)
def test_which_optimizers_let_them_go(monkeypatch, name, arguments, fades):
    found = []

    class Noted(denormals.Fading):
        def __init__(self, work):
            super().__init__(work)
            found.append(bool(self.averages))

    monkeypatch.setattr(importlib.import_module("rushlight.compile.plan"), "Fading", Noted)
    monkeypatch.setattr(importlib.import_module("rushlight.compile.plan"), "has_flush", lambda: True)
    monkeypatch.setenv("RUSHLIGHT_CACHE", "0")
    torch.manual_seed(0)
    table, layers = nn.Embedding(9, 4), nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    optimizer = getattr(torch.optim, name)([*table.parameters(), *layers.parameters()], lr=0.01, **arguments)

    @torch.compile
    def step(rows, labels):
        loss = nn.functional.cross_entropy(layers(table(rows)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(3):
        step(torch.tensor([0, 3, 8]), torch.tensor([0, 1, 2]))
    assert found[-1] == fades


def test_the_cpu_is_left_as_it_was():
    state = torch.zeros(50)
    step = torch.compile(lambda x: state.add_(x.sum(0)).sum())
    step.over(torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(6, 50)), batch_size=2))
    step(torch.ones(1, 50))
    tiny = np.full(10, TINY, np.float32)
    assert (tiny * np.float32(0.5)).min() > 0


def test_a_failed_check_leaves_the_cpu_as_it_was():
    table = nn.Parameter(torch.ones(5, 4))
    optimizer = torch.optim.SGD([table], lr=0.1)

    @torch.compile
    def step(rows, more):
        loss = table[rows].sum()
        loss.backward()
        optimizer.step()
        return loss + table[more].sum()

    rows = torch.tensor([0, 1])
    step(rows, rows)
    with pytest.raises(IndexError):
        step(rows, torch.tensor([0, 7]))
    tiny = np.full(10, TINY, np.float32)
    assert (tiny * np.float32(0.5)).min() > 0


def test_powers_of_whole_numbers_take_no_time():
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1)

    @torch.compile
    def step(base, exponent):
        optimizer.zero_grad()
        (weight * weight).sum().backward()
        optimizer.step()
        return base**exponent

    for _ in range(3):  # the factors of an unrolled power are more than can be counted one by one
        assert step(torch.arange(3) + 1, torch.arange(3)).tolist() == [1, 2, 9]
