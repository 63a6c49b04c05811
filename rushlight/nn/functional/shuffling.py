"""Channels to pixels and back, and channels in another order: nothing is computed, elements only move.

Invariant: `pixel_unshuffle` undoes `pixel_shuffle` of the same factor.
"""

from __future__ import annotations

from rushlight.ops.define import labelled
from rushlight.ops.kinds import composite
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor


def _check_dims(function: str, input: Tensor) -> None:
    if input.dim() < 3:
        raise RuntimeError(
            f"{function} expects input to have at least 3 dimensions, but got input with {input.dim()} "
            "dimension(s)"
        )


@composite(
    samples=lambda: [
        Sample([T((5, 8, 3, 7)), 2]),
        Sample([T((9, 2, 5), "float64"), 3]),
        Sample([T((5, 8, 3, 7)), 3], raises=True),
        Sample([T((5, 8, 3, 7)), 0], raises=True),
        Sample([T((3, 3)), 2], raises=True),
    ],
    method=False,
)
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Images ``(*, C * r * r, H, W)`` to ``(*, C, H * r, W * r)``: each r * r channels become a square.

    Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
    Neural Network", 2016.

    >>> import rushlight as torch
    >>> torch.pixel_shuffle(torch.arange(4).reshape(4, 1, 1), 2)
    tensor([[[0, 1],
             [2, 3]]])
    """
    _check_dims("pixel_shuffle", input)
    if upscale_factor <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {upscale_factor}")
    *leading, channels, height, width = input.shape
    square = upscale_factor**2
    if channels % square:
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of "
            f"upscale_factor, but input.size(-3)={channels} is not divisible by {square}"
        )
    r, d = upscale_factor, len(leading)
    parts = input.reshape(*leading, channels // square, r, r, height, width)
    turned = parts.permute(*range(d), d, d + 3, d + 1, d + 4, d + 2)
    made = turned.reshape(*leading, channels // square, height * r, width * r)
    return labelled(made, "PixelShuffleBackward0")


@composite(
    samples=lambda: [
        Sample([T((5, 2, 4, 6)), 2]),
        Sample([T((2, 9, 3), "float64"), 3]),
        Sample([T((5, 2, 3, 6)), 2], raises=True),
        Sample([T((5, 2, 4, 5)), 2], raises=True),
        Sample([T((5, 2, 4, 5)), 0], raises=True),
    ],
    method=False,
)
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Images ``(*, C, H * r, W * r)`` to ``(*, C * r * r, H, W)``: what `pixel_shuffle` came from.

    >>> import rushlight as torch
    >>> torch.pixel_unshuffle(torch.tensor([[[0, 1], [2, 3]]]), 2).flatten()
    tensor([0, 1, 2, 3])
    """
    _check_dims("pixel_unshuffle", input)
    if downscale_factor <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {downscale_factor}")
    *leading, channels, height, width = input.shape
    r, d = downscale_factor, len(leading)
    for name, place, length in (("height", -2, height), ("width", -1, width)):
        if length % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but "
                f"input.size({place})={length} is not divisible by {r}"
            )
    if not input.numel():
        return labelled(input.clone(), "PixelUnshuffleBackward0")  # as PyTorch: nothing keeps its shape
    parts = input.reshape(*leading, channels, height // r, r, width // r, r)
    turned = parts.permute(*range(d), d, d + 2, d + 4, d + 1, d + 3)
    made = turned.reshape(*leading, channels * r * r, height // r, width // r)
    return labelled(made, "PixelUnshuffleBackward0")


def _channel_samples() -> list[Sample]:
    found = [Sample([T((5, 6, 3, 2)), 2]), Sample([T((5, 6, 3), "float64"), 3])]
    refused = [Sample([T((5, 6, 3)), 4], raises=True), Sample([T((5, 6)), 2], raises=True)]
    return [*found, *refused, Sample([T((5, 6, 3)), 0], raises=True)]


@composite(samples=_channel_samples, method=False)
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """The first channels of all groups, then the second ones, and so on: ``(N, C, *)``.

    Zhang et al., "ShuffleNet", 2018.

    >>> import rushlight as torch
    >>> torch.channel_shuffle(torch.arange(6).reshape(1, 6, 1), 2).flatten()
    tensor([0, 3, 1, 4, 2, 5])
    """
    if input.dim() <= 2:
        raise RuntimeError(
            f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}"
        )
    if groups <= 0:
        raise RuntimeError(
            f"Number of groups to divide channels in must be positive. Value of groups:{groups}"
        )
    samples, channels, *size = input.shape
    if channels % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {channels} channels and {groups} groups."
        )
    apart = input.reshape(samples, groups, channels // groups, *size)
    made = apart.transpose(1, 2).reshape(samples, channels, *size)
    return labelled(made, "ChannelShuffleBackward0")
