"""Gathering a window of a buffer and scattering into it, for the gradients of in-place changes of views.

A window is a `Geometry`: where a view lies within its base. The ops are each other's adjoints, so their rules
are each other, and second derivatives follow. Invariant: none ever aliases its input.
"""

from __future__ import annotations

import numpy as np

from rushlight.ops.create import zeros_of
from rushlight.ops.define import apply
from rushlight.ops.kinds import primitive
from rushlight.tensor import Tensor
from rushlight.views import Geometry, repeats_memory


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
    if not geometry.overlaps_itself():
        whole, place = geometry.buffer(window.dtype)
        np.copyto(place, window)
    else:
        flat = np.zeros(geometry.length, window.dtype)
        base_places, places = geometry.places(window.itemsize)
        np.add.at(flat, places, window)
        whole = flat[base_places]
    if repeats_memory(geometry.base_shape, geometry.base_strides):
        # several elements of the base are one in memory: they share its gradient, as in PyTorch
        base_places, _ = geometry.places(window.itemsize)
        whole = whole / np.bincount(base_places.reshape(-1))[base_places].astype(window.dtype)
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
    return scatter_window(g, zeros_of(geometry.shape, g._array.dtype), geometry)


GATHER = primitive(
    "as_strided", "indexed", _gather, dict(base=lambda g, geometry: spread_window(g, geometry))
)
SPREAD = primitive(
    "as_strided_backward", "indexed", _spread, dict(window=lambda g, geometry: gather_window(g, geometry))
)
SCATTER = primitive(
    "as_strided_scatter",
    "indexed",
    _scatter,
    dict(
        base=lambda g, geometry: _without_window(g, geometry),
        window=lambda g, geometry: gather_window(g, geometry),
    ),
)
