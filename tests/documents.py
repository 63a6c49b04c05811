"""Running the Python blocks of a Markdown page: each must print what the text block after it shows.

The blocks of a page share one namespace, as if typed one after the other.
"""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
FENCED = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<printed>.*?)^```\n)?", re.M | re.S)


class Block(NamedTuple):
    """A block of Python, the text it must print, and the line it starts on."""

    code: str
    printed: str
    line: int


def python_blocks(page: Path) -> list[Block]:
    """The Python blocks of a page, each with the text block right behind it, if there is one."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(match["code"], match["printed"] or "", text.count("\n", 0, match.start()) + 2)
        for match in FENCED.finditer(text)
    ]


def check_blocks(blocks: list[Block], page: Path) -> None:
    """Run blocks in order; the first that prints something else fails."""
    namespace: dict[str, object] = {"__name__": page.stem}
    for block in blocks:
        output = io.StringIO()
        # blank lines in front make the line numbers of a traceback those of the page
        program = compile("\n" * (block.line - 1) + block.code, page, "exec")
        with contextlib.redirect_stdout(output):
            exec(program, namespace)
        assert output.getvalue() == block.printed, f"{page.name}, the block on line {block.line}"
