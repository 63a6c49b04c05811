"""Between Pillow images, arrays and tensors, and between the value ranges of dtypes.

An image as a tensor is (C, H, W), with values up to 1 if they are floats and up to the largest integer of
its type otherwise. Nothing here changes size or colour. Invariant: converting an 8-bit image to a tensor
and back gives the same image.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.dtype import dtype as Dtype
from rushlight.dtype import float32, float64, get_default_dtype, iinfo, int32, int64, uint8
from rushlight.ops.convert import as_tensor, from_numpy_array
from rushlight.tensor import Tensor
from rushlight.vision.images import from_array, is_image

SIXTEEN_BIT = "I;16" if sys.byteorder == "little" else "I;16B"
ARRAY_TYPES = {"I": np.int32, SIXTEEN_BIT: np.int16, "F": np.float32}  # of Pillow's modes; others are bytes
MODES_BY_TYPE = {"uint8": "L", "int16": SIXTEEN_BIT, "int32": "I", "float32": "F"}  # of one channel
MODES_BY_CHANNELS = {2: ["LA"], 3: ["RGB", "YCbCr", "HSV"], 4: ["RGBA", "CMYK", "RGBX"]}


def to_tensor(pic: Any) -> Tensor:
    """A Pillow image or an array (H, W) or (H, W, C) as a tensor (C, H, W); bytes become floats in [0, 1].

    >>> import numpy as np
    >>> to_tensor(np.array([[0, 255]], np.uint8))
    tensor([[[0., 1.]]])
    """
    if is_image(pic):
        image = _pixels(pic, np.array(pic, ARRAY_TYPES.get(pic.mode, np.uint8), copy=True))
        if pic.mode == "1":
            image = 255 * image
    elif not isinstance(pic, np.ndarray):
        raise TypeError(f"pic should be PIL Image or ndarray. Got {type(pic)}")
    elif pic.ndim not in (2, 3):
        raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
    else:
        array = pic[:, :, None] if pic.ndim == 2 else pic
        image = from_numpy_array(array.transpose(2, 0, 1)).contiguous()
    if image.dtype == uint8:
        return image.to(get_default_dtype()).div(255)
    return image


def pil_to_tensor(pic: Any) -> Tensor:
    """A Pillow image as a tensor (C, H, W) with the image's own values."""
    if not is_image(pic):
        raise TypeError(f"pic should be PIL Image. Got {type(pic)}")
    return _pixels(pic, np.array(pic, copy=True))


def _pixels(pic: Any, array: np.ndarray) -> Tensor:
    """The array of an image, (H, W) or (H, W, C), as a tensor (C, H, W)."""
    width, height = pic.size
    return from_numpy_array(array).view(height, width, len(pic.getbands())).permute(2, 0, 1).contiguous()


def convert_image_dtype(image: Tensor, dtype: Dtype = float32) -> Tensor:
    """The image in another dtype, its values scaled from the old range to the new.

    Raises RuntimeError where the floats are too coarse for the integers (float32 to int32).

    >>> import rushlight as torch
    >>> convert_image_dtype(torch.tensor([0, 51, 255], dtype=torch.uint8))
    tensor([0.0000, 0.2000, 1.0000])
    """
    if not isinstance(image, Tensor):
        raise TypeError("Input img should be Tensor Image")
    old = image.dtype
    if old == dtype:
        return image
    if old.is_floating_point:
        if dtype.is_floating_point:
            return image.to(dtype)
        if (old == float32 and dtype in (int32, int64)) or (old == float64 and dtype == int64):
            raise RuntimeError(f"The cast from {old} to {dtype} cannot be performed safely.")
        # Nearly one more than the largest value, so that every integer gets an equal share of [0, 1].
        return image.mul(max_value(dtype) + 1.0 - 1e-3).to(dtype)
    old_max = max_value(old)
    if dtype.is_floating_point:
        return image.to(dtype) / old_max
    new_max = max_value(dtype)
    if old_max > new_max:
        return image.div((old_max + 1) // (new_max + 1), rounding_mode="floor").to(dtype)
    return image.to(dtype) * ((new_max + 1) // (old_max + 1))


def max_value(dtype: Dtype) -> int:
    """The value of white: 1 for floats and bool, the largest integer for the others."""
    return iinfo(dtype).max if not dtype.is_floating_point and dtype.name != "bool" else 1


def to_pil_image(pic: Any, mode: str | None = None) -> Any:
    """A tensor (C, H, W) or an array (H, W, C), or either of (H, W), as a Pillow image.

    Floats are taken to be in [0, 1], unless ``mode`` is ``F``. Without a ``mode`` it follows from the
    number of channels and the type of the values.
    """
    if isinstance(pic, Tensor):
        pic = (pic.permute(1, 2, 0) if pic.dim() == 3 else pic).numpy(force=True)
    elif not isinstance(pic, np.ndarray):
        raise TypeError(f"pic should be Tensor or ndarray. Got {type(pic)}.")
    if pic.ndim not in (2, 3):
        raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
    array = pic[:, :, None] if pic.ndim == 2 else pic
    channels = array.shape[2]
    if channels > 4:
        raise ValueError(f"pic should not have > 4 channels. Got {channels} channels.")
    if np.issubdtype(array.dtype, np.floating) and mode != "F":
        array = (array * 255).astype(np.uint8)
    return from_array(array[:, :, 0] if channels == 1 else array, _mode(array, channels, mode))


def _mode(array: np.ndarray, channels: int, mode: str | None) -> str:
    if channels == 1:
        expected = MODES_BY_TYPE.get(array.dtype.name)
        if mode is not None and mode != expected:
            raise ValueError(
                f"Incorrect mode ({mode}) supplied for input type {array.dtype}. Should be {expected}"
            )
        mode = expected
    elif mode is None and array.dtype == np.uint8:
        mode = MODES_BY_CHANNELS[channels][0]
    elif mode is not None and mode not in MODES_BY_CHANNELS[channels]:
        raise ValueError(f"Only modes {MODES_BY_CHANNELS[channels]} are supported for {channels}D inputs")
    if mode is None:
        raise TypeError(f"Input type {array.dtype} is not supported")
    return mode


def normalize(tensor: Tensor, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> Tensor:
    """``(tensor - mean) / std`` channel by channel, for a float image (..., C, H, W).

    >>> import rushlight as torch
    >>> normalize(torch.ones(1, 1, 2), mean=(0.5,), std=(0.25,))
    tensor([[[2., 2.]]])
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(tensor)}")
    if not tensor.is_floating_point():
        raise TypeError(
            f"Input tensor should be a float tensor. Got {tensor.dtype}. "
            "Put ToTensor or ConvertImageDtype before Normalize."
        )
    if tensor.dim() < 3:
        raise ValueError(
            "Expected tensor to be a tensor image of size (..., C, H, W). "
            f"Got tensor.size() = {tensor.size()}"
        )
    if not inplace:
        tensor = tensor.clone()
    means = as_tensor(mean, dtype=tensor.dtype)
    deviations = as_tensor(std, dtype=tensor.dtype)
    if deviations.eq(0).any():
        raise ValueError(
            f"std evaluated to zero after conversion to {tensor.dtype}, leading to division by zero."
        )
    if means.dim() == 1:
        means = means.view(-1, 1, 1)
    if deviations.dim() == 1:
        deviations = deviations.view(-1, 1, 1)
    return tensor.sub_(means).div_(deviations)
