"""The ops: importing this package fills the table with the common families and attaches them to Tensor.

What every script needs (operators, indexing, shapes, reductions, products) is imported here, once. The other
families are imported when one of their names is first used; `rushlight.directory` says which names are whose.
Invariant: a user cannot tell the two apart, except by the time that ``import rushlight`` takes.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from rushlight import directory, queries
from rushlight.autograd import tensor_backward
from rushlight.ops import (
    activations,
    broadcast,
    compare,
    convert,
    copies,
    create,
    elementwise,
    extreme,
    functions,
    gather,
    index,
    index_assign,
    join,
    matmul,
    operators,
    ranges,
    reduce,
    select,
    shape,
    slicing,
    softmax,
    split,
    transpose,
    truth,
    writes,
)
from rushlight.ops.define import TABLE
from rushlight.ops.table import Entry
from rushlight.tensor import Tensor

# Each fills the table; some have METHODS of their own besides.
COMMON = (
    activations,
    broadcast,
    compare,
    convert,
    copies,
    create,
    elementwise,
    extreme,
    functions,
    gather,
    index,
    index_assign,
    join,
    matmul,
    operators,
    queries,
    ranges,
    reduce,
    select,
    shape,
    slicing,
    softmax,
    split,
    transpose,
    truth,
    writes,
)


def _imported(module: str) -> ModuleType:
    return importlib.import_module(f"rushlight.{module}")


def full_table() -> dict[str, Entry]:
    """The op table with the families in it that are imported on first use: what tests and lists of ops go by.

    >>> from rushlight.ops import full_table
    >>> full_table()["i0"].torch_name
    'i0'
    """
    for module in directory.MODULES:
        _imported(module)
    for module in _imported("nn.functional").LATER:  # which has the losses and norms itself
        _imported(module)
    return TABLE


def listed_function(name: str) -> Any:
    """A function of the package that its `directory` lists, imported now; None for other names."""
    if name not in directory.FUNCTIONS:
        return None
    module = _imported(directory.FUNCTIONS[name])
    for entry_name in (name, name.removesuffix("_")):
        entry = TABLE.get(entry_name)
        if entry is not None and "." not in entry.torch_name:
            found = entry.function if entry_name == name else entry.inplace
            if found is not None:
                return found
    return getattr(module, name)


class _ListedMethod:
    """Stands on Tensor for a method that the `directory` lists; the first use puts that in its place."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def _arrive(self) -> None:
        name = self.name
        own = vars(_imported(directory.METHODS[name])).get("METHODS", {})
        if name in own:
            method = own[name]
        elif name in TABLE:
            method = TABLE[name].function
        else:
            method = TABLE[name.removesuffix("_")].inplace
        setattr(Tensor, name, method)

    def __get__(self, tensor: Tensor | None, owner: type[Tensor]) -> Any:
        self._arrive()
        return getattr(owner if tensor is None else tensor, self.name)

    def __set__(self, tensor: Tensor, value: Any) -> None:
        self._arrive()  # it may be a property, which does not let itself be set
        setattr(tensor, self.name, value)


def _attach() -> None:
    """Give Tensor its methods."""
    for entry in TABLE.values():
        if entry.method:
            setattr(Tensor, entry.name, entry.function)
        if entry.inplace is not None:
            setattr(Tensor, entry.name + "_", entry.inplace)
    Tensor.backward = tensor_backward
    for module in COMMON:
        for name, method in vars(module).get("METHODS", {}).items():
            setattr(Tensor, name, method)
    for name in directory.METHODS:
        setattr(Tensor, name, _ListedMethod(name))


_attach()
