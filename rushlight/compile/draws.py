"""Random numbers of Python's and NumPy's, which a program would repeat for ever.

Nothing is drawn here. Invariant: a draw is seen as long as the generator stands somewhere else after it.
"""

from __future__ import annotations

import random
import sys
from typing import Any

import numpy as np


class OtherDraws:
    """Whether random numbers of Python or NumPy were drawn since this was made: from the generators that all
    share, or from one that was noted.
    """

    def __init__(self) -> None:
        self.python = random.getstate()
        self.numpy = _numpy_state()
        self.noted: list[tuple[Any, str]] = []

    def note(self, value: Any) -> bool:
        """Note a value if it is a generator; whether it is."""
        if not (isinstance(value, random.Random) or type(value).__module__.startswith("numpy.random")):
            return False
        self.noted.append((value, _state_of(value)))
        return True

    def made(self) -> str:
        """Which random numbers were drawn, or an empty text."""
        if random.getstate() != self.python:
            return "Python's random"
        if _numpy_state() != self.numpy:
            return "numpy.random"
        drawn = (type(value).__name__ for value, before in self.noted if _state_of(value) != before)
        return next((f"a {each} of its own" for each in drawn), "")


def _state_of(generator: Any) -> str:
    """Where a generator stands, as text."""
    if isinstance(generator, random.Random):
        return repr(generator.getstate())
    with np.printoptions(threshold=sys.maxsize):
        if hasattr(generator, "get_state"):
            return repr(generator.get_state(legacy=False))
        return repr(getattr(generator, "bit_generator", generator).state)


def _numpy_state() -> Any:
    if "numpy.random" not in sys.modules:
        return None
    kind, words, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - the global state is what is looked at
    return kind, np.asarray(words).tobytes(), *rest
