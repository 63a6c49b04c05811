"""Linear layers: matrix product plus bias, their bilinear relative, and Identity.

The invariant: initial weights are drawn weight first, then bias, as in PyTorch, so that a seed gives its
values.
"""

from __future__ import annotations

import math
from typing import Any

from rushlight.autograd import no_grad
from rushlight.nn import functional as F
from rushlight.nn import init
from rushlight.nn.lazy import LazyModuleMixin
from rushlight.nn.module import Module
from rushlight.nn.parameter import Parameter, UninitializedParameter
from rushlight.ops.create import empty
from rushlight.tensor import Tensor


class Identity(Module):
    """Returns its input; takes any arguments and ignores them, so that it can stand in for another layer.

    >>> import rushlight as torch
    >>> torch.nn.Identity(54, unused=0.1)(torch.ones(2))
    tensor([1., 1.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return input


class Linear(Module):
    """``x @ weight.T + bias`` for input ``(*, in_features)`` and output ``(*, out_features)``.

    ``weight`` has shape ``(out_features, in_features)``; it and ``bias`` are drawn evenly from
    ``-1 / sqrt(in_features)`` to ``1 / sqrt(in_features)``.

    >>> import rushlight as torch
    >>> layer = torch.nn.Linear(20, 30)
    >>> layer(torch.zeros(128, 20)).shape
    torch.Size([128, 30])
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(empty((out_features, in_features), device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_features, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight and the bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        )

    def _expected_input(self) -> str:
        return f"{self.in_features} features"


class NonDynamicallyQuantizableLinear(Linear):
    """A Linear that tools for quantization leave alone; in all else a Linear.

    >>> import rushlight as torch
    >>> torch.nn.MultiheadAttention(4, 2).out_proj
    NonDynamicallyQuantizableLinear(in_features=4, out_features=4, bias=True)
    """


class LazyLinear(LazyModuleMixin, Linear):
    """A Linear that learns ``in_features`` from its first input, and is a plain Linear from then on.

    >>> import rushlight as torch
    >>> layer = torch.nn.LazyLinear(30)
    >>> layer
    LazyLinear(in_features=0, out_features=30, bias=True)
    >>> output = layer(torch.zeros(128, 20))
    >>> layer
    Linear(in_features=20, out_features=30, bias=True)
    """

    cls_to_become = Linear

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(0, 0, False)
        self.out_features = out_features
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw the weight and the bias, if their shapes are known."""
        if not self.has_uninitialized_params() and self.in_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Give the parameters the shapes that ``input`` calls for."""
        if self.has_uninitialized_params():
            with no_grad():
                self.in_features = input.shape[-1]
                self.weight.materialize((self.out_features, self.in_features))
                if self.bias is not None:
                    self.bias.materialize((self.out_features,))
                self.reset_parameters()
        elif self.in_features == 0:
            # The parameters were loaded, and their shape has to be that of the input.
            if input.shape[-1] != self.weight.shape[-1]:
                raise AssertionError(
                    f"The in_features inferred from input: {input.shape[-1]} is not equal to in_features "
                    f"from self.weight: {self.weight.shape[-1]}"
                )
            self.in_features = input.shape[-1]


class Bilinear(Module):
    """``x1 @ weight[k] @ x2 + bias[k]`` for each output ``k``, of inputs ``(*, in1_features)``, ``(*,
    in2_features)``.

    Raises ValueError unless ``in1_features`` is positive.

    >>> import rushlight as torch
    >>> torch.nn.Bilinear(20, 30, 40)(torch.zeros(128, 20), torch.zeros(128, 30)).shape
    torch.Size([128, 40])
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if in1_features <= 0:
            raise ValueError(f"in1_features must be > 0, but got (in1_features={in1_features})")
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self.weight = Parameter(empty((out_features, in1_features, in2_features), device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_features, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight and the bias anew."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )

    def _expected_input(self) -> str:
        return f"{self.in1_features} and {self.in2_features} features"
