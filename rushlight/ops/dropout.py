"""Dropout: multiply by a random mask in training, return the input otherwise.

`dropout` draws a mask element for every element, `feature_dropout` one for every channel (the first
two dimensions); the alpha variants replace what is dropped by SELU's lowest value and keep mean and
variance. These are PyTorch's functions of the same names; the checks of the layers lie in
`rushlight.nn.functional`. Invariant: a mask is drawn in the order in which its input lies in
memory, and none where nothing can be dropped.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from rushlight import draws
from rushlight.dtype import F64
from rushlight.ops.arguments import require_tensor
from rushlight.ops.create import zeros
from rushlight.ops.define import TITLES, apply
from rushlight.ops.fill import number
from rushlight.ops.kinds import primitive, public
from rushlight.random import Generator, default_generator
from rushlight.storage import in_memory_order
from rushlight.tensor import Tensor

# The negative of the value that SELU approaches for very negative inputs: its scale times its alpha.
SELU_SATURATION = 1.7580993408473766


def _mask(
    input: np.ndarray, *, kept: float, value: float, channels: bool, generator: Generator
) -> np.ndarray:
    """`value` with probability `kept`, else 0: for every element of `input`, or for every channel."""
    if channels:
        shape = (*input.shape[:2], *[1] * (input.ndim - 2))
        mask = draws.bernoulli(generator, shape[0] * shape[1], kept).reshape(shape)
    else:
        mask = in_memory_order(draws.bernoulli(generator, input.size, kept), input)
    return mask * input.dtype.type(value)


MASK = primitive("dropout_mask", "random", _mask)


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
        if channels and input.ndim < 2:
            shape = list(input.shape)
            raise RuntimeError(f"Feature dropout requires at least 2 dimensions in the input, got {shape}")
        if not input.is_floating_point():
            title = TITLES[input.dtype.name]
            raise RuntimeError(f"result type Float can't be cast to the desired output type {title}")
        params = {"kept": 1 - p, "channels": channels, "generator": default_generator}
        if not alpha:
            real = np.float64 if input._array.dtype is F64 else np.float32
            mask = apply(MASK, (input,), params | {"value": real(1) / real(1 - p)})
            return input.mul_(mask) if inplace else input * mask
        mask = apply(MASK, (input,), params | {"value": 1.0})
        # Klambauer et al., "Self-Normalizing Neural Networks", 2017.
        scale = 1 / math.sqrt((SELU_SATURATION * SELU_SATURATION * p + 1) * (1 - p))
        shift = (mask - 1).mul_(SELU_SATURATION * scale).add_(SELU_SATURATION * scale * p)
        mask.mul_(scale)
        return (input.mul_(mask) if inplace else input * mask).add_(shift)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"PyTorch's `{name}`: drop with probability `p` where `train` is true, and make up for it."
    )
    return public(method=False)(function)


dropout = _dropout("dropout")
dropout_ = _dropout("dropout_", inplace=True)
feature_dropout = _dropout("feature_dropout", channels=True)
feature_dropout_ = _dropout("feature_dropout_", channels=True, inplace=True)
alpha_dropout = _dropout("alpha_dropout", alpha=True)
alpha_dropout_ = _dropout("alpha_dropout_", alpha=True, inplace=True)
feature_alpha_dropout = _dropout("feature_alpha_dropout", channels=True, alpha=True)
feature_alpha_dropout_ = _dropout("feature_alpha_dropout_", channels=True, alpha=True, inplace=True)
