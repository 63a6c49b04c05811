"""The shape of a tensor: a tuple of whole numbers that prints as ``torch.Size([2, 3])``.

It is an ordinary tuple for everything that only reads it (hashing, comparing, unpacking), and it is not a
list: it cannot be changed. The invariant: every item is an integer, and slices, sums and multiples of a Size
are Sizes again.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any, SupportsIndex

import numpy as np


class Size(tuple[int, ...]):
    """A shape, made from an iterable of integers (or of one-element integer tensors).

    Raises TypeError when an item is not an integer. Code that already holds a tuple of integers, such as an
    array's shape, may skip that check with ``tuple.__new__(Size, shape)``.

    >>> import rushlight as torch
    >>> torch.Size([2, 3]) + (4,)
    torch.Size([2, 3, 4])
    >>> torch.Size([2, 3]).numel()
    6
    """

    __slots__ = ()

    def __new__(cls, items: Iterable[SupportsIndex] = (), /) -> Size:
        return tuple.__new__(cls, [_as_integer(item, position) for position, item in enumerate(items)])

    def numel(self) -> int:
        """The number of elements in a tensor of this shape: the product of its items, 1 for no items."""
        return math.prod(self)

    def __getitem__(self, key: Any) -> Any:
        picked = tuple.__getitem__(self, key)
        return tuple.__new__(Size, picked) if isinstance(key, slice) else picked

    def __add__(self, other: Any) -> Any:
        if isinstance(other, list | int):
            kind = type(other).__name__
            raise TypeError(f"can only concatenate tuple (not {kind}) to torch.Size: write size + (3,)")
        if not isinstance(other, tuple):
            return NotImplemented
        return Size(tuple.__add__(self, other))

    def __radd__(self, other: Any) -> Any:
        # Python asks this method before tuple.__add__, because Size is a subclass of tuple.
        if not isinstance(other, tuple):
            return NotImplemented
        return Size(tuple.__add__(other, self))

    def __mul__(self, count: Any) -> Any:
        if not isinstance(count, int | np.integer):
            return NotImplemented
        return tuple.__new__(Size, tuple.__mul__(self, count))

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"


def _as_integer(item: Any, position: int) -> int:
    try:
        return operator.index(item)
    except TypeError:
        kind = type(item)
        # NumPy's scalars are named with their module (numpy.float32), Python's own by their bare name.
        name = f"numpy.{kind.__name__}" if kind.__module__ == "numpy" else kind.__name__
        raise TypeError(f"torch.Size() takes an iterable of 'int' (item {position} is '{name}')") from None


def one_element(tensor: Any) -> Any:
    """The tensor itself, if it has one element, and so can become a number of Python's."""
    if tensor._array.size != 1:
        raise ValueError(
            "only one element tensors can be converted to Python scalars. "
            f"This one has the shape {list(tensor._array.shape)}."
        )
    return tensor
