"""Comparisons, logic and bits: the maps whose operands or results are truth values or bit patterns.

Comparisons promote their operands as arithmetic does and give bools. Choosing by a condition is in
`select`. Invariant: nothing here has a gradient but zero, and the formula of an op that gives bools
returns bools by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rushlight.ops.arguments import require_tensor
from rushlight.ops.create import zeros_like
from rushlight.ops.define import ALWAYS_BOOL, NO_OPMATH, TITLES, apply
from rushlight.ops.kinds import alias, composite, elementwise, elementwise_op, only, public
from rushlight.ops.samples import Sample, T, binary, unary
from rushlight.tensor import Tensor

# -- comparisons -----------------------------------------------------------------------------------------


def _comparison_samples() -> list[Sample]:
    values = T((6,), "int64", values=[1, 2, 3, 4, 5, 16777217])
    return [
        *binary(numbers=(1, 0.5, True)),
        Sample([values, T((6,), "int64", values=[3, 2, 1, 4, 5, 16777216])]),
        Sample([values, 2.5]),
        Sample([values, 16777216.0]),
        Sample([T((4,), "uint8"), -1]),
        Sample([T((4,), "bool"), T((4,), "bool")]),
        Sample([T(values=[float("nan"), float("inf"), 0.0, -0.0]), 0.0]),
        Sample([T((2, 3)), T((4,))], raises=True),
    ]


def _comparison(
    name: str, formula: Callable[..., Any], words: str, sign: str, shown: str
) -> Callable[..., Any]:
    node = name.capitalize() + "Backward"
    return elementwise(
        name,
        formula,
        # of use in place only, where a floating tensor is overwritten
        dict(input=lambda g: zeros_like(g), other=lambda g: zeros_like(g)),
        promote=ALWAYS_BOOL,
        node_name=node + "1",
        number_name=node + "0",
        numbers="other",
        samples=_comparison_samples,
        doc=f"Where `input` is {words} `other`: ``input {sign} other``.",
        example=(f"torch.{name}(torch.tensor([1, 2, 3]), 2)", f"tensor([{shown}])"),
    )


eq = _comparison("eq", lambda k, input, other: input == other, "equal to", "==", "False,  True, False")
ne = _comparison("ne", lambda k, input, other: input != other, "not equal to", "!=", " True, False,  True")
lt = _comparison("lt", lambda k, input, other: input < other, "less than", "<", " True, False, False")
le = _comparison("le", lambda k, input, other: input <= other, "at most", "<=", " True,  True, False")
gt = _comparison("gt", lambda k, input, other: input > other, "greater than", ">", "False, False,  True")
ge = _comparison("ge", lambda k, input, other: input >= other, "at least", ">=", "False,  True,  True")
not_equal = alias("not_equal", ne)
less = alias("less", lt)
less_equal = alias("less_equal", le)
greater = alias("greater", gt)
greater_equal = alias("greater_equal", ge)

ISCLOSE = elementwise_op(
    "isclose",
    lambda k, input, other, *, rtol, atol, equal_nan: _close(k, input, other, rtol, atol, equal_nan),
    promote=ALWAYS_BOOL,
)


def _close(k: Any, input: Any, other: Any, rtol: float, atol: float, equal_nan: bool) -> Any:
    """Equal, or finite and no further apart than `atol` plus `rtol` times the second."""
    difference = k.abs(input - other)
    near = (input == other) | (k.isfinite(difference) & (difference <= atol + k.abs(rtol * other)))
    return near | (k.isnan(input) & k.isnan(other)) if equal_nan else near


def _closeness_samples() -> list[Sample]:
    nan, inf = float("nan"), float("inf")
    near = [
        Sample([T(values=[1.0, 1.0, nan, inf]), T(values=[1.000001, 1.1, nan, inf])], how)
        for how in CLOSENESS
    ]
    return [
        *near,
        Sample([T((3, 4)), T((4,))]),
        Sample([T((0, 2)), T((0, 2))]),
        Sample([T(()), T((2,))], {"rtol": 0.5}),
        Sample([T((4,), "int64"), T((4,), "int64")], {"atol": 2}),
        Sample([T((4,), "float64"), T((4,), "float64")], {"rtol": 0.5}),
        Sample([T((2,)), T((2,), "float64")], raises=True),
        Sample([T((2,)), T((2,))], {"rtol": -1.0}, raises=True),
        Sample([T((2,)), T((2,))], {"atol": -1.0}, raises=True),
    ]


CLOSENESS: tuple[dict[str, Any], ...] = ({}, {"rtol": 0.2}, {"atol": 0.2, "rtol": 0.0}, {"equal_nan": True})


@public(ISCLOSE, samples=lambda: [*_closeness_samples(), Sample([T((3,), "bool"), T((3,), "bool")])])
def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Tensor:
    """Where ``|input - other| <= atol + rtol * |other|``; both of one type.

    >>> import rushlight as torch
    >>> torch.isclose(torch.tensor([1.0, 2.0]), torch.tensor([1.0 + 1e-7, 3.0]))
    tensor([ True, False])
    """
    require_tensor("isclose", "input", 1, input)
    require_tensor("isclose", "other", 2, other)
    if input.dtype is not other.dtype:
        raise RuntimeError(f"{TITLES[input.dtype.name]} did not match {TITLES[other.dtype.name]}")
    for name, value in (("rtol", rtol), ("atol", atol)):
        if value < 0:
            raise RuntimeError(f"{name} must be greater than or equal to zero, but got {value:g}")
    if input.dtype.category == 0:
        return eq(input, other)
    return apply(ISCLOSE, (input, other), {"rtol": rtol, "atol": atol, "equal_nan": equal_nan})


@composite(samples=_closeness_samples)
def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    """Whether `isclose` holds everywhere, as a Python bool.

    >>> import rushlight as torch
    >>> torch.allclose(torch.tensor([1.0]), torch.tensor([1.0 + 1e-7]))
    True
    """
    return bool(isclose(input, other, rtol, atol, equal_nan).all().item())


@composite(
    samples=lambda: [
        Sample([T((2, 3), values=[1.0, 2.0]), T((2,), "int64", values=[1, 2])]),
        Sample([T((2, 3)), T((2, 3))]),
        Sample([T((2, 3)), T((3,))]),
        Sample([T((0,)), T((0,))]),
        Sample([T(values=[float("nan")]), T(values=[float("nan")])]),
        Sample([T((2,)), 2], raises=True),
    ]
)
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and the same elements, as a Python bool.

    >>> import rushlight as torch
    >>> torch.equal(torch.tensor([1, 2]), torch.tensor([1, 2]))
    True
    """
    require_tensor("equal", "input", 1, input)
    require_tensor("equal", "other", 2, other)
    if input._array.shape != other._array.shape:
        return False
    return bool(eq(input, other).all().item())


# -- kinds of numbers ------------------------------------------------------------------------------------


def _number_samples() -> list[Sample]:
    inf, nan = float("inf"), float("nan")
    return [
        *unary(),
        Sample([T(values=[inf, -inf, nan, 0.0])]),
        Sample([T((2,), "float16", values=[inf, 1.0])]),
    ]


def _test(name: str, formula: Callable[..., Any], words: str, shown: str) -> Callable[..., Any]:
    return elementwise(
        name,
        formula,
        promote=ALWAYS_BOOL,
        inplace=False,
        samples=_number_samples,
        doc=f"Where an element is {words}.",
        example=(f"torch.{name}(torch.tensor([-1.0, float('inf'), float('nan')]))", f"tensor([{shown}])"),
    )


isnan = _test("isnan", lambda k, input: k.isnan(input), "NaN", "False, False,  True")
isinf = _test("isinf", lambda k, input: k.isinf(input), "plus or minus infinity", "False,  True, False")
isfinite = _test("isfinite", lambda k, input: k.isfinite(input), "a finite number", " True, False, False")
isposinf = _test("isposinf", lambda k, input: input == float("inf"), "plus infinity", "False,  True, False")
isneginf = _test("isneginf", lambda k, input: input == float("-inf"), "minus infinity", "False, False, False")
isreal = _test(
    "isreal", lambda k, input: (input == input) | True, "real, which all are here", "True, True, True"
)
signbit = _test(
    "signbit", lambda k, input: k.signbit(input), "negative, -0.0 included", " True, False, False"
)

# -- logic -----------------------------------------------------------------------------------------------


def _logical(name: str, formula: Callable[..., Any], shown: str) -> Callable[..., Any]:
    word = name.removeprefix("logical_")
    return elementwise(
        name,
        formula,
        promote=ALWAYS_BOOL,
        samples=lambda: [
            *binary(numbers=()),
            Sample([T((3,), "bool"), T((3,), "bool")]),
            Sample([T((2, 3), "int64", low=0, high=2), T((3,), "uint8", high=2)]),
            Sample([T((3,)), 1], raises=True),
        ],
        doc=f"``{word}`` of truth values; a number counts as true unless it is zero.",
        example=(f"torch.{name}(torch.tensor([0, 0, 5]), torch.tensor([0, 1, 1]))", f"tensor([{shown}])"),
    )


logical_and = _logical(
    "logical_and", lambda k, input, other: k.logical_and(input, other), "False, False,  True"
)
logical_or = _logical("logical_or", lambda k, input, other: k.logical_or(input, other), "False,  True,  True")
logical_xor = _logical(
    "logical_xor", lambda k, input, other: k.logical_xor(input, other), "False,  True, False"
)
logical_not = elementwise(
    "logical_not",
    lambda k, input: k.logical_not(input),
    promote=ALWAYS_BOOL,
    samples=lambda: [*unary(), Sample([T((4,), "int64", low=0, high=2)])],
    doc="Whether an element is zero.",
    example=("torch.logical_not(torch.tensor([0, 2]))", "tensor([ True, False])"),
)

# -- bits ------------------------------------------------------------------------------------------------


def _bit_samples(*, low: int = -5, high: int = 6, bools: bool = True) -> list[Sample]:
    whole = [("int64", "int64"), ("int32", "uint8"), ("uint8", "uint8"), ("int64", "bool")]
    found = [
        Sample(
            [
                T((2, 3), a, low=low if a.startswith("i") else 0, high=high),
                T((3,), b, low=max(low, 0), high=high),
            ]
        )
        for a, b in whole
    ]
    found += [
        Sample([T((2, 3), "int64", low=low, high=high), 3]),
        Sample([T((), "int64", low=low, high=high), T((), "int64", low=0, high=high)]),
        Sample([T((0, 2), "int64"), T((2,), "int64")]),
        Sample([6, T((3,), "int64", low=0, high=high)]),
        Sample([T((3,), "bool"), T((3,), "bool")], raises=not bools),
        Sample([T((3,)), T((3,))], raises=True),
        Sample([T((3,), "float16"), 1], raises=True),
        Sample([T((3,), "int64"), 1.5], raises=True),
    ]
    return found


def _bitwise(name: str, formula: Callable[..., Any], sign: str, shown: str) -> Callable[..., Any]:
    return elementwise(
        name,
        formula,
        promote=NO_OPMATH,
        check=only("iub", f"{name}_cpu"),
        numbers="both",
        samples=_bit_samples,
        doc=f"``input {sign} other``, bit by bit, of whole numbers or bools.",
        example=(f"torch.{name}(torch.tensor([5, 6]), 3)", f"tensor([{shown}])"),
    )


bitwise_and = _bitwise("bitwise_and", lambda k, input, other: input & other, "&", "1, 2")
bitwise_or = _bitwise("bitwise_or", lambda k, input, other: input | other, "|", "7, 7")
bitwise_xor = _bitwise("bitwise_xor", lambda k, input, other: input ^ other, "^", "6, 5")
bitwise_not = elementwise(
    "bitwise_not",
    lambda k, input: ~input,
    promote=NO_OPMATH,
    check=only("iub", "bitwise_not_cpu"),
    samples=lambda: [
        *[Sample([T(shape, "int64")]) for shape in ((2, 3), (), (0, 2))],
        *[Sample([T((4,), kind)]) for kind in ("uint8", "int8", "bool")],
        Sample([T((3,))], raises=True),
    ],
    doc="All bits inverted; of bools, the opposite.",
    example=("torch.bitwise_not(torch.tensor([0, 1]))", "tensor([-1, -2])"),
)


def _shift_samples() -> list[Sample]:
    far = T((5,), "int64", values=[0, 1, 63, 64, -1])
    return [
        *_bit_samples(bools=False),
        Sample([T((5,), "int64", values=[1, -1, 5, -5, 7]), far]),
        Sample([T((2,), "uint8", values=[200, 3]), 4]),
    ]


bitwise_left_shift = elementwise(
    "bitwise_left_shift",
    lambda k, input, other: input << other,
    promote=NO_OPMATH,
    check=only("iu", "lshift_cpu"),
    numbers="both",
    samples=_shift_samples,
    doc="Bits moved up by `other` places.",
    example=("torch.bitwise_left_shift(torch.tensor([1, 3]), 2)", "tensor([ 4, 12])"),
)
bitwise_right_shift = elementwise(
    "bitwise_right_shift",
    lambda k, input, other: input >> other,
    promote=NO_OPMATH,
    check=only("iu", "rshift_cpu"),
    numbers="both",
    samples=_shift_samples,
    doc="Bits moved down by `other` places; the sign stays.",
    example=("torch.bitwise_right_shift(torch.tensor([8, -8]), 2)", "tensor([ 2, -2])"),
)


def _divisor_samples() -> list[Sample]:
    return [
        Sample([T((2, 3), "int64", low=-20, high=20), T((3,), "int64", low=-20, high=20)]),
        Sample([T((2, 3), "uint8"), T((3,), "int32")]),
        Sample([T((), "int64"), T((), "int64")]),
        Sample([T((0, 2), "int64"), T((2,), "int64")]),
        Sample([T((3,), "int64", values=[0, 0, 4]), T((3,), "int64", values=[0, 3, 0])]),
        Sample([T((3,)), T((3,))], raises=True),
        Sample([T((3,), "bool"), T((3,), "bool")], raises=True),
        Sample([T((3,), "int64"), 2], raises=True),
    ]


gcd = elementwise(
    "gcd",
    lambda k, input, other: k.gcd(input, other),
    promote=NO_OPMATH,
    check=only("iu", "gcd_cpu"),
    samples=_divisor_samples,
    doc="The greatest common divisor.",
    example=("torch.gcd(torch.tensor([12, 7]), torch.tensor([18, 3]))", "tensor([6, 1])"),
)
lcm = elementwise(
    "lcm",
    lambda k, input, other: k.lcm(input, other),
    promote=NO_OPMATH,
    check=only("iu", "lcm_cpu"),
    samples=_divisor_samples,
    doc="The least common multiple.",
    example=("torch.lcm(torch.tensor([4, 7]), torch.tensor([6, 3]))", "tensor([12, 21])"),
)
