"""What convolutions ask of their arguments, and what they say, in PyTorch's words, where it is not so.

Nothing is computed here. Invariant: what passes has numbers of the right signs, channels that match, one
type, and a kernel that fits.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from rushlight.ops.arguments import require_tensor
from rushlight.ops.define import ArgumentError
from rushlight.ops.operands import type_of
from rushlight.ops.sliding import Sliding
from rushlight.tensor import Tensor

_C_NAMES = {
    "float32": "float",
    "float64": "double",
    "float16": "c10::Half",
    "int64": "long int",
    "int32": "int",
    "int16": "short int",
    "int8": "signed char",
    "uint8": "unsigned char",
    "bool": "bool",
}
_SCALAR_NAMES = {
    "float32": "Float",
    "float64": "Double",
    "float16": "Half",
    "int64": "Long",
    "int32": "Int",
    "int16": "Short",
    "int8": "Char",
    "uint8": "Byte",
    "bool": "Bool",
}


def numbers(function: str, name: str, given: Any, dims: int) -> tuple[int, ...]:
    """One number for each spatial dimension, of one for all or a list."""
    several = given if isinstance(given, (tuple, list)) else [given]
    try:
        found = [operator.index(each) for each in several]
    except TypeError:
        found = []
    if not found or any(isinstance(each, bool) for each in several):
        raise ArgumentError(f"{function}(): argument '{name}' must be tuple of ints, not {type_of(given)}")
    if len(found) not in (1, dims):
        raise RuntimeError(
            f"expected {name} to be a single integer value or a list of {dims} values to match the "
            f"convolution dimensions, but got {name}={found}"
        )
    return tuple(found * dims if len(found) == 1 else found)


def require_operands(function: str, input: Any, weight: Any, bias: Any) -> None:
    """Refuse anything but tensors; the bias may be None."""
    require_tensor(function, "input", 1, input)
    require_tensor(function, "weight", 2, weight)
    if bias is not None:
        require_tensor(function, "bias", 3, bias)


def check_types(input: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """Refuse operands of different types."""
    one, other = input._array.dtype.name, weight._array.dtype.name
    if bias is not None and bias._array.dtype.name != one:
        third = bias._array.dtype.name
        raise RuntimeError(
            f"Input type ({_C_NAMES[one]}) and bias type ({_C_NAMES[third]}) should be the same"
        )
    if one == other:
        return
    if one == "float32":
        raise RuntimeError(
            f"Input type (torch.FloatTensor) and weight type (torch.{_SCALAR_NAMES[other]}Tensor) should be "
            "the same or input should be a MKLDNN tensor and weight is a dense tensor"
        )
    raise RuntimeError(f"expected scalar type {_SCALAR_NAMES[one]} but found {_SCALAR_NAMES[other]}")


def check_numbers(sliding: Sliding, groups: int, output_padding: Sequence[int]) -> None:
    """Refuse numbers of the wrong sign."""
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    if min(sliding.padding) < 0:
        raise RuntimeError("negative padding is not supported")
    if min(output_padding) < 0:
        raise RuntimeError("negative output_padding is not supported")
    if min(sliding.stride) <= 0:
        raise RuntimeError("non-positive stride is not supported")
    if min(sliding.dilation) <= 0:
        raise RuntimeError("non-positive dilation is not supported")


def check_shapes(input: Tensor, weight: Tensor, bias: Tensor | None, groups: int, transposed: bool) -> None:
    """Refuse an image, weight and bias that do not match."""
    shape, image = list(weight.shape), list(input.shape)
    if len(image) != len(shape):
        raise RuntimeError(
            f"Expected {len(shape)}-dimensional input for {len(shape)}-dimensional weight {shape}, but got "
            f"{len(image)}-dimensional input of size {image} instead"
        )
    if shape[0] < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight "
            f"of size {shape} instead"
        )
    if shape[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got "
            f"weight of size [{shape}] instead"
        )
    channels = shape[0] if transposed else shape[1] * groups
    given = f"Given transposed={int(transposed)}" if transposed else f"Given groups={groups}"
    if image[1] != channels:
        raise RuntimeError(
            f"{given}, weight of size {shape}, expected input{image} to have {channels} channels, but got "
            f"{image[1]} channels instead"
        )
    outputs = shape[1] * groups if transposed else shape[0]
    if bias is not None and tuple(bias.shape) != (outputs,):
        given = "Given transposed=1, weight" if transposed else "Given weight"
        raise RuntimeError(
            f"{given} of size {shape}, expected bias to be 1-dimensional with {outputs} elements, but got "
            f"bias of size {list(bias.shape)} instead"
        )


def times(numbers: Sequence[int]) -> str:
    """Sizes as PyTorch writes them."""
    return " x ".join(map(str, numbers))


def check_fits(size: Sequence[int], sliding: Sliding) -> None:
    """Refuse a kernel that reaches beyond the image and its zeros."""
    around = sliding.sizes_around(size)
    reach = [apart * (k - 1) + 1 for k, apart in zip(sliding.kernel, sliding.dilation, strict=True)]
    if any(length < needed for length, needed in zip(around, reach, strict=True)):
        raise RuntimeError(
            f"Calculated padded input size per channel: ({times(around)}). Kernel size: ({times(reach)}). "
            "Kernel size can't be greater than actual input size"
        )
