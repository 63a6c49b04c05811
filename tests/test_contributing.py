"""The op that CONTRIBUTING.md shows can be entered as it stands, and brings what the page promises."""

from __future__ import annotations

import subprocess
import sys

from tests.documents import ROOT, python_blocks

CHECKS = """
import rushlight as torch
from rushlight.ops.define import TABLE

x = torch.tensor([1.0, 2.0], requires_grad=True)
y = cube(x)
(first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
(second,) = torch.autograd.grad(first.sum(), x)
target = torch.tensor([2.0])
TABLE["cube"].inplace(target)
print(y, first.tolist(), second.tolist(), target)
"""


def test_the_example_of_an_op_works() -> None:
    """In a process of its own: the op table of this one stays as it is."""
    (block,) = python_blocks(ROOT / "CONTRIBUTING.md")
    result = subprocess.run(
        [sys.executable, "-c", block.code + CHECKS], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "tensor([1., 8.], grad_fn=<CubeBackward0>) [3.0, 12.0] [6.0, 12.0] tensor([8.])\n"
