"""What PyTorch deprecated or removed: old methods that still work, and old names that say what replaced them.

Invariant: nothing else in the package uses what is here.
"""

from __future__ import annotations

import warnings
from typing import Any, NoReturn

from rushlight.device import check_device
from rushlight.ops.arguments import array_of, int_tuple
from rushlight.ops.convert import legacy_new
from rushlight.ops.shape import reshape
from rushlight.tensor import Tensor, new_tensor

# -- methods that still work ---------------------------------------------------------------------------------


def new(self: Tensor, *args: Any, size: Any = None, device: Any = None) -> Tensor:
    """A tensor of this one's type, of a shape or of given data; see `new_empty` and `new_tensor`.

    >>> import rushlight as torch
    >>> torch.zeros(2, dtype=torch.int64).new([1, 2])
    tensor([1, 2])
    """
    if device is not None:
        check_device(device)
    if size is not None:
        args = int_tuple("new", "size", (size,))
    return new_tensor(legacy_new(args, self.dtype))


def resize(self: Tensor, *sizes: Any) -> Tensor:
    """`reshape` to a shape of as many elements, with a warning; see `resize_` to change the number."""
    warnings.warn("non-inplace resize is deprecated", stacklevel=2)
    return _resized(self, int_tuple("resize", "sizes", sizes))


def resize_as(self: Tensor, tensor: Tensor) -> Tensor:
    """`reshape_as`, with a warning."""
    warnings.warn("non-inplace resize_as is deprecated", stacklevel=2)
    return _resized(self, array_of("resize_as", tensor, "tensor").shape)


def _resized(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    count = 1
    for length in shape:
        count *= length
    if count != tensor.numel():
        wanted, found = ("x".join(str(n) for n in each) for each in (shape, tensor.shape))
        raise RuntimeError(
            f"requested resize to {wanted} ({count} elements in total), but the given tensor has a size of "
            f"{found} ({tensor.numel()} elements). autograd's resize can only change the shape of a given "
            "tensor, while preserving the number of elements."
        )
    return reshape(tensor.contiguous(), shape)


def volatile(self: Tensor) -> bool:
    """False: what `no_grad` does now, tensors once did by themselves."""
    warnings.warn("volatile was removed (Variable.volatile is always False)", stacklevel=2)
    return False


def reinforce(self: Tensor, reward: Any) -> NoReturn:
    """RuntimeError: removed from PyTorch."""
    raise RuntimeError(
        "reinforce() was removed.\nMultiply the log probability of the action taken by its reward, and "
        "minimise the negative of that."
    )


def index(self: Tensor, positions: Any, dims: Any) -> NoReturn:
    """NotImplementedError: binds dimensions to the names of ``functorch.dim``, which are not there.

    To look for a value, as in a list, write ``(tensor == value).nonzero()``.
    """
    raise NotImplementedError(
        "Tensor.index() binds first-class dimensions (functorch.dim), which are not supported; to look for a "
        "value write (tensor == value).nonzero()"
    )


# -- functions that were removed -----------------------------------------------------------------------------


def _removed(name: str, advice: str) -> Any:
    """A function that raises PyTorch's RuntimeError."""

    def function(input: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(f"This function was deprecated since version 1.9 and is now removed. {advice}")

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"RuntimeError: removed from PyTorch. {advice}"
    return function


eig = _removed("eig", "Use torch.linalg.eigh for symmetric matrices; others may have complex eigenvalues.")
symeig = _removed(
    "symeig",
    "torch.symeig(A, upper=upper) should be replaced with torch.linalg.eigh(A, UPLO='U' if upper else 'L').",
)
lstsq = _removed(
    "lstsq", "`torch.lstsq` is deprecated in favor of `torch.linalg.lstsq`, which has reversed arguments."
)
solve = _removed(
    "solve",
    "`torch.solve` is deprecated in favor of `torch.linalg.solve`. `torch.linalg.solve` has its arguments "
    "reversed and does not return the LU factorization.",
)
matrix_rank = _removed("matrix_rank", "Please use the `torch.linalg.matrix_rank` function instead.")

METHODS: dict[str, Any] = {
    "new": new,
    "resize": resize,
    "resize_as": resize_as,
    "volatile": property(volatile),
    "name": None,
    "reinforce": reinforce,
    "index": index,
    "eig": eig,
    "symeig": symeig,
    "lstsq": lstsq,
    "solve": solve,
}
