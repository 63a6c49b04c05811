"""Gradients that a program leaves in ``.grad``, without a copy where nobody can tell.

The plain step makes new gradient tensors each time. Here the tensor in ``.grad`` looks into the program's own
memory, and the next run writes over it; but if anyone else has got hold of it meanwhile, the program gets
fresh memory and leaves the old to its holder. Invariant: a gradient tensor that somebody keeps never changes
under him.
"""

from __future__ import annotations

from collections.abc import Sequence
from sys import getrefcount
from typing import Any

import numpy as np

from rushlight.compile.program import Window
from rushlight.tensor import Tensor, new_tensor


class GivenLeaf:
    """Stands for argument number `place` where a leaf is meant."""

    __slots__ = ("place",)

    def __init__(self, place: int) -> None:
        self.place = place


def owner_of_grad(leaf: Any, given: Sequence[Tensor]) -> Tensor:
    """The tensor whose .grad is meant: an argument of this call, or a captured leaf."""
    return given[leaf.place] if isinstance(leaf, GivenLeaf) else leaf


class LeftGrad:
    """What a program leaves in the ``.grad`` of one leaf.

    Args:
        leaf: the leaf, or what stands for it.
        window: where the gradient lies.
        executor: runs the program.
    """

    __slots__ = ("_alone", "array", "executor", "leaf", "memory", "renewable", "tensor", "window")

    def __init__(self, leaf: Any, window: Window, executor: Any) -> None:
        self.leaf, self.window, self.executor = leaf, window, executor
        renewable = getattr(executor, "is_renewable", None)
        self.renewable = renewable is not None and renewable(window)
        self.tensor: Tensor | None = None
        self.array: np.ndarray | None = None
        self.memory: Any = None
        self._alone = 0  # references while nobody else has any

    def is_in_place(self, given: Sequence[Tensor]) -> bool:
        """Before a run: make sure that the memory about to be written is nobody's but the program's.

        Returns whether the tensor that looks into it is the leaf's ``.grad`` already. That reference does
        not count, since the run replaces it; one from a leaf of an earlier call does.
        """
        tensor, leaf = self.tensor, self.leaf
        if tensor is None:
            return False
        in_place = (given[leaf.place] if type(leaf) is GivenLeaf else leaf)._grad is tensor
        if (
            self._references() - in_place == self._alone
            and tensor._array is self.array
            and not tensor._requires_grad
            and tensor._node is None
        ):
            return in_place
        self.executor.memory.renew(self.window)
        self.tensor = self.array = self.memory = None
        return False

    def put(self, given: Sequence[Tensor]) -> None:
        """After a run: put the gradient in its place."""
        owner = owner_of_grad(self.leaf, given)
        if not self.renewable:
            owner._grad = new_tensor(self.executor.memory.view(self.window).copy(order="K"))
            return
        if self.tensor is None:
            self.array = self.executor.memory.own(self.window)
            self.memory = self.array.base
            self.tensor = new_tensor(self.array)
            self._alone = self._references() + 1  # `is_in_place` has one more, a variable
        owner._grad = self.tensor

    def _references(self) -> int:
        """How many references there are to the tensor, to its array, which all views lead to, and to the
        memory behind that.
        """
        return getrefcount(self.tensor) + getrefcount(self.array) + getrefcount(self.memory)


class LeftGrads:
    """All gradients that a program leaves.

    In most loops nothing changes from call to call: every gradient is in its place and nobody else holds it.
    Once that was so, one look at all of them together is enough. References can only become more, so their
    sum tells.

    Args:
        grads: one for each leaf.
    """

    def __init__(self, grads: Sequence[LeftGrad]) -> None:
        self.grads = grads
        self._settled: list[tuple[Any, Any, Any]] = []  # leaf, gradient, its array; none if something changed
        self._held: list[Any] = []
        self._references = 0

    def missing(self, given: Sequence[Tensor]) -> Sequence[LeftGrad]:
        """Get the memory ready for a run; the gradients that must be put in their places after it."""
        if self._settled:
            if self._is_settled():
                return ()
            self._settled, self._held = [], []  # which count as references themselves
        missing = [each for each in self.grads if not each.is_in_place(given)]
        if not missing and not any(isinstance(each.leaf, GivenLeaf) for each in self.grads):
            self._settled = [(each.leaf, each.tensor, each.array) for each in self.grads]
            self._held = [held for each in self.grads for held in (each.tensor, each.array, each.memory)]
            self._references = sum(map(getrefcount, self._held))
        return missing

    def _is_settled(self) -> bool:
        if sum(map(getrefcount, self._held)) != self._references:  # before the loop's variables hold some
            return False
        for leaf, tensor, array in self._settled:
            if (
                leaf._grad is not tensor
                or tensor._array is not array
                or tensor._requires_grad
                or tensor._node is not None
            ):
                return False
        return True
