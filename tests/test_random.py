"""The random stream without PyTorch: known values, states, generators, and the arithmetic beneath."""

import copy
import math
import pickle
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import rushlight as torch
from rushlight import draws
from rushlight.dtype import F32, F64

# -- known values --------------------------------------------------------------------------------------------


def test_values_of_seed_0_are_those_of_pytorch():
    torch.manual_seed(0)
    assert torch.rand(3).tolist() == [0.49625658988952637, 0.7682217955589294, 0.08847743272781372]
    assert torch.randint(100, (4,)).tolist() == [60, 63, 79, 27]
    assert torch.randperm(6).tolist() == [1, 3, 5, 2, 4, 0]


def test_normal_values_of_seed_0_are_those_of_pytorch():
    torch.manual_seed(0)
    assert torch.randn(3).tolist() == pytest.approx(
        [1.5409960746765137, -0.293428897857666, -2.1787893772125244]
    )
    torch.manual_seed(0)
    block = torch.randn(16)
    assert block[:3].tolist() == pytest.approx(
        [-1.1258398294448853, -1.1523602008819580, -0.2505785822868347]
    )


# -- generators ----------------------------------------------------------------------------------------------


def test_a_seed_repeats_the_stream():
    first = torch.rand(5, generator=torch.Generator().manual_seed(12))
    assert torch.equal(first, torch.rand(5, generator=torch.Generator().manual_seed(12)))
    assert not torch.equal(first, torch.rand(5, generator=torch.Generator().manual_seed(13)))


def test_seeds_count_modulo_2_to_the_64():
    assert torch.Generator().manual_seed(-1).initial_seed() == 2**64 - 1
    assert torch.Generator().manual_seed(-(2**63)).initial_seed() == 2**63
    assert torch.Generator().initial_seed() == 67280421310721
    with pytest.raises(ValueError, match="Overflow when unpacking long long"):
        torch.Generator().manual_seed(2**64)
    with pytest.raises(RuntimeError, match="manual_seed expected a long, but got float"):
        torch.Generator().manual_seed(1.5)


def test_seed_starts_a_stream_nobody_knows():
    generator = torch.Generator()
    seeds = {generator.seed() for _ in range(4)}
    assert len(seeds) == 4
    assert generator.initial_seed() in seeds
    assert torch.seed() == torch.initial_seed()


def test_only_the_cpu_has_a_generator():
    assert torch.Generator("cpu").device == torch.device("cpu")
    with pytest.raises(RuntimeError, match="Cannot get CUDA generator"):
        torch.Generator("cuda")
    with pytest.raises(RuntimeError, match="CPU Generator does not use offset"):
        torch.Generator().get_offset()
    with pytest.raises(RuntimeError, match="CPU Generator does not use offset"):
        torch.Generator().set_offset(1)


@pytest.mark.parametrize(
    "twin_of", [lambda g: g.clone_state(), copy.copy, copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))]
)
def test_a_copy_goes_on_by_itself(twin_of):
    generator = torch.Generator().manual_seed(3)
    torch.randn(5, generator=generator)
    twin = twin_of(generator)
    expected = torch.randn(7, generator=generator)
    torch.rand(100, generator=generator)
    assert torch.equal(torch.randn(7, generator=twin), expected)
    assert twin.initial_seed() == 3


def test_importing_does_not_import_numpys_generators():
    code = "import rushlight, sys; rushlight.manual_seed(1); assert 'numpy.random' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


# -- states --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drawn", [0, 1, 623, 624, 625, 1248, 5000])
def test_a_state_is_taken_up_where_it_was_left(drawn):
    generator = torch.Generator().manual_seed(5)
    torch.rand(drawn, generator=generator)
    state = generator.get_state()
    expected = torch.rand(700, generator=generator)
    other = torch.Generator()
    assert other.set_state(state) is other
    assert torch.equal(other.get_state(), state)
    assert torch.equal(torch.rand(700, generator=other), expected)
    assert other.initial_seed() == 5


def test_a_state_keeps_the_spare_normal():
    generator = torch.Generator().manual_seed(5)
    torch.randn(3, generator=generator)
    state = generator.get_state()
    expected = torch.randn(2, generator=generator)
    assert torch.equal(torch.randn(2, generator=torch.Generator().set_state(state)), expected)


def test_fork_rng_sets_the_default_generator_back():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with torch.random.fork_rng():
        torch.randn(3)
        torch.manual_seed(7)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng(enabled=False):
        torch.rand(1)
    assert not torch.equal(torch.get_rng_state(), before)
    with pytest.raises(NotImplementedError, match="devices"), torch.random.fork_rng(devices=[0]):
        pass


def test_fork_rng_sets_back_after_an_error():
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), torch.random.fork_rng():
        torch.rand(1)
        raise ZeroDivisionError
    assert torch.equal(torch.get_rng_state(), before)


def broken(state, **fields):
    """A copy of the state with 32-bit fields at these offsets overwritten."""
    array = state.numpy().copy()
    for offset, value in fields.values():
        array[offset : offset + 4] = np.array([value], "<i4").view(np.uint8)
    return torch.from_numpy(array)


def test_states_that_are_none_are_refused():
    generator = torch.Generator()
    state = generator.get_state()
    with pytest.raises(TypeError, match=r"expected a torch\.ByteTensor, but got bytes"):
        generator.set_state(bytes(5056))
    with pytest.raises(TypeError, match=r"RNG state must be a torch\.ByteTensor"):
        generator.set_state(state.float())
    with pytest.raises(RuntimeError, match="of size 5056 but found the input RNG state size to be 10"):
        generator.set_state(state[:10])
    with pytest.raises(RuntimeError, match="RNG state must be contiguous"):
        generator.set_state(torch.stack([state, state], 1)[:, 0])
    for fields in (
        {"seeded": (12, 0)},
        {"left": (8, 0)},
        {"left": (8, 625)},
        {"next": (16, 700)},
        {"left": (8, 5)},
    ):
        with pytest.raises(RuntimeError, match="Invalid mt19937 state"):
            generator.set_state(broken(state, **fields))
    assert torch.equal(generator.get_state(), state)


# -- draws ---------------------------------------------------------------------------------------------------


def test_drawing_in_parts_or_at_once_is_the_same():
    parts, whole = (torch.Generator().manual_seed(9) for _ in range(2))
    count = 3 * draws.BLOCK + 17
    expected = draws.unit(whole, count, F32)
    got = [draws.unit(parts, n, F32) for n in (1, draws.BLOCK, count - draws.BLOCK - 1)]
    assert np.array_equal(np.concatenate(got), expected)
    assert np.array_equal(parts.words(5), whole.words(5))


def test_single_numbers_leave_the_generator_after_the_last_one_used():
    single, plain = (torch.Generator().manual_seed(9) for _ in range(2))
    expected = draws.unit(plain, 300, F64)
    with single.one_at_a_time() as draw:
        assert [draw() for _ in range(300)] == expected.tolist()
    assert single.state_bytes() == plain.state_bytes()
    with single.one_at_a_time():
        pass
    assert single.state_bytes() == plain.state_bytes()


@given(st.integers(0, 70), st.integers(0, 2**64 - 1))
def test_permutation_is_that_of_the_loop_of_swaps(count, seed):
    generator = torch.Generator().manual_seed(seed)
    shuffled = list(range(count))
    for place, word in enumerate(torch.Generator().manual_seed(seed).words(max(count - 1, 0)).tolist()):
        other = place + word % (count - place)
        shuffled[place], shuffled[other] = shuffled[other], shuffled[place]
    assert draws.permutation(generator, count).tolist() == shuffled


def test_permutations_too_long_for_32_bit_words_are_refused():
    with pytest.raises(NotImplementedError, match="n=214748364"):
        draws.permutation(torch.Generator(), 214748364)


numbers = st.floats(-1e6, 1e6) | st.floats(-1e-6, 1e-6) | st.sampled_from([0.0, 1.0, -1.0, 2.0**-24, 1000.5])


@given(st.lists(numbers, min_size=1, max_size=8), numbers, numbers)
def test_multiply_add_rounds_once_in_float64(values, scale, shift):
    assume(all(not x * scale or abs(x * scale) > 1e-290 for x in values))
    got = draws.multiply_add(np.array(values), np.float64(scale), np.float64(shift)).tolist()
    assert got == [float(Fraction(x) * Fraction(scale) + Fraction(shift)) for x in values]


@given(st.lists(numbers, min_size=1, max_size=8), numbers, numbers)
def test_multiply_add_rounds_once_in_float32(values, scale, shift):
    array, scale, shift = np.array(values, np.float32), np.float32(scale), np.float32(shift)
    got = draws.multiply_add(array, scale, shift)
    assert got.dtype == np.float32
    for x, sum_once in zip(array.tolist(), got.tolist(), strict=True):
        exact = Fraction(x) * Fraction(float(scale)) + Fraction(float(shift))
        error = abs(Fraction(sum_once) - exact)
        for neighbour in (
            np.nextafter(np.float32(sum_once), np.float32(side)) for side in (-math.inf, math.inf)
        ):
            assert error <= abs(Fraction(float(neighbour)) - exact)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_uniform_numbers_stay_below_the_upper_bound(kind):
    drawn = draws.uniform(torch.Generator().manual_seed(0), 100_000, np.dtype(kind), 1000, 1001)
    assert drawn.min() >= 1000
    assert drawn.max() < 1001


@pytest.mark.parametrize("rate", [0.0, 0.5, 3.0, 9.9, 10.0, 40.0])
def test_poisson_numbers_have_the_mean_and_variance_of_their_rate(rate):
    drawn = np.array(draws.poisson(torch.Generator().manual_seed(1), [rate] * 4000))
    assert abs(drawn.mean() - rate) <= 5 * math.sqrt(rate / 4000)
    assert abs(drawn.var() - rate) <= 0.15 * rate


@pytest.mark.parametrize(("count", "chance"), [(5, 0.3), (50, 0.1), (100, 0.5), (1000, 0.95)])
def test_binomial_numbers_have_the_mean_and_variance_of_their_trials(count, chance):
    counts, chances = np.full(4000, float(count)), np.full(4000, chance)
    drawn = np.array(draws.binomial(torch.Generator().manual_seed(1), counts, chances))
    variance = count * chance * (1 - chance)
    assert abs(drawn.mean() - count * chance) <= 5 * math.sqrt(variance / 4000)
    assert abs(drawn.var() - variance) <= 0.15 * variance
