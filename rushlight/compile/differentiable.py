"""Compiled functions inside autograd: a forward program whose node on the tape runs a backward program.

Where a step returns a tensor that requires grad, somebody may call ``backward()`` on it later. So, right
after the forward was recorded, its backward pass is recorded too, with ones as the gradients that come in,
and split off as a program of its own. What it needs of the forward is returned by that and kept by the node.
Invariant: the tape sees one node for a call, with the edges that the plain function's graph has to leaves
and to tensors from outside.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.autograd.engine import reachable, run_backward
from rushlight.autograd.mode import GRAD, state
from rushlight.autograd.node import FREED_TWICE, Node, edges_to
from rushlight.compile.program import ARGUMENT, STATE, TEMPORARY, Buffer, Call, Program, Window
from rushlight.compile.record import Recorder, RecordingError
from rushlight.compile.results import Results
from rushlight.tensor import Tensor, new_tensor


class Differentiable:
    """The backward half of a recording.

    Args:
        recorder: of the forward run, still recording.
        results: what it returned; gets the windows that the backward program needs.
        chosen: which of its tensors carry gradients.
    """

    def __init__(self, recorder: Recorder, results: Results, chosen: Sequence[int]) -> None:
        self.chosen = list(chosen)
        roots = [results.tensors[place] for place in chosen]
        self.outputs = [(each._array.shape, each._array.dtype) for each in roots]
        ends = _inputs_of(roots, recorder)
        inputs = [leaf for _, leaf in ends]
        start = len(recorder.program.calls)
        incoming = [_ones(recorder, number, each) for number, each in enumerate(roots)]
        grads = _gradients(roots, incoming, inputs)
        made = [None if each is None else recorder.window(each) for each in grads]
        calls = recorder.program.calls[start:]
        del recorder.program.calls[start:]
        split = _Split(recorder, calls)
        self.program = split.program
        self.inputs = [_reference(recorder, tensor) for tensor, _ in ends]
        self.wanted = [look is not None for look in made]
        self.program.results = [split.window(look) for look in made if look is not None]
        gradients = [split.window(recorder.window(each)) for each in incoming]
        self.program.arguments = [*split.saved_windows(), *gradients]
        self.program.repeats = False
        self.program.verify()
        self.given = split.given
        self.versions = [
            each for each in recorder.states.values() if recorder.window(each).buffer in split.buffers
        ]
        self.first_saved = len(results.windows)
        results.windows += [Window(buffer, 0, (buffer.size,), (1,)) for buffer in split.temporaries]
        self.executor: Any = None
        self.lock = threading.Lock()

    def attach(self, tensors: Sequence[Tensor], made: Sequence[np.ndarray], given: Sequence[Tensor]) -> None:
        """Put one node on the tape as what made the chosen results of a call."""
        node = CompiledFunctionBackward(self, list(made[self.first_saved :]), given)
        for number, place in enumerate(self.chosen):
            tensor = tensors[place]
            tensor._node, tensor._requires_grad, tensor._output_nr = node, True, number


class CompiledFunctionBackward(Node):
    """The node of one call of a compiled function."""

    __slots__ = ("call",)

    def __init__(self, half: Differentiable, saved: list[np.ndarray], given: Sequence[Tensor]) -> None:
        edges, numbers = edges_to([given[each] if isinstance(each, int) else each for each in half.inputs])
        super().__init__(None, None, None)
        self.edges, self.numbers = edges, numbers
        self.outputs = half.outputs
        arguments = [given[place] for place in half.given]
        watched = [(each, each._current_version()) for each in (*half.versions, *arguments)]
        self.call: Any = (half, [*(each._array for each in arguments), *saved], watched)

    def backward(self, grads: Sequence[Any], wanted: Sequence[bool] | None = None) -> list[Any]:
        """Run the backward program."""
        if self.call is None:
            raise RuntimeError(FREED_TWICE)
        if state.mode & GRAD:
            raise NotImplementedError(
                "create_graph=True: the backward pass of a compiled function cannot be differentiated; "
                "call the plain function"
            )
        half, saved, watched = self.call
        for tensor, version in watched:
            if tensor._current_version() != version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an inplace "
                    f"operation: a tensor of shape {list(tensor.shape)} that a compiled function was given "
                    f"or captured is at version {tensor._current_version()}; expected version {version} "
                    "instead."
                )
        incoming = [
            np.zeros(shape, kind) if grad is None else grad._array
            for grad, (shape, kind) in zip(grads, half.outputs, strict=True)
        ]
        with half.lock:
            made = iter(half.executor.run([*saved, *incoming]))
        return [new_tensor(next(made)) if each else None for each in half.wanted]

    def release(self) -> None:
        """Free what the forward left."""
        self.call = None


def differentiable_results(recorder: Recorder, results: Results) -> list[int]:
    """Which results can be differentiated later: those of whose graph no backward pass in the step has freed
    a part."""
    spent = reachable(recorder.roots)
    return [
        place
        for place, tensor in enumerate(results.tensors)
        if tensor.requires_grad
        and results.buffers[place].kind == TEMPORARY
        and spent.isdisjoint(reachable([tensor._fresh_node()]))
    ]


def _inputs_of(roots: Sequence[Tensor], recorder: Recorder) -> list[tuple[Tensor, Tensor]]:
    """Where the graph of some tensors ends: leaves, and captured tensors with a history.

    Each comes with the leaf that stands for it in the graph: itself, or one that is put there now, so that
    the backward pass goes no further.
    """
    found: dict[Any, tuple[Tensor, Tensor]] = {}
    pending = [each._fresh_node() for each in roots]
    seen = set(pending)
    while pending:
        node = pending.pop()
        assert node is not None
        for index, edge in enumerate(node.edges):
            if edge is None:
                continue
            if not isinstance(edge, Node):
                found[id(edge)] = edge, edge
            elif edge.sequence < recorder.first_node:
                number = (node.numbers or {}).get(index, 0)
                if (edge, number) not in found:
                    found[edge, number] = _cut(edge, number, recorder)
                node.edges = [*node.edges[:index], found[edge, number][1], *node.edges[index + 1 :]]
            elif edge not in seen:
                seen.add(edge)
                pending.append(edge)
    return list(found.values())


def _cut(node: Node, number: int, recorder: Recorder) -> tuple[Tensor, Tensor]:
    """The captured tensor that is an output of a node, and a leaf to take its place."""
    for tensor in recorder.states.values():
        if tensor._fresh_node() is node and tensor._output_nr == number:
            leaf: Tensor = new_tensor(tensor._array)
            leaf._requires_grad = True
            return tensor, leaf
    raise RecordingError(f"gradients flow to {node!r} of a tensor that the compiled function has not seen")


def _ones(recorder: Recorder, number: int, like: Tensor) -> Tensor:
    """A stand-in for a gradient that comes in."""
    made: Tensor = new_tensor(np.ones(like._array.shape, like._array.dtype))
    recorder.argument(made, f"gradient{number}")
    return made


def _gradients(roots: Sequence[Tensor], incoming: Sequence[Tensor], inputs: Sequence[Tensor]) -> list[Any]:
    """The backward pass, without the leaves' own hooks: those run on the tape outside."""
    hooks = [each._hooks for each in inputs]
    for each in inputs:
        each._hooks = None
    try:
        return run_backward(roots, incoming, False, False, inputs) or []
    finally:
        for each, kept in zip(inputs, hooks, strict=True):
            each._hooks = kept


def _reference(recorder: Recorder, tensor: Tensor) -> Any:
    """The place of an argument, or a captured tensor itself."""
    return next((place for place, each in enumerate(recorder.arguments) if each is tensor), tensor)


class _Split:
    """The calls of the backward pass as a program of their own."""

    def __init__(self, recorder: Recorder, calls: Sequence[Call]) -> None:
        self.program = Program(recorder.program.name + "_backward")
        self.buffers: dict[Buffer, Buffer] = {}
        self.given: list[int] = []
        self.temporaries: list[Buffer] = []
        self._windows: list[Window] = []
        self._temporary_windows: list[Window] = []
        self._recorder = recorder
        self._made_forward = {
            look.buffer
            for call in recorder.program.calls
            for look in call.outputs
            if look.buffer.kind == TEMPORARY
        }
        for call in calls:
            inputs = tuple(self.window(each) if isinstance(each, Window) else each for each in call.inputs)
            outputs = tuple(self.window(each) for each in call.outputs)
            if any(each.buffer.kind != TEMPORARY for each in outputs):
                raise RecordingError(
                    f"the backward pass writes into a captured tensor in {call!r}: {call.where}"
                )
            self.program.calls.append(Call(call.op, inputs, call.params, outputs, call.where))

    def window(self, look: Window) -> Window:
        """The same window in the program of the backward pass."""
        buffer = self.buffers.get(look.buffer)
        if buffer is None:
            buffer = self._adopt(look.buffer)
        return Window(buffer, look.offset, look.shape, look.strides)

    def _adopt(self, old: Buffer) -> Buffer:
        saved = old in self._made_forward
        kind = ARGUMENT if saved else old.kind
        made = Buffer(len(self.program.buffers), kind, old.size, old.dtype, old.name)
        if old.kind == STATE:
            made.array = old.array
        self.program.buffers.append(made)
        self.buffers[old] = made
        if saved:
            self.temporaries.append(old)
            self._temporary_windows.append(Window(made, 0, (old.size,), (1,)))
        elif old.kind == ARGUMENT:
            for place, look in enumerate(self._recorder.program.arguments[: len(self._recorder.arguments)]):
                if look.buffer is old:
                    self.given.append(place)
                    self._windows.append(Window(made, look.offset, look.shape, look.strides))
        return made

    def saved_windows(self) -> list[Window]:
        """Where the arguments of the forward, and then its temporaries, go."""
        return [*self._windows, *self._temporary_windows]
