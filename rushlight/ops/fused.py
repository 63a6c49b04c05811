"""Ops that are one NumPy forward when eager and several plainer ops when a step is recorded.

Eager cost is mostly the number of ops, so what every training step does (a loss, the gradient of a maximum)
runs as one. A compiler fuses by itself and wants the parts. Invariant: both ways give the same values and
derivatives; a test holds them equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rushlight.autograd.mode import RECORDING, state
from rushlight.ops.define import Op, apply


def fused(op: Op, spelled_out: Callable[..., Any]) -> Callable[..., Any]:
    """A function that runs `op`, or while a step is recorded `spelled_out`, the same in plainer ops.

    Both take the inputs of the op positionally and its params by keyword.
    """

    def call(*inputs: Any, **params: Any) -> Any:
        if state.mode & RECORDING:
            return spelled_out(*inputs, **params)
        return apply(op, inputs, params)

    return call
