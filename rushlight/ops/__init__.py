"""The ops: importing this package fills the table and attaches its entries to Tensor as methods."""

from rushlight import queries, storages
from rushlight.autograd import tensor_backward
from rushlight.ops import (
    activations,
    arrange,
    bessel,
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
    elements,
    elementwise,
    extreme,
    fill,
    functions,
    gather,
    identity,
    index,
    index_assign,
    index_dim,
    index_reduce,
    join,
    legacy,
    lookup,
    loss,
    masks,
    matmul,
    memory_layouts,
    norm,
    operators,
    pad,
    pairs,
    places,
    product,
    random,
    ranges,
    reduce,
    rounding,
    scan,
    scatter_reduce,
    scatters,
    select,
    shape,
    slicing,
    smooth,
    softmax,
    sort,
    special,
    split,
    transpose,
    triangle,
    truth,
    variance,
    vector_products,
    view_copies,
    window,
    writes,
)
from rushlight.ops.define import TABLE
from rushlight.tensor import Tensor

# Each fills the table; some have METHODS of their own besides.
FAMILIES = (
    activations,
    arrange,
    bessel,
    broadcast,
    clamp,
    compare,
    convert,
    copies,
    decompose,
    distributions,
    dropout,
    einsum,
    elements,
    elementwise,
    extreme,
    fill,
    functions,
    gather,
    identity,
    index,
    index_assign,
    index_dim,
    index_reduce,
    join,
    legacy,
    lookup,
    loss,
    masks,
    matmul,
    memory_layouts,
    norm,
    operators,
    pad,
    pairs,
    places,
    product,
    queries,
    random,
    ranges,
    reduce,
    rounding,
    scan,
    scatter_reduce,
    scatters,
    select,
    shape,
    slicing,
    smooth,
    softmax,
    sort,
    special,
    split,
    storages,
    transpose,
    triangle,
    truth,
    variance,
    vector_products,
    view_copies,
    window,
    writes,
)


def _attach() -> None:
    """Give Tensor its methods: every table entry marked as one, and the conversions."""
    for entry in TABLE.values():
        if entry.method:
            setattr(Tensor, entry.name, entry.function)
        if entry.inplace is not None:
            setattr(Tensor, entry.name + "_", entry.inplace)
    Tensor.backward = tensor_backward
    for family in FAMILIES:
        for name, method in vars(family).get("METHODS", {}).items():
            setattr(Tensor, name, method)
    for method in (create.new_zeros, create.new_ones, create.new_empty, create.new_full):
        setattr(Tensor, method.__name__, method)


_attach()
