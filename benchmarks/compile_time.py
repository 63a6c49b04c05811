"""How long a compiled step takes from its first call to the result, with an empty cache and with a full one.

Every figure comes from fresh interpreters with their byte code cached; ``import rushlight`` and making the
network are not counted, imports on first use and LLVM's are. Invariant: before each cold run the cache is
empty, and before each warm one it holds what the cold one put there.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
FIRST = "784-64-32-10"
# Widths of the layers, and rows of a batch. All but the last layer are followed by a ReLU.
NETWORKS: dict[str, tuple[Sequence[int], int]] = {
    FIRST: ((784, 64, 32, 10), 2),
    **{f"{count} layers of 64": ((64,) * (count + 1), 64) for count in (4, 16, 64)},
}


class CompileTime(NamedTuple):
    """Milliseconds of the first call: the median by the clock, and the least of the calling thread's
    processor time, that of an undisturbed run.
    """

    wall: float
    processor: float


def first_call(name: str) -> tuple[float, float]:
    """Seconds that the first call of a training step takes here and now, by the clock and the processor."""
    import rushlight as torch
    from rushlight import nn
    from rushlight.nn import functional as F

    widths, batch = NETWORKS[name]
    layers = [nn.Linear(*pair) for pair in pairwise(widths)]
    parts = [part for layer in layers for part in (layer, nn.ReLU())]
    model = nn.Sequential(*parts[:-1])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    @torch.compile
    def step(x, y):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    x, y = torch.rand(batch, widths[0]), torch.randint(widths[-1], (batch,))
    clock, processor = time.perf_counter(), time.thread_time()
    step(x, y)
    return time.perf_counter() - clock, time.thread_time() - processor


def compile_times(rounds: int = 5) -> dict[str, dict[str, CompileTime]]:
    """For every network "cold", with nothing cached, and "warm", from the cache."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {
        name: {"cold": [], "warm": []} for name in NETWORKS
    }
    with tempfile.TemporaryDirectory() as folder:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = os.path.join(folder, "bytecode")
        environment["RUSHLIGHT_CACHE"] = os.path.join(folder, "code")
        for number in range(rounds + 1):  # the first round, which caches byte code, does not count
            for name in NETWORKS:
                shutil.rmtree(environment["RUSHLIGHT_CACHE"], ignore_errors=True)
                for state in ("cold", "warm"):
                    command = [sys.executable, "-m", "benchmarks.compile_time", name]
                    output = subprocess.check_output(command, env=environment, cwd=ROOT, text=True)
                    if number:
                        wall, processor = (1e3 * float(each) for each in output.split())
                        found[name][state].append((wall, processor))
    return {
        name: {
            state: CompileTime(statistics.median(wall for wall, _ in times), min(cpu for _, cpu in times))
            for state, times in states.items()
        }
        for name, states in found.items()
    }


if __name__ == "__main__":
    print(*first_call(sys.argv[1]))
