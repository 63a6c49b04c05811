"""Commands that are shown to be typed: the one that repeats a run, the one that goes on with it, and the one
that tries another rate.

Invariant: what is shown, split as a shell splits it and parsed, gives the settings it was made from. So
settings are named as their options are, with ``_`` for ``-``, and a dict among them holds what was said about
the file (`rushlight.cli.shared.reading_given`).
"""

from __future__ import annotations

import shlex
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rushlight.fit import RunFolder, Wording

SPELLED = {"tab": "\t", r"\t": "\t", "space": " ", "comma": ",", "semicolon": ";"}  # delimiters in words
IN_WORDS = {"\t": "tab", " ": "space"}


def command_line(settings: Any, kind: str | None = None, usual: bool = True) -> str:
    """``rushlight train DATA`` with the settings that have a value.

    Args:
        settings: of any kind of job.
        kind: the kind of job, to be named in the command.
        usual: whether settings that have their default value are named too, so that the command means the
            same when defaults have changed.

    >>> from rushlight.jobs.images import Settings
    >>> command_line(Settings(hidden=[32, 16], lr=0.01))[:49]
    'rushlight train mnist --hidden 32,16 --activation'
    >>> command_line(Settings("my digits", lr=0.01), kind="images", usual=False)
    "rushlight train 'my digits' --kind images --lr 0.01"
    """
    words = ["rushlight", "train", settings.data]
    if kind is not None:
        words += ["--kind", kind]
    for each in fields(settings):
        value = getattr(settings, each.name)
        if each.name != "data" and (usual or value != _default(each)):
            words += _option(each.name, value)
    return shlex.join(words)


def resume_line(data: str, folder: Path | None) -> str:
    """The command that goes on with an interrupted run, for `Wording.resume`, which is a format string.

    >>> resume_line("my digits", Path("runs/digits-1"))
    "rushlight train 'my digits' --resume runs/digits-1"
    """
    line = shlex.join(["rushlight", "train", data, "--resume", str(folder)])
    return line.replace("{", "{{").replace("}", "}}")


def wording(settings: Any, kind: str, folder: RunFolder | None) -> Wording:
    """How messages of a run name options and commands."""
    from rushlight.fit import Wording

    return Wording(
        rate="--lr {}",
        resume=resume_line(settings.data, None if folder is None else folder.path),
        reproduce=command_line(settings, kind),
    )


def _default(each: Field) -> Any:
    return each.default_factory() if each.default_factory is not MISSING else each.default


def _option(name: str, value: Any) -> list[str]:
    flag = "--" + name.replace("_", "-")
    if value is None or value is False or value == {}:
        return []
    if value is True:
        return [flag]
    if isinstance(value, dict):
        said = {key: each for key, each in value.items() if key != "header"}
        words = [word for key, each in said.items() for word in _option(key, each)]
        return [*words, "--no-header"] if value.get("header") is False else words
    text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    if name == "delimiter":
        text = IN_WORDS.get(text, text)
    # what begins with a dash would be taken for an option
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]
