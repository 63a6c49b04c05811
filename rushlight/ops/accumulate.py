"""Sums into chosen places: ``target[index[i]] += source[i]`` with every repeated index counted, on ndarrays.

The kernel under the gradients of all gathers and under `index_add`, `scatter_add` and their like. NumPy's own
`add.at` is exact but slow, so it serves only small and integer operands. Invariant: the order of additions
depends on the indices alone, so results repeat to the bit.
"""

from __future__ import annotations

import math

import numpy as np

# Measured on float32 rows of 1 to 256 elements. `add.at` is quickest for up to so many elements:
SMALL = 512
# `bincount`, which sums in double precision, beats the summing of sorted rows for up to so many,
MEDIUM = 1 << 17
# unless the target, which it makes anew, has more rows than the source by this factor.
SPARSE = 8
# Rows that occur more often than this are summed one by one, the others all at once, one occurrence a round.
ROUNDS = 16


def add_rows(target: np.ndarray, index: np.ndarray, source: np.ndarray) -> None:
    """``target[index[i]] += source[i]`` for each i, in place.

    Args:
        target: of any layout, shape (n, ...).
        index: non-negative and in range, shape (m,).
        source: shape (m, ...), of the type of `target`.
    """
    width = math.prod(target.shape[1:])
    if source.size <= SMALL or target.dtype.kind != "f":
        np.add.at(target, index, source)
    elif width == 1 or (source.size <= MEDIUM and len(target) <= SPARSE * len(index)):
        target += _binned(len(target), width, index, source).reshape(target.shape)
    else:
        _add_sorted(target, index, source)


def _binned(rows: int, width: int, index: np.ndarray, source: np.ndarray) -> np.ndarray:
    """The sums as one row of doubles, rounded once when they are added."""
    if width > 1:
        index = (index[:, None] * width + np.arange(width)).reshape(-1)
    return np.bincount(index, source.reshape(-1), rows * width).astype(source.dtype)


def _add_sorted(target: np.ndarray, index: np.ndarray, source: np.ndarray) -> None:
    order = index.argsort(kind="stable")
    ordered = index[order]
    first = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    starts = first.nonzero()[0]
    counts = np.diff(starts, append=len(ordered))
    rows = ordered[starts]
    often = counts > ROUNDS
    for row, start, count in zip(
        rows[often].tolist(), starts[often].tolist(), counts[often].tolist(), strict=True
    ):
        target[row] += np.add.reduce(source[order[start : start + count]], axis=0)
    rows, starts, counts = rows[~often], starts[~often], counts[~often]
    for occurrence in range(ROUNDS):
        target[rows] += source[order[starts + occurrence]]
        more = counts > occurrence + 1
        if not more.any():
            return
        rows, starts, counts = rows[more], starts[more], counts[more]
