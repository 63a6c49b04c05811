"""Random tensors of a given shape: `rand`, `randn`, `randint` with their `_like` twins, and `randperm`.

They make an empty tensor and fill it by a method of `fill`. Samples of distributions that lie in
tensors are in `distributions`. Invariant: without a generator the default one is used, and after any
call the generator stands where PyTorch's would.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from rushlight import draws
from rushlight.dtype import BOOL_NUMPY, get_default_dtype, int64
from rushlight.dtype import dtype as DType
from rushlight.ops.arguments import int_tuple, int_varargs, require_tensor
from rushlight.ops.create import check_options, empty, empty_like, finish, numpy_type
from rushlight.ops.define import TITLES, apply, write_out
from rushlight.ops.fill import (
    chosen_generator,
    integer,
    normal_,
    random_,
    uniform_,
)
from rushlight.ops.kinds import primitive, public
from rushlight.random import Generator
from rushlight.tensor import Tensor

# -- tensors to fill -------------------------------------------------------------------------------------


def to_fill(
    name: str,
    size: Any,
    out: Any,
    dtype: Any,
    default: DType,
    layout: Any,
    device: Any,
    pin_memory: bool,
    requires_grad: bool,
) -> Tensor:
    """The tensor that a creation function is to fill: a new one, or `out` brought to its size."""
    check_options(name, layout, device, None, pin_memory, requires_grad)
    if out is None:
        return empty(size, dtype=dtype or default)
    require_tensor(name, "out", 0, out)
    if dtype is not None and numpy_type(name, dtype) != out._array.dtype:
        wanted, have = TITLES[dtype.name], TITLES[out.dtype.name]
        raise RuntimeError(f"dtype {wanted} does not match dtype of out parameter ({have})")
    return sized(out, tuple(size))


def sized(out: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`out` itself, resized if it has another shape."""
    if out._array.shape != shape:
        out._resize_output(shape)
    return out


def like_to_fill(
    name: str,
    input: Tensor,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    memory_format: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """An uninitialised tensor of the shape of `input`, by default of its type and order in memory too."""
    require_tensor(name, "input", 1, input)
    check_options(name, layout, device, memory_format, pin_memory, requires_grad)
    numpy_type(name, dtype, input.dtype)
    return empty_like(input, dtype=dtype, memory_format=memory_format)


# -- uniform and normal ----------------------------------------------------------------------------------


@public(method=False)
@int_varargs("size")
def rand(
    size: Any,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Numbers drawn evenly from 0 up to but without 1; the shape as numbers or one sequence.

    >>> import rushlight as torch
    >>> torch.rand(2, 3, generator=torch.Generator().manual_seed(0))
    tensor([[0.4963, 0.7682, 0.0885],
            [0.1320, 0.3074, 0.6341]])
    """
    made = to_fill("rand", size, out, dtype, get_default_dtype(), layout, device, pin_memory, requires_grad)
    return finish(uniform_(made, generator=generator), requires_grad, None)


@public(method=False)
@int_varargs("size")
def randn(
    size: Any,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Numbers of the normal distribution with mean 0 and variance 1; the shape as numbers or one sequence.

    >>> import rushlight as torch
    >>> torch.randn(3, generator=torch.Generator().manual_seed(0))
    tensor([ 1.5410, -0.2934, -2.1788])
    """
    made = to_fill("randn", size, out, dtype, get_default_dtype(), layout, device, pin_memory, requires_grad)
    return finish(normal_(made, generator=generator), requires_grad, None)


@public(method=False)
def rand_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Numbers drawn evenly from 0 up to but without 1, in the shape and of the type of `input`."""
    made = like_to_fill("rand_like", input, dtype, layout, device, pin_memory, memory_format, requires_grad)
    return finish(uniform_(made, generator=generator), requires_grad, None)


@public(method=False)
def randn_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Numbers of the normal distribution, in the shape and of the type of `input`."""
    made = like_to_fill("randn_like", input, dtype, layout, device, pin_memory, memory_format, requires_grad)
    return finish(normal_(made, generator=generator), requires_grad, None)


# -- integers --------------------------------------------------------------------------------------------


@public(method=False)
def randint(
    *bounds: Any,
    low: Any = None,
    high: Any = None,
    size: Any = None,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Integers from `low` up to but without `high`: ``randint(high, size)`` or ``randint(low, high, size)``.

    >>> import rushlight as torch
    >>> torch.randint(3, 10, (4,), generator=torch.Generator().manual_seed(0))
    tensor([7, 6, 3, 5])
    """
    given = list(bounds)
    if size is None and given:
        size = given.pop()
    low, high = _low_and_high("randint", given, low, high, "tuple of ints size", missing=size is None)
    if not isinstance(size, (tuple, list)):
        position = len(given) + 1
        raise TypeError(
            f"randint(): argument 'size' (position {position}) must be tuple of ints, "
            f"not {type(size).__name__}"
        )
    shape = int_tuple("randint", "size", (size,))
    made = to_fill("randint", shape, out, dtype, int64, layout, device, pin_memory, requires_grad)
    return finish(random_(made, low, high, generator=generator), requires_grad, None)


@public(method=False)
def randint_like(
    input: Tensor,
    *bounds: Any,
    low: Any = None,
    high: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Integers from `low` or 0 up to but without `high`, in the shape and of the type of `input`."""
    low, high = _low_and_high("randint_like", list(bounds), low, high, "Tensor input")
    made = like_to_fill(
        "randint_like", input, dtype, layout, device, pin_memory, memory_format, requires_grad
    )
    return finish(random_(made, low, high, generator=generator), requires_grad, None)


def _low_and_high(
    name: str, given: list[Any], low: Any, high: Any, other: str, missing: bool = False
) -> tuple[int, int]:
    """The bounds from ``(high)``, ``(low, high)`` or keywords."""
    named = [each for each in (low, high) if each is not None]
    if len(given) == 2 and not named:
        low, high = given
    elif len(given) == 1 and low is None and high is None:
        high = given[0]
    elif len(given) == 1 and low is None:
        low = given[0]
    elif given:
        missing = True
    if missing or high is None:
        refuse_arguments(name, (*given, *named), f"int high, {other}", f"int low, int high, {other}")
    first = integer(name, "low", 1, 0 if low is None else low)
    return first, integer(name, "high", 1 if low is None else 2, high)


def refuse_arguments(name: str, given: Sequence[Any], *expected: str) -> NoReturn:
    """Raise PyTorch's TypeError for arguments that fit none of the `expected` forms."""
    types = ", ".join(type(each).__name__ for each in given)
    forms = "".join(f" * ({form}, *, ...)\n" for form in expected)
    raise TypeError(
        f"{name}() received an invalid combination of arguments - "
        f"got ({types}), but expected one of:\n{forms}"
    )


@public(method=False)
def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """The integers from 0 to ``n - 1`` in random order.

    >>> import rushlight as torch
    >>> torch.randperm(5, generator=torch.Generator().manual_seed(0))
    tensor([4, 0, 1, 3, 2])
    """
    n = integer("randperm", "n", 1, n)
    made = to_fill("randperm", (n,), out, dtype, int64, layout, device, pin_memory, requires_grad)
    _check_length(n, made._array.dtype)
    chosen = chosen_generator("randperm", generator)
    shuffled = apply(PERMUTATION, (), {"n": n, "dtype": made._array.dtype, "generator": chosen})
    return finish(shuffled if out is None else write_out(out, shuffled), requires_grad, None)


PERMUTATION = primitive(
    "randperm",
    "random",
    lambda *, n, dtype, generator: draws.narrow(draws.permutation(generator, n), dtype),
    inputs=(),
)


def _check_length(n: int, kind: np.dtype) -> None:
    """Refuse permutations with numbers that the type cannot hold."""
    if kind is BOOL_NUMPY:
        raise NotImplementedError("\"randperm\" not implemented for 'Bool'")
    if kind.kind == "f" and n > draws.largest_integer(kind) + 1:
        title = TITLES[kind.name]
        raise RuntimeError(f"n cannot be greater than {draws.largest_integer(kind) + 1} for {title} type.")
    if kind.kind != "f" and n > draws.largest_integer(kind) + 1:
        raise RuntimeError(f"value cannot be converted to type {kind.name}_t without overflow")
