"""``rushlight explain RUN`` and ``rushlight train ... --eager``, for every kind of job."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rushlight.cli import main
from rushlight.compile import explain as explaining
from rushlight.compile.peak import Peak
from rushlight.fit import step as steps
from tests.test_cli_images import write_dataset

pytest.importorskip("llvmlite", reason="native code needs llvmlite")


def candles(folder: Path) -> list[str]:
    draw = np.random.default_rng(0)
    lines = ["time,open,high"]
    for day in range(300):
        price = 100 + 5 * np.sin(day / 9) + draw.normal()
        lines.append(f"{2020 + day // 28}-02-{1 + day % 28:02},{price:.3f},{price + 1:.3f}")
    (folder / "candles.csv").write_text("\n".join(lines) + "\n")
    return ["candles.csv", "--target", "high", "--hidden", "8"]


def tables(folder: Path) -> list[str]:
    draw = np.random.default_rng(0)
    rows = [f"{a:.3f},{b:.3f},{3 * a - b:.3f}" for a, b in draw.normal(size=(90, 2))]
    (folder / "sums.csv").write_text("\n".join(["a,b,sum", *rows]) + "\n")
    return ["sums.csv", "--target", "sum", "--hidden", "8"]


def ratings(folder: Path) -> list[str]:
    draw = np.random.default_rng(0)
    rows = [f"{n % 12},{draw.integers(15)},{draw.integers(1, 6)}" for n in range(200)]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating", *rows]) + "\n")
    return ["ratings.csv"]


def images(folder: Path) -> list[str]:
    if not (folder / "bars").exists():
        write_dataset(folder / "bars", 120, 40)
    return ["bars", "--hidden", "8"]


KINDS = [candles, tables, ratings, images]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of its own, on a machine that need not be measured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(explaining, "measured_peak", lambda: Peak(1e11, 1e10))


def train(make, *more: str) -> int:
    if make is not images:
        pytest.importorskip("polars", reason="needs the data extra")
    return main(["train", *make(Path()), "--epochs", "1", "--no-report", "--out", "run", *more])


@pytest.mark.parametrize("make", KINDS)
def test_a_run_is_explained_for_its_own_step(make, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(make) == 0
    files = {path: path.read_bytes() for path in Path("run").iterdir()}
    capsys.readouterr()
    assert main(["explain", "run"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("step: 1 program\n")
    assert "product peak" in text
    assert "together" in text
    assert main(["explain", "run", "--code"]) == 0
    code = capsys.readouterr().out
    assert "int step(void **buffers)" in code
    assert 'weight", shape' in code or 'factors", shape' in code
    assert files == {path: path.read_bytes() for path in Path("run").iterdir()}


@pytest.mark.parametrize("make", KINDS)
def test_eager_runs_compile_nothing(make, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a step was compiled")

    with monkeypatch.context() as patched:
        patched.setattr(steps, "compile", refuse)
        with pytest.raises(AssertionError, match="was compiled"):
            train(make)
        assert train(make, "--eager", "--out", "eager") == 0
    assert json.loads(Path("eager/config.json").read_text())["settings"]["eager"] is True
    capsys.readouterr()
    assert main(["explain", "eager"]) == 0
    assert "all native" in capsys.readouterr().out


@pytest.mark.parametrize("make", KINDS)
def test_a_log_for_tensorboard_on_request(make) -> None:
    pytest.importorskip("tensorboardX")
    assert train(make, "--tensorboard") == 0
    (log,) = Path("run/tensorboard").iterdir()
    assert b"train_loss" in log.read_bytes()


def test_a_run_goes_on_as_it_began(capsys: pytest.CaptureFixture[str]) -> None:
    assert train(images) == 0
    assert main(["train", "bars", "--resume", "run", "--eager"]) == 2
    assert "the run in run has --eager False, not True" in capsys.readouterr().err


def test_runs_of_older_versions_are_compiled_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert train(images) == 0
    config = json.loads(Path("run/config.json").read_text())
    del config["settings"]["eager"]
    Path("run/config.json").write_text(json.dumps(config))
    assert main(["explain", "run"]) == 0
    assert "all native" in capsys.readouterr().out


def test_what_is_no_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "nowhere"]) == 2
    assert capsys.readouterr().err == "rushlight: there is no run folder nowhere\n"
