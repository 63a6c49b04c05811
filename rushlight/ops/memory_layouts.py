"""Tensors over memory laid out as asked: `empty_strided`, `empty_permuted`, and `from_file` over a file's.

Invariant: strides are counted in elements, and a tensor's memory is as large as its strides reach.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.ops.arguments import int_tuple
from rushlight.ops.create import check_options, finish, numpy_type, shape_from
from rushlight.ops.define import apply
from rushlight.ops.kinds import primitive, public
from rushlight.ops.samples import Sample
from rushlight.tensor import Tensor, new_tensor


def _empty_strided(*, shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    reach = 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) if 0 not in shape else 0
    memory = np.empty(reach, dtype)
    return np.ndarray(shape, dtype, memory, 0, tuple(step * dtype.itemsize for step in strides))


EMPTY_STRIDED = primitive("empty_strided", "create", _empty_strided, inputs=())


def _strided_samples() -> list[Sample]:
    good = [((2, 3), (1, 2)), ((2, 3), (0, 1)), ((0, 3), (3, 1)), ((), ())]
    bad = [((2, 3), (1,)), ((2, 3), (1, -1)), ((2, -3), (1, 1))]
    return [Sample(each, values=False) for each in good] + [Sample(each, raises=True) for each in bad]


@public(EMPTY_STRIDED, samples=_strided_samples, method=False)
def empty_strided(
    size: Sequence[int],
    stride: Sequence[int],
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """An uninitialised tensor of this shape and these strides, in elements.

    >>> import rushlight as torch
    >>> torch.empty_strided((2, 3), (1, 2)).stride()
    (1, 2)
    """
    check_options("empty_strided", layout, device, None, pin_memory, requires_grad)
    shape, strides = shape_from("empty_strided", (size,)), int_tuple("empty_strided", "stride", (stride,))
    if len(shape) != len(strides):
        raise RuntimeError(
            f"dimensionality of sizes ({len(shape)}) must match dimensionality of strides ({len(strides)})"
        )
    if min(strides, default=0) < 0:
        raise RuntimeError(
            f"Storage size calculation overflowed with sizes={list(shape)} and strides={list(strides)}"
        )
    params = {"shape": shape, "strides": strides, "dtype": numpy_type("empty_strided", dtype)}
    return finish(apply(EMPTY_STRIDED, (), params), requires_grad, None)


def _permuted_samples() -> list[Sample]:
    good = [((2, 3, 4), (2, 0, 1)), ((2, 3), (0, 1)), ((), ())]
    bad = [((2, 3, 4), (2, 0, 0)), ((2, 3, 4), (2, 0))]
    return [Sample(each, values=False) for each in good] + [Sample(each, raises=True) for each in bad]


@public(EMPTY_STRIDED, samples=_permuted_samples, method=False)
def empty_permuted(
    size: Sequence[int],
    physical_layout: Sequence[int],
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """An uninitialised tensor without gaps, whose dimensions lie in memory in the order given (outer first).

    >>> import rushlight as torch
    >>> torch.empty_permuted((2, 3, 4), (2, 0, 1)).stride()
    (3, 1, 6)
    """
    shape = shape_from("empty_permuted", (size,))
    order = int_tuple("empty_permuted", "physical_layout", (physical_layout,))
    if len(order) != len(shape):
        raise RuntimeError(
            "Number of dimensions in size does not match the length of the physical_layout; i.e. len(size) "
            f"= {len(shape)} is not equal to len(physical_layout) = {len(order)}"
        )
    strides, step = [0] * len(shape), 1
    for position in reversed(range(len(order))):
        dim = order[position]
        if not 0 <= dim < len(shape):
            raise RuntimeError(
                f"Dimension out of range (expected to be between 0 and {len(shape) - 1}, but got {dim} at "
                f"index {position}).  NB: negative dims not currently supported"
            )
        if strides[dim]:
            raise RuntimeError("Duplicate dim not allowed")
        strides[dim] = step
        step *= max(shape[dim], 1)
    options = {"layout": layout, "device": device, "requires_grad": requires_grad}
    return empty_strided(shape, strides, dtype=dtype, pin_memory=pin_memory, **options)


def new_empty_strided(
    self: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """`empty_strided` with this tensor's type where none is given."""
    options = {"device": device, "requires_grad": requires_grad, "layout": layout, "pin_memory": pin_memory}
    return empty_strided(size, stride, dtype=dtype or self.dtype, **options)


def from_file(
    filename: str,
    shared: bool | None = None,
    size: int = 0,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A vector of `size` elements over the beginning of a file, mapped into memory instead of being read.

    If `shared`, what is written to the tensor is written to the file, which is created, or lengthened, as
    needed; if not, the file stays as it is. Raises RuntimeError for a file that is missing or too short.
    """
    if pin_memory:
        raise RuntimeError("tensors constructed from a file cannot be pinned")
    check_options("from_file", layout, device)
    kind = numpy_type("from_file", dtype)
    wanted = size * kind.itemsize
    path = os.fspath(filename)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT if shared else os.O_RDONLY, 0o600)
    except OSError as error:
        mode = "read-write" if shared else "read-only"
        raise RuntimeError(
            f"unable to open file <{path}> in {mode} mode: {os.strerror(error.errno or errno.EIO)} "
            f"({error.errno})"
        ) from None
    try:
        found = os.fstat(handle).st_size
        if found < wanted and not shared:
            raise RuntimeError(
                f"file <{path}> size <{found}> is smaller than the required mapping size <{wanted}>"
            )
        if found < wanted:
            os.truncate(handle, wanted)
        if not wanted:
            return finish(new_tensor(np.empty(0, kind)), requires_grad, None)
        memory = mmap.mmap(handle, wanted, access=mmap.ACCESS_WRITE if shared else mmap.ACCESS_COPY)
    finally:
        os.close(handle)
    return finish(new_tensor(np.ndarray((size,), kind, memory)), requires_grad, None)


METHODS: dict[str, Any] = {"new_empty_strided": new_empty_strided}
