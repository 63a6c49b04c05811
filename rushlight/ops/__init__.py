"""The ops: importing this package fills the table and attaches its entries to Tensor as methods."""

from rushlight.ops import create, elementwise, reduce, shape, window
from rushlight.ops.define import TABLE
from rushlight.tensor import Tensor


def _attach() -> None:
    for entry in TABLE.values():
        if entry.method:
            setattr(Tensor, entry.name, entry.function)
            if entry.inplace is not None:
                setattr(Tensor, entry.name + "_", entry.inplace)


_attach()
