"""What can go wrong in a job through no fault of the code: one sentence for the user, no traceback."""

from __future__ import annotations

from collections.abc import Iterable

from rushlight.fit.errors import FitError


class JobError(FitError):
    """A problem with files, settings or data that the user can mend; the command line prints it and exits
    with 2.
    """


def refuse(faults: Iterable[tuple[bool, str]]) -> None:
    """Raise JobError with the sentence of the first fault that there is."""
    for there, sentence in faults:
        if there:
            raise JobError(sentence)


def counted_rows(count: int) -> str:
    """A number of rows in words.

    >>> counted_rows(1), counted_rows(1200)
    ('1 row', '1,200 rows')
    """
    return "1 row" if count == 1 else f"{count:,} rows"
