"""The printed text of tensors is PyTorch's, character for character.

Each case is a program: a function of the library, run once with each, whose result is printed with ``repr``.
"""

import math

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")

FLOAT_DTYPES = ("float16", "float32", "float64")
INTEGER_DTYPES = ("uint8", "int8", "int16", "int32", "int64")

FLOAT_VALUES = {
    "ordinary": [0.5, -1.25, 3.0],
    "whole": [1.0, -20.0, 300.0],
    "whole and zero": [0.0, -0.0, 7.0],
    "zeros": [0.0, -0.0],
    "one half": [0.5],
    "halves round to even": [0.00005, 0.00015, 1.00005, 2.5],
    "rounds up to ten": [9.99996, 0.99999],
    "spread of a thousand": [0.01, 10.0],
    "spread above a thousand": [0.01, 10.5],
    "whole with a wide spread": [1.0, 1001.0],
    "whole with a spread of a thousand": [1.0, 1000.0],
    "large whole": [1e8, 2e8],
    "just above a hundred million": [100000008.0],
    "small": [1e-4, 2e-4],
    "below a ten-thousandth": [9.9e-5, 2e-4],
    "tiny": [6e-8, -1e-7],
    "denormal": [5e-324, 1e-310, 1e-40],
    "huge and tiny": [1e300, 1e-300, 65504.0],
    "nan alone": [math.nan],
    "infinities alone": [math.inf, -math.inf],
    "nan among whole": [1.0, math.nan, -3.0],
    "infinity among fractions": [0.25, math.inf, -math.inf, math.nan],
    "infinity among scientific": [1e-6, math.inf, -math.inf, math.nan, 0.0, -0.0],
    "negative zero among fractions": [-0.0, 0.125],
    "thirds": [1 / 3, -2 / 3, 100 / 3],
    "a line and more": list(np.linspace(-1, 1, 25)),
}

INTEGER_VALUES = {
    "small": [0, 1, 2, 3],
    "widths differ": [1, 10, 100],
    "many": list(range(40)),
    "limits": None,
}

SHAPES = [
    (), (1,), (7,), (30,), (1, 1), (2, 3), (3, 12), (40, 2), (1, 5, 1), (2, 3, 4), (2, 1, 3, 2),
    (2, 2, 2, 2, 2), (1, 2, 1, 2, 1, 2), (1001,), (1000,), (7, 200), (200, 7), (6, 200), (200, 6), (50, 50),
    (12, 11, 10), (2, 3, 200), (8, 8, 8, 8), (7, 2, 7, 2, 7, 2), (101, 1, 1, 1, 10),
]  # fmt: skip

EMPTY_SHAPES = [(0,), (0, 3), (2, 0), (0, 0), (1, 0, 4), (0, 1, 2, 3)]

OPTIONS = [
    {"precision": 2},
    {"precision": 0},
    {"precision": 10},
    {"threshold": 5},
    {"threshold": 0},
    {"threshold": 5, "edgeitems": 1},
    {"threshold": 5, "edgeitems": 2, "precision": 1},
    {"threshold": 5, "edgeitems": 0},
    {"edgeitems": 0},
    {"threshold": math.inf},
    {"linewidth": 40},
    {"linewidth": 20},
    {"linewidth": 1},
    {"linewidth": 200},
    {"sci_mode": True},
    {"sci_mode": False},
    {"sci_mode": True, "precision": 8, "linewidth": 50},
    {"profile": "short"},
    {"profile": "full"},
    {"profile": "short", "precision": 6, "edgeitems": 1, "threshold": 3},
]


def _draw(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _printing(array):
    """A program that makes a tensor of the array."""
    return lambda t: t.from_numpy(array)


def _float_cases():
    for dtype in FLOAT_DTYPES:
        for name, values in FLOAT_VALUES.items():
            with np.errstate(over="ignore", under="ignore"):
                yield f"{dtype} {name}", _printing(np.array(values).astype(dtype))


def _integer_cases():
    for dtype in INTEGER_DTYPES:
        for name, values in INTEGER_VALUES.items():
            limits = [np.iinfo(dtype).min, 0, np.iinfo(dtype).max]
            yield f"{dtype} {name}", _printing(np.array(values or limits, dtype=dtype))
    yield "bool", _printing(np.array([[True, False], [False, True]]))
    yield "bool all true", _printing(np.array([True, True]))
    yield "bool 0-d", _printing(np.array(False))
    yield "bool long", _printing(np.arange(1200) % 3 == 0)


def _shape_cases():
    for shape in SHAPES:
        yield f"normal {shape}", _printing(_draw(shape))
        counted = np.arange(math.prod(shape)).reshape(shape)
        yield f"counted {shape}", _printing(counted)
    for shape in EMPTY_SHAPES:
        yield f"empty {shape}", _printing(np.empty(shape, np.float32))
        yield f"empty int64 {shape}", _printing(np.empty(shape, np.int64))
        yield f"empty bool {shape}", _printing(np.empty(shape, np.bool_))


def _view_cases():
    base = _draw((6, 8))
    yield "transposed", lambda t: t.from_numpy(base).T
    yield "every other", lambda t: t.from_numpy(base)[::2, 1::3]
    yield "one column", lambda t: t.from_numpy(base)[:, 3]
    yield "expanded", lambda t: t.from_numpy(base[:1]).expand(4, 8)
    yield "permuted", lambda t: t.from_numpy(_draw((2, 3, 4))).permute(2, 0, 1)
    yield "summarised transposed", lambda t: t.from_numpy(_draw((60, 70))).T
    yield "one element", lambda t: t.from_numpy(base)[2, 5]


ARRAY_CASES = dict([*_float_cases(), *_integer_cases(), *_shape_cases(), *_view_cases()])

OPTION_ARRAYS = {
    "matrix": _draw((9, 11)),
    "powers": 10.0 ** np.arange(-3, 5),
    "whole": np.arange(-6.0, 30.0),
    "integers": np.arange(60).reshape(3, 4, 5),
    "not finite": np.array([1.0, math.inf, math.nan, -0.0]),
}


@pytest.fixture(autouse=True)
def default_options():
    """Both libraries print with their default options before and after each test."""
    libraries = (rushlight, torch)
    for library in libraries:
        library.set_printoptions(profile="default")
    yield
    for library in libraries:
        library.set_printoptions(profile="default")


@pytest.mark.parametrize("program", ARRAY_CASES.values(), ids=ARRAY_CASES)
def test_array(program):
    assert repr(program(rushlight)) == repr(program(torch))


@pytest.mark.parametrize("name", OPTION_ARRAYS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options(options, name):
    program = _printing(OPTION_ARRAYS[name])
    for library in (rushlight, torch):
        library.set_printoptions(**options)
    assert repr(program(rushlight)) == repr(program(torch))


def test_options_given_one_after_another():
    program = _printing(_draw((9, 30)))
    for options in ({"precision": 2}, {"sci_mode": True}, {"threshold": 10}, {}, {"profile": "short"}):
        for library in (rushlight, torch):
            library.set_printoptions(**options)
        assert repr(program(rushlight)) == repr(program(torch))


@pytest.mark.parametrize("default", FLOAT_DTYPES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64", "bool"])
@pytest.mark.parametrize("shape", [(2,), (0,), (2, 0), ()], ids=str)
def test_dtype_is_told_unless_it_is_the_default(default, dtype, shape):
    texts = []
    for library in (rushlight, torch):
        library.set_default_dtype(getattr(library, default))
        try:
            texts.append(repr(library.zeros(shape, dtype=getattr(library, dtype))))
        finally:
            library.set_default_dtype(library.float32)
    assert texts[0] == texts[1]


def _random_values(rng, shape):
    """Numbers of one of several characters: ordinary, whole, spread over magnitudes, partly special."""
    values = rng.standard_normal(shape)
    character = rng.integers(7)
    if character == 0:
        return np.round(values * 10.0 ** rng.integers(0, 12))
    if character == 1:
        return values * 10.0 ** rng.integers(-12, 12)
    if character == 2:
        return values * 10.0 ** rng.integers(-6, 7, size=shape)
    if character == 3:
        return np.where(
            rng.random(shape) < 0.3, rng.choice([math.nan, math.inf, -math.inf, 0.0, -0.0]), values
        )
    if character == 4:
        special = rng.choice([5e-324, 1e-40, 6e-8, 1e300, 65504.0, 999.99995, 1e-4, 1e8])
        return np.where(rng.random(shape) < 0.3, special, values)
    if character == 5:
        return np.full(shape, rng.choice([math.nan, -math.inf, -0.0, 1e-5, 1e9]))
    return values


def _random_array(rng):
    dtype = rng.choice([*FLOAT_DTYPES, *INTEGER_DTYPES, "bool"])
    ndim = rng.integers(0, 7)
    lengths = [1, 2, 3, 5, 6, 7, 8, 40, 300] if ndim < 3 else [1, 2, 3, 7]
    shape = tuple(int(length) for length in rng.choice(lengths, size=ndim))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        array = np.asarray(_random_values(rng, shape)).astype(dtype)
    if ndim > 1 and rng.random() < 0.3:
        array = array.transpose(rng.permutation(ndim))
    return array


def _random_options(rng):
    every = {
        "precision": int(rng.integers(0, 9)),
        "threshold": int(rng.choice([0, 5, 50, 1000])),
        "edgeitems": int(rng.integers(0, 5)),
        "linewidth": int(rng.integers(1, 200)),
        "sci_mode": bool(rng.integers(2)),
        "profile": str(rng.choice(["default", "short"])),
    }
    return {name: value for name, value in every.items() if rng.random() < 0.3}


@pytest.mark.parametrize("seed", range(150))
def test_random_arrays_with_random_options(seed):
    rng = np.random.default_rng(seed)
    array, options = _random_array(rng), _random_options(rng)
    for library in (rushlight, torch):
        library.set_printoptions(**options)
    program = _printing(array)
    assert repr(program(rushlight)) == repr(program(torch))
