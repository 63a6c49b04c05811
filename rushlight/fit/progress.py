"""Showing how training goes: a live line in a terminal, a live table in a notebook, one plain line per epoch
elsewhere.

Invariant: a pipe or file gets text without control codes, and nothing here changes what is computed.
"""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

# Seconds between two updates of the live line.
EVERY = 0.1


class Progress:
    """Reports on a run of known length.

    Args:
        epochs: how many epochs there are.
        samples: how many samples each has; None: not known.
        describe: the text of an epoch's line in the history.
        shown: False for silence.
    """

    def __init__(
        self,
        epochs: int,
        samples: int | None,
        describe: Callable[[dict[str, Any]], str],
        shown: bool = True,
    ) -> None:
        self.epochs, self.samples, self.describe, self.shown = epochs, samples, describe, shown
        self.display: _Terminal | _Notebook | None = None
        self.loss: float | None = None
        self.last = ""
        self.pending = 0
        self._shown_at = 0.0

    def __enter__(self) -> Progress:
        if self.shown and _in_notebook():
            self.display = _Notebook()
        elif self.shown and sys.stderr.isatty():
            live = _live_display()
            self.display = None if live is None else _Terminal(live)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.display is not None:
            self.display.close()

    def start_epoch(self, epoch: int, done: int) -> None:
        """A new epoch begins (or one goes on, `done` samples in)."""
        self.epoch, self.done = epoch, done
        self.seen = 0
        self.began = time.monotonic()
        self._show(force=True)

    def advance(self, count: int, loss: float) -> None:
        """Some samples were trained on, with this loss."""
        self.seen += count
        # a running mean over about 100 batches reads more calmly than single batches
        self.loss = loss if self.loss is None else 0.99 * self.loss + 0.01 * loss
        self._show()

    def end_epoch(self, row: dict[str, Any]) -> None:
        """An epoch is over; `row` is its line in the history."""
        self.last = self.describe(row)
        number = f"{row['epoch']:>{len(str(self.epochs))}}/{self.epochs}"
        self.message(f"epoch {number}  {self.last}  {self._speed():,.0f} samples/s")
        self._show(force=True)

    def message(self, text: str) -> None:
        """A line that stays."""
        if self.display is not None:
            self.display.line(text)
        elif self.shown:
            print(text, flush=True)

    def _speed(self) -> float:
        return self.seen / max(time.monotonic() - self.began, 1e-9)

    def _show(self, force: bool = False) -> None:
        if self.display is None:
            return
        now = time.monotonic()
        if not force and now - self._shown_at < EVERY:
            return
        self._shown_at = now
        loss = "" if self.loss is None else f"  loss {self.loss:.4f}"
        text = f"epoch {min(self.epoch + 1, self.epochs)}/{self.epochs}{loss}  {self._speed():,.0f} samples/s"
        share = 0.0
        if self.samples:
            share = (self.epoch + (self.done + self.seen) / self.samples) / self.epochs
        self.display.update(text, min(share, 1.0))


class _Terminal:
    """A progress bar of rich on standard error."""

    def __init__(self, live: Any) -> None:
        self.live = live
        self.task = live.add_task("", total=1.0)
        live.start()

    def update(self, text: str, share: float) -> None:
        """Show the state."""
        self.live.update(self.task, description=text, completed=share)

    def line(self, text: str) -> None:
        """Print above the bar."""
        self.live.console.print(text, highlight=False, markup=False)

    def close(self) -> None:
        """Take the bar away."""
        self.live.stop()


def _live_display() -> Any:
    """rich's progress bar on standard error, or None where rich is missing."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress
    except ImportError:
        return None
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    return RichProgress(*columns, console=Console(stderr=True), transient=True)


def _in_notebook() -> bool:
    """Whether output goes to a notebook's page: IPython runs, and it talks to a kernel's front end."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


class _Notebook:
    """Lines and a bar as HTML in the cell's output, replaced as training goes on."""

    def __init__(self) -> None:
        from IPython.display import HTML, display

        self.html = HTML
        self.lines: list[str] = []
        self.text, self.share = "", 0.0
        self.handle = display(HTML(self._page()), display_id=True)

    def _page(self, done: bool = False) -> str:
        rows = "".join(f"<div>{html.escape(line)}</div>" for line in self.lines)
        bar = ""
        if not done:
            bar = f'<progress value="{self.share:.4f}" max="1"></progress> {html.escape(self.text)}'
        return f'<div style="font-family:monospace;white-space:pre">{rows}{bar}</div>'

    def update(self, text: str, share: float) -> None:
        """Show the state."""
        self.text, self.share = text, share
        self.handle.update(self.html(self._page()))

    def line(self, text: str) -> None:
        """A line that stays."""
        self.lines.append(text)
        self.handle.update(self.html(self._page()))

    def close(self) -> None:
        """Leave only the lines."""
        self.handle.update(self.html(self._page(done=True)))
