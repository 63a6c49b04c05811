"""The workloads next to PyTorch, JAX and the notebook's NumPy, taking turns in one run.

Every contestant is a process of its own, so that its threads and its memory are its own; they begin with the
same numbers and must come to the same loss. Each round lets every one run the same number of steps and then
measures what the machine can do at most; the ratio of two contestants, and the share of the machine's limits,
is the median of the ratios round by round, so that a machine that slows down slows both. Invariant: only one
of these processes computes at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import task_of
from benchmarks.task import WORKLOADS, Workload

ROOT = Path(__file__).resolve().parent.parent
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
LEFT_OUT = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # settings that would favour one side
# Way and number of threads. The notebook's network has two hidden layers.
CONTESTANTS = (
    ("torch", 1),
    ("torch", 2),
    ("torch.compile", 2),
    ("jax step", 2),
    ("jax scan", 2),
    ("notebook", 2),
    ("rushlight", 1),
    ("rushlight compiled", 2),
    ("rushlight over", 1),
    ("rushlight over", 2),
)
TOLERANCE = 1e-3  # relative, of the mean loss of the last quarter of the first segment


class Machine:
    """A process that measures the machine's limits, with all cores, when told to."""

    def __init__(self) -> None:
        self.limits: list[dict[str, float]] = []
        environment = {name: value for name, value in os.environ.items() if name not in (*LEFT_OUT, *THREADS)}
        command = [sys.executable, "-m", "benchmarks.peak"]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def measure(self) -> None:
        """Note what it can do now."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("now\n")
        self.process.stdin.flush()
        self.limits.append(json.loads(self.process.stdout.readline()))

    def end(self) -> None:
        """Let it go."""
        self.process.communicate()


class Contestant:
    """A process that runs steps when told to, and what it has shown so far."""

    def __init__(self, way: str, threads: int, folder: Path) -> None:
        self.way = way
        self.threads = threads
        self.seconds: list[float] = []
        self.losses: list[np.ndarray] = []
        self.first = 0.0
        self.peak = 0.0
        self.error: str | None = None
        environment = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
        environment |= dict.fromkeys(THREADS, str(threads))
        environment |= {"JAX_PLATFORMS": "cpu", "RUSHLIGHT_CACHE": str(folder / "cache")}
        environment["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "inductor")
        command = [sys.executable, "-m", "benchmarks.contestant", str(folder), str(threads), way]
        self.complaints = folder / f"{way} {threads}.txt"
        with self.complaints.open("w") as complaints:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
            )
        self._answer()

    def _answer(self) -> dict[str, Any]:
        """The next line it prints; notes the error where it has died."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        lines = self.complaints.read_text().strip().splitlines()
        self.error = lines[-1] if lines else f"exit code {self.process.wait()}"
        return {}

    def run(self, first: int, count: int) -> None:
        """Have it run a segment; the first one counts apart, since it compiles."""
        if self.error is not None:
            return
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died: that is its answer
            self.process.stdin.write(f"{first} {count}\n")
            self.process.stdin.flush()
        answer = self._answer()
        if answer:
            self.losses.append(np.array(answer["losses"]))
            if self.first:
                self.seconds.append(answer["seconds"] / count)
            else:
                self.first = answer["seconds"]

    def end(self) -> None:
        """Let it go, and note the peak of its memory."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        if self.error is None:
            self.peak = self._answer().get("peak", 0.0)
        self.process.stdout.close()
        self.process.wait()


def measure(workload: Workload, pairs: int, quick: bool) -> dict[str, Any]:
    """One workload: every contestant's figures."""
    count = max(workload.segment // 10, 10) if quick else workload.segment
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        task_of(workload).save(folder)
        contestants = [
            Contestant(way, threads, folder)
            for way, threads in CONTESTANTS
            if takes_part(way, threads, workload, quick)
        ]
        machine = Machine()
        try:
            for number in range(pairs + 1):
                for each in contestants:
                    each.run(number * count, count)
                if number:  # the first segment is not timed either
                    machine.measure()
        finally:
            for each in (*contestants, machine):
                each.end()
    return figures(workload, contestants, machine.limits, count)


def takes_part(way: str, threads: int, workload: Workload, quick: bool) -> bool:
    """Whether a way is one for this workload, on this machine and in this mode."""
    if threads > (os.cpu_count() or 1) or (quick and way == "torch.compile"):
        return False
    if way == "notebook":
        return workload.kind in ("classes", "predict") and workload.sizes == (784, 64, 32, 10)
    return workload.kind != "predict" or way not in ("jax scan", "rushlight over")


def figures(
    workload: Workload, contestants: Sequence[Contestant], limits: Sequence[dict[str, float]], count: int
) -> dict[str, Any]:
    """Medians, ratios to the quickest of Rushlight's ways, shares of `limits` (the machine's in each round),
    and the check of the losses.
    """
    work = {"flops": workload.flops, "bytes": workload.bytes}
    able = [each for each in contestants if each.error is None]
    reference = next(ending(each) for each in able)
    ours = [each for each in able if each.way.startswith("rushlight")]
    best = min(ours, key=lambda each: statistics.median(each.seconds), default=None)
    rows = []
    for each in contestants:
        row: dict[str, Any] = {"way": each.way, "threads": each.threads, "error": each.error}
        if each.error is None:
            step = statistics.median(each.seconds)
            row |= {
                "step": step,
                "compile": max(each.first - count * step, 0.0),
                "peak": each.peak,
                "shares": {
                    kind: statistics.median(
                        amount / seconds / limit[kind]
                        for seconds, limit in zip(each.seconds, limits, strict=True)
                    )
                    for kind, amount in work.items()
                },
                "loss": ending(each),
                "agrees": abs(ending(each) - reference) <= TOLERANCE * abs(reference),
            }
            if best is not None:
                row["ratio"] = statistics.median(
                    a / b for a, b in zip(each.seconds, best.seconds, strict=True)
                )
        rows.append(row)
    peak = {kind: statistics.median(limit[kind] for limit in limits) for kind in work}
    return {"name": workload.name, "steps": count, "work": work, "peak": peak, "contestants": rows}


def ending(contestant: Contestant) -> float:
    """The mean loss of the last quarter of the first segment."""
    losses = contestant.losses[0]
    return float(losses[-max(len(losses) // 4, 1) :].mean())


def run_all(names: Sequence[str], pairs: int, quick: bool, report: bool) -> dict[str, Any]:
    """Every workload whose name holds one of `names` (all if none is given), printed as they come."""
    chosen = [each for each in WORKLOADS if not names or any(name in each.name for name in names)]
    results: dict[str, Any] = {"pairs": pairs, "workloads": []}
    if report:
        print(f"medians of {pairs} rounds; ratio: to the quickest of Rushlight's ways")
    for workload in chosen:
        found = measure(workload, pairs, quick)
        results["workloads"].append(found)
        if report:
            show(found)
    return results


def show(found: dict[str, Any]) -> None:
    """One workload as a table."""
    flops, copied = (found["peak"][kind] / 1e9 for kind in ("flops", "bytes"))
    print(f"\n{found['name']} ({found['steps']} steps a round)")
    print(f"the machine: {flops:.1f} GFLOP/s (matrix product), {copied:.1f} GB/s (copy)")
    heads = f"{'µs a step':>11}{'ratio':>8}{'compile, s':>12}{'memory, MB':>12}{'product':>9}{'copy':>7}"
    print(f"{'':30}{heads}  loss")
    for row in found["contestants"]:
        title = f"{row['way']}, {row['threads']} thread{'s' * (row['threads'] > 1)}"
        if row["error"] is not None:
            print(f"{title:30}  did not run: {row['error'][:90]}")
            continue
        times = f"{1e6 * row['step']:>11.1f}{row.get('ratio', float('nan')):>8.2f}{row['compile']:>12.2f}"
        uses = f"{row['peak']:>12.0f}{row['shares']['flops']:>9.0%}{row['shares']['bytes']:>7.0%}"
        remark = "" if row["agrees"] else "  NOT the same loss"
        print(f"{title:30}{times}{uses}  {row['loss']:.5f}{remark}", flush=True)


def disagreements(results: dict[str, Any]) -> list[str]:
    """Contestants that did not come to the loss of the first one."""
    return [
        f"{each['name']}: {row['way']}"
        for each in results["workloads"]
        for row in each["contestants"]
        if row["error"] is None and not row["agrees"]
    ]
