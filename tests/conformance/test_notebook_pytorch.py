"""A PyTorch notebook's cells, as they stand, show under Rushlight what they show under PyTorch.

The notebook and its file of candles are not in the repository: they are read from ``$RUSHLIGHT_DATA`` and a
folder ``seeds`` beside it. The notebook that always runs is written here in the same manner, on candles that
are made up.
"""

from __future__ import annotations

import math
import os
import random
from pathlib import Path

import pytest

from tests.conformance.cells import run
from tests.conformance.printed import differences

torch = pytest.importorskip("torch", reason="needs the conformance extra")
pytest.importorskip("pandas", reason="needs pandas, from the test extra")

# How many lines of code each of the notebook's cells has; what follows are its outputs and its text.
CODE_LINES = (13, 9, 3, 1, 8, 3, 2, 3, 3, 9, 1, 1, 7, 1, 3, 7, 8, 1, 1, 15, 2, 7, 7, 3, 2, 2)
CODE_LINES += (15, 2, 5, 2, 8, 4, 15, 2, 4)
CANDLES = "lesson5-random-forests/btc-data/btcusdt-2023-6_9.csv"
FIRST = 'import torch\ntorch.manual_seed(2023)\ndevice = "cpu"'


# read before the suite hides the user's own files from the tests
SHELF = os.environ.get("RUSHLIGHT_DATA")


def shelf() -> Path:
    """Where the notebook and the data are."""
    if not SHELF:
        pytest.skip("RUSHLIGHT_DATA does not say where the notebook and the candles are")
    return Path(SHELF)


def code_cells(notebook: Path) -> list[str]:
    """The code of a notebook that was saved as text."""
    if not notebook.exists():
        pytest.skip(f"there is no {notebook}")
    lines = notebook.read_text("utf-8").splitlines()
    starts = [number + 1 for number, line in enumerate(lines) if line.startswith("In [")]
    assert len(starts) == len(CODE_LINES)
    return ["\n".join(lines[start : start + count]) for start, count in zip(starts, CODE_LINES, strict=True)]


def assert_same_shown(cells: list[str], folder: Path) -> list[str]:
    """Run cells under both libraries and compare what each shows; returns what Rushlight showed."""
    ours, theirs = run(cells, "rushlight", folder), run(cells, "torch", folder)
    for cell, mine, their in zip(cells, ours, theirs, strict=True):
        assert differences(mine, their) == [], cell
    return ours


def test_the_notebook_shows_what_it_shows_under_pytorch(tmp_path: Path) -> None:
    data = shelf()
    cells = code_cells(data.parent / "seeds" / "pytorch-notebook.txt")
    candles = data / "btc" / "btcusdt-15m-2023-06_09.csv"
    if not candles.exists():
        pytest.skip(f"there is no {candles}")
    rows = candles.read_text("utf-8").splitlines()
    place = tmp_path / CANDLES  # the notebook's own file has a column of row numbers in front
    place.parent.mkdir(parents=True)
    place.write_text(
        "\n".join(["," + rows[0], *(f"{number},{row}" for number, row in enumerate(rows[1:]))]), "utf-8"
    )
    shown = assert_same_shown([FIRST, *cells], tmp_path)
    assert shown[1].startswith("(11716, 6)\n")
    assert shown[5].startswith("(11713, 20)\n")
    assert shown[9] == "torch.Size([11713, 19])\n"


def write_candles(place: Path, count: int) -> None:
    """A random walk of prices in the tens of thousands, as candles."""
    chance = random.Random(5)
    close, lines = 27000.0, [",time,open,high,low,close,vol"]
    for number in range(count):
        opened, close = close, close * math.exp(chance.gauss(0, 0.002))
        high, low = max(opened, close) * 1.0007, min(opened, close) * 0.9994
        time = f"2023.06.{1 + number // 96:02} {number // 4 % 24:02}:{number % 4 * 15:02}"
        lines.append(
            f"{number},{time},{opened:.1f},{high:.1f},{low:.1f},{close:.1f},{chance.uniform(100, 1000):.3f}"
        )
    place.write_text("\n".join(lines) + "\n", "utf-8")


def test_a_notebook_in_the_same_manner(tmp_path: Path) -> None:
    write_candles(tmp_path / "candles.csv", 400)
    text = (Path(__file__).parent / "notebooks" / "candles.py").read_text("utf-8")
    shown = assert_same_shown(text.split("# %%\n")[1:], tmp_path)
    assert shown[2] == "(397, 20)\n" and len(shown) == 18
    assert all(shown)
