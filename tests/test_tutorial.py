"""docs/tutorial.md, typed from top to bottom: every block prints what the page shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documents import ROOT, Block, check_blocks, python_blocks

TUTORIAL = ROOT / "docs" / "tutorial.md"


def test_the_tutorial_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # it saves a model
    check_blocks(python_blocks(TUTORIAL), TUTORIAL)
    assert (tmp_path / "ring.pt").exists()


def test_every_block_of_text_belongs_to_a_block_of_code() -> None:
    blocks = python_blocks(TUTORIAL)
    text = TUTORIAL.read_text(encoding="utf-8")
    assert len(blocks) == text.count("```python\n")
    assert sum(bool(block.printed) for block in blocks) == text.count("```text\n")


def test_a_block_that_prints_something_else_is_noticed() -> None:
    with pytest.raises(AssertionError, match="block on line 7"):
        check_blocks([Block("print(1)\n", "2\n", line=7)], TUTORIAL)
