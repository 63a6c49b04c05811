"""Datasets in folders: one folder a class, one file a sample.

Files are listed when the dataset is made and read when a sample is asked for. Invariant: classes are
numbered in alphabetical order of their folders, and samples are in the order of their classes and then of
their paths.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rushlight.vision.datasets.base import VisionDataset, transformed
from rushlight.vision.images import pillow

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def pil_loader(path: str | Path) -> Any:
    """The image in a file, in RGB."""
    with open(path, "rb") as file:
        return pillow().open(file).convert("RGB")


class DatasetFolder(VisionDataset):
    """Samples in files ``root/<class>/.../<file>``, which ``loader`` reads.

    Args:
        root: the folder of folders.
        loader: reads a file, given its path.
        extensions: the endings of the files that count; either these or ``is_valid_file`` must be given.
        transform: applied to what ``loader`` returns.
        target_transform: applied to the number of the class.
        is_valid_file: whether a file, given its path, counts.
        allow_empty: accept classes without a file.

    Raises FileNotFoundError if there are no classes, or one without files.
    """

    def __init__(
        self,
        root: str | Path,
        loader: Callable[[str], Any],
        extensions: tuple[str, ...] | None = None,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.loader = loader
        self.extensions = extensions
        self.classes, self.class_to_idx = self.find_classes(self.root)
        self.samples = self.make_dataset(
            self.root,
            self.class_to_idx,
            extensions=extensions,
            is_valid_file=is_valid_file,
            allow_empty=allow_empty,
        )
        self.targets = [target for _, target in self.samples]

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        """The classes in ``directory`` and their numbers; a subclass may find them in another way."""
        classes = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
        if not classes:
            raise FileNotFoundError(f"Couldn't find any class folder in {directory}.")
        return classes, {name: i for i, name in enumerate(classes)}

    @staticmethod
    def make_dataset(
        directory: str | Path,
        class_to_idx: dict[str, int],
        extensions: str | tuple[str, ...] | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> list[tuple[str, int]]:
        """(path, number of the class) of every file that counts; a subclass may list them in another way."""
        if class_to_idx is None:
            raise ValueError("The class_to_idx parameter cannot be None.")
        if (extensions is None) == (is_valid_file is None):
            raise ValueError("Both extensions and is_valid_file cannot be None or not None at the same time")

        def counts(path: str) -> bool:
            return (
                is_valid_file(path) if is_valid_file is not None else path.lower().endswith(extensions or ())
            )

        samples = []
        empty = []
        for name in sorted(class_to_idx):
            folder = os.path.join(os.path.expanduser(directory), name)
            walk = sorted(os.walk(folder, followlinks=True))
            paths = [os.path.join(place, file) for place, _, files in walk for file in sorted(files)]
            found = [(path, class_to_idx[name]) for path in paths if counts(path)]
            samples += found
            if not found:
                empty.append(name)
        if empty and not allow_empty:
            message = f"Found no valid file for the classes {', '.join(empty)}. "
            if extensions is not None:
                listed = extensions if isinstance(extensions, str) else ", ".join(extensions)
                message += f"Supported extensions are: {listed}"
            raise FileNotFoundError(message)
        return samples

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        path, target = self.samples[index]
        return transformed(self, self.loader(path), target)

    def __len__(self) -> int:
        return len(self.samples)


class ImageFolder(DatasetFolder):
    """Images in files ``root/<class>/.../<image>``, read as RGB; see `DatasetFolder`."""

    def __init__(
        self,
        root: str | Path,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        loader: Callable[[str], Any] = pil_loader,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        super().__init__(
            root,
            loader,
            IMG_EXTENSIONS if is_valid_file is None else None,
            transform=transform,
            target_transform=target_transform,
            is_valid_file=is_valid_file,
            allow_empty=allow_empty,
        )
        self.imgs = self.samples
