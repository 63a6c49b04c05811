"""Running a program under Rushlight and comparing every tensor with PyTorch's.

After every line: whether it raised, and how tensors lie in memory. At the end, of every tensor: value, type,
strides, version, history, gradient. Invariant: what is let pass is named in `ACCEPTED`, and in
docs/differences.md.
"""

import re
import warnings

import numpy as np
import torch

import rushlight
from tests.conformance.view_programs.program import namespace, run_line, strides

# What a user is told; anything else that is raised is a bug of Rushlight.
REFUSALS = (RuntimeError, IndexError, TypeError, ValueError)

ACCEPTED = {
    "layout": "the strides of a result whose operands lie in memory in different orders, or overlap; from "
    "there on, which views there are depends on them",
    "refusal": "PyTorch's internal assertions, and what it refuses because a view was made without history "
    "or a saved tensor detached in place, though no gradient depends on it",
    "gradient": "the version of a gradient, and whether it is a view, which detach_ refuses: the engine's",
}
LATE_REFUSALS = re.compile(
    "A view was created in no_grad mode|has been detached in-place|INTERNAL ASSERT FAILED|Can't detach views"
)
VIEW_WITHOUT_HISTORY = re.compile(r"with torch.no_grad\(\):\n    t\d+ = t\d+[.\[]")
TWO_OPERANDS = re.compile(r"t\d+ [-+*] t\d+$")


class Comparison:
    """What Rushlight does differently from PyTorch: `problems`, and which differences were `accepted`."""

    def __init__(self, program):
        self.program = program
        self.problems = []
        self.accepted = set()
        self.names = namespace(rushlight)
        self.gradients = set()  # the names of what `autograd.grad` returned
        if self.run():
            self.compare()

    def run(self):
        """Run the lines; whether all went as under PyTorch."""
        program = self.program
        for number, line in enumerate(program.lines):
            ours = run_line(compile(line, "<program>", "exec"), self.names)
            problem = compare_errors(ours, program.errors[number])
            if problem and ours is None and self.is_refused_late(program.errors[number]):
                self.accepted.add("refusal")
                return False
            if problem:
                self.problems.append(f"line {number} ({line!r}) {problem}")
                return False
            if "autograd.grad(" in line:
                self.gradients |= set(re.findall(r"(t\d+),", line.split("=")[0]))
            if self.laid_out_otherwise(number):
                return False
        return True

    def is_refused_late(self, error):
        """Whether PyTorch's error is one that Rushlight raises only where the gradient needs it."""
        by_backward = self.program.stopped_in_backward and any(
            map(VIEW_WITHOUT_HISTORY.match, self.program.lines)
        )
        return by_backward or LATE_REFUSALS.search(str(error))

    def laid_out_otherwise(self, number):
        """Whether a line made a tensor whose strides differ: a problem, unless they may."""
        before = self.program.layouts[number - 1] if number else {}
        for name, theirs in self.program.layouts[number].items():
            ours = self.names.get(name)
            if (
                before.get(name) == theirs
                or not isinstance(ours, rushlight.Tensor)
                or strides(ours) == theirs
            ):
                continue
            if name in self.gradients or self.may_be_laid_out_otherwise(self.program.lines[number]):
                self.accepted.add("layout")
            else:
                self.problems.append(f"{name}: strides {strides(ours)}, PyTorch's {theirs}")
            return True
        return False

    def may_be_laid_out_otherwise(self, line):
        """Whether a line computes from two tensors, or from one whose elements share memory."""
        made, _, expression = line.rpartition(" = ")
        shared = self.program.repeating.intersection(re.findall(r"\bt\d+", expression))
        return bool(made) and (shared or TWO_OPERANDS.match(expression))

    def compare(self):
        """Compare all tensors."""
        for name, tensor in self.program.tensors().items():
            problem = self.difference(name, self.names.get(name), tensor)
            if problem:
                self.problems.append(f"{name}: {problem}")

    def difference(self, name, ours, theirs):
        """Why two tensors differ, or an empty string."""
        if not isinstance(ours, rushlight.Tensor):
            return f"is {ours!r}"
        tolerance = 1e-4 if self.program.single else 1e-9
        problem = compare_values(ours, theirs, tolerance)
        if problem:
            return problem
        for what, ask in FACTS.items():
            mine, yours = (outcome(ask, each) for each in (ours, theirs))
            if mine == yours or (what == "_version" and not self.program.versions):
                continue
            if what in ("_version", "_is_view") and self.is_of_gradient(theirs):
                self.accepted.add("gradient")
                continue
            return f"{what} is {mine}, PyTorch's {yours}"
        if self.program.stopped_in_backward:
            return ""
        a, b = gradient(ours), gradient(theirs)
        if a is None or b is None:
            return "" if a is b else f"grad is {a}, PyTorch's {b}"
        problem = compare_values(a, b, tolerance)
        if not problem and a.requires_grad != b.requires_grad:
            problem = "requires_grad differs"
        return problem and f"grad: {problem}"

    def is_of_gradient(self, tensor):
        """Whether a tensor of PyTorch's lies in the memory of a gradient that `autograd.grad` returned."""
        storage = tensor.untyped_storage().data_ptr()
        found = (self.program.names.get(name) for name in self.gradients)
        return any(
            isinstance(each, torch.Tensor) and each.untyped_storage().data_ptr() == storage for each in found
        )


def compare_errors(ours, theirs):
    """Why two outcomes of a line differ, or an empty string; that both refuse it counts as equal."""
    if ours is None and theirs is None:
        return ""
    if ours is None:
        return f"works, where PyTorch raises {theirs!r}"
    if theirs is None:
        return f"raises {ours!r}, where PyTorch works"
    if isinstance(ours, NameError) and isinstance(theirs, NameError) and str(ours) == str(theirs):
        return ""  # the program's own: it goes on with what a refused line would have made
    if not isinstance(ours, REFUSALS) or isinstance(ours, NotImplementedError):
        return f"breaks with {ours!r}, where PyTorch raises {theirs!r}"
    return ""


def compare_values(ours, theirs, tolerance):
    """Why type, shape or elements differ, or an empty string."""
    if str(ours.dtype) != str(theirs.dtype):
        return f"dtype {ours.dtype}, PyTorch's {theirs.dtype}"
    if tuple(ours.shape) != tuple(theirs.shape):
        return f"shape {tuple(ours.shape)}, PyTorch's {tuple(theirs.shape)}"
    # PyTorch has zeros that exist on paper only; force=True writes them out
    a, b = (each.detach().numpy(force=True).astype(np.float64) for each in (ours, theirs))
    scale = max(1.0, float(np.abs(b).max())) if b.size and np.isfinite(b).all() else 1.0
    if not np.allclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True):
        return f"{a.tolist()}, PyTorch's {b.tolist()}"
    return ""


def outcome(ask, tensor):
    """The answer, or that it raised."""
    try:
        return ask(tensor)
    except RuntimeError:
        return "an error"


def gradient(tensor):
    """``.grad`` of a tensor that may have one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tensor.grad


def maker(tensor):
    """The name of the node that made a tensor."""
    return None if tensor.grad_fn is None else tensor.grad_fn.name().rsplit(":", 1)[-1]


FACTS = {
    "_version": lambda tensor: tensor._version,
    "requires_grad": lambda tensor: tensor.requires_grad,
    "is_leaf": lambda tensor: tensor.is_leaf,
    "grad_fn": maker,
    "_is_view": lambda tensor: tensor._is_view(),
    "retains_grad": lambda tensor: tensor.retains_grad and not tensor.is_leaf,
    "output_nr": lambda tensor: tensor.output_nr,
}
