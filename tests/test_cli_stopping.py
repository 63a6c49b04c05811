"""Ctrl-C after the last epoch: it is said where the run is and how to go on, and going on ends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pl = pytest.importorskip("polars", reason="needs the data extra")

from rushlight.cli import main
from tests.test_bad_files import good, text
from tests.test_cli_images import write_dataset

FEW = ["--epochs", "1", "--batch-size", "1000"]
TRAIN = {
    "tables": ["data.csv", "--target", "stays", "--drop", "name,moved", *FEW],
    "ratings": ["data.csv", "--user", "user", "--item", "item", "--rating", "rating", *FEW],
    "candles": ["data.csv", "--target", "high", "--lags", "2", *FEW],
    "images": ["bars", *FEW],
}
AFTER_TRAINING = {
    "tables": ["rushlight.jobs.tables.worth_of", "rushlight.fit.run_report.write_report"],
    "ratings": ["rushlight.jobs.ratings.compare"],
    "candles": ["rushlight.jobs.writing.write_table"],
    "images": ["rushlight.jobs.images.test_result"],
}


def interrupt(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def results(printed: str) -> list[str]:
    """What was printed after training, but for lines with paths."""
    lines = printed.splitlines()
    first = next(
        place
        for place, line in enumerate(lines)
        if line.startswith("tested") or "test RMSE" in line or "test accuracy" in line
    )
    return [line for line in lines[first:] if "run" not in line and "whole" not in line]


@pytest.mark.parametrize(("job", "place"), [(job, each) for job in TRAIN for each in AFTER_TRAINING[job]])
def test_ctrl_c_after_training_says_how_to_go_on(job, place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if job == "images":
        write_dataset(Path("bars"))
    else:
        Path("data.csv").write_text(text(good(job)))
    with monkeypatch.context() as patched:
        patched.setattr(place, interrupt)
        assert main(["train", *TRAIN[job], "--out", "run"]) == 130
    told = capsys.readouterr().err
    resume = f"rushlight train {TRAIN[job][0]} --resume run"
    assert told == f"\nrushlight: stopped. The run is kept in run: continue with  {resume}\n"
    assert not Path("run/report.html").exists()
    assert main(resume.split()[1:]) == 0
    assert Path("run/report.html").exists()
    resumed = capsys.readouterr().out
    assert main(["train", *TRAIN[job], "--out", "whole"]) == 0
    whole = capsys.readouterr().out
    assert results(resumed) == results(whole)
    assert Path("run/model.safetensors").read_bytes() == Path("whole/model.safetensors").read_bytes()


def test_ctrl_c_in_the_linear_model_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("data.csv").write_text(text(good("tables")))
    with monkeypatch.context() as patched:
        patched.setattr("rushlight.fit.trainer.Trainer._run_epoch", lambda self, *_: self._interrupt())
        assert main(["train", *TRAIN["tables"], "--out", "run", "--no-report"]) == 130
    assert "continue with  rushlight train data.csv --resume run" in capsys.readouterr().err
    assert main(["train", "data.csv", "--resume", "run", "--no-report"]) == 0


def test_a_table_without_its_report_gets_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("data.csv").write_text(text(good("tables")))
    assert main(["train", *TRAIN["tables"], "--out", "run", "--no-report"]) == 0
    before = Path("run/model.safetensors").read_bytes()
    resume = ["train", "data.csv", "--resume", "run"]
    assert main([*resume, "--no-report"]) == 2
    assert main(resume) == 0
    assert Path("run/report.html").exists() and Path("run/model.safetensors").read_bytes() == before
    capsys.readouterr()
    assert main(resume) == 2
    assert "is finished: there is nothing to resume" in capsys.readouterr().err
