"""The Tensor: an ndarray with a place in the history of computation.

A tensor wraps one ndarray (`_array`, 0-d included) and knows the node that made it, its gradient, and, for a
view, its base. It computes nothing itself: every operation is an op of the table, which `rushlight.ops`
attaches here as methods. Invariant: `_array` is always an ndarray of one of the types in `rushlight.dtype`,
and views share memory with their base, so an in-place change is seen by all aliases. A root tensor keeps
the version that counts such changes; views and `detach()`ed aliases read their root's.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.assigned import check_grad, warn_of_scalar
from rushlight.autograd.mode import GRAD, RECORDING, reading, state
from rushlight.autograd.node import LEAF_HOOKS, Hooks, Node, RemovableHandle
from rushlight.device import CPU, device
from rushlight.dtype import dtype, from_numpy, get_default_dtype
from rushlight.size import Size, one_element

if TYPE_CHECKING:
    from rushlight.attached import Attached as _Attached
else:
    _Attached = object

_object_new = object.__new__
_USE_DETACH = (
    " If you want to use a computed variable in a subgraph that doesn't require differentiation use "
    "var_no_grad = var.detach()."
)


class Tensor(_Attached):
    """An n-dimensional array that can be differentiated; made by `rushlight.tensor`, `zeros` and their like.

    ``Tensor(2, 3)`` makes an uninitialised tensor of that shape and ``Tensor([1, 2])`` one of default type
    with those values, as in PyTorch.

    >>> import rushlight as torch
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_array",
        "_base",
        "_creation",
        "_grad",
        "_hooks",
        "_node",
        "_output_nr",
        "_requires_grad",
        "_root",
        "_version_count",
        "_view_version",
    )
    __array_priority__ = 1000

    def __new__(cls, *args: Any, device: Any = None) -> Tensor:
        from rushlight.ops.convert import legacy_new

        return new_tensor(legacy_new(args, get_default_dtype()), cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass  # __new__ has done it; subclasses may take arguments of their own

    # -- what it is ------------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """The length of each dimension."""
        return tuple.__new__(Size, self._array.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the length of one dimension."""
        if dim is None:
            return self.shape
        return self._array.shape[normal_dim(dim, self._array.ndim)]

    @property
    def dtype(self) -> dtype:
        """The type of the elements."""
        return from_numpy(self._array.dtype)

    @property
    def device(self) -> device:
        """Where the data is: the CPU."""
        return CPU

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._array.ndim

    def dim(self) -> int:
        """The number of dimensions."""
        return self._array.ndim

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        return self._array.size

    nelement = numel

    def element_size(self) -> int:
        """Bytes per element."""
        return self._array.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return self._array.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._array.nbytes

    def stride(self, dim: int | None = None) -> Any:
        """How many elements apart neighbours lie in memory, for each dimension or for one."""
        from rushlight.views import element_strides

        strides = element_strides(self._array)
        return strides if dim is None else strides[normal_dim(dim, self._array.ndim)]

    def storage_offset(self) -> int:
        """How many elements into its storage the tensor begins."""
        from rushlight.views import offset_in_root

        return offset_in_root(self)

    def data_ptr(self) -> int:
        """The address of the first element."""
        return self._array.ctypes.data

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements lie in row-major order without gaps."""
        if memory_format is not None and str(memory_format) not in (
            "torch.contiguous_format",
            "torch.preserve_format",
        ):
            raise NotImplementedError("is_contiguous(): memory_format is not supported")
        return self._array.flags.c_contiguous

    def is_floating_point(self) -> bool:
        """Whether the elements are floating-point numbers."""
        return self._array.dtype.kind == "f"

    def is_complex(self) -> bool:
        """False: there are no complex types."""
        return False

    def is_signed(self) -> bool:
        """Whether the element type has negative values."""
        return self.dtype.is_signed

    def is_inference(self) -> bool:
        """Whether the tensor was made inside `inference_mode`."""
        return self._creation_of_root() == "inference_root"

    is_cuda = is_mps = is_xpu = is_meta = is_sparse = is_quantized = is_mkldnn = is_nested = False
    is_cpu = True

    # -- history ---------------------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded."""
        if state.mode & RECORDING:
            state.recorder.note_asked(self)
        base = self._base
        return self._requires_grad or (base is not None and base._requires_grad)

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self._node is not None:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables." + _USE_DETACH * (not value)
            )
        if value and self._array.dtype.kind != "f":
            raise RuntimeError("only Tensors of floating point and complex dtype can require gradients")
        if value and self.is_inference() and not state.inference:
            raise RuntimeError(
                "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed."
            )
        if state.mode & RECORDING:
            state.recorder.note_requires_grad(self)
        self._requires_grad = bool(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad` in place and return the tensor."""
        if requires_grad is not True and requires_grad is not False:
            kind = type(requires_grad).__name__
            raise TypeError(
                f"requires_grad_(): argument 'requires_grad' (position 1) must be bool, not {kind}"
            )
        if requires_grad and self._node is not None:
            return self
        if requires_grad and self._array.dtype.kind != "f":
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this tensor."""
        return self._fresh_node() is None

    @property
    def grad_fn(self) -> Node | None:
        """The node that made this tensor, None for a leaf."""
        return self._fresh_node()

    @property
    def output_nr(self) -> int:
        """Which output of `grad_fn` this is."""
        return self._output_nr

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient, of the tensor's own shape and type."""
        if state.mode & RECORDING:
            state.recorder.note_grad(self)
        if self._grad is None and self._node is not None and not self.retains_grad:
            import warnings

            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad "
                "attribute won't be populated during autograd.backward(). If you indeed want the .grad field "
                "to be populated for a non-leaf Tensor, use .retain_grad() on the non-leaf Tensor. If you "
                "access the non-leaf Tensor by mistake, make sure you access the leaf Tensor instead.",
                stacklevel=2,
            )
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            check_grad(self, value)
        if state.mode & RECORDING:
            state.recorder.note_grad_set(self)
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self.grad = None

    @property
    def data(self) -> Tensor:
        """The same memory without history and with a version of its own."""
        if state.mode & RECORDING:
            state.recorder.window(self)
        return new_tensor(self._array)

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if self._requires_grad and value._array.dtype.kind != "f":
            wrong = "data set to a tensor that requires gradients must be floating point or complex dtype"
            raise RuntimeError(wrong)
        if state.mode & RECORDING:
            state.recorder.note_data(self, value)
        self._array = value._array

    @property
    def _version(self) -> int:
        if self.is_inference():
            raise RuntimeError("Inference tensors do not track version counter.")
        return self._current_version()

    def _current_version(self) -> int:
        """How many in-place changes the shared memory has seen."""
        return self._version_count if self._root is None else self._root._version_count

    def _bump_version(self) -> None:
        (self if self._root is None else self._root)._version_count += 1

    def _fresh_node(self) -> Node | None:
        """The node that made this tensor; a view whose base has changed since gets a new one."""
        if self._base is None or self._root is None or self._view_version == self._root._version_count:
            return self._node
        from rushlight.views import rebuild_node

        return rebuild_node(self)

    def _is_view(self) -> bool:
        return self._base is not None

    def _mark_inference(self) -> None:
        if self._base is None:
            self._creation = "inference_root"

    def _creation_of_root(self) -> str | None:
        return (self if self._base is None else self._base)._creation

    def detach(self) -> Tensor:
        """The same memory without history; in-place changes are still counted together."""
        if state.mode & RECORDING:
            state.recorder.window(self)
        alias = new_tensor(self._array)
        alias._root = self if self._root is None else self._root
        return alias

    def detach_(self) -> Tensor:
        """Forget this tensor's history in place."""
        if self._base is not None:
            raise RuntimeError(
                "Can't detach views in-place. Use detach() instead. If you are using "
                "DistributedDataParallel (DDP) for training, and gradient_as_bucket_view is set as True, "
                "gradients are views of DDP buckets, and hence detach_() cannot be called on these "
                "gradients. To fix this error, please refer to the Optimizer.zero_grad() function in "
                "torch/optim/optimizer.py as the solution."
            )
        self._node, self._requires_grad, self._output_nr = None, False, 0
        return self

    def retain_grad(self) -> None:
        """Keep ``.grad`` of this tensor although it is not a leaf."""
        if not self.requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self._node is None or self.retains_grad:
            return
        node = self._fresh_node()
        if node is not None:
            node._hook_tables().retain[self._output_nr] = weakref.ref(self)

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad` was called on this non-leaf."""
        node = self._node
        if node is None or node.hooks is None:
            return False
        reference = node.hooks.retain.get(self._output_nr)
        return reference is not None and reference() is self

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call `hook` with this tensor's gradient in every backward; what it returns replaces it."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        node = self._fresh_node()
        tables = self._leaf_hooks() if node is None else node._hook_tables()
        handle = RemovableHandle(tables.tensor)
        tables.tensor[handle.id] = (self._output_nr, hook)
        return handle

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> RemovableHandle:
        """Call ``hook(tensor)`` each time a gradient has been added to this leaf."""
        if self._fresh_node() is not None:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        handle = RemovableHandle(self._leaf_hooks().accumulated)
        self._leaf_hooks().accumulated[handle.id] = hook
        return handle

    def _leaf_hooks(self) -> Hooks:
        if self._hooks is None:
            self._hooks = Hooks()
            LEAF_HOOKS.add(self._hooks)
        return self._hooks

    # -- Python's protocols ----------------------------------------------------------------------------------

    def item(self) -> Any:
        """The one element as a Python number."""
        if self._array.size != 1:
            raise RuntimeError(f"a Tensor with {self._array.size} elements cannot be converted to Scalar")
        if state.mode & RECORDING:
            reading("item()", self)
        return self._array.item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers (a number for 0-d)."""
        reading("tolist()", self)
        return self._array.tolist()

    def __len__(self) -> int:
        if self._array.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return len(self._array)

    def __iter__(self) -> Iterator[Tensor]:
        if self._array.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __bool__(self) -> bool:
        if self._array.size == 1:
            return bool(self.item())
        if self._array.size == 0:
            raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
        raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")

    def __float__(self) -> float:
        return float(self._scalar())

    def __int__(self) -> int:
        return int(self._scalar())

    def _scalar(self) -> Any:
        """The one element for `float` and `int`, which forget that it was computed: PyTorch says so once."""
        value = one_element(self).item()
        if state.mode & GRAD and self.requires_grad:
            warn_of_scalar()
        return value

    def __index__(self) -> int:
        if self._array.size != 1 or self._array.dtype.kind == "f":
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __contains__(self, element: Any) -> bool:
        if isinstance(element, (Tensor, int, float, bool)):
            return bool((self == element).any())
        raise RuntimeError(
            f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}."
        )

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self, *, tensor_contents: str | None = None) -> str:
        from rushlight.printing import tensor_text

        reading("print", self)
        return tensor_text(self, tensor_contents)

    def __format__(self, spec: str) -> str:
        if self._array.ndim == 0 and not self._is_meta() and type(self) is Tensor:
            return format(self.item(), spec)
        return object.__format__(self, spec)

    @staticmethod
    def _is_meta() -> bool:
        return False

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._fresh_node() is not None:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at "
                "the moment.  If you were attempting to deepcopy a module, this may be because of a "
                "torch.nn.utils.weight_norm usage, see https://github.com/pytorch/pytorch/pull/103001"
            )
        if id(self) in memo:
            return memo[id(self)]
        reading("deepcopy()", self)
        twin = new_tensor(self._array.copy(order="K"), type(self))
        twin._requires_grad = self._requires_grad
        memo[id(self)] = twin
        if self._grad is not None:
            twin._grad = copy.deepcopy(self._grad, memo)
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin

    def __reduce_ex__(self, protocol: Any) -> Any:
        if state.mode & RECORDING:
            reading("copy()", self)
        return _rebuild, (type(self), self._array, self.requires_grad, self.__dict__)


def _rebuild(cls: type[Tensor], array: np.ndarray, requires_grad: bool, attributes: dict[str, Any]) -> Tensor:
    tensor = new_tensor(array, cls)
    tensor._requires_grad = requires_grad
    tensor.__dict__.update(attributes)
    return tensor


def new_tensor(array: np.ndarray, cls: type[Tensor] = Tensor) -> Any:
    """A tensor around `array` itself: no copy, no history. The one place where tensors come into being."""
    tensor = _object_new(cls)
    tensor._array = array
    tensor._node = tensor._base = tensor._root = tensor._grad = tensor._hooks = tensor._creation = None
    tensor._requires_grad = False
    tensor._output_nr = tensor._version_count = 0
    return tensor


wrap = new_tensor


def normal_dim(dim: int, ndim: int) -> int:
    """`dim` counted from the front; IndexError with PyTorch's sentence where there is none such."""
    limit = ndim or 1
    if not -limit <= dim < limit:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-limit}, {limit - 1}], but got {dim})"
        )
    return dim + limit if dim < 0 else dim
