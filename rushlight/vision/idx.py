"""IDX files, the format of MNIST and its relatives: reading them, and finding the four of them in a folder.

An IDX file is two zero bytes, one byte naming the type of the values, one byte with the number of dimensions,
each dimension as a big-endian 32-bit integer, and then the values in row-major order; it is often compressed
with gzip. This file knows bytes and NumPy arrays only: no tensors, no downloads. Invariant: an array is
returned only if the file is whole and holds exactly what its header promises; everything else is a ValueError
that names the file.
"""

from __future__ import annotations

import math
import struct
import zlib
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
PARTS, KINDS = ("train", "test"), ("images", "labels")
GZIP_MAGIC = b"\x1f\x8b"
GZIP_CHUNK = 1 << 18  # large enough to leave Python's lock to others for a while
LARGEST_GZIP_RATIO = 1032  # deflate cannot do better, so a header that promises more than this is wrong


class _GzipReader:
    """Inflates one gzip stream as far as asked: the size in a file's header bounds the memory it can take."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.file = file
        self.inflate = zlib.decompressobj(wbits=31)

    def readinto(self, buffer: np.ndarray) -> int:
        view = memoryview(buffer)
        filled = 0
        while filled < len(view) and not self.inflate.eof:
            compressed = self.inflate.unconsumed_tail or self.file.read(GZIP_CHUNK)
            try:
                piece = self.inflate.decompress(compressed, len(view) - filled)
            except zlib.error as error:
                raise ValueError(f"{self.path}: the gzip data is damaged ({error})") from error
            if not compressed and not piece:
                break
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
        return filled

    def check_ended(self) -> None:
        if not self.inflate.eof:
            raise ValueError(f"{self.path}: truncated: the gzip stream has no end")
        if self.inflate.unused_data or self.file.read(1):
            raise ValueError(f"{self.path}: bytes follow the end of the gzip stream")


def read_idx(path: str | Path) -> np.ndarray:
    """The array in an IDX file, plain or compressed with gzip (told by its content, not by its name).

    Returns a new writable array in native byte order. Raises ValueError, naming the file, if it is not an IDX
    file, is truncated, has bytes after its end or fails gzip's checksum; OSError if it cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "labels")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3]) + bytes([7, 2, 1]))
    ...     read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    path = Path(path)
    with path.open("rb") as file:
        compressed = file.read(2) == GZIP_MAGIC
        file.seek(0)
        size = path.stat().st_size
        if not compressed:
            return _parse(path, file, size)
        stream = _GzipReader(path, file)
        array = _parse(path, stream, size * LARGEST_GZIP_RATIO)
        stream.check_ended()
        return array


def _parse(path: Path, stream: BufferedReader | _GzipReader, most_bytes: int) -> np.ndarray:
    def take(count: int) -> np.ndarray:
        content = np.empty(count, np.uint8)
        return content[: stream.readinto(content)]

    magic = take(4)
    if len(magic) < 4:
        raise ValueError(f"{path}: truncated: {len(magic)} bytes are too few for the header of an IDX file")
    if magic[0] or magic[1]:
        raise ValueError(
            f"{path}: not an IDX file: it should start with two zero bytes, but starts with {bytes(magic)!r}"
        )
    if int(magic[2]) not in TYPES:
        known = ", ".join(f"0x{code:02X}" for code in TYPES)
        raise ValueError(f"{path}: not an IDX file: its type byte 0x{magic[2]:02X} is none of {known}")
    ndim = int(magic[3])
    sizes = take(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise ValueError(f"{path}: truncated: the header should list {ndim} dimensions")
    shape = struct.unpack(f">{ndim}I", sizes)
    dtype = np.dtype(TYPES[int(magic[2])])
    promised = math.prod(shape) * dtype.itemsize
    values = take(promised) if promised <= most_bytes else np.empty(0, np.uint8)
    if len(values) < promised:
        raise ValueError(
            f"{path}: truncated: shape {shape} needs {promised} bytes of values, fewer are there"
        )
    if len(take(1)):
        raise ValueError(f"{path}: bytes follow the {promised} bytes of values that shape {shape} needs")
    return values.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def read_images_and_labels(
    images_path: str | Path, labels_path: str | Path, classes: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Grey images (uint8, N x height x width) and their labels (int64, N) from a pair of IDX files.

    With ``classes`` given, every label must be below it. Raises ValueError, naming the file, if either file
    is damaged, if they hold something else, if they look swapped, or if their counts differ.
    """
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim == 1 and labels.ndim == 3:
        raise ValueError(
            f"{images_path} holds labels and {labels_path} holds images: the files are swapped or misnamed"
        )
    if images.ndim != 3 or images.dtype != np.uint8:
        raise ValueError(
            f"{images_path}: images should be unsigned bytes in 3 dimensions (count, height, width), but the "
            f"file holds {images.dtype} in shape {images.shape}"
        )
    if labels.ndim != 1 or labels.dtype != np.uint8:
        raise ValueError(
            f"{labels_path}: labels should be unsigned bytes in 1 dimension, but the file holds "
            f"{labels.dtype} in shape {labels.shape}"
        )
    if len(images) != len(labels):
        raise ValueError(
            f"{images_path} holds {len(images)} images, but {labels_path} holds {len(labels)} labels"
        )
    if images.size == 0:
        raise ValueError(f"{images_path}: the file holds no images (shape {images.shape})")
    if classes is not None and labels.max() >= classes:
        raise ValueError(
            f"{labels_path}: label {labels.max()} at position {labels.argmax()} is out of range "
            f"0-{classes - 1}"
        )
    return images, labels.astype(np.int64)


class IdxFolder(NamedTuple):
    """The two halves of a data set read from a folder of IDX files: uint8 images and int64 labels."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    @property
    def classes(self) -> int:
        """How many classes there are: one more than the largest training label."""
        return int(self.train_labels.max()) + 1


def load_folder(folder: str | Path) -> IdxFolder:
    """Read the training and test set in ``folder`` from IDX files with the conventional names.

    A file is recognised by the words in its name: ``train``, or ``t10k`` or ``test``; ``images`` or
    ``labels``; and ``idx``; for example ``train-images-idx3-ubyte.gz`` or ``t10k-labels.idx1-ubyte``. Where a
    file is there both plain and as ``.gz``, the plain one is read.

    Raises FileNotFoundError naming what is missing, and ValueError for files that are damaged, are ambiguous,
    or do not belong together.
    """
    paths = find_in_folder(folder)
    missing = [f"{part} {kind}" for part in PARTS for kind in KINDS if (part, kind) not in paths]
    if missing:
        raise FileNotFoundError(
            f"{folder}: no IDX file of {', '.join(missing)}. Expected names such as train-images-idx3-ubyte, "
            "train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, with or without .gz"
        )
    train = read_images_and_labels(paths["train", "images"], paths["train", "labels"])
    most = int(train[1].max()) + 1
    test = read_images_and_labels(paths["test", "images"], paths["test", "labels"], classes=most)
    data = IdxFolder(*train, *test)
    if data.train_images.shape[1:] != data.test_images.shape[1:]:
        raise ValueError(
            f"{folder}: training images are {data.train_images.shape[1:]} pixels, test images "
            f"{data.test_images.shape[1:]}"
        )
    return data


def find_in_folder(folder: str | Path) -> dict[tuple[str, str], Path]:
    """The IDX files in ``folder`` by what they hold: ("train" or "test", "images" or "labels")."""
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(Path(folder).iterdir()):
        name = path.name.lower().replace("t10k", "test")
        part = next((part for part in PARTS if part in name), None)
        kind = next((kind for kind in KINDS if kind in name), None)
        if part is None or kind is None or "idx" not in name or name.endswith(".part") or not path.is_file():
            continue
        other = found.setdefault((part, kind), path)
        if other is not path and other.name != path.name.removesuffix(".gz"):
            raise ValueError(
                f"{folder}: both {other.name} and {path.name} look like the {part} {kind}; keep one"
            )
    return found
