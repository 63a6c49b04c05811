"""The backward pass: visit nodes from the newest to the oldest and hand gradients on.

Nodes are taken by falling sequence number, which is PyTorch's order too, so sums are formed in the same order
and give the same bits. Every edge leads to an older node; so when a node is taken, all gradients it will ever get have
arrived, and one pass with a heap needs no counting of dependencies and no recursion.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.mode import ANOMALY, GRAD, RECORDING, state
from rushlight.autograd.node import Node
from rushlight.dtype import from_numpy
from rushlight.quiet import QUIET, error_state

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
    """One backward pass: the gradients waiting for nodes, and those collected for leaves.

    `waiting` holds a gradient per node, or a list of them for a node with several outputs. `owned` names the places whose
    array was made by this pass and is held by nobody else, so that it may be added to, or given away, without a copy.
    """

    def __init__(self, create_graph: bool, keep_graph: bool, capture: _Capture | None) -> None:
        self.create_graph = create_graph
        self.keep_graph = keep_graph
        self.capture = capture
        self.heap: list[tuple[int, Node]] = []
        self.waiting: dict[Node, Any] = {}
        self.leaves: dict[int, list[Any]] = {}  # id -> [leaf, gradient, owned]
        self.owned: set[Any] = set()

    def deliver(self, target: Any, number: int, grad: Tensor, fresh: bool) -> None:
        """Add a gradient to what waits for output `number` of a node, or for a leaf."""
        if not isinstance(target, Node):
            entry = self.leaves.get(id(target))
            if entry is None:
                self.leaves[id(target)] = [target, grad, fresh]
            else:
                entry[1] = self._sum(entry[1], grad, entry[2])
                entry[2] = True
            return
        waiting = self.waiting
        present = waiting.get(target)
        if present is None:
            heappush(self.heap, (-target.sequence, target))
        if target.outputs is None:
            if present is None:
                waiting[target] = grad
                if fresh:
                    self.owned.add(target)
            else:
                waiting[target] = self._sum(present, grad, target in self.owned)
                self.owned.add(target)
            return
        if present is None:
            present = waiting[target] = [None] * len(target.outputs)
        if present[number] is None:
            present[number] = grad
        else:
            present[number] = self._sum(present[number], grad, (target, number) in self.owned)
            self.owned.add((target, number))

    def _sum(self, total: Tensor, grad: Tensor, ours: bool) -> Tensor:
        if ours and not self.create_graph and not state.mode & RECORDING and total._array.dtype is grad._array.dtype:
            return total.add_(grad)
        return total + grad

    def run(self) -> None:
        """Take nodes until none waits, then bring the leaves up to date."""
        heap, waiting, owned, capture = self.heap, self.waiting, self.owned, self.capture
        watched = state.mode & ANOMALY
        while heap:
            node = heappop(heap)[1]
            grads = waiting.pop(node)
            if node.outputs is None:
                grads = (grads,)
            if node.hooks is not None:
                grads = _run_pre_hooks(node, list(grads))
            if capture is not None:
                for number, index in capture.outputs.get(node, ()):
                    capture.found[index] = grads[number]
                if node not in capture.needed:
                    continue
            saved = node.saved
            results = _run_watched(node, grads) if watched else node.backward(grads)
            if not self.keep_graph:
                node.release()
            if node.hooks is not None and node.hooks.after:
                results = _run_post_hooks(node, results, grads)
            index = -1
            for edge in node.edges:
                index += 1
                grad = results[index]
                if grad is None or edge is None:
                    continue
                number = 0
                array = grad._array
                if not isinstance(edge, Node):
                    shape, kind = edge._array.shape, edge._array.dtype
                elif edge.outputs is None:
                    shape, kind = edge.shape, edge.dtype
                else:
                    number = node.numbers.get(index, 0) if node.numbers is not None else 0
                    shape, kind = edge.outputs[number]
                if array.shape != shape or array.dtype is not kind:
                    grad = _fit(node, index, grad, shape, kind)
                    array = grad._array
                # An array that is a view, was handed in, or was saved may have other holders.
                fresh = array.base is None and grad is not grads[0]
                if fresh:
                    for each in saved:
                        if each is grad:
                            fresh = False
                if fresh and isinstance(edge, Node) and edge.outputs is None and edge not in waiting:
                    # the usual case of `deliver`, without the call
                    waiting[edge] = grad
                    owned.add(edge)
                    heappush(heap, (-edge.sequence, edge))
                else:
                    self.deliver(edge, number, grad, fresh)
        for leaf, grad, ours in self.leaves.values():
            if leaf._hooks is None and capture is None:
                accumulate(leaf, grad, ours, self.create_graph)
            else:
                self._finish_leaf(leaf, grad, ours)

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
        elif ours and not grad._requires_grad and grad._array.strides == leaf._array.strides:
            leaf._grad = grad
        else:
            leaf._grad = grad.detach().clone()
    elif create_graph:
        leaf._grad = present + grad
    elif state.mode & RECORDING or present._array.dtype is not grad._array.dtype:
        present.add_(grad)
    else:  # what add_ comes to, without its checks
        np.add(present._array, grad._array, out=present._array)
        present._bump_version()
    if leaf._hooks is not None:
        for hook in list(leaf._hooks.after.values()):
            hook(leaf)


def _run_watched(node: Node, grads: Sequence[Any]) -> list[Any]:
    """One node in anomaly mode: say where its forward was called when it fails or gives NaN."""
    try:
        results = node.backward(grads)
    except Exception:
        _warn_where(node)
        raise
    if state.check_nan:
        for number, grad in enumerate(results):
            if grad is not None and np.isnan(grad._array).any():
                _warn_where(node)
                raise RuntimeError(f"Function '{node.name()}' returned nan values in its {number}th output.")
    return results


def _fit(node: Node, index: int, grad: Tensor, shape: tuple[int, ...], kind: np.dtype) -> Tensor:
    """Undo broadcasting and promotion: sum a gradient to the shape of its input and give it its type."""
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


def _run_post_hooks(node: Node, results: list[Any], grads: Sequence[Any]) -> list[Any]:
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
    roots: list[Any] = [tensor._fresh_node() or tensor for tensor in tensors]
    capture = _Capture(roots, inputs) if inputs is not None else None
    backward = _Pass(create_graph, keep_graph, capture)
    before = state.mode
    state.mode = before | GRAD if create_graph else before & ~GRAD
    token = error_state.set(QUIET)
    try:
        for tensor, root, grad in zip(tensors, roots, grads, strict=True):
            backward.deliver(root, tensor._output_nr, grad, False)
        backward.run()
    finally:
        error_state.reset(token)
        state.mode = before
    return capture.found if capture is not None else None
