"""What `import rushlight` costs beside `import numpy`, in fresh interpreters with their byte code cached.

Byte code goes to a temporary folder, whatever PYTHONDONTWRITEBYTECODE says. Invariant: interpreters are
started in turns, and one uncounted import of each comes first.
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
wall, processor = time.perf_counter(), time.thread_time()
import {module}
print(time.perf_counter() - wall, time.thread_time() - processor)
"""


class ImportCost(NamedTuple):
    """Milliseconds: the median by the clock, and the least of processor time, that of an undisturbed run.

    Processor time is the importing thread's alone: the BLAS starts threads that spin while they wait.
    """

    wall: float
    processor: float


def import_costs(modules: Sequence[str], rounds: int = 15) -> dict[str, ImportCost]:
    """The cost of importing each module into a fresh interpreter."""
    found: dict[str, list[tuple[float, float]]] = {module: [] for module in modules}
    with tempfile.TemporaryDirectory() as cache:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = cache
        for number in range(rounds + 1):
            for module in modules:
                command = [sys.executable, "-c", CODE.format(module=module)]
                output = subprocess.check_output(command, env=environment, cwd=ROOT, text=True)
                if number:
                    wall, processor = output.split()
                    found[module].append((1e3 * float(wall), 1e3 * float(processor)))
    return {
        module: ImportCost(statistics.median(wall for wall, _ in times), min(cpu for _, cpu in times))
        for module, times in found.items()
    }
