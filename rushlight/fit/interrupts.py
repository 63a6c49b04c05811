"""Ctrl-C that waits for the end of a step.

An interruption in the middle of an update would leave half of the weights changed. While `deferred` is in
force the first Ctrl-C only sets a flag, which the loop looks at between steps; a second one interrupts at
once. Invariant: the handler found is put back.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """A function that tells whether Ctrl-C was pressed; outside the main thread it never was."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    found = signal.getsignal(signal.SIGINT)
    if found is not signal.default_int_handler:  # somebody else's, such as a debugger's: leave it to them
        yield lambda: False
        return
    pressed = False

    def note(number: int, frame: Any) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, found)
