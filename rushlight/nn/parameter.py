"""Parameter and Buffer: tensors that join a module by being assigned to it.

A parameter is what a module learns, a buffer is state that it keeps without learning it. Both are
tensors in every other respect, and what is computed from them is a plain tensor. An uninitialized
parameter or buffer stands for one whose shape a lazy module finds out at its first call. The invariant:
all of them are leaves and share the memory of the tensor they were made from.
"""

from __future__ import annotations

from typing import Any

from rushlight.device import check_device
from rushlight.dtype import dtype
from rushlight.ops.create import empty
from rushlight.tensor import Tensor, new_tensor


class Parameter(Tensor):
    """A tensor that a module trains: assigned to a module's attribute, it is among its ``parameters()``.

    ``data`` is a tensor, whose memory is shared, or None for an empty one. Unless ``requires_grad`` is False
    it requires a gradient even when made under ``no_grad``. Raises RuntimeError for whole numbers that would.

    >>> import rushlight as torch
    >>> torch.nn.Parameter(torch.zeros(2))
    Parameter containing:
    tensor([0., 0.], requires_grad=True)
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        parameter = _alias(empty(0) if data is None else data, cls)
        if requires_grad and not parameter.is_floating_point():
            raise RuntimeError(
                "Only Tensors of floating point and complex dtype can require gradients: "
                f"this one is {parameter.dtype}, pass requires_grad=False or convert it with .float()"
            )
        parameter._requires_grad = bool(requires_grad)
        return parameter

    def __repr__(self) -> str:  # type: ignore[override]
        return "Parameter containing:\n" + super().__repr__()


class _BufferType(type):
    """Lets ``isinstance(tensor, Buffer)`` ask the tensor: as in PyTorch, a buffer's class is plain Tensor."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor) and "_is_buffer" in instance.__dict__


class Buffer(Tensor, metaclass=_BufferType):
    """A tensor that a module keeps without training it: assigned to an attribute, it is among its
    ``buffers()``.

    It is saved with the module unless ``persistent`` is False.

    >>> import rushlight as torch
    >>> module = torch.nn.Module()
    >>> module.count = torch.nn.Buffer(torch.zeros(1))
    >>> dict(module.named_buffers())
    {'count': tensor([0.])}
    """

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        source = empty(0) if data is None else data
        buffer = _alias(source, Tensor)
        buffer._requires_grad = source.requires_grad
        buffer._is_buffer = True
        buffer.persistent = persistent
        return buffer


class UninitializedTensorMixin(Tensor):
    """A tensor that has a dtype but no shape yet; ``materialize`` gives it one and makes it an ordinary
    tensor.
    """

    cls_to_become: type[Tensor]

    def materialize(self, shape: Any, device: Any = None, dtype: dtype | None = None) -> None:
        """Become a tensor of this shape, with whatever values its memory holds."""
        check_device(device)
        made = empty(shape, dtype=dtype or self.dtype)
        self._array = made._array
        self.__class__ = self.cls_to_become  # type: ignore[assignment]

    @property
    def shape(self) -> Any:
        """Raises RuntimeError: the shape is not known yet."""
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
            "`load_state_dict` when trying to load an uninitialized parameter into an initialized one. "
            "Call `forward` to initialize the parameters before accessing their attributes."
        )

    def __repr__(self) -> str:  # type: ignore[override]
        return f"<{type(self).__name__}>"


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter whose shape is found out at the first call of a lazy module.

    >>> import rushlight as torch
    >>> weight = torch.nn.UninitializedParameter()
    >>> weight
    <UninitializedParameter>
    >>> weight.materialize((2, 3))
    >>> weight.shape
    torch.Size([2, 3])
    """

    cls_to_become = Parameter

    def __new__(
        cls, requires_grad: bool = True, device: Any = None, dtype: dtype | None = None
    ) -> UninitializedParameter:
        check_device(device)
        return super().__new__(cls, empty(0, dtype=dtype), requires_grad)  # type: ignore[return-value]


class UninitializedBuffer(UninitializedTensorMixin):
    """A buffer whose shape is found out at the first call of a lazy module."""

    cls_to_become = Tensor

    def __new__(
        cls,
        requires_grad: bool = False,
        device: Any = None,
        dtype: dtype | None = None,
        persistent: bool = True,
    ) -> UninitializedBuffer:
        check_device(device)
        buffer = _alias(empty(0, dtype=dtype), cls)
        buffer._requires_grad = requires_grad
        buffer._is_buffer = True
        buffer.persistent = persistent
        return buffer


def is_lazy(param: Any) -> bool:
    """Whether ``param`` is an uninitialized parameter or buffer."""
    return isinstance(param, UninitializedTensorMixin)


def _alias(data: Tensor, cls: type[Any]) -> Any:
    """A leaf of class `cls` in the memory of `data`, whose in-place changes are counted together."""
    alias = new_tensor(data._array, cls)
    alias._root = data if data._root is None else data._root
    return alias
