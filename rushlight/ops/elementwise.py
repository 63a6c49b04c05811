"""Maps: arithmetic, comparisons and logic, each one formula and one gradient rule per input.

A map computes every element of its result from the elements at the same place of its (broadcast) inputs. This
file holds the arithmetic of numbers; mathematical functions are in `functions`, activations in `activations`.
Invariant: formulas use only operators and `k`, so they run on ndarrays and in generated loops alike.
"""

from __future__ import annotations

from typing import Any

from rushlight.ops.define import ALWAYS_BOOL, INT_TO_FLOAT, apply
from rushlight.ops.kinds import alias, elementwise, elementwise_op, public

# -- arithmetic ---------------------------------------------------------------------------------------------------------

ADD = elementwise_op(
    "add",
    lambda k, input, other: input + other,
    grad=dict(input=lambda g: g, other=lambda g: g),
)
ADD_SCALED = elementwise_op(
    "add",
    lambda k, input, other, *, alpha: input + other * alpha,
    grad=dict(input=lambda g: g, other=lambda g, alpha: g * alpha),
)


@public(ADD, inplace=True)
def add(input: Any, other: Any, *, alpha: Any = 1, out: Any = None) -> Any:
    """``input + alpha * other``.

    >>> import rushlight as torch
    >>> torch.add(torch.tensor([1, 2]), 10, alpha=2)
    tensor([21, 22])
    """
    if alpha == 1:
        return apply(ADD, (input, other), out=out)
    return apply(ADD_SCALED, (input, other), {"alpha": alpha}, out=out)


mul = elementwise(
    "mul",
    lambda k, input, other: input * other,
    grad=dict(input=lambda g, other: g * other, other=lambda g, input: g * input),
)
multiply = alias("multiply", mul)
div_true = elementwise_op(
    "div",
    lambda k, input, other: input / other,
    grad=dict(input=lambda g, other: g / other, other=lambda g, other, out: -g * (out / other)),
    promote=INT_TO_FLOAT,
)
neg = elementwise("neg", lambda k, input: -input, grad=dict(input=lambda g: -g))

# -- comparisons --------------------------------------------------------------------------------------------------------

gt = elementwise("gt", lambda k, input, other: input > other, promote=ALWAYS_BOOL)
