"""What a recording took for granted, and the check that it still holds before every call.

Recorded are: grad mode; the memory of every captured tensor; of the modules that ran their parameters,
buffers, children, hooks, training flags and plain numbers; the optimizers' fixed settings; and the plain
values the function closes over or reads from its module. If anything differs the step is recorded again,
never run wrongly. Invariant: the check is a flat list of dictionary look-ups, some ten nanoseconds each, so
a call of a small step stays cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from rushlight.autograd.mode import GRAD, INFERENCE, state
from rushlight.tensor import Tensor

_PLAIN = (int, float, bool, str, bytes, complex)

# What schedules keep in an optimizer's groups for themselves.
_OF_SCHEDULES = frozenset({"initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum"})


def _plain(value: Any) -> bool:
    return (
        value is None or isinstance(value, _PLAIN) or (isinstance(value, tuple) and all(map(_plain, value)))
    )


class Guards:
    """A snapshot of a step's surroundings.

    Args:
        function: the step.
        states: the captured tensors.
        modules: the modules whose forward ran.
        optimizers: the optimizers that stepped.
        live: the settings, by group and name, that the program reads anew at each call.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        states: Iterable[Tensor],
        modules: Iterable[Any],
        optimizers: Iterable[Any],
        live: set[tuple[int, str]],
    ) -> None:
        self.live = live
        self.mode = state.mode & (GRAD | INFERENCE)
        self.states = [(each, each._array, each._requires_grad) for each in states]
        self.same: list[tuple[dict[str, Any], str, Any]] = []  # values that must be the very same object
        self.equal: list[tuple[dict[str, Any], str, Any]] = []  # values that must be equal
        self.lengths: list[tuple[Any, int]] = []
        self.cells: list[tuple[Any, Any]] = []
        for module in modules:
            self._watch_module(module)
        for optimizer in optimizers:
            self._watch_optimizer(optimizer)
        self._watch_function(function)

    def _watch_module(self, module: Any) -> None:
        own = module.__dict__
        for name, value in own.items():
            if isinstance(value, dict) and (
                name in ("_parameters", "_buffers", "_modules") or name.endswith("_hooks")
            ):
                self.lengths.append((value, len(value)))
                self.same += [(value, key, each) for key, each in value.items()]
            elif _plain(value):
                self.equal.append((own, name, value))

    def _watch_optimizer(self, optimizer: Any) -> None:
        self.lengths.append((optimizer.param_groups, len(optimizer.param_groups)))
        for group in optimizer.param_groups:
            self.lengths.append((group["params"], len(group["params"])))
            for name, value in group.items():
                if (id(group), name) not in self.live and name not in _OF_SCHEDULES and _plain(value):
                    self.equal.append((group, name, value))

    def _watch_function(self, function: Callable[..., Any]) -> None:
        code = getattr(function, "__code__", None)
        if code is None:
            return
        for cell in function.__closure__ or ():
            try:
                value = cell.cell_contents
            except ValueError:
                continue
            if _plain(value) or isinstance(value, (Tensor, np.ndarray)):
                self.cells.append((cell, value))
        names = function.__globals__
        for name in code.co_names:
            if name in names:
                value = names[name]
                if _plain(value):
                    self.equal.append((names, name, value))
                elif isinstance(value, (Tensor, np.ndarray)):
                    self.same.append((names, name, value))

    def broken(self) -> str:
        """Why the recording cannot be used any more, or an empty text."""
        if state.mode & (GRAD | INFERENCE) != self.mode:
            return "the grad mode changed"
        for tensor, array, requires_grad in self.states:
            if tensor._array is not array:
                return "a captured tensor got other memory"
            if tensor._requires_grad is not requires_grad:
                return "requires_grad of a captured tensor changed"
        for table, name, value in self.same:
            if table.get(name) is not value:
                return f"{name} was replaced"
        for table, name, value in self.equal:
            if table.get(name) != value:
                return f"{name} changed from {value!r} to {table.get(name)!r}"
        for table, length in self.lengths:
            if len(table) != length:
                return "something was added to or removed from a module or an optimizer"
        for cell, value in self.cells:
            now = cell.cell_contents
            if now is not value and (isinstance(value, (Tensor, np.ndarray)) or now != value):
                return "a value the step closes over changed"
        return ""
