"""The graph seen from outside: its nodes, versions of tensors, and hooks on what is saved for backward.

While `saved_tensors_hooks` is in force, what a node would save goes through the user's pack function, and
through the unpack function when backward needs it. Invariant: an unpacked tensor has the history of the
tensor that was packed, so second derivatives do not change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rushlight.autograd.mode import PACKING, state
from rushlight.autograd.node import Node

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = [
    "Node",
    "disable_saved_tensors_hooks",
    "increment_version",
    "save_on_cpu",
    "saved_tensors_hooks",
]


class _Passage(Node):
    """Hands gradients on unchanged: how a tensor unpacked for a leaf leads back to the leaf."""

    __slots__ = ()

    def __init__(self, leaf: Tensor) -> None:
        super().__init__(None, None, None)
        self.edges = [leaf]
        self.shape, self.dtype = leaf._array.shape, leaf._array.dtype

    def backward(self, grads: Sequence[Any], wanted: Sequence[bool] | None = None) -> list[Any]:
        return [grads[0]]


class Packed:
    """A saved tensor in the form that the user's pack function gave it."""

    __slots__ = ("form", "number", "source", "unpack_hook")

    def __init__(self, tensor: Tensor, maker: Node | None = None, number: int = 0) -> None:
        pack_hook, self.unpack_hook = state.saving[-1]
        self.source: Any = maker
        self.number = number
        if maker is None:
            self.source, self.number = tensor._fresh_node(), tensor._output_nr
            if self.source is None and tensor._requires_grad:
                self.source = tensor
        version = tensor._current_version()
        mode = state.mode
        state.mode = mode & ~PACKING
        try:
            self.form = pack_hook(tensor.detach())
        finally:
            state.mode = mode
        if tensor._current_version() != version:
            raise RuntimeError(
                "A saved tensor pack hook is modifying its input in place. Tensors provided as input to pack "
                "hook can not be modified by in-place operations as this can lead to unexpected "
                "side-effects. "
                "Please open an issue if you need to perform in-place operations on the input to a pack hook."
            )

    def tensor(self) -> Tensor:
        """The tensor, unpacked, with its history."""
        from rushlight.tensor import Tensor, new_tensor

        found = self.unpack_hook(self.form)
        if not isinstance(found, Tensor):
            raise TypeError(
                "Output of saved tensor unpack_hook expected to be a Tensor but got result of type "
                f"{type(found).__name__}"
            )
        unpacked = new_tensor(found._array)
        if self.source is not None:
            unpacked._node = self.source if isinstance(self.source, Node) else _Passage(self.source)
            unpacked._requires_grad, unpacked._output_nr = True, self.number
        return unpacked


def pack(tensor: Any) -> Packed | None:
    """A tensor packed, or None where no hooks are in force."""
    if not state.mode & PACKING or tensor is None:
        return None
    return Packed(tensor)


def pack_inputs(node: Node) -> None:
    """Pack what a new node saved of its op's inputs."""
    from rushlight.tensor import Tensor

    node.saved = [Packed(each) if isinstance(each, Tensor) else each for each in node.saved]
    node.versions = None


def pack_outputs(node: Node | None, outputs: Sequence[Tensor]) -> None:
    """Pack what a new node saved of its op's outputs."""
    if node is None or not node.plan.save_out:
        return
    numbers = (0,) if node.outputs is None else node.plan.outputs
    node.out = [Packed(outputs[number], node, number) for number in numbers]
    node.out_ref, node.out_version = None, None


class saved_tensors_hooks:
    """Context manager: tensors saved for backward are kept as ``pack_hook(tensor)``, got back by
    `unpack_hook`.

    >>> import rushlight as torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> packed = []
    >>> pack = lambda t: packed.append(t) or len(packed) - 1
    >>> with torch.autograd.graph.saved_tensors_hooks(pack, packed.pop):
    ...     y = x.exp()
    >>> y.sum().backward()
    >>> x.grad, packed
    (tensor([2.7183, 2.7183]), [])
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        if state.saving_forbidden is not None:
            raise RuntimeError(state.saving_forbidden)
        state.saving = [*state.saving, (self.pack_hook, self.unpack_hook)]
        state.mode |= PACKING

    def __exit__(self, *_: object) -> None:
        state.saving = state.saving[:-1]
        if not state.saving:
            state.mode &= ~PACKING


class save_on_cpu(saved_tensors_hooks):
    """Context manager: what is saved for backward is kept as a copy (PyTorch moves it to the CPU).

    Args:
        pin_memory: not supported.
        device_type: ignored; there is only the CPU.
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        if pin_memory:
            raise NotImplementedError("save_on_cpu(): pin_memory=True is not supported")
        super().__init__(lambda tensor: tensor.clone(), lambda tensor: tensor)


class disable_saved_tensors_hooks:
    """Context manager: inside, `saved_tensors_hooks` raises an error with this message."""

    def __init__(self, error_message: str) -> None:
        self.error_message = error_message

    def __enter__(self) -> None:
        self._before = state.saving_forbidden
        state.saving_forbidden = self.error_message

    def __exit__(self, *_: object) -> None:
        state.saving_forbidden = self._before


def increment_version(tensor: Tensor | Iterable[Tensor]) -> None:
    """Say that the memory of a tensor (or of several) was changed in a way that autograd could not see.

    >>> import rushlight as torch
    >>> x = torch.zeros(2)
    >>> torch.autograd.graph.increment_version(x)
    >>> x._version
    1
    """
    from rushlight.tensor import Tensor

    for each in (tensor,) if isinstance(tensor, Tensor) else tensor:
        each._bump_version()
