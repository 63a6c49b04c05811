"""Compiled quotients of float32 are the eager ones, bit by bit, however they are computed."""

import numpy as np
import pytest

import rushlight as torch
from rushlight.compile import quotients

pytest.importorskip("llvmlite", reason="native code needs llvmlite")

COUNT = 40_000
LEAST_NORMAL = np.float32(2.0**-126)


@pytest.fixture(params=["left to the divider", "shared out", "multiplied"], autouse=True)
def way(request, monkeypatch):
    """Which quotients by varying numbers are multiplications."""
    costs = {"left to the divider": float("inf"), "multiplied": float("-inf")}
    monkeypatch.setattr(quotients, "MULTIPLIED", costs.get(request.param, quotients.MULTIPLIED))


def any_floats(seed):
    """Numbers of all sizes and signs, neighbours of powers of 2, then zeros, infinities, NaN, denormals."""
    generator = np.random.default_rng(seed)
    found = generator.integers(0, 2**32, COUNT, np.uint32).view(np.float32)
    near = np.ldexp(np.float32([1, 1 + 2**-23, 2 - 2**-23]), generator.integers(-126, 127, (COUNT, 1)))
    edges = np.float32([0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-38, 3.4028235e38, 1, -1, 3])
    return np.concatenate([found, near.astype(np.float32).ravel()[:COUNT], np.repeat(edges, 11)])


def assert_same(made, expected):
    """Equal bits; where numbers are denormal, at most one unit apart."""
    made, expected = made.numpy(), expected.numpy()
    assert np.array_equal(np.isnan(made), np.isnan(expected))
    whole = ~np.isnan(expected)
    apart = np.abs(made.view(np.int32)[whole].astype(np.int64) - expected.view(np.int32)[whole])
    assert apart.max(initial=0) <= 1
    assert not apart[np.abs(expected[whole]) > LEAST_NORMAL].any()


def both(function, *tensors):
    """What the function gives compiled, and eagerly."""
    compiled = torch.compile(function)
    compiled(*tensors)  # runs op by op, and is recorded
    return compiled(*tensors), function(*tensors)


def test_two_arrays():
    a, b = any_floats(0), any_floats(1)
    b = np.roll(b, 7)  # so that edges meet
    with np.errstate(all="ignore"):
        assert_same(*both(torch.div, torch.from_numpy(a), torch.from_numpy(b)))


def test_every_pair_of_edges():
    edges = any_floats(0)[-121::11]
    a, b = (torch.from_numpy(each.ravel().copy()) for each in np.meshgrid(edges, edges))
    with np.errstate(all="ignore"):
        assert_same(*both(torch.div, a, b))


@pytest.mark.parametrize("divisor", [3.0, -0.1, 1e-40, 1e38, 0.0, float("inf"), float("nan")])
def test_one_divisor(divisor):
    floats = any_floats(2)
    a = torch.from_numpy(floats)
    # A number over an array is a multiple of its inverse, which may be one unit apart where it is denormal.
    inverted = torch.from_numpy(floats[~(np.abs(floats) > 2.0**125)])
    with np.errstate(all="ignore"):
        assert_same(*both(lambda x: x / divisor, a))
        assert_same(*both(lambda x, y: x / y, a, torch.tensor(divisor)))
        assert_same(*both(lambda x: divisor / x, inverted))


def test_divisors_next_to_a_power_of_2():
    """The inverse of the number below 2 lies half a bit above 1/2: no way of rounding gets it by itself."""
    divisors = np.nextafter(np.float32(2.0) ** np.arange(-60, 60), np.float32(0)).astype(np.float32)
    divisors = np.concatenate([divisors, -divisors])
    for dividend in (1.0, -0.25, 1 + 2.0**-23, 2 - 2.0**-23):
        a = torch.full((len(divisors),), dividend)
        assert_same(*both(torch.div, a, torch.from_numpy(divisors)))


def test_rows_by_their_sums():
    x = torch.rand(37, 53) + 0.1
    assert_same(*both(lambda x, total: (x + 1) / total, x, torch.rand(37, 1) + 0.5))


def test_a_divisor_that_the_loops_change():
    def step(x, d):
        d.add_(1)
        y = x / d
        d.mul_(2)
        return y, x / d

    x = torch.rand(100)
    first, second = torch.tensor(1.0), torch.tensor(1.0)
    compiled, eager = torch.compile(step), step
    for _ in range(3):
        for made, expected in zip(compiled(x, first), eager(x, second), strict=True):
            assert_same(made, expected)
    assert first == second


def test_many_quotients_and_a_root():
    x, y, z = (torch.rand(1000) + 0.1 for _ in range(3))
    assert_same(*both(lambda x, y, z: x / y + y / z + z / x + (x / z).sqrt() + x / 3, x, y, z))
