"""PyTorch's stream of random words on the CPU, and where it stands: the Generator and the default one.

The engine is MT19937 seeded with 32 bits, which NumPy has too, so the words are the same. What numbers
are made of the words is in `rushlight.draws`, the functions on tensors are in `rushlight.ops.random`.
Invariant: after the same calls a generator stands where PyTorch's would, so `get_state` returns the
very same bytes.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.mode import RECORDING, state
from rushlight.device import CPU, device
from rushlight.draws import BLOCK, unit
from rushlight.dtype import F64

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

DEFAULT_SEED = 67280421310721
WORDS_OF_STATE = 624

# The bytes of `get_state`: PyTorch keeps the layout its generator had in its first years.
_STATE = np.dtype(
    {
        "names": ["seed", "left", "seeded", "next", "words", "double", "has_double", "float", "has_float"],
        "formats": ["<u8", "<i4", "<i4", "<u8", ("<u8", WORDS_OF_STATE), "<f8", "<i4", "<f4", "?"],
        "offsets": [0, 8, 12, 16, 24, 5024, 5040, 5048, 5052],
        "itemsize": 5056,
    }
)


def _not_in_a_step(what: str) -> None:
    """Refuse what a program that goes on in the stream would not do again."""
    if state.mode & RECORDING:
        state.recorder.refuse_stream(what)


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
                f"Rushlight computes on the CPU only: write 'cpu' instead of '{wanted}'"
            )
        # NumPy's engine, made by the first draw: importing rushlight must not import numpy.random.
        self._engine: Any = None
        self._restart(DEFAULT_SEED)

    def _restart(self, seed: int) -> None:
        _not_in_a_step("a generator is seeded")
        self._seed = seed
        self._untouched = True
        # The second of a pair of normal numbers. No kernel keeps a float32 one, but a state may hold it.
        self.spare_normal: float | None = None
        self._spare_float: float | None = None
        if self._engine is not None:
            self._seed_engine()

    def _seed_engine(self) -> None:
        np.random.RandomState(self._engine).seed(self._seed & 0xFFFFFFFF)

    def _engine_now(self) -> Any:
        if self._engine is None:
            self._engine = np.random.MT19937(0)
            self._seed_engine()
        return self._engine

    # -- PyTorch's interface -----------------------------------------------------------------------------

    @property
    def device(self) -> device:
        """The device of the numbers drawn: the CPU."""
        return CPU

    def manual_seed(self, seed: int) -> Generator:
        """Begin the stream that belongs to `seed`, from -2**63 to 2**64 - 1, and return the generator."""
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
        _not_in_a_step("initial_seed()")
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
        """Continue where `new_state` stands, taken by `get_state` (PyTorch's too); returns the generator."""
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

    # -- the state as bytes ------------------------------------------------------------------------------

    def state_bytes(self) -> bytes:
        """The 5056 bytes of `get_state`."""
        _not_in_a_step("the state of a generator is read")
        engine = self._engine_now().state["state"]
        position = engine["pos"]
        record = np.zeros((), _STATE)
        record["seed"], record["seeded"] = self._seed, 1
        record["words"] = engine["key"]
        # PyTorch counts down to the next 624 words and makes them at 1; a new stream has not moved yet.
        record["left"] = 1 if position == WORDS_OF_STATE else WORDS_OF_STATE + 1 - position
        record["next"] = 0 if self._untouched else position
        if self.spare_normal is not None:
            record["double"], record["has_double"] = self.spare_normal, 1
        if self._spare_float is not None:
            record["float"], record["has_float"] = self._spare_float, True
        return record.tobytes()

    def load_state_bytes(self, state: bytes) -> None:
        """Take over the state in `state`; RuntimeError where PyTorch could not have written it."""
        if len(state) != _STATE.itemsize:
            raise RuntimeError(
                f"Expected a CPUGeneratorImplState of size {_STATE.itemsize} "
                f"but found the input RNG state size to be {len(state)}"
            )
        record = np.frombuffer(state, _STATE)[0]
        left, following = int(record["left"]), int(record["next"])
        untouched = left == 1 and following == 0
        consistent = 1 <= following == WORDS_OF_STATE + 1 - left <= WORDS_OF_STATE
        if not record["seeded"] or not (untouched or consistent):
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
        self.spare_normal = float(record["double"]) if record["has_double"] else None
        self._spare_float = float(record["float"]) if record["has_float"] else None

    # -- words -------------------------------------------------------------------------------------------

    def words(self, count: int) -> np.ndarray:
        """The next `count` 32-bit words, as uint64."""
        engine = self._engine_now()
        if count:
            self._untouched = False
        return engine.random_raw(count)

    def double_words(self, count: int) -> np.ndarray:
        """The next `count` 64-bit words, each made of two words, the upper half first."""
        halves = self.words(2 * count)
        return halves[0::2] << np.uint64(32) | halves[1::2]

    def engine_memory(self) -> np.ndarray:
        """The engine's own memory, for native code: the 624 words, then how many of them are used up (int32).

        It stays the same for as long as the generator lives. Draw from it inside `drawing_natively` only.
        """
        import ctypes

        address = self._engine_now().ctypes.state_address
        return np.ctypeslib.as_array((ctypes.c_int32 * (WORDS_OF_STATE + 1)).from_address(address))

    @contextmanager
    def drawing_natively(self) -> Iterator[None]:
        """While native code takes at least one word from `engine_memory`: other threads wait."""
        with self._engine_now().lock:
            self._untouched = False
            yield

    @contextmanager
    def one_at_a_time(self) -> Iterator[Callable[[], float]]:
        """A function that draws single float64 numbers in [0, 1), for those who cannot foresee how many.

        The numbers come from blocks; in the end the engine is set back and moved on by what was used.
        """
        engine = self._engine_now()
        before, untouched, used = engine.state, self._untouched, 0

        def numbers() -> Iterator[float]:
            count = 64
            while True:
                yield from unit(self, count, F64).tolist()
                count = min(2 * count, BLOCK)

        supply = numbers()

        def draw() -> float:
            nonlocal used
            used += 1
            return next(supply)

        try:
            yield draw
        finally:
            engine.state, self._untouched = before, untouched
            self.words(2 * used)


def _rebuild(state: bytes) -> Generator:
    generator = Generator()
    generator.load_state_bytes(state)
    return generator


# -- the generator that is used where none is given ------------------------------------------------------

default_generator = Generator()
default_generator.seed()


def manual_seed(seed: int) -> Generator:
    """Begin the default generator's stream that belongs to `seed`; returns the generator.

    >>> import rushlight as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.rand(3)
    tensor([0.4963, 0.7682, 0.0885])
    """
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Begin a stream nobody can foresee in the default generator and return its seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed the default generator's stream began with.

    >>> import rushlight as torch
    >>> _ = torch.manual_seed(-1)
    >>> torch.initial_seed()
    18446744073709551615
    """
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """Where the default generator stands, as a uint8 tensor."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Continue the default generator at a state from `get_rng_state`.

    >>> import rushlight as torch
    >>> state = torch.get_rng_state()
    >>> first = torch.rand(3)
    >>> torch.set_rng_state(state)
    >>> torch.equal(torch.rand(3), first)
    True
    """
    default_generator.set_state(new_state)


@contextmanager
def fork_rng(
    devices: Sequence[Any] | None = None, enabled: bool = True, device_type: str | None = None
) -> Iterator[None]:
    """On leaving the block, set the default generator back to where it stood on entering.

    `devices` names further devices whose generators to set back; there are none, so it must be empty or None.

    >>> import rushlight as torch
    >>> before = torch.get_rng_state()
    >>> with torch.random.fork_rng():
    ...     _ = torch.rand(3)
    >>> torch.equal(torch.get_rng_state(), before)
    True
    """
    if device_type == "meta" or not enabled:
        yield
        return
    if devices is not None and list(devices):
        raise NotImplementedError(
            f"fork_rng(): devices={list(devices)}: the CPU's generator is the only one here"
        )
    before = default_generator.state_bytes()
    try:
        yield
    finally:
        default_generator.load_state_bytes(before)
