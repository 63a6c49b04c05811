"""A tensor cut into several views: `unbind`, `split`, `chunk`, `tensor_split` and NumPy's ``hsplit`` family.

`unbind` and `split` are ops with many outputs and one node, whose gradient joins those of all outputs at
once: linear in the size of the input, however many parts there are. As in PyTorch, such parts may not be
changed in place while history is recorded; those of `tensor_split` and its kin, made one by one, may.
Invariant: nothing here copies.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.ops.arguments import array_of, int_tuple, numpy_names
from rushlight.ops.define import apply
from rushlight.ops.join import cat, stack
from rushlight.ops.kinds import composite, primitive, public
from rushlight.ops.samples import Sample, T
from rushlight.ops.slicing import sliced
from rushlight.tensor import Tensor, normal_dim


def _unbind(input: np.ndarray, *, dim: int) -> tuple[np.ndarray, ...]:
    before: tuple[Any, ...] = (slice(None),) * dim
    return tuple([input[(*before, i, ...)] for i in range(input.shape[dim])])


def _split(input: np.ndarray, *, sizes: tuple[int, ...], dim: int) -> tuple[np.ndarray, ...]:
    before, start, parts = (slice(None),) * dim, 0, []
    for size in sizes:
        parts.append(input[(*before, slice(start, start + size))])
        start += size
    return tuple(parts)


UNBIND = primitive("unbind", "view", _unbind, dict(input=lambda g, dim: stack(g, dim)))
SPLIT = primitive("split", "view", _split, dict(input=lambda g, dim: cat(g, dim)))
SPLIT_WITH_SIZES = primitive("split_with_sizes", "view", _split, dict(input=lambda g, dim: cat(g, dim)))


def _unbind_samples() -> list[Sample]:
    found = [Sample([T((2, 3, 4)), *each]) for each in ((), (1,), (-1,))] + [
        Sample([T((3,))]),
        Sample([T((0, 3))]),
    ]
    return [
        *found,
        Sample([T((2, 3), "int64")]),
        Sample([T(())], raises=True),
        Sample([T((2,)), 1], raises=True),
    ]


@public(UNBIND, samples=_unbind_samples)
@numpy_names
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices of a tensor along a dimension, without that dimension, as views.

    >>> import rushlight as torch
    >>> torch.tensor([[1, 2], [3, 4]]).unbind()
    (tensor([1, 2]), tensor([3, 4]))
    """
    ndim = array_of("unbind", input).ndim
    if ndim == 0:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    return apply(UNBIND, (input,), {"dim": normal_dim(dim, ndim)})


def _split_samples() -> list[Sample]:
    found = [Sample([T((5, 3)), *each]) for each in ((2,), (5,), (7,), ([2, 0, 3],), (2, -1), ((1, 2), 1))]
    refused = [Sample([T((5, 3)), each], raises=True) for each in (0, -1, [1, 1], [-1, 6])]
    return [
        *found,
        Sample([T((0, 3)), 2]),
        Sample([T((4,), "int64"), 3]),
        Sample([T(()), 1], raises=True),
        *refused,
    ]


@public(SPLIT, samples=_split_samples)
def split(
    tensor: Tensor,
    split_size_or_sections: int | Sequence[int] | None = None,
    dim: int = 0,
    *,
    split_size: Any = None,
) -> tuple[Tensor, ...]:
    """A tensor cut along a dimension into parts of a size (the last may be shorter), or of the sizes given.

    `split_size` is the method's name for the second argument.

    >>> import rushlight as torch
    >>> torch.arange(5).split(2)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    """
    size = split_size if split_size_or_sections is None else split_size_or_sections
    if not hasattr(size, "__index__"):
        return split_with_sizes(tensor, size, dim)
    shape = array_of("split", tensor, "tensor").shape
    if not shape:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    size, dim = size.__index__(), normal_dim(dim, len(shape))
    length = shape[dim]
    if size < 0:
        raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}")
    if size == 0 and length:
        raise RuntimeError(
            f"split_size can only be 0 if dimension size is 0, but got dimension size of {length}"
        )
    parts = max((length + size - 1) // size, 1) if size else 1
    sizes = (*[size] * (parts - 1), length - size * (parts - 1))
    return apply(SPLIT, (tensor,), {"sizes": sizes, "dim": dim})


def _sizes_samples() -> list[Sample]:
    found = [Sample([T((5, 3)), [2, 3]]), Sample([T((5, 3)), (1, 2), 1]), Sample([T((0, 3)), [0, 0]])]
    return found + [Sample([T((5, 3)), each], raises=True) for each in ([1, 1], [-1, 6])]


@public(SPLIT_WITH_SIZES, samples=_sizes_samples)
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """A tensor cut along a dimension into parts of the sizes given, which must add up to its length."""
    shape = array_of("split_with_sizes", input).shape
    sizes = int_tuple("split_with_sizes", "split_sizes", (split_sizes,))
    if not shape:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    dim = normal_dim(dim, len(shape))
    if min(sizes, default=0) < 0:
        raise RuntimeError(
            "split_with_sizes expects split_sizes have only non-negative entries, but got "
            f"split_sizes={list(sizes)}"
        )
    if sum(sizes) != shape[dim]:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {shape[dim]} (input tensor's size at "
            f"dimension {dim}), but got split_sizes={list(sizes)}"
        )
    return apply(SPLIT_WITH_SIZES, (input,), {"sizes": sizes, "dim": dim})


def _chunk_samples() -> list[Sample]:
    found = [Sample([T((5, 3)), *each]) for each in ((2,), (3,), (9,), (2, 1))] + [
        Sample([T((0, 3)), 3]),
        Sample([T((0, 3)), 2, 1]),
    ]
    return [*found, Sample([T((4,)), 0], raises=True), Sample([T(()), 1], raises=True)]


@composite(samples=_chunk_samples)
@numpy_names
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """A tensor cut along a dimension into at most `chunks` parts of equal size (the last may be shorter).

    >>> import rushlight as torch
    >>> torch.arange(5).chunk(3)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    """
    shape = array_of("chunk", input).shape
    if not shape:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    length = shape[normal_dim(dim, len(shape))]
    if length == 0:
        return split_with_sizes(input, (0,) * chunks, dim)
    return split(input, (length + chunks - 1) // chunks, dim)


# -- parts made one by one -----------------------------------------------------------------------------------


def _tensor_split_samples() -> list[Sample]:
    found = [
        Sample([T((5, 3)), *each]) for each in ((2,), (7,), ([1, 3],), ((3, 1),), ([-1],), ([10],), (2, 1))
    ]
    found.append(Sample([T((5,)), T((), "int64", values=[1, 2])]))
    return [
        *found,
        Sample([T((5,)), T((), "int64", values=2)]),
        Sample([T((4,)), 0], raises=True),
        Sample([T(()), 1], raises=True),
    ]


@composite(samples=_tensor_split_samples)
def tensor_split(
    input: Tensor,
    indices_or_sections: Any = None,
    dim: int = 0,
    *,
    sections: int | None = None,
    indices: Any = None,
    tensor_indices_or_sections: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """A tensor cut along a dimension into so many nearly equal parts, or before each of the indices given.

    >>> import rushlight as torch
    >>> torch.arange(5).tensor_split(3)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    """
    given = (indices_or_sections, sections, indices, tensor_indices_or_sections)
    asked = next((each for each in given if each is not None), None)
    shape = array_of("tensor_split", input).shape
    if not shape:
        raise RuntimeError(
            f"tensor_split expected at least a 1-dimensional tensor, but got a tensor with {len(shape)} dims"
        )
    if isinstance(asked, Tensor):
        if asked._array.dtype != np.int64:
            from rushlight.ops.define import TITLES

            raise RuntimeError(
                "tensor_split expected tensor_indices_or_sections to have dtype of long, but got "
                f"{TITLES[asked.dtype.name]}"
            )
        asked = asked.tolist()
    dim = normal_dim(dim, len(shape))
    length = shape[dim]
    if isinstance(asked, int):
        if asked <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {asked}")
        bounds = [length // asked * i + min(i, length % asked) for i in range(asked + 1)]
    else:
        bounds = [0, *int_tuple("tensor_split", "indices", (asked,)), length]
    return tuple(_range_of(input, dim, start, stop) for start, stop in itertools.pairwise(bounds))


def _range_of(input: Tensor, dim: int, start: int, stop: int) -> Tensor:
    """``input[start:stop]`` along a dimension, for any ints, as Python slices them."""
    start, stop, _ = slice(start, stop).indices(input._array.shape[dim])
    return sliced(input, dim, start, max(start, stop))


def _split_family(name: str, least: int, dim: int) -> Any:
    """``hsplit`` and its like: `tensor_split` along a fixed dimension, into parts that must come out even."""

    def function(
        input: Tensor, indices_or_sections: Any = None, *, sections: int | None = None, indices: Any = None
    ) -> Any:
        shape = array_of(name, input).shape
        asked = next((each for each in (indices_or_sections, sections, indices) if each is not None), None)
        if len(shape) < least:
            raise RuntimeError(
                f"torch.{name} requires a tensor with at least {least} dimension, but got a tensor with "
                f"{len(shape)} dimensions!"
            )
        along = 0 if name == "hsplit" and len(shape) == 1 else dim
        if isinstance(asked, int) and (asked == 0 or shape[along] % asked):
            raise RuntimeError(
                f"torch.{name} attempted to split along dimension {along}, but the size of the dimension "
                f"{shape[along]} is not divisible by the split_size {asked}!"
            )
        return tensor_split(input, asked, along)

    def samples() -> list[Sample]:
        found = [
            Sample([T((2, 4, 6)), 2]),
            Sample([T((2, 4, 6)), [1]]),
            Sample([T((2, 4, 6)), 5], raises=True),
        ]
        return [*found, Sample([T((4,)), 2], raises=least > 1), Sample([T(()), 1], raises=True)]

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`tensor_split` along dimension {dim}, into equal parts or before the indices given."
    return composite(samples=samples)(function)


hsplit = _split_family("hsplit", 1, 1)
vsplit = _split_family("vsplit", 2, 0)
dsplit = _split_family("dsplit", 3, 2)
