"""A run's verdict in words: whether the network over- or underfits, from which epoch, and what to try next.

It is computed from the history alone: the losses of training and validation per epoch, and the loss before
the first step. Invariant: a rise or fall only counts if it is larger than the losses' own jitter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Shares of the whole fall of the training loss.
RISE = 0.02  # a validation loss that rises by more is overfitting
STILL_FALLING = 0.03  # a fall of more within the last quarter means that the run ended too early
LARGE_PART = 0.1  # as much as this of the loss itself counts for the same
LEARNT_LITTLE = 0.3  # of the loss of a constant answer: a smaller gain means that little was learnt
JITTER = 3.0  # so many times the usual jump between epochs is no chance


@dataclass(frozen=True)
class Verdict:
    """What to say about a run.

    Attributes:
        kind: ``"overfits"``, ``"underfits"``, ``"unfinished"``, ``"diverges"``, ``"does not learn"``,
            ``"fits"`` or ``"too short"``.
        epoch: from which epoch (counted from 1) it is so, where that makes sense.
        what: what was seen, in a sentence or two.
        next: what to try.
    """

    kind: str
    epoch: int | None
    what: str
    next: str

    def __str__(self) -> str:
        return f"{self.what} {self.next}"


def judge(
    history: Sequence[dict[str, Any]], start: float | None = None, constant: float | None = None
) -> Verdict:
    """The verdict on a history with the columns ``train_loss`` and perhaps ``validation_loss``.

    Args:
        history: a dict per epoch.
        start: the loss before the first step, if known.
        constant: the validation loss of the best constant answer, if known.

    >>> falling = [1.0, 0.5, 0.3, 0.2, 0.12, 0.08, 0.05, 0.03]
    >>> turning = [0.9, 0.5, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8]
    >>> rows = [{"train_loss": t, "validation_loss": v} for t, v in zip(falling, turning)]
    >>> verdict = judge(rows)
    >>> verdict.kind, verdict.epoch
    ('overfits', 4)
    >>> print(verdict.what.split(":")[0])
    Overfits from epoch 4 on
    """
    train = np.array([row["train_loss"] for row in history], dtype=np.float64)
    if len(train) < 3:
        return Verdict(
            "too short",
            None,
            f"{_epochs(len(train))} {'is' if len(train) == 1 else 'are'} too few to judge the run.",
            "Train for more epochs.",
        )
    first = float(train[0]) if start is None else max(float(start), float(train[0]))
    validation = None
    if "validation_loss" in history[0]:
        validation = np.array([row["validation_loss"] for row in history], dtype=np.float64)
    watched = train if validation is None else validation
    fall = first - float(train.min())
    jitter = _jitter(train)
    if fall <= max(0.005 * abs(first), jitter):
        return _not_learning(train, first)
    if train[-1] - train.min() > max(0.2 * fall, JITTER * jitter):
        return _diverging(train)
    if validation is not None:
        found = _overfitting(train, validation, fall)
        if found is not None:
            return found
    if _still_falling(watched, fall):
        return _unfinished(watched, train, validation)
    if validation is not None and constant is not None:
        reached, reference = float(validation.min()), constant
    else:
        reached, reference = float(train[-1]), first
    if reference > 0 and reached > (1 - LEARNT_LITTLE) * reference:
        return _underfitting(train, reached, reference, constant is not None)
    return _fitting(train, validation, fall)


def _jitter(losses: np.ndarray) -> float:
    """The usual size of what is left of the jumps when the trend is taken away."""
    if len(losses) < 4:
        return 0.0
    bends = np.diff(losses, 2)
    return float(np.median(np.abs(bends))) / 2


def _smoothed(losses: np.ndarray) -> np.ndarray:
    """Running medians of five values, of fewer at the ends."""
    reach = 2 if len(losses) >= 8 else 1
    places = range(len(losses))
    return np.array([np.median(losses[max(0, each - reach) : each + reach + 1]) for each in places])


def _epochs(count: int, one: str = "1 ") -> str:
    return f"{one}epoch" if count == 1 else f"{count} epochs"


def _overfitting(train: np.ndarray, validation: np.ndarray, fall: float) -> Verdict | None:
    lowest = int(validation.argmin())
    if len(validation) - 1 - lowest < 2 or train[-1] >= train[lowest]:
        return None
    # single values could be chance: what counts is where the loss stayed
    end = float(np.median(validation[lowest + 1 :][-3:]))
    rise = end - float(_smoothed(validation).min())
    if rise <= max(RISE * fall, JITTER * _jitter(validation)):
        return None
    return Verdict(
        "overfits",
        lowest + 2,
        f"Overfits from epoch {lowest + 2} on: the validation loss was lowest after epoch {lowest + 1} "
        f"({validation[lowest]:.4g}) and rose to {end:.4g}, while the training loss fell on from "
        f"{train[lowest]:.4g} to {train[-1]:.4g}.",
        "Use the best epoch's model, which is kept. To do better: more data or augmentation, dropout or "
        "weight decay, a smaller network; or stop earlier.",
    )


def _not_learning(train: np.ndarray, first: float) -> Verdict:
    return Verdict(
        "does not learn",
        1,
        f"Does not learn: the training loss stayed at {train[-1]:.4g} ({first:.4g} before training).",
        "Look for the right learning rate with find_lr, check that inputs are scaled and belong to their "
        "targets, and that all parameters are in the optimizer.",
    )


def _diverging(train: np.ndarray) -> Verdict:
    lowest = int(train.argmin())
    return Verdict(
        "diverges",
        lowest + 2,
        f"Diverges from epoch {lowest + 2} on: the training loss was lowest after epoch {lowest + 1} "
        f"({train[lowest]:.4g}) and rose to {train[-1]:.4g}.",
        "Take a learning rate a third as large, a schedule that lets it fall, or clip the gradients.",
    )


def _still_falling(losses: np.ndarray, fall: float) -> bool:
    quarter = max(1, len(losses) // 4)
    smooth = _smoothed(losses)
    before = float(smooth[:-quarter].min())
    drop = before - float(smooth[-quarter:].min())
    # a loss that goes to zero falls by little in the end, but by a large part of what is left of it
    return drop > JITTER * _jitter(losses) and drop > min(STILL_FALLING * fall, LARGE_PART * abs(before))


def _unfinished(watched: np.ndarray, train: np.ndarray, validation: np.ndarray | None) -> Verdict:
    name = "training" if validation is None else "validation"
    quarter = max(1, len(watched) // 4)
    return Verdict(
        "unfinished",
        len(watched),
        f"Was still learning at the end: in the last {_epochs(quarter, one='')} the {name} loss fell from "
        f"{watched[:-quarter].min():.4g} to {watched[-1]:.4g}.",
        "Train for more epochs, or with a larger learning rate.",
    )


def _underfitting(train: np.ndarray, reached: float, reference: float, of_constant: bool) -> Verdict:
    share = 1 - reached / reference
    flat = _flat_since(train)
    if of_constant:
        compared = f"better than a constant answer would be (validation loss {reached:.4g}, {reference:.4g})"
    else:
        compared = f"better than before training (loss {reached:.4g}, {reference:.4g})"
    share = max(share, 0.0)
    return Verdict(
        "underfits",
        flat,
        f"Underfits: only {share:.0%} {compared}, and the training loss has been flat since epoch {flat}.",
        "Try a larger network, inputs that say more about the target, another learning rate, or less "
        "regularisation. If the targets are noisy this may be all there is to learn.",
    )


def _flat_since(losses: np.ndarray) -> int:
    """The epoch from which on the loss stayed within a twentieth of its fall from the last value."""
    near = np.abs(losses - losses[-1]) <= 0.05 * max(float(losses.max() - losses.min()), 1e-12)
    return int(np.flatnonzero(~near)[-1]) + 2 if not near.all() else 1


def _fitting(train: np.ndarray, validation: np.ndarray | None, fall: float) -> Verdict:
    if validation is None:
        return Verdict(
            "fits",
            None,
            f"Learnt the training data to a loss of {train[-1]:.4g} and has levelled off.",
            "Hand in validation data to see whether it also holds for new samples.",
        )
    lowest = int(validation.argmin())
    gap = float(validation[lowest] - train[lowest])
    text = f"Fits: the validation loss levelled off at {validation[lowest]:.4g} (epoch {lowest + 1})"
    if gap > 0.1 * fall:
        return Verdict(
            "fits",
            lowest + 1,
            f"{text}, above the training loss of {train[lowest]:.4g}, and did not rise again.",
            "The gap may close with more data, dropout or weight decay.",
        )
    place = "close to" if gap > -0.1 * fall else "below"
    return Verdict(
        "fits",
        lowest + 1,
        f"{text}, {place} the training loss of {train[lowest]:.4g}.",
        "A larger network may do better still.",
    )
