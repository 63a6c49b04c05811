"""Products of vectors under their other names: `inner`, `ger`, `vdot`.

Each is a composition of `matmul`'s. Invariant: types are never promoted here; different ones are an error.
"""

from __future__ import annotations

from typing import Any

from rushlight.ops.arguments import array_of, require_tensor
from rushlight.ops.define import labelled, write_out
from rushlight.ops.einsum import tensordot
from rushlight.ops.elementwise import mul
from rushlight.ops.kinds import alias, composite
from rushlight.ops.matmul import dot, outer
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor

alias("ger", outer)


def _inner_samples() -> list[Sample]:
    shapes = [((3,), (3,)), ((2, 3), (3,)), ((2, 3), (4, 3)), ((2, 0), (3, 0)), ((2, 3), ()), ((), ())]
    found = [Sample([T(one), T(two)]) for one, two in shapes]
    found += [Sample([T((2, 3), "int64"), T((3,), "int64")])]
    refused = [
        Sample([T((2, 3)), T((2, 2))], raises=True),
        Sample([T((3,)), T((3,), "float64")], raises=True),
    ]
    return [*found, *refused, Sample([T((3,)), 1.0], raises=True)]


@composite(samples=_inner_samples)
def inner(input: Tensor, other: Tensor, *, out: Any = None) -> Tensor:
    """The sums of products over the last dimension of both, for all pairs of the rows of one and the other.

    >>> import rushlight as torch
    >>> torch.inner(torch.tensor([1.0, 2.0]), torch.tensor([[3.0, 4.0], [5.0, 6.0]]))
    tensor([11., 17.])
    """
    left = array_of("inner", input)
    require_tensor("inner", "other", 2, other)
    right = other._array
    if left.ndim == 0 or right.ndim == 0:
        return mul(input, other, out=out)
    if left.shape[-1] != right.shape[-1]:
        raise RuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{list(left.shape)} and {list(right.shape)}"
        )
    if left.dtype is not right.dtype:
        raise RuntimeError("both inputs should have same dtype")
    result = tensordot(input, other, ([-1], [-1]))
    return result if out is None else write_out(out, result)


def _vdot_samples() -> list[Sample]:
    pairs = [(T((3,)), T((3,))), (T((0,)), T((0,))), (T((3,), "int64"), T((3,), "int64"))]
    refused = [(T((2, 3)), T((3,))), (T((3,)), T((2,))), (T((3,)), T((3,), "float64")), (T((3,)), 1.0)]
    return [Sample(each) for each in pairs] + [Sample(each, raises=True) for each in refused]


@composite(samples=_vdot_samples)
def vdot(input: Tensor, other: Tensor, *, out: Any = None) -> Tensor:
    """The inner product of two vectors, as `dot`: the conjugate of real numbers changes nothing.

    >>> import rushlight as torch
    >>> torch.vdot(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    tensor(11.)
    """
    array_of("vdot", input)
    require_tensor("vdot", "other", 2, other)
    return labelled(dot(input, other, out=out), "VdotBackward0")
