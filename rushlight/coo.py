"""The sparse tensor: coordinates of what is not zero, and the values there (PyTorch's layout ``sparse_coo``).

It has what graphs and bags of words need: making, coalescing, products with dense matrices, the way back to a
dense tensor, PyTorch's printed text, and gradients of all of these to the values. It is no ordinary tensor:
there is no array behind it, so everything else raises NotImplementedError that names it. Invariant: `_places`
is int64 ``(sparse_dim, nnz)``, `_entries` an ordinary tensor ``(nnz, *dense shape)`` with the history, and
coordinates that occur more than once mean the sum.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from rushlight.autograd.mode import reading
from rushlight.dtype import bool_, get_default_dtype, int64, uint8
from rushlight.dtype import dtype as DType
from rushlight.layout import sparse_coo
from rushlight.ops.create import zeros
from rushlight.ops.define import Op, apply, labelled
from rushlight.ops.shape import ALIAS
from rushlight.printing import array_text, facts_of_history, with_facts
from rushlight.size import Size
from rushlight.tensor import Tensor, new_tensor, normal_dim

OFFERED = frozenset(
    (
        *("shape", "size", "dtype", "device", "ndim", "dim", "ndimension", "numel", "nelement", "layout"),
        *("is_sparse", "is_cpu", "is_cuda", "is_mps", "is_xpu", "is_meta", "is_quantized", "is_nested"),
        *(
            "is_mkldnn",
            "requires_grad",
            "requires_grad_",
            "is_leaf",
            "grad_fn",
            "grad",
            "detach",
            "to",
            "cpu",
        ),
        *("cuda", "float", "double", "indices", "values", "is_coalesced", "coalesce", "sparse_dim"),
        *("dense_dim", "to_dense", "to_sparse", "to_sparse_coo", "t", "T", "mm", "mv", "matmul", "numpy"),
        *("is_floating_point", "is_complex", "is_signed"),
    )
)


class SparseTensor(Tensor):
    """Made by `rushlight.sparse_coo_tensor` and ``Tensor.to_sparse``; see there.

    >>> import rushlight as torch
    >>> links = torch.sparse_coo_tensor([[0, 1, 1], [2, 0, 2]], [3.0, 4.0, 5.0], (2, 3))
    >>> links @ torch.ones(3, 1)
    tensor([[3.],
            [9.]])
    >>> links.relu()
    Traceback (most recent call last):
        ...
    NotImplementedError: relu is not implemented for sparse tensors; use to_dense() first
    """

    _places: Tensor
    _entries: Tensor
    _size: Size
    _is_coalesced: bool

    is_sparse = True
    layout = sparse_coo

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name not in OFFERED and hasattr(Tensor, name):
            _refuse(name)
        return object.__getattribute__(self, name)

    @property
    def _array(self) -> NoReturn:  # type: ignore[override]
        _refuse(_operation_asked_for())

    def _with(self, entries: Tensor) -> SparseTensor:
        """The same coordinates with other values."""
        return entries_at(self._places, entries, self._size, self._is_coalesced)

    # -- what it is ------------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """The length of each dimension."""
        return self._size

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the length of one dimension."""
        return self._size if dim is None else self._size[normal_dim(dim, len(self._size))]

    @property
    def dtype(self) -> DType:
        """The type of the values."""
        return self._entries.dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self._size)

    def dim(self) -> int:
        """The number of dimensions."""
        return len(self._size)

    ndimension = dim

    def numel(self) -> int:
        """The number of elements, zeros included."""
        return math.prod(self._size)

    nelement = numel

    def sparse_dim(self) -> int:
        """How many of the dimensions are given by coordinates."""
        return len(self._places)

    def dense_dim(self) -> int:
        """How many dimensions each value has of its own."""
        return self._entries.ndim - 1

    def is_floating_point(self) -> bool:
        """Whether the values are floating-point numbers."""
        return self._entries.is_floating_point()

    def is_signed(self) -> bool:
        """Whether the type of the values has negative ones."""
        return self._entries.is_signed()

    def _nnz(self) -> int:
        return self._places.shape[1]

    def __len__(self) -> int:
        if not self._size:
            raise TypeError("len() of a 0-d tensor")
        return self._size[0]

    def __repr__(self) -> str:  # type: ignore[override]
        reading("print", self._places, self._entries)
        parts = []
        for name, part in (("indices", self._places), ("values", self._entries)):
            indent = len(f"tensor({name}=tensor(")
            length = f", size={tuple(part.shape)}" if not part.numel() else ""
            parts.append(f"{name}=tensor({array_text(part.detach()._array, indent)}{length})")
        facts = [f"size={tuple(self._size)}", f"nnz={self._nnz()}"]
        if self.dtype not in (get_default_dtype(), int64, bool_):
            facts.append(f"dtype={self.dtype}")
        facts += ["layout=torch.sparse_coo", *facts_of_history(self)]
        return with_facts("tensor(" + ",\n       ".join(parts), facts, len("tensor("), new_line=True)

    def __format__(self, spec: str) -> str:
        return object.__format__(self, spec)

    # -- history: that of the values -------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether operations on the values are recorded."""
        return self._entries.requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self._entries.is_leaf:
            self._entries = self._entries.detach()
        self._entries.requires_grad = value

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad` and return the tensor."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made the values."""
        return self._entries.is_leaf

    @property
    def grad_fn(self) -> Any:
        """The node that made the values, None for a leaf."""
        return self._entries.grad_fn

    @property
    def grad(self) -> Tensor | None:
        """The gradient at the coordinates that this tensor has: a sparse one, coalesced."""
        found = self._entries.grad
        if found is None:
            return None
        reading("grad of a sparse tensor", self._places)
        # whatever occurs more than once is summed, so each occurrence got the gradient of the sum
        _, first = np.unique(self._rows()._array, return_index=True)
        first = new_tensor(first.astype(np.int64))
        return entries_at(self._places[:, first], found[first], self._size, True)

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            _refuse("setting grad to a tensor")
        self._entries.grad = None

    def detach(self) -> SparseTensor:
        """The same coordinates and values without history."""
        return self._with(self._entries.detach())

    # -- its parts -------------------------------------------------------------------------------------------

    def _indices(self) -> Tensor:
        return self._places

    def _values(self) -> Tensor:
        return self._entries.detach()

    def indices(self) -> Tensor:
        """The coordinates ``(sparse_dim, nnz)`` of a coalesced tensor."""
        self._need_coalesced("indices")
        return self._places

    def values(self) -> Tensor:
        """The values ``(nnz, *dense shape)`` of a coalesced tensor."""
        self._need_coalesced("values")
        return labelled(apply(ALIAS, (self._entries,)), "ValuesBackward0")

    def _need_coalesced(self, name: str) -> None:
        if not self._is_coalesced:
            raise RuntimeError(f"Cannot get {name} on an uncoalesced tensor, please call .coalesce() first")

    def is_coalesced(self) -> bool:
        """Whether the coordinates are known to be sorted and to occur once each."""
        return self._is_coalesced

    def coalesce(self) -> SparseTensor:
        """The same tensor with coordinates in order, each once, and values summed."""
        if self._is_coalesced:
            return self
        lengths = self._size[: len(self._places)]
        reading("coalesce()", self._places)
        rows, place = np.unique(self._rows()._array, return_inverse=True)
        entries = _summed(self._entries, new_tensor(place.astype(np.int64)), len(rows))
        entries = labelled(entries, "CoalesceBackward0")
        return entries_at(coordinates(rows, lengths), entries, self._size, True)

    def _rows(self) -> Tensor:
        """The coordinates as places in the flattened sparse dimensions ``(nnz,)``; see `coordinates`."""
        lengths = self._size[: len(self._places)]
        strides = [math.prod(lengths[dim + 1 :]) for dim in range(len(lengths))]
        weights = new_tensor(np.array(strides, np.int64).reshape(-1, 1))
        return (self._places * weights).sum(0)

    # -- what can be done with it ----------------------------------------------------------------------------

    def to_dense(self, dtype: DType | None = None, *, masked_grad: bool | None = None) -> Tensor:
        """An ordinary tensor of the same shape; its gradient flows to the values.

        `masked_grad` says whether places without a value get a gradient; here they never do.
        """
        if dtype is not None:
            raise RuntimeError("dtype argument is not supported by sparse_to_dense")
        if masked_grad is False:
            raise NotImplementedError("to_dense(): masked_grad=False is not supported")
        count = math.prod(self._size[: len(self._places)])
        dense = _summed(self._entries, self._rows(), count).reshape(self._size)
        return labelled(dense, "ToDenseBackward0")

    def to_sparse(self, *args: Any, **kwargs: Any) -> SparseTensor:
        """The tensor itself; PyTorch's arguments to choose another layout are not supported."""
        if args or kwargs:
            raise NotImplementedError("to_sparse(): a sparse tensor keeps its layout and dimensions")
        return self

    to_sparse_coo = to_sparse

    def to(self, *args: Any, **kwargs: Any) -> SparseTensor:
        """The tensor with values of another type; see ``Tensor.to``."""
        entries = self._entries.to(*args, **kwargs)
        return self if entries is self._entries else self._with(entries)

    def float(self) -> SparseTensor:
        """The tensor with float32 values."""
        return self._with(self._entries.float())

    def double(self) -> SparseTensor:
        """The tensor with float64 values."""
        return self._with(self._entries.double())

    def cpu(self, memory_format: Any = None) -> SparseTensor:
        """The tensor itself: it is on the CPU."""
        self._entries.cpu()
        return self

    def cuda(self, *args: Any, **kwargs: Any) -> NoReturn:
        """PyTorch's error where there is no CUDA."""
        self._entries.cuda(*args, **kwargs)
        raise AssertionError("unreachable: there is no CUDA")

    def t(self) -> SparseTensor:
        """The transpose of a matrix."""
        if len(self._places) != 2 or self._entries.ndim > 1:
            _refuse("t of anything but a matrix")
        rows, columns = self._size
        entries = labelled(apply(ALIAS, (self._entries,)), "TBackward0")
        return entries_at(self._places.flip(0), entries, Size((columns, rows)), False)

    T = property(t)

    def numpy(self, *, force: bool = False) -> NoReturn:
        """TypeError: there is no array."""
        raise TypeError(
            "can't convert Sparse layout tensor to numpy. Use Tensor.to_dense() first."
            if not force
            else "can't convert a sparse tensor to numpy, not even with force=True: use to_dense() first"
        )

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        self.numpy()


def coordinates(rows: np.ndarray, lengths: Sequence[int]) -> Tensor:
    """Places in the flattened sparse dimensions of these lengths as coordinates ``(sparse_dim, nnz)``."""
    places = np.stack(np.unravel_index(rows, lengths)) if lengths else np.empty((0, len(rows)))
    return new_tensor(places.astype(np.int64))


def entries_at(places: Tensor, entries: Tensor, size: Size, is_coalesced: bool) -> SparseTensor:
    """A sparse tensor of these parts; nothing is checked."""
    made: SparseTensor = object.__new__(SparseTensor)
    made._node = made._base = made._root = made._grad = made._hooks = made._creation = None
    made._requires_grad = False
    made._output_nr = made._version_count = 0
    made._places, made._entries, made._size, made._is_coalesced = places, entries, size, is_coalesced
    return made


def product(left: Tensor, right: Tensor, name: str = "MmBackward0") -> Tensor:
    """The product of a sparse matrix and a dense matrix or vector, or of a dense matrix and a sparse one.

    Gradients flow to both.
    """
    if not isinstance(left, SparseTensor):
        return labelled(product(right.t(), left.t()).t(), name)
    if isinstance(right, SparseTensor):
        _refuse("the product of two sparse tensors")
    if left.ndim != 2 or left.dense_dim() or right.ndim not in (1, 2):
        _refuse("a product other than that of two matrices, or of a matrix and a vector,")
    if right.ndim == 1:
        if left.shape[1] != len(right):
            raise RuntimeError("mv: expected self.size(-1) == vec.size(-1)")
        return labelled(product(left, right.unsqueeze(1)).squeeze(1), "MvBackward0")
    if left.dtype is not right.dtype:
        raise RuntimeError(
            f"expected m1 and m2 to have the same dtype, but got: {left.dtype.name} != {right.dtype.name}"
        )
    (rows, shared), (found, _) = left.shape, right.shape
    if shared != found:
        raise RuntimeError(f"addmm: Argument #3 (dense): Expected dim 0 size {shared}, got {found}")
    entries = left._entries.unsqueeze(1) * right.index_select(0, left._places[1])
    return labelled(_summed(entries, left._places[0], rows), name)


def _summed(entries: Tensor, rows: Tensor, count: int) -> Tensor:
    """Values ``(nnz, ...)`` added up by the row each belongs to ``(count, ...)``."""
    if entries.dtype is bool_:
        return _summed(entries.to(uint8), rows, count) > 0
    return zeros(count, *entries.shape[1:], dtype=entries.dtype).index_add(0, rows, entries)


def _refuse(what: str) -> NoReturn:
    raise NotImplementedError(f"{what} is not implemented for sparse tensors; use to_dense() first")


def _operation_asked_for() -> str:
    """The op that came here for an array; where none did, the function of the package that was called."""
    frame: Any = sys._getframe(2)
    name = "this operation"
    while frame is not None and frame.f_globals.get("__name__", "").startswith("rushlight."):
        op = frame.f_locals.get("op")
        if isinstance(op, Op):
            return op.name
        if frame.f_code.co_name == "<module>":
            break
        wrapped = frame.f_locals.get("function")  # of a frame that only hands on
        name = getattr(wrapped, "__name__", frame.f_code.co_name)
        frame = frame.f_back
    return name
