"""The random numbers of transforms, drawn from the default generator just as torchvision draws them from
PyTorch's.

Each function stands for one expression there, such as ``torch.empty(1).uniform_(low, high).item()``.
Invariant: the generator moves on by what that expression takes, and the number is the same.
"""

from __future__ import annotations

import numpy as np

from rushlight import draws
from rushlight.dtype import F32, I64
from rushlight.random import default_generator


def happens(p: float) -> bool:
    """True with probability ``p``."""
    return bool(draws.unit(default_generator, 1, F32)[0] < np.float32(p))


def fails(p: float) -> bool:
    """True with probability ``1 - p``; false, unlike ``not happens(p)``, if the number drawn is ``p``."""
    return bool(np.float32(p) < draws.unit(default_generator, 1, F32)[0])


def uniform(low: float, high: float) -> float:
    """A number between ``low`` and ``high``, of float32 precision."""
    return float(draws.uniform(default_generator, 1, F32, low, high)[0])


def below(count: int) -> int:
    """An integer from 0 to ``count - 1``."""
    return int(draws.integers_between(default_generator, 1, I64, 0, count)[0])


def order(count: int) -> list[int]:
    """The integers from 0 to ``count - 1`` in random order."""
    return draws.permutation(default_generator, count).tolist()
