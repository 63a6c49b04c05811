"""PyTorch's stream of random numbers on the CPU: the Generator and every draw, on ndarrays.

The engine is MT19937 seeded with 32 bits, which NumPy has too, so the words are the same; this file turns words into
numbers by PyTorch's rules. It knows nothing of autograd or of the shape of the tensor that is filled: draws are
flat arrays in the order in which PyTorch visits memory. Invariant: after any draw the generator stands where PyTorch's
would after the same call, so `get_state` returns the very bytes that PyTorch's would.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.device import CPU, device
from rushlight.dtype import F16, F32, F64, I64

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

DEFAULT_SEED = 67280421310721
WORDS_OF_STATE = 624
# Values are made this many at a time, so that what lies between word and number stays in the processor's cache.
BLOCK = 1 << 16

# The bytes of `get_state`: PyTorch keeps the layout its generator had in its first years.
_STATE = np.dtype(
    {
        "names": ["seed", "left", "seeded", "next", "words", "double", "has_double", "float", "has_float"],
        "formats": ["<u8", "<i4", "<i4", "<u8", ("<u8", WORDS_OF_STATE), "<f8", "<i4", "<f4", "?"],
        "offsets": [0, 8, 12, 16, 24, 5024, 5040, 5048, 5052],
        "itemsize": 5056,
    }
)


class Generator:
    """A stream of random numbers with a state of its own; ``device`` can only be the CPU.

    >>> import rushlight as torch
    >>> g = torch.Generator().manual_seed(0)
    >>> g.initial_seed()
    0
    >>> torch.rand(2, generator=g)
    tensor([0.4963, 0.7682])
    """

    def __init__(self, device: device | str | int = "cpu") -> None:
        wanted = type(CPU)(device)
        if wanted.type != "cpu":
            raise RuntimeError(
                f"Cannot get {wanted.type.upper()} generator without ATen_{wanted.type} library. "
                f"Rushlight computes on the CPU only: leave out the device or write 'cpu' instead of '{wanted}'"
            )
        self._restart(DEFAULT_SEED)

    def _restart(self, seed: int) -> None:
        self._seed = seed
        # NumPy's engine, made by the first draw: importing rushlight must not import numpy.random.
        self._engine: Any = None
        self._spare_double: float | None = None
        self._spare_float: float | None = None

    # -- PyTorch's interface -------------------------------------------------------------------------------------------

    @property
    def device(self) -> device:
        """The device of the numbers drawn: the CPU."""
        return CPU

    def manual_seed(self, seed: int) -> Generator:
        """Begin the stream that belongs to `seed`, an integer from -2**63 to 2**64 - 1, and return the generator."""
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
            raise RuntimeError(f"manual_seed expected a long, but got {type(seed).__name__}")
        number = operator.index(seed)
        if not -(2**63) <= number < 2**64:
            raise ValueError(
                f"Overflow when unpacking long long: the seed {number} is not between -2**63 and 2**64 - 1"
            )
        self._restart(number % 2**64)
        return self

    def initial_seed(self) -> int:
        """The seed the stream began with."""
        return self._seed

    def seed(self) -> int:
        """Begin a stream nobody can foresee and return its seed."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little"))
        return self._seed

    def get_state(self) -> Tensor:
        """Where the stream stands, as a uint8 tensor of 5056 elements, equal to PyTorch's byte for byte."""
        from rushlight.tensor import wrap

        return wrap(np.frombuffer(self.state_bytes(), np.uint8).copy())

    def set_state(self, new_state: Tensor) -> Generator:
        """Continue where `new_state`, taken by `get_state` here or in PyTorch, stands; returns the generator."""
        from rushlight.tensor import Tensor

        if not isinstance(new_state, Tensor):
            raise TypeError(f"expected a torch.ByteTensor, but got {type(new_state).__name__}")
        array = new_state._array
        if array.dtype != np.uint8:
            raise TypeError("RNG state must be a torch.ByteTensor")
        if not array.flags.c_contiguous:
            raise RuntimeError("RNG state must be contiguous")
        self.load_state_bytes(array.tobytes())
        return self

    def clone_state(self) -> Generator:
        """A new generator that stands at the same place and goes its own way from there."""
        twin = Generator()
        twin.load_state_bytes(self.state_bytes())
        return twin

    def get_offset(self) -> int:
        """Not for the CPU's generator: RuntimeError, as in PyTorch."""
        raise RuntimeError("CPU Generator does not use offset")

    def set_offset(self, offset: int) -> Generator:
        """Not for the CPU's generator: RuntimeError, as in PyTorch."""
        raise RuntimeError("CPU Generator does not use offset")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.state_bytes(),)

    # -- the state as bytes --------------------------------------------------------------------------------------------

    def state_bytes(self) -> bytes:
        """The 5056 bytes of `get_state`."""
        engine = self._engine_now().state["state"]
        position = engine["pos"]
        record = np.zeros((), _STATE)
        record["seed"], record["seeded"] = self._seed, 1
        record["words"] = engine["key"]
        # PyTorch counts down to the next 624 words and makes them at 1; only a new stream has not moved at all.
        record["left"] = 1 if position == WORDS_OF_STATE else WORDS_OF_STATE + 1 - position
        record["next"] = 0 if self._untouched else position
        if self._spare_double is not None:
            record["double"], record["has_double"] = self._spare_double, 1
        if self._spare_float is not None:
            record["float"], record["has_float"] = self._spare_float, True
        return record.tobytes()

    def load_state_bytes(self, state: bytes) -> None:
        """Take over the state in `state`; RuntimeError where PyTorch could not have written it."""
        if len(state) != _STATE.itemsize:
            raise RuntimeError(
                f"Expected a CPUGeneratorImplState of size {_STATE.itemsize} but found the input RNG state size "
                f"to be {len(state)}"
            )
        record = np.frombuffer(state, _STATE)[0]
        left, following = int(record["left"]), int(record["next"])
        untouched = left == 1 and following == 0
        if not record["seeded"] or not (untouched or 1 <= left == WORDS_OF_STATE + 1 - following):
            raise RuntimeError("Invalid mt19937 state")
        self._restart(int(record["seed"]))
        self._engine_now().state = {
            "bit_generator": "MT19937",
            "state": {
                "key": record["words"].astype(np.uint32),
                "pos": WORDS_OF_STATE if untouched else following,
            },
        }
        self._untouched = untouched
        self._spare_double = float(record["double"]) if record["has_double"] else None
        self._spare_float = float(record["float"]) if record["has_float"] else None

    def _engine_now(self) -> Any:
        """NumPy's engine, seeded on first use."""
        if self._engine is None:
            self._engine = np.random.MT19937(0)
            np.random.RandomState(self._engine).seed(self._seed & 0xFFFFFFFF)
            self._untouched = True
        return self._engine

    # -- words and numbers between 0 and 1 -----------------------------------------------------------------------------

    def words(self, count: int) -> np.ndarray:
        """The next `count` 32-bit words, as uint64."""
        engine = self._engine_now()
        if count:
            self._untouched = False
        return engine.random_raw(count)

    def double_words(self, count: int) -> np.ndarray:
        """The next `count` 64-bit words, each made of two, the upper half first."""
        halves = self.words(2 * count)
        return halves[0::2] << np.uint64(32) | halves[1::2]

    def unit(self, count: int, kind: np.dtype) -> np.ndarray:
        """`count` numbers in [0, 1): fractions of 24 bits of one word (float32) or 53 bits of two (float64)."""
        if kind is F64:
            return _in_blocks(count, F64, lambda n: (self.double_words(n) & np.uint64(2**53 - 1)) * 2.0**-53)
        # Signed, because processors convert signed integers to floats at one stroke.
        return _in_blocks(
            count, F32, lambda n: (self.words(n) & np.uint64(2**24 - 1)).view(np.int64).astype(F32) * F32.type(2**-24)
        )

    def doubles(self, count: int) -> np.ndarray:
        """`count` float64 numbers in [0, 1)."""
        return self.unit(count, F64)

    @contextmanager
    def _one_at_a_time(self) -> Iterator[Callable[[], float]]:
        """A function that draws single doubles in [0, 1), for algorithms that cannot say how many they need.

        They are taken from blocks; at the end the engine is set back and moved on by what was used.
        """
        engine = self._engine_now()
        before, untouched = engine.state, self._untouched
        used = 0

        def blocks() -> Iterator[float]:
            size = 64
            while True:
                yield from self.doubles(size).tolist()
                size = min(2 * size, BLOCK)

        supply = blocks()

        def draw() -> float:
            nonlocal used
            used += 1
            return next(supply)

        try:
            yield draw
        finally:
            engine.state = before
            self._untouched = untouched
            self.words(2 * used)

    # -- distributions -------------------------------------------------------------------------------------------------

    def uniform(self, count: int, kind: np.dtype, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """Numbers in [low, high). What rounding lifts to `high` becomes `low`, as in PyTorch."""
        real = F64 if kind is F64 else F32
        values = self.unit(count, real)
        start, end = real.type(low), real.type(high)
        if start != 0 or end != 1:
            values = multiply_add(values, end - start, start)
        elif kind is real:
            return values
        values = values.astype(kind, copy=False)
        values[values == kind.type(high)] = kind.type(low)
        return values

    def normal(
        self, count: int, kind: np.dtype, mean: float = 0.0, std: float = 1.0, contiguous: bool = True
    ) -> np.ndarray:
        """Normal numbers, by blocks of 16 for a contiguous tensor of at least 16 elements, else by pairs."""
        if count < 16 or not contiguous:
            return narrow(multiply_add(self.normal_pairs(count), std, mean), kind)
        real = F64 if kind is F64 else F32
        whole = count - count % 16
        values = np.empty(count, real)
        for start in range(0, whole, BLOCK):
            part = values[start : min(start + BLOCK, whole)]
            part[...] = _box_muller(self.unit(part.size, real))
        if whole < count:
            # A part of a block is not used: its numbers are drawn, and then the last 16 values drawn anew.
            self.unit(count - whole, real)
            values[-16:] = _box_muller(self.unit(16, real))
        return narrow(multiply_add(values, real.type(std), real.type(mean)), kind)

    def normal_pairs(self, count: int) -> np.ndarray:
        """Standard normal float64 numbers made two at a time; an odd one left over is kept for the next call."""
        values = np.empty(count)
        first = 0
        if count and self._spare_double is not None:
            values[0], self._spare_double, first = self._spare_double, None, 1
        pairs = (count - first + 1) // 2
        angle, radius = self.doubles(2 * pairs).reshape(pairs, 2).T
        both = _polar(np.sqrt(-2 * np.log1p(-radius)), 2 * np.pi * angle)
        values[first:] = both.T.reshape(-1)[: count - first]
        if 2 * pairs > count - first:
            # The spare is part of the state, so its last bits matter: the C library's functions, as in PyTorch.
            length = math.sqrt(-2 * math.log1p(-radius[-1]))
            self._spare_double = length * math.sin(2 * math.pi * angle[-1])
        return values

    def log_normal(self, count: int, mean: float, std: float) -> np.ndarray:
        """float64 numbers whose logarithms are normal."""
        return np.exp(multiply_add(self.normal_pairs(count), std, mean))

    def exponential(self, count: int, rate: float = 1.0) -> np.ndarray:
        """float64 numbers with density ``rate * exp(-rate * x)``."""
        return -1.0 / rate * np.log1p(-self.doubles(count))

    def geometric(self, count: int, p: float) -> np.ndarray:
        """How many trials until the first success of probability `p`, as float64."""
        return np.ceil(np.log(self.doubles(count)) / np.log1p(-p))

    def cauchy(self, count: int, median: float, sigma: float) -> np.ndarray:
        """float64 numbers of the Cauchy distribution."""
        return multiply_add(np.tan(np.pi * (self.doubles(count) - 0.5)), sigma, median)

    def integers(self, count: int, kind: np.dtype) -> np.ndarray:
        """Integers from 0 to the largest of an integer type, or to 2 to the number of bits of a float's fraction."""
        limit = 2 if kind.kind == "b" else _largest(kind) + 1
        words = self.double_words(count) if kind in (F64, I64) else self.words(count)
        return narrow((words % np.uint64(limit)).view(np.int64), kind)

    def integers_between(self, count: int, kind: np.dtype, low: int, span: int) -> np.ndarray:
        """Integers from `low` to ``low + span - 1``; a span of 2**64 or more means every int64."""
        wide = kind in (F32, F64, I64) and span >= 2**32
        words = self.double_words(count) if wide else self.words(count)
        if span < 2**64:
            words = words % np.uint64(span) + np.uint64(low % 2**64)
        return narrow(words.view(np.int64), kind)

    def permutation(self, count: int) -> np.ndarray:
        """The numbers 0 to ``count - 1`` in random order, as int64.

        The stream's order is that of a loop: for each place in turn, swap it with itself or a later one. The same is
        computed here without a loop: what a place receives is what its partner held just before, and that
        is the partner's own number or, if an earlier step swapped the partner, what that step's place held.
        """
        if count >= (2**32 - 1) // 20:
            raise NotImplementedError(
                f"randperm(): n={count} is too large; PyTorch shuffles 214748364 or more in another way"
            )
        place = np.arange(count)
        partner = place.copy()
        if count > 1:
            partner[:-1] += self.words(count - 1).view(np.int64) % np.arange(count, 1, -1)
        return _shuffle(place, partner)

    def bernoulli(self, count: int, p: float | np.ndarray) -> np.ndarray:
        """Booleans that are true with probability `p`, one number or one for each draw."""
        kind = F64 if isinstance(p, float) or p.dtype is F64 else F32
        return self.unit(count, kind) < p

    def categories(self, weights: np.ndarray, count: int) -> np.ndarray:
        """For each row of `weights`, `count` column numbers drawn with replacement in proportion to the row."""
        real = F64 if weights.dtype is F64 else F32
        totals = np.cumsum(weights, axis=1, dtype=real)
        totals /= totals[:, -1:]
        totals[:, -1] = 1
        chosen = np.empty((len(weights), count), I64)
        points = self.doubles(chosen.size).reshape(chosen.shape)
        for row, edges in enumerate(totals.astype(F64, copy=False)):
            chosen[row] = np.searchsorted(edges, points[row])
        return chosen

    def poisson(self, rates: Iterable[float]) -> list[int]:
        """One Poisson number for each rate, in order."""
        with self._one_at_a_time() as draw:
            return [_poisson(rate, draw) for rate in rates]

    def binomial(self, counts: np.ndarray, chances: np.ndarray) -> list[float]:
        """For each of `counts` trials, flat and of one type with `chances`, how many succeed."""
        with self._one_at_a_time() as draw, np.errstate(all="ignore"):
            return [_binomial(count, chance, draw) for count, chance in zip(counts, chances, strict=True)]


def _rebuild(state: bytes) -> Generator:
    generator = Generator()
    generator.load_state_bytes(state)
    return generator


def _in_blocks(count: int, kind: np.dtype, draw: Callable[[int], np.ndarray]) -> np.ndarray:
    """`count` values, the blocks of which `draw` makes."""
    if count <= BLOCK:
        return draw(count)
    values = np.empty(count, kind)
    for start in range(0, count, BLOCK):
        part = values[start : start + BLOCK]
        part[...] = draw(part.size)
    return values


def narrow(values: np.ndarray, kind: np.dtype) -> np.ndarray:
    """`values` as `kind`; to float16 by way of float32, as PyTorch converts."""
    if kind is F16:
        values = values.astype(F32)
    return values.astype(kind, copy=False)


def _largest(kind: np.dtype) -> int:
    """The largest integer up to which `kind` holds every integer."""
    return 2 ** (np.finfo(kind).nmant + 1) if kind.kind == "f" else int(np.iinfo(kind).max)


# -- sums rounded once --------------------------------------------------------------------------------------------------


def multiply_add(values: np.ndarray, scale: Any, shift: Any) -> np.ndarray:
    """``values * scale + shift`` in the type of `values` (float32 or float64), rounded once.

    PyTorch's kernels run on processors that round a product and a sum together; NumPy rounds each. Here the sum is
    taken with its error, which then decides the last bit (Boldo and Melquiond, "Emulation of FMA and correctly rounded
    sums", 2008): rounding first to odd, with bits to spare, makes the second rounding right.
    """
    if shift == 0:
        return values if scale == 1 else values * scale
    if values.dtype is F32:
        return _sum_to_odd(values.astype(F64) * float(scale), np.float64(shift)).astype(F32)
    product, below = _product(values, scale)
    middle, low = _sum(np.float64(shift), below)
    high, rest = _sum(product, middle)
    return high + _sum_to_odd(low, rest)


def _sum(a: Any, b: Any) -> tuple[Any, Any]:
    """The rounded sum and what rounding left out (Knuth)."""
    total = a + b
    b_part = total - a
    return total, (a - (total - b_part)) + (b - b_part)


def _product(a: np.ndarray, b: float) -> tuple[np.ndarray, np.ndarray]:
    """The rounded product and what rounding left out (Dekker)."""
    a_high, b_high = _upper_half(a), _upper_half(b)
    a_low, b_low = a - a_high, b - b_high
    product = a * b
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _upper_half(a: Any) -> Any:
    """`a` with the upper 26 bits of its fraction."""
    spread = a * 134217729.0
    return spread - (spread - a)


def _sum_to_odd(a: np.ndarray, b: Any) -> np.ndarray:
    """The sum, rounded to the neighbour with an odd last bit where it is not exact."""
    total, error = _sum(a, b)
    bits = total.view(np.int64)
    away = np.where((error > 0) == (total > 0), 1, -1)
    bits += np.where((error != 0) & (bits & 1 == 0), away, 0)
    return total


# -- parts of the draws -------------------------------------------------------------------------------------------------


def _polar(radius: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """The points at these distances and angles: abscissas in row 0, ordinates in row 1."""
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)])


def _box_muller(uniform: np.ndarray) -> np.ndarray:
    """Uniform numbers, a multiple of 16, made normal: the first and the last 8 of each 16 are radii and angles."""
    radius, angle = uniform.reshape(-1, 2, 8).transpose(1, 0, 2)
    real = uniform.dtype.type
    return _polar(np.sqrt(real(-2) * np.log(real(1) - radius)), real(2 * np.pi) * angle).transpose(1, 0, 2).reshape(-1)


def _shuffle(place: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """What the places 0, 1, ... hold after each has in turn been swapped with its partner (itself or a later one)."""
    # The latest earlier swap that reached a place brought it what its own place held then: follow that to its origin.
    source = place.copy()
    moved = partner != place
    source[partner[moved]] = place[moved]
    while True:
        further = source[source]
        if np.array_equal(further, source):
            break
        source = further
    # Swaps sorted by partner, then by time: the one before tells what this partner held.
    order = (partner << 32) + place
    order.sort()
    partners, places = order >> 32, order & 0xFFFFFFFF
    again = partners[1:] == partners[:-1]
    held = partner.copy()
    held[places[1:][again]] = source[places[:-1][again]]
    return held
