"""Flatten and Unflatten: layers that join dimensions into one, or split one into several.

They compute nothing: the output is a view of the input where its layout in memory allows that.
"""

from __future__ import annotations

from typing import Any

from rushlight.nn.module import Module
from rushlight.tensor import Tensor


class Flatten(Module):
    """Joins the dimensions from ``start_dim`` to ``end_dim`` into one; all but the first by default.

    >>> import rushlight as torch
    >>> torch.nn.Flatten()(torch.zeros(8, 1, 28, 28)).shape
    torch.Size([8, 784])
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """The dimensions."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits dimension ``dim`` into several of the sizes ``unflattened_size``, one of which may be -1.

    Dimensions have no names here: ``dim`` is a number, else TypeError.

    >>> import rushlight as torch
    >>> torch.nn.Unflatten(1, (2, 3))(torch.zeros(8, 6)).shape
    torch.Size([8, 2, 3])
    """

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        super().__init__()
        if not isinstance(dim, int):
            raise TypeError(f"unflatten(): argument 'dim' must be int, not {type(dim).__name__}")
        if not isinstance(unflattened_size, tuple | list):
            kind = type(unflattened_size).__name__
            raise TypeError(f"unflattened_size must be a tuple of ints, but found type {kind}")
        for position, length in enumerate(unflattened_size):
            if not isinstance(length, int):
                raise TypeError(
                    "unflattened_size must be tuple of ints, but found element of type "
                    f"{type(length).__name__} at pos {position}"
                )
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        """The settings."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
