"""Recording: one real run of a step, noted call by call.

While a recorder is in place, `apply` tells it of every op. Operands are noted as windows on the buffers
that own their memory, so views need no calls of their own and an in-place op is a write. Reading a value in
Python (``.item()``, ``print``) would freeze it into the recording, so that raises, unless it is a captured
value that can be guarded. Invariant: the arrays seen are kept alive while recording, so no address is used
twice.
"""

from __future__ import annotations

import functools
import sys
import types
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rushlight.autograd.mode import RECORDING, no_grad, state
from rushlight.autograd.node import Node
from rushlight.compile.names import names_in
from rushlight.compile.program import ARGUMENT, STATE, TEMPORARY, Buffer, Call, Operand, Program, Window, look
from rushlight.compile.surroundings import Surroundings
from rushlight.ops.convert import FEW
from rushlight.ops.define import Op
from rushlight.storage import address, owner_of, storage_of
from rushlight.tensor import Tensor, new_tensor


class RecordingError(RuntimeError):
    """Something in the step cannot be part of a compiled program."""


@functools.cache
def _shaped_by_values() -> dict[Op, str]:
    """The ops whose result has a shape that depends on values, and what to use instead."""
    from rushlight.ops import arrange, masks, picking

    select = "use torch.where(mask, x, 0), or multiply by the mask"
    return {
        picking.INDEX_MASK: select,
        masks.MASKED_SELECT: select,
        masks.NONZERO: "keep the mask instead of the places",
        picking.NONZERO_TUPLE: "keep the mask instead of the places",
        arrange.REPEAT_NUMBERS: "make the repeated indices outside of the step",
    }


class Recorder:
    """Collects the calls of one run into a `Program`.

    Args:
        name: the step's name.
        arguments: the tensors the step runs on: stand-ins with memory of their own.
        given: the tensors that were handed to the step, one for each stand-in.
        surroundings: those of the step's code, of which more is seen on the way; its guards get what the
            recording takes for granted.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[Tensor],
        given: Sequence[Tensor],
        surroundings: Surroundings,
    ) -> None:
        self.program = Program(name)
        self.guards = surroundings.guards
        surroundings.is_made = self.is_made
        self.surroundings = surroundings
        self._buffers: dict[int, Buffer] = {}
        self._states: list[Buffer] = []
        self._kept: list[np.ndarray] = []
        self.arguments = arguments
        self._before = [(each._array, each._requires_grad) for each in arguments]
        self.given = given
        self.states: dict[int, Tensor] = {}
        self.modules: dict[int, Any] = {}
        self.optimizers: dict[int, Any] = {}
        # modules that are put into a mode, and captured tensors that are told whether they require grad: the
        # attribute, and what it was
        self.switched: list[tuple[Any, str, bool]] = []
        self.generators: dict[int, Any] = {}
        self.live: list[tuple[Buffer, Callable[[], Any]]] = []
        self.after: list[Callable[[], Any]] = []
        self.written: dict[int, str] = {}
        self.roots: list[Any] = []
        self.first_node = Node(None, None, None).sequence
        # Leaves whose .grad the step looked at or set; of those looked at first: the gradient found there.
        self.touched_grads: dict[int, Tensor] = {}
        self.found_grads: list[tuple[Tensor, Tensor | None]] = []
        self.grad_arguments: list[Any] = []
        self.fixed_grads: list[tuple[Tensor, Tensor]] = []
        self._live_numbers: dict[Any, Tensor] = {}
        self._scheduled: dict[int, str] = {}
        self._own_memory: dict[int, tuple[Tensor, np.ndarray]] = {}  # of tensors whose .data was assigned
        self._read: list[tuple[Tensor, str]] = []
        self._made: list[tuple[weakref.ref[Tensor], str]] = []
        for place, tensor in enumerate(arguments):
            self.program.arguments.append(self.argument(tensor, f"argument{place}"))

    # -- being told ------------------------------------------------------------------------------------------

    def note(self, op: Op, inputs: Sequence[Any], params: dict[str, Any], outputs: Any) -> None:
        """`apply` ran an op."""
        made = outputs if isinstance(outputs, tuple) else (outputs,)
        if self._is_window_only(op, inputs, made):
            return
        if op in _shaped_by_values():
            raise RecordingError(
                f"{op.name}: the shape of the result depends on values, and a compiled step has fixed "
                f"shapes. {where()}\nEither {_shaped_by_values()[op]}, or do this outside the compiled "
                "function."
            )
        operands = tuple(self._operand(each) for each in inputs)
        for each in made:
            self._known(each._array, TEMPORARY, "")
            self._made.append((weakref.ref(each), where()))
        self._add(op, operands, params, tuple(self.window(each) for each in made))

    def note_inplace(self, op: Op, inputs: Sequence[Any], params: dict[str, Any], target: Tensor) -> None:
        """`apply_inplace` ran an op whose result went into `target`."""
        written = self.window(target)
        operands = (written, *(self._operand(each) for each in inputs[1:]))
        self._add(op, operands, params, (written,))
        if written.buffer.kind != TEMPORARY and written.buffer.number not in self.written:
            self.written[written.buffer.number] = where()
            self._refuse_shared_writes(written.buffer)

    def note_module(self, module: Any) -> None:
        """A module's forward is about to run."""
        if id(module) not in self.modules:
            self.modules[id(module)] = module
            self.guards.watch_module(module)
            self.surroundings.forward(module)

    def note_walked(self, module: Any) -> None:
        """The step goes through what a module has: modules, parameters, buffers. No function need begin with
        what it meets in a loop, so the code that goes on the way counts.
        """
        self.guards.watch_members(module)
        frame = _users_frame()
        if frame is not None:
            self.surroundings.walked(module, names_in(frame.f_code))

    def note_training(self, module: Any) -> None:
        """A module is about to be put into training or evaluation mode: what it was before does not matter
        where nothing has asked for that yet.
        """
        if self.guards.leave_out(vars(module), "training"):
            self.switched.append((module, "training", module.training))

    def note_asked(self, tensor: Tensor) -> None:
        """The step asks whether a tensor requires grad."""
        for each in (tensor, tensor._base):
            if each is not None and not self.is_made(each):
                self.guards.watch_of_tensor(each, "_requires_grad")

    def note_requires_grad(self, tensor: Tensor) -> None:
        """A tensor is about to be told whether it requires grad; see `note_training`."""
        if not self.is_made(tensor) and self.guards.leave_out_of_tensor(tensor, "_requires_grad"):
            self.switched.append((tensor, "_requires_grad", tensor._requires_grad))

    def note_optimizer(self, optimizer: Any) -> None:
        """An optimizer's step is about to run."""
        if id(optimizer) in self._scheduled:
            raise RecordingError(
                "optimizer.step() after scheduler.step() in a compiled step: schedules advance when the "
                f"step has ended, so call the schedule last. {self._scheduled[id(optimizer)]}"
            )
        if id(optimizer) not in self.optimizers:
            self.optimizers[id(optimizer)] = optimizer
            self.guards.watch_optimizer(optimizer)
            hooks = optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks
            self.surroundings.hooks(*hooks)

    def note_backward(self, roots: list[Any]) -> None:
        """A backward pass that frees the graph begins at these nodes and leaves."""
        self.roots += roots

    def note_grad(self, leaf: Tensor) -> None:
        """The step looks at ``leaf.grad``: what it finds there is an argument, or the lack of one guarded."""
        if id(leaf) in self.touched_grads or self._is_temporary(leaf):
            return
        self.touched_grads[id(leaf)] = leaf
        self.window(leaf)
        grad = leaf._grad
        self.found_grads.append((leaf, grad))
        if grad is None:
            return
        if owner_of(grad._array) is grad._array and id(grad._array) not in self._buffers:
            self.program.arguments.append(self.argument(grad, "grad"))
            self.grad_arguments.append(leaf)
        else:
            self.fixed_grads.append((leaf, grad))

    def note_grad_set(self, leaf: Tensor) -> None:
        """The step sets ``leaf.grad`` without having looked at it."""
        if not self._is_temporary(leaf):
            self.window(leaf)
            self.touched_grads.setdefault(id(leaf), leaf)

    def note_data(self, tensor: Tensor, value: Tensor) -> None:
        """The step is about to assign ``tensor.data``. A captured tensor then has the memory of a temporary
        until the step ends, when it gets its own back, with what stands in the other; see `finish`.
        """
        if value._array is tensor._array or self._is_temporary(tensor):
            return
        self.window(tensor)
        if not self._is_temporary(value) or value.shape != tensor.shape or value.dtype is not tensor.dtype:
            raise RecordingError(
                f"the step {self.program.name} gives a tensor other memory (.data =), which a compiled step "
                f"can only do with what it made itself, of the same shape and type: use copy_(). {where()}"
            )
        self._own_memory[id(tensor)] = tensor, tensor._array

    def live_setting(self, group: dict[str, Any], name: str) -> Any:
        """An optimizer's setting as 0-d tensors that are read anew at every call; zero, which switches a term
        off, stays a number and is guarded.
        """
        value = group[name]
        if isinstance(value, Tensor):
            return value.squeeze() if value.dim() else value
        if value == 0 and name != "lr":
            return value
        self.guards.set_live(group, name)
        if isinstance(value, tuple):
            return tuple(self._live_part(group, name, place) for place in range(len(value)))
        return self.live_number((id(group), name), lambda: group[name], np.dtype(np.float64))

    def _live_part(self, group: dict[str, Any], name: str, place: int) -> Any:
        value = group[name][place]
        if isinstance(value, Tensor) or value == 0:
            return value
        return self.live_number((id(group), name, place), lambda: group[name][place], np.dtype(np.float64))

    def live_number(self, key: Any, read: Callable[[], float], dtype: np.dtype) -> Tensor:
        """A 0-d tensor that holds ``read()`` anew at every call of the program: a learning rate, say."""
        known = self._live_numbers.get(key)
        if known is None:
            known = self._live_numbers[key] = new_tensor(np.asarray(read(), dtype=dtype))
            self.live.append((self._known(known._array, STATE, str(key[1])), read))
        return known

    def run_after(self, effect: Callable[[], Any], optimizer: Any = None) -> None:
        """Something Python must do after every call of the program, such as stepping a schedule."""
        self.after.append(effect)
        if optimizer is not None:
            self._scheduled[id(optimizer)] = where()

    def refuse_read(self, tensor: Tensor, what: str) -> None:
        """Python is about to read a value: an error for what the step computes or is given; a small tensor
        from before the step is guarded.
        """
        buffer = self._buffers.get(id(owner_of(tensor._array)))
        known = buffer is None or buffer.kind == STATE
        if known and tensor._array.size <= FEW:
            self.guards.watch_read(tensor)
            self._read.append((tensor, where()))
            return
        raise RecordingError(
            f"{what} inside a compiled step: the value would be frozen into the program. {where()}\n"
            "Return the tensor from the step and read it outside, or call this part outside the compiled "
            "function."
        )

    def refuse_stream(self, what: str) -> None:
        """The step is about to set a stream of random numbers, or to ask where it stands."""
        raise RecordingError(
            f"{what} inside a compiled step: a program goes on in the stream of random numbers, and would "
            f"not do this again. {where()}\nDo it outside the compiled function."
        )

    def array(self, window: Window) -> np.ndarray:
        """What a window shows in the run that was recorded."""
        return look(storage_of(self._kept[window.buffer.number]), window)

    # -- looking back ----------------------------------------------------------------------------------------

    def finish(self) -> None:
        """What can only be seen, or done, when the run is over."""
        for tensor, own in self._own_memory.values():
            assigned = new_tensor(tensor._array)
            tensor._array = own
            with no_grad():
                tensor.copy_(assigned)
        for tensor, (array, requires_grad) in zip(self.arguments, self._before, strict=True):
            if tensor._array is not array:
                raise RecordingError(
                    f"the step {self.program.name} gives an argument another shape or memory in place: a "
                    "compiled step cannot. Use the operation that returns a new tensor."
                )
            if tensor._fresh_node() is not None or tensor._requires_grad is not requires_grad:
                raise RecordingError(
                    f"the step {self.program.name} makes an argument part of a graph in place, which a "
                    "compiled step cannot: begin with x = x.clone(), or x.detach() before requires_grad_()."
                )
        for tensor, place in self._read:
            buffer = self._buffers.get(id(owner_of(tensor._array)))
            if buffer is not None and buffer.number in self.written:
                raise RecordingError(
                    "a value is read in Python that the compiled step itself changes: it would be frozen "
                    f"into the program. {place}"
                )
        self._finish_modes()
        self.guards.seal(self._buffers.keys())

    def _finish_modes(self) -> None:
        """See to it that modules are in the mode afterwards in which the step leaves them, and that tensors
        require grad as it leaves them. Most of them were and did so before, which is then relied on, for
        calls that have nothing to do afterwards are faster.
        """
        changed = []
        for owner, attribute, before in self.switched:
            now = getattr(owner, attribute)
            if now is not before:
                changed.append((owner, attribute, now))
            elif isinstance(owner, Tensor):
                self.guards.watch_again_of_tensor(owner, attribute)
            else:
                self.guards.watch_again(vars(owner), attribute)

        def put() -> None:
            for owner, attribute, value in changed:
                object.__setattr__(owner, attribute, value)  # a module's own does much else

        if changed:
            self.run_after(put)

    def kept_tensors(self) -> list[str]:
        """Where tensors were made that Python still holds after the step, other than gradients and the state
        of optimizers. Running the program again would not renew them: a loss put in a list, say.
        """
        accounted = {id(each._grad) for each in self.touched_grads.values()}
        for optimizer in self.optimizers.values():
            for entries in optimizer.state.values():
                if isinstance(entries, dict):
                    accounted |= {id(each) for each in entries.values()}
        alive = ((reference(), place) for reference, place in self._made)
        return [place for made, place in alive if made is not None and id(made) not in accounted]

    def made_state(self) -> bool:
        """Whether an optimizer made its state in this run: the next run is the one to keep."""
        made = {id(tensor) for reference, _ in self._made if (tensor := reference()) is not None}
        return any(
            id(each) in made
            for optimizer in self.optimizers.values()
            for entries in optimizer.state.values()
            if isinstance(entries, dict)
            for each in entries.values()
        )

    def argument(self, tensor: Tensor, name: str) -> Window:
        """Enter a tensor whose values differ from call to call."""
        self._known(tensor._array, ARGUMENT, name)
        return self.window(tensor)

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
            if kind == STATE:
                self._states.append(found)
                if self.written:
                    self._refuse_shared_writes(found)
        return found

    def window(self, tensor: Tensor) -> Window:
        """Where a tensor lies."""
        array = tensor._array
        buffer = self._known(array, STATE, "")
        if buffer.kind == STATE and id(tensor) not in self.states:
            self.states[id(tensor)] = tensor
            self.guards.watch_tensor(tensor)
            if tensor._hooks is not None:
                self.surroundings.hooks(tensor._hooks.tensor, tensor._hooks.accumulated)
        if array.dtype != buffer.dtype:
            raise RecordingError(
                f"a view of another type ({array.dtype} of {buffer.dtype}) cannot be compiled. {where()}"
            )
        size = array.itemsize
        offset = (address(array) - address(owner_of(array))) // size if array.size else 0
        return Window(buffer, offset, array.shape, tuple(stride // size for stride in array.strides))

    def _operand(self, value: Any) -> Operand:
        if isinstance(value, Tensor):
            return self.window(value)
        return value.item() if isinstance(value, np.generic) else value

    def _is_temporary(self, tensor: Tensor) -> bool:
        buffer = self._buffers.get(id(owner_of(tensor._array)))
        return buffer is not None and buffer.kind == TEMPORARY

    def is_made(self, tensor: Tensor) -> bool:
        """Whether the step made a tensor, or was given it."""
        buffer = self._buffers.get(id(owner_of(tensor._array)))
        return buffer is not None and buffer.kind != STATE

    def _is_window_only(self, op: Op, inputs: Sequence[Any], made: Sequence[Tensor]) -> bool:
        """Whether the op only looked at memory that is already known."""
        if op.kind != "view" or not inputs or not isinstance(inputs[0], Tensor):
            return False
        source = id(owner_of(inputs[0]._array))
        self.window(inputs[0])
        return all(id(owner_of(each._array)) == source for each in made)

    def _refuse_shared_writes(self, new: Buffer) -> None:
        """A program has its own memory for its arguments, so what is written must not be shared with them.

        `new` is a buffer that is new, or that has not been written before: the others are known to be apart.
        """
        given = [(each._array, self.program.arguments[place].buffer) for place, each in enumerate(self.given)]
        for array, buffer in given:
            others: list[tuple[Any, Buffer]] = [(new.array, new)]
            if buffer is new:
                others = [each for each in given if each[1] is not buffer]
                others += [(each.array, each) for each in self._states]
            for other_array, other in others:
                place = self.written.get(buffer.number) or self.written.get(other.number)
                if place and other_array is not None and np.may_share_memory(array, other_array):
                    raise RecordingError(
                        f"the step changes {buffer!r} or {other!r} in place, and they share memory: that "
                        f"cannot be compiled. {place}\nPass a clone()."
                    )

    def _add(
        self, op: Op, inputs: tuple[Operand, ...], params: dict[str, Any], outputs: tuple[Window, ...]
    ) -> None:
        if "generator" in params:
            self.generators[id(params["generator"])] = params["generator"]
        self.program.calls.append(Call(op, inputs, params, outputs, where()))


def where() -> str:
    """The line of the user's code that led here."""
    frame = _users_frame()
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""


def _users_frame() -> types.FrameType | None:
    """What runs of the user's code and led here."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None and _is_inner(frame.f_globals.get("__name__") or ""):
        frame = frame.f_back
    return frame


def _is_inner(module: str) -> bool:
    """Whether the code of a Python module is this library's, or Python's own."""
    top, dot, _ = module.partition(".")
    return bool(dot) if top == "rushlight" else top in sys.stdlib_module_names


class recording:
    """Context manager: ops of this thread are noted by `recorder`."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def __enter__(self) -> Recorder:
        state.recorder = self.recorder
        state.mode |= RECORDING
        return self.recorder

    def __exit__(self, *_: object) -> None:
        state.mode &= ~RECORDING
        state.recorder = None
