"""Dropout: multiply by a random mask in training, return the input otherwise.

`dropout` draws a mask element for every element, `feature_dropout` one for every channel (the first two
dimensions); the alpha variants replace dropped values by SELU's lowest one and keep mean and variance
(Klambauer et al., "Self-Normalizing Neural Networks", 2017). These are PyTorch's functions of the same
names; the layers' checks lie in `rushlight.nn.functional`. Invariant: a mask is drawn in the order in
which its input lies in memory, and none where nothing can be dropped.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from rushlight.autograd.mode import no_grad
from rushlight.ops.arguments import require_tensor
from rushlight.ops.create import empty, zeros
from rushlight.ops.fill import bernoulli_, number
from rushlight.ops.kinds import public
from rushlight.ops.random import like_to_fill
from rushlight.tensor import Tensor

# The negative of the value that SELU approaches for very negative inputs: its scale times its alpha.
SELU_SATURATION = 1.7580993408473766


def _dropout(
    name: str, *, channels: bool = False, alpha: bool = False, inplace: bool = False
) -> Callable[..., Tensor]:
    """One of the eight functions."""

    def function(input: Tensor, p: float, train: bool) -> Tensor:
        require_tensor(name, "input", 1, input)
        p = number(name, "p", 2, p)
        if not 0 <= p <= 1:
            raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p:g}")
        if p == 0 or not train or input.numel() == 0:
            return input
        if p == 1:
            nothing = zeros((), dtype=input.dtype)
            return input.mul_(nothing) if inplace else input * nothing
        with no_grad():
            mask = bernoulli_(_mask_of_channels(input) if channels else like_to_fill(name, input), 1 - p)
            if not alpha:
                mask.div_(1 - p)
            else:
                scale = 1 / math.sqrt((SELU_SATURATION * SELU_SATURATION * p + 1) * (1 - p))
                shift = mask.add(-1).mul_(SELU_SATURATION * scale).add_(SELU_SATURATION * scale * p)
                mask.mul_(scale)
        dropped = input.mul_(mask) if inplace else input * mask
        return dropped.add_(shift) if alpha else dropped

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"PyTorch's `{name}`: drop with probability `p` where `train` is true, and make up for it."
    )
    return public(method=False)(function)


def _mask_of_channels(input: Tensor) -> Tensor:
    """An empty mask with one element for each channel of each sample."""
    if input.ndim < 2:
        raise RuntimeError(
            f"Feature dropout requires at least 2 dimensions in the input, got {list(input.shape)}"
        )
    return empty((*input.shape[:2], *[1] * (input.ndim - 2)), dtype=input.dtype)


dropout = _dropout("dropout")
dropout_ = _dropout("dropout_", inplace=True)
feature_dropout = _dropout("feature_dropout", channels=True)
feature_dropout_ = _dropout("feature_dropout_", channels=True, inplace=True)
alpha_dropout = _dropout("alpha_dropout", alpha=True)
alpha_dropout_ = _dropout("alpha_dropout_", alpha=True, inplace=True)
feature_alpha_dropout = _dropout("feature_alpha_dropout", channels=True, alpha=True)
feature_alpha_dropout_ = _dropout("feature_alpha_dropout_", channels=True, alpha=True, inplace=True)
