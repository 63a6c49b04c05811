"""Rotation, and affine maps in general: turning, moving, scaling and shearing an image about its centre.

Images are handed to Pillow; a tensor is sampled at the places that the inverse map gives, by `resample`.
Angles are in degrees. Invariant: what lies outside the image is of colour ``fill``.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.tensor import Tensor
from rushlight.vision.images import pillow
from rushlight.vision.transforms.resample import sample_affine
from rushlight.vision.transforms.sizes import (
    InterpolationMode,
    check_image,
    fill_for,
    get_dimensions,
    interpolation_mode,
    pillow_resampling,
)


def rotate(
    img: Any,
    angle: float,
    interpolation: InterpolationMode = InterpolationMode.NEAREST,
    expand: bool = False,
    center: Sequence[float] | None = None,
    fill: float | Sequence[float] | None = None,
) -> Any:
    """The image turned counter-clockwise by ``angle`` about ``center`` (x, y), by default its middle.

    ``expand`` makes the result large enough for the whole image, if it is turned about the middle.

    >>> import rushlight as torch
    >>> rotate(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), 90)
    tensor([[[2., 4.],
             [1., 3.]]])
    """
    mode = interpolation_mode(interpolation)
    if not isinstance(angle, int | float):
        raise TypeError("Argument angle should be int or float")
    _check_center(center)
    if not isinstance(img, Tensor):
        check_image(img)
        return img.rotate(angle, pillow_resampling(mode), expand, center, fillcolor=fill_for(img, fill))
    _, height, width = get_dimensions(img)
    # The angle of an affine map goes clockwise.
    matrix = inverse_affine_matrix(_from_middle(center, width, height), -angle, (0.0, 0.0), 1.0, (0.0, 0.0))
    size = _expanded_size(matrix, width, height) if expand else (height, width)
    return sample_affine(img, matrix, size, mode.value, fill)


def affine(
    img: Any,
    angle: float,
    translate: Sequence[float],
    scale: float,
    shear: float | Sequence[float],
    interpolation: InterpolationMode = InterpolationMode.NEAREST,
    fill: float | Sequence[float] | None = None,
    center: Sequence[float] | None = None,
) -> Any:
    """The image sheared (by angles for x and y), turned clockwise, scaled and moved (right, down).

    All but the move is about ``center`` (x, y), by default the middle.

    >>> import rushlight as torch
    >>> affine(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), angle=0, translate=(1, 0), scale=1.0, shear=0)
    tensor([[[0., 1.],
             [0., 3.]]])
    """
    mode = interpolation_mode(interpolation)
    shears = _checked_shear(angle, translate, scale, shear)
    _check_center(center)
    _, height, width = get_dimensions(img)
    if isinstance(img, Tensor):
        matrix = inverse_affine_matrix(_from_middle(center, width, height), angle, translate, scale, shears)
        return sample_affine(img, matrix, (height, width), mode.value, fill)
    middle = (width * 0.5, height * 0.5) if center is None else center
    matrix = inverse_affine_matrix(middle, angle, translate, scale, shears)
    transform = pillow().Transform.AFFINE
    fill_colour = fill_for(img, fill)
    return img.transform(img.size, transform, matrix, pillow_resampling(mode), fillcolor=fill_colour)


def _checked_shear(angle: Any, translate: Any, scale: float, shear: Any) -> Sequence[float]:
    if not isinstance(angle, int | float):
        raise TypeError("Argument angle should be int or float")
    if not isinstance(translate, list | tuple):
        raise TypeError("Argument translate should be a sequence")
    if len(translate) != 2:
        raise ValueError("Argument translate should be a sequence of length 2")
    if scale <= 0.0:
        raise ValueError("Argument scale should be positive")
    if not isinstance(shear, numbers.Number | list | tuple):
        raise TypeError("Shear should be either a single value or a sequence of two values")
    shears: list[Any] = list(shear) if isinstance(shear, list | tuple) else [shear, 0.0]
    if len(shears) == 1:
        shears *= 2
    if len(shears) != 2:
        raise ValueError(f"Shear should be a sequence containing two values. Got {shears}")
    return shears


def _check_center(center: Any) -> None:
    if center is not None and not isinstance(center, list | tuple):
        raise TypeError("Argument center should be a sequence")


def _from_middle(center: Sequence[float] | None, width: int, height: int) -> tuple[float, float]:
    if center is None:
        return (0.0, 0.0)
    return (center[0] - width * 0.5, center[1] - height * 0.5)


def inverse_affine_matrix(
    center: Sequence[float],
    angle: float,
    translate: Sequence[float],
    scale: float,
    shear: Sequence[float],
) -> list[float]:
    """The two rows of three that lead from a new place back to the old one.

    The map itself is: shear, turn clockwise and scale about ``center``, then move. Its linear part is
    ``scale * R(angle) * S``, where ``S`` shears in y by ``-tan(y)`` and then in x by ``-tan(x)``; its
    inverse has determinant ``1 / scale**2``, so the four numbers are those of the map, rearranged.
    """
    turn = math.radians(angle)
    x, y = (math.radians(degrees) for degrees in shear)
    a = math.cos(turn - y) / math.cos(y)
    b = -math.cos(turn - y) * math.tan(x) / math.cos(y) - math.sin(turn)
    c = math.sin(turn - y) / math.cos(y)
    d = -math.sin(turn - y) * math.tan(x) / math.cos(y) + math.cos(turn)
    rows = [[d / scale, -b / scale], [-c / scale, a / scale]]
    x_back, y_back = -center[0] - translate[0], -center[1] - translate[1]
    matrix: list[float] = []
    for (for_x, for_y), origin in zip(rows, center, strict=True):
        matrix += [for_x, for_y, for_x * x_back + for_y * y_back + origin]
    return matrix


def _expanded_size(matrix: Sequence[float], width: int, height: int) -> tuple[int, int]:
    """Height and width of what the four corners span."""
    half = np.array([0.5 * width, 0.5 * height], np.float32)
    corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]], np.float32) * half
    turned = corners @ np.asarray(matrix, np.float32).reshape(2, 3)[:, :2].T + half
    # Within a ten-thousandth of a pixel, what rounding added to a whole number is not a further pixel.
    step = np.float32(1e-4)
    highest = np.ceil(np.trunc(turned.max(axis=0) / step) * step)
    lowest = np.floor(np.trunc(turned.min(axis=0) / step) * step)
    new_width, new_height = (highest - lowest).astype(int).tolist()
    return new_height, new_width
