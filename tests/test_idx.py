"""IDX files: what is read, and that every kind of damage is one clear error naming the file."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from rushlight.vision.idx import LARGEST_GZIP_RATIO, load_folder, read_idx, read_images_and_labels

MNIST_FOLDER = Path(__file__).resolve().parent.parent / "data" / "mnist"
CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
GZIP_HEADER = 10  # bytes


def idx_bytes(array: np.ndarray) -> bytes:
    kind = CODES[array.dtype.str[1:]]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_four(folder: Path, compress: bool = False, **changes: np.ndarray) -> dict[str, Path]:
    """Write a small data set with the conventional names; returns the paths by part and kind."""
    arrays = {
        "train-images-idx3": np.arange(5 * 6, dtype="u1").reshape(5, 2, 3),
        "train-labels-idx1": np.array([0, 1, 2, 1, 0], "u1"),
        "t10k-images-idx3": np.ones((2, 2, 3), "u1"),
        "t10k-labels-idx1": np.array([2, 1], "u1"),
    }
    paths = {}
    for name, array in (arrays | {name.replace("_", "-"): value for name, value in changes.items()}).items():
        content = idx_bytes(array)
        path = folder / f"{name}-ubyte{'.gz' if compress else ''}"
        path.write_bytes(gzip.compress(content) if compress else content)
        paths[name] = path
    return paths


@pytest.mark.parametrize("kind", list(CODES))
@pytest.mark.parametrize("compress", [False, True])
def test_every_type_is_read_in_native_byte_order(tmp_path, kind, compress):
    array = np.array([[1, 2, 3], [100, 0, 7]], kind)
    content = idx_bytes(array)
    path = tmp_path / "values"
    path.write_bytes(gzip.compress(content) if compress else content)
    read = read_idx(path)
    np.testing.assert_array_equal(read, array)
    assert read.dtype == np.dtype(kind) and read.dtype.isnative
    assert read.flags.writeable


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (2, 3, 4, 5)])
def test_any_number_of_dimensions(tmp_path, shape):
    path = tmp_path / "values"
    path.write_bytes(idx_bytes(np.zeros(shape, "u1")))
    assert read_idx(path).shape == shape


def test_a_gz_name_on_plain_content_does_not_matter(tmp_path):
    path = tmp_path / "labels-idx1-ubyte.gz"
    path.write_bytes(idx_bytes(np.array([1, 2], "u1")))
    assert read_idx(path).tolist() == [1, 2]


def test_values_larger_than_one_chunk_survive_compression(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (3, 300, 300), np.uint8)
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(idx_bytes(array)))
    np.testing.assert_array_equal(read_idx(path), array)


GOOD = idx_bytes(np.arange(60, dtype="u1").reshape(3, 4, 5))
PACKED = gzip.compress(GOOD)
DAMAGED = {
    "empty": (b"", "truncated: 0 bytes"),
    "too short for a header": (GOOD[:3], "truncated: 3 bytes"),
    "truncated in the sizes": (GOOD[:10], "truncated: the header should list 3 dimensions"),
    "truncated in the values": (GOOD[:-1], "truncated: shape (3, 4, 5) needs 60 bytes"),
    "bytes after the end": (GOOD + b"\0", "bytes follow the 60 bytes"),
    "not IDX": (b"<!DOCTYPE html>", "should start with two zero bytes, but starts with b'<!DO'"),
    "unknown type": (b"\0\0\x0a\x01\0\0\0\0", "its type byte 0x0A is none of 0x08"),
    "size beyond all memory": (b"\0\0\x08\x08" + b"\xff" * 32, "truncated"),
    "gzip truncated": (PACKED[:-9], "truncated"),
    "gzip without its checksum": (PACKED[:-8], "truncated: the gzip stream has no end"),
    "gzip cut in its header": (PACKED[:5], "truncated: 0 bytes"),
    "gzip checksum wrong": (PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], "the gzip data is damaged"),
    "gzip length wrong": (PACKED[:-4] + b"\0\0\0\1", "the gzip data is damaged"),
    "gzip data wrong": (PACKED[:GZIP_HEADER] + b"\xff" * 20 + PACKED[-8:], "the gzip data is damaged"),
    "bytes after the gzip stream": (PACKED + b"more", "bytes follow the end of the gzip stream"),
    "values after the end, in gzip": (gzip.compress(GOOD + b"\0"), "bytes follow the 60 bytes"),
    "too few values, in gzip": (gzip.compress(GOOD[:-1]), "truncated: shape (3, 4, 5) needs 60 bytes"),
    "gzip of something else": (gzip.compress(b"hello, world"), "not an IDX file"),
}


@pytest.mark.parametrize("name", list(DAMAGED))
def test_damage_is_one_error_that_names_the_file(tmp_path, name):
    content, message = DAMAGED[name]
    path = tmp_path / "images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(ValueError) as raised:
        read_idx(path)
    assert str(path) in str(raised.value)
    assert message in str(raised.value)


def test_a_small_file_cannot_ask_for_a_large_array(tmp_path):
    """Nothing compresses better than zeros do; a header that promises more is refused."""
    zeros = zlib.compress(bytes(1 << 20), 9)
    assert (1 << 20) / len(zeros) < LARGEST_GZIP_RATIO
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(struct.pack(">BBBBI", 0, 0, 8, 1, 1 << 31)))
    with pytest.raises(ValueError, match="truncated"):
        read_idx(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="labels-idx1"):
        read_idx(tmp_path / "labels-idx1")


def pair(tmp_path, images, labels):
    images_path, labels_path = tmp_path / "images-idx3", tmp_path / "labels-idx1"
    images_path.write_bytes(idx_bytes(images))
    labels_path.write_bytes(idx_bytes(labels))
    return images_path, labels_path


def test_images_and_labels_are_read_as_the_datasets_keep_them(tmp_path):
    images, labels = read_images_and_labels(
        *pair(tmp_path, np.zeros((2, 28, 28), "u1"), np.array([9, 0], "u1")), 10
    )
    assert images.dtype == np.uint8 and images.shape == (2, 28, 28)
    assert labels.dtype == np.int64 and labels.tolist() == [9, 0]


IMAGES, LABELS = np.zeros((2, 4, 4), "u1"), np.array([3, 0], "u1")


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (LABELS, IMAGES, "swapped"),
        (LABELS, LABELS, "images should be unsigned bytes in 3 dimensions"),
        (IMAGES.astype("f4"), LABELS, "images should be unsigned bytes"),
        (IMAGES, IMAGES, "labels should be unsigned bytes in 1 dimension"),
        (IMAGES, LABELS.astype("i4"), "labels should be unsigned bytes"),
        (IMAGES, LABELS[:1], "holds 2 images, but"),
        (IMAGES[:0], LABELS[:0], "holds no images"),
        (IMAGES, np.array([3, 10], "u1"), "label 10 at position 1 is out of range 0-9"),
    ],
)
def test_pairs_that_do_not_belong_together(tmp_path, images, labels, message):
    paths = pair(tmp_path, images, labels)
    with pytest.raises(ValueError, match=message) as raised:
        read_images_and_labels(*paths, classes=10)
    assert any(str(path) in str(raised.value) for path in paths)


@pytest.mark.parametrize("compress", [False, True])
def test_a_folder_is_read_by_its_conventional_names(tmp_path, compress):
    write_four(tmp_path, compress)
    (tmp_path / "README.md").write_text("not a data file")
    data = load_folder(tmp_path)
    assert data.train_images.shape == (5, 2, 3) and data.test_images.shape == (2, 2, 3)
    assert data.train_labels.tolist() == [0, 1, 2, 1, 0] and data.test_labels.tolist() == [2, 1]
    assert data.classes == 3


def test_other_spellings_of_the_names(tmp_path):
    paths = write_four(tmp_path)
    paths["train-images-idx3"].rename(tmp_path / "emnist-letters-train-images.idx3-ubyte")
    paths["t10k-labels-idx1"].rename(tmp_path / "Test-Labels-IDX1-ubyte")
    assert len(load_folder(tmp_path).test_labels) == 2


def test_a_plain_file_goes_before_its_compressed_copy(tmp_path):
    write_four(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(b"never read")
    assert load_folder(tmp_path).classes == 3


def test_a_folder_without_a_file_says_which(tmp_path):
    write_four(tmp_path)["t10k-labels-idx1"].unlink()
    with pytest.raises(FileNotFoundError, match="no IDX file of test labels"):
        load_folder(tmp_path)


def test_a_folder_with_two_candidates_says_which(tmp_path):
    content = write_four(tmp_path)["train-images-idx3"].read_bytes()
    (tmp_path / "letters-train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(ValueError, match="both letters-train-images-idx3-ubyte and train-images-idx3-ubyte"):
        load_folder(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"t10k_labels_idx1": np.array([3, 0], "u1")}, "label 3 at position 0 is out of range 0-2"),
        ({"t10k_images_idx3": np.zeros((2, 3, 3), "u1")}, r"training images are \(2, 3\) pixels"),
    ],
)
def test_a_test_set_that_does_not_fit_the_training_set(tmp_path, changes, message):
    write_four(tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        load_folder(tmp_path)


def test_the_repository_holds_mnist():
    data = load_folder(MNIST_FOLDER)
    assert data.train_images.shape == (60000, 28, 28) and data.test_images.shape == (10000, 28, 28)
    assert data.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(data.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert abs(data.train_images.mean() / 255 - 0.1307) < 1e-4
