"""The connectionist temporal classification of Graves et al. (2006): its loss and gradient on arrays.

A target of L classes is read as the 2L + 1 states of its labels with blanks around them. The forward sums,
over all ways to walk through the states in a given number of frames, the probabilities of what is emitted;
it keeps logarithms, and Python counts only the frames. The gradient needs the same sums from the other end,
which are those of the problem turned around. Checks of types and shapes are in `nn.functional.ctc`.
Invariant: frames beyond an input's length and states beyond a target's change nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.ops.define import apply
from rushlight.ops.kinds import primitive
from rushlight.tensor import Tensor

PLACE = "(while checking arguments for ctc_loss_allocate_outputs)"  # where PyTorch finds what is wrong


def _check_lengths(frames: int, targets: np.ndarray, lengths: np.ndarray, counts: np.ndarray) -> None:
    """PyTorch's errors about lengths that are not in the data."""
    if (counts < 0).any():
        raise RuntimeError(
            f"Expected target_lengths to have value at least 0, but got value {counts[counts < 0][0]} {PLACE}"
        )
    if targets.ndim == 1:
        if targets.size != counts.sum():
            raise RuntimeError(
                f"Expected tensor to have size {counts.sum()} at dimension 0, but got size {targets.size} "
                f"for argument #2 'targets' {PLACE}"
            )
    else:
        if len(targets) != len(counts):
            raise RuntimeError(
                f"Expected tensor to have size {len(counts)} at dimension 0, but got size {len(targets)} for "
                f"argument #2 'targets' {PLACE}"
            )
        if targets.shape[1] < counts.max():
            raise RuntimeError(
                f"Expected tensor to have size at least {counts.max()} at dimension 1, but got size "
                f"{targets.shape[1]} for argument #2 'targets' {PLACE}"
            )
    for length in lengths:
        if not 0 <= length <= frames:
            limit = "at least 0" if length < 0 else f"at most {frames}"
            raise RuntimeError(
                f"Expected input_lengths to have value {limit}, but got value {length} {PLACE}"
            )


def _states(targets: np.ndarray, counts: np.ndarray, blank: int, classes: int) -> np.ndarray:
    """The class of each state, ``(N, 2S + 1)`` for a longest target of S: blanks, and labels between."""
    columns = np.arange(counts.max())
    if targets.ndim == 1:
        places = (np.cumsum(counts) - counts)[:, None] + columns
        targets = np.append(targets, blank)[np.minimum(places, targets.size)]
    targets = np.where(columns < counts[:, None], targets[:, : columns.size], blank)
    wrong = (targets < 0) | (targets >= classes)
    if wrong.any():
        raise IndexError(f"Target {targets[wrong][0]} is out of bounds. There are {classes} classes.")
    states = np.full((len(counts), 2 * columns.size + 1), blank, np.int64)
    states[:, 1::2] = targets
    return states


def _walks(log_probs: np.ndarray, states: np.ndarray) -> np.ndarray:
    """For each frame and state, ``(T, N, 2S + 1)``: the log-probability of all walks that come there."""
    emitted = np.take_along_axis(log_probs, states[None], 2)
    never = log_probs.dtype.type(-np.inf)
    # A step goes to the same state, to the next, or over a blank to the next label if that is another one.
    skips = states[:, 2:] != states[:, :-2]
    walks = np.full(emitted.shape, never)
    walks[0, :, :2] = emitted[0, :, :2]
    for frame in range(1, len(walks)):
        before, now = walks[frame - 1], walks[frame]
        now[:] = before
        now[:, 1:] = np.logaddexp(now[:, 1:], before[:, :-1])
        now[:, 2:] = np.logaddexp(now[:, 2:], np.where(skips, before[:, :-2], never))
        now += emitted[frame]
    return walks


def _losses(walks: np.ndarray, lengths: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Minus the log-probability of the walks whose last frame is the last label or blank, ``(N,)``."""
    rows = np.arange(len(lengths))
    last = walks[np.maximum(lengths - 1, 0), rows]
    ends = np.logaddexp(
        last[rows, 2 * counts], np.where(counts > 0, last[rows, 2 * counts - (counts > 0)], -np.inf)
    )
    # In no frames at all only the empty target is certain.
    certain = np.where(counts == 0, 0.0, -np.inf)
    return -np.where(lengths == 0, certain, ends).astype(walks.dtype)


def _ctc(
    log_probs: np.ndarray,
    targets: np.ndarray,
    input_lengths: np.ndarray,
    target_lengths: np.ndarray,
    *,
    blank: int,
    zero_infinity: bool,
) -> np.ndarray:
    _check_lengths(len(log_probs), targets, input_lengths, target_lengths)
    states = _states(targets, target_lengths, blank, log_probs.shape[2])
    return _losses(_walks(log_probs, states), input_lengths, target_lengths)


def _turned(lengths: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Places ``(N, size)`` that turn the first `lengths` elements of rows around, and which elements those
    are.
    """
    places = lengths[:, None] - 1 - np.arange(size)
    return np.maximum(places, 0), places >= 0


def _ctc_backward(
    g: np.ndarray,
    log_probs: np.ndarray,
    targets: np.ndarray,
    input_lengths: np.ndarray,
    target_lengths: np.ndarray,
    *,
    blank: int,
    zero_infinity: bool,
) -> np.ndarray:
    frames, batch, classes = log_probs.shape
    rows = np.arange(batch)
    states = _states(targets, target_lengths, blank, classes)
    walks = _walks(log_probs, states)
    losses = _losses(walks, input_lengths, target_lengths)
    frame, counted = _turned(input_lengths, frames)
    state, used = _turned(2 * target_lengths + 1, states.shape[1])
    turned = _walks(log_probs[frame.T, rows], states[rows[:, None], state])
    onward = turned[frame.T[:, :, None], rows[:, None], state]
    # Walks from both ends count what is emitted where they meet twice.
    emitted = np.take_along_axis(log_probs, states[None], 2)
    passing = np.exp(walks + onward - emitted + losses[:, None])
    passing = np.where(used & counted.T[:, :, None], passing, 0)
    # Inputs are taken for the logarithms of a softmax: the gradient is that of the scores before it.
    gradient = np.exp(log_probs)
    for each, chance in zip(states.T, np.moveaxis(passing, 2, 0), strict=True):
        gradient[:, rows, each] -= chance
    impossible = np.isinf(losses)
    gradient[np.isneginf(log_probs)] = np.nan
    gradient[:, impossible] = np.nan
    gradient = gradient * g[:, None]
    if zero_infinity:
        gradient[:, impossible] = 0
    return np.where(counted.T[:, :, None], gradient, 0).astype(log_probs.dtype)


def _no_second(g: Tensor) -> Tensor:
    raise RuntimeError("derivative for aten::_ctc_loss_backward is not implemented")


def _gradient(
    g: Tensor,
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor,
    target_lengths: Tensor,
    blank: int,
    zero_infinity: bool,
) -> Tensor:
    params: dict[str, Any] = {"blank": blank, "zero_infinity": zero_infinity}
    return apply(CTC_BACKWARD, (g, log_probs, targets, input_lengths, target_lengths), params)


CTC_LOSS = primitive("ctc_loss", "opaque", _ctc, dict(log_probs=_gradient), node_name="CtcLossBackward0")
CTC_BACKWARD = primitive(
    "ctc_loss_backward", "opaque", _ctc_backward, dict(g=_no_second, log_probs=_no_second)
)
