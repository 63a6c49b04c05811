"""The command line as a whole: which kind of job an argument means, help, and mistakes in the arguments."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from rushlight.cli import main
from rushlight.cli.kinds import KINDS, kind_named, kind_of_run, kind_to_train
from rushlight.jobs.errors import JobError


def test_every_kind_offers_all_commands():
    for name in KINDS:
        kind = kind_named(name)
        assert kind.SUMMARY
        for command in ("train", "evaluate", "predict"):
            assert callable(getattr(kind, command))
            assert callable(getattr(kind, f"{command}_options"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["mnist"],
        ["--no-report", "mnist"],
        ["--hidden", "64,32", "--lr=3", "mnist"],
        ["x", "--kind", "images"],
    ],
)
def test_options_before_the_data_do_not_hide_it(arguments):
    assert kind_to_train(arguments) is kind_named("images")


def test_help_lists_the_kinds_and_then_the_options_of_one(capsys):
    for arguments, wanted in (
        (["train", "--help"], [kind_named(name).SUMMARY for name in KINDS]),
        (["train", "mnist", "--help"], ["--hidden", "--epochs"]),
        (["train", "--kind", "images", "--help"], ["--hidden"]),
        (["evaluate", "--help"], ["RUN"]),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 0
        text = capsys.readouterr().out
        for word in wanted:
            assert word in text


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "COMMAND"),
        (["train"], "DATA"),
        (["train", "mnist", "--kind", "poems"], "poems"),
        (["train", "mnist", "--hidden", "many"], "--hidden"),
        (["train", "mnist", "--nonsense"], "--nonsense"),
        (["predict"], "RUN"),
    ],
)
def test_mistakes_in_the_arguments_end_with_2(arguments, word, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert word in capsys.readouterr().err


def test_an_option_without_its_value_is_one_sentence(capsys):
    assert main(["train", "mnist", "--hidden"]) == 2
    assert capsys.readouterr().err == "rushlight: argument --hidden: expected one argument\n"


def test_a_table_without_a_target_says_what_is_missing(tmp_path, capsys):
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    assert main(["train", str(tmp_path / "table.csv")]) == 2
    assert "--target" in capsys.readouterr().err


def test_a_run_of_an_unknown_kind_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"format": 1, "job": "poems"}))
    with pytest.raises(JobError, match="'poems'"):
        kind_of_run("evaluate", [str(tmp_path)])
    assert kind_of_run("evaluate", ["--help"]) is None


def test_as_a_module_it_is_the_same_command(tmp_path):
    command = [sys.executable, "-m", "rushlight", "train", "nothing-here"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("rushlight: there is no folder nothing-here")
