"""Runs the cells of a notebook in a process of their own: ``python cells.py rushlight|torch < cells.json``.

A cell's last expression is shown as an interactive session shows it. What each cell shows is written to
standard output as a JSON list. This is the program; `run` starts it and is what tests use. Invariant: cells
are run as they stand, under the library that was named and no other.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def show(cell: str, names: dict[str, Any]) -> str:
    """Run one cell; what it prints, followed by the value of its last expression."""
    tree = ast.parse(cell)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(tree, "<cell>", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
            if value is not None:
                print(repr(value))
    return shown.getvalue()


def run(cells: list[str], library: str, folder: Path, timeout: float = 300) -> list[str]:
    """What each cell shows, when they run one after the other in `folder`.

    Args:
        library: ``"torch"`` or ``"rushlight"``.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg", "OPENBLAS_NUM_THREADS": "1"}
    finished = subprocess.run(
        [sys.executable, __file__, library],
        input=json.dumps(cells),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def main() -> None:
    """Run the cells of standard input."""
    if sys.argv[1] == "rushlight":
        importlib.import_module("rushlight.as_torch")
    names: dict[str, Any] = {"__name__": "__main__"}
    outputs = [show(cell, names) for cell in json.load(sys.stdin)]
    answered = "torch" not in sys.modules or "rushlight" in sys.modules["torch"].__version__
    assert answered == (sys.argv[1] == "rushlight"), "the cells ran under the other library"
    json.dump(outputs, sys.stdout)


if __name__ == "__main__":
    main()
