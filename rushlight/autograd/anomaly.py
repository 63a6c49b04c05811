"""Anomaly mode: find the forward call behind a failing or NaN-producing backward.

While it is on, every node keeps the Python stack of its forward call. Invariant: switching it changes no
value.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np

from rushlight.autograd.mode import state
from rushlight.autograd.node import Node


class set_detect_anomaly:
    """Switch anomaly mode: as a statement for good, as a context manager for the block."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = (state.anomaly, state.check_nan)
        state.anomaly, state.check_nan = bool(mode), check_nan

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        state.anomaly, state.check_nan = self._before


class detect_anomaly:
    """Context manager for anomaly mode; `check_nan` also raises when a backward gives NaN.

    >>> import rushlight as torch
    >>> x = torch.tensor(0.0, requires_grad=True)
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     with torch.autograd.detect_anomaly():
    ...         (x.sqrt() * 0).backward()
    Traceback (most recent call last):
    RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be "
            "enabled for debugging.",
            stacklevel=2,
        )

    def __enter__(self) -> None:
        self._before = (state.anomaly, state.check_nan)
        state.anomaly, state.check_nan = True, self.check_nan

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        state.anomaly, state.check_nan = self._before


def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on in this thread."""
    return state.anomaly


def is_anomaly_check_nan_enabled() -> bool:
    """Whether anomaly mode also looks for NaN."""
    return state.check_nan


def run_watched(node: Node, grads: Sequence[Any], wanted: Sequence[bool] | None) -> list[Any]:
    """The backward of one node: say where its forward was called when it fails or gives NaN."""
    outer, state.running = state.running, node
    try:
        results = node.backward(grads, wanted)
    except Exception:
        _warn_where(node)
        raise
    finally:
        state.running = outer
    if state.check_nan:
        for number, grad in enumerate(results):
            if grad is not None and np.isnan(grad._array).any():
                _warn_where(node)
                raise RuntimeError(f"Function '{node.name()}' returned nan values in its {number}th output.")
    return results


def _warn_where(node: Node) -> None:
    """Warn with the stack of the forward call, and with those of the calls whose backward made that one."""
    text = f"Error detected in {node.name()}. "
    if node.where is None:
        text += (
            "No forward pass information available. Enable detect anomaly during forward pass for more "
            "information."
        )
    else:
        text += f"Traceback of forward call that caused the error:\n{''.join(node.where.stack)}"
    warnings.warn(text, stacklevel=4)
    parent = node.where.parent if node.where is not None else None
    while parent is not None and parent.where is not None:
        warnings.warn(
            f"\n\nPrevious calculation was induced by {parent.name()}. "
            "Traceback of forward call that induced the previous "
            f"calculation:\n{''.join(parent.where.stack)}",
            stacklevel=4,
        )
        parent = parent.where.parent
