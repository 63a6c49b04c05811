"""The op table: what an op is, and how it is offered to users.

An `Op` is one entry: a forward on ndarrays, a gradient rule per input, and the *kind* that says how
operands are promoted, whether the result is a view, and (for the compiler) how it becomes a loop nest.
`define.apply` runs them; nothing here computes. Invariant: everything users can call is in `TABLE`.

A gradient rule is a plain function whose parameter names say what it needs, and that is what gets saved:
``g`` (the gradient of the output), ``out``, the names of inputs and of params, or ``<input>_shape`` where
the shape is enough (naming an input only for its shape would forbid legal in-place edits). Rules are
written in ops on Tensors, so second derivatives and recording come free.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rushlight.ops.operands import NONE, PREPARE

TABLE: dict[str, Entry] = {}


class Entry:
    """One line of the table: a name users call, its function, its samples and how it is offered."""

    __slots__ = ("composite", "function", "inplace", "method", "name", "op", "samples", "torch_name")

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        op: Op | None = None,
        samples: Any = None,
        method: bool = True,
        inplace: Callable[..., Any] | None = None,
        torch_name: str | None = None,
    ) -> None:
        self.name = name
        self.function = function
        self.op = op
        self.samples = samples
        self.method = method
        self.inplace = inplace
        self.torch_name = torch_name or name
        self.composite = op is None


class Plan:
    """What a node must keep when a given set of inputs needs gradients, and the rule calls to make.

    `calls` holds, for each input that gets a gradient, its index, its rule, and where the rule's arguments
    stand in the list of values that `Node.backward` lays out: the gradient, then the saved inputs, shapes,
    outputs and params.
    """

    __slots__ = ("calls", "edges", "inputs", "outputs", "params", "save_out", "saves", "shapes")

    def __init__(self, op: Op, needed: Sequence[int]) -> None:
        rules = [
            (index, op.rules[op.input_names[index]]) for index in needed if op.input_names[index] in op.rules
        ]
        wanted = {name for _, rule in rules for name in argument_names(rule)}
        inputs, names = op.input_names, op.output_names
        self.inputs = tuple(i for i, name in enumerate(inputs) if name in wanted)
        self.shapes = tuple(i for i, name in enumerate(inputs) if name + "_shape" in wanted)
        self.outputs = tuple(i for i, name in enumerate(names) if name in wanted)
        self.save_out = bool(self.outputs) or "out" in wanted
        slots = ["g", *(inputs[i] for i in self.inputs), *(inputs[i] + "_shape" for i in self.shapes)]
        if self.save_out:
            slots += [names[i] for i in self.outputs] or ["out"]
        self.params = tuple(sorted(wanted - set(slots)))
        slots += self.params
        self.calls = tuple(
            (index, rule, tuple(slots.index(name) for name in argument_names(rule))) for index, rule in rules
        )
        self.edges = tuple(index for index, _ in rules)
        self.saves = bool(self.inputs) or self.save_out


def argument_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """All parameter names of a function (of the innermost one where decorators wrap it), keyword-only ones
    included.
    """
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    code = function.__code__
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


class Op:
    """A primitive: how to compute it, and how to differentiate it.

    Args:
        name: the table's name, PyTorch's where it has one.
        kind: "map", "fold", "view", "contract", "indexed", "random" or "opaque".
        forward: takes the ndarrays of the inputs and the params by keyword; returns one ndarray, or a
            tuple of them when `outputs` names several.
        inputs: the input names, in order; one name beginning with ``*`` takes any number of tensors.
        rules: gradient rule by input name; an input without a rule is not differentiable.
        promote: which of PyTorch's promotion kinds; NONE leaves operands as they are.
        outputs: names of the outputs where there are several.
        differentiable: which outputs carry gradients (all floating ones by default).
        node_name: what `grad_fn` prints, by default from the name: ``mul`` gives ``MulBackward0``.
        inplace_name: what it prints after the in-place form, where PyTorch counts that as another op.
        refused: of a map with a formula, another one: whether the forward raises because of such elements.
        update: the in-place form of an op that touches few elements: ``update(target, *others, **params)``
            writes into the array of the first input, which otherwise would be computed anew as a whole and
            copied back.
        overlap: which operands an in-place call refuses for sharing memory with what is written:
            "partial" (all but the very same window), "any", "expanded" (any too, but an expanded tensor may
            be written to, with a warning), or "none" (the op reads them before it writes).
    """

    __slots__ = (
        "differentiable",
        "folds",
        "forward",
        "formula",
        "inplace_name",
        "input_names",
        "into",
        "kind",
        "name",
        "node_name",
        "output_names",
        "overlap",
        "plans",
        "prepare",
        "promote",
        "refused",
        "returns_view",
        "rules",
        "update",
        "variadic",
    )

    def __init__(
        self,
        name: str,
        kind: str,
        forward: Callable[..., Any],
        inputs: Sequence[str],
        rules: dict[str, Callable[..., Any]] | None = None,
        *,
        promote: int = NONE,
        outputs: Sequence[str] = (),
        differentiable: Sequence[int] | None = None,
        node_name: str | None = None,
        inplace_name: str | None = None,
        formula: Callable[..., Any] | None = None,
        refused: Callable[..., Any] | None = None,
        update: Callable[..., None] | None = None,
        overlap: str = "partial",
    ) -> None:
        self.name = name
        self.update = update
        self.overlap = overlap
        self.into: Any = (
            None  # a map that can write into a given array: ``into(*operands, out=array, **params)``
        )
        self.kind = kind
        self.forward = forward
        self.formula = formula
        self.refused = refused
        self.variadic = bool(inputs) and inputs[0].startswith("*")
        self.input_names = tuple(each.lstrip("*") for each in inputs)
        self.rules = rules or {}
        unknown = set(self.rules) - set(self.input_names)
        if unknown:
            raise ValueError(f"op {name}: gradient rules for unknown inputs {sorted(unknown)}")
        self.promote = promote
        self.prepare = PREPARE[promote]
        self.output_names = tuple(outputs)
        self.differentiable = differentiable
        self.returns_view = kind == "view"
        self.folds = kind == "fold"  # its results are row-major, however NumPy laid them out
        self.node_name = node_name or "".join(part.capitalize() for part in name.split("_")) + "Backward0"
        self.inplace_name = inplace_name or self.node_name
        self.plans: dict[int, Plan] = {}

    def plan(self, mask: int) -> Plan:
        """The plan for the inputs whose bit is set in `mask`, made once."""
        found = self.plans.get(mask)
        if found is None:
            needed = [i for i in range(len(self.input_names)) if mask >> i & 1]
            found = self.plans[mask] = Plan(self, needed)
        return found

    def __repr__(self) -> str:
        return f"<op {self.name} ({self.kind})>"
