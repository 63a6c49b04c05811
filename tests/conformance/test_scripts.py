"""Whole scripts in the manner of PyTorch's tutorials print the same under ``rushlight run`` and PyTorch.

The scripts are in the folder ``scripts``, written for PyTorch and run as they stand. Those of PyTorch run one
after the other in one process, because importing it takes most of the time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.printed import differences

pytest.importorskip("torch", reason="needs the conformance extra")

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SCRIPTS = sorted(path.name for path in (HERE / "scripts").glob("*.py"))

UNDER_PYTORCH = """
import contextlib, io, json, runpy, sys
printed = {}
for path in sys.argv[1:]:
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        runpy.run_path(path, run_name="__main__")
    import torch
    torch.set_printoptions(profile="default")
    assert "rushlight" not in torch.__version__
    printed[path] = text.getvalue()
json.dump(printed, sys.stdout)
"""


def python(*arguments: str) -> str:
    """What a Python process prints that must end well."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(
        [sys.executable, *arguments],
        cwd=HERE / "scripts",
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def printed_by_pytorch() -> dict[str, str]:
    return json.loads(python("-c", UNDER_PYTORCH, *SCRIPTS))


def test_there_are_scripts_of_every_kind() -> None:
    assert len(SCRIPTS) >= 8


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_prints_the_same(script: str, printed_by_pytorch: dict[str, str]) -> None:
    ours, theirs = python("-m", "rushlight.cli", "run", script), printed_by_pytorch[script]
    assert len(theirs.splitlines()) >= 10
    assert differences(ours, theirs) == []
