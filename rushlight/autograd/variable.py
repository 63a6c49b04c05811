"""Variable: what old programs wrap tensors in before they compute gradients. Every tensor is one.

``Variable(x)`` gives a tensor with the memory of `x`, and ``isinstance(x, Variable)`` holds for every tensor.
"""

from __future__ import annotations

from typing import Any

from rushlight.tensor import Tensor


class _VariableMeta(type):
    def __instancecheck__(cls, other: object) -> bool:
        return isinstance(other, Tensor)

    def __call__(cls, data: Any = None, requires_grad: bool = False, volatile: bool = False) -> Tensor:
        from rushlight.ops.convert import tensor

        if volatile:
            raise NotImplementedError("Variable(): volatile is no more; use no_grad() in its place")
        made = tensor([]) if data is None else data.detach()
        return made.requires_grad_(requires_grad)


class Variable(metaclass=_VariableMeta):
    """A tensor, under the name it had before PyTorch 0.4.

    Args:
        data: a tensor, whose memory the result shares.
        requires_grad: whether gradients are computed.

    >>> import rushlight as torch
    >>> x = torch.autograd.Variable(torch.ones(2), requires_grad=True)
    >>> x, isinstance(x, torch.autograd.Variable)
    (tensor([1., 1.], requires_grad=True), True)
    """
