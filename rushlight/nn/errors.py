"""What an error says about the place in a model where it was raised.

A layer that cannot compute raises the plain sentence of its op, such as ``mat1 and mat2 shapes cannot
be multiplied``. On its way out through the modules the error gains one line: the path of the innermost
module, what that module is, what it expects and what it was given. Nothing here runs unless something
has already gone wrong, and an error keeps its type, its traceback and its first sentence. Only the
kinds of error that ops raise are extended; a program's own exception classes pass through untouched.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from rushlight.ops.define import ArgumentError
from rushlight.tensor import Tensor

if TYPE_CHECKING:
    from rushlight.nn.module import Module

LOCATED_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, ArgumentError)


class _Place:
    """The modules an error has left so far, and what is known about the innermost one."""

    def __init__(self, sentence: str, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.sentence = sentence
        self.explanation = f"({_one_line(module)}): {_explanation(module, args, kwargs)}"
        self.outermost = module
        self.names: list[str] = []
        self.registered = True

    def leave(self, module: Module) -> None:
        """Put the name under which `module` holds the module left before in front of the path."""
        if not self.registered or module is self.outermost:
            return
        name = next((name for name, each in module.named_modules() if each is self.outermost), None)
        if name is None:
            # It was used without being registered, so no path leads to it from further out.
            self.registered = False
            return
        self.names.insert(0, name)
        self.outermost = module

    def text(self, caller: FrameType) -> str:
        """The whole message, for an error that has reached `caller`."""
        root = _expression_for(self.outermost, caller) if self.registered else None
        path = ".".join(self.names if root is None else [root, *self.names])
        return f"{self.sentence}\nin module {path + ' ' if path else ''}{self.explanation}"


def add_place(
    error: Exception, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], caller: FrameType
) -> None:
    """Say in `error` that it left `module`, which `caller` had called with `args` and `kwargs`.

    Each module does this on the way out, so the path grows from the innermost module to the outermost. It
    begins as the function that called the outermost one may have written that: ``net.2``, ``self.net.2``.
    """
    if type(error) not in LOCATED_ERRORS:
        return
    place: _Place | None = getattr(error, "_place", None)
    if place is None:
        if len(error.args) != 1 or not isinstance(error.args[0], str):
            return
        place = _Place(error.args[0], module, args, kwargs)
        error._place = place  # type: ignore[attr-defined]
    else:
        place.leave(module)
    error.args = (place.text(caller),)


def type_name(value: Any) -> str:
    """The name PyTorch gives the type of `value` in its messages; a class is named as itself.

    >>> type_name(3), type_name([])
    ('int', 'list')
    """
    if isinstance(value, Tensor):
        return value.type()
    named = value if hasattr(value, "__qualname__") else type(value)
    if named.__module__ == "builtins":
        return named.__qualname__
    return f"{named.__module__}.{named.__qualname__}"


def _one_line(module: Module) -> str:
    """The module's printed text where that is one line, otherwise the name of its class."""
    text = type(module).__name__
    if next(module.children(), None) is None and "\n" not in repr(module):
        text = repr(module)
    return text


def _expression_for(module: Module, frame: FrameType) -> str | None:
    """How the function of `frame` may have written `module`: a variable, or something ``self`` holds."""
    for name, value in frame.f_locals.items():
        if value is module:
            return name
    owner: Any = frame.f_locals.get("self")
    if hasattr(owner, "named_modules"):
        held = owner.named_modules()
    else:
        held = getattr(owner, "__dict__", {}).items()
    return next((f"self.{name}" for name, value in held if value is module), None)


def _explanation(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    expected = module._expected_input()
    given = ", ".join(_given(module, args, kwargs)) or "no tensor"
    return f"expects {expected}, got {given}" if expected else f"got {given}"


def _given(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[str]:
    """For each tensor that was passed: its shape, and its type or values where they may be what is wrong."""
    parameter = next((each for each in module.parameters(recurse=False)), None)
    named = [("", value) for value in args] + [(f"{name} of ", value) for name, value in kwargs.items()]
    for name, value in named:
        if not isinstance(value, Tensor):
            continue
        text = f"{name}shape {tuple(value.shape)}"
        if not value.is_floating_point() and value.numel() > 0:
            array = value.detach().numpy()
            text += f" of {value.dtype} with values from {array.min()} to {array.max()}"
        elif parameter is not None and value.dtype is not parameter.dtype:
            text += f" of {value.dtype}; the parameters are {parameter.dtype}, convert one of them with .to()"
        yield text
