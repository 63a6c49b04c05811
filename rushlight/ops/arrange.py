"""Copies with elements repeated or in another order: `repeat`, `tile`, `roll`, `flip`, `rot90` and their kin.

Invariant: each gradient is the same op run backwards, or the sum over the repetitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.autograd.mode import reading
from rushlight.dtype import I64
from rushlight.ops.arguments import array_of, int_tuple, int_varargs, numpy_names, require_tensor
from rushlight.ops.broadcast import expand
from rushlight.ops.copies import row_major_copy
from rushlight.ops.define import TITLES, Op, apply
from rushlight.ops.dims import dims_of
from rushlight.ops.kinds import composite, primitive, public
from rushlight.ops.samples import Sample, T
from rushlight.ops.shape import reshape_to
from rushlight.storage import copy_order, row_major
from rushlight.tensor import Tensor, normal_dim

# -- repeating -----------------------------------------------------------------------------------------------


def _repeat(input: np.ndarray, *, repeats: tuple[int, ...]) -> np.ndarray:
    shape = (1,) * (len(repeats) - input.ndim) + input.shape
    spread = [each for n in shape for each in (1, n)]
    wide = np.broadcast_to(
        input.reshape(spread), [each for pair in zip(repeats, shape, strict=True) for each in pair]
    )
    return wide.reshape([times * n for times, n in zip(repeats, shape, strict=True)])


def _sum_repeats(g: Tensor, shape: tuple[int, ...], repeats: tuple[int, ...]) -> Tensor:
    """The gradient of `repeat`: the sum over the repetitions."""
    shape = (1,) * (len(repeats) - len(shape)) + shape
    pairs = tuple(each for pair in zip(repeats, shape, strict=True) for each in pair)
    return reshape_to(g, pairs).sum(tuple(range(0, len(pairs), 2))) if pairs else g


REPEAT = primitive(
    "repeat",
    "indexed",
    lambda input, *, repeats: np.array(_repeat(input, repeats=repeats), order="C"),
    dict(input=lambda g, input_shape, repeats: _sum_repeats(g, input_shape, repeats)),
)


def _repeat_samples() -> list[Sample]:
    cases: list[Any] = [
        ((2, 3), (2, 2)),
        ((2, 3), (2, 1, 3)),
        ((), (3,)),
        ((), ()),
        ((2, 3), (0, 1)),
        ((3,), (1,)),
        ((0, 2), (2, 2)),
    ]
    found = [Sample([T(shape), times]) for shape, times in cases] + [Sample([T((2,), "bool"), (2,)])]
    return [*found, Sample([T((2, 3)), (2,)], raises=True), Sample([T((2, 3)), (-1, 1)], raises=True)]


@int_varargs("repeats")
def repeat(input: Tensor, repeats: tuple[int, ...]) -> Tensor:
    """`input` beside itself, so many times along each dimension (the first of them may be new).

    >>> import rushlight as torch
    >>> torch.tensor([1, 2]).repeat(2, 2)
    tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])
    """
    array = array_of("repeat", input)
    if len(repeats) < array.ndim:
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor"
        )
    if min(repeats, default=0) < 0:
        shape = (1,) * (len(repeats) - array.ndim) + array.shape
        result = [times * n for times, n in zip(repeats, shape, strict=True)]
        worst = next(each for each, times in zip(result, repeats, strict=True) if times < 0)
        raise RuntimeError(f"Trying to create tensor with negative dimension {worst}: {result}")
    return apply(REPEAT, (input,), {"repeats": repeats})


public(REPEAT, samples=_repeat_samples, torch_name="Tensor.repeat")(repeat)


def _tile_samples() -> list[Sample]:
    return [Sample([T((2, 3)), dims]) for dims in ((2,), (2, 1), (2, 2, 1), ())] + [Sample([T(()), (2,)])]


@int_varargs("dims")
def tile(input: Tensor, dims: tuple[int, ...]) -> Tensor:
    """`repeat`, with ones put in front of `dims` where the tensor has more dimensions.

    >>> import rushlight as torch
    >>> torch.tensor([[1], [2]]).tile(2)
    tensor([[1, 1],
            [2, 2]])
    """
    missing = array_of("tile", input).ndim - len(dims)
    return repeat(input, (1,) * missing + dims)


composite(samples=_tile_samples)(tile)

REPEAT_NUMBERS = primitive(
    "repeat_interleave", "opaque", lambda repeats: np.repeat(np.arange(len(repeats), dtype=np.int64), repeats)
)


def _interleave_samples() -> list[Sample]:
    times = T((), "int64", values=[1, 0, 2])
    x = T((3, 2))
    found = [
        Sample([x, 2]),
        Sample([x, 2, 0]),
        Sample([x, 2], {"dim": -1}),
        Sample([x, times, 0]),
        Sample([x, times, 0], {"output_size": 3}),
    ]
    found += [
        Sample([times]),
        Sample([x, T((), "int64", values=[2])]),
        Sample([T(()), 3]),
        Sample([x, 0, 1]),
        Sample([x, T((), "int32", values=2), 1]),
    ]
    refused: list[list[Any]] = [
        [x, times, 1],
        [x, -1],
        [x, T((), "int64", values=[1, -1, 1]), 0],
        [x, T((3,)), 0],
        [x, 2, 2],
    ]
    return (
        found
        + [Sample(each, raises=True) for each in refused]
        + [Sample([x, times, 0], {"output_size": 4}, raises=True)]
    )


@composite(samples=_interleave_samples)
@numpy_names
def repeat_interleave(
    input: Tensor | None = None,
    repeats: int | Tensor | None = None,
    dim: int | None = None,
    *,
    output_size: int | None = None,
) -> Tensor:
    """Each element (along `dim`; by default of all in one row) repeated, all alike or each by its own number.

    Given one tensor of numbers alone, the indices that would repeat so. `output_size`, if given, must be
    the length of the result.

    >>> import rushlight as torch
    >>> torch.tensor([1, 2, 3]).repeat_interleave(torch.tensor([2, 0, 1]))
    tensor([1, 1, 3])
    """
    if input is None and isinstance(repeats, Tensor):
        return _repeated_numbers(repeats)
    require_tensor("repeat_interleave", "input", 1, input)
    assert input is not None  # as was just checked
    if repeats is None:
        return _repeated_numbers(input)
    if dim is None:
        input, dim = input.reshape(-1), 0
    shape = input._array.shape
    dim = normal_dim(dim, len(shape))
    if isinstance(repeats, Tensor) and repeats._array.size == 1:
        repeats = expand(repeats.reshape(1), (shape[dim] if shape else 1,))
    if isinstance(repeats, Tensor):
        if repeats._array.ndim > 1:
            raise RuntimeError("repeats must be 0-dim or 1-dim tensor")
        if repeats._array.size != shape[dim]:
            raise RuntimeError(
                "repeats must have the same size as input along dim, but got repeats.size(0) = "
                f"{repeats._array.size} and input.size({dim}) = {shape[dim]}"
            )
        return input.index_select(dim, _repeated_numbers(repeats, output_size))
    if not isinstance(repeats, int):
        raise TypeError(
            "repeat_interleave() received an invalid combination of arguments - got "
            f"({type(repeats).__name__})"
        )
    if repeats < 0:
        raise RuntimeError("Repeats must be non-negative")
    wide = input.unsqueeze(dim + 1)
    spread = row_major_copy(expand(wide, (*shape[: dim + 1], repeats, *shape[dim + 1 :])))
    return spread.flatten(dim, dim + 1)


def _repeated_numbers(repeats: Tensor, output_size: int | None = None) -> Tensor:
    """0, 1, 2, ..., each as often as its place in `repeats` says."""
    reading("repeat_interleave() with a tensor of repeats", repeats)
    array = repeats._array
    if array.ndim != 1:
        raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
    if array.dtype != I64 and array.dtype != np.dtype(np.int32):
        raise NotImplementedError(
            f"\"repeat_interleave_cpu\" not implemented for '{TITLES[repeats.dtype.name]}'"
        )
    if array.size and array.min() < 0:
        raise RuntimeError("repeats can not be negative")
    if output_size is not None and output_size != array.sum():
        raise RuntimeError("allocated size does not match required size")
    return apply(REPEAT_NUMBERS, (repeats,))


# -- another order -------------------------------------------------------------------------------------------


def _roll(input: np.ndarray, *, shifts: tuple[int, ...], dims: tuple[int, ...]) -> np.ndarray:
    return row_major(np.roll(input, shifts, dims or None))


ROLL: Op = primitive(
    "roll",
    "indexed",
    _roll,
    dict(
        input=lambda g, shifts, dims: apply(
            ROLL, (g,), {"shifts": tuple(-each for each in shifts), "dims": dims}
        )
    ),
)


def _roll_samples() -> list[Sample]:
    x = T((2, 3))
    cases: list[Any] = [(1,), (1, 0), ((1, 2), (0, 1)), (-7,), ((1, 2), (0, 0)), ([1], [-1])]
    found = [Sample([x, *each]) for each in cases] + [Sample([T(()), 1]), Sample([T((0, 3)), 1, 0])]
    refused: list[Any] = [((1, 1),), (1, (0, 1)), (1, 2)]
    return (
        found + [Sample([x, *each], raises=True) for each in refused] + [Sample([T(()), 1, 0], raises=True)]
    )


def _ints(name: str, argument: str, value: Any) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else int_tuple(name, argument, (value,))


@public(ROLL, samples=_roll_samples)
def roll(input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] = ()) -> Tensor:
    """`input` with its elements moved on along dimensions; what leaves at the end enters in front.

    Without `dims` all elements are rolled in one row.

    >>> import rushlight as torch
    >>> torch.tensor([1, 2, 3]).roll(1)
    tensor([3, 1, 2])
    """
    ndim = array_of("roll", input).ndim
    steps, along = _ints("roll", "shifts", shifts), _ints("roll", "dims", dims)
    if len(steps) != len(along) and not (len(steps) == 1 and not along):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(steps)}, dims:{len(along)}")
    if along and ndim == 0:
        raise IndexError(f"Dimension specified as {along[0]} but tensor has no dimensions")
    return apply(ROLL, (input,), {"shifts": steps, "dims": tuple(normal_dim(each, ndim) for each in along)})


def _flip(input: np.ndarray, *, dims: tuple[int, ...]) -> np.ndarray:
    turned = input[tuple([slice(None, None, -1 if dim in dims else 1) for dim in range(input.ndim)])]
    return turned.copy(copy_order(input))


FLIP: Op = primitive("flip", "indexed", _flip, dict(input=lambda g, dims: apply(FLIP, (g,), {"dims": dims})))


def _flip_samples() -> list[Sample]:
    found = [Sample([T((2, 3)), dims]) for dims in ((0,), (0, 1), (-1,), [0])] + [
        Sample([T(()), (0,)]),
        Sample([T((0, 2)), (0,)]),
    ]
    return [*found, Sample([T((2, 3)), (0, 0)], raises=True), Sample([T((2, 3)), (2,)], raises=True)]


def flip(input: Tensor, dims: Sequence[int]) -> Tensor:
    """A copy of `input` with the order of elements along dimensions reversed; the method takes them one by
    one, too.

    >>> import rushlight as torch
    >>> torch.tensor([[1, 2], [3, 4]]).flip(0)
    tensor([[3, 4],
            [1, 2]])
    """
    ndim = array_of("flip", input).ndim
    if not isinstance(dims, (tuple, list)):
        raise TypeError(
            f"flip(): argument 'dims' (position 2) must be tuple of ints, not {type(dims).__name__}"
        )
    dims = int_tuple("flip", "dims", (dims,))
    return apply(FLIP, (input,), {"dims": dims_of(dims, ndim) if dims else ()})


public(FLIP, samples=_flip_samples)(flip)
METHODS = {"flip": int_varargs("dims")(flip)}


@composite(samples=lambda: [Sample([T((2, 3))]), Sample([T((3,))], raises=True)])
def fliplr(input: Tensor) -> Tensor:
    """`flip` along dimension 1: left and right exchanged."""
    if array_of("fliplr", input).ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(input, (1,))


@composite(samples=lambda: [Sample([T((2, 3))]), Sample([T((3,))]), Sample([T(())], raises=True)])
def flipud(input: Tensor) -> Tensor:
    """`flip` along dimension 0: top and bottom exchanged."""
    if array_of("flipud", input).ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(input, (0,))


def _rot90(input: np.ndarray, *, k: int, dims: tuple[int, int]) -> np.ndarray:
    if k == 0:
        return input.copy()
    if k == 2:
        return _flip(input, dims=dims)
    return _flip(input, dims=(dims[1 if k == 1 else 0],)).swapaxes(*dims)


ROT90: Op = primitive(
    "rot90", "indexed", _rot90, dict(input=lambda g, k, dims: apply(ROT90, (g,), {"k": -k % 4, "dims": dims}))
)


def _rot90_samples() -> list[Sample]:
    cases: list[Any] = [(), (2,), (-1, [0, 1]), (1, [1, 0]), (4,), (7, (0, 1))]
    found = [Sample([T((2, 3)), *each]) for each in cases] + [Sample([T((2, 3, 4)), 1, [0, -1]])]
    refused: list[Any] = [(1, [0, 0]), (1, [0]), (1, [0, 2])]
    return (
        found
        + [Sample([T((2, 3)), *each], raises=True) for each in refused]
        + [Sample([T((2,))], raises=True)]
    )


@public(ROT90, samples=_rot90_samples)
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """`input` turned `k` times by a right angle, from the first of two dimensions towards the second.

    >>> import rushlight as torch
    >>> torch.tensor([[1, 2], [3, 4]]).rot90()
    tensor([[2, 4],
            [1, 3]])
    """
    ndim = array_of("rot90", input).ndim
    plane = int_tuple("rot90", "dims", (dims,))
    if len(plane) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(plane)}")
    if ndim < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {ndim}")
    first, second = (normal_dim(dim, ndim) for dim in plane)
    if first == second:
        raise RuntimeError(
            f"expected rotation dims to be different, but got dim0 = {plane[0]} and dim1 = {plane[1]}"
        )
    return apply(ROT90, (input,), {"k": k % 4, "dims": (first, second)})
