"""Ops that are one NumPy forward when eager and several plainer ops when a step is recorded.

Eager cost is mostly the number of ops, so what every training step does (a softmax, a loss, the gradient of a
maximum) runs as one. A compiler fuses by itself and wants the parts: sums, maps, gathers. Invariant: both
ways give the same values, and the same gradient rules apply to both; a test holds them equal.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from rushlight.autograd.mode import GRAD, RECORDING, no_grad, state
from rushlight.dtype import F16
from rushlight.ops.define import Op, apply, make_node, needs_grad_mask
from rushlight.tensor import Tensor


def fused(op: Op, spelled_out: Callable[..., Tensor]) -> Callable[..., Any]:
    """What to call instead of ``apply(op, ...)``: a function of the inputs, the params and ``out=``.

    It runs `op`, or while a step is recorded `spelled_out`, the same in plainer ops, which takes the inputs
    positionally and the params by keyword and returns a new tensor. The result carries the node of `op`
    either way. In float16 the two would round differently, so `op` is recorded as it is.
    """

    def run(inputs: tuple[Any, ...], params: dict[str, Any], out: Any = None) -> Any:
        first = inputs[0]._array
        if not state.mode & RECORDING or out is not None or first.dtype is F16 or not first.size:
            return apply(op, inputs, params, out)
        with no_grad():
            made = spelled_out(*inputs, **params)
        if state.mode & GRAD:
            _attach_node(op, inputs, params, made)
        return made

    return run


def _attach_node(op: Op, inputs: tuple[Any, ...], params: dict[str, Any], made: Tensor) -> None:
    """Put the node of `op` on the tape as what made a tensor."""
    mask = needs_grad_mask(inputs)
    node = make_node(op, inputs, params, mask) if mask else None
    if node is None:
        return
    array = made._array
    node.shape, node.dtype = array.shape, array.dtype
    made._node, made._requires_grad = node, True
    if node.plan.save_out:
        node.out, node.out_ref, node.out_version = array, weakref.ref(made), made._current_version()
