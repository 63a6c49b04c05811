"""Values between the pixels of a tensor: resizing, and sampling at the places an affine map gives.

For tensors (..., H, W) only; Pillow does this itself for images. Every kind of resizing is one matrix for
the rows and one for the columns, made once from the two sizes. Invariant: the weights of each new pixel
sum to 1, and integer images are rounded to the nearest integer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rushlight.dtype import float32, float64, uint8
from rushlight.ops.convert import as_tensor
from rushlight.ops.select import where
from rushlight.tensor import Tensor

TENSOR_MODES = ("nearest", "nearest-exact", "bilinear", "bicubic")


def resize_tensor(img: Tensor, size: tuple[int, int], mode: str, antialias: bool) -> Tensor:
    """The image with ``size`` as its height and width, in its own dtype."""
    if mode not in TENSOR_MODES:
        raise NotImplementedError(f"interpolation={mode!r} is for PIL images only, not for tensors")
    height, width = img.shape[-2:]
    if mode.startswith("nearest"):
        shift = 0.5 if mode == "nearest-exact" else 0.0
        rows, columns = _nearest(height, size[0], shift), _nearest(width, size[1], shift)
        return img[..., as_tensor(rows)[:, None], as_tensor(columns)]
    floats = _as_floats(img)
    kind = floats.dtype.numpy
    across = as_tensor(_weights(width, size[1], mode, antialias, kind))
    down = as_tensor(_weights(height, size[0], mode, antialias, kind))
    resized = down @ (floats @ across.T)
    if mode == "bicubic" and img.dtype == uint8:
        resized = resized.clamp(0, 255)
    return _as_before(resized, img)


def _as_floats(img: Tensor) -> Tensor:
    return img if img.dtype in (float32, float64) else img.to(float32)


def _as_before(result: Tensor, img: Tensor) -> Tensor:
    """The result in the dtype of the image it was made from."""
    return (result if img.is_floating_point() else result.round()).to(img.dtype)


def _nearest(old: int, new: int, shift: float) -> np.ndarray:
    scale = np.float32(old) / np.float32(new)
    places = np.floor((np.arange(new, dtype=np.float32) + np.float32(shift)) * scale)
    return np.minimum(places.astype(np.int64), old - 1)


def _weights(old: int, new: int, mode: str, antialias: bool, kind: np.dtype) -> np.ndarray:
    """The (new, old) matrix whose row ``i`` holds what each old pixel contributes to the new pixel ``i``.

    Weights are computed in the image's own precision, as PyTorch does, so that integer images round alike.
    """
    scale = kind.type(old) / kind.type(new)
    centres = (np.arange(new, dtype=kind) + kind.type(0.5)) * scale
    if antialias:
        return _wide_weights(old, centres, scale, mode)
    places = centres - kind.type(0.5)
    if mode == "bilinear":
        places = np.maximum(places, 0)
    before = np.floor(places)
    t = places - before
    taps = {0: 1 - t, 1: t} if mode == "bilinear" else {i: _cubic(i - t, -0.75) for i in (-1, 0, 1, 2)}
    matrix = np.zeros((new, old), kind)
    for offset, weight in taps.items():
        columns = (before + offset).clip(0, old - 1).astype(np.int64)
        np.add.at(matrix, (np.arange(new), columns), weight)
    return matrix


def _wide_weights(old: int, centres: np.ndarray, scale: np.floating, mode: str) -> np.ndarray:
    """Weights of kernels that widen when the image shrinks, so that no old pixel is left out."""
    kind = centres.dtype.type
    stretch = max(scale, kind(1))
    reach = stretch * kind(1 if mode == "bilinear" else 2)
    columns = np.arange(old)
    distances = (columns.astype(kind) - centres[:, None] + kind(0.5)) * (kind(1) / stretch)
    weights = np.maximum(1 - np.abs(distances), 0) if mode == "bilinear" else _cubic(distances, -0.5)
    first = (centres - reach + kind(0.5)).astype(np.int64)[:, None]
    end = (centres + reach + kind(0.5)).astype(np.int64)[:, None]
    weights[(columns < first) | (columns >= end)] = 0
    return weights / weights.cumsum(axis=1)[:, -1:]  # added from left to right, as PyTorch does


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution kernel with the slope ``a`` at a distance of 1."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0)).astype(x.dtype)


def sample_affine(
    img: Tensor,
    matrix: Sequence[float],
    size: tuple[int, int],
    mode: str,
    fill: float | Sequence[float] | None,
) -> Tensor:
    """The image of ``size`` whose pixel at (x, y), measured from its middle, comes from ``matrix`` times
    (x, y, 1).

    ``matrix`` is two rows of three. Places outside ``img`` are of colour ``fill``, one number or one a
    channel; None is 0.
    """
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"Interpolation mode '{mode}' is unsupported with Tensor input")
    channels = 1 if img.dim() == 2 else img.shape[-3]
    colour = list(fill) if isinstance(fill, Sequence) else [fill or 0]
    if len(colour) not in (1, channels):
        raise ValueError(
            "The number of elements in 'fill' cannot broadcast to match the number of "
            f"channels of the image ({len(colour)} != {channels})"
        )
    floats = _as_floats(img)
    border = as_tensor(colour, dtype=floats.dtype).view(-1, 1, 1)
    if img.dim() == 2:
        border = border.view(1, 1)
    x, y = _places(matrix, img.shape[-1], img.shape[-2], size, floats.dtype.numpy)
    if mode == "nearest":
        values, inside = _pixels_at(floats, np.rint(x), np.rint(y))
        sampled = where(inside, values, border)
    else:
        sampled, covered = _between_pixels(floats, x, y)
        if (
            fill is not None
        ):  # where only a part of the four pixels is inside, that part counts twice, as there
            sampled = sampled * covered + (1.0 - covered) * border
    return _as_before(sampled, img)


def _places(
    matrix: Sequence[float], width: int, height: int, size: tuple[int, int], kind: np.dtype
) -> tuple[np.ndarray, np.ndarray]:
    """Column and row, as fractions, that each new pixel comes from; rounded as torchvision rounds."""
    new_height, new_width = size
    grid = np.ones((new_height, new_width, 3), kind)
    grid[..., 0] = np.linspace(-new_width * 0.5 + 0.5, new_width * 0.5 - 0.5, new_width, dtype=kind)
    grid[..., 1] = np.linspace(-new_height * 0.5 + 0.5, new_height * 0.5 - 0.5, new_height, dtype=kind)[
        :, None
    ]
    scaled = np.asarray(matrix, kind).reshape(2, 3).T / np.asarray([0.5 * width, 0.5 * height], kind)
    x, y = np.moveaxis(grid @ scaled, -1, 0)
    return ((x + 1) * width - 1) / 2, ((y + 1) * height - 1) / 2


def _pixels_at(img: Tensor, x: np.ndarray, y: np.ndarray) -> tuple[Tensor, Tensor]:
    """The pixels at whole columns ``x`` and rows ``y``, and whether these are inside the image."""
    height, width = img.shape[-2:]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    columns = x.clip(0, width - 1).astype(np.int64)
    rows = y.clip(0, height - 1).astype(np.int64)
    return img[..., as_tensor(rows), as_tensor(columns)], as_tensor(inside)


def _between_pixels(img: Tensor, x: np.ndarray, y: np.ndarray) -> tuple[Tensor, Tensor]:
    """The weighted mean of the four pixels around each place, and the weight of those inside the image."""
    left, top = np.floor(x), np.floor(y)
    total = img.new_zeros(())
    covered = img.new_zeros(())
    for column, x_weight in ((left, left + 1 - x), (left + 1, x - left)):
        for row, y_weight in ((top, top + 1 - y), (top + 1, y - top)):
            values, inside = _pixels_at(img, column, row)
            weight = as_tensor(x_weight * y_weight) * inside
            total = total + values * weight
            covered = covered + weight
    return total, covered
