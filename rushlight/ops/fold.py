"""Blocks of images as columns, `nn.functional.unfold`, and columns added up to images, `nn.functional.fold`.

They are what a convolution does before and after its product (`columns.py`), for two spatial dimensions.
Invariant: each is the gradient of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from rushlight.ops.arguments import require_tensor
from rushlight.ops.columns import Ints, Steps, add_up, places_of, tensor_add_up, tensor_columns, windows
from rushlight.ops.convolution_checks import as_ints
from rushlight.ops.define import TITLES, Op
from rushlight.ops.fused import fused
from rushlight.ops.kinds import primitive, public
from rushlight.ops.operands import ArgumentError, type_of
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor

Lengths = int | Sequence[int]


def _unfold(input: np.ndarray, *, kernel: Ints, how: Steps) -> np.ndarray:
    batch = input if input.ndim == 4 else input[None]
    read = windows(batch, kernel, places_of(batch.shape[2:], kernel, how), how)
    rows, count = batch.shape[1] * prod(kernel), prod(read.shape[4:])
    made = np.empty(read.shape, input.dtype)
    made[...] = read
    return made.reshape(*input.shape[:-3], rows, count)


def _unfold_spelled_out(input: Tensor, *, kernel: Ints, how: Steps) -> Tensor:
    batch = input if input.ndim == 4 else input.unsqueeze(0)
    columns = tensor_columns(batch, kernel, places_of(batch.shape[2:], kernel, how), how)
    return columns.reshape(*input.shape[:-3], *columns.shape[1:])


def _fold(input: np.ndarray, *, spatial: Ints, kernel: Ints, how: Steps) -> np.ndarray:
    channels = input.shape[-2] // prod(kernel)
    columns = input.reshape(-1, channels, *kernel, *places_of(spatial, kernel, how))
    made = add_up(columns, spatial, how)
    return np.ascontiguousarray(made).reshape(*input.shape[:-2], channels, *spatial)


def _fold_spelled_out(input: Tensor, *, spatial: Ints, kernel: Ints, how: Steps) -> Tensor:
    channels = input.shape[-2] // prod(kernel)
    columns = input.reshape(-1, channels, *kernel, *places_of(spatial, kernel, how))
    return tensor_add_up(columns, spatial, how).reshape(*input.shape[:-2], channels, *spatial)


UNFOLD: Op = primitive(
    "im2col",
    "opaque",
    _unfold,
    dict(
        input=lambda g, input_shape, kernel, how: _run_fold(
            (g,), {"spatial": input_shape[-2:], "kernel": kernel, "how": how}
        )
    ),
    node_name="Im2ColBackward0",
)
FOLD: Op = primitive(
    "col2im",
    "opaque",
    _fold,
    dict(input=lambda g, kernel, how: _run_unfold((g,), {"kernel": kernel, "how": how})),
    node_name="Col2ImBackward0",
)
_run_unfold = fused(UNFOLD, _unfold_spelled_out)
_run_fold = fused(FOLD, _fold_spelled_out)


# -- arguments -----------------------------------------------------------------------------------------------


def _pair(name: str, argument: str, position: int, given: Any) -> Ints:
    found = as_ints(given, 2)
    if found is None:
        raise ArgumentError(
            f"{name}(): argument '{argument}' (position {position}) must be tuple of ints, but found element "
            f"of type {type_of(given)} at pos 0"
        )
    if len(found) != 2:
        raise RuntimeError(f"It is expected {argument} equals to 2, but got size {len(found)}")
    return found


def _check_steps(kernel: Ints, how: Steps) -> None:
    for title, short, numbers, positive in (
        ("kernel size should be greater than zero", "kernel", kernel, True),
        ("dilation should be greater than zero", "dilation", how.dilation, True),
        ("padding should be non-negative", "pad", how.padding, False),
        ("stride should be greater than zero", "stride", how.stride, True),
    ):
        if min(numbers) < positive:
            raise RuntimeError(f"{title}, but got {short}_height: {numbers[0]} {short}_width: {numbers[1]}")


def _check_dtype(kernel: str, array: np.ndarray) -> None:
    if array.dtype.kind not in "fb":
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{TITLES[array.dtype.name]}'")


def _unfold_samples() -> list[Sample]:
    input = T((7, 3, 6, 5))
    settings = {"dilation": 2, "padding": 1, "stride": (2, 1)}
    found = [Sample([input, 2]), Sample([input, (2, 3)], settings), Sample([T((3, 6, 5)), (3, 2)])]
    found += [Sample([T((7, 3, 4, 4), kind), 2]) for kind in ("float64", "bool")]
    refused: list[dict[str, Any]] = [
        {"kernel_size": 9},
        {"kernel_size": 0},
        {"kernel_size": 2, "stride": 0},
        {"kernel_size": 2, "dilation": 0},
        {"kernel_size": 2, "padding": -1},
        {"kernel_size": (2, 2, 2)},
        {"kernel_size": "2"},
    ]
    found += [Sample([input], each, raises=True) for each in refused]
    found += [Sample([T((3, 3, 4, 4), "int64"), 2], raises=True), Sample([T((6, 5)), 2], raises=True)]
    return [*found, Sample([T((7, 0, 6, 5)), 2], raises=True)]


def _fold_samples() -> list[Sample]:
    input = T((7, 12, 20))
    settings = {"dilation": 2, "padding": 1, "stride": (2, 1)}
    found = [Sample([input, (6, 5), 2]), Sample([T((7, 18, 9)), (6, 5), (2, 3)], settings)]
    found += [Sample([T((12, 20)), (6, 5), 2]), Sample([T((7, 12, 9), "float64"), 4, 2])]
    refused: list[dict[str, Any]] = [
        {"kernel_size": 5},
        {"kernel_size": 3},
        {"kernel_size": 0},
        {"kernel_size": 2, "stride": 0},
        {"kernel_size": 2, "padding": -1},
    ]
    found += [Sample([input, (6, 5)], each, raises=True) for each in refused]
    found += [Sample([T((12,)), 4, 2], raises=True), Sample([input, (6, 5, 4), 2], raises=True)]
    return [*found, Sample([T((3, 12, 9), "int64"), 4, 2], raises=True)]


# -- what users call -----------------------------------------------------------------------------------------


@public(UNFOLD, samples=_unfold_samples, method=False, name="im2col", torch_name="nn.functional.unfold")
def unfold(
    input: Tensor, kernel_size: Lengths, dilation: Lengths = 1, padding: Lengths = 0, stride: Lengths = 1
) -> Tensor:
    """The blocks that a kernel sees, from ``(N, C, H, W)`` to ``(N, C * kH * kW, L)`` for L places.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> F.unfold(torch.arange(6.0).reshape(1, 1, 2, 3), 2)
    tensor([[[0., 1.],
             [1., 2.],
             [3., 4.],
             [4., 5.]]])
    """
    require_tensor("im2col", "input", 1, input)
    kernel = _pair("im2col", "kernel_size", 2, kernel_size)
    gaps = _pair("im2col", "dilation", 3, dilation)
    pads = _pair("im2col", "padding", 4, padding)
    how = Steps(_pair("im2col", "stride", 5, stride), pads, gaps)
    _check_steps(kernel, how)
    shape = input._array.shape
    if len(shape) < 3:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-len(shape)}, {len(shape) - 1}], but got "
            "2)"
        )
    if len(shape) > 4 or 0 in shape[-3:]:
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions "
            f"for input, but got: {list(shape)}"
        )
    places = tuple(max(each, 0) for each in places_of(shape[-2:], kernel, how))
    if 0 in places:
        raise RuntimeError(
            f"Given input with spatial size {shape[-2:]}, kernel_size={kernel}, dilation={gaps}, padding="
            f"{pads}, calculated shape of the array of sliding blocks as {places}, but its components must "
            "be at least one."
        )
    _check_dtype("im2col_out_cpu", input._array)
    return _run_unfold((input,), {"kernel": kernel, "how": how})


@public(FOLD, samples=_fold_samples, method=False, name="col2im", torch_name="nn.functional.fold")
def fold(
    input: Tensor,
    output_size: Lengths,
    kernel_size: Lengths,
    dilation: Lengths = 1,
    padding: Lengths = 0,
    stride: Lengths = 1,
) -> Tensor:
    """Blocks added up where they overlap, from ``(N, C * kH * kW, L)`` to ``(N, C, *output_size)``.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> F.fold(torch.ones(1, 4, 2), (2, 3), 2)
    tensor([[[[1., 2., 1.],
              [1., 2., 1.]]]])
    """
    require_tensor("col2im", "input", 1, input)
    spatial = _pair("col2im", "output_size", 2, output_size)
    kernel = _pair("col2im", "kernel_size", 3, kernel_size)
    gaps = _pair("col2im", "dilation", 4, dilation)
    pads = _pair("col2im", "padding", 5, padding)
    steps = _pair("col2im", "stride", 6, stride)
    how = Steps(steps, pads, gaps)
    _check_steps(kernel, how)
    shape = input._array.shape
    if len(shape) not in (2, 3) or 0 in shape[-2:]:
        raise RuntimeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero "
            f"dimensions for input, but got: {list(shape)}"
        )
    if shape[-2] % prod(kernel):
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={shape[-2]} and kernel_size={kernel}."
        )
    places = places_of(spatial, kernel, how)
    if min(places) < 1 or shape[-1] != prod(places):
        raise RuntimeError(
            f"Given output_size={spatial}, kernel_size={kernel}, dilation={gaps}, padding={pads}, stride="
            f"{steps}, expected size of input's dimension 2 to match the calculated number of sliding blocks "
            f"{places[0]} * {places[1]} = {prod(places)}, but got input.size(2)={shape[-1]}."
        )
    _check_dtype("col2im_out_cpu", input._array)
    return _run_fold((input,), {"spatial": spatial, "kernel": kernel, "how": how})
