"""Modules that hold modules: in order, in a list, or in a dict.

Sequential also calls what it holds, one after another; the others only register it. Those that hold
parameters are in ``parameter_containers``. The invariant: the items of a list-like container are named
by their positions, "0" to the last, whatever was inserted or deleted before.
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, groupby
from typing import Any, Self

from rushlight.nn.module import Module, block, indented


def position_in(index: Any, length: int) -> int:
    """`index` counted from the front; IndexError where a list of this length has no such item."""
    position = operator.index(index)
    if not -length <= position < length:
        raise IndexError(f"index {position} is out of range")
    return position % length


class ModuleSequence(Module):
    """What Sequential and ModuleList have in common: modules that are called by their positions."""

    _modules: dict[str, Module]  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __getitem__(self, idx: int | slice) -> Any:
        if isinstance(idx, slice):
            return self._part(list(self._modules.items())[idx])
        return self._modules[self._name_at(idx)]

    def _part(self, items: list[tuple[str, Module]]) -> Self:
        """A container of the same class with these items."""
        raise NotImplementedError

    def __setitem__(self, idx: int, module: Module) -> None:
        setattr(self, self._name_at(idx), module)

    def __delitem__(self, idx: int | slice) -> None:
        names = list(self._modules)
        for name in names[idx] if isinstance(idx, slice) else [self._name_at(idx)]:
            delattr(self, name)
        self._modules = {str(position): module for position, module in enumerate(self._modules.values())}

    def _name_at(self, idx: Any) -> str:
        return list(self._modules)[position_in(idx, len(self))]

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def pop(self, key: int | slice) -> Module:
        """Remove the module at a position and return it."""
        module = self[key]
        del self[key]
        return module

    def _make_room(self, index: int) -> None:
        """Move the modules from `index` on up by one position."""
        for position in range(len(self), index, -1):
            self._modules[str(position)] = self._modules[str(position - 1)]


class Sequential(ModuleSequence):
    """Calls its modules one after another, each with the output of the one before.

    Made from modules, or from one ``OrderedDict`` that names them.

    >>> import rushlight as torch
    >>> from rushlight import nn
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(6, 2), nn.ReLU())
    >>> net(torch.ones(5, 2, 3)).shape
    torch.Size([5, 2])
    >>> net[1]
    Linear(in_features=6, out_features=2, bias=True)
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], OrderedDict):
            items: Iterable[tuple[str, Module]] = args[0].items()
        else:
            items = ((str(position), module) for position, module in enumerate(args))
        for name, module in items:
            self.add_module(name, module)

    def forward(self, input: Any) -> Any:
        """Lead ``input`` through all the modules."""
        for module in self._modules.values():
            input = module(input)
        return input

    def _part(self, items: list[tuple[str, Module]]) -> Self:
        return type(self)(OrderedDict(items))

    def insert(self, index: int, module: Module) -> Self:
        """Put a module before the position ``index``."""
        if not isinstance(module, Module):
            raise AssertionError(f"module should be of type: {Module}")
        if not -len(self) <= index <= len(self):
            raise IndexError(f"Index out of range: {index}")
        if index < 0:
            index += len(self)
        self._make_room(index)
        self._modules[str(index)] = module
        return self

    def extend(self, sequential: Iterable[Module]) -> Self:
        """Add several modules at the end."""
        for module in sequential:
            self.append(module)
        return self

    def __add__(self, other: Any) -> Sequential:
        self._check_addend(other)
        return Sequential(*self, *other)

    def __iadd__(self, other: Any) -> Self:
        self._check_addend(other)
        return self.extend(list(other))

    def __mul__(self, other: int) -> Sequential:
        self._check_factor(other)
        return Sequential(*list(self) * other)

    __rmul__ = __mul__

    def __imul__(self, other: int) -> Self:
        self._check_factor(other)
        return self.extend(list(self) * (other - 1))

    def _check_addend(self, other: Any) -> None:
        if not isinstance(other, Sequential):
            raise ValueError(
                f"add operator supports only objects of Sequential class, but {type(other)} is given."
            )

    def _check_factor(self, factor: Any) -> None:
        if not isinstance(factor, int):
            raise TypeError(f"unsupported operand type(s) for *: {type(self)} and {type(factor)}")
        if factor <= 0:
            raise ValueError(f"Non-positive multiplication factor {factor} for {type(self)}")


class ModuleList(ModuleSequence):
    """A list of modules, which are registered as a plain list's would not be.

    >>> import rushlight as torch
    >>> from rushlight import nn
    >>> nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU()])
    ModuleList(
      (0-1): 2 x Linear(in_features=2, out_features=2, bias=True)
      (2): ReLU()
    )
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def _part(self, items: list[tuple[str, Module]]) -> Self:
        return type(self)(module for _, module in items)

    def insert(self, index: int, module: Module) -> None:
        """Put a module before the position ``index``."""
        self._make_room(index)
        self._modules[str(index)] = module

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add several modules at the end."""
        if not isinstance(modules, Iterable):
            raise TypeError(
                f"ModuleList.extend should be called with an iterable, but got {type(modules).__name__}"
            )
        for module in list(modules):
            self.append(module)
        return self

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList(chain(self, other))

    def __repr__(self) -> str:
        lines = []
        position = 0
        for text, alike in groupby(repr(module) for module in self):
            count = len(list(alike))
            if count == 1:
                lines.append(indented(f"({position}): {text}"))
            else:
                lines.append(indented(f"({position}-{position + count - 1}): {count} x {text}"))
            position += count
        return f"{self._get_name()}({block(lines)})"


class ModuleDict(Module):
    """A dict of modules by name, which are registered as a plain dict's would not be.

    >>> import rushlight as torch
    >>> from rushlight import nn
    >>> nn.ModuleDict({"relu": nn.ReLU(), "tanh": nn.Tanh()})["tanh"]
    Tanh()
    """

    _modules: dict[str, Module]  # type: ignore[assignment]

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Module:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Remove all modules."""
        self._modules.clear()

    def pop(self, key: str) -> Module:
        """Remove the module called ``key`` and return it."""
        module = self[key]
        del self[key]
        return module

    def keys(self) -> Any:
        """The names, as a view of the dict."""
        return self._modules.keys()

    def items(self) -> Any:
        """The pairs of name and module, as a view of the dict."""
        return self._modules.items()

    def values(self) -> Any:
        """The modules, as a view of the dict."""
        return self._modules.values()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add modules from a mapping or from pairs, in their order; a name that is there is replaced."""
        for key, module in pairs_of(modules, "ModuleDict", "ModuleDict"):
            self[key] = module


def pairs_of(source: Any, method_owner: str, element_owner: str) -> Iterator[tuple[str, Any]]:
    """The pairs of a mapping, or of an iterable of pairs, which is checked pair by pair."""
    if not isinstance(source, Iterable):
        raise TypeError(
            f"{method_owner}.update should be called with an iterable of key/value pairs, "
            f"but got {type(source).__name__}"
        )
    if hasattr(source, "items"):
        yield from source.items()
        return
    for position, pair in enumerate(source):
        if not isinstance(pair, Iterable):
            raise TypeError(
                f"{element_owner} update sequence element #{position} should be Iterable; "
                f"is{type(pair).__name__}"
            )
        items = list(pair)
        if len(items) != 2:
            raise ValueError(
                f"{element_owner} update sequence element #{position} has length {len(items)}; 2 is required"
            )
        yield items[0], items[1]
