"""The ops: importing this package fills the table and attaches its entries to Tensor as methods."""

from rushlight.autograd import tensor_backward
from rushlight.ops import (
    broadcast,
    clamp,
    compare,
    convert,
    copies,
    create,
    decompose,
    distributions,
    dropout,
    einsum,
    elementwise,
    extreme,
    fill,
    functions,
    join,
    loss,
    matmul,
    norm,
    operators,
    pairs,
    random,
    reduce,
    rounding,
    scan,
    select,
    shape,
    slicing,
    softmax,
    sort,
    split,
    transpose,
    truth,
    window,
    writes,
)
from rushlight.ops.define import TABLE
from rushlight.tensor import Tensor


FAMILIES = (
    clamp,
    compare,
    decompose,
    distributions,
    dropout,
    einsum,
    elementwise,
    extreme,
    functions,
    loss,
    matmul,
    norm,
)
FAMILIES += (pairs, random, reduce, rounding, scan, select, shape, softmax, sort, truth, window)


def _attach() -> None:
    """Give Tensor its methods: every table entry marked as one, and the conversions."""
    for entry in TABLE.values():
        if entry.method:
            setattr(Tensor, entry.name, entry.function)
        if entry.inplace is not None:
            setattr(Tensor, entry.name + "_", entry.inplace)
    operators.attach()
    Tensor.backward = tensor_backward
    for name, method in (
        convert.METHODS | fill.METHODS | copies.METHODS | transpose.METHODS | writes.METHODS
    ).items():
        setattr(Tensor, name, method)
    for method in (create.new_zeros, create.new_ones, create.new_empty, create.new_full):
        setattr(Tensor, method.__name__, method)


_attach()
