"""Transforms that change colours, and those that leave it to chance which other transforms are applied.

Each is an object that is called with a Pillow image or a tensor (..., C, H, W). Invariant: they print,
and draw, as torchvision's do; `RandomOrder` and `RandomChoice` draw from Python's `random`, as there.
"""

from __future__ import annotations

import numbers
import random
from collections.abc import Callable, Sequence
from typing import Any

from rushlight.nn.module import Module
from rushlight.vision.transforms import chance, colors
from rushlight.vision.transforms.basic import lines_of
from rushlight.vision.transforms.sizes import get_dimensions

Limits = tuple[float, float] | None


class Grayscale(Module):
    """The image in grey, in one channel or three equal ones."""

    def __init__(self, num_output_channels: int = 1) -> None:
        super().__init__()
        self.num_output_channels = num_output_channels

    def forward(self, img: Any) -> Any:
        return colors.rgb_to_grayscale(img, self.num_output_channels)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_output_channels={self.num_output_channels})"


class RandomGrayscale(Module):
    """With probability ``p`` the image in grey, with as many channels as before."""

    def __init__(self, p: float = 0.1) -> None:
        super().__init__()
        self.p = p

    def forward(self, img: Any) -> Any:
        channels = get_dimensions(img)[0]
        return colors.rgb_to_grayscale(img, channels) if chance.happens(self.p) else img

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


class RandomInvert(Module):
    """The negative with probability ``p``."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def forward(self, img: Any) -> Any:
        return colors.invert(img) if chance.happens(self.p) else img

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


class ColorJitter(Module):
    """Changes brightness, contrast, saturation and hue by random factors, in random order.

    Each is a number ``x``, for factors from ``1 - x`` to ``1 + x`` (hue: from ``-x`` to ``x``), or the
    two limits.
    """

    def __init__(
        self,
        brightness: float | tuple[float, float] = 0,
        contrast: float | tuple[float, float] = 0,
        saturation: float | tuple[float, float] = 0,
        hue: float | tuple[float, float] = 0,
    ) -> None:
        super().__init__()
        self.brightness = _limits(brightness, "brightness", 1, (0, float("inf")))
        self.contrast = _limits(contrast, "contrast", 1, (0, float("inf")))
        self.saturation = _limits(saturation, "saturation", 1, (0, float("inf")))
        self.hue = _limits(hue, "hue", 0, (-0.5, 0.5))

    @staticmethod
    def get_params(
        brightness: Limits, contrast: Limits, saturation: Limits, hue: Limits
    ) -> tuple[list[int], float | None, float | None, float | None, float | None]:
        """A random order of the four, and a factor for each that has limits."""
        order = chance.order(4)
        factors = [
            None if limits is None else chance.uniform(*limits)
            for limits in (brightness, contrast, saturation, hue)
        ]
        return order, factors[0], factors[1], factors[2], factors[3]

    def forward(self, img: Any) -> Any:
        order, *factors = self.get_params(self.brightness, self.contrast, self.saturation, self.hue)
        steps = (
            colors.adjust_brightness,
            colors.adjust_contrast,
            colors.adjust_saturation,
            colors.adjust_hue,
        )
        for i in order:
            factor = factors[i]
            if factor is not None:
                img = steps[i](img, factor)
        return img

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(brightness={self.brightness}, contrast={self.contrast}, "
            f"saturation={self.saturation}, hue={self.hue})"
        )


def _limits(value: Any, name: str, centre: float, bound: tuple[float, float]) -> Limits:
    if isinstance(value, numbers.Number):
        if value < 0:  # type: ignore[operator]
            raise ValueError(f"If {name} is a single number, it must be non negative.")
        low, high = centre - float(value), centre + float(value)  # type: ignore[arg-type]
        if centre == 1:
            low = max(low, 0.0)
    elif isinstance(value, tuple | list) and len(value) == 2:
        low, high = float(value[0]), float(value[1])
    else:
        raise TypeError(f"{name} should be a single number or a list/tuple with length 2.")
    if not bound[0] <= low <= high <= bound[1]:
        raise ValueError(f"{name} values should be between {bound}, but got {[low, high]}.")
    return None if low == high == centre else (low, high)


class RandomApply(Module):
    """Applies all of ``transforms``, with probability ``p``."""

    def __init__(self, transforms: Sequence[Callable], p: float = 0.5) -> None:
        super().__init__()
        self.transforms = transforms
        self.p = p

    def forward(self, img: Any) -> Any:
        if chance.fails(self.p):
            return img
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self) -> str:
        return lines_of(type(self).__name__, [f"p={self.p}", *self.transforms])


class RandomOrder:
    """Applies all of ``transforms``, in random order."""

    def __init__(self, transforms: Sequence[Callable]) -> None:
        self.transforms = _checked(transforms)

    def __call__(self, img: Any) -> Any:
        order = list(range(len(self.transforms)))
        random.shuffle(order)
        for i in order:
            img = self.transforms[i](img)
        return img

    def __repr__(self) -> str:
        return lines_of(type(self).__name__, self.transforms)


class RandomChoice:
    """Applies one of ``transforms``, chosen with the probabilities ``p``."""

    def __init__(self, transforms: Sequence[Callable], p: Sequence[float] | None = None) -> None:
        self.transforms = _checked(transforms)
        if p is not None and not isinstance(p, Sequence):
            raise TypeError("Argument p should be a sequence")
        self.p = p

    def __call__(self, *args: Any) -> Any:
        return random.choices(self.transforms, weights=self.p)[0](*args)

    def __repr__(self) -> str:
        return f"{lines_of(type(self).__name__, self.transforms)}(p={self.p})"


def _checked(transforms: Any) -> Sequence[Callable]:
    if not isinstance(transforms, Sequence):
        raise TypeError("Argument transforms should be a sequence")
    return transforms
