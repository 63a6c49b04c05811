"""Memory that steps free is kept for the next step."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PAGES = """
import resource
import rushlight as torch

layer = torch.nn.Linear(784, 64)
optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
images = torch.rand(2, 784)

def step():
    optimizer.zero_grad()
    layer(images).sum().backward()
    optimizer.step()

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for _ in range(50):
    step()
before = pages()
for _ in range(100):
    step()
print(pages() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have ways of their own")
def test_a_step_gets_no_new_pages_from_the_system() -> None:
    """A gradient of 200 kB is made and freed in every step, and another such array; each lies on 49 pages."""
    result = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, text=True, check=True)
    assert int(result.stdout) < 500
