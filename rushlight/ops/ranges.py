"""Evenly spaced numbers: `arange`, `range`, `linspace`, `logspace`.

Ops without inputs, like those of `create`. Invariant: every element is computed from its place in the row and
not from its neighbour, so that errors do not add up.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from rushlight.dtype import I64, from_numpy, get_default_dtype
from rushlight.dtype import dtype as DType
from rushlight.ops.create import check_options, finish, numpy_type, type_asked
from rushlight.ops.define import apply
from rushlight.ops.kinds import primitive, public
from rushlight.ops.samples import Named, Sample
from rushlight.tensor import Tensor

ARANGE = primitive(
    "arange",
    "create",
    lambda *, start, step, length, dtype: _arange(start, step, length, dtype),
    inputs=(),
)
LINSPACE = primitive(
    "linspace",
    "create",
    lambda *, start, end, steps, base, dtype: _linspace(start, end, steps, base, dtype),
    inputs=(),
)


def _arange(start: Any, step: Any, length: int, dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "f":
        # PyTorch computes start + i * step in double for every floating type and rounds once
        return (start + step * np.arange(length, dtype=np.float64)).astype(dtype)
    return (int(start) + int(step) * np.arange(length, dtype=np.int64)).astype(dtype)


def _linspace(start: Any, end: Any, steps: int, base: float | None, dtype: np.dtype) -> np.ndarray:
    """Steps counted from both ends and met in the middle, as PyTorch does, so that both ends are exact."""
    if steps == 1:
        values = np.array([start], dtype=np.float64)
    else:
        work: Any = np.float32 if dtype == np.float32 and base is None else np.float64
        step = work((end - start) / (steps - 1)) if dtype.kind == "f" else (end - start) / (steps - 1)
        position = np.arange(steps, dtype=work)
        first = work(start) + step * position
        last = work(end) - step * (work(steps - 1) - position)
        values = np.where(np.arange(steps) < steps // 2, first, last)
    if base is not None:
        values = np.power(float(base), values)
    return np.trunc(values).astype(dtype) if dtype.kind != "f" else values.astype(dtype)


def _numbers(*values: Any) -> tuple[Any, ...]:
    return tuple(each.item() if isinstance(each, Tensor) else each for each in values)


@public(
    ARANGE,
    method=False,
    samples=lambda: [
        Sample((5,)),
        Sample((1, 2.5, 0.5)),
        Sample((5, 1, -2)),
        Sample((0, 0)),
        Sample((1.0, 4.0, 0.1)),
        Sample((), {"end": 3}),
        Sample((), {"start": 1, "end": 3}),
    ],
)
def arange(
    *numbers: Any,
    start: Any = None,
    end: Any = None,
    step: Any = None,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Numbers from `start` up to but without `end`: ``arange(end)`` or ``arange(start, end, step=1)``.

    >>> import rushlight as torch
    >>> torch.arange(1, 2.5, 0.5)
    tensor([1.0000, 1.5000, 2.0000])
    """
    check_options("arange", layout, device, None, pin_memory, requires_grad)
    if len(numbers) == 1 and start is end is step is None:
        start, end, step = 0, numbers[0], 1
    else:
        start, end, step = _bounds(numbers, {"start": start, "end": end, "step": step})
    start, end, step = _numbers(start, end, step)
    length = _range_length(start, end, step)
    kind = numpy_type("arange", type_asked(dtype, out), _whole_or_default(start, end, step))
    made = apply(ARANGE, (), {"start": start, "step": step, "length": length, "dtype": kind})
    return finish(made, requires_grad, out)


def _bounds(numbers: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Start, end and step of `arange`; a number alone is the end, but not if it is called ``start``."""
    named = {name: value for name, value in named.items() if value is not None}
    order = ("end",) if len(numbers) == 1 and not named else ("start", "end", "step")
    bounds = {"start": 0, "step": 1, **named, **dict(zip(order, numbers, strict=False))}
    if not numbers and named and "end" not in named and len(named) == 1:
        raise TypeError('arange() missing 1 required positional arguments: "end"')
    if "end" not in bounds or len(numbers) > 3 or set(named) & set(order[: len(numbers)]):
        given = [type(each).__name__ for each in numbers]
        given += [f"{name}={type(value).__name__}" for name, value in named.items()]
        raise TypeError(
            f"arange() received an invalid combination of arguments - got ({', '.join(given)}), but "
            "expected one of: (end), (start, end) or (start, end, step)"
        )
    return bounds["start"], bounds["end"], bounds["step"]


def _whole_or_default(*values: Any) -> DType:
    return (
        from_numpy(I64)
        if all(isinstance(each, (int, np.integer)) for each in values)
        else get_default_dtype()
    )


def _range_length(start: Any, end: Any, step: Any) -> int:
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (step > 0 and end < start) or (step < 0 and end > start):
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    return math.ceil((end - start) / step)


@public(ARANGE, method=False, samples=lambda: [Sample((1, 4)), Sample((0, 1, 0.25)), Sample((5, 1, -2))])
def range(
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    *,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers from `start` up to and with `end`, always floating (PyTorch's old `range`; use `arange`)."""
    warnings.warn(
        "torch.range is deprecated and will be removed in a future release because its behavior is "
        "inconsistent with Python's range builtin. Instead, use torch.arange, which produces values in "
        "[start, end).",
        stacklevel=2,
    )
    check_options("range", layout, device)
    if end is None:
        start, end = 0, start
    start, end, step = _numbers(start, end, step)
    _range_length(start, end, step)
    length = math.floor((end - start) / step) + 1
    kind = numpy_type("range", dtype)
    made = apply(ARANGE, (), {"start": start, "step": step, "length": length, "dtype": kind})
    return finish(made, requires_grad, out)


def _spaced(start: Any, end: Any, steps: Any, base: float | None, dtype: Any, name: str) -> Tensor:
    given = [start, end, steps] + ([] if base is None else [base])
    if not hasattr(steps, "__index__") or any(isinstance(each, str) for each in given):
        kinds = ", ".join(type(each).__name__ for each in given)
        raise TypeError(f"{name}() received an invalid combination of arguments - got ({kinds})")
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    start, end = _numbers(start, end)
    kind = numpy_type(name, dtype)
    return apply(LINSPACE, (), {"start": start, "end": end, "steps": int(steps), "base": base, "dtype": kind})


@public(
    LINSPACE,
    method=False,
    samples=lambda: [
        Sample((0, 1, 5)),
        Sample((3, -7.5, 10)),
        Sample((0, 10, 4), {"dtype": Named("int64")}),
        Sample((2, 5, 1)),
        Sample((2, 5, 0)),
    ],
)
def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """`steps` numbers evenly spaced from `start` to `end`, both included.

    >>> import rushlight as torch
    >>> torch.linspace(0, 1, 5)
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    check_options("linspace", layout, device, None, pin_memory, requires_grad)
    return finish(_spaced(start, end, steps, None, type_asked(dtype, out), "linspace"), requires_grad, out)


@public(LINSPACE, method=False, samples=lambda: [Sample((0, 2, 3)), Sample((-1, 1, 7, 2.0))])
def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """`steps` numbers from ``base**start`` to ``base**end``, evenly spaced in the exponent."""
    check_options("logspace", layout, device, None, pin_memory, requires_grad)
    return finish(_spaced(start, end, steps, base, type_asked(dtype, out), "logspace"), requires_grad, out)
