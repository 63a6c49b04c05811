"""What has to come before what, while things are still being joined: an order that is mended edge by edge.

Every node has a place such that whatever it needs has a smaller one. So a question about two nodes looks only
at what lies between them, and a new edge against the order moves only what lies between its ends. (The
algorithm is that of Pearce and Kelly, 2006.) Invariant: places are different, and every edge leads to a
larger one.
"""

from __future__ import annotations

from collections.abc import Iterable


class Ordered:
    """A node: what it needs directly, what needs it directly, and its place in the order."""

    __slots__ = ("after", "before", "place")

    def __init__(self, place: int) -> None:
        self.place = place
        self.before: dict[Ordered, None] = {}
        self.after: dict[Ordered, None] = {}


def depends(late: Iterable[Ordered], early: Ordered) -> bool:
    """Whether one of the late nodes needs the early one, perhaps by way of others.

    The search goes from both ends and takes the next step where less was looked at.
    """
    needed = {each for each in late if each.place > early.place}
    following = {early}
    end = max((each.place for each in needed), default=0)
    down, up = list(needed), [early]
    cost_down = cost_up = 0
    while down and up:
        if cost_up + len(up[-1].after) <= cost_down + len(down[-1].before):
            node = up.pop()
            cost_up += len(node.after)
            fresh = [each for each in node.after if each.place <= end and each not in following]
            if any(each in needed for each in fresh):
                return True
            following.update(fresh)
            up += fresh
        else:
            node = down.pop()
            cost_down += len(node.before)
            fresh = [each for each in node.before if each.place >= early.place and each not in needed]
            if any(each in following for each in fresh):
                return True
            needed.update(fresh)
            down += fresh
    return False


def connect(first: Ordered, second: Ordered) -> None:
    """Have `second` need `first`, which must not depend on it."""
    if first in second.before:
        return
    second.before[first] = first.after[second] = None
    if first.place < second.place:
        return
    # Of what lies between, all that leads to `first` moves before all that follows `second`.
    moved = [*_between(first, second.place, -1), *_between(second, first.place, 1)]
    for node, place in zip(moved, sorted(node.place for node in moved), strict=True):
        node.place = place


def _between(start: Ordered, end: int, direction: int) -> list[Ordered]:
    """A node and all it leads to (1) or needs (-1) up to a place, in order."""
    found, waiting = {start}, [start]
    while waiting:
        node = waiting.pop()
        for each in node.after if direction > 0 else node.before:
            if (end - each.place) * direction > 0 and each not in found:
                found.add(each)
                waiting.append(each)
    return sorted(found, key=lambda node: node.place)


def merge(first: Ordered, second: Ordered) -> None:
    """Give `first` all edges of `second`; no path may lead from one to the other but an edge."""
    for each in second.before:
        del each.after[second]
        if each is not first:
            connect(each, first)
    for each in second.after:
        del each.before[second]
        connect(first, each)
