"""Views that repeat elements: `expand`, what broadcasts by it, and tensors widened to a number of dimensions.

A repeated dimension has stride 0: many elements of the view are one element of memory, and its gradient is
their sum, which the engine forms as it does for any broadcast operand. Invariant: nothing here copies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rushlight.ops.arguments import array_of, int_varargs
from rushlight.ops.define import apply
from rushlight.ops.kinds import composite, primitive, public
from rushlight.ops.samples import Sample, T
from rushlight.ops.shape import reshape_to, unsqueeze
from rushlight.ops.shapes import broadcast_shape, expanded_shape
from rushlight.storage import strided
from rushlight.tensor import Tensor


def _expand(input: np.ndarray, *, shape: tuple[int, ...]) -> np.ndarray:
    lengths = input.shape
    added = len(shape) - len(lengths)
    strides = [0] * added
    for dim, stride in enumerate(input.strides):
        strides.append(stride if lengths[dim] == shape[dim + added] else 0)
    return strided(input, shape, tuple(strides))


EXPAND = primitive("expand", "view", _expand, dict(input=lambda g: g))


def _expand_samples() -> list[Sample]:
    cases = [
        ((3, 1), (3, 4)),
        ((3, 1), (2, -1, 4)),
        ((), (2, 2)),
        ((1, 3), (0, 3)),
        ((3,), (3,)),
        ((2, 1, 3), (2, 2, 3)),
    ]
    found = [Sample([T(shape), to]) for shape, to in cases]
    found += [Sample([T((3, 4), layout="transposed"), (2, 3, 4)]), Sample([T((1, 3), "bool"), (2, 3)])]
    refused = [((2, 3), (3,)), ((2, 3), (2, 4)), ((3,), (-1, 3)), ((3,), (-2,))]
    return found + [Sample([T(shape), to], raises=True) for shape, to in refused]


@int_varargs("size")
def expand(input: Tensor, size: tuple[int, ...], *, implicit: bool = False) -> Tensor:
    """`input` with dimensions of length 1 repeated to a larger size and new ones put in front, as a view.

    -1 keeps a dimension as it is. Several elements of the result are one element in memory: clone before
    writing to it. `implicit` has no effect, as in PyTorch.

    >>> import rushlight as torch
    >>> torch.tensor([[1], [2]]).expand(-1, 3)
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """
    array = array_of("expand", input)
    return apply(EXPAND, (input,), {"shape": expanded_shape(array.shape, size, array.dtype)})


public(EXPAND, samples=_expand_samples, torch_name="Tensor.expand")(expand)


@composite(samples=lambda: [Sample([T((3, 1)), T((2, 3, 4), grad=False)])], torch_name="Tensor.expand_as")
def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """`expand` to the shape of `other`."""
    return expand(input, array_of("expand_as", other, "other").shape)


@int_varargs("size")
def broadcast_to(input: Tensor, size: tuple[int, ...]) -> Tensor:
    """`expand` under NumPy's name."""
    return expand(input, size)


composite(samples=_expand_samples)(broadcast_to)


def _broadcast_samples() -> list[Sample]:
    found = [
        Sample([T((3, 1)), T((2, 3, 4))]),
        Sample([T(()), T((2,), "int64")]),
        Sample([]),
        Sample([T((0, 3)), T((1, 3))]),
    ]
    return [*found, Sample([T((3,)), T((4,))], raises=True)]


@composite(samples=_broadcast_samples, method=False)
def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors expanded to the shape that they broadcast to.

    >>> import rushlight as torch
    >>> [each.shape for each in torch.broadcast_tensors(torch.zeros(3, 1), torch.zeros(4))]
    [torch.Size([3, 4]), torch.Size([3, 4])]
    """
    check_tensors(tensors)
    shape: tuple[int, ...] = ()
    for each in tensors:
        shape = broadcast_shape(shape, each._array.shape)
    return tuple(each if each._array.shape == shape else expand(each, shape) for each in tensors)


def check_tensors(tensors: Sequence[Any]) -> None:
    """Raise PyTorch's TypeError where one of a list of tensors is something else."""
    for index, each in enumerate(tensors):
        if not isinstance(each, Tensor):
            raise TypeError(
                f"expected Tensor as element {index} in argument 0, but got {type(each).__name__}"
            )


# -- at least so many dimensions -----------------------------------------------------------------------------


def _each(name: str, tensors: Sequence[Any], widen: Callable[[Tensor], Tensor]) -> Any:
    """`widen` for one tensor, or a tuple of it for several given as varargs or as one sequence."""
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tensors[0]
    elif len(tensors) == 1:
        array_of(name, tensors[0])
        return widen(tensors[0])
    check_tensors(tensors)
    return tuple(widen(each) for each in tensors)


def _atleast_samples() -> list[Sample]:
    alone = [Sample([T(shape)]) for shape in ((), (3,), (2, 3), (1, 2, 3))]
    return [*alone, Sample([T(()), T((2, 3), "int64")]), Sample([[T(()), T((2,))]])]


def _at_least_1d(tensor: Tensor) -> Tensor:
    return tensor if tensor.ndim else reshape_to(tensor, (1,))


def _at_least_2d(tensor: Tensor) -> Tensor:
    if tensor.ndim > 1:
        return tensor
    return unsqueeze(tensor, 0) if tensor.ndim else reshape_to(tensor, (1, 1))


def _at_least_3d(tensor: Tensor) -> Tensor:
    if tensor.ndim > 2:
        return tensor
    if tensor.ndim == 2:
        return unsqueeze(tensor, -1)
    return unsqueeze(unsqueeze(tensor, 0), -1) if tensor.ndim else reshape_to(tensor, (1, 1, 1))


@composite(samples=_atleast_samples, method=False)
def atleast_1d(*tensors: Any) -> Any:
    """The tensor, or each of several, with at least one dimension."""
    return _each("atleast_1d", tensors, _at_least_1d)


@composite(samples=_atleast_samples, method=False)
def atleast_2d(*tensors: Any) -> Any:
    """The tensor, or each of several, with at least two dimensions: (n,) becomes (1, n)."""
    return _each("atleast_2d", tensors, _at_least_2d)


@composite(samples=_atleast_samples, method=False)
def atleast_3d(*tensors: Any) -> Any:
    """The tensor, or each of several, with at least three dimensions.

    (n,) becomes (1, n, 1) and (n, m) becomes (n, m, 1).
    """
    return _each("atleast_3d", tensors, _at_least_3d)
