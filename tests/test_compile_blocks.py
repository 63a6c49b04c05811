"""Large products of float32 on the CPU's matrix unit: as near to the true product as float32 comes."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import numpy as np
import pytest

import rushlight as rl
from rushlight.nn import functional as F
from tests.spying import returned

pytest.importorskip("llvmlite", reason="native code needs llvmlite")

llvm = importlib.import_module("rushlight.compile.llvm")
plan = importlib.import_module("rushlight.compile.plan")
products = importlib.import_module("rushlight.compile.products")

needs_unit = pytest.mark.skipif(not llvm.has_matrix_unit(), reason="this CPU has no matrix unit")

# (rows, steps of k, columns): whole chunks and ragged ones, one operand split on the way, or none
SIZES = [(1, 1, 1), (5, 3, 2), (31, 33, 32), (32, 32, 32), (33, 65, 97), (64, 784, 96), (64, 130, 200)]
SIZES += [(300, 100, 200), (129, 64, 40), (100, 257, 160), (7, 32, 320), (96, 70, 33)]
# of many blocks: more chunks along k, and a right operand that does not stay near
SIZES += [(200, 140, 170), (170, 100, 700)]


@pytest.fixture
def ways(monkeypatch):
    """Have all products that can be computed on the matrix unit; the ways of those that are."""
    monkeypatch.setenv("RUSHLIGHT_CACHE", "0")
    monkeypatch.setattr(products, "MANY_PRODUCTS", 1)
    monkeypatch.setattr(products.blocks, "cycles", lambda m, n, k: 0.0)
    prepared = returned(monkeypatch, plan, "prepare")
    return lambda: [way for _, ways in prepared for way in ways.values()]


def is_in_blocks(way):
    return way in (products.BLOCKS, products.BLOCKS_TURNED)


def matrix(rows, columns, is_turned, scale=1.0):
    """Numbers of very different sizes, row by row or column by column."""
    found = rl.randn(columns, rows).T if is_turned else rl.randn(rows, columns)
    return found * scale


def twice(function, *given):
    """What a compiled function returns when it runs natively."""
    compiled = rl.compile(function)
    compiled(*given)
    return compiled(*given).numpy()


@needs_unit
@pytest.mark.parametrize(("m", "k", "n"), SIZES)
@pytest.mark.parametrize("turned", [(False, False), (False, True), (True, False), (True, True)])
def test_products_of_all_layouts(m, k, n, turned, ways):
    rl.manual_seed(0)
    a, b = matrix(m, k, turned[0]), matrix(k, n, turned[1])
    found = twice(lambda a, b: a @ b, a, b).astype(np.float64)
    assert all(map(is_in_blocks, ways()))
    left, right = a.numpy().astype(np.float64), b.numpy().astype(np.float64)
    # A rounding of the result, and what the omitted products of pieces come to.
    bound = 2.0**-22 * (np.abs(left) @ np.abs(right))
    assert np.all(np.abs(found - left @ right) <= bound)


@needs_unit
def test_rounding_is_that_of_float32_or_less(ways):
    rl.manual_seed(0)
    a, b = rl.randn(64, 784), rl.randn(784, 96)
    exact = a.numpy().astype(np.float64) @ b.numpy().astype(np.float64)
    found = twice(lambda a, b: a @ b, a, b)
    one_by_one = np.zeros((64, 96), np.float32)
    for k in range(784):
        one_by_one += np.outer(a.numpy()[:, k], b.numpy()[k])

    def error(product):
        return np.sqrt(np.mean((product - exact) ** 2))

    assert error(found) < 0.5 * error(one_by_one)


@needs_unit
def test_small_integers_are_exact(ways):
    """All of their products and sums fit into a float32."""
    a, b = rl.randint(-900, 900, (70, 90)).float(), rl.randint(-900, 900, (90, 80)).float()
    np.testing.assert_array_equal(twice(lambda a, b: a @ b, a, b), a.numpy() @ b.numpy())


@needs_unit
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("rows", [64, 300])
@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan"), 3.4e38, -3.4e38])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of the very numbers that are tested
def test_numbers_that_have_no_pieces(value, rows, turned, ways):
    rl.manual_seed(0)
    for row, k, column in ((0, 0, 0), (63, 40, 130), (33, 69, 170)):
        for where in "ab":
            a, b = matrix(rows, 70, turned, 0.1), matrix(70, 200, turned, 0.1)
            b[k, column] = 0.0 if where == "a" else value
            if where == "a":
                a[row, k] = value
            found, expected = twice(lambda a, b: a @ b, a, b), a.numpy() @ b.numpy()
            np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@needs_unit
@pytest.mark.parametrize(
    ("left", "right"), [(1e30, 1e20), (3e25, 7e24), (1e38, -1e38), (2e19, 1e19), (1e19, 1e18)]
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of the overflow that is tested
def test_products_that_overflow(left, right, ways):
    """The products of their pieces would be infinities of both signs."""
    rl.manual_seed(0)
    for factor in (1.0, 1.2345678, -1.00390625):
        a, b = rl.zeros(64, 70), rl.full((70, 200), right)
        a[0, 0] = a[40, 33] = left * factor
        found, expected = twice(lambda a, b: a @ b, a, b), a.numpy() @ b.numpy()
        np.testing.assert_allclose(found, expected, rtol=3e-7)


@needs_unit
def test_both_infinite_and_plain_numbers_in_a_strip(ways):
    """Of two blocks that a strip of weights meets, the second alone has an infinity: all of the strip is
    split all the same.
    """
    rl.manual_seed(0)
    for row in (3, 40):
        x, weight = rl.randn(64, 300), rl.randn(200, 300)
        x[row, 70] = float("inf")
        found, expected = twice(F.linear, x, weight), x.numpy() @ weight.numpy().T
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@needs_unit
@pytest.mark.parametrize("scale", [1e-30, 1e-38, 1e-44, 1e30])
def test_very_small_and_very_large_numbers(scale, ways):
    """Below 1e-38 they count as zero."""
    rl.manual_seed(0)
    a, b = rl.randn(64, 70) * scale, rl.randn(70, 200)
    found, exact = twice(lambda a, b: a @ b, a, b), a.numpy().astype(np.float64) @ b.numpy()
    assert np.all(np.abs(found - exact) <= 1e-5 * np.abs(exact).max() + 70 * 2e-38)


@needs_unit
def test_what_follows_a_product_joins_it(ways):
    rl.manual_seed(0)
    x, weight, bias = rl.randn(64, 100), rl.randn(130, 100), rl.randn(130)
    expected = np.tanh(x.numpy() @ weight.numpy().T + bias.numpy())
    found = twice(lambda *given: F.linear(*given).tanh(), x, weight, bias)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert any(map(is_in_blocks, ways()))


@needs_unit
def test_other_types_and_batches_are_computed_otherwise(ways):
    a, b = rl.randn(64, 64, dtype=rl.float64), rl.randn(64, 64, dtype=rl.float64)
    np.testing.assert_allclose(twice(lambda a, b: a @ b, a, b), a.numpy() @ b.numpy())
    a, b = rl.randn(3, 64, 64), rl.randn(3, 64, 64)
    np.testing.assert_allclose(twice(rl.bmm, a, b), a.numpy() @ b.numpy(), atol=1e-4)
    assert not any(map(is_in_blocks, ways()))


@needs_unit
def test_a_product_with_itself(ways):
    """Both operands are one buffer."""
    a = rl.randn(150, 150)
    np.testing.assert_allclose(twice(lambda a: a @ a, a), a.numpy() @ a.numpy(), atol=1e-4)
    np.testing.assert_allclose(twice(lambda a: a @ a.T, a), a.numpy() @ a.numpy().T, atol=1e-4)
    assert all(map(is_in_blocks, ways()))


@needs_unit
def test_threads_do_not_meet_in_the_unit(ways):
    """Tiles belong to a thread: what one leaves does not reach another."""
    import threading

    a, b = rl.randn(64, 200), rl.randn(200, 300)
    compiled = rl.compile(lambda a, b: a @ b)
    compiled(a, b)
    expected, found = compiled(a, b).numpy(), []

    def work():
        for _ in range(20):
            found.append(compiled(a, b).numpy())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == 80
    for each in found:
        np.testing.assert_array_equal(each, expected)


def test_the_unit_can_be_left_out():
    """The switch is asked for before anything is compiled, and belongs to the name of what is cached."""
    code = "from rushlight.compile import llvm; print(llvm.has_matrix_unit(), llvm.target()[-1])"

    def printed(**switch):
        given = {name: value for name, value in os.environ.items() if name != "RUSHLIGHT_MATRIX_UNIT"}
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, env={**given, **switch}, capture_output=True, text=True, check=True
        ).stdout

    assert printed(RUSHLIGHT_MATRIX_UNIT="0") == "False False\n"
    assert printed() in ("True True\n", "False False\n")


@needs_unit
def test_a_step_in_c_gives_the_same_numbers(ways, tmp_path):
    """C has plain loops, and copies where native code has pieces."""
    from rushlight.compile.c_text import c_text, programs_of
    from tests.c_code import check

    rl.manual_seed(0)
    x, weight = rl.randn(64, 100), rl.randn(130, 100)
    compiled = rl.compile(lambda x, weight: (F.linear(x, weight).relu() @ weight, x @ weight.T))
    compiled(x, weight)
    made = compiled.latest()
    assert any(map(is_in_blocks, ways()))
    check(c_text(programs_of(made), "step"), made.executor, [x._array, weight._array], tmp_path)
