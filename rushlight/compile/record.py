"""Recording: one real run of a step, noted call by call.

While a recorder is in place, `apply` tells it of every op. Operands are noted as windows on the buffers
that own their memory, so views need no calls of their own and an in-place op is a write. Reading a value in
Python (``.item()``, ``print``) would freeze it into the recording, so that raises. Invariant: the arrays
seen are kept alive while recording, so no address is used twice.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rushlight.autograd.mode import RECORDING, state
from rushlight.autograd.node import Node
from rushlight.compile.program import ARGUMENT, STATE, TEMPORARY, Buffer, Call, Operand, Program, Window
from rushlight.ops.define import Op
from rushlight.tensor import Tensor


class RecordingError(RuntimeError):
    """Something in the step cannot be part of a compiled program."""


def owner_of(array: np.ndarray) -> np.ndarray:
    """The array that owns the memory `array` looks into."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


class Recorder:
    """Collects the calls of one run into a `Program`.

    Args:
        name: the step's name.
        arguments: the tensors handed to the step, with their names.
    """

    def __init__(self, name: str, arguments: Sequence[tuple[str, Tensor]]) -> None:
        self.program = Program(name)
        self._buffers: dict[int, Buffer] = {}
        self._kept: list[np.ndarray] = []
        self.states: dict[int, Tensor] = {}
        self.modules: dict[int, Any] = {}
        self.optimizers: dict[int, Any] = {}
        self.live: list[tuple[Buffer, Callable[[], Any]]] = []
        self.after: list[Callable[[], Any]] = []
        self._live_numbers: dict[Any, Tensor] = {}
        self.live_settings: set[tuple[int, str]] = set()
        self._made: list[tuple[weakref.ref[Tensor], str]] = []
        for text, tensor in arguments:
            self._known(tensor._array, ARGUMENT, text)
            self.program.arguments.append(self.window(tensor))

    # -- being told ------------------------------------------------------------------------------------------

    def note(self, op: Op, inputs: Sequence[Any], params: dict[str, Any], outputs: Any) -> None:
        """`apply` ran an op."""
        made = outputs if isinstance(outputs, tuple) else (outputs,)
        if self._is_window_only(op, inputs, made):
            return
        operands = tuple(self._operand(each) for each in inputs)
        for each in made:
            self._known(each._array, TEMPORARY, "")
            self._made.append((weakref.ref(each), self._where()))
        self._add(op, operands, params, tuple(self.window(each) for each in made))

    def note_inplace(self, op: Op, inputs: Sequence[Any], params: dict[str, Any], target: Tensor) -> None:
        """`apply_inplace` ran an op whose result went into `target`."""
        written = self.window(target)
        operands = (written, *(self._operand(each) for each in inputs[1:]))
        self._add(op, operands, params, (written,))

    def note_module(self, module: Any) -> None:
        """A module's forward is running."""
        self.modules[id(module)] = module

    def note_optimizer(self, optimizer: Any) -> None:
        """An optimizer's step is running."""
        self.optimizers[id(optimizer)] = optimizer

    def live_setting(self, group: dict[str, Any], name: str) -> Any:
        """An optimizer's setting as 0-d tensors that are read anew at every call; zero, which switches a term
        off, stays a number and is guarded."""
        value = group[name]
        if isinstance(value, Tensor):
            return value.squeeze() if value.dim() else value
        if value == 0:
            return value
        self.live_settings.add((id(group), name))
        if isinstance(value, tuple):
            return tuple(self._live_part(group, name, place) for place in range(len(value)))
        return self.live_number((id(group), name), lambda: group[name], np.dtype(np.float64))

    def _live_part(self, group: dict[str, Any], name: str, place: int) -> Tensor:
        return self.live_number((id(group), name, place), lambda: group[name][place], np.dtype(np.float64))

    def live_number(self, key: Any, read: Callable[[], float], dtype: np.dtype) -> Tensor:
        """A 0-d tensor that holds ``read()`` anew at every call of the program: a learning rate, say."""
        known = self._live_numbers.get(key)
        if known is None:
            from rushlight.tensor import new_tensor

            known = self._live_numbers[key] = new_tensor(np.asarray(read(), dtype=dtype))
            self.states[id(known)] = known
            self.live.append((self._known(known._array, STATE, str(key[-1])), read))
        return known

    def run_after(self, effect: Callable[[], Any]) -> None:
        """Something Python must do after every call of the program, such as stepping a schedule."""
        self.after.append(effect)

    def refuse_read(self, tensor: Tensor, what: str) -> None:
        """Python is about to read a value: fine for memory from before the step, an error for what it
        computes.
        """
        buffer = self._buffers.get(id(owner_of(tensor._array)))
        if buffer is None:
            return
        raise RecordingError(
            f"{what} inside a compiled step: the value would be frozen into the program. {self._where()}\n"
            "Return the tensor from the step and read it outside, or call this part outside the compiled "
            "function."
        )

    def kept_tensors(self, results: Sequence[Tensor]) -> list[str]:
        """Where tensors were made that Python still holds after the step, other than results and gradients.

        Running the program again would not renew them: an optimizer's first state, say, or a loss put in a
            list.
        """
        accounted = {id(each) for each in results} | _saved_by_graphs(results)
        for tensor in self.states.values():
            accounted.add(id(tensor._grad))
        found = []
        for reference, where in self._made:
            made = reference()
            if made is not None and id(made) not in accounted:
                found.append(where)
        return found

    # -- windows ---------------------------------------------------------------------------------------------

    def _known(self, array: np.ndarray, kind: str, name: str) -> Buffer:
        """The buffer that owns an array's memory, made at first sight."""
        owner = owner_of(array)
        found = self._buffers.get(id(owner))
        if found is None:
            found = Buffer(len(self.program.buffers), kind, owner.size, owner.dtype, name, None)
            if kind != TEMPORARY:
                found.array = owner
            self._buffers[id(owner)] = found
            self.program.buffers.append(found)
            self._kept.append(owner)
        return found

    def window(self, tensor: Tensor) -> Window:
        """Where a tensor lies."""
        array = tensor._array
        buffer = self._known(array, STATE, "")
        if buffer.kind == STATE:
            self.states.setdefault(id(tensor), tensor)
        if array.dtype != buffer.dtype:
            raise RecordingError(
                f"a view of another type ({array.dtype} of {buffer.dtype}) cannot be compiled. "
                f"{self._where()}"
            )
        size = array.itemsize
        offset = (_address(array) - _address(owner_of(array))) // size if array.size else 0
        return Window(buffer, offset, array.shape, tuple(stride // size for stride in array.strides))

    def _operand(self, value: Any) -> Operand:
        if isinstance(value, Tensor):
            return self.window(value)
        return value.item() if isinstance(value, np.generic) else value

    def _is_window_only(self, op: Op, inputs: Sequence[Any], made: Sequence[Tensor]) -> bool:
        """Whether the op only looked at memory that is already known."""
        if op.kind != "view" or not inputs or not isinstance(inputs[0], Tensor):
            return False
        source = id(owner_of(inputs[0]._array))
        self.window(inputs[0])
        return all(id(owner_of(each._array)) == source for each in made)

    def _add(
        self, op: Op, inputs: tuple[Operand, ...], params: dict[str, Any], outputs: tuple[Window, ...]
    ) -> None:
        self.program.calls.append(Call(op, inputs, params, outputs, self._where()))

    @staticmethod
    def _where() -> str:
        """The line of the user's code that led here."""
        frame: Any = sys._getframe(1)
        while frame is not None and frame.f_globals.get("__name__", "").startswith("rushlight."):
            frame = frame.f_back
        return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""


def _saved_by_graphs(results: Sequence[Tensor]) -> set[int]:
    """The tensors that the histories of results hold on to."""
    pending = [each._node for each in results if each._node is not None]
    seen, held = set(pending), set()
    while pending:
        node = pending.pop()
        held |= {id(each) for each in node.saved or ()}
        for edge in node.edges:
            if isinstance(edge, Node) and edge not in seen:
                seen.add(edge)
                pending.append(edge)
            elif isinstance(edge, Tensor):
                held.add(id(edge))
    return held


class recording:
    """Context manager: ops of this thread are noted by `recorder`."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def __enter__(self) -> Recorder:
        if state.mode & RECORDING:
            raise RecordingError(
                "a compiled function was called while another one is being recorded for the first time"
            )
        state.recorder = self.recorder
        state.mode |= RECORDING
        return self.recorder

    def __exit__(self, *_: object) -> None:
        state.mode &= ~RECORDING
        state.recorder = None
