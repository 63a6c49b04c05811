"""Colours: grey versions, brightness, contrast, saturation, hue, gamma and inversion.

Images are handed to Pillow; for tensors (..., C, H, W) the same is said in tensor operations. Sizes stay
as they are. Invariant: the result has the dtype of the tensor, or the mode of the image unless it was
turned grey.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.dtype import float32
from rushlight.ops.create import ones_like
from rushlight.ops.join import stack
from rushlight.ops.select import minimum, where
from rushlight.tensor import Tensor
from rushlight.vision.images import from_array, is_image, pillow
from rushlight.vision.transforms.convert import convert_image_dtype, max_value
from rushlight.vision.transforms.sizes import check_image, check_tensor_image, get_dimensions

RED, GREEN, BLUE = 0.2989, 0.587, 0.114  # what each contributes to the brightness that is seen


def rgb_to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """The image in grey, in one channel or three equal ones.

    >>> import rushlight as torch
    >>> rgb_to_grayscale(torch.ones(3, 1, 1))
    tensor([[[0.9999]]])
    """
    if not isinstance(img, Tensor):
        return _grey_image(img, num_output_channels)
    if img.dim() < 3:
        raise TypeError(f"Input image tensor should have at least 3 dimensions, but found {img.dim()}")
    _check_channels(img)
    _check_output_channels(num_output_channels)
    if img.shape[-3] == 3:
        red, green, blue = img.unbind(dim=-3)
        grey = (RED * red + GREEN * green + BLUE * blue).to(img.dtype).unsqueeze(-3)
    else:
        grey = img.clone()
    return grey.expand(img.shape) if num_output_channels == 3 else grey


def to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """`rgb_to_grayscale` for Pillow images only."""
    if not is_image(img):
        raise TypeError("Input should be PIL Image")
    return _grey_image(img, num_output_channels)


def _grey_image(img: Any, channels: int) -> Any:
    check_image(img)
    _check_output_channels(channels)
    grey = img.convert("L")
    return grey if channels == 1 else pillow().merge("RGB", (grey, grey, grey))


def _check_output_channels(count: int) -> None:
    if count not in (1, 3):
        raise ValueError("num_output_channels should be either 1 or 3")


def _check_channels(img: Tensor) -> None:
    check_tensor_image(img)
    channels = get_dimensions(img)[0]
    if channels not in (1, 3):
        raise TypeError(f"Input image tensor permitted channel values are [1, 3], but found {channels}")


def adjust_brightness(img: Any, brightness_factor: float) -> Any:
    """The image made darker (a factor below 1; 0 is black) or brighter (above 1)."""
    if not isinstance(img, Tensor):
        return _enhanced(img, "Brightness", brightness_factor)
    _check_factor("brightness_factor", brightness_factor)
    _check_channels(img)
    return _blend(img, img.new_zeros(()), brightness_factor)


def adjust_contrast(img: Any, contrast_factor: float) -> Any:
    """The image moved away from its mean grey (a factor above 1) or towards it (below 1; 0 is grey)."""
    if not isinstance(img, Tensor):
        return _enhanced(img, "Contrast", contrast_factor)
    _check_factor("contrast_factor", contrast_factor)
    _check_channels(img)
    grey = rgb_to_grayscale(img) if get_dimensions(img)[0] == 3 else img
    floats = grey if grey.is_floating_point() else grey.to(float32)
    return _blend(img, floats.mean(dim=(-3, -2, -1), keepdim=True), contrast_factor)


def adjust_saturation(img: Any, saturation_factor: float) -> Any:
    """The image with stronger colours (a factor above 1) or weaker ones (below 1; 0 is grey)."""
    if not isinstance(img, Tensor):
        return _enhanced(img, "Color", saturation_factor)
    _check_factor("saturation_factor", saturation_factor)
    _check_channels(img)
    return img if get_dimensions(img)[0] == 1 else _blend(img, rgb_to_grayscale(img), saturation_factor)


def _enhanced(img: Any, what: str, factor: float) -> Any:
    check_image(img)
    return getattr(pillow("ImageEnhance"), what)(img).enhance(factor)


def _check_factor(name: str, factor: float) -> None:
    if factor < 0:
        raise ValueError(f"{name} ({factor}) is not non-negative.")


def _blend(img: Tensor, other: Tensor, ratio: float) -> Tensor:
    return (ratio * img + (1.0 - ratio) * other).clamp(0, max_value(img.dtype)).to(img.dtype)


def adjust_gamma(img: Any, gamma: float, gain: float = 1) -> Any:
    """The image with each value ``v``, as a fraction of white, replaced by ``gain * v**gamma``."""
    if gamma < 0:
        raise ValueError("Gamma should be a non-negative real number")
    if isinstance(img, Tensor):
        _check_channels(img)
        floats = img if img.is_floating_point() else convert_image_dtype(img, float32)
        return convert_image_dtype((gain * floats.pow(gamma)).clamp(0, 1), img.dtype)
    check_image(img)
    curve = [int((255 + 1 - 1e-3) * gain * pow(value / 255.0, gamma)) for value in range(256)]
    return img.convert("RGB").point(curve * 3).convert(img.mode)


def invert(img: Any) -> Any:
    """The negative: white minus each value."""
    if not isinstance(img, Tensor):
        check_image(img)
        return pillow("ImageOps").invert(img)
    if img.dim() < 3:
        raise TypeError(f"Input image tensor should have at least 3 dimensions, but found {img.dim()}")
    _check_channels(img)
    return max_value(img.dtype) - img


def adjust_hue(img: Any, hue_factor: float) -> Any:
    """The image with all colours turned round the colour wheel, by -0.5 to 0.5 of a full turn."""
    if not -0.5 <= hue_factor <= 0.5:
        raise ValueError(f"hue_factor ({hue_factor}) is not in [-0.5, 0.5].")
    if not isinstance(img, Tensor):
        return _hue_of_image(img, hue_factor)
    _check_channels(img)
    if get_dimensions(img)[0] == 1:
        return img
    hue, saturation, value = _hue_saturation_value(convert_image_dtype(img, float32))
    return convert_image_dtype(
        _red_green_blue((hue + hue_factor).remainder(1.0), saturation, value), img.dtype
    )


def _hue_of_image(img: Any, hue_factor: float) -> Any:
    check_image(img)
    if img.mode in ("L", "1", "I", "F"):
        return img
    hue, saturation, value = img.convert("HSV").split()
    # Bytes wrap around as hues do.
    turned = np.array(hue) + np.int32(hue_factor * 255).astype(np.uint8)
    return pillow().merge("HSV", (from_array(turned, "L"), saturation, value)).convert(img.mode)


def _hue_saturation_value(img: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three of a float image (..., 3, H, W), each (..., H, W) and in [0, 1]."""
    red, green, blue = img.unbind(dim=-3)
    value, lowest = img.amax(dim=-3), img.amin(dim=-3)
    grey = value == lowest
    spread = value - lowest
    saturation = spread / where(grey, ones_like(value), value)
    divisor = where(grey, ones_like(value), spread)
    less_red, less_green, less_blue = ((value - colour) / divisor for colour in (red, green, blue))
    sixths = where(
        value == red,
        less_blue - less_green,
        where(value == green, 2.0 + less_red - less_blue, 4.0 + less_green - less_red),
    )
    return (sixths / 6.0 + 1.0).remainder(1.0), saturation, value


def _red_green_blue(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    channels = []
    for offset in (5.0, 3.0, 1.0):
        place = (offset + hue * 6.0).remainder(6.0)
        # How much of the colour is missing rises from 0 to 1, stays there for a third of the wheel, falls.
        missing = minimum(place, 4.0 - place).clamp(0.0, 1.0)
        channels.append(value - value * saturation * missing)
    return stack(channels, -3)
