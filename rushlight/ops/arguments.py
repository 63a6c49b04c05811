"""Arguments as PyTorch takes them: NumPy's names for them, and lists of ints given in several ways.

Decorators here change how a function may be called, never what it computes. Invariant: the decorated
function sees PyTorch's own names and plain Python ints. Both keep the function's signature visible
(``__wrapped__``).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from rushlight.once import warn_once
from rushlight.ops.define import ArgumentError, argument_names
from rushlight.ops.operands import type_of
from rushlight.tensor import Tensor

NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim", "x": "input", "a": "input", "x1": "input", "x2": "other"}


def numpy_names(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function be called with NumPy's names too: ``axis``, ``keepdims``, ``x``, ``a``, ``x1``, ``x2``.

    >>> import rushlight as torch
    >>> torch.sum(torch.ones(2, 3), axis=0)
    tensor([2., 2., 2.])
    """
    takes = argument_names(function)
    aliases = {theirs: own for theirs, own in NUMPY_NAMES.items() if own in takes and theirs not in takes}

    @functools.wraps(function)
    def named(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            for theirs, own in aliases.items():
                if theirs in kwargs and own not in kwargs:
                    kwargs[own] = kwargs.pop(theirs)
        return function(*args, **kwargs)

    return named


def pytorch_names(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments given under NumPy's names, under PyTorch's; TypeError where there is no such one.

    For functions whose cost counts: they take ``**given`` where others are wrapped by `numpy_names`.

    >>> from rushlight.ops.arguments import pytorch_names
    >>> pytorch_names("sum", {"axis": 0, "keepdims": True})
    {'dim': 0, 'keepdim': True}
    """
    for each in given:
        if each not in NUMPY_NAMES:
            raise TypeError(f"{name}() got an unexpected keyword argument '{each}'")
    return {NUMPY_NAMES[each]: value for each, value in given.items()}


def int_varargs(argument: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let the ints of `argument` be given one by one or as one sequence: ``f(x, 2, 3)`` and ``f(x, (2, 3))``.

    The decorated function takes `argument` as its last positional parameter, and receives a tuple of ints.

    >>> import rushlight as torch
    >>> torch.zeros(6).reshape(2, 3).shape == torch.zeros(6).reshape((2, 3)).shape
    True
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__
        leading = argument_names(function).index(argument)

        @functools.wraps(function)
        def packed(*args: Any, **kwargs: Any) -> Any:
            if not kwargs and leading == 1 and args:
                return function(args[0], int_tuple(name, argument, args[1:]))
            given = args[leading:]
            if argument in kwargs:
                if given:
                    raise TypeError(f"{name}() got multiple values for argument '{argument}'")
                given = (kwargs.pop(argument),)
            kwargs[argument] = int_tuple(name, argument, given)
            return function(*args[:leading], **kwargs)

        return packed

    return decorate


def int_tuple(name: str, argument: str, given: Sequence[Any]) -> tuple[int, ...]:
    """The ints a caller gave as varargs or as one sequence; anything with ``__index__`` counts as an int.

    Args:
        name: the function, for the error.
        argument: the argument's name, for the error.
        given: the varargs as they came.
    """
    if not given:
        raise TypeError(f'{name}() missing 1 required positional arguments: "{argument}"')
    if len(given) == 1 and given[0].__class__ is not int:
        alone = given[0]
        if isinstance(alone, (tuple, list)):
            given = alone
        elif not hasattr(alone, "__index__") or isinstance(alone, bool):
            raise TypeError(
                f"{name}(): argument '{argument}' (position 1) must be tuple of ints, not "
                f"{type(alone).__name__}"
            )
    for each in given:
        if each.__class__ is not int:
            break
    else:
        return given if given.__class__ is tuple else tuple(given)
    return tuple(_index(name, argument, position, each) for position, each in enumerate(given, start=1))


def _index(name: str, argument: str, position: int, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name}(): argument '{argument}' failed to unpack the object at pos {position} with error "
            f'"type must be tuple of ints,but got {type(value).__name__}"'
        ) from None


def require_tensor(name: str, argument: str, position: int, value: Any) -> None:
    """Raise PyTorch's TypeError where an argument that must be a tensor is something else; position 0 stands
    for one that was given by name.
    """
    if not isinstance(value, Tensor):
        place = f" (position {position})" if position else ""
        raise ArgumentError(f"{name}(): argument '{argument}'{place} must be Tensor, not {type_of(value)}")


def looks_at_tensors(function: Callable[..., Any]) -> bool:
    """Whether a function looks at its tensor before an op does, which would refuse anything else."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    code = function.__code__
    if not code.co_argcount or function.__annotations__.get(code.co_varnames[0]) != "Tensor":
        return False
    used = set(code.co_names)
    return used.isdisjoint({"require_tensor", "array_of"}) and ("_array" in used or "apply" not in used)


def naming_strangers(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with PyTorch's error where it comes across a list, say, where a tensor belongs.

    It is called as it is: only when something that it was given lacks an attribute, the arguments are looked
    at. So nothing is spent on tensors, and every function has the sentence.
    """

    @functools.wraps(function)
    def named(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except AttributeError as error:
            refuse_stranger(name, function, args, kwargs, error)
            raise

    return named


def requiring_tensors(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with PyTorch's error where a parameter that is annotated as a Tensor gets anything else.

    For functions that take long anyway: every call looks at its arguments.
    """
    names = argument_names(function)
    places = [place for place, each in enumerate(names) if function.__annotations__.get(each) == "Tensor"]

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for place in places:
            if place < len(args):
                require_tensor(name, names[place], place + 1, args[place])
            elif names[place] in kwargs:
                require_tensor(name, names[place], 0, kwargs[names[place]])
        return function(*args, **kwargs)

    return checked


def refuse_stranger(
    name: str,
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    error: AttributeError,
) -> None:
    """Raise PyTorch's error about the argument that is no tensor, if that is what `error` is about."""
    stranger = error.obj
    if isinstance(stranger, Tensor) or not hasattr(Tensor, error.name or ""):
        return
    names = argument_names(function)
    for place, each in enumerate(args):
        if each is stranger:
            if place >= len(names):
                kind = type_of(each)
                raise TypeError(f"expected Tensor as element {place - 1} in argument 1, but got {kind}")
            require_tensor(name, names[place], place + 1, each)
    for argument, each in kwargs.items():
        if each is stranger and argument in names:
            require_tensor(name, argument, 0, each)


def older_form(name: str, function: Callable[..., Any], given: tuple[Any, ...], scale: str, out: Any) -> Any:
    """Call `function` with the factor before the last tensors, as in ``add(input, alpha, other)``.

    Args:
        name: the function's name.
        function: takes the tensors, and the factor by keyword.
        given: all positional arguments: one more than `function` takes.
        scale: what the factor is called.
        out: the tensor for the result.
    """
    takes = 3 if scale == "value" else 2
    input, factor, *tensors = given
    if len(given) != takes + 1 or isinstance(factor, Tensor):
        raise TypeError(f"{name}() takes {takes} positional arguments but {len(given)} were given")
    others = "Tensor tensor1, Tensor tensor2" if takes == 3 else "Tensor other"
    warn_once(
        "older forms",
        f"This overload of {name} is deprecated:\n\t{name}(Tensor input, Number {scale}, {others}, *, "
        "Tensor out = None)\nConsider using one of the following signatures instead:\n\t"
        f"{name}(Tensor input, {others}, *, Number {scale} = 1, Tensor out = None)",
        stacklevel=3,
    )
    return function(input, *tensors, out=out, **{scale: factor})


def array_of(name: str, value: Any, argument: str = "input", position: int = 1) -> Any:
    """The ndarray of an argument that must be a tensor; PyTorch's TypeError where it is something else."""
    if not isinstance(value, Tensor):
        require_tensor(name, argument, position, value)
    return value._array
