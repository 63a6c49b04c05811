"""A compiled module: called like the module it wraps, with the same parameters and attributes.

The wrapped module is its child ``_orig_mod``, so its parameters are the very same and the keys of a state
dict begin with ``_orig_mod.``, as with PyTorch. Hooks, training mode and parameters are the wrapped module's
own affair: a change of them is a new recording. Invariant: this file computes nothing.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

from rushlight.compile import compile
from rushlight.compile.compiled import CompiledFunction
from rushlight.nn.module import Module


class OptimizedModule(Module):
    """What `compile` makes of a module.

    >>> import rushlight as torch
    >>> model = torch.nn.Linear(2, 1)
    >>> compiled = torch.compile(model)
    >>> x = torch.ones(3, 2)
    >>> torch.equal(compiled(x), model(x)), compiled.in_features, compiled.weight is model.weight
    (True, 2, True)
    """

    _orig_mod: Module

    def __init__(self, module: Module, name: str, backend: str, limit: int, check: int = 0) -> None:
        super().__init__()
        self._orig_mod = module
        self.training = module.training
        object.__setattr__(self, "_compiled", CompiledFunction(module, name, backend, limit, check))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The compiled call of the module."""
        return self._compiled.call(args, kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The same as a call."""
        return self._compiled.call(args, kwargs)

    def __getattr__(self, name: str) -> Any:
        members = self.__dict__.get("_modules", {})
        if name == "_orig_mod" or "_orig_mod" not in members:
            return super().__getattr__(name)
        try:
            return getattr(members["_orig_mod"], name)
        except AttributeError:
            if name in ("code", "explain"):  # unless the wrapped module has these names itself
                return getattr(self.__dict__["_compiled"], name)
            raise

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("_orig_mod", "training") or "_orig_mod" not in self.__dict__.get("_modules", {}):
            super().__setattr__(name, value)
        else:
            setattr(self._orig_mod, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._orig_mod, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> OptimizedModule:
        """Written out because a wrapped module's own would be found as an attribute."""
        made = memo[id(self)] = type(self).__new__(type(self))
        made.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return made

    def __len__(self) -> int:
        return len(self._orig_mod)

    def __getitem__(self, index: Any) -> Any:
        return self._orig_mod[index]  # type: ignore[index]


class CompiledForward:
    """A module's compiled ``forward``, in the place of the one of its class; made by ``Module.compile``.

    A copy of the module compiles anew, for the copy.
    """

    def __init__(self, module: Module, *args: Any, **kwargs: Any) -> None:
        self._made_for = module, args, kwargs
        self._call = compile(type(module).forward.__get__(module), *args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        module, args, kwargs = self._made_for
        return functools.partial(CompiledForward, **kwargs), (module, *args)
