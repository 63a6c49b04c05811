"""Pictures and tables of a finished run: curves, confusion matrix, and the most confidently wrong images.

matplotlib draws the PNG; a terminal also gets the mistakes in half blocks. Invariant: a report only reads
results, and without matplotlib everything but the PNG still works.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from rushlight.fit.report import Part, figure, gallery, image, paragraph
from rushlight.jobs.images import Result
from rushlight.jobs.pictures import draw_confusion, write_png


def probabilities(scores: np.ndarray) -> np.ndarray:
    """Softmax of each row."""
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def worst_mistakes(result: Result, count: int) -> list[tuple[int, int, int, float]]:
    """The wrong images the network was surest of: index, truth, guess, probability of the guess."""
    chances = probabilities(result.scores)
    guesses = chances.argmax(1)
    wrong = np.flatnonzero(guesses != result.labels)
    order = wrong[np.argsort(-chances[wrong, guesses[wrong]], kind="stable")][:count]
    return [(int(i), int(result.labels[i]), int(guesses[i]), float(chances[i, guesses[i]])) for i in order]


def confusion_text(result: Result) -> str:
    """The confusion matrix as plain text: a row per true class, a column per guess."""
    names = result.classes
    left = max(len("truth"), *(len(name) for name in names))
    short = [str(number) for number in range(len(names))] if left > 5 else names
    width = max(len(str(result.confusion.max())), *(len(name) for name in short)) + 1
    head = "truth".rjust(left) + " |" + "".join(name.rjust(width) for name in short) + "   right"
    lines = [head, "-" * len(head)]
    for number, name in enumerate(names):
        row = result.confusion[number]
        share = row[number] / max(row.sum(), 1)
        cells = "".join((str(n) if n else ".").rjust(width) for n in row)
        lines.append(f"{name.rjust(left)} |{cells}  {share:6.1%}")
    return "\n".join(lines)


def mistakes_text(result: Result, count: int = 4) -> str:
    """The worst mistakes drawn with half blocks, side by side."""
    found = worst_mistakes(result, count)
    if not found:
        return ""
    drawings, captions = [], []
    for index, truth, guess, chance in found:
        image = result.images[index].astype(int) // 43  # six shades are enough for a terminal
        drawings.append(_half_blocks(image))
        caption = f"{result.classes[truth]} taken for {result.classes[guess]} ({chance:.0%})"
        captions.append(caption[: result.images.shape[2]].ljust(result.images.shape[2]))
    rows = ["  ".join(parts) for parts in zip(*drawings, strict=True)]
    return "\n".join([*rows, "  ".join(captions)])


def _half_blocks(image: np.ndarray) -> list[str]:
    """Two rows of pixels per line of text, dark to bright."""
    if len(image) % 2:
        image = np.vstack([image, np.zeros_like(image[:1])])
    signs = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}
    lines = []
    for top, bottom in zip(image[::2], image[1::2], strict=True):
        lines.append("".join(signs[bool(a > 1), bool(b > 1)] for a, b in zip(top, bottom, strict=True)))
    return lines


def write_picture(path: Path, history: list[dict[str, Any]], result: Result, title: str) -> None:
    """Draw the report as one PNG."""

    def draw(canvas: Any) -> None:
        upper, lower = canvas.subfigures(2, 1, height_ratios=(1.25, 1))
        upper.suptitle(title, fontsize=14)
        curves, matrix = upper.subplots(1, 2)
        _draw_curves(curves, history)
        draw_confusion(matrix, result.confusion, result.classes, _right(result))
        _draw_mistakes(lower, result)

    write_png(path, (13, 9), draw)


def report_sections(result: Result, count: int = 24) -> list[tuple[str, list[Part]]]:
    """What the digit job adds to a run's report: the confusion matrix and the worst mistakes."""

    def draw(canvas: Any) -> None:
        draw_confusion(canvas.subplots(), result.confusion, result.classes, _right(result))

    confusion = figure(draw, "Rows: true classes; columns: guesses. Colour shows only mistakes.", (7, 5.5))
    text = f"{result.accuracy:.2%} of {len(result.labels):,} test images right."
    wrong = [
        image(
            _png(result.images[index]),
            f"{result.classes[truth]} taken for {result.classes[guess]} ({chance:.1%})",
            width=84,
        )
        for index, truth, guess, chance in worst_mistakes(result, count)
    ]
    mistakes = gallery(wrong) if wrong else paragraph("There are no mistakes.")
    return [("Test images", [paragraph(text), confusion]), ("Most confidently wrong", [mistakes])]


def _right(result: Result) -> str:
    return f"test images: {result.accuracy:.2%} right"


def _png(grey: np.ndarray) -> bytes:
    from rushlight.vision.images import pillow

    content = io.BytesIO()
    pillow().fromarray(255 - grey).save(content, "PNG")
    return content.getvalue()


def _draw_curves(axes: Any, history: list[dict[str, Any]]) -> None:
    epochs = [int(row["epoch"]) for row in history]
    axes.plot(epochs, [float(row["train_loss"]) for row in history], label="training loss", color="tab:blue")
    axes.plot(
        epochs,
        [float(row["validation_loss"]) for row in history],
        label="validation loss",
        color="tab:orange",
    )
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    right = axes.twinx()
    accuracy = [100 * float(row["validation_accuracy"]) for row in history]
    right.plot(epochs, accuracy, label="validation accuracy", color="tab:green", linestyle="--")
    right.set_ylabel("accuracy, %")
    handles = [*axes.get_lines(), *right.get_lines()]
    axes.legend(handles, [line.get_label() for line in handles], loc="center right")
    axes.set_title("learning curves")


def _draw_mistakes(figure: Any, result: Result) -> None:
    found = worst_mistakes(result, 20)
    figure.suptitle("most confidently wrong" if found else "no mistakes")
    for axes in figure.subplots(2, 10).flat:
        axes.set_axis_off()
    for axes, (index, truth, guess, chance) in zip(figure.axes, found, strict=False):
        axes.imshow(result.images[index], cmap="gray_r")
        axes.set_title(f"{result.classes[truth]} → {result.classes[guess]}\n{chance:.1%}", fontsize=8)
