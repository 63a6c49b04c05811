"""Python functions applied to every element, in place: `apply_`, `map_`, `map2_`.

They are as slow as Python and have no gradient. Invariant: what the function returns is stored in the
tensor's own type, and the elements are visited in row-major order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight.autograd.mode import reading
from rushlight.ops.arguments import require_tensor
from rushlight.ops.broadcast import expand
from rushlight.ops.copies import tensor_type
from rushlight.ops.writes import copy_
from rushlight.tensor import Tensor, new_tensor


def _written(name: str, target: Tensor, function: Callable[..., Any], *others: Tensor) -> Tensor:
    """Store the function's results for all elements of `target` and of `others`, broadcast to its shape."""
    if target.requires_grad:
        raise RuntimeError(
            f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}() instead."
        )
    reading(f"{name}()", target, *others)
    rows = [target, *(expand(each, tuple(target.shape)) for each in others)]
    values = [each._array.reshape(-1).tolist() for each in rows]
    integral = target._array.dtype.kind in "iu"
    results = []
    for each in zip(*values, strict=True):
        result = function(*each)
        if not isinstance(result, (bool, int, float, np.number, np.bool_)):
            raise TypeError(f"must be real number, not {type(result).__name__}")
        results.append(int(result) if integral else result)
    made = np.array(results, target._array.dtype).reshape(target._array.shape)
    return copy_(target, new_tensor(made))


def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replace every element by what the function returns for it; returns the tensor.

    >>> import rushlight as torch
    >>> torch.tensor([1.0, 4.0]).apply_(lambda value: value + 1)
    tensor([2., 5.])
    """
    return _written("apply_", self, callable)


def _check_type(name: str, argument: str, position: int, target: Tensor, other: Any) -> None:
    require_tensor(name, argument, position, other)
    if other.dtype is not target.dtype:
        raise TypeError(f"{name}: expected {tensor_type(target)} for '{argument}' (got {tensor_type(other)})")


def map_(self: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Replace every element by the function of it and of the other tensor's; returns the tensor.

    >>> import rushlight as torch
    >>> torch.tensor([1.0, 4.0]).map_(torch.tensor([2.0, 3.0]), lambda a, b: max(a, b))
    tensor([2., 4.])
    """
    _check_type("map_", "other", 1, self, tensor)
    return _written("map_", self, callable, tensor)


def map2_(self: Tensor, x: Tensor, y: Tensor, callable: Callable[[Any, Any, Any], Any]) -> Tensor:
    """Replace every element by the function of it and of two other tensors'; returns the tensor."""
    _check_type("map2_", "x", 1, self, x)
    _check_type("map2_", "y", 2, self, y)
    return _written("map2_", self, callable, x, y)


METHODS: dict[str, Any] = {"apply_": apply_, "map_": map_, "map2_": map2_}
