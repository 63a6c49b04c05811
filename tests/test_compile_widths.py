"""Native code with vectors of every width, whichever the CPU's is: the numbers of eager steps."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("llvmlite", reason="native code needs llvmlite")

# Whole and ragged tiles, large weights in panels, operands turned and in strips, updates in one loop with
# the next step.
SCRIPT = """
import numpy as np
import rushlight as rl
from rushlight import nn, optim
from rushlight.compile import llvm
from rushlight.fit.step import plain_step
from rushlight.utils.data import DataLoader, TensorDataset

print(llvm.vector_bytes(), llvm.has_matrix_unit())

def ends(compiled, dtype, batch, sizes):
    rl.manual_seed(0)
    x, y = rl.randn(3 * batch, sizes[0], dtype=dtype), rl.randint(10, (3 * batch,))
    layers = [nn.Linear(*pair, dtype=dtype) for pair in zip(sizes, sizes[1:])]
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.Tanh(), layers[2])
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    step = plain_step(model, nn.functional.cross_entropy, optimizer)
    loader = DataLoader(TensorDataset(x, y), batch_size=batch)
    losses = rl.compile(step).over(loader) if compiled else [step(*pair).detach() for pair in loader]
    return [float(each) for each in losses], [each.detach().numpy() for each in model.parameters()]

for dtype, near in ((rl.float32, 1e-5), (rl.float64, 1e-13)):
    wide = (300, 528, 331, 10)
    for batch, sizes in ((33, wide), (261, wide), (64, (64, 48, 32, 10)), (2, (512, 64, 32, 10))):
        (losses, mine), (expected, eager) = (ends(each, dtype, batch, sizes) for each in (True, False))
        np.testing.assert_allclose(losses, expected, rtol=near)
        for one, other in zip(mine, eager):
            np.testing.assert_allclose(one, other, atol=near / 10, rtol=near)
print("equal")
"""


def run(width: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, "RUSHLIGHT_VECTOR_BYTES": width, "RUSHLIGHT_MATRIX_UNIT": "0"}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT], env=given, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("width", [16, 32, 64])
def test_compiled_steps_are_eager_ones(width):
    found = run(str(width))
    assert found.returncode == 0, found.stderr
    assert found.stdout == f"{width} False\nequal\n"


def test_other_widths_are_refused():
    assert "RUSHLIGHT_VECTOR_BYTES must be 16, 32 or 64, not '24'" in run("24").stderr
