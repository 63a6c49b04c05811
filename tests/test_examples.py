"""Every cell of the notebooks in ``examples`` runs, and shows what is stored with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.printed import differences
from tests.notebooks import EXAMPLES, code_cells, run_cell, source, stored


def test_the_examples_are_there() -> None:
    assert {path.stem for path in EXAMPLES} == {
        "1-candles-from-the-first-tensor",
        "2-digits-from-numpy-to-autograd",
        "3-logistic-regression-by-hand-and-with-nn",
        "4-a-network-saved-and-loaded",
        "5-titanic-from-scratch",
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_cell_shows_what_is_stored(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = code_cells(json.loads(path.read_text("utf-8")))
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    for number, cell in enumerate(cells, start=1):
        printed, value = run_cell(source(cell), names, f"{path.name}, cell {number}")
        shown = printed + ("" if value is None else value + "\n")
        assert differences(shown, stored(cell), relative=0.02, absolute=0.02) == [], source(cell)


def test_the_notebooks_are_sound() -> None:
    for path in EXAMPLES:
        notebook = json.loads(path.read_text("utf-8"))
        assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
        ids = [cell["id"] for cell in notebook["cells"]]
        assert len(set(ids)) == len(ids)
        assert notebook["cells"][0]["cell_type"] == "markdown"
        assert sum(cell["cell_type"] == "markdown" for cell in notebook["cells"]) >= 4
