"""Pictures of a run as PNG files, drawn by matplotlib and replaced as a whole, and which rows are shown.

What is drawn belongs to each job. Invariant: no window is opened, and no figure is left behind.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rushlight.files import write_bytes
from rushlight.jobs.errors import JobError, missing_package

WORST = 10  # rows that a report lists


def most_wrong(distance: np.ndarray) -> np.ndarray:
    """The places of the greatest distances from the truth, greatest first, as many as a report lists.

    >>> most_wrong(np.array([0.1, 3.0, 0.5]))
    array([1, 2, 0])
    """
    return np.argsort(-distance, kind="stable")[:WORST]


def write_png(
    path: Path, size: tuple[float, float], draw: Callable[[Any], None], layout: Any = "constrained"
) -> None:
    """Let `draw` fill a figure of `size` in inches, and write it; `layout` is matplotlib's way to place axes.

    Raises:
        JobError: matplotlib is missing, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:  # matplotlib, or what it needs itself
        raise JobError(missing_package(error.name or "matplotlib", "the report's picture")) from None
    figure = Figure(figsize=size, layout=layout)
    content = io.BytesIO()
    draw(figure)
    figure.savefig(content, format="png", dpi=100)
    try:
        write_bytes(path, content.getvalue())
    except OSError as error:
        raise JobError(f"cannot write {path}: {error.strerror or error}") from None


def draw_confusion(axes: Any, confusion: np.ndarray, classes: Sequence[str], title: str) -> None:
    """Draw a confusion matrix (rows: truth, columns: guesses), in which colour shows only mistakes."""
    count = len(classes)
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    # the diagonal would drown the mistakes
    mistakes = np.where(np.eye(count, dtype=bool), np.nan, share)
    image = axes.imshow(mistakes, cmap="OrRd")
    axes.figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    for i, j in zip(*np.nonzero(confusion), strict=True):
        dark = i != j and share[i, j] > 0.6 * np.nanmax(mistakes)
        colour = "white" if dark else "black"
        axes.text(j, i, confusion[i, j], ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(count), classes, rotation=45 if max(map(len, classes)) > 2 else 0)
    axes.set_yticks(range(count), classes)
    axes.set_xlabel("guess")
    axes.set_ylabel("truth")
    axes.set_title(title)
