"""Scripts run under PyTorch and under Rushlight, statement by statement, with everything they show compared.

`assert_same` takes a script that uses the name ``torch``. A top-level expression counts as shown, as at the
interactive prompt; so do errors (the script goes on after one), warnings, and what is passed to ``note``.
Invariant: a script that shows nothing is refused, so no comparison is empty.
"""

import ast
import contextlib
import textwrap
import warnings

import numpy as np
import torch

import rushlight


@contextlib.contextmanager
def warning_once():
    """PyTorch as it comes: what it warns of once in a process is not said at every call."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(False)
    try:
        yield
    finally:
        torch.set_warn_always(before)


def _use_up_warnings():
    """Or a script would show some or not, depending on what ran before."""
    with warnings.catch_warnings(), warning_once():
        warnings.simplefilter("ignore")
        for library in (torch, rushlight):
            (library.ones(1, requires_grad=True) ** 2).backward(create_graph=True)
            float(library.ones(1, requires_grad=True))
        torch.sparse_coo_tensor([[0]], [1.0])


_use_up_warnings()


def assert_same(source, tolerance=1e-6, text=60):
    """Run `source` under both libraries and compare what each statement shows.

    Args:
        source: the script, indented as one likes.
        tolerance: how far numbers may differ, relative to the largest.
        text: how many characters of an error's or warning's first sentence must be equal.
    """
    source = textwrap.dedent(source).strip()
    theirs, ours = Session(torch, tolerance, text), Session(rushlight, tolerance, text)
    shown = 0
    for statement in ast.parse(source).body:
        line = ast.get_source_segment(source, statement)
        with warning_once():
            before, after = theirs.run(statement), ours.run(statement)
        shown += len(before)
        assert same_shown(after, before, tolerance), f"{line}\nPyTorch:   {before}\nRushlight: {after}"
    assert shown, "the script shows nothing"


class Session:
    """A script running under one library."""

    def __init__(self, library, tolerance, text):
        self.library = library
        self.text = text
        self.notes = []
        self.names = {"torch": library, "np": np, "note": self.note, "__name__": "session"}

    def note(self, *values):
        """Show values from inside functions and loops."""
        self.notes += [describe(each) for each in values]

    def run(self, statement):
        """Run one statement; what it shows."""
        self.notes = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                if isinstance(statement, ast.Expr):
                    code = compile(ast.Expression(statement.value), "<script>", "eval")
                    value = eval(code, self.names)
                    if value is not None:
                        self.note(value)
                else:
                    exec(compile(ast.Module([statement], []), "<script>", "exec"), self.names)
            except Exception as error:  # noqa: BLE001 - the error is what is compared
                self.notes.append(("error", type(error).__name__, first_sentence(error)[: self.text]))
        for each in caught:
            message = first_sentence(each.message)[: self.text]
            self.notes.append(("warning", each.category.__name__, message))
        return self.notes


def first_sentence(message):
    """The message up to its first full stop or line end."""
    return str(message).split("\n")[0].split(". ")[0].rstrip(".")


def describe(value):
    """A value as plain Python objects that can be compared between the libraries."""
    if isinstance(value, (torch.Tensor, rushlight.Tensor)):
        maker = value.grad_fn
        return (
            "tensor",
            str(value.dtype),
            tuple(value.shape),
            value.requires_grad,
            None if maker is None else node_name(maker),
            Numbers(value.detach().numpy()),
        )
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [describe(each) for each in value]
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [describe(each) for each in value]
    if isinstance(value, dict):
        return {key: describe(each) for key, each in value.items()}
    if isinstance(value, (float, np.ndarray)):
        return Numbers(np.asarray(value))
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, type):
        return value.__name__
    if hasattr(value, "next_functions"):
        return "node", node_name(value)
    return repr(value).replace("rushlight", "torch")


def node_name(node):
    """A node's name, without C++'s namespace."""
    return node.name().rsplit(":", 1)[-1]


class Numbers:
    """Array elements that compare equal within a tolerance."""

    def __init__(self, array):
        self.array = array

    def __repr__(self):
        return repr(self.array.tolist())

    def near(self, other, tolerance):
        """Whether all elements are equal within the tolerance."""
        a, b = (each.array.astype(np.float64) for each in (self, other))
        if a.shape != b.shape:
            return False
        scale = np.abs(b[np.isfinite(b)]).max(initial=1.0)
        return np.allclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True)


def same_shown(ours, theirs, tolerance):
    """Whether two described values are equal, numbers within the tolerance."""
    if isinstance(theirs, Numbers):
        return isinstance(ours, Numbers) and ours.near(theirs, tolerance)
    if isinstance(theirs, dict):
        return isinstance(ours, dict) and same_shown(list(ours.items()), list(theirs.items()), tolerance)
    if isinstance(theirs, (list, tuple)):
        return (
            type(ours) is type(theirs)
            and len(ours) == len(theirs)
            and all(same_shown(a, b, tolerance) for a, b in zip(ours, theirs, strict=True))
        )
    return type(ours) is type(theirs) and ours == theirs
