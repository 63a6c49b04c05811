"""``rushlight find-lr DATA``: a sweep over learning rates for the run that ``rushlight train DATA`` begins.

It takes that command's options, but for those that a sweep has no use for. Nothing is saved.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from rushlight.cli.kinds import Kind
from rushlight.jobs.command import command_line

LEFT_OUT = ("--lr", "--epochs", "--schedule", "--out", "--resume", "--no-report", "--folds")


class _Sieve:
    """Stands in for a parser and leaves out what a sweep has no use for; those options get their default."""

    def __init__(self, parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
        self._parser = parser

    def add_argument(self, *names: str, **details: Any) -> Any:
        if names[0] not in LEFT_OUT:
            return self._parser.add_argument(*names, **details)
        absent = False if details.get("action") == "store_true" else None
        place = names[0].lstrip("-").replace("-", "_")
        self._parser.set_defaults(**{place: details.get("default", absent)})
        return None

    def add_argument_group(self, *names: str, **details: Any) -> Any:
        return _Sieve(self._parser.add_argument_group(*names, **details))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)


def add_options(parser: argparse.ArgumentParser, kind: Kind) -> None:
    """The options of the kind, and those of the sweep."""
    kind.train_options(_Sieve(parser))  # type: ignore[arg-type]
    group = parser.add_argument_group("the sweep")
    group.add_argument("--lowest", type=float, default=1e-7, metavar="RATE", help="where to begin (1e-7)")
    group.add_argument("--highest", type=float, default=10.0, metavar="RATE", help="where to end (10)")
    group.add_argument("--steps", type=int, default=100, metavar="N", help="how many rates to try (100)")


def find_lr(kind: Kind, options: argparse.Namespace) -> int:
    """Run the sweep and print the curve and the suggestion."""
    trainer = kind.trainer(options)
    curve = trainer.find_lr(options.lowest, options.highest, options.steps)
    print(curve)
    settings = dataclasses.replace(kind.settings_from(options), lr=float(f"{curve.suggestion:.2g}"))
    print(f"try: {command_line(settings, options.kind, usual=False)}")
    return 0
