"""A recorded program with everything around it: how one call of it runs, and what Python sees afterwards.

The program computes; this file hands it the arguments, refreshes the numbers that Python may change between
calls (learning rates), and afterwards counts versions, copies back what was changed, puts gradients in
their places and runs what had to wait (schedules). Invariant: after a call, everything the plain step would
have changed is as it would have left it.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from rushlight.compile.differentiable import Differentiable
from rushlight.compile.left import GivenLeaf, LeftGrad, LeftGrads, owner_of_grad
from rushlight.compile.program import ARGUMENT, MANY, SINGLE, STATE, TEMPORARY, Buffer, Program, Window
from rushlight.compile.record import Recorder, RecordingError
from rushlight.compile.replay import Replay
from rushlight.compile.results import Results
from rushlight.compile.stand_in import alike
from rushlight.storage import owner_of
from rushlight.tensor import Tensor


class Memory(Protocol):
    """Where the windows of a program lie."""

    def view(self, window: Window) -> np.ndarray:
        """A window as an ndarray on the program's own memory."""


class Executor(Protocol):
    """What runs a program: `replay.Replay`, or native code with the same interface.

    `run` copies the arguments in (one array for each of ``program.arguments``, in any layout), runs every
    call and returns a fresh array for each of ``program.results``. Afterwards `memory.view` shows the windows
    in ``program.kept`` (gradients, arguments that were changed); other temporaries may be gone.
    """

    @property
    def memory(self) -> Memory:
        """Where the windows of the program lie."""

    def run(self, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        """One run."""


def executor_for(program: Program, backend: str, live: Sequence[Buffer] = (), many: bool = False) -> Executor:
    """What runs a program: native code, first that for many steps in one call if `many`; or the recorded ops
    one by one where that is asked for or where LLVM is missing.
    """
    if backend != "replay":
        from rushlight.compile.native import Native

        try:
            return Native(program, program.kept, live, MANY if many and program.repeats else SINGLE)
        except ImportError as problem:
            warnings.warn(f"compiled steps run op by op: {problem}", RuntimeWarning, stacklevel=2)
    return Replay(program)


class Recording:
    """One recorded program, ready to be called.

    Args:
        recorder: of the run.
        results: what the run returned.
        backend: what is to run the program.
        half: its backward pass, where somebody may ask for that later.
        many: whether many steps are going to run in one call.

    `number` counts the recordings of a function, and `reason` is why the earlier ones did not fit.
    """

    number = 0
    reason = ""

    def __init__(
        self,
        recorder: Recorder,
        results: Results,
        backend: str,
        half: Differentiable | None = None,
        many: bool = False,
    ) -> None:
        self.program = recorder.program
        self.guards = recorder.guards
        self.live = recorder.live
        self.after = recorder.after
        self.results = results
        self.generators = list(recorder.generators.values())
        self.grad_arguments = [_leaf(recorder, each) for each in recorder.grad_arguments]
        self.written_roots = _roots_written(recorder)
        _name_parameters(recorder)
        buffers = [each for each in self.program.buffers if each.number in recorder.written]
        self._written = [each for each in buffers if each.kind == STATE]
        self.written_owners = {id(each.array) for each in self._written}
        given = self.program.arguments[: len(recorder.arguments)]
        self.written_arguments = [
            (place, look) for place, look in enumerate(given) if look.buffer.number in recorder.written
        ]
        self.written_grads = [
            (leaf, look)
            for leaf, look in zip(self.grad_arguments, self.program.arguments[len(given) :], strict=True)
            if look.buffer.number in recorder.written
        ]
        looks = enumerate(self.program.arguments)
        self._changed = {place for place, look in looks if look.buffer.number in recorder.written}
        self._captured = {id(each.array) for each in self.program.buffers if each.kind == STATE}
        self._fixed_grads = recorder.fixed_grads
        self._found_grads = _grads_to_find(recorder)
        self._alike: Callable[[tuple[Any, ...]], Any] | None = None
        self._grads = _grads_to_leave(recorder)
        kept = [look for _, look in (*self.written_arguments, *self.written_grads)]
        kept += [look for _, look in self._grads if isinstance(look, Window)]
        self.program.kept = kept
        self.program.results = list(results.windows)
        self.half = half
        self.program.repeats = self.is_self_contained
        self.program.verify()
        named = [each for each in self.program.buffers if each.array is not None and each.name]
        self._names = {id(each.array): each.name for each in named}
        for leaf, left in self._grads:
            if isinstance(left, Window):
                left.buffer.name = f"{self._name_of(leaf)}.grad"
        self.lock = threading.Lock()
        live = [buffer for buffer, _ in self.live]
        self.executor: Any = executor_for(self.program, backend, live, many)
        # Arguments are laid out as in the run that was recorded and need no copy; gradients may not be.
        self._runs_on = getattr(self.executor, "can_run_on", False) and not (
            self.grad_arguments or self.written_arguments
        )
        self.left = LeftGrads(
            [LeftGrad(leaf, left, self.executor) for leaf, left in self._grads if isinstance(left, Window)]
        )
        self._grads = [(leaf, left) for leaf, left in self._grads if not isinstance(left, Window)]
        written = self.written_roots or self.written_arguments or self.written_grads
        self._leaves = bool(written or self._grads or self.left.grads)
        self._looks_at_grads = bool(self._fixed_grads or self._found_grads)

    # -- whether it fits -------------------------------------------------------------------------------------

    def unfit(self, given: Sequence[Tensor]) -> str:
        """Why this recording cannot be used for a call now, or an empty text."""
        return self._grads_differ(given) or self.guards.broken()

    def learn(self, args: tuple[Any, ...], captures: bool) -> None:
        """Be quick, from now on, to see that this recording fits calls like the one with these arguments."""
        if not self.written_arguments:
            self._alike = alike(args, self.written_owners, captures)

    def quick(self, args: tuple[Any, ...]) -> list[Tensor] | None:
        """The tensors of a call that certainly can be run; None where one must look closer."""
        given = self._alike and self._alike(args)
        if not given or not self.guards.holds() or (self._looks_at_grads and self._grads_differ(given)):
            return None
        if self.grad_arguments and self.shares_written(given):
            return None
        return given

    def _grads_differ(self, given: Sequence[Tensor]) -> str:
        """What is wrong with the gradients that the step looks at."""
        for leaf, fixed in self._fixed_grads:
            if leaf._grad is not fixed:
                return "a gradient was replaced"
        for leaf, shape in self._found_grads:
            grad = owner_of_grad(leaf, given)._grad
            if (None if grad is None else (grad._array.shape, grad._array.dtype)) != shape:
                return "a gradient is there that was not, or the other way round"
        return ""

    def shares_written(self, given: Sequence[Tensor]) -> bool:
        """Whether something that the program changes shares memory with an argument, which it cannot know.
        Gradients that it finds are arguments, too.
        """
        if not self.written_owners and not self._changed:
            return False
        arrays = self.argument_arrays(given)
        owners = [id(each if each.base is None else owner_of(each)) for each in arrays]
        if not self.written_owners.isdisjoint(owners):
            return True
        if not self._changed or (len({*owners}) == len(owners) and self._captured.isdisjoint(owners)):
            return False
        changed = [owners[place] for place in self._changed]
        others = {owner for place, owner in enumerate(owners) if place not in self._changed}
        return len({*changed}) < len(changed) or not (others | self._captured).isdisjoint(changed)

    # -- one call --------------------------------------------------------------------------------------------

    def run(self, given: Sequence[Tensor], advance: bool = True) -> Any:
        """One call with these tensors; `advance` runs what had to wait for its end."""
        with self.lock:
            if self.live:
                self.refresh()
            arrays = [each._array for each in given]
            if self.grad_arguments:
                arrays = self.argument_arrays(given)
            missing = self.left.missing(given) if self.left.grads else ()
            made = self.executor.run_on(arrays) if self._runs_on else self.executor.run(arrays)
            if self._leaves:
                self.leave(given, missing)
        if self.half is None:
            value = self.results.value(made, given)
        else:
            tensors = self.results.build(made, given)
            self.half.attach(tensors, made, given)
            value = self.results.shape_of_value(tensors)
        if advance and self.after:
            self.advance()
        return value

    def argument_arrays(self, given: Sequence[Tensor]) -> list[np.ndarray]:
        """What the program takes: the tensors of the call, and gradients that it finds."""
        tensors: Sequence[Any] = given  # whose gradients are there, as `unfit` has made sure
        # what `owner_of_grad` says, written out: this is asked twice for every call
        grads = [
            (tensors[leaf.place] if type(leaf) is GivenLeaf else leaf)._grad._array
            for leaf in self.grad_arguments
        ]
        return [each._array for each in given] + grads

    def changed_arrays(self, given: Sequence[Tensor]) -> list[tuple[str, np.ndarray]]:
        """The memory that the program changes, other than gradients, with names."""
        found = [(each.name or repr(each), each.array) for each in self._written if each.array is not None]
        return found + [(repr(look.buffer), given[place]._array) for place, look in self.written_arguments]

    def leaves_with_grads(self) -> list[tuple[str, Any]]:
        """The leaves whose .grad the program changes, with names."""
        leaves = [leaf for leaf, _ in (*self._grads, *self.written_grads)]
        leaves += [left.leaf for left in self.left.grads]
        return [(self._name_of(leaf), leaf) for leaf in leaves]

    def _name_of(self, leaf: Any) -> str:
        if isinstance(leaf, GivenLeaf):
            return f"argument {leaf.place}"
        return self._names.get(id(owner_of(leaf._array)), "a leaf")

    def refresh(self) -> None:
        """Read anew the numbers that Python may have changed."""
        for buffer, read in self.live:
            assert buffer.array is not None
            buffer.array[...] = read()

    @property
    def is_self_contained(self) -> bool:
        """Whether a run concerns Python in nothing but what it returns and the gradients it leaves."""
        return not (
            self.half is not None
            or self.grad_arguments
            or self.written_arguments
            or not self.results.is_plain
        )

    def leave(self, given: Sequence[Tensor], missing: Sequence[LeftGrad], runs: int = 1) -> None:
        """After the program ran: versions, changed arguments and gradients as the plain step leaves them.

        `missing` is what `left.missing` returned before the run.
        """
        for root in self.written_roots:
            root._version_count += runs
        for place, look in self.written_arguments:
            np.copyto(given[place]._array, self.executor.memory.view(look))
            given[place]._bump_version()
        for leaf, look in self.written_grads:
            grad = owner_of_grad(leaf, given)._grad
            assert grad is not None
            np.copyto(grad._array, self.executor.memory.view(look))
            grad._bump_version()
        for leaf, kept in self._grads:
            assert not isinstance(kept, Window)
            owner_of_grad(leaf, given)._grad = kept
        for left in missing:
            left.put(given)

    def advance(self) -> None:
        """Run what had to wait for the end of the step: schedules."""
        for effect in self.after:
            effect()


def _name_parameters(recorder: Recorder) -> None:
    """Give the captured memory of modules and optimizers the names it has there."""
    names: dict[int, str] = {}
    for module in recorder.modules.values():
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            key = id(owner_of(tensor._array))
            if len(name) > len(names.get(key, "")):
                names[key] = name
    for optimizer in recorder.optimizers.values():
        for parameter, entries in optimizer.state.items():
            of = names.get(id(owner_of(parameter._array)), "") if isinstance(parameter, Tensor) else ""
            for key, value in entries.items() if isinstance(entries, dict) and of else ():
                if isinstance(value, Tensor):
                    names[id(owner_of(value._array))] = f"{of}.{key}"
    for buffer in recorder.program.buffers:
        if buffer.kind == STATE and not buffer.name:
            buffer.name = names.get(id(buffer.array), "")


def _roots_written(recorder: Recorder) -> list[Tensor]:
    """The captured tensors whose memory the program writes: their versions count on."""
    found: dict[int, Tensor] = {}
    for tensor in recorder.states.values():
        if recorder.window(tensor).buffer.number in recorder.written:
            root = tensor if tensor._root is None else tensor._root
            found[id(root)] = root
    return list(found.values())


def _leaf(recorder: Recorder, tensor: Tensor) -> Any:
    """A leaf as later calls know it: itself, or the place of the argument it stands in for."""
    for place, each in enumerate(recorder.arguments):
        if each is tensor:
            return GivenLeaf(place)
    return tensor


def _grads_to_find(recorder: Recorder) -> list[tuple[Any, Any]]:
    """Of leaves whose .grad the step looks at: what must be there, None or a shape and type."""
    return [
        (_leaf(recorder, leaf), None if grad is None else (grad._array.shape, grad._array.dtype))
        for leaf, grad in recorder.found_grads
    ]


def _grads_to_leave(recorder: Recorder) -> list[tuple[Any, Window | Tensor | None]]:
    """What .grad of each leaf is after the step: a temporary's window, a captured tensor, or None."""
    before = {id(leaf): grad for leaf, grad in recorder.found_grads}
    left: list[tuple[Any, Window | Tensor | None]] = []
    for leaf in recorder.touched_grads.values():
        grad = leaf._grad
        if grad is not None and grad is before.get(id(leaf)):
            continue
        if grad is None:
            left.append((_leaf(recorder, leaf), None))
            continue
        look = recorder.window(grad)
        if look.buffer.kind == ARGUMENT:
            raise RecordingError(
                "an argument, or a view of one, becomes .grad in a compiled step: clone() it"
            )
        left.append((_leaf(recorder, leaf), look if look.buffer.kind == TEMPORARY else grad))
    return left
