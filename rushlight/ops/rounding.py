"""Rounding, and numbers taken apart: whole and fractional parts, mantissa and exponent, angle and parts of
a real number.

Whole numbers are left as they are. Invariant: the gradient of rounding is zero, never missing, as in
PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight.ops.arguments import require_tensor
from rushlight.ops.create import zeros_like
from rushlight.ops.define import INT_TO_FLOAT, apply
from rushlight.ops.functions import exp2
from rushlight.ops.kinds import alias, composite, elementwise, elementwise_op, only, primitive, public
from rushlight.ops.return_types import return_type
from rushlight.ops.samples import Sample, T, unary
from rushlight.tensor import Tensor

INF, NAN = float("inf"), float("nan")
_frexp_type = return_type("frexp", ("mantissa", "exponent"))
HALVES = T(values=[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, -0.2, INF, NAN])


def _rounding_samples() -> list[Sample]:
    whole = [each for each in unary() if each.args[0].dtype != "bool"]
    return [*whole, Sample([HALVES]), Sample([T((2,), "bool")], raises=True)]


def _rounding(name: str, formula: Callable[..., Any], doc: str, shown: str) -> Callable[..., Any]:
    return elementwise(
        name,
        formula,
        dict(input=lambda g: zeros_like(g)),
        check=only("fiu", f"{name}_vml_cpu"),
        samples=_rounding_samples,
        doc=doc,
        example=(f"torch.{name}(torch.tensor([-1.5, 0.5, 2.7]))", f"tensor([{shown}])"),
    )


floor = _rounding("floor", lambda k, input: k.floor(input), "The whole number below.", "-2.,  0.,  2.")
ceil = _rounding("ceil", lambda k, input: k.ceil(input), "The whole number above.", "-1.,  1.,  3.")
trunc = _rounding("trunc", lambda k, input: k.trunc(input), "The whole part.", "-1.,  0.,  2.")
fix = alias("fix", trunc)
frac = elementwise(
    "frac",
    lambda k, input: input - k.trunc(input),
    dict(input=lambda g: g),
    check=only("f", "frac_cpu"),
    samples=lambda: [
        *unary(ints=False),
        Sample([HALVES], grads=False),
        Sample([T((2,), "int64")], raises=True),
    ],
    doc="The fractional part, with the sign of `input`.",
    example=("torch.frac(torch.tensor([-1.5, 2.75]))", "tensor([-0.5000,  0.7500])"),
)

ROUND = elementwise_op(
    "round",
    lambda k, input: k.rint(input),
    dict(input=lambda g: zeros_like(g)),
    check=only("fiu", "round_vml_cpu"),
)
ROUND_DECIMALS = elementwise_op(
    "round",
    # dividing by a power of ten is exact where multiplying by its inverse is not
    lambda k, input, *, decimals: (
        k.rint(input * 10.0**decimals) / 10.0**decimals
        if decimals >= 0
        else k.rint(input / 10.0**-decimals) * 10.0**-decimals
    ),
    dict(input=lambda g: zeros_like(g)),
    node_name="RoundBackward1",
    check=only("f", "round_cpu"),
)


@public(
    ROUND,
    inplace=True,
    samples=lambda: [
        *_rounding_samples(),
        *[Sample([T((3, 4), low=-30.0, high=30.0)], {"decimals": n}) for n in (1, 3, -1)],
        Sample([T((3,), "float64")], {"decimals": 2}),
        Sample([T((3,), "float16")], {"decimals": 1}),
        Sample([T((2,), "int64")], {"decimals": 1}, raises=True),
    ],
)
def round(input: Tensor, *, decimals: int = 0, out: Any = None) -> Any:
    """The nearest whole number, halves to even; with `decimals`, to so many decimal places.

    >>> import rushlight as torch
    >>> torch.round(torch.tensor([0.5, 1.5, 2.51]))
    tensor([0., 2., 3.])
    >>> torch.round(torch.tensor([0.1234]), decimals=2)
    tensor([0.1200])
    """
    require_tensor("round", "input", 1, input)
    if decimals == 0:
        return apply(ROUND, (input,), out=out)
    return apply(ROUND_DECIMALS, (input,), {"decimals": decimals}, out=out)


# -- parts of a number -----------------------------------------------------------------------------------


FREXP = primitive(
    "frexp",
    "map",
    lambda input: np.frexp(input),
    dict(input=lambda g, exponent: g / exp2(exponent)),
    outputs=("mantissa", "exponent"),
    differentiable=(0,),
)


@public(
    FREXP,
    samples=lambda: [
        *unary(ints=False),
        Sample([T(values=[0.0, 1.0, -8.0, 0.3])]),
        Sample([T((2,), "int64")], raises=True),
    ],
)
def frexp(input: Tensor, *, out: Any = None) -> Any:
    """Mantissa, between 0.5 and 1 in magnitude, and int32 exponent: ``input == mantissa * 2**exponent``.

    >>> import rushlight as torch
    >>> mantissa, exponent = torch.frexp(torch.tensor([8.0, 0.75]))
    >>> mantissa, exponent
    (tensor([0.5000, 0.7500]), tensor([4, 0], dtype=torch.int32))
    """
    require_tensor("frexp", "input", 1, input)
    if not input.is_floating_point():
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    return _frexp_type(apply(FREXP, (input,), out=out))


angle = elementwise(
    "angle",
    lambda k, input: k.where(input < 0, math.pi, k.where(input == input, 0.0, input)),
    dict(input=lambda g: zeros_like(g)),
    promote=INT_TO_FLOAT,
    inplace=False,
    samples=lambda: [*unary(), Sample([T(values=[-1.0, 0.0, -0.0, NAN])])],
    doc="0 for positive numbers and pi for negative ones: the angle of a real number in the complex plane.",
    example=("torch.angle(torch.tensor([1.0, -1.0]))", "tensor([0.0000, 3.1416])"),
)


@composite(samples=lambda: [Sample([T((2, 3))]), Sample([T((), "int64")])])
def conj(input: Tensor) -> Tensor:
    """`input` itself, since no complex types exist here.

    >>> import rushlight as torch
    >>> torch.conj(torch.tensor([1.0]))
    tensor([1.])
    """
    require_tensor("conj", "input", 1, input)
    return input


@composite(method=False, samples=lambda: [Sample([T((2, 3))]), Sample([T((), "int64")])])
def real(input: Tensor) -> Tensor:
    """`input` itself, since no complex types exist here.

    >>> import rushlight as torch
    >>> torch.real(torch.tensor([1.0]))
    tensor([1.])
    """
    require_tensor("real", "input", 1, input)
    return input


METHODS = {"real": property(real)}
