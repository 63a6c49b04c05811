"""``torch.version``: the version of PyTorch that Rushlight follows, with a suffix that says who answers.

Versions compare as numbers, not as text, as those of PyTorch do, so that ``torch.__version__ >= "2.2"`` is
true of 2.13. There is neither CUDA nor ROCm.
"""

from __future__ import annotations

import re
from typing import Any


class Version(str):
    """A version as text that is compared by its numbers, with a text or a tuple.

    >>> version = Version("2.13.0+rushlight")
    >>> version >= "2.2", version < (3,), version == "2.13.0+rushlight"
    (True, True, True)
    >>> version.split(".")[0]
    '2'
    """

    __slots__ = ()

    def _compared(self, other: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]] | None:
        if isinstance(other, str):
            return _key(self), _key(other)
        if isinstance(other, tuple | list):
            return _key(self), _key(".".join(map(str, other)))
        return None

    def __lt__(self, other: Any) -> Any:
        keys = self._compared(other)
        return NotImplemented if keys is None else keys[0] < keys[1]

    def __le__(self, other: Any) -> Any:
        keys = self._compared(other)
        return NotImplemented if keys is None else keys[0] <= keys[1]

    def __gt__(self, other: Any) -> Any:
        keys = self._compared(other)
        return NotImplemented if keys is None else keys[0] > keys[1]

    def __ge__(self, other: Any) -> Any:
        keys = self._compared(other)
        return NotImplemented if keys is None else keys[0] >= keys[1]

    def __eq__(self, other: object) -> Any:
        keys = self._compared(other)
        return NotImplemented if keys is None else keys[0] == keys[1]

    def __ne__(self, other: object) -> Any:
        keys = self._compared(other)
        return NotImplemented if keys is None else keys[0] != keys[1]

    def __hash__(self) -> int:
        return hash(_key(self))


def _key(version: str) -> tuple[Any, ...]:
    """What versions are ordered by: the numbers without closing zeros, candidates first, the suffix."""
    public, _, local = version.partition("+")
    numbers = re.match(r"[\d.]*", public)
    assert numbers is not None  # it matches the empty text
    release = [int(part) for part in numbers[0].split(".") if part]
    while release and release[-1] == 0:
        release.pop()
    rest = public[numbers.end() :]
    return tuple(release), not rest, rest, local


__version__ = Version("2.13.0+rushlight")
debug = False
cuda: str | None = None
hip: str | None = None
git_version: str | None = None
