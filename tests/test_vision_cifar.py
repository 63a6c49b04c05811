"""CIFAR-10: where its files are found, what they give, that they are checked, and that they run nothing."""

import hashlib
import io
import os
import pickle
import tarfile

import numpy as np
import pytest

from rushlight.utils.data import DataLoader
from rushlight.vision import files, transforms
from rushlight.vision.datasets import CIFAR10
from rushlight.vision.datasets.cifar import unpickled
from tests.test_vision import Mirror, alone, mirror  # noqa: F401 - fixtures

Image = pytest.importorskip("PIL.Image")
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def batch(seed, count=4):
    rng = np.random.default_rng(seed)
    return {
        "batch_label": f"batch {seed}",
        "labels": rng.integers(0, 10, count).tolist(),
        "data": rng.integers(0, 256, (count, 3072)).astype(np.uint8),
        "filenames": [f"picture_{n}.png" for n in range(count)],
    }


def python2_pickle(values):
    """A pickle as Python 2 wrote the real files: its strings are bytes, told apart by no one."""
    return pickle.dumps(values, protocol=2)


CONTENT = {f"data_batch_{n}": python2_pickle(batch(n)) for n in range(1, 6)}
CONTENT |= {"test_batch": python2_pickle(batch(9)), "batches.meta": python2_pickle({"label_names": NAMES})}


def md5(content):
    return hashlib.md5(content).hexdigest()


class Small(CIFAR10):
    """A dataset with few pictures, and checksums to match."""

    train_list = [[f"data_batch_{n}", md5(CONTENT[f"data_batch_{n}"])] for n in range(1, 6)]
    test_list = [["test_batch", md5(CONTENT["test_batch"])]]
    meta = {"filename": "batches.meta", "key": "label_names", "md5": md5(CONTENT["batches.meta"])}


def write(folder):
    folder.mkdir(parents=True)
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("place", ["root/cifar-10-batches-py", "root", "here/data/cifar-10-batches-py"])
def test_pictures_and_labels(alone, place):  # noqa: F811
    write(alone / place)
    data = Small(alone / "root", train=False)
    made = batch(9)
    assert data.data.shape == (4, 32, 32, 3) and data.data.dtype == np.uint8
    assert data.targets == made["labels"] and data.classes == NAMES and data.class_to_idx["frog"] == 6
    image, label = data[1]
    assert image.mode == "RGB" and image.size == (32, 32) and label == made["labels"][1]
    # a row of the file holds the red plane, then the green one, then the blue one
    np.testing.assert_array_equal(np.array(image).transpose(2, 0, 1).reshape(-1), made["data"][1])
    train = Small(alone / "root")
    assert len(train) == 20 and train.targets[4:8] == batch(2)["labels"]
    assert repr(train).splitlines()[0] == "Dataset Small" and repr(train).endswith("Split: Train")


def test_transforms_and_loading(alone):  # noqa: F811
    write(alone / "root")
    data = Small(alone / "root", transform=transforms.ToTensor(), target_transform=lambda label: label + 100)
    images, labels = next(iter(DataLoader(data, batch_size=3)))
    assert images.shape == (3, 3, 32, 32) and float(images.max()) <= 1 and int(labels.min()) >= 100


def test_what_is_missing_or_changed_is_refused(alone):  # noqa: F811
    with pytest.raises(RuntimeError, match=r"(?s)^Dataset not found or corrupted.*test_batch, batches.meta"):
        CIFAR10("nowhere", train=False)
    write(alone / "root")
    assert len(Small(alone / "root", train=False)) == 4
    with pytest.raises(RuntimeError, match="not found or corrupted"):
        CIFAR10(alone / "root", train=False)
    (alone / "root" / "test_batch").write_bytes(CONTENT["data_batch_1"])
    with pytest.raises(RuntimeError, match="not found or corrupted"):
        Small(alone / "root", train=False)


def test_download_unpacks_what_is_wanted_and_nothing_else(alone, mirror, monkeypatch):  # noqa: F811
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in {**CONTENT, "readme.html": b"not wanted", "../outside": b"nor this"}.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    Mirror.answers = {"/good/cifar-10-python.tar.gz": packed.getvalue()}
    monkeypatch.setattr(Small, "mirrors", [f"{mirror}/gone/", f"{mirror}/good/"])
    monkeypatch.setattr(Small, "tgz_md5", md5(packed.getvalue()))
    assert len(Small(alone / "root", download=True)) == 20
    assert sorted(os.listdir(alone / "root")) == ["cifar-10-batches-py", "cifar-10-python.tar.gz"]
    assert sorted(os.listdir(alone / "root" / "cifar-10-batches-py")) == sorted(CONTENT)
    asked = len(Mirror.asked)
    Small(alone / "root", train=False, download=True).download()
    assert len(Mirror.asked) == asked, "what is there is not fetched again"
    assert files.shared_folders("cifar-10-batches-py")


class Evil:
    def __reduce__(self):
        return (os.system, ("touch executed",))


@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_in_a_file_is_executed(alone, protocol):  # noqa: F811
    for content in ({"data": Evil()}, {"data": np.ones(3)}, {"data": np.array([Evil()], dtype=object)}):
        with pytest.raises(RuntimeError, match="cannot be read"):
            unpickled(pickle.dumps(content, protocol))
    assert not os.path.exists("executed")
    with pytest.raises(RuntimeError, match="cannot be read"):
        unpickled(b"no pickle")
