"""Questions about tensors as functions, under PyTorch's names ``torch.<name>``.

They only look. Invariant: each answers what the method of the same name answers.
"""

from __future__ import annotations

from typing import Any

from rushlight.tensor import Tensor


def _tensor(name: str, input: Any) -> Tensor:
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    return input


def is_tensor(obj: Any) -> bool:
    """Whether `obj` is a Tensor."""
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Whether the elements are floating-point numbers."""
    return _tensor("is_floating_point", input).is_floating_point()


def is_complex(input: Tensor) -> bool:
    """False: there are no complex types."""
    return _tensor("is_complex", input).is_complex()


def is_signed(input: Tensor) -> bool:
    """Whether the element type has negative values."""
    return _tensor("is_signed", input).is_signed()


def is_inference(input: Tensor) -> bool:
    """Whether the tensor was made inside `inference_mode`."""
    return _tensor("is_inference", input).is_inference()


def is_nonzero(input: Tensor) -> bool:
    """Whether a tensor of one element is not zero."""
    if _tensor("is_nonzero", input).numel() == 0:
        raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
    return bool(input)


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape."""
    return _tensor("is_same_size", input).shape == other.shape


def numel(input: Tensor) -> int:
    """The number of elements.

    >>> import rushlight as torch
    >>> torch.numel(torch.zeros(2, 3))
    6
    """
    return _tensor("numel", input).numel()
