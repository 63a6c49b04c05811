"""Activations as functions, under the names of ``torch.nn.functional``.

The pointwise ones are ops of the table and only gathered here; `softmax` and its kin take their dimension as PyTorch's functional
forms do. Invariant: nothing here has a formula of its own but `gumbel_softmax`.
"""

from __future__ import annotations

from typing import Any

from rushlight.ops import softmax as rows
from rushlight.ops.activations import (
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    prelu,
    relu,
    relu6,
    softshrink,
    threshold,
)
from rushlight.ops.define import TABLE
from rushlight.ops.functions import sigmoid, tanh
from rushlight.ops.create import empty_like
from rushlight.ops.smooth import (
    celu,
    elu,
    gelu,
    glu,
    logsigmoid,
    mish,
    rrelu,
    selu,
    silu,
    softplus,
    softsign,
    tanhshrink,
)
from rushlight.tensor import Tensor

__all__ = [
    "celu",
    "elu",
    "gelu",
    "glu",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "log_softmax",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "rrelu",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
]


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`celu`, storing the result in the tensor itself."""
    return celu(input, alpha, inplace=True)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`elu`, storing the result in the tensor itself."""
    return elu(input, alpha, inplace=True)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`hardtanh`, storing the result in the tensor itself."""
    return hardtanh(input, min_val, max_val, inplace=True)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`leaky_relu`, storing the result in the tensor itself."""
    return leaky_relu(input, negative_slope, inplace=True)


def relu_(input: Tensor) -> Tensor:
    """`relu`, storing the result in the tensor itself."""
    return relu(input, inplace=True)


def rrelu_(input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False) -> Tensor:
    """`rrelu`, storing the result in the tensor itself."""
    return rrelu(input, lower, upper, training, inplace=True)


def selu_(input: Tensor) -> Tensor:
    """`selu`, storing the result in the tensor itself."""
    return selu(input, inplace=True)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """`threshold`, storing the result in the tensor itself."""
    return TABLE["threshold"].function(input, threshold, value, inplace=True)


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """Exponentials divided by their sum along `dim`; without a `dim` PyTorch's old guess is made, with its warning.

    >>> import rushlight as torch
    >>> torch.nn.functional.softmax(torch.zeros(1, 4), dim=1)
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """
    place = rows.implicit_dim("softmax", input.dim()) if dim is None else dim
    return rows.softmax(input, place, dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """`softmax` of the negative."""
    place = rows.implicit_dim("softmin", input.dim()) if dim is None else dim
    return rows.softmin(input, place, dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """The logarithm of `softmax`, computed without overflow or loss."""
    place = rows.implicit_dim("log_softmax", input.dim()) if dim is None else dim
    return rows.log_softmax(input, place, dtype)


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A sample from the Gumbel-softmax distribution (Jang et al., 2017), one-hot with a soft gradient if `hard`."""
    # minus the logarithm of exponential draws is Gumbel-distributed, and is how PyTorch draws it
    gumbels = -empty_like(logits).exponential_().log()
    soft = rows.softmax((logits + gumbels) / tau, dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    one_hot = logits.new_zeros(logits.shape).scatter(dim, index, 1.0)
    return one_hot - soft.detach() + soft
