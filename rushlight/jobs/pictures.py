"""Pictures of a run as PNG files: matplotlib drawing into a file that is replaced as a whole.

What is drawn belongs to each job. Invariant: no window is opened, and no figure is left behind.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rushlight.files import write_bytes
from rushlight.jobs.errors import JobError


def write_png(path: Path, size: tuple[float, float], draw: Callable[[Any], None]) -> None:
    """Let `draw` fill a figure of `size` in inches, and write it.

    Raises:
        JobError: matplotlib is missing, or the file cannot be written.
    """
    try:
        import matplotlib
    except ImportError:
        raise JobError(
            "the report's picture needs matplotlib: pip install matplotlib (or leave pictures out with "
            "--no-report)"
        ) from None
    matplotlib.use("Agg", force=False)
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=size, layout="constrained")
    content = io.BytesIO()
    try:
        draw(figure)
        figure.savefig(content, format="png", dpi=100)
    finally:
        pyplot.close(figure)
    try:
        write_bytes(path, content.getvalue())
    except OSError as error:
        raise JobError(f"cannot write {path}: {error.strerror or error}") from None
