"""Transforms that change the shape of an image or where things are in it, some of them at random.

Each is an object that is called with a Pillow image or a tensor (..., C, H, W). Those whose names begin
with ``Random`` draw new parameters for every image; ``get_params``, where there is one, draws them
without using them. Invariant: they print, and draw, as torchvision's do.
"""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.nn.module import Module
from rushlight.vision.transforms import chance, sizes, turn
from rushlight.vision.transforms.sizes import InterpolationMode, get_dimensions, interpolation_mode


def _check_length(value: Any, name: str, lengths: Sequence[int]) -> None:
    message = f"{name} should be a sequence of length {' or '.join(str(length) for length in lengths)}."
    if not isinstance(value, Sequence):
        raise TypeError(message)
    if len(value) not in lengths:
        raise ValueError(message)


def _angles(value: Any, name: str, lengths: Sequence[int] = (2,)) -> list[float]:
    if isinstance(value, numbers.Number):
        if value < 0:  # type: ignore[operator]
            raise ValueError(f"If {name} is a single number, it must be positive.")
        value = [-value, value]  # type: ignore[operator]
    _check_length(value, name, lengths)
    return [float(angle) for angle in value]


def _checked_fill(fill: Any) -> Any:
    if fill is not None and not isinstance(fill, Sequence | numbers.Number):
        raise TypeError("Fill should be either a sequence or a number.")
    return 0 if fill is None else fill


class Resize(Module):
    """Scales to ``size``: (height, width), or one number for the shorter edge.

    >>> import rushlight as torch
    >>> Resize((2, 3))(torch.zeros(1, 4, 4)).shape
    torch.Size([1, 2, 3])
    """

    def __init__(
        self,
        size: int | Sequence[int],
        interpolation: InterpolationMode = InterpolationMode.BILINEAR,
        max_size: int | None = None,
        antialias: bool | None = True,
    ) -> None:
        super().__init__()
        if not isinstance(size, int | Sequence):
            raise TypeError(f"Size should be int or sequence. Got {type(size)}")
        if isinstance(size, Sequence) and len(size) not in (1, 2):
            raise ValueError("If size is a sequence, it should have 1 or 2 values")
        self.size = size
        self.max_size = max_size
        self.interpolation = interpolation_mode(interpolation)
        self.antialias = antialias

    def forward(self, img: Any) -> Any:
        return sizes.resize(img, self.size, self.interpolation, self.max_size, self.antialias)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(size={self.size}, interpolation={self.interpolation.value}, "
            f"max_size={self.max_size}, antialias={self.antialias})"
        )


class CenterCrop(Module):
    """The middle of the image, (height, width) or a square; where it is too small, black is added."""

    def __init__(self, size: int | Sequence[int]) -> None:
        super().__init__()
        self.size = sizes.height_and_width(size)

    def forward(self, img: Any) -> Any:
        return sizes.center_crop(img, self.size)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size})"


class Pad(Module):
    """Adds a border; see `functional.pad`."""

    def __init__(
        self,
        padding: int | Sequence[int],
        fill: float | Sequence[float] = 0,
        padding_mode: str = "constant",
    ) -> None:
        super().__init__()
        sizes.check_padding(padding, fill, padding_mode)
        self.padding = padding
        self.fill = fill
        self.padding_mode = padding_mode

    def forward(self, img: Any) -> Any:
        return sizes.pad(img, self.padding, self.fill, self.padding_mode)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(padding={self.padding}, fill={self.fill}, "
            f"padding_mode={self.padding_mode})"
        )


class RandomCrop(Module):
    """A part of the given size from anywhere in the image, after padding if that is asked for.

    Raises ValueError if the image is smaller than ``size`` and ``pad_if_needed`` is false.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill: float | Sequence[float] = 0,
        padding_mode: str = "constant",
    ) -> None:
        super().__init__()
        self.size = tuple(sizes.height_and_width(size))
        self.padding = padding
        self.pad_if_needed = pad_if_needed
        self.fill = fill
        self.padding_mode = padding_mode

    @staticmethod
    def get_params(img: Any, output_size: tuple[int, int]) -> tuple[int, int, int, int]:
        """A random (top, left, height, width) for `functional.crop`."""
        _, height, width = get_dimensions(img)
        new_height, new_width = output_size
        if height < new_height or width < new_width:
            raise ValueError(
                f"Required crop size {(new_height, new_width)} is larger than input image size "
                f"{(height, width)}"
            )
        if (new_height, new_width) == (height, width):
            return 0, 0, height, width
        top = chance.below(height - new_height + 1)
        left = chance.below(width - new_width + 1)
        return top, left, new_height, new_width

    def forward(self, img: Any) -> Any:
        if self.padding is not None:
            img = sizes.pad(img, self.padding, self.fill, self.padding_mode)
        _, height, width = get_dimensions(img)
        if self.pad_if_needed and width < self.size[1]:
            img = sizes.pad(img, [self.size[1] - width, 0], self.fill, self.padding_mode)
        if self.pad_if_needed and height < self.size[0]:
            img = sizes.pad(img, [0, self.size[0] - height], self.fill, self.padding_mode)
        return sizes.crop(img, *self.get_params(img, self.size))  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size}, padding={self.padding})"


class RandomResizedCrop(Module):
    """A part of random size and shape, scaled to ``size``.

    ``scale`` are the limits of its area as a fraction of the image's, ``ratio`` those of width over height.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3.0 / 4.0, 4.0 / 3.0),
        interpolation: InterpolationMode = InterpolationMode.BILINEAR,
        antialias: bool | None = True,
    ) -> None:
        super().__init__()
        self.size = sizes.height_and_width(size)
        if not isinstance(scale, Sequence):
            raise TypeError("Scale should be a sequence")
        if not isinstance(ratio, Sequence):
            raise TypeError("Ratio should be a sequence")
        if scale[0] > scale[1] or ratio[0] > ratio[1]:
            warnings.warn("Scale and ratio should be of kind (min, max)", stacklevel=2)
        self.interpolation = interpolation_mode(interpolation)
        self.antialias = antialias
        self.scale = scale
        self.ratio = ratio

    @staticmethod
    def get_params(img: Any, scale: Sequence[float], ratio: Sequence[float]) -> tuple[int, int, int, int]:
        """A random (top, left, height, width) to crop to; the middle if ten attempts do not fit."""
        _, height, width = get_dimensions(img)
        area = height * width
        low, high = (float(np.float32(math.log(np.float32(limit)))) for limit in ratio)
        for _ in range(10):
            wanted = area * chance.uniform(scale[0], scale[1])
            aspect = float(np.float32(math.exp(chance.uniform(low, high))))
            new_width = round(math.sqrt(wanted * aspect))
            new_height = round(math.sqrt(wanted / aspect))
            if 0 < new_width <= width and 0 < new_height <= height:
                top = chance.below(height - new_height + 1)
                left = chance.below(width - new_width + 1)
                return top, left, new_height, new_width
        new_width, new_height = width, height
        if width / height < min(ratio):
            new_height = round(width / min(ratio))
        elif width / height > max(ratio):
            new_width = round(height * max(ratio))
        return (height - new_height) // 2, (width - new_width) // 2, new_height, new_width

    def forward(self, img: Any) -> Any:
        place = self.get_params(img, self.scale, self.ratio)
        return sizes.resized_crop(img, *place, self.size, self.interpolation, antialias=self.antialias)

    def __repr__(self) -> str:
        scale = tuple(round(limit, 4) for limit in self.scale)
        ratio = tuple(round(limit, 4) for limit in self.ratio)
        return (
            f"{type(self).__name__}(size={self.size}, scale={scale}, ratio={ratio}, "
            f"interpolation={self.interpolation.value}, antialias={self.antialias})"
        )


class RandomHorizontalFlip(Module):
    """Exchanges left and right with probability ``p``."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def forward(self, img: Any) -> Any:
        return sizes.hflip(img) if chance.happens(self.p) else img

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


class RandomVerticalFlip(Module):
    """Exchanges top and bottom with probability ``p``."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def forward(self, img: Any) -> Any:
        return sizes.vflip(img) if chance.happens(self.p) else img

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


class RandomRotation(Module):
    """Turns the image by an angle between the two in ``degrees``, or between minus and plus one number."""

    def __init__(
        self,
        degrees: float | Sequence[float],
        interpolation: InterpolationMode = InterpolationMode.NEAREST,
        expand: bool = False,
        center: Sequence[float] | None = None,
        fill: float | Sequence[float] = 0,
    ) -> None:
        super().__init__()
        self.interpolation = interpolation_mode(interpolation)
        self.degrees = _angles(degrees, "degrees")
        if center is not None:
            _check_length(center, "center", (2,))
        self.center = center
        self.expand = expand
        self.fill = _checked_fill(fill)

    @staticmethod
    def get_params(degrees: Sequence[float]) -> float:
        """A random angle."""
        return chance.uniform(degrees[0], degrees[1])

    def forward(self, img: Any) -> Any:
        angle = self.get_params(self.degrees)
        return turn.rotate(img, angle, self.interpolation, self.expand, self.center, self.fill)

    def __repr__(self) -> str:
        center = "" if self.center is None else f", center={self.center}"
        return (
            f"{type(self).__name__}(degrees={self.degrees}, interpolation={self.interpolation.value}, "
            f"expand={self.expand}{center}, fill={self.fill})"
        )


class RandomAffine(Module):
    """Turns, moves, scales and shears by random amounts within limits; see `functional.affine`.

    ``translate`` limits the move as a fraction of width and height, ``scale`` gives the smallest and largest
    scale, ``shear`` the limits of the angle for x, or for x and for y.
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: float | Sequence[float] | None = None,
        interpolation: InterpolationMode = InterpolationMode.NEAREST,
        fill: float | Sequence[float] = 0,
        center: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.interpolation = interpolation_mode(interpolation)
        self.degrees = _angles(degrees, "degrees")
        if translate is not None:
            _check_length(translate, "translate", (2,))
            if not all(0.0 <= part <= 1.0 for part in translate):
                raise ValueError("translation values should be between 0 and 1")
        if scale is not None:
            _check_length(scale, "scale", (2,))
            if not all(part > 0 for part in scale):
                raise ValueError("scale values should be positive")
        if center is not None:
            _check_length(center, "center", (2,))
        self.translate = translate
        self.scale = scale
        self.shear = None if shear is None else _angles(shear, "shear", (2, 4))
        self.fill = _checked_fill(fill)
        self.center = center

    @staticmethod
    def get_params(
        degrees: Sequence[float],
        translate: Sequence[float] | None,
        scale_ranges: Sequence[float] | None,
        shears: Sequence[float] | None,
        img_size: Sequence[int],
    ) -> tuple[float, tuple[int, int], float, tuple[float, float]]:
        """A random (angle, translate, scale, shear) for an image of size (width, height)."""
        angle = chance.uniform(degrees[0], degrees[1])
        move = (0, 0)
        if translate is not None:
            most_x, most_y = (float(part * length) for part, length in zip(translate, img_size, strict=True))
            move = (round(chance.uniform(-most_x, most_x)), round(chance.uniform(-most_y, most_y)))
        scale = 1.0 if scale_ranges is None else chance.uniform(*scale_ranges)
        shear_x = shear_y = 0.0
        if shears is not None:
            shear_x = chance.uniform(shears[0], shears[1])
            if len(shears) == 4:
                shear_y = chance.uniform(shears[2], shears[3])
        return angle, move, scale, (shear_x, shear_y)

    def forward(self, img: Any) -> Any:
        _, height, width = get_dimensions(img)
        params = self.get_params(self.degrees, self.translate, self.scale, self.shear, [width, height])
        return turn.affine(img, *params, interpolation=self.interpolation, fill=self.fill, center=self.center)

    def __repr__(self) -> str:
        parts = [f"degrees={self.degrees}"]
        for name in ("translate", "scale", "shear"):
            if getattr(self, name) is not None:
                parts.append(f"{name}={getattr(self, name)}")
        if self.interpolation != InterpolationMode.NEAREST:
            parts.append(f"interpolation={self.interpolation.value}")
        if self.fill != 0:
            parts.append(f"fill={self.fill}")
        if self.center is not None:
            parts.append(f"center={self.center}")
        return f"{type(self).__name__}({', '.join(parts)})"
