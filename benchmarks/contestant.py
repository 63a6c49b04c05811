"""One contestant in a process of its own: ``python -m benchmarks.contestant FOLDER THREADS WAY``.

It reads orders from standard input, one a line: the number of the first step and how many to run. Each is
answered by a line of JSON with the seconds it took and the losses. The last line it prints, when its input
ends, holds the peak of its memory. Invariant: nothing but the steps is timed, and what they computed is in
hand when the clock stops.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from pathlib import Path

from benchmarks.task import load

MODULES = {"torch": "peers_torch", "rushlight": "peers_torch", "jax": "peers_jax", "notebook": "peers_numpy"}


def peak_memory() -> float:
    """The most memory this process has held, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count what the process held before it became this program
        (line,) = [each for each in status.read_text().splitlines() if each.startswith("VmHWM:")]
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024**2 if sys.platform == "darwin" else 1024
    )


def main() -> None:
    """Serve until the input ends."""
    folder, threads, way = sys.argv[1:4]
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints must not get between the answers
    task = load(Path(folder))
    module = importlib.import_module(f"benchmarks.{MODULES[way.split()[0].split('.')[0]]}")
    run = module.contestant(way, task, int(threads))
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        first, count = map(int, line.split())
        began = time.perf_counter()
        losses = run(first, count)
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "losses": losses.tolist()}), file=answers, flush=True)
    print(json.dumps({"peak": peak_memory()}), file=answers, flush=True)


if __name__ == "__main__":
    main()
