"""The parameters of a model as one vector, and back.

The invariant: both directions go through the parameters in the order given, each in row-major order.
"""

from __future__ import annotations

from collections.abc import Iterable

from rushlight.nn.errors import type_name
from rushlight.ops.join import cat
from rushlight.tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Join tensors into one vector.

    >>> import rushlight as torch
    >>> torch.nn.utils.parameters_to_vector(torch.nn.Linear(3, 2).parameters()).shape
    torch.Size([8])
    """
    return cat([parameter.view(-1) for parameter in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Make each parameter a window on its part of ``vec``; TypeError if that is no tensor.

    >>> import rushlight as torch
    >>> layer = torch.nn.Linear(1, 2)
    >>> torch.nn.utils.vector_to_parameters(torch.arange(4.0), layer.parameters())
    >>> layer.bias.tolist()
    [2.0, 3.0]
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type_name(vec)}")
    start = 0
    for parameter in parameters:
        end = start + parameter.numel()
        parameter.data = vec[start:end].view_as(parameter).data
        start = end
