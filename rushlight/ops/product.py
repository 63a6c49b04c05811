"""Products of elements along a dimension or over all.

Invariant: the gradient is right where elements are zero, too, and a recorded step never takes a way that
depends on the values it happened to see.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.autograd.mode import RECORDING, state
from rushlight.dtype import F16
from rushlight.ops.arguments import numpy_names, require_tensor
from rushlight.ops.define import apply
from rushlight.ops.dims import check_keepdim, dims_of, refuse_keepdim
from rushlight.ops.join import cat
from rushlight.ops.kinds import primitive, public
from rushlight.ops.reduce import accumulate_type, like_input
from rushlight.ops.samples import Named, Sample, T
from rushlight.ops.scan import cumprod
from rushlight.tensor import Tensor


def _prod(input: np.ndarray, *, dim: tuple[int, ...], keepdim: bool, dtype: np.dtype) -> Any:
    if dtype is F16:
        return np.multiply.reduce(input, dim, np.float32, None, keepdim).astype(dtype)
    return np.multiply.reduce(input, dim, dtype, None, keepdim)


def _prod_rule(g: Tensor, input: Tensor, out: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    shape = input._array.shape
    if not shape:
        return g
    g = like_input(g, shape, dim, keepdim)
    if not state.mode & RECORDING and input._array.all():
        return g * (like_input(out, shape, dim, keepdim) / input)
    if len(dim) == 1:
        return g * _products_of_others(input, dim[0])
    return g * _products_of_others(input.reshape(-1), 0).reshape(shape)


def _products_of_others(input: Tensor, dim: int) -> Tensor:
    """For each element the product of all others along `dim`, without a division."""
    length = input._array.shape[dim]
    if length == 0:
        return input
    one = input.narrow(dim, 0, 1).detach() * 0 + 1
    before = cat([one, cumprod(input.narrow(dim, 0, length - 1), dim)], dim)
    backwards = input.narrow(dim, 1, length - 1).flip(dim)
    return before * cat([one, cumprod(backwards, dim)], dim).flip(dim)


PROD_ALL = primitive("prod", "fold", _prod, dict(input=_prod_rule))
PROD = primitive("prod", "fold", _prod, dict(input=_prod_rule), node_name="ProdBackward1")


def _prod_samples() -> list[Sample]:
    zeros = T(values=[[1.0, 0.0, 3.0], [0.0, 0.0, 2.0]])
    found = [Sample([T((3, 4))]), Sample([T((2, 3, 4)), 1]), Sample([T((2, 3)), -1, True]), Sample([T(())])]
    found += [
        Sample([zeros, 1]),
        Sample([zeros]),
        Sample([T(values=[2.0, 0.0, 3.0])]),
        Sample([T(values=[0.0])]),
    ]
    found += [
        Sample([T((0, 3)), 0]),
        Sample([T((0, 3)), 1]),
        Sample([T((0,))]),
        Sample([T((3, 4), "float16"), 0]),
    ]
    found += [Sample([T((3, 4), kind), 0]) for kind in ("int64", "uint8", "bool", "float64")]
    found += [Sample([T((4,), "int64")], {"dtype": Named("float32")}), Sample([T(()), 0])]
    return [*found, Sample([T((3,)), 1], raises=True), Sample([T((3, 4)), (0, 1)], raises=True)]


@public(PROD, samples=_prod_samples)
@numpy_names
def prod(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Tensor:
    """The product of all elements, or along one dimension.

    >>> import rushlight as torch
    >>> torch.tensor([2, 3, 4]).prod()
    tensor(24)
    """
    require_tensor("prod", "input", 1, input)
    check_keepdim("prod", keepdim)
    if dim is None:
        refuse_keepdim("prod", keepdim)
    if isinstance(dim, (tuple, list)):
        raise TypeError(
            f"prod() received an invalid combination of arguments - got (Tensor, {type(dim).__name__}), but "
            "expected one of: (Tensor input), (Tensor input, int dim, bool keepdim)"
        )
    array = input._array
    params = {
        "dim": dims_of(dim, array.ndim, "prod"),
        "keepdim": keepdim,
        "dtype": accumulate_type("prod", dtype, array, out),
    }
    return apply(PROD_ALL if dim is None else PROD, (input,), params, out)
