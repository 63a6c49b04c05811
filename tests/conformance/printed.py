"""Comparing what two programs printed: words must be equal, numbers equal to a few digits.

Two libraries that round differently in the last bit of a float32 print the same four digits nearly always,
not always. Invariant: the layout, every whole number and every word must be the same.
"""

from __future__ import annotations

import re

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d*)?(?:e[+-]?\d+)?(?![\w])")


def differences(ours: str, theirs: str, relative: float = 2e-4, absolute: float = 2e-4) -> list[str]:
    """The lines that differ, numbers with a fraction only if by more than the tolerances."""
    our_lines, their_lines = ours.splitlines(), theirs.splitlines()
    found = [
        f"line {number}: {mine!r} is not {their!r}"
        for number, (mine, their) in enumerate(zip(our_lines, their_lines, strict=False), start=1)
        if not _same(mine, their, relative, absolute)
    ]
    if len(our_lines) != len(their_lines):
        found.append(f"{len(our_lines)} lines, not {len(their_lines)}")
    return found


def _same(mine: str, their: str, relative: float, absolute: float) -> bool:
    if mine == their:
        return True
    if NUMBER.sub("#", mine).split() != NUMBER.sub("#", their).split():
        return False
    for one, other in zip(NUMBER.findall(mine), NUMBER.findall(their), strict=True):
        if one != other and ("." not in one or "." not in other):
            return False
        if abs(float(one) - float(other)) > absolute + relative * abs(float(other)):
            return False
    return True
