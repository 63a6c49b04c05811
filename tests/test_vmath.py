"""How far the formulas of functions are from the exact values: against mpmath, in units of the last place.

Every function is evaluated as hardware would carry it out, on numbers spread over all magnitudes, around the
places where its formula changes, and at the edges of its range.
"""

import zlib

import mpmath
import numpy as np
import pytest

from rushlight.compile.evaluate import evaluate
from rushlight.compile.expr import Symbols
from rushlight.ops import special_math

BITS = {"f4": 24, "f8": 53}
LEAST_EXPONENT = {"f4": -149, "f8": -1074}
LIMITS = {"f4": (-149, 128), "f8": (-1074, 1024)}


def apply(name, *arrays):
    """The function's values as the formula gives them."""
    k = Symbols()
    operands = [k.load(place, each.dtype.str[1:]) for place, each in enumerate(arrays)]
    root = special_math.erf(k, *operands) if name == "erf" else getattr(k, name)(*operands)
    return evaluate([root], arrays)[0]


def ulps(value, exact, kind):
    """The distance of a finite value from the exact one in units of the last place of that."""
    if exact == value:
        return 0.0
    exponent = mpmath.frexp(exact)[1] if exact else LEAST_EXPONENT[kind]
    unit = mpmath.ldexp(1, max(exponent - BITS[kind], LEAST_EXPONENT[kind]))
    return float(abs(mpmath.mpf(float(value)) - exact) / unit)


def generator(*key):
    """Random numbers that depend on a test's parameters only."""
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


def magnitudes(rng, kind, low, high, count):
    """Numbers of both signs, their exponents spread evenly between two powers of 2."""
    low, high = max(low, LIMITS[kind][0]), min(high, LIMITS[kind][1] - 1e-6)
    size = np.exp2(rng.uniform(low, high, count))
    return (size * rng.choice([-1.0, 1.0], count)).astype(kind)


def sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


# name: the exact function; intervals worth a close look; powers of 2 between which all numbers are tried
FUNCTIONS = {
    "exp": (mpmath.exp, [(-104, 89), (-0.4, 0.4), (-746, 710)], (-60, 10)),
    "exp2": (lambda x: mpmath.power(2, x), [(-150, 128), (-0.6, 0.6), (-1075, 1024)], (-60, 11)),
    "expm1": (mpmath.expm1, [(-2, 2), (-0.36, -0.33), (0.34, 0.45), (-40, 710)], (-1074, 10)),
    "sigmoid": (sigmoid, [(-104, 20), (-2, 2), (-745, 40)], (-60, 10)),
    "tanh": (mpmath.tanh, [(-1, 1), (0.6, 0.66), (-20, 20)], (-1074, 8)),
    "sinh": (mpmath.sinh, [(-1.2, 1.2), (0.34, 0.37), (85, 90), (700, 711)], (-1074, 10)),
    "cosh": (mpmath.cosh, [(-1.2, 1.2), (7.9, 8.2), (85, 90), (700, 711)], (-60, 10)),
    "erf": (mpmath.erf, [(-1, 1), (-7, 7)], (-1074, 3)),
    "log": (mpmath.log, [(0.6, 1.4), (0, 10)], (-1074, 1024)),
    "log2": (lambda x: mpmath.log(x, 2), [(0.6, 1.4), (1.33, 1.4), (0, 10)], (-1074, 1024)),
    "log10": (mpmath.log10, [(0.6, 1.4), (0, 1000)], (-1074, 1024)),
    "log1p": (mpmath.log1p, [(-1, 1), (0.33, 0.4), (-0.34, -0.32)], (-1074, 1024)),
    "sin": (mpmath.sin, [(-4, 4), (-1000, 1000)], (-1074, 1024)),
    "cos": (mpmath.cos, [(-4, 4), (-1000, 1000)], (-60, 1024)),
    "tan": (mpmath.tan, [(-4, 4), (-1000, 1000)], (-1074, 1024)),
    "asin": (mpmath.asin, [(-1, 1), (0.55, 0.66)], (-1074, 0)),
    "acos": (mpmath.acos, [(-1, 1), (0.999, 1)], (-1074, 0)),
    "atan": (mpmath.atan, [(-2, 2), (0.98, 1.03)], (-1074, 1024)),
    "asinh": (mpmath.asinh, [(-1, 1), (0.28, 0.35)], (-1074, 1024)),
    "acosh": (mpmath.acosh, [(1, 3), (1, 1.01)], (0, 1024)),
    "atanh": (mpmath.atanh, [(-1, 1), (0.1, 0.2), (0.999, 1)], (-1074, 0)),
}
POSITIVE = {"log", "log2", "log10", "acosh"}
TURNS = {"sin", "cos", "tan"}
COUNT = 100  # of the numbers in each interval
# The multiples of powers of 2 that are nearest to a multiple of half of pi.
NEAREST = {"f4": 16367173.0 * 2.0**72, "f8": 6381956970095103.0 * 2.0**797}


def arguments(name, kind):
    """Where a function is tried."""
    _, intervals, (low, high) = FUNCTIONS[name]
    rng = generator(name, kind)
    parts = [rng.uniform(*each, COUNT) for each in intervals] + [magnitudes(rng, kind, low, high, 2 * COUNT)]
    if name in TURNS:
        halves = rng.integers(1, 80_000, COUNT) * (np.pi / 2)  # next to zeros and poles
        parts += [halves, np.nextafter(halves.astype(kind), 0), magnitudes(rng, kind, 14, 20, COUNT)]
        parts += [magnitudes(rng, kind, 36, 44, COUNT), np.array([NEAREST[kind]])]
    x = np.concatenate([each.astype(kind) for each in parts])
    if name in POSITIVE:
        x = np.abs(x)
    if name == "log1p":
        x = x[x > -1]
    return x[np.isfinite(x)]


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_are_within_2_units_in_the_last_place(name, kind):
    x = arguments(name, kind)
    values = apply(name, x)
    exact_of = FUNCTIONS[name][0]
    largest = mpmath.mpf(float(np.finfo(kind).max)) * (1 + mpmath.mpf(2) ** (-BITS[kind] - 1))
    worst = (0.0, None)
    with mpmath.workprec(160):
        for operand, value in zip(x.tolist(), values, strict=True):
            exact = exact_of(mpmath.mpf(operand))
            if abs(exact) >= largest:
                assert np.isinf(value) and (value > 0) == (exact > 0), operand
            else:
                worst = max(worst, (ulps(value, exact, kind), operand))
    assert worst[0] <= 2, worst


def powers(rng, kind):
    """Bases and exponents whose powers are numbers, near 1 and with large exponents too."""
    edge = {"f4": 125.0, "f8": 1000.0}[kind]
    bases = np.concatenate(
        [
            np.abs(magnitudes(rng, kind, -edge, edge, COUNT)),
            rng.uniform(0.5, 2.0, COUNT),
            1 + magnitudes(rng, kind, -BITS[kind] + 4, -3, COUNT),
        ]
    ).astype(kind)
    exponents = rng.uniform(-edge, edge, 3 * COUNT) / np.maximum(np.abs(np.log2(bases.astype("f8"))), 1e-30)
    return bases, np.clip(exponents, -1e30, 1e30).astype(kind)


def pairs(rng, kind):
    """Two numbers of about one size, and of any sizes."""
    width = {"f4": 60, "f8": 500}[kind]
    x, y = rng.normal(0, 3, (2, 2 * COUNT)).astype(kind), magnitudes(rng, kind, -width, width, COUNT)
    return np.concatenate([x[0], y]), np.concatenate([x[1], magnitudes(rng, kind, -width, width, COUNT)])


PAIRS = {
    "power": (mpmath.power, powers),
    "hypot": (mpmath.hypot, pairs),
    "atan2": (mpmath.atan2, pairs),
    "logaddexp": (lambda a, b: mpmath.log(mpmath.exp(a) + mpmath.exp(b)), pairs),
    "logaddexp2": (lambda a, b: mpmath.log(mpmath.power(2, a) + mpmath.power(2, b), 2), pairs),
}


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("name", PAIRS)
def test_values_of_two_operands_are_within_2_units_in_the_last_place(name, kind):
    exact_of, operands = PAIRS[name]
    a, b = operands(generator(name, kind), kind)
    if name.startswith("logaddexp"):
        a, b = a[: 2 * COUNT], b[: 2 * COUNT]
    values = apply(name, a, b)
    worst = (0.0, None, None)
    with mpmath.workprec(160):
        for x, y, value in zip(a.tolist(), b.tolist(), values, strict=True):
            exact = exact_of(mpmath.mpf(x), mpmath.mpf(y))
            error = ulps(value, exact, kind)
            if name.startswith("logaddexp"):  # of the largest operand, where the result is smaller
                error *= min(1.0, float(abs(exact)) / max(abs(x), abs(y)))
            worst = max(worst, (error, x, y))
    assert worst[0] <= 2, worst


@pytest.mark.parametrize("name", ["sin", "cos", "tanh", "sigmoid", "erf"])
def test_bounded_functions_keep_their_bounds(name):
    for kind in ("f4", "f8"):
        steps = np.linspace(0, 40, 801).astype(kind)
        assert (np.abs(apply(name, np.concatenate([steps, arguments(name, kind)]))) <= 1).all()


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_odd_functions_are_odd_and_even_functions_even_bit_for_bit(kind):
    for name in ("tanh", "erf", "sinh", "sin", "tan", "asin", "atan", "asinh", "atanh"):
        x = arguments(name, kind)
        assert (apply(name, -x) == -apply(name, x)).all(), name
    for name in ("cosh", "cos"):
        x = arguments(name, kind)
        assert (apply(name, -x) == apply(name, x)).all(), name


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("exp", -20, 20),
        ("expm1", -5, 5),
        ("sigmoid", -20, 20),
        ("tanh", -9, 9),
        ("sinh", -5, 5),
        ("log", 0.01, 5),
        ("log1p", -0.9, 5),
        ("asin", -1, 1),
        ("atan", -5, 5),
    ],
)
def test_growing_functions_grow(name, low, high, kind):
    values = apply(name, np.linspace(low, high, 1001).astype(kind))
    assert (np.diff(values) >= 0).all()


def test_where_the_value_is_a_number_it_is_exact():
    for kind in ("f4", "f8"):
        low, high = LIMITS[kind]
        whole = np.arange(low, high).astype(kind)
        powers_of_2 = np.ldexp(np.ones_like(whole), np.arange(low, high))
        assert (apply("exp2", whole) == powers_of_2).all()
        assert (apply("log2", powers_of_2) == whole).all()
        tens = np.arange({"f4": 11, "f8": 23}[kind])
        assert (apply("log10", np.array([10.0**n for n in tens], kind)) == tens).all()
        base, exponent = np.meshgrid(np.arange(-9.0, 10), np.arange(0.0, 7))
        base, exponent = base.ravel().astype(kind), exponent.ravel().astype(kind)
        assert (apply("power", base, exponent) == base.astype("f8") ** exponent).all()
        assert apply("hypot", np.array([3.0], kind), np.array([4.0], kind)).item() == 5.0
        for name, at, value in [
            ("exp", 0, 1),
            ("cosh", 0, 1),
            ("cos", 0, 1),
            ("sigmoid", 0, 0.5),
            ("log", 1, 0),
        ]:
            assert apply(name, np.array([at], kind)).item() == value
    tiny = np.array([5e-324, -3e-320, 1e-310, -1e-300])
    for name in ("expm1", "log1p", "tanh", "sinh", "sin", "tan", "asin", "atan", "asinh", "atanh"):
        assert (apply(name, tiny) == tiny).all(), name
