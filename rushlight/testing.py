"""PyTorch's ``torch.testing``: `assert_close`, for tests of code that computes with tensors.

Structures of tensors, arrays and numbers are walked first, so that a difference between structures is told
before a wrong number in one. Invariant: the sentences are PyTorch's, and nothing passes that is not within
the tolerances.
"""

from __future__ import annotations

import cmath
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rushlight.dtype import dtype as Dtype
from rushlight.dtype import float16, float32, float64, int64, promote_types
from rushlight.ops.convert import as_tensor
from rushlight.tensor import Tensor

__all__ = ["assert_close"]

# dtype: how far values may differ, relative and absolute; other types must be equal
_TOLERANCES = {float16: (1e-3, 1e-5), float32: (1.3e-6, 1e-5), float64: (1e-7, 1e-7)}
_NUMBERS = (int, float, complex, np.number)
_BOOLEANS = (bool, np.bool_)


class _Rules:
    """The arguments of one `assert_close`."""

    def __init__(self, **rules: Any) -> None:
        self.allow_subclasses: bool = rules["allow_subclasses"]
        self.rtol: float | None = rules["rtol"]
        self.atol: float | None = rules["atol"]
        self.equal_nan: bool = rules["equal_nan"]
        self.check_device: bool = rules["check_device"]
        self.check_dtype: bool = rules["check_dtype"]
        self.check_layout: bool = rules["check_layout"]
        self.check_stride: bool = rules["check_stride"]
        self.msg: str | Callable[[str], str] | None = rules["msg"]

    def tolerances(self, *dtypes: Dtype) -> tuple[float, float]:
        """The tolerances given, or the loosest of the types'."""
        if self.rtol is not None and self.atol is not None:
            return self.rtol, self.atol
        found = [_TOLERANCES.get(each, (0.0, 0.0)) for each in dtypes]
        return max(rtol for rtol, _ in found), max(atol for _, atol in found)

    def failure(self, said: str, place: str) -> AssertionError:
        """The error for a pair that differs, with the message that was asked for."""
        if place:
            said += f"\n\nThe failure occurred for item {place}"
        if callable(self.msg):
            said = self.msg(said)
        elif self.msg is not None:
            said = self.msg
        return AssertionError(said)


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Raise AssertionError unless ``|actual - expected| <= atol + rtol * |expected|`` everywhere.

    Args:
        actual: a tensor, an array, a number, None, or sequences and mappings of these.
        expected: the same, in the same structure.
        allow_subclasses: whether a `Parameter`, say, may be compared with a plain tensor.
        rtol: the relative tolerance; with `atol`, or neither, for the tolerances of the types.
        atol: the absolute tolerance.
        equal_nan: whether nan equals nan.
        check_device: whether devices must be the same; they always are.
        check_dtype: whether the types must be the same.
        check_layout: whether layouts must be the same; they always are.
        check_stride: whether the strides of tensors must be the same.
        msg: another message, or a function that makes one of the message.

    Raises:
        AssertionError: values, types, shapes or structures differ.
        TypeError: values are of kinds that cannot be compared.
        ValueError: only one of `rtol` and `atol` was given.

    >>> import rushlight as torch
    >>> torch.testing.assert_close(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0 + 1e-6]))
    >>> torch.testing.assert_close([1.0], [1.5], rtol=0, atol=0.1)
    Traceback (most recent call last):
    AssertionError: Scalars are not close!
    <BLANKLINE>
    Expected 1.5 but got 1.0.
    Absolute difference: 0.5 (up to 0.1 allowed)
    Relative difference: 0.3333333333333333 (up to 0 allowed)
    <BLANKLINE>
    The failure occurred for item [0]
    """
    if (rtol is None) != (atol is None):
        absent = "rtol" if rtol is None else "atol"
        raise ValueError(f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {absent}.")
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        if tolerance is not None and tolerance < 0:
            raise ValueError(f"'{name}' must be greater than or equal to zero, but is {tolerance}.")
    rules = _Rules(
        allow_subclasses=allow_subclasses,
        rtol=rtol,
        atol=atol,
        equal_nan=equal_nan,
        check_device=check_device,
        check_dtype=check_dtype,
        check_layout=check_layout,
        check_stride=check_stride,
        msg=msg,
    )
    for compare, mine, wanted, place in _pairs(actual, expected, "", rules):
        said = compare(mine, wanted, rules)
        if said is not None:
            raise rules.failure(said, place)


_Pair = tuple[Callable[[Any, Any, _Rules], str | None], Any, Any, str]


def _pairs(actual: Any, expected: Any, place: str, rules: _Rules) -> list[_Pair]:
    """The pairs of values in two structures, with how to compare them; raises where the structures differ."""
    if _both(actual, expected, Sequence) and not isinstance(actual, str) and not isinstance(expected, str):
        if len(actual) != len(expected):
            raise rules.failure(
                f"The length of the sequences mismatch: {len(actual)} != {len(expected)}", place
            )
        items = enumerate(zip(actual, expected, strict=True))
        return [each for i, (a, b) in items for each in _pairs(a, b, f"{place}[{i}]", rules)]
    if _both(actual, expected, Mapping):
        missing, additional = expected.keys() - actual.keys(), actual.keys() - expected.keys()
        if missing or additional:
            raise rules.failure(
                "The keys of the mappings do not match:\n"
                f"Missing keys in the actual mapping: {sorted(missing, key=str)}\n"
                f"Additional keys in the actual mapping: {sorted(additional, key=str)}",
                place,
            )
        keys = sorted(expected, key=str)
        return [
            each for key in keys for each in _pairs(actual[key], expected[key], f"{place}[{key!r}]", rules)
        ]
    return [(_comparison(actual, expected, rules), actual, expected, place)]


def _both(actual: Any, expected: Any, kinds: Any) -> bool:
    return isinstance(actual, kinds) and isinstance(expected, kinds)


def _comparison(actual: Any, expected: Any, rules: _Rules) -> Callable[[Any, Any, _Rules], str | None]:
    if actual is None or expected is None:
        return _compare_none
    if _both(actual, expected, _BOOLEANS):
        return _compare_booleans
    if _both(actual, expected, _NUMBERS) and not isinstance(actual, bool) and not isinstance(expected, bool):
        return _compare_numbers
    tensors = _both(actual, expected, Tensor) and (rules.allow_subclasses or type(actual) is type(expected))
    if tensors or _both(actual, expected, np.ndarray):
        return _compare_tensors
    raise TypeError(
        f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}."
    )


def _compare_none(actual: Any, expected: Any, rules: _Rules) -> str | None:
    return None if actual is expected else f"None mismatch: {actual} is not {expected}"


def _compare_booleans(actual: Any, expected: Any, rules: _Rules) -> str | None:
    if bool(actual) is bool(expected):
        return None
    return f"Booleans mismatch: {bool(actual)} is not {bool(expected)}"


def _compare_numbers(actual: Any, expected: Any, rules: _Rules) -> str | None:
    actual, expected = (each.item() if isinstance(each, np.number) else each for each in (actual, expected))
    if rules.check_dtype and type(actual) is not type(expected):
        return f"The (d)types do not match: {type(actual)} != {type(expected)}."
    whole = isinstance(actual, int) and isinstance(expected, int)
    rtol, atol = rules.tolerances(int64 if whole else float64)
    if actual == expected or (rules.equal_nan and cmath.isnan(actual) and cmath.isnan(expected)):
        return None
    difference = abs(actual - expected)
    if cmath.isfinite(difference) and difference <= atol + rtol * abs(expected):
        return None
    relative = float("inf") if expected == 0 else difference / abs(expected)
    return _scalars_differ(actual, expected, difference, relative, rtol, atol)


def _scalars_differ(
    actual: Any, expected: Any, difference: Any, relative: Any, rtol: float, atol: float
) -> str:
    return (
        f"Scalars are not {'close' if rtol or atol else 'equal'}!\n\n"
        f"Expected {expected} but got {actual}.\n"
        f"Absolute difference: {difference}{_allowed(atol, rtol, atol)}\n"
        f"Relative difference: {relative}{_allowed(rtol, rtol, atol)}"
    )


def _allowed(tolerance: float, rtol: float, atol: float) -> str:
    return f" (up to {tolerance} allowed)" if rtol or atol else ""


def _compare_tensors(actual: Any, expected: Any, rules: _Rules) -> str | None:
    """Two tensors, or two arrays."""
    actual, expected = as_tensor(actual).detach(), as_tensor(expected).detach()
    checks = [("shape", True), ("dtype", rules.check_dtype)]
    for name, wanted in checks:
        mine, other = getattr(actual, name), getattr(expected, name)
        if wanted and mine != other:
            return f"The values for attribute '{name}' do not match: {mine} != {other}."
    if rules.check_stride and actual.stride() != expected.stride():
        return f"The values for attribute 'stride()' do not match: {actual.stride()} != {expected.stride()}."
    rtol, atol = rules.tolerances(actual.dtype, expected.dtype)
    common = promote_types(actual.dtype, expected.dtype)
    a, b = (each.to(common)._array for each in (actual, expected))
    if common.category < float32.category:  # differences of unsigned numbers and truth values need a sign
        a, b = a.astype(np.int64), b.astype(np.int64)
    with np.errstate(all="ignore"):
        close = np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=rules.equal_nan)
        if close.all():
            return None
        difference = np.abs(a - b)
        floats = difference.dtype if difference.dtype.kind == "f" else np.dtype("float32")
        relative = difference.astype(floats) / np.abs(b).astype(floats)
    if close.ndim == 0:
        return _scalars_differ(a.item(), b.item(), difference.item(), relative.item(), rtol, atol)
    wrong = close.size - int(close.sum())
    return (
        f"Tensor-likes are not {'close' if rtol or atol else 'equal'}!\n\n"
        f"Mismatched elements: {wrong} / {close.size} ({wrong / close.size:.1%})\n"
        f"Greatest absolute difference: {_greatest(difference, close)}{_allowed(atol, rtol, atol)}\n"
        f"Greatest relative difference: {_greatest(relative, close)}{_allowed(rtol, rtol, atol)}"
    )


def _greatest(values: np.ndarray, close: np.ndarray) -> str:
    """The greatest value among the elements that are not close, and where it is; nan counts as greatest."""
    index = np.unravel_index(int(np.argmax(np.where(close, 0, values))), values.shape)
    return f"{values[index].item()} at index {tuple(int(each) for each in index)}"
