"""Module: the base class of every layer and every model.

A module keeps its parameters, buffers and child modules in three dicts, filled by plain attribute
assignment; all else follows from them. Walking the tree, saving and loading, hooks, and conversion each
have a file of their own. The invariant: a name is in at most one of the three dicts and the instance's
own attributes. Calling a module without hooks costs one function call more than calling its
``forward``.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import Any, Self

from rushlight.autograd.mode import RECORDING, state
from rushlight.nn.conversion import ModuleConversion
from rushlight.nn.errors import add_place, type_name
from rushlight.nn.hooks import ModuleHooks, call_with_hooks, global_hooks
from rushlight.nn.parameter import Buffer, Parameter
from rushlight.nn.state import ModuleState
from rushlight.nn.tree import ModuleTree
from rushlight.tensor import Tensor


class Module(ModuleTree, ModuleState, ModuleHooks, ModuleConversion):
    """Base class of layers and models: subclass it, make the parts in ``__init__``, use them in ``forward``.

    Parameters and modules assigned as attributes become part of the module; ``training`` says whether it is
    in training mode.

    >>> import rushlight as torch
    >>> from rushlight import nn
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden = nn.Linear(4, 3)
    ...         self.scale = nn.Parameter(torch.ones(3))
    ...
    ...     def forward(self, x):
    ...         return self.hidden(x).relu() * self.scale
    >>> net = Net()
    >>> net
    Net(
      (hidden): Linear(in_features=4, out_features=3, bias=True)
    )
    >>> net(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """

    training: bool
    call_super_init: bool = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        name = type(self).__name__
        if kwargs and not self.call_super_init:
            raise TypeError(f"{name}.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'")
        if args and not self.call_super_init:
            raise TypeError(f"{name}.__init__() takes 1 positional argument but {len(args) + 1} were given")
        # Not through __setattr__, which looks for the dicts that are being made here.
        put = super().__setattr__
        put("training", True)
        put("_parameters", {})
        put("_buffers", {})
        put("_modules", {})
        put("_non_persistent_buffers_set", set())
        put("_is_full_backward_hook", None)
        for table in (
            "_forward_pre_hooks",
            "_forward_hooks",
            "_backward_pre_hooks",
            "_backward_hooks",
            "_state_dict_pre_hooks",
            "_state_dict_hooks",
            "_load_state_dict_pre_hooks",
            "_load_state_dict_post_hooks",
        ):
            put(table, OrderedDict())
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; every subclass defines this."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if state.mode & RECORDING:
            state.recorder.note_module(self)
        try:
            if (
                self._forward_hooks
                or self._forward_pre_hooks
                or self._backward_hooks
                or self._backward_pre_hooks
                or global_hooks
            ):
                return call_with_hooks(self, args, kwargs)
            return self.forward(*args, **kwargs)
        except Exception as error:
            add_place(error, self, args, kwargs, sys._getframe(1))
            raise

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Have ``forward`` run as a compiled program from now on; arguments as for `rushlight.compile`.

        >>> import rushlight as torch
        >>> model = torch.nn.Linear(2, 1)
        >>> before = model(torch.ones(3, 2))
        >>> model.compile()
        >>> torch.equal(model(torch.ones(3, 2)), before)
        True
        """
        from rushlight.compile.module import CompiledForward

        self.__dict__["forward"] = CompiledForward(self, *args, **kwargs)

    def _expected_input(self) -> str:
        """What a layer says about its input in an error message, such as ``4 features``."""
        return ""

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under ``name``; None keeps the name for one that the module does without.

        Raises KeyError for a name that is taken, empty, or has a dot in it, TypeError for what is no
        parameter and ValueError for one that was computed from other tensors.
        """
        self._check_member(name, "parameter", "_parameters")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{type_name(param)}' object to parameter '{name}' "
                "(torch.nn.Parameter or None required)"
            )
        if param is not None and param.grad_fn is not None:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created "
                f"explicitly. To express '{name}' as a function of another Tensor, compute the value in the "
                "forward() method."
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is part of the module's state but is not trained, such as a running mean.

        It is saved with the module unless ``persistent`` is False. Raises like ``register_parameter``.

        >>> import rushlight as torch
        >>> module = torch.nn.Module()
        >>> module.register_buffer("mean", torch.zeros(2))
        >>> module.mean, list(module.state_dict())
        (tensor([0., 0.]), ['mean'])
        """
        self._check_member(name, "buffer", "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{type_name(tensor)}' object to buffer '{name}' (torch Tensor or None "
                "required)"
            )
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child module under ``name``; raises like ``register_parameter``.

        >>> import rushlight as torch
        >>> parent = torch.nn.Module()
        >>> parent.add_module("act", torch.nn.ReLU())
        >>> parent.act
        ReLU()
        """
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type_name(module)} is not a Module subclass")
        self._check_member(name, "module", "_modules")
        self._modules[name] = module

    def register_module(self, name: str, module: Module | None) -> None:
        """Another name for ``add_module``."""
        self.add_module(name, module)

    def _check_member(self, name: str, kind: str, table: str) -> None:
        """Raise unless `name` can be used for a member of this kind."""
        if table not in self.__dict__:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {type_name(name)}")
        if "." in name:
            got = f", got: {name}" if kind == "module" else ""
            raise KeyError(f'{kind} name can\'t contain "."{got}')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in self.__dict__[table]:
            raise KeyError(f"attribute '{name}' already exists")

    def __getattr__(self, name: str) -> Any:
        # Asked for what is no plain attribute: most often a parameter, then a child.
        own = self.__dict__
        parameters = own.get("_parameters")
        if parameters is not None:
            if name in parameters:
                return parameters[name]
            if name in own["_modules"]:
                return own["_modules"][name]
            if name in own["_buffers"]:
                return own["_buffers"][name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'", name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if isinstance(value, Parameter):
            if "_parameters" not in own:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, keep="_parameters")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            if "_modules" not in own:
                raise AttributeError("cannot assign module before Module.__init__() call")
            if name in own["_parameters"]:
                self._refuse(value, name, "parameter", "torch.nn.Parameter or None")
            self._forget(name, keep="_modules")
            own["_modules"][name] = value
        elif name in own.get("_parameters", ()):
            if value is not None:
                self._refuse(value, name, "parameter", "torch.nn.Parameter or None")
            self.register_parameter(name, None)
        elif name in own.get("_modules", ()):
            if value is not None:
                self._refuse(value, name, "child module", "torch.nn.Module or None")
            own["_modules"][name] = None
        elif isinstance(value, Buffer):
            self.register_buffer(name, value, value.persistent)
        elif name in own.get("_buffers", ()):
            if value is not None and not isinstance(value, Tensor):
                self._refuse(value, name, "buffer", "torch.nn.Buffer, torch.Tensor or None")
            self.register_buffer(name, value, name not in self._non_persistent_buffers_set)
        else:
            super().__setattr__(name, value)

    def _refuse(self, value: Any, name: str, kind: str, expected: str) -> None:
        raise TypeError(f"cannot assign '{type_name(value)}' as {kind} '{name}' ({expected} expected)")

    def _forget(self, name: str, keep: str) -> None:
        """Remove what is called `name` from everywhere but the dict `keep`, where it is about to be put."""
        own = self.__dict__
        own.pop(name, None)
        for table in ("_parameters", "_buffers", "_modules"):
            if table != keep:
                own[table].pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def __delattr__(self, name: str) -> None:
        for table in (self._parameters, self._buffers, self._modules):
            if name in table:
                del table[name]
                self._non_persistent_buffers_set.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        names = [*dir(type(self)), *self.__dict__, *self._parameters, *self._modules, *self._buffers]
        return sorted(name for name in names if not name[0].isdigit())

    def train(self, mode: bool = True) -> Self:
        """Put this module and its children into training mode, or with ``mode=False`` into evaluation mode.

        >>> import rushlight as torch
        >>> net = torch.nn.Sequential(torch.nn.Dropout(0.5)).train(False)
        >>> net(torch.ones(3))
        tensor([1., 1., 1.])
        """
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        if state.mode & RECORDING:
            state.recorder.note_training(self)
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """Put this module and its children into evaluation mode."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Say whether the parameters are to be trained.

        >>> import rushlight as torch
        >>> torch.nn.Linear(3, 2).requires_grad_(False).weight.requires_grad
        False
        """
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or set them to zero."""
        for parameter in self.parameters():
            if parameter.grad is None:
                continue
            if set_to_none:
                parameter.grad = None
            else:
                parameter.grad = parameter.grad.detach()
                parameter.grad.zero_()

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What the printed text says beside the children; a subclass defines it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr().split("\n") if self.extra_repr() else []
        children = [f"({name}): {indented(repr(child))}" for name, child in self._modules.items()]
        if len(extra) == 1 and not children:
            return f"{self._get_name()}({extra[0]})"
        return f"{self._get_name()}({block(extra + children)})"


def indented(text: str) -> str:
    """`text` with every line but the first moved two columns to the right."""
    return text.replace("\n", "\n  ")


def block(lines: list[str]) -> str:
    """`lines` between line breaks and indented; nothing for no lines."""
    return "\n  " + "\n  ".join(lines) + "\n" if lines else ""
