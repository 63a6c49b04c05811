"""What can go wrong in a job through no fault of the code: one sentence for the user, no traceback."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from rushlight.fit.errors import FitError

PACKAGES = {"PIL": "pillow"}  # modules whose package has another name


class JobError(FitError):
    """A problem with files, settings or data that the user can mend; the command line prints it and exits
    with 2.
    """


def refuse(faults: Iterable[tuple[bool, str]]) -> None:
    """Raise JobError with the sentence of the first fault that there is."""
    for there, sentence in faults:
        if there:
            raise JobError(sentence)


def missing_package(module: str, purpose: str = "this") -> str:
    """The sentence for a module that is not installed.

    >>> missing_package("PIL.Image", "the report")
    'the report needs pillow, which is not installed: pip install pillow'
    """
    name = module.partition(".")[0]
    package = PACKAGES.get(name, name)
    return f"{purpose} needs {package}, which is not installed: pip install {package}"


def refuse_missing(modules: Iterable[str], purpose: str) -> None:
    """Raise JobError for the first module that is not installed; none is imported."""
    refuse((importlib.util.find_spec(name) is None, missing_package(name, purpose)) for name in modules)


def counted_rows(count: int) -> str:
    """A number of rows in words.

    >>> counted_rows(1), counted_rows(1200)
    ('1 row', '1,200 rows')
    """
    return "1 row" if count == 1 else f"{count:,} rows"
