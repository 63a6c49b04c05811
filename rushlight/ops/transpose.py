"""Views that reorder dimensions: `transpose`, `permute`, `movedim`, the properties ``T``, ``mT``, ``H``.

Invariant: nothing here copies; the result's strides are the input's, reordered.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.ops.arguments import array_of, int_tuple, int_varargs
from rushlight.ops.define import Op, apply
from rushlight.ops.kinds import composite, primitive, public
from rushlight.ops.samples import Sample, T
from rushlight.ops.shape import ALIAS
from rushlight.tensor import Tensor, normal_dim
from rushlight.views import change_geometry


def _transpose(input: np.ndarray, *, dim0: int, dim1: int) -> np.ndarray:
    return input.swapaxes(dim0, dim1) if input.ndim else input.view()


def _t(input: np.ndarray) -> np.ndarray:
    return input.T


def _undo(g: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The gradient of `permute`: dimensions back to where they were."""
    back = [0] * len(dims)
    for place, dim in enumerate(dims):
        back[dim] = place
    return apply(PERMUTE, (g,), {"dims": tuple(back)})


# The second of each pair is the in-place form.
TRANSPOSE: list[Op] = [
    primitive(
        "transpose",
        "view",
        _transpose,
        dict(input=lambda g, dim0, dim1: apply(TRANSPOSE[0], (g,), {"dim0": dim0, "dim1": dim1})),
        node_name=f"TransposeBackward{number}",
    )
    for number in range(2)
]
T_OP: list[Op] = [
    primitive("t", "view", _t, dict(input=lambda g: apply(T_OP[0], (g,))), node_name=f"TBackward{number}")
    for number in range(2)
]
PERMUTE = primitive(
    "permute",
    "view",
    lambda input, *, dims: input.transpose(dims),
    dict(input=lambda g, dims: _undo(g, dims)),
)


def _transposed(input: Tensor, dim0: int, dim1: int) -> dict[str, Any]:
    ndim = array_of("transpose", input).ndim
    return {"dim0": normal_dim(dim0, ndim), "dim1": normal_dim(dim1, ndim)}


def _transpose_samples() -> list[Sample]:
    found = [
        Sample([T((2, 3, 4)), 0, 2]),
        Sample([T((2, 3)), -1, 0]),
        Sample([T((2, 3)), 1, 1]),
        Sample([T(()), 0, -1]),
    ]
    return [*found, Sample([T((2, 3), "int64"), 0, 1]), Sample([T((2, 3)), 0, 2], raises=True)]


@public(TRANSPOSE[0], samples=_transpose_samples)
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """`input` with two dimensions exchanged.

    >>> import rushlight as torch
    >>> torch.zeros(2, 3, 4).transpose(0, -1).shape
    torch.Size([4, 3, 2])
    """
    return apply(TRANSPOSE[0], (input,), _transposed(input, dim0, dim1))


@composite(samples=_transpose_samples)
def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """`transpose` under NumPy's name."""
    return transpose(input, axis0, axis1)


@composite(samples=_transpose_samples)
def swapdims(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """`transpose` under another name."""
    return transpose(input, dim0, dim1)


@public(TRANSPOSE[1], samples=_transpose_samples, torch_name="Tensor.transpose_")
def transpose_(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """`transpose`, changing the tensor itself."""
    return change_geometry(TRANSPOSE[1], input, _transposed(input, dim0, dim1))


@composite(samples=_transpose_samples, torch_name="Tensor.swapaxes_")
def swapaxes_(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """`swapaxes`, changing the tensor itself."""
    return transpose_(input, axis0, axis1)


@composite(samples=_transpose_samples, torch_name="Tensor.swapdims_")
def swapdims_(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """`swapdims`, changing the tensor itself."""
    return transpose_(input, dim0, dim1)


def _check_matrix(name: str, input: Tensor) -> None:
    ndim = array_of(name, input).ndim
    if ndim > 2:
        raise RuntimeError(f"{name}() expects a tensor with <= 2 dimensions, but self is {ndim}D")


def _t_samples() -> list[Sample]:
    return [Sample([T(shape)]) for shape in ((2, 3), (3,), ())] + [Sample([T((2, 3, 4))], raises=True)]


@public(T_OP[0], samples=_t_samples)
def t(input: Tensor) -> Tensor:
    """A matrix transposed; vectors and 0-d tensors as they are.

    >>> import rushlight as torch
    >>> torch.tensor([[1, 2], [3, 4]]).t()
    tensor([[1, 3],
            [2, 4]])
    """
    _check_matrix("t", input)
    return apply(T_OP[0], (input,))


@public(T_OP[1], samples=_t_samples, torch_name="Tensor.t_")
def t_(input: Tensor) -> Tensor:
    """`t`, changing the tensor itself."""
    _check_matrix("t_", input)
    return change_geometry(T_OP[1], input, {})


def _permute_samples() -> list[Sample]:
    found = [
        Sample([T((2, 3, 4)), (2, 0, 1)]),
        Sample([T((2, 3)), (-1, 0)]),
        Sample([T(()), ()]),
        Sample([T((2, 3), "bool"), [1, 0]]),
    ]
    return found + [Sample([T((2, 3)), dims], raises=True) for dims in ((0,), (0, 0), (0, 2))]


@int_varargs("dims")
def permute(input: Tensor, dims: tuple[int, ...]) -> Tensor:
    """`input` with its dimensions in the order given.

    >>> import rushlight as torch
    >>> torch.zeros(2, 3, 4).permute(2, 0, 1).shape
    torch.Size([4, 2, 3])
    """
    ndim = array_of("permute", input).ndim
    if len(dims) != ndim:
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the length of "
            f"the desired ordering of dimensions i.e. input.dim() = {ndim} is not equal to len(dims) = "
            f"{len(dims)}"
        )
    for dim in dims:
        if not 0 <= dim < ndim:
            dims = tuple([normal_dim(each, ndim) for each in dims])
            break
    if len(set(dims)) != ndim:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return apply(PERMUTE, (input,), {"dims": dims})


public(PERMUTE, samples=_permute_samples)(permute)


def _several(name: str, argument: str, dims: Any, ndim: int) -> list[int]:
    found = [dims] if isinstance(dims, int) else list(int_tuple(name, argument, (dims,)))
    return [normal_dim(dim, ndim) for dim in found]


def _movedim_samples() -> list[Sample]:
    cases = [(0, 2), ((0, 1), (1, 0)), ((0, -1), (-1, 1)), ((), ())]
    refused = [((0, 1), (1,)), ((0, 0), (1, 2)), ((0, 1), (1, 1)), (0, 5)]
    found = [Sample([T((2, 3, 4)), *each]) for each in cases]
    return [*found, Sample([T(()), 0, 0]), *(Sample([T((2, 3, 4)), *each], raises=True) for each in refused)]


@composite(samples=_movedim_samples)
def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """`input` with some dimensions moved to other places; the rest keep their order.

    >>> import rushlight as torch
    >>> torch.zeros(2, 3, 4).movedim(0, -1).shape
    torch.Size([3, 4, 2])
    """
    ndim = array_of("movedim", input).ndim
    come, go = (
        _several("movedim", "source", source, ndim),
        _several("movedim", "destination", destination, ndim),
    )
    if len(come) != len(go):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({come} dims) should contain the same "
            f"number of dims as destination ({go} dims)"
        )
    for which, dims in (("source", come), ("destination", go)):
        if len(set(dims)) != len(dims):
            raise RuntimeError(f"movedim: repeated dim in `{which}` ({dims})")
    if ndim == 0:
        return apply(ALIAS, (input,))
    order = [dim for dim in range(ndim) if dim not in come]
    for place, dim in sorted(zip(go, come, strict=True)):
        order.insert(place, dim)
    return permute(input, tuple(order))


@composite(samples=_movedim_samples)
def moveaxis(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """`movedim` under NumPy's name."""
    return movedim(input, source, destination)


@composite(samples=lambda: [Sample([T((2, 3))]), Sample([T((2, 3, 4))]), Sample([T((3,))], raises=True)])
def adjoint(input: Tensor) -> Tensor:
    """Matrices, or batches of them, transposed (there are no complex numbers to conjugate)."""
    if array_of("adjoint", input).ndim == 0:
        warnings.warn("adjoint() is deprecated on 0-D tensors. Consider using x.conj().", stacklevel=2)
        return input
    return _matrix_transposed(input, "tensor.adjoint()")


def _matrix_transposed(input: Tensor, name: str) -> Tensor:
    ndim = input._array.ndim
    if ndim == 1:
        raise RuntimeError(
            f"{name} is only supported on matrices or batches of matrices. Got {ndim}-D tensor."
        )
    return transpose(input, -2, -1)


# -- properties ----------------------------------------------------------------------------------------------


def reversed_dims(self: Tensor) -> Tensor:
    """``x.T``: all dimensions in reverse order; deprecated, as in PyTorch, for other than two."""
    ndim = self._array.ndim
    if ndim == 0:
        warnings.warn(
            "Tensor.T is deprecated on 0-D tensors. This function is the identity in these cases.",
            stacklevel=2,
        )
    elif ndim != 2:
        warnings.warn(
            "The use of `x.T` on tensors of dimension other than 2 to reverse their shape is deprecated "
            "and it will throw an error in a future release. Consider `x.mT` to transpose batches of "
            "matrices or `x.permute(*torch.arange(x.ndim - 1, -1, -1))` to reverse the dimensions of a "
            "tensor.",
            stacklevel=2,
        )
    return apply(PERMUTE, (self,), {"dims": tuple(range(ndim - 1, -1, -1))})


def matrix_transposed(self: Tensor) -> Tensor:
    """``x.mT``: a matrix, or each of a batch, transposed."""
    if self._array.ndim == 0:
        warnings.warn(
            "Tensor.mT is deprecated on 0-D tensors. This function is the identity in these cases.",
            stacklevel=2,
        )
        return self
    return _matrix_transposed(self, "tensor.mT")


def matrix_adjoint(self: Tensor) -> Tensor:
    """``x.H``: a matrix transposed (there are no complex numbers to conjugate)."""
    ndim = self._array.ndim
    if ndim == 0:
        warnings.warn("Tensor.H is deprecated on 0-D tensors. Consider using x.conj().", stacklevel=2)
        return self
    if ndim != 2:
        advice = " For batches of matrices, consider using tensor.mH" if ndim > 2 else ""
        raise RuntimeError(
            f"tensor.H is only supported on matrices (2-D tensors). Got {ndim}-D tensor.{advice}"
        )
    return transpose(self, 0, 1)


def batch_adjoint(self: Tensor) -> Tensor:
    """``x.mH``: a matrix, or each of a batch, transposed."""
    if self._array.ndim == 0:
        warnings.warn("Tensor.mH is deprecated on 0-D tensors. Consider using x.conj().", stacklevel=2)
        return self
    return _matrix_transposed(self, "tensor.mH")


METHODS: dict[str, Any] = {
    "T": property(reversed_dims),
    "mT": property(matrix_transposed),
    "H": property(matrix_adjoint),
    "mH": property(batch_adjoint),
}
