"""Functions that return their input itself or its memory: `detach`, and what only complex tensors need.

Invariant: nothing here computes or copies a value, but for ``out=``.
"""

from __future__ import annotations

from typing import Any, NoReturn

from rushlight.dtype import dtype as DType
from rushlight.ops.arguments import array_of
from rushlight.ops.copies import convert
from rushlight.ops.define import INPLACE, apply, apply_inplace, write_out
from rushlight.ops.kinds import composite, primitive
from rushlight.ops.samples import Named, Sample, T
from rushlight.ops.shape import ALIAS
from rushlight.tensor import Tensor


def _samples() -> list[Sample]:
    return [Sample([T((2, 3))]), Sample([T((), "int64")]), Sample([T((0, 2), "float64")])]


CONJ_INPLACE = primitive(
    "conj_physical",
    "map",
    lambda input: input.copy(),
    dict(input=lambda g: g),
    node_name="ConjPhysicalBackward1",
    update=lambda target: None,
)


@composite(samples=_samples, inplace=True)
def conj_physical(input: Tensor, *, out: Any = None) -> Tensor:
    """`input` itself, since no complex types exist here; see `conj`."""
    array_of("conj_physical", input)
    if out is INPLACE:
        return apply_inplace(CONJ_INPLACE, (input,))
    return input if out is None else write_out(out, input)


@composite(samples=_samples)
def resolve_conj(input: Tensor) -> Tensor:
    """`input` itself: it is no conjugate that waits to be computed."""
    array_of("resolve_conj", input)
    return input


@composite(samples=_samples)
def resolve_neg(input: Tensor) -> Tensor:
    """`input` itself: it is no negative that waits to be computed."""
    array_of("resolve_neg", input)
    return input


@composite(samples=lambda: [Sample([T((2, 3))], raises=True)], method=False)
def imag(input: Tensor) -> NoReturn:
    """RuntimeError: a real tensor has no imaginary part, as in PyTorch."""
    array_of("imag", input)
    raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")


@composite(
    samples=lambda: [Sample([T((2, 3))]), Sample([T((2, 3)), Named("float64")])], torch_name="Tensor.to_dense"
)
def to_dense(input: Tensor, dtype: DType | None = None, *, masked_grad: bool | None = None) -> Tensor:
    """The tensor itself, converted if a `dtype` is given: it is no sparse one, and so `masked_grad` says
    nothing.
    """
    array_of("to_dense", input)
    return input if dtype is None else convert(input, dtype)


@composite(samples=_samples, method=False)
def detach(input: Tensor) -> Tensor:
    """The same memory without history.

    >>> import rushlight as torch
    >>> torch.detach(torch.ones(2, requires_grad=True))
    tensor([1., 1.])
    """
    array_of("detach", input)
    return input.detach()


@composite(samples=_samples, method=False)
def detach_(input: Tensor) -> Tensor:
    """Forget the tensor's history in place; returns it."""
    array_of("detach_", input)
    return input.detach_()


def as_subclass(self: Tensor, cls: type) -> Tensor:
    """The same memory and history as an object of a subclass of Tensor.

    >>> import rushlight as torch
    >>> class Scores(torch.Tensor):
    ...     pass
    >>> torch.zeros(2).as_subclass(Scores)
    Scores([0., 0.])
    """
    if not isinstance(cls, type):
        raise TypeError(f"cls must be a type (got {type(cls).__name__})")
    if not issubclass(cls, Tensor):
        raise TypeError(
            "Creating a Tensor subclass from a class that does not inherit from Tensor is not possible. Make "
            "sure your class inherits from Tensor."
        )
    alias = apply(ALIAS, (self,))
    alias.__class__ = cls
    return alias


METHODS: dict[str, Any] = {"imag": property(imag), "as_subclass": as_subclass}
