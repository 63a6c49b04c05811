"""Fusion: which statements share one loop nest.

A `Group` is a list of statements over one domain that are carried out together, index by index, perhaps as
the epilogue of a contraction. Statements join the groups that make what they read, and groups are joined,
wherever the order of reads and writes to memory allows it and no cycle arises. Invariant: for every index, a
group's statements in order do what they would do in loops of their own, and groups run in an order in which
whatever is read has been written.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from rushlight.compile.order import Ordered, connect, depends, merge
from rushlight.compile.program import TEMPORARY
from rushlight.compile.statements import Access, Check, Draw, Opaque, Product, Split, Statement, Work


class Group(Ordered):
    """Statements in one loop nest.

    `product` comes first if there is one; `single` is the one piece of work of a kind that shares no loops.
    `touched` holds every access, by the number of the buffer.
    """

    __slots__ = ("domain", "number", "product", "single", "statements", "touched")

    def __init__(self, number: int, domain: tuple[int, ...]) -> None:
        super().__init__(number)
        self.number = number
        self.domain = domain
        self.product: Product | None = None
        self.single: Draw | Check | Opaque | None = None
        self.statements: list[Statement] = []
        self.touched: dict[int, list[Touch]] = {}

    def touches(self) -> list[Touch]:
        """Every access to memory."""
        return [touch for found in self.touched.values() for touch in found]

    def folded(self) -> frozenset[int] | None:
        """The dimensions that folds in this group run over, if it has any."""
        for each in self.statements:
            if each.fold:
                return each.dims
        return None

    def split(self) -> Split | None:
        """The statement, if it is one that splits an operand into pieces."""
        first = self.statements[0] if self.statements else None
        return first if isinstance(first, Split) else None

    def work(self) -> list[Work]:
        """Everything in it, in order."""
        first: list[Work] = [] if self.product is None else [self.product]
        if self.single is not None:
            first.append(self.single)
        return [*first, *self.statements]

    def storing(self, stored: Container[object]) -> list[Statement | Product]:
        """The work whose value goes to memory, given all work of the plan of which that is so."""
        return [each for each in self.work() if isinstance(each, (Statement, Product)) and each in stored]

    def strands(self) -> int:
        """How many strands it has (see `strands`); 1 if what it does is not all in strands."""
        found = {each.strands if isinstance(each, (Statement, Product)) else 1 for each in self.work()}
        return found.pop() if len(found) == 1 else 1

    def ops(self) -> list[str]:
        """The names of its ops, in order, each once."""
        found = [each.call.op.name for each in self.work()]
        if isinstance(self.single, Check):
            found.insert(0, "check")
        elif self.split() is not None:
            found.insert(0, "split")
        return list(dict.fromkeys(found))

    def places(self) -> list[str]:
        """The lines of code it comes from, in order, each once."""
        return list(dict.fromkeys(each.call.where for each in self.work() if each.call.where))


class Touch:
    """One access to a buffer by a group; `access` is None where no index of the group's domain owns an
    element (contracted operands, folded results, scatters). If what each strand touches is apart from what
    others do, `strand` is how far; else 0.
    """

    __slots__ = ("access", "group", "high", "low", "number", "strand", "writes")

    def __init__(
        self, group: Group, number: int, access: Access | None, bounds: tuple[int, int], writes: bool
    ) -> None:
        self.group, self.number, self.access, self.writes = group, number, access, writes
        self.strand = 0
        self.low, self.high = bounds

    def overlaps(self, other: Touch) -> bool:
        """Whether the two may touch the same element."""
        return self.low < other.high and other.low < self.high


def touches(group: Group, work: Work) -> list[Touch]:
    """Every access of a piece of work."""
    found: list[Touch] = []

    def note(access: Access, domain: tuple[int, ...], writes: bool, plain: bool = True) -> None:
        bounds = access.extent(domain)
        found.append(Touch(group, access.buffer.number, access if plain else None, bounds, writes))
        if isinstance(work, (Statement, Product)) and work.strands > 1:
            first, last = access.extent((1, *domain[1:]))
            found[-1].strand = access.strides[0] if last - first <= access.strides[0] else 0

    if isinstance(work, Statement):
        for each in work.reads():
            note(each, work.domain, False)
        note(work.store, work.domain, True, not work.fold and not work.add)
    elif isinstance(work, Product):
        for access, domain in work.reads():
            note(access, domain, False, False)
        note(work.store, work.domain, True)
    elif isinstance(work, Draw):
        for each in work.loads:
            note(each, work.domain, False, False)
        note(work.state, (work.state.buffer.size,), True, False)
        note(work.store, work.domain, True, False)
    elif isinstance(work, Check):
        for each in work.loads:
            note(each, work.domain, False)
        for window in work.shown:
            found.append(Touch(group, window.buffer.number, None, window.extent(), False))
    else:
        for windows, writes in ((work.call.reads(), False), (work.call.outputs, True)):
            for window in windows:
                found.append(Touch(group, window.buffer.number, None, window.extent(), writes))
    return found


class Fusion:
    """Puts work into groups, in program order; `kept` are temporaries that outlast the step, by number."""

    def __init__(self, kept: Container[int]) -> None:
        self.kept = kept
        self.groups: list[Group] = []
        self.replaced: set[Group] = set()
        self.reads: dict[int, list[Touch]] = {}
        self.writes: dict[int, list[Touch]] = {}
        self.barrier: Group | None = None
        self.lasting: set[int] = set()  # buffers that last and were written since the last check, by number
        self.since_opaque: list[Group] = []

    def add(self, work: Work) -> None:
        """Place one piece of work."""
        own = Group(len(self.groups), work.domain if not isinstance(work, Opaque) else ())
        found = touches(own, work)
        needed = self._needed(found)
        written = self._lasting(work)
        self.lasting |= written
        if isinstance(work, Check):
            for number in self.lasting:  # what was changed before stays changed if it fails
                needed.update((each.group.number, each.group) for each in self.writes[number])
            self.lasting.clear()  # the next check comes after this one
        elif self.barrier is not None and written:  # which must not join what comes before
            needed[self.barrier.number] = self.barrier
        if isinstance(work, Statement) and not work.is_alone:
            home = self._home(work, own.domain, found, needed)
            if home is not None:
                self._join(home, work, found, needed)
                return
        self.groups.append(own)
        if isinstance(work, Product):
            own.product = work
        elif isinstance(work, Statement):
            own.statements.append(work)
        else:
            own.single = work
        for each in needed.values():
            connect(each, own)
        _split_late(needed.values())
        if self.barrier is not None:
            connect(self.barrier, own)
        self._note(own, found)
        if isinstance(work, Check):
            self.barrier = own  # what changes memory comes after the check
        elif isinstance(work, Opaque):
            for each in self.since_opaque:  # what is older comes before the opaque call before this one
                if each not in self.replaced:
                    connect(each, own)
            self.since_opaque.clear()
            self.barrier = own
        self.since_opaque.append(own)

    def _lasting(self, work: Work) -> set[int]:
        """The buffers that are there after the step, of those that native code writes for it, by number."""
        if isinstance(work, (Check, Opaque)):
            return set()
        written = [work.store.buffer, work.state.buffer] if isinstance(work, Draw) else [work.store.buffer]
        return {each.number for each in written if each.kind != TEMPORARY or each.number in self.kept}

    # -- dependences -----------------------------------------------------------------------------------------

    def _needed(self, found: Iterable[Touch]) -> dict[int, Group]:
        """The groups that must have run before."""
        needed: dict[int, Group] = {}
        for touch in found:
            for other in (*self.writes.get(touch.number, ()), *self._read_before(touch)):
                if touch.overlaps(other):
                    needed[other.group.number] = other.group
        return needed

    def _read_before(self, touch: Touch) -> Iterable[Touch]:
        return self.reads.get(touch.number, ()) if touch.writes else ()

    def _note(self, group: Group, found: Iterable[Touch]) -> None:
        for touch in found:
            touch.group = group
            group.touched.setdefault(touch.number, []).append(touch)
            (self.writes if touch.writes else self.reads).setdefault(touch.number, []).append(touch)

    # -- joining ---------------------------------------------------------------------------------------------

    def _home(
        self, work: Statement, domain: tuple[int, ...], found: list[Touch], needed: dict[int, Group]
    ) -> Group | None:
        """The group that a statement can join, after others were joined to it if that helps."""
        home: Group | None = None
        for number in sorted(needed, reverse=True):
            group = needed.get(number)
            if group is None or not self._takes(group, work, domain, found):
                continue
            if home is None:
                if self._reached(group, needed):
                    home = group
            else:
                joined = self._joined(home, group)
                if joined is not None:
                    needed.pop(home.number, None)
                    needed.pop(group.number, None)
                    needed[joined.number] = joined
                    home = joined
        if home is not None and not (self._reached(home, needed) and self._takes(home, work, domain, found)):
            return None
        return home

    @staticmethod
    def _reached(group: Group, needed: dict[int, Group]) -> bool:
        """Whether nothing that is needed depends on the group in turn."""
        return not depends([each for each in needed.values() if each is not group], group)

    def _takes(self, group: Group, work: Statement, domain: tuple[int, ...], found: list[Touch]) -> bool:
        """Whether a statement may run in a group's loops."""
        if group.single is not None or group.domain != domain:
            return False
        if group.statements and group.statements[0].is_alone:
            return False
        if work.fold:
            folded = group.folded()
            if group.product is not None or (folded is not None and folded != work.dims):
                return False
        return all(_in_step(each, group, domain) for each in found)

    def _joined(self, one: Group, other: Group) -> Group | None:
        """Two groups as one, if that is possible; the earlier one remains."""
        first, second = (one, other) if one.number < other.number else (other, one)
        if second.product is not None or depends([first], second):
            return None
        # a path from first to second through a third would make a cycle
        if depends([each for each in second.before if each is not first], first):
            return None
        for statement in second.statements:
            found = touches(first, statement)
            if not self._takes(first, statement, first.domain, found):
                return None
        first.statements += second.statements
        for number, found in second.touched.items():
            for touch in found:
                touch.group = first
            first.touched.setdefault(number, []).extend(found)
        self.replaced.add(second)
        merge(first, second)
        return first

    def _join(self, home: Group, work: Statement, found: list[Touch], needed: dict[int, Group]) -> None:
        home.statements.append(work)
        for each in needed.values():
            if each is not home:
                connect(each, home)
        self._note(home, found)


def _split_late(needed: Iterable[Group]) -> None:
    """Have operands of a product split when all it needs is there, not long before: they would leave the
    caches, where they lie in no little space.
    """
    splits = [each for each in needed if each.split() is not None]
    awaited = {each: None for split in splits for each in split.before}
    awaited.update((each, None) for each in needed if each.split() is None and splits)
    for split in splits:
        for each in awaited:
            connect(each, split)


def _in_step(mine: Touch, group: Group, domain: tuple[int, ...]) -> bool:
    """Whether an access meets only accesses of the group to the very same elements, index by index."""
    for other in group.touched.get(mine.number, ()):
        if not (mine.writes or other.writes) or not mine.overlaps(other):
            continue
        if mine.access is None or mine.access != other.access or not mine.access.is_injective(domain):
            return False
    return True


def fuse(work: Iterable[Work], kept: Container[int]) -> list[Group]:
    """Groups for all work; `schedule.ordered` puts them in an order."""
    fusion = Fusion(kept)
    for each in work:
        fusion.add(each)
    return [each for each in fusion.groups if each not in fusion.replaced]
