"""Special functions and activations against the standard library, and far out where formulas break."""

import math

import numpy as np
import pytest

import rushlight as torch
from rushlight.nn import functional as F

INF, NAN = float("inf"), float("nan")


def ulps(values, expected, kind):
    """The largest error in units of the last place of the expected value."""
    expected = np.array(expected)
    error = np.abs(values.astype(np.float64) - expected)
    return float((error / np.spacing(np.abs(expected).astype(kind)).astype(np.float64)).max())


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("name", "reference", "low", "high", "most"),
    [
        ("erf", math.erf, -6, 6, 4),
        ("erf", math.erf, -1e-3, 1e-3, 4),
        ("erfc", math.erfc, -3, 9, 6),
        ("expm1", math.expm1, -1, 1, 4),
        ("log10", math.log10, 1.1, 1e4, 2),
        ("tanh", math.tanh, -5, 5, 3),
        ("asinh", math.asinh, -5, 5, 3),
    ],
)
def test_values_agree_with_the_standard_library(name, reference, low, high, most, kind):
    x = np.random.default_rng(0).uniform(low, high, 500).astype(kind)
    values = getattr(torch, name)(torch.from_numpy(x)).numpy()
    assert values.dtype == kind
    assert ulps(values, [reference(float(each)) for each in x], kind) < most


@pytest.mark.parametrize(("low", "high"), [(2.9, 30), (0.01, 0.9), (0.9, 2.1), (-5, 0), (30, 1e4)])
def test_lgamma_agrees_with_the_standard_library(low, high):
    # whose values have an error of their own, of about the size tolerated here
    x = torch.from_numpy(np.random.default_rng(0).uniform(low, high, 500))
    expected = torch.tensor([math.lgamma(each) for each in x.tolist()], dtype=torch.float64)
    assert torch.allclose(torch.lgamma(x), expected, rtol=1e-13, atol=1e-14)
    single = torch.lgamma(x.float())
    expected = torch.tensor([math.lgamma(each) for each in x.float().tolist()], dtype=torch.float64)
    assert torch.allclose(single.double(), expected, rtol=6e-7, atol=6e-7)


def test_inverse_functions_invert():
    x = torch.linspace(-0.999, 0.999, 101, dtype=torch.float64)
    assert torch.allclose(torch.erf(torch.erfinv(x)), x, rtol=0, atol=1e-15)
    p = torch.linspace(1e-12, 1 - 1e-12, 101, dtype=torch.float64)
    assert torch.allclose(torch.special.ndtr(torch.special.ndtri(p)), p, rtol=1e-12, atol=0)
    assert torch.allclose(torch.sigmoid(torch.logit(p)), p, rtol=1e-12, atol=0)


def test_gamma_functions_satisfy_their_recurrences():
    x = torch.linspace(-4.7, 9.3, 57, dtype=torch.float64)
    assert torch.allclose(torch.lgamma(x + 1), torch.lgamma(x) + x.abs().log(), rtol=1e-12, atol=1e-12)
    assert torch.allclose(torch.digamma(x + 1), torch.digamma(x) + 1 / x, rtol=1e-11, atol=1e-11)
    x = torch.linspace(0.1, 9.3, 57, dtype=torch.float64)
    for n in (1, 2, 3):
        step = (-1) ** n * math.factorial(n) * x ** (-n - 1)
        assert torch.allclose(torch.polygamma(n, x + 1), torch.polygamma(n, x) + step, rtol=1e-12)


def test_bessel_functions_satisfy_their_series():
    x = torch.linspace(-20, 20, 81, dtype=torch.float64)
    terms = range(80)
    order_0 = sum((x / 2) ** (2 * n) / math.factorial(n) ** 2 for n in terms)
    order_1 = sum((x / 2) ** (2 * n + 1) / (math.factorial(n) * math.factorial(n + 1)) for n in terms)
    assert torch.allclose(torch.i0(x), order_0, rtol=1e-14)
    assert torch.allclose(torch.special.i1(x), order_1, rtol=1e-14)
    assert torch.allclose(torch.special.i0e(x), order_0 * (-x.abs()).exp(), rtol=1e-14)


@pytest.mark.parametrize(
    ("function", "values"),
    [
        (torch.sigmoid, [0.0, 1.0, 0.0, 1.0]),
        (torch.tanh, [-1.0, 1.0, -1.0, 1.0]),
        (F.softplus, [0.0, 1000.0, 0.0, INF]),
        (F.logsigmoid, [-1000.0, 0.0, -INF, 0.0]),
        (F.elu, [-1.0, 1000.0, -1.0, INF]),
        (F.silu, [0.0, 1000.0, NAN, INF]),
        (F.gelu, [0.0, 1000.0, NAN, INF]),
        (torch.erf, [-1.0, 1.0, -1.0, 1.0]),
        (torch.erfc, [2.0, 0.0, 2.0, 0.0]),
        (torch.special.i0e, [0.01261724, 0.01261724, 0.0, 0.0]),
        (torch.relu, [0.0, 1000.0, 0.0, INF]),
    ],
)
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_far_out_there_is_neither_a_wrong_value_nor_a_warning(function, values, kind):
    x = torch.tensor([-1000.0, 1000.0, -INF, INF], dtype=getattr(torch, kind))
    assert np.allclose(function(x).numpy(), values, rtol=1e-6, atol=0, equal_nan=True)
    assert math.isnan(function(torch.tensor(NAN, dtype=x.dtype)).item())


@pytest.mark.parametrize(
    "function", [F.softplus, F.logsigmoid, torch.sigmoid, torch.tanh, F.elu, F.celu, F.selu]
)
def test_gradients_far_out_are_finite(function):
    x = torch.tensor([-1000.0, -100.0, 100.0, 1000.0], requires_grad=True)
    (grad,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(grad.sum(), x)
    assert torch.isfinite(grad).all()
    assert torch.isfinite(second).all()
