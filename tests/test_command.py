"""Commands that are shown to be typed mean what they were made from, for every kind of job."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

pytest.importorskip("polars", reason="needs the data extra")

from rushlight.cli import main
from rushlight.cli.kinds import KINDS, kind_named
from rushlight.cli.parser import build_parser
from rushlight.jobs.command import command_line, resume_line
from tests.test_cli_candles import lines, table
from tests.test_cli_images import write_dataset
from tests.test_ratings import taste_ratings
from tests.test_tables import people

# data and options that shells, option parsers and format strings take for something else
ODD = {
    "images": (
        "bars {0} & 'more'",
        ["--hidden", "", "--lr", "1e-05", "--schedule", "cosine", "--batch-size", "40"],
    ),
    "ratings": (
        "my ratings.dat",
        ["--user=-who", "--item", "what;", "--rating", "$much", "--delimiter", "tab", "--y-range=-6,6.5"],
    ),
    "candles": (
        "the candles.csv",
        ["--target", "high", "--delimiter", ";", "--hidden", "8,4", "--columns", "high,low", "--lags", "2"],
    ),
    "tables": (
        "people (1).txt",
        ["--target", "stays", "--delimiter", "|", "--drop", "name,moved", "--encoding", "latin-1"]
        + ["--no-header"],
    ),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The data that `ODD` names; tables have a header, whatever the options say."""
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / ODD["images"][0])
    rated = "".join(f"{user}\t{item}\t{rating}\n" for user, item, rating in taste_ratings())
    Path(ODD["ratings"][0]).write_text("-who\twhat;\t$much\n" + rated)
    Path(ODD["candles"][0]).write_text("\n".join(lines(table())).replace(",", ";"))
    people().write_csv(ODD["tables"][0], separator="|")
    return tmp_path


def parsed(command: str):
    """The options of a command as a shell would hand them over."""
    name, *words = shlex.split(command)
    assert name == "rushlight"
    return build_parser(words).parse_args(words)


def options_of(kind: str, *more: str):
    data, given = ODD[kind]
    return parsed(shlex.join(["rushlight", "train", data, "--kind", kind, *given, *more]))


@pytest.mark.parametrize("usual", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_command_parses_to_the_settings_it_was_made_from(kind, usual):
    settings = kind_named(kind).settings_from(options_of(kind))
    command = command_line(settings, kind, usual)
    assert kind_named(kind).settings_from(parsed(command)) == settings
    assert usual == (" --seed 0" in command)
    assert "--kind" not in command_line(settings)


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_of_a_report_repeats_the_run(kind, folder):
    more = () if kind != "tables" else ("--validation", "0.2")
    options = options_of(kind, *more)
    options.no_header = False
    again = parsed(kind_named(kind).trainer(options).wording.reproduce)
    assert again.run is kind_named(kind).train
    assert kind_named(kind).settings_from(again) == kind_named(kind).settings_from(options)


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_that_goes_on_is_of_that_folder_and_that_data(kind, tmp_path):
    run = tmp_path / "runs {1}; of mine"
    run.mkdir()
    (run / "config.json").write_text(json.dumps({"format": 1, "job": kind}))
    options = parsed(resume_line(ODD[kind][0], run).format(folder="elsewhere"))
    assert (options.run, options.data, options.resume) == (kind_named(kind).train, ODD[kind][0], str(run))


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_sweep_suggests_is_the_run_that_was_swept(kind, folder, capsys):
    data, given = ODD[kind]
    given = [each for each in given if each not in ("--no-header", "--lr", "1e-05", "--schedule", "cosine")]
    assert main(["find-lr", data, "--kind", kind, *given, "--steps", "20"]) == 0
    shown = next(each for each in capsys.readouterr().out.splitlines() if each.startswith("try: "))
    found = kind_named(kind).settings_from(parsed(shown.removeprefix("try: ")))
    swept = kind_named(kind).settings_from(
        parsed(shlex.join(["rushlight", "train", data, "--kind", kind, *given, "--lr", str(found.lr)]))
    )
    assert found == swept
    assert 1e-7 <= found.lr <= 10
    assert sorted(path.name for path in folder.iterdir()) == sorted(data for data, _ in ODD.values())
