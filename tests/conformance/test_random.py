"""The random stream against PyTorch's: values of fills and creation, and the generator's bytes after each."""

import random
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the conformance extra")

import rushlight
from tests.conformance.streams import DTYPES, FLOATS, check_error, check_same, layouts, run_both

SIZES = [*range(41), 100, 4097, 70_001]
INTS = ["int8", "int16", "int32", "int64", "uint8"]

# Each fill: what is called, for which types, and how far values may be apart, which is by the last bits that
# logarithms and the like leave open (float16 shows one of its own instead).
FILLS = {
    "uniform": (lambda x: x.uniform_(), FLOATS, 0),
    "uniform_symmetric": (lambda x: x.uniform_(-1 / 28, 1 / 28), FLOATS, 0),
    "uniform_narrow": (lambda x: x.uniform_(1000, 1000.5), FLOATS, 0),
    "uniform_wide": (lambda x: x.uniform_(-3.7e4, 11.2), FLOATS, 0),
    "uniform_point": (lambda x: x.uniform_(5, 5), FLOATS, 0),
    "normal": (lambda x: x.normal_(), FLOATS, 5e-7),
    "normal_shifted": (lambda x: x.normal_(-0.3, 2.5), FLOATS, 2e-6),
    "normal_constant": (lambda x: x.normal_(1.5, 0), FLOATS, 0),
    "exponential": (lambda x: x.exponential_(), FLOATS, 1e-14),
    "exponential_rate": (lambda x: x.exponential_(0.3), FLOATS, 1e-13),
    "log_normal": (lambda x: x.log_normal_(0.5, 0.25), FLOATS, 1e-13),
    "cauchy": (lambda x: x.cauchy_(0.3, 2.5), FLOATS, 1e-12),
    "geometric": (lambda x: x.geometric_(0.3), [*FLOATS, *INTS], 0),
    "bernoulli": (lambda x: x.bernoulli_(0.3), DTYPES, 0),
    "bernoulli_0": (lambda x: x.bernoulli_(0), DTYPES, 0),
    "bernoulli_1": (lambda x: x.bernoulli_(1), DTYPES, 0),
    "random": (lambda x: x.random_(), DTYPES, 0),
    "random_to": (lambda x: x.random_(2), DTYPES, 0),
    "random_100": (lambda x: x.random_(7, 100), [*FLOATS, *INTS], 0),
    "random_negative": (lambda x: x.random_(-100, 101), [*FLOATS, *INTS[:4]], 0),
    "random_from": (lambda x: x.random_(3, None), [*FLOATS, *INTS], 0),
    "random_28_bits": (lambda x: x.random_(2**28), ["float64", "int32", "int64"], 0),
    "random_below_28_bits": (lambda x: x.random_(-1, 2**28 - 2), ["float64", "int32", "int64"], 0),
    "random_int32": (lambda x: x.random_(-(2**31), None), ["int32", "int64", "float64"], 0),
    "random_33_bits": (lambda x: x.random_(-(2**32), 2**32), ["float64", "int64"], 0),
    "random_long": (lambda x: x.random_(-(2**40), 2**62), ["int64"], 0),
    "random_longer": (lambda x: x.random_(-(2**62), 2**63 - 1), ["int64"], 0),
    "random_all": (lambda x: x.random_(-(2**63), None), ["float32", "float64", "int64"], 0),
}
CASES = [(name, dtype) for name, (_, dtypes, _) in FILLS.items() for dtype in dtypes]


def tolerance_for(name, dtype):
    """The tolerance of a fill for a type: for float16 a unit in the last place where values are inexact."""
    allowed = FILLS[name][2]
    return 1e-3 if allowed and dtype == "float16" else allowed


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_fill_of_any_size(name, dtype):
    fill = FILLS[name][0]
    for size in SIZES:
        ours, theirs = run_both(lambda library, n=size: fill(library.empty(n, dtype=getattr(library, dtype))))
        check_same(ours, theirs, tolerance_for(name, dtype))


@pytest.mark.parametrize(
    ("name", "dtype"), [each for each in CASES if each[1] in ("float32", "int64", "float16")]
)
def test_fill_of_any_layout(name, dtype):
    fill = FILLS[name][0]
    for label in layouts(rushlight, dtype):
        ours, theirs = run_both(lambda library, label=label: fill(layouts(library, dtype)[label]))
        check_same(ours, theirs, tolerance_for(name, dtype), label)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("p_dtype", FLOATS)
def test_bernoulli_with_a_tensor_of_probabilities(dtype, p_dtype):
    for label in layouts(rushlight, dtype):

        def call(library, label=label):
            target = layouts(library, dtype)[label]
            length = target.shape[-1] if target.ndim else 1
            p = library.linspace(0, 1, length, dtype=getattr(library, p_dtype))
            return target.bernoulli_(p if target.ndim else p[0])

        ours, theirs = run_both(call)
        check_same(ours, theirs, 0, label)


def test_normals_of_a_million_stay_within_5e_7():
    ours, theirs = run_both(lambda library: library.randn(1_000_003))
    assert np.abs(ours.numpy() - theirs.numpy()).max() <= 5e-7


CREATIONS = {
    "rand": lambda lib: lib.rand(3, 5),
    "rand_size": lambda lib: lib.rand(size=(3, 5)),
    "rand_list": lambda lib: lib.rand([3, 5], dtype=lib.float64, requires_grad=True),
    "rand_0d": lambda lib: lib.rand(()),
    "rand_empty": lambda lib: lib.rand(3, 0),
    "rand_generator": lambda lib: lib.rand(4, generator=lib.Generator().manual_seed(7), device="cpu"),
    "rand_default_generator": lambda lib: lib.rand(4, generator=lib.default_generator),
    "rand_out": lambda lib: lib.rand(3, 4, out=lib.empty(3, 4, dtype=lib.float64)),
    "rand_out_transposed": lambda lib: lib.rand(3, 4, out=lib.empty(4, 3).t()),
    "rand_half": lambda lib: lib.rand(300, dtype=lib.float16),
    "randn": lambda lib: lib.randn(3, 5),
    "randn_float64": lambda lib: lib.randn(3, 7, dtype=lib.float64, requires_grad=True),
    "randn_out": lambda lib: lib.randn(4, 5, out=lib.empty(4, 5)),
    "randn_out_transposed": lambda lib: lib.randn(4, 5, out=lib.empty(5, 4).t()),
    "randint": lambda lib: lib.randint(10, (7,)),
    "randint_low": lambda lib: lib.randint(-3, 10, (7,)),
    "randint_named": lambda lib: lib.randint(low=3, high=10, size=[2, 3], dtype=lib.uint8),
    "randint_high_named": lambda lib: lib.randint(high=10, size=(2,)),
    "randint_low_only": lambda lib: lib.randint(2, high=5, size=(9,)),
    "randint_float": lambda lib: lib.randint(5, (2, 2), dtype=lib.float32, requires_grad=True),
    "randint_wide": lambda lib: lib.randint(-(2**50), 2**50, (20,)),
    "randint_tensor": lambda lib: lib.randint(lib.tensor(5), (3,)),
    "randint_out": lambda lib: lib.randint(10, (7,), out=lib.empty(7, dtype=lib.int32)),
    "randperm_out": lambda lib: lib.randperm(7, out=lib.empty(7, dtype=lib.int64)),
    "randperm_float": lambda lib: lib.randperm(9, dtype=lib.float32, requires_grad=True),
    "randperm_half": lambda lib: lib.randperm(2049, dtype=lib.float16),
    "randperm_byte": lambda lib: lib.randperm(256, dtype=lib.uint8),
    "randperm_generator": lambda lib: lib.randperm(9, generator=lib.Generator().manual_seed(7)),
}


@pytest.mark.parametrize("name", CREATIONS)
def test_creation(name):
    ours, theirs = run_both(CREATIONS[name])
    check_same(ours, theirs, 5e-7)


LIKES = {
    "rand_like": lambda lib, x: lib.rand_like(x),
    "rand_like_float64": lambda lib, x: lib.rand_like(x, dtype=lib.float64, requires_grad=True),
    "rand_like_contiguous": lambda lib, x: lib.rand_like(x, memory_format=lib.contiguous_format),
    "randn_like": lambda lib, x: lib.randn_like(x),
    "randn_like_generator": lambda lib, x: lib.randn_like(x, generator=lib.Generator().manual_seed(5)),
    "randint_like": lambda lib, x: lib.randint_like(x, 10),
    "randint_like_low": lambda lib, x: lib.randint_like(x, -5, 10, dtype=lib.int16),
    "randint_like_named": lambda lib, x: lib.randint_like(x, low=2, high=10),
}


@pytest.mark.parametrize("name", LIKES)
def test_twins_of_any_layout(name):
    for label in layouts(rushlight, "float32", expanded=True):
        results = run_both(
            lambda library, label=label: LIKES[name](
                library, layouts(library, "float32", expanded=True)[label]
            )
        )
        check_same(*results, 5e-7, label)
        assert strides_of(results[0]) == strides_of(results[1]), label


def strides_of(tensor):
    """The strides of the dimensions that have more than one element."""
    return [stride for stride, length in zip(tensor.stride(), tensor.shape, strict=True) if length > 1]


@pytest.mark.parametrize("size", [*range(41), 100, 1000, 54_000])
def test_randperm(size):
    ours, theirs = run_both(lambda library: library.randperm(size))
    check_same(ours, theirs)


def test_seeds_of_a_data_loader():
    """A DataLoader draws a seed for its workers and one for its sampler, whose generator shuffles."""

    def call(library):
        seeds = [library.empty((), dtype=library.int64).random_().item() for _ in range(2)]
        shuffler = library.Generator().manual_seed(seeds[1])
        return library.cat([library.tensor(seeds), library.randperm(1000, generator=shuffler)])

    check_same(*run_both(call))


INTERLEAVED = FILLS | {
    "normal_of_a_slice": (lambda x: x[1:].normal_(), FLOATS, 5e-7),
    "normal_of_every_second": (lambda x: x[::2].normal_(), FLOATS, 5e-7),
}


def test_interleaved_calls_of_all_kinds():
    """Programs of fills with odd sizes, so that spare normals are kept; another seed on every run."""
    seed = random.SystemRandom().randrange(2**32)
    choose = random.Random(seed)
    rushlight.manual_seed(seed)
    torch.manual_seed(seed)
    for step in range(600):
        name = choose.choice(list(INTERLEAVED))
        fill, dtypes, tolerance = INTERLEAVED[name]
        dtype = choose.choice(dtypes)
        size = choose.choice([1, 2, 3, 5, 15, 16, 17, 31, 33, 700])
        ours, theirs = (fill(lib.zeros(size, dtype=getattr(lib, dtype))) for lib in (rushlight, torch))
        where = f"seed {seed}, step {step}: {name}, {dtype}, {size} elements"
        check_same(ours, theirs, 1e-3 if tolerance and dtype == "float16" else tolerance, where)
        assert rushlight.get_rng_state().numpy().tobytes() == torch.get_rng_state().numpy().tobytes(), where


ERRORS = [
    "lib.empty(3).uniform_(2, 1)",
    "lib.empty(0).uniform_(2, 1)",
    "lib.empty(3).uniform_(0, 1e39)",
    "lib.empty(3).uniform_(-3e38, 3e38)",
    "lib.empty(3).uniform_(float('nan'), 1)",
    "lib.empty(3).uniform_(0, float('inf'))",
    "lib.empty(3).uniform_(from_=1)",
    "lib.empty(3).uniform_('a')",
    "lib.empty(3).uniform_(generator=3)",
    "lib.empty(3, dtype=lib.float16).uniform_(0, 70000)",
    "lib.empty(3, dtype=lib.int64).uniform_()",
    "lib.zeros(3).expand(2, 3).uniform_()",
    "lib.zeros(3, requires_grad=True).uniform_()",
    "lib.empty(3).normal_(0, -1)",
    "lib.empty(0).normal_(0, -1)",
    "lib.empty(3).normal_(0, float('nan'))",
    "lib.empty(3, dtype=lib.int64).normal_()",
    "lib.empty(3, dtype=lib.bool).log_normal_()",
    "lib.empty(3).log_normal_(0, 0)",
    "lib.empty(3).exponential_(0)",
    "lib.empty(3).exponential_(float('nan'))",
    "lib.empty(3, dtype=lib.int8).exponential_()",
    "lib.empty(3, dtype=lib.int8).cauchy_()",
    "lib.empty(3).cauchy_(0, 0)",
    "lib.empty(3).geometric_(0)",
    "lib.empty(3).geometric_(1)",
    "lib.empty(3, dtype=lib.bool).geometric_(0.5)",
    "lib.empty(3).bernoulli_(1.5)",
    "lib.empty(3).bernoulli_(float('nan'))",
    "lib.empty(3).bernoulli_(lib.tensor([0.5, 0.6]))",
    "lib.empty(3).bernoulli_(lib.tensor([1, 0, 1]))",
    "lib.empty(3).random_(3, 3)",
    "lib.empty(3).random_(0)",
    "lib.empty(0).random_(3, 3)",
    "lib.empty(3, dtype=lib.int64).random_(2**63)",
    "lib.empty(3).random_(1.5)",
    "lib.empty(3).random_(None)",
    "lib.empty(3).random_(**{'from': 2})",
    "lib.empty(3).random_(1, 2, 3)",
    "lib.empty(3, dtype=lib.int8).random_(0, 2**20)",
    "lib.empty(3, dtype=lib.uint8).random_(-1, None)",
    "lib.empty(3, dtype=lib.float16).random_(0, 2**20)",
    "lib.empty(3, dtype=lib.bool).random_(5)",
    "lib.empty(3, dtype=lib.bool).random_(-2**63, None)",
    "lib.empty(3, dtype=lib.int8).random_(-2**63, None)",
    "lib.empty(3).random_(2**24, None)",
    "lib.empty(3).random_(2**30 + 1, 2**30 + 2)",
    "lib.rand(-1)",
    "lib.rand()",
    "lib.rand(2, generator=5)",
    "lib.rand(2, dtype=lib.int64)",
    "lib.rand(2, device='cuda')",
    "lib.rand(2, pin_memory=True)",
    "lib.rand(2, out=lib.empty(2), dtype=lib.float64)",
    "lib.rand_like(3)",
    "lib.randint(5, 2)",
    "lib.randint(5)",
    "lib.randint((2,))",
    "lib.randint(2.0, (3,))",
    "lib.randint(5, 5, (2,))",
    "lib.randint(5, (-2,))",
    "lib.randint(5, (2,), requires_grad=True)",
    "lib.randint(1, 2, (3,), low=1)",
    "lib.randperm(-1)",
    "lib.randperm(3.0)",
    "lib.randperm(257, dtype=lib.uint8)",
    "lib.randperm(2050, dtype=lib.float16)",
    "lib.randperm(3, dtype=lib.bool)",
    "lib.randperm(3, requires_grad=True)",
]


@pytest.mark.parametrize("source", ERRORS)
def test_errors(source):
    check_error(source)


def test_bounds_beyond_what_a_type_counts_exactly_warn():
    def call(library):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            drawn = library.empty(50).random_(0, 2**40)
        texts.append(str(caught[0].message).split(" (Triggered")[0])
        return drawn

    texts: list[str] = []
    check_same(*run_both(call))
    assert texts[0] == texts[1]


FILL_NODES = {
    "uniform_": (),
    "normal_": (),
    "exponential_": (),
    "geometric_": (0.5,),
    "log_normal_": (),
    "cauchy_": (),
    "bernoulli_": (0.5,),
    "random_": (),
}


@pytest.mark.parametrize("name", FILL_NODES)
def test_gradient_of_what_was_overwritten_is_zero(name):
    found = []
    for library in (rushlight, torch):
        leaf = library.ones(3, requires_grad=True)
        filled = getattr(leaf * 1, name)(*FILL_NODES[name])
        filled.sum().backward()
        found.append((type(filled.grad_fn).__name__, filled._version, leaf.grad.tolist()))
    ours, theirs = found
    assert ours[1:] == theirs[1:]
    if hasattr(rushlight.ones(1), "grad_fn"):
        text = repr((rushlight.ones(3, requires_grad=True) * 1).uniform_().grad_fn)
        assert "UniformBackward0" in text
