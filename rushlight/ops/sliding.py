"""Windows of images that a kernel slides over: for NumPy when eager, in plainer ops when a step is recorded.

Columns are the windows side by side, which makes a convolution a product of matrices. Two functions do all of
it, each in both forms: one copies windows to columns, its adjoint adds columns to where their elements came
from, once for each place in the kernel. Images have any number of spatial dimensions. Invariant: nothing is
multiplied here, and both forms say the same.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from rushlight.ops.create import zeros_of
from rushlight.ops.pad import pad
from rushlight.tensor import Tensor

Index = tuple[slice, ...]


class Sliding(NamedTuple):
    """How a kernel slides: its shape, and for each spatial dimension how far it goes at a time, how many
    zeros are around the image, and how far apart its elements are.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many the kernel has."""
        return math.prod(self.kernel)

    def places(self, size: Sequence[int]) -> tuple[int, ...]:
        """How many places it has on an image of this size."""
        return tuple(
            (length + 2 * zeros - apart * (kernel - 1) - 1) // step + 1
            for length, kernel, step, zeros, apart in zip(size, *self, strict=True)
        )

    def sizes_around(self, size: Sequence[int]) -> tuple[int, ...]:
        """The size with the zeros."""
        return tuple(length + 2 * zeros for length, zeros in zip(size, self.padding, strict=True))

    def within(self, size: Sequence[int]) -> Index:
        """Where the image is among the zeros."""
        return tuple(slice(zeros, zeros + length) for length, zeros in zip(size, self.padding, strict=True))

    def steps(self, places: Sequence[int]) -> Iterator[tuple[tuple[int, ...], Index]]:
        """For each element of the kernel: which one, and where the image is when it is there."""
        for element in itertools.product(*map(range, self.kernel)):
            dims = zip(element, self.dilation, self.stride, places, strict=True)
            yield (
                element,
                tuple(slice(i * apart, i * apart + step * (n - 1) + 1, step) for i, apart, step, n in dims),
            )

    def strides(self, along: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Strides of windows, within the kernel and from place to place, from those of the image."""
        within = tuple(each * apart for each, apart in zip(along, self.dilation, strict=True))
        return within, tuple(each * step for each, step in zip(along, self.stride, strict=True))


# -- arrays --------------------------------------------------------------------------------------------------

# Samples come last here: images have few neighbours that are copied as one, samples lie side by side.


def surrounded(image: np.ndarray, sliding: Sliding) -> np.ndarray:
    """A copy of the image with the zeros around it, ``(channels, *size, samples)``."""
    samples, channels, *size = image.shape
    if not any(sliding.padding):
        return np.ascontiguousarray(np.moveaxis(image, 0, -1))
    made = np.zeros((channels, *sliding.sizes_around(size), samples), image.dtype)
    made[(slice(None), *sliding.within(size))] = np.moveaxis(image, 0, -1)
    return made


def columns(image: np.ndarray, sliding: Sliding, places: Sequence[int]) -> np.ndarray:
    """Windows of what `surrounded` made, ``(channels, *kernel, *places, samples)``: a view."""
    channel, *along, sample = image.strides
    within, across = sliding.strides(along)
    shape = (image.shape[0], *sliding.kernel, *places, image.shape[-1])
    return np.lib.stride_tricks.as_strided(image, shape, (channel, *within, *across, sample))


def add_columns(columns: np.ndarray, image: np.ndarray, sliding: Sliding, places: Sequence[int]) -> None:
    """Add columns to an image that lies as `surrounded` lays it."""
    for element, where in sliding.steps(places):
        here: Any = (slice(None), *element)
        image[(slice(None), *where)] += columns[here]


# -- tensors -------------------------------------------------------------------------------------------------


def column_tensor(image: Tensor, sliding: Sliding, places: Sequence[int]) -> Tensor:
    """Windows of an image without its zeros, ``(channels, *kernel, samples, *places)``: a view."""
    samples, channels = image.shape[:2]
    if any(sliding.padding):
        image = pad(image, [each for zeros in reversed(sliding.padding) for each in (zeros, zeros)])
    sample, channel, *along = image.stride()
    within, across = sliding.strides(along)
    shape = (channels, *sliding.kernel, samples, *places)
    return image.as_strided(shape, (channel, *within, sample, *across))


def image_of_columns(
    columns: Tensor, sliding: Sliding, places: Sequence[int], shape: Sequence[int]
) -> Tensor:
    """An image of this shape, made of nothing but columns that are added."""
    samples, channels, *size = shape
    made = zeros_of((samples, channels, *sliding.sizes_around(size)), columns._array.dtype)
    for element, where in sliding.steps(places):
        made[(slice(None), slice(None), *where)].add_(columns[(slice(None), *element)].transpose(0, 1))
    if not any(sliding.padding):
        return made
    return made[(slice(None), slice(None), *sliding.within(size))].contiguous()
