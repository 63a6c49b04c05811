"""Changing the dtype or the device of all the tensors of a module at once.

The invariant: a parameter stays the same object and only its data is exchanged, together with that of
its gradient, so that an optimizer that holds it goes on working. Floating-point tensors alone change
their dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

from rushlight.autograd import no_grad
from rushlight.device import device as Device
from rushlight.dtype import dtype as DType
from rushlight.ops.create import empty, empty_like
from rushlight.tensor import Tensor

if TYPE_CHECKING:
    from rushlight.nn.module import Module
    from rushlight.nn.parameter import Parameter

DeviceLike = Device | str | int | None


class ModuleConversion:
    """The part of Module that exchanges the data of its tensors."""

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    children: Callable[[], Iterator[Module]]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replace the data of every parameter, gradient and buffer by what ``fn`` makes of it."""
        if recurse:
            for child in self.children():
                child._apply(fn)
        with no_grad():
            for parameter in self._parameters.values():
                if parameter is None:
                    continue
                parameter.data, gradient = fn(parameter), parameter.grad
                if gradient is not None:
                    gradient.data = fn(gradient)
            for name, buffer in self._buffers.items():
                if buffer is not None:
                    self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Convert the module in place: ``to(dtype)``, ``to(device, dtype)`` or ``to(tensor)``, and return it.

        The dtype must be a floating-point one, else TypeError. Any device but the CPU is an error.

        >>> import rushlight as torch
        >>> torch.nn.Linear(3, 2).to(torch.float64).weight.dtype
        torch.float64
        """
        if args and isinstance(args[0], DType) and "device" in kwargs:
            kind = type(kwargs["device"]).__name__
            raise TypeError(
                f"to() received an invalid combination of arguments - got (torch.dtype, device={kind}), but "
                "expected one of: (device, dtype), (dtype) or (tensor)"
            )
        # A tensor without elements shows what becomes of those with some, and raises where they would.
        dtype = empty(0).to(*args, **kwargs).dtype
        if not dtype.is_floating_point:
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}"
            )
        return self._apply(lambda t: t.to(*args, **kwargs) if t.is_floating_point() else t)

    def type(self, dst_type: DType | str) -> Self:
        """Convert every parameter and buffer, those of whole numbers too, to ``dst_type``."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self) -> Self:
        """Convert floating-point parameters and buffers to float32."""
        return self._apply(lambda t: t.float() if t.is_floating_point() else t)

    def double(self) -> Self:
        """Convert floating-point parameters and buffers to float64."""
        return self._apply(lambda t: t.double() if t.is_floating_point() else t)

    def half(self) -> Self:
        """Convert floating-point parameters and buffers to float16."""
        return self._apply(lambda t: t.half() if t.is_floating_point() else t)

    def bfloat16(self) -> Self:
        """Raise NotImplementedError: NumPy has no bfloat16."""
        raise NotImplementedError("bfloat16 is not available; use half() or float() instead")

    def cpu(self) -> Self:
        """Return the module, whose tensors are on the CPU as all are."""
        return self.to("cpu")

    def cuda(self, device: DeviceLike = None) -> Self:
        """Raise what a CPU build of PyTorch raises: there is no such device."""
        return self.to("cuda" if device is None else device)

    def xpu(self, device: DeviceLike = None) -> Self:
        """Raise what a CPU build of PyTorch raises: there is no such device."""
        return self.to("xpu" if device is None else device)

    def to_empty(self, *, device: DeviceLike, recurse: bool = True) -> Self:
        """Give every parameter and buffer fresh memory, with whatever values it holds, on ``device``."""
        return self._apply(lambda t: empty_like(t, device=device), recurse=recurse)

    def share_memory(self) -> Self:
        """Return the module as it is: tensors are sent to other processes by copying."""
        return self
