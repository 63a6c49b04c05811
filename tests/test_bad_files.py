"""Every kind of broken file, from the command line, for every job on tables: training, testing, predicting.

What each job makes of oddities that can be put right is tested with the job.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import shutil
from pathlib import Path

import pytest

pl = pytest.importorskip("polars", reason="needs the data extra")

from rushlight.cli import main
from rushlight.jobs.errors import JobError
from rushlight.jobs.reading import SAMPLE, read_table
from tests.test_cli_candles import table
from tests.test_ratings import taste_ratings
from tests.test_tables import people

QUICK = ["--epochs", "1", "--batch-size", "1000", "--no-report"]  # one step, which is not worth compiling
TRAIN = {
    "tables": ["--kind", "tables", "--target", "stays", "--drop", "name,moved", *QUICK],
    "ratings": ["--kind", "ratings", "--user", "user", "--item", "item", "--rating", "rating", *QUICK],
    "candles": ["--kind", "candles", "--target", "high", "--lags", "2", *QUICK],
}
NUMBER = {"tables": "age", "ratings": "rating", "candles": "high"}


def good(job: str) -> list[list[str]]:
    """A sound file as rows of fields, the header first."""
    if job == "tables":
        frame = people()
        columns = [frame.columns, *frame.rows()]
        return [["" if field is None else str(field) for field in row] for row in columns]
    if job == "ratings":
        return [["user", "item", "rating"], *([str(field) for field in row] for row in taste_ratings())]
    columns = table()
    return [list(columns), *([str(field) for field in row] for row in zip(*columns.values(), strict=True))]


def text(rows: list[list[str]]) -> str:
    return "".join(",".join(row) + "\n" for row in rows)


def with_line(rows: list[list[str]], line: str) -> str:
    """The file with another line in place of the hundredth."""
    return text(rows[:99]) + line + "\n" + text(rows[100:])


def bad_files(job: str) -> dict[str, tuple[str | bytes, str]]:
    """Content and what is said of it, by name; the same for every job and command."""
    rows = good(job)
    line, width = ",".join(rows[99]), len(rows[0])
    return {
        "empty": ("", "is empty"),
        "blank": ("\n \n", "no content but blank lines"),
        "header only": (text(rows[:1]), "has a header but no rows"),
        "one column": (text([row[:1] for row in rows]), "has only one column"),
        "duplicate header": (text([[rows[0][1], *rows[0][1:]], *rows[1:]]), "more than one column named"),
        "mixed delimiters": (with_line(rows, line.replace(",", ";")), "line 100 by ';'"),
        "short line": (with_line(rows, "1"), f"line 100: 1 field where the first line has {width}"),
        "long line": (with_line(rows, line + ",1"), f"line 100: {width + 1} fields where the first"),
        "wrong encoding": (with_line(rows, "é" + line).encode("latin-1"), "byte 0xE9 in line 100. If it was"),
        "open quotation": (with_line(rows, '"' + line), ""),
        "spreadsheet": (b"PK\x03\x04" + bytes(40), "an Excel or zip file: save it as CSV or Parquet"),
        "picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is not UTF-8 text"),
        "carriage returns": (text(rows).replace("\n", "\r"), "ends its lines with carriage returns alone"),
        "damaged Parquet": (b"PAR1" + bytes(40), "is a damaged Parquet file"),
        "no header": (text(rows[1:]), "has no column"),
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A folder with a finished run of each job."""
    folder = tmp_path_factory.mktemp("runs")
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        for job, options in TRAIN.items():
            Path("good.csv").write_text(text(good(job)))
            assert main(["train", "good.csv", *options, "--out", job]) == 0
    return folder


def refusal(arguments: list[str], capsys) -> str:
    """The one sentence a command ends with."""
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("rushlight: ") and said.count("\n") == 1
    return said


@pytest.mark.parametrize("job", TRAIN)
def test_each_is_one_sentence_and_leaves_nothing(job, runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for content, sentence in bad_files(job).values():
        Path("bad.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        for command in (
            ["train", "bad.csv", *TRAIN[job], "--out", "run"],
            ["evaluate", str(runs / job), *(["--data"] if job == "candles" else []), "bad.csv"],
            ["predict", str(runs / job), "bad.csv", "--out", "found.csv"],
        ):
            said = refusal(command, capsys)
            assert "bad.csv" in said and sentence in said, (command[0], said)
        assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


@pytest.mark.parametrize("job", TRAIN)
def test_a_missing_file_and_a_folder(job, runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "there is no file none.csv" in refusal(["train", "none.csv", *TRAIN[job]], capsys)
    assert "is a folder" in refusal(["train", ".", *TRAIN[job]], capsys)
    assert "there is no file none.csv" in refusal(["predict", str(runs / job), "none.csv"], capsys)


@pytest.mark.parametrize("job", TRAIN)
@pytest.mark.parametrize("value", ["n.a.", "1e400"])
def test_a_text_or_an_infinity_among_numbers(job, value, runs, tmp_path, monkeypatch, capsys):
    """A word in a series or among ratings is refused with its row; in a table it is missing, and told."""
    monkeypatch.chdir(tmp_path)
    rows = good(job)
    place = rows[0].index(NUMBER[job])
    rows[99] = [*rows[99][:place], value, *rows[99][place + 1 :]]
    Path("odd.csv").write_text(text(rows))
    command = ["train", "odd.csv", *TRAIN[job], "--out", "run"]
    if job != "tables" and value == "n.a.":
        assert f"column '{NUMBER[job]}': 'n.a.' in row 99 is not a number" in refusal(command, capsys)
        return
    assert main(command) == 0
    said = capsys.readouterr()
    assert said.err == ""
    if value == "n.a.":
        assert "1 values such as 'n.a.' are no numbers: taken as missing" in said.out
        assert main(["predict", str(runs / job), "odd.csv"]) == 0
        assert "1 values of 'age' are no numbers: taken as missing" in capsys.readouterr().out
    elif job == "ratings":
        assert "left out: 1 row without a user, an item or a rating" in said.out
    elif job == "candles":
        assert "1 infinite values: taken as missing" in said.out


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", "::"])
def test_blank_and_quoted_lines_of_long_files_are_not_too_short(end, delimiter, tmp_path):
    lines = ["a,b,c", *["1,2,"] * 14_000, "", '3,"4', '5",', ""]
    path = tmp_path / "long.csv"
    path.write_text(end.join(lines).replace(",", delimiter), newline="")
    assert path.stat().st_size > SAMPLE
    frame = read_table(path).frame
    assert frame.height == 14_001 and frame["b"][-1] in ("4\n5", "4\r\n5")
    path.write_text(path.read_text() + f"6{delimiter}7", newline="")
    with pytest.raises(JobError, match="line 14005: 2 fields where the first line has 3"):
        read_table(path)


def test_the_last_rows_of_long_files_are_read_as_carefully(tmp_path, monkeypatch, capsys):
    """Beyond what the form of a file is judged by."""
    monkeypatch.chdir(tmp_path)
    rows = good("ratings")
    start = text([rows[0], *rows[1:] * 12])
    assert len(start) > SAMPLE
    count = start.count("\n") + 1
    for end, sentence in {
        "7,8,good\n": f"'good' in row {count - 1} is not a number",
        "7,8,5,9\n": f"line {count}: 4 fields where the first line has 3",
        "7,8,5é\n": f"byte 0xE9 in line {count}",
        "7;8;5\n": f"mixes delimiters: its first line is divided by ',', line {count} by ';'",
        "7,8\n": f"line {count}: 2 fields where the first line has 3",
        '7,8,"5\n': "a quotation mark that is opened and never closed",
    }.items():
        Path("bad.csv").write_bytes((start + end).encode("latin-1"))
        assert sentence in refusal(["train", "bad.csv", *TRAIN["ratings"], "--out", "run"], capsys)


@pytest.mark.parametrize("job", TRAIN)
def test_predictions_replace_neither_their_table_nor_a_pipe(job, runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("good.csv").write_text(text(good(job)))
    Path("link.csv").symlink_to("good.csv")
    Path("predictions.csv").symlink_to("there.csv")
    os.mkfifo("pipe")
    predict = ["predict", str(runs / job), "good.csv", "--out"]
    for name in ("good.csv", "link.csv"):
        assert f"{name} is the table that is read" in refusal([*predict, name], capsys)
    assert Path("good.csv").read_text() == text(good(job))
    assert "cannot write pipe: it is a device or a pipe" in refusal([*predict, "pipe"], capsys)
    assert Path("pipe").is_fifo()
    assert "cannot write .: Is a directory" in refusal([*predict, "."], capsys)
    assert main([*predict, "predictions.csv"]) == 0
    assert Path("predictions.csv").is_symlink() and Path("there.csv").read_text().count("\n") > 5
    assert sorted(os.listdir()) == ["good.csv", "link.csv", "pipe", "predictions.csv", "there.csv"]


DAMAGED = [
    ("tables", "encoder.json", ["encoder", "numbers", 0, "column"], None),
    ("tables", "encoder.json", ["encoder", "numbers"], {}),
    ("tables", "encoder.json", ["centre"], "x"),
    ("tables", "config.json", ["classes"], -1),
    ("tables", "config.json", ["settings", "hidden"], [-1]),
    ("ratings", "ids.json", ["names"], -1),
    ("ratings", "ids.json", ["names"], {}),
    ("ratings", "ids.json", ["users"], [1]),
    ("ratings", "config.json", ["settings", "y_range"], [1]),
    ("candles", "config.json", ["scaling", "shifts"], None),
    ("candles", "config.json", ["scaling", "shifts"], []),
    ("candles", "config.json", ["test_begins"], "soon"),
    ("candles", "config.json", ["settings"], []),
]


@pytest.mark.parametrize(("job", "name", "place", "value"), DAMAGED)
def test_a_run_folder_with_something_else_in_one_place(job, name, place, value, runs, tmp_path, capsys):
    Path(tmp_path / "good.csv").write_text(text(good(job)))
    file = shutil.copytree(runs / job, tmp_path / "run") / name
    kept = json.loads(file.read_text())
    *way, last = place
    functools.reduce(lambda part, key: part[key], way, kept)[last] = value
    file.write_text(json.dumps(kept))
    option = ["--data"] if job == "candles" else []
    for command in (["predict", "run"], ["evaluate", "run", *option]):
        with contextlib.chdir(tmp_path):
            said = refusal([*command, "good.csv"], capsys)
        assert said.startswith(f"rushlight: run/{name} is damaged: ")


def test_a_schedule_of_another_length_is_not_resumed(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("good.csv").write_text(text(good("ratings")))
    shutil.copytree(runs / "ratings", "run")
    config = json.loads(Path("run/config.json").read_text())
    config["settings"]["epochs"] = 7
    Path("run/config.json").write_text(json.dumps(config))
    assert "its schedule is not one of 7 steps" in refusal(["train", "good.csv", "--resume", "run"], capsys)
