"""What can go wrong in a job through no fault of the code: one sentence for the user, no traceback."""

from __future__ import annotations

from rushlight.fit.errors import FitError


class JobError(FitError):
    """A problem with files, settings or data that the user can mend; the command line prints it and exits
    with 2.
    """
