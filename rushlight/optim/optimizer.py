"""The base of all optimizers: parameter groups, state, hooks, and saving and loading both.

An optimizer updates parameters in place with ordinary tensor operations, so a recorded step holds its update
too. A subclass defines ``_update_group``; this file knows no update rule. Invariants: ``param_groups`` and
``state`` have PyTorch's very keys, so state dicts go from one library to the other; all numbers of a group
that change between steps (rates, momenta) are read through ``_setting``, and all step counters through
``count_of``.
"""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from itertools import chain
from typing import Any

from rushlight.autograd.mode import RECORDING, enable_grad, no_grad, state
from rushlight.autograd.node import RemovableHandle
from rushlight.dtype import float32
from rushlight.ops.convert import tensor
from rushlight.optim.common import Group, added, as_scalar, counter_dtype
from rushlight.tensor import Tensor

Params = Iterable[Tensor] | Iterable[Group] | Iterable[tuple[str, Tensor]]

# Options that older state dicts lack, and what their absence means.
_WHEN_ABSENT = {
    "amsgrad": False,
    "capturable": False,
    "centered": False,
    "decoupled_weight_decay": False,
    "differentiable": False,
    "foreach": None,
    "fused": None,
    "maximize": False,
    "momentum": 0,
    "nesterov": False,
}

_global_pre_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()
_global_post_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()


class _Required:
    """The default of an option that every parameter group must set itself."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


def register_optimizer_step_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` before every step of every optimizer; it may return new ones."""
    return _register(_global_pre_hooks, hook)


def register_optimizer_step_post_hook(hook: Callable[..., None]) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` after every step of every optimizer."""
    return _register(_global_post_hooks, hook)


def _register(
    table: OrderedDict[int, Any], hook: Callable[..., Any], prepend: bool = False
) -> RemovableHandle:
    handle = RemovableHandle(table)
    table[handle.id] = hook
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


def _with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """Surround a ``step`` method with the hooks, and note for schedulers that it ran."""

    @functools.wraps(step)
    def hooked_step(*args: Any, **kwargs: Any) -> Any:
        self = args[0]
        if type(self).step is not hooked_step:  # reached through super(): the hooks surround the outer method
            return step(*args, **kwargs)
        if _global_pre_hooks or self._optimizer_step_pre_hooks:
            args, kwargs = _run_pre_hooks(self, step, args, kwargs)
        self._opt_called = True
        result = step(*args, **kwargs)
        if _global_post_hooks or self._optimizer_step_post_hooks:
            for after in chain(self._optimizer_step_post_hooks.values(), _global_post_hooks.values()):
                after(self, args, kwargs)
        return result

    return hooked_step


def _run_pre_hooks(
    optimizer: Optimizer, step: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a step after all hooks have seen them."""
    for before in chain(_global_pre_hooks.values(), optimizer._optimizer_step_pre_hooks.values()):
        changed = before(optimizer, args, kwargs)
        if changed is not None:
            if not isinstance(changed, tuple) or len(changed) != 2:
                raise RuntimeError(
                    f"{step} must return None or a tuple of (new_args, new_kwargs), but got {changed}."
                )
            args, kwargs = changed
    return args, kwargs


class Optimizer:
    """Base class of the optimizers.

    A subclass calls ``super().__init__(params, defaults)`` and defines ``_update_group(group)``, which makes
    one step for the parameters of one group; or, as in PyTorch, it defines ``step`` itself.

    Args:
        params: parameters, or ``(name, parameter)`` pairs, or dicts with the key ``"params"`` and options
            that differ from the defaults.
        defaults: the options of groups that do not set them.

    Raises:
        TypeError: ``params`` is a tensor, or holds something else than tensors.
        ValueError: no parameters, a parameter that is no leaf, or one in two groups.

    >>> import rushlight as torch
    >>> weight, bias = torch.zeros(2, requires_grad=True), torch.zeros(1, requires_grad=True)
    >>> optimizer = torch.optim.SGD([{"params": [weight]}, {"params": [bias], "lr": 1.0}], lr=0.1)
    >>> (weight.sum() + bias.sum()).backward()
    >>> optimizer.step()
    >>> weight, bias
    (tensor([-0.1000, -0.1000], requires_grad=True), tensor([-1.], requires_grad=True))
    """

    # Names of 0-d tensors in a parameter's state that older state dicts hold as Python numbers.
    _counters: tuple[str, ...] = ()
    # For schedulers: has step() run since the first of them was made, and which function was it then?
    _opt_called = False
    _tracked_step: Callable[..., Any] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in vars(cls):
            cls.step = _with_hooks(cls.step)  # type: ignore[method-assign]

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self._make_hook_tables()
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                f"{_type_name(params)}; a single tensor goes into a list: [tensor]"
            )
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        self.param_groups: list[Group] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)  # type: ignore[arg-type]

    def _make_hook_tables(self) -> None:
        self._optimizer_step_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._optimizer_step_post_hooks: OrderedDict[int, Any] = OrderedDict()
        self._optimizer_state_dict_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._optimizer_state_dict_post_hooks: OrderedDict[int, Any] = OrderedDict()
        self._optimizer_load_state_dict_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._optimizer_load_state_dict_post_hooks: OrderedDict[int, Any] = OrderedDict()

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for index, group in enumerate(self.param_groups):
            text += f"\nParameter Group {index}\n"
            for key in sorted(group):
                if key != "params":
                    text += f"    {key}: {group[key]}\n"
        return text + ")"

    # -- stepping

    @_with_hooks
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient.

        Args:
            closure: a function that evaluates the model anew and returns the loss; it is called once, first.

        Returns:
            What ``closure`` returned, or None.
        """
        loss = None
        if state.mode & RECORDING:
            state.recorder.note_optimizer(self)
        if closure is not None:
            with enable_grad():
                loss = closure()
        with enable_grad() if self.defaults.get("differentiable") else no_grad():
            for group in self.param_groups:
                self._update_group(group)
        return loss

    def _update_group(self, group: Group) -> None:
        raise NotImplementedError(f"{type(self).__name__} defines neither step() nor _update_group()")

    def _setting(self, group: Group, name: str) -> Any:
        """An option that may change from step to step, such as the rate: a number or a 0-d tensor."""
        if state.mode & RECORDING:
            return state.recorder.live_setting(group, name)
        return as_scalar(group[name])

    def _new_state(self, param: Tensor, group: Group) -> dict[str, Any]:
        """The state of a parameter before its first step."""
        raise NotImplementedError

    def _directions(self, group: Group) -> Iterator[tuple[Tensor, Tensor]]:
        """The parameters that have a gradient, each with the direction whose opposite it is to take.

        ``maximize`` turns the gradient round; a weight decay that is not decoupled is added to it.
        """
        maximize = group["maximize"]
        weight_decay = 0
        if not group.get("decoupled_weight_decay", False):
            weight_decay = group.get("weight_decay", 0)
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            if maximize:
                grad = -grad
            if weight_decay != 0:
                grad = added(grad, param, weight_decay)
            yield param, grad

    def _updates(self, group: Group) -> Iterator[tuple[Tensor, Tensor, dict[str, Any]]]:
        """Parameters, directions and the parameters' state, which begins as ``_new_state`` says."""
        for param, direction in self._directions(group):
            state = self.state[param]
            if not state:
                state.update(self._new_state(param, group))
            yield param, direction, state

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or with ``set_to_none=False`` fill those that exist with zeros."""
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none:
                    param.grad = None
                elif param.grad is not None:
                    if param.grad.grad_fn is not None:
                        param.grad.detach_()
                    else:
                        param.grad.requires_grad_(False)
                    param.grad.zero_()

    # -- groups

    def add_param_group(self, param_group: Group) -> None:
        """Add a group, a dict with the key ``"params"``; what it does not set it takes from ``defaults``."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of "
                "tensors in sets will change between runs. Please use a list instead."
            )
        entries = [params] if isinstance(params, Tensor) else list(params)
        names = [entry[0] for entry in entries if isinstance(entry, tuple)]
        if names and len(names) != len(entries):
            raise ValueError(
                "all optimizer params should be with/without names. Some param names are missing"
            )
        params = [entry[1] if isinstance(entry, tuple) else entry for entry in entries]
        param_group["params"] = params
        if names:
            param_group["param_names"] = names
        self._check_params(params)
        for option, default in self.defaults.items():
            if default is required and option not in param_group:
                raise ValueError(
                    f"parameter group didn't specify a value of required optimization parameter {option}"
                )
            param_group.setdefault(option, default)
        if len(set(params)) != len(params):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this will cause "
                "an error; "
                "see github.com/pytorch/pytorch/issues/40967 for more information",
                stacklevel=3,
            )
        present: set[Tensor] = set()
        for group in self.param_groups:
            present.update(group["params"])
            if ("param_names" in group) != ("param_names" in param_group):
                kind = "with names" if "param_names" in param_group else "without names"
                raise ValueError(
                    "all optimizer param groups should be with/without names. cannot add param group "
                    f"{kind} to the optimizer"
                )
        if not present.isdisjoint(params):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    def _check_params(self, params: list[Any]) -> None:
        for param in params:
            if not isinstance(param, Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is {_type_name(param)}"
                )
            if not self.defaults.get("differentiable") and not (param.is_leaf or param.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")

    # -- hooks

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step; it may return new ``(args, kwargs)``."""
        return _register(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        return _register(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(
        self, hook: Callable[..., None], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer)`` before ``state_dict()`` is made."""
        return _register(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` on the result; it may change it or return another."""
        return _register(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` before loading, on a shallow copy; it may return another."""
        return _register(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(
        self, hook: Callable[..., None], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer)`` after loading."""
        return _register(self._optimizer_load_state_dict_post_hooks, hook, prepend)

    # -- saving and loading

    def state_dict(self) -> dict[str, Any]:
        """State and options with parameters numbered: ``{"state": ..., "param_groups": ...}``.

        The tensors in it are the optimizer's own, not copies.
        """
        for before in self._optimizer_state_dict_pre_hooks.values():
            before(self)
        numbers: dict[int, int] = {}
        groups = []
        position = 0
        for group in self.param_groups:
            packed = {key: value for key, value in group.items() if key != "params"}
            for param in group["params"]:
                numbers.setdefault(id(param), position)
                position += 1
            packed["params"] = [numbers[id(param)] for param in group["params"]]
            groups.append(packed)
        state = {numbers[id(k)] if isinstance(k, Tensor) else k: value for k, value in self.state.items()}
        result: dict[str, Any] = {"state": state, "param_groups": groups}
        for after in self._optimizer_state_dict_post_hooks.values():
            changed = after(self, result)
            if changed is not None:
                result = changed
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the state and options that ``state_dict()`` of an optimizer of the same class returned.

        Parameters are matched by their order. Floating state takes the dtype of its parameter, ``"step"``
        keeps its own.

        Raises:
            ValueError: the groups do not match in number or size.
        """
        state_dict = state_dict.copy()
        for before in self._optimizer_load_state_dict_pre_hooks.values():
            changed = before(self, state_dict)
            if changed is not None:
                state_dict = changed
        saved_groups = deepcopy(state_dict["param_groups"])
        sizes = [len(group["params"]) for group in self.param_groups]
        saved_sizes = [len(group["params"]) for group in saved_groups]
        if len(sizes) != len(saved_sizes):
            raise ValueError(
                "loaded state dict has a different number of parameter groups: "
                f"{len(saved_sizes)} instead of {len(sizes)}"
            )
        if sizes != saved_sizes:
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's "
                f"group: parameters per group are {saved_sizes} instead of {sizes}"
            )
        owners = {}
        for group, saved in zip(self.param_groups, saved_groups, strict=True):
            for number, param in zip(saved["params"], group["params"], strict=True):
                owners[number] = (param, saved)
            saved["params"] = group["params"]
            if "param_names" in group:
                saved.setdefault("param_names", group["param_names"])
        state: defaultdict[Any, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in owners:
                param, saved = owners[key]
                state[param] = _adapted(value, param, saved)
            else:
                state[key] = value
        self.__setstate__({"state": state, "param_groups": saved_groups})
        for after in self._optimizer_load_state_dict_post_hooks.values():
            after(self)

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if "_optimizer_step_pre_hooks" not in vars(self):
            self._make_hook_tables()
        for group in self.param_groups:
            for option, value in _WHEN_ABSENT.items():
                if option in self.defaults:
                    group.setdefault(option, value)
            for param in group["params"]:
                for name in self._counters:
                    value = self.state[param].get(name) if param in self.state else None
                    if value is not None and not isinstance(value, Tensor):
                        self.state[param][name] = tensor(float(value), dtype=counter_dtype(group))


def _type_name(value: Any) -> str:
    """The name PyTorch's errors give a type: ``torch.FloatTensor``, ``int``, ``numpy.ndarray``."""
    if isinstance(value, Tensor):
        return value.type()
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _adapted(value: Any, param: Tensor, group: Group, key: str | None = None) -> Any:
    """A loaded value with its floating tensors in the type of ``param``, lists and dicts gone through."""
    if isinstance(value, Tensor):
        if key == "step":
            return value.to(float32) if group.get("fused") or group.get("capturable") else value
        return value.to(param.dtype) if param.is_floating_point() else value
    if isinstance(value, dict):
        return {name: _adapted(each, param, group, name) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_adapted(each, param, group) for each in value)
    return value
