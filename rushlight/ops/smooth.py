"""Smooth activations: the exponential units, the gated units, and the soft versions of the piecewise ones.

The same rules hold as in `activations`: PyTorch's ``nn.functional`` signatures, one op where PyTorch
has one kernel. Invariant: no formula overflows into a wrong value: where an exponential may, the result
does not depend on it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rushlight import draws
from rushlight.ops import special_math
from rushlight.ops.activations import INT, activation_samples, in_functional
from rushlight.ops.arguments import require_tensor
from rushlight.ops.define import INPLACE, apply
from rushlight.ops.elementwise import abs as absolute
from rushlight.ops.functions import exp, sigmoid, tanh
from rushlight.ops.kinds import elementwise_op, only, primitive, public, renamed
from rushlight.ops.samples import Sample, T
from rushlight.ops.select import where
from rushlight.random import Generator, default_generator
from rushlight.tensor import Tensor, normal_dim

# -- exponential linear units ----------------------------------------------------------------------------

# scale * x above zero, scale * alpha * (exp(rate * x) - 1) below
ELU = elementwise_op(
    "elu",
    lambda k, input, *, alpha, scale, rate: k.where(
        input <= 0, k.expm1(input * rate) * (alpha * scale), input * scale
    ),
    dict(
        input=lambda g, input, alpha, scale, rate: where(
            # no exponential of positive numbers, which may overflow: second derivatives would be NaN
            input <= 0,
            g * (exp(where(input < 0, input, 0.0) * rate) * (alpha * scale * rate)),
            g * scale,
        )
    ),
    inplace_name="EluBackward1",
    check=only("f", "elu_cpu"),
)
CELU = renamed(ELU, "CeluBackward0", inplace_name="CeluBackward1")


@in_functional(lambda: [*activation_samples({"alpha": 0.5}, {"alpha": 2.0}), INT], ELU, "elu")
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Any:
    """`input` where positive, ``alpha * (exp(input) - 1)`` elsewhere.

    >>> import rushlight as torch
    >>> torch.nn.functional.elu(torch.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """
    require_tensor("elu", "input", 1, input)
    params = {"alpha": float(alpha), "scale": 1.0, "rate": 1.0}
    return apply(ELU, (input,), params, out=INPLACE if inplace else None)


# Klambauer et al., "Self-Normalizing Neural Networks", 2017.
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


@public(ELU, method=False, samples=lambda: [*activation_samples(), INT])
def selu(input: Tensor, inplace: bool = False) -> Any:
    """`elu` scaled so that activations keep mean 0 and variance 1.

    >>> import rushlight as torch
    >>> torch.selu(torch.tensor([-1.0, 2.0]))
    tensor([-1.1113,  2.1014])
    """
    require_tensor("selu", "input", 1, input)
    params = {"alpha": SELU_ALPHA, "scale": SELU_SCALE, "rate": 1.0}
    return apply(ELU, (input,), params, out=INPLACE if inplace else None)


@public(
    CELU,
    method=False,
    samples=lambda: [
        *activation_samples({"alpha": 0.5}, {"alpha": 2.0}),
        INT,
        Sample([T((2,)), 0.0], raises=True),
    ],
)
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Any:
    """`input` where positive, ``alpha * (exp(input / alpha) - 1)`` elsewhere.

    >>> import rushlight as torch
    >>> torch.celu(torch.tensor([-1.0, 2.0]), 2.0)
    tensor([-0.7869,  2.0000])
    """
    require_tensor("celu", "input", 1, input)
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    params = {"alpha": float(alpha), "scale": 1.0, "rate": 1.0 / alpha}
    return apply(CELU, (input,), params, out=INPLACE if inplace else None)


# -- gates -----------------------------------------------------------------------------------------------

ROOT_HALF = math.sqrt(0.5)
NORMAL_SCALE = 1 / math.sqrt(2 * math.pi)
TANH_SCALE, TANH_CUBE = math.sqrt(2 / math.pi), 0.044715

GELU = elementwise_op(
    "gelu",
    lambda k, input: input * ((special_math.erf(k, input * ROOT_HALF) + 1) * 0.5),
    dict(input=lambda g, input: apply(GELU_BACKWARD, (g, input))),
    check=only("f", "GeluKernelImpl"),
)
GELU_BACKWARD = elementwise_op(
    "gelu_backward",
    lambda k, grad, input: (
        grad
        * (
            (special_math.erf(k, input * ROOT_HALF) + 1) * 0.5
            + input * (k.exp(input * input * -0.5) * NORMAL_SCALE)
        )
    ),
    dict(
        grad=lambda g, input: apply(GELU_BACKWARD, (g, input)),
        input=lambda g, grad, input: (
            g * grad * (exp(input * input * -0.5) * (2 - input * input) * NORMAL_SCALE)
        ),
    ),
)


def _tanh_inner(input: Any) -> Any:
    return input * (input * input * TANH_CUBE + 1) * TANH_SCALE


def _tanh_gelu_slope(k: Any, input: Any) -> Any:
    t = k.tanh(_tanh_inner(input))
    inner_slope = (input * input * (3 * TANH_CUBE) + 1) * TANH_SCALE
    return (t + 1) * 0.5 + input * (1 - t * t) * inner_slope * 0.5


def _tanh_gelu_curvature(input: Tensor) -> Tensor:
    """The second derivative of the tanh form."""
    t = tanh(_tanh_inner(input))
    inner_slope = (input * input * (3 * TANH_CUBE) + 1) * TANH_SCALE
    inner_curvature = input * (6 * TANH_CUBE * TANH_SCALE)
    bend = inner_curvature - t * inner_slope * inner_slope * 2
    return (1 - t * t) * (inner_slope + input * bend * 0.5)


TANH_GELU = elementwise_op(
    "gelu",
    lambda k, input: input * ((k.tanh(_tanh_inner(input)) + 1) * 0.5),
    dict(input=lambda g, input: apply(TANH_GELU_BACKWARD, (g, input))),
    check=only("f", "GeluKernelImpl"),
)
TANH_GELU_BACKWARD = elementwise_op(
    "gelu_backward",
    lambda k, grad, input: grad * _tanh_gelu_slope(k, input),
    dict(
        grad=lambda g, input: apply(TANH_GELU_BACKWARD, (g, input)),
        input=lambda g, grad, input: g * grad * _tanh_gelu_curvature(input),
    ),
)


@in_functional(
    lambda: [
        *activation_samples({"approximate": "tanh"}, special=False),
        Sample([T((40,), "float64", low=-6.0, high=6.0)], {"approximate": "tanh"}),
        Sample([T(values=[0.0, 3.0, -3.0])]),
        Sample([T(values=[-0.0])]),  # by itself: PyTorch's AVX2 vectors lose its sign, single numbers keep it
        INT,
        Sample([T((2,))], {"approximate": "linear"}, raises=True),
    ],
    GELU,
    "gelu",
)
def gelu(input: Tensor, *, approximate: str = "none", out: Any = None) -> Any:
    """`input` times its normal distribution function; `approximate` may be "tanh".

    >>> import rushlight as torch
    >>> torch.nn.functional.gelu(torch.tensor([-1.0, 2.0]))
    tensor([-0.1587,  1.9545])
    """
    require_tensor("gelu", "input", 1, input)
    if approximate not in ("none", "tanh"):
        raise RuntimeError("approximate argument must be either none or tanh.")
    return apply(GELU if approximate == "none" else TANH_GELU, (input,), out=out)


def _silu_slope(x: Any, s: Any) -> Any:
    return s * (x * (1 - s) + 1)


SILU = elementwise_op(
    "silu",
    lambda k, input: input * k.sigmoid(input),
    dict(input=lambda g, input: apply(SILU_BACKWARD, (g, input))),
    check=only("f", "silu_cpu"),
)
SILU_BACKWARD = elementwise_op(
    "silu_backward",
    lambda k, grad, input: grad * _silu_slope(input, k.sigmoid(input)),
    dict(
        grad=lambda g, input: apply(SILU_BACKWARD, (g, input)),
        input=lambda g, grad, input: g * grad * _silu_curvature(input, sigmoid(input)),
    ),
)


def _silu_curvature(x: Tensor, s: Tensor) -> Tensor:
    return s * (1 - s) * (x * (1 - s * 2) + 2)


@in_functional(lambda: [*activation_samples(), INT], SILU, "silu")
def silu(input: Tensor, inplace: bool = False) -> Any:
    """`input` times its `sigmoid`, also called swish.

    >>> import rushlight as torch
    >>> torch.nn.functional.silu(torch.tensor([-1.0, 2.0]))
    tensor([-0.2689,  1.7616])
    """
    require_tensor("silu", "input", 1, input)
    return apply(SILU, (input,), out=INPLACE if inplace else None)


MISH = elementwise_op(
    "mish",
    lambda k, input: input * k.tanh(k.log1p(k.exp(-k.abs(input))) + k.maximum(input, 0.0)),
    dict(input=lambda g, input: g * _mish_slope(input)),
    check=only("f", "mish_cpu"),
)


def _mish_slope(input: Tensor) -> Tensor:
    t = tanh(softplus(input))
    return t + input * sigmoid(input) * (1 - t * t)


@in_functional(lambda: [*activation_samples(), INT], MISH, "mish")
def mish(input: Tensor, inplace: bool = False) -> Any:
    """`input` times the tanh of its `softplus`.

    >>> import rushlight as torch
    >>> torch.nn.functional.mish(torch.tensor([-1.0, 2.0]))
    tensor([-0.3034,  1.9440])
    """
    require_tensor("mish", "input", 1, input)
    return apply(MISH, (input,), out=INPLACE if inplace else None)


GLU = elementwise_op(
    "glu",
    lambda k, value, gate: value * k.sigmoid(gate),
    dict(
        value=lambda g, gate: g * sigmoid(gate),
        gate=lambda g, value, gate: g * value * _sigmoid_slope(sigmoid(gate)),
    ),
    check=only("f", "glu_cpu"),
)


@in_functional(
    lambda: [
        Sample([T((3, 4))]),
        Sample([T((6, 4)), 0]),
        Sample([T((2, 4, 3)), -2]),
        Sample([T((0, 4))]),
        Sample([T((3, 4), "float64")]),
        Sample([T((3, 4), "float16")]),
        Sample([T((4,), "int64")], raises=True),
        Sample([T((3, 3))], raises=True),
        Sample([T(())], raises=True),
    ],
    GLU,
    "glu",
)
def glu(input: Tensor, dim: int = -1) -> Any:
    """The first half of `input` along `dim` times the `sigmoid` of the second.

    >>> import rushlight as torch
    >>> torch.nn.functional.glu(torch.tensor([1.0, 2.0, 0.0, 0.0]))
    tensor([0.5000, 1.0000])
    """
    require_tensor("glu", "input", 1, input)
    if input.dim() == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    dim = normal_dim(dim, input.dim())
    length = input.size(dim)
    if length % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {dim} is size {length}")
    half = length // 2
    return apply(GLU, (input.narrow(dim, 0, half), input.narrow(dim, half, half)))


# -- soft versions ---------------------------------------------------------------------------------------

SOFTPLUS = elementwise_op(
    "softplus",
    lambda k, input, *, beta, threshold: _softplus(
        k, input, input if beta == 1 else input * beta, beta, threshold
    ),
    dict(
        input=lambda g, input, beta, threshold: apply(
            SOFTPLUS_BACKWARD, (g, input), {"beta": beta, "threshold": threshold}
        )
    ),
    check=only("f", "softplus_cpu"),
)
SOFTPLUS_BACKWARD = elementwise_op(
    "softplus_backward",
    lambda k, grad, input, *, beta, threshold: k.where(
        input * beta > threshold, grad, grad * k.sigmoid(input * beta)
    ),
    dict(
        grad=lambda g, input, beta, threshold: apply(
            SOFTPLUS_BACKWARD, (g, input), {"beta": beta, "threshold": threshold}
        ),
        input=lambda g, grad, input, beta, threshold: where(
            input * beta > threshold, 0.0, g * grad * _sigmoid_slope(sigmoid(input * beta)) * beta
        ),
    ),
)


def _softplus(k: Any, input: Any, scaled: Any, beta: float, threshold: float) -> Any:
    value = k.log1p(k.exp(scaled))
    return k.where(scaled > threshold, input, value if beta == 1 else value / beta)


def _sigmoid_slope(s: Tensor) -> Tensor:
    return (1 - s) * s


@in_functional(
    lambda: [
        *activation_samples({"beta": 2.0}, {"beta": 0.5, "threshold": 0.5}),
        Sample([T(values=[19.0, 21.0, 100.0, -100.0])]),
        INT,
    ],
    SOFTPLUS,
    "softplus",
)
def softplus(input: Tensor, beta: float = 1, threshold: float = 20, *, out: Any = None) -> Any:
    """``log(1 + exp(beta * input)) / beta``, and `input` itself where ``beta * input`` is above `threshold`.

    >>> import rushlight as torch
    >>> torch.nn.functional.softplus(torch.tensor([-1.0, 2.0]))
    tensor([0.3133, 2.1269])
    """
    require_tensor("softplus", "input", 1, input)
    return apply(SOFTPLUS, (input,), {"beta": float(beta), "threshold": float(threshold)}, out=out)


LOG_SIGMOID = elementwise_op(
    "log_sigmoid",
    lambda k, input: k.minimum(input, 0.0) - k.log1p(k.exp(-k.abs(input))),
    dict(input=lambda g, input: apply(LOG_SIGMOID_BACKWARD, (g, input))),
    check=only("f", "log_sigmoid_cpu"),
)
LOG_SIGMOID_BACKWARD = elementwise_op(
    "log_sigmoid_backward",
    lambda k, grad, input: grad * k.sigmoid(-input),
    dict(
        grad=lambda g, input: apply(LOG_SIGMOID_BACKWARD, (g, input)),
        input=lambda g, grad, input: -g * grad * _sigmoid_slope(sigmoid(input)),
    ),
)


@in_functional(lambda: [*activation_samples(), INT], LOG_SIGMOID, "logsigmoid")
def logsigmoid(input: Tensor, *, out: Any = None) -> Any:
    """``log(sigmoid(input))`` without overflow.

    >>> import rushlight as torch
    >>> torch.nn.functional.logsigmoid(torch.tensor([-1000.0, 0.0]))
    tensor([-1.0000e+03, -6.9315e-01])
    """
    require_tensor("logsigmoid", "input", 1, input)
    return apply(LOG_SIGMOID, (input,), out=out)


@in_functional(lambda: activation_samples(), None, "softsign")
def softsign(input: Tensor) -> Any:
    """``input / (1 + |input|)``.

    >>> import rushlight as torch
    >>> torch.nn.functional.softsign(torch.tensor([-1.0, 3.0]))
    tensor([-0.5000,  0.7500])
    """
    require_tensor("softsign", "input", 1, input)
    return input / (absolute(input) + 1)


@in_functional(lambda: activation_samples(), None, "tanhshrink")
def tanhshrink(input: Tensor) -> Any:
    """``input - tanh(input)``.

    >>> import rushlight as torch
    >>> torch.nn.functional.tanhshrink(torch.tensor([0.0, 2.0]))
    tensor([0.0000, 1.0360])
    """
    require_tensor("tanhshrink", "input", 1, input)
    return input - tanh(input)


# -- randomised leaky ReLU -------------------------------------------------------------------------------


def _slopes(input: np.ndarray, *, lower: float, upper: float, generator: Generator) -> np.ndarray:
    """1 where the input is positive; elsewhere a slope drawn in the order of the elements."""
    slopes = np.ones(input.shape, np.float64)
    falling = ~(input > 0)
    drawn = draws.unit(generator, int(falling.sum()), slopes.dtype)
    slopes[falling] = drawn * (upper - lower) + lower
    return slopes.astype(input.dtype)


SLOPES = primitive("rrelu_slopes", "random", _slopes)
RRELU = elementwise_op(
    "rrelu_with_noise",
    lambda k, input, slopes: input * slopes,
    dict(input=lambda g, slopes: g * slopes),
    inplace_name="RreluWithNoiseBackward1",
    check=only("f", "leaky_relu_cpu"),
)
RRELU_FIXED = elementwise_op(
    "rrelu_with_noise",
    lambda k, input, *, slope: k.where(input > 0, input, input * slope),
    dict(input=lambda g, input, slope: where(input > 0, g, g * slope)),
    inplace_name="RreluWithNoiseBackward1",
    check=only("f", "leaky_relu_cpu"),
)


@public(
    RRELU,
    method=False,
    samples=lambda: [
        *activation_samples({"lower": 0.2, "upper": 0.5}),
        *activation_samples({"lower": 0.2, "upper": 0.5, "training": True}, special=False),
        Sample([T((3, 4))], {"training": True}),
        INT,
    ],
)
def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
    generator: Generator | None = None,
) -> Any:
    """`input` where positive, elsewhere times a slope: in training a random one, else the mean.

    >>> import rushlight as torch
    >>> torch.rrelu(torch.tensor([-1.0, 2.0]), 0.1, 0.3)
    tensor([-0.2000,  2.0000])
    """
    require_tensor("rrelu", "input", 1, input)
    if lower > upper:
        raise RuntimeError(
            f"Lower bound should be less than or equal to the upper bound: got {lower} and {upper}"
        )
    out = INPLACE if inplace else None
    if not training:
        return apply(RRELU_FIXED, (input,), {"slope": (lower + upper) / 2}, out=out)
    params = {"lower": lower, "upper": upper, "generator": generator or default_generator}
    return apply(RRELU, (input, apply(SLOPES, (input,), params)), out=out)
