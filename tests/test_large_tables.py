"""Tables with more rows than are to be in memory: what is read of them, and predicting all of them."""

from __future__ import annotations

import gzip
import re

import numpy as np
import pytest

pl = pytest.importorskip("polars", reason="needs the data extra")

from rushlight.cli import main
from rushlight.jobs import reading
from rushlight.jobs.errors import JobError
from rushlight.jobs.reading import read_parts, read_table
from tests.test_cli_candles import lines, table

ROWS = 5000


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The same rows as CSV, in other forms and as Parquet: what a number is, and its sign."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    value = draw.normal(size=ROWS).round(3)
    frame = pl.DataFrame(
        {
            "place": np.arange(ROWS) + 7,
            "value": value,
            "other": draw.normal(size=ROWS).round(3),
            "sign": np.where(value > 0, "plus", "minus"),
        }
    )
    frame.write_csv("big.csv")
    frame.write_csv("big.tsv", separator="\t")
    frame.write_parquet("big.parquet")
    text = (tmp_path / "big.csv").read_text()
    (tmp_path / "big.csv.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "latin.csv").write_bytes(text.replace("plus", "über").encode("latin-1"))
    (tmp_path / "colons.csv").write_text(text.replace(",", "::"))
    return tmp_path


@pytest.fixture
def little_memory(monkeypatch):
    """As if 2000 fields were all that fits."""
    monkeypatch.setattr(reading, "MOST_FIELDS", 2000)
    monkeypatch.setattr(reading, "BATCH_FIELDS", 2000)


FORMS = {
    "big.csv": {},
    "big.tsv": {},
    "big.parquet": {},
    "big.csv.gz": {},
    "latin.csv": {"encoding": "latin-1"},
    "colons.csv": {},
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_part(name, folder, little_memory):
    found = read_table(name, **FORMS[name])
    assert found.is_part and 490 <= len(found.frame) <= 510
    places = found.frame["place"].to_numpy()
    assert (np.diff(places) > 0).all() and np.diff(places).max() <= 20  # every tenth or so, in order
    [note] = found.notes
    assert re.fullmatch(r"5,000 rows: 5\d\d of them are used, spread .*; --rows takes more, or fewer", note)
    assert read_table("big.csv").frame["place"].to_list() == places.tolist()
    assert len(read_table(name, rows=ROWS, **FORMS[name]).frame) == ROWS


def test_the_last_or_the_first_rows(folder, little_memory):
    assert read_table("big.csv", keep="last").frame["place"].to_list() == list(range(ROWS - 493, ROWS + 7))
    assert read_table("big.csv", keep="first", rows=3).frame["place"].to_list() == [7, 8, 9]
    assert read_table("big.csv", copies=10).frame.height in range(45, 55)
    with pytest.raises(JobError, match="--rows must be at least 1"):
        read_table("big.csv", rows=0)


@pytest.mark.parametrize("name", FORMS)
def test_parts_are_all_rows_in_order(name, folder, little_memory):
    parts = [each.frame for each in read_parts(name, **FORMS[name])]
    assert len(parts) > 3
    assert pl.concat(parts)["place"].to_list() == list(range(7, ROWS + 7))


def test_a_text_among_numbers_and_a_fault_late_in_a_file(folder, little_memory):
    with (folder / "big.csv").open("a") as file:
        file.write("many,1.5,2.5,plus\n")
    assert pl.concat([each.frame.select("sign") for each in read_parts("big.csv")]).height == ROWS + 1
    assert read_table("big.csv", keep="last", rows=2).frame["place"].to_list() == ["5006", "many"]
    with (folder / "latin.csv").open("a") as file:
        file.write("1,2,3,4,5\n")
    for read in (read_table, lambda *a, **k: list(read_parts(*a, **k))):
        with pytest.raises(JobError, match="line 5002: 5 fields where the first line has 4"):
            read("latin.csv", encoding="latin-1")


def test_a_large_table_is_learnt_from_a_part_and_predicted_whole(folder, little_memory, capsys):
    assert main(["train", "big.csv", "--target", "sign", "--epochs", "3", "--out", "run"]) == 0
    out = capsys.readouterr().out
    assert "note: 5,000 rows: 5" in out and "spread evenly over the file" in out
    assert main(["evaluate", "run"]) == 0
    for target in ("found.csv", "found.parquet"):
        assert main(["predict", "run", "big.csv", "--out", target]) == 0
        assert f"5,000 predictions written to {target}" in capsys.readouterr().out
    found = pl.read_csv("found.csv")
    assert found["place"].to_list() == list(range(7, ROWS + 7))
    assert (found["predicted_sign"] == found["sign"]).mean() > 0.9
    assert pl.read_parquet("found.parquet")["predicted_sign"].equals(found["predicted_sign"])


def test_notes_count_over_all_parts(folder, little_memory, capsys):
    small = ["--epochs", "1", "--batch-size", "1000", "--no-report"]
    assert main(["train", "big.csv", "--target", "sign", *small, "--out", "run"]) == 0
    pl.read_csv("big.csv").with_columns(other=pl.lit("none at all")).write_csv("new.csv")
    assert main(["predict", "run", "new.csv"]) == 0
    assert "note: 5,000 values of 'other' are no numbers" in capsys.readouterr().out


@pytest.mark.parametrize("newest_first", [False, True])
def test_of_a_large_series_the_newest_rows_are_used(newest_first, tmp_path, capsys):
    content = lines(table(400))
    if newest_first:
        content = [content[0], *content[:0:-1]]
    (tmp_path / "c.csv").write_text("\n".join(content))
    given = [
        "--target",
        "high",
        "--rows",
        "300",
        "--epochs",
        "1",
        "--no-report",
        "--out",
        str(tmp_path / "r"),
    ]
    assert main(["train", str(tmp_path / "c.csv"), *given]) == 0
    out = capsys.readouterr().out
    assert "400 rows: 300 of them are used, the " + ("first" if newest_first else "last") in out
    assert "2023-06-05 03:45" in out  # the newest row of all, 399 quarters of an hour after the first
    assert "297 rows x" in out
    assert main(["evaluate", str(tmp_path / "r")]) == 0
    assert main(["predict", str(tmp_path / "r"), str(tmp_path / "c.csv")]) == 0


def test_ratings_are_a_part_and_predictions_all(folder, little_memory, capsys):
    draw = np.random.default_rng(0)
    frame = pl.DataFrame({"user": draw.integers(0, 9, ROWS), "item": draw.integers(0, 9, ROWS)})
    frame.with_columns(rating=pl.col("user") % 5 + 1).write_csv("ratings.csv")
    assert (
        main(["train", "ratings.csv", "--rows", "800", "--epochs", "1", "--no-report", "--out", "run"]) == 0
    )
    assert "5,000 rows: 8" in capsys.readouterr().out
    assert main(["evaluate", "run"]) == 0
    assert main(["predict", "run", "ratings.csv"]) == 0
    assert "5,000 predictions written" in capsys.readouterr().out
