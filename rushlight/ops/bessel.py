"""Modified Bessel functions, logits and entropies: the rest of ``torch.special``.

Invariant: as in `special`, whose helper these share, each op is one formula of `special_math` or of `k`
and one rule.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.ops import special_math
from rushlight.ops.arguments import require_tensor
from rushlight.ops.define import INT_TO_FLOAT, apply
from rushlight.ops.elementwise import sgn
from rushlight.ops.functions import log
from rushlight.ops.kinds import elementwise_op, public, renamed
from rushlight.ops.pairs import XLOGY_NUMBER, times_log
from rushlight.ops.samples import Sample, T, binary, unary
from rushlight.ops.select import where
from rushlight.ops.special import special_function
from rushlight.tensor import Tensor

INF, NAN = float("inf"), float("nan")

i0 = special_function(
    "i0",
    lambda k, input: special_math.i0(k, input),
    lambda g, input: g * i1(input),
    "The modified Bessel function of order 0.",
    ("[0.0, 1.0]", "[1.0000, 1.2661]"),
    low=-12.0,
    high=12.0,
)
i0e = special_function(
    "i0e",
    lambda k, input: special_math.i0(k, input, scaled=True),
    lambda g, input, out: g * (i1e(input) - sgn(input) * out),
    "``exp(-|input|) * i0(input)``.",
    ("[0.0, 1.0]", "[1.0000, 0.4658]"),
    own=True,
    node_name="SpecialI0EBackward0",
    low=-12.0,
    high=12.0,
)
i1 = special_function(
    "i1",
    lambda k, input: special_math.i1(k, input),
    lambda g, input, out: g * where(input == 0, 0.5, i0(input) - out / input),
    "The modified Bessel function of order 1.",
    ("[0.0, 1.0]", "[0.0000, 0.5652]"),
    own=True,
    low=-12.0,
    high=12.0,
)
i1e = special_function(
    "i1e",
    lambda k, input: special_math.i1(k, input, scaled=True),
    lambda g, input, out: g * where(input == 0, 0.5, i0e(input) - out * (sgn(input) + 1 / input)),
    "``exp(-|input|) * i1(input)``.",
    ("[0.0, 1.0]", "[0.0000, 0.2079]"),
    own=True,
    node_name="SpecialI1EBackward0",
    low=-12.0,
    high=12.0,
)
entr = special_function(
    "entr",
    lambda k, input: k.where(input > 0, -input * k.log(input), k.where(input == 0, 0.0, input * INF)),
    lambda g, input: g * (-log(input) - 1),
    "``-input * log(input)``, 0 at 0 and minus infinity below.",
    ("[0.0, 0.5]", "[0.0000, 0.3466]"),
    own=True,
    values=(0.0, -1.0, INF, NAN),
    low=0.1,
)

# -- logit -----------------------------------------------------------------------------------------------

LOGIT = elementwise_op(
    "logit",
    lambda k, input, *, eps: _logit(k, input if eps is None else _kept_between(k, input, eps)),
    dict(input=lambda g, input, eps: _logit_backward(g, input, eps)),
    promote=INT_TO_FLOAT,
)


def _kept_between(k: Any, x: Any, eps: float) -> Any:
    """Within `eps` and ``1 - eps``; for an `eps` above a half, what is below it becomes it."""
    return k.where(x < eps, eps, k.minimum(x, 1 - eps))


def _logit(k: Any, x: Any) -> Any:
    return k.log(x / (1 - x))


def _logit_backward(g: Tensor, input: Tensor, eps: float | None) -> Tensor:
    """Zero where the input was clamped; without clamping NaN outside of 0 and 1."""
    low, outside = (0.0, NAN) if eps is None else (eps, 0.0)
    return where((input >= low) & (input <= 1 - low), g / (input * (1 - input)), outside)


@public(
    LOGIT,
    inplace=True,
    samples=lambda: [
        *unary(low=0.1, high=0.9),
        *[Sample([T(values=[0.0, 0.05, 0.5, 0.97, 1.0])], {"eps": eps}) for eps in (0.1, 1e-3, 0.7, 1)],
        Sample([T(values=[0.0, 1.0, -0.5, 2.0, NAN])], grads=False),
        Sample([T((3,), "float64", low=0.1, high=0.9), 0.2]),
    ],
)
def logit(input: Tensor, eps: float | None = None, *, out: Any = None) -> Any:
    """``log(input / (1 - input))``, the inverse of `sigmoid`; of `input` kept within eps and 1 - eps.

    >>> import rushlight as torch
    >>> torch.logit(torch.tensor([0.5, 0.9]))
    tensor([0.0000, 2.1972])
    """
    require_tensor("logit", "input", 1, input)
    return apply(LOGIT, (input,), {"eps": eps}, out=out)


# -- x log(1 + y) ----------------------------------------------------------------------------------------

XLOG1PY = elementwise_op(
    "special_xlog1py",
    lambda k, input, other: k.where((input == 0) & (other == other), 0.0, input * k.log1p(other)),
    dict(
        input=lambda g, input, other: where((input == 0) & (other <= -1), 0.0, xlog1py(g, other)),
        other=lambda g, input, other: g * input / (other + 1),
    ),
    promote=INT_TO_FLOAT,
    node_name="SpecialXlog1PyBackward0",
)
XLOG1PY_OF_NUMBER = renamed(XLOG1PY, "SpecialXlog1PyBackward1", ("input",))
XLOG1PY_NUMBER = renamed(XLOGY_NUMBER, "SpecialXlog1PyBackward2")


@public(
    XLOG1PY,
    name="special_xlog1py",
    method=False,
    torch_name="special.xlog1py",
    samples=lambda: [
        *binary(low=0.1, numbers=(2, 0.5)),
        Sample([T(values=[0.0, 0.0, 2.0]), T(values=[-1.0, NAN, 3.0])], grads=False),
        Sample([1.5, T((3,), low=0.1)]),
        *[Sample([T(values=[0.0, 2.0, -1.0]), n], second=False, why="NaN") for n in (-2, -1, NAN)],
    ],
)
def xlog1py(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input * log1p(other)``, and 0 where `input` is 0 (unless `other` is NaN).

    >>> import rushlight as torch
    >>> torch.special.xlog1py(torch.tensor([0.0, 2.0]), torch.tensor([-1.0, 0.0]))
    tensor([0., 0.])
    """
    if not isinstance(other, Tensor):
        require_tensor("xlog1py", "input", 1, input)
        return times_log(XLOG1PY_NUMBER, input, np.log1p, other, out)
    return apply(XLOG1PY if isinstance(input, Tensor) else XLOG1PY_OF_NUMBER, (input, other), out=out)
