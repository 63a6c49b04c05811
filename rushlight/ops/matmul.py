"""Contractions: products of matrices, of batches of them, and of matrices and vectors.

All run on NumPy's BLAS. `linear` is one op of its own, since it is what networks are made of: ``input @
weight.T + bias`` with gradients that never build a transposed copy. Invariant: operands have the same type
(PyTorch does not promote here).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rushlight.dtype import BOOL_NUMPY, F16
from rushlight.ops.arguments import require_tensor
from rushlight.ops.define import TITLES, Op, apply, labelled, write_out
from rushlight.ops.kinds import composite, primitive, public
from rushlight.ops.samples import Sample, T
from rushlight.ops.shapes import broadcast_batch
from rushlight.tensor import Tensor

_TYPE_NAMES = {
    "float32": "float",
    "float64": "double",
    "float16": "c10::Half",
    "int64": "int64_t",
    "int32": "int",
    "int16": "short",
    "int8": "signed char",
    "uint8": "unsigned char",
    "bool": "bool",
}


_LARGE = 8192  # elements of a result; below it, dot costs less a call


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a @ b``; float16 in float32, rounded once."""
    if a.dtype is F16:
        return np.matmul(a.astype(np.float32), b.astype(np.float32)).astype(F16)
    if a.dtype is BOOL_NUMPY and a.size and b.size:
        kernels = {(2, 2): "addmm_impl_cpu_", (2, 1): "addmv_impl_cpu", (1, 1): "dot"}
        kernel = kernels.get((a.ndim, b.ndim), "bmm")
        raise NotImplementedError(f"\"{kernel}\" not implemented for 'Bool'")
    if a.ndim > 2 or b.ndim > 2:
        return np.matmul(a, b)
    if a.ndim == 2 and b.ndim == 2 and a.shape[0] * b.shape[1] > _LARGE and a.flags.forc and b.flags.forc:
        return np.matmul(a, b)  # the same product without filling the result with zeros first, as dot does
    return np.dot(a, b)


def check_types(first: Tensor, second: Tensor) -> None:
    """Refuse operands of different types with PyTorch's sentence."""
    if first._array.dtype is not second._array.dtype and first._array.dtype != second._array.dtype:
        one, two = _TYPE_NAMES[first.dtype.name], _TYPE_NAMES[second.dtype.name]
        raise RuntimeError(f"expected m1 and m2 to have the same dtype, but got: {one} != {two}")


def check_added(input: Tensor, mat1: Tensor, mat2: Tensor) -> None:
    """Refuse what is added to a product of matrices, and the matrices, where they differ in type."""
    for name, each in (("self", input), ("mat1", mat1)):
        if each.dtype != mat2.dtype:
            one, two = TITLES[each.dtype.name], TITLES[mat2.dtype.name]
            raise RuntimeError(f"{name} and mat2 must have the same dtype, but got {one} and {two}")


def _check_sizes(a: Tensor, b: Tensor) -> None:
    n, k = a._array.shape
    rows, m = b._array.shape
    if k != rows:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({n}x{k} and {rows}x{m})")


def _sparse_product(left: Tensor, right: Tensor, out: Any) -> Tensor:
    """A product with a sparse tensor, which has no array to ask for its dimensions."""
    from rushlight.coo import product

    if out is not None:
        raise NotImplementedError("out= is not supported for products with sparse tensors")
    return product(left, right)


def _gemm(input: np.ndarray, mat2: np.ndarray, *, ta: bool, tb: bool) -> np.ndarray:
    return _product(input.T if ta else input, mat2.T if tb else mat2)


def gemm(input: Tensor, mat2: Tensor, ta: bool = False, tb: bool = False, out: Any = None) -> Tensor:
    """``input @ mat2`` with either matrix transposed on the way: what gradients of products need, without a
    copy.
    """
    return apply(MM, (input, mat2), _FLAGS[ta, tb], out)


_FLAGS = {(ta, tb): {"ta": ta, "tb": tb} for ta in (False, True) for tb in (False, True)}

MM = primitive(
    "mm",
    "contract",
    _gemm,
    dict(
        input=lambda g, mat2, ta, tb: gemm(mat2, g, tb, True) if ta else gemm(g, mat2, False, not tb),
        mat2=lambda g, input, ta, tb: gemm(g, input, True, ta) if tb else gemm(input, g, not ta, False),
    ),
)


@public(
    MM,
    samples=lambda: [
        Sample([T((2, 3)), T((3, 4))]),
        Sample([T((0, 3)), T((3, 2))]),
        Sample([T((2, 0)), T((0, 2))]),
        Sample([T((2, 3), "int64"), T((3, 2), "int64")]),
    ],
)
def mm(input: Tensor, mat2: Tensor, *, out: Any = None) -> Tensor:
    """The product of two matrices.

    >>> import rushlight as torch
    >>> torch.mm(torch.tensor([[1, 2]]), torch.tensor([[3], [4]]))
    tensor([[11]])
    """
    require_tensor("mm", "mat2", 2, mat2)
    try:
        a, b = input._array.ndim, mat2._array.ndim
    except NotImplementedError:
        return _sparse_product(input, mat2, out)
    if a != 2:
        raise RuntimeError("self must be a matrix")
    if b != 2:
        raise RuntimeError("mat2 must be a matrix")
    check_types(input, mat2)
    _check_sizes(input, mat2)
    return gemm(input, mat2, out=out)


BMM = primitive(
    "bmm",
    "contract",
    lambda input, mat2: _product(input, mat2),
    dict(
        input=lambda g, mat2: bmm(g, mat2.transpose(1, 2)),
        mat2=lambda g, input: bmm(input.transpose(1, 2), g),
    ),
)


@public(
    BMM,
    samples=lambda: [
        Sample([T((2, 3, 4)), T((2, 4, 5))]),
        Sample([T((0, 3, 4)), T((0, 4, 5))]),
        Sample([T((2, 3, 0)), T((2, 0, 5))]),
        Sample([T((2, 3, 4), "float64"), T((2, 4, 5))], raises=True),
    ],
)
def bmm(input: Tensor, mat2: Tensor, *, out: Any = None) -> Tensor:
    """The products of two batches of matrices, ``(b, n, k)`` and ``(b, k, m)``."""
    require_tensor("bmm", "mat2", 2, mat2)
    if input._array.ndim != 3:
        raise RuntimeError("batch1 must be a 3D tensor")
    if mat2._array.ndim != 3:
        raise RuntimeError("batch2 must be a 3D tensor")
    batch, _, k = input._array.shape
    if mat2._array.shape[:2] != (batch, k):
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{batch}, {k}] but got: "
            f"[{mat2._array.shape[0]}, {mat2._array.shape[1]}]."
        )
    if input._array.dtype != mat2._array.dtype:
        one, two = TITLES[input.dtype.name], TITLES[mat2.dtype.name]
        raise RuntimeError(f"expected scalar type {one} but found {two}")
    return apply(BMM, (input, mat2), out=out)


MV = primitive(
    "mv",
    "contract",
    lambda input, vec: _product(input, vec),
    dict(input=lambda g, vec: outer(g, vec), vec=lambda g, input: mv(input.t(), g)),
)


@public(
    MV,
    samples=lambda: [
        Sample([T((2, 3)), T((3,))]),
        Sample([T((0, 3)), T((3,))]),
        Sample([T((2, 3)), T((3,), "int64")], raises=True),
    ],
)
def mv(input: Tensor, vec: Tensor, *, out: Any = None) -> Tensor:
    """The product of a matrix and a vector."""
    require_tensor("mv", "vec", 2, vec)
    try:
        differ = input._array.dtype != vec._array.dtype
    except NotImplementedError:
        return _sparse_product(input, vec, out)
    if input._array.ndim != 2 or vec._array.ndim != 1:
        raise RuntimeError(
            f"vector + matrix @ vector expected, got {min(1, vec._array.ndim)}, {input._array.ndim}, "
            f"{vec._array.ndim}"
        )
    if input._array.shape[1] != vec._array.shape[0]:
        n, k = input._array.shape
        raise RuntimeError(f"size mismatch, got input ({n}), mat ({n}x{k}), vec ({vec._array.shape[0]})")
    if differ:
        one, two = TITLES[vec.dtype.name], TITLES[input.dtype.name]
        raise RuntimeError(
            f"addmv input tensors must have the same dtype, but got {one}, {two}, and {one}: types of the "
            "vector, matrix and vector"
        )
    return apply(MV, (input, vec), out=out)


DOT = primitive(
    "dot",
    "contract",
    lambda input, tensor: _product(input, tensor),
    dict(input=lambda g, tensor: g * tensor, tensor=lambda g, input: g * input),
)


@public(
    DOT,
    samples=lambda: [
        Sample([T((4,)), T((4,))]),
        Sample([T((0,)), T((0,))]),
        Sample([T((4,), "int64"), T((4,), "int64")]),
    ],
)
def dot(input: Tensor, tensor: Tensor, *, out: Any = None) -> Tensor:
    """The inner product of two vectors."""
    require_tensor("dot", "input", 1, input)
    require_tensor("dot", "tensor", 2, tensor)
    if input._array.ndim != 1 or tensor._array.ndim != 1:
        raise RuntimeError(
            f"1D tensors expected, but got {input._array.ndim}D and {tensor._array.ndim}D tensors"
        )
    if input._array.dtype != tensor._array.dtype:
        one, two = TITLES[input.dtype.name], TITLES[tensor.dtype.name]
        raise RuntimeError(f"dot : expected both vectors to have same dtype, but found {one} and {two}")
    if input._array.shape != tensor._array.shape:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{input._array.shape[0]}] and src "
            f"[{tensor._array.shape[0]}] to have the "
            f"same number of elements, but got {input._array.shape[0]} and {tensor._array.shape[0]} "
            "elements respectively"
        )
    return apply(DOT, (input, tensor), out=out)


@composite(
    samples=lambda: [
        Sample([T((3,)), T((4,))]),
        Sample([T((0,)), T((2,))]),
        Sample([T((2,), "int64"), T((3,))]),
    ]
)
def outer(input: Tensor, vec2: Tensor, *, out: Any = None) -> Tensor:
    """The outer product of two vectors."""
    for argument, each in (("self", input), ("vec2", vec2)):
        if each._array.ndim != 1:
            raise RuntimeError(f"outer: Expected 1-D argument {argument}, but got {each._array.ndim}-D")
    result = input.unsqueeze(1) * vec2
    return result if out is None else write_out(out, result)


# -- linear layers -------------------------------------------------------------------------------------------

LINEAR = primitive(
    "linear",
    "contract",
    lambda input, weight, bias: _linear(input, weight, bias),
    dict(
        input=lambda g, weight: gemm(g, weight),
        weight=lambda g, input: gemm(g, input, True),
        bias=lambda g: g,
    ),
    node_name="AddmmBackward0",
)


def _linear(input: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    result = _product(input, weight.T)
    return np.add(result, bias, out=result)


def _linear_samples() -> list[Sample]:
    found = [
        Sample([T((2, 3)), T((4, 3)), T((4,))]),
        Sample([T((2, 3)), T((4, 3))]),
        Sample([T((3,)), T((4, 3)), T((4,))]),
    ]
    for shape in ((2, 3), (3,), (2, 5, 3)):
        wrong = [T((4,), "int64"), T((4,), "bool"), T((4,), "float64")]
        found += [Sample([T(shape), T((4, 3)), bias], raises=True) for bias in wrong]
    found += [
        Sample([T((2, 3)), T((4, 3), "float64"), T((4,))], raises=True),
        Sample([T((2, 3)), T((4, 3), "float64")], raises=True),
        Sample([T((2, 5, 3)), T((4, 3)), T((4,))]),
        Sample([T((2, 5, 3)), T((4, 3))]),
        Sample([T((0, 3)), T((4, 3)), T((4,))]),
    ]
    spread: list[tuple[int, ...]] = [(1,), (), (2, 4), (2, 1), (1, 4)]
    found += [Sample([T((2, 3)), T((4, 3)), T(bias)]) for bias in spread]
    refused: list[tuple[int, ...]] = [(3,), (3, 4), (1, 2, 4)]
    found += [Sample([T((2, 3)), T((4, 3)), T(bias)], raises=True) for bias in refused]
    spread = [(1,), (), (5, 4), (2, 5, 4), (1, 4)]
    found += [Sample([T((2, 5, 3)), T((4, 3)), T(bias)]) for bias in spread]
    found.append(Sample([T((3,)), T((4, 3)), T((1,))]))
    found.append(Sample([T((3,)), T((3,)), T(())]))
    found += [Sample([T((3,)), T((3,)), T(bias)], raises=True) for bias in ((1,), (2, 4))]
    return [*found, Sample([T((3,)), T((4, 3))]), Sample([T((2, 3)), T((1, 3)), T((1,))])]


@composite(samples=_linear_samples, method=False, name="nn.functional.linear")
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None, *, out: Any = None) -> Tensor:
    """``input @ weight.T + bias``: shapes ``(..., in)``, ``(out, in)`` and ``(out)``.

    >>> import rushlight as torch
    >>> torch.nn.functional.linear(torch.ones(1, 2), torch.tensor([[1.0, 2.0]]), torch.tensor([0.5]))
    tensor([[3.5000]])
    """
    if out is not None:
        return write_out(out, linear(input, weight, bias))
    if input.__class__ is not Tensor:
        require_tensor("linear", "input", 1, input)
    if bias is not None and not isinstance(bias, Tensor):
        require_tensor("linear", "bias", 3, bias)
    if weight._array.ndim == 1:
        if bias is not None and (input._array.ndim == 2 or _is_line(bias)):
            raise RuntimeError("mat2 must be a matrix, got 1-D tensor")
        result = matmul(input, weight)
        return result if bias is None else _plus(result, bias)
    array, matrix = input._array, weight._array
    if array.ndim != 2:
        if bias is None:
            return matmul(input, weight.t())
        if array.ndim == 0:
            raise RuntimeError("both arguments to linear need to be at least 1D, but they are 0D and 2D")
        if not array.flags.c_contiguous or not _is_line(bias):
            return _plus(matmul(input, weight.t()), bias)
        flat = linear(input.reshape(math.prod(array.shape[:-1]), array.shape[-1]), weight, bias)
        return flat.view(*array.shape[:-1], matrix.shape[0])
    if bias is None:
        check_types(input, weight)
    elif array.dtype is not matrix.dtype or bias._array.dtype is not matrix.dtype:
        check_added(bias, input, weight)
    if array.shape[1] != matrix.shape[1]:
        (n, k), (m, rows) = array.shape, matrix.shape
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({n}x{k} and {rows}x{m})")
    if bias is None:
        return gemm(input, weight, False, True)
    if bias._array.shape != (matrix.shape[0],):
        spread = bias.expand(array.shape[0], matrix.shape[0])
        return labelled(gemm(input, weight, False, True) + spread, LINEAR.node_name)
    return apply(LINEAR, (input, weight, bias))


def _is_line(bias: Tensor) -> bool:
    """Whether PyTorch adds this bias to a matrix; others are added to the result as it is."""
    return bias._array.ndim == 1 or sum(n != 1 for n in bias._array.shape) == 1


def _plus(result: Tensor, bias: Tensor) -> Tensor:
    """A product and a bias that may be broadcast, but not make more of it."""
    whole = np.broadcast_shapes(result._array.shape, bias._array.shape)
    if whole != result._array.shape:
        raise RuntimeError(
            f"output with shape {list(result._array.shape)} doesn't match the broadcast shape {list(whole)}"
        )
    return result + bias


def regrouping(node_name: str) -> Op:
    """Another shape for a product that nobody else has seen yet, so that it need not count as a view."""
    rules = dict(input=lambda g, input_shape: g.reshape(input_shape))
    op = primitive(
        "_unsafe_view", "view", lambda input, *, shape: input.reshape(shape), rules, node_name=node_name
    )
    op.returns_view = False
    return op


UNSAFE_VIEW, UNSAFE_SQUEEZE = regrouping("UnsafeViewBackward0"), regrouping("SqueezeBackward4")


# -- products by shape ---------------------------------------------------------------------------------------


def _matmul_samples() -> list[Sample]:
    shapes = [
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 2)),
        ((2, 3), (3, 4)),
        ((5, 2, 3), (3, 4)),
        ((2, 3), (5, 3, 4)),
    ]
    shapes += [
        ((5, 2, 3), (5, 3, 4)),
        ((6, 1, 2, 3), (5, 3, 4)),
        ((5, 2, 3), (3,)),
        ((3,), (5, 3, 4)),
        ((0, 3), (3, 2)),
    ]
    return [Sample([T(a), T(b)]) for a, b in shapes]


@composite(samples=_matmul_samples)
def matmul(input: Tensor, other: Tensor, *, out: Any = None) -> Tensor:
    """The matrix product, as ``@``: of vectors, matrices and (broadcast) batches of matrices.

    >>> import rushlight as torch
    >>> torch.matmul(torch.ones(2, 3), torch.ones(3)).shape
    torch.Size([2])
    """
    if not isinstance(input, Tensor):
        require_tensor("matmul", "input", 1, input)
    require_tensor("matmul", "other", 2, other)
    try:
        a, b = input._array.ndim, other._array.ndim
    except NotImplementedError:
        return _sparse_product(input, other, out)
    if a == 0 or b == 0:
        raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {a}D and {b}D")
    if a == 2 and b == 2:
        return mm(input, other, out=out)
    if a == 1 and b == 1:
        return dot(input, other, out=out)
    if a == 2 and b == 1:
        return mv(input, other, out=out)
    result = _batched(input, other, a, b)
    return result if out is None else write_out(out, result)


def _batched(input: Tensor, other: Tensor, a: int, b: int) -> Tensor:
    """Products that come down to one `mm` (when one side is shared by the batch) or one `bmm`."""
    left, right = input._array.shape, other._array.shape
    if a == 1 and b == 2:
        product = mm(input.unsqueeze(0), other)
        return apply(UNSAFE_SQUEEZE, (product,), {"shape": right[1:]})
    if a == 1:
        shape = (*right[:-2], right[-1])
        return apply(UNSAFE_VIEW, (_batched(input.unsqueeze(0), other, 2, b),), {"shape": shape})
    if b == 1:
        return apply(UNSAFE_VIEW, (_batched(input, other.unsqueeze(1), a, 2),), {"shape": left[:-1]})
    if b == 2:
        flat = mm(input.reshape(math.prod(left[:-1]), left[-1]), other)
        return apply(UNSAFE_VIEW, (flat,), {"shape": (*left[:-1], right[-1])})
    if a == 2:
        return _batched(other.transpose(-1, -2), input.t(), b, 2).transpose(-1, -2).clone()
    batch = broadcast_batch(left[:-2], right[:-2])
    count = math.prod(batch)
    first = input.expand(*batch, *left[-2:]).reshape(count, *left[-2:])
    second = other.expand(*batch, *right[-2:]).reshape(count, *right[-2:])
    return apply(UNSAFE_VIEW, (bmm(first, second),), {"shape": (*batch, left[-2], right[-1])})


# -- operators -----------------------------------------------------------------------------------------------


def _at(self: Tensor, other: Any) -> Any:
    """``self @ other``."""
    return matmul(self, other) if isinstance(other, Tensor) else NotImplemented


def _at_reversed(self: Tensor, other: Any) -> Any:
    """``other @ self``."""
    return matmul(other, self) if isinstance(other, Tensor) else NotImplemented


METHODS = {"__matmul__": _at, "__rmatmul__": _at_reversed}
