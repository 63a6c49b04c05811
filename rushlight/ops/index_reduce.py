"""`index_reduce`: whole slices combined where a vector of places points, by product, mean or extreme.

It is `scatter_reduce` with the same place for a whole slice. Invariant: the gradients are shared as there.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from rushlight.ops.arguments import numpy_names
from rushlight.ops.define import apply
from rushlight.ops.gather import first_outside, on_copy, with_dims
from rushlight.ops.index_dim import check_slices
from rushlight.ops.kinds import primitive, public
from rushlight.ops.samples import Sample, T
from rushlight.ops.scatter_reduce import input_gradient, reduce_into, source_gradient
from rushlight.tensor import Tensor

REDUCTIONS = ("prod", "mean", "amax", "amin")


def _index_reduce(
    target: np.ndarray, index: np.ndarray, source: np.ndarray, *, dim: int, reduce: str, include_self: bool
) -> None:
    target, index, source = with_dims(target), with_dims(index), with_dims(source)
    if first_outside(index, target.shape[dim]) is not None:
        raise IndexError(
            f"index out of range in self: the index holds {first_outside(index, target.shape[dim])}, "
            f"dimension {dim} has {target.shape[dim]} elements"
        )
    places = index.reshape((-1,) + (1,) * (source.ndim - dim - 1))
    everywhere = np.broadcast_to(places, source.shape)
    reduce_into(target, everywhere, source, dim=dim, reduce=reduce, include_self=include_self)


def _everywhere(index: Tensor, source: Tensor, dim: int) -> Tensor:
    """The place of each slice, at each of its elements."""
    if source.dim() == 0:
        return index.reshape(())
    return index.reshape(-1, *[1] * (source.dim() - dim - 1)).expand_as(source).long()


INDEX_REDUCE = primitive(
    "index_reduce",
    "indexed",
    on_copy(_index_reduce),
    dict(
        input=lambda g, input, index, source, out, dim, reduce, include_self: input_gradient(
            g, input, _everywhere(index, source, dim), source, out, dim, reduce, include_self
        ),
        source=lambda g, input, index, source, out, dim, reduce, include_self: source_gradient(
            g, input, _everywhere(index, source, dim), source, out, dim, reduce, include_self
        ),
    ),
    inputs=("input", "index", "source"),
    update=_index_reduce,
)


def _samples() -> list[Sample]:
    x, rows = T((3, 4), distinct=True), T((), "int64", values=[2, 0, 2])
    found = []
    for how in REDUCTIONS:
        for include in (True, False):
            given = {"include_self": include}
            found.append(Sample([x, 0, rows, T((3, 4), distinct=True), how], given))
            found.append(Sample([T((3, 4), "int64"), 0, rows, T((3, 4), "int64"), how], given))
    found += [
        Sample([T((2, 3, 2)), 1, T((), "int32", values=[1, 1]), T((2, 2, 2)), "mean"]),
        Sample([T(()), 0, T((), "int64", values=0), T(()), "prod"]),
        Sample([x, -1, T((0,), "int64"), T((3, 0)), "amax"]),
        Sample([T(values=[1.0, 2.0]), 0, T((), "int64", values=[0, 0]), T(values=[0.0, 3.0]), "prod"]),
        Sample([T(values=[2.0, 2.0]), 0, T((), "int64", values=[0, 0]), T(values=[2.0, 1.0]), "amax"]),
    ]
    same, other = T((3, 4)), T((), "int64", values=[2, 0])
    refused: list[tuple[Any, ...]] = [
        (0, rows, same, "sum"),
        (0, other, same, "prod"),
        (0, T((), "int64", values=[0, 1, 3]), same, "prod"),
        (0, T((), "int64", values=[0, 1, -1]), same, "prod"),
        (0, T((3,)), same, "prod"),
        (0, T((3, 1), "int64", low=0, high=2), same, "prod"),
        (0, rows, T((3, 4), "float64"), "prod"),
        (0, rows, T((3, 3)), "prod"),
        (2, rows, same, "prod"),
        (0, rows, 1.0, "prod"),
    ]
    return found + [Sample([x, *each], raises=True) for each in refused]


@public(INDEX_REDUCE, samples=_samples, inplace=True)
@numpy_names
def index_reduce(
    input: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
    out: Any = None,
) -> Tensor:
    """`input` with the slices of `source` combined into those that a vector names, repeated ones included.

    Args:
        input: what is combined into.
        dim: the dimension that `index` counts along.
        index: a vector of int64 or int32, as long as `source` is in that dimension.
        source: as `input` in type, and in shape but for that dimension.
        reduce: "prod", "mean", "amax" or "amin".
        include_self: whether the elements of `input` count too where others reach them.

    >>> import warnings
    >>> import rushlight as torch
    >>> with warnings.catch_warnings(action="ignore"):  # PyTorch says it may change, and so does this
    ...     torch.ones(2).index_reduce(0, torch.tensor([0, 0]), torch.tensor([2.0, 3.0]), "prod")
    tensor([6., 1.])
    """
    warnings.warn("index_reduce() is in beta and the API may change at any time.", stacklevel=3)
    dim = check_slices("index_reduce", input, dim, index, source)
    if reduce not in REDUCTIONS:
        raise RuntimeError(
            f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}."
        )
    params = {"dim": dim, "reduce": reduce, "include_self": include_self}
    return apply(INDEX_REDUCE, (input, index, source), params, out)
