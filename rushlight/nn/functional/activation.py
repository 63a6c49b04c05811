"""The activations that are no op by themselves: softmax without a dimension, its random form, and in-place
forms.

All other activations are ops of ``rushlight.ops.activations`` and ``rushlight.ops.smooth`` with
PyTorch's signatures.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from rushlight.ops import activations, smooth
from rushlight.ops import softmax as ops
from rushlight.tensor import Tensor


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """Exponentials divided by their sum along ``dim``; without ``dim``, PyTorch's old choice, with a warning.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> F.softmax(torch.zeros(1, 4), dim=1)
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """
    if dim is None:
        dim = ops.implicit_dim("softmax", input.dim(), _stacklevel)
    return ops.softmax(input, dim, dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """The softmax of ``-input`` along ``dim``."""
    if dim is None:
        dim = ops.implicit_dim("softmin", input.dim(), _stacklevel)
    return ops.softmax(-input, dim, dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """The logarithm of the softmax along ``dim``, computed without overflow."""
    if dim is None:
        dim = ops.implicit_dim("log_softmax", input.dim(), _stacklevel)
    return ops.log_softmax(input, dim, dtype)


def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """Draw from the categories with these log-probabilities, in a way that gradients flow through.

    The softmax, at temperature ``tau``, of the logits plus Gumbel noise; if ``hard``, it becomes one-hot,
    with the gradient of the soft one. ``eps`` is deprecated and must be left alone. Jang et al., "Categorical
    Reparameterization with Gumbel-Softmax", 2017.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> F.gumbel_softmax(torch.zeros(5, 3), hard=True).sum(dim=-1)
    tensor([1., 1., 1., 1., 1.])
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    noise = -logits.new_empty(logits.shape).exponential_().log()
    soft = ops.softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    one_hot = soft.new_zeros(soft.shape).scatter_(dim, soft.argmax(dim, keepdim=True), 1.0)
    return one_hot - soft.detach() + soft


def _in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The form of an activation that overwrites its input."""

    @functools.wraps(function)
    def overwrite(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return function(input, *args, inplace=True, **kwargs)

    overwrite.__name__ = overwrite.__qualname__ = f"{function.__name__}_"
    overwrite.__doc__ = f"``{function.__name__}``, which overwrites its input and returns it."
    return overwrite


relu_ = _in_place(activations.relu)
leaky_relu_ = _in_place(activations.leaky_relu)
hardtanh_ = _in_place(activations.hardtanh)
threshold_ = _in_place(activations.threshold)
elu_ = _in_place(smooth.elu)
celu_ = _in_place(smooth.celu)
selu_ = _in_place(smooth.selu)
rrelu_ = _in_place(smooth.rrelu)
