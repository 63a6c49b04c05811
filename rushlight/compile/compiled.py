"""`compile`: a function whose first call is recorded and whose later calls run as one program.

This file is the front: which recording fits a call, when to record anew, and what Python sees afterwards.
Invariant: a call either does exactly what the plain function would have done, or raises naming the line
that cannot be compiled.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight.compile.guards import Guards
from rushlight.compile.program import TEMPORARY, Program
from rushlight.compile.record import Recorder, RecordingError, recording
from rushlight.compile.replay import Replay
from rushlight.tensor import Tensor, new_tensor

_PLAIN = (int, float, bool, str, bytes, type(None))


class Recording:
    """One recorded program with its guards, and how to call it."""

    def __init__(
        self, program: Program, guards: Guards, recorder: Recorder, shape_result: Callable[[list[Any]], Any]
    ) -> None:
        self.program = program
        self.guards = guards
        self.live = recorder.live
        self.after = recorder.after
        self.written = _written_states(recorder)
        self.shape_result = shape_result
        self.grads = _kept_grads(recorder)
        self.replay = Replay(program)

    def run(self, arguments: list[np.ndarray]) -> Any:
        """One call."""
        for buffer, read in self.live:
            assert buffer.array is not None
            buffer.array[...] = read()
        results = self.replay.run(arguments)
        for tensor in self.written:
            tensor._bump_version()
        for leaf, window in self.grads:
            leaf._grad = None if window is None else new_tensor(self.replay.memory.view(window).copy())
        for effect in self.after:
            effect()
        return self.shape_result([new_tensor(each) for each in results])


def _written_states(recorder: Recorder) -> list[Tensor]:
    """The captured tensors whose memory the program writes: their versions count on."""
    written = {each.buffer.number for call in recorder.program.calls for each in call.outputs}
    found: dict[int, Tensor] = {}
    for tensor in recorder.states.values():
        if recorder.window(tensor).buffer.number in written:
            root = tensor if tensor._root is None else tensor._root
            found[id(root)] = root
    return list(found.values())


def _kept_grads(recorder: Recorder) -> list[tuple[Tensor, Any]]:
    """What ``.grad`` of each captured leaf is after the step: a temporary's window, or None."""
    kept: list[tuple[Tensor, Any]] = []
    for tensor in recorder.states.values():
        if not tensor._requires_grad or tensor._node is not None:
            continue
        grad = tensor._grad
        if grad is None:
            kept.append((tensor, None))
        else:
            window = recorder.window(grad)
            if window.buffer.kind == TEMPORARY:
                kept.append((tensor, window))
    return kept


class CompiledFunction:
    """A compiled step; made by `compile`.

    Calls with new shapes, types or plain arguments, and calls after something the recording relied on has
    changed, are recorded anew.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name
        self.recordings: dict[Any, Recording] = {}
        self._ran_once: set[Any] = set()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        key, tensors = _signature(args, kwargs)
        known = self.recordings.get(key)
        if known is not None:
            if not known.guards.broken():
                return known.run([each._array for each in tensors])
            del self.recordings[key]
        return self._record(key, tensors, args, kwargs)

    def is_recorded(self, *args: Any, **kwargs: Any) -> bool:
        """Whether a call with these arguments would run a program, and not be recorded first."""
        known = self.recordings.get(_signature(args, kwargs)[0])
        return known is not None and not known.guards.broken()

    def _record(self, key: Any, tensors: list[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the plain function once, noting every op, and keep the program."""
        recorder = Recorder(self.name, [(f"argument{place}", each) for place, each in enumerate(tensors)])
        with recording(recorder):
            result = self.function(*args, **kwargs)
        found: list[Tensor] = []
        shape_result = _outline(result, found)
        recorder.program.results = [recorder.window(each) for each in found]
        recorder.program.verify()
        kept = recorder.kept_tensors(found)
        if kept:
            # The first call may make what later calls find there, such as an optimizer's state: it was run,
            # not
            # recorded. If the next call keeps tensors again, the step cannot be repeated by a program.
            if key in self._ran_once:
                raise RecordingError(
                    f"the step keeps a tensor that it made (at {kept[0]}): a compiled step would not renew "
                    "it. "
                    "Return the tensor from the step instead of storing it."
                )
            self._ran_once.add(key)
            for effect in recorder.after:
                effect()
            return result
        guards = Guards(
            self.function,
            recorder.states.values(),
            recorder.modules.values(),
            recorder.optimizers.values(),
            recorder.live_settings,
        )
        self.recordings[key] = Recording(recorder.program, guards, recorder, shape_result)
        for effect in recorder.after:
            effect()
        return result

    def __repr__(self) -> str:
        return f"<compiled {self.name}, {len(self.recordings)} recorded>"


def _signature(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, list[Tensor]]:
    """What tells calls apart, and the tensors among the arguments in order."""
    tensors: list[Tensor] = []
    key = tuple(_describe(each, tensors) for each in args)
    if kwargs:
        key = (*key, *((name, _describe(kwargs[name], tensors)) for name in sorted(kwargs)))
    return key, tensors


def _describe(value: Any, tensors: list[Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors.append(value)
        return value._array.shape, value._array.dtype, value._requires_grad, type(value)
    if isinstance(value, _PLAIN):
        return type(value), value
    if isinstance(value, (tuple, list)):
        return type(value), tuple(_describe(each, tensors) for each in value)
    if isinstance(value, dict):
        return dict, tuple((name, _describe(each, tensors)) for name, each in value.items())
    return "object", id(value)


def _outline(result: Any, found: list[Tensor]) -> Callable[[list[Any]], Any]:
    """A function that rebuilds the result's structure from its tensors."""
    if isinstance(result, Tensor):
        place = len(found)
        found.append(result)
        return lambda made: made[place]
    if isinstance(result, (tuple, list)):
        parts = [_outline(each, found) for each in result]
        if hasattr(result, "_fields") and type(result) is not tuple:
            kind = type(result)
            return lambda made: kind(*(part(made) for part in parts))
        kind = type(result)
        return lambda made: kind(part(made) for part in parts)
    if isinstance(result, dict):
        named = {name: _outline(each, found) for name, each in result.items()}
        return lambda made: {name: part(made) for name, part in named.items()}
    return lambda made: result
