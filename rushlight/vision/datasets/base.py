"""What all image datasets share: where they are, their transforms, and how they print.

Nothing here reads files. Invariant: ``transforms`` takes an image and its target together; it is either
what the caller gave or the pair of ``transform`` and ``target_transform``, never both.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rushlight.data.dataset import Dataset


class VisionDataset(Dataset):
    """Base class: subclasses define ``__getitem__``, ``__len__`` and, to say more when printed,
    ``extra_repr``.

    Args:
        root: where the files are.
        transforms: takes and returns both image and target.
        transform: takes and returns the image; excludes ``transforms``.
        target_transform: takes and returns the target; excludes ``transforms``.
    """

    _repr_indent = 4

    def __init__(
        self,
        root: str | Path | None = None,
        transforms: Callable | None = None,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
    ) -> None:
        self.root: Any = os.path.expanduser(root) if isinstance(root, str) else root
        separate = transform is not None or target_transform is not None
        if transforms is not None and separate:
            raise ValueError("Only transforms or transform/target_transform can be passed as argument")
        self.transform = transform
        self.target_transform = target_transform
        self.transforms = StandardTransform(transform, target_transform) if separate else transforms

    def __len__(self) -> int:
        raise NotImplementedError

    def __repr__(self) -> str:
        body = [f"Number of datapoints: {len(self)}"]
        if self.root is not None:
            body.append(f"Root location: {self.root}")
        body += self.extra_repr().splitlines()
        if self.transforms is not None:
            body.append(repr(self.transforms))
        return "\n".join(
            [f"Dataset {type(self).__name__}", *(" " * self._repr_indent + line for line in body)]
        )

    def extra_repr(self) -> str:
        """Further lines to print, about the subclass."""
        return ""


def transformed(by: Any, image: Any, target: Any) -> tuple[Any, Any]:
    """An image and its target, each after the transform that `by` (such as a dataset) has for it, if any."""
    if by.transform is not None:
        image = by.transform(image)
    if by.target_transform is not None:
        target = by.target_transform(target)
    return image, target


class StandardTransform:
    """One transform for the image and one for the target, either of which may be missing.

    >>> StandardTransform(str.upper, None)("image", 3)
    ('IMAGE', 3)
    """

    def __init__(self, transform: Callable | None = None, target_transform: Callable | None = None) -> None:
        self.transform = transform
        self.target_transform = target_transform

    def __call__(self, input: Any, target: Any) -> tuple[Any, Any]:
        return transformed(self, input, target)

    def __repr__(self) -> str:
        body = [type(self).__name__]
        for head, transform in (
            ("Transform: ", self.transform),
            ("Target transform: ", self.target_transform),
        ):
            if transform is not None:
                body.append(head + repr(transform).replace("\n", "\n" + " " * len(head)))
        return "\n".join(body)
