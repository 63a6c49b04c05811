"""Work that goes on in a thread of its own while a command prepares other things.

It pays for what leaves Python's lock alone: reading and unpacking files, LLVM, NumPy on large arrays. Such
work comes back to the lock again and again for moments, so meanwhile nobody holds it for long. Invariant: the
thread has ended when the block ends, however it ends.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

# After so long a thread hands the lock over to one that waits; Python's own choice is 5e-3.
SWITCH_SECONDS = 2e-4


class Background(Generic[T]):
    """A function that runs in a thread of its own from the start of a block, and has ended at its end.

    >>> with Background(lambda: 6 * 7) as found:
    ...     found.result()
    42
    """

    def __init__(self, function: Callable[[], T]) -> None:
        self.function = function
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.value: list[T] = []
        self.error: BaseException | None = None

    def _run(self) -> None:
        try:
            self.value.append(self.function())
        except BaseException as error:  # noqa: BLE001 - whoever asks for the result gets it
            self.error = error

    def __enter__(self) -> Background[T]:
        self.interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)
        self.thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self.thread.join()
        sys.setswitchinterval(self.interval)

    def result(self) -> T:
        """What the function returned; raises what it raised."""
        self.thread.join()
        if self.error is not None:
            raise self.error
        return self.value[0]
