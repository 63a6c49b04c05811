"""The history as TensorBoard shows it: a scalar per column and epoch, and the loss of each step.

tensorboardX writes the files; it is imported when logging is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rushlight.fit.callbacks import Callback
from rushlight.fit.errors import FitError

if TYPE_CHECKING:
    from rushlight.fit.trainer import Trainer


class TensorBoard(Callback):
    """Logs a run.

    Args:
        folder: where TensorBoard's event files go.
        every: log the loss of every so many steps.
    """

    def __init__(self, folder: str | Path, every: int = 10) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise FitError("logging for TensorBoard needs tensorboardX: pip install tensorboardX") from None
        self.writer = SummaryWriter(str(folder))
        self.every, self.steps = every, 0

    def on_step_end(self, trainer: Trainer, loss: float) -> None:
        """Log the loss."""
        self.steps += 1
        if self.steps % self.every == 0:
            self.writer.add_scalar("step/loss", loss, self.steps)

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """Log the history's line."""
        for name, value in row.items():
            if name != "epoch":
                self.writer.add_scalar(name, value, row["epoch"])
        self.writer.flush()

    def on_fit_end(self, trainer: Trainer) -> None:
        """Close the files."""
        self.writer.close()

    def state_dict(self) -> dict[str, Any]:
        """How many steps were logged."""
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting."""
        self.steps = int(state["steps"])
