"""Extremes: largest and smallest elements, and where they are.

`max` and `min` with a dimension return values and indices, and their gradient goes to the chosen element
alone; `amax`, `amin` and the full `max` and `min` share it evenly among equals. Invariant: NaN is larger and
smaller than everything, and of equal elements the first is chosen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.ops.along import pick, put
from rushlight.ops.arguments import numpy_names, pytorch_names, require_tensor
from rushlight.ops.define import apply, labelled, write_out
from rushlight.ops.dims import check_keepdim, dims_of, kept_shape, refuse_keepdim
from rushlight.ops.fused import fused
from rushlight.ops.kinds import composite, primitive, public
from rushlight.ops.reduce import like_input
from rushlight.ops.return_types import return_type, values_and_indices
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor, normal_dim

_aminmax_type = return_type("aminmax", ("min", "max"))


def check_not_empty(name: str, input: Tensor, dim: int | None) -> None:
    """Refuse to look for an extreme among nothing, in PyTorch's words."""
    array = input._array
    if array.size:
        return
    if dim is None:
        index = name.startswith("arg")
        raise (IndexError if index else RuntimeError)(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0."
            + ("" if index else " Specify the reduction dim with the 'dim' argument.")
        )
    if array.shape[dim] == 0:
        raise IndexError(f"{name}(): Expected reduction dim {dim} to have non-zero size.")


# -- gradients -----------------------------------------------------------------------------------------------


def _to_chosen(
    g: np.ndarray, indices: np.ndarray, *, shape: tuple[int, ...], dim: int, keepdim: bool
) -> np.ndarray:
    if not keepdim:
        kept = kept_shape(shape, (dim,))
        g, indices = g.reshape(kept), indices.reshape(kept)
    result = np.zeros(shape, g.dtype)
    put(result, indices, dim, g)
    return result


def _from_chosen(g: Tensor, indices: Tensor, dim: int, keepdim: bool) -> Tensor:
    if keepdim:
        return g.gather(dim, indices)
    return g.gather(dim, indices.unsqueeze(dim)).squeeze(dim)


CHOSEN_BACKWARD = primitive(
    "value_selecting_reduction_backward",
    "indexed",
    _to_chosen,
    dict(g=lambda g, indices, dim, keepdim: _from_chosen(g, indices, dim, keepdim)),
)


def chosen_rule(g: Tensor, input_shape: tuple[int, ...], indices: Tensor, dim: int, keepdim: bool) -> Tensor:
    """The gradient rule of everything that picks elements by distinct indices along `dim`."""
    if not input_shape:
        return g
    return apply(CHOSEN_BACKWARD, (g, indices), {"shape": input_shape, "dim": dim, "keepdim": keepdim})


def _equals(input: Tensor, out: Tensor, dim: tuple[int, ...], keepdim: bool, nans: bool) -> Tensor:
    """Which elements are the extreme; with `nans`, where that is NaN, those that are NaN."""
    value = like_input(out, input._array.shape, dim, keepdim)
    return (input == value) | (value.isnan() & input.isnan()) if nans else input == value


def _share_spelled_out(
    g: Tensor, input: Tensor, out: Tensor, *, dim: tuple[int, ...], keepdim: bool, nans: bool
) -> Tensor:
    mask = _equals(input, out, dim, keepdim, nans)
    return like_input(g, input._array.shape, dim, keepdim) * mask / mask.sum(dim, True)


def _share(
    g: np.ndarray, input: np.ndarray, out: np.ndarray, *, dim: tuple[int, ...], keepdim: bool, nans: bool
) -> np.ndarray:
    if not keepdim:
        kept = kept_shape(input.shape, dim)
        g, out = g.reshape(kept), out.reshape(kept)
    mask = input == out
    if nans:
        mask |= (out != out) & (input != input)
    return mask * (g / np.add.reduce(mask, dim, g.dtype, None, True))


def _collect(
    g: Tensor, input: Tensor, out: Tensor, dim: tuple[int, ...], keepdim: bool, nans: bool
) -> Tensor:
    mask = _equals(input, out, dim, keepdim, nans)
    return (g * mask).sum(dim, keepdim) / mask.sum(dim, keepdim)


SHARE = primitive("evenly_distribute_backward", "opaque", _share, dict(g=_collect))
_shared = fused(SHARE, _share_spelled_out)


def _sharing_rule(nans: bool) -> Any:
    """The rule that divides the gradient among all elements that equal the extreme."""

    def rule(g: Tensor, input: Tensor, out: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
        if not input._array.ndim:
            return g
        return _shared((g, input, out), {"dim": dim, "keepdim": keepdim, "nans": nans})

    return rule


share_rule = _sharing_rule(nans=True)


# -- values over several dimensions --------------------------------------------------------------------------


def _extreme(name: str, ufunc: np.ufunc, node_name: str | None = None) -> Any:
    def forward(input: np.ndarray, *, dim: tuple[int, ...], keepdim: bool) -> Any:
        return ufunc.reduce(input, axis=dim, keepdims=keepdim)

    # PyTorch looks for NaN in the full max and min only
    rule = _sharing_rule(nans=node_name is not None)
    return primitive(name, "fold", forward, dict(input=rule), node_name=node_name)


AMAX, AMIN = _extreme("amax", np.maximum), _extreme("amin", np.minimum)
MAX_ALL, MIN_ALL = _extreme("max", np.maximum, "MaxBackward1"), _extreme("min", np.minimum, "MinBackward1")

_EQUALS = T(values=[[1.0, 2.0, 2.0], [3.0, 3.0, 3.0]])
_NANS = T(values=[[1.0, float("nan"), 2.0], [float("inf"), float("-inf"), 3.0]])


def _samples() -> list[Sample]:
    table = T((3, 4), distinct=True)
    found = [Sample([table]), Sample([T((2, 3, 4), distinct=True), 1]), Sample([table, (0, 1), True])]
    found += [Sample([_EQUALS, 1]), Sample([_EQUALS, 1, True]), Sample([_NANS, 1], second=False, why="NaN")]
    found += [Sample([T((3, 4), kind), 0]) for kind in ("int64", "uint8", "bool")]
    found += [Sample([T((3, 4), kind, distinct=True), 0]) for kind in ("float64", "float16")]
    found += [Sample([T((), distinct=True)]), Sample([T((), distinct=True), 0]), Sample([T((0, 3)), 1])]
    return [*found, *[Sample([T((0, 3)), *dim], raises=True) for dim in ((), (0,), ((0, 1),))]]


def _several(op: Any, name: str, summary: str) -> Any:
    def function(input: Tensor, dim: Any = (), keepdim: bool = False, *, out: Any = None) -> Tensor:
        require_tensor(name, "input", 1, input)
        check_keepdim(name, keepdim)
        dims = dims_of(dim, input._array.ndim, name)
        if input._array.size == 0:
            if dim is None or dim == () or dim == []:
                check_not_empty(name, input, None)
            for each in dims:
                check_not_empty(name, input, each)
        return apply(op, (input,), {"dim": dims, "keepdim": keepdim}, out)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = summary
    return public(op, samples=_samples)(numpy_names(function))


amax = _several(
    AMAX,
    "amax",
    """The largest elements along `dim` (one or several; all by default); equal ones share the gradient.

    >>> import rushlight as torch
    >>> torch.amax(torch.tensor([[1, 5], [7, 2]]), dim=1)
    tensor([5, 7])
    """,
)
amin = _several(
    AMIN,
    "amin",
    """The smallest elements along `dim` (one or several; all by default); equal ones share the gradient.

    >>> import rushlight as torch
    >>> torch.amin(torch.tensor([[1, 5], [7, 2]]), dim=1)
    tensor([1, 2])
    """,
)


# -- where ---------------------------------------------------------------------------------------------------


def _first_index(name: str) -> Any:
    def forward(input: np.ndarray, *, dim: int | None, keepdim: bool) -> Any:
        if not input.ndim:
            return np.zeros((), np.int64)
        return getattr(input, name)(dim, None, keepdims=keepdim)

    return primitive(name, "fold", forward)


ARGMAX, ARGMIN = _first_index("argmax"), _first_index("argmin")


def _where_samples() -> list[Sample]:
    table = T((3, 4), distinct=True)
    found = [Sample([table]), Sample([table, 1]), Sample([T((2, 3, 4), distinct=True), 1, True])]
    found += [Sample([table], {"keepdim": True}), Sample([T((), distinct=True)]), Sample([T(()), 0])]
    found += [Sample([_EQUALS, 1]), Sample([_EQUALS]), Sample([_NANS, 1]), Sample([_NANS])]
    found += [Sample([T((3, 4), kind), 0]) for kind in ("int64", "uint8", "float16", "float64")]
    found += [Sample([T((0, 3)), 1]), Sample([T((3, 4), "bool"), 1], raises=True)]
    return [*found, Sample([T((0, 3))], raises=True), Sample([T((0, 3)), 0], raises=True)]


def _where(op: Any, name: str, summary: str) -> Any:
    def function(
        input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: Any = None, **given: Any
    ) -> Tensor:
        if given:
            named = {"dim": dim, "keepdim": keepdim, "out": out}
            return function(input, **named | pytorch_names(name, given))
        if input.__class__ is not Tensor:
            require_tensor(name, "input", 1, input)
        check_keepdim(name, keepdim)
        array = input._array
        if array.dtype.kind == "b":
            raise RuntimeError(f"{name}(): does not support bool input")
        if dim is not None:
            if type(dim) is not int and (isinstance(dim, bool) or not hasattr(dim, "__index__")):
                raise TypeError(
                    f"{name}(): argument 'dim' (position 2) must be int, not {type(dim).__name__}"
                )
            dim = normal_dim(dim.__index__(), array.ndim)
        check_not_empty(name, input, dim)
        return apply(op, (input,), {"dim": dim, "keepdim": keepdim}, out)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = summary
    return public(op, samples=_where_samples)(function)


argmax = _where(
    ARGMAX,
    "argmax",
    """The index of the largest element, of all (flattened) or along `dim`.

    >>> import rushlight as torch
    >>> torch.tensor([[1, 5], [7, 2]]).argmax(dim=1)
    tensor([1, 0])
    """,
)
argmin = _where(
    ARGMIN,
    "argmin",
    """The index of the smallest element, of all (flattened) or along `dim`.

    >>> import rushlight as torch
    >>> torch.tensor([[1, 5], [7, 2]]).argmin(dim=1)
    tensor([0, 1])
    """,
)


# -- values and indices --------------------------------------------------------------------------------------


def _picked(name: str, find: str) -> Any:
    def forward(input: np.ndarray, *, dim: int, keepdim: bool) -> tuple[np.ndarray, np.ndarray]:
        if not input.ndim:
            return input.copy(), np.zeros((), np.int64)
        indices = getattr(input, find)(dim, None, keepdims=True)
        values = pick(input, indices, dim)
        if keepdim:
            return values, indices
        shape = input.shape[:dim] + input.shape[dim + 1 :]
        return values.reshape(shape), indices.reshape(shape)

    return primitive(
        name,
        "fold",
        forward,
        dict(input=chosen_rule),
        outputs=("values", "indices"),
        differentiable=(0,),
    )


MAX_DIM, MIN_DIM = _picked("max", "argmax"), _picked("min", "argmin")


def _max_samples() -> list[Sample]:
    table = T((3, 4), distinct=True)
    found = [
        Sample([table]),
        Sample([table, 1]),
        Sample([T((2, 3, 4), distinct=True), 1, True]),
        Sample([table, T((4,), distinct=True)]),
        Sample([table], {"dim": 0, "keepdim": True}),
        Sample([table], {"other": T((3, 1), distinct=True)}),
        Sample([T((), distinct=True), 0]),
        Sample([T(values=[2.0, 5.0, 5.0])]),
        Sample([_EQUALS, 1]),
        Sample([_NANS, 1]),
        Sample([_NANS], second=False, why="NaN"),
        Sample([T((0, 3)), 1]),
        Sample([T((3, 4), layout="transposed", distinct=True), 0]),
        Sample([T((0, 3))], raises=True),
        Sample([T((0, 3)), 0], raises=True),
        Sample([T((3,)), 1], raises=True),
        Sample([T((3, 4)), (0, 1)], raises=True),
    ]
    return found + [Sample([T((3, 4), kind), 0]) for kind in ("int64", "uint8", "bool", "float16")]


def _max_or_min(name: str, whole: Any, along: Any, result_type: Any, summary: str) -> Any:
    """`max` or `min`: of all elements, along a dimension, or of two tensors."""

    def function(
        input: Tensor,
        dim: Any = None,
        keepdim: bool = False,
        *,
        other: Any = None,
        out: Any = None,
        **given: Any,
    ) -> Any:
        if given:
            named = {"dim": dim, "keepdim": keepdim, "other": other, "out": out}
            return function(input, **named | pytorch_names(name, given))
        if input.__class__ is not Tensor:
            require_tensor(name, "input", 1, input)
        if isinstance(dim, Tensor) or other is not None:
            pairwise = input.maximum if name == "max" else input.minimum
            return pairwise(other if other is not None else dim, out=out)
        check_keepdim(name, keepdim)
        ndim = input._array.ndim
        if dim is None:
            refuse_keepdim(name, keepdim)
            check_not_empty(name, input, None)
            return apply(whole, (input,), {"dim": dims_of(None, ndim), "keepdim": False}, out)
        if type(dim) is not int:
            raise TypeError(
                f"{name}() received an invalid combination of arguments - got (Tensor, "
                f"{type(dim).__name__}), but expected one of: (Tensor input), (Tensor input, Tensor other), "
                "(Tensor input, int dim, bool keepdim). For several dimensions use a" + name + "()."
            )
        place = normal_dim(dim, ndim)
        check_not_empty(name, input, place)
        return result_type(apply(along, (input,), {"dim": place, "keepdim": keepdim}, out))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = summary
    return public(along, samples=_max_samples)(function)


max = _max_or_min(
    "max",
    MAX_ALL,
    MAX_DIM,
    values_and_indices("max"),
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
    values_and_indices("min"),
    """The smallest element of all, ``(values, indices)`` along `dim`, or elementwise of two tensors.

    >>> import rushlight as torch
    >>> torch.tensor([[1, 5], [7, 2]]).min(1).indices
    tensor([0, 1])
    """,
)


@composite(
    samples=lambda: [
        Sample([T((3, 4), distinct=True)]),
        Sample([T((3, 4), distinct=True)], {"dim": 1, "keepdim": True}),
        Sample([_EQUALS], {"dim": 1}),
        Sample([T((), distinct=True)], {"dim": 0}),
        Sample([T((4,), "int64")]),
        Sample([T((0, 3))], {"dim": 1}),
        Sample([T((0, 3))], raises=True),
        Sample([T((0, 3))], {"dim": 0}, raises=True),
    ]
)
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False, out: Any = None) -> Any:
    """The smallest and the largest element, of all or along `dim`.

    >>> import rushlight as torch
    >>> torch.aminmax(torch.tensor([3, 1, 2]))
    torch.return_types.aminmax(
    min=tensor(1),
    max=tensor(3))
    """
    require_tensor("aminmax", "input", 1, input)
    shape = input._array.shape
    if dim is None and 0 in shape:
        raise RuntimeError(
            "aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity."
        )
    if dim is not None and shape and shape[normal_dim(dim, len(shape))] == 0:
        raise IndexError(f"aminmax: Expected reduction dim {dim} to have non-zero size.")
    dims = () if dim is None else dim
    pair = tuple(labelled(each(input, dims, keepdim), "AminmaxBackward0") for each in (amin, amax))
    return _aminmax_type(pair if out is None else write_out(out, pair))
