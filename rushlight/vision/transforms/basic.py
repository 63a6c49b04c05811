"""The transforms nearly every program uses: chaining them, tensors from images and back, normalising.

Each is an object that is called with an image and does what the function of `functional` with its name does.
Invariant: they print as torchvision's do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rushlight.dtype import dtype as Dtype
from rushlight.nn.module import Module
from rushlight.tensor import Tensor
from rushlight.vision.transforms import convert


class Compose:
    """Applies ``transforms`` one after the other.

    >>> Compose([ToTensor(), Normalize((0.1307,), (0.3081,))])
    Compose(
        ToTensor()
        Normalize(mean=(0.1307,), std=(0.3081,))
    )
    """

    def __init__(self, transforms: Sequence[Callable]) -> None:
        self.transforms = transforms

    def __call__(self, img: Any) -> Any:
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self) -> str:
        return lines_of(type(self).__name__, self.transforms)


def lines_of(name: str, parts: Sequence[Any]) -> str:
    """``name(...)`` with each part on a line of its own."""
    return "\n".join([f"{name}(", *(f"    {part}" for part in parts), ")"])


class ToTensor:
    """A Pillow image or an array (H, W, C) to a tensor (C, H, W); bytes become floats in [0, 1].

    >>> import numpy as np
    >>> ToTensor()(np.array([[0, 255]], np.uint8))
    tensor([[[0., 1.]]])
    """

    def __call__(self, pic: Any) -> Tensor:
        return convert.to_tensor(pic)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class PILToTensor:
    """A Pillow image to a tensor (C, H, W) of the image's own values."""

    def __call__(self, pic: Any) -> Tensor:
        return convert.pil_to_tensor(pic)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ToPILImage:
    """A tensor (C, H, W) or an array (H, W, C) to a Pillow image, of ``mode`` if given."""

    def __init__(self, mode: str | None = None) -> None:
        self.mode = mode

    def __call__(self, pic: Any) -> Any:
        return convert.to_pil_image(pic, self.mode)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'' if self.mode is None else f'mode={self.mode}'})"


class Lambda:
    """Applies a function of one's own.

    >>> Lambda(lambda x: x + 1)(2)
    3
    """

    def __init__(self, lambd: Callable) -> None:
        if not callable(lambd):
            raise TypeError(f"Argument lambd should be callable, got {type(lambd).__name__!r}")
        self.lambd = lambd

    def __call__(self, img: Any) -> Any:
        return self.lambd(img)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ConvertImageDtype(Module):
    """An image tensor in another dtype, its values scaled from the old range to the new."""

    def __init__(self, dtype: Dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, image: Tensor) -> Tensor:
        return convert.convert_image_dtype(image, self.dtype)


class Normalize(Module):
    """``(tensor - mean) / std`` channel by channel.

    >>> import rushlight as torch
    >>> Normalize(mean=(0.5,), std=(0.25,))(torch.ones(1, 1, 2))
    tensor([[[2., 2.]]])
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        super().__init__()
        self.mean = mean
        self.std = std
        self.inplace = inplace

    def forward(self, tensor: Tensor) -> Tensor:
        return convert.normalize(tensor, self.mean, self.std, self.inplace)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(mean={self.mean}, std={self.std})"


def tensor_steps(transform: Any) -> Sequence[Normalize] | None:
    """What follows `ToTensor` in ``transform``, if that can be done to many images at once; else None."""
    steps = transform.transforms if type(transform) is Compose else [transform]
    if not steps or type(steps[0]) is not ToTensor:
        return None
    rest: list[Any] = list(steps[1:])
    return rest if all(type(step) is Normalize for step in rest) else None
