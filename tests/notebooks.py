"""The executed notebooks of ``examples``; ``python -m tests.notebooks`` stores anew what they show.

A notebook is a JSON file with cells of text and of code, each of these with the text it showed. Cells run in
this process, one after the other, in one namespace, as in a notebook. Invariant: a notebook is written only
after all of its cells ran.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.ipynb"))


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells of code."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def source(cell: dict[str, Any]) -> str:
    """The text of a cell."""
    return "".join(cell["source"])


def stored(cell: dict[str, Any]) -> str:
    """What a cell showed when it was last executed: what it printed, then its value."""
    parts = []
    for output in cell["outputs"]:
        text = output["text"] if output["output_type"] == "stream" else output["data"]["text/plain"] + ["\n"]
        parts.append("".join(text))
    return "".join(parts)


def run_cell(code: str, names: dict[str, Any], title: str) -> tuple[str, str | None]:
    """Run one cell: what it prints, and the text of its last expression's value, if it has one."""
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, title, "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), title, "eval"), names)
    return printed.getvalue(), None if value is None else repr(value)


def execute(path: Path) -> None:
    """Run a notebook and store what its cells show."""
    notebook = json.loads(path.read_text("utf-8"))
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(code_cells(notebook), start=1):
        printed, value = run_cell(source(cell), names, f"{path.name}, cell {number}")
        cell["execution_count"] = number
        cell["outputs"] = []
        if printed:
            lines = printed.splitlines(keepends=True)
            cell["outputs"].append({"output_type": "stream", "name": "stdout", "text": lines})
        if value is not None:
            data = {"text/plain": value.splitlines(keepends=True)}
            cell["outputs"].append(
                {"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": data}
            )
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")


def main() -> None:
    """Execute the notebooks that are named, or all of them."""
    os.environ.pop("RUSHLIGHT_DATA", None)  # what is stored is what everybody gets
    for path in [Path(each) for each in sys.argv[1:]] or EXAMPLES:
        execute(path)
        print(path.name)


if __name__ == "__main__":
    main()
