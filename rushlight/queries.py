"""Questions about tensors as functions, under PyTorch's names ``torch.<name>``.

They only look. Invariant: each answers what the method of the same name answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rushlight.size import Size
from rushlight.tensor import Tensor


def _tensor(name: str, input: Any, argument: str = "input", position: int = 1) -> Tensor:
    if not isinstance(input, Tensor):
        raise TypeError(
            f"{name}(): argument '{argument}' (position {position}) must be Tensor, not "
            f"{type(input).__name__}"
        )
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
    shape = _tensor("is_same_size", input).shape
    return shape == _tensor("is_same_size", other, "other", 2).shape


def is_conj(input: Tensor) -> bool:
    """False: there are no complex types, whose conjugates could be views."""
    _tensor("is_conj", input)
    return False


def is_neg(input: Tensor) -> bool:
    """False: no tensor is the negative of another's memory."""
    _tensor("is_neg", input)
    return False


def get_device(input: Tensor) -> int:
    """The number of the device the tensor is on: -1, which means the CPU."""
    _tensor("get_device", input)
    return -1


def typename(obj: Any) -> str:
    """The name of an object's type, or of the class or function it is; a tensor's old type name.

    >>> import rushlight as torch
    >>> torch.typename(torch.zeros(2)), torch.typename(3)
    ('torch.FloatTensor', 'int')
    """
    if isinstance(obj, Tensor):
        return obj.type()
    named = obj if hasattr(obj, "__qualname__") else type(obj)
    module = named.__module__ or ""
    return named.__qualname__ if module in ("", "builtins") else f"{module}.{named.__qualname__}"


def broadcast_shapes(*shapes: int | Sequence[int]) -> Size:
    """The shape that tensors of these shapes are broadcast to; RuntimeError where they do not fit.

    >>> import rushlight as torch
    >>> torch.broadcast_shapes((2, 1), (3,))
    torch.Size([2, 3])
    """
    rows = [(each,) if isinstance(each, int) else tuple(each) for each in shapes]
    result = [1] * max(map(len, rows), default=0)
    for number, row in enumerate(rows):
        for back in range(-1, -1 - len(row), -1):
            length = row[back]
            if length < 0:
                raise ValueError("Attempting to broadcast a dimension with negative length!")
            if length in (1, result[back]):
                continue
            if result[back] != 1:
                raise RuntimeError(
                    f"Attempting to broadcast a dimension of length {length} at {back}! Mismatching argument "
                    f"at index {number} had {row}; but expected shape should be broadcastable to {result}"
                )
            result[back] = length
    return Size(result)


def numel(input: Tensor) -> int:
    """The number of elements.

    >>> import rushlight as torch
    >>> torch.numel(torch.zeros(2, 3))
    6
    """
    return _tensor("numel", input).numel()


METHODS: dict[str, Any] = {
    "get_device": get_device,
    "is_conj": is_conj,
    "is_neg": is_neg,
    "is_nonzero": is_nonzero,
    "is_same_size": is_same_size,
}
