"""``python -m benchmarks``: cost of eager operations and steps, of imports and compiling, as text or as JSON;
``python -m benchmarks workloads``: training jobs beside PyTorch, JAX and plain NumPy; ``agreement``: whether
compiled training is eager training.

Parsing and printing only; the measuring is in the modules beside this one. Invariant: the number of threads
is set before NumPy is imported, and is one on either side.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import sys
from typing import Any

PARTS = ("operations", "steps", "imports", "compile")
ALONE = {"imports", "compile"}  # parts that need no PyTorch


def main() -> int:
    """Measure the parts asked for; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Costs beside PyTorch's and NumPy's."
    )
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"any of {', '.join(PARTS)} (all); or workloads; or agreement",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    workloads = parser.add_argument_group(
        "workloads", "python -m benchmarks workloads: training jobs, in turns"
    )
    workloads.add_argument("--quick", action="store_true", help="short segments, without torch.compile")
    workloads.add_argument("--pairs", type=int, default=7, help="rounds (7)")
    workloads.add_argument("--only", action="append", default=[], metavar="TEXT", help="of those named so")
    options = parser.parse_args()
    if options.parts == ["workloads"]:
        from benchmarks.workloads import disagreements, run_all

        if options.pairs < 1:
            parser.error(f"--pairs must be positive, not {options.pairs}")
        results = run_all(options.only, options.pairs, options.quick, report=not options.json)
        if options.json:
            print(json.dumps(results))
        return 1 if disagreements(results) else 0
    if options.parts == ["agreement"]:
        return agree(options.json)
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    parts = options.parts or PARTS
    has_torch = importlib.util.find_spec("torch") is not None
    if not has_torch and not set(parts) <= ALONE:
        print('benchmarks: the comparison needs PyTorch: python -m pip install ".[bench]"', file=sys.stderr)
        return 2
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ[name] = "1"
    results = measure(parts, has_torch)
    if options.json:
        print(json.dumps(results))
    else:
        show(results)
    return 0


def agree(as_json: bool) -> int:
    """Compare compiled with eager training; returns the exit code."""
    from benchmarks.agreement import all_agreements, failures, show

    found = all_agreements()
    if as_json:
        print(json.dumps(found))
    else:
        show(found)
    return 1 if failures(found) else 0


def measure(parts: list[str] | tuple[str, ...], has_torch: bool) -> dict[str, Any]:
    """The figures of every part asked for, as plain containers."""
    results: dict[str, Any] = {}
    if not set(parts) <= ALONE:
        import torch

        import rushlight
        from benchmarks.eager import operation_costs, step_costs

        torch.set_num_threads(1)
        results["versions"] = {"rushlight": rushlight.__version__, "torch": torch.__version__}
    if "operations" in parts:
        costs = operation_costs(rushlight, torch)
        results["operations"] = {
            n: {"forward": f._asdict(), "both": b._asdict()} for n, (f, b) in costs.items()
        }
        for kind in ("forward", "both"):
            ratios = [row[kind]["ratio"] for row in results["operations"].values()]
            results[f"median_{kind}"] = statistics.median(ratios)
    if "steps" in parts:
        results["steps"] = {str(n): cost._asdict() for n, cost in step_costs(rushlight, torch).items()}
    if "imports" in parts:
        from benchmarks.imports import import_costs

        packages = ["rushlight", *(["torch"] if has_torch else [])]
        results["imports"] = {name: cost._asdict() for name, cost in import_costs(packages).items()}
    if "compile" in parts:
        from benchmarks.compile_time import compile_times

        results["compile"] = {
            name: {state: cost._asdict() for state, cost in states.items()}
            for name, states in compile_times().items()
        }
    return results


def show(results: dict[str, Any]) -> None:
    """Print the figures as tables; a ratio below 1 means that Rushlight is quicker."""
    if "versions" in results:
        versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
        print(f"{versions}; one thread each; medians of runs in turns; ratio: rushlight / torch\n")
    if "operations" in results:
        print(
            f"{'float32, 4x8':14} {'forward, µs':>20} {'ratio':>6}   {'forward + backward':>20} {'ratio':>6}"
        )
        for name, row in results["operations"].items():
            print(f"{name:14} {_pair(row['forward'])}   {_pair(row['both'])}")
        medians = results["median_forward"], results["median_both"]
        print(f"{'median':14} {'':20} {medians[0]:6.2f}   {'':20} {medians[1]:6.2f}\n")
    for batch, row in results.get("steps", {}).items():
        print(f"step of 784-64-32-10 with SGD, batch of {batch:>2}: {_pair(row)}")
    if "imports" in results:
        print(f"\n{'import, ms':24} {'clock':>9} {'processor':>10}")
        for name, row in results["imports"].items():
            title = name if name == "numpy" else f"{name}, on top of numpy"
            print(f"{title:24} {row['wall']:9.1f} {row['processor']:10.1f}")
    if "compile" in results:
        titles = f"{'cold: clock':>12} {'processor':>10} {'cached: clock':>14} {'processor':>10}"
        print(f"\n{'first call, ms':24} {titles}")
        for name, states in results["compile"].items():
            cold, warm = states["cold"], states["warm"]
            print(
                f"{name:24} {cold['wall']:12.0f} {cold['processor']:10.0f} "
                f"{warm['wall']:14.0f} {warm['processor']:10.0f}"
            )


def _pair(row: dict[str, float]) -> str:
    return f"{row['ours']:8.2f} and {row['theirs']:7.2f} {row['ratio']:6.2f}"


if __name__ == "__main__":
    raise SystemExit(main())
