"""Making sparse tensors, and what ordinary tensors say when they are asked for the parts of one.

The sparse tensor itself is in `rushlight.coo`. Invariant: a sparse tensor that comes from here has indices in
range, unless that was not to be checked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from rushlight.autograd.mode import reading
from rushlight.coo import SparseTensor, coordinates, entries_at
from rushlight.device import check_device
from rushlight.dtype import int64
from rushlight.layout import sparse_coo, strided
from rushlight.ops.compare import equal
from rushlight.ops.convert import as_tensor, tensor
from rushlight.ops.create import finish
from rushlight.ops.define import apply, labelled
from rushlight.ops.matmul import mm
from rushlight.ops.random import refuse_arguments
from rushlight.ops.shape import ALIAS
from rushlight.size import Size
from rushlight.tensor import Tensor, new_tensor


def sparse_coo_tensor(
    indices: Any = None,
    values: Any = None,
    size: Sequence[int] | None = None,
    *,
    dtype: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
    is_coalesced: bool | None = None,
) -> SparseTensor:
    """A tensor that is zero but at some coordinates.

    Args:
        indices: the coordinates, ``(sparse dimensions, nnz)``; what occurs more than once is summed.
        values: the values there, ``(nnz, ...)``.
        size: the shape; the smallest that holds all coordinates if None. Alone, it makes a tensor of zeros.
        check_invariants: False leaves out the check that the coordinates lie within `size`.
        is_coalesced: True says that the coordinates are in order and occur once each.

    Raises RuntimeError where these do not fit together.

    >>> import rushlight as torch
    >>> torch.sparse_coo_tensor([[0, 1], [2, 0]], [3.0, 4.0], (2, 3)).to_dense()
    tensor([[0., 0., 3.],
            [4., 0., 0.]])
    """
    check_device(device)
    if pin_memory:
        raise NotImplementedError("sparse_coo_tensor(): pin_memory=True is not supported")
    if values is None:
        if size is None:
            size, indices = indices, None
        if size is None or indices is not None:
            refuse_arguments(
                "sparse_coo_tensor", () if indices is None else (indices,), "Tensor indices, Tensor values"
            )
        indices, values = np.zeros((len(size), 0), np.int64), tensor([], dtype=dtype)
    places = as_tensor(indices).detach().to(int64)
    if places.ndim == 1:
        places = places.unsqueeze(0)
    if places.ndim != 2:
        raise RuntimeError(f"indices must be sparse_dim x nnz, but got: {list(places.shape)}")
    entries = values if isinstance(values, Tensor) else tensor(values)
    entries = entries if dtype is None else entries.to(dtype)
    entries = entries.reshape(1) if entries.ndim == 0 else entries
    if places.shape[1] != len(entries):
        raise RuntimeError(
            f"indices and values must have same nnz, but got nnz from indices: {places.shape[1]}, nnz from "
            f"values: {len(entries)}"
        )
    shape = _checked_size(places, entries, size, check_invariants is not False)
    if requires_grad:
        entries = finish(entries.detach(), requires_grad, None)
    else:
        name = "SparseCooTensorWithDimsAndTensorsBackward0"
        entries = labelled(apply(ALIAS, (entries,)), name)
    made = entries_at(places, entries, shape, len(entries) < 2)
    if is_coalesced:
        if check_invariants and not equal(made.coalesce()._places, places):
            raise RuntimeError(
                "cannot set is_coalesced to true if indices correspond to uncoalesced COO tensor"
            )
        made._is_coalesced = True
    return made


def _checked_size(places: Tensor, entries: Tensor, size: Sequence[int] | None, check: bool) -> Size:
    """The shape of the tensor; RuntimeError where indices and values do not fit it."""
    sparse_dim, dense = len(places), tuple(entries.shape[1:])
    if places.numel() and (size is None or check):
        lowest, highest = places.amin(1).tolist(), places.amax(1).tolist()
        for dim, index in enumerate(lowest):
            if index < 0:
                raise RuntimeError(f"found negative index {index} for dim {dim}")
    else:
        lowest, highest = [0] * sparse_dim, [-1] * sparse_dim
    if size is None:
        return Size([*(index + 1 for index in highest), *dense])
    shape = Size(size)
    if len(shape) != sparse_dim + len(dense):
        raise RuntimeError(
            f"'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(shape)}, sparse_dim = "
            f"{sparse_dim}, dense_dim = {len(dense)}"
        )
    for dim, index in enumerate(highest):
        if index >= shape[dim]:
            raise RuntimeError(
                f"size is inconsistent with indices: for dim {dim}, size is {shape[dim]} but found index "
                f"{index}"
            )
    if tuple(shape[sparse_dim:]) != dense:
        raise RuntimeError(
            f"values has incorrect size, expected {[len(entries), *shape[sparse_dim:]]}, got "
            f"{list(entries.shape)}"
        )
    return shape


def spmm(input: Tensor, mat2: Tensor) -> Tensor:
    """`mm`, under the name it has for sparse matrices."""
    return mm(input, mat2)


def to_sparse(
    self: Tensor,
    sparse_dim: int | None = None,
    *,
    layout: Any = None,
    blocksize: Any = None,
    dense_dim: int | None = None,
) -> Tensor:
    """The tensor as a sparse one, with the coordinates of what is not zero.

    Args:
        sparse_dim: how many of the dimensions become coordinates; the rest stays dense. All if None.
        layout: ``torch.sparse_coo`` or ``torch.strided``, the only ones there are.
        blocksize: of layouts that there are not.
        dense_dim: how many dimensions stay dense, where `layout` is given.

    >>> import rushlight as torch
    >>> torch.tensor([[0.0, 7.0], [0.0, 0.0]]).to_sparse().indices()
    tensor([[0],
            [1]])
    """
    if blocksize is not None or layout not in (None, sparse_coo, strided):
        raise NotImplementedError("to_sparse(): the only sparse layout is torch.sparse_coo")
    if layout is strided:
        return self
    if dense_dim is not None:
        if sparse_dim is not None:
            raise RuntimeError("to_sparse: sparse_dim and dense_dim cannot be given at once")
        sparse_dim = self.ndim - dense_dim
    count = self.ndim if sparse_dim is None else sparse_dim
    if not 0 <= count <= self.ndim:
        raise RuntimeError(
            f"dense_to_sparse: sparse_dim argument must be in [0,{self.ndim}] range, but {count} is given"
        )
    if count == 0 and self.ndim:
        raise RuntimeError("dense_to_sparse: sparse_dim argument must be in >0 when self.dim()>0")
    shape = self.shape
    flat = self.reshape(math.prod(shape[:count]), *shape[count:])
    reading("to_sparse()", self)
    nonzero = self._array.reshape(len(flat), -1).any(axis=1)
    rows = np.flatnonzero(nonzero)
    entries = labelled(flat[new_tensor(rows)], f"ToSparseBackward{int(sparse_dim is None)}")
    return entries_at(coordinates(rows, shape[:count]), entries, shape, True)


def to_sparse_coo(self: Tensor) -> Tensor:
    """``to_sparse()``."""
    return to_sparse(self)


def _part(name: str, kind: str) -> Any:
    """A method that only sparse tensors have; for others PyTorch's RuntimeError."""

    def method(self: Tensor) -> NoReturn:
        raise RuntimeError(f"{name} expected {kind} tensor layout but got Strided")

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"RuntimeError: an ordinary tensor has no {name}; see `to_sparse`."
    return method


def sparse_dim(self: Tensor) -> int:
    """0: no dimension is given by coordinates."""
    return 0


def dense_dim(self: Tensor) -> int:
    """All dimensions of an ordinary tensor."""
    return self.ndim


METHODS: dict[str, Any] = {
    "to_sparse": to_sparse,
    "to_sparse_coo": to_sparse_coo,
    "indices": _part("indices", "sparse coordinate"),
    "values": _part("values", "sparse"),
    "coalesce": _part("coalesce", "sparse coordinate"),
    "is_coalesced": _part("is_coalesced", "sparse coordinate"),
    "sparse_dim": sparse_dim,
    "dense_dim": dense_dim,
}
