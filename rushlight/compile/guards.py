"""The check that what a recording took for granted still holds, made before every call.

If anything of what is `watched` differs the step is recorded again, never run wrongly. Invariant: as long as
nothing changed the check is one function (`holds`) of `is` comparisons, some twenty nanoseconds each, so a
call of a small step stays cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import is_
from types import MappingProxyType
from typing import Any

import numpy as np

from rushlight.autograd.mode import GRAD, INFERENCE, state
from rushlight.compile.watched import MISSING, Watched, bytes_of, contents, is_plain, zeros_of
from rushlight.compile.written import FEW_ELEMENTS, Written
from rushlight.dtype import get_default_dtype


def _unchanged(before: Any, now: Any) -> bool:
    """Whether a value is still what it was; plain ones by their text, in which 0.0 is not -0.0."""
    return now is before or (
        type(now) is type(before) and is_plain(now) and is_plain(before) and repr(now) == repr(before)
    )


class Guards(Watched):
    """The check of a growing snapshot of a step's surroundings."""

    def __init__(self) -> None:
        super().__init__()
        self._renewed: set[tuple[str, int]] = set()  # sort and place of what was replaced by an equal value
        self.holds: Callable[[], bool] = self._first_check
        self._settings_hold: Callable[[], bool] | None = None

    def broken(self) -> str:
        """Why the recording cannot be used now, or an empty text."""
        return "" if self.holds() else self._what_changed()

    def broken_settings(self) -> str:
        """What `broken` says about the settings of optimizers, which are all that a schedule changes."""
        if self._settings_hold is None:
            written = Written(missing=MISSING, get=dict.get, unchanged=_unchanged)
            for place in self._settings:
                written.terms.append(self._entry_holds(written, place))
            self._settings_hold = written.function("settings_hold()")
        return (
            self._zeroed() if self._settings_hold() else self._changed_entry(self._settings) or self._zeroed()
        )

    def _entry_holds(self, written: Written, place: int) -> str:
        """That an entry of a table is what it was, as a term."""
        table, key, value = self._tables[place], written.name(self._names[place]), self._values[place]
        name = written.name(table)
        if type(table) not in (dict, MappingProxyType):  # a defaultdict would grow by the short forms below
            return self._is_still(written, f"get({name}, {key}, missing)", value, ("entry", place))
        if value is MISSING:
            return f"{key} not in {name}"
        return self._is_still(written, f"{name}[{key}]", value, ("entry", place))

    def _is_still(self, written: Written, now: str, value: Any, which: tuple[str, int]) -> str:
        """That an expression has the value it had, as a term.

        Equality is asked for only where it is known to be needed: a number that the program computes anew
        before each call is another object each time.
        """
        known = written.name(value)
        same = f"{now} is {known}"
        return f"({same} or unchanged({known}, {now}))" if which in self._renewed else same

    def _changed_entry(self, places: Iterable[int]) -> str:
        """What became of entries of tables; equal plain values are taken over."""
        for place in places:
            name, value = self._names[place], self._values[place]
            now = self._tables[place].get(name, MISSING)
            if not _unchanged(value, now):
                return _change(name, value, now)
            if now is not value:
                self._renewed.add(("entry", place))
            self._values[place] = now
        return ""

    def _not_zeroed(self, written: Written) -> list[str]:
        """That settings which are read anew at each call have not become zero, as terms."""
        terms = []
        for group, name, zeros in self._zeros:
            now, before = f"{written.name(group)}[{written.name(name)}]", group.get(name)
            same = f"{now} is {written.name(before)} or " if zeros_of(before) == zeros else ""
            terms.append(f"({same}{written.name(zeros_of)}({now}) == {zeros})")
        return terms

    def _zeroed(self) -> str:
        for group, name, zeros in self._zeros:
            now = zeros_of(group.get(name))
            if now != zeros:
                return f"{name} became zero" if sum(now) > sum(zeros) else f"{name} is zero no longer"
        return ""

    def _first_check(self) -> bool:
        """What `holds` is until it is written out."""
        self.holds = self._written_out()
        return self.holds()

    def _written_out(self) -> Callable[[], bool]:
        """All comparisons as one Python function."""
        written = Written(missing=MISSING, get=dict.get, unchanged=_unchanged, contents=contents, is_=is_)
        name, terms = written.name, written.terms
        terms.append(f"{name(state)}.mode == {self._mode}")
        terms.append(f"{name(get_default_dtype.__globals__)}['_default'] is {name(self._default_dtype)}")
        sized = list(zip(self._sized, self._lengths, strict=True))
        empty = (*self._empty, *(each for each, length in sized if not length))
        terms.append(f"not any({name(empty)})")  # most containers of a module are empty
        # what is compared with a list or taken apart below need not be counted
        counted = {id(each) for each, *_ in (*self._orders, *self._rows, *self._items)}
        terms += [
            f"len({name(each)}) == {length}" for each, length in sized if length and id(each) not in counted
        ]
        for table, order in self._orders:
            same = f"[*{name(table)}] == {name(order)}"
            if not _are_texts(order):
                same = f"len({name(table)}) == {len(order)} and all(map(is_, {name(table)}, {name(order)}))"
            terms.append(same)
        for table, row in self._rows:
            written.holds_these(f"{name(table)}.values()", row)
        terms += [f"{name(owner)}.{attribute} is {name(value)}" for owner, attribute, value in self._facts]
        terms += [self._entry_holds(written, place) for place in range(len(self._tables))]
        for tensor, attribute, value in self._tensors:
            terms.append(f"{name(tensor)}.{attribute} is {name(value)}")
        for place, (cell, value) in enumerate(zip(self._cells, self._contents, strict=True)):
            now = f"contents({name(cell)})" if value is MISSING else f"{name(cell)}.cell_contents"
            terms.append(self._is_still(written, now, value, ("cell", place)))
        for sequence, elements in self._sequences:
            if len(elements) > FEW_ELEMENTS:
                terms.append(f"all(map(is_, {name(sequence)}, {name(elements)}))")
                continue
            terms += [f"{name(sequence)}[{place}] is {name(each)}" for place, each in enumerate(elements)]
        for table, keys, values in self._items:
            written.holds_these(name(table), keys)
            written.holds_these(f"{name(table)}.values()", values)
        for place, (owner, attribute, value) in enumerate(self._slots):
            now = f"getattr({name(owner)}, {name(attribute)}, missing)"
            terms.append(self._is_still(written, now, value, ("slot", place)))
        terms += self._not_zeroed(written)
        terms += [f"{name(each)} == {name(elements)}" for each, elements in self._sets]
        if self._read or self._shown:
            terms.append(f"not {name(self._reread)}()")
        return written.function("holds()")

    def _what_changed(self) -> str:
        """The slow half of `broken`: equal plain values are unchanged too, and are taken over."""
        self.holds, self._settings_hold = self._first_check, None
        if state.mode & (GRAD | INFERENCE) != self._mode:
            return "the grad mode changed"
        if any(self._empty):
            return "a hook was added"
        changed = self._changed_entry(range(len(self._tables)))
        if changed:
            return changed
        for tensor, attribute, value in self._tensors:
            if getattr(tensor, attribute) is not value:
                return _OF_TENSORS[attribute]
        for place, (cell, value) in enumerate(zip(self._cells, self._contents, strict=True)):
            now = contents(cell)
            if not _unchanged(value, now):
                return "a variable the step closes over: " + _change(self._variables[place], value, now)
            if now is not value:
                self._renewed.add(("cell", place))
            self._contents[place] = now
        changed = self._changed_container()
        if changed:
            return changed
        for owner, attribute, value in self._facts:
            if getattr(owner, attribute) is not value:
                return f"{attribute} of {_called_itself(owner)} was replaced"
        for place, (owner, name, value) in enumerate(self._slots):
            now = getattr(owner, name, MISSING)
            if not _unchanged(value, now):
                return _change(name, value, now)
            if now is not value:
                self._renewed.add(("slot", place))
            self._slots[place] = owner, name, now
        if get_default_dtype() is not self._default_dtype:
            return "the default dtype changed"
        return self._reread() or self._zeroed()

    def _changed_container(self) -> str:
        """What became of the elements of containers, and of their order."""
        for container, length in zip(self._sized, self._lengths, strict=True):
            if len(container) != length:
                what = "added to" if len(container) > length else "removed from"
                return f"something was {what} {self._called(container)}"
        for table, order in self._orders:
            if not _same_keys(table, order):
                return f"{self._called(table)} has another order"
        for table, row in self._rows:
            if not all(map(is_, table.values(), row)):
                return f"an element of {self._called(table)} was replaced"
        for sequence, elements in self._sequences:
            if not all(map(is_, sequence, elements)):
                return f"an element of {self._called(sequence)} was replaced"
        for container, members in self._sets:
            if container != members:
                return f"an element of {self._called(container)} was replaced"
        for table, keys, values in self._items:
            if not (all(map(is_, table, keys)) and all(map(is_, table.values(), values))):
                return f"an element of {self._called(table)} was replaced"
        return ""

    def _called(self, container: Any) -> str:
        """A container as people know it: by the name under which it was found, if there is one."""
        named = zip((*self._names, *self._variables), (*self._values, *self._contents), strict=True)
        names = (name for name, value in named if value is container and isinstance(name, str))
        return next(names, f"a {type(container).__name__}")

    def _reread(self) -> str:
        """What became of the values that Python looked at."""
        for tensor, values in self._read:
            if not np.array_equal(tensor._array, values, equal_nan=tensor._array.dtype.kind == "f"):
                return "a tensor whose value the step read in Python has changed"
        for array, elements in self._shown:
            if bytes_of(array) != elements:
                what = "an array" if hasattr(array, "tobytes") else f"an element of {self._called(array)}"
                return f"{what} that the step names has changed"
        return ""


_OF_TENSORS = {
    "_array": "a captured tensor got other memory",
    "_requires_grad": "requires_grad of a captured tensor changed",
    "_hooks": "a hook was added to a captured tensor",
}


def _are_texts(keys: Iterable[Any]) -> bool:
    """Whether keys can be compared as they are; others may take long, or answer with a tensor."""
    return all(type(each) is str for each in keys)


def _same_keys(table: Mapping[Any, Any], keys: list[Any]) -> bool:
    """Whether a dictionary has these keys in this order."""
    return list(table) == keys if _are_texts(keys) else all(map(is_, table, keys))


def _called_itself(thing: Any) -> str:
    """A function or class by its name, any other object by that of its class."""
    return getattr(thing, "__qualname__", None) or f"a {type(thing).__name__}"


def _change(name: Any, before: Any, now: Any) -> str:
    what = name if isinstance(name, str) else "an entry of a table"
    if now is MISSING or before is MISSING:
        return f"{what} was {'added' if before is MISSING else 'removed'}"
    if is_plain(before) and is_plain(now):
        return f"{what} changed from {before!r} to {now!r}"
    return f"{what} was replaced"
