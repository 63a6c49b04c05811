"""What a recording took for granted: what each thing that is watched was when the step was recorded.

Recorded are: the modes of this thread; the memory of every captured tensor; of the modules and optimizers
that ran what they hold; and every value the step's Python code can reach by name (`surroundings`). Whether it
still holds is asked in `guards`. Invariant: what was seen stays alive, so that no other object gets its id.
"""

from __future__ import annotations

import marshal
from collections.abc import Collection, Container, Mapping, Sequence
from typing import Any

import numpy as np

from rushlight.autograd.mode import GRAD, INFERENCE, state
from rushlight.compile.names import names_of_methods
from rushlight.dtype import get_default_dtype
from rushlight.nn.containers import ModuleSequence
from rushlight.nn.hooks import global_hooks
from rushlight.optim import optimizer as optimizers
from rushlight.storage import owner_of
from rushlight.tensor import Tensor

PLAIN = (int, float, bool, str, bytes, complex, type(None))

MISSING = object()

# What schedules keep in an optimizer's groups for themselves.
_OF_SCHEDULES = frozenset({"initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum"})


def is_plain(value: Any) -> bool:
    """Whether a value is compared by what it is, not by which object it is."""
    return isinstance(value, PLAIN) or (type(value) is tuple and all(map(is_plain, value)))


class Watched:
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
        self._tensors: list[tuple[Tensor, str, Any]] = []
        # everything else
        self._cells: list[Any] = []
        self._contents: list[Any] = []
        self._variables: list[str] = []
        self._sized: list[Collection[Any]] = []
        self._lengths: list[int] = []
        self._empty: list[Collection[Any]] = []
        self._sequences: list[tuple[Sequence[Any], tuple[Any, ...]]] = []
        self._orders: list[tuple[Mapping[Any, Any], list[Any]]] = []
        self._rows: list[tuple[dict[str, Any], tuple[Any, ...]]] = []
        self._facts: list[tuple[Any, str, Any]] = []
        self._items: list[tuple[Mapping[Any, Any], tuple[Any, ...], tuple[Any, ...]]] = []
        self._read: list[tuple[Tensor, np.ndarray]] = []
        self._shown: list[tuple[Any, bytes]] = []
        self._alive: list[np.ndarray] = []  # whose elements are objects, which are compared by where they are
        self._sets: list[tuple[Collection[Any], frozenset[Any]]] = []
        self._slots: list[tuple[Any, str, Any]] = []
        self._zeros: list[tuple[dict[str, Any], str, tuple[bool, ...]]] = []
        self._live: set[tuple[int, str]] = set()
        self._named: set[tuple[int, str]] = set()  # settings that the step's own Python reads
        self._groups: list[dict[str, Any]] = []
        self._settings: list[int] = []
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
            self._values.append(table.get(name, MISSING))

    def leave_out(self, table: Mapping[Any, Any], name: Any) -> bool:
        """Whether the value of a key can be left unwatched from now on: if nothing has asked for it yet."""
        is_new = (id(table), name) not in self._seen
        self._seen.add((id(table), name))
        return is_new

    def watch_again(self, table: Mapping[Any, Any], name: Any) -> None:
        """Watch what was left out, as it is now."""
        self._seen.discard((id(table), name))
        self.watch(table, name)

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

    def watch_order(self, table: Mapping[Any, Any]) -> None:
        """Which keys a dictionary has, and in which order."""
        self.watch_length(table)
        if len(table) > 1 and ("order", id(table)) not in self._seen:
            self._seen.add(("order", id(table)))
            self._orders.append((table, list(table)))

    def watch_fact(self, owner: Any, attribute: str) -> None:
        """What Python itself keeps of something: its class, its code."""
        if ("fact", id(owner), attribute) not in self._seen:
            self._seen.add(("fact", id(owner), attribute))
            value = getattr(owner, attribute)
            if getattr(owner, attribute) is value:  # else it is made up each time
                self._facts.append((owner, attribute, value))

    def watch_items(self, table: Mapping[Any, Any]) -> None:
        """All keys and values of a dictionary in their order: for keys that are slow to look up (tensors), or
        many.
        """
        self.watch_length(table)
        if table and ("items", id(table)) not in self._seen:
            self._seen.add(("items", id(table)))
            self._items.append((table, tuple(table), tuple(table.values())))

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
        """The elements of an array, NumPy's or Python's, or of containers of plain values in one another."""
        if ("array", id(array)) not in self._seen:
            self._seen.add(("array", id(array)))
            self._shown.append((array, bytes_of(array)))
            if isinstance(array, np.ndarray) and array.dtype.hasobject:
                self._alive.append(array.copy())

    def watch_cell(self, cell: Any, name: str) -> None:
        """A variable that a function closes over."""
        if ("cell", id(cell)) not in self._seen:
            self._seen.add(("cell", id(cell)))
            self._cells.append(cell)
            self._variables.append(name)
            self._contents.append(contents(cell))

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
            self._slots.append((owner, name, getattr(owner, name, MISSING)))

    def watch_tensor(self, tensor: Tensor) -> None:
        """The memory of a captured tensor, and whether and how it takes part in autograd."""
        for attribute in ("_array", "_requires_grad", "_hooks"):
            self.watch_of_tensor(tensor, attribute)
        hooks = tensor._hooks
        if hooks is not None:
            for table in (hooks.tensor, hooks.before, hooks.after, hooks.accumulated):
                self.watch_hooks(table)

    def watch_of_tensor(self, tensor: Tensor, attribute: str) -> None:
        """One of these attributes."""
        if self.leave_out_of_tensor(tensor, attribute):
            self._tensors.append((tensor, attribute, getattr(tensor, attribute)))

    def leave_out_of_tensor(self, tensor: Tensor, attribute: str) -> bool:
        """Whether it can be left unwatched from now on: if nothing has asked for it yet."""
        key = "tensor", id(tensor), attribute
        is_new = key not in self._seen
        self._seen.add(key)
        return is_new

    def watch_again_of_tensor(self, tensor: Tensor, attribute: str) -> None:
        """Watch what was left out, as it is now."""
        self._tensors.append((tensor, attribute, getattr(tensor, attribute)))

    def watch_read(self, tensor: Tensor) -> None:
        """The values of a captured tensor that Python looked at."""
        self._read.append((tensor, tensor._array.copy()))

    def watch_module(self, module: Any) -> None:
        """What a module's forward depends on."""
        own = module.__dict__
        self.watch_fact(module, "__class__")
        for name in ("_parameters", "_buffers"):
            self.watch_all(own[name])
        self.watch_modules(module)
        for name in ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks"):
            self.watch_hooks(own[name])
        names = names_of_methods(type(module))
        for name, value in own.items():
            if name in names and is_plain(value):
                self.watch(own, name)
        self.watch_class(type(module), "forward")
        self.watch(own, "forward")  # which hides the one of the class

    def watch_modules(self, module: Any) -> None:
        """The modules in a module: of those that are called by their positions the order, else the names."""
        table = module.__dict__["_modules"]
        if not isinstance(module, ModuleSequence):
            self.watch_all(table)
        elif ("row", id(table)) not in self._seen:
            self._seen.add(("row", id(table)))
            self.watch(module.__dict__, "_modules")
            self.watch_length(table)
            if table:
                self._rows.append((table, tuple(table.values())))

    def watch_members(self, module: Any) -> None:
        """All parameters, buffers and modules of a module and their order: the step goes through them."""
        own = module.__dict__
        if ("members", id(module)) not in self._seen:
            self._seen.add(("members", id(module)))
            for name in ("_parameters", "_buffers", "_modules"):
                if own[name]:
                    self.watch(own, name)
                self.watch_all(own[name])
                self.watch_order(own[name])

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
                self._zeros.append((group, name, zeros_of(group[name])))

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
            "tensor": len({id(tensor) for tensor, *_ in self._tensors}),
            "closed-over variable": len(self._cells),
            "container": len(self._sized) + len(self._empty) + len(self._sets),
            "tensor value": len(self._read) + len(self._shown),
        }


def contents(cell: Any) -> Any:
    """What is in a variable that a function closes over."""
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet, or deleted
        return MISSING


def bytes_of(array: Any) -> bytes:
    """The elements of an array, or of containers in one another; of objects where they are."""
    if isinstance(array, (list, tuple, dict, set, frozenset)):
        try:
            return marshal.dumps(array, 2)  # later versions also write which parts are the same object
        except ValueError:  # something else is among them now
            return b""
    return bytes(array) if isinstance(array, bytearray) else array.tobytes()


def zeros_of(value: Any) -> tuple[bool, ...]:
    """Which of its numbers are zero."""
    values = value if isinstance(value, tuple) else (value,)
    return tuple(isinstance(each, (int, float)) and each == 0 for each in values)
