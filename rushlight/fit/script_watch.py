"""Watching a script that was written without a thought of being watched.

`watch` has to be told the model and the optimizer. Here both are found while the script runs: the first
optimizer that takes a step, and the outermost module called before it that holds all that it updates.
Invariant: as with `watch`, nothing that is computed changes, and all hooks are taken away again.
"""

from __future__ import annotations

import sys
import weakref
from types import TracebackType
from typing import Any

from rushlight.autograd.mode import state
from rushlight.fit.watching import watch
from rushlight.nn import Module
from rushlight.nn.hooks import register_module_forward_pre_hook
from rushlight.optim import Optimizer
from rushlight.optim.optimizer import register_optimizer_step_pre_hook

TRIES = 20  # steps at which the network is looked for


def _in_fit_loop() -> bool:
    """Whether a step is taken by `Trainer`, which watches itself."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(("rushlight.optim", __name__)):
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__", "").startswith("rushlight.fit.")


class script_watch:
    """Context manager: watches the first network that is trained within it for the classic mistakes.

    A network that is trained without an optimizer, or without a module, is not seen.

    Attributes:
        watcher: the `watch` of the network, None while there is none.

    >>> import rushlight as torch
    >>> with script_watch(warn=False) as watching:
    ...     model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Softmax(1))
    ...     optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ...     for _ in range(3):
    ...         loss = torch.nn.functional.cross_entropy(model(torch.ones(4, 2)), torch.tensor([0, 1, 2, 0]))
    ...         optimizer.zero_grad()
    ...         loss.backward()
    ...         optimizer.step()
    >>> [each.kind for each in watching.watcher.mistakes]
    ['softmax before cross-entropy']
    """

    def __init__(self, warn: bool = True) -> None:
        self.warn = warn
        self.watcher: watch | None = None
        self._tries = 0
        self._called: dict[int, weakref.ref[Module]] = {}  # in the order of their first calls

    def __enter__(self) -> script_watch:
        self._handles = [
            register_module_forward_pre_hook(self._note_call),
            register_optimizer_step_pre_hook(self._note_step),
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for each in self._handles:
            each.remove()
        if self.watcher is not None:
            self.watcher.__exit__(kind, error, traceback)

    def _note_call(self, module: Module, args: Any) -> None:
        known = self._called.get(id(module))
        if self.watcher is None and (known is None or known() is None):
            self._called[id(module)] = weakref.ref(module)

    def _note_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self.watcher is not None or self._tries == TRIES or state.watcher is not None or _in_fit_loop():
            return
        self._tries += 1
        updated = {id(each) for group in optimizer.param_groups for each in group["params"]}
        for reference in self._called.values():
            module = reference()
            # an outer module is called before the inner ones
            if module is not None and updated <= {id(each) for each in module.parameters()}:
                self.watcher = watch(module, optimizer, self.warn)
                self.watcher.__enter__()
                return
