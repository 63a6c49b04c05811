"""What a compiled call hands back: fresh tensors in the structure that the step returned.

A step returns tensors in tuples, lists and dictionaries, and some of them share memory: two results that are
views of one another, an argument handed back, a captured tensor. `Results` notes how, says which windows the
program must return (`windows`), and builds the results of a call from those arrays. Nothing is computed.
Invariant: results share memory exactly where those of the plain step do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rushlight.compile.program import ARGUMENT, STATE, Buffer, Window
from rushlight.compile.record import Recorder, RecordingError
from rushlight.compile.stand_in import rebuilt, with_values
from rushlight.compile.watched import is_plain
from rushlight.device import device
from rushlight.dtype import dtype
from rushlight.storage import storage_of
from rushlight.tensor import Tensor, new_tensor

Build = Callable[[Sequence[np.ndarray], Sequence[Tensor]], Tensor]


class Results:
    """How to make the results of a call.

    Args:
        value: what the step returned in the run that was recorded.
        recorder: of that run.
    """

    def __init__(self, value: Any, recorder: Recorder) -> None:
        self.tensors: list[Tensor] = []
        self._own = 0
        self._has_constants = False
        self.shape_of_value = self._outline(value)
        self._refuse_live(value, recorder)
        self.windows: list[Window] = []
        self.builders: list[Build] = []
        looks = [recorder.window(each) for each in self.tensors]
        self.buffers = [each.buffer for each in looks]
        shared = {
            look.buffer
            for place, look in enumerate(looks)
            if any(other != look and other.buffer is look.buffer for other in looks[:place])
        }
        shared |= {look.buffer for look in looks if not look.is_contiguous()}
        slots: dict[Buffer, int] = {}
        for tensor, look in zip(self.tensors, looks, strict=True):
            self.builders.append(self._builder(tensor, look, look.buffer in shared, slots, recorder))
        self._is_one_tensor = isinstance(value, Tensor) and self._own == 1

    @property
    def is_plain(self) -> bool:
        """Whether results are arrays of their own that the program returns, and nothing else (but None)."""
        return self._own == len(self.builders) and not self._has_constants

    def _outline(self, value: Any) -> Callable[[Sequence[Any]], Any]:
        """A function that rebuilds the structure of a value from its tensors."""
        if isinstance(value, Tensor):
            place = next((i for i, each in enumerate(self.tensors) if each is value), len(self.tensors))
            if place == len(self.tensors):
                self.tensors.append(value)
            return lambda made: made[place]
        if isinstance(value, (tuple, list)):
            parts = [self._outline(each) for each in value]
            kind = type(value)
            return lambda made: rebuilt(kind, [part(made) for part in parts])
        if isinstance(value, dict):
            named = {name: self._outline(each) for name, each in value.items()}
            blank = with_values(value, dict.fromkeys(value))  # holds no tensor alive
            return lambda made: with_values(blank, {name: part(made) for name, part in named.items()})
        if not is_plain(value) and not isinstance(value, (np.generic, dtype, device, type)):
            raise RecordingError(
                f"a compiled step returns tensors, plain values, and tuples, lists and dictionaries of them, "
                f"but this one returned a {type(value).__name__}"
            )
        self._has_constants |= value is not None
        return lambda made: value

    def _refuse_live(self, value: Any, recorder: Recorder) -> None:
        """A learning rate among the results would be the one of the run that was recorded, for ever."""
        if isinstance(value, (tuple, list)):
            for each in value:
                self._refuse_live(each, recorder)
        elif isinstance(value, dict):
            self._refuse_live(list(value.values()), recorder)
        elif type(value) is float and any(value == read() for _, read in recorder.live):
            raise RecordingError(
                f"the step {recorder.program.name} returns the number {value}, which is a setting of its "
                "optimizer: a compiled step would return the same number at every call. Read it outside."
            )

    def _builder(
        self, tensor: Tensor, look: Window, shared: bool, slots: dict[Buffer, int], recorder: Recorder
    ) -> Build:
        """How one result comes about; notes the window that the program must return for it."""
        if look.buffer.kind == ARGUMENT:
            return self._of_argument(tensor, look, recorder)
        if look.buffer.kind == STATE:
            return self._of_state(tensor, look, recorder)
        for leaf in recorder.touched_grads.values():
            if leaf._grad is tensor:
                return _grad_of(leaf, recorder)
        place = slots.get(look.buffer)
        if place is None:
            place = slots[look.buffer] = len(self.windows)
            whole = Window(look.buffer, 0, (look.buffer.size,), (1,))
            self.windows.append(whole if shared else look)
        if not shared:
            self._own += 1
            return lambda arrays, _: new_tensor(arrays[place])
        size, shape = look.dtype.itemsize, look.shape
        steps = tuple(stride * size for stride in look.strides)
        start = look.offset * size
        return lambda arrays, _: new_tensor(np.ndarray(shape, look.dtype, arrays[place], start, steps))

    @staticmethod
    def _of_argument(tensor: Tensor, look: Window, recorder: Recorder) -> Build:
        """An argument handed back, or a view of it."""
        tensor_requires_grad = tensor.requires_grad
        for place, each in enumerate(recorder.arguments):
            if each is tensor:
                return lambda _, given: given[place]
            if recorder.program.arguments[place].buffer is look.buffer:
                start = look.offset - recorder.program.arguments[place].offset
                array = recorder.given[place]._array
                if array.size and not storage_of(array).size:
                    raise RecordingError(
                        f"the step {recorder.program.name} returns a view of an argument whose memory "
                        "belongs to another library, with gaps: clone() the argument or the result"
                    )
                return lambda _, given: _part(
                    given[place], tensor_requires_grad, look, given[place].storage_offset() + start
                )
        return _grad_of(next(each for each in recorder.grad_arguments if each._grad is tensor), recorder)

    @staticmethod
    def _of_state(tensor: Tensor, look: Window, recorder: Recorder) -> Build:
        """A captured tensor handed back, or a view of it."""
        if tensor._base is None:
            return lambda *_: tensor
        base, tensor_requires_grad = tensor._base, tensor.requires_grad
        return lambda *_: _part(base, tensor_requires_grad, look, look.offset)

    def build(self, arrays: Sequence[np.ndarray], given: Sequence[Tensor]) -> list[Tensor]:
        """The tensors of a call, from the arrays of `windows` and the arguments of the call."""
        return [make(arrays, given) for make in self.builders]

    def value(self, arrays: Sequence[np.ndarray], given: Sequence[Tensor]) -> Any:
        """What the call returns."""
        if self._is_one_tensor:
            return new_tensor(arrays[0])
        return self.shape_of_value(self.build(arrays, given))


def _grad_of(leaf: Tensor, recorder: Recorder) -> Build:
    """The gradient that a call leaves at a leaf: an argument, or one that is captured."""
    for place, each in enumerate(recorder.arguments):
        if each is leaf:
            return lambda _, given: given[place]._grad  # type: ignore[return-value]
    return lambda *_: leaf._grad  # type: ignore[return-value]


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors of a result, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [each for part in value for each in tensors_in(part)] if isinstance(value, (tuple, list)) else []


def _part(base: Tensor, requires_grad: bool, look: Window, offset: int) -> Tensor:
    """A view of a tensor's memory; of its history too, unless the step detached it."""
    base = base if requires_grad else base.detach()
    return base.as_strided(look.shape, look.strides, offset)
