"""What the values of tensors must be: asked for at once, and by compiled steps at every call.

A function that looks at its tensors to refuse them would look only once in a step that is recorded. `require`
says what must hold as a tensor of bools, which a compiled step computes like any other. Invariant: nothing is
computed beyond the condition where it holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight.autograd.mode import RECORDING, state
from rushlight.ops.define import apply
from rushlight.ops.kinds import primitive
from rushlight.tensor import Tensor, new_tensor


class Complaint:
    """Makes the error for a condition that does not hold, from the tensors that it is about."""

    __slots__ = ("made",)

    def __init__(self, made: Callable[..., Exception]) -> None:
        self.made = made


def _require(*given: np.ndarray, complaint: Complaint) -> np.ndarray:
    holds, *about = given
    if not holds.all():
        raise complaint.made(*(new_tensor(each) for each in about))
    return np.asarray(True)


REQUIRE = primitive("require", "opaque", _require, inputs=("*given",))


def require(holds: Tensor, error: Callable[..., Exception], *about: Tensor) -> None:
    """Raise ``error(*about)`` unless `holds`, a tensor of bools, is true everywhere.

    >>> import rushlight as torch
    >>> x = torch.tensor([1.0, -2.0])
    >>> require(x >= 0, lambda x: ValueError(f"below zero: {x}"), x)
    Traceback (most recent call last):
    ...
    ValueError: below zero: tensor([ 1., -2.])
    """
    if not holds._array.all():
        before = state.mode
        state.mode = before & ~RECORDING  # what is told of may be looked at
        try:
            raise error(*about)
        finally:
            state.mode = before
    if state.mode & RECORDING:
        values: list[Any] = [each.detach() for each in about]
        apply(REQUIRE, (holds, *values), {"complaint": Complaint(error)})
