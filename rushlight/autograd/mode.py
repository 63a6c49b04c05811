"""Switches that say whether operations are recorded for backward.

The switches are per thread, as in PyTorch. They decide only whether `apply` puts a node on the tape; they
never change a value. Invariant: every context manager here restores exactly the state it found.
"""

from __future__ import annotations

import functools
import inspect
import threading
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any

GRAD, INFERENCE, RECORDING, ANOMALY, PACKING, WATCHING = 1, 2, 4, 8, 16, 32
NODES_NOTED = ANOMALY | PACKING | WATCHING  # somebody wants to know of every node that is made


class _State(threading.local):
    """The switches of one thread. `mode` holds the flags in one int, since `apply` reads it for every op."""

    mode = GRAD
    check_nan = True
    recorder: Any = None
    watcher: Any = None  # looks for mistakes in training; told of nodes and of backward passes
    saving: Any = ()  # pairs of functions that pack and unpack what is saved, the last in force
    saving_forbidden: str | None = None
    running: Any = None  # in anomaly mode: the node whose backward is running

    @property
    def grad_enabled(self) -> bool:
        return self.mode & GRAD != 0

    @grad_enabled.setter
    def grad_enabled(self, value: bool) -> None:
        self.mode = self.mode | GRAD if value else self.mode & ~GRAD

    @property
    def inference(self) -> bool:
        return self.mode & INFERENCE != 0

    @inference.setter
    def inference(self, value: bool) -> None:
        self.mode = self.mode | INFERENCE if value else self.mode & ~INFERENCE

    @property
    def anomaly(self) -> bool:
        return self.mode & ANOMALY != 0

    @anomaly.setter
    def anomaly(self, value: bool) -> None:
        self.mode = self.mode | ANOMALY if value else self.mode & ~ANOMALY


state = _State()


def reading(what: str, *tensors: Any) -> None:
    """Say that Python is about to look at values: a step being recorded would freeze them, and refuses.

    Every function that computes from elements outside of `apply` calls this first; shapes and types may be
    looked at freely.
    """
    if state.mode & RECORDING:
        for each in tensors:
            state.recorder.refuse_read(each, what)


class _Switch:
    """Context manager and decorator that holds the grad and inference flags at given values."""

    def __init__(self, grad_enabled: bool, inference: bool | None = None) -> None:
        self.grad_enabled = grad_enabled
        self.inference = inference
        self._found: list[int] = []

    def __enter__(self) -> None:
        mode = state.mode
        self._found.append(mode & (GRAD | INFERENCE))
        mode = mode | GRAD if self.grad_enabled else mode & ~GRAD
        if self.inference is not None:
            mode = mode | INFERENCE if self.inference else mode & ~INFERENCE
        state.mode = mode

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        state.mode = state.mode & ~(GRAD | INFERENCE) | self._found.pop()

    def clone(self) -> _Switch:
        """A fresh manager of the same settings (a decorator needs one for each call)."""
        return _Switch(self.grad_enabled, self.inference)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isgeneratorfunction(function):
            return self._around_each_step(function)
        if inspect.isclass(function):
            warnings.warn(
                "Decorating classes is deprecated and will be disabled in future versions. You should only "
                "decorate functions or methods. To preserve the current behavior of class decoration, you "
                "can directly decorate the `__init__` method and nothing else.",
                FutureWarning,
                stacklevel=2,
            )

        @functools.wraps(function, updated=())
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return function(*args, **kwargs)

        return wrapped

    def _around_each_step(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A generator function that runs under the switch, and suspends it while its caller has the turn."""

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            generator = function(*args, **kwargs)
            advance: Callable[[], Any] = functools.partial(generator.send, None)
            while True:
                try:
                    with self.clone():
                        value = advance()
                except StopIteration as end:
                    return end.value
                try:
                    advance = functools.partial(generator.send, (yield value))
                except GeneratorExit:
                    with self.clone():
                        generator.close()
                    raise
                except BaseException as error:  # noqa: BLE001 - the generator decides what to do about it
                    advance = functools.partial(generator.throw, error)

        return wrapped


class no_grad(_Switch):
    """Inside, results do not require grad, whatever their inputs do. Also a decorator.

    >>> import rushlight as torch
    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> with torch.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    def __new__(cls, orig_func: Callable[..., Any] | None = None) -> Any:
        # PyTorch allows the decorator without parentheses: @torch.no_grad
        switch = super().__new__(cls)
        if orig_func is None:
            return switch
        _Switch.__init__(switch, False)
        return switch(orig_func)

    def __init__(self) -> None:
        super().__init__(grad_enabled=False)


class enable_grad(_Switch):
    """Inside, operations are recorded even where an outer `no_grad` turned that off. Also a decorator."""

    def __new__(cls, orig_func: Callable[..., Any] | None = None) -> Any:
        switch = super().__new__(cls)
        if orig_func is None:
            return switch
        _Switch.__init__(switch, True)
        return switch(orig_func)

    def __init__(self) -> None:
        super().__init__(grad_enabled=True)


class set_grad_enabled(_Switch):
    """Turn recording on or off: as a statement for good, as a context manager for the block."""

    def __init__(self, mode: bool) -> None:
        super().__init__(grad_enabled=bool(mode))
        self._before = state.grad_enabled
        state.grad_enabled = bool(mode)

    def __enter__(self) -> None:
        super().__enter__()
        # The constructor already switched; leaving the block returns to what was before it.
        self._found[-1] = self._found[-1] & ~GRAD | (GRAD if self._before else 0)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        state.grad_enabled = self._before
        return super().__call__(function)


class inference_mode(_Switch):
    """`no_grad` whose results may never take part in autograd later. Also a decorator."""

    def __new__(cls, mode: bool | Callable[..., Any] = True) -> Any:
        switch = super().__new__(cls)
        if isinstance(mode, bool):
            return switch
        _Switch.__init__(switch, False, True)
        return switch(mode)

    def __init__(self, mode: bool = True) -> None:
        super().__init__(grad_enabled=not mode, inference=mode)


def is_grad_enabled() -> bool:
    """Whether operations are being recorded in this thread."""
    return state.grad_enabled


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside `inference_mode`."""
    return state.inference
