"""The standard sections of a run's report: verdict, curves, layers, configuration, how to reproduce it.

Jobs hand in sections of their own, which come after the curves. Invariant: a report only reads the run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rushlight.fit.errors import FitError
from rushlight.fit.report import Part, Report, code, figure, paragraph, table
from rushlight.fit.summary import layers_of

if TYPE_CHECKING:
    from rushlight.fit.trainer import Trainer

Section = tuple[str, Sequence[Part]]


def write_report(trainer: Trainer, title: str, sections: Sequence[Section] = ()) -> Path:
    """Write ``report.html`` to the run folder and return its path.

    Args:
        trainer: the run.
        title: of the page.
        sections: the job's own, each a title and its parts (made by `rushlight.fit.report`).
    """
    if trainer.folder is None:
        raise FitError("a report is written to the run folder, but this run has none")
    report = Report(title)
    report.add("Verdict", *verdict_parts(trainer))
    if trainer.history:
        report.add("Curves", figure(lambda canvas: draw_curves(canvas, trainer), size=(9, 3.6)))
    for name, parts in sections:
        report.add(name, *parts)
    report.add("Layers", *layer_parts(trainer))
    if trainer.history:
        head = list(trainer.history[0])
        report.add("History", table(head, ([row[name] for name in head] for row in trainer.history)))
    config = trainer.folder.read_config()
    report.add("Configuration", code(json.dumps(config, indent=2)))
    if trainer.wording.reproduce:
        report.add("Reproduce", code(trainer.wording.reproduce))
    path = trainer.folder.path / "report.html"
    report.write(path)
    return path


def verdict_parts(trainer: Trainer) -> list[Part]:
    """The verdict in words, the best epoch, and what was noticed on the way."""
    verdict = trainer.verdict()
    parts = [paragraph(str(verdict), emphasis=True)]
    parts += [paragraph(f"Noticed: {each}") for each in trainer.mistakes]
    if trainer.best_epoch:
        name = trainer.monitor.replace("_", " ")
        parts.append(
            paragraph(
                f"Best epoch: {trainer.best_epoch} of {len(trainer.history)}, {name} {trainer.best:.5g}."
            )
        )
    if trainer.stopped:
        parts.append(paragraph(f"Stopped early: {trainer.stopped}."))
    return parts


def layer_parts(trainer: Trainer) -> list[Part]:
    """The table of layers and parameters."""
    layers = layers_of(trainer.model, trainer.sample)
    total = sum(each.parameters for each in layers)
    rows: list[list[Any]] = [
        [each.name, each.text, " x ".join(map(str, each.shape[1:])), each.parameters] for each in layers
    ]
    frozen = total - sum(each.trained for each in layers)
    text = f"{total:,} parameters" + (f", of which {frozen:,} are not trained." if frozen else ".")
    return [table(["name", "layer", "output of a sample", "parameters"], rows), paragraph(text)]


def draw_curves(canvas: Any, trainer: Trainer) -> None:
    """Losses on the left; metrics, or the learning rate, on the right."""
    history = trainer.history
    epochs = [row["epoch"] for row in history]
    left, right = canvas.subplots(1, 2)
    left.plot(epochs, [row["train_loss"] for row in history], ".-", label="training")
    if "validation_loss" in history[0]:
        left.plot(epochs, [row["validation_loss"] for row in history], ".-", label="validation")
    if trainer.best_epoch:
        left.axvline(trainer.best_epoch, color="0.6", linestyle=":", label="best epoch")
    left.set_title("loss")
    left.legend()
    for name in trainer.metrics:
        right.plot(epochs, [row[f"validation_{name}"] for row in history], ".-", label=name)
    if trainer.metrics:
        right.set_title("validation")
    else:
        right.plot(epochs, [row["learning_rate"] for row in history], ".-", label="learning rate")
        right.set_title("learning rate at the end of the epoch")
    right.legend()
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
