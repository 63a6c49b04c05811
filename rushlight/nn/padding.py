"""Padding layers: `nn.functional.pad` with its settings kept.

There are no parameters here. Invariant: ``padding`` is a tuple of (before, after) of the last dimension, then
of the one before it, and so on, however it was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rushlight.nn import functional as F
from rushlight.nn.module import Module
from rushlight.tensor import Tensor

Ints = int | Sequence[int]


def _on_both_sides(padding: Ints, dims: int) -> tuple[int, ...]:
    return (padding,) * (2 * dims) if isinstance(padding, int) else tuple(padding)


class _ConstantPadNd(Module):
    _dims: ClassVar[int]

    def __init__(self, padding: Ints, value: float) -> None:
        super().__init__()
        self.padding = _on_both_sides(padding, self._dims)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        """The settings."""
        return f"padding={self.padding}, value={self.value}"


class _ZeroPadNd(_ConstantPadNd):
    def __init__(self, padding: Ints) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        """How much."""
        return f"{self.padding}"


class _ReadingPadNd(Module):
    """What is put at the borders is read from the input: `_mode` says how."""

    _dims: ClassVar[int]
    _mode: ClassVar[str]

    def __init__(self, padding: Ints) -> None:
        super().__init__()
        self.padding = _on_both_sides(padding, self._dims)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        """How much."""
        return f"{self.padding}"


class ConstantPad1d(_ConstantPadNd):
    """A value around lines ``(N, C, L)``.

    >>> import rushlight as torch
    >>> torch.nn.ConstantPad1d((1, 2), 9.0)(torch.tensor([[1.0, 2.0]]))
    tensor([[9., 1., 2., 9., 9.]])
    """

    _dims = 1


class ConstantPad2d(_ConstantPadNd):
    """A value around images ``(N, C, H, W)``."""

    _dims = 2


class ConstantPad3d(_ConstantPadNd):
    """A value around volumes ``(N, C, D, H, W)``."""

    _dims = 3


class ZeroPad1d(_ZeroPadNd, ConstantPad1d):
    """Zeros around lines ``(N, C, L)``."""

    _dims = 1


class ZeroPad2d(_ZeroPadNd, ConstantPad2d):
    """Zeros around images ``(N, C, H, W)``.

    >>> import rushlight as torch
    >>> torch.nn.ZeroPad2d((1, 0, 0, 1))(torch.tensor([[[1.0, 2.0]]]))
    tensor([[[0., 1., 2.],
             [0., 0., 0.]]])
    """

    _dims = 2


class ZeroPad3d(_ZeroPadNd, ConstantPad3d):
    """Zeros around volumes ``(N, C, D, H, W)``."""

    _dims = 3


class ReflectionPad1d(_ReadingPadNd):
    """Around lines ``(N, C, L)``, what lies on the other side of the border, mirrored.

    >>> import rushlight as torch
    >>> torch.nn.ReflectionPad1d(2)(torch.tensor([[0.0, 1.0, 2.0, 3.0]]))
    tensor([[2., 1., 0., 1., 2., 3., 2., 1.]])
    """

    _dims, _mode = 1, "reflect"


class ReflectionPad2d(_ReadingPadNd):
    """Around images ``(N, C, H, W)``, what lies on the other side of the border, mirrored."""

    _dims, _mode = 2, "reflect"


class ReflectionPad3d(_ReadingPadNd):
    """Around volumes ``(N, C, D, H, W)``, what lies on the other side of the border, mirrored."""

    _dims, _mode = 3, "reflect"


class ReplicationPad1d(_ReadingPadNd):
    """Around lines ``(N, C, L)``, the numbers at the border repeated.

    >>> import rushlight as torch
    >>> torch.nn.ReplicationPad1d((1, 2))(torch.tensor([[1.0, 2.0]]))
    tensor([[1., 1., 2., 2., 2.]])
    """

    _dims, _mode = 1, "replicate"


class ReplicationPad2d(_ReadingPadNd):
    """Around images ``(N, C, H, W)``, the numbers at the border repeated."""

    _dims, _mode = 2, "replicate"


class ReplicationPad3d(_ReadingPadNd):
    """Around volumes ``(N, C, D, H, W)``, the numbers at the border repeated."""

    _dims, _mode = 3, "replicate"


class CircularPad1d(_ReadingPadNd):
    """Around lines ``(N, C, L)``, what lies at the other end.

    >>> import rushlight as torch
    >>> torch.nn.CircularPad1d(1)(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[3., 1., 2., 3., 1.]])
    """

    _dims, _mode = 1, "circular"


class CircularPad2d(_ReadingPadNd):
    """Around images ``(N, C, H, W)``, what lies at the other end."""

    _dims, _mode = 2, "circular"


class CircularPad3d(_ReadingPadNd):
    """Around volumes ``(N, C, D, H, W)``, what lies at the other end."""

    _dims, _mode = 3, "circular"
