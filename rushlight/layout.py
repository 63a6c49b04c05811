"""Names for how a tensor lies in memory: ``torch.strided`` and the memory formats.

Tensors are strided, and row-major where nothing else is asked for; those of `rushlight.coo` are sparse. These
are names only, so that scripts that pass them read the same; functions that take them say which they support.
Invariant: each prints as PyTorch's.
"""

from __future__ import annotations

from typing import final


class _Name:
    """An object that is nothing but its printed name."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"torch.{self._name}"

    def __reduce__(self) -> str:
        return self._name


@final
class layout(_Name):
    """How elements are stored: `strided`, or `sparse_coo` for sparse tensors.

    >>> import rushlight as torch
    >>> torch.zeros(2).layout
    torch.strided
    """

    __slots__ = ()


@final
class memory_format(_Name):
    """In which order the elements of a dense tensor follow each other.

    >>> import rushlight as torch
    >>> torch.zeros(2, 3).t().clone(memory_format=torch.contiguous_format).stride()
    (2, 1)
    """

    __slots__ = ()


strided = layout("strided")
sparse_coo = layout("sparse_coo")
contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")
