"""Which kind of job a command line asks for.

Each kind is a module of this package with the functions of `Kind`; `KINDS` lists them in the order in which
they are asked. For ``train`` a kind is chosen by what the arguments are (``claims``) or by ``--kind``; for a
finished run by what its folder says. Invariant: what is chosen depends on the arguments and the file's first
lines only, and a kind's module imports nothing heavy until its command runs.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from rushlight.jobs.errors import JobError

if TYPE_CHECKING:
    from rushlight.fit import Trainer

KINDS = ("ratings", "candles", "tables", "images")  # the last one takes what no other claims


class Kind(Protocol):
    """What the module of a kind of job offers the command line."""

    SUMMARY: str  # a line for the help: what it learns from what

    @staticmethod
    def claims(found: argparse.Namespace) -> bool:
        """Whether ``rushlight train`` with these arguments means this kind; `found` has the text of every
        option of any kind, None or False where it is absent.
        """

    @staticmethod
    def train_options(parser: argparse.ArgumentParser) -> None:
        """Add the options of ``rushlight train DATA`` (``data`` and ``--kind`` are there)."""

    @staticmethod
    def evaluate_options(parser: argparse.ArgumentParser) -> None:
        """Add the options of ``rushlight evaluate RUN`` (``folder`` is there)."""

    @staticmethod
    def predict_options(parser: argparse.ArgumentParser) -> None:
        """Add the arguments and options of ``rushlight predict RUN`` (``folder`` is there)."""

    @staticmethod
    def settings_from(options: argparse.Namespace) -> Any:
        """What ``train`` is asked to do by these options, a dataclass whose fields are named like them; with
        ``--resume``, what the run was asked to do.
        """

    @staticmethod
    def trainer(options: argparse.Namespace) -> Trainer:
        """The trainer of the run that ``train`` would begin with these options, without a run folder; for
        ``rushlight find-lr``, whose options lack those in `rushlight.cli.rates.LEFT_OUT`.
        """

    @staticmethod
    def train(options: argparse.Namespace) -> int:
        """Run the command; returns the exit code."""

    @staticmethod
    def evaluate(options: argparse.Namespace) -> int:
        """Run the command; returns the exit code."""

    @staticmethod
    def predict(options: argparse.Namespace) -> int:
        """Run the command; returns the exit code."""


def kind_named(name: str) -> Kind:
    """The module of a kind."""
    return importlib.import_module(f"rushlight.cli.{name}")  # type: ignore[return-value]


def kind_to_train(arguments: Sequence[str]) -> Kind | None:
    """The kind that ``rushlight train`` with these arguments means; None while they name no data.

    >>> kind_to_train(["--hidden", "64,32", "mnist"]).__name__
    'rushlight.cli.images'
    >>> kind_to_train(["--help"]) is None
    True
    """
    found = _scout("data", arguments, lambda kind: kind.train_options)
    if found.kind is not None:
        return kind_named(found.kind) if found.kind in KINDS else None
    if found.data is None:
        return None
    if found.resume is not None:
        return kind_of_folder(found.resume)
    return next(kind for kind in map(kind_named, KINDS) if kind.claims(found))


def kind_of_run(command: str, arguments: Sequence[str]) -> Kind | None:
    """The kind of the run folder that ``rushlight evaluate`` or ``predict`` is given; None without one."""
    found = _scout("folder", arguments, lambda kind: getattr(kind, f"{command}_options"))
    if found.folder is None:
        return None
    return kind_of_folder(found.folder)


def kind_of_folder(path: str) -> Kind:
    """The kind of job that a run folder holds."""
    from rushlight.fit.run_folder import RunFolder

    job = RunFolder.open(path).read_config().get("job")
    if job not in KINDS:
        raise JobError(
            f"{Path(path) / 'config.json'} describes a job of the kind {job!r}; this version knows "
            + ", ".join(KINDS)
        )
    return kind_named(job)


class _Scout(argparse.ArgumentParser):
    """Knows the options of every kind, so as to tell their values from the data's name, and judges none."""

    def error(self, message: str) -> NoReturn:
        raise JobError(message)


def _scout(
    subject: str,
    arguments: Sequence[str],
    options_of: Callable[[Kind], Callable[[argparse.ArgumentParser], None]],
) -> argparse.Namespace:
    """The arguments as text, by the options of all kinds."""
    parser = _Scout(add_help=False, allow_abbrev=False, conflict_handler="resolve")
    parser.add_argument(subject, nargs="?")
    parser.add_argument("--kind")
    for name in KINDS:
        options_of(kind_named(name))(parser)
    for action in parser._actions:
        action.type = action.choices = None
        action.required = False
        if not action.option_strings and action.dest != subject:
            action.nargs = "*"
    return parser.parse_known_args(list(arguments))[0]
