"""Extremes: largest and smallest elements, and where they are.

`max` and `min` with a dimension return values and indices, and their gradient goes to the chosen element alone; `amax`,
`amin` and the full `max` and `min` share it evenly among equals. Invariant: NaN is larger and smaller than everything, and of equal
elements the first is chosen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.ops import return_types
from rushlight.ops.arguments import numpy_names
from rushlight.ops.define import apply, labelled, write_out
from rushlight.ops.kinds import composite, primitive, public
from rushlight.ops.dims import dims_of
from rushlight.ops.reduce import like_input
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor, normal_dim


def _share_evenly(g: Tensor, input: Tensor, out: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    """The gradient divided among all elements that equal the extreme."""
    shape = input._array.shape
    mask = input == like_input(out, shape, dim, keepdim)
    if np.isnan(out._array).any():
        mask = mask | input.isnan()
    return like_input(g, shape, dim, keepdim) * mask / mask.sum(dim, True)


def chosen_rule(g: Tensor, input_shape: tuple[int, ...], indices: Tensor, dim: int, keepdim: bool) -> Tensor:
    """The gradient rule of everything that picks one element per line along `dim`."""
    if not input_shape:
        return g
    if not keepdim:
        g, indices = g.unsqueeze(dim), indices.unsqueeze(dim)
    return g.new_zeros(input_shape).scatter(dim, indices, g)


def check_not_empty(name: str, input: Tensor, dim: int | None) -> None:
    """Refuse to look for an extreme among nothing, in PyTorch's words."""
    shape = input._array.shape
    if dim is None and input._array.size == 0:
        raise (RuntimeError if not name.startswith("arg") else IndexError)(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0."
            + ("" if name.startswith("arg") else " Specify the reduction dim with the 'dim' argument.")
        )
    if dim is not None and shape and shape[dim] == 0:
        raise IndexError(f"{name}(): Expected reduction dim {dim} to have non-zero size.")


# -- values over several dimensions -------------------------------------------------------------------------------------


def _extreme(name: str, ufunc: np.ufunc, node_name: str | None = None) -> Any:
    return primitive(
        name,
        "fold",
        lambda input, *, dim, keepdim: ufunc.reduce(input, axis=dim, keepdims=keepdim),
        dict(input=_share_evenly),
        node_name=node_name,
    )


AMAX, AMIN = _extreme("amax", np.maximum), _extreme("amin", np.minimum)
MAX_ALL, MIN_ALL = _extreme("max", np.maximum, "MaxBackward1"), _extreme("min", np.minimum, "MinBackward1")


def _samples() -> list[Sample]:
    found = [
        Sample([T((3, 4), distinct=True)]),
        Sample([T((2, 3, 4), distinct=True), 1]),
        Sample([T((3, 4), distinct=True), (0, 1), True]),
    ]
    found += [
        Sample([T(values=[[1.0, 2.0, 2.0], [3.0, 3.0, 3.0]]), 1]),
        Sample([T((3, 4), "int64"), 0]),
        Sample([T((), distinct=True)]),
    ]
    return [*found, Sample([T((0, 3), distinct=True), 1]), Sample([T((4,), "bool"), 0])]


def _several(op: Any, name: str, summary: str) -> Any:
    def function(input: Tensor, dim: Any = (), keepdim: bool = False, *, out: Any = None) -> Tensor:
        dims = dims_of(dim, input._array.ndim)
        if input._array.size == 0:
            check_not_empty(
                name, input, None if dim is None or dim == () or dim == [] else dims[0] if dims else 0
            )
        return apply(op, (input,), {"dim": dims, "keepdim": keepdim}, out)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = summary
    return public(op, samples=_samples)(numpy_names(function))


amax = _several(
    AMAX,
    "amax",
    "The largest elements along `dim` (one or several; all by default); equal ones share the gradient.",
)
amin = _several(
    AMIN,
    "amin",
    "The smallest elements along `dim` (one or several; all by default); equal ones share the gradient.",
)


# -- where --------------------------------------------------------------------------------------------------------------


def _first_index(name: str, find: Any) -> Any:
    return primitive(
        name,
        "fold",
        lambda input, *, dim, keepdim: np.asarray(find(input, axis=dim, keepdims=keepdim)).astype(
            np.int64, copy=False
        ),
    )


ARGMAX, ARGMIN = _first_index("argmax", np.argmax), _first_index("argmin", np.argmin)


def _where(op: Any, name: str, summary: str) -> Any:
    def function(input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: Any = None) -> Tensor:
        array = input._array
        if array.dtype.kind == "b":
            raise RuntimeError(f"{name}(): does not support bool input")
        place = None if dim is None else normal_dim(dim, array.ndim)
        check_not_empty(name, input, place)
        if not array.ndim:
            result = apply(op, (input.reshape(1),), {"dim": 0, "keepdim": False})
        elif place is None and keepdim:
            result = apply(op, (input.reshape(-1),), {"dim": 0, "keepdim": False}).reshape((1,) * array.ndim)
        else:
            result = apply(op, (input,), {"dim": place, "keepdim": keepdim})
        return result if out is None else write_out(out, result)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = summary
    samples = lambda: [  # noqa: E731
        Sample([T((3, 4), distinct=True)]),
        Sample([T((3, 4), distinct=True), 1]),
        Sample([T((2, 3, 4), distinct=True), 1, True]),
        Sample([T((3, 4), "int64"), 0]),
        Sample([T((), distinct=True)]),
    ]
    return public(op, samples=samples)(numpy_names(function))


argmax = _where(
    ARGMAX,
    "argmax",
    """The index of the largest element, of all (flattened) or along `dim`.

    >>> import rushlight as torch
    >>> torch.tensor([[1, 5], [7, 2]]).argmax(dim=1)
    tensor([1, 0])
    """,
)
argmin = _where(ARGMIN, "argmin", "The index of the smallest element, of all (flattened) or along `dim`.")


# -- values and indices -------------------------------------------------------------------------------------------------


def _picked(name: str, find: Any) -> Any:
    def forward(input: np.ndarray, *, dim: int, keepdim: bool) -> tuple[np.ndarray, np.ndarray]:
        if not input.ndim:
            return input.copy(), np.zeros((), np.int64)
        indices = find(input, axis=dim, keepdims=True)
        values = np.take_along_axis(input, indices, dim)
        if not keepdim:
            indices, values = indices.squeeze(dim), values.squeeze(dim)
        return values, indices.astype(np.int64, copy=False)

    return primitive(
        name, "fold", forward, dict(input=chosen_rule), outputs=("values", "indices"), differentiable=(0,)
    )


MAX_DIM, MIN_DIM = _picked("max", np.argmax), _picked("min", np.argmin)


def _max_or_min(name: str, whole: Any, along: Any, result_type: Any, summary: str) -> Any:
    """`max` or `min`: of all elements, along a dimension, or of two tensors."""

    def function(
        input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None, out: Any = None
    ) -> Any:
        if isinstance(dim, Tensor) or other is not None:
            pairwise = input.maximum if name == "max" else input.minimum
            result = pairwise(other if other is not None else dim)
            return result if out is None else write_out(out, result)
        if dim is None:
            check_not_empty(name, input, None)
            return apply(whole, (input,), {"dim": dims_of(None, input._array.ndim), "keepdim": False}, out)
        if not isinstance(keepdim, bool):
            raise TypeError(
                f"{name}(): argument 'keepdim' (position 2) must be bool, not {type(keepdim).__name__}"
            )
        place = normal_dim(dim, input._array.ndim)
        check_not_empty(name, input, place)
        return result_type(apply(along, (input,), {"dim": place, "keepdim": keepdim}, out))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = summary
    samples = lambda: [  # noqa: E731
        Sample([T((3, 4), distinct=True)]),
        Sample([T((3, 4), distinct=True), 1]),
        Sample([T((2, 3, 4), distinct=True), 1, True]),
        Sample([T((3, 4), distinct=True), T((4,), distinct=True)]),
        Sample([T((3, 4), "int64"), 0]),
        Sample([T((), distinct=True), 0]),
        Sample([T(values=[2.0, 5.0, 5.0])]),
    ]
    return public(along, samples=samples)(numpy_names(function))


max = _max_or_min(
    "max",
    MAX_ALL,
    MAX_DIM,
    return_types.max,
    """The largest element of all, ``(values, indices)`` along `dim`, or elementwise of two tensors.

    >>> import rushlight as torch
    >>> torch.tensor([[1, 5], [7, 2]]).max(1).values
    tensor([5, 7])
    """,
)
min = _max_or_min(
    "min",
    MIN_ALL,
    MIN_DIM,
    return_types.min,
    "The smallest element of all, ``(values, indices)`` along `dim`, or elementwise of two tensors.",
)


@composite(
    samples=lambda: [
        Sample([T((3, 4), distinct=True)]),
        Sample([T((3, 4), distinct=True)], {"dim": 1, "keepdim": True}),
    ]
)
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False, out: Any = None) -> Any:
    """The smallest and the largest element, of all or along `dim`."""
    check_not_empty("aminmax", input, None if dim is None else normal_dim(dim, input._array.ndim))
    dims = () if dim is None else dim
    low, high = (labelled(each(input, dims, keepdim), "AminmaxBackward0") for each in (amin, amax))
    pair = (low, high)
    return return_types.aminmax(pair if out is None else write_out(out, pair))
