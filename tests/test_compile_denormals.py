"""Denormal numbers in compiled steps: zero in what lasts, kept elsewhere, and the CPU left as it was."""

import numpy as np
import pytest

import rushlight as torch
from rushlight import nn

pytest.importorskip("llvmlite", reason="native code needs llvmlite")

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
    ],
    ids=["root of a difference", "sign"],
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
