"""Nodes of the tape: what an operation left behind so that backward can pass through it.

A node knows its edges (the nodes or leaf tensors that its inputs came from), the shape and type of its
outputs, and what its gradient rules need. It holds no tensor it does not need, and never its own output as
a tensor, so that graphs without in-place cycles are freed by reference counting alone. Invariant: every
edge leads to a node with a smaller sequence number, or to a leaf.
"""

from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.mode import GRAD, state

if TYPE_CHECKING:
    from rushlight.ops.define import Op, Plan
    from rushlight.tensor import Tensor

_next_sequence = itertools.count().__next__

FREED_TWICE = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have "
    "already "
    "been freed). Saved intermediate values of the graph are freed when you call .backward() or "
    "autograd.grad(). "
    "Specify retain_graph=True if you need to backward through the graph a second time or if you need to "
    "access "
    "saved tensors after calling backward."
)


class Hooks:
    """Functions registered on one node or on one leaf, in the order in which backward calls them.

    `tensor` holds hooks on the gradient of an output (with its number) or of the leaf, `retain` the tensors
    that keep their gradient, `before` and `after` the hooks of the node itself, and `accumulated` those
    that a leaf calls once its ``.grad`` is up to date.
    """

    __slots__ = ("__weakref__", "accumulated", "accumulator", "after", "before", "retain", "tensor")

    def __init__(self) -> None:
        self.tensor: dict[int, tuple[int, Callable[..., Any]]] = {}
        self.retain: dict[int, weakref.ref[Tensor]] = {}
        self.before: dict[int, Callable[..., Any]] = {}
        self.after: dict[int, Callable[..., Any]] = {}
        self.accumulated: dict[int, Callable[..., Any]] = {}
        self.accumulator: weakref.ref[AccumulateGrad] | None = None


# The hooks of leaves that are alive: only where there are some does a backward pass count gradients to come.
LEAF_HOOKS: weakref.WeakSet[Hooks] = weakref.WeakSet()


class RemovableHandle:
    """What a ``register_..._hook`` returns: `remove()` undoes the registration. Also a context manager."""

    _next_id = itertools.count().__next__

    def __init__(self, *tables: dict[int, Any]) -> None:
        self.id = RemovableHandle._next_id()
        self._tables = tables

    def remove(self) -> None:
        """Forget the hook; harmless when done twice."""
        for table in self._tables:
            table.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class Node:
    """One step of the tape, made by `apply` for an op; subclasses stand for other sources of gradients."""

    __slots__ = (
        "__weakref__",
        "dtype",
        "edges",
        "hooks",
        "label",
        "numbers",
        "op",
        "out",
        "out_ref",
        "out_version",
        "outputs",
        "params",
        "plan",
        "saved",
        "sequence",
        "shape",
        "shapes",
        "versions",
        "where",
    )

    plan: Any
    shape: tuple[int, ...]
    dtype: Any
    shapes: list[Any]
    out_ref: Any
    out_version: Any

    def __init__(self, op: Op | None, plan: Plan | None, params: dict[str, Any] | None) -> None:
        self.op: Any = op
        self.plan = plan
        self.params: Any = params
        self.sequence = _next_sequence()
        self.edges: Any = ()
        self.saved: Any = ()
        self.versions: Any = ()
        self.numbers: dict[int, int] | None = None
        self.outputs: Any = None
        self.hooks: Hooks | None = None
        self.out: Any = None
        self.where: Any = None
        self.label: str | None = None

    # -- structure -------------------------------------------------------------------------------------------

    def name(self) -> str:
        """PyTorch's name for the node, e.g. ``MulBackward0``."""
        if self.label is not None:
            return self.label
        return self.op.node_name if self.op is not None else type(self).__name__

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"

    def set_number(self, edge: int, number: int) -> None:
        """Say that an edge leads to output `number` of its node (0 where nothing is said)."""
        if self.numbers is None:
            self.numbers = {}
        self.numbers[edge] = number

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """The nodes that gradients flow to, each with the output number there; None where nothing is
        needed.
        """
        numbers = self.numbers or {}
        found = []
        for index, edge in enumerate(self.edges):
            if edge is not None and not isinstance(edge, Node):
                edge = accumulator_of(edge)
            found.append((edge, numbers.get(index, 0)))
        return self._per_input(found, (None, 0))

    def _per_input(self, per_edge: Sequence[Any], filler: Any = None) -> tuple[Any, ...]:
        """One value for each differentiable input of the op, as PyTorch counts them, from one for each
        edge.
        """
        if self.op is None or self.op.variadic:
            return tuple(per_edge)
        found = [filler] * len(self.op.rules)
        for value, place in zip(per_edge, self._places(), strict=True):
            found[place] = value
        return tuple(found)

    def _per_edge(self, per_input: Sequence[Any]) -> list[Any]:
        """The inverse of `_per_input`."""
        if self.op is None or self.op.variadic:
            return list(per_input)
        return [per_input[place] for place in self._places()]

    def _places(self) -> list[int]:
        """Where the inputs that have edges stand among all differentiable inputs of the op."""
        names = [name for name in self.op.input_names if name in self.op.rules]
        return [names.index(self.op.input_names[index]) for index in self.plan.edges]

    def __call__(self, *grads: Any) -> Any:
        """Run the node by itself: the gradients of its inputs from those of its outputs."""
        results = self._per_input(self.backward(grads))
        return results[0] if len(results) == 1 else results

    def _sequence_nr(self) -> int:
        return self.sequence

    def __getattr__(self, name: str) -> Any:
        """``_saved_<name>``: a value kept for backward; PyTorch calls our `input` self and `out` result."""
        if not name.startswith("_saved_") or self.op is None:
            raise AttributeError(f"'{self.name()}' object has no attribute '{name}'")
        wanted = name.removeprefix("_saved_")
        wanted = {"self": "input", "result": "out"}.get(wanted, wanted)
        plan, names = self.plan, self.op.input_names
        if self.saved is None and wanted in ("out", *(names[i] for i in plan.inputs)):
            raise RuntimeError(FREED_TWICE)
        if wanted == "out" and plan.save_out and self.outputs is None:
            return self._saved_outputs()[0]
        for index, value in zip(plan.inputs, self.saved, strict=False):
            if names[index] == wanted:
                return value
        if wanted in self.params:
            return self.params[wanted]
        raise AttributeError(f"'{self.name()}' object has no attribute '{name}'")

    @property
    def metadata(self) -> dict[str, Any]:
        """A dictionary for the user's own notes; kept beside the node while it lives."""
        return _METADATA.setdefault(self, {})

    def _hook_tables(self) -> Hooks:
        if self.hooks is None:
            self.hooks = Hooks()
        return self.hooks

    def register_hook(self, fn: Callable[..., Any]) -> RemovableHandle:
        """Call ``fn(grad_inputs, grad_outputs)`` after the node ran; it may return new grad_inputs."""
        handle = RemovableHandle(self._hook_tables().after)
        self._hook_tables().after[handle.id] = fn
        return handle

    def register_prehook(self, fn: Callable[..., Any]) -> RemovableHandle:
        """Call ``fn(grad_outputs)`` before the node runs; it may return new grad_outputs."""
        handle = RemovableHandle(self._hook_tables().before)
        self._hook_tables().before[handle.id] = fn
        return handle

    def remember_where(self) -> None:
        """Keep the Python stack of the forward call and the node whose backward made it, for anomaly mode."""
        self.where = Origin(state.running)

    # -- running --------------------------------------------------------------------------------------------

    def backward(self, grads: Sequence[Any], wanted: Sequence[bool] | None = None) -> list[Any]:
        """The gradients for each edge, from the gradients of the outputs (None counts as zero).

        Args:
            grads: a gradient or None for each output.
            wanted: which edges need a gradient; all of them if not given.
        """
        saved, plan = self.saved, self.plan
        if saved is None:
            raise RuntimeError(FREED_TWICE + self._made_at())
        if plan.saves:
            saved = self._checked()
        given = grads[0] if self.outputs is None else self._full_grads(grads)
        if given is None:
            return [None] * len(self.edges)
        variadic = self.op.variadic
        values = [given]
        if variadic and plan.inputs:
            values.append(saved)
        else:
            values += saved
        if plan.shapes:
            values += self.shapes
        if plan.save_out:
            values += self._saved_outputs()
        for name in plan.params:
            values.append(self.params[name])
        if variadic:
            _, rule, places = plan.calls[0]
            return list(rule(*[values[i] for i in places]))
        results: list[Any] = []
        for _, rule, places in plan.calls:
            if wanted is not None and not wanted[len(results)]:
                results.append(None)
            elif len(places) == 2:
                first, second = places
                results.append(rule(values[first], values[second]))
            else:
                results.append(rule(*[values[i] for i in places]))
        return results

    def _full_grads(self, grads: Sequence[Any]) -> Any:
        """What a rule of a multi-output op gets as `g`: one gradient if only one output can carry any."""
        from rushlight.ops.create import zeros_of

        if all(each is None for each in grads):
            return None
        chosen = self.op.differentiable
        full = [
            zeros_of(*self.outputs[i]) if grads[i] is None else grads[i]
            for i in (range(len(self.outputs)) if chosen is None else chosen)
        ]
        return full[0] if chosen is not None and len(full) == 1 else full

    def _saved_outputs(self) -> list[Tensor]:
        """The saved outputs as tensors that hang on this node, for second derivatives."""
        if self.out_version is None:
            return [each.tensor() for each in self.out]
        if self.outputs is None and not state.mode & GRAD:
            return [new_tensor(self.out)]
        arrays, numbers = ((self.out,), (0,)) if self.outputs is None else (self.out, self.plan.outputs)
        found = []
        for array, number in zip(arrays, numbers, strict=True):
            tensor = new_tensor(array)
            if array.dtype.kind == "f" and state.mode & GRAD:
                tensor._node, tensor._requires_grad, tensor._output_nr = self, True, number
            found.append(tensor)
        return found

    def _checked(self) -> Any:
        """The saved inputs; an error if one of them, or a saved output, was changed in place since."""
        if self.plan.save_out:
            self._check_outputs()
        if self.versions is None:
            from rushlight.autograd.graph import Packed

            return [each.tensor() if isinstance(each, Packed) else each for each in self.saved]
        for tensor, version in zip(self.saved, self.versions, strict=True):
            if version >= 0:
                now = tensor._version_count if tensor._root is None else tensor._root._version_count
                if now != version:
                    raise RuntimeError(_changed_in_place(self, tensor._array, now, version, tensor._node))
        return self.saved

    def _check_outputs(self) -> None:
        if self.out_version is None:
            return
        if self.outputs is None:
            root = self.out_ref()
            if root is not None and root._current_version() != self.out_version:
                now, expected = root._current_version(), self.out_version
                raise RuntimeError(_changed_in_place(self, self.out, now, expected, self))
            return
        numbers = self.plan.outputs
        for array, ref, version, number in zip(
            self.out, self.out_ref, self.out_version, numbers, strict=True
        ):
            root = ref()
            if root is not None and root._current_version() != version:
                raise RuntimeError(
                    _changed_in_place(self, array, root._current_version(), version, self, number)
                )

    def note_overwritten(self, version: int, number: int) -> None:
        """Remember, if output `number` was saved, that it was written to, even when its tensor is gone by
        then.
        """
        if self.out is None or not self.plan.save_out or self.out_version is None:
            return
        if self.outputs is None:
            self.out_ref = overwritten(self.out_ref, version)
        elif number in self.plan.outputs:
            place = self.plan.outputs.index(number)
            self.out_ref[place] = overwritten(self.out_ref[place], version)

    def release(self) -> None:
        """Free what was saved, so that a second backward is noticed and memory returns early."""
        if self.saved or self.out is not None:
            self.saved = None
            self.out = self.out_ref = None

    def _made_at(self) -> str:
        if self.where is None or not self.where.stack:
            return ""
        return f"\nThe forward call was made here:\n{self.where.stack[-1].rstrip()}"


class Overwritten:
    """In place of the weak reference to a saved output: outlives the tensor, with the last version noted."""

    __slots__ = ("reference", "version")

    def __init__(self, reference: Callable[[], Any]) -> None:
        self.reference, self.version = reference, 0

    def __call__(self) -> Any:
        found = self.reference()
        return self if found is None else found

    def _current_version(self) -> int:
        return self.version


def overwritten(reference: Callable[[], Any], version: int) -> Overwritten:
    """The reference to a saved output, with the version that a write has given it."""
    noted = reference if isinstance(reference, Overwritten) else Overwritten(reference)
    noted.version = version
    return noted


class Origin:
    """Where a node was made: the Python stack of the forward call, and the node whose backward ran it, if
    any.
    """

    __slots__ = ("parent", "stack")

    def __init__(self, parent: Node | None) -> None:
        import traceback

        self.parent = parent
        self.stack = traceback.format_list(_without_library(traceback.extract_stack()))


def _without_library(stack: list[Any]) -> list[Any]:
    """A stack up to the call of an operation: the frames inside this package's tape and ops left out."""
    inner = (f"rushlight{os.sep}ops{os.sep}", f"rushlight{os.sep}autograd{os.sep}")
    while stack and any(each in stack[-1].filename for each in inner):
        stack.pop()
    return stack


def edges_to(sources: Sequence[Tensor]) -> tuple[list[Any], dict[int, int] | None]:
    """The edges of a node to where tensors come from, and which output each means where it is not the first.

    To be asked for before the node is made: a stale view makes its own now, and edges lead to older nodes.
    """
    edges: list[Any] = []
    numbers: dict[int, int] = {}
    for source in sources:
        upstream = source._fresh_node()
        if source._output_nr:
            numbers[len(edges)] = source._output_nr
        edges.append(source if upstream is None and source._requires_grad else upstream)
    return edges, numbers or None


def unconnected(op: Op, plan: Plan, params: dict[str, Any]) -> Node:
    """A node whose gradients lead nowhere; a call by `plan` would have had some."""
    node = Node(op, op.plan(0), params)
    if plan.save_out:
        node.out = params  # freed by the first backward, like the result that PyTorch's node saves
    return node


_METADATA: weakref.WeakKeyDictionary[Node, dict[str, Any]] = weakref.WeakKeyDictionary()


def refuse_inference(tensor: Tensor) -> None:
    """Refuse to save what was made in inference mode, where in-place changes are not counted."""
    root = tensor if tensor._root is None else tensor._root
    if root.is_inference():
        raise RuntimeError(
            "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference "
            "mode in computation tracked by autograd. To work around this, you can make a clone to get a "
            "normal tensor and use it in autograd, or use `torch.no_grad()` instead of "
            "`torch.inference_mode()`."
        )


def _changed_in_place(
    node: Node | None, array: np.ndarray, now: int, expected: int, producer: Node | None, number: int = 0
) -> str:
    from rushlight.dtype import from_numpy
    from rushlight.ops.define import TITLES

    made_by = ""
    if producer is not None:  # PyTorch names the operation here, not its backward
        name = producer.name().removesuffix("Backward0").replace("Backward", "")
        made_by = f", which is output {number} of {name},"
    hint = (
        " Hint: the backtrace further above shows the operation that failed to compute its gradient. The "
        "variable in question was changed in there or anywhere later. Good luck!"
        if node is not None and node.where is not None
        else " Hint: enable anomaly detection to find the operation that failed to compute its gradient, "
        "with torch.autograd.set_detect_anomaly(True, check_nan=False)."
    )
    return (
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"[torch.{TITLES[from_numpy(array.dtype).name]}Tensor {list(array.shape)}]{made_by} is at version "
        f"{now}; "
        f"expected version {expected} instead.{hint}{'' if node is None else node._made_at()}"
    )


class AccumulateGrad(Node):
    """How a leaf shows itself in ``next_functions``: `variable` is the leaf whose ``.grad`` is added to."""

    __slots__ = ("variable",)

    def __init__(self, variable: Tensor) -> None:
        super().__init__(None, None, None)
        self.variable = variable

    def _hook_tables(self) -> Hooks:
        return self.variable._leaf_hooks()

    def backward(self, grads: Sequence[Any], wanted: Sequence[bool] | None = None) -> list[Any]:
        """Add the gradient to the leaf's."""
        from rushlight.autograd.engine import accumulate

        accumulate(self.variable, grads[0], False, bool(state.mode & GRAD))
        return []


def accumulator_of(leaf: Tensor) -> AccumulateGrad:
    """The one AccumulateGrad of a leaf, as long as somebody holds it."""
    hooks = leaf._leaf_hooks()
    found = hooks.accumulator() if hooks.accumulator is not None else None
    if found is None:
        found = AccumulateGrad(leaf)
        hooks.accumulator = weakref.ref(found)
    return found


from rushlight.tensor import new_tensor  # noqa: E402 - tensor imports this module
