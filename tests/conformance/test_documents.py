"""The snippets of the README and of the tutorial under PyTorch: they print what the pages show for Rushlight.

The tutorial's last part is left out: it reads MNIST with `rushlight.vision`, which gives Rushlight's tensors.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documents import ROOT, check_blocks, python_blocks

pytest.importorskip("torch", reason="needs the conformance extra")


@pytest.mark.parametrize("name", ["README.md", "docs/tutorial.md"])
def test_snippets_print_the_same_under_pytorch(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = []
    for block in python_blocks(ROOT / name):
        if "rushlight.vision" in block.code:
            break
        code = block.code.replace("import rushlight as torch", "import torch")
        blocks.append(block._replace(code=code.replace("from rushlight", "from torch")))
    assert any(block.printed for block in blocks)
    assert "rushlight" not in "".join(block.code for block in blocks)
    check_blocks(blocks, ROOT / name)
