"""CIFAR-10: small colour pictures in ten classes.

Its files are pickles, which are read with an unpickler that knows arrays of bytes and plain values and no
more, so nothing in them is ever executed. Finding and downloading is in `rushlight.vision.files`. Invariant:
``data`` (uint8, N x 32 x 32 x 3) and ``targets`` come from files with the expected checksums only.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rushlight.files import write_bytes
from rushlight.vision import files
from rushlight.vision.datasets.base import VisionDataset, transformed
from rushlight.vision.images import from_array

SIDE = 32


class CIFAR10(VisionDataset):
    """Pictures of 32 x 32 pixels, 50,000 to train on and 10,000 to test on, in ten classes.

    A sample is a Pillow image of mode ``RGB`` and an int, each after its transform.

    The files are looked for in ``cifar-10-batches-py`` in ``root`` (where torchvision puts them) and in
    ``root`` itself; in ``$RUSHLIGHT_DATA`` and ``cifar-10-batches-py`` in it; in
    ``data/cifar-10-batches-py`` in the current folder, its parents and beside the package; and in the user's
    cache. With ``download``, what is found nowhere is fetched into ``root`` (170 MB) and unpacked there.

    Args:
        root: the folder to look in first, and to download to.
        train: the training set, not the test set.
        transform: applied to the image.
        target_transform: applied to the label.
        download: fetch the files if they are nowhere to be found.

    Raises RuntimeError if the files are not found, are not those of the dataset, or cannot be fetched.
    """

    base_folder = "cifar-10-batches-py"
    mirrors = ["https://www.cs.toronto.edu/~kriz/", "http://www.cs.toronto.edu/~kriz/"]
    filename = "cifar-10-python.tar.gz"
    tgz_md5 = "c58f30108f718f92721af3d95e74349a"
    train_list = [
        ["data_batch_1", "c99cafc152244af753f735de768cd75f"],
        ["data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"],
        ["data_batch_3", "54ebc095f3ab1f0389bbae665268c751"],
        ["data_batch_4", "634d18415352ddfa80567beed471001a"],
        ["data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"],
    ]
    test_list = [["test_batch", "40351d587109b95175f43aff81a1287e"]]
    meta = {"filename": "batches.meta", "key": "label_names", "md5": "5ff9c542aee3614f3951f8cda6e48888"}

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
        contents = self._find()
        if contents is None and download:
            self.download()
            contents = self._find()
        if contents is None:
            raise RuntimeError(self._not_found())
        *batches, names = map(unpickled, contents)
        pixels = np.concatenate([batch["data"] for batch in batches])
        self.data = pixels.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1).copy()
        self.targets: list[int] = [label for batch in batches for label in batch["labels"]]
        self.classes: list[str] = names[self.meta["key"]]
        self.class_to_idx = {name: place for place, name in enumerate(self.classes)}

    def download(self) -> None:
        """Fetch the archive into ``root`` and unpack the files of the dataset, unless they are there."""
        root = Path(self.root)
        wanted = [*self.train_list, *self.test_list, [self.meta["filename"], self.meta["md5"]]]
        if _contents(root / self.base_folder, wanted) is not None:
            return
        if _contents(root, [[self.filename, self.tgz_md5]]) is None:
            files.download(self.filename, root, self.tgz_md5, self.mirrors)
        (root / self.base_folder).mkdir(exist_ok=True)
        with tarfile.open(root / self.filename) as archive:
            for name, _ in wanted:
                member = archive.extractfile(f"{self.base_folder}/{name}")
                if member is None:
                    raise RuntimeError(f"{root / self.filename}: {name} is no file")
                write_bytes(root / self.base_folder / name, member.read())

    def _wanted(self) -> list[list[str]]:
        return [
            *(self.train_list if self.train else self.test_list),
            [self.meta["filename"], self.meta["md5"]],
        ]

    def _folders(self) -> Iterator[Path]:
        yield from (Path(self.root) / self.base_folder, Path(self.root))
        yield from files.shared_folders(self.base_folder)

    def _find(self) -> list[bytes] | None:
        """The files of the dataset, from the first folder that has them all as they should be."""
        found = (_contents(folder, self._wanted()) for folder in self._folders())
        return next((each for each in found if each is not None), None)

    def _not_found(self) -> str:
        names = ", ".join(name for name, _ in self._wanted())
        lines = [
            "Dataset not found or corrupted. You can use download=True to download it",
            f"Looked for {names}, with the checksums of {type(self).__name__}, in:",
        ]
        return "\n".join([*lines, *(f"  {folder}" for folder in self._folders())])

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image = from_array(self.data[index], mode="RGB")
        return transformed(self, image, self.targets[index])

    def __len__(self) -> int:
        return len(self.data)

    def extra_repr(self) -> str:
        """Which of the two parts this is."""
        return f"Split: {'Train' if self.train is True else 'Test'}"


def _contents(folder: Path, wanted: list[list[str]]) -> list[bytes] | None:
    """What the named files hold; None if one is missing or has another checksum."""
    found = []
    for name, md5 in wanted:
        try:
            content = (folder / name).read_bytes()
        except OSError:
            return None
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            return None
        found.append(content)
    return found


class _Bytes:
    """An array in a pickle: remembers what it is to hold; `array` is it."""

    def __init__(self, *_: Any) -> None:
        self.array = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple) -> None:
        _version, shape, kind, column_major, content = state
        if kind != "u1":
            raise pickle.UnpicklingError("an array of anything but bytes")
        raw = content.encode("latin-1") if isinstance(content, str) else content
        self.array = np.frombuffer(raw, np.uint8).reshape(shape, order="F" if column_major else "C")


class _Kind(str):
    """The element type of an array in a pickle, whose further state (byte order) means nothing for bytes."""

    def __new__(cls, name: str, *_: Any) -> _Kind:
        return str.__new__(cls, name)

    def __setstate__(self, state: tuple) -> None:
        pass


class _Unpickler(pickle.Unpickler):
    """Knows NumPy's two constructors, by stand-ins, and no other."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray"):
            if name in ("_reconstruct", "ndarray"):
                return _Bytes
            if name == "dtype":
                return _Kind
        if (module, name) == ("_codecs", "encode"):  # how newer pickles of this protocol write bytes
            return lambda text, encoding: text.encode(encoding)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}; nothing was executed")


def unpickled(content: bytes) -> dict[str, Any]:
    """The dictionary in a file of the dataset, of which nothing is executed.

    >>> unpickled(pickle.dumps({"labels": [3, 1]}, protocol=2))
    {'labels': [3, 1]}
    """
    try:
        found = _Unpickler(io.BytesIO(content), encoding="latin-1").load()
    except (pickle.UnpicklingError, ValueError, TypeError, EOFError, AttributeError) as error:
        raise RuntimeError(f"a file of the dataset cannot be read: {error}") from None
    return {key: value.array if isinstance(value, _Bytes) else value for key, value in found.items()}
