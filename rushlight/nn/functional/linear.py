"""Linear maps as functions: `linear`, and `bilinear`, which is linear in each of two inputs."""

from __future__ import annotations

from rushlight.ops.define import labelled
from rushlight.ops.einsum import einsum
from rushlight.ops.kinds import composite
from rushlight.ops.matmul import linear
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor

__all__ = ["bilinear", "linear"]


def _bilinear_samples() -> list[Sample]:
    weight, bias = T((2, 3, 4)), T((2,))
    found = [Sample([T((5, 3)), T((5, 4)), weight, bias]), Sample([T((2, 5, 3)), T((2, 5, 4)), weight])]
    refused = [([5, 3], [4, 4]), ([5, 3], [4]), ([5, 2], [5, 4]), ([5, 3], [5, 3])]
    return found + [Sample([T(one), T(other), weight], raises=True) for one, other in refused]


@composite(samples=_bilinear_samples, method=False)
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input1 @ weight[k] @ input2 + bias[k]`` for each output ``k``.

    The inputs are ``(*, in1)`` and ``(*, in2)``, ``weight`` is ``(out, in1, in2)``. Raises RuntimeError where
    sizes do not match.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> F.bilinear(torch.ones(4, 2), torch.ones(4, 3), torch.ones(1, 2, 3)).shape
    torch.Size([4, 1])
    """
    if input1.dim() != input2.dim():
        raise RuntimeError(
            f"bilinear(): input dimensions do not match: got {input1.dim()} and {input2.dim()}"
        )
    for dim, (left, right) in enumerate(zip(input1.shape[:-1], input2.shape[:-1], strict=True)):
        if left != right:
            raise RuntimeError(
                f"bilinear(): input batch dimensions do not match at dim {dim}: got {left} and {right}"
            )
    for number, each in ((1, input1), (2, input2)):
        if each.shape[-1] != weight.shape[number]:
            raise RuntimeError(
                f"bilinear(): input{number} size does not match weight size: "
                f"got {each.shape[-1]} but expected {weight.shape[number]}"
            )
    if bias is not None and bias.shape[0] != weight.shape[0]:
        raise RuntimeError(
            f"bilinear(): bias size does not match weight size: got {bias.shape[0]} but expected "
            f"{weight.shape[0]}"
        )
    product = labelled(einsum("...i,oij,...j->...o", input1, weight, input2), "ViewBackward0")
    return product if bias is None else product + bias
