"""The command that repeats a run, from its settings: what a report shows under *Reproduce*.

Invariant: settings are named as their options are, with ``_`` for ``-``, and a dict among them holds what was
said about the file (`rushlight.cli.shared.reading_arguments`).
"""

from __future__ import annotations

import shlex
from dataclasses import fields
from typing import Any


def command_line(settings: Any) -> str:
    """``rushlight train DATA`` with every setting that has a value.

    >>> from rushlight.jobs.images import Settings
    >>> command_line(Settings(hidden=[32, 16], lr=0.01))[:49]
    'rushlight train mnist --hidden 32,16 --activation'
    """
    words = ["rushlight", "train", settings.data]
    for each in fields(settings):
        if each.name != "data":
            words += _option(each.name, getattr(settings, each.name))
    return shlex.join(words)


def _option(name: str, value: Any) -> list[str]:
    flag = "--" + name.replace("_", "-")
    if value is None or value is False:
        return []
    if value is True:
        return [flag]
    if isinstance(value, dict):
        said = {key: each for key, each in value.items() if key != "header"}
        words = [word for key, each in said.items() for word in _option(key, each)]
        return [*words, "--no-header"] if value.get("header") is False else words
    if isinstance(value, (list, tuple)):
        return [flag, ",".join(map(str, value))]
    return [flag, str(value)]
