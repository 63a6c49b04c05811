"""Operands in strips: the products of plain ones, whatever is ragged, on any number of threads."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import rushlight as rl
from tests.pacing import force_threads
from tests.widths import as_with_16_registers

pytest.importorskip("llvmlite", reason="native code needs llvmlite")

products = importlib.import_module("rushlight.compile.products")
layout = importlib.import_module("rushlight.compile.layout")
strips = importlib.import_module("rushlight.compile.strips")


@pytest.fixture(autouse=True)
def vectors(monkeypatch):
    """Tiles two vectors wide, as on CPUs with sixteen registers, and copies whenever they are possible."""
    as_with_16_registers(monkeypatch)
    monkeypatch.setattr(strips, "MANY_ROWS", 1)


@pytest.fixture
def copies(monkeypatch):
    """The copies into strips that are written."""
    found = []
    for name in ("emit_strips", "emit_turn"):
        real = getattr(importlib.import_module("rushlight.compile.loops"), name)

        def write(e, copy, *given, real=real):
            statement = getattr(copy, "statement", copy)
            if statement.store.buffer.panels is not None:
                found.append((real.__name__, statement.domain))
            return real(e, copy, *given)

        monkeypatch.setattr(importlib.import_module("rushlight.compile.loops"), name, write)
    return found


def product(x, y):
    return (x @ y).relu()


@pytest.mark.parametrize("dtype", [rl.float32, rl.float64])
@pytest.mark.parametrize(("m", "k", "n"), [(64, 300, 64), (61, 517, 130), (301, 290, 67)])
def test_rows_apart_and_columns(copies, m, k, n, dtype):
    rl.manual_seed(0)
    x, y = rl.randn(m, k, dtype=dtype), rl.randn(k, n, dtype=dtype)
    for left, right in ((x, y), (x, y.T.contiguous().T), (x.T.contiguous().T, y)):
        compiled = rl.compile(product)
        for _ in range(2):
            found = compiled(left, right)
        near = 2e-4 if dtype is rl.float32 else 1e-12
        np.testing.assert_allclose(found.numpy(), product(left, right).numpy(), rtol=near, atol=near)
    assert {name for name, _ in copies} == {"emit_strips", "emit_turn"}
    assert all(domain[0] == k for _, domain in copies)


@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads(copies, threads, monkeypatch):
    found = []
    rl.manual_seed(0)
    x = rl.randn(3 * 70, 300)
    loader = rl.utils.data.DataLoader(rl.utils.data.TensorDataset(x), batch_size=70)
    for count in (1, threads):
        force_threads(monkeypatch, count)
        rl.manual_seed(1)
        model = rl.nn.Linear(300, 280)
        optimizer = rl.optim.SGD(model.parameters(), lr=0.1)

        def step(batch, model=model, optimizer=optimizer):
            loss = model(batch).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        compiled = rl.compile(step)
        losses = compiled.over(loader).tolist()
        losses += [compiled(x[:70]).item() for _ in range(3)]  # single steps have no panels, but strips
        found.append((losses, model.weight.detach().numpy().copy()))
    assert copies
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_small_operands_and_single_strips_stay_as_they_are():
    width = layout.width_of("f4")
    assert strips.strips_for(256, 640, "f4") is None  # all lines stay near
    assert strips.strips_for(300, width, "f4") is None  # a tile takes all columns
    assert strips.strips_for(300, 640, "f4") == layout.Panels(
        width, width, (300 + layout.BETWEEN_PANELS) * width
    )
