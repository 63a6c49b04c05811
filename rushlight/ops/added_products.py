"""Products added to something: `addmm`, `addmv`, `addr` and those of batches.

``beta * input + alpha * product``. Invariant: all operands have the same type (PyTorch does not promote here,
`addr` excepted), and the error for those that have not is PyTorch's.
"""

from __future__ import annotations

from typing import Any

from rushlight.ops.define import C_NAMES, INPLACE, TITLES, labelled, write_out
from rushlight.ops.kinds import composite
from rushlight.ops.matmul import bmm, check_added, mm, mv, outer
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor


def _added(product: Any, input: Tensor, beta: Any, alpha: Any, out: Any, name: str) -> Tensor:
    """What `addmm` and its sisters share: ``beta * input + alpha * product``."""
    if alpha != 1:
        product = product * alpha
    if beta != 0:
        spread = input.expand(product._array.shape)
        product = (spread if beta == 1 else spread * beta) + product
    if out is None:
        return labelled(product, name)
    return labelled(input.copy_(product), name) if out is INPLACE else write_out(out, product)


@composite(
    samples=lambda: [
        Sample([T((2, 4)), T((2, 3)), T((3, 4))]),
        Sample([T((4,)), T((2, 3)), T((3, 4))], {"beta": 0.5, "alpha": 2}),
        Sample([T((4,), "int64"), T((2, 3)), T((3, 4))], raises=True),
        Sample([T((4,), "float64"), T((2, 3)), T((3, 4))], {"beta": 0}, raises=True),
        Sample([T((4,)), T((2, 3)), T((3, 4), "float64")], raises=True),
        Sample([T((4,)), T((2, 3), "float64"), T((3, 4))], raises=True),
    ],
    inplace=True,
)
def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Any = None
) -> Tensor:
    """``beta * input + alpha * mat1 @ mat2``."""
    check_added(input, mat1, mat2)
    return _added(mm(mat1, mat2), input, beta, alpha, out, "AddmmBackward0")


@composite(
    samples=lambda: [
        Sample([T((2, 3, 5)), T((2, 3, 4)), T((2, 4, 5))]),
        Sample([T((3, 5)), T((2, 3, 4)), T((2, 4, 5))], {"beta": 0.5}),
        Sample([T((3, 5), "int64"), T((2, 3, 4)), T((2, 4, 5))], raises=True),
        Sample([T((3, 5)), T((2, 3, 4), "float64"), T((2, 4, 5))], raises=True),
    ],
    inplace=True,
)
def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Any = None
) -> Tensor:
    """``beta * input + alpha * batch1 @ batch2`` for batches of matrices."""
    if input.dtype != batch1.dtype:
        kinds = [C_NAMES[each.dtype.name] for each in (input, batch1, batch2)]
        raise RuntimeError(
            f"Input dtypes must be the same, got: input {kinds[0]}, batch1: {kinds[1]}, batch2: {kinds[2]}"
        )
    return _added(bmm(batch1, batch2), input, beta, alpha, out, "BaddbmmBackward0")


@composite(
    samples=lambda: [
        Sample([T((3, 5)), T((2, 3, 4)), T((2, 4, 5))]),
        Sample([T((3, 5), "int64"), T((2, 3, 4)), T((2, 4, 5))], raises=True),
        Sample([T((3, 5)), T((2, 3, 4), "float64"), T((2, 4, 5))], raises=True),
    ],
    inplace=True,
)
def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Any = None
) -> Tensor:
    """``beta * input + alpha * sum(batch1 @ batch2)``, summed over the batch."""
    if batch1._array.ndim == 3 and batch2._array.ndim == 3:
        check_added(input, batch1, batch2)
    return _added(bmm(batch1, batch2).sum(0), input, beta, alpha, out, "AddbmmBackward0")


@composite(
    samples=lambda: [
        Sample([T((2,)), T((2, 3)), T((3,))]),
        Sample([T((2,)), T((2, 3)), T((3,))], {"alpha": 3}),
        Sample([T((2,), "int64"), T((2, 3)), T((3,))], raises=True),
        Sample([T((2,)), T((2, 3), "float64"), T((3,))], raises=True),
    ],
    inplace=True,
)
def addmv(
    input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Any = None
) -> Tensor:
    """``beta * input + alpha * mat @ vec``."""
    kinds = [TITLES[each.dtype.name] for each in (input, mat, vec)]
    if mat._array.ndim == 2 and len({*kinds}) > 1 and mat._array.shape[1:] == vec._array.shape:
        raise RuntimeError(
            f"addmv input tensors must have the same dtype, but got {kinds[0]}, {kinds[1]}, and {kinds[2]}"
        )
    return _added(mv(mat, vec), input, beta, alpha, out, "AddmvBackward0")


@composite(
    samples=lambda: [
        Sample([T((2, 3)), T((2,)), T((3,))]),
        Sample([T((2, 3)), T((2,)), T((3,))], {"beta": 2, "alpha": 3}),
    ],
    inplace=True,
)
def addr(
    input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Any = None
) -> Tensor:
    """``beta * input + alpha * outer(vec1, vec2)``."""
    return _added(outer(vec1, vec2), input, beta, alpha, out, "AddrBackward0")
