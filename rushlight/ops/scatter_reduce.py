"""`scatter_reduce`: elements combined where an index points, by sum, product, mean or extreme.

Invariant: where several elements reach one extreme, its gradient is shared equally among them, as in PyTorch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.ops.arguments import numpy_names, require_tensor
from rushlight.ops.define import Op, apply
from rushlight.ops.gather import add_into, check_scatter, on_copy, places_along, with_dims
from rushlight.ops.kinds import primitive, public
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor

REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")
_UFUNCS = {"prod": np.multiply, "amax": np.maximum, "amin": np.minimum}


def _neutral(reduce: str, kind: np.dtype) -> Any:
    """The value that does not change what it is combined with."""
    if reduce in ("sum", "mean", "prod"):
        return 1 if reduce == "prod" else 0
    if kind.kind == "f":
        return -np.inf if reduce == "amax" else np.inf
    if kind.kind == "b":
        return reduce == "amin"
    limits = np.iinfo(kind)
    return limits.min if reduce == "amax" else limits.max


def reduce_into(
    target: np.ndarray, index: np.ndarray, source: np.ndarray, *, dim: int, reduce: str, include_self: bool
) -> None:
    """Combine `source` into `target` where `index` points, in place."""
    target, index, source = with_dims(target), with_dims(index), with_dims(source)
    key = places_along(index, dim, target.shape[dim])
    if not include_self:
        target[key] = _neutral(reduce, target.dtype)
    if reduce in _UFUNCS:
        _UFUNCS[reduce].at(target, key, source)
        return
    add_into(target, index, source, dim=dim)
    if reduce == "mean":
        counts = np.full(target.shape, int(include_self))
        np.add.at(counts, key, 1)
        np.maximum(counts, 1, out=counts)
        divide = np.true_divide if target.dtype.kind == "f" else np.floor_divide
        divide(target, counts, out=target, casting="unsafe")


def input_gradient(
    g: Tensor,
    input: Tensor,
    index: Tensor,
    src: Tensor,
    out: Tensor,
    dim: int,
    reduce: str,
    include_self: bool,
) -> Tensor:
    """What the gradient of the result is for `input`."""
    if reduce == "prod":
        filled = input.masked_fill(input == 0, 1)
        g = g * filled.scatter_reduce(dim, index, src, "prod", include_self=include_self) / filled
    elif reduce == "mean":
        g = g / _counts(input, index, src, dim, include_self)
    elif reduce != "sum":
        g = input.eq(out).to(input.dtype) * _shares(g, input, index, src, out, dim)
    return g if include_self else g.scatter(dim, index, 0)


def source_gradient(
    g: Tensor,
    input: Tensor,
    index: Tensor,
    src: Tensor,
    out: Tensor,
    dim: int,
    reduce: str,
    include_self: bool,
) -> Tensor:
    """What the gradient of the result is for `src`."""
    if reduce == "sum":
        return g.gather(dim, index)
    if reduce == "mean":
        return (g / _counts(input, index, src, dim, include_self)).gather(dim, index)
    if reduce != "prod":
        chosen = src.eq(out.gather(dim, index)).to(src.dtype)
        return chosen * _shares(g, input, index, src, out, dim).gather(dim, index)
    zero = src.eq(0)
    zeros_met = input.new_zeros(input.shape).scatter_add(dim, index, zero.to(src.dtype)).gather(dim, index)
    alone = zero & zeros_met.eq(1)  # a single zero: the product of the others is its gradient
    others = input.scatter_reduce(dim, index, src.masked_fill(alone, 1), "prod", include_self=include_self)
    usual = (g * out).gather(dim, index) / src.masked_fill(zero, 1)
    return usual.masked_fill(alone, 0) + (g * others).gather(dim, index).masked_fill(~alone, 0)


def _counts(input: Tensor, index: Tensor, src: Tensor, dim: int, include_self: bool) -> Tensor:
    """How many elements were averaged at each place."""
    start = input.new_full(input.shape, int(include_self))
    return start.scatter_add(dim, index, src.new_full(src.shape, 1)).clamp(min=1)


def _shares(g: Tensor, input: Tensor, index: Tensor, src: Tensor, out: Tensor, dim: int) -> Tensor:
    """The gradient of an extreme, divided by how many elements are equal to it."""
    winners = src.eq(out.gather(dim, index)).to(src.dtype)
    return g / input.eq(out).to(input.dtype).scatter_add(dim, index, winners)


SCATTER_REDUCE: Op = primitive(
    "scatter_reduce",
    "indexed",
    on_copy(reduce_into),
    dict(
        input=lambda g, input, index, src, out, dim, reduce, include_self: input_gradient(
            g, input, index, src, out, dim, reduce, include_self
        ),
        src=lambda g, input, index, src, out, dim, reduce, include_self: source_gradient(
            g, input, index, src, out, dim, reduce, include_self
        ),
    ),
    inputs=("input", "index", "src"),
    update=reduce_into,
    overlap="any",
)


def _samples() -> list[Sample]:
    x, rows = T((3, 4)), T((), "int64", values=[[0, 0, 2, 0], [0, 1, 2, 2]])
    found = []
    for how in REDUCTIONS:
        for include in (True, False):
            found.append(Sample([x, 0, rows, T((2, 4)), how], {"include_self": include}))
            found.append(
                Sample([T((3, 4), "int64"), 0, rows, T((2, 4), "int64"), how], {"include_self": include})
            )
    found.append(
        Sample(
            [
                T((), values=[1.0, 2.0], dtype="float32"),
                0,
                T((), "int64", values=[0, 0]),
                T((), "float32", values=[0.0, 3.0]),
                "prod",
            ]
        )
    )
    refused = [(rows, T((2, 4)), "add"), (rows, T((2, 4), "int64"), "sum"), (rows, 1.0, "sum")]
    refused.append((T((), "int64", values=[[3]]), T((1, 1)), "sum"))
    return found + [Sample([x, 0, *each], raises=True) for each in refused]


@public(SCATTER_REDUCE, samples=_samples, inplace=True)
@numpy_names
def scatter_reduce(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
    out: Any = None,
) -> Tensor:
    """`input` with the elements of `src` combined into it where `index` points along `dim`.

    Args:
        input: what is combined into.
        dim: the dimension that `index` counts along.
        index: int64, of as many dimensions as `input`.
        src: elements, at least as many in each dimension as `index` has.
        reduce: "sum", "prod", "mean", "amax" or "amin".
        include_self: whether the elements of `input` count too where others reach them.

    >>> import rushlight as torch
    >>> i = torch.tensor([0, 0, 1])
    >>> torch.zeros(2).scatter_reduce(0, i, torch.tensor([1.0, 5.0, -2.0]), "amax")
    tensor([5., 0.])
    """
    require_tensor("scatter_reduce", "src", 4, src)
    reduce = {"max": "amax", "min": "amin"}.get(reduce, reduce)
    if reduce not in REDUCTIONS:
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    dim, part = check_scatter("scatter_reduce", input, dim, index, src)
    return apply(
        SCATTER_REDUCE,
        (input, index, part),
        {"dim": dim, "reduce": reduce, "include_self": include_self},
        out,
    )
