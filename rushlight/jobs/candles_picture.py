"""The picture of a candle run: prediction against truth, errors over time, learning curves.

Invariant: it only reads results, and shows the naive forecast wherever it shows the network's error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rushlight.fit.report import Part, table
from rushlight.jobs.candles import Outcome
from rushlight.jobs.candles_settings import Settings
from rushlight.jobs.pictures import most_wrong, write_png
from rushlight.jobs.series import Series
from rushlight.jobs.times import shown

LAST_ROWS = 150  # shown one by one
WINDOWS = 60  # spans of rows whose mean error is one point


def write_picture(
    path: Path, series: Series, settings: Settings, result: Outcome, history: list[dict[str, Any]]
) -> None:
    """Draw the picture as a PNG."""

    def draw(canvas: Any) -> None:
        kind = "forecast from the rows before" if settings.features == "lags" else "NOT a forecast"
        canvas.suptitle(f"{Path(settings.data).name}: {settings.target}, {kind}", fontsize=14)
        grid = canvas.add_gridspec(2, 2)
        _draw_lines(canvas.add_subplot(grid[0, :]), series, settings, result)
        _draw_errors(canvas.add_subplot(grid[1, 0]), series, settings, result)
        _draw_curves(canvas.add_subplot(grid[1, 1]), settings, history)

    write_png(path, (13, 9), draw)


def worst_rows(series: Series, settings: Settings, result: Outcome) -> Part:
    """The rows tested on that the network was most wrong about."""
    rows = result.rows
    away = result.prediction - rows.target
    order = most_wrong(np.abs(away))
    when = _places(series, rows.index)
    head = [series.time_name or "row", settings.target, "predicted", "off by", "last value"]
    return table(
        head,
        [
            [
                when[n] if series.times is None else shown(when[n]),
                *(f"{each:.7g}" for each in (rows.target[n], result.prediction[n])),
                f"{away[n]:+.5g}",
                f"{rows.last[n]:.7g}",
            ]
            for n in order
        ],
    )


def _places(series: Series, index: np.ndarray) -> np.ndarray:
    """Where rows stand on a horizontal axis: their times, or their numbers."""
    return index + 1 if series.times is None else series.times[index]


def _draw_lines(axes: Any, series: Series, settings: Settings, result: Outcome) -> None:
    last = result.rows.take(slice(-LAST_ROWS, None))
    places = _places(series, last.index)
    axes.plot(places, last.target, color="black", linewidth=1.4, label="truth")
    axes.plot(places, result.prediction[-LAST_ROWS:], color="tab:orange", linewidth=1.4, label="network")
    axes.plot(places, last.last, color="tab:blue", linewidth=0.8, linestyle=":", label="last value")
    axes.set_ylabel(settings.target)
    axes.set_title(f"the last {len(last.index)} rows tested on")
    axes.legend()


def _draw_errors(axes: Any, series: Series, settings: Settings, result: Outcome) -> None:
    rows = result.rows
    spans = np.array_split(np.arange(len(rows.index)), min(WINDOWS, len(rows.index)))
    places = _places(series, rows.index[[span[0] for span in spans]])
    forecasts = (
        ("network", result.prediction, "tab:orange"),
        ("last value", rows.last, "tab:blue"),
    )
    for name, values, color in forecasts:
        away = np.abs(values - rows.target)
        axes.plot(places, [away[span].mean() for span in spans], color=color, label=name)
    for fold in np.unique(result.fold)[1:]:
        axes.axvline(_places(series, rows.index[result.fold == fold][:1])[0], color="grey", linewidth=0.6)
    axes.set_ylim(bottom=0)
    axes.tick_params(axis="x", rotation=30)
    axes.set_ylabel(f"mean absolute error, in the unit of {settings.target}")
    axes.set_title("errors over the rows tested on")
    axes.legend()


def _draw_curves(axes: Any, settings: Settings, history: list[dict[str, Any]]) -> None:
    epochs = [int(row["epoch"]) for row in history]
    for name, color in (("train_loss", "tab:blue"), ("validation_loss", "tab:orange")):
        axes.plot(epochs, [float(row[name]) for row in history], color=color, label=name.replace("_", " "))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"{settings.loss} loss, scaled")
    axes.set_title("learning curves")
    axes.legend()
