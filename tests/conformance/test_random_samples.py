"""Samples of distributions that lie in tensors, and dropout, against PyTorch from the same seed."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the conformance extra")

from tests.conformance.streams import FLOATS, check_error, check_same, layouts, run_both


def weights(library, shape, dtype="float32", seed=0):
    """Positive weights, the same numbers for both libraries."""
    drawn = np.random.default_rng(seed).uniform(0.05, 1, shape)
    return library.from_numpy(drawn.astype(dtype))


# -- bernoulli -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
def test_bernoulli_of_any_layout(dtype):
    for label in layouts(torch, dtype):

        def call(library, label=label):
            shape = layouts(torch, dtype)[label].shape
            p = weights(library, shape, dtype)
            return library.bernoulli(p.t() if p.ndim == 2 else p)

        check_same(*run_both(call), where=label)


BERNOULLI = {
    "number": lambda lib: lib.bernoulli(lib.zeros(40), 0.3),
    "number_on_ints": lambda lib: lib.bernoulli(lib.zeros(40, dtype=lib.int64), p=0.3),
    "method": lambda lib: lib.full((40,), 0.3).bernoulli(),
    "method_with_number": lambda lib: lib.zeros(40).bernoulli(0.7),
    "generator": lambda lib: lib.bernoulli(lib.full((40,), 0.3), generator=lib.Generator().manual_seed(5)),
    "out": lambda lib: lib.bernoulli(lib.full((40,), 0.3), out=lib.empty(40, dtype=lib.int32)),
    "out_transposed": lambda lib: lib.bernoulli(weights(lib, (5, 8)), out=lib.empty(8, 5).t()),
    "empty": lambda lib: lib.bernoulli(lib.zeros(0, 3)),
}


@pytest.mark.parametrize("name", BERNOULLI)
def test_bernoulli(name):
    check_same(*run_both(BERNOULLI[name]))


# -- attention with dropout ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4, 5)])
def test_attention_with_dropout(shape):
    def call(library):
        query, key, value = (weights(library, shape, seed=seed) for seed in range(3))
        return library.nn.functional.scaled_dot_product_attention(query, key, value, dropout_p=0.4)

    ours, theirs = run_both(call)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5)


# -- normal --------------------------------------------------------------------------------------------------


NORMALS = {
    "tensors": lambda lib: lib.normal(weights(lib, 40), weights(lib, 40, seed=1)),
    "broadcast": lambda lib: lib.normal(weights(lib, (6, 1)), weights(lib, 7, seed=1)),
    "number_std": lambda lib: lib.normal(weights(lib, 40), 2.5),
    "default_std": lambda lib: lib.normal(weights(lib, 40)),
    "number_mean": lambda lib: lib.normal(-0.5, weights(lib, 40)),
    "named": lambda lib: lib.normal(mean=0, std=weights(lib, 9)),
    "numbers": lambda lib: lib.normal(1, 2, (3, 7)),
    "numbers_size": lambda lib: lib.normal(1.0, 2.0, size=(7,), dtype=lib.float64, requires_grad=True),
    "wide_mean": lambda lib: lib.normal(weights(lib, 40, "float64"), weights(lib, 40, seed=1)),
    "wide_std": lambda lib: lib.normal(weights(lib, 40), weights(lib, 40, "float64", seed=1)),
    "wide_0d_std": lambda lib: lib.normal(weights(lib, 40), weights(lib, (), "float64", seed=1)),
    "int_std": lambda lib: lib.normal(weights(lib, 40), lib.full((40,), 2)),
    "transposed": lambda lib: lib.normal(weights(lib, (5, 8)).t(), weights(lib, (5, 8), seed=1).t()),
    "generator": lambda lib: lib.normal(weights(lib, 5), 1.0, generator=lib.Generator().manual_seed(5)),
    "out": lambda lib: lib.normal(weights(lib, 40), weights(lib, 40), out=lib.empty(40)),
    "out_float64": lambda lib: lib.normal(weights(lib, 40), 2.0, out=lib.empty(40, dtype=lib.float64)),
    "out_numbers": lambda lib: lib.normal(0.0, 1.0, (40,), out=lib.empty(40, dtype=lib.float64)),
    "0d": lambda lib: lib.normal(lib.tensor(0.5), lib.tensor(2.0)),
    "empty": lambda lib: lib.normal(lib.zeros(0), lib.zeros(0)),
}


@pytest.mark.parametrize("name", NORMALS)
def test_normal(name):
    check_same(*run_both(NORMALS[name]), 1e-6)


def test_normal_in_float16():
    ours, theirs = run_both(
        lambda lib: lib.normal(weights(lib, 40, "float16"), weights(lib, 40, "float16", seed=1))
    )
    check_same(ours, theirs, 1e-3)


# -- multinomial ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(1,), (2,), (7,), (1000,), (1, 4), (5, 7), (3, 300)])
def test_multinomial(shape, dtype):
    # Among many float16 values some are equal, and PyTorch's order among equals is that of its sorting.
    counts = {1, 2} if dtype == "float16" else {1, 2, max(1, shape[-1] // 2), shape[-1]}
    for count in sorted(counts):
        for replacement in (False, True):
            if count > shape[-1] and not replacement:
                continue

            def call(library, count=count, replacement=replacement):
                return library.multinomial(weights(library, shape, dtype), count, replacement)

            check_same(*run_both(call), where=f"{count} {replacement}")


def test_multinomial_with_replacement_draws_any_number():
    check_same(*run_both(lambda lib: weights(lib, 6).multinomial(5000, replacement=True)))


def test_multinomial_never_chooses_weights_of_zero():
    def call(library):
        given = library.tensor([0.0, 1.0, 0.0, 3.0, 0.0, 2.0])
        return library.stack([given.multinomial(3) for _ in range(30)])

    check_same(*run_both(call))


@pytest.mark.parametrize("replacement", [False, True])
def test_multinomial_of_transposed_weights(replacement):
    check_same(*run_both(lambda lib: lib.multinomial(weights(lib, (9, 4)).t(), 3, replacement)))


@pytest.mark.parametrize("shape", [(0, 3), (0, 0)])
def test_multinomial_of_no_rows(shape):
    check_same(*run_both(lambda lib: lib.multinomial(lib.ones(shape), 2, replacement=True)))


def test_multinomial_writes_to_out():
    check_same(*run_both(lambda lib: lib.multinomial(weights(lib, 9), 4, out=lib.empty(4, dtype=lib.int64))))


# -- poisson and binomial ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("scale", [0.5, 5, 20, 500])
def test_poisson(scale, dtype):
    check_same(*run_both(lambda lib: lib.poisson(weights(lib, (20, 30), dtype) * scale)))


def test_poisson_of_zero_takes_no_words():
    ours, theirs = run_both(
        lambda lib: lib.cat([lib.poisson(lib.tensor([0.0, 3.0, 0.0, 12.0])), lib.rand(3)])
    )
    check_same(ours, theirs)


def test_poisson_of_transposed_rates_takes_a_generator():
    def call(library):
        return library.poisson(weights(library, (5, 8)).t() * 30, library.Generator().manual_seed(5))

    check_same(*run_both(call))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 10, 100, 10_000])
def test_binomial(count, dtype):
    def call(library):
        chances = weights(library, (20, 30), dtype)
        return library.binomial(library.full((20, 30), count, dtype=chances.dtype), chances)

    check_same(*run_both(call))


def test_binomial_at_the_ends():
    chances = [0.0, 1.0, 0.5, float("nan"), -1.0, 2.0]
    check_same(*run_both(lambda lib: lib.binomial(lib.full((6,), 10.0), lib.tensor(chances))))


# -- dropout -------------------------------------------------------------------------------------------------


DROPOUTS = ["dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout"]


def differentiated(library, name, input, p=0.4):
    """The result of a dropout and the gradient of the sum of its squares, as one tensor."""
    input.requires_grad_()
    dropped = getattr(library, name)(input, p, True)
    (dropped * dropped).sum().backward()
    return library.stack([dropped.detach(), input.grad])


@pytest.mark.parametrize("name", DROPOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_dropout_and_its_gradient(name, dtype):
    ours, theirs = run_both(lambda lib: differentiated(lib, name, weights(lib, (6, 5, 4), dtype)))
    check_same(ours, theirs, 2e-3 if dtype == "float16" else 1e-6)


@pytest.mark.parametrize("name", DROPOUTS)
def test_dropout_of_any_layout(name):
    for label, model in layouts(torch, "float32", True).items():
        if model.ndim < 2:
            continue

        def call(library, label=label):
            return getattr(library, name)(layouts(library, "float32", True, value=1)[label], 0.4, True)

        check_same(*run_both(call), 1e-6, label)


@pytest.mark.parametrize("name", DROPOUTS)
def test_dropout_in_place(name):
    ours, theirs = run_both(lambda lib: getattr(lib, name + "_")(weights(lib, (6, 5, 4)), 0.4, True))
    check_same(ours, theirs, 1e-6)


@pytest.mark.parametrize("name", DROPOUTS)
@pytest.mark.parametrize(("p", "train"), [(0.0, True), (1.0, True), (0.5, False)])
def test_dropout_that_draws_nothing(name, p, train):
    ours, theirs = run_both(
        lambda lib: lib.cat([getattr(lib, name)(lib.ones(3, 4), p, train).view(-1), lib.rand(2)])
    )
    check_same(ours, theirs)


@pytest.mark.parametrize("name", ["dropout", "alpha_dropout", "feature_alpha_dropout"])
def test_functional_dropout_of_a_transposed_input(name):
    def call(library):
        return getattr(library.nn.functional, name)(weights(library, (6, 5)).t(), 0.4, training=True)

    check_same(*run_both(call), 1e-6)


# -- gradients and errors ------------------------------------------------------------------------------------


SAMPLES = {
    "bernoulli": lambda lib, x: lib.bernoulli(x),
    "bernoulli_": lambda lib, x: lib.zeros(3).bernoulli_(x),
    "poisson": lambda lib, x: lib.poisson(x),
    "normal_mean": lambda lib, x: lib.normal(x, 1.0),
    "normal_std": lambda lib, x: lib.normal(0.0, x),
    "normal_both": lambda lib, x: lib.normal(lib.zeros(3), x),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_gradient_of_a_sample_is_zero(name):
    def call(library):
        leaf = library.full((3,), 0.5, requires_grad=True)
        SAMPLES[name](library, leaf).sum().backward()
        return leaf.grad

    check_same(*run_both(call))


ERRORS = [
    "lib.bernoulli(lib.tensor([1, 0]))",
    "lib.bernoulli(3)",
    "lib.normal(lib.ones(3), -1.0)",
    "lib.normal(lib.ones(3), -lib.ones(3))",
    "lib.normal(0.0, 1.0)",
    "lib.normal(0.0, 1.0, 2)",
    "lib.normal(0.0, -1.0, (2,))",
    "lib.normal(lib.ones(2), lib.ones(3))",
    "lib.normal(lib.ones(3, dtype=lib.int64), 1.0)",
    "lib.normal(lib.ones(3), lib.tensor([1.0, math.nan, 1.0]))",
    "lib.multinomial(lib.ones(3), 4)",
    "lib.multinomial(lib.ones(3), 0)",
    "lib.multinomial(lib.ones(3), 2.0)",
    "lib.multinomial(lib.ones(2, 3, 4), 2)",
    "lib.multinomial(lib.tensor(1.0), 1)",
    "lib.multinomial(lib.ones(3, dtype=lib.int32), 2)",
    "lib.multinomial(lib.tensor([1.0, -1.0, 1.0]), 2)",
    "lib.multinomial(lib.tensor([1.0, -1.0, 1.0]), 2, True)",
    "lib.multinomial(lib.tensor([1.0, math.inf, 1.0]), 2)",
    "lib.multinomial(lib.tensor([1.0, math.inf, 1.0]), 2, True)",
    "lib.multinomial(lib.tensor([1.0, math.nan, 1.0]), 2)",
    "lib.multinomial(lib.tensor([1.0, math.nan, 1.0]), 2, True)",
    "lib.multinomial(lib.zeros(3), 2)",
    "lib.multinomial(lib.tensor([[1.0, 1.0], [0.0, 0.0]]), 2, True)",
    "lib.multinomial(lib.ones(0), 1)",
    "lib.multinomial(lib.ones(2, 0), 1, True)",
    "lib.multinomial(lib.ones(2, 0), 2, True)",
    "lib.multinomial(lib.tensor([1.0, -1.0, 1.0]), 1, True)",
    "lib.multinomial(lib.ones(3), 2, out=lib.empty(2))",
    "lib.poisson(lib.tensor([-1.0]))",
    "lib.poisson(lib.tensor([math.nan]))",
    "lib.poisson(lib.ones(2, dtype=lib.int64))",
    "lib.binomial(lib.ones(3), lib.ones(3, dtype=lib.float64))",
    "lib.binomial(lib.ones(3), lib.ones(2))",
    "lib.binomial(lib.ones(3, dtype=lib.int64), lib.ones(3))",
    "lib.binomial(lib.ones(3), lib.ones(3, dtype=lib.int64))",
    "lib.binomial(lib.ones(3, dtype=lib.float16), lib.ones(3, dtype=lib.float16))",
    "lib.dropout(lib.ones(3), 1.5, True)",
    "lib.dropout(lib.ones(3), math.nan, True)",
    "lib.dropout(3, 0.5, True)",
    "lib.dropout(lib.ones(3, dtype=lib.int64), 0.5, True)",
    "lib.feature_dropout(lib.ones(3), 0.5, True)",
    "lib.dropout_(lib.ones(3, requires_grad=True), 0.5, True)",
]


@pytest.mark.parametrize("source", ERRORS)
def test_errors(source):
    check_error(source)
