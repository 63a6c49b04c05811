"""What a recording took for granted, and the check that it still holds before every call.

Recorded are: the modes of this thread; the memory of every captured tensor; of the modules and optimizers
that ran what they hold; and every value the step's Python code can reach by name (`surroundings`). If
anything differs the step is recorded again, never run wrongly. Invariant: as long as nothing changed the
check is one function (`holds`) of `is` comparisons, some twenty nanoseconds each, so a call of a small step
stays cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from operator import is_
from types import MappingProxyType
from typing import Any

import numpy as np

from rushlight.autograd.mode import GRAD, INFERENCE, state
from rushlight.compile.names import names_of_methods
from rushlight.compile.written import Written
from rushlight.dtype import get_default_dtype
from rushlight.nn.hooks import global_hooks
from rushlight.optim import optimizer as optimizers
from rushlight.storage import owner_of
from rushlight.tensor import Tensor

PLAIN = (int, float, bool, str, bytes, complex, type(None))

FEW_ELEMENTS = 64  # of a container, which are compared one by one

_MISSING = object()

# What schedules keep in an optimizer's groups for themselves.
_OF_SCHEDULES = frozenset({"initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum"})


def is_plain(value: Any) -> bool:
    """Whether a value is compared by what it is, not by which object it is."""
    return isinstance(value, PLAIN) or (type(value) is tuple and all(map(is_plain, value)))


def _unchanged(before: Any, now: Any) -> bool:
    """Whether a value is still what it was; plain ones by their text, in which 0.0 is not -0.0."""
    return now is before or (
        type(now) is type(before) and is_plain(now) and is_plain(before) and repr(now) == repr(before)
    )


class Guards:
    """A growing snapshot of a step's surroundings; each entry is taken when it is first watched."""

    def __init__(self) -> None:
        self._mode = state.mode & (GRAD | INFERENCE)
        self._default_dtype = get_default_dtype()
        self._seen: set[Any] = set()
        # dictionary look-ups
        self._tables: list[Mapping[Any, Any]] = []
        self._names: list[Any] = []
        self._values: list[Any] = []
        # tensors
        self._tensors: list[Tensor] = []
        self._arrays: list[np.ndarray] = []
        self._requires_grad: list[bool] = []
        self._hooks: list[Any] = []
        # everything else
        self._cells: list[Any] = []
        self._contents: list[Any] = []
        self._variables: list[str] = []
        self._sized: list[Collection[Any]] = []
        self._lengths: list[int] = []
        self._empty: list[Collection[Any]] = []
        self._sequences: list[tuple[Sequence[Any], tuple[Any, ...]]] = []
        self._items: list[tuple[Mapping[Any, Any], tuple[Any, ...], tuple[Any, ...]]] = []
        self._read: list[tuple[Tensor, np.ndarray]] = []
        self._shown: list[tuple[Any, bytes]] = []
        self._orders: list[tuple[Mapping[Any, Any], tuple[Any, ...]]] = []
        self._kinds: list[tuple[Any, type]] = []
        self._sets: list[tuple[Collection[Any], frozenset[Any]]] = []
        self._slots: list[tuple[Any, str, Any]] = []
        self._zeros: list[tuple[dict[str, Any], str, tuple[bool, ...]]] = []
        self._live: set[tuple[int, str]] = set()
        self._named: set[tuple[int, str]] = set()  # settings that the step's own Python reads
        self._renewed: set[tuple[str, int]] = set()  # sort and place of what was replaced by an equal value
        self.holds: Callable[[], bool] = self._first_check
        self._groups: list[dict[str, Any]] = []
        self._settings: list[int] = []
        self._settings_hold: Callable[[], bool] | None = None
        for hooks in (global_hooks, optimizers._global_pre_hooks, optimizers._global_post_hooks):
            self.watch_hooks(hooks)

    # -- what to watch ---------------------------------------------------------------------------------------

    def watch(self, table: Mapping[Any, Any], name: Any) -> None:
        """The value of a key, or that there is none."""
        key = id(table), name
        if key not in self._seen:
            self._seen.add(key)
            self._tables.append(table)
            self._names.append(name)
            self._values.append(table.get(name, _MISSING))

    def watch_all(self, table: dict[Any, Any]) -> None:
        """All values of a dictionary, and that no key comes or goes."""
        self.watch_length(table)
        for name in table:
            self.watch(table, name)

    def watch_length(self, container: Collection[Any]) -> None:
        """How many elements something has."""
        if ("length", id(container)) not in self._seen:
            self._seen.add(("length", id(container)))
            self._sized.append(container)
            self._lengths.append(len(container))

    def watch_sequence(self, sequence: Sequence[Any]) -> None:
        """Which elements a list has."""
        if ("sequence", id(sequence)) not in self._seen:
            self._seen.add(("sequence", id(sequence)))
            self.watch_length(sequence)
            self._sequences.append((sequence, tuple(sequence)))

    def watch_items(self, table: Mapping[Any, Any]) -> None:
        """All keys and values of a dictionary in their order: for keys that are slow to look up (tensors), or
        many.
        """
        self.watch_length(table)
        if table and ("items", id(table)) not in self._seen:
            self._seen.add(("items", id(table)))
            self._items.append((table, tuple(table), tuple(table.values())))

    def watch_order(self, table: Mapping[Any, Any]) -> None:
        """In which order a dictionary has its keys."""
        if len(table) > 1 and ("order", id(table)) not in self._seen:
            self._seen.add(("order", id(table)))
            self._orders.append((table, tuple(table)))

    def watch_members(self, module: Any) -> None:
        """The parameters, buffers and modules of a module, and that they are in these tables."""
        for name in ("_parameters", "_buffers", "_modules"):
            self.watch_all(module.__dict__[name])
        self.watch_order(module.__dict__["_modules"])  # in which a Sequential calls them

    def watch_hooks(self, table: dict[Any, Any]) -> None:
        """A table of hooks, nearly always an empty one."""
        if table:
            self.watch_all(table)
        else:
            self._empty.append(table)

    def watch_set(self, container: Collection[Any]) -> None:
        """Which elements a set has."""
        if ("set", id(container)) not in self._seen:
            self._seen.add(("set", id(container)))
            self._sets.append((container, frozenset(container)))

    def watch_array(self, array: Any) -> None:
        """The elements of an array, NumPy's or Python's."""
        if ("array", id(array)) not in self._seen:
            self._seen.add(("array", id(array)))
            self._shown.append((array, _bytes_of(array)))

    def watch_cell(self, cell: Any, name: str) -> None:
        """A variable that a function closes over."""
        if ("cell", id(cell)) not in self._seen:
            self._seen.add(("cell", id(cell)))
            self._cells.append(cell)
            self._variables.append(name)
            self._contents.append(_contents(cell))

    def watch_class(self, kind: type, name: str) -> None:
        """An attribute of a class, and that no class nearer to its objects hides it."""
        if ("class", kind, name) not in self._seen:
            self._seen.add(("class", kind, name))
            for each in kind.__mro__:
                self.watch(vars(each), name)
                if name in vars(each):
                    return

    def watch_slot(self, owner: Any, name: str) -> None:
        """An attribute of an object whose class has ``__slots__``."""
        if ("slot", id(owner), name) not in self._seen:
            self._seen.add(("slot", id(owner), name))
            self._slots.append((owner, name, getattr(owner, name, _MISSING)))

    def watch_tensor(self, tensor: Tensor) -> None:
        """The memory of a captured tensor, and whether it takes part in autograd."""
        self._tensors.append(tensor)
        self._arrays.append(tensor._array)
        self._requires_grad.append(tensor._requires_grad)
        self._hooks.append(tensor._hooks)
        hooks = tensor._hooks
        if hooks is not None:
            for table in (hooks.tensor, hooks.before, hooks.after, hooks.accumulated):
                self.watch_hooks(table)

    def watch_read(self, tensor: Tensor) -> None:
        """The values of a captured tensor that Python looked at."""
        self._read.append((tensor, tensor._array.copy()))

    def watch_module(self, module: Any) -> None:
        """What a module's forward depends on."""
        own, kind = module.__dict__, type(module)
        if ("kind", id(module)) not in self._seen:
            self._seen.add(("kind", id(module)))
            self._kinds.append((module, kind))
        self.watch_members(module)
        self.watch_class(kind, "forward")
        for name in ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks"):
            self.watch_hooks(own[name])
        names = names_of_methods(kind)
        for name, value in own.items():
            if name in names and is_plain(value):
                self.watch(own, name)
        self.watch(own, "forward")  # which hides the one of the class

    def watch_optimizer(self, optimizer: Any) -> None:
        """What an optimizer's step depends on, other than the settings that are read anew at each call."""
        own = vars(optimizer)
        for name in ("param_groups", "state"):
            self.watch(own, name)
        self.watch_sequence(optimizer.param_groups)
        for group in optimizer.param_groups:
            self._groups.append(group)
            self.watch_length(group)
            for name, value in group.items():
                if name not in _OF_SCHEDULES and (is_plain(value) or isinstance(value, (Tensor, list))):
                    self.watch(group, name)
            self.watch_sequence(group["params"])
        self.watch_items(optimizer.state)
        for entries in optimizer.state.values():
            if isinstance(entries, dict):
                self.watch_all(entries)
        self.watch_hooks(optimizer._optimizer_step_pre_hooks)
        self.watch_hooks(optimizer._optimizer_step_post_hooks)

    def watch_settings(self, optimizer: Any, names: Collection[str]) -> None:
        """Those settings of an optimizer that the step's own Python names: it gets numbers, which stay what
        they are in the program.
        """
        for table in (*optimizer.param_groups, optimizer.defaults):
            for name in table.keys() & set(names) - {"params"}:
                self._named.add((id(table), name))
                self.watch(table, name)

    def set_live(self, group: dict[str, Any], name: str) -> None:
        """A setting of an optimizer is read anew at each call: any number is right, but zeros, which switch
        terms off, stay zeros, and others do not become zero (a learning rate may be zero at any time).
        """
        if (id(group), name) not in self._live:
            self._live.add((id(group), name))
            if name != "lr":
                self._zeros.append((group, name, _zeros_of(group[name])))

    def seal(self, owners: Container[int]) -> None:
        """Forget what turned out to be read anew at each call: settings, and arrays that are tensors' memory;
        `owners` has the ids of that.
        """
        self._shown = [
            each
            for each in self._shown
            if not isinstance(each[0], np.ndarray) or id(owner_of(each[0])) not in owners
        ]
        again = self._live - self._named
        if again:
            kept = [
                each
                for each in zip(self._tables, self._names, self._values, strict=True)
                if (id(each[0]), each[1]) not in again
            ]
            self._tables, self._names, self._values = (list(each) for each in zip(*kept, strict=True))
        groups = {id(each) for each in self._groups}
        self._settings = [place for place, each in enumerate(self._tables) if id(each) in groups]

    def counts(self) -> dict[str, int]:
        """How many things of each sort are watched."""
        return {
            "value": len(self._tables) + len(self._slots) + len(self._zeros),
            "tensor": len(self._tensors),
            "closed-over variable": len(self._cells),
            "container": len(self._sized) + len(self._empty) + len(self._sets),
            "tensor value": len(self._read) + len(self._shown),
        }

    # -- the check -------------------------------------------------------------------------------------------

    def broken(self) -> str:
        """Why the recording cannot be used now, or an empty text."""
        return "" if self.holds() else self._what_changed()

    def broken_settings(self) -> str:
        """What `broken` says about the settings of optimizers, which are all that a schedule changes."""
        if self._settings_hold is None:
            written = Written(missing=_MISSING, get=dict.get, unchanged=_unchanged)
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
        if value is _MISSING:
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
            now = self._tables[place].get(name, _MISSING)
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
            same = f"{now} is {written.name(before)} or " if _zeros_of(before) == zeros else ""
            terms.append(f"({same}{written.name(_zeros_of)}({now}) == {zeros})")
        return terms

    def _zeroed(self) -> str:
        for group, name, zeros in self._zeros:
            now = _zeros_of(group.get(name))
            if now != zeros:
                return f"{name} became zero" if sum(now) > sum(zeros) else f"{name} is zero no longer"
        return ""

    def _first_check(self) -> bool:
        """What `holds` is until it is written out."""
        self.holds = self._written_out()
        return self.holds()

    def _written_out(self) -> Callable[[], bool]:
        """All comparisons as one Python function."""
        written = Written(missing=_MISSING, get=dict.get, unchanged=_unchanged, contents=_contents, is_=is_)
        name, terms = written.name, written.terms
        terms.append(f"{name(state)}.mode == {self._mode}")
        terms.append(f"{name(get_default_dtype)}() is {name(self._default_dtype)}")
        sized = list(zip(self._sized, self._lengths, strict=True))
        empty = (*self._empty, *(each for each, length in sized if not length))
        terms.append(f"not any({name(empty)})")  # most containers of a module are empty
        terms += [f"len({name(each)}) == {length}" for each, length in sized if length]
        terms += [self._entry_holds(written, place) for place in range(len(self._tables))]
        for tensor, *found in zip(self._tensors, self._arrays, self._requires_grad, self._hooks, strict=True):
            for attribute, value in zip(("_array", "_requires_grad", "_hooks"), found, strict=True):
                terms.append(f"{name(tensor)}.{attribute} is {name(value)}")
        for place, (cell, value) in enumerate(zip(self._cells, self._contents, strict=True)):
            now = f"contents({name(cell)})" if value is _MISSING else f"{name(cell)}.cell_contents"
            terms.append(self._is_still(written, now, value, ("cell", place)))
        for sequence, elements in self._sequences:
            if len(elements) > FEW_ELEMENTS:
                terms.append(f"all(map(is_, {name(sequence)}, {name(elements)}))")
                continue
            terms += [f"{name(sequence)}[{place}] is {name(each)}" for place, each in enumerate(elements)]
        for table, keys, values in self._items:
            terms.append(f"all(map(is_, {name(table)}, {name(keys)}))")
            terms.append(f"all(map(is_, {name(table)}.values(), {name(values)}))")
        for place, (owner, attribute, value) in enumerate(self._slots):
            now = f"getattr({name(owner)}, {name(attribute)}, missing)"
            terms.append(self._is_still(written, now, value, ("slot", place)))
        terms += [f"{name(owner)}.__class__ is {name(kind)}" for owner, kind in self._kinds]
        terms += [f"all(map(is_, {name(table)}, {name(keys)}))" for table, keys in self._orders]
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
        for tensor, array, requires_grad, hooks in zip(
            self._tensors, self._arrays, self._requires_grad, self._hooks, strict=True
        ):
            if tensor._array is not array:
                return "a captured tensor got other memory"
            if tensor._requires_grad is not requires_grad:
                return "requires_grad of a captured tensor changed"
            if tensor._hooks is not hooks:
                return "a hook was added to a captured tensor"
        for place, (cell, value) in enumerate(zip(self._cells, self._contents, strict=True)):
            now = _contents(cell)
            if not _unchanged(value, now):
                return "a variable the step closes over: " + _change(self._variables[place], value, now)
            if now is not value:
                self._renewed.add(("cell", place))
            self._contents[place] = now
        for container, length in zip(self._sized, self._lengths, strict=True):
            if len(container) != length:
                what = "added to" if len(container) > length else "removed from"
                return f"something was {what} {self._called(container)}"
        for sequence, elements in self._sequences:
            if not all(map(is_, sequence, elements)):
                return f"an element of {self._called(sequence)} was replaced"
        for container, members in self._sets:
            if container != members:
                return f"an element of {self._called(container)} was replaced"
        for table, keys in self._orders:
            if not all(map(is_, table, keys)):
                return f"the order of {self._called(table)} changed"
        for owner, kind in self._kinds:
            if owner.__class__ is not kind:
                return f"a module is a {type(owner).__name__} and no longer a {kind.__name__}"
        for table, keys, values in self._items:
            if not (all(map(is_, table, keys)) and all(map(is_, table.values(), values))):
                return f"an element of {self._called(table)} was replaced"
        for place, (owner, name, value) in enumerate(self._slots):
            now = getattr(owner, name, _MISSING)
            if not _unchanged(value, now):
                return _change(name, value, now)
            if now is not value:
                self._renewed.add(("slot", place))
            self._slots[place] = owner, name, now
        if get_default_dtype() is not self._default_dtype:
            return "the default dtype changed"
        return self._reread() or self._zeroed()

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
            if _bytes_of(array) != elements:
                return "an array that the step names has changed"
        return ""


def _contents(cell: Any) -> Any:
    """What is in a variable that a function closes over."""
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet, or deleted
        return _MISSING


def _bytes_of(array: Any) -> bytes:
    """The elements of an array, or of a bytearray."""
    return bytes(array) if isinstance(array, bytearray) else array.tobytes()


def _zeros_of(value: Any) -> tuple[bool, ...]:
    """Which of its numbers are zero."""
    values = value if isinstance(value, tuple) else (value,)
    return tuple(isinstance(each, (int, float)) and each == 0 for each in values)


def _change(name: Any, before: Any, now: Any) -> str:
    what = name if isinstance(name, str) else "an entry of a table"
    if now is _MISSING or before is _MISSING:
        return f"{what} was {'added' if before is _MISSING else 'removed'}"
    if is_plain(before) and is_plain(now):
        return f"{what} changed from {before!r} to {now!r}"
    return f"{what} was replaced"
