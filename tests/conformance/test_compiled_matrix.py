"""Every entry of the op table inside a compiled function: what the plain function gives, on other data too.

A program is recorded with one set of numbers and then run with another, so that whatever was frozen into it
shows. Values and gradients must agree up to rounding, for a program may compute in another order.
"""

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the conformance extra")

import rushlight as rl
from rushlight.compile.record import RecordingError
from rushlight.ops.define import Entry
from tests.conformance.coverage import TABLE
from tests.conformance.exemptions import WITHOUT_SAMPLES
from tests.conformance.matrix import GRADIENT, OURS, Case, array_of, close, samples_of, specs_in, tensors_in

# What looks at values, so that no program can hold it.
REFUSED = {
    "allclose": "a Python bool",
    "argwhere": "values decide the shape",
    "bincount": "values decide the shape",
    "copy_": "only where it gives an argument a history",
    "det": "only its gradient",
    "detach_": "an argument leaves its graph in place",
    "equal": "a Python bool",
    "gru": "only packed sequences, whose lengths decide the shapes",
    "histc": "computed from values",
    "histogram": "computed from values",
    "linalg.det": "only its gradient",
    "lstm": "only packed sequences, whose lengths decide the shapes",
    "masked_scatter": "only its gradient",
    "masked_select": "values decide the shape",
    "nanquantile": "computed from values",
    "nonzero": "values decide the shape",
    "nonzero_static": "made of nonzero",
    "one_hot": "only without num_classes",
    "quantile": "computed from values",
    "repeat_interleave": "values decide the shape",
    "rnn_relu": "only packed sequences, whose lengths decide the shapes",
    "rnn_tanh": "only packed sequences, whose lengths decide the shapes",
    "unique": "values decide the shape",
    "unique_consecutive": "values decide the shape",
    "view_copy": "only as another type",
}

SAMPLES = 4  # of an entry, to keep this quick


def flat_list(value: Any) -> list[Any]:
    """A result as arrays and plain values."""
    if isinstance(value, rl.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return [each for part in value for each in flat_list(part)]
    return [value]


def run(function: Callable[..., Any], case: Case) -> tuple[list[Any], list[Any], list[Any]]:
    """The results of a call, its arguments afterwards, and the gradients of the leaves."""
    args, kwargs, leaves = case.build(OURS, None, case.sample.grads)
    OURS.seed()
    results = flat_list(function(*args, **kwargs))
    roots = [each for each in results if isinstance(each, rl.Tensor) and each.requires_grad]
    given = [case.cotangent(OURS, number, each).detach() for number, each in enumerate(roots)]
    grads = list(rl.autograd.grad(roots, leaves, given, allow_unused=True)) if roots and leaves else []
    return results, tensors_in([args, kwargs]), grads


def difference(ours: list[Any], theirs: list[Any], scale: float) -> str:
    """What differs between two lists of tensors and plain values."""
    if len(ours) != len(theirs):
        return f"{len(ours)} results instead of {len(theirs)}"
    for mine, other in zip(ours, theirs, strict=True):
        if not isinstance(other, rl.Tensor):
            if mine != other and mine == mine:
                return f"{mine!r} instead of {other!r}"
            continue
        a, b = array_of(mine), array_of(other)
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"{a.dtype}{a.shape} instead of {b.dtype}{b.shape}"
        found = close(a, b, b.dtype.name, scale)
        if found:
            return found
    return ""


def _is_refusal(text: str) -> bool:
    """Whether an error names the line or the step, and is not about what the step keeps."""
    return ("test_compiled_matrix.py:" in text or "the step " in text) and "keeps a tensor" not in text


def problems(entry: Entry) -> list[str]:
    """What differs for the samples of an entry."""
    found = []
    samples = [each for each in samples_of(entry) if not each.raises]
    for number, sample in enumerate(itertools.islice(samples, SAMPLES)):
        if any(spec.layout == "expanded" for spec in specs_in(sample)):
            continue  # made by a function of NumPy's that hides who owns the memory
        cases = [Case(entry.name, sample, each) for each in (number, number + 1000)]
        compiled = rl.compile(entry.function)
        for turn, case in enumerate((*cases, cases[0])):
            try:
                expected = run(entry.function, case)
            except Exception:  # noqa: BLE001 - other numbers need not be what the op can take
                break
            try:
                made = run(compiled, case)
            except RecordingError as error:
                found.append("refused" if _is_refusal(str(error)) else str(error))
                break
            for what, scale, ours, theirs in zip(
                ("result", "argument", "gradient"), (1, 1, GRADIENT), made, expected, strict=True
            ):
                text = difference(ours, theirs, scale) if sample.values else ""
                if text:
                    found.append(f"{case.label}, call {turn}: {what}: {text}")
    return found


def test_compiled_is_eager_for_the_whole_table() -> None:
    """Each entry agrees, or is among those that look at values."""
    wrong, refused = [], set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in sorted(TABLE.keys() - WITHOUT_SAMPLES.keys()):
            found = problems(TABLE[name])
            if "refused" in found:
                refused.add(name)
            wrong += [f"{name}: {each}" for each in found if each != "refused"]
    assert wrong == []
    assert refused == set(REFUSED)
