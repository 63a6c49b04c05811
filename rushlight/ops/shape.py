"""Views."""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.ops.define import apply
from rushlight.ops.kinds import primitive, public
from rushlight.tensor import Tensor

EXPAND = primitive("expand", "view", lambda input, *, shape: np.broadcast_to(input, shape), grad=dict(input=lambda g: g))
VIEW = primitive("view", "view", lambda input, *, shape: input.reshape(shape), grad=dict(input=lambda g, input_shape: g.reshape(input_shape)))
T = primitive("t", "view", lambda input: input.T, grad=dict(input=lambda g: g.t()))
CLONE = primitive("clone", "map", lambda input: input.copy(), grad=dict(input=lambda g: g))
INDEX = primitive("slice", "view", lambda input, *, index: input[index], grad=dict(input=lambda g, input_shape, index: index_back(g, input_shape, index)))

def index_back(g, shape, index):
    from rushlight.tensor import new_tensor
    z = np.zeros(shape, g._array.dtype); z[index] = g._array
    return new_tensor(z)

@public(VIEW)
def reshape(input: Tensor, *shape: Any) -> Any:
    if len(shape) == 1 and not isinstance(shape[0], int):
        shape = tuple(shape[0])
    return apply(VIEW, (input,), {"shape": shape})

@public(EXPAND)
def expand(input: Tensor, *shape: Any) -> Any:
    if len(shape) == 1 and not isinstance(shape[0], int):
        shape = tuple(shape[0])
    return apply(EXPAND, (input,), {"shape": shape})

@public(T)
def t(input): return apply(T, (input,))
@public(CLONE)
def clone(input): return apply(CLONE, (input,))
@public(INDEX)
def index(input, idx): return apply(INDEX, (input,), {"index": idx})
