"""Views and in-place changes: which writes are allowed, and how they enter the history.

Views share memory by being NumPy views; this file keeps their *history* right. Writing into a tensor gives
it a new node. Writing into a view gives the view's base a node that scatters gradients back into place, and
every other view of that base, stale from then on, gets a gathering node the next time somebody asks.
Invariant: `base._node` always describes the whole memory; a view's node is valid exactly while its
`_view_version` is its root's version.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.mode import RECORDING, no_grad, state
from rushlight.autograd.node import FREED_TWICE, Node
from rushlight.storage import address, owner_of
from rushlight.tensor import Tensor, new_tensor

if TYPE_CHECKING:
    from rushlight.ops.define import Op


def element_strides(array: np.ndarray) -> tuple[int, ...]:
    """Strides counted in elements, with PyTorch's row-major values for dimensions NumPy leaves open."""
    size, shape = array.itemsize, array.shape
    strides = [stride // size for stride in array.strides]
    unsaid = array.size == 0 and not any(strides)  # NumPy does not lay out new empty arrays
    for dim in range(len(shape) - 1, -1, -1):
        if unsaid:
            strides[dim] = max(shape[dim + 1], 1) * strides[dim + 1] if dim + 1 < len(shape) else 1
        elif strides[dim] == 0 and shape[dim] == 1:
            strides[dim] = shape[dim + 1] * strides[dim + 1] if dim + 1 < len(shape) else 1
    return tuple(strides)


def extent(array: np.ndarray) -> tuple[int, int]:
    """The lowest and the highest element offset from the first element that the array reaches."""
    low = high = 0
    if array.size:
        for length, stride in zip(array.shape, element_strides(array), strict=True):
            if stride < 0:
                low += (length - 1) * stride
            else:
                high += (length - 1) * stride
    return low, high


def offset_in_root(tensor: Tensor) -> int:
    """Elements between the start of the owning buffer and the tensor's first element."""
    array = tensor._array
    return (address(array) - address(owner_of(array))) // array.itemsize


class Geometry:
    """Where a view lies within its base: enough to cut the same window out of another buffer."""

    __slots__ = ("base_shape", "base_strides", "length", "offset", "shape", "start", "strides")

    def __init__(self, base: np.ndarray, view: np.ndarray) -> None:
        low, high = extent(base)
        offset = (address(view) - address(base)) // base.itemsize if view.size else 0
        reaches = [offset + each for each in extent(view)]  # as_strided can leave the base
        low, high = min(low, reaches[0]), max(high, reaches[1])
        self.base_shape, self.base_strides = base.shape, base.strides
        self.shape, self.strides = view.shape, view.strides
        self.start = -low
        self.length = high - low + 1
        self.offset = offset - low

    def buffer(self, kind: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        """A zeroed buffer laid out as the base: the base-shaped array and the view's window in it."""
        flat = np.zeros(self.length, dtype=kind)
        unit = kind.itemsize
        whole = np.ndarray(self.base_shape, kind, flat, self.start * unit, self.base_strides)
        return whole, np.ndarray(self.shape, kind, flat, self.offset * unit, self.strides)

    def places(self, itemsize: int) -> tuple[np.ndarray, np.ndarray]:
        """Which element of the buffer each element of the base is, and each element of the view."""
        order = np.arange(self.length)
        unit = order.itemsize
        base_steps, steps = (
            tuple(s // itemsize * unit for s in each) for each in (self.base_strides, self.strides)
        )
        base_places = np.ndarray(self.base_shape, order.dtype, order, self.start * unit, base_steps)
        return base_places, np.ndarray(self.shape, order.dtype, order, self.offset * unit, steps)

    def overlaps_itself(self) -> bool:
        """Whether one element of memory appears at several places of the view."""
        return repeats_memory(self.shape, self.strides)


def is_expanded(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether one element of memory stands for a whole dimension of an array of this geometry."""
    return 0 not in shape and any(step == 0 and n > 1 for step, n in zip(strides, shape, strict=True))


def repeats_memory(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether an array of this geometry shows one element of memory at several places (as `expand` does)."""
    if 0 in shape:
        return False
    dims = sorted((abs(stride), length) for stride, length in zip(strides, shape, strict=True) if length > 1)
    reach = 0
    for stride, length in dims:
        if stride <= reach:
            return True
        reach += stride * (length - 1)
    return False


class CopySlices(Node):
    """The node a base gets when something is written through one of its views.

    Its gradient for the base is the incoming one with the window replaced by what the write's own node
    returns for the overwritten values; the gradients of the write's other inputs pass through.
    """

    __slots__ = ("geometry", "inner", "self_edge")

    def __init__(self, base: Tensor, view: Tensor, inner: Node, self_edge: int | None) -> None:
        super().__init__(None, None, None)
        self.geometry = Geometry(base._array, view._array)
        self.inner: Any = inner
        self.self_edge = self_edge
        self.shape, self.dtype = base._array.shape, base._array.dtype
        self.saved = ()
        upstream = base._fresh_node()
        before = (upstream if upstream is not None else base) if base._requires_grad else None
        kept = [i for i in range(len(inner.edges)) if i != self_edge]
        self.edges = [before, *(inner.edges[i] for i in kept)]
        if upstream is not None and base._output_nr:
            self.set_number(0, base._output_nr)
        for place, index in enumerate(kept):
            if inner.numbers and index in inner.numbers:
                self.set_number(place + 1, inner.numbers[index])

    def name(self) -> str:
        return "CopySlices"

    def backward(self, grads: Sequence[Any], wanted: Sequence[bool] | None = None) -> list[Any]:
        from rushlight.ops.create import zeros_of
        from rushlight.ops.window import gather_window, scatter_window

        if self.saved is None:
            raise RuntimeError(FREED_TWICE + self._made_at())
        grad = grads[0]
        inner = self.inner.backward([gather_window(grad, self.geometry)])
        replaced = None if self.self_edge is None else inner.pop(self.self_edge)
        if is_expanded(self.geometry.base_shape, self.geometry.base_strides):
            raise RuntimeError(REPEATED)
        if self.edges[0] is None or (wanted is not None and not wanted[0]):
            return [None, *inner]
        if is_expanded(self.geometry.shape, self.geometry.strides):
            raise RuntimeError(REPEATED)  # what several elements got has no place in the one of the base
        if replaced is None:
            replaced = zeros_of(self.geometry.shape, self.dtype)
        return [scatter_window(grad, replaced, self.geometry), *inner]

    def note_overwritten(self, version: int, number: int) -> None:
        if self.inner is not None:
            self.inner.note_overwritten(version, number)

    def release(self) -> None:
        # The inner node itself keeps what it saved: second derivatives may lead to it by a way of their own.
        self.saved = self.inner = None


def rebuild_node(view: Tensor) -> Node | None:
    """Give a stale view a node that gathers its window from what the base is now."""
    base, root, stale = view._base, view._root, view._node
    assert base is not None and root is not None
    if stale is None and not base._requires_grad:
        return None  # it stays stale: the base may be told to require a gradient later
    if view._creation is not None:
        raise _ambiguous_view(view, "its base or another view of its base has been modified inplace")
    from rushlight.ops.define import make_node
    from rushlight.ops.window import GATHER

    node = make_node(GATHER, (base,), {"geometry": Geometry(base._array, view._array)}, 1)
    assert node is not None
    node.shape, node.dtype = view._array.shape, view._array.dtype
    if not base._requires_grad:
        node.edges = [None]
    _keep_retaining(view, node)
    view._view_version = root._version_count
    view._node, view._requires_grad, view._output_nr = node, True, 0
    return node


def _keep_retaining(tensor: Tensor, node: Node) -> None:
    """A tensor that retains its gradient goes on to do so at the new node it is about to get."""
    if tensor.retains_grad:
        assert tensor._node is not None and tensor._node.hooks is not None
        node._hook_tables().retain[0] = tensor._node.hooks.retain.pop(tensor._output_nr)


def overwritten_copy(target: Tensor) -> Tensor:
    """The value that an in-place op is about to destroy, still attached to its history."""
    if state.mode & RECORDING:
        with no_grad():
            kept = target.clone()  # an op, so that a program copies anew
    else:
        kept = new_tensor(target._array.copy())
    kept._node, kept._requires_grad, kept._output_nr = (
        target._fresh_node(),
        target.requires_grad,
        target._output_nr,
    )
    return kept


def set_history(target: Tensor, node: Node, self_edge: int | None) -> None:
    """Make `node` the maker of the value just written into `target`.

    `self_edge` is the place among the node's edges of the value that was overwritten, None where that has
    none.
    """
    base = target._base
    if base is None:
        _keep_retaining(target, node)
        target._node, target._requires_grad, target._output_nr = node, True, 0
        return
    written = CopySlices(base, target, node, self_edge)
    _keep_retaining(base, written)
    base._node, base._requires_grad, base._output_nr = written, True, 0
    rebuild_node(target)


REPEATED = (
    "unsupported operation: more than one element of the written-to tensor refers to a single memory "
    "location. Please clone() the tensor before performing the operation."
)


def check_inplace(op: Op, inputs: Sequence[Any], recording: bool) -> None:
    """Refuse the writes of `op` into its first input that PyTorch refuses."""
    target, overlap = inputs[0], op.overlap
    if (
        recording
        or not isinstance(target, Tensor)
        or target._base is not None
        or target._creation is not None
    ):
        _check_history(target, recording)
    array = target._array
    repeated = not array.flags.c_contiguous and repeats_memory(array.shape, array.strides)
    if overlap == "none" and not (repeated and len(inputs) > 1 and isinstance(inputs[1], Tensor)):
        return  # one value for all elements may be written twice; PyTorch minds only for tensors
    if repeated:
        if op.overlap != "expanded" or 0 not in array.strides:
            raise RuntimeError(REPEATED)
        warnings.warn(
            f"Use of {op.name}_ on expanded tensors is deprecated. Please clone() the tensor before "
            "performing this operation. This also applies to advanced indexing e.g. tensor[mask] = scalar",
            stacklevel=5,
        )
    for each in inputs[1:]:
        if isinstance(each, Tensor):
            other, itself = each._array, overlap != "partial"
            if each is target:
                refused = itself
            else:
                refused = np.may_share_memory(array, other) and _overlap(array, other, itself)
            if refused:
                raise RuntimeError(
                    "unsupported operation: some elements of the input tensor and the written-to tensor "
                    "refer to a single memory location. Please clone() the tensor before performing the "
                    "operation."
                )


def _check_history(target: Any, recording: bool) -> None:
    if not isinstance(target, Tensor):
        raise TypeError(f"an in-place operation needs a Tensor to write to, not {type(target).__name__}")
    base, creation = target._base, target._creation
    if creation == "inference_root" or (base is not None and base._creation == "inference_root"):
        _check_inference()
    if not recording:
        return
    if base is not None:
        if creation is not None:
            raise _ambiguous_view(target, "is being modified inplace")
        if base._node is None and (base._requires_grad or target._requires_grad):
            raise RuntimeError(
                "a view of a leaf Variable that requires grad is being used in an in-place operation."
            )
    # a view that the history has never reached counts as a leaf until somebody asks for its grad_fn
    if target._node is None and target.requires_grad:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")


def _check_inference() -> None:
    if not state.inference:
        raise RuntimeError(
            "Inplace update to inference tensor outside InferenceMode is not allowed."
            "You can make a clone to get a normal tensor before doing inplace update."
            "See https://github.com/pytorch/rfcs/pull/17 for more details."
        )


def change_geometry(op: Op, target: Tensor, params: dict[str, Any]) -> Tensor:
    """Let a tensor itself become the view of it that `op` makes, as ``squeeze_`` and its like do; returns it.

    No element changes, so other views and the base keep their values; they follow as after any in-place
    change.
    """
    from rushlight.ops.define import make_node

    recording = state.grad_enabled and target.requires_grad
    _check_history(target, recording)
    array = op.forward(target._array, **params)
    node = make_node(op, (target,), params, 1) if recording else None
    target._array = array
    target._bump_version()
    if node is not None:
        node.shape, node.dtype = array.shape, array.dtype
        _keep_retaining(target, node)
        target._node, target._requires_grad, target._output_nr = node, True, 0
        if target._root is not None:
            target._view_version = target._root._version_count
    return target


def _overlap(written: np.ndarray, read: np.ndarray, same_window_counts: bool) -> bool:
    """PyTorch's rule: dense tensors that share memory, but perhaps without being the very same window."""
    if written.size == 0 or read.size == 0:
        return False
    if (
        address(written) == address(read)
        and written.size == read.size
        and element_strides(written) == element_strides(read)
    ):
        return same_window_counts and is_dense(written)
    return is_dense(written) and is_dense(read) and np.shares_memory(written, read)


def is_dense(array: np.ndarray) -> bool:
    """Whether the elements fill their stretch of memory without gaps or repeats, in some order of "
    "dimensions."""
    low, high = extent(array)
    return high - low + 1 == array.size and not repeats_memory(array.shape, array.strides)


# Why a view cannot follow in-place changes, by the way it was made.
_MULTIPLE = (
    " This view is the output of a function that returns multiple views. Such functions do not allow the "
    "output "
    "views to be modified inplace. You should replace the inplace operation by an out-of-place one."
)
_IN_FUNCTION = (
    " This view was created inside a custom Function (or because an input was returned as-is) and the "
    "autograd "
    "logic to handle view+inplace would override the custom backward associated with the custom Function, "
    "leading "
    "to incorrect gradients. This behavior is forbidden. You can fix this by cloning the output of the "
    "custom "
    "Function."
)
_IN_MODE = (
    " Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code by "
    "moving "
    "both the view and the inplace either both inside the {block} block (if you don't want the inplace to be "
    "tracked) or both outside (if you want the inplace to be tracked)."
)


def _ambiguous_view(view: Tensor, what_happened: str) -> RuntimeError:
    """The error for a write that a view, made without a gradient of its own, cannot follow."""
    creation, node = view._creation, view._node
    made = "A view was created in"
    if node is not None:
        op_name = node.name().removesuffix("Backward0").replace("Backward", "")
        made = f"Output {view._output_nr} of {op_name} is a view"
    if creation not in ("no_grad", "inference") and node is not None:
        advice = _MULTIPLE if creation == "multiple" else _IN_FUNCTION
        return RuntimeError(f"{made} and {what_happened}.{advice}")
    if node is not None:
        made += " of a view which was created in"
    if creation == "inference":
        advice = _IN_MODE.format(block="inference_mode")
        return RuntimeError(f"{made} inference mode and {what_happened} in normal mode.{advice}")
    advice = _MULTIPLE if creation == "multiple" else _IN_MODE.format(block="no_grad")
    return RuntimeError(f"{made} no_grad mode and {what_happened} with grad mode enabled.{advice}")
