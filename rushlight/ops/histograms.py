"""Counts: of small ints, and of elements in bins.

NumPy counts. Invariant: counts have the type of the elements, as in PyTorch, and nothing here has a gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.autograd.mode import reading
from rushlight.dtype import F32, F64
from rushlight.ops.define import C_NAMES, TITLES, write_out
from rushlight.ops.kinds import composite, only
from rushlight.ops.return_types import return_type
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor, new_tensor

_histogram_type = return_type("histogram", ("hist", "bin_edges"))


@composite(
    samples=lambda: [
        Sample([T((8,), "int64", low=0, high=5)]),
        Sample([T((8,), "int64", low=0, high=5), T((8,), grad=False)], {"minlength": 7}),
    ]
)
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each non-negative int stands in a 1-D tensor, or the sum of its weights."""
    reading("bincount()", input)
    array = input._array
    only("iu", "bincount_cpu")(array)
    if array.ndim != 1 or (array.size and array.min() < 0):
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if weights is not None and weights._array.shape != array.shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    counts = np.bincount(array, None if weights is None else weights._array, minlength)
    if not array.size:
        counts = counts.astype(np.int64)
    elif weights is not None and weights._array.dtype == np.float32:
        counts = counts.astype(np.float32)
    return new_tensor(counts)


def _check_bins(bins: Any) -> None:
    if isinstance(bins, int) and bins < 1:
        raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0")


@composite(
    samples=lambda: [
        Sample([T((20,), grad=False)], {"bins": 5}),
        Sample([T((20,), grad=False), 4, -1, 1]),
        Sample([T((3,), "int64"), 2], raises=True),
        Sample([T((3,), "bool"), 2], raises=True),
        Sample([T((3,)), 0], raises=True),
        Sample([T((3,)), 2, 3, 1], raises=True),
    ]
)
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0, *, out: Any = None) -> Tensor:
    """Counts of elements in equal bins between `min` and `max` (the data's own limits if both are 0)."""
    reading("histc()", input)
    array = input._array
    if min > max:
        raise RuntimeError("torch.histc: max must be larger than min")
    _check_bins(bins)
    only("fiu", "linspace_cpu")(array)
    only("f", "histogram_cpu")(array)
    low, high = (min, max) if (min, max) != (0, 0) or not array.size else (array.min(), array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise RuntimeError(f"torch.histc: range of [{low:g}, {high:g}] is not finite")
    if low == high:
        low, high = low - 1, high + 1
    counts, _ = np.histogram(array, bins, (low, high))
    result = new_tensor(counts.astype(array.dtype))
    return result if out is None else write_out(out, result)


@composite(
    samples=lambda: [
        Sample([T((20,), grad=False), 5]),
        Sample([T((20,), grad=False), T(values=[-1.0, 0.0, 0.5, 2.0], grad=False)]),
        *[Sample([T((3,), kind, grad=False), 2], raises=True) for kind in ("int64", "bool", "float16")],
        Sample([T((3,), "int64"), T(values=[0.0, 1.0])], raises=True),
        Sample([T((3,)), 0], raises=True),
        Sample([T((3,)), 2], {"weight": T((3,), "int64")}, raises=True),
    ]
)
def histogram(
    input: Tensor,
    bins: Any,
    *,
    range: Any = None,
    weight: Tensor | None = None,
    density: bool = False,
    out: Any = None,
) -> Any:
    """Counts of elements in bins (a number of equal ones, or their edges), and the edges."""
    reading("histogram()", input)
    kind = input._array.dtype
    if isinstance(bins, Tensor) and bins._array.dtype != kind:
        raise RuntimeError(
            "torch.histogramdd: input tensor and bins tensors should have the same dtype, but got input with "
            f"dtype {C_NAMES[input.dtype.name]} and bins for dimension 0 with dtype "
            f"{C_NAMES[bins.dtype.name]}"
        )
    if weight is not None and weight._array.dtype != kind:
        raise RuntimeError(
            "torch.histogramdd: if weight tensor is provided, input tensor and weight tensor should have the "
            f"same dtype, but got input({C_NAMES[input.dtype.name]}), and "
            f"weight({C_NAMES[weight.dtype.name]})"
        )
    if not isinstance(bins, Tensor):
        _check_bins(bins)
    if kind not in (F32, F64):
        raise NotImplementedError(f"\"histogramdd\" not implemented for '{TITLES[input.dtype.name]}'")
    edges = bins._array if isinstance(bins, Tensor) else bins
    weights = None if weight is None else weight._array.reshape(-1)
    counts, edges = np.histogram(input._array.reshape(-1), edges, range, density=density, weights=weights)
    pair = (new_tensor(counts.astype(kind)), new_tensor(edges.astype(kind)))
    return _histogram_type(pair if out is None else write_out(out, pair))
