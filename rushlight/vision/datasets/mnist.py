"""MNIST and the datasets made in its image: Fashion-MNIST and KMNIST.

Reading IDX files is in `rushlight.vision.idx`, finding and downloading them in `rushlight.vision.files`;
this file says which files a dataset consists of and hands out its samples. Invariant: ``data`` (uint8, N x
28 x 28) and ``targets`` (int64, N) come from one pair of files that passed every check of the reader, and
never from files known to be another of these datasets.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rushlight.data.dataset import gather_rows
from rushlight.dtype import get_default_dtype
from rushlight.tensor import Tensor, wrap
from rushlight.vision import files
from rushlight.vision.datasets.base import VisionDataset, transformed
from rushlight.vision.idx import read_idx, read_images_and_labels
from rushlight.vision.images import from_array
from rushlight.vision.transforms.basic import tensor_steps

# Which dataset a file of labels belongs to, by the MD5 checksum of the labels in it: the files of all these
# datasets have the same names, and the wrong one would not be noticed.
KNOWN_LABELS = {
    "e86ee40d66677c011a9abda399ec8c4d": "mnist",
    "073c3904dfbd3e141ff8aa01cfde6b15": "mnist",
    "3236f6424fc25388b2834cb19942cf7e": "fashion-mnist",
    "8dea97a4e78c1bd1b5a6e8efbb870b6e": "fashion-mnist",
}


class MNIST(VisionDataset):
    """Handwritten digits: 60,000 grey images of 28 x 28 pixels to train on, 10,000 to test on.

    A sample is a Pillow image of mode ``L`` and an int, each after its transform.

    The files are looked for in ``root``, in ``MNIST/raw`` in it (where torchvision puts them) and
    ``mnist`` in it; in ``$RUSHLIGHT_DATA`` and ``mnist`` in it; in ``data/mnist`` in the current folder,
    its parents and beside the package; and in the user's cache. They may be compressed (``.gz``) or not.
    With ``download``, what is found nowhere is fetched into ``root/MNIST/raw``.

    Args:
        root: the folder to look in first, and to download to.
        train: the training set, not the test set.
        transform: applied to the image.
        target_transform: applied to the label.
        download: fetch the files if they are nowhere to be found.

    Raises RuntimeError if the files are not found or cannot be fetched, ValueError if a file is damaged.
    """

    mirrors = [
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ]
    resources = [
        ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    ]
    classes = [
        "0 - zero",
        "1 - one",
        "2 - two",
        "3 - three",
        "4 - four",
        "5 - five",
        "6 - six",
        "7 - seven",
        "8 - eight",
        "9 - nine",
    ]
    folder_name = "mnist"

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        paths = self._find()
        if paths is None and download:
            self.download()
            paths = self._find()
        if paths is None:
            raise RuntimeError(self._not_found())
        images, labels = read_images_and_labels(paths[0], paths[1], len(self.classes))
        self.data = wrap(images)
        self.targets = wrap(labels)

    @property
    def raw_folder(self) -> str:
        """Where downloads go: ``raw`` in a folder named after the class in ``root``."""
        return os.path.join(self.root, type(self).__name__, "raw")

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The label of each class by its name."""
        return {name: i for i, name in enumerate(self.classes)}

    def download(self) -> None:
        """Fetch all four files into ``raw_folder``, except those that are there."""
        folder = Path(self.raw_folder)
        for name, md5 in self.resources:
            if files.find_together([folder], [name.removesuffix(".gz")]) is None:
                files.download(name, folder, md5, self.mirrors)

    def _folders(self) -> Iterator[Path]:
        root = Path(self.root)
        yield from (root, Path(self.raw_folder), root / self.folder_name)
        yield from files.shared_folders(self.folder_name)

    def _names(self) -> list[str]:
        part = "train" if self.train else "t10k"
        return [f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"]

    def _find(self) -> list[Path] | None:
        """The files of images and labels, from the first folder that has both and not of another dataset."""
        for folder in self._folders():
            paths = files.find_together([folder], self._names())
            if paths is not None and _dataset_of(paths[1]) in (None, self.folder_name):
                return paths
        return None

    def _not_found(self) -> str:
        lines = [
            "Dataset not found. You can use download=True to download it.",
            f"Looked for {' and '.join(self._names())}, each with or without .gz, in:",
        ]
        for folder in self._folders():
            paths = files.find_together([folder], self._names())
            lines.append(f"  {folder}" + (f" (this is {_dataset_of(paths[1])})" if paths else ""))
        return "\n".join(lines)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image = from_array(self.data[index].numpy(), mode="L")
        target = int(self.targets[index])
        return transformed(self, image, target)

    def __getbatch__(self, indices: list[int]) -> list[Tensor] | None:
        """What `default_collate` makes of these samples, if their transforms can take all images at once."""
        steps = tensor_steps(self.transform)
        overridden = type(self).__getitem__ is not MNIST.__getitem__ or hasattr(self, "__getitems__")
        if steps is None or overridden or self.target_transform is not None:
            return None
        rows = gather_rows([self.data, self.targets], indices)
        if rows is None:
            return None
        images = rows[0].unsqueeze(1).to(get_default_dtype()).div(255)
        for step in steps:
            images = step(images)
        return [images, rows[1]]

    def __len__(self) -> int:
        return len(self.data)

    def extra_repr(self) -> str:
        """Which of the two parts this is."""
        return f"Split: {'Train' if self.train is True else 'Test'}"

    @property
    def train_labels(self) -> Tensor:
        """The old name of ``targets``; warns."""
        warnings.warn("train_labels has been renamed targets", stacklevel=2)
        return self.targets

    @property
    def test_labels(self) -> Tensor:
        """The old name of ``targets``; warns."""
        warnings.warn("test_labels has been renamed targets", stacklevel=2)
        return self.targets

    @property
    def train_data(self) -> Tensor:
        """The old name of ``data``; warns."""
        warnings.warn("train_data has been renamed data", stacklevel=2)
        return self.data

    @property
    def test_data(self) -> Tensor:
        """The old name of ``data``; warns."""
        warnings.warn("test_data has been renamed data", stacklevel=2)
        return self.data


def _dataset_of(labels: Path) -> str | None:
    """The dataset that a file of labels is known to belong to."""
    return KNOWN_LABELS.get(hashlib.md5(read_idx(labels), usedforsecurity=False).hexdigest())


class FashionMNIST(MNIST):
    """Articles of clothing from Zalando, in ten classes; in all else like `MNIST`.

    The folders it is looked for in are ``FashionMNIST/raw`` and ``fashion-mnist``.
    """

    mirrors = [
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ]
    resources = [
        ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    ]
    classes = [
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ]
    folder_name = "fashion-mnist"


class KMNIST(MNIST):
    """Handwritten Japanese characters (Kuzushiji), in ten classes; in all else like `MNIST`.

    The folders it is looked for in are ``KMNIST/raw`` and ``kmnist``.
    """

    mirrors = [
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
    ]
    resources = [
        ("train-images-idx3-ubyte.gz", "bdb82020997e1d708af4cf47b453dcf7"),
        ("train-labels-idx1-ubyte.gz", "e144d726b3acfaa3e44228e80efcd344"),
        ("t10k-images-idx3-ubyte.gz", "5c965bf0a639b31b8f53240b1b52f4d7"),
        ("t10k-labels-idx1-ubyte.gz", "7320c461ea6c1c855c0b718fb2a4b134"),
    ]
    classes = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]
    folder_name = "kmnist"
