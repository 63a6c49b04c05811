"""A NumPy notebook that takes its digits from torchvision runs as it stands, with Rushlight answering.

The notebook itself is not in the repository: it is read from the folder ``seeds`` beside ``$RUSHLIGHT_DATA``.
The one that always runs is written in the same manner. What both learn from is compared with the files of
MNIST, read here without Rushlight, so that they can only reach what they reach with torchvision.
"""

from __future__ import annotations

import gzip
import importlib.util
import os
import re
from pathlib import Path

import numpy as np
import pytest

from tests.conformance.cells import run

HERE = Path(__file__).parent
DIGITS = HERE.parent / "data" / "mnist"
SHELF = os.environ.get("RUSHLIGHT_DATA")  # read before the suite hides the user's own files from the tests
CODE_LINES = (16, 143, 38, 25, 69)

needs = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None or importlib.util.find_spec("PIL") is None,
    reason="needs matplotlib and Pillow",
)


def pixels(name: str, count: int) -> np.ndarray:
    """The first images of a file, as rows of bytes."""
    with gzip.open(DIGITS / name) as file:
        file.read(16)
        return np.frombuffer(file.read(784 * count), np.uint8).reshape(count, 784)


def rate(shown: str) -> float:
    """The last rate of correct answers that was printed."""
    return float(re.findall(r"Correct rate: ([\d.]+)", shown)[-1])


@needs
def test_a_notebook_in_the_same_manner(tmp_path: Path) -> None:
    text = (HERE / "conformance" / "notebooks" / "digits.py").read_text("utf-8")
    shown = run(text.split("# %%\n")[1:], "rushlight", tmp_path)
    assert shown[2].startswith("<PIL.Image.Image image mode=L size=28x28 at ")
    assert "5 60000 10000 <class 'torchvision.datasets.mnist.MNIST'>" in shown[2]
    mean = (pixels("train-images-idx3-ubyte.gz", 3000) / 255).mean()
    printed = re.match(r"\(3000, 784\) \(3000, 10\) ([\d.]+) ", shown[3])
    assert printed is not None and float(printed[1]) == pytest.approx(mean, abs=1e-12)
    assert rate(shown[5]) > 0.85


@needs
def test_the_notebook_itself(tmp_path: Path) -> None:
    if not SHELF:
        pytest.skip("RUSHLIGHT_DATA does not say where the notebook is")
    notebook = Path(SHELF).parent / "seeds" / "numpy-notebook.txt"
    if not notebook.exists():
        pytest.skip(f"there is no {notebook}")
    pytest.importorskip("sklearn", reason="the notebook takes its softmax from scikit-learn")
    lines = notebook.read_text("utf-8").splitlines()
    starts = [number + 1 for number, line in enumerate(lines) if line.startswith("In [")]
    cells = ["\n".join(lines[start : start + n]) for start, n in zip(starts, CODE_LINES, strict=True)]
    own = tmp_path / "trading" / "data"  # a module of the author's own, with the folder of the data
    own.mkdir(parents=True)
    (own / "data_folder.py").write_text('data_folder = "data/"\n', "utf-8")
    first = "import random, numpy, sys\nrandom.seed(7)\nnumpy.random.seed(7)\nsys.path.insert(0, '')"
    last = "print(x_train.shape, x_validate.shape, x_test.shape, int(round(x_train.sum() * 255)))"
    shown = run([first, *cells, last], "rushlight", tmp_path, timeout=1200)
    total = int(pixels("train-images-idx3-ubyte.gz", 54000).sum(dtype=np.int64))
    assert shown[-1] == f"(54000, 784) (6000, 784) (10000, 784) {total}\n"
    assert "epoch 2 loss" in shown[-2]
    assert rate(shown[-2]) > 0.95
