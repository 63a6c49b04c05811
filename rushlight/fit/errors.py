"""What can go wrong in training through no fault of the code: one sentence for the user, no traceback."""

from __future__ import annotations


class FitError(Exception):
    """A problem with data, settings or files that the user can mend; the command line prints it and exits
    with 2.
    """


class Interrupted(KeyboardInterrupt):
    """Training stopped by Ctrl-C between two steps, after what was learnt had been saved."""
