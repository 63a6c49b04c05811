"""Extremes with their places, truth, variances, triangles, other orders of elements: native, and as eager."""

from __future__ import annotations

import math

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.nn import functional as F
from rushlight.utils.data import DataLoader, TensorDataset

pytest.importorskip("llvmlite", reason="native code needs llvmlite")

NAN, INFINITY = math.nan, math.inf
TABLE = [
    [1.0, 3.0, 3.0, -2.0],
    [NAN, 5.0, NAN, 1.0],
    [-0.0, 0.0, -0.0, -1.0],
    [-INFINITY, -INFINITY, 2.0, 2.0],
]

FUNCTIONS = {
    "argmax": lambda x: x.argmax(1),
    "argmax of all": lambda x: x.argmax(),
    "argmin": lambda x: x.argmin(0, keepdim=True),
    "max": lambda x: tuple(x.max(1)),
    "min": lambda x: tuple(x.min(0, keepdim=True)),
    "max of all": lambda x: x.max(),
    "all": lambda x: (x > 0).all(1),
    "any": lambda x: (x > 4).any(),
    "any of numbers": lambda x: x.any(0),
    "var": lambda x: x.var(1),
    "std": lambda x: x.std((0, 1), correction=0, keepdim=True),
    "tril": lambda x: x.tril(-1),
    "triu": lambda x: x.triu(1),
    "flip": lambda x: x.flip(0, 1),
    "roll": lambda x: x.roll((1, -3), (0, 1)),
    "roll all": lambda x: x.roll(5),
}


def arrays_of(result):
    return [each.numpy() for each in (result if isinstance(result, tuple) else (result,))]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("made", ["as it is", "transposed", "large", "whole numbers"])
def test_results_are_those_of_eager_calls(name, made):
    function = FUNCTIONS[name]
    x = {
        "as it is": lambda: rl.tensor(TABLE),
        "transposed": lambda: rl.tensor(TABLE).t(),
        "large": lambda: rl.randint(-9, 9, (37, 41)) / 4,
        "whole numbers": lambda: rl.randint(-9, 9, (6, 19)),
    }[made]()
    if name in ("var", "std") and made == "whole numbers":
        pytest.skip("variances are of floating-point numbers")
    compiled = rl.compile(function)
    compiled(rl.zeros_like(x).t().contiguous().t() if made == "transposed" else rl.zeros_like(x))
    found, expected = arrays_of(compiled(x)), arrays_of(function(x))
    lies_in_a_row = (name, made) != ("roll all", "transposed")
    assert ("by NumPy" in str(compiled.explain())) != lies_in_a_row
    for mine, other in zip(found, expected, strict=True):
        assert mine.dtype == other.dtype
        if name in ("var", "std"):
            np.testing.assert_allclose(mine, other, rtol=1e-6)
        else:
            np.testing.assert_array_equal(mine, other)
            if mine.dtype.kind == "f" and "all" not in name:  # of zeros in a fold either may come out
                np.testing.assert_array_equal(np.signbit(mine), np.signbit(other))


@pytest.mark.parametrize("name", ["max", "min", "max of all", "var", "std", "tril", "flip", "roll"])
def test_gradients_are_those_of_eager_calls(name):
    function = FUNCTIONS[name]

    def step(x):
        result = function(x)
        (result[0] if isinstance(result, tuple) else result).square().sum().backward()
        return x.grad

    compiled, found = rl.compile(step), []
    for each in (step, compiled, compiled):
        x = rl.randn(5, 7, generator=rl.Generator().manual_seed(3)).requires_grad_()
        found.append(each(x).numpy().copy())
    assert "by NumPy" not in str(compiled.explain())
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-5)


def test_gradients_of_several_chosen_elements():
    def step(x):
        x.topk(3).values.square().sum().backward()
        return x.grad

    compiled, x = rl.compile(step), rl.randn(5, 7)
    for each in (compiled, compiled, step):
        leaf = x.clone().requires_grad_()
        assert (each(leaf) == 2 * x * (x >= x.topk(3).values[:, -1:])).all()


def test_one_hot_rows_are_checked():
    compiled = rl.compile(lambda y: F.one_hot(y, 5))
    for _ in range(2):
        assert (compiled(rl.tensor([[0, 4], [2, 2]])) == F.one_hot(rl.tensor([[0, 4], [2, 2]]), 5)).all()
    assert "by NumPy" not in str(compiled.explain())
    with pytest.raises(RuntimeError, match="Class values must be smaller than num_classes"):
        compiled(rl.tensor([[0, 5], [2, 2]]))
    with pytest.raises(RuntimeError, match="Class values must be non-negative"):
        compiled(rl.tensor([[0, -1], [2, 2]]))


def test_a_step_that_counts_what_is_right_is_native():
    """And so an epoch of it is one native call."""
    rl.manual_seed(0)
    x, y = rl.randn(60, 20), rl.randint(5, (60,))
    ends = []
    for together in (True, False):
        rl.manual_seed(1)
        model = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 5))
        optimizer = optim.SGD(model.parameters(), lr=0.5)

        @rl.compile
        def step(x, y, model=model, optimizer=optimizer):
            out = model(x)
            optimizer.zero_grad()
            F.cross_entropy(out, y).backward()
            optimizer.step()
            return (out.argmax(1) == y).float().mean()

        for _ in range(3):
            loader = DataLoader(TensorDataset(x, y), batch_size=10)
            found = step.over(loader).tolist() if together else [step(*each).item() for each in loader]
        assert "by NumPy" not in str(step.explain())
        ends.append(found)
    assert ends[0] == ends[1]
    assert np.mean(ends[0]) > 0.5
