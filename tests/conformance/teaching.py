"""The names that public PyTorch teaching code uses most, and which of them Rushlight has.

The names are in ``teaching_names.tsv``, most used first; those of graphics processors say so there and
are not asked for. Invariant: a name counts as there only
if it can be reached under the path that PyTorch has for it.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, NamedTuple

import rushlight
from rushlight.alias.places import PLACES

LIST = Path(__file__).with_name("teaching_names.tsv")
SHORT = {
    "F": "torch.nn.functional",
    "init": "torch.nn.init",
    "lr_scheduler": "torch.optim.lr_scheduler",
    "nn": "torch.nn",
    "optim": "torch.optim",
    "transforms": "torchvision.transforms",
}


class Name(NamedTuple):
    """One name of the list, and the subject for which it is left out, if it is."""

    kind: str
    name: str
    subject: str


def listed() -> list[Name]:
    """The names of the list."""
    lines = [line for line in LIST.read_text("utf-8").splitlines() if not line.startswith("#")]
    rows = [line.split("\t") for line in lines]
    return [Name(row[0], row[1], row[2] if len(row) > 2 else "") for row in rows]


def asked_for() -> list[Name]:
    """The names that Rushlight is to have."""
    return [each for each in listed() if not each.subject]


def full_path(name: str) -> str:
    """The path of a name in PyTorch: ``F.relu`` is ``torch.nn.functional.relu``."""
    first, _, rest = name.partition(".")
    return f"{SHORT.get(first, first)}.{rest}"


def find(path: str) -> Any:
    """What Rushlight has under a path of PyTorch's; AttributeError if it has nothing."""
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        place = PLACES.get(".".join(parts[:count]))
        if place is not None:
            module, _, inside = place.partition(":")
            found = importlib.import_module(module)
            for each in [*inside.split("."), *parts[count:]]:
                found = getattr(found, each) if each else found
            return found
    raise AttributeError(path)


def has(name: Name) -> bool:
    """Whether Rushlight has a name."""
    if name.kind == "method":
        kinds = (rushlight.Tensor, rushlight.nn.Module, rushlight.optim.Optimizer, rushlight.nn.Linear(1, 1))
        return any(hasattr(kind, name.name) for kind in kinds)
    try:
        find(full_path(name.name))
    except AttributeError:
        return False
    return True


def missing() -> list[str]:
    """The names that Rushlight is to have and has not."""
    return [each.name for each in asked_for() if not has(each)]
