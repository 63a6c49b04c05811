"""Folds over truth values: `all` and `any`.

They stand in a file of their own so that no other file's built-in `all` and `any` are hidden. Invariant: the
result is bool, but for uint8 input, whose result stays uint8 as in PyTorch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.dtype import BOOL_NUMPY
from rushlight.ops.arguments import numpy_names, require_tensor
from rushlight.ops.define import apply, write_out
from rushlight.ops.dims import check_keepdim, dims_of
from rushlight.ops.kinds import primitive, public
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor


def _samples() -> list[Sample]:
    return [
        Sample([T((3, 4), "bool")]),
        Sample([T((3, 4), grad=False), 1]),
        Sample([T((2, 3), "uint8", low=0, high=2), 0, True]),
        Sample([T((2, 3), "uint8", low=0, high=2)]),
        Sample([T((0, 3), "bool"), 0]),
        Sample([T((0, 3), grad=False)]),
        Sample([T((2, 3, 2), "int64", low=0, high=2), (0, 2)]),
        Sample([T((2, 3), "bool"), ()]),
        Sample([T((), grad=False)]),
        Sample([T((2, 3), "bool"), 2], raises=True),
    ]


def _truth(name: str, ufunc: np.ufunc, summary: str) -> Any:
    op = primitive(
        name,
        "fold",
        lambda input, *, dim, keepdim: ufunc.reduce(input, axis=dim, dtype=BOOL_NUMPY, keepdims=keepdim),
    )

    def function(input: Tensor, dim: Any = None, keepdim: bool = False, *, out: Any = None) -> Tensor:
        require_tensor(name, "input", 1, input)
        check_keepdim(name, keepdim)
        array = input._array
        # unlike sums, an empty list of dimensions means none here, not all
        dims = () if dim == () or dim == [] else dims_of(dim, array.ndim, name)
        result = apply(op, (input,), {"dim": dims, "keepdim": keepdim})
        if array.dtype == np.uint8:  # PyTorch's old byte masks stay bytes
            result = result.to(input.dtype)
        return result if out is None else write_out(out, result)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = summary
    return public(op, samples=_samples)(numpy_names(function))


all = _truth(
    "all",
    np.logical_and,
    """Whether all elements are true (not zero), in all or along `dim`.

    >>> import rushlight as torch
    >>> torch.tensor([[True, False], [True, True]]).all(dim=1)
    tensor([False,  True])
    """,
)
any = _truth(
    "any",
    np.logical_or,
    """Whether any element is true (not zero), in all or along `dim`.

    >>> import rushlight as torch
    >>> torch.tensor([[True, False], [False, False]]).any(dim=1)
    tensor([ True, False])
    """,
)
