"""Made-up images, for trying out a program without data.

Nothing is read, and nothing can be learnt from them. Invariant: a sample depends on its number only, and
drawing it leaves the default generator alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight import draws
from rushlight.dtype import F32, I64
from rushlight.random import Generator
from rushlight.tensor import wrap
from rushlight.vision.datasets.base import VisionDataset, transformed
from rushlight.vision.transforms.convert import to_pil_image


class FakeData(VisionDataset):
    """``size`` random images with random labels; sample ``i`` is always the same.

    Args:
        size: how many samples.
        image_size: (channels, height, width).
        num_classes: labels are below this.
        transform: applied to the image.
        target_transform: applied to the label.
        random_offset: added to the seed of each sample, which is its index.
    """

    def __init__(
        self,
        size: int = 1000,
        image_size: tuple[int, int, int] = (3, 224, 224),
        num_classes: int = 10,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        random_offset: int = 0,
    ) -> None:
        super().__init__(transform=transform, target_transform=target_transform)
        self.size = size
        self.image_size = image_size
        self.num_classes = num_classes
        self.random_offset = random_offset

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if index >= len(self):
            raise IndexError(f"{type(self).__name__} index out of range")
        generator = Generator().manual_seed(index + self.random_offset)
        pixels = draws.normal(generator, int(np.prod(self.image_size)), F32).reshape(self.image_size)
        target: Any = wrap(draws.integers_between(generator, 1, I64, 0, self.num_classes).reshape(()))
        image = to_pil_image(wrap(pixels))
        image, target = transformed(self, image, target)
        return image, target.item()

    def __len__(self) -> int:
        return self.size
