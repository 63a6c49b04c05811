"""What the table job adds to a run's report: a picture of right and wrong answers, and the worst of them.

The numbers come from the job and from `rushlight.jobs.table_metrics`. Invariant: it shows rows that were not
trained on, and only reads them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.fit.report import Part, figure, paragraph, table
from rushlight.jobs.pictures import draw_confusion, most_wrong
from rushlight.jobs.tables import Outcome, Task

WIDEST = 8  # columns shown of each
LONGEST = 40  # characters shown of a value
MOST_CLASSES = 30  # in a confusion matrix
MOST_POINTS = 5000  # in a picture of numbers


def answers(task: Task, outcome: Outcome, target: str) -> list[Part]:
    """A picture of the better model's answers: a confusion matrix, or predictions against the truth."""
    prediction, truth = outcome.predictions[outcome.better], outcome.truth
    if not task.classes:

        def draw(canvas: Any) -> None:
            _draw_numbers(canvas.subplots(), truth, prediction, target)

        return [figure(draw, f"The {outcome.better}'s answers; on the line they are right.", (6, 5), "png")]
    count = len(task.classes)
    if count > MOST_CLASSES:
        return [paragraph(f"{count} classes are too many for a picture.")]
    confusion = np.bincount(truth * count + prediction.argmax(1), minlength=count**2).reshape(count, count)

    def draw_matrix(canvas: Any) -> None:
        draw_confusion(canvas.subplots(), confusion, task.classes, f"{target}: the {outcome.better}")

    size = 3 + 0.3 * count
    caption = "Rows: true classes; columns: guesses. Colour shows only mistakes."
    return [figure(draw_matrix, caption, (size + 1.5, size))]


def _draw_numbers(axes: Any, truth: np.ndarray, prediction: np.ndarray, target: str) -> None:
    shown = slice(None, None, max(1, len(truth) // MOST_POINTS))
    axes.scatter(truth[shown], prediction[shown], s=8, alpha=0.5)
    ends = [truth.min(), truth.max()]
    axes.plot(ends, ends, color="0.4", linewidth=0.8)
    axes.set_xlabel(f"true {target}")
    axes.set_ylabel("predicted")


def worst_answers(task: Task, outcome: Outcome, target: str) -> Part:
    """The rows that the better model was most wrong about: the truth (and the probability it was given), the
    answer, and the row's values.
    """
    prediction, truth = outcome.predictions[outcome.better], outcome.truth
    if task.classes:
        chance = np.take_along_axis(prediction, truth[:, None], axis=1)[:, 0]
        order = most_wrong(-chance)
        guess = prediction.argmax(1)
        head = [target, "probability", "predicted"]
        said = [[task.classes[truth[n]], f"{chance[n]:.1%}", task.classes[guess[n]]] for n in order]
    else:
        order = most_wrong(np.abs(prediction - truth))
        head = [target, "predicted", "off by"]
        said = [[float(truth[n]), float(prediction[n]), float(prediction[n] - truth[n])] for n in order]
    # what was taken first, then what was left out, such as a name or a number to know a row by
    used = sorted(task.columns, key=lambda column: not column.parts)[:WIDEST]
    names = [column.name for column in task.columns if column in used]
    rows = task.frame.select(names)[outcome.rows[order].tolist()].rows()
    shown = [[*first, *map(_shown, row)] for first, row in zip(said, rows, strict=True)]
    return table([*head, *names], shown)


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, (int, float)):
        return "" if value is None else value
    text = str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
