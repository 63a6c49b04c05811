"""Options that several kinds of jobs have in common."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rushlight.jobs.command import SPELLED, resume_line
from rushlight.jobs.errors import JobError, refuse_missing
from rushlight.jobs.kept import settings_of

if TYPE_CHECKING:
    from rushlight.fit import RunFolder


def add_reading_options(parser: argparse.ArgumentParser, rows: bool = False) -> None:
    """How a table is written, for files that do not show it themselves (`rushlight.jobs.reading`).

    With `rows` it can also be said how many of them to read.
    """
    group = parser.add_argument_group("the file", "CSV, TSV or other text, also gzipped, or Parquet")
    group.add_argument("--delimiter", metavar="TEXT", help="what divides the fields, or tab, space (found)")
    group.add_argument("--encoding", metavar="NAME", help="of the text, such as latin-1 (utf-8)")
    group.add_argument("--no-header", action="store_true", help="the first line holds data, not names")
    if rows:
        group.add_argument(
            "--rows", type=int, metavar="N", help="use at most N rows (as many as make 20 million fields)"
        )


def reading_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """What was said about the file, as the arguments of `look` and `read_table`.

    >>> reading_arguments(argparse.Namespace(delimiter="tab", encoding=None, no_header=False))
    {'delimiter': '\\t', 'encoding': None, 'header': None}
    """
    delimiter = options.delimiter
    return {
        "delimiter": SPELLED.get(delimiter, delimiter),
        "encoding": options.encoding,
        "header": False if options.no_header else None,
    }


def reading_given(options: argparse.Namespace) -> dict[str, Any]:
    """What was said about the file, and how many rows to read of it, without what was left open."""
    said = {**reading_arguments(options), "rows": options.rows}
    return {name: value for name, value in said.items() if value is not None}


def settings_given(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """The settings of these names that were given as options.

    >>> settings_given(argparse.Namespace(epochs=3, lr=None, out="here"), ["epochs", "lr"])
    {'epochs': 3}
    """
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def settings_asked(
    kind: Any, options: argparse.Namespace, names: Iterable[str], file: str | None = None
) -> Any:
    """What a run with these options is asked to do, not checked yet; or was when it began, to be resumed.

    Args:
        kind: the class of the settings.
        options: of ``rushlight train``.
        names: the settings that are options of the same name.
        file: the setting that holds what was said about the file, if there is one.
    """
    given = settings_given(options, names)
    if file is not None and (said := reading_given(options)):
        given[file] = said
    if options.resume is not None:
        return resumed_settings(kind, options, given)
    if getattr(options, "target", "") is None:
        raise JobError("say which column to predict with --target")
    return kind(data=options.data, **given)


def add_run_options(train: argparse.ArgumentParser, left_out: str, where: str = "runs/DATA-NUMBER") -> None:
    """Where a run is kept, which to go on with, whether it gets a report (`left_out` says of what),
    whether its steps are compiled, and whether TensorBoard gets a log.
    """
    train.add_argument("--out", metavar="FOLDER", help=f"where the run is kept ({where})")
    train.add_argument("--resume", metavar="RUN", help="go on with an interrupted run")
    train.add_argument("--no-report", action="store_true", help=f"leave out {left_out}")
    train.add_argument(
        "--eager", action="store_true", default=None, help="run the steps op by op, without compiling them"
    )
    train.add_argument(
        "--tensorboard", action="store_true", default=None, help="log for TensorBoard into the run's folder"
    )


def free_run_folder(name: str) -> str:
    """``runs/NAME-1`` or the next number that is free."""
    for number in itertools.count(1):
        path = Path("runs") / f"{name}-{number}"
        if not path.exists():
            return str(path)
    raise AssertionError("unreachable")


def run_folder(options: argparse.Namespace, name: str) -> RunFolder:
    """The folder of the run to resume, or a new one: as asked for, else ``runs/NAME-NUMBER``.

    Packages that the run needs at its end are looked for before it begins.
    """
    from rushlight.fit import RunFolder

    refuse_missing(["safetensors"], "saving a model")
    if not options.no_report:
        # matplotlib does not work without Pillow
        refuse_missing(["matplotlib", "PIL"], "the report (--no-report leaves it out)")

    if options.resume is not None:
        folder = RunFolder.open(options.resume)
    else:
        folder = RunFolder.create(options.out or free_run_folder(name))
    options.kept_in = folder.path
    return folder


def stopped_text(options: argparse.Namespace | None) -> str:
    """What to say when Ctrl-C ends a command outside of training: where its run is and how to go on.

    >>> stopped_text(argparse.Namespace())
    'stopped'
    """
    kept_in = getattr(options, "kept_in", None)
    if options is None or kept_in is None or not (kept_in / "config.json").exists():
        return "stopped"
    return (
        f"stopped. The run is kept in {kept_in}: continue with  {resume_line(options.data, kept_in).format()}"
    )


def resumed_settings(kind: Any, options: argparse.Namespace, given: dict[str, Any]) -> Any:
    """The settings of the run to resume; an option that contradicts them is refused."""
    from rushlight.fit import RunFolder

    file = Path(options.resume) / "config.json"
    settings = settings_of(kind, RunFolder.open(options.resume).read_config(), file)
    for name, value in {"data": options.data, **given}.items():
        if getattr(settings, name) != value:
            flag = "the dataset" if name == "data" else "--" + name.replace("_", "-")
            raise JobError(
                f"the run in {options.resume} has {flag} {getattr(settings, name)}, not {value}: "
                "resume it with its own settings, or start a new run"
            )
    if options.out is not None and Path(options.out) != Path(options.resume):
        raise JobError("--resume goes on in the run's own folder: leave out --out")
    return settings
