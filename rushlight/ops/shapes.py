"""Shapes worked out on plain ints: with a -1 filled in, broadcast, expanded. No tensors are made here.

Invariant: every function returns a tuple of non-negative ints, or raises what PyTorch raises, in its words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.ops.define import TITLES


def quick_shape(given: Sequence[Any], count: int) -> tuple[int, ...] | None:
    """The shape for `count` elements that a caller gave as ints or as one tuple of them, one perhaps -1.

    None where `int_tuple` and `concrete_shape` must have a closer look: this is their short way.
    """
    if len(given) == 1 and isinstance(given[0], tuple):
        given = given[0]
    product, unknown = 1, None
    for place, length in enumerate(given):
        if length.__class__ is not int:
            return None
        if length >= 0:
            product *= length
        elif length == -1 and unknown is None:
            unknown = place
        else:
            return None
    if unknown is None:
        return tuple(given) if product == count else None
    if product == 0 or count % product:
        return None
    return (*given[:unknown], count // product, *given[unknown + 1 :])


def concrete_shape(shape: Sequence[int], count: int) -> tuple[int, ...]:
    """`shape` with its -1, if any, worked out for `count` elements.

    >>> from rushlight.ops.shapes import concrete_shape
    >>> concrete_shape((2, -1), 6)
    (2, 3)
    """
    quick = quick_shape(shape, count)
    if quick is not None:
        return quick
    unknown, known = None, 1
    for index, length in enumerate(shape):
        if length == -1:
            if unknown is not None:
                raise RuntimeError("only one dimension can be inferred")
            unknown = index
        elif length < 0:
            raise RuntimeError(f"invalid shape dimension {length} at index {index} of shape {list(shape)}")
        else:
            known *= length
    if unknown is None or (count % known if known else count):
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {count}")
    if not known:
        raise RuntimeError(
            f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified "
            "dimension size -1 can be any value and is ambiguous"
        )
    return (*shape[:unknown], count // known, *shape[unknown + 1 :])


def broadcast_shape(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...]:
    """The shape that two tensors of these shapes broadcast to.

    >>> from rushlight.ops.shapes import broadcast_shape
    >>> broadcast_shape((2, 1), (3,))
    (2, 3)
    """
    try:
        return np.broadcast_shapes(first, second)
    except ValueError:
        pass
    ndim = max(len(first), len(second))
    wide = [(1,) * (ndim - len(each)) + tuple(each) for each in (first, second)]
    dim, a, b = next(
        (i, a, b)
        for i, (a, b) in reversed(list(enumerate(zip(*wide, strict=True))))
        if a != b and 1 not in (a, b)
    )
    raise RuntimeError(
        f"The size of tensor a ({a}) must match the size of tensor b ({b}) at non-singleton dimension {dim}"
    )


def expanded_shape(
    shape: tuple[int, ...], sizes: tuple[int, ...], kind: np.dtype | None = None
) -> tuple[int, ...]:
    """The shape that `expand` gives a tensor for these sizes, in which -1 stands for the tensor's own.

    `kind` is the tensor's type, for the error.

    >>> from rushlight.ops.shapes import expanded_shape
    >>> expanded_shape((3, 1), (2, -1, 4))
    (2, 3, 4)
    """
    added = len(sizes) - len(shape)
    if added < 0:
        title = "Float" if kind is None else TITLES[kind.name]
        raise RuntimeError(
            f"expand(torch.{title}Tensor{{{list(shape)}}}, size={list(sizes)}): the number of sizes "
            f"provided ({len(sizes)}) must be greater or equal to the number of dimensions in the tensor "
            f"({len(shape)})"
        )
    found = list(sizes)
    for dim, size in enumerate(sizes):
        own = shape[dim - added] if dim >= added else 1
        if size == own:
            continue
        if size == -1:
            if dim < added:
                raise RuntimeError(
                    "The expanded size of the tensor (-1) isn't allowed in a leading, non-existing "
                    f"dimension {dim}"
                )
            found[dim] = own
        elif own != 1 or size < 0:
            raise RuntimeError(
                f"The expanded size of the tensor ({size}) must match the existing size ({own}) at "
                f"non-singleton dimension {dim}.  Target sizes: {list(sizes)}.  Tensor sizes: {list(shape)}"
            )
    return tuple(found)


def broadcast_batch(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    """The broadcast of two batch shapes; RuntimeError with PyTorch's sentence where they do not fit."""
    ndim = max(len(left), len(right))
    padded = [(1,) * (ndim - len(each)) + tuple(each) for each in (left, right)]
    result = []
    for place, (n, m) in enumerate(zip(*padded, strict=True)):
        if n != m and 1 not in (n, m):
            raise RuntimeError(
                f"The size of tensor a ({n}) must match the size of tensor b ({m}) at non-singleton "
                f"dimension {place}"
            )
        result.append(m if n == 1 else n)
    return tuple(result)
