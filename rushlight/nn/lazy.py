"""LazyModuleMixin: what modules have in common that learn the shapes of their parameters from their first
input.

Such a module is made with uninitialized parameters. Its first call has ``initialize_parameters`` give them
shapes and values, and turns the module into an ordinary one of the class ``cls_to_become``. The invariant:
from then on nothing about it is lazy, and no hook is left behind.
"""

from __future__ import annotations

from typing import Any

from rushlight.nn.module import Module
from rushlight.nn.parameter import is_lazy


class LazyModuleMixin(Module):
    """Put before the class that is made lazy, as in ``class LazyLinear(LazyModuleMixin, Linear)``."""

    cls_to_become: type[Module] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._initialize_hook = self.register_forward_pre_hook(self._infer_parameters, with_kwargs=True)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give the parameters the shapes that the input calls for, and values; a subclass defines this."""
        raise NotImplementedError(f"initialize_parameters is not implemented for {type(self).__name__}")

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter or buffer of this module has no shape yet."""
        return any(is_lazy(member) for member in (*self._parameters.values(), *self._buffers.values()))

    def _infer_parameters(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before the first call: initialize, and be lazy no more."""
        self.initialize_parameters(*args, **kwargs)
        if self.has_uninitialized_params():
            raise RuntimeError(f"module {self._get_name()} has not been fully initialized")
        self._initialize_hook.remove()
        del self._initialize_hook
        if self.cls_to_become is not None:
            self.__class__ = self.cls_to_become  # type: ignore[assignment]
