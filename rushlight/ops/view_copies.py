"""What views are, as copies: ``view_copy``, ``select_copy`` and their kin; and splits that are no views.

A ``<view>_copy`` is called as the function that makes the view. Invariant: its result shares no memory with
its input. The parts of an ``unsafe_`` split do share it, but the input's history does not follow what is
done to them in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rushlight.ops.arguments import array_of
from rushlight.ops.broadcast import expand
from rushlight.ops.copies import row_major_copy
from rushlight.ops.define import apply, labelled, write_out
from rushlight.ops.join import cat
from rushlight.ops.kinds import composite, primitive, public
from rushlight.ops.samples import Named, Sample, T
from rushlight.ops.shape import ALIAS, squeeze, unsqueeze, view
from rushlight.ops.slicing import as_strided, diagonal, narrow, select, sliced, unfold
from rushlight.ops.split import SPLIT, chunk, split, split_with_sizes, unbind
from rushlight.ops.transpose import permute, t, transpose
from rushlight.tensor import Tensor, normal_dim


def _alias(input: Tensor) -> Tensor:
    array_of("alias_copy", input)
    return apply(ALIAS, (input,))


def _view_one(input: Tensor, size: Any) -> Tensor:
    return view(input, size)


def _slice(
    input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """`sliced` with the bounds that a Python slice takes."""
    shape = array_of("slice_copy", input).shape
    if not shape:
        raise RuntimeError("slice() cannot be applied to a 0-dim tensor.")
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    dim = normal_dim(dim, len(shape))
    first, stop, _ = slice(start, end).indices(shape[dim])
    return sliced(input, dim, first, max(first, stop), step)


def _copied(part: Tensor, node_name: str | None) -> Tensor:
    copy = row_major_copy(part)
    if part._node is None:
        return copy
    return labelled(copy, node_name or part._node.name() + "_copy")


def _enter(
    name: str,
    view_function: Callable[..., Any],
    given: Sequence[tuple[Any, ...]],
    node_name: str | None = None,
) -> None:
    """Enter the copy of a view into the table, with samples of the arguments after the tensor."""

    def function(input: Tensor, *args: Any, out: Any = None, **named: Any) -> Any:
        parts = view_function(input, *args, **named)
        if isinstance(parts, Tensor):
            result: Any = _copied(parts, node_name)
        else:
            result = tuple(_copied(each, node_name) for each in parts)
        return result if out is None else write_out(out, result)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{name.removesuffix('_copy')}` as a copy that shares no memory with its input."

    def samples() -> list[Sample]:
        several = view_function in (split, split_with_sizes, unbind)
        why = "PyTorch neither resizes nor returns the tensors given for several results"
        return [Sample([T((3, 4)), *args], out=not several, why=why if several else "") for args in given]

    composite(samples=samples, name=name, method=name == "narrow_copy")(function)


_enter("alias_copy", _alias, [()])
_enter("as_strided_copy", as_strided, [((2, 2), (1, 3)), ((2,), (4,), 1)])
_enter("diagonal_copy", diagonal, [(), (1,), (-1, 1, 0)])
_enter("expand_copy", expand, [((2, 3, 4),), ((-1, 4),)])
_enter("narrow_copy", narrow, [(0, 1, 2), (1, -2, 1)], "NarrowCopyBackward0")
_enter("permute_copy", permute, [((1, 0),)])
_enter("select_copy", select, [(0, 1), (-1, -1)])
_enter("slice_copy", _slice, [(), (1, 1), (0, -2, 3), (1, 0, 4, 2)])
_enter("split_copy", split, [(2,), (3, 1)])
_enter("split_with_sizes_copy", split_with_sizes, [([1, 2],), ([1, 3], 1)])
_enter("squeeze_copy", squeeze, [(), (0,), ((0, 1),)])
_enter("t_copy", t, [()])
_enter("transpose_copy", transpose, [(0, 1)])
_enter("unbind_copy", unbind, [(), (1,)])
_enter("unfold_copy", unfold, [(1, 2, 1), (0, 2, 1)])
_enter("unsqueeze_copy", unsqueeze, [(0,), (-1,)])
_enter("view_copy", _view_one, [((4, 3),), ((-1,),), (Named("int32"),)])


# -- parts that are no views ---------------------------------------------------------------------------------

UNSAFE_SPLIT, UNSAFE_SPLIT_WITH_SIZES = (
    primitive(name, "indexed", SPLIT.forward, dict(input=lambda g, dim: cat(g, dim)), inputs=("input",))
    for name in ("unsafe_split", "unsafe_split_with_sizes")
)


def _sizes_of(parts: Sequence[Tensor], dim: int) -> dict[str, Any]:
    """The params of an unsafe split into parts as long as these."""
    dim = normal_dim(dim, parts[0].dim())
    return {"sizes": tuple(each._array.shape[dim] for each in parts), "dim": dim}


@public(UNSAFE_SPLIT, samples=lambda: [Sample([T((5, 3)), *each]) for each in ((2,), (7,), (2, -1))])
def unsafe_split(input: Tensor, split_size: int, dim: int = 0) -> tuple[Tensor, ...]:
    """`split`, but the parts are no views: in-place changes of them are not recorded as changes of `input`.

    >>> import rushlight as torch
    >>> torch.arange(3).unsafe_split(2)
    (tensor([0, 1]), tensor([2]))
    """
    array_of("unsafe_split", input)
    return apply(UNSAFE_SPLIT, (input,), _sizes_of(split(input.detach(), split_size, dim), dim))


@public(
    UNSAFE_SPLIT_WITH_SIZES, samples=lambda: [Sample([T((5, 3)), [2, 3]]), Sample([T((5, 3)), (1, 2), 1])]
)
def unsafe_split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """`split_with_sizes`, but the parts are no views."""
    array_of("unsafe_split_with_sizes", input)
    parts = split_with_sizes(input.detach(), split_sizes, dim)
    return apply(UNSAFE_SPLIT_WITH_SIZES, (input,), _sizes_of(parts, dim))


@public(UNSAFE_SPLIT, samples=lambda: [Sample([T((5, 3)), *each]) for each in ((2,), (9,), (2, 1))])
def unsafe_chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """`chunk`, but the parts are no views."""
    array_of("unsafe_chunk", input)
    params = _sizes_of(chunk(input.detach(), chunks, dim), dim)
    op = UNSAFE_SPLIT if any(params["sizes"]) else UNSAFE_SPLIT_WITH_SIZES
    return apply(op, (input,), params)
