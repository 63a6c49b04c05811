"""The backward pass: visit nodes from the newest to the oldest and hand gradients on.

Nodes are taken by falling sequence number, which is PyTorch's order too, so sums are formed in the same order
and give the same bits. Every edge leads to an older node; so when a node is taken, all gradients it will ever get have
arrived, and one pass with a heap needs no counting of dependencies and no recursion.
"""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.mode import state
from rushlight.autograd.node import Node

if TYPE_CHECKING:
    from rushlight.tensor import Tensor


class _Capture:
    """The tensors `autograd.grad` or ``backward(inputs=...)`` asks for, and which nodes lead to them."""

    def __init__(self, roots: Sequence[Any], inputs: Sequence[Tensor]) -> None:
        self.leaves: dict[int, list[int]] = {}
        self.outputs: dict[Node, list[tuple[int, int]]] = {}
        self.found: list[Any] = [None] * len(inputs)
        for index, tensor in enumerate(inputs):
            node = tensor._fresh_node()
            if node is None:
                self.leaves.setdefault(id(tensor), []).append(index)
            else:
                self.outputs.setdefault(node, []).append((tensor._output_nr, index))
        self.needed = self._leading_to_inputs(roots)

    def _leading_to_inputs(self, roots: Sequence[Any]) -> set[Node]:
        reachable: set[Node] = {each for each in roots if isinstance(each, Node)}
        pending = list(reachable)
        while pending:
            for edge in pending.pop().edges:
                if isinstance(edge, Node) and edge not in reachable:
                    reachable.add(edge)
                    pending.append(edge)
        needed: set[Node] = set()
        for node in sorted(reachable, key=lambda each: each.sequence):
            for edge in node.edges:
                if isinstance(edge, Node):
                    wanted = edge in needed or edge in self.outputs
                else:
                    wanted = edge is not None and id(edge) in self.leaves
                if wanted:
                    needed.add(node)
                    break
        return needed


class _Pass:
    """One backward pass: the gradients waiting for nodes, and those collected for leaves."""

    def __init__(self, create_graph: bool, keep_graph: bool, capture: _Capture | None) -> None:
        self.create_graph = create_graph
        self.keep_graph = keep_graph
        self.capture = capture
        self.heap: list[tuple[int, Node]] = []
        self.waiting: dict[Node, list[Any]] = {}
        self.leaves: dict[int, list[Any]] = {}  # id -> [leaf, gradient, whether the array is ours alone]
        self.owned: set[tuple[Node, int]] = set()

    def deliver(self, target: Any, number: int, grad: Tensor, fresh: bool) -> None:
        """Add a gradient to what waits for output `number` of a node, or for a leaf."""
        if isinstance(target, Node):
            slots = self.waiting.get(target)
            if slots is None:
                slots = self.waiting[target] = [None] * target.output_count()
                heapq.heappush(self.heap, (-target.sequence, target))
            if slots[number] is None:
                slots[number] = grad
                if fresh:
                    self.owned.add((target, number))
            else:
                slots[number] = self._sum(slots[number], grad, (target, number) in self.owned)
                self.owned.add((target, number))
        else:
            entry = self.leaves.get(id(target))
            if entry is None:
                self.leaves[id(target)] = [target, grad, fresh]
            else:
                entry[1] = self._sum(entry[1], grad, entry[2])
                entry[2] = True

    def _sum(self, total: Tensor, grad: Tensor, ours: bool) -> Tensor:
        if self.create_graph or state.recorder is not None:
            return total + grad
        if ours and total._array.dtype is grad._array.dtype:
            return total.add_(grad)
        return total + grad

    def run(self) -> None:
        """Take nodes until none waits, then bring the leaves up to date."""
        heap, waiting, capture = self.heap, self.waiting, self.capture
        while heap:
            _, node = heapq.heappop(heap)
            grads = waiting.pop(node)
            if node.hooks is not None:
                grads = _run_pre_hooks(node, grads)
            if capture is not None:
                for number, index in capture.outputs.get(node, ()):
                    capture.found[index] = grads[number]
                if node not in capture.needed:
                    continue
            self._run_node(node, grads)
        for leaf, grad, ours in self.leaves.values():
            self._finish_leaf(leaf, grad, ours)

    def _run_node(self, node: Node, grads: list[Any]) -> None:
        try:
            results = node.backward(grads)
        except Exception:
            if state.anomaly:
                _warn_where(node)
            raise
        if not self.keep_graph:
            node.release()
        if state.anomaly and state.check_nan:
            _refuse_nan(node, results)
        if node.hooks is not None and node.hooks.after:
            results = _run_post_hooks(node, results, grads)
        numbers = node.numbers
        for index, edge in enumerate(node.edges):
            grad = results[index]
            if grad is None or edge is None:
                continue
            array = grad._array
            if isinstance(edge, Node):
                number = numbers.get(index, 0) if numbers is not None else 0
                shape, kind = (edge.shape, edge.dtype) if edge.outputs is None else edge.outputs[number]
            else:
                number = 0
                shape, kind = edge._array.shape, edge._array.dtype
            if array.shape != shape or array.dtype is not kind:
                grad = _fit(node, index, grad, shape, kind)
                array = grad._array
            fresh = array.base is None and not any(grad is each for each in grads)
            if fresh and node.saved:
                fresh = not any(grad is each for each in node.saved)
            self.deliver(edge, number, grad, fresh)

    def _finish_leaf(self, leaf: Tensor, grad: Tensor, ours: bool) -> None:
        if leaf._hooks is not None:
            for hook in list(leaf._hooks.tensor.values()):
                changed = hook[1](grad)
                if changed is not None:
                    grad, ours = changed, False
        if self.capture is not None:
            for index in self.capture.leaves.get(id(leaf), ()):
                self.capture.found[index] = grad
            return
        accumulate(leaf, grad, ours, self.create_graph)


def accumulate(leaf: Tensor, grad: Tensor, ours: bool, create_graph: bool) -> None:
    """Add a gradient to ``leaf.grad``; a first gradient that nobody else holds is taken without a copy."""
    present = leaf._grad
    if present is None:
        if create_graph:
            leaf._grad = grad if ours else grad.clone()
        elif ours and grad._array.strides == leaf._array.strides:
            leaf._grad = grad.detach() if grad._requires_grad else grad
        else:
            leaf._grad = grad.detach().clone()
    elif create_graph:
        leaf._grad = present + grad
    else:
        present.add_(grad)
    if leaf._hooks is not None:
        for hook in list(leaf._hooks.after.values()):
            hook(leaf)


def _fit(node: Node, index: int, grad: Tensor, shape: tuple[int, ...], kind: np.dtype) -> Tensor:
    """Undo broadcasting and promotion: sum a gradient to the shape of its input and give it its type."""
    from rushlight.dtype import from_numpy
    from rushlight.ops.reduce import expandable, sum_to_size

    if grad._array.shape != shape:
        if not expandable(shape, grad._array.shape):
            raise RuntimeError(
                f"Function {node.name()} returned an invalid gradient at index {index} - got "
                f"{list(grad._array.shape)} but expected shape compatible with {list(shape)}"
            )
        grad = sum_to_size(grad, shape)
    if grad._array.dtype is not kind:
        grad = grad.to(from_numpy(kind))
    return grad


def _run_pre_hooks(node: Node, grads: list[Any]) -> list[Any]:
    hooks = node.hooks
    assert hooks is not None
    for number, hook in list(hooks.tensor.values()):
        if grads[number] is not None:
            changed = hook(grads[number])
            if changed is not None:
                grads[number] = changed
    for before in list(hooks.before.values()):
        changed = before(tuple(grads))
        if changed is not None:
            grads = list(changed) if isinstance(changed, tuple) else [changed]
    for number, reference in hooks.retain.items():
        tensor = reference()
        if tensor is not None and grads[number] is not None:
            tensor._grad = grads[number] if tensor._grad is None else tensor._grad + grads[number]
    return grads


def _run_post_hooks(node: Node, results: list[Any], grads: list[Any]) -> list[Any]:
    assert node.hooks is not None
    for after in list(node.hooks.after.values()):
        changed = after(tuple(results), tuple(grads))
        if changed is not None:
            results = list(changed) if isinstance(changed, tuple) else [changed]
    return results


def _warn_where(node: Node) -> None:
    trace = "".join(node.where) if node.where else "No forward pass information available.\n"
    warnings.warn(
        f"Error detected in {node.name()}. Traceback of forward call that caused the error:\n{trace}", stacklevel=4
    )


def _refuse_nan(node: Node, results: list[Any]) -> None:
    for number, grad in enumerate(results):
        if grad is not None and np.isnan(grad._array).any():
            _warn_where(node)
            raise RuntimeError(f"Function '{node.name()}' returned nan values in its {number}th output.")


def run_backward(
    tensors: Sequence[Tensor],
    grads: Sequence[Any],
    keep_graph: bool,
    create_graph: bool,
    inputs: Sequence[Tensor] | None = None,
) -> list[Any] | None:
    """Run backward from `tensors` with their gradients.

    Args:
        tensors: the roots.
        grads: a gradient for each root, already of its shape and type.
        keep_graph: keep what nodes saved, for another pass.
        create_graph: record the pass itself, so that it can be differentiated.
        inputs: if given, the gradients of exactly these are returned and no ``.grad`` is touched.

    Returns:
        The gradients of `inputs` (None where a tensor was not reached), or None.
    """
    roots = [tensor._fresh_node() or tensor for tensor in tensors]
    capture = _Capture(roots, inputs) if inputs is not None else None
    backward = _Pass(create_graph, keep_graph, capture)
    before = state.grad_enabled
    state.grad_enabled = create_graph
    try:
        for tensor, root, grad in zip(tensors, roots, grads, strict=True):
            backward.deliver(root, tensor._output_nr, grad, False)
        backward.run()
    finally:
        state.grad_enabled = before
    return capture.found if capture is not None else None
