"""What a model of ratings has learnt, in words and in a picture: biases, and the most telling factors.

The columns of the factor matrices mean nothing by themselves: any rotation of them gives the same
predictions. So the axes shown are the ones along which users and items together move predictions most (a
singular value decomposition of their product). Invariant: a report only reads the model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rushlight.fit.report import Part, figure, table
from rushlight.jobs.pictures import most_wrong, write_png
from rushlight.jobs.ratings import Recommender

AXES = 4  # drawn one by one
EXTREMES = 5  # items named at each end of an axis
BAR = dict(shrink=0.6, pad=0.06, fraction=0.04, aspect=40)  # of colours, below the map
ON_THE_MAP = 40  # items drawn by their place on the first two axes
MOST_BOXES, MOST_POINTS = 12, 5000  # in the picture of predictions


class Axes(NamedTuple):
    """Where items lie on the most telling axes ``(items, axes)``, and each axis' share of what all axes
    together add to the spread of predictions.
    """

    places: np.ndarray
    shares: np.ndarray


def telling_axes(user_factors: np.ndarray, item_factors: np.ndarray, count: int) -> Axes:
    """The directions in which predictions differ most between users and between items.

    >>> users, items = np.array([[1.0, 0.1], [-1.0, 0.1]]), np.array([[2.0, 5.0], [-2.0, 5.0], [0.0, 5.0]])
    >>> found = telling_axes(users, items, 1)
    >>> np.abs(found.places[:, 0]).round(3), found.shares.round(3)
    (array([2.828, 2.828, 0.   ]), array([1.]))
    """
    # what all users (or items) have in common tells nobody apart: it belongs to the biases
    users = user_factors - user_factors.mean(0)
    items = item_factors - item_factors.mean(0)
    _, triangle = np.linalg.qr(users)
    left, spread, _ = np.linalg.svd(items @ triangle.T, full_matrices=False)
    places = left * spread
    # an axis' direction is arbitrary: let the longest item point upwards
    longest = places[np.abs(places).argmax(0), np.arange(places.shape[1])]
    return Axes((places * np.sign(longest))[:, :count], (spread**2 / max((spread**2).sum(), 1e-30))[:count])


class Learnt(NamedTuple):
    """What is shown: the most rated items, their names, biases, and places on the most telling axes."""

    names: list[str]
    bias: np.ndarray
    axes: Axes


def learnt(recommender: Recommender) -> Learnt:
    """The items that were rated more often than half of the rest, most often first."""
    users, items, bias = (
        getattr(recommender.model, name).detach().numpy()[1:].astype(np.float64)
        for name in ("user_factors", "movie_factors", "movie_bias")
    )
    bias = bias + items @ users.mean(0)
    times = np.bincount(recommender.rated[:, 1], minlength=len(recommender.items))[1:]
    axes = telling_axes(users, items, AXES)
    order = np.argsort(-times, kind="stable")[: max(2, len(times) // 2)]
    named = [
        name or f"item {each}" for name, each in zip(recommender.names, recommender.items.ids, strict=True)
    ]
    return Learnt([named[row] for row in order], bias[order], Axes(axes.places[order], axes.shares))


def factors_text(recommender: Recommender) -> str:
    """The extremes of biases and of the first axes as lines of text."""
    found = learnt(recommender)
    order = np.argsort(found.bias)

    def listed(rows: Any) -> str:
        return "; ".join(_short(found.names[row], 32) for row in rows)

    lines = [
        f"liked by all tastes:      {listed(order[::-1][:EXTREMES])}",
        f"disliked by all tastes:   {listed(order[:EXTREMES])}",
    ]
    for axis, share in enumerate(found.axes.shares[:2]):
        order = np.argsort(found.axes.places[:, axis])
        lines.append(f"factor {axis + 1} ({share:.0%} of taste): {listed(order[::-1][:EXTREMES])}")
        lines.append(f"           as against: {listed(order[:EXTREMES])}")
    return "\n".join(lines)


def _short(name: str, length: int) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


def answers(truth: np.ndarray, prediction: np.ndarray) -> Part:
    """A picture of what was predicted for the ratings of the test part: a box for each rating, or points
    where there are many different ones.
    """
    given = np.unique(truth)

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        if len(given) > MOST_BOXES:
            shown = slice(None, None, max(1, len(truth) // MOST_POINTS))
            axes.scatter(truth[shown], prediction[shown], s=6, alpha=0.4)
        else:
            width = 0.5 * float(np.diff(given).min(initial=1.0))
            boxes = [prediction[truth == each] for each in given]
            axes.boxplot(boxes, positions=given, widths=width, sym="", manage_ticks=False)
        axes.plot(given[[0, -1]], given[[0, -1]], color="0.4", linewidth=0.8)
        axes.set_xlabel("true rating")
        axes.set_ylabel("predicted")

    caption = "Half of the predictions lie in a box, most within its whiskers; on the line they are right."
    return figure(draw, caption if len(given) <= MOST_BOXES else "", (6, 4), "png")


def worst_answers(
    recommender: Recommender, pairs: np.ndarray, truth: np.ndarray, prediction: np.ndarray
) -> Part:
    """The ratings of the test part that the model was most wrong about."""
    order = most_wrong(np.abs(prediction - truth))

    def called(ids: list[str], row: int) -> str:
        return ids[row - 1] if row else "not trained on"

    rows = [
        [
            called(recommender.users.ids, pairs[n, 0]),
            called(recommender.items.ids, pairs[n, 1]),
            recommender.names[pairs[n, 1] - 1] if pairs[n, 1] else "",
            float(truth[n]),
            float(prediction[n]),
        ]
        for n in order
    ]
    return table(["user", "item", "name", "rating", "predicted"], rows)


def write_factors(path: Path, recommender: Recommender) -> None:
    """Draw the map of items on the first two axes, and the ends of each axis, as one PNG."""
    found = learnt(recommender)
    count = found.axes.places.shape[1]

    def draw(canvas: Any) -> None:
        # places are given, because finding them takes longer than drawing
        edges = dict(left=0.055, right=0.99, bottom=0.05, top=0.96)
        grid = canvas.add_gridspec(count, 2, width_ratios=(1.6, 1), wspace=0.4, hspace=0.2, **edges)
        _draw_map(canvas.add_subplot(grid[:, 0]), found)
        for axis in range(count):
            _draw_ends(canvas.add_subplot(grid[axis, 1]), found, axis)

    write_png(path, (15, 10), draw, layout=None)


def _draw_map(axes: Any, found: Learnt) -> None:
    places = found.axes.places[:ON_THE_MAP]
    x, y = places[:, 0], places[:, 1] if places.shape[1] > 1 else found.bias[:ON_THE_MAP]
    colours = axes.scatter(x, y, c=found.bias[:ON_THE_MAP], cmap="coolwarm", s=25)
    axes.figure.colorbar(colours, ax=axes, label="bias: liked by all tastes", location="bottom", **BAR)
    # only names that find room: the items rated most often come first
    width, height = max(np.ptp(x), 1e-9), max(np.ptp(y), 1e-9)
    named: list[int] = []
    for row in range(len(x)):
        if all(abs(y[row] - y[n]) > 0.018 * height or abs(x[row] - x[n]) > 0.25 * width for n in named):
            named.append(row)
            label = _short(_plain(found.names[row]), 26)
            axes.annotate(label, (x[row], y[row]), xytext=(3, 3), textcoords="offset points", fontsize=8)
    axes.margins(x=0.18, y=0.1)  # room for names
    axes.axhline(0, color="0.85", zorder=0)
    axes.axvline(0, color="0.85", zorder=0)
    axes.set_xlabel("factor 1")
    axes.set_ylabel("factor 2" if places.shape[1] > 1 else "bias")
    axes.set_title(f"the {len(x)} items rated most often")


def _draw_ends(axes: Any, found: Learnt, axis: int) -> None:
    places = found.axes.places[:, axis]
    order = np.argsort(places)
    rows = np.unique(np.concatenate([order[:EXTREMES], order[-EXTREMES:]]))
    rows = rows[np.argsort(places[rows])]
    axes.barh(range(len(rows)), places[rows], color=np.where(places[rows] < 0, "tab:blue", "tab:red"))
    axes.set_yticks(range(len(rows)), [_short(_plain(found.names[row]), 34) for row in rows], fontsize=8)
    axes.axvline(0, color="0.4", linewidth=0.8)
    axes.set_xticks([])
    axes.set_title(f"factor {axis + 1}: {found.axes.shares[axis]:.0%} of what tastes add", fontsize=10)


def _plain(name: str) -> str:
    """A name in which matplotlib finds no formula."""
    return name.replace("$", r"\$")
