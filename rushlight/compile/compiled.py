"""`compile`: a function whose first call is recorded and whose later calls run as one program.

This file is the front: which recording fits a call, and when to record anew. Invariant: a call either does
exactly what the plain function would have done, or raises naming the line that cannot be compiled.
"""

from __future__ import annotations

import copy
import functools
import gc
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.mode import NODES_NOTED, RECORDING, state
from rushlight.compile.differentiable import Differentiable, differentiable_results
from rushlight.compile.frames import seen_running
from rushlight.compile.guards import Guards
from rushlight.compile.record import Recorder, RecordingError, recording
from rushlight.compile.recording import Recording, executor_for
from rushlight.compile.results import Results
from rushlight.compile.stand_in import changed_container, difference, hooked, replaced, signature, stand_in
from rushlight.compile.surroundings import Surroundings
from rushlight.nn.parameter import Parameter
from rushlight.tensor import Tensor

if TYPE_CHECKING:
    from rushlight.compile.explain import Explanation

# So many recordings a function may have, all in all and for arguments of the same shapes.
LIMIT, LIMIT_ALIKE = 32, 8

# With more than so many times the parameters of a call, calls get other parameters every time.
MOST_OWN = 2


class CompiledFunction:
    """A compiled step; made by `compile`.

    Calls with new shapes, types or plain arguments, and calls after something the recording relied on has
    changed, are recorded anew. A copy has no recordings yet; its function is the same, or for a method or a
    module that of the copy.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        backend: str = "inductor",
        limit: int = LIMIT,
        check: int = 0,
    ) -> None:
        functools.update_wrapper(self, function, updated=())
        for attribute, value in getattr(function, "__dict__", {}).items():
            if not hasattr(type(self), attribute):  # a function's own `keep` or `code` hides no method here
                setattr(self, attribute, value)
        self._made_of = function, name, backend, limit, check
        self.function = function
        self.name = name
        self.backend = backend
        self.limit = limit
        self.check = check
        self.recordings: dict[Any, list[Recording]] = {}
        self._last: Recording | None = None  # what ran last, which is asked first
        self._refused: dict[Any, str] = {}
        self.captures = True  # parameters among the arguments, which the step may reach by itself, too
        self._parameters: dict[int, Parameter] = {}
        self.runs_many = False  # at a time: a new program is compiled for that first
        self.made = 0  # recordings, those that others have pushed out since among them
        self.unfinished = 0  # runs that made state of an optimizer, so that the next was to be recorded
        self.chunk = 1  # how many steps of `over` take about as long as it may run without a word
        self._warned = False
        self._lock = threading.RLock()

    def __getstate__(self) -> tuple[Any, ...]:
        return self._made_of

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def __reduce_ex__(self, protocol: Any) -> Any:
        """By its name where it has taken the place of its function there, as a decorator does."""
        found: Any = sys.modules.get(self.__module__)
        name: str = getattr(self, "__qualname__", "")
        for part in name.split("."):
            found = getattr(found, part, None)
        return name if found is self else super().__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledFunction:
        made = memo[id(self)] = type(self).__new__(type(self))
        made.__setstate__(copy.deepcopy(self._made_of, memo))
        return made

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.call(args, kwargs)

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call; what has the arguments packed already need not unpack them."""
        last = self._last
        if last is not None and not kwargs:
            given = last.quick(args)
            if given:
                return last.run(given)
        return self._call(args, kwargs)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call for which a recording must be looked for, or made."""
        if state.mode & (RECORDING | NODES_NOTED):
            return self.function(*args, **kwargs)
        key, tensors, parameters = signature(args, kwargs, self.captures)
        if hooked(tensors):
            return self.function(*args, **kwargs)
        reason = ""
        for each in self.recordings.get(key, ()):
            unfit = each.unfit(tensors)
            if not unfit:
                if each.shares_written(tensors):
                    return self.function(*args, **kwargs)
                if self.check:
                    return self._checked(each, tensors, args, kwargs)
                self._last = each
                return each.run(tensors)
            reason = reason or unfit
        with self._lock:
            if parameters and not self._are_its_own(parameters):
                self.captures = False
                self._parameters.clear()
                return self._call(args, kwargs)
            if self._is_full(reason):
                return self.function(*args, **kwargs)
            return _Attempt(self, key, tensors, [*args, *kwargs.values()], reason).run(args, kwargs)

    def _are_its_own(self, parameters: list[Parameter]) -> bool:
        """Whether parameters among the arguments are those of the step, and not others at every call."""
        self._parameters.update((id(each), each) for each in parameters)
        return len(self._parameters) <= MOST_OWN * len({id(each) for each in parameters})

    def _checked(
        self, made: Recording, given: list[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        from rushlight.compile.checking import checked

        self.check -= 1
        return checked(self.function, made, given, args, kwargs)

    def is_recorded(self, *args: Any, **kwargs: Any) -> bool:
        """Whether a call with these arguments would run a program, and not be recorded first."""
        return self.recording_for(*args, **kwargs) is not None

    def recording_for(self, *args: Any, **kwargs: Any) -> Recording | None:
        """The recording that a call with these arguments would run now, if there is one."""
        if state.mode & (RECORDING | NODES_NOTED):
            return None
        key, tensors, _ = signature(args, kwargs, self.captures)
        if hooked(tensors):
            return None
        for each in self.recordings.get(key, ()):
            if not each.unfit(tensors):
                return None if each.shares_written(tensors) else each
        return None

    def over(self, loader: Iterable[Any], *, scheduler: Any = None, progress: Any = None) -> Any:
        """Run the step on every batch of a loader: ``step(*batch)`` for a tuple or list, ``step(**batch)``
        for a dictionary, ``step(batch)`` for anything else.

        Data in memory (a `TensorDataset`, or `Subset` of one, in a `DataLoader` without workers) is picked by
        rows and run in chunks of about a fifth of a second. Batches, their order and all random draws are
        those of an ordinary loop. Ctrl-C takes effect between two steps.

        Args:
            loader: anything iterable.
            scheduler: its ``step()`` is called after each step.
            progress: called as ``progress(done, total)`` after each chunk; ``total`` is None where the loader
                has no length.

        Returns:
            What the steps returned, stacked along a new first dimension; for losses one tensor of shape
            ``(steps,)``. Results whose shapes differ between steps are a list.

        >>> import rushlight as torch
        >>> from rushlight.utils.data import DataLoader, TensorDataset
        >>> @torch.compile
        ... def step(x):
        ...     return x.sum()
        >>> step.over(DataLoader(TensorDataset(torch.arange(5)), batch_size=2))
        tensor([1, 5, 4])
        """
        from rushlight.compile.over import epoch

        return epoch(self, loader, scheduler, progress)

    def code(self, *args: Any, **kwargs: Any) -> str:
        """A program as readable C: one function for every group of loops, and ``step`` that calls them.

        Args:
            args, kwargs: of the call whose program is meant; without any, the program recorded last.

        Returns:
            C99 that compiles by itself. Names and shapes of tensors are in comments; ops that have no native
            code are left out, with a comment where NumPy carries them out.

        Raises:
            RuntimeError: there is no such program yet.
            NotImplementedError: the program does not run as native code (``backend="replay"``).

        >>> import rushlight as torch
        >>> double = torch.compile(lambda x: x * 2, name="double")
        >>> y = double(torch.ones(3))
        >>> print(double.code().split("*/")[2].split("int step")[0].strip())
        static void g1_mul(const float *argument0, float *mul_1)
        {
            for (int64_t i = 0; i < 3; i++) {
                mul_1[i] = argument0[i] * 2.0f;
            }
        }
        """
        from rushlight.compile.c_text import c_text, programs_of

        made = self.recording_for(*args, **kwargs) if args or kwargs else self.latest()
        return c_text(programs_of(self._need(made)), self.name).text

    def explain(self, *, measure: bool = False) -> Explanation:
        """What became of the function: why each program was recorded, its groups of loops, its memory.

        Args:
            measure: also time every group, on copies of the memory, and tell its share of the machine's
                measured peak; takes some seconds.

        Returns:
            An `Explanation`, to be printed.

        Raises:
            RuntimeError: there is no program yet.

        >>> import rushlight as torch
        >>> norm = torch.compile(lambda x: (x * x).sum(), name="norm")
        >>> y = norm(torch.ones(3, 4))
        >>> (program,) = norm.explain().programs
        >>> [(each.ops, each.loops, each.operations, each.bytes) for each in program.groups]
        [(['mul', 'sum'], (3, 4), 24, 52)]
        """
        from rushlight.compile.explain import explained

        self._need(self.latest())
        return explained(self.name, sorted(self.all_recordings(), key=lambda each: each.number), measure)

    def _need(self, made: Recording | None) -> Recording:
        if made is None:
            raise RuntimeError(
                f"{self!r} has no program for this call: call it first, twice where the first call makes an "
                "optimizer's state"
            )
        return made

    def latest(self) -> Recording | None:
        """The recording made last, if there is one."""
        return max(self.all_recordings(), key=lambda each: each.number, default=None)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method: bound to its instance."""
        return self if instance is None else functools.partial(self, instance)

    def all_recordings(self) -> Iterator[Recording]:
        """Every recording there is."""
        for alike in self.recordings.values():
            yield from alike

    def _is_full(self, reason: str) -> bool:
        """Whether there are so many recordings that one more cannot be worth it; says so once."""
        if max(self.made, self.unfinished) < self.limit:
            return False
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"{self.name} has been recorded {self.limit} times, and runs uncompiled where none of the "
                f"recordings fits. The last call did not fit because "
                f"{reason or self._why_unseen()}. Pass what "
                "changes at every call as a tensor.",
                stacklevel=3,
            )
        return True

    def _why_unseen(self) -> str:
        """Why there was no recording at all for a call."""
        if self.unfinished >= self.limit:
            return "it makes state of an optimizer at every call: make the optimizer once, outside"
        return "its arguments have shapes, types or plain values not seen before"

    def keep(self, key: Any, made: Recording, reason: str) -> None:
        """Enter a recording, the newest first; `reason` is why the others did not fit."""
        last = self.latest()
        self.made += 1
        if last is None:
            made.number, made.reason = 1, "there was no program yet"
        else:
            made.number = last.number + 1
            known = next(each for each, alike in self.recordings.items() if last in alike)
            made.reason = reason or difference(known, key)
        self._refused.pop(key, None)
        self.recordings[key] = [made, *self.recordings.get(key, [])[: LIMIT_ALIKE - 1]]

    def expect(self, key: Any, reason: str) -> None:
        """A run made state of an optimizer: the next could be kept, and must be if this had another fault."""
        if reason:
            self._refused[key] = reason

    def refuse(self, key: Any, reason: str) -> None:
        """A run could not be kept: the first time that may be because it made what later runs find there."""
        if key in self._refused:
            raise RecordingError(reason)
        self._refused[key] = reason

    def __repr__(self) -> str:
        return f"<compiled {self.name}, {sum(1 for _ in self.all_recordings())} recorded>"


class _Attempt:
    """One run of the plain function, noted as a recording."""

    def __init__(
        self,
        compiled: CompiledFunction,
        key: Any,
        given: list[Tensor],
        arguments: list[Any],
        unfit: str,
    ) -> None:
        self.compiled = compiled
        self.key = key
        self.unfit = unfit
        self.given = given
        self.guards = Guards()
        self.surroundings = Surroundings(self.guards)
        self.surroundings.step(compiled.function, arguments)
        stand_ins = [stand_in(each) for each in given]
        self.recorder = Recorder(compiled.name, stand_ins, given, self.surroundings)

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of the call."""
        recorder = self.recorder
        try:
            with recording(recorder), seen_running(recorder):
                results, half = self._noted(args, kwargs)
        except BaseException:
            self._hand_back()
            for effect in recorder.after:
                effect()
            raise
        made = self._recording(results, half)
        if not kwargs:
            made.learn(args, self.compiled.captures)
        arrays = [recorder.array(each) for each in results.windows]
        self._hand_back()
        tensors = results.build(arrays, self.given)
        if half is not None:
            half.executor = executor_for(half.program, self.compiled.backend)
            half.attach(tensors, arrays, self.given)
        value = results.shape_of_value(tensors)
        reason = self._why_not()
        if recorder.made_state():  # as a run does after each time that state is forgotten
            self.compiled.unfinished += 1
            self.compiled.expect(self.key, reason)
        elif reason:
            self.compiled.refuse(self.key, reason)
        else:
            self.compiled.keep(self.key, made, self.unfit)
        made.advance()
        return value

    def _noted(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Results, Differentiable | None]:
        """Run the function, and its backward pass if somebody may want that later."""
        table = {id(each): twin for each, twin in zip(self.given, self.recorder.arguments, strict=True)}
        arguments = replaced(args, table)
        named = replaced(kwargs, table)
        value = self.compiled.function(*arguments, **named)
        changed = changed_container((args, kwargs), (arguments, named), table)
        if changed:
            raise RecordingError(
                f"the step {self.compiled.name} changes a {changed} that it was given: it gets a copy, with "
                "the program's own tensors. Return what is to be kept."
            )
        self._refuse_reached()
        results = Results(value, self.recorder)
        chosen = differentiable_results(self.recorder, results)
        half = Differentiable(self.recorder, results, chosen) if chosen else None
        if half is not None and any(each.retains_grad for each in results.tensors):
            raise RecordingError(
                f"the step {self.compiled.name} calls retain_grad() on what it returns, which is another "
                "tensor at every call: call it on the result, outside."
            )
        self.recorder.finish()
        return results, half

    def _refuse_reached(self) -> None:
        """Arguments whose gradients would be split: one part for the stand-in, one for the tensor itself."""
        for place, each in enumerate(self.given):
            if each.requires_grad and id(each) in self.recorder.states:
                raise RecordingError(
                    f"the step {self.compiled.name} reaches its argument {place}, which requires grad, by "
                    "itself, too: hand it over, or have it captured, but not both."
                )

    def _recording(self, results: Results, half: Differentiable | None) -> Recording:
        # what will not be kept is not worth compiling
        backend = "replay" if self.recorder.made_state() else self.compiled.backend
        made = Recording(self.recorder, results, backend, half, self.compiled.runs_many)
        results.tensors.clear()
        self.recorder.roots.clear()
        return made

    def _hand_back(self) -> None:
        """Give the arguments what the run did to their stand-ins."""
        recorder = self.recorder
        looks = recorder.program.arguments[: len(self.given)]
        for given, twin, look in zip(self.given, recorder.arguments, looks, strict=True):
            if look.buffer.number in recorder.written:
                np.copyto(given._array, twin._array)
                given._bump_version()
            if twin._grad is not given._grad:
                if given._fresh_node() is not None:
                    raise RecordingError(
                        "backward() inside a compiled step goes on beyond an argument, which was computed "
                        "outside: detach() the argument, or call backward() outside."
                    )
                given._grad = twin._grad

    def _why_not(self) -> str:
        """Why the run cannot be repeated by a program, or an empty text."""
        recorder = self.recorder
        if recorder.kept_tensors():
            gc.collect()  # what only a cycle holds is not kept
        kept = recorder.kept_tensors()
        if kept:
            return (
                f"the step keeps a tensor that it made (at {kept[0]}): a compiled step would not renew it. "
                "Return the tensor from the step instead of storing it."
            )
        drawn = self.surroundings.draws.made()
        if drawn:
            return (
                f"the step {self.compiled.name} draws from {drawn}: a compiled step would repeat the same "
                "numbers for ever. Draw with rushlight's own functions, or outside."
            )
        if self.surroundings.iterators:
            return (
                f"the step {self.compiled.name} reaches an iterator that was made outside "
                f"({self.surroundings.iterators[0]}): a compiled step would not take from it again. Take "
                "from it outside, and hand over what it gave."
            )
        changed = self.guards.broken()
        if changed:
            return (
                f"the step {self.compiled.name} changes something in Python that it also reads, which a "
                f"compiled step would not repeat: {changed}. Return what is to be kept, or keep it in a "
                "tensor."
            )
        return ""
