"""What a run folder's JSON files say, checked before it is used.

Anybody may have edited such a file, or half of a disk may be gone. Invariant: what comes from here has the
types that the code expects, and what has not is one `JobError` that names the file and the place in it.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from rushlight.jobs.errors import JobError

T = TypeVar("T")


def is_a(value: object, kind: Any) -> bool:
    """Whether a value that was read from JSON is of a type, as annotations write it.

    >>> is_a([64, 32], list[int]), is_a(["64"], list[int]), is_a(None, float | None), is_a(True, int)
    (True, False, True, False)
    """
    if kind is Any:
        return True
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return any(is_a(value, each) for each in inner)
    if origin is list:
        return isinstance(value, list) and all(is_a(each, inner[0]) for each in value)
    if origin is dict:
        return isinstance(value, dict) and all(is_a(each, inner[1]) for each in value.values())
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return value is None if kind is types.NoneType else isinstance(value, kind)


def part(kept: object, name: str, kind: Any, file: Path) -> Any:
    """One part of what a file holds, of the type that it must have.

    >>> part({"rows": -1.5}, "rows", int, Path("config.json"))
    Traceback (most recent call last):
        ...
    rushlight.jobs.errors.JobError: config.json is damaged: 'rows' is -1.5
    """
    if not isinstance(kept, dict) or name not in kept:
        raise damaged(file, f"{name!r} is missing")
    if not is_a(kept[name], kind):
        raise damaged(file, f"{name!r} is {_short(kept[name])}")
    return kept[name]


def made_of(kind: type[T], kept: Mapping[str, Any], file: Path) -> T:
    """A dataclass made of what a file holds."""
    wanted = get_type_hints(kind)
    for name in kept:
        if name not in wanted:
            raise damaged(file, f"{name!r} is not known")
    for each in fields(kind):  # type: ignore[arg-type]
        if each.name in kept:
            part(kept, each.name, wanted[each.name], file)
    try:
        return kind(**kept)
    except TypeError as error:  # something is missing
        raise damaged(file, str(error)) from None


def settings_of(kind: type[T], config: dict[str, Any], file: Path) -> T:
    """What a run was asked to do, of a class of settings with a `check`."""
    asked = part(config, "settings", dict, file)
    part(asked, "data", str, file)  # which has a default in some jobs, but never in a run
    settings: Any = made_of(kind, asked, file)
    try:
        settings.check()
    except JobError as error:
        raise damaged(file, str(error)) from None
    return settings


def read_json(file: Path) -> Any:
    """What a JSON file holds."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise JobError(f"{file} cannot be read: {error}") from None


def damaged(file: Path, reason: str) -> JobError:
    """The error for a file that does not hold what it should."""
    return JobError(f"{file} is damaged: {reason}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
