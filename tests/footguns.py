"""What the tests of compiled steps share: the same training run, plain and compiled.

While a step is recorded, fused ops are spelled out (`rushlight.ops.fused`), which rounds differently. So the
replay of a recording is compared bit for bit with a plain run in which they are spelled out too, and with an
ordinary one, as is what `compile` uses by default, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn
from rushlight.autograd.mode import RECORDING, state
from rushlight.compile.record import RecordingError

Step = Callable[..., Any]


def batches(count: int, sizes: Sequence[int] = (6,), width: int = 5) -> list[tuple[rl.Tensor, rl.Tensor]]:
    """Random inputs and labels of three classes."""
    rng = np.random.default_rng(0)
    return [
        (
            rl.from_numpy(rng.standard_normal((sizes[i % len(sizes)], width), dtype=np.float32)),
            rl.from_numpy(rng.integers(0, 3, sizes[i % len(sizes)])),
        )
        for i in range(count)
    ]


def small_model(*between: nn.Module) -> nn.Sequential:
    """Two linear layers with a tanh, and whatever else, between them."""
    return nn.Sequential(nn.Linear(5, 4), *between, nn.Tanh(), nn.Linear(4, 3))


def flat(value: Any) -> list[np.ndarray]:
    """The arrays of a result."""
    if isinstance(value, rl.Tensor):
        return [value.detach().numpy().copy()]
    if isinstance(value, (tuple, list)):
        return [each for part in value for each in flat(part)]
    return [] if value is None else [np.asarray(value)]


class SpelledOut:
    """Stands where a recorder does and lets everything happen as in a plain run, only spelled out."""

    def note(self, *_: Any) -> None:
        """An op ran."""

    note_inplace = note_module = note_walked = note_training = note
    note_optimizer = note_backward = note_grad = note_grad_set = note_data = note
    note_asked = note_requires_grad = note
    refuse_read = refuse_stream = window = note

    def live_setting(self, group: dict[str, Any], name: str) -> Any:
        """A setting as it is."""
        return group[name]

    def run_after(self, effect: Callable[[], Any], *_: Any) -> None:
        """Schedules advance at once."""
        state.mode &= ~RECORDING
        effect()
        state.mode |= RECORDING


def spelled_out(step: Step) -> Step:
    """The plain step, without fused ops.

    A backward pass that comes after a step is recorded along with it, so where results are compared bit for
    bit, `step` is to be the whole: what calls the step, and the backward pass.
    """

    def run(*args: Any) -> Any:
        state.recorder = SpelledOut()
        state.mode |= RECORDING
        try:
            return step(*args)
        finally:
            state.mode &= ~RECORDING
            state.recorder = None

    return run


WAYS: dict[str, Callable[[Step], Step]] = {
    "plain": lambda step: step,
    "spelled out": spelled_out,
    "replay": lambda step: rl.compile(step, backend="replay"),
    "compiled": rl.compile,
}


def outcome(make: Callable[[], tuple[nn.Module, Step]], way: str, steps: int, **kwargs: Any) -> Any:
    """All results of a run, what is left in the model, its gradients, and where the random stream stands."""
    rl.manual_seed(3)
    model, step = make()
    between = kwargs.get("between", lambda number, model, step: None)
    run = WAYS[way](step)
    results = []
    for number, (x, y) in enumerate(batches(steps, kwargs.get("sizes", (6,)))):
        between(number, model, run)
        results += flat(run(x, y))
    state = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    grads = [None if p.grad is None else p.grad.numpy().copy() for p in model.parameters()]
    return results, state, grads, rl.get_rng_state().numpy().tobytes()


def check(make: Callable[[], tuple[nn.Module, Step]], steps: int = 6, **kwargs: Any) -> None:
    """Compiled runs do what plain ones do; ``native=False`` leaves out native code, which is slow to make."""
    native = kwargs.pop("native", True)
    found = {way: outcome(make, way, steps, **kwargs) for way in WAYS if native or way != "compiled"}
    compare(found["replay"], found["spelled out"], 0.0)
    compare(found["replay"], found["plain"], 2e-5)
    if native:
        compare(found["compiled"], found["plain"], 2e-5)


def compare(ours: Any, theirs: Any, tolerance: float) -> None:
    """Two outcomes are equal up to a tolerance; random streams stand at the same place."""
    assert len(ours[0]) == len(theirs[0])
    for number, pair in enumerate(zip(ours[0], theirs[0], strict=True)):
        np.testing.assert_allclose(*pair, tolerance, tolerance, err_msg=f"result {number}")
    for name, value in theirs[1].items():
        np.testing.assert_allclose(ours[1][name], value, tolerance, tolerance, err_msg=name)
    for number, (mine, other) in enumerate(zip(ours[2], theirs[2], strict=True)):
        assert (mine is None) == (other is None), f"gradient {number}"
        if other is not None:
            np.testing.assert_allclose(mine, other, tolerance, tolerance, err_msg=f"gradient {number}")
    assert ours[3] == theirs[3], "the random streams stand at different places"


# -- values that a step reaches

ONE = rl.ones(1)
Made = tuple[
    Callable[[], rl.Tensor], Callable[[], Any] | None
]  # a step, and what is done before its fourth call


def ends(make: Callable[[], Made], compiled: bool) -> list[list[float]]:
    """What five calls return."""
    rl.manual_seed(0)
    step, change = make()
    step = rl.compile(step) if compiled else step
    found = []
    for turn in range(5):
        if turn == 3 and change is not None:
            change()
        found.append(step().detach().reshape(-1).tolist())
    return found


def assert_seen(make: Callable[[], Made]) -> None:
    """Compiled calls return what plain ones do; the change makes a difference."""
    found = ends(make, False)
    assert found[3] != found[2]
    np.testing.assert_allclose(ends(make, True), found, rtol=1e-6)


def assert_refused(make: Callable[[], Made], match: str) -> None:
    with pytest.raises(RecordingError, match=match):
        ends(make, True)
