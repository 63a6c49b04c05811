"""Stand-ins: what a step gets while it is recorded, instead of the tensors it was called with; and what tells
calls apart.

A program has memory of its own for its arguments. So the recorded run gets copies, laid out alike; what it
changes in them is copied back. Invariant: no buffer of a recording belongs to an argument and to
something captured at the same time.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from rushlight.compile.watched import PLAIN, is_plain
from rushlight.compile.written import Written
from rushlight.nn.parameter import Parameter
from rushlight.storage import owner_of
from rushlight.tensor import Tensor, new_tensor
from rushlight.views import extent


def copy_alike(array: np.ndarray) -> np.ndarray:
    """A copy with the same strides over memory of its own."""
    if array.flags.c_contiguous or not array.size:
        return array.copy()
    low, high = extent(array)
    memory = np.empty(high - low + 1, array.dtype)
    made = np.ndarray(array.shape, array.dtype, memory, -low * array.itemsize, array.strides)
    np.copyto(made, array)
    return made


def stand_in(tensor: Tensor) -> Tensor:
    """A leaf that looks like `tensor`; it shares ``.grad`` with it."""
    made: Tensor = new_tensor(copy_alike(tensor._array), type(tensor))
    made._requires_grad = tensor.requires_grad
    made._grad = tensor._grad
    made.__dict__.update(tensor.__dict__)
    return made


def replaced(value: Any, stand_ins: dict[int, Tensor]) -> Any:
    """An argument with its tensors replaced by their stand-ins."""
    if isinstance(value, Tensor):
        return stand_ins.get(id(value), value)
    if isinstance(value, (tuple, list)):
        return rebuilt(type(value), [replaced(each, stand_ins) for each in value])
    if isinstance(value, dict):
        return with_values(value, {name: replaced(each, stand_ins) for name, each in value.items()})
    return value


def changed_container(given: Any, made: Any, stand_ins: dict[int, Tensor]) -> str:
    """What was changed of what `replaced` made, if anything was: the type of a list or dictionary."""
    if len(given) != len(made):
        return type(given).__name__
    names = given if isinstance(given, dict) else range(len(given))
    for name in names:
        one, other = given[name], made.get(name) if isinstance(given, dict) else made[name]
        if isinstance(one, (tuple, list, dict)) and type(other) is type(one):
            found = changed_container(one, other, stand_ins)
            if found:
                return found
        elif other is not stand_ins.get(id(one), one):
            return type(given).__name__
    return ""


def rebuilt(kind: Any, parts: Sequence[Any]) -> Any:
    """A tuple or list of some type, also one with named fields, with these elements."""
    return kind(*parts) if hasattr(kind, "_make") else kind(parts)


def with_values(table: dict[Any, Any], values: dict[Any, Any]) -> dict[Any, Any]:
    """A dictionary of the same type with these values."""
    if type(table) is dict:
        return values
    made = copy.copy(table)
    made.update(values)
    return made


class Same:
    """A value that is told apart by which object it is, kept alive so that no other can take its place."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value


def difference(before: Any, now: Any) -> str:
    """What tells two calls apart, given their keys.

    >>> import rushlight as torch
    >>> one, two = (signature((torch.ones(n, 4),), {})[0] for n in (2, 3))
    >>> difference(one, two)
    'argument 0 has shape (3, 4), not (2, 4)'
    """
    if len(before) != len(now):
        return f"the number of arguments is {len(now)}, not {len(before)}"
    for place, (old, new) in enumerate(zip(before, now, strict=True)):
        if old == new:
            continue
        what = f"argument {place}"
        if not (type(old) is type(new) is tuple):
            return f"{what} is another value"
        if len(old) == len(new) == 5:  # tensors
            parts = list(zip(("shape", "strides", "type", "requires_grad", "class"), old, new, strict=True))
            parts.append(parts.pop(1))  # strides differ wherever shapes or types do
            name, a, b = next(each for each in parts if each[1] != each[2])
            if name == "type":
                a, b = np.dtype(a), np.dtype(b)
            return f"{what} has {name} {b}, not {a}"
        if old[0] is new[0] and old[0] in PLAIN:
            return f"{what} is {new[1]}, not {old[1]}"
        return f"{what} is another value"
    return "nothing"


_BY_TEXT = (float, complex, np.generic, range)  # in which 0.0 is not -0.0


class Signature(NamedTuple):
    """What tells calls apart, and the different tensors among the arguments, in order: those that stand-ins
    are made for, and parameters that are taken for what they are.
    """

    key: Any
    tensors: list[Tensor]
    parameters: list[Parameter]


def signature(args: tuple[Any, ...], kwargs: dict[str, Any], captures: bool = True) -> Signature:
    """The signature of a call. A parameter is most often one that the step reaches by itself, too, so it
    counts as captured if `captures`, and not as an argument like others. The order of keyword arguments
    counts: a step that takes any sees it.
    """
    found = Signature(None, [], [])
    parameters = found.parameters if captures else None
    key = tuple([_describe(each, found.tensors, parameters) for each in args])
    if kwargs:
        named = ((name, _describe(kwargs[name], found.tensors, parameters)) for name in kwargs)
        key = (*key, *named)
    return found._replace(key=key)


def _describe(value: Any, tensors: list[Tensor], parameters: list[Parameter] | None) -> Any:
    if parameters is not None and isinstance(value, Parameter):
        parameters.append(value)
        return Same(value)
    if isinstance(value, Tensor):
        for place, each in enumerate(tensors):
            if each is value:
                return "again", place
        tensors.append(value)
        array, history = value._array, value.requires_grad and ("leaf" if value.is_leaf else "computed")
        return array.shape, array.strides, array.dtype.char, history, type(value)
    if isinstance(value, _BY_TEXT) or (
        isinstance(value, slice) and is_plain((value.start, value.stop, value.step))
    ):
        return type(value), repr(value)
    if isinstance(value, PLAIN):
        return type(value), value
    if isinstance(value, (tuple, list)):
        return type(value), tuple([_describe(each, tensors, parameters) for each in value])
    if isinstance(value, dict):
        parts = ((name, _describe(each, tensors, parameters)) for name, each in value.items())
        return type(value), tuple(parts)
    return Same(value)


def hooked(tensors: Sequence[Tensor]) -> bool:
    """Whether some of the tensors have hooks, which a program would not call."""
    return any(
        each._hooks is not None
        and (each._hooks.tensor or each._hooks.before or each._hooks.after or each._hooks.accumulated)
        for each in tensors
    )


def alike(
    args: tuple[Any, ...], owners: Collection[int], captures: bool = True
) -> Callable[[tuple[Any, ...]], Any] | None:
    """A function that tells quickly whether the arguments of another call have the signature of these.

    It returns their tensors, or False where `signature` is to be asked: a miss need not be a difference. So
    that nothing more need be asked of what it returns, it also misses where a tensor lies in memory of an
    owner whose id is among `owners`. None where there is no such function: a tuple, list or dictionary among
    the arguments, a tensor twice, or no tensor at all.

    >>> import rushlight as torch
    >>> fits = alike((torch.ones(2), 5), set())
    >>> fits((torch.zeros(2), 5)), fits((torch.zeros(3), 5)), fits((torch.zeros(2), 6))
    ([tensor([0., 0.])], False, False)
    """
    written = Written(type=type, id=id, owner_of=owner_of)
    names = [f"x{place}" for place in range(len(args))]
    tensors: dict[int, str] = {}
    for name, value in zip(names, args, strict=True):
        if isinstance(value, (tuple, list, dict)) or id(value) in tensors:
            return None
        if not isinstance(value, Tensor) or (captures and isinstance(value, Parameter)):
            written.terms.append(f"{name} is {written.name(value)}")
            continue
        array, of = value._array, "a" + name
        written.terms += [
            f"type({name}) is {written.name(type(value))}",
            f"({of} := {name}._array).shape == {array.shape}",
            f"{of}.strides == {array.strides}",
            f"{of}.dtype is {written.name(array.dtype)}",
            # what the property says, written out for the usual case
            f"{name}.requires_grad and {name}.is_leaf is {value.is_leaf} and {name}._hooks is None"
            if value.requires_grad
            else f"not ({name}._requires_grad or ({name}._base is not None and {name}._base._requires_grad))",
        ]
        written.terms += [f"{name} is not {other}" for other in tensors.values()]
        if owners:
            owner = f"({of} if {of}.base is None else owner_of({of}))"
            written.terms.append(f"id({owner}) not in {written.name(owners)}")
        tensors[id(value)] = name
    if not tensors:
        return None
    written.lines += [f"if len(args) != {len(args)}: return False", f"{', '.join(names)}, = args"]
    written.terms.append(f"[{', '.join(tensors.values())}]")
    return written.function("fits(args)")
