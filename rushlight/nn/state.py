"""What a module saves and how it is put back: ``state_dict`` and ``load_state_dict``.

A state dict maps the path of every parameter and persistent buffer to its tensor. It is a picture of
the module by reference: its tensors share memory with the module's. The invariant: loading copies into
the tensors the module has, so that an optimizer keeps working on them; only ``assign=True`` puts other
tensors in their place.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from rushlight.autograd import no_grad
from rushlight.autograd.node import RemovableHandle
from rushlight.nn.parameter import Parameter, UninitializedTensorMixin, is_lazy
from rushlight.tensor import Tensor

if TYPE_CHECKING:
    from rushlight.nn.module import Module

EXTRA_STATE_KEY = "_extra_state"


class _Keys(NamedTuple):
    missing_keys: list[str]
    unexpected_keys: list[str]


class _IncompatibleKeys(_Keys):
    """The keys that a state dict lacked, and those it had in excess."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()


class ModuleState:
    """The part of Module that saves and loads its state."""

    _version: int = 1
    _modules: dict[str, Module | None]
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _non_persistent_buffers_set: set[str]
    _state_dict_pre_hooks: OrderedDict[int, Callable[..., Any]]
    _state_dict_hooks: OrderedDict[int, Callable[..., Any]]
    _load_state_dict_pre_hooks: OrderedDict[int, Callable[..., Any]]
    _load_state_dict_post_hooks: OrderedDict[int, Callable[..., Any]]

    def get_extra_state(self) -> Any:
        """Return what this module saves besides tensors; a subclass defines this together with
        ``set_extra_state``.
        """
        raise RuntimeError("Module.get_extra_state() is called only where a subclass defines it")

    def set_extra_state(self, state: Any) -> None:
        """Take back what ``get_extra_state`` returned; a subclass defines both."""
        raise RuntimeError("Module.set_extra_state() is called only where a subclass defines it")

    def state_dict(
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> Any:
        """Return the parameters and persistent buffers of this module and its children, by path.

        The tensors are detached, unless ``keep_vars``. Keys begin with ``prefix``; a given ``destination`` is
        filled and returned. Positional arguments, in the order above, are deprecated.

        >>> import rushlight as torch
        >>> list(torch.nn.Sequential(torch.nn.Linear(3, 2)).state_dict())
        ['0.weight', '0.bias']
        """
        if args:
            warnings.warn(
                "Positional args are being deprecated, use kwargs instead. Refer to "
                "https://pytorch.org/docs/main/generated/torch.nn.Module.html#torch.nn.Module.state_dict"
                " for details.",
                FutureWarning,
                stacklevel=2,
            )
            given = dict(zip(("destination", "prefix", "keep_vars"), args, strict=False))
            return self.state_dict(
                **{"destination": destination, "prefix": prefix, "keep_vars": keep_vars, **given}
            )
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = metadata

        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, child in self._modules.items():
            if child is not None:
                child.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in self._state_dict_hooks.values():
            if hook(self, destination, prefix, metadata) is not None:
                raise RuntimeError("state_dict post-hook must return None")
        return destination

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Add this module's own state, without that of its children; a subclass may save differently."""
        for name, tensor in self._saved_tensors().items():
            destination[prefix + name] = tensor if keep_vars or is_lazy(tensor) else tensor.detach()
        if type(self).get_extra_state is not ModuleState.get_extra_state:
            destination[prefix + EXTRA_STATE_KEY] = self.get_extra_state()

    def _saved_tensors(self) -> dict[str, Tensor]:
        """This module's own parameters and persistent buffers, by name."""
        hidden = self._non_persistent_buffers_set
        buffers = {name: buffer for name, buffer in self._buffers.items() if name not in hidden}
        return {name: each for name, each in {**self._parameters, **buffers}.items() if each is not None}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """Copy the tensors of ``state_dict`` into this module and its children.

        Returns the missing and the unexpected keys. Raises RuntimeError listing every tensor that does not
        fit and, if ``strict``, every missing or unexpected key; what fits has been copied by then. With
        ``assign`` the tensors themselves are put in place of the module's.

        >>> import rushlight as torch
        >>> old, new = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
        >>> new.load_state_dict(old.state_dict())
        <All keys matched successfully>
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        metadata = getattr(state_dict, "_metadata", None)
        # Hooks and subclasses may change the dict they are given; the caller's stays as it is.
        own_dict: Any = OrderedDict(state_dict)
        if metadata is not None:
            own_dict._metadata = metadata

        keys = _IncompatibleKeys([], [])
        errors: list[str] = []
        _load_tree(self, own_dict, "", metadata or {}, assign, keys, errors)
        if strict:
            errors = _key_errors(keys) + errors
        if errors:
            listing = "\n\t".join(errors)
            raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t{listing}")
        return keys

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Take this module's own state, without that of its children; a subclass may load differently.

        What does not fit is added to the last three arguments. ``local_metadata`` holds the version under
        which the module was saved, and ``assign_to_params_buffers`` where that was asked for.
        """
        for hook in self._load_state_dict_pre_hooks.values():
            hook(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        own = self._saved_tensors()
        assign = local_metadata.get("assign_to_params_buffers", False)
        for name, tensor in own.items():
            key = prefix + name
            if key in state_dict:
                error = self._load_tensor(name, tensor, key, state_dict[key], assign)
                if error is not None:
                    error_msgs.append(error)
            elif strict:
                missing_keys.append(key)

        known = set(own)
        if type(self).set_extra_state is not ModuleState.set_extra_state:
            known.add(EXTRA_STATE_KEY)
            if prefix + EXTRA_STATE_KEY in state_dict:
                self.set_extra_state(state_dict[prefix + EXTRA_STATE_KEY])
            elif strict:
                missing_keys.append(prefix + EXTRA_STATE_KEY)
        if strict:
            unexpected_keys.extend(
                key
                for key in state_dict
                if key.startswith(prefix) and self._is_stranger(key[len(prefix) :], known)
            )

    def _is_stranger(self, path: str, known: set[str]) -> bool:
        """Whether `path` leads neither to one of the `known` names nor into a child."""
        name, dot, _ = path.partition(".")
        return name not in (self._modules if dot else known)

    def _load_tensor(self, name: str, tensor: Tensor, key: str, loaded: Any, assign: bool) -> str | None:
        """Put `loaded` into, or in the place of, this module's `tensor`; return why that is impossible."""
        if not isinstance(loaded, Tensor):
            return (
                f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object '
                f"from checkpoint but received {type(loaded)}"
            )
        if is_lazy(tensor) and is_lazy(loaded):
            return None
        if isinstance(tensor, UninitializedTensorMixin):
            tensor.materialize(loaded.shape)
        if tensor.dim() == 0 and loaded.shape == (1,):
            loaded = loaded[0]
        if loaded.shape != tensor.shape:
            return (
                f"size mismatch for {key}: copying a param with shape {loaded.shape} from checkpoint, "
                f"the shape in current model is {tensor.shape}."
            )
        try:
            with no_grad():
                if assign:
                    setattr(self, name, _as_member(loaded, tensor))
                else:
                    tensor.copy_(loaded)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported with the others
            return (
                f'While copying the parameter named "{key}", whose dimensions in the model are '
                f"{tensor.size()} and whose dimensions in the checkpoint are {loaded.size()}, "
                f"an exception occurred : {error.args}."
            )
        return None

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before this module's state is collected."""
        return _register(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` afterwards; it may change the dict in
        place.
        """
        return _register(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook`` before this module's own state is loaded; it may change the dict in place.

        It is called with ``(module, state_dict, prefix, local_metadata, strict, missing_keys,
        unexpected_keys, error_msgs)``.
        """
        return _register(self._load_state_dict_pre_hooks, hook)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after this module is loaded; it may edit both lists in
        place.
        """
        return _register(self._load_state_dict_post_hooks, hook)


def _register(table: OrderedDict[int, Any], hook: Callable[..., Any]) -> RemovableHandle:
    handle = RemovableHandle(table)
    table[handle.id] = hook
    return handle


def _load_tree(
    module: ModuleState,
    state_dict: dict[str, Any],
    prefix: str,
    metadata: Mapping[str, dict[str, Any]],
    assign: bool,
    keys: _IncompatibleKeys,
    errors: list[str],
) -> None:
    """Load `module` from the entries under `prefix`, then its children from theirs."""
    local_metadata = metadata.get(prefix[:-1], {})
    if assign:
        local_metadata = {**local_metadata, "assign_to_params_buffers": True}
    module._load_from_state_dict(state_dict, prefix, local_metadata, True, *keys, errors)
    for name, child in module._modules.items():
        if child is not None:
            path = f"{prefix}{name}."
            entries = {key: value for key, value in state_dict.items() if key.startswith(path)}
            _load_tree(child, entries, path, metadata, assign, keys, errors)
    for hook in module._load_state_dict_post_hooks.values():
        if hook(module, keys) is not None:
            raise AssertionError(
                "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return new "
                "values, if incompatible_keys need to be modified, it should be done inplace."
            )


def _as_member(loaded: Tensor, replaced: Tensor) -> Tensor:
    """`loaded` as what can stand in a module where `replaced` stood: a parameter stays a parameter."""
    if not isinstance(replaced, Parameter):
        return loaded
    if isinstance(loaded, Parameter):
        loaded.requires_grad_(replaced.requires_grad)
        return loaded
    return Parameter(loaded, requires_grad=replaced.requires_grad)


def _key_errors(keys: _IncompatibleKeys) -> list[str]:
    errors = []
    for kind, names in (("Missing", keys.missing_keys), ("Unexpected", keys.unexpected_keys)):
        if names:
            listing = ", ".join(f'"{name}"' for name in names)
            errors.append(f"{kind} key(s) in state_dict: {listing}. ")
    prefix = _common_prefix(keys)
    if prefix:
        errors.append(
            f'The keys differ by the prefix "{prefix}" alone, as where a wrapped model was saved: load '
            f'{{key.removeprefix("{prefix}"): value for key, value in state_dict.items()}}.'
        )
    return errors


def _common_prefix(keys: _IncompatibleKeys) -> str:
    """What every unexpected key has in front of a missing one; empty where they differ otherwise."""
    missing, unexpected = keys
    if not missing or len(missing) != len(unexpected):
        return ""
    prefix = unexpected[0].removesuffix(missing[0])
    return prefix if unexpected == [prefix + key for key in missing] else ""
