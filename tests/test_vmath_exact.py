"""What formulas of primitives have to get exactly right: special cases, quotients, whole numbers, and `fma`
itself; and that few primitives on operands of the right kinds are left.
"""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from rushlight.compile.evaluate import evaluate, fma
from rushlight.compile.expr import Symbols, is_float
from rushlight.compile.primitives import PRIMITIVES
from rushlight.compile.vmath import FORMULAS, in_order, is_known, lower
from rushlight.ops import special_math
from rushlight.ops.numeric import numpy_namespace

INF, NAN = float("inf"), float("nan")
WHOLE = ("u1", "i1", "i2", "i4", "i8")
TWO_OPERANDS = [
    *["atan2", "floor_divide", "fmax", "fmin", "fmod", "hypot", "logaddexp", "logaddexp2", "maximum"],
    *["minimum", "nextafter", "power", "remainder", "trunc_divide"],
]
ONE_OPERAND = sorted(set(FORMULAS) - set(TWO_OPERANDS))
TESTS = ("isfinite", "isinf", "isnan", "signbit")


def made(name, *kinds):
    """A function's node on inputs of the given kinds."""
    k = Symbols()
    return getattr(k, name)(*[k.load(place, kind) for place, kind in enumerate(kinds)])


def apply(name, *arrays):
    """The function's values as the formula gives them."""
    return evaluate([made(name, *(each.dtype.str[1:] for each in arrays))], arrays)[0]


def eager(name, *arrays):
    """The function's values as the eager op has them."""
    with np.errstate(all="ignore"):
        return getattr(numpy_namespace, name)(*arrays)


def same(a, b):
    """Whether the values are equal, with the signs of zeros, and NaN equal to NaN."""
    return ((a == b) & (np.signbit(a) == np.signbit(b))) | (np.isnan(a) & np.isnan(b))


def extremes(kind):
    """Zeros, ones, halves, infinities, NaN, and the limits of a floating type, of both signs."""
    info = np.finfo(kind)
    sizes = [
        0.0,
        info.smallest_subnormal,
        info.tiny,
        0.5,
        1.0,
        1.5,
        2.0,
        3.0,
        1e10,
        float(2**54),
        info.max,
        INF,
    ]
    return np.array([*sizes, *(-each for each in sizes), NAN], kind)


# -- special cases ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("name", ONE_OPERAND)
def test_special_cases_are_those_of_the_eager_function(name, kind):
    x = extremes(kind)
    if name == "sigmoid":  # the eager one overflows on the way where the result is no normal number
        x = x[~((x < -80) & np.isfinite(x))]
    values, expected = apply(name, x), eager(name, x)
    assert values.dtype == expected.dtype
    if name in TESTS:
        assert (values == expected).all()
        return
    plain = np.isfinite(expected) & (expected != 0)
    assert same(values, expected)[~plain].all(), list(zip(x, values, expected, strict=True))
    assert np.allclose(values[plain], expected[plain], rtol=1e-6 if kind == "f4" else 1e-14, atol=0)


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("name", TWO_OPERANDS)
def test_special_cases_of_two_operands_are_those_of_the_eager_function(name, kind):
    a, b = np.array(list(itertools.product(extremes(kind), repeat=2)), kind).T.copy()
    values, expected = apply(name, a, b), eager(name, a, b)
    assert values.dtype == expected.dtype
    plain = np.isfinite(expected) & (expected != 0)
    right = same(values, expected)
    if name in ("maximum", "minimum", "fmax", "fmin"):
        right |= (a == 0) & (b == 0) & (values == 0)  # of two zeros either
    assert right[~plain].all(), list(zip(a[~right], b[~right], values[~right], expected[~right], strict=True))
    assert np.allclose(values[plain], expected[plain], rtol=1e-6 if kind == "f4" else 1e-14, atol=0)


def test_maximum_with_a_number_is_one_operation_and_keeps_nan():
    k = Symbols()
    x = k.load(0, "f4")
    for node in (k.maximum(x, 0.0), k.maximum(0.0, x), k.minimum(x, 6.0)):
        assert lower([node])[0].op in ("max", "min")
        assert np.isnan(evaluate([node], [np.array([NAN], "f4")])[0]).all()


# -- quotients and whole numbers -------------------------------------------------------------------------


def dividends(kind, rng):
    """Pairs of numbers of all sizes, and small whole numbers, which leave no remainder at times."""
    if not is_float(kind):
        info = np.iinfo(kind)
        a, b = rng.integers(info.min, info.max, (2, 4000), kind, endpoint=True)
        b = b >> rng.integers(0, 8 * int(kind[1]), 4000).astype(kind)
        edges = np.array(
            [info.min, info.min + 1, info.max - 1, info.max, 0, 1, 2, 3, *([-1, -2] if info.min else [])]
        )
        pairs = np.array(list(itertools.product(edges, repeat=2))).astype(kind).T
        return np.concatenate([a, pairs[0]]), np.concatenate([b, pairs[1]])
    reach = {"f4": 120, "f8": 1000}[kind]
    a, b = np.exp2(rng.uniform(-reach, reach, (2, 2000))) * rng.choice([-1.0, 1.0], (2, 2000))
    c, d = rng.integers(-60, 60, (2, 2000)) * 0.5
    e, f = rng.normal(0, 100, 2000), rng.normal(0, 1, 2000)
    return np.concatenate([a, c, e]).astype(kind), np.concatenate([b, d, f]).astype(kind)


@pytest.mark.parametrize("kind", ["f4", "f8", *WHOLE])
@pytest.mark.parametrize("name", ["floor_divide", "fmod", "remainder", "trunc_divide"])
def test_quotients_and_remainders_are_exactly_the_eager_ones(name, kind):
    a, b = dividends(kind, np.random.default_rng(1))
    values = apply(name, a, b)
    if not is_float(kind):
        assert (values[b == 0] == 0).all()  # eager ops raise
        a, b, values = a[b != 0], b[b != 0], values[b != 0]
    assert same(values, eager(name, a, b)).all()


def test_remainders_of_far_larger_numbers_are_exact():
    a, b = np.array([1.7e308, 1e300, -1e22, 2.0**1000]), np.array([5e-324, 3.0, 0.1, 7.0])
    assert (apply("fmod", a, b) == [math.fmod(*each) for each in zip(a, b, strict=True)]).all()


@pytest.mark.parametrize("kind", WHOLE)
def test_whole_powers_wrap_around_as_the_eager_ones(kind):
    info = np.iinfo(kind)
    base, exponent = np.meshgrid(np.arange(max(info.min, -9), 10), np.arange(-3 if info.min else 0, 70))
    base, exponent = base.ravel().astype(kind), exponent.ravel().astype(kind)
    assert (apply("power", base, exponent) == eager("power", base, exponent)).all()
    for number in (-1, 0, 1, 2, 5, 13) if info.min else (0, 1, 2, 5, 13):
        k = Symbols()
        value = evaluate([k.power(k.load(0, kind), number)], [base])[0]
        assert (value == eager("power", base, np.full_like(base, number))).all()


@pytest.mark.parametrize("number", [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0])
def test_powers_that_need_no_logarithm_are_bit_equal_to_the_eager_ones(number):
    x = np.abs(np.random.default_rng(0).normal(0, 3, 100).astype("f4"))
    k = Symbols()
    assert (evaluate([k.power(k.load(0, "f4"), number)], [x])[0] == eager("power", x, number)).all()


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize(
    "name", ["abs", "ceil", "floor", "isfinite", "isinf", "isnan", "sign", "signbit", "trunc"]
)
def test_functions_of_whole_numbers(name, kind):
    info = np.iinfo(kind)
    x = np.array([info.min, 0, 1, 5, info.max], kind)
    assert (apply(name, x) == eager(name, x)).all()
    for pair in ("maximum", "minimum", "fmax", "fmin"):
        assert (apply(pair, x, x[::-1].copy()) == eager(pair, x, x[::-1])).all()


def test_functions_of_bools():
    x, y = np.array([False, False, True, True]), np.array([False, True, False, True])
    assert (apply("maximum", x, y) == (x | y)).all()
    assert (apply("minimum", x, y) == (x & y)).all()
    assert (apply("sign", x) == x).all()


# -- expressions -----------------------------------------------------------------------------------------


def check_kinds(node):
    """Assert that an operation's operands are of the kinds it takes."""
    kinds = [each.kind for each in node.args] if node.op not in ("const", "load") else []
    if node.op in ("select", "rare"):
        assert kinds == ["b1", node.kind, node.kind]
    elif node.op in ("lt", "le", "gt", "ge", "eq", "ne"):
        assert node.kind == "b1" and kinds[0] == kinds[1]
    elif node.op in ("bits", "unbits"):
        assert kinds == [("f" if node.op == "bits" else "i") + node.kind[1]]
        assert node.kind[0] == ("i" if node.op == "bits" else "f")
    elif node.op != "cast":
        assert all(kind == node.kind for kind in kinds), node.op
    if node.op in ("div", "fma", "sqrt", "copysign", "rint", "floor", "ceil", "trunc"):
        assert is_float(node.kind)
    if node.op in ("shl", "shr", "lshr"):
        assert node.args[1].op == "const" and 0 <= node.args[1].args[0] < 8 * int(node.kind[1])
    if node.op in ("and", "or", "xor", "not"):
        assert not is_float(node.kind)


@pytest.mark.parametrize("kind", ["f4", "f8", "i4", "i8", "u1", "b1"])
def test_formulas_are_made_of_primitives_on_operands_of_the_right_kinds(kind):
    for name in FORMULAS:
        if kind == "b1" and name in ("floor_divide", "fmod", "power", "remainder", "trunc_divide"):
            continue  # the eager ops promote bools first
        nodes = in_order(lower([made(name, *[kind] * (1 + (name in TWO_OPERANDS)))]))
        assert {node.op for node in nodes} <= PRIMITIVES
        for node in nodes:
            check_kinds(node)


def test_what_only_rare_values_need_can_be_left_for_later():
    root = lower([made("sin", "f4")])[0]
    every = in_order([root])
    first = in_order([root], into_rare=False)
    assert first[-1] is root and root.op == "rare" and len(first) < 50
    later = in_order([root.args[1]], set(first))
    assert later and not set(first) & set(later) and set(first) | set(later) == set(every)


# How many operations the functions of hot loops take: no formula may grow unnoticed.
COSTS = {"exp": 23, "log": 32, "sigmoid": 32, "tanh": 30, "erf": 46, "sin": 28, "cos": 28}


@pytest.mark.parametrize("name", COSTS)
def test_functions_of_hot_loops_take_few_operations_and_stay_in_float32(name):
    k = Symbols()
    x = k.load(0, "f4")
    root = special_math.erf(k, x) if name == "erf" else getattr(k, name)(x)
    nodes = [each for each in in_order(lower([root]), into_rare=False) if each.op not in ("const", "load")]
    assert len(nodes) <= COSTS[name]
    assert {each.kind for each in nodes} <= {"f4", "i4", "b1"}
    assert sum(each.op in ("div", "sqrt") for each in nodes) <= 1


def test_the_text_of_an_expression_is_cut_off():
    assert len(repr(lower([made("sin", "f4")])[0])) < 5000


def test_a_function_without_a_formula_is_refused():
    k = Symbols()
    assert not is_known("gcd") and is_known("exp") and is_known("add")
    with pytest.raises(NotImplementedError, match="gcd has no formula"):
        lower([k.gcd(k.load(0, "i4"), 6)])


# -- the evaluator's fma ---------------------------------------------------------------------------------


def rounded(exact, kind):
    """A fraction rounded once."""
    if kind == "f8":
        try:
            return np.float64(float(exact))
        except OverflowError:
            return np.float64(INF if exact > 0 else -INF)
    scale = max(math.floor(math.log2(abs(exact))) if exact else -149, -126) - 23
    value = np.float64(round(exact / Fraction(2) ** scale)) * 2.0**scale  # round() takes halves to even
    with np.errstate(over="ignore"):
        return np.float32(value)


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_fma_is_rounded_once(kind):
    rng = np.random.default_rng(2)
    reach = {"f4": 20, "f8": 60}[kind]
    a, b = np.ldexp(rng.uniform(1, 2, (2, 4000)), rng.integers(-reach, reach, (2, 4000))).astype(kind)
    c = (-a * b * (1 + rng.integers(-3, 4, 4000) * 2.0 ** -rng.integers(1, 60, 4000))).astype(kind)
    far = {"f4": 70, "f8": 530}[kind]  # overflow and results that are no normal numbers
    a[:600] = np.ldexp(a[:600], -far)
    b[:300], b[300:600] = np.ldexp(b[:300], -far), np.ldexp(b[300:600], far)
    a[600:900], b[600:900] = np.ldexp(a[600:900], far), np.ldexp(b[600:900], far)
    with np.errstate(all="ignore"):
        values = fma(a, b, c)
    for x, y, z, value in zip(a.tolist(), b.tolist(), c.tolist(), values, strict=True):
        if math.isfinite(z) and math.isfinite(x) and math.isfinite(y):
            assert value == rounded(Fraction(x) * Fraction(y) + Fraction(z), kind), (x, y, z)


def test_fma_of_zeros_infinities_and_nan():
    a, b, c = np.array(list(itertools.product([0.0, -0.0, 1.0, -1.0, INF, -INF, NAN], repeat=3))).T.copy()
    for kind in ("f4", "f8"):
        x, y, z = a.astype(kind), b.astype(kind), c.astype(kind)
        with np.errstate(all="ignore"):
            assert same(fma(x, y, z), x * y + z).all()
