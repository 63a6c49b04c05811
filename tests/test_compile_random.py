"""Random numbers drawn in native code: bit for bit the eager ones, and the same state after them."""

import ctypes

import llvmlite.binding as llvm
import numpy as np
import pytest

from rushlight import draws
from rushlight.compile.twister import WORDS, Draws
from rushlight.dtype import F32, F64
from rushlight.random import Generator

# Counts that end before, at and after the ends of vectors and of the 624 words.
COUNTS = [1, 2, 3, 15, 16, 17, 100, 311, 312, 313, 623, 624, 625, 1250, 2000]
KINDS = {"b1": bool, "u1": np.uint8, "i4": np.int32, "i8": np.int64, "f4": np.float32, "f8": np.float64}


class Filler:
    """A function ``fill(state, out, count, chances)`` compiled for this machine, for vectors of a width."""

    def __init__(self, call, vector_bytes):
        made = Draws(vector_bytes)
        body = call(made, "%state", "%out", "%count")
        head = "define void @fill(ptr %state, ptr %out, i64 %count, ptr %chances) #0 {"
        parts = [*made.texts, head, f"  {body}", "  ret void", "}", *sorted(made.declared)]
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        module = llvm.parse_assembly("\n".join([*parts, "attributes #0 = { nounwind }"]))
        module.verify()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=1
        )
        self.engine = llvm.create_mcjit_compiler(module, machine)
        self.engine.finalize_object()
        kinds = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p]
        self.function = ctypes.CFUNCTYPE(None, *kinds)(self.engine.get_function_address("fill"))

    def __call__(self, generator, count, kind, chances=None):
        out = np.full(count + 1, 77, kind)
        state = generator.engine_memory().ctypes.data
        with generator.drawing_natively():
            self.function(state, out.ctypes.data, count, None if chances is None else chances.ctypes.data)
        assert out[count] == np.array(77, kind)  # nothing is written beyond the end
        return out[:count]


def bernoulli(kind, keep, value=1.0):
    """A call for a mask, and the eager numbers."""
    return (
        lambda made, *where: made.call_bernoulli(*where, kind, keep, value),
        lambda g, n: draws.bernoulli(g, n, keep) * KINDS[kind](value),
        KINDS[kind],
    )


def uniform(kind, low, high):
    """A call for numbers of an interval, and the eager numbers."""
    real = F32 if kind == "f4" else F64
    return (
        lambda made, *where: made.call_uniform(*where, kind, low, high),
        lambda g, n: draws.uniform(g, n, real, low, high),
        KINDS[kind],
    )


CASES = {
    "uniform f4": uniform("f4", 0.0, 1.0),
    "uniform f4 from -0.3": uniform("f4", -0.3, 0.1),
    "uniform f4 in few places": uniform("f4", 1.0, 1.0 + 3 * 2.0**-23),  # some are lifted to the end
    "uniform f8": uniform("f8", -2.0, 7.1),
    "mask f4": bernoulli("f4", 0.8, 1 / 0.8),
    "mask f8": bernoulli("f8", 0.5, 2.0),
    "mask of few": bernoulli("f4", 1e-3),
    "mask b1": bernoulli("b1", 0.3, True),
    "mask u1": bernoulli("u1", 0.3),
    "mask i8": bernoulli("i8", 0.3),
    "none": bernoulli("f4", 0.0),
    "all": bernoulli("f4", 1.0),
    "not a number": bernoulli("f4", float("nan")),
}


@pytest.mark.parametrize("vector_bytes", [16, 64])
@pytest.mark.parametrize("case", CASES)
def test_native_draws_and_states_are_the_eager_ones(case, vector_bytes):
    call, expected, kind = CASES[case]
    fill = Filler(call, vector_bytes)
    native, eager = Generator().manual_seed(5), Generator().manual_seed(5)
    for count in COUNTS:
        values = fill(native, count, kind)
        assert np.array_equal(values, expected(eager, count)), count
        assert native.state_bytes() == eager.state_bytes()


def test_draws_of_one_and_of_two_words_and_eager_ones_can_be_mixed():
    one, two = CASES["uniform f4"], CASES["mask f4"]
    fills = [Filler(one[0], 32), Filler(two[0], 32)]
    native, eager = Generator().manual_seed(-1), Generator().manual_seed(-1)
    rng = np.random.default_rng(0)
    for _ in range(200):
        which, count = rng.integers(2), int(rng.choice(COUNTS))
        _, expected, kind = (one, two)[which]
        assert np.array_equal(fills[which](native, count, kind), expected(eager, count))
        assert np.array_equal(native.words(7), eager.words(7))
    assert native.state_bytes() == eager.state_bytes()


@pytest.mark.parametrize("chance_kind", ["f4", "f8"])
def test_every_element_can_have_a_chance_of_its_own(chance_kind):
    def call(made, *where):
        return made.call_bernoulli_each(*where, "f4", "%chances", chance_kind)

    fill = Filler(call, 32)
    chances = np.random.default_rng(1).uniform(-0.1, 1.1, 1500).astype(chance_kind)
    native, eager = Generator().manual_seed(2), Generator().manual_seed(2)
    for count in (1, 700, 1500):
        values = fill(native, count, np.float32, chances)
        assert np.array_equal(values, draws.bernoulli(eager, count, chances[:count]))
    assert native.state_bytes() == eager.state_bytes()


def test_no_numbers_take_no_words():
    fill = Filler(CASES["mask f8"][0], 32)
    generator = Generator().manual_seed(2)
    fill(generator, 0, np.float64)
    assert np.array_equal(generator.words(3), Generator().manual_seed(2).words(3))


def test_the_engines_memory_is_the_state_and_stays_where_it_is():
    generator = Generator().manual_seed(3)
    memory = generator.engine_memory()
    assert memory[WORDS] == WORDS
    generator.words(WORDS + 5)
    generator.load_state_bytes(generator.state_bytes())
    assert memory[WORDS] == 5
    generator.manual_seed(4)
    generator.words(9)
    assert memory[WORDS] == 9
    assert memory.ctypes.data == generator.engine_memory().ctypes.data


def test_functions_are_written_once():
    made = Draws(64, "#3")
    calls = [made.call_bernoulli("%s", "%o", "9", "f4", keep) for keep in (0.5, 0.5, 0.25)]
    assert calls[0] == calls[1] != calls[2]
    assert [text.split("(")[0] for text in made.texts] == [
        "define internal void @mt_refill",
        "define internal void @mt_bernoulli_f4",
    ]
    assert all("#3 {" in text for text in made.texts)
