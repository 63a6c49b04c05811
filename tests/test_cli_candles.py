"""The candle job as a user runs it: train, evaluate, predict, and every kind of broken file."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

pl = pytest.importorskip("polars", reason="needs the data extra")

from rushlight.cli import main
from rushlight.cli.kinds import kind_named, kind_to_train

# one step, which is not worth compiling: for tests of everything but the learning
SMALL = ["--epochs", "1", "--batch-size", "1000", "--hidden", "8", "--no-report"]
START = np.datetime64("2023-06-01T00:00", "m")


def table(count: int = 300, seed: int = 0) -> dict[str, list]:
    """Candles of a random walk, with times as text."""
    rng = np.random.default_rng(seed)
    close = 27_000 + np.cumsum(rng.normal(0, 20, count))
    opening = np.concatenate([[27_000], close[:-1]])
    times = START + np.arange(count) * np.timedelta64(15, "m")
    return {
        "time": [str(time).replace("-", ".").replace("T", " ") for time in times],
        "open": opening.round(1).tolist(),
        "high": (np.maximum(opening, close) + rng.exponential(15, count)).round(1).tolist(),
        "low": (np.minimum(opening, close) - rng.exponential(15, count)).round(1).tolist(),
        "close": close.round(1).tolist(),
        "vol": rng.lognormal(6, 1, count).round(3).tolist(),
    }


def lines(columns: dict[str, list]) -> list[str]:
    return [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]


def written(path: Path, content: list[str]) -> Path:
    path.write_text("\n".join(content) + "\n")
    return path


@pytest.fixture(scope="module")
def candles(tmp_path_factory) -> Path:
    return written(tmp_path_factory.mktemp("data") / "candles.csv", lines(table()))


@pytest.fixture(scope="module")
def trained(candles, tmp_path_factory) -> Path:
    """A finished run of two folds."""
    out = tmp_path_factory.mktemp("runs") / "done"
    given = ["--target", "high", "--epochs", "4", "--hidden", "8", "--folds", "2", "--test", "0.3"]
    assert main(["train", str(candles), *given, "--out", str(out)]) == 0
    return out


def refused(capsys, arguments: list, *words: str) -> None:
    """The command ended as a user's mistake does: exit code 2, one sentence."""
    assert main([str(each) for each in arguments]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("rushlight: ")
    assert errors.count("\n") == 1
    for word in words:
        assert word in errors


def test_a_target_and_a_column_of_times_mean_candles(candles, tmp_path):
    candle_job = kind_named("candles")
    assert kind_to_train([str(candles), "--target", "high"]) is candle_job
    assert kind_to_train(["--target", "high", "--lags", "3", str(candles)]) is candle_job
    timeless = written(tmp_path / "table.csv", ["a,b", "1,2"])
    assert kind_to_train([str(timeless), "--target", "a", "--time", "b"]) is candle_job
    assert kind_to_train([str(timeless), "--target", "a", "--kind", "candles"]) is candle_job


def test_train_prints_shapes_errors_and_leaves_a_run_folder(candles, tmp_path, capsys):
    given = [
        "--target",
        "high",
        "--lags",
        "3",
        "--features",
        "lags",
        "--epochs",
        "2",
        "--out",
        tmp_path / "r",
    ]
    assert main(["train", *map(str, [candles, *given])]) == 0
    text = capsys.readouterr().out
    assert "300 rows, 2023-06-01 00:00 to 2023-06-04 02:45, a row every 15 min" in text
    assert "297 rows x 15 features + target high" in text
    assert "a forecast: each row's high from the 3 rows before it alone" in text
    for name in ("network", "last value", "drift", "least squares"):
        assert re.search(rf"^{name} +[\d.]+ +[\d.]+ +[\d.]+% +-?[\d.]+%$", text, re.M), name
    assert {path.name for path in (tmp_path / "r").iterdir()} >= {
        "config.json", "history.csv", "last.pt", "model.safetensors", "predictions.csv", "report.png",
        "report.html",
    }  # fmt: skip
    assert (tmp_path / "r" / "report.png").read_bytes().startswith(b"\x89PNG")
    history = list(csv.DictReader((tmp_path / "r" / "history.csv").read_text().splitlines()))
    assert float(history[-1]["validation_mae"]) > 1  # in the target's unit, not the scaled one
    kept = list(csv.DictReader((tmp_path / "r" / "predictions.csv").read_text().splitlines()))
    assert len(kept) == 59
    away = [abs(float(row["high_predicted"]) - float(row["high"])) for row in kept]
    report = (tmp_path / "r" / "report.html").read_text()
    listed = report[report.index("Worst predictions</h2>") :].split("</table>")[0]
    assert f"{max(away):.5g}</td>" in listed and listed.count("<tr>") == 11
    shown = re.search(r"^network +([\d.]+)", text, re.M)
    assert shown is not None
    assert float(shown[1]) == pytest.approx(np.mean(away), rel=1e-3)


def test_all_columns_are_said_to_be_no_forecast(candles, tmp_path, capsys):
    given = ["--target", "high", "--features", "all", *SMALL, "--out", str(tmp_path / "r")]
    assert main(["train", str(candles), *given]) == 0
    text = capsys.readouterr().out
    assert "297 rows x 19 features + target high" in text
    assert "NOT a forecast: open, low, close, vol of the same row are known only when high is" in text
    assert main(["evaluate", str(tmp_path / "r")]) == 0
    assert "not a forecast" in capsys.readouterr().out


def test_folds_are_shown_one_by_one(trained, candles, tmp_path, capsys):
    given = ["--target", "high", "--folds", "3", "--test", "0.3", *SMALL, "--out", str(tmp_path / "r")]
    assert main(["train", str(candles), *given]) == 0
    text = capsys.readouterr().out
    counts = [int(found) for found in re.findall(r"^fold \d of 3: (\d+) rows to train on", text, re.M)]
    assert counts == sorted(counts)
    assert len(set(counts)) == 3
    assert [int(found) for found in re.findall(r"^fold \d: (\d+) rows", text, re.M)] == [30, 29, 30]
    assert text.count("last value") == 4


def test_evaluate_repeats_the_errors_of_the_last_fold(trained, candles, capsys):
    kept = list(csv.DictReader((trained / "predictions.csv").read_text().splitlines()))
    begins = json.loads((trained / "config.json").read_text())["test_begins"]
    last = [row for row in kept if row["time"] >= begins[: len("2023-06-01T00:00:00")]]
    assert 30 < len(last) < len(kept)
    away = np.mean([abs(float(row["high_predicted"]) - float(row["high"])) for row in last])
    assert main(["evaluate", str(trained)]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{len(last)} rows from ")
    shown = re.search(r"^network +([\d.]+)", text, re.M)
    assert shown is not None
    assert float(shown[1]) == pytest.approx(away, rel=1e-3)
    assert main(["evaluate", str(trained), "--data", str(candles)]) == 0
    assert capsys.readouterr().out == text


def test_evaluate_leaves_out_what_was_trained_on(trained, tmp_path, capsys):
    early = written(tmp_path / "early.csv", lines(table())[:200])
    refused(capsys, ["evaluate", trained, "--data", early], "no complete row from 2023-06-0")


def test_predict_forecasts_the_row_after_the_end(trained, candles, tmp_path, capsys):
    assert main(["predict", str(trained), str(candles), "--out", str(tmp_path / "p.csv")]) == 0
    text = capsys.readouterr().out.splitlines()
    assert text[0].split() == ["time", "high_predicted", "high", "last_value", "drift"]
    assert len(text) == 6
    assert text[-1].startswith("2023-06-04 03:00")
    assert len(text[-1].split()) == 5  # two words of time, no truth
    found = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
    assert len(found) == 298
    assert float(found[-1]["high_predicted"]) == pytest.approx(27_000, rel=0.05)
    # what is said about a row does not depend on the rows after it
    shorter = written(tmp_path / "short.csv", lines(table())[:201])
    assert main(["predict", str(trained), str(shorter), "--out", str(tmp_path / "s.csv")]) == 0
    again = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    assert len(again) == 198
    assert float(again[-1]["high_predicted"]) == pytest.approx(float(found[197]["high_predicted"]))


@pytest.mark.parametrize("loss", ["mae", "mse", "rmse", "huber", "quantile"])
def test_every_loss_learns(loss, candles, tmp_path, capsys):
    learning = f"--loss {loss} --epochs 6 --batch-size 1000 --lr 0.02".split()
    given = ["--target", "high", *learning, "--no-report", "--out", str(tmp_path / "r")]
    assert main(["train", str(candles), *given]) == 0
    history = list(csv.DictReader((tmp_path / "r" / "history.csv").read_text().splitlines()))
    assert float(history[-1]["train_loss"]) < float(history[0]["train_loss"])


def test_a_quantile_is_rarely_exceeded(candles, tmp_path, capsys):
    given = ["--target", "high", "--loss", "quantile", "--quantile", "0.9", "--epochs", "15", "--no-report"]
    assert main(["train", str(candles), *given, "--out", str(tmp_path / "r")]) == 0
    found = re.search(
        r"([\d.]+)% of the truths lie at or below the prediction; 90.0%", capsys.readouterr().out
    )
    assert found is not None
    assert float(found[1]) > 70


def test_the_same_seed_gives_the_same_run_and_a_finished_one_resumes(candles, tmp_path, capsys):
    given = ["--target", "close", *SMALL]
    for name in ("a", "b"):
        assert main(["train", str(candles), *given, "--out", str(tmp_path / name)]) == 0
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b")]
    assert weights[0] == weights[1]
    assert main(["train", str(candles), "--resume", str(tmp_path / "a"), "--no-report"]) == 0
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == weights[0]
    refused(
        capsys, ["train", candles, "--target", "low", "--resume", tmp_path / "a"], "--target close, not low"
    )


# -- features of the user's own ------------------------------------------------------------------------------

CLEAN = "import numpy as np\ndef change(c): return {'change': np.diff(c['close'], prepend=np.nan)}\n"
LEAKS = {
    "mean3": "return {'mean3': np.convolve(c['close'], np.ones(3) / 3, 'same')}",
    "share": "return {'share': c['close'] / c['close'].max()}",
    "scaled": "return {'scaled': (c['close'] - c['close'].mean()) / c['close'].std()}",
    "shifted": "return {'shifted': np.append(c['close'][1:], np.nan)}",
}


@pytest.mark.parametrize("column", LEAKS)
def test_a_leak_is_refused_by_name_and_nothing_is_trained(column, candles, tmp_path, capsys):
    (tmp_path / "my.py").write_text(f"import numpy as np\ndef leaky(c): {LEAKS[column]}\n")
    given = ["--target", "high", "--feature-functions", tmp_path / "my.py", "--out", tmp_path / "run"]
    refused(capsys, ["train", candles, *given], f"the feature {column!r} leaks")
    assert not (tmp_path / "run").exists()


def test_a_function_without_a_finite_number_is_named(candles, tmp_path, capsys):
    (tmp_path / "my.py").write_text("import numpy as np\ndef f(c): return {'x': c['close'] / 0}\n")
    given = ["--target", "high", "--feature-functions", tmp_path / "my.py", "--out", tmp_path / "run"]
    refused(capsys, ["train", candles, *given], "give 'x' a finite number in no row")


def test_clean_functions_are_used_and_asked_for_again(candles, tmp_path, capsys):
    mine, out = tmp_path / "my.py", tmp_path / "run"
    mine.write_text(CLEAN)
    given = ["--target", "high", "--feature-functions", str(mine), *SMALL, "--out", str(out)]
    assert main(["train", str(candles), *given]) == 0
    assert "296 rows x 18 features" in capsys.readouterr().out
    refused(capsys, ["predict", out, candles], f"give --feature-functions {mine}")
    other = tmp_path / "other.py"
    other.write_text(CLEAN.replace("close", "open"))
    refused(capsys, ["evaluate", out, "--feature-functions", other], "not what this run was trained with")
    assert main(["evaluate", str(out), "--feature-functions", str(mine)]) == 0


# -- bad files -----------------------------------------------------------------------------------------------


def spoilt(row: int, column: int, value: str) -> list[str]:
    """The candles with one field replaced."""
    content = [line.split(",") for line in lines(table())]
    content[row][column] = value
    return [",".join(line) for line in content]


def with_column(name: str, value: str) -> list[str]:
    content = lines(table())
    return [f"{content[0]},{name}", *(f"{line},{value}" for line in content[1:])]


BAD = {
    "empty": ([], "has no content"),
    "only a header": (lines(table())[:1], "has a header but no rows"),
    "one column": (["time", "2023-06-01"], "only one column"),
    "text in a number column": (spoilt(200, 2, "n.a."), "column 'high': 'n.a.' in row 200 is not a number"),
    "text in another column": (spoilt(200, 4, "--"), "column 'close': '--' in row 200 is not a number"),
    "duplicate header": (spoilt(0, 3, "open"), "more than one column named 'open'"),
    "mixed delimiters": ([*lines(table())[:9], lines(table())[9].replace(",", ";")], "mixes delimiters"),
    "two rows of one time": (spoilt(200, 0, table()["time"][150]), "different rows for the same time"),
    "no timestamp": (spoilt(200, 0, ""), "row 200 has no timestamp"),
    "bad timestamp": (spoilt(200, 0, "noon"), "'noon' in row 200 is not"),
    "constant target": ([re.sub(r"^([^,]*),[^,]*,[^,]*", r"\1,5,7", line) if n else line
                         for n, line in enumerate(lines(table()))], "target 'high' is 7 in every row"),
    "missing target": ([re.sub(r"^([^,]*,[^,]*),[^,]*", r"\1,", line) if n else line
                        for n, line in enumerate(lines(table()))], "column 'high': every value is missing"),
    "too short": (lines(table())[:40], "leave"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_clear_sentence(name, tmp_path, capsys):
    content, sentence = BAD[name]
    path = written(tmp_path / "bad.csv", content)
    refused(
        capsys,
        ["train", path, "--target", "high", "--out", tmp_path / "r"],
        "bad.csv" if name != "too short" else "",
        sentence,
    )
    assert not (tmp_path / "r").exists()


def test_a_wrong_encoding_is_named_and_can_be_given(tmp_path, capsys):
    path = tmp_path / "latin.csv"
    path.write_bytes("\n".join(with_column("Börse", "Köln")).encode("latin-1"))
    refused(capsys, ["train", path, "--target", "high"], "is not UTF-8", "--encoding latin-1")
    given = ["--target", "high", "--encoding", "latin-1", *SMALL, "--out", str(tmp_path / "r")]
    assert main(["train", str(path), *given]) == 0
    assert "text, not numbers, in Börse: left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "note", "rows"),
    [
        (lines(table())[:1] + lines(table())[:0:-1], "newest first: turned round", 297),
        ([*lines(table()), lines(table())[7]], "1 row is there twice: counted once", 297),
        (lines(table())[:100] + lines(table())[110:], "1 gap in time", 287),
        (with_column("empty", ""), "every value is missing in empty: left out", 297),
        (spoilt(100, 4, ""), "297 rows", 294),
    ],
    ids=["unsorted", "duplicated", "gap", "all missing", "one missing"],
)
def test_what_can_be_put_right_is_put_right_and_said(content, note, rows, tmp_path, capsys):
    path = written(tmp_path / "odd.csv", content)
    assert main(["train", str(path), "--target", "high", *SMALL, "--out", str(tmp_path / "r")]) == 0
    text = capsys.readouterr().out
    assert f"{rows} rows x 15 features" in text
    if rows != 294:
        assert note in text
    if note == "1 gap in time":
        assert "--gaps drop" in text
        dropped = ["--gaps", "drop", *SMALL, "--out", str(tmp_path / "d")]
        assert main(["train", str(path), "--target", "high", *dropped]) == 0
        assert "284 rows x 15 features" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--target", "hihg"], ["no column 'hihg'", "did you mean 'high'"]),
        (["--target", "time"], ["'time' is the column of times"]),
        (["--target", "high", "--lags", "0"], ["--lags"]),
        (["--target", "high", "--folds", "0"], ["--folds"]),
        (["--target", "high", "--quantile", "2"], ["--quantile"]),
        (["--target", "high", "--test", "1"], ["--test"]),
        (["--target", "high", "--columns", "open,close"], ["'high' is to be predicted"]),
        (["--target", "high", "--time", "tmie"], ["no column 'tmie'"]),
        (["--target", "high", "--feature-functions", "none.py"], ["there is no file none.py"]),
    ],
)
def test_senseless_settings_are_named(given, words, candles, tmp_path, capsys):
    refused(capsys, ["train", candles, *given, "--out", tmp_path / "r"], *words)
    assert not (tmp_path / "r").exists()


def test_prediction_needs_the_columns_of_the_run(trained, tmp_path, capsys):
    columns = table()
    del columns["vol"]
    other = written(tmp_path / "other.csv", lines(columns))
    refused(capsys, ["predict", trained, other], "no column 'vol'")
    refused(capsys, ["predict", trained, tmp_path / "none.csv"], "there is no file")
    short = written(tmp_path / "short.csv", lines(table())[:3])
    refused(capsys, ["predict", trained, short], "no complete row")


def test_parquet_with_timestamps_of_its_own(tmp_path, capsys):
    columns = table()
    times = (START + np.arange(300) * np.timedelta64(15, "m")).astype("datetime64[us]")
    pl.DataFrame({**columns, "time": times}).write_parquet(tmp_path / "c.parquet")
    given = ["--target", "high", *SMALL, "--out", str(tmp_path / "r")]
    assert main(["train", str(tmp_path / "c.parquet"), *given]) == 0
    assert "2023-06-01 00:00 to 2023-06-04 02:45" in capsys.readouterr().out
