"""Storages: the memory that tensors look into, as objects, and sharing it between processes.

`Tensor.untyped_storage` shows it as bytes and `Tensor.storage` as elements of the tensor's type. They are for
looking and for asking whether two tensors share memory; tensors do without them (see `rushlight.storage`).
Invariant: a storage is all of the memory its tensor shares with others, however little the tensor shows.
"""

from __future__ import annotations

import mmap
import sys
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np

from rushlight.device import CPU, device, no_accelerator
from rushlight.dtype import dtype, from_numpy
from rushlight.storage import address, owner_of, storage_of
from rushlight.tensor import Tensor
from rushlight.views import is_dense

_TYPED_IS_DEPRECATED = (
    "TypedStorage is deprecated. It will be removed in the future and UntypedStorage will be the only "
    "storage class. This should only matter to you if you are using storages directly.  To access "
    "UntypedStorage directly, use tensor.untyped_storage() instead of tensor.storage()"
)


class _Storage:
    """What storages of bytes and of elements have in common: a row of numbers."""

    __slots__ = ("_row",)

    is_cuda = is_sparse = False

    def __init__(self, row: np.ndarray) -> None:
        self._row = row

    @property
    def device(self) -> device:
        """Where the memory is: the CPU."""
        return CPU

    def size(self) -> int:
        """How many elements there are (bytes, if untyped)."""
        return self._row.size

    def __len__(self) -> int:
        return self._row.size

    def nbytes(self) -> int:
        """How many bytes there are."""
        return self._row.nbytes

    def element_size(self) -> int:
        """Bytes per element."""
        return self._row.itemsize

    def data_ptr(self) -> int:
        """The address of the first byte; 0 if there is none."""
        return address(self._row) if self._row.size else 0

    def tolist(self) -> list[Any]:
        """The elements as Python numbers."""
        return self._row.tolist()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def fill_(self, value: Any) -> Any:
        """Set every element; tensors that look into the storage see it. Returns the storage."""
        self._row[...] = value
        return self

    def _place(self, index: int) -> int:
        if not -self._row.size <= index < self._row.size:
            raise IndexError(f"index {index} out of range for storage of size {self._row.size}")
        return index

    def __getitem__(self, index: int) -> Any:
        return self._row[self._place(index)].item()

    def __setitem__(self, index: int, value: Any) -> None:
        self._row[self._place(index)] = value

    def is_shared(self) -> bool:
        """Whether processes forked from this one share the memory; see `Tensor.share_memory_`."""
        return isinstance(owner_of(self._row).base, mmap.mmap)

    def is_pinned(self) -> bool:
        """False: there is no accelerator to pin memory for."""
        return False

    def pin_memory(self) -> NoReturn:
        """RuntimeError, because there is no accelerator to pin memory for."""
        raise no_accelerator()


class UntypedStorage(_Storage):
    """The memory of a tensor as bytes. Equal storages are the same memory.

    >>> import rushlight as torch
    >>> x = torch.zeros(2, 3)
    >>> x[1].untyped_storage() == x.untyped_storage()
    True
    >>> x[1].untyped_storage().nbytes()
    24
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, UntypedStorage):
            return NotImplemented
        return self.data_ptr() == other.data_ptr() and self.nbytes() == other.nbytes()

    def __hash__(self) -> int:
        return hash((self.data_ptr(), self.nbytes()))

    def __repr__(self) -> str:
        lines = "\n ".join(str(each) for each in self.tolist())
        return f" {lines}\n[torch.storage.UntypedStorage(device=cpu) of size {self.size()}]"


class TypedStorage(_Storage):
    """The memory of a tensor as elements of its type; PyTorch will have `UntypedStorage` alone."""

    __slots__ = ()

    @property
    def dtype(self) -> dtype:
        """The type of the elements."""
        return from_numpy(self._row.dtype)

    def untyped(self) -> UntypedStorage:
        """The same memory as bytes."""
        return UntypedStorage(self._row.view(np.uint8))

    def __getitem__(self, index: int) -> Any:
        if isinstance(index, slice):
            raise RuntimeError("slices are only supported in UntypedStorage.__getitem__")
        return super().__getitem__(index)

    def __repr__(self) -> str:
        lines = "\n ".join(str(each) for each in self.tolist())
        kind = f"dtype={self.dtype}, device=cpu"
        return f" {lines}\n[torch.storage.TypedStorage({kind}) of size {self.size()}]"


def is_storage(obj: Any) -> bool:
    """Whether `obj` is a storage.

    >>> import rushlight as torch
    >>> torch.is_storage(torch.zeros(2).untyped_storage())
    True
    """
    return isinstance(obj, _Storage)


# -- methods of Tensor ---------------------------------------------------------------------------------------


def untyped_storage(self: Tensor) -> UntypedStorage:
    """All the memory that the tensor shares with its views and its base, as bytes."""
    return UntypedStorage(storage_of(self._array).view(np.uint8))


def storage(self: Tensor) -> TypedStorage:
    """All the memory that the tensor shares with its views and its base, as elements of its type."""
    warnings.warn(_TYPED_IS_DEPRECATED, stacklevel=2)
    return TypedStorage(storage_of(self._array))


def is_set_to(self: Tensor, tensor: Tensor) -> bool:
    """Whether both are the same window of the same memory.

    >>> import rushlight as torch
    >>> x = torch.zeros(4)
    >>> x.is_set_to(x.view(4)), x.is_set_to(x.clone())
    (True, False)
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(
            f"is_set_to(): argument 'tensor' (position 1) must be Tensor, not {type(tensor).__name__}"
        )
    same = self.shape == tensor.shape and self.stride() == tensor.stride()
    return same and self.dtype is tensor.dtype and self.data_ptr() == tensor.data_ptr()


def pin_memory(self: Tensor, device: Any = None) -> NoReturn:
    """RuntimeError, because there is no accelerator to pin memory for."""
    raise no_accelerator()


def is_pinned(self: Tensor, device: Any = None) -> bool:
    """False: there is no accelerator to pin memory for."""
    if device is not None:
        warnings.warn(
            "The argument 'device' of Tensor.is_pinned() is deprecated. Please do not pass this argument.",
            stacklevel=2,
        )
    return False


# What refers to an array nobody else uses: a tensor (or the array over it), a variable, and the count itself.
_OWN_REFERENCES = 3


def _looks_alone(tensor: Tensor) -> bool:
    """Whether nothing but this tensor looks into its memory."""
    link: Any = tensor._array
    while isinstance(link, np.ndarray):
        if sys.getrefcount(link) > _OWN_REFERENCES:
            return False
        link = link.base
    return link is None


def share_memory_(self: Tensor) -> Tensor:
    """Move the tensor to memory that processes forked from this one share; returns it.

    What one of them writes there, all see: parameters of a model can be trained by several processes without
    locks. Call it before views are made: RuntimeError where something else looks into the tensor's memory.

    >>> import rushlight as torch
    >>> torch.zeros(2).share_memory_().is_shared()
    True
    """
    if is_shared(self):
        return self
    if not _looks_alone(self):
        raise RuntimeError(
            "share_memory_(): another tensor or array looks into this tensor's memory and would not follow "
            "it to the shared one; call share_memory_() before making views, or clone() first"
        )
    array = self._array
    memory = mmap.mmap(-1, max(array.nbytes, 1))
    shared = np.ndarray(array.shape, array.dtype, memory, 0, array.strides if is_dense(array) else None)
    shared[...] = array
    self._array = shared
    return self


def is_shared(self: Tensor) -> bool:
    """Whether processes forked from this one share the tensor's memory."""
    return isinstance(owner_of(self._array).base, mmap.mmap)


METHODS: dict[str, Any] = {
    "untyped_storage": untyped_storage,
    "storage": storage,
    "is_set_to": is_set_to,
    "pin_memory": pin_memory,
    "is_pinned": is_pinned,
    "share_memory_": share_memory_,
    "is_shared": is_shared,
    "const_data_ptr": Tensor.data_ptr,
}
