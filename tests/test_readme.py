"""Everything README.md asks a newcomer to type is typed here.

The commands are run by a shell as they stand, with options put in where a test must not do the whole thing.
The network is not needed: dependencies are those of the tests' own environment.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import ROOT, check_blocks, python_blocks

README = ROOT / "README.md"
TRAIN = "python -m pip install . && rushlight train mnist"
TEST = 'python -m pip install ".[test]" && python -m pytest -n auto'


def commands() -> list[str]:
    """The lines of the shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)
    return [line for block in blocks for line in block.splitlines()]


def in_a_shell(line: str, search: Path, packages: Path) -> subprocess.CompletedProcess[str]:
    """Run a command line in the checkout, with scripts and packages of two folders found first."""
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(search), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(packages),
        "OPENBLAS_NUM_THREADS": "1",  # waiting for a second thread is slow where tests run side by side
    }
    return subprocess.run(
        ["bash", "-c", line],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_commands_are_the_two_that_are_run_here() -> None:
    assert commands() == [TRAIN, TEST]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs a Unix shell")
@pytest.mark.skipif(
    importlib.util.find_spec("hatchling") is None, reason="needs hatchling, from the test extra"
)
def test_the_first_command_installs_and_trains(tmp_path: Path) -> None:
    """Installed into a folder of its own, without fetching anything; one epoch instead of ten."""
    installed, run = tmp_path / "installed", tmp_path / "run"
    quiet = "--quiet --disable-pip-version-check --no-deps --no-build-isolation --no-compile"
    line = TRAIN.replace("install .", f"install . {quiet} --target '{installed}'")
    result = in_a_shell(f"{line} --epochs 1 --out '{run}'", installed / "bin", installed)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (installed / "rushlight" / "__init__.py").exists()
    (accuracy,) = re.findall(r"^test accuracy ([\d.]+)%$", result.stdout, re.M)
    assert float(accuracy) > 93
    assert str(run / "report.png") in result.stdout
    assert (run / "report.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs a Unix shell")
def test_the_second_command_runs_tests(tmp_path: Path) -> None:
    """The part after the installation, for one short file of tests instead of all of them."""
    _, run_tests = TEST.split(" && ")
    result = in_a_shell(f"{run_tests} tests/test_size.py -p no:cacheprovider", tmp_path, ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"^=+ \d+ passed in ", result.stdout, re.M)


def test_the_snippet_prints_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = python_blocks(README)
    assert any(block.printed for block in blocks)
    check_blocks(blocks, README)


def test_the_picture_is_there_and_small() -> None:
    (name,) = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    assert (ROOT / name).read_bytes().startswith(b"\x89PNG")
    assert (ROOT / name).stat().st_size < 200_000
