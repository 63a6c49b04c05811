"""Samples of distributions that lie in tensors: `bernoulli`, `multinomial`, `poisson`, `binomial` and
`normal`.

Each is an op of the kind "random": its forward draws, from the generator among its params, one value
for every element of its inputs (or some for every row). Tensors that are filled from one distribution
are the business of `random` and `fill`. Invariant: results lie in row-major order and are drawn in it,
and gradients are zero.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from rushlight import draws
from rushlight.dtype import F16, F32, get_default_dtype, int64, result_type_of
from rushlight.ops.arguments import int_tuple, require_tensor
from rushlight.ops.create import empty, finish, zeros_like
from rushlight.ops.define import TITLES, apply, write_out
from rushlight.ops.fill import (
    bernoulli_,
    chosen_generator,
    integer,
    normal_,
    number,
    require_floats,
    trials,
)
from rushlight.ops.kinds import primitive, public
from rushlight.ops.random import refuse_arguments, sized, to_fill
from rushlight.ops.shapes import broadcast_batch
from rushlight.random import Generator
from rushlight.storage import in_memory_order
from rushlight.tensor import Tensor

MOST_CATEGORIES = 2**24


# -- normal ----------------------------------------------------------------------------------------------


def _sample_normal(
    mean: Any, std: Any, *, shape: tuple[int, ...], dtype: np.dtype, generator: Generator
) -> np.ndarray:
    """Standard normal numbers, scaled and shifted by arrays in two steps, each rounded to `dtype`.

    A `std` that is a number is applied by the draw itself.
    """
    if isinstance(std, np.ndarray) and not (std >= 0).all():
        raise RuntimeError("normal expects all elements of std >= 0.0")
    spread = 1.0 if isinstance(std, np.ndarray) else std
    values = draws.normal(generator, int(np.prod(shape)), dtype, 0.0, spread).reshape(shape)
    if isinstance(std, np.ndarray):
        values = _stepped(np.multiply, values, std)
    return _stepped(np.add, values, mean)


def _stepped(step: np.ufunc, values: np.ndarray, other: Any) -> np.ndarray:
    """``step(values, other)`` computed in their common type, as an in-place op of PyTorch computes it."""
    common = result_type_of([values, other]).numpy
    compute = F32 if common is F16 else common
    return draws.narrow(step(values.astype(compute), np.asarray(other, compute)), values.dtype)


NORMAL_AROUND = primitive(
    "normal",
    "random",
    _sample_normal,
    {"mean": lambda g: zeros_like(g), "std": lambda g: zeros_like(g)},
    node_name="NormalBackward3",
)


@public(method=False)
def normal(
    mean: Any,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Normal numbers around `mean` with deviation `std`: tensors or, where a `size` is given, numbers.

    >>> import rushlight as torch
    >>> torch.normal(torch.tensor([10.0, 20.0]), 0.0)
    tensor([10., 20.])
    """
    tensors = [each for each in (mean, std) if isinstance(each, Tensor)]
    if size is not None:
        if not isinstance(size, (tuple, list)):
            _refuse_normal(mean, std, size)
        made = to_fill(
            "normal",
            int_tuple("normal", "size", (size,)),
            out,
            dtype,
            get_default_dtype(),
            layout,
            device,
            pin_memory,
            requires_grad,
        )
        return finish(normal_(made, mean, std, generator=generator), requires_grad, None)
    if not tensors:
        _refuse_normal(mean, std)
    if not isinstance(std, Tensor):
        std = number("normal", "std", 2, std)
        if not std >= 0:
            raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
    if not isinstance(mean, Tensor):
        mean = number("normal", "mean", 1, mean)
    model = tensors[0] if out is None else out
    require_floats("normal_kernel_cpu", model)
    shape = (
        tensors[0]._array.shape
        if len(tensors) == 1
        else broadcast_batch(*(each._array.shape for each in tensors))
    )
    params = {"shape": shape, "dtype": model._array.dtype, "generator": chosen_generator("normal", generator)}
    return apply(NORMAL_AROUND, (mean, std), params, out=out)


def _refuse_normal(*given: Any) -> NoReturn:
    refuse_arguments(
        "normal",
        given,
        "Tensor mean, Tensor std",
        "Tensor mean, float std = 1",
        "float mean, Tensor std",
        "float mean, float std, tuple of ints size",
    )


# -- zeros and ones, categories, counts ------------------------------------------------------------------


BERNOULLI_OF = primitive(
    "bernoulli",
    "random",
    lambda input, *, generator: trials(generator, input.reshape(-1)).reshape(input.shape).astype(input.dtype),
    {"input": lambda g: zeros_like(g)},
)


@public()
def bernoulli(
    input: Tensor, p: Any = None, *, generator: Generator | None = None, out: Tensor | None = None
) -> Tensor:
    """Ones, each with the probability at its place in `input` (or `p` for all of that shape), and zeros.

    >>> import rushlight as torch
    >>> torch.bernoulli(torch.tensor([0.0, 1.0, 1.0]))
    tensor([0., 1., 1.])
    """
    require_tensor("bernoulli", "input", 1, input)
    if p is None and out is None:
        require_floats("bernoulli_tensor_cpu_p_", input)
        return apply(BERNOULLI_OF, (input,), {"generator": chosen_generator("bernoulli", generator)})
    target = empty(input.shape, dtype=input.dtype) if out is None else sized(out, input._array.shape)
    return bernoulli_(target, input if p is None else p, generator=generator)


def _choose(input: np.ndarray, *, count: int, replacement: bool, generator: Generator) -> np.ndarray:
    weights = np.atleast_2d(input)
    if not len(weights):
        return np.empty((0, count), np.int64)
    _check_weights(input, replacement)
    if replacement:
        chosen = draws.categories(generator, weights, count)
    else:
        # Exponential times with these rates: the categories whose times come first are the sample.
        times = draws.narrow(draws.exponential(generator, input.size), input.dtype)
        speed = _stepped(np.divide, weights, np.atleast_2d(in_memory_order(times, input)))
        chosen = np.argsort(-speed, axis=1, kind="stable")[:, :count].copy()
    return chosen if input.ndim == 2 else chosen[0]


MULTINOMIAL = primitive("multinomial", "random", _choose, inputs=("input",))


@public()
def multinomial(
    input: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Column numbers drawn from each row of weights (or from the one row), in proportion to the weights.

    >>> import rushlight as torch
    >>> torch.multinomial(torch.tensor([0.0, 3.0, 0.0]), 2, replacement=True)
    tensor([1, 1])
    """
    require_tensor("multinomial", "input", 1, input)
    count = integer("multinomial", "num_samples", 2, num_samples)
    if input.ndim not in (1, 2):
        raise RuntimeError(f"prob_dist must be 1 or 2 dim, but its shape is {list(input.shape)}")
    if not input.is_floating_point():
        title = TITLES[input.dtype.name]
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {title}")
    if out is not None and out.dtype is not int64:
        raise RuntimeError(f"multinomial expects Long tensor out, got: {TITLES[out.dtype.name]}")
    if count <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    categories = input.shape[-1]
    if not replacement and count > categories:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    if categories > MOST_CATEGORIES:
        raise RuntimeError("number of categories cannot exceed 2^24")
    # A sample of one is drawn in the same way with and without replacement.
    replacement = bool(replacement) and count > 1
    chosen = chosen_generator("multinomial", generator)
    params = {"count": count, "replacement": replacement, "generator": chosen}
    result = apply(MULTINOMIAL, (input,), params)
    return result if out is None else write_out(out, result)


def _check_weights(weights: np.ndarray, replacement: bool) -> None:
    """Refuse weights that are negative, infinite or NaN, and rows of zeros or of nothing."""
    if not weights.size and not replacement:
        raise RuntimeError(
            "aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity."
        )
    finite, negative = bool(np.isfinite(weights).all()), not bool((weights >= 0).all())
    if not replacement and (negative or not finite):
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if negative:
        raise RuntimeError("invalid multinomial distribution (encountering probability entry < 0)")
    if not finite:
        raise RuntimeError(
            "invalid multinomial distribution (encountering probability entry = infinity or NaN)"
        )
    if not bool((weights > 0).any(axis=-1).all()):
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")


def _poisson(input: np.ndarray, *, generator: Generator) -> np.ndarray:
    if not (np.isfinite(input) & (input >= 0)).all():
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative (and finite)")
    return _as_floats(draws.poisson(generator, input.reshape(-1).tolist()), input)


POISSON = primitive(
    "poisson",
    "random",
    _poisson,
    {"input": lambda g: zeros_like(g)},
)
BINOMIAL = primitive(
    "binomial",
    "random",
    lambda count, prob, *, generator: _as_floats(
        draws.binomial(generator, count.reshape(-1), prob.reshape(-1)), count
    ),
)


def _as_floats(numbers: list[Any], like: np.ndarray) -> np.ndarray:
    return draws.narrow(np.array(numbers, np.float64).reshape(like.shape), like.dtype)


@public(method=False)
def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Numbers of the Poisson distribution, with the rates in `input`.

    >>> import rushlight as torch
    >>> torch.poisson(torch.tensor([0.0, 0.0]))
    tensor([0., 0.])
    """
    require_tensor("poisson", "input", 1, input)
    require_floats("poisson_cpu", input)
    return apply(POISSON, (input,), {"generator": chosen_generator("poisson", generator)})


@public(method=False)
def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """How many of `count` trials succeed, each with probability `prob`; the two are broadcast together.

    >>> import rushlight as torch
    >>> torch.binomial(torch.tensor([5.0, 5.0]), torch.tensor([0.0, 1.0]))
    tensor([0., 5.])
    """
    for position, (argument, value) in enumerate((("count", count), ("prob", prob)), start=1):
        require_tensor("binomial", argument, position, value)
        if not value.is_floating_point():
            title = TITLES[value.dtype.name]
            raise ValueError(f"binomial only supports floating-point dtypes for {argument}, got: {title}")
    if prob.dtype is not count.dtype:
        raise RuntimeError(f"Found dtype {TITLES[prob.dtype.name]} but expected {TITLES[count.dtype.name]}")
    if count._array.dtype is F16:
        raise NotImplementedError("\"binomial_cpu\" not implemented for 'Half'")
    shape = broadcast_batch(count._array.shape, prob._array.shape)
    chosen = chosen_generator("binomial", generator)
    return apply(BINOMIAL, (count.expand(shape), prob.expand(shape)), {"generator": chosen})
