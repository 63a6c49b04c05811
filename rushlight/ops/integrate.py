"""Differences between neighbours, and what inverts them: derivatives and integrals of sampled functions.

Invariant: these are compositions of slices and sums, so all derivatives follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rushlight.ops.arguments import numpy_names, require_tensor
from rushlight.ops.create import zeros_of
from rushlight.ops.define import labelled, write_out
from rushlight.ops.join import cat
from rushlight.ops.kinds import composite
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor, normal_dim

# -- differences ---------------------------------------------------------------------------------------------


def _check_joined(input: Tensor, other: Tensor, dim: int) -> None:
    """Refuse a `prepend` or `append` that does not fit, in PyTorch's words."""
    own, theirs = input._array.shape, other._array.shape
    if len(own) != len(theirs):
        raise RuntimeError("diff expects prepend or append to be the same dimension as input")
    for place, (n, m) in enumerate(zip(own, theirs, strict=True)):
        if n != m and place != dim:
            raise RuntimeError(
                "diff expects the shape of tensor to prepend or append to match that of input except along "
                f"the differencing dimension; input.size({place}) = {n}, but got tensor.size({place}) = {m}"
            )


def _diff_samples() -> list[Sample]:
    found = [Sample([T((5,))]), Sample([T((3, 4))], {"dim": 0}), Sample([T((6,)), 2]), Sample([T((3,)), 0])]
    found += [Sample([T((3,)), 1, -1, T((1,)), T((2,))]), Sample([T((2, 3))], {"append": T((2, 1))})]
    found += [Sample([T((2,)), 5]), Sample([T((4,), "bool")]), Sample([T((4,), "uint8")]), Sample([T((1,))])]
    found += [Sample([T(())], raises=True), Sample([T((3,)), -1], raises=True)]
    found += [Sample([T((2, 3))], {"prepend": T(shape)}, raises=True) for shape in ((3, 1), (1,))]
    return [*found, Sample([T((2, 3))], {"dim": 2}, raises=True)]


@composite(samples=_diff_samples)
@numpy_names
def diff(
    input: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
    *,
    out: Any = None,
) -> Tensor:
    """Differences between neighbours along `dim`, `n` times over.

    Args:
        input: at least one-dimensional; of bools, the exclusive or is taken.
        n: how often; 0 copies.
        dim: along which dimension.
        prepend: joined to the front first, with the shape of `input` but for `dim`.
        append: joined to the end first.

    >>> import rushlight as torch
    >>> torch.tensor([1, 4, 9]).diff()
    tensor([3, 5])
    """
    require_tensor("diff", "input", 1, input)
    if input._array.ndim == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    place = normal_dim(dim, input._array.ndim)
    joined = [prepend, input, append]
    parts = [each for each in joined if each is not None]
    for each in parts:
        _check_joined(input, each, place)
    result = cat(parts, place) if len(parts) > 1 else input
    if n == 0:
        result = labelled(result.clone(), "CopyBackwards")
    for _ in range(n):
        length = result._array.shape[place]
        if length == 0:
            break
        later, earlier = result.narrow(place, 1, length - 1), result.narrow(place, 0, length - 1)
        result = later.logical_xor(earlier) if result._array.dtype.kind == "b" else later - earlier
    return result if out is None else write_out(out, result)


# -- integrals -----------------------------------------------------------------------------------------------


def _pairs(y: Tensor, dim: int) -> Tensor:
    """Sums of neighbours along `dim`."""
    count = max(y._array.shape[dim] - 1, 0)
    return y.narrow(dim, 1 if count else 0, count) + y.narrow(dim, 0, count)


def _steps(name: str, y: Tensor, x: Tensor, dim: int) -> Tensor:
    """The distances between places along `dim`, in a shape that broadcasts against pairs of `y`."""
    if x._array.ndim != 1:
        return diff(x, dim=dim - y._array.ndim)
    if x._array.shape[0] != y._array.shape[dim]:
        raise RuntimeError(f"{name}: There must be one `x` value for each sample point")
    return diff(x).reshape([-1 if i == dim else 1 for i in range(y._array.ndim)])


def _checked_dim(name: str, y: Any, x: Tensor | None, dim: int) -> int:
    require_tensor(name, "y", 1, y)
    if not y._array.ndim:
        if name == "cumulative_trapezoid":
            raise IndexError("slice() cannot be applied to a 0-dim tensor.")
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    for letter, each in (("y", y), ("x", x)):
        if each is not None and each._array.dtype.kind == "b":
            raise RuntimeError(f"{name}: received a bool input for `{letter}`, but bool is not supported")
    return normal_dim(dim, y._array.ndim)


def _integral_samples() -> list[Sample]:
    found = [Sample([T((5,))]), Sample([T((2, 5)), T((5,))]), Sample([T((2, 5))], {"dx": 0.5, "dim": 0})]
    found += [Sample([T((2, 5)), T((2, 5))]), Sample([T((2, 5)), T((2, 1))], {"dim": 0}), Sample([T((1,))])]
    found += [Sample([T((4,), "int64")]), Sample([T((2, 1))]), Sample([T(())], raises=True)]
    return [*found, Sample([T((3,), "bool")], raises=True), Sample([T((2, 3)), T((2,))], raises=True)]


@composite(samples=_integral_samples, method=False)
def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = 1.0, dim: int = -1) -> Tensor:
    """The integral along `dim` by the trapezoidal rule, of values `y` at places `x` or `dx` apart.

    >>> import rushlight as torch
    >>> torch.trapezoid(torch.tensor([0.0, 1.0, 4.0]), dx=2)
    tensor(6.)
    """
    place = _checked_dim("trapezoid", y, x, dim)
    if y._array.shape[place] == 0:
        return zeros_of(y._array.shape[:place] + y._array.shape[place + 1 :], y._array.dtype)
    if x is None:
        ends = (y.select(place, 0) + y.select(place, -1)) * 0.5
        return labelled((y.sum(place) - ends) * dx, "MulBackward1")
    return labelled((_pairs(y, place) * _steps("trapezoid", y, x, place)).sum(place) / 2.0, "DivBackward1")


@composite(samples=_integral_samples, method=False)
def trapz(y: Tensor, x: Tensor | None = None, *, dx: Any = 1.0, dim: int = -1) -> Tensor:
    """Another name of `trapezoid`."""
    return trapezoid(y, x, dx=dx, dim=dim)


@composite(samples=_integral_samples, method=False)
def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = 1.0, dim: int = -1) -> Tensor:
    """Running integrals along `dim` by the trapezoidal rule, one fewer than values.

    >>> import rushlight as torch
    >>> torch.cumulative_trapezoid(torch.tensor([0.0, 1.0, 4.0]))
    tensor([0.5000, 3.0000])
    """
    place = _checked_dim("cumulative_trapezoid", y, x, dim)
    if x is None:
        return (_pairs(y, place) * (dx / 2.0)).cumsum(place)
    steps = _steps("cumulative_trapezoid", y, x, place)
    return labelled((_pairs(y, place) * steps).cumsum(place) / 2.0, "DivBackward1")


# -- derivatives ---------------------------------------------------------------------------------------------


def _slopes(y: Tensor, places: Tensor | None, step: float, dim: int, edge_order: int) -> Tensor:
    """The derivative along `dim` by central differences, one-sided ones at the ends."""
    length = y._array.shape[dim]
    if length < edge_order + 1:
        raise RuntimeError("torch.gradient expected each dimension size to be at least edge_order+1")

    def at(start: int, count: int) -> Tensor:
        return y.narrow(dim, start % length, count)

    if places is None:
        middle = (at(2, length - 2) - at(0, length - 2)) / (2 * step)
        if edge_order == 1:
            first, last = (at(1, 1) - at(0, 1)) / step, (at(-1, 1) - at(-2, 1)) / step
        else:
            first = (at(0, 1) * -3 + at(1, 1) * 4 - at(2, 1)) / (2 * step)
            last = (at(-1, 1) * 3 - at(-2, 1) * 4 + at(-3, 1)) / (2 * step)
        return cat([first, middle, last], dim)
    gaps = diff(places).reshape([-1 if i == dim else 1 for i in range(y._array.ndim)])
    before, after = gaps.narrow(dim, 0, length - 2), gaps.narrow(dim, 1, length - 2)
    middle = (
        at(0, length - 2) * -(after / (before * (before + after)))
        + at(1, length - 2) * ((after - before) / (before * after))
        + at(2, length - 2) * (before / (after * (before + after)))
    )
    h, k = gaps.narrow(dim, 0, 1), gaps.narrow(dim, length - 2, 1)
    if edge_order == 1:
        return cat([(at(1, 1) - at(0, 1)) / h, middle, (at(-1, 1) - at(-2, 1)) / k], dim)
    g, j = gaps.narrow(dim, 1, 1), gaps.narrow(dim, length - 3, 1)
    first = (
        at(0, 1) * -((h * 2 + g) / (h * (h + g)))
        + at(1, 1) * ((h + g) / (h * g))
        - at(2, 1) * (h / (g * (h + g)))
    )
    last = (
        at(-3, 1) * (k / (j * (j + k)))
        - at(-2, 1) * ((j + k) / (j * k))
        + at(-1, 1) * ((k * 2 + j) / (k * (j + k)))
    )
    return cat([first, middle, last], dim)


def _gradient_samples() -> list[Sample]:
    places = [T(values=[0.0, 1.0, 3.0, 4.0], grad=False), T(values=[0.0, 2.0, 3.0], grad=False)]
    return [
        Sample([T((5,))]),
        Sample([T((4, 3))], {"spacing": 2.0}),
        Sample([T((4, 3))], {"dim": 0, "edge_order": 2}),
        Sample([T((4, 3))], {"dim": (1, 0), "spacing": [0.5, 2.0]}),
        Sample([T((4, 3))], {"spacing": places}),
        Sample([T((4, 3))], {"spacing": places, "edge_order": 2}),
        Sample([T((4, 3))], {"spacing": places[:1], "dim": 0}),
        Sample([T((4,), "float64")]),
        Sample([T((1,))], raises=True),
        Sample([T((4,))], {"edge_order": 3}, raises=True),
    ]


@composite(samples=_gradient_samples, method=False)
def gradient(
    input: Tensor, *, spacing: Any = 1.0, dim: Any = None, edge_order: int = 1
) -> tuple[Tensor, ...]:
    """The derivatives of a sampled function along `dim`, by central differences of second order.

    Args:
        input: values of the function on a grid.
        spacing: how far apart samples are: a number, one for each dimension, or tensors of places.
        dim: an int or several; all dimensions by default.
        edge_order: 1 or 2, the order of the one-sided differences at the ends.

    Returns:
        A tensor of the shape of `input` for each dimension.

    >>> import rushlight as torch
    >>> torch.gradient(torch.tensor([1.0, 4.0, 9.0, 16.0]))
    (tensor([3., 4., 6., 7.]),)
    """
    require_tensor("gradient", "input", 1, input)
    ndim = input._array.ndim
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    dims = range(ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    places = [normal_dim(each, ndim) for each in dims]
    given: Sequence[Any] = spacing if isinstance(spacing, (tuple, list)) else [spacing] * len(places)
    if len(given) != len(places):
        raise RuntimeError(
            "torch.gradient expected spacing to be unspecified, a scalar, or a list of length "
            f"{len(places)}, but got a list of length {len(given)}"
        )
    found = []
    for place, each in zip(places, given, strict=True):
        at, step = (each, 1.0) if isinstance(each, Tensor) else (None, each)
        found.append(_slopes(input, at, step, place, edge_order))
    return tuple(found)
