"""Gradients that a program leaves in ``.grad``, without a copy where nobody can tell.

The plain step makes new gradient tensors each time. Here the tensor in ``.grad`` looks into the program's own
memory, and the next run writes over it; but if anyone else has got hold of it meanwhile, the program gets
fresh memory and leaves the old to its holder. Invariant: a gradient tensor that somebody keeps never changes
under him.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from rushlight.compile.program import Window
from rushlight.tensor import Tensor, new_tensor


class LeftGrad:
    """What a program leaves in the ``.grad`` of one leaf.

    Args:
        leaf: the leaf, or what stands for it.
        window: where the gradient lies.
        executor: runs the program.
    """

    __slots__ = ("_to_memory", "_to_tensor", "array", "executor", "leaf", "renewable", "tensor", "window")

    def __init__(self, leaf: Any, window: Window, executor: Any) -> None:
        self.leaf, self.window, self.executor = leaf, window, executor
        renewable = getattr(executor, "is_renewable", None)
        self.renewable = renewable is not None and renewable(window)
        self.tensor: Tensor | None = None
        self.array: np.ndarray | None = None
        self._to_tensor, self._to_memory = 0, [0]  # references while nobody else has any

    def before_run(self, owner: Tensor) -> None:
        """Make sure that the memory about to be written is nobody's but the program's.

        The ``.grad`` of `owner` is replaced by the run, so its reference does not count; that of a leaf of an
        earlier call does.
        """
        if self.tensor is None:
            return
        to_tensor, *to_memory = self._references()
        if (
            self.tensor._array is self.array
            and not self.tensor._requires_grad
            and self.tensor._node is None
            and to_tensor - (owner._grad is self.tensor) <= self._to_tensor
            and to_memory == self._to_memory
        ):
            return
        self.executor.memory.renew(self.window)
        self.tensor = self.array = None

    def after_run(self, owner: Tensor) -> None:
        """Put the gradient in its place."""
        if not self.renewable:
            owner._grad = new_tensor(self.executor.memory.view(self.window).copy(order="K"))
            return
        if self.tensor is None:
            self.array = self.executor.memory.view(self.window)
            self.tensor = new_tensor(self.array)
            self._to_tensor, *self._to_memory = self._references()
        owner._grad = self.tensor

    def _references(self) -> list[int]:
        """How many references there are to the tensor, its array, and the memory behind that."""
        assert self.array is not None
        found = [sys.getrefcount(self.tensor), sys.getrefcount(self.array)]
        behind = self.array.base
        while behind is not None:
            found.append(sys.getrefcount(behind))
            behind = getattr(behind, "base", None)
        return found
