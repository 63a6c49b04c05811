"""Pillow images: the one place that imports Pillow, and the way between images and arrays.

Pillow is imported when the first image is made or opened. Invariant: asking whether something is an image
never imports it, since without Pillow there are no images.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import numpy as np


def pillow(name: str = "Image") -> ModuleType:
    """The module ``PIL.<name>``; ImportError that says what to install if Pillow is missing."""
    try:
        return importlib.import_module(f"PIL.{name}")
    except ImportError as error:
        raise ImportError("images need Pillow: python -m pip install pillow") from error


def is_image(value: Any) -> bool:
    """Whether ``value`` is a Pillow image.

    >>> is_image("cat.png")
    False
    """
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)


def from_array(array: np.ndarray, mode: str) -> Any:
    """An image of the given ``mode`` whose pixels are the values of ``array``, (H, W) or (H, W, C).

    >>> import numpy as np
    >>> from_array(np.zeros((2, 3), np.uint8), "L").size
    (3, 2)
    """
    height, width = array.shape[:2]
    return pillow().frombytes(mode, (width, height), array.tobytes())
