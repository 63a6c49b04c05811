"""The checks of the op matrix: what is run for each table entry, with PyTorch as the oracle.

Every check appends to a `Report`: how often it ran, and what it found wrong. A check never stops the
others, so one run tells all that is wrong with an op.
"""

import functools
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import rushlight
from rushlight.ops.define import Entry, argument_names
from tests.conformance import matrix
from tests.conformance.exemptions import METHODS, NODES
from tests.conformance.matrix import (
    GRADIENT,
    OURS,
    SECOND,
    THEIRS,
    Case,
    compare_result,
    compare_tensor,
    tensors_in,
)

VARIANTS = 4  # of so many samples per entry, zero-size, 0-d and noncontiguous variants are made


class Report:
    """How often each check ran for an entry, and the problems found."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.problems: list[str] = []

    def note(self, check: str, case: Case, problem: str) -> None:
        self.runs[check] += 1
        if problem:
            self.problems.append(f"{check}: {case.label}: {problem}")


class Outcome:
    """What a call did: its result, or the exception it raised; and whether it warned."""

    def __init__(self, function: Callable[..., Any], args: list, kwargs: dict, values: bool) -> None:
        self.result: Any = None
        self.error: Exception | None = None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                self.result = function(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - whatever a library raises is what is compared
                self.error = error
        if not values:
            for each in tensors_in(self.result):
                matrix.array_of(each)[...] = 0
        self.warned = sorted(
            each.category.__name__ for each in caught if "deprecated" not in str(each.message).lower()
        )


def compare_errors(ours: Outcome, theirs: Outcome, texts: bool = False, types: bool = True) -> str:
    """What differs between two outcomes, one or both of them errors: type, first sentence if asked for."""
    if theirs.error is None:
        return f"raises {ours.error!r} where PyTorch does not"
    if ours.error is None:
        values = [matrix.array_of(each).tolist() for each in tensors_in(ours.result)]
        return f"returns {values} where PyTorch raises {theirs.error!r}"
    expected = (
        type(theirs.error) if types else (RuntimeError, IndexError, TypeError, ValueError, AssertionError)
    )
    if not isinstance(ours.error, expected):
        return f"raises {ours.error!r} where PyTorch raises {theirs.error!r}"
    sentence = str(theirs.error).split("\n")[0].split(". ")[0].rstrip(".")
    if sentence.startswith("The size of tensor a"):
        sentence = "The size of tensor a"  # PyTorch sometimes counts the operands in another order
    if texts and not str(ours.error).startswith(sentence):
        return f"says {str(ours.error)!r} where PyTorch says {sentence!r}"
    return ""


def _plain(node_name: str) -> str:
    """A node's name without C++'s namespace."""
    return node_name.rsplit(":", 1)[-1]


def _shares_memory(result: Any, given: list) -> bool:
    """Whether a write into the result would be seen in one of the tensors given."""
    array = matrix.array_of(result)
    return any(np.may_share_memory(array, matrix.array_of(each)) for each in tensors_in(given))


class Call:
    """One call in one library, with its leaves, ready for gradients."""

    def __init__(self, library: Any, function: Callable[..., Any], case: Case, **how: Any) -> None:
        self.library = library
        self.function = function
        self.case = case
        self.inplace = how.get("inplace", getattr(function, "__name__", "").endswith("_"))
        grads = how.get("grads", case.sample.grads)
        self.args, self.kwargs, self.leaves = case.build(library, how.get("layout"), grads)
        self.given = list(self.args)
        if self.inplace:
            self.args[0] = self.args[0].clone()
        library.seed()
        self.outcome = Outcome(function, self.args, self.kwargs, case.sample.values)
        self.result = self.args[0] if self.inplace and not self.outcome.error else self.outcome.result
        self.grads: list[Any] = []
        self.cotangents: list[Any] = []

    def differentiate(self) -> Exception | None:
        """Take gradients of the outputs for random cotangents; the error PyTorch or we raise, if any."""
        roots = [each for each in tensors_in(self.result) if each.requires_grad]
        self.cotangents = [self.case.cotangent(self.library, i, each) for i, each in enumerate(roots)]
        return self._grad(roots, self.leaves, self.cotangents, create_graph=True)

    def differentiate_again(self) -> Exception | None:
        """Gradients of the sum of squares of the gradients."""
        total = None
        for grad in self.grads:
            if grad is not None and grad.requires_grad:
                part = (grad * grad).sum()
                total = part if total is None else total + part
        if total is None:
            self.grads = [None] * (len(self.leaves) + len(self.cotangents))
            return None
        return self._grad([total], self.leaves + self.cotangents, None)

    def _grad(
        self, roots: list, inputs: list, cotangents: Any, create_graph: bool = False
    ) -> Exception | None:
        try:
            found = self.library.module.autograd.grad(
                roots, inputs, cotangents, create_graph=create_graph, allow_unused=True
            )
        except Exception as error:  # noqa: BLE001 - reported, or PyTorch's own refusal
            return error
        self.grads = list(found)
        return None


class EntryChecks:
    """All checks of one table entry."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.name = entry.name
        self.theirs = matrix.twin(entry)
        self.of_views = entry.op is not None and entry.op.kind == "view"
        self.report = Report()

    def run(self) -> Report:
        """Run every check on every sample and its variants."""
        samples = matrix.samples_of(self.entry)
        if not samples:
            self.report.problems.append("no samples")
            return self.report
        if self.theirs is not None:
            self.names()
        for number, sample in enumerate(samples):
            case = Case(self.name, sample, number)
            if self.theirs is None:
                self.numeric_gradient(case)
                continue
            self.compare(case, "value")
            if sample.raises:
                continue
            self.inplace(case)
            self.out(case)
            if number >= VARIANTS or not case.specs or any(spec.values is not None for spec in case.specs):
                continue
            self.compare(case, "noncontiguous", layout="noncontiguous")
            if any(n > 1 for spec in case.specs for n in spec.shape):
                self.compare(case.shrunk(self.name, number), "zero-size", probe=True)
            self.compare(case.scalar(self.name, number), "0-d", probe=True)
        return self.report

    def names(self) -> None:
        """The name is offered where PyTorch offers it: as a function, a method, an in-place method."""
        name = self.entry.torch_name.rsplit(".", 1)[-1]
        if self.name in METHODS or "." in self.entry.torch_name:
            return
        for label, exists in ((name, self.entry.method), (name + "_", self.entry.inplace is not None)):
            if hasattr(torch.Tensor, label) and not hasattr(rushlight.Tensor, label):
                self.report.problems.append(f"names: Tensor.{label} is missing")
            elif exists and not hasattr(torch.Tensor, label):
                self.report.problems.append(f"names: PyTorch has no Tensor.{label}")
        if hasattr(torch, name) and not hasattr(rushlight, name):
            self.report.problems.append(f"names: rushlight.{name} is missing")

    def compare(self, case: Case, check: str, layout: str | None = None, probe: bool = False) -> None:
        """Value, type, shape, whether a view, requires_grad, and gradients of first and second order.

        A probe is a call nobody wrote down (a variant with other shapes), so it may be an error in both.
        """
        theirs = Call(THEIRS, self.theirs, case, layout=layout)
        ours = Call(OURS, self.entry.function, case, layout=layout)
        sample = case.sample
        if ours.outcome.error or theirs.outcome.error:
            texts = sample.raises and self.name == self.entry.function.__name__
            problem = compare_errors(ours.outcome, theirs.outcome, texts, types=not probe)
            if not problem and not sample.raises and not probe:
                problem = f"PyTorch raises {theirs.outcome.error!r}: say raises=True"
            self.report.note(check, case, problem)
            return
        if sample.raises:
            self.report.note(check, case, "nothing raised")
            return
        problem = compare_result(ours.result, theirs.result, sample.tolerance) or self.compare_history(
            ours, theirs
        )
        if not problem and ours.outcome.warned != theirs.outcome.warned:
            problem = f"warned {ours.outcome.warned}, PyTorch warned {theirs.outcome.warned}"
        self.report.note(check, case, problem)
        if not problem and sample.grads:
            self.gradients(case, check, ours, theirs, second=sample.second and not probe)

    def compare_history(self, ours: Call, theirs: Call) -> str:
        """Whether the results are the same kind of view, require gradients alike and name the same node."""
        for a, b in zip(tensors_in(ours.result), tensors_in(theirs.result), strict=True):
            if a.requires_grad != b.requires_grad:
                return f"requires_grad {a.requires_grad} != {b.requires_grad}"
            if self.of_views and a._is_view() != b._is_view():
                return f"is {'' if a._is_view() else 'not '}a view, unlike PyTorch's"
            if a.numel() and _shares_memory(a, ours.given) != _shares_memory(b, theirs.given):
                return "shares memory with its input, or PyTorch's does"
            if [a is each for each in tensors_in(ours.given)] != [
                b is each for each in tensors_in(theirs.given)
            ]:
                return "returns its input itself, or PyTorch does"
            if b.grad_fn is not None and self.name not in NODES:
                names = [_plain(each.grad_fn.name()) for each in (a, b)]
                if names[0] != names[1]:
                    return f"grad_fn {a.grad_fn.name()} != {b.grad_fn.name()}"
        return ""

    def gradients(self, case: Case, check: str, ours: Call, theirs: Call, second: bool) -> None:
        """First and second derivatives of results that have them."""
        if not any(each.requires_grad for each in tensors_in(theirs.result)):
            return
        label = "gradient" if check == "value" else f"{check} gradient"
        if theirs.differentiate() is not None:
            return  # PyTorch has no derivative here
        problem = self.compare_gradients(ours, ours.differentiate(), theirs, GRADIENT, strict=True)
        self.report.note(label, case, problem)
        if problem or not second:
            return
        if theirs.differentiate_again() is None:
            problem = self.compare_gradients(ours, ours.differentiate_again(), theirs, SECOND, strict=False)
            self.report.note(label.replace("gradient", "second order"), case, problem)

    def compare_gradients(
        self, ours: Call, error: Exception | None, theirs: Call, scale: float, strict: bool
    ) -> str:
        if error is not None:
            return f"raises {error!r}"
        tolerance = ours.case.sample.tolerance
        # what passed through a coarse type on its way is no finer than that
        kinds = [matrix.dtype_name(each) for each in theirs.leaves]
        coarsest = max((matrix.TOLERANCE[kind][0] for kind in kinds), default=None)
        for i, (a, b) in enumerate(zip(ours.grads, theirs.grads, strict=True)):
            if a is None and b is None:
                continue
            if not strict:  # a missing second derivative counts as zero
                known = b if a is None else a
                a = (
                    rushlight.zeros(tuple(known.shape), dtype=getattr(rushlight, matrix.dtype_name(known)))
                    if a is None
                    else a
                )
                b = (
                    torch.zeros(tuple(known.shape), dtype=getattr(torch, matrix.dtype_name(known)))
                    if b is None
                    else b
                )
            if a is None or b is None:
                return f"gradient {i} is {'missing' if a is None else 'not None'}, unlike PyTorch's"
            problem = compare_tensor(a, b, scale, tolerance or coarsest)
            if problem:
                return f"gradient {i}: {problem}"
        return ""

    def inplace(self, case: Case) -> None:
        """The in-place variant: PyTorch's value, history and errors, and the out-of-place bits."""
        if not case.sample.inplace or not matrix.acts_on_tensor(case.sample):
            return
        function = self.entry.inplace
        if function is not None:
            twin = getattr(torch.Tensor, function.__name__)
        elif "inplace" in argument_names(self.entry.function):
            function = functools.partial(self.entry.function, inplace=True)
            twin = functools.partial(getattr(torch.nn.functional, self.name), inplace=True)
        else:
            return
        theirs = Call(THEIRS, twin, case, inplace=True)
        ours = Call(OURS, function, case, inplace=True)
        if ours.outcome.error or theirs.outcome.error:
            self.report.note("in-place", case, compare_errors(ours.outcome, theirs.outcome))
            return
        problem = compare_result(ours.result, theirs.result, case.sample.tolerance)
        if not problem and ours.outcome.result is not ours.args[0]:
            problem = "does not return the tensor itself"
        if not problem:
            problem = self.compare_history(ours, theirs) or self.same_as_out_of_place(case, ours.result)
        self.report.note("in-place", case, problem)
        if not problem and case.sample.grads:
            self.gradients(case, "in-place", ours, theirs, second=case.sample.second)

    def same_as_out_of_place(self, case: Case, result: Any) -> str:
        separate = Call(OURS, self.entry.function, case, grads=False)
        if separate.outcome.error or matrix.dtype_name(separate.result) != matrix.dtype_name(result):
            return ""
        a, b = matrix.array_of(result), matrix.array_of(separate.result)
        return "" if a.tobytes() == b.tobytes() else f"differs from out-of-place: {a} != {b}"

    def out(self, case: Case) -> None:
        """``out=`` in an empty tensor, which is resized: same value, same object."""
        if not case.sample.out:
            return
        plain = Call(THEIRS, self.theirs, case, grads=False).outcome
        if plain.error or not tensors_in(plain.result):
            return
        theirs = self._call_with_out(THEIRS, self.theirs, case, plain.result)
        takes_out = "out" in argument_names(self.entry.function)
        if isinstance(theirs.error, TypeError) and "argument" in str(theirs.error):
            return  # PyTorch's takes no out=
        if not takes_out:
            self.report.note("out", case, "no out=, unlike PyTorch's")
            return
        ours = self._call_with_out(OURS, self.entry.function, case, plain.result)
        if ours.error or theirs.error:
            self.report.note("out", case, compare_errors(ours, theirs))
            return
        problem = compare_result(ours.result, theirs.result, case.sample.tolerance)
        if not problem and any(
            a is not b for a, b in zip(tensors_in(ours.result), ours.targets, strict=True)
        ):
            problem = "does not return the tensor given"
        self.report.note("out", case, problem)

    @staticmethod
    def _call_with_out(library: Any, function: Callable[..., Any], case: Case, like: Any) -> Any:
        args, kwargs, _ = case.build(library)
        targets = [
            library.module.empty(0, dtype=library.named(matrix.dtype_name(each))) for each in tensors_in(like)
        ]
        kwargs["out"] = targets[0] if matrix.is_tensor(like) else tuple(targets)
        library.seed()
        outcome = Outcome(function, args, kwargs, case.sample.values)
        outcome.targets = targets
        return outcome

    def numeric_gradient(self, case: Case) -> None:
        """Without PyTorch's counterpart: derivatives along a random direction against differences."""
        call = Call(OURS, self.entry.function, case)
        self.report.note("value", case, f"raises {call.outcome.error!r}" if call.outcome.error else "")
        if call.outcome.error or not case.sample.grads or not call.leaves:
            return

        def total(*leaves: Any) -> Any:
            args, kwargs, _ = case.build(OURS, given=list(leaves))
            results = [x for x in tensors_in(self.entry.function(*args, **kwargs)) if x.requires_grad]
            return sum((x * case.cotangent(OURS, i, x).detach()).sum() for i, x in enumerate(results))

        def slope(*leaves: Any) -> Any:
            grads = rushlight.autograd.grad(total(*leaves), leaves, create_graph=True)
            return sum((grad * grad).sum() for grad in grads)

        leaves = [leaf.detach().double().requires_grad_() for leaf in call.leaves]
        self.report.note("gradient", case, _differs_from_differences(total, leaves, case))
        if case.sample.second:
            self.report.note("second order", case, _differs_from_differences(slope, leaves, case))


def _differs_from_differences(function: Callable[..., Any], leaves: list, case: Case) -> str:
    """What differs between the derivative of a scalar function and a central difference."""
    try:
        grads = rushlight.autograd.grad(function(*leaves), leaves, allow_unused=True)
    except Exception as error:  # noqa: BLE001 - reported
        return f"raises {error!r}"
    directions = [case.rng.uniform(-1, 1, tuple(leaf.shape)) for leaf in leaves]
    exact = sum(float((g._array * d).sum()) for g, d in zip(grads, directions, strict=True) if g is not None)
    ends = []
    for step in (1e-6, -1e-6):
        moved = [np.asarray(leaf._array + step * d) for leaf, d in zip(leaves, directions, strict=True)]
        ends.append(function(*[OURS.from_array(each).requires_grad_() for each in moved]).item())
    numeric = (ends[0] - ends[1]) / 2e-6
    return (
        "" if abs(exact - numeric) <= 1e-6 + 1e-5 * abs(numeric) else f"{exact} != {numeric} by differences"
    )
