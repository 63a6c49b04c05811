"""Dropout as functions with PyTorch's checks; the masks are drawn by the ops in ``rushlight.ops.dropout``.

In training they drop random elements or whole channels, otherwise they return their input. The
invariant: the probability is checked before anything else, and shapes before anything is drawn.
"""

from __future__ import annotations

import warnings

from rushlight.ops import dropout as ops
from rushlight.tensor import Tensor


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Set each element to zero with probability ``p`` and divide the others by ``1 - p``.

    Raises ValueError unless ``p`` is between 0 and 1.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> F.dropout(torch.ones(3), training=False)
    tensor([1., 1., 1.])
    """
    _check_probability(p)
    return ops.dropout_(input, p, training) if inplace else ops.dropout(input, p, training)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Set whole channels of ``(N, C, L)`` or ``(C, L)`` to zero; RuntimeError for other numbers of
    dimensions.
    """
    _check_probability(p)
    if input.dim() not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.dim()}D input. Note that dropout1d "
            "exists to provide channel-wise dropout on inputs with 1 spatial dimension, a channel dimension, "
            "and an optional batch dimension (i.e. 2D or 3D inputs)."
        )
    return _drop_channels(input, p, training, inplace, batched=input.dim() == 3)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Set whole channels of ``(N, C, H, W)`` to zero; three dimensions are taken as ``(N, C, L)``, with a
    warning.
    """
    _check_probability(p)
    if input.dim() not in (3, 4):
        _warn_about_dimensions("dropout2d", input.dim(), spatial=2, expected="3D or 4D")
    if input.dim() == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior "
            "is desired - input is interpreted as shape (N, C, L), where C is the channel dim. This behavior "
            "will change in a future release to interpret the input as one without a batch dimension, i.e. "
            "shape (C, H, W). To maintain the 1D channel-wise dropout behavior, please switch to using "
            "dropout1d instead.",
            stacklevel=2,
        )
    return _drop_channels(input, p, training, inplace, batched=True)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Set whole channels of ``(N, C, D, H, W)`` or ``(C, D, H, W)`` to zero."""
    _check_probability(p)
    if input.dim() not in (4, 5):
        _warn_about_dimensions("dropout3d", input.dim(), spatial=3, expected="4D or 5D")
    return _drop_channels(input, p, training, inplace, batched=input.dim() == 5)


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Set elements to SELU's lowest value with probability ``p``, then restore mean 0 and variance 1.

    Klambauer et al., "Self-Normalizing Neural Networks", 2017.
    """
    _check_probability(p)
    return ops.alpha_dropout_(input, p, training) if inplace else ops.alpha_dropout(input, p, training)


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """``alpha_dropout`` of whole channels of ``(N, C, ...)``."""
    _check_probability(p)
    drop = ops.feature_alpha_dropout_ if inplace else ops.feature_alpha_dropout
    return drop(input, p, training)


def _drop_channels(input: Tensor, p: float, training: bool, inplace: bool, batched: bool) -> Tensor:
    """Drop channels, dimension 1 of a batch or dimension 0 of a single sample."""
    drop = ops.feature_dropout_ if inplace else ops.feature_dropout
    if batched:
        return drop(input, p, training)
    dropped = drop(input.unsqueeze(0), p, training)
    return input if inplace else dropped.squeeze(0)


def _check_probability(p: float) -> None:
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _warn_about_dimensions(name: str, dimensions: int, spatial: int, expected: str) -> None:
    warnings.warn(
        f"{name}: Received a {dimensions}-D input to {name}, which is deprecated and will result in an error "
        "in a future release. To retain the behavior and silence this warning, please use dropout instead. "
        f"Note that {name} exists to provide channel-wise dropout on inputs with {spatial} spatial "
        f"dimensions, a channel dimension, and an optional batch dimension (i.e. {expected} inputs).",
        stacklevel=3,
    )
