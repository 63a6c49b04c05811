"""Python numbers in compiled steps: rounded to the type they are used in, once, as in a plain step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import rushlight as rl
from rushlight.nn import functional as F

pytest.importorskip("llvmlite", reason="native code needs llvmlite")

from rushlight.compile.c_text import c_text, programs_of
from tests.c_code import library

BEYOND = [1e300, -1e300, 3.4028236e38, 3.4028235677973366e38, -1e39]
WITHIN = [3.4028235e38, -3.4028235e38, 0.1, float("inf"), float("nan")]
STEPS: dict[str, Callable[[rl.Tensor, float], rl.Tensor]] = {
    "arithmetic": lambda x, c: rl.stack([x * c, x + c, x - c, c - x, x / c, c / x]),
    "comparisons": lambda x, c: rl.stack([x < c, x <= c, x == c, c >= x, c < x]),
    "clamp": lambda x, c: rl.stack([x.clamp(max=c), x.clamp(min=c), F.hardtanh(x, -abs(c), abs(c))]),
    "remainders": lambda x, c: rl.stack([x.fmod(c), x.remainder(c), x // c]),
    "full": lambda x, c: rl.full((4,), c) + x,
    "full, widened": lambda x, c: rl.full((4,), c).double() + x,
    "alpha": lambda x, c: rl.add(x, x, alpha=c) + rl.addcmul(x, x, x, value=c),
    "fill": lambda x, c: rl.stack([x.masked_fill(x > 0, c), rl.where(x > 0, c, x)]),
    "activations": lambda x, c: rl.stack(
        [F.threshold(x, c, 1.0), F.threshold(x, 0.5, c), F.leaky_relu(x, c)]
    ),
    "power": lambda x, c: rl.pow(c, x),
    "a sum of it": lambda x, c: rl.full((5,), c).sum() + x,
    "whole numbers": lambda x, c: x.isfinite().long() * c,
    "float64": lambda x, c: x.double() * c,
}


@pytest.mark.parametrize("what", list(STEPS))
@pytest.mark.parametrize("number", BEYOND + WITHIN)
def test_numbers_beyond_the_range_of_a_type(what: str, number: float) -> None:
    """They are infinite, as in a plain step, and nobody warns."""
    step = STEPS[what]
    compiled = rl.compile(lambda x: step(x, number))
    for x in (rl.tensor([1.0, -2.0, 0.0, 3.0]), rl.tensor([1.0, -2.0, float("inf"), 0.5])):
        expected = step(x, number)
        for _ in range(2):
            made = compiled(x)
            assert made.dtype is expected.dtype
            np.testing.assert_allclose(made.numpy(), expected.numpy(), 1e-6)


def test_the_c_text_has_infinity_for_them(tmp_path: Path) -> None:
    """And a C compiler takes it."""
    compiled = rl.compile(lambda x: (x * 1e300).clamp(min=-3.4028236e38) + 0.1)
    compiled(rl.ones(3))
    written = c_text(programs_of(compiled.latest()), "numbers")
    assert "* INFINITY" in written.text and "-INFINITY" in written.text and " + 0.1f" in written.text
    library(written, tmp_path)
