"""What is known of the indices and addresses of code while it is written.

Code that computes an address anew for each of its uses is long, and LLVM takes long to find out that most of
them differ by constants. So it is noted here how indices were made, and `Emitter` tells addresses by it.
Registers go by their text, which is a number where they are constants. Invariant: what is noted of a register
holds wherever it does, but `made` only within a block.
"""

from __future__ import annotations

import math


class Known:
    """Notes on registers.

    Args:
        made: registers by the instruction that made them, in the block at hand.
        sums: of an index that is another and a constant, both.
        products: the same of one that is another times a constant.
        multiples: what an index is a multiple of.
        moved: of an address that is another and a constant, both, in bytes.
    """

    def __init__(self) -> None:
        self.made: dict[str, str] = {}
        self.sums: dict[str, tuple[str, int]] = {}
        self.products: dict[str, tuple[str, int]] = {}
        self.multiples: dict[str, int] = {}
        self.moved: dict[str, tuple[str, int]] = {}

    def parts(self, index: str) -> tuple[str, int, int]:
        """An index as another one times a factor, and a constant that is not negative: a part of the way to
        an element is inside of the memory, too. The other is empty where the index is a constant.

        >>> known = Known()
        >>> known.sums["%b"] = "%a", 2
        >>> known.products["%c"] = "%b", 10
        >>> known.sums["%d"] = "%c", 3
        >>> known.parts("%d"), known.parts("7")
        (('%a', 10, 23), ('', 1, 7))
        """
        factor, amount = 1, 0
        while True:
            if index in self.products:
                index, scale = self.products[index]
                factor *= scale
            elif index in self.sums and self.sums[index][1] * factor >= 0:
                index, moved = self.sums[index]
                amount += moved * factor
            else:
                break
        if is_number(index):
            return "", 1, int(index) * factor + amount
        return index, factor, amount

    def multiple(self, index: str) -> int:
        """A number that an index surely is a multiple of; 0 if the index is zero.

        >>> known = Known()
        >>> known.products["%b"] = "%a", 24
        >>> known.sums["%c"] = "%b", 16
        >>> known.multiple("%c"), known.multiple("%a"), known.multiple("0")
        (8, 1, 0)
        """
        if is_number(index):
            return abs(int(index))
        if index in self.products:
            other, factor = self.products[index]
            return self.multiple(other) * abs(factor)
        if index in self.sums:
            other, amount = self.sums[index]
            return math.gcd(self.multiple(other), amount)
        return self.multiples.get(index, 1)


def is_number(index: str) -> bool:
    """Whether an index is a constant."""
    return not index.startswith("%")
