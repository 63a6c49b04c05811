"""Values that an op refuses are refused by compiled steps at every call, as a plain run refuses them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rushlight as torch
from rushlight import nn
from rushlight.nn import functional as F
from rushlight.ops.numeric import numpy_namespace
from rushlight.utils.data import DataLoader, TensorDataset

CHANCES = torch.tensor([0.25, 0.5, 0.75, 0.125, 1.0])
RATES = torch.tensor([0.5, 1.5, 2.5, 3.5, 4.5])
COUNTS = torch.tensor([5, 4, 3, 2, 1])
TARGETS = torch.tensor([0.0, 1.0, 1.0, 0.5, 0.25])

Good = tuple[Any, ...]

REFUSALS: dict[str, tuple[Callable[..., Any], Good, int, Any]] = {
    "binary_cross_entropy input": (F.binary_cross_entropy, (CHANCES, TARGETS), 0, CHANCES + 1),
    "binary_cross_entropy target": (F.binary_cross_entropy, (CHANCES, TARGETS), 1, TARGETS - 0.5),
    "binary_cross_entropy nan": (F.binary_cross_entropy, (CHANCES, TARGETS), 1, TARGETS * float("nan")),
    "of what the step computed": (
        lambda x, y: F.binary_cross_entropy(x * 2 - 1, y, reduction="sum"),
        (CHANCES / 2 + 0.5, TARGETS),
        0,
        CHANCES - 1,
    ),
    "floor_divide": (lambda a, b: a // b, (COUNTS + 7, COUNTS), 1, COUNTS - 3),
    "remainder": (lambda a, b: a % b, (COUNTS + 7, COUNTS), 1, COUNTS - 3),
    "fmod": (torch.fmod, (COUNTS + 7, COUNTS), 1, COUNTS - 3),
    "div, rounded": (
        lambda a, b: torch.div(a, b, rounding_mode="trunc"),
        (COUNTS + 7, COUNTS),
        1,
        COUNTS - 3,
    ),
    "a number divided": (lambda b: 7 // b, (COUNTS,), 0, COUNTS - 3),
    "other types": (lambda a, b: a.int() // b.short(), (COUNTS + 7, COUNTS), 1, COUNTS - 3),
    "gaussian_nll_loss": (F.gaussian_nll_loss, (RATES, TARGETS, CHANCES), 2, CHANCES - 0.5),
    "bernoulli": (torch.bernoulli, (CHANCES,), 0, CHANCES * 2),
    "bernoulli_": (lambda p: torch.zeros(5).bernoulli_(p), (CHANCES,), 0, CHANCES - 0.5),
    "normal": (torch.normal, (RATES, CHANCES), 1, -CHANCES),
    "poisson": (torch.poisson, (RATES,), 0, -RATES),
    "multinomial": (lambda w: torch.multinomial(w, 2), (RATES,), 0, -RATES),
    "Poisson": (lambda r: torch.distributions.Poisson(r * 2).sample(), (RATES,), 0, -RATES),
    "Poisson.log_prob": (
        lambda r, x: torch.distributions.Poisson(r).log_prob(x),
        (RATES, COUNTS.float()),
        1,
        COUNTS + 0.5,
    ),
    "a Poisson of one": (
        lambda r: torch.distributions.Poisson(r).log_prob(torch.tensor(2.0)),
        (RATES[0],),
        0,
        -RATES[0],
    ),
    "Binomial": (
        lambda p, x: torch.distributions.Binomial(5, p).log_prob(x),
        (CHANCES, COUNTS.float()),
        1,
        COUNTS + 1.0,
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_refused_is_refused_at_every_call(name: str) -> None:
    function, good, place, wrong = REFUSALS[name]
    compiled = torch.compile(function)
    bad = (*good[:place], wrong, *good[place + 1 :])
    with pytest.raises((RuntimeError, ValueError)) as plain:
        function(*bad)
    for _ in range(2):
        compiled(*good)
    for _ in range(2):
        with pytest.raises(type(plain.value)) as found:
            compiled(*bad)
        assert str(found.value) == str(plain.value)
        assert "in a compiled step" in found.value.__notes__[0]  # and not while it was recorded again
        torch.manual_seed(3)
        again = compiled(*good)
        torch.manual_seed(3)
        torch.testing.assert_close(again, function(*good))
    assert repr(compiled).endswith("1 recorded>")


def test_a_divisor_that_is_a_number_is_not_looked_at() -> None:
    compiled = torch.compile(lambda x: x % 3)
    compiled(COUNTS)
    assert "check" not in str(compiled.explain())


@pytest.mark.parametrize(
    ("name", "operands"),
    [
        ("binary_cross_entropy", ([0.5, 1.5, 0.25], [0.5, 0.5, 0.5])),
        ("binary_cross_entropy", ([0.5, 1.0, 0.25], [0.5, -0.5, 0.5])),
        ("binary_cross_entropy", ([0.5, 1.0, 0.25], [0.5, 0.5, 0.5])),
        ("floor_divide", ([1, 2, 3], [1, 0, 3])),
        ("floor_divide", ([1, 2, 3], [1, 2, 3])),
        ("floor_divide", ([1.0, 2.0, 3.0], [1.0, 0.0, 3.0])),
    ],
)
def test_the_formula_says_what_the_check_says(name: str, operands: tuple[list[Any], list[Any]]) -> None:
    from rushlight.ops.elementwise import FLOOR_DIVIDE
    from rushlight.ops.pointwise_loss import BCE

    op = {"binary_cross_entropy": BCE.map, "floor_divide": FLOOR_DIVIDE}[name]
    arrays = [np.array(each, np.float32 if isinstance(each[0], float) else np.int64) for each in operands]
    params = {"reduction": "none", "threshold": 0.0} if name == "binary_cross_entropy" else {}
    assert op.refused is not None
    refused = bool(np.any(op.refused(numpy_namespace, *arrays)))
    try:
        with np.errstate(divide="ignore"):
            op.forward(*arrays, **params)
    except RuntimeError:
        assert refused
    else:
        assert not refused


def classifier() -> tuple[Any, Any]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1), nn.Sigmoid())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)

    def step(x, y):
        optimizer.zero_grad()
        loss = F.binary_cross_entropy(model(x).squeeze(1), y)
        loss.backward()
        optimizer.step()
        return loss

    return model, torch.compile(step)


def weights(model: Any) -> list[np.ndarray]:
    return [each.detach().numpy().copy() for each in model.parameters()]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_refused_batch_changes_no_weights(threads: int, request: pytest.FixtureRequest) -> None:
    request.addfinalizer(functools.partial(torch.set_num_threads, torch.get_num_threads()))
    torch.set_num_threads(threads)
    model, step = classifier()
    x, y = torch.randn(6, 3), torch.rand(6)
    for _ in range(3):
        step(x, y)
    before = weights(model)
    with pytest.raises(RuntimeError, match="all elements of target should be between 0 and 1"):
        step(x, y + 1)
    for old, new in zip(before, weights(model), strict=True):
        np.testing.assert_array_equal(old, new)
    step(x, y)
    assert any((old != new).any() for old, new in zip(before, weights(model), strict=True))


def test_an_epoch_stops_at_the_batch_that_is_refused() -> None:
    ends = []
    for together in (True, False):
        model, step = classifier()
        torch.manual_seed(1)
        x, y = torch.randn(12, 3), torch.rand(12)
        for _ in range(2):
            step(x[:2], y[:2])
        y[7] = 2.0
        loader = DataLoader(TensorDataset(x, y), batch_size=2)
        with pytest.raises(RuntimeError, match="all elements of target should be between 0 and 1"):
            if together:
                step.over(loader)
            else:
                for batch in loader:
                    step(*batch)
        ends.append(weights(model))
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_condition_leaves_a_step_whole_and_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llvmlite", reason="native code needs llvmlite")
    monkeypatch.setenv("RUSHLIGHT_CACHE", str(tmp_path))
    for _ in range(2):
        compiled = torch.compile(lambda r, x: torch.distributions.Poisson(r).log_prob(x).sum())
        compiled(RATES, COUNTS.float())
        assert "NumPy" not in str(compiled.explain())
    assert len([each for each in tmp_path.rglob("*") if each.is_file()]) == 1  # the second is the first's


def test_conditions_can_be_written_by_hand() -> None:
    from rushlight.ops.require import require

    @torch.compile
    def root(x):
        require(x >= 0, lambda x: ValueError(f"no root of {x.min().item()}"), x)
        return x.sqrt()

    good = torch.tensor([1.0, 4.0])
    assert root(good).tolist() == root(good).tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match=r"no root of -4\.0"):
        root(-good)
