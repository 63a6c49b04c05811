"""`compile(..., check=N)`: the plain step beside the first N compiled calls, and where the two differ.

The plain step runs first, while being recorded, so that its schedules wait; then everything it changed is put
back and the program runs, compared in its results, the state it changed, gradients and random streams.
Invariant: what is left after a checked call is what the program left, once; after an error, what was there
before the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.compile.guards import Guards
from rushlight.compile.left import owner_of_grad
from rushlight.compile.program import Call, Window
from rushlight.compile.record import Recorder, recording
from rushlight.compile.recording import Recording
from rushlight.compile.replay import Replay
from rushlight.compile.results import tensors_in
from rushlight.compile.stand_in import replaced, stand_in
from rushlight.compile.surroundings import Surroundings
from rushlight.tensor import Tensor

# By how much of the largest element two arrays may differ: a program may add up in another order.
TOLERANCE = {"float16": 2e-2, "float32": 1e-4, "float64": 1e-9}


class CheckError(AssertionError):
    """A compiled step does not do what the plain one does."""


def checked(
    function: Any, made: Recording, given: Sequence[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """One call by a recording, compared with the plain function.

    Raises:
        CheckError: names what differs, and the first op that does.
    """
    before = _Snapshot(made, given)
    twins = [stand_in(each) for each in given]
    plain = Recorder(made.program.name, twins, given, Surroundings(Guards()))
    table = {id(each): twin for each, twin in zip(given, twins, strict=True)}
    with recording(plain):
        value = function(*replaced(args, table), **replaced(kwargs, table))
        expected = [each._array.copy() for each in tensors_in(value)]
    after = _Snapshot(made, twins)
    before.restore()
    result = made.run(given, advance=False)
    differs = _difference(tensors_in(result), expected) or _Snapshot(made, given).difference(after)
    if differs:
        before.restore()
        first = _first_op(made, plain, given)
        before.restore()
        raise CheckError(
            f"the compiled step {made.program.name} differs from the plain one in {differs}. {first}"
        )
    made.advance()
    return result


def _difference(ours: Sequence[Tensor], theirs: Sequence[np.ndarray]) -> str:
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        text = _how_far(mine._array, other)
        if text:
            return f"result {number}: {text}"
    return ""


def _how_far(ours: np.ndarray, theirs: np.ndarray) -> str:
    """By how much two arrays differ, if by more than rounding."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return f"{ours.dtype}{list(ours.shape)} instead of {theirs.dtype}{list(theirs.shape)}"
    if ours.dtype.kind != "f":
        return "" if np.array_equal(ours, theirs) else f"{int((ours != theirs).sum())} elements differ"
    finite = np.isfinite(theirs)
    if not np.array_equal(ours[~finite], theirs[~finite], equal_nan=True):
        return "other elements are infinite or NaN"
    if not finite.any():
        return ""
    distance = float(np.abs(ours[finite].astype(np.float64) - theirs[finite]).max())
    largest = float(np.abs(theirs[finite]).max())
    if distance <= TOLERANCE[ours.dtype.name] * max(largest, 1e-6):
        return ""
    return f"by up to {distance:.3g}, where the largest element is {largest:.3g}"


class _Snapshot:
    """Everything a recording changes: captured state, arguments, gradients, random streams."""

    def __init__(self, made: Recording, given: Sequence[Tensor]) -> None:
        self.arrays = [(name, array, array.copy()) for name, array in made.changed_arrays(given)]
        owners = [(name, owner_of_grad(leaf, given)) for name, leaf in made.leaves_with_grads()]
        self.grads = [
            (name, owner, owner._grad, None if owner._grad is None else owner._grad._array.copy())
            for name, owner in owners
        ]
        self.streams = [(each, each.state_bytes()) for each in made.generators]

    def restore(self) -> None:
        """Put everything back."""
        for _, array, values in self.arrays:
            np.copyto(array, values)
        for _, owner, grad, kept in self.grads:
            owner._grad = grad
            if grad is not None and kept is not None:
                np.copyto(grad._array, kept)
        for generator, stream in self.streams:
            generator.load_state_bytes(stream)

    def difference(self, other: _Snapshot) -> str:
        """What is not as in another snapshot."""
        for (name, _, before), (_, _, after) in zip(self.arrays, other.arrays, strict=True):
            text = _how_far(before, after)
            if text:
                return f"{name}: {text}"
        for (name, _, _, ours), (_, _, _, values) in zip(self.grads, other.grads, strict=True):
            if (ours is None) != (values is None):
                return f"the gradient of {name}: one is None"
            text = _how_far(ours, values) if ours is not None and values is not None else ""
            if text:
                return f"the gradient of {name}: {text}"
        if any(a[1] != b[1] for a, b in zip(self.streams, other.streams, strict=True)):
            return "how many random numbers it draws"
        return ""


def _first_op(made: Recording, plain: Recorder, given: Sequence[Tensor]) -> str:
    """The first op in which the program differs from the plain run."""
    for mine, other in zip(made.program.calls, plain.program.calls, strict=False):
        if _described(mine) != _described(other):
            return (
                f"The first op that differs was recorded as {mine!r} at {mine.where}, and now is {other!r}."
            )
    if len(made.program.calls) != len(plain.program.calls):
        return f"It was recorded with {len(made.program.calls)} ops, and now has {len(plain.program.calls)}."
    replay = Replay(made.program)
    made.refresh()
    replay.run(made.argument_arrays(given))
    for mine, other in zip(made.program.calls, plain.program.calls, strict=True):
        for ours, theirs in zip(mine.outputs, other.outputs, strict=True):
            if _how_far(replay.memory.view(ours), plain.array(theirs)):
                return f"The first op that differs is {mine!r} at {mine.where}."
    return "Run op by op with NumPy (backend='replay') it does not differ: the compiled code does."


def _described(call: Call) -> Any:
    """What tells calls apart: the op, its numbers, and where its operands lie."""
    looks = [
        (each.buffer.number, each.offset, each.shape, each.strides) if isinstance(each, Window) else each
        for each in (*call.inputs, *call.outputs)
    ]
    return call.op.name, looks, repr(call.params)
