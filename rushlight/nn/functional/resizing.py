"""`interpolate`: images of another size, by the nearest elements or by weighted neighbours.

Each mode goes through the dimensions one after another: a few neighbours along the dimension are picked, and
added with weights. Places are worked out in the precision of the elements, as in PyTorch. Invariant:
gradients are those of picking and adding, so nothing has a rule of its own here.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.nn.functional.adaptive_pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
)
from rushlight.ops.convert import from_numpy_array
from rushlight.ops.define import TITLES, labelled
from rushlight.ops.kinds import composite
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor

MODES = "nearest | linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact"
LINEAR = {"linear": 3, "bilinear": 4, "trilinear": 5}
STEEPNESS = -0.75  # of the cubic's slope at its neighbours (Keys, 1981)

Neighbours = list[tuple[Any, Any]]  # places, and weights
Real = type[np.floating[Any]]  # in which places are worked out


# -- neighbours along a dimension ----------------------------------------------------------------------------


def _step(real: Real, length: int, count: int, align_corners: bool, factor: float | None) -> Any:
    """How far places lie apart, in elements."""
    if align_corners:
        return real(length - 1) / real(count - 1) if count > 1 else real(0)
    return real(1.0 / factor) if factor is not None else real(length) / real(count)


def _nearest(real: Real, length: int, count: int, factor: float | None, exact: bool) -> np.ndarray:
    """Which element is nearest to each place: the one before it, or really the nearest."""
    places = np.arange(count, dtype=real)
    found = (places + real(0.5) if exact else places) * _step(real, length, count, False, factor)
    return np.minimum(np.floor(found).astype(np.int64), length - 1)


def _sources(real: Real, length: int, count: int, align_corners: bool, factor: float | None) -> np.ndarray:
    """Where places lie, in elements."""
    places, step = np.arange(count, dtype=real), _step(real, length, count, align_corners, factor)
    return step * places if align_corners else step * (places + real(0.5)) - real(0.5)


def _two(real: Real, length: int, count: int, align_corners: bool, factor: float | None) -> Neighbours:
    """The elements before and behind each place, with their weights."""
    sources = np.maximum(_sources(real, length, count, align_corners, factor), real(0))
    before = np.minimum(sources.astype(np.int64), length - 1)
    part = np.clip(sources - before.astype(real), real(0), real(1))
    return [(before, real(1) - part), (np.minimum(before + 1, length - 1), part)]


def _four(real: Real, length: int, count: int, align_corners: bool, factor: float | None) -> Neighbours:
    """Two elements before and two behind each place, with their weights in the cubic through them."""
    sources = _sources(real, length, count, align_corners, factor)
    before = np.floor(sources).astype(np.int64)
    part = sources - before.astype(real)

    def near(x: Any) -> Any:
        return ((STEEPNESS + 2) * x - (STEEPNESS + 3)) * x * x + 1

    def far(x: Any) -> Any:
        return ((STEEPNESS * x - 5 * STEEPNESS) * x + 8 * STEEPNESS) * x - 4 * STEEPNESS

    weights = far(part + 1), near(part), near(1 - part), far(2 - part)
    places = (np.clip(before + shift, 0, length - 1) for shift in (-1, 0, 1, 2))
    return list(zip(places, weights, strict=True))


def _blended(input: Tensor, dim: int, neighbours: Neighbours) -> Tensor:
    """The sum of neighbours along a dimension, times their weights."""
    made: Tensor | None = None
    for places, weights in neighbours:
        along = [-1 if d == dim else 1 for d in range(input.dim())]
        weight = from_numpy_array(weights.astype(input._array.dtype).reshape(along))
        part = input.index_select(dim, from_numpy_array(places)) * weight
        made = part if made is None else made + part
    assert made is not None
    return made


# -- arguments -----------------------------------------------------------------------------------------------


def _sizes(
    input: Tensor, size: Any, scale_factor: Any, recompute: bool | None
) -> tuple[list[int], list[float | None]]:
    """The size wanted, and by what factors, where those decide instead of the sizes."""
    dims = input.dim() - 2
    spatial = list(input.shape[2:])
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is None and scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    advice = (
        "Please provide input tensor in (N, C, d1, d2, ...,dK) format and "
        + ("output size in (o1, o2, ...,oK)" if size is not None else "scale_factor in (s1, s2, ...,sK)")
        + " format."
    )
    if size is not None:
        if recompute:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        listed = isinstance(size, (tuple, list))
        if listed and len(size) != dims:
            raise ValueError(
                "Input and output must have the same number of spatial dimensions, but got input with "
                f"spatial dimensions of {spatial} and output size of {size}. {advice}"
            )
        return [int(each) for each in (size if listed else [size] * dims)], [None] * dims
    listed = isinstance(scale_factor, (tuple, list))
    if listed and len(scale_factor) != dims:
        raise ValueError(
            "Input and scale_factor must have the same number of spatial dimensions, but got input with "
            f"spatial dimensions of {spatial} and scale_factor of shape {scale_factor}. {advice}"
        )
    factors = [float(each) for each in (scale_factor if listed else [scale_factor] * dims)]
    wanted = [math.floor(length * factor) for length, factor in zip(spatial, factors, strict=True)]
    return wanted, [None] * dims if recompute else list(factors)


def _check_mode(input: Tensor, mode: str, align_corners: bool | None, antialias: bool) -> None:
    cubic_or_linear = (*LINEAR, "bicubic")
    if mode in ("nearest", "area", "nearest-exact") and align_corners is not None:
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | "
            "bicubic | trilinear"
        )
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and input.dim() == 4):
        raise ValueError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D "
            "tensor as input"
        )
    if input.dim() not in (3, 4, 5) or mode not in MODES.split(" | "):
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.dim()}D) for the modes: "
            f"{MODES} (got {mode})"
        )
    needed = LINEAR.get(mode, 4 if mode == "bicubic" else input.dim())
    if mode in cubic_or_linear and input.dim() != needed:
        raise NotImplementedError(f"Got {input.dim()}D input, but {mode} mode needs {needed}D input")
    if mode == "lanczos":
        raise NotImplementedError("interpolate: mode='lanczos' is not supported")
    if antialias:
        raise NotImplementedError("interpolate: antialias=True is not supported")


def _check_types(input: Tensor, mode: str) -> None:
    dtype, dims = input._array.dtype, input.dim() - 2
    if dtype.kind == "f" or (dtype == np.uint8 and mode.startswith("nearest")):
        return
    name = "nearest" if mode.startswith("nearest") else mode
    raise NotImplementedError(f"\"upsample_{name}{dims}d\" not implemented for '{TITLES[dtype.name]}'")


def _samples() -> list[Sample]:
    image = T((7, 2, 4, 5))
    return [
        Sample([image, (6, 3)]),
        Sample([image], {"scale_factor": 2.0}),
        Sample([image, 6, None, "nearest-exact"]),
        Sample([T((7, 2, 4)), 6, None, "linear"]),
        Sample([image, (6, 3), None, "bilinear", True]),
        Sample([image, None, (1.5, 2.0), "bilinear"]),
        Sample([T((7, 2, 4, 5), "float64"), (6, 9), None, "bicubic"], tolerance=1e-5),
        Sample([T((1, 2, 3, 4, 5)), (2, 5, 4), None, "trilinear"]),
        Sample([image, 5, 2.0], raises=True),
        Sample([image], raises=True),
    ]


@composite(samples=_samples, method=False, torch_name="nn.functional.interpolate")
def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Images of another size, ``(N, C, L)``, ``(N, C, H, W)`` or ``(N, C, D, H, W)``.

    Args:
        input: the images.
        size: the size wanted; either this or `scale_factor`.
        scale_factor: how many times as large they become.
        mode: "nearest", "nearest-exact", "linear", "bilinear", "trilinear", "bicubic" or "area", which takes
            means as `adaptive_avg_pool2d` does.
        align_corners: whether the outermost elements lie on the outermost places, or whether elements are
            squares and these have the same borders.
        recompute_scale_factor: whether distances follow from the sizes and not from `scale_factor`.
        antialias: not supported.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> F.interpolate(torch.tensor([[[0.0, 2.0]]]), size=4, mode="linear")
    tensor([[[0.0000, 0.5000, 1.5000, 2.0000]]])
    """
    _check_mode(input, mode, align_corners, antialias)
    wanted, factors = _sizes(input, size, scale_factor, recompute_scale_factor)
    dims = input.dim() - 2
    if mode == "area":
        pool: Any = {1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d, 3: adaptive_avg_pool3d}[dims]
        return pool(input, wanted[0] if dims == 1 else tuple(wanted))
    if min(*wanted, *input.shape[2:]) <= 0:
        letters = {1: "W", 2: "HW", 3: "DHW"}[dims]
        before, after = (
            ", ".join(f"{letter}: {n}" for letter, n in zip(letters, each, strict=True))
            for each in (input.shape[2:], wanted)
        )
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input ({before}) output ({after})"
        )
    _check_types(input, mode)
    made, real = input, np.float64 if input._array.dtype == np.float64 else np.float32
    for d in range(dims):
        length, count, factor = input.shape[d + 2], wanted[d], factors[d]
        if mode.startswith("nearest"):
            places = _nearest(real, length, count, factor, mode == "nearest-exact")
            made = made.index_select(d + 2, from_numpy_array(places))
        else:
            neighbours = _four if mode == "bicubic" else _two
            made = _blended(made, d + 2, neighbours(real, length, count, bool(align_corners), factor))
    name = {"nearest": "Nearest", "nearest-exact": "NearestExact"}.get(mode, mode.capitalize())
    return labelled(made, f"Upsample{name}{dims}DBackward0")


def upsample(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """`interpolate`, under an older name."""
    warnings.warn(
        "`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2
    )
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` with ``mode="nearest"``, under an older name."""
    warnings.warn(
        "`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` with ``mode="bilinear"`` and aligned corners, under an older name."""
    warnings.warn(
        "`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)
