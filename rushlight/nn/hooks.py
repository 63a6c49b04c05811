"""Functions that users attach to modules: what runs around ``forward`` and around the backward pass.

This file registers hooks and calls a module that has some; a module without hooks never comes here. The
hooks of ``state_dict`` and ``load_state_dict`` are in ``state.py``. The invariant: of each kind, hooks
for all modules run before a module's own, and each group runs in the order of registration, except that
``prepend=True`` goes first.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from rushlight.autograd.node import RemovableHandle
from rushlight.nn.backward_hooks import BackwardHooks
from rushlight.tensor import Tensor

if TYPE_CHECKING:
    from rushlight.nn.module import Module

FORWARD_PRE, FORWARD, BACKWARD_PRE, BACKWARD = "forward_pre", "forward", "backward_pre", "backward"

BOTH_BACKWARD_KINDS = (
    "Cannot use both regular backward hooks and full backward hooks on a single Module. "
    "Please use only one of them."
)


class CallHook(NamedTuple):
    """A function to call around ``forward``, and how it asked to be called."""

    function: Callable[..., Any]
    with_kwargs: bool = False
    always_call: bool = False


# The hooks for all modules, of every kind in one table: one test tells a module whether there are any.
global_hooks: OrderedDict[int, tuple[str, CallHook]] = OrderedDict()


class ModuleHooks:
    """The part of Module that registers hooks."""

    _forward_pre_hooks: OrderedDict[int, CallHook]
    _forward_hooks: OrderedDict[int, CallHook]
    _backward_pre_hooks: OrderedDict[int, CallHook]
    _backward_hooks: OrderedDict[int, CallHook]
    _is_full_backward_hook: bool | None

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before each ``forward``; what it returns replaces the arguments.

        With ``with_kwargs`` the call is ``hook(module, args, kwargs)`` and a replacement is the pair of both.

        >>> import rushlight as torch
        >>> double = torch.nn.Identity()
        >>> handle = double.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
        >>> double(torch.tensor([1.0]))
        tensor([2.])
        """
        return _register(self._forward_pre_hooks, CallHook(hook, with_kwargs), prepend)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after each ``forward``; what it returns replaces the output.

        With ``with_kwargs`` the call is ``hook(module, args, kwargs, output)``; with ``always_call`` it is
        made even where ``forward`` or a hook raised, and then ``output`` may be None.

        >>> import rushlight as torch
        >>> layer, shapes = torch.nn.Linear(4, 2), []
        >>> handle = layer.register_forward_hook(lambda module, args, output: shapes.append(output.shape))
        >>> output = layer(torch.ones(3, 4))
        >>> handle.remove()
        >>> shapes
        [torch.Size([3, 2])]
        """
        return _register(self._forward_hooks, CallHook(hook, with_kwargs, always_call), prepend)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` before the module's gradients are computed in a backward pass.

        ``grad_output`` is a tuple with an entry for each output; a tuple that is returned replaces it.
        """
        return _register(self._backward_pre_hooks, CallHook(hook), prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` once the gradients of the module's inputs are known.

        Both are tuples with an entry for each positional argument and each output, None where that is no
        tensor; a tuple that is returned replaces ``grad_input``. Where no input requires a gradient the hook
        runs when the gradients of the outputs are known. Raises RuntimeError on a module with a
        ``register_backward_hook``.

        >>> import rushlight as torch
        >>> layer, norms = torch.nn.Identity(), []
        >>> handle = layer.register_full_backward_hook(lambda module, gin, gout: norms.append(gin[0].norm()))
        >>> layer(torch.ones(4, requires_grad=True)).sum().backward()
        >>> norms
        [tensor(2.)]
        """
        if self._is_full_backward_hook is False:
            raise RuntimeError(BOTH_BACKWARD_KINDS)
        self._is_full_backward_hook = True
        return _register(self._backward_hooks, CallHook(hook), prepend)

    def register_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` with the gradients of the module's last operation.

        Kept for old scripts: ``grad_input`` is that of one operation, not of the whole module. Use
        ``register_full_backward_hook``.
        """
        if self._is_full_backward_hook is True:
            raise RuntimeError(BOTH_BACKWARD_KINDS)
        self._is_full_backward_hook = False
        return _register(self._backward_hooks, CallHook(hook), prepend=False)


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, args)`` before the ``forward`` of every module there is."""
    return _register(global_hooks, (FORWARD_PRE, CallHook(hook)), prepend=False)


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call ``hook(module, args, output)`` after the ``forward`` of every module there is.

    >>> import rushlight as torch
    >>> from rushlight.nn.modules.module import register_module_forward_hook
    >>> names = []
    >>> with register_module_forward_hook(lambda module, args, output: names.append(type(module).__name__)):
    ...     output = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Tanh())(torch.ones(2))
    >>> names
    ['ReLU', 'Tanh', 'Sequential']
    """
    return _register(global_hooks, (FORWARD, CallHook(hook, with_kwargs, always_call)), prepend=False)


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, grad_output)`` before the gradients of any module are computed."""
    return _register(global_hooks, (BACKWARD_PRE, CallHook(hook)), prepend=False)


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, grad_input, grad_output)`` when the gradients of any module's inputs are known."""
    return _register(global_hooks, (BACKWARD, CallHook(hook)), prepend=False)


def call_with_hooks(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call ``module.forward`` and every hook that belongs to the call, in PyTorch's order."""
    pending = OrderedDict(_hooks_of(FORWARD, module._forward_hooks))
    output = None
    try:
        for _, hook in _hooks_of(FORWARD_PRE, module._forward_pre_hooks):
            args, kwargs = _replaced_arguments(hook, module, args, kwargs)
        backward = _backward_hooks(module)
        if backward is not None:
            args = backward.watch_inputs(args)
        output = module.forward(*args, **kwargs)
        while pending:
            _, hook = pending.popitem(last=False)
            output = _replaced_output(hook, module, args, kwargs, output)
        if backward is not None:
            output = backward.watch_outputs(output)
        if module._is_full_backward_hook is False:
            _watch_last_operation(module, output)
        return output
    except Exception:
        _call_the_rest(pending, module, args, kwargs, output)
        raise


def _register(table: OrderedDict[int, Any], entry: Any, prepend: bool) -> RemovableHandle:
    handle = RemovableHandle(table)
    table[handle.id] = entry
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


def _hooks_of(kind: str, own: OrderedDict[int, CallHook]) -> Iterator[tuple[int, CallHook]]:
    for key, (kind_of_entry, hook) in list(global_hooks.items()):
        if kind_of_entry == kind:
            yield key, hook
    yield from list(own.items())


def _replaced_arguments(
    hook: CallHook, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if hook.with_kwargs:
        both = hook.function(module, args, kwargs)
        if both is None:
            return args, kwargs
        if isinstance(both, tuple) and len(both) == 2:
            return both
        raise RuntimeError(
            f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {both}."
        )
    new = hook.function(module, args)
    if new is None:
        return args, kwargs
    return (new if isinstance(new, tuple) else (new,)), kwargs


def _replaced_output(
    hook: CallHook, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> Any:
    if hook.with_kwargs:
        new = hook.function(module, args, kwargs, output)
    else:
        new = hook.function(module, args, output)
    return output if new is None else new


def _call_the_rest(
    pending: OrderedDict[int, CallHook],
    module: Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: Any,
) -> None:
    """Call the hooks that are to run even though an error is on its way; their own errors become warnings."""
    for key, hook in pending.items():
        if not hook.always_call:
            continue
        try:
            output = _replaced_output(hook, module, args, kwargs, output)
        except Exception as error:  # noqa: BLE001 - the error on its way is the one to report
            scope = "global " if key in global_hooks else ""
            warnings.warn(
                f"{scope}module forward hook with ``always_call=True`` raised an exception "
                f"that was silenced as another error was raised in forward: {error}",
                stacklevel=4,
            )


def _backward_hooks(module: Module) -> BackwardHooks | None:
    """The module's full backward hooks, ready to watch one call; None where there are none."""
    own = module._backward_hooks if module._is_full_backward_hook else OrderedDict()
    before = [hook.function for _, hook in _hooks_of(BACKWARD_PRE, module._backward_pre_hooks)]
    after = [hook.function for _, hook in _hooks_of(BACKWARD, own)]
    return BackwardHooks(module, before, after) if before or after else None


def _watch_last_operation(module: Module, output: Any) -> None:
    """Attach the hooks of ``register_backward_hook`` to the operation that made the output."""
    while not isinstance(output, Tensor):
        values = output.values() if isinstance(output, dict) else output
        output = next(value for value in values if isinstance(value, Tensor | tuple | list | dict))
    if output.grad_fn is None:
        return
    for hook in module._backward_hooks.values():
        output.grad_fn.register_hook(lambda gin, gout, call=hook.function: call(module, gin, gout))
