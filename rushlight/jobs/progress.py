"""Showing how training goes: a live line in a terminal, one plain line per epoch elsewhere.

Invariant: a pipe or file gets text without control codes, and nothing here changes what is computed.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any


class Progress:
    """Reports on a run of known length.

    Args:
        epochs: how many epochs there are.
        samples: how many samples each has.
    """

    def __init__(self, epochs: int, samples: int) -> None:
        self.epochs, self.samples = epochs, samples
        self.live: Any = None
        self.task: Any = None
        self.seen = 0
        self.loss = 0.0
        self.accuracy: float | None = None
        self.began = time.monotonic()
        self._shown = 0.0

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            self.live = _live_display()
            if self.live is not None:
                self.live.start()
        self.began = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.live is not None:
            self.live.stop()

    def start_epoch(self, epoch: int, done: int) -> None:
        """A new epoch begins (or one goes on, `done` samples in)."""
        self.epoch, self.done = epoch, done
        self.epoch_began = time.monotonic()
        self.epoch_seen = 0
        if self.live is not None:
            if self.task is None:
                total = self.epochs * self.samples
                self.task = self.live.add_task("", total=total, completed=epoch * self.samples + done)
            self._show(force=True)

    def advance(self, count: int, loss: float) -> None:
        """Some samples were trained on, with this loss."""
        self.epoch_seen += count
        # a running mean over about 100 batches reads more calmly than single batches
        self.loss = loss if not self.loss else 0.99 * self.loss + 0.01 * loss
        if self.live is not None:
            self.live.advance(self.task, count)
            self._show()

    def end_epoch(self, row: dict[str, Any]) -> None:
        """An epoch is over; `row` is its line in the history."""
        self.accuracy = row["validation_accuracy"]
        speed = self.epoch_seen / max(time.monotonic() - self.epoch_began, 1e-9)
        line = (
            f"epoch {row['epoch']:>{len(str(self.epochs))}}/{self.epochs}  loss {row['train_loss']:.4f}  "
            f"validation {row['validation_accuracy']:.2%}  {speed:,.0f} samples/s"
        )
        if self.live is not None:
            self.live.console.print(line, highlight=False)
            self._show(force=True)
        else:
            print(line, flush=True)

    def _show(self, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self._shown < 0.1:
            return
        self._shown = now
        speed = self.epoch_seen / max(now - self.epoch_began, 1e-9)
        known = "" if self.accuracy is None else f"  validation {self.accuracy:.2%}"
        text = f"epoch {self.epoch + 1}/{self.epochs}  loss {self.loss:.4f}{known}  {speed:,.0f} samples/s"
        self.live.update(self.task, description=text)


def _live_display() -> Any:
    """rich's progress bar on standard error, or None where rich is missing."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress
    except ImportError:
        return None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    return RichProgress(*columns, console=Console(stderr=True), transient=True)
