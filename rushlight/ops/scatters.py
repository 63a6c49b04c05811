"""Copies with a part replaced: `select_scatter`, `slice_scatter`, `diagonal_scatter`, `as_strided_scatter`.

Each is the out-of-place form of a write through a view, and takes the arguments of the function that makes
that view. Invariant: the part replaced has exactly the shape of what replaces it; nothing is broadcast.
"""

from __future__ import annotations

from typing import Any

from rushlight.ops.arguments import array_of, require_tensor
from rushlight.ops.copies import convert
from rushlight.ops.define import Op, apply
from rushlight.ops.kinds import public, renamed
from rushlight.ops.samples import Sample, T
from rushlight.ops.slicing import as_strided, diagonal, select, sliced
from rushlight.ops.window import SCATTER
from rushlight.tensor import Tensor, normal_dim
from rushlight.views import Geometry

SELECT_SCATTER = renamed(SCATTER, "SelectScatterBackward0")
SLICE_SCATTER = renamed(SCATTER, "SliceScatterBackward0")
DIAGONAL_SCATTER = renamed(SCATTER, "DiagonalScatterBackward0")


def _replaced(op: Op, input: Tensor, src: Tensor, part: Tensor, out: Any = None) -> Tensor:
    """A copy of `input` with `src`, converted to its type, where `part` (a view of it) lies."""
    if src._array.shape != part._array.shape:
        raise RuntimeError(
            "expected src to have a size equal to the slice of self. "
            f"src size = {list(src.shape)}, slice size = {list(part.shape)}"
        )
    geometry = Geometry(input._array, part._array)
    return apply(op, (input, convert(src, input.dtype)), {"geometry": geometry}, out)


def _samples(good: list[tuple[Any, ...]], bad: list[tuple[Any, ...]]) -> list[Sample]:
    """Samples from arguments, and from arguments that are errors, whose second is the shape of `src`."""
    found = [Sample([T(shape), T(part), *rest]) for shape, part, *rest in good]
    return found + [Sample([T(shape), T(part), *rest], raises=True) for shape, part, *rest in bad]


def _select_samples() -> list[Sample]:
    found = _samples(
        [((2, 3), (3,), 0, 1), ((2, 3, 4), (2, 3), -1, -2), ((3,), (), 0, 2)],
        [((2, 3), (2,), 0, 1), ((2, 3), (1,), 0, 1), ((2, 3), (3,), 0, 2), ((2, 3), (3,), 2, 0)],
    )
    found += [Sample([T(()), T(()), 0, 0], raises=True), Sample([T((2, 3)), 1.0, 0, 0], raises=True)]
    found.append(Sample([T((2, 3), "int64"), T((3,), grad=False), 0, 1]))
    return [*found, Sample([T((2, 3)), T((3,), "int64"), 0, 1])]


@public(SELECT_SCATTER, samples=_select_samples)
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of `input` whose slice at one place of a dimension is `src`.

    >>> import rushlight as torch
    >>> torch.zeros(2, 2).select_scatter(torch.ones(2), 0, 1)
    tensor([[0., 0.],
            [1., 1.]])
    """
    array_of("select_scatter", input)
    require_tensor("select_scatter", "src", 2, src)
    return _replaced(SELECT_SCATTER, input, src, select(input.detach(), dim, index))


def _slice_samples() -> list[Sample]:
    return _samples(
        [
            ((2, 3), (2, 2), 1, 1),
            ((2, 3), (2, 2), 1, -2),
            ((2, 3), (2, 2), 1, 0, 3, 2),
            ((2, 3), (2, 3)),
            ((2, 3), (2, 3), 0, 0, 100),
            ((2, 3), (2, 0), 1, 2, 1),
            ((5,), (2,), 0, -4, -1, 2),
        ],
        [
            ((2, 3), (2, 2), 1, 0, 3, -1),
            ((2, 3), (2, 2), 1, 0, 3, 0),
            ((2, 3), (1, 2), 1, 1),
            ((2, 3), (2, 3), 2),
        ],
    )


@public(SLICE_SCATTER, samples=_slice_samples)
def slice_scatter(
    input: Tensor,
    src: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
    *,
    out: Any = None,
) -> Tensor:
    """A copy of `input` where ``start:end:step`` of a dimension is `src`; the bounds are those of a slice.

    >>> import rushlight as torch
    >>> torch.zeros(5).slice_scatter(torch.ones(2), 0, 1, 5, 2)
    tensor([0., 1., 0., 1., 0.])
    """
    shape = array_of("slice_scatter", input).shape
    require_tensor("slice_scatter", "src", 2, src)
    if not shape:
        raise RuntimeError("slice() cannot be applied to a 0-dim tensor.")
    dim = normal_dim(dim, len(shape))
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    first, stop, _ = slice(start, end).indices(shape[dim])
    part = sliced(input.detach(), dim, first, max(first, stop), step)
    return _replaced(SLICE_SCATTER, input, src, part, out)


def _diagonal_samples() -> list[Sample]:
    return _samples(
        [((2, 3), (2,)), ((2, 3), (1,), 1, 1, 0), ((2, 3, 4), (4, 1), -1, 0, 1), ((3, 3), (2,), 1)],
        [((2, 3), (3,)), ((2, 3), (2,), 1, 1, 0), ((2, 3), (2,), 0, 0, 0)],
    )


@public(DIAGONAL_SCATTER, samples=_diagonal_samples)
def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A copy of `input` whose diagonal between two dimensions is `src`.

    >>> import rushlight as torch
    >>> torch.zeros(2, 2).diagonal_scatter(torch.ones(2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    array_of("diagonal_scatter", input)
    require_tensor("diagonal_scatter", "src", 2, src)
    return _replaced(DIAGONAL_SCATTER, input, src, diagonal(input.detach(), offset, dim1, dim2))


def _strided_samples() -> list[Sample]:
    # PyTorch's gradient for the input is wrong (that of the part replaced), and so is that for src where the
    # input is not contiguous: only the gradient for src is compared, on input that is.
    x = T(values=[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], grad=False)
    found = [Sample([x, T((2, 2)), (2, 2), (1, 2)]), Sample([x, T((2, 2)), (2, 2), (1, 2), 1])]
    bad = [((2, 3), (4,), (2, 2), (1, 2)), ((2, 3), (2, 2), (2, 2), (6, 1))]
    return [*found, Sample([x, T(()), (), ()]), *_samples([], bad)]


@public(SCATTER, samples=_strided_samples)
def as_strided_scatter(
    input: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: int | None = None
) -> Tensor:
    """A copy of `input` where a window of its storage, as `as_strided` cuts it, is `src`.

    >>> import rushlight as torch
    >>> torch.zeros(4).as_strided_scatter(torch.ones(2), (2,), (3,))
    tensor([1., 0., 0., 1.])
    """
    array_of("as_strided_scatter", input)
    require_tensor("as_strided_scatter", "src", 2, src)
    if input.requires_grad and not input.is_contiguous():
        raise RuntimeError("as_strided_scatter is currently only supported for contiguous inputs")
    if storage_offset is None:
        storage_offset = input.storage_offset()
    return _replaced(SCATTER, input, src, as_strided(input.detach(), size, stride, storage_offset))
