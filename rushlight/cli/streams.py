"""Standard output and standard error, whatever the shell made of them: closed, full, or in an old encoding.

Invariant: what cannot be printed never costs a run, and never ends in a traceback.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys


def prepare() -> None:
    """Have closed streams swallow what they are given, and characters that an encoding lacks become ``?``."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # for the whole process: it also keeps the number of the stream from files that are opened later
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")


def flush() -> None:
    """Write what is kept back now, where an error can still be told."""
    if sys.stdout is not None:
        sys.stdout.flush()


def tell(sentence: str) -> None:
    """Print to standard error, if anybody can be told at all."""
    with contextlib.suppress(OSError, ValueError):
        print(sentence, file=sys.stderr, flush=True)


def give_up_output() -> None:
    """Throw away what standard output cannot take, which Python would try to write once more at its end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
