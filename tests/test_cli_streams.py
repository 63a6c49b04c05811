"""Output that cannot be printed: to what is closed or full, or in an encoding that lacks characters."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

pl = pytest.importorskip("polars", reason="needs the data extra")

from rushlight.cli import main
from rushlight.jobs import writing
from rushlight.jobs.errors import JobError
from tests.test_tables import people

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")
TRAIN = ["train", "people.csv", "--target", "stays", "--epochs", "1", "--no-report"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    people().write_csv("people.csv")
    return tmp_path


def shell(line: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """A command line of the shell's, in which ``rushlight`` is this one."""
    line = line.replace("rushlight ", f"{sys.executable} -m rushlight.cli ")
    surroundings = {**os.environ, **variables}
    return subprocess.run(["sh", "-c", line], capture_output=True, timeout=120, check=False, env=surroundings)


@needs_full
def test_a_full_standard_output_is_one_sentence(folder):
    for command in (TRAIN, ["predict", "run", "people.csv"]):
        if command is not TRAIN:
            assert main([*TRAIN, "--out", "run"]) == 0
        ended = shell(f"rushlight {' '.join(command)} > /dev/full")
        assert ended.returncode == 2
        assert ended.stderr == b"rushlight: cannot write the output: No space left on device\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_cost_nothing(folder, closed):
    ended = shell(f"rushlight {' '.join(TRAIN)} --out run {closed}")
    assert (ended.returncode, ended.stderr) == (0, b"")
    ended = shell(f"rushlight evaluate run {closed}")
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_an_encoding_without_the_characters_costs_no_run(folder):
    ended = shell(f"rushlight {' '.join(TRAIN)} --out run", PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b" ? " in ended.stdout and b"run kept in run" in ended.stdout
    ended = shell("rushlight find-lr people.csv --target stays --steps 20", PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stderr) == (0, b"")


@needs_full
@pytest.mark.parametrize("name", ["x.parquet", "x.csv"])
def test_a_table_on_a_full_disk_is_one_sentence(name, monkeypatch, tmp_path):
    @contextlib.contextmanager
    def full(_):
        with FULL.open("wb", buffering=0) as file:
            yield file

    monkeypatch.setattr(writing, "replacing", full)
    with pytest.raises(JobError, match=rf"cannot write .*{name}: .*No space left"):
        writing.write_table(tmp_path / name, {"a": list(range(100_000))})
