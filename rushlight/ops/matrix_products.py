"""Products of vectors and matrices beyond `matmul`: `cross`, `kron`, `vecdot`, Vandermonde matrices, `pdist`.

The cross product is a primitive; the others are compositions of ops. Invariant: dimensions of length 3 are
found, and checked, before anything is computed.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from rushlight.ops.arguments import array_of, require_tensor
from rushlight.ops.define import TITLES, apply, labelled, write_out
from rushlight.ops.join import cat
from rushlight.ops.kinds import composite, primitive, public
from rushlight.ops.matrices import multi_dot
from rushlight.ops.norm import vector_norm
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor, new_tensor, normal_dim

# -- cross products ------------------------------------------------------------------------------------------


def _cross(input: np.ndarray, other: np.ndarray, *, dim: int) -> np.ndarray:
    a, b = np.moveaxis(input, dim, 0), np.moveaxis(other, dim, 0)
    parts = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    return np.stack(parts, dim)


CROSS = primitive(
    "linalg_cross",
    "opaque",
    _cross,
    dict(
        input=lambda g, other, dim: apply(CROSS, (other, g), {"dim": dim}),
        other=lambda g, input, dim: apply(CROSS, (g, input), {"dim": dim}),
    ),
)


@public(
    CROSS,
    samples=lambda: [
        Sample([T((4, 3)), T((4, 3))]),
        Sample([T((2, 3, 4)), T((1, 3, 4))], {"dim": 1}),
        Sample([T((3,), "int64"), T((3,), "int64")]),
        Sample([T((3,)), T((2, 3))], raises=True),
        Sample([T((2, 4)), T((2, 4))], raises=True),
        Sample([T((2, 3)), T((4, 3))], raises=True),
    ],
    method=False,
    name="linalg.cross",
)
def linalg_cross(input: Tensor, other: Tensor, *, dim: int = -1, out: Any = None) -> Tensor:
    """The cross product of vectors of three elements, which lie along `dim`.

    >>> import rushlight as torch
    >>> torch.linalg.cross(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]))
    tensor([0., 0., 1.])
    """
    left = array_of("linalg_cross", input)
    require_tensor("linalg_cross", "other", 2, other)
    right = other._array
    if left.ndim != right.ndim:
        raise RuntimeError(
            "linalg.cross: inputs must have the same number of dimensions. "
            f"The shapes are {list(left.shape)} and {list(right.shape)}."
        )
    dim = normal_dim(dim, left.ndim)
    if left.shape[dim] != 3 or right.shape[dim] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. "
            f"Got {left.shape[dim]} and {right.shape[dim]}"
        )
    if left.dtype != right.dtype:
        names = TITLES[input.dtype.name], TITLES[other.dtype.name]
        raise RuntimeError(f"expected scalar type {names[0]} but found {names[1]}")
    return apply(CROSS, (input, other), {"dim": dim}, out)


@composite(
    samples=lambda: [
        Sample([T((4, 3)), T((4, 3)), 1]),
        Sample([T((2, 3, 3)), T((2, 3, 3))]),
        Sample([T((2, 2)), T((2, 2))], raises=True),
    ]
)
def cross(input: Tensor, other: Tensor, dim: int | None = None, *, out: Any = None) -> Tensor:
    """The cross product along `dim`; by default (deprecated) along the first dimension of length 3.

    >>> import rushlight as torch
    >>> torch.cross(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0, 1.0, 0.0]]), dim=1)
    tensor([[0., 0., 1.]])
    """
    if dim is None:
        warnings.warn(
            "Using torch.cross without specifying the dim arg is deprecated.\nPlease either pass the dim "
            "explicitly or simply use torch.linalg.cross.\nThe default value of dim will change to agree "
            "with that of linalg.cross in a future release.",
            stacklevel=2,
        )
        shape = array_of("cross", input).shape
        if 3 not in shape:
            raise RuntimeError(f"no dimension of size 3 in input: its shape is {list(shape)}")
        dim = shape.index(3)
    return linalg_cross(input, other, dim=dim, out=out)


# -- other products ------------------------------------------------------------------------------------------


@composite(
    samples=lambda: [
        Sample([T((4, 3)), T((4, 3))]),
        Sample([T((2, 3)), T((3,))], {"dim": 1}),
        Sample([T(()), T(())]),
        Sample([T((3,), "int64"), T((3,), "int64")], raises=True),
    ],
    method=False,
    name="linalg.vecdot",
)
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1, out: Any = None) -> Tensor:
    """The dot products of the vectors along `dim`; the other dimensions broadcast.

    >>> import rushlight as torch
    >>> torch.linalg.vecdot(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1.0, 10.0]))
    tensor([21., 43.])
    """
    if array_of("linalg_vecdot", x).dtype.kind != "f":
        raise RuntimeError(
            f"linalg.vecdot: Expected a floating point or complex tensor as input. Got {TITLES[x.dtype.name]}"
        )
    require_tensor("linalg_vecdot", "y", 2, y)
    return (x * y).sum(dim, out=out)


@composite(
    samples=lambda: [
        Sample([T((2, 3)), T((4, 2))]),
        Sample([T((2,)), T((3, 2))]),
        Sample([T((2, 2, 3)), T((2,))]),
        Sample([T((2, 3)), T(())]),
        Sample([T((2,), "int64"), T((2, 2))]),
        Sample([T((0, 2)), T((3, 2))]),
    ]
)
def kron(input: Tensor, other: Tensor, *, out: Any = None) -> Tensor:
    """The Kronecker product: every element of `input` times the whole of `other`.

    >>> import rushlight as torch
    >>> torch.kron(torch.tensor([1, 10]), torch.tensor([1, 2]))
    tensor([ 1,  2, 10, 20])
    """
    left, right = array_of("kron", input).shape, array_of("kron", other).shape
    ndim = max(len(left), len(right))
    left, right = (1,) * (ndim - len(left)) + left, (1,) * (ndim - len(right)) + right
    spaced = [length for each in left for length in (each, 1)]
    between = [length for each in right for length in (1, each)]
    product = input.reshape(spaced) * other.reshape(between)
    result = product.reshape([a * b for a, b in zip(left, right, strict=True)])
    return labelled(result, "UnsafeViewBackward0") if out is None else write_out(out, result)


def chain_matmul(*matrices: Tensor, out: Any = None) -> Tensor:
    """The product of matrices, from left to right; `linalg.multi_dot` is its newer name."""
    warnings.warn(
        "torch.chain_matmul is deprecated and will be removed in a future PyTorch release. Use "
        "torch.linalg.multi_dot instead, which accepts a list of two or more tensors rather than multiple "
        "parameters.",
        stacklevel=2,
    )
    if not matrices:
        raise RuntimeError("chain_matmul(): Expected one or more matrices")
    for each in matrices:
        if array_of("chain_matmul", each).ndim != 2:
            raise RuntimeError(f"Tensor dimension is {each.dim()}, expected 2 instead.")
    if len(matrices) == 1:
        return matrices[0].clone() if out is None else write_out(out, matrices[0])
    return multi_dot(matrices, out=out)


composite(
    samples=lambda: [
        Sample([T((2, 3)), T((3, 4)), T((4, 2))]),
        Sample([T((2, 3))]),
        Sample([], raises=True),
    ],
    method=False,
)(chain_matmul)


# -- powers --------------------------------------------------------------------------------------------------


@composite(
    samples=lambda: [
        Sample([T((4,))]),
        Sample([T((2, 3))], {"N": 4}),
        Sample([T((3,), "int64")]),
        Sample([T((3,))], {"N": 1}, raises=True),
    ],
    method=False,
    name="linalg.vander",
)
def linalg_vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """Rows of rising powers of each element, from the 0th on: ``(..., n)`` to ``(..., n, N)``.

    >>> import rushlight as torch
    >>> torch.linalg.vander(torch.tensor([2, 3, 4]))
    tensor([[ 1,  2,  4],
            [ 1,  3,  9],
            [ 1,  4, 16]])
    """
    shape = array_of("linalg_vander", x).shape
    count = (shape[-1] if shape else 1) if N is None else N
    if count <= 1:
        raise RuntimeError("N must be greater than 1.")
    return _rising_powers(x, count)


def _rising_powers(x: Tensor, count: int) -> Tensor:
    shape = x.shape or (1,)
    powers = x.unsqueeze(-1).expand(*shape, count - 1).cumprod(-1)
    return cat([powers.new_ones((*shape, 1)), powers], -1)


@composite(
    samples=lambda: [
        Sample([T((4,))]),
        Sample([T((3,)), 2]),
        Sample([T((3,), "int64"), 4, True]),
        Sample([T((3,)), 0]),
        Sample([T((3,)), 1], grads=False),
        Sample([T((3,)), -1], raises=True),
        Sample([T((2, 3))], raises=True),
    ],
    method=False,
)
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Rows of powers of each element of a vector, falling to the 0th unless `increasing`.

    >>> import rushlight as torch
    >>> torch.vander(torch.tensor([2, 3]), 3)
    tensor([[4, 2, 1],
            [9, 3, 1]])
    """
    if array_of("vander", x).ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    count = x.shape[0] if N is None else N
    if count < 0:
        raise RuntimeError("N must be non-negative.")
    result = _rising_powers(x, count) if count > 1 else x.new_ones((x.shape[0], count))
    return labelled(result, "CopySlices") if increasing else result.flip(-1)


# -- distances -----------------------------------------------------------------------------------------------


def _pdist_samples() -> list[Sample]:
    rows = [[0.3, -1.2, 0.7], [1.1, 0.4, -0.2], [-0.5, 0.9, 1.6], [0.8, -0.3, 0.1]]
    kinds = [2.0, 1.0, 3.0, math.inf]
    why = "PyTorch has no second derivative"
    found = [Sample([T(values=rows), p], second=False, why=why) for p in kinds]
    found += [Sample([T(values=rows, dtype="float64")], second=False, why=why)]
    found += [Sample([T((1, 3))], grads=False), Sample([T((3, 2)), -1.0], raises=True)]
    return [*found, Sample([T((3,))], raises=True), Sample([T((3, 2), "int64")], raises=True)]


@composite(samples=_pdist_samples, method=False)
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-distances between all pairs of rows, the first with the second, with the third, and so on.

    >>> import rushlight as torch
    >>> torch.pdist(torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]))
    tensor([5.0000, 1.0000, 4.2426])
    """
    array = array_of("pdist", input)
    if array.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {array.ndim}D")
    if array.dtype.kind != "f":
        raise RuntimeError("pdist only supports floating-point dtypes")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    first, second = (new_tensor(each) for each in np.triu_indices(array.shape[0], 1))
    return labelled(vector_norm(input[first] - input[second], p, -1), "PdistBackward0")
