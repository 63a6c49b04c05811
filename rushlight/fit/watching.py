"""Watching a training loop for the classic mistakes.

`watch` puts hooks on a model and its optimizer and, for some of the steps, is told by the tape of every node
that is made and of every backward pass. What it finds it tells once, with the line of the user's code.
Invariant: it changes nothing that is computed, and takes all its hooks away again.
"""

from __future__ import annotations

import math
import sys
import warnings
import weakref
from types import TracebackType
from typing import Any

import numpy as np

from rushlight.autograd.engine import reachable
from rushlight.autograd.mode import GRAD, WATCHING, state
from rushlight.autograd.node import Node
from rushlight.fit import mistakes
from rushlight.fit.mistakes import Mistake, MistakeWarning
from rushlight.nn import Module
from rushlight.optim import Optimizer
from rushlight.tensor import Tensor

FIRST = 30  # steps that are all looked at closely
EVERY = 25  # of later ones, one in so many
IN_A_ROW = 3  # times that something must be seen that could be chance once
DEAD_WINDOW = 8  # steps

Place = tuple[str, int]


def users_line() -> Place:
    """File and line of the innermost code outside this package."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("rushlight."):
        frame = frame.f_back
    return (frame.f_code.co_filename, frame.f_lineno) if frame is not None else ("", 0)


class watch:
    """Context manager: notices the classic mistakes of a training loop, each once.

    These are gradients that are never zeroed, softmax before cross-entropy, evaluation in training mode,
    ``(N, 1)`` against ``(N,)`` in a loss, inputs that are not scaled, dead units, exploding or vanishing
    gradients, and a learning rate outside the stable range.

    Args:
        model: the network that is trained.
        optimizer: what updates it.
        warn: give a `MistakeWarning` at the user's line; False only collects.

    Attributes:
        mistakes: what was noticed so far.

    >>> import rushlight as torch
    >>> model = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with watch(model, optimizer, warn=False) as watcher:
    ...     for _ in range(5):
    ...         loss = (model(torch.ones(8, 2)) - torch.ones(8)).square().mean()  # (8, 1) against (8,)
    ...         optimizer.zero_grad()
    ...         loss.backward()
    ...         optimizer.step()
    >>> [each.kind for each in watcher.mistakes]
    ['mixed shapes']
    """

    def __init__(self, model: Module, optimizer: Optimizer, warn: bool = True) -> None:
        self.model, self.optimizer, self.warn = model, optimizer, warn
        self.mistakes: list[Mistake] = []
        self.steps = 0
        self._places: dict[int, Place] = {}  # of nodes, by id, until the next backward pass
        self._outputs: dict[int, tuple[int, ...]] = {}  # shapes by the id of the node that made them
        self._unused: list[
            tuple[weakref.ref[Node], Place]
        ] = []  # outputs that no backward pass has reached yet
        self._losses: list[float] = []
        self._summed = 1  # samples whose losses were added up, not averaged
        self._updates: list[float] = []
        self._streaks: dict[str, int] = {}
        self._active: list[np.ndarray] = []
        self._samples = 0
        self._window = 0
        self._normed = _begins_with_norm(model)
        self._weights = [each for each in model.parameters() if each.requires_grad and each.dim() >= 2]
        trained = [each for each in model.parameters() if each.requires_grad]
        # the smallest parameter tells whether gradients were zeroed: it costs least to copy
        self._probe = min(trained, key=lambda each: each.numel()) if trained else None
        self._fresh: np.ndarray | None = None
        self._stale: np.ndarray | None = None
        self._before: list[np.ndarray] = []

    # -- coming and going ------------------------------------------------------------------------------------

    def __enter__(self) -> watch:
        if state.watcher is not None:
            raise RuntimeError("a loop is already being watched: leave the other watch() first")
        self._handles = [
            self.model.register_forward_pre_hook(self._before_forward),
            self.model.register_forward_hook(self._after_forward),
            self.optimizer.register_step_pre_hook(self._before_step),
            self.optimizer.register_step_post_hook(self._after_step),
        ]
        if self._probe is not None:
            self._handles.append(self._probe.register_hook(self._note_gradient))
        state.watcher = self
        state.mode |= WATCHING
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        state.mode &= ~WATCHING
        state.watcher = None
        for handle in self._handles:
            handle.remove()
        if error is None:
            self._check_unused(least=2)

    def tell(self, kind: str, text: str, place: Place) -> None:
        """Note a mistake, unless one of its kind was told before."""
        if not text or any(each.kind == kind for each in self.mistakes):
            return
        self.mistakes.append(Mistake(kind, text, *place))
        if self.warn:
            file, line = place
            warnings.warn_explicit(text, MistakeWarning, file or "<unknown>", line)

    def _in_a_row(self, kind: str, text: str, place: Place) -> None:
        """Tell what was seen several times one after another."""
        self._streaks[kind] = self._streaks.get(kind, 0) + 1 if text else 0
        if self._streaks[kind] >= IN_A_ROW:
            self.tell(kind, text, place)

    # -- being told ------------------------------------------------------------------------------------------

    def note_node(self, node: Node) -> None:
        """The tape has a new node."""
        self._places[id(node)] = users_line()

    def note_backward(self, roots: Any) -> None:
        """A backward pass begins."""
        nodes = reachable([each._node for each in roots if each._node is not None])
        place = users_line()
        for node in nodes:
            text = mistakes.doubled_softmax(node)
            self.tell("softmax before cross-entropy", text, self._places.get(id(node), place))
        text, where = mistakes.mixed_shapes(nodes, self._outputs)
        self.tell("mixed shapes", text, self._places.get(id(where), place))
        self._note_units(nodes, place)
        self._unused = [each for each in self._unused if each[0]() not in nodes]
        self._check_unused(least=IN_A_ROW)
        if len(roots) == 1 and roots[0].numel() == 1:
            self._losses.append(float(roots[0]._array))
            if roots[0]._node is not None:
                self._summed = mistakes.samples_summed(roots[0]._node)
        self._places.clear()
        self._outputs.clear()
        self._unused.clear()

    def _before_forward(self, module: Module, inputs: tuple[Any, ...]) -> None:
        place = users_line()
        if self.steps < 3 and not self._normed:
            for each in inputs:
                if isinstance(each, Tensor):
                    self.tell("unscaled inputs", mistakes.unscaled(each._array), place)
        if not state.mode & GRAD and _in_training_mode(self.model):
            text = (
                "evaluation in training mode: dropout or batch norm layers behave as in training. Call "
                "model.eval() before evaluating, and model.train() before going on."
            )
            self.tell("evaluation in training mode", text, place)

    def _after_forward(self, module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not state.mode & WATCHING or not isinstance(output, Tensor) or output._node is None:
            return
        self._outputs[id(output._node)] = tuple(output.shape)
        if _in_training_mode(self.model):
            self._unused.append((weakref.ref(output._node), users_line()))

    def _check_unused(self, least: int) -> None:
        """Outputs made with dropout on, for which no gradient was ever asked."""
        if len(self._unused) < least:
            return
        text = (
            f"evaluation in training mode: {len(self._unused)} outputs in a row were used without "
            "backward(), while dropout or batch norm layers behave as in training. Call model.eval() before "
            "evaluating (and compute under no_grad()), and model.train() before going on."
        )
        self.tell("evaluation in training mode", text, self._unused[0][1])

    def _note_units(self, nodes: Any, place: Place) -> None:
        """Which units of ReLU layers gave anything but 0, over some steps."""
        layers = [each for each in sorted(nodes, key=lambda each: each.sequence) if each.op.name == "relu"]
        active = [_units(each.out) for each in layers if each.out is not None and each.out.ndim > 1]
        if [each.shape for each in active] != [each.shape for each in self._active]:
            self._active, self._samples, self._window = [], 0, 0
        if not active:
            return
        self._active = [a | b for a, b in zip(active, self._active or active, strict=True)]
        self._samples += len(layers[0].out)
        self._window += 1
        if self._window < DEAD_WINDOW:
            return
        for number, each in enumerate(self._active, 1):
            text = mistakes.dead_units(~each, self._samples, number)
            self.tell("dead units", text, self._places.get(id(layers[number - 1]), place))
        self._active, self._samples, self._window = [], 0, 0

    # -- steps -----------------------------------------------------------------------------------------------

    def _note_gradient(self, gradient: Tensor) -> None:
        found = gradient._array
        self._fresh = found.copy() if self._fresh is None else self._fresh + found

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        place = users_line()
        self._check_zeroed(place)
        if not state.mode & WATCHING:
            return
        self._before = [each._array.copy() for each in self._weights]
        pairs = [(each._array, each.grad._array) for each in self._weights if each.grad is not None]
        if pairs:
            kind, text = mistakes.bad_gradients(
                [_length([gradient]) / self._summed for _, gradient in pairs],
                [_length([weight]) for weight, _ in pairs],
                [weight.size for weight, _ in pairs],
            )
            for each in ("exploding gradients", "vanishing gradients"):
                self._in_a_row(each, text if each == kind else "", place)

    def _check_zeroed(self, place: Place) -> None:
        """Whether the gradient is more than what was computed since the last step."""
        probe = self._probe
        if probe is None or probe.grad is None or self._fresh is None or self._stale is None:
            return
        now, fresh = probe.grad._array, self._fresh
        kept = mistakes.accumulated(now, fresh, self._stale)
        text = (
            "gradients are never zeroed: each step uses the sum of all gradients so far. Call "
            "optimizer.zero_grad() before loss.backward()."
        )
        self._in_a_row("gradients never zeroed", text if kept else "", place)

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        probe = self._probe
        if probe is not None and probe.grad is not None:
            self._stale = probe.grad._array.copy()
        self._fresh = None
        if self._before:
            moved = [each._array - before for each, before in zip(self._weights, self._before, strict=True)]
            size = _length(self._before)
            self._updates.append(_length(moved) / max(size, 1e-12))
            self._before = []
            rate = max(float(group["lr"]) for group in optimizer.param_groups)
            self.tell("learning rate", mistakes.bad_rate(self._losses, self._updates, rate), users_line())
        self.steps += 1
        if self.steps < FIRST or self.steps % EVERY == 0:
            state.mode |= WATCHING
        else:
            state.mode &= ~WATCHING


def _length(arrays: list[np.ndarray]) -> float:
    return math.sqrt(sum(map(_square, arrays)))


def _square(array: np.ndarray) -> float:
    """The sum of squares; in float64 where float32 cannot hold it or half precision is too coarse."""
    if array.dtype == np.float32:
        with np.errstate(over="ignore"):
            found = float(np.vdot(array, array))
        if 1e-25 < found < 1e35:
            return found
    return float((array.astype(np.float64) ** 2).sum())


def _units(out: np.ndarray) -> np.ndarray:
    """Which units (of rows) or channels (of images) are above 0 anywhere."""
    others = tuple(place for place in range(out.ndim) if place != (out.ndim - 1 if out.ndim < 4 else 1))
    return np.asarray((out > 0).any(axis=others))


def _depends_on_mode(module: Module) -> bool:
    kinds = {each.__name__ for each in type(module).__mro__}
    return bool(kinds & {"_BatchNorm", "_InstanceNorm"}) or getattr(module, "p", 0) > 0


def _in_training_mode(model: Module) -> bool:
    """Whether a layer that behaves differently in training is in training mode."""
    return any(each.training and _depends_on_mode(each) for each in model.modules())


def _begins_with_norm(model: Module) -> bool:
    """Whether the model scales its inputs itself."""
    leaves = [each for each in model.modules() if not list(each.children())]
    return bool(leaves) and "Norm" in type(leaves[0]).__name__
