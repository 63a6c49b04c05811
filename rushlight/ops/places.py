"""Places of elements: `unravel_index` and `nonzero_static`.

Both give int64 numbers of rows and columns. Invariant: nothing here has a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rushlight.ops.arguments import array_of
from rushlight.ops.define import write_out
from rushlight.ops.kinds import composite
from rushlight.ops.masks import nonzero
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor


def _unravel_samples() -> list[Sample]:
    places = T((), "int64", values=[4, 2, 7, -1])
    found = [Sample([places, (2, 3)]), Sample([places, 6]), Sample([T((2, 2), "int8", low=0), [2, 2, 2]])]
    refused: list[Sequence[Any]] = [(T((2,)), (2, 3)), (places, (2, -3)), (places, (2, 3.0)), (places, "ab")]
    return found + [Sample(each, raises=True) for each in refused]


@composite(samples=_unravel_samples, method=False)
def unravel_index(indices: Tensor, shape: int | Sequence[int]) -> tuple[Tensor, ...]:
    """For each dimension of a tensor of this shape, where in it the elements with these flat numbers lie.

    Numbers beyond the end wrap around. Raises TypeError for indices that are no integers.

    >>> import rushlight as torch
    >>> torch.unravel_index(torch.tensor([4, 2]), (2, 3))
    (tensor([1, 0]), tensor([1, 2]))
    """
    if array_of("unravel_index", indices, "indices").dtype.kind not in "iu":
        raise TypeError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    lengths = (shape,) if isinstance(shape, int) else shape
    if not isinstance(lengths, Sequence):
        raise TypeError(f"expected 'shape' to be int or sequence of ints, but got {type(shape)}")
    for each in lengths:
        if not isinstance(each, int):
            raise TypeError(f"expected 'shape' sequence to only contain ints, but got {type(each)}")
    if min(lengths, default=0) < 0:
        raise ValueError(f"'shape' cannot have negative values, but got {tuple(lengths)}")
    steps = [math.prod(lengths[dim + 1 :]) for dim in range(len(lengths))]
    places = indices.long()
    return tuple(
        places.div(step, rounding_mode="floor") % length for step, length in zip(steps, lengths, strict=True)
    )


def _static_samples() -> list[Sample]:
    x = T((), "int64", values=[[0, 1, 3], [2, 0, 0]])
    found = [Sample([x], {"size": size}) for size in (0, 2, 5)]
    found += [Sample([x], {"size": 4, "fill_value": 7}), Sample([T(())], {"size": 2})]
    return [*found, Sample([x], {"size": -1}, raises=True)]


@composite(samples=_static_samples)
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1, out: Any = None) -> Tensor:
    """`nonzero` with exactly `size` rows: the first ones, filled up where there are too few.

    >>> import rushlight as torch
    >>> torch.tensor([0, 5]).nonzero_static(size=2)
    tensor([[ 1],
            [-1]])
    """
    if size < 0:
        raise RuntimeError("nonzero_static: 'size' must be an non-negative integer")
    found = nonzero(input)[:size]
    result = found.new_full((size, input.dim()), fill_value)
    result[: found.shape[0]] = found
    return result if out is None else write_out(out, result)
