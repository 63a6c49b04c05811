"""Image data for the digit job: named datasets and folders of IDX files as arrays, and single pictures for
prediction.

Everything ends as uint8 images ``(N, H, W)`` with labels ``(N)``; scaling to network input is one function.
Invariant: prediction prepares a picture exactly as training prepared the dataset.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rushlight.jobs.errors import JobError
from rushlight.vision import datasets
from rushlight.vision.idx import load_folder

PIECE = 1 << 18  # pixels that are handled at once: what stays in the processor's cache
INPUTS, CLASSES, IMAGES = 28 * 28, 10, 60_000  # of all named datasets, before some are held out
NAMED = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}


class ImageData(NamedTuple):
    """Training and test images as uint8 ``(N, H, W)``, labels as int64 ``(N)``, and the names of the
    classes.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: list[str]


def load_image_data(source: str, download: bool = False) -> ImageData:
    """The data behind a name (``mnist``) or a folder of IDX files; JobError with where it looked."""
    if source in NAMED:
        return _named(source, download)
    folder = Path(source)
    if not folder.is_dir():
        known = ", ".join(NAMED)
        raise JobError(f"there is no folder {source}, and no dataset of that name (known are {known})")
    try:
        found = load_folder(folder)
    except (RuntimeError, ValueError, OSError) as error:
        raise JobError(str(error)) from None
    classes = [str(number) for number in range(found.classes)]
    return ImageData(found.train_images, found.train_labels, found.test_images, found.test_labels, classes)


def _named(source: str, download: bool) -> ImageData:
    dataset = getattr(datasets, NAMED[source])
    root = os.environ.get("RUSHLIGHT_DATA") or "data"
    try:
        train = dataset(root, train=True, download=download)
        test = dataset(root, train=False, download=download)
    except (RuntimeError, ValueError, OSError) as error:
        raise JobError(str(error)) from None
    return ImageData(
        train.data.numpy(),
        train.targets.numpy(),
        test.data.numpy(),
        test.targets.numpy(),
        [str(c).split(" - ")[0] for c in train.classes],
    )


def as_rows(images: np.ndarray) -> np.ndarray:
    """Images as rows of pixels, the input of a network."""
    return images.reshape(len(images), -1)


def moments(images: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of pixels on the scale 0 to 1."""
    flat = images.reshape(-1)
    total = squares = 0
    for start in range(0, len(flat), PIECE):
        values = flat[start : start + PIECE].astype(np.float64)  # sums of whole numbers stay exact
        total += int(values.sum())
        squares += int(values @ values)
    mean = total / len(flat)
    variance = squares / len(flat) - mean * mean
    return mean / 255, max(variance, 0.0) ** 0.5 / 255 or 1.0


def picture_as_sample(path: str, shape: tuple[int, int], like_digits: bool) -> np.ndarray:
    """A picture of any size and colour as one uint8 image of `shape`, white on black.

    Transparent parts count as white paper. A bright background is inverted. For digits the drawing is cut
    out, scaled to 20 of 28 parts and centred by its weight, as the MNIST images were made (LeCun, Cortes,
    Burges).
    """
    grey = _grey(path)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    if np.median(border) > 127:
        grey = 255 - grey
    if grey.shape == shape:
        return grey
    return _centred(grey, shape) if like_digits else _resized(grey, shape)


def _grey(path: str) -> np.ndarray:
    from rushlight.vision.images import pillow

    image_module = pillow()
    try:
        with image_module.open(path) as opened:
            opened.load()
            if opened.mode in ("I", "I;16", "F"):
                wide = np.asarray(opened, dtype=np.float64)
                top = wide.max() if wide.max() > 255 else 255.0
                return (wide / top * 255).astype(np.uint8)
            full = opened.convert("RGBA")
    except FileNotFoundError:
        raise JobError(f"there is no file {path}") from None
    except (OSError, ValueError, SyntaxError, image_module.DecompressionBombError) as error:
        raise JobError(f"{path} is not a picture that can be read: {error}") from None
    paper = image_module.new("RGBA", full.size, (255, 255, 255, 255))
    return np.asarray(image_module.alpha_composite(paper, full).convert("L"))


def _resized(grey: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    from rushlight.vision.images import pillow

    image_module = pillow()
    picture = image_module.fromarray(grey)
    return np.asarray(picture.resize((shape[1], shape[0]), image_module.Resampling.LANCZOS))


def _centred(grey: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The drawing alone, fitted into 20/28 of the frame and centred by its centre of mass."""
    drawn = grey > max(40, int(grey.max()) // 4)
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    if not len(rows):
        raise JobError("the picture is empty: nothing is drawn on it")
    cut = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    room = (round(shape[0] * 20 / 28), round(shape[1] * 20 / 28))
    scale = min(room[0] / cut.shape[0], room[1] / cut.shape[1])
    small = _resized(cut, (max(1, round(cut.shape[0] * scale)), max(1, round(cut.shape[1] * scale))))
    weight = small.astype(np.float64)
    total = weight.sum() or 1.0
    centre = [(weight.sum(1 - axis) * np.arange(small.shape[axis])).sum() / total for axis in (0, 1)]
    frame = np.zeros(shape, np.uint8)
    starts = [
        int(np.clip(round(shape[axis] / 2 - 0.5 - centre[axis]), 0, shape[axis] - small.shape[axis]))
        for axis in (0, 1)
    ]
    frame[starts[0] : starts[0] + small.shape[0], starts[1] : starts[1] + small.shape[1]] = small
    return frame


def describe(data: ImageData) -> dict[str, Any]:
    """The sizes of a dataset, for people and for the configuration."""
    return {
        "train": len(data.train_images),
        "test": len(data.test_images),
        "shape": list(data.train_images.shape[1:]),
        "classes": data.classes,
    }
