"""Gathering a window of a buffer and scattering into it: what in-place changes of views need for their gradients.

A window is a `Geometry`: where a view lies within its base. The two ops are each other's adjoint, so their rules are
each other, and second derivatives follow. Invariant: neither ever aliases its input.
"""

from __future__ import annotations

import numpy as np

from rushlight.ops.define import apply
from rushlight.ops.kinds import primitive
from rushlight.tensor import Tensor
from rushlight.views import Geometry


def _gather(base: np.ndarray, *, geometry: Geometry) -> np.ndarray:
    whole, window = geometry.buffer(base.dtype)
    np.copyto(whole, base)
    return window.copy()


def _scatter(base: np.ndarray, window: np.ndarray, *, geometry: Geometry) -> np.ndarray:
    whole, place = geometry.buffer(base.dtype)
    np.copyto(whole, base)
    np.copyto(place, window)
    return whole


def _spread(window: np.ndarray, *, geometry: Geometry) -> np.ndarray:
    whole, place = geometry.buffer(window.dtype)
    if geometry.overlaps_itself():
        positions = np.arange(geometry.length).reshape(-1)
        index = np.lib.stride_tricks.as_strided(
            positions[geometry.offset :],
            geometry.shape,
            tuple(stride // window.itemsize * positions.itemsize for stride in geometry.strides),
        )
        flat = np.zeros(geometry.length, window.dtype)
        np.add.at(flat, index, window)
        return np.lib.stride_tricks.as_strided(flat[geometry.start :], geometry.base_shape, geometry.base_strides)
    np.copyto(place, window)
    return whole


def gather_window(base: Tensor, geometry: Geometry) -> Tensor:
    """The elements of `base` that lie in the window, as a new tensor of the window's shape."""
    return apply(GATHER, (base,), {"geometry": geometry})


def scatter_window(base: Tensor, window: Tensor, geometry: Geometry) -> Tensor:
    """A copy of `base` with the window's elements replaced."""
    return apply(SCATTER, (base, window), {"geometry": geometry})


def spread_window(window: Tensor, geometry: Geometry) -> Tensor:
    """Zeros of the base's shape with `window` added at its place."""
    return apply(SPREAD, (window,), {"geometry": geometry})


def _without_window(g: Tensor, geometry: Geometry) -> Tensor:
    return scatter_window(g, gather_window(g, geometry) * 0, geometry)


GATHER = primitive(
    "as_strided",
    "indexed",
    _gather,
    grad=dict(base=lambda g, geometry: spread_window(g, geometry)),
)
SPREAD = primitive(
    "as_strided_backward",
    "indexed",
    _spread,
    grad=dict(window=lambda g, geometry: gather_window(g, geometry)),
)
SCATTER = primitive(
    "as_strided_scatter",
    "indexed",
    _scatter,
    grad=dict(base=lambda g, geometry: _without_window(g, geometry), window=lambda g, geometry: gather_window(g, geometry)),
)
