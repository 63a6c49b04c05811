"""Resizing, cropping, padding and mirroring, for Pillow images and for tensors (..., C, H, W).

Images are handed to Pillow; for tensors the same is said in tensor operations. Sizes are (height, width),
paddings (left, top, right, bottom), as torchvision has them. Invariant: a tensor's leading dimensions and
dtype, and an image's mode, are kept.
"""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np

from rushlight.ops.convert import as_tensor
from rushlight.tensor import Tensor
from rushlight.vision.images import is_image, pillow
from rushlight.vision.transforms.resample import resize_tensor

PADDING_MODES = ("constant", "edge", "reflect", "symmetric")


class InterpolationMode(Enum):
    """How values between pixels are found; BOX, HAMMING and LANCZOS are for Pillow images only."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


PILLOW_NAMES = {mode: mode.name for mode in InterpolationMode} | {InterpolationMode.NEAREST_EXACT: "NEAREST"}


def interpolation_mode(value: Any) -> InterpolationMode:
    """``value`` as an `InterpolationMode`, which it is already or means as one of Pillow's numbers."""
    if isinstance(value, InterpolationMode):
        return value
    by_number = {0: "nearest", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming", 1: "lanczos"}
    if not isinstance(value, int):
        raise TypeError(
            "Argument interpolation should be a InterpolationMode or a corresponding Pillow integer constant"
        )
    return InterpolationMode(by_number[value])


def pillow_resampling(mode: InterpolationMode) -> Any:
    """Pillow's name for an interpolation mode."""
    return getattr(pillow().Resampling, PILLOW_NAMES[mode])


def check_image(img: Any) -> None:
    """Raise TypeError unless ``img`` is a Pillow image."""
    if not is_image(img):
        raise TypeError(f"img should be PIL Image. Got {type(img)}")


def check_tensor_image(img: Tensor) -> None:
    """Raise TypeError unless ``img`` has a height and a width."""
    if img.dim() < 2:
        raise TypeError("Tensor is not a torch image.")


def get_dimensions(img: Any) -> list[int]:
    """[channels, height, width] of an image.

    >>> import rushlight as torch
    >>> get_dimensions(torch.zeros(3, 4, 5))
    [3, 4, 5]
    """
    if isinstance(img, Tensor):
        check_tensor_image(img)
        return [1 if img.dim() == 2 else img.shape[-3], *img.shape[-2:]]
    if is_image(img):
        width, height = img.size
        return [len(img.getbands()), height, width]
    raise TypeError(f"Unexpected type {type(img)}")


def get_image_size(img: Any) -> list[int]:
    """[width, height] of an image."""
    return get_dimensions(img)[:0:-1]


def get_image_num_channels(img: Any) -> int:
    """How many channels an image has."""
    return get_dimensions(img)[0]


def height_and_width(size: Any) -> Sequence[int]:
    """``size`` as (height, width), from one number for both, or a sequence of one or two."""
    if isinstance(size, numbers.Number):
        return (int(size), int(size))  # type: ignore[call-overload]
    if len(size) == 1:
        return (size[0], size[0])
    if len(size) != 2:
        raise ValueError("Please provide only two dimensions (h, w) for size.")
    return size


def hflip(img: Any) -> Any:
    """The image with left and right exchanged."""
    if isinstance(img, Tensor):
        check_tensor_image(img)
        return img.flip(-1)
    check_image(img)
    return img.transpose(pillow().Transpose.FLIP_LEFT_RIGHT)


def vflip(img: Any) -> Any:
    """The image with top and bottom exchanged."""
    if isinstance(img, Tensor):
        check_tensor_image(img)
        return img.flip(-2)
    check_image(img)
    return img.transpose(pillow().Transpose.FLIP_TOP_BOTTOM)


def resize(
    img: Any,
    size: int | Sequence[int],
    interpolation: InterpolationMode = InterpolationMode.BILINEAR,
    max_size: int | None = None,
    antialias: bool | None = True,
) -> Any:
    """The image scaled to ``size``: (height, width), or one number for the shorter edge.

    With one number, ``max_size`` is a limit for the longer edge. ``antialias`` is for bilinear and bicubic
    scaling of tensors; Pillow always does it.
    """
    mode = interpolation_mode(interpolation)
    sizes = [size] if isinstance(size, int) else list(size)
    if len(sizes) not in (1, 2):
        raise ValueError(
            f"Size must be an int or a 1 or 2 element tuple/list, not a {len(sizes)} element tuple/list"
        )
    if max_size is not None and len(sizes) != 1:
        raise ValueError(
            "max_size should only be passed if size specifies the length of the smaller edge, "
            "i.e. size should be an int or a sequence of length 1 in torchscript mode."
        )
    _, height, width = get_dimensions(img)
    if len(sizes) == 1:
        sizes = _size_for_shorter_edge(height, width, sizes[0], max_size)
    if sizes == [height, width]:
        return img
    if isinstance(img, Tensor):
        return resize_tensor(img, (sizes[0], sizes[1]), mode.value, bool(antialias))
    if antialias is False:
        warnings.warn(
            "Anti-alias option is always applied for PIL Image input. Argument antialias is ignored.",
            stacklevel=2,
        )
    return img.resize((sizes[1], sizes[0]), pillow_resampling(mode))


def _size_for_shorter_edge(height: int, width: int, wanted: int, max_size: int | None) -> list[int]:
    short, long = sorted((height, width))
    new_short, new_long = wanted, int(wanted * long / short)
    if max_size is not None:
        if max_size <= wanted:
            raise ValueError(
                f"max_size = {max_size} must be strictly greater than the requested "
                f"size for the smaller edge size = {[wanted]}"
            )
        if new_long > max_size:
            new_short, new_long = int(max_size * new_short / new_long), max_size
    return [new_long, new_short] if width <= height else [new_short, new_long]


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """The part of the image with the given corner and size; what lies outside is black."""
    if not isinstance(img, Tensor):
        check_image(img)
        return img.crop((left, top, left + width, top + height))
    _, old_height, old_width = get_dimensions(img)
    right, bottom = left + width, top + height
    inside = img[..., max(top, 0) : bottom, max(left, 0) : right]
    if left >= 0 and top >= 0 and right <= old_width and bottom <= old_height:
        return inside
    outside = [
        max(-left + min(0, right), 0),
        max(-top + min(0, bottom), 0),
        max(right - max(old_width, left), 0),
        max(bottom - max(old_height, top), 0),
    ]
    return pad(inside, outside)


def center_crop(img: Any, output_size: int | Sequence[int]) -> Any:
    """The middle of the image; where it is too small, black is added around it."""
    new_height, new_width = height_and_width(output_size)
    _, height, width = get_dimensions(img)
    if new_width > width or new_height > height:
        more_x, more_y = max(new_width - width, 0), max(new_height - height, 0)
        img = pad(img, [more_x // 2, more_y // 2, (more_x + 1) // 2, (more_y + 1) // 2])
        _, height, width = get_dimensions(img)
        if (new_height, new_width) == (height, width):
            return img
    top = round((height - new_height) / 2.0)
    left = round((width - new_width) / 2.0)
    return crop(img, top, left, new_height, new_width)


def resized_crop(
    img: Any,
    top: int,
    left: int,
    height: int,
    width: int,
    size: Sequence[int],
    interpolation: InterpolationMode = InterpolationMode.BILINEAR,
    antialias: bool | None = True,
) -> Any:
    """`crop` and then `resize`."""
    return resize(crop(img, top, left, height, width), size, interpolation, antialias=antialias)


def pad(
    img: Any, padding: int | Sequence[int], fill: float | Sequence[float] = 0, padding_mode: str = "constant"
) -> Any:
    """The image with a border: one width for all sides, (left and right, top and bottom), or one for each.

    The border is of colour ``fill`` (``constant``), repeats the outermost pixels (``edge``), or mirrors
    the image without (``reflect``) or with (``symmetric``) them. Negative widths crop.
    """
    widths = check_padding(padding, fill, padding_mode)
    sides = (widths * 4)[:4]  # left, top, right, bottom
    if isinstance(img, Tensor):
        return _pad_tensor(img, sides, fill or 0, padding_mode)
    check_image(img)
    return _pad_image(img, sides, fill, padding_mode)


def check_padding(padding: Any, fill: Any, padding_mode: Any) -> list[int]:
    """``padding`` as a list of 1, 2 or 4 widths; TypeError or ValueError if an argument is not acceptable."""
    if not isinstance(padding, numbers.Number | tuple | list):
        raise TypeError("Got inappropriate padding arg")
    if fill is not None and not isinstance(fill, numbers.Number | tuple | list):
        raise TypeError("Got inappropriate fill arg")
    if not isinstance(padding_mode, str):
        raise TypeError("Got inappropriate padding_mode arg")
    if padding_mode not in PADDING_MODES:
        raise ValueError("Padding mode should be either constant, edge, reflect or symmetric")
    widths: list[Any] = list(padding) if isinstance(padding, tuple | list) else [padding]
    if len(widths) not in (1, 2, 4):
        raise ValueError(
            f"Padding must be an int or a 1, 2, or 4 element tuple, not a {len(widths)} element tuple"
        )
    return widths


def _pad_image(img: Any, sides: list[int], fill: Any, padding_mode: str) -> Any:
    palette = img.getpalette() if img.mode == "P" else None
    if padding_mode == "constant":
        padded = pillow("ImageOps").expand(img, border=tuple(sides), fill=fill_for(img, fill))
    else:
        left, top, right, bottom = (max(side, 0) for side in sides)
        cropped = [max(-side, 0) for side in sides]
        if any(cropped):
            img = img.crop((cropped[0], cropped[1], img.width - cropped[2], img.height - cropped[3]))
        array = np.asarray(img)
        borders = [(top, bottom), (left, right), (0, 0)][: array.ndim]
        padded = pillow().fromarray(np.pad(array, borders, mode=padding_mode))  # type: ignore[call-overload]
    if palette is not None:
        padded.putpalette(palette)
    return padded


def fill_for(img: Any, fill: float | Sequence[float] | None) -> Any:
    """A fill colour as Pillow wants it for this image: one value a channel, integers unless the mode is F."""
    channels = len(img.getbands())
    values: list[Any] = list(fill) if isinstance(fill, tuple | list) else [fill or 0]
    if len(values) == 1:
        values *= channels
    if len(values) != channels:
        raise ValueError(
            "The number of elements in 'fill' does not match the number of channels of the image "
            f"({len(values)} != {channels})"
        )
    if img.mode != "F":
        values = [int(value) for value in values]
    return values[0] if channels == 1 and not isinstance(fill, tuple | list) else tuple(values)


def _pad_tensor(img: Tensor, sides: list[int], fill: Any, padding_mode: str) -> Tensor:
    check_tensor_image(img)
    if not isinstance(fill, int | float):
        raise TypeError("Got inappropriate fill arg")
    left, top, right, bottom = sides
    rows = _padded_range(img.shape[-2], top, bottom, padding_mode)
    columns = _padded_range(img.shape[-1], left, right, padding_mode)
    if padding_mode != "constant":
        return img[..., as_tensor(rows)[:, None], as_tensor(columns)]
    if len(rows) == 0 or len(columns) == 0:
        raise RuntimeError(f"padding {sides} leaves nothing of an image of {img.shape[-2]} x {img.shape[-1]}")
    padded = img.new_full((*img.shape[:-2], len(rows), len(columns)), fill)
    inside = img[..., _kept(img.shape[-2], top, bottom), _kept(img.shape[-1], left, right)]
    padded[..., _kept(len(rows), -top, -bottom), _kept(len(columns), -left, -right)] = inside
    return padded


def _kept(size: int, before: int, after: int) -> slice:
    """What is left when negative paddings are cut off."""
    return slice(max(-before, 0), size + min(after, 0))


def _padded_range(size: int, before: int, after: int, padding_mode: str) -> np.ndarray:
    """The old position that each new one gets its value from; of no meaning in a constant border."""
    kept = np.arange(size)[_kept(size, before, after)]
    most = len(kept) - (padding_mode == "reflect")
    if padding_mode in ("reflect", "symmetric") and max(before, after) > most:
        raise RuntimeError(
            "Padding size should be less than the corresponding input dimension, but got: "
            f"padding ({before}, {after}) at a dimension of size {size}"
        )
    return np.pad(kept, (max(before, 0), max(after, 0)), mode=padding_mode)  # type: ignore[call-overload]
