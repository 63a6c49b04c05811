"""Rushlight: PyTorch's API on NumPy."""

from rushlight.dtype import float32
from rushlight.autograd import no_grad
from rushlight.ops import create, elementwise, reduce, shape, window
from rushlight.ops.create import tensor
from rushlight.tensor import Tensor
from rushlight.ops.define import TABLE
for e in TABLE.values():
    setattr(Tensor, e.name, e.function)
    if e.inplace: setattr(Tensor, e.name + "_", e.inplace)
Tensor.__add__ = Tensor.add; Tensor.__mul__ = Tensor.mul
