"""``testing.assert_close`` passes what PyTorch's passes and fails with its sentences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rushlight
import rushlight.testing

torch = pytest.importorskip("torch", reason="needs the conformance extra")

# Each is what a call is given, as a function of the library.
PAIRS = [
    lambda t: (t.tensor([1.0, 2.0, 3.0]), t.tensor([1.0, 2.5, 3.0])),
    lambda t: (t.tensor([1.0, 2.0, 3.0]), t.tensor([1.0, 2.5, float("nan")])),
    lambda t: (t.tensor(1.0), t.tensor(2.0)),
    lambda t: (t.tensor(3), t.tensor(4)),
    lambda t: (t.ones(2, 3), t.ones(3)),
    lambda t: (t.ones(2), t.ones(2, dtype=t.float64)),
    lambda t: (t.ones(2, dtype=t.int64), t.tensor([1, 3])),
    lambda t: (t.ones(2, dtype=t.uint8), t.tensor([3, 2], dtype=t.uint8)),
    lambda t: (t.tensor([True, False]), t.tensor([True, True])),
    lambda t: (t.tensor([1.0, 2.0]), t.tensor([1.0, 0.0])),
    lambda t: (t.tensor([1.0, 2.0]), t.tensor([1.0, float("inf")])),
    lambda t: (t.tensor(float("inf")), t.tensor(float("inf"))),
    lambda t: (t.tensor([[1.0, 2], [3, 4]]), t.tensor([[1.0, 9], [3, 5]])),
    lambda t: (t.tensor([1e-9]), t.tensor([0.0])),
    lambda t: (t.ones(3, dtype=t.float16), t.ones(3, dtype=t.float16) * 1.01),
    lambda t: (t.ones(0), t.ones(0)),
    lambda t: (t.nn.Parameter(t.ones(2)), t.ones(2)),
    lambda t: (t.nn.Parameter(t.ones(2)), t.ones(2), dict(allow_subclasses=False)),
    lambda t: (t.ones(2), 1.0),
    lambda t: (t.ones(2), [1.0, 1.0]),
    lambda t: (t.ones(2), None),
    lambda t: (None, None),
    lambda t: (None, 1.0),
    lambda t: (1.0, 2.0),
    lambda t: (1.0, 1.0 + 1e-9),
    lambda t: (1, 2),
    lambda t: (1, 1.0),
    lambda t: (1, 1.0, dict(check_dtype=False)),
    lambda t: (2.0, 0.0),
    lambda t: (float("inf"), 1.0),
    lambda t: (float("nan"), float("nan")),
    lambda t: (float("nan"), float("nan"), dict(equal_nan=True)),
    lambda t: (1 + 2j, 1.0),
    lambda t: (True, False),
    lambda t: (True, True),
    lambda t: ("a", "a"),
    lambda t: ("a", 1.0),
    lambda t: (np.ones(2), np.zeros(2)),
    lambda t: (np.ones(2), t.ones(2)),
    lambda t: (np.float64(1), 2.0),
    lambda t: ([1.0, t.ones(2)], [1.0, t.zeros(2)]),
    lambda t: ([2.0, 2.0], [1.0, 2.0, 3.0]),
    lambda t: ([[1.0, [2.0]]], [[1.0, [3.0]]]),
    lambda t: ((1.0,), [1.0]),
    lambda t: ([1.0], {"a": 1.0}),
    lambda t: ({"a": 1.0, "c": 2.0}, {"a": 1.0, "b": 1}),
    lambda t: ({"a": {"x": t.ones(2)}}, {"a": {"x": t.zeros(2)}}),
    lambda t: (t.tensor([1.0]), t.tensor([1.5], dtype=t.float64), dict(check_dtype=False)),
    lambda t: (t.ones(2, dtype=t.int64), t.tensor([1.0, 2.0]), dict(check_dtype=False)),
    lambda t: (t.tensor([1.0, 2.0]), t.tensor([1.0, 3.0]), dict(rtol=0, atol=0)),
    lambda t: (t.tensor([1.0, 2.0]), t.tensor([1.0, 3.0]), dict(rtol=0.5, atol=0)),
    lambda t: (t.tensor([1.0, 2.0]), t.tensor([1.0, 3.0]), dict(rtol=0.1)),
    lambda t: (t.tensor([1.0, 2.0]), t.tensor([1.0, 3.0]), dict(atol=0.1)),
    lambda t: (t.tensor([1, 2]), t.tensor([1, 4]), dict(rtol=0.0, atol=1.0)),
    lambda t: (1, 3, dict(rtol=0.1, atol=0.1)),
    lambda t: (t.tensor([float("nan")]), t.tensor([float("nan")]), dict(equal_nan=True)),
    lambda t: (t.ones(2, 3), t.ones(3, 2).t(), dict(check_stride=True)),
    lambda t: (t.ones(2), t.zeros(2), dict(msg="another")),
    lambda t: ([1.0], [2.0], dict(msg=lambda said: "before " + said)),
]


def outcome(library: Any, make: Any) -> tuple[str, str]:
    """The error of one call, if there is one."""
    actual, expected, *rest = make(library)
    try:
        library.testing.assert_close(actual, expected, **(rest[0] if rest else {}))
    except (AssertionError, TypeError, ValueError) as error:
        return type(error).__name__, str(error)
    return "passes", ""


@pytest.mark.parametrize("make", PAIRS, ids=range(len(PAIRS)))
def test_as_pytorch_says(make: Any) -> None:
    kind, said = outcome(rushlight, make)
    assert (kind, said.replace("rushlight.tensor.", "torch.").replace("rushlight", "torch")) == outcome(
        torch, make
    )


def test_a_negative_tolerance_is_refused() -> None:
    with pytest.raises(ValueError, match="'rtol' must be greater than or equal to zero, but is -1"):
        rushlight.testing.assert_close(1.0, 1.0, rtol=-1, atol=0)
