"""Tensors filled in place with random numbers: `uniform_`, `normal_`, `random_` and their like.

Each method checks its arguments as PyTorch does and runs an op of the kind "random", whose forward
draws from the generator among its params. Functions that make random tensors are in `random`, what the
numbers are in `rushlight.draws`. Invariant: elements are drawn in the order in which they lie in
memory, not in that of their indices, and an op's gradient for the overwritten value is zero.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from rushlight import draws
from rushlight.autograd.mode import no_grad
from rushlight.dtype import BOOL_NUMPY, F16, F32, F64, I64
from rushlight.ops.create import zeros_like
from rushlight.ops.define import C_NAMES, TITLES, Op, apply_inplace
from rushlight.ops.kinds import renamed
from rushlight.random import Generator, default_generator
from rushlight.storage import in_memory_order, outermost_first
from rushlight.tensor import Tensor

LONGEST = 2**63 - 1


# -- order in memory -------------------------------------------------------------------------------------


def _flat_in_memory_order(array: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The opposite: the elements of `array`, broadcast to the shape of `like`, in the order of its memory."""
    array = np.broadcast_to(array, like.shape)
    if not like.flags.c_contiguous:
        array = array.transpose(outermost_first(like))
    return array.reshape(-1)


# -- the ops ---------------------------------------------------------------------------------------------


def _random_op(
    name: str,
    draw: Callable[..., np.ndarray],
    inputs: Sequence[str] = ("input",),
    node_name: str | None = None,
) -> Op:
    """An op that replaces `input` by what ``draw(generator, input, ...)`` returns, flat and of any type."""

    def forward(input: np.ndarray, *others: Any, generator: Generator, **params: Any) -> np.ndarray:
        values = draw(generator, input, *others, **params)
        return in_memory_order(draws.narrow(values, input.dtype), input)

    no_gradients: dict[str, Callable[..., Any]] = {each: lambda g: zeros_like(g) for each in inputs}
    return Op(name, "random", forward, inputs, no_gradients, node_name=node_name)


UNIFORM = _random_op(
    "uniform", lambda generator, x, *, low, high: draws.uniform(generator, x.size, x.dtype, low, high)
)
NORMAL = _random_op(
    "normal",
    lambda generator, x, *, mean, std: draws.normal(
        generator, x.size, x.dtype, mean, std, contiguous=x.flags.c_contiguous
    ),
)
RANDOM = _random_op(
    "random", lambda generator, x: draws.integers(generator, x.size, x.dtype), node_name="RandomBackward2"
)
RANDOM_BETWEEN = _random_op(
    "random",
    lambda generator, x, *, low, span: draws.integers_between(generator, x.size, x.dtype, low, span),
)
RANDOM_BELOW = renamed(RANDOM_BETWEEN, "RandomBackward1")
BERNOULLI = _random_op(
    "bernoulli",
    lambda generator, x, *, p: draws.bernoulli(generator, x.size, p),
    node_name="BernoulliBackward2",
)
BERNOULLI_EACH = _random_op(
    "bernoulli",
    lambda generator, x, p: trials(generator, _flat_in_memory_order(p, x)),
    inputs=("input", "p"),
    node_name="BernoulliBackward1",
)
EXPONENTIAL = _random_op(
    "exponential", lambda generator, x, *, rate: draws.exponential(generator, x.size, rate)
)
GEOMETRIC = _random_op("geometric", lambda generator, x, *, p: draws.geometric(generator, x.size, p))
LOG_NORMAL = _random_op(
    "log_normal", lambda generator, x, *, mean, std: draws.log_normal(generator, x.size, mean, std)
)
CAUCHY = _random_op(
    "cauchy", lambda generator, x, *, median, sigma: draws.cauchy(generator, x.size, median, sigma)
)


# -- arguments -------------------------------------------------------------------------------------------


def chosen_generator(name: str, generator: Any) -> Generator:
    """The generator given to function `name`, or the default one for None."""
    if generator is None:
        return default_generator
    if not isinstance(generator, Generator):
        given = type(generator).__name__
        raise TypeError(f"{name}(): argument 'generator' must be torch.Generator, not {given}")
    return generator


def number(name: str, argument: str, position: int, value: Any) -> float:
    """A float argument, which may also be an int, a NumPy number or a 0-d tensor."""
    if isinstance(value, Tensor) and value.ndim == 0:
        value = value.item()
    if not isinstance(value, (int, float, np.integer, np.floating)):
        given = type(value).__name__
        raise TypeError(f"{name}(): argument '{argument}' (position {position}) must be float, not {given}")
    return float(value)


def integer(name: str, argument: str, position: int, value: Any) -> int:
    """An int argument that fits 64 bits; anything with ``__index__`` counts as an int."""
    try:
        number = operator.index(value)
    except TypeError:
        given = type(value).__name__
        raise TypeError(
            f"{name}(): argument '{argument}' (position {position}) must be int, not {given}"
        ) from None
    if not -LONGEST - 1 <= number <= LONGEST:
        raise ValueError(f"Overflow when unpacking long long: {argument}={number} needs more than 64 bits")
    return number


def _first(name: str, first: Any, named: dict[str, Any]) -> Any:
    """The argument that PyTorch calls ``from``, which Python does not allow as a parameter's name."""
    first = named.pop("from", first)
    if named:
        raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(named))}'")
    return first


def require_floats(kernel: str, input: Tensor) -> None:
    """NotImplementedError, as PyTorch's kernel says it, where elements to fill are no floats."""
    if input.numel() and not input.is_floating_point():
        title = TITLES[input.dtype.name]
        raise NotImplementedError(
            f"\"{kernel}\" not implemented for '{title}': it needs floating-point elements"
        )


def trials(generator: Generator, p: np.ndarray) -> np.ndarray:
    """A one for each of the probabilities `p` that came true, and zeros; in one dimension."""
    if not ((p >= 0) & (p <= 1)).all():
        raise RuntimeError(
            "Expected p_in >= 0 && p_in <= 1 to be true, but got false: "
            f"probabilities must be from 0 to 1, but p has elements from {p.min():g} to {p.max():g}"
        )
    return draws.bernoulli(generator, p.size, p)


# -- floating-point fills --------------------------------------------------------------------------------


def uniform_(
    input: Tensor, from_: Any = 0.0, /, to: Any = 1.0, *, generator: Any = None, **named: Any
) -> Tensor:
    """Fill with numbers drawn evenly from ``from`` up to but without ``to``.

    >>> import rushlight as torch
    >>> torch.empty(3).uniform_(2, 3, generator=torch.Generator().manual_seed(0))
    tensor([2.4963, 2.7682, 2.0885])
    """
    low = number("uniform_", "from", 1, _first("uniform_", from_, named))
    high = number("uniform_", "to", 2, to)
    title, type_name = TITLES[input.dtype.name], C_NAMES[input.dtype.name]
    if not input.is_floating_point():
        raise NotImplementedError(f"\"check_uniform_bounds\" not implemented for '{title}'")
    largest = float(np.finfo(input._array.dtype).max)
    for argument, bound in (("from", low), ("to", high)):
        if not -largest <= bound <= largest:
            raise RuntimeError(f"{argument} is out of bounds for {type_name}")
    if low > high:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={low:g} > to={high:g}"
        )
    if high - low > largest:
        raise RuntimeError(
            f"uniform_ expects to-from <= std::numeric_limits<{title}>::max(), but found to={high:g} "
            f"and from={low:g} which result in to-from to exceed the limit"
        )
    params = {"low": low, "high": high, "generator": chosen_generator("uniform_", generator)}
    return apply_inplace(UNIFORM, (input,), params)


def normal_(input: Tensor, mean: Any = 0.0, std: Any = 1.0, *, generator: Any = None) -> Tensor:
    """Fill with numbers of the normal distribution.

    >>> import rushlight as torch
    >>> torch.empty(3).normal_(generator=torch.Generator().manual_seed(0))
    tensor([ 1.5410, -0.2934, -2.1788])
    """
    mean, std = number("normal_", "mean", 1, mean), number("normal_", "std", 2, std)
    if not std >= 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
    require_floats("normal_kernel_cpu", input)
    params = {"mean": mean, "std": std, "generator": chosen_generator("normal_", generator)}
    return apply_inplace(NORMAL, (input,), params)


def log_normal_(input: Tensor, mean: Any = 1.0, std: Any = 2.0, *, generator: Any = None) -> Tensor:
    """Fill with numbers whose logarithms have the normal distribution of this `mean` and `std`."""
    mean, std = number("log_normal_", "mean", 1, mean), number("log_normal_", "std", 2, std)
    if not std > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
    require_floats("log_normal_cpu", input)
    params = {"mean": mean, "std": std, "generator": chosen_generator("log_normal_", generator)}
    return apply_inplace(LOG_NORMAL, (input,), params)


def exponential_(input: Tensor, lambd: Any = 1.0, *, generator: Any = None) -> Tensor:
    """Fill with numbers of the exponential distribution, whose mean is ``1 / lambd``."""
    rate = number("exponential_", "lambd", 1, lambd)
    if not rate > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={rate:g}")
    _require_continuous("Exponential", TITLES[input.dtype.name], input)
    params = {"rate": rate, "generator": chosen_generator("exponential_", generator)}
    return apply_inplace(EXPONENTIAL, (input,), params)


def cauchy_(input: Tensor, median: Any = 0.0, sigma: Any = 1.0, *, generator: Any = None) -> Tensor:
    """Fill with numbers of the Cauchy distribution: half of them lie within `sigma` of `median`."""
    median, sigma = number("cauchy_", "median", 1, median), number("cauchy_", "sigma", 2, sigma)
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
    _require_continuous("Cauchy", C_NAMES[input.dtype.name], input)
    params = {"median": median, "sigma": sigma, "generator": chosen_generator("cauchy_", generator)}
    return apply_inplace(CAUCHY, (input,), params)


def _require_continuous(distribution: str, type_name: str, input: Tensor) -> None:
    if not input.is_floating_point():
        raise RuntimeError(
            f"{distribution} distribution is a continuous probability distribution. "
            f"dtype must be a floating point but you specified {type_name}"
        )


# -- fills for all types ---------------------------------------------------------------------------------


def geometric_(input: Tensor, p: Any, *, generator: Any = None) -> Tensor:
    """Fill with how many trials it takes until the first success, each succeeding with probability `p`."""
    chance = number("geometric_", "p", 1, p)
    if not 0 < chance < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={chance:g}")
    if input._array.dtype is BOOL_NUMPY and input.numel():
        raise NotImplementedError("\"geometric_cpu\" not implemented for 'Bool'")
    params = {"p": chance, "generator": chosen_generator("geometric_", generator)}
    return apply_inplace(GEOMETRIC, (input,), params)


def bernoulli_(input: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Fill with ones, each with probability `p` (a number, or a tensor with one for each element), and zeros.

    >>> import rushlight as torch
    >>> torch.zeros(4).bernoulli_(torch.tensor([0.0, 1.0, 0.0, 1.0]))
    tensor([0., 1., 0., 1.])
    """
    generator = chosen_generator("bernoulli_", generator)
    if isinstance(p, Tensor):
        if p.shape != input.shape:
            with no_grad():
                p.expand(input.shape)
        require_floats("bernoulli_tensor_cpu_p_", p)
        return apply_inplace(BERNOULLI_EACH, (input, p), {"generator": generator})
    chance = number("bernoulli_", "p", 1, p)
    if not 0 <= chance <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={chance:g}")
    return apply_inplace(BERNOULLI, (input,), {"p": chance, "generator": generator})


def random_(input: Tensor, *bounds: Any, generator: Any = None, **named: Any) -> Tensor:
    """Fill with integers: ``random_()``, ``random_(to)`` or ``random_(from, to)``, without ``to`` itself.

    Without bounds they go up to the largest of an integer type, or to the end of the integers that a floating
    type has without gaps; ``to=None`` after a ``from`` means the same end.

    >>> import rushlight as torch
    >>> torch.empty(5, dtype=torch.int64).random_(10, generator=torch.Generator().manual_seed(0))
    tensor([4, 9, 3, 0, 3])
    """
    generator = chosen_generator("random_", generator)
    if not bounds and not named:
        return apply_inplace(RANDOM, (input,), {"generator": generator})
    low, to = _given_bounds(bounds, named)
    low, span = _integer_range(low, to, input)
    op = RANDOM_BELOW if len(bounds) + len(named) == 1 else RANDOM_BETWEEN
    return apply_inplace(op, (input,), {"low": low, "span": span, "generator": generator})


def _given_bounds(bounds: tuple[Any, ...], named: dict[str, Any]) -> tuple[int, int | None]:
    """``from`` and ``to`` of `random_`, in any of the ways in which PyTorch takes them."""
    alone = len(bounds) == 1 and "to" not in named
    given = named | dict(zip(("to",) if alone else ("from", "to"), bounds, strict=False))
    if len(given) < len(bounds) + len(named) or "to" not in given or given.keys() - {"from", "to"}:
        _refuse_bounds(bounds, named)
    low, to = given.get("from", 0), given["to"]
    if not hasattr(low, "__index__") or not (hasattr(to, "__index__") or (to is None and "from" in given)):
        _refuse_bounds(bounds, named)
    return integer("random_", "from", 1, low), None if to is None else integer("random_", "to", 2, to)


def _refuse_bounds(bounds: Sequence[Any], named: dict[str, Any]) -> NoReturn:
    given = [type(each).__name__ for each in bounds] + [f"{k}={type(v).__name__}" for k, v in named.items()]
    raise TypeError(
        "random_() received an invalid combination of arguments - "
        f"got ({', '.join(given)}), but expected one of:\n"
        " * (*, torch.Generator generator = None)\n"
        " * (int from, int to, *, torch.Generator generator = None)\n"
        " * (int to, *, torch.Generator generator = None)\n"
    )


def _integer_range(low: int, to: int | None, input: Tensor) -> tuple[int, int]:
    """The lowest integer to draw for `input`, and how many there are to choose from."""
    kind = input._array.dtype
    if to is None and low == -LONGEST - 1:
        _require_all_of_int64(input)
        return low, 2**64
    if to is None:
        low, last = _from(low, kind), draws.largest_integer(kind)
        if low >= last and kind.kind == "f":
            raise RuntimeError(
                "random_ expects 'from' casted to dtype to be less than or equal to 'to_inc' casted to "
                f"dtype, but got from={low} > to_inc={last}"
            )
    else:
        if low >= to:
            raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={to}")
        low, last = _from(low, kind), _below(to, kind) - 1
        if low > last:
            raise RuntimeError(
                "random_ expects 'from' casted to dtype to be less than 'to' casted to dtype, "
                f"but got from={low} >= to={last + 1}"
            )
    _check_bound("from", low, input)
    _check_bound("to - 1", last, input)
    return low, last - low + 1


def _require_all_of_int64(input: Tensor) -> None:
    kind = input._array.dtype
    if kind in (I64, F32, F64) or not input.numel():
        return
    if kind in (F16, BOOL_NUMPY):
        title = TITLES[input.dtype.name]
        raise NotImplementedError(f"\"random_full_64_bits_range_kernel_cpu\" not implemented for '{title}'")
    raise RuntimeError("random_full_64_bits_range_kernel_cpu handles only int64, double, float and bfloat16")


def _from(low: int, kind: np.dtype) -> int:
    """`low`, or the next number of a floating type above it, where ``low + 1`` would be rounded below it."""
    nearest = _rounded(low + 1, kind)
    return int(np.nextafter(kind.type(nearest), kind.type(np.inf))) if nearest < low else low


def _below(to: int, kind: np.dtype) -> int:
    """`to`, or the next number of a floating type below it, where ``to - 1`` would be rounded up to it."""
    nearest = _rounded(to - 1, kind)
    return int(np.nextafter(kind.type(nearest), kind.type(-np.inf))) if nearest >= to else to


def _rounded(number: int, kind: np.dtype) -> int:
    """The integer that `number` becomes as an element of a floating type within its range; else `number`."""
    if kind.kind != "f" or abs(number) > float(np.finfo(kind).max):
        return number
    return int(draws.narrow(np.array(number), kind))


def _check_bound(argument: str, bound: int, input: Tensor) -> None:
    """Refuse a bound that the type cannot hold; warn where it holds not every integer up to there."""
    kind, type_name = input._array.dtype, C_NAMES[input.dtype.name]
    exact = draws.largest_integer(kind)
    if kind.kind == "f":
        lowest, largest = float(np.finfo(kind).min), float(np.finfo(kind).max)
    else:
        lowest, largest = 0 if kind.kind == "b" else np.iinfo(kind).min, exact
    if not lowest <= bound <= largest:
        raise RuntimeError(f"{argument} is out of bounds for {type_name}")
    if kind.kind == "f" and abs(bound) > exact:
        digits = exact.bit_length() - 1
        warnings.warn(
            f"{argument} is out of bounds [-(2^{digits}), 2^{digits}]. Due to precision limitations "
            f"{type_name} can support discrete uniform distribution only within this range. This warning "
            "will become an error in version 1.7 release, please fix the code in advance",
            stacklevel=4,
        )


METHODS: dict[str, Callable[..., Tensor]] = {
    each.__name__: each
    for each in (uniform_, normal_, log_normal_, exponential_, cauchy_, geometric_, bernoulli_, random_)
}
