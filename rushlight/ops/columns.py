"""Columns: what each place of a kernel reads, laid out as the columns of a matrix, and the way back.

A convolution is a matrix product with these columns, and its gradient adds columns up again; `unfold` and
`fold` are the two by themselves. Everything here is on arrays, or on tensors where it says so, and for any
number of spatial dimensions. Invariant: the element of the columns at kernel position k and place p is the
padded input's element at ``p * stride + k * dilation``, in every function of this file.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from rushlight.ops.pad import pad
from rushlight.tensor import Tensor

# Columns of as many samples as fit in this are made at once, so that the product finds them in the cache.
CHUNK_BYTES = 1 << 21

Ints = tuple[int, ...]


class Steps(NamedTuple):
    """How a kernel moves over an input, a number for each spatial dimension, and the number of groups."""

    stride: Ints
    padding: Ints
    dilation: Ints
    groups: int = 1


def places_of(spatial: Sequence[int], kernel: Sequence[int], how: Steps) -> Ints:
    """How many places a kernel has in each dimension of an input of the shape `spatial`.

    >>> from rushlight.ops.columns import Steps, places_of
    >>> places_of((28, 28), (3, 3), Steps(stride=(2, 2), padding=(1, 1), dilation=(1, 1)))
    (14, 14)
    """
    return tuple(
        (length + 2 * pad - gap * (size - 1) - 1) // step + 1
        for length, size, step, pad, gap in zip(spatial, kernel, *how[:3], strict=True)
    )


def _inner(spatial: Sequence[int], how: Steps) -> tuple[slice, ...]:
    """Where the input lies within the padded one."""
    return tuple(slice(pad, pad + length) for length, pad in zip(spatial, how.padding, strict=True))


def _outer(spatial: Sequence[int], how: Steps) -> Ints:
    """The lengths of the padded input."""
    return tuple(length + 2 * pad for length, pad in zip(spatial, how.padding, strict=True))


def strides_of(steps: Sequence[int], how: Steps) -> tuple[Ints, Ints]:
    """Within a window and from one to the next, from the strides of the spatial dimensions."""
    within = tuple(step * gap for step, gap in zip(steps, how.dilation, strict=True))
    return within, tuple(step * jump for step, jump in zip(steps, how.stride, strict=True))


def _window_strides(strides: Sequence[int], how: Steps) -> Ints:
    """The strides of the window ``(N, C, *kernel, *places)`` in an array with these strides."""
    within, between = strides_of(strides[2:], how)
    return (*strides[:2], *within, *between)


def positions(kernel: Ints, places: Ints, how: Steps) -> Iterator[tuple[Ints, tuple[slice, ...]]]:
    """Each position of the kernel with the slices of the padded input that it reads."""
    for position in itertools.product(*map(range, kernel)):
        yield (
            position,
            tuple(
                slice(at * gap, at * gap + (count - 1) * jump + 1, jump)
                for at, gap, count, jump in zip(position, how.dilation, places, how.stride, strict=True)
            ),
        )


# -- on arrays -----------------------------------------------------------------------------------------------


def windows(input: np.ndarray, kernel: Ints, places: Ints, how: Steps) -> np.ndarray:
    """What each position of the kernel reads at each place, ``(N, C, *kernel, *places)``: a view of the
    padded input.
    """
    source = input
    if any(how.padding):
        source = np.zeros((*input.shape[:2], *_outer(input.shape[2:], how)), input.dtype)
        inside: Any = (..., *_inner(input.shape[2:], how))
        source[inside] = input
    shape = (*input.shape[:2], *kernel, *places)
    return as_strided(source, shape, _window_strides(source.strides, how), writeable=False)


def add_up(columns: np.ndarray, spatial: Ints, how: Steps) -> np.ndarray:
    """The adjoint of `windows`, from ``(N, C, *kernel, *places)`` to ``(N, C, *spatial)``."""
    dims = len(spatial)
    kernel, places = columns.shape[2 : 2 + dims], columns.shape[2 + dims :]
    made = np.zeros((*columns.shape[:2], *_outer(spatial, how)), columns.dtype)
    everything = slice(None)
    if columns.size:
        for position, read in positions(kernel, places, how):
            taken: Any = (everything, everything, *position)
            made[(everything, everything, *read)] += columns[taken]
    return made[(everything, everything, *_inner(spatial, how))]


def chunks(samples: int, bytes_each: int) -> list[slice]:
    """The samples in parts whose columns stay below `CHUNK_BYTES`, or one by one.

    >>> from rushlight.ops.columns import chunks
    >>> chunks(5, 1 << 20)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    count = max(1, min(samples, CHUNK_BYTES // max(bytes_each, 1)))
    return [slice(start, min(start + count, samples)) for start in range(0, samples, count)]


# -- on tensors, for a step that is recorded -----------------------------------------------------------------


def tensor_columns(input: Tensor, kernel: Ints, places: Ints, how: Steps) -> Tensor:
    """The columns of each sample and group, ``(N * groups, C / groups * prod(kernel), prod(places))``."""
    if any(how.padding):
        input = pad(input, [each for zeros in reversed(how.padding) for each in (zeros, zeros)])
    samples, channels = input.shape[:2]
    strides = _window_strides(input.stride(), how)
    read = input.as_strided((samples, channels, *kernel, *places), strides, input.storage_offset())
    return read.reshape(samples * how.groups, channels // how.groups * prod(kernel), prod(places))


def tensor_add_up(columns: Tensor, spatial: Ints, how: Steps) -> Tensor:
    """`add_up` on tensors: for each position of the kernel, an addition to a part of the padded result."""
    dims = len(spatial)
    kernel, places = tuple(columns.shape[2 : 2 + dims]), tuple(columns.shape[2 + dims :])
    made = columns.new_zeros((*columns.shape[:2], *_outer(spatial, how)))
    for position, read in positions(kernel, places, how):
        part = made[(..., *read)]
        part += columns[(slice(None), slice(None), *position)]
    return made[(..., *_inner(spatial, how))].contiguous()
