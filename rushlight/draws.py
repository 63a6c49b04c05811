"""Numbers of every distribution, as PyTorch's CPU kernels make them from a generator's words.

Each function takes a Generator and returns a flat array in the order in which PyTorch visits memory;
`kind` is the NumPy dtype of the tensor to fill. Shapes, arguments and errors are the business of
`rushlight.ops.random`. Invariant: as many words are taken as PyTorch takes, and uniform numbers,
integers, masks and permutations are equal to its own bit for bit; their logarithms, sines and the like
agree up to the last bits, which NumPy's library decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.dtype import F16, F32, F64, I64

if TYPE_CHECKING:
    from rushlight.random import Generator

# Numbers are made this many at a time, so that what lies between word and number stays in the cache.
BLOCK = 1 << 14


def _in_blocks(count: int, kind: np.dtype, draw: Callable[[int], np.ndarray]) -> np.ndarray:
    """`count` values of type `kind`, which `draw` makes block by block."""
    if count <= BLOCK:
        return draw(count)
    values = np.empty(count, kind)
    for start in range(0, count, BLOCK):
        part = values[start : start + BLOCK]
        part[...] = draw(part.size)
    return values


def unit(generator: Generator, count: int, kind: np.dtype) -> np.ndarray:
    """Numbers in [0, 1): fractions of 24 bits of one word (float32) or of 53 bits of two (float64)."""

    def draw(size: int) -> np.ndarray:
        if kind is F64:
            bits, step = generator.double_words(size) & np.uint64(2**53 - 1), 2.0**-53
        else:
            bits, step = generator.words(size) & np.uint64(2**24 - 1), 2.0**-24
        # Signed, because processors convert signed integers to floats at one stroke.
        return np.multiply(bits.view(np.int64), kind.type(step), dtype=kind, casting="unsafe")

    return _in_blocks(count, kind, draw)


def uniform(
    generator: Generator, count: int, kind: np.dtype, low: float = 0.0, high: float = 1.0
) -> np.ndarray:
    """Numbers in [low, high). What rounding lifts to `high` becomes `low`, as in PyTorch."""
    real = F64 if kind is F64 else F32
    start, end = real.type(low), real.type(high)
    if start == 0 and end == 1 and kind is real:
        return unit(generator, count, kind)

    def draw(size: int) -> np.ndarray:
        values = multiply_add(unit(generator, size, real), end - start, start).astype(kind, copy=False)
        values[values == kind.type(high)] = kind.type(low)
        return values

    return _in_blocks(count, kind, draw)


# -- normal numbers --------------------------------------------------------------------------------------


def normal(
    generator: Generator,
    count: int,
    kind: np.dtype,
    mean: float = 0.0,
    std: float = 1.0,
    contiguous: bool = True,
) -> np.ndarray:
    """Normal numbers: by blocks of 16 for a contiguous tensor of at least 16 elements, else by pairs."""
    if count < 16 or not contiguous:
        return narrow(multiply_add(normal_pairs(generator, count), std, mean), kind)
    real = F64 if kind is F64 else F32
    values = np.empty(count, real)
    whole = count - count % 16
    for start in range(0, whole, BLOCK):
        part = values[start : min(start + BLOCK, whole)]
        part[...] = _box_muller(unit(generator, part.size, real))
    if whole < count:
        # A part of a block is of no use: its numbers are drawn (not so for float16), the last 16 made anew.
        if kind is real:
            unit(generator, count - whole, real)
        values[-16:] = _box_muller(unit(generator, 16, real))
    return narrow(multiply_add(values, real.type(std), real.type(mean)), kind)


def _box_muller(numbers: np.ndarray) -> np.ndarray:
    """Uniform numbers made normal: of each 16 the first 8 give radii and the last 8 angles."""
    radius, angle = numbers.reshape(-1, 2, 8).transpose(1, 0, 2)
    real = numbers.dtype.type
    radius, angle = np.sqrt(real(-2) * np.log(real(1) - radius)), real(2 * np.pi) * angle
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)


def normal_pairs(generator: Generator, count: int) -> np.ndarray:
    """Standard normal float64 numbers, two from two uniform ones; an odd one is kept for the next call."""
    values = np.empty(count)
    first = 0
    if count and generator.spare_normal is not None:
        values[0], generator.spare_normal = generator.spare_normal, None
        first = 1
    pairs = (count - first + 1) // 2
    numbers = unit(generator, 2 * pairs, F64)
    radius, angle = np.sqrt(-2 * np.log1p(-numbers[1::2])), 2 * np.pi * numbers[0::2]
    values[first::2] = radius * np.cos(angle)
    values[first + 1 :: 2] = (radius * np.sin(angle))[: (count - first) // 2]
    if 2 * pairs > count - first:
        # The spare is part of the state, so its last bits matter: the C library's functions, as in PyTorch.
        length = math.sqrt(-2 * math.log1p(-numbers[-1]))
        generator.spare_normal = length * math.sin(2 * math.pi * numbers[-2])
    return values


# -- other continuous distributions, as float64 ----------------------------------------------------------


def log_normal(generator: Generator, count: int, mean: float, std: float) -> np.ndarray:
    """Numbers whose logarithms are normal."""
    return np.exp(multiply_add(normal_pairs(generator, count), std, mean))


def exponential(generator: Generator, count: int, rate: float = 1.0) -> np.ndarray:
    """Numbers of density ``rate * exp(-rate * x)``."""
    return -1.0 / rate * np.log1p(-unit(generator, count, F64))


def cauchy(generator: Generator, count: int, median: float, sigma: float) -> np.ndarray:
    """Numbers of the Cauchy distribution around `median`."""
    return multiply_add(np.tan(np.pi * (unit(generator, count, F64) - 0.5)), sigma, median)


# -- integers --------------------------------------------------------------------------------------------


def geometric(generator: Generator, count: int, p: float) -> np.ndarray:
    """How many trials it takes until the first success, each of probability `p`; as float64."""
    return np.ceil(np.log(unit(generator, count, F64)) / np.log1p(-p))


def integers(generator: Generator, count: int, kind: np.dtype) -> np.ndarray:
    """Integers from 0 to `largest_integer(kind)`."""
    words = generator.double_words(count) if kind is F64 or kind is I64 else generator.words(count)
    return narrow((words % np.uint64(largest_integer(kind) + 1)).view(np.int64), kind)


def integers_between(generator: Generator, count: int, kind: np.dtype, low: int, span: int) -> np.ndarray:
    """Integers from `low` to ``low + span - 1``; a span of 2**64 means every int64."""
    # From 28 bits on, the remainder of a 32-bit word would be visibly uneven.
    words = generator.double_words(count) if span >= 2**28 else generator.words(count)
    if span < 2**64:
        words = words % np.uint64(span) + np.uint64(low % 2**64)
    return narrow(words.view(np.int64), kind)


def largest_integer(kind: np.dtype) -> int:
    """The largest value of an integer type; of a floating type, the end of the integers without gaps."""
    if kind.kind == "f":
        return int(2 ** (np.finfo(kind).nmant + 1))
    return 1 if kind.kind == "b" else int(np.iinfo(kind).max)


def bernoulli(generator: Generator, count: int, p: float | np.ndarray) -> np.ndarray:
    """Booleans that are true with probability `p`: one number, or an array with one for each draw."""
    kind = F64 if isinstance(p, float) or p.dtype is F64 else F32
    return unit(generator, count, kind) < p


def permutation(generator: Generator, count: int) -> np.ndarray:
    """The integers below `count` in random order, as int64.

    The stream is that of a loop: for each place in turn, swap its number with that of a random place not
    before it. The loop is not run: what a place ends up with is what its partner held just before the swap.
    """
    if count >= (2**32 - 1) // 20:
        raise NotImplementedError(
            f"randperm(): n={count}: from 214748364 on, PyTorch shuffles in another way"
        )
    place = np.arange(count)
    partner = place.copy()
    if count > 1:
        partner[:-1] += generator.words(count - 1).view(np.int64) % np.arange(count, 1, -1)
    # What a place holds when its turn comes was brought by the last swap that reached it (an assignment keeps
    # the last of several values), from a place whose own number came the same way: follow that to its origin.
    origin = place.copy()
    later = partner != place
    origin[partner[later]] = place[later]
    while not np.array_equal(origin[origin], origin):
        origin = origin[origin]
    # A partner still holds its own number, unless an earlier place (the one before in this order) had it too.
    order = (partner << 32) + place
    order.sort()
    partners, places = order >> 32, order & 0xFFFFFFFF
    again = partners[1:] == partners[:-1]
    partner[places[1:][again]] = origin[places[:-1][again]]
    return partner


def categories(generator: Generator, weights: np.ndarray, count: int) -> np.ndarray:
    """For each row of `weights`, `count` column numbers drawn with replacement, in proportion to the row."""
    real = F64 if weights.dtype is F64 else F32
    edges = np.cumsum(weights, axis=1, dtype=real)
    edges /= edges[:, -1:]
    edges[:, -1] = 1
    points = unit(generator, len(weights) * count, F64).reshape(len(weights), count)
    rows = zip(edges.astype(F64, copy=False), points, strict=True)
    return np.stack([np.searchsorted(row, within) for row, within in rows])


def poisson(generator: Generator, rates: Iterable[float]) -> list[int]:
    """A Poisson number for each rate."""
    with generator.one_at_a_time() as draw:
        return [_poisson(rate, draw) for rate in rates]


def _poisson(rate: float, draw: Callable[[], float]) -> int:
    """Transformed rejection (Hörmann 1993) for rates from 10, below that products of uniforms (Knuth)."""
    if rate == 0:
        return 0
    if rate < 10:
        least, product, k = math.exp(-rate), draw(), 0
        while product > least:
            product *= draw()
            k += 1
        return k
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    while True:
        u, v = draw() - 0.5, draw()
        us = 0.5 - abs(u)
        if us < 0.013 and v > us:
            continue
        k = math.floor((2 * a / us + b) * u + rate + 0.43)
        if us >= 0.07 and v <= 0.9277 - 3.6224 / (b - 2):
            return k
        likely = _log(v) + math.log(inverse_alpha) - math.log(a / (us * us) + b)
        if k >= 0 and likely <= -rate + k * math.log(rate) - math.lgamma(k + 1):
            return k


def binomial(generator: Generator, counts: np.ndarray, chances: np.ndarray) -> list[float]:
    """How many of each count of trials succeed; both arrays are flat and of the same floating type."""
    with generator.one_at_a_time() as draw:
        return [_binomial(count, chance, draw) for count, chance in zip(counts, chances, strict=True)]


def _binomial(count: Any, chance: Any, draw: Callable[[], float]) -> float:
    if count <= 0 or chance <= 0:
        return 0.0
    if chance >= 1:
        return float(count)
    if chance > 0.5:
        return float(count) - _binomial(count, 1 - chance, draw)
    if count * chance >= 10:
        return _binomial_by_rejection(count, chance, draw)
    if chance <= 0.5:
        return _binomial_by_waiting(count, chance, draw)
    return math.nan


def _binomial_by_waiting(count: Any, chance: Any, draw: Callable[[], float]) -> float:
    """Add waiting times until the next success while they fit into the number of trials (Devroye 1986)."""
    log_failure = float(np.log1p(-chance))
    waited, successes = 0.0, -1
    while waited <= count:
        u = draw()
        waited += math.ceil(math.log(u) / log_failure) if u > 0 else math.inf
        successes += 1
    return float(successes)


def _binomial_by_rejection(count: Any, chance: Any, draw: Callable[[], float]) -> float:
    """Transformed rejection with a squeeze (Hörmann 1993, BTRS)."""
    n, deviation = float(count), float(np.sqrt(count * chance * (1 - chance)))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * float(chance)
    alpha = (2.83 + 5.1 / b) * deviation
    odds, mode, centre = (
        float(chance / (1 - chance)),
        float(np.floor((count + 1) * chance)),
        float(count * chance) + 0.5,
    )
    while True:
        u, v = draw() - 0.5, draw()
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + centre) if us else -1
        if k < 0 or k > n:
            continue
        if us >= 0.07 and v <= 0.92 - 4.2 / b:
            return float(k)
        bound = (
            (mode + 0.5) * math.log((mode + 1) / (odds * (n - mode + 1)))
            + (n + 1) * math.log((n - mode + 1) / (n - k + 1))
            + (k + 0.5) * math.log(odds * (n - k + 1) / (k + 1))
            + (_stirling_tail(mode) + _stirling_tail(n - mode) - _stirling_tail(k) - _stirling_tail(n - k))
        )
        if _log(v * alpha / (a / (us * us) + b)) <= bound:
            return float(k)


def _stirling_tail(k: float) -> float:
    """By how much log k! exceeds Stirling's formula for it."""
    if k <= 9:
        return math.lgamma(k + 1) - (k + 0.5) * math.log(k + 1) + (k + 1) - 0.5 * math.log(2 * math.pi)
    square = (k + 1) * (k + 1)
    return (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / (k + 1)


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf


# -- rounding --------------------------------------------------------------------------------------------


def narrow(values: np.ndarray, kind: np.dtype) -> np.ndarray:
    """`values` as `kind`; to float16 by way of float32, as PyTorch converts."""
    if kind is F16:
        values = values.astype(F32, copy=False)
    return values.astype(kind, copy=False)


def multiply_add(values: np.ndarray, scale: Any, shift: Any) -> np.ndarray:
    """``values * scale + shift`` in the type of `values` (float32 or float64), rounded once.

    PyTorch is compiled for processors that round a product and a sum together; NumPy rounds each. Here the
    sum is taken with its error, and rounded to the neighbour with an odd last bit where it is not exact: with
    bits to spare, that makes the last rounding right (Boldo and Melquiond, "Emulation of a FMA", 2008).
    In float64 it may be wrong for products below 1e-290, whose errors are too small for that type.
    """
    if shift == 0:
        return values if scale == 1 else values * scale
    if values.dtype is F32:
        return _odd_sum(values.astype(F64) * float(scale), np.float64(shift)).astype(F32)
    product, below = _product(values, scale)
    middle, low = _sum(np.float64(shift), below)
    high, rest = _sum(product, middle)
    return high + _odd_sum(low, rest)


def _sum(a: Any, b: Any) -> tuple[Any, Any]:
    """The sum, and what rounding left out of it (Knuth)."""
    total = a + b
    b_part = total - a
    return total, (a - (total - b_part)) + (b - b_part)


def _product(a: np.ndarray, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """The product, and what rounding left out of it (Dekker)."""
    a_high, b_high = _upper_half(a), _upper_half(b)
    a_low, b_low = a - a_high, b - b_high
    product = a * b
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _upper_half(a: Any) -> Any:
    """`a` with the upper 26 bits of its fraction alone."""
    spread = a * 134217729.0
    return spread - (spread - a)


def _odd_sum(a: np.ndarray, b: Any) -> np.ndarray:
    """The sum, rounded to the neighbour whose last bit is odd where it is not exact."""
    total, error = _sum(a, b)
    if not error.any():
        return total
    bits = total.view(np.int64)
    outward = np.where((error > 0) == (total > 0), 1, -1)
    bits += np.where((error != 0) & (bits & 1 == 0), outward, 0)
    return total
