"""Strands: batches of many rows that threads take from the first layer to the last without meeting."""

from __future__ import annotations

import importlib
import itertools
import re

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.fit.step import plain_step
from rushlight.nn import functional as F
from rushlight.utils.data import DataLoader, TensorDataset
from tests.c_code import check
from tests.pacing import force_threads
from tests.spying import returned

pytest.importorskip("llvmlite", reason="native code needs llvmlite")

from rushlight.compile.c_text import c_text, programs_of

plan = importlib.import_module("rushlight.compile.plan")
strands = importlib.import_module("rushlight.compile.strands")

ROWS = 132  # four strands of 33, which fill no tile


@pytest.fixture(autouse=True)
def cut(monkeypatch):
    """Small networks are cut too; returns the texts of modules that are made."""
    monkeypatch.setenv("RUSHLIGHT_CACHE", "0")
    monkeypatch.setattr(strands, "WORTH_CUTTING", 1000)
    monkeypatch.setattr(importlib.import_module("rushlight.compile.schedule"), "WORTH_SPLITTING", 300)
    return returned(monkeypatch, plan, "module_text")


class Reversed(nn.Module):
    """What is computed for a row needs other rows, of other strands."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(9, 17), nn.Linear(17, 3)

    def forward(self, x):
        hidden = rl.tanh(self.first(x))
        return self.last(hidden + hidden.flip(0) + hidden.roll(40, 0) - hidden.mean(0))


class Chosen(nn.Module):
    """Rows are looked up, some of them in other strands."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(9, 17), nn.Linear(17, 3)
        self.register_buffer("order", rl.arange(ROWS) * 5 % ROWS)

    def forward(self, x):
        return self.last(rl.relu(self.first(x))[self.order])


def values():
    model = nn.Sequential(nn.Linear(9, 17), nn.Tanh(), nn.Linear(17, 17), nn.ReLU(), nn.Linear(17, 1))
    return model, F.mse_loss, 1


def classes():
    return nn.Sequential(nn.Linear(9, 17), nn.ReLU(), nn.Dropout(0.3), nn.Linear(17, 3)), F.cross_entropy, 0


def normed():
    model = nn.Sequential(nn.Linear(9, 17), nn.BatchNorm1d(17), nn.GELU(), nn.LayerNorm(17), nn.Linear(17, 3))
    return model, F.cross_entropy, 0


def reversed_rows():
    return Reversed(), F.mse_loss, 3


def chosen_rows():
    return Chosen(), F.mse_loss, 3


CASES = {each.__name__: each for each in (values, classes, normed, reversed_rows, chosen_rows)}


def adam(parameters):
    return optim.AdamW(parameters, lr=1e-2)


def sgd(parameters):
    return optim.SGD(parameters, lr=0.1)


def training(make, rows=ROWS, dtype=rl.float32, optimizer=adam):
    """A step, its model, and batches for it."""
    rl.manual_seed(0)
    model, loss, width = make()
    model = model.to(dtype)
    x = rl.randn(3 * rows, 9, dtype=dtype)
    y = rl.randn(3 * rows, width, dtype=dtype) if width else rl.randint(3, (3 * rows,))
    return (
        plain_step(model, loss, optimizer(model.parameters())),
        model,
        DataLoader(TensorDataset(x, y), batch_size=rows),
    )


def ends(step, model, loader, over=False):
    """The losses of two epochs, and gradients and parameters after them."""
    rl.manual_seed(1)
    losses = []
    for _ in range(2):
        losses += step.over(loader).tolist() if over else [step(*batch).item() for batch in loader]
    return [
        np.array(losses),
        *(value.detach().numpy().copy() for each in model.parameters() for value in (each, each.grad)),
    ]


def groups_of(step):
    """What the groups of the newest program compute, and over what."""
    program = step.explain().programs[-1]
    return [(each.ops, each.loops) for each in program.groups]


@pytest.mark.parametrize("case", CASES)
def test_strands_are_the_plain_step(case):
    """In float64, so that another order of summation is no excuse; without Adam, which makes something of
    gradients that are zero but for rounding.
    """
    step, *rest = training(CASES[case], dtype=rl.float64, optimizer=sgd)
    expected = ends(step, *rest)
    step, *rest = training(CASES[case], dtype=rl.float64, optimizer=sgd)
    step = rl.compile(step)
    for mine, other in zip(ends(step, *rest), expected, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-12)
    assert any(loops[:2] == (4, ROWS // 4) for _, loops in groups_of(step))


@pytest.mark.parametrize("case", CASES)
def test_threads_and_ways_have_the_same_bits(case, monkeypatch):
    found = []
    for threads in (1, 2, 3, 4):
        force_threads(monkeypatch, threads)
        for over in (False, True):
            step, *rest = training(CASES[case])
            found.append(ends(rl.compile(step), *rest, over=over))
    for each in found[1:]:
        for mine, other in zip(each, found[0], strict=True):
            np.testing.assert_array_equal(mine, other)


def phases(text):
    """What threads do between two meetings in a step that is one of many, or in a single one."""
    step = next(each for each in re.findall(r"define i32 @step.*?\n}", text, re.S))
    return [re.findall(r"call void @([a-z]\w*)\(", each) for each in step.split("call void @barrier")]


def test_threads_do_not_meet_between_layers(cut):
    step, model, loader = training(values)
    ends(rl.compile(step), model, loader, over=True)
    (longest,) = (each for each in phases(cut[-1]) if any("tanh" in name for name in each))
    names = " ".join(longest)
    assert "relu" in names
    assert "mse_loss" in names
    assert "threshold_backward" in names
    assert len([each for each in longest if each.startswith("mm")]) >= 5


@pytest.mark.parametrize("case", ["reversed_rows", "chosen_rows"])
def test_threads_meet_where_rows_of_others_are_read(case, cut):
    """Not only by chance do the bits of several threads agree."""
    step, model, loader = training(CASES[case])
    ends(rl.compile(step), model, loader)
    first = next(
        place for place, each in enumerate(phases(cut[-1])) if any("linear" in name for name in each)
    )
    last = max(place for place, each in enumerate(phases(cut[-1])) if any("mse" in name for name in each))
    assert first < last


def test_memory_of_strands_is_not_given_away_before_all_are_done(monkeypatch):
    """A thread may be at the last group in strands while another is at the first: what either makes has a
    place of its own.
    """
    plans = returned(monkeypatch, plan, "Plan")
    placed = returned(monkeypatch, importlib.import_module("rushlight.compile.places"), "places")
    step, model, loader = training(values)
    ends(rl.compile(step), model, loader)
    made = plans[-1]
    inside = {
        each.store.buffer.number
        for group in made.groups
        if group.strands() > 1
        for each in group.storing(made.stored)
    }
    stretches = sorted(
        (offset, offset + made.buffers[number].nbytes) for number, offset in placed[-1][0] if number in inside
    )
    assert len(stretches) >= 6
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(stretches))


@pytest.mark.parametrize(
    ("rows", "make"),
    [
        (134, values),  # four strands would not be equal
        (124, values),  # too few rows
        (ROWS, lambda: (nn.Sequential(nn.Linear(9, 200), nn.ReLU(), nn.Linear(200, 60)), F.mse_loss, 60)),
    ],
)
def test_what_is_not_cut(rows, make):
    step, *rest = training(make, rows)
    compiled = rl.compile(step)
    ends(compiled, *rest)
    assert not any(loops[:1] == (4,) for _, loops in groups_of(compiled))


def test_full_batches_that_the_step_captures():
    rl.manual_seed(0)
    x, y = rl.randn(ROWS, 9), rl.randn(ROWS, 1)

    def trained(compiled):
        rl.manual_seed(1)
        model, loss, _ = values()
        made = optim.SGD(model.parameters(), lr=0.1)
        plain = plain_step(model, loss, made)
        step = rl.compile(lambda: plain(x, y)) if compiled else lambda: plain(x, y)
        return [step().item() for _ in range(5)]

    np.testing.assert_allclose(trained(True), trained(False), rtol=1e-5)


def test_sums_over_rows_of_whole_numbers():
    rl.manual_seed(0)
    x, weight = rl.randn(ROWS, 9), rl.randn(17, 9)

    def function(x):
        hidden = x @ weight.T
        return hidden.T @ x, (hidden > 0).sum(0), hidden.sum(0), hidden.mean(0), hidden.amax(0)

    compiled = rl.compile(function)
    for _ in range(2):
        for mine, other in zip(compiled(x), function(x), strict=True):
            assert mine.dtype is other.dtype
            np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", ["values", "chosen_rows"])
def test_the_step_in_c_gives_the_same_numbers(case, tmp_path):
    step, model, loader = training(CASES[case])
    compiled = rl.compile(step)
    ends(compiled, model, loader)
    made = compiled.latest()
    made.refresh()
    given = [each._array for each in next(iter(loader))]
    check(c_text(programs_of(made), "step"), made.executor, given, tmp_path)


def test_batches_of_products_are_shared_among_threads(monkeypatch):
    rl.manual_seed(0)
    a, b = rl.randn(5, 31, 20), rl.randn(5, 20, 23)
    found = []
    for threads in (1, 2, 3):
        force_threads(monkeypatch, threads)
        product = rl.compile(lambda a, b: rl.relu(a @ b))
        found.append([product(a, b).numpy() for _ in range(3)][-1])
        (group,) = product.explain().programs[0].groups
        assert group.units == 5
    np.testing.assert_allclose(found[0], rl.relu(a @ b).numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
