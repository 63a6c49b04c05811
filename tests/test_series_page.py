"""docs/series.md: its block prints what the page shows."""

from __future__ import annotations

import pytest

pytest.importorskip("polars", reason="needs the data extra")

from tests.documents import ROOT, check_blocks, python_blocks

PAGE = ROOT / "docs" / "series.md"


def test_the_page_prints_what_it_shows() -> None:
    blocks = python_blocks(PAGE)
    assert any(block.printed for block in blocks)
    check_blocks(blocks, PAGE)
