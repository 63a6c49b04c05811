"""What `import rushlight` costs on top of `import numpy`, in fresh interpreters with their byte code cached.

Every interpreter imports NumPy first and then the package in question, and times both. Byte code goes to a
temporary folder, whatever PYTHONDONTWRITEBYTECODE says. Invariant: interpreters are started in turns, and one
uncounted import of each comes first.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CODE = """
import time
def now():
    return time.perf_counter(), time.thread_time()
began = now()
import numpy
between = now()
import {package}
ended = now()
print(*[b - a for a, b in zip(began, between)], *[b - a for a, b in zip(between, ended)])
"""


class ImportCost(NamedTuple):
    """Milliseconds: the median by the clock, and the least of processor time, that of an undisturbed run.

    Processor time is the importing thread's alone: the BLAS starts threads that spin while they wait.
    """

    wall: float
    processor: float


def import_costs(packages: Sequence[str], rounds: int = 15) -> dict[str, ImportCost]:
    """The cost of importing NumPy, and what each package costs on top of that."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ("numpy", *packages)}
    with tempfile.TemporaryDirectory() as cache:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = cache
        for number in range(rounds + 1):
            for package in packages:
                command = [sys.executable, "-c", CODE.format(package=package)]
                output = subprocess.check_output(command, env=environment, cwd=ROOT, text=True)
                if number:
                    times = [1e3 * float(each) for each in output.split()]
                    found["numpy"].append((times[0], times[1]))
                    found[package].append((times[2], times[3]))
    return {
        name: ImportCost(statistics.median(wall for wall, _ in times), min(cpu for _, cpu in times))
        for name, times in found.items()
    }
