"""Special functions: error functions, gamma functions, Bessel functions, and those of ``torch.special``
built on them.

The values come from the formulas in `special_math`; here they become ops with gradients. `polygamma`
and `zeta`, whose number of terms depends on the data, have NumPy forwards of their own. Invariant:
whole numbers are computed in the default floating type.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight.ops import special_math
from rushlight.ops.arguments import require_tensor
from rushlight.ops.define import INPLACE, INT_TO_FLOAT, apply
from rushlight.ops.elementwise import no_derivative
from rushlight.ops.functions import exp
from rushlight.ops.kinds import elementwise, elementwise_op, primitive, public, renamed
from rushlight.ops.numeric import numpy_namespace
from rushlight.ops.samples import Sample, T, unary
from rushlight.tensor import Tensor

INF, NAN = float("inf"), float("nan")
ROOT_PI = math.sqrt(math.pi)


def special_function(
    name: str,
    formula: Callable[..., Any],
    rule: Callable[..., Any],
    doc: str,
    example: tuple[str, str],
    own: bool = False,
    half: bool = True,
    node_name: str | None = None,
    values: tuple[float, ...] = (0.0, INF, -INF, NAN),
    tolerance: dict[str, float] | None = None,
    **limits: Any,
) -> Callable[..., Any]:
    """A special function of one tensor: an `own` one of ``torch.special``; without `half` in PyTorch.

    `tolerance` is given where PyTorch's own value, or that of a derivative, is less accurate than its type.
    """

    def samples() -> list[Sample]:
        found = [*unary(**limits), Sample([T(values=list(values))], grads=False)]
        found.append(Sample([T((40,), "float64", **limits)]))
        if not half:
            found = [each for each in found if each.args[0].dtype != "float16"]
        for each in found:
            each.tolerance = (tolerance or {}).get(each.args[0].dtype)
        return found

    argument, shown = example
    return elementwise(
        f"special_{name}" if own else name,
        formula,
        dict(input=rule),
        promote=INT_TO_FLOAT,
        node_name=node_name,
        samples=samples,
        inplace=not own,
        method=not own,
        torch_name=f"special.{name}" if own else None,
        doc=doc,
        example=(f"torch.{'special.' if own else ''}{name}(torch.tensor({argument}))", f"tensor({shown})"),
    )


# -- error functions -------------------------------------------------------------------------------------

erf = special_function(
    "erf",
    lambda k, input: special_math.erf(k, input),
    lambda g, input: g * (exp(-(input * input)) * (2 / ROOT_PI)),
    "The error function.",
    ("[0.0, 0.5, 1.0]", "[0.0000, 0.5205, 0.8427]"),
    low=-4.0,
    high=4.0,
)
erfc = special_function(
    "erfc",
    lambda k, input: special_math.erfc(k, input),
    lambda g, input: g * (exp(-(input * input)) * (-2 / ROOT_PI)),
    "``1 - erf(input)``, accurate where that is small.",
    ("[0.0, 0.5, 5.0]", "[1.0000e+00, 4.7950e-01, 1.5375e-12]"),
    low=-4.0,
    high=8.0,
)
erfinv = special_function(
    "erfinv",
    lambda k, input: special_math.erfinv(k, input),
    lambda g, out: g * (exp(out * out) * (ROOT_PI / 2)),
    "The inverse of the error function.",
    ("[0.0, 0.5, -1.0]", "[0.0000, 0.4769,   -inf]"),
    values=(0.0, 1.0, -1.0, 2.0, NAN),
    low=-0.95,
    high=0.95,
)
erfcx = special_function(
    "erfcx",
    lambda k, input: special_math.erfcx(k, input),
    lambda g, input, out: g * (input * out * 2 - 2 / ROOT_PI),
    "``exp(input**2) * erfc(input)``, the scaled complementary error function.",
    ("[0.0, 10.0]", "[1.0000, 0.0561]"),
    own=True,
    half=False,
    values=(0.0, INF, NAN, 50.0),
    low=-3.0,
    high=8.0,
)
ndtr = special_function(
    "ndtr",
    lambda k, input: special_math.ndtr(k, input),
    lambda g, input: g * (exp(input * input * -0.5) * (1 / math.sqrt(2 * math.pi))),
    "The normal distribution function.",
    ("[-1.0, 0.0, 1.0]", "[0.1587, 0.5000, 0.8413]"),
    own=True,
)
log_ndtr = special_function(
    "log_ndtr",
    lambda k, input: special_math.log_ndtr(k, input),
    lambda g, input: g / erfcx(input * -math.sqrt(0.5)) * math.sqrt(2 / math.pi),
    "The logarithm of the normal distribution function.",
    ("[-20.0, 0.0]", "[-203.9172,   -0.6931]"),
    own=True,
    half=False,
    low=-5.0,
    high=3.0,
)
ndtri = special_function(
    "ndtri",
    lambda k, input: special_math.ndtri(k, input),
    lambda g, out: g * (exp(out * out * 0.5) * math.sqrt(2 * math.pi)),
    "The normal quantile, the inverse of `ndtr`.",
    ("[0.025, 0.5]", "[-1.9600,  0.0000]"),
    own=True,
    half=False,
    values=(0.0, 1.0, 0.5, NAN),
    tolerance={"float32": 4e-6},
    low=0.05,
    high=0.95,
)


# -- gamma functions -------------------------------------------------------------------------------------

lgamma = special_function(
    "lgamma",
    lambda k, input: special_math.lgamma(k, input),
    lambda g, input: g * digamma(input),
    "The logarithm of the magnitude of the gamma function.",
    ("[0.5, 1.0, 10.0]", "[ 0.5724,  0.0000, 12.8018]"),
    values=(0.0, -1.0, 1.0, 2.0, 2.9, INF, -INF, NAN, -1.5),
    tolerance={"float64": 1e-9},
    low=0.1,
    high=9.0,
)
digamma = special_function(
    "digamma",
    lambda k, input: special_math.digamma(k, input),
    lambda g, input: g * polygamma(1, input),
    "The derivative of `lgamma`.",
    ("[1.0, 10.0]", "[-0.5772,  2.2518]"),
    values=(0.0, -0.0, -1.0, 2.0, -1.3, INF, NAN),
    tolerance={"float64": 1e-9},
    low=0.1,
    high=9.0,
)


def _hurwitz(s: Any, q: Any) -> np.ndarray:
    """The sum of ``(q + n) ** -s`` over n from 0: some terms, then Euler and Maclaurin's formula."""
    s, q = np.broadcast_arrays(np.asarray(s, np.float64), np.asarray(q, np.float64))
    lowest = float(np.min(q, initial=0.0, where=np.isfinite(q)))
    count = 10 + math.ceil(-lowest)
    total = np.zeros(q.shape)
    for n in range(count):
        total = total + np.power(q + n, -s)
    a = q + count
    total = total + np.power(a, 1 - s) / (s - 1) + np.power(a, -s) / 2
    factor = s * np.power(a, -s - 1)
    for n, bernoulli in enumerate(_BERNOULLI):
        total = total + bernoulli * factor
        factor = factor * (s + 2 * n + 1) * (s + 2 * n + 2) / (a * a)
    total = np.where(np.isposinf(q), 0.0, total)
    pole = np.where(q == np.floor(q), INF, np.where(s == np.floor(s), total, NAN))
    total = np.where(q <= 0, pole, total)
    return np.where(s == 1, INF, np.where(s < 1, NAN, total))


# Bernoulli numbers B(2n) over (2n)!
_BERNOULLI = [
    number / math.factorial(2 * n)
    for n, number in enumerate(
        [1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798], start=1
    )
]


def _polygamma(input: np.ndarray, *, n: int) -> np.ndarray:
    if n == 0:
        return special_math.digamma(numpy_namespace, input)
    sign = 1.0 if n % 2 else -1.0
    return (_hurwitz(n + 1.0, input) * (sign * math.factorial(n))).astype(input.dtype)


POLYGAMMA = primitive(
    "polygamma",
    "opaque",
    _polygamma,
    dict(input=lambda g, input, n: g * polygamma(n + 1, input)),
    promote=INT_TO_FLOAT,
    inplace_name="PolygammaBackward1",
)


@public(
    POLYGAMMA,
    method=False,
    samples=lambda: [
        *[Sample([n, T((3, 4), low=0.3, high=6.0)]) for n in range(4)],
        *[Sample([1, T(shape, low=0.3)]) for shape in ((), (0, 2))],
        Sample([2, T((4,), "float64", low=0.3, high=12.0)]),
        Sample([1, T((3,), "int64", low=1)]),
        Sample([2, T(values=[NAN, 0.0, 30.0])], grads=False),
        Sample([-1, T((2,))], raises=True),
    ],
)
def polygamma(n: int, input: Tensor, *, out: Any = None) -> Any:
    """The n-th derivative of `digamma`.

    >>> import rushlight as torch
    >>> torch.polygamma(1, torch.tensor([1.0]))
    tensor([1.6449])
    """
    require_tensor("polygamma", "input", 2, input)
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    return apply(POLYGAMMA, (input,), {"n": n}, out=out)


def polygamma_method(self: Tensor, n: int) -> Tensor:
    """The n-th derivative of `digamma`.

    >>> import rushlight as torch
    >>> torch.tensor([1.0]).polygamma(1)
    tensor([1.6449])
    """
    return polygamma(n, self)


def polygamma_inplace(self: Tensor, n: int) -> Tensor:
    """`polygamma`, storing the result in the tensor itself.

    >>> import rushlight as torch
    >>> torch.tensor([1.0]).polygamma_(1)
    tensor([1.6449])
    """
    return polygamma(n, self, out=INPLACE)


METHODS = {"polygamma": polygamma_method, "polygamma_": polygamma_inplace}

MVLGAMMA = elementwise_op(
    "mvlgamma",
    lambda k, input, *, p: _sum_of_lgammas(k, input, p),
    dict(input=lambda g, input, p: g * sum(digamma(input - 0.5 * j) for j in range(p))),
    promote=INT_TO_FLOAT,
)


def _sum_of_lgammas(k: Any, input: Any, p: int) -> Any:
    total = special_math.lgamma(k, input) + p * (p - 1) / 4 * math.log(math.pi)
    for j in range(1, p):
        total = total + special_math.lgamma(k, input - 0.5 * j)
    return total


@public(
    MVLGAMMA,
    inplace=True,
    samples=lambda: [
        *[Sample([T((3, 4), low=1.5, high=6.0), p]) for p in (1, 2, 3)],
        *[Sample([T(shape, low=1.0), 2]) for shape in ((), (0, 2))],
        Sample([T((3,), "float64", low=1.5), 2], tolerance=1e-9, why="PyTorch's trigamma"),
        Sample([T((3,), "int64", low=3), 2]),
        Sample([T((2,)), 0], raises=True),
    ],
)
def mvlgamma(input: Tensor, p: int, *, out: Any = None) -> Any:
    """The logarithm of the multivariate gamma function of dimension `p`.

    >>> import rushlight as torch
    >>> torch.mvlgamma(torch.tensor([3.0]), 2)
    tensor([1.5502])
    """
    require_tensor("mvlgamma", "input", 1, input)
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    return apply(MVLGAMMA, (input,), {"p": p}, out=out)


ZETA = primitive(
    "special_zeta",
    "opaque",
    lambda input, other: _hurwitz(input, other).astype(np.result_type(input, other)),
    dict(
        input=no_derivative("special_zeta"), other=lambda g, input, other: g * -input * zeta(input + 1, other)
    ),
    promote=INT_TO_FLOAT,
)
ZETA_OF_NUMBER = renamed(ZETA, "SpecialZetaBackward1", ("input",))
ZETA_NUMBER = renamed(ZETA, "SpecialZetaBackward2")


@public(
    ZETA,
    name="special_zeta",
    method=False,
    torch_name="special.zeta",
    samples=lambda: [
        Sample([T((3, 4), low=1.2, high=4.0, grad=False), T((4,), low=0.5, high=9.0)]),
        Sample([2.0, T((3,), low=0.5)]),
        Sample([T((3,), low=1.5, high=4.0, grad=False), 2.0]),
        Sample([T((), grad=False, low=1.5), T((), low=0.5)]),
        Sample(
            [
                T(values=[1.0, 0.5, 2.0, 2.0, 2.5], grad=False),
                T(values=[1.0, 1.0, 0.0, -1.5, -1.5], grad=False),
            ]
        ),
    ],
)
def zeta(input: Any, other: Any, *, out: Any = None) -> Any:
    """The Hurwitz zeta function: the sum of ``(other + n) ** -input`` over all n from 0.

    >>> import rushlight as torch
    >>> torch.special.zeta(torch.tensor([2.0]), torch.tensor([1.0]))
    tensor([1.6449])
    """
    op = ZETA if isinstance(input, Tensor) and isinstance(other, Tensor) else ZETA_NUMBER
    return apply(op if isinstance(input, Tensor) else ZETA_OF_NUMBER, (input, other), out=out)
