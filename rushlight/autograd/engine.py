"""The backward pass: visit nodes from the newest to the oldest and hand gradients on.

Nodes are taken by falling sequence number, which is PyTorch's order too, so sums are formed in the same
order and give the same bits. Every edge leads to an older node; so when a node is taken, all gradients it
will ever get have arrived, and one pass with a heap needs no counting of dependencies and no recursion.
Leaves are brought up to date at the end; only leaves with hooks are counted, so that their hooks run as
soon as their gradient is complete. Invariant: an array is changed in place only if this pass made it and
nobody else can see it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np

from rushlight.autograd.mode import ANOMALY, GRAD, RECORDING, WATCHING, state
from rushlight.autograd.node import LEAF_HOOKS, Node
from rushlight.dtype import F16, from_numpy
from rushlight.quiet import QUIET, error_state
from rushlight.tensor import Tensor, new_tensor

_accumulating = threading.Lock()  # backward may run in several threads that share leaves
_add = np.add.reduce


class Goal:
    """The tensors that `autograd.grad` or ``backward(inputs=...)`` asks for, and which nodes lead to them.

    Args:
        roots: the nodes and leaves that the pass begins with.
        inputs: the tensors asked for.
        accumulate: add gradients to ``.grad`` (those of non-leaves by `retain_grad`) instead of returning
            them.
    """

    def __init__(self, roots: Sequence[Any], inputs: Sequence[Tensor], accumulate: bool) -> None:
        self.accumulate = accumulate
        self.leaves: dict[int, list[int]] = {}
        self.outputs: dict[Node, list[tuple[int, int]]] = {}
        self.found: list[Any] = [None] * len(inputs)
        for index, tensor in enumerate(inputs):
            node = tensor._fresh_node()
            if node is None:
                self.leaves.setdefault(id(tensor), []).append(index)
            else:
                self.outputs.setdefault(node, []).append((tensor._output_nr, index))
        self.needed: set[Node] = set()
        self._find_leading_to_inputs(roots)

    def reaches(self, target: Any) -> bool:
        """Whether a node or leaf is asked for or leads to something that is."""
        if isinstance(target, Node):
            return target in self.needed or target in self.outputs
        return id(target) in self.leaves

    def take(self, node: Node, grads: Sequence[Any]) -> None:
        """Keep the gradients of those outputs of a node that are asked for."""
        for number, index in self.outputs.get(node, ()):
            self.found[index] = grads[number]

    def _find_leading_to_inputs(self, roots: Sequence[Any]) -> None:
        for node in sorted(reachable(roots), key=lambda each: each.sequence):
            if any(edge is not None and self.reaches(edge) for edge in node.edges):
                self.needed.add(node)


def reachable(roots: Sequence[Any]) -> set[Node]:
    """All nodes that a full pass from these roots would visit."""
    found = {each for each in roots if isinstance(each, Node)}
    pending = list(found)
    while pending:
        for edge in pending.pop().edges:
            if isinstance(edge, Node) and edge not in found:
                found.add(edge)
                pending.append(edge)
    return found


def _expected(roots: Sequence[Any], goal: Goal | None) -> dict[int, int]:
    """How many gradients each leaf with hooks is going to get, by its id."""
    nodes = reachable(roots) if goal is None else goal.needed
    counts: dict[int, int] = {}
    for target in _targets(roots, nodes):
        if target is not None and not isinstance(target, Node) and target._hooks is not None:
            counts[id(target)] = counts.get(id(target), 0) + 1
    return counts


def _targets(roots: Sequence[Any], nodes: set[Node]) -> Iterator[Any]:
    yield from roots
    for node in nodes:
        yield from node.edges


class _Pass:
    """One backward pass: the gradients waiting for nodes, and those collected for leaves.

    `waiting` holds a gradient per node, or a list of them for a node with several outputs. `owned` names
    the places whose array was made by this pass and is held by nobody else, so that it may be added to, or
    given away, without a copy. `expected` counts the gradients still to come for leaves with hooks.
    """

    def __init__(self, create_graph: bool, keep_graph: bool, goal: Goal | None) -> None:
        self.create_graph = create_graph
        self.keep_graph = keep_graph
        self.goal = goal
        self.heap: list[tuple[int, Node]] = []
        self.waiting: dict[Node, Any] = {}
        self.leaves: dict[int, list[Any]] = {}  # id -> [leaf, gradient, owned]
        self.owned: set[Any] = set()
        self.expected: dict[int, int] = {}

    def deliver(self, target: Any, number: int, grad: Tensor | None, fresh: bool) -> None:
        """Add a gradient (None: there is none) to what waits for output `number` of a node, or for a leaf."""
        if not isinstance(target, Node):
            self._deliver_to_leaf(target, grad, fresh)
            return
        waiting = self.waiting
        if target not in waiting:
            heappush(self.heap, (-target.sequence, target))
            waiting[target] = None if target.outputs is None else [None] * len(target.outputs)
        if grad is None:
            return
        slots: Any = waiting
        key: Any = target
        place: Any = target
        if target.outputs is not None:
            slots, key, place = waiting[target], number, (target, number)
        present = slots[key]
        if present is not None:
            grad, fresh = self._sum(present, grad, place in self.owned), True
        slots[key] = grad
        if fresh:
            self.owned.add(place)

    def _deliver_to_leaf(self, leaf: Tensor, grad: Tensor | None, fresh: bool) -> None:
        entry = self.leaves.get(id(leaf))
        if entry is None:
            self.leaves[id(leaf)] = entry = [leaf, grad, fresh]
        elif entry[1] is None:
            entry[1:] = grad, fresh
        elif grad is not None:
            entry[1:] = self._sum(entry[1], grad, entry[2]), True
        if leaf._hooks is not None and id(leaf) in self.expected:
            self.expected[id(leaf)] -= 1
            if not self.expected[id(leaf)]:
                del self.leaves[id(leaf)]
                self._finish_leaf(leaf, entry[1], entry[2])

    def _sum(self, total: Tensor, grad: Tensor, ours: bool) -> Tensor:
        if ours and not self.create_graph and not state.mode & RECORDING:
            np.add(total._array, grad._array, out=total._array)
            total._version_count += 1
            return total
        return total + grad

    def run(self) -> None:
        """Take nodes until none waits, then bring the leaves up to date."""
        heap, waiting, owned, goal = self.heap, self.waiting, self.owned, self.goal
        leaves = self.leaves
        watched = state.mode & ANOMALY
        by_ops = self.create_graph or state.mode & RECORDING != 0
        wanted = None
        while heap:
            node = heappop(heap)[1]
            grads = waiting.pop(node)
            if node.outputs is None:
                grads = (grads,)
            hooks = node.hooks
            if goal is not None and node in goal.needed:
                goal.take(node, grads)  # before the hooks, as PyTorch does where the pass goes on from here
            if hooks is not None:
                grads = _run_tensor_hooks(node, list(grads))
            if goal is not None:
                if node not in goal.needed:
                    goal.take(node, grads)
                    if not goal.accumulate:
                        continue
                    # backward(inputs=[...]) runs the node all the same: PyTorch's errors, and what it frees
                wanted = [edge is not None and goal.reaches(edge) for edge in node.edges]
            if hooks is not None and hooks.before:
                grads = _run_before(hooks, grads)
            saved = node.saved
            if watched:
                from rushlight.autograd.anomaly import run_watched

                results = run_watched(node, grads, wanted)
            else:
                results = node.backward(grads, wanted)
            shared = node.op is None or node.op.variadic or node.outputs is not None
            given = grads[0]
            if hooks is not None and hooks.after:
                results = _run_after(node, results, grads)
                shared = True
            if not self.keep_graph:
                node.release()
            index = -1
            for edge in node.edges:
                index += 1
                if edge is None or (wanted is not None and not wanted[index]):
                    continue
                grad = results[index]
                if grad is None:
                    self.deliver(edge, 0, None, False)
                    continue
                number = 0
                array = grad._array
                is_node = isinstance(edge, Node)
                if not is_node:
                    if not edge._requires_grad:
                        continue  # switched off since, and perhaps given another shape
                    shape, kind = edge._array.shape, edge._array.dtype
                elif edge.outputs is None:
                    shape, kind = edge.shape, edge.dtype
                else:
                    number = node.numbers.get(index, 0) if node.numbers is not None else 0
                    shape, kind = edge.outputs[number]
                fitted = array.shape != shape or array.dtype is not kind
                if fitted:
                    grad = _fit(node, index, grad, shape, kind, by_ops)
                    array = grad._array
                # A view, what came in, and what was saved may have other holders.
                fresh = array.base is None and grad is not given
                if fresh and not fitted:
                    if shared or array is given._array:
                        fresh = False
                    for each in saved:
                        if each is grad:
                            fresh = False
                # the usual cases of `deliver`, without the call
                if is_node and fresh and edge.outputs is None and edge not in waiting:
                    waiting[edge] = grad
                    owned.add(edge)
                    heappush(heap, (-edge.sequence, edge))
                elif not is_node and edge._hooks is None and id(edge) not in leaves:
                    leaves[id(edge)] = [edge, grad, fresh]
                else:
                    self.deliver(edge, number, grad, fresh)
        for leaf, grad, ours in leaves.values():
            if leaf._hooks is None and goal is None:
                if grad is not None:
                    accumulate(leaf, grad, ours, self.create_graph)
            else:
                self._finish_leaf(leaf, grad, ours)

    def _finish_leaf(self, leaf: Tensor, grad: Tensor | None, ours: bool) -> None:
        """Run a leaf's hooks on its complete gradient and put that where it belongs."""
        goal, hooks = self.goal, leaf._hooks
        if hooks is not None and hooks.tensor:
            for _, hook in list(hooks.tensor.values()):
                grad = _changed_by_hook(hook, grad)
            ours = False  # a hook may have kept it
        if goal is not None and not goal.accumulate:
            for index in goal.leaves[id(leaf)]:
                goal.found[index] = grad
            return
        before = hooks.before if hooks is not None else {}
        if before:
            (grad,) = _run_before(hooks, [grad])
        if grad is not None:
            accumulate(leaf, grad, ours and not before, self.create_graph)
        if hooks is not None:
            for after in list(hooks.after.values()):
                after((), (grad,))


def accumulate(leaf: Tensor, grad: Tensor, ours: bool, create_graph: bool) -> None:
    """Add a gradient to ``leaf.grad``; a first gradient that nobody else holds is taken without a copy."""
    if leaf._node is not None:
        raise RuntimeError("leaf variable has been moved into the graph interior")
    if not leaf._requires_grad:  # switched off since the graph was made
        return
    if state.mode & RECORDING:
        state.recorder.note_grad(leaf)
    array = leaf._array
    with _accumulating:
        present = leaf._grad
        if present is None:
            if ours and not create_graph and _laid_out_alike(grad._array, array):
                leaf._grad = grad.detach() if grad._requires_grad else grad
            elif create_graph or state.mode & RECORDING or not array.flags.c_contiguous:
                leaf._grad = _copy_laid_out_as(leaf, grad if create_graph else grad.detach())
            else:  # what that comes to, without its checks
                leaf._grad = new_tensor(grad._array.copy())
        elif create_graph:
            leaf._grad = present + grad
        elif state.mode & RECORDING or present._array.dtype is not grad._array.dtype:
            present.add_(grad)
        else:  # likewise
            np.add(present._array, grad._array, out=present._array)
            present._bump_version()
    if leaf._hooks is not None:
        for hook in list(leaf._hooks.accumulated.values()):
            hook(leaf)


def _laid_out_alike(grad: np.ndarray, leaf: np.ndarray) -> bool:
    """Whether a gradient has the memory layout that PyTorch gives the gradient of this leaf."""
    if grad.strides == leaf.strides:
        return True
    if leaf.flags.c_contiguous:
        return grad.flags.c_contiguous
    from rushlight.views import is_dense

    if not is_dense(leaf):
        return grad.flags.c_contiguous
    pairs = zip(grad.strides, leaf.strides, leaf.shape, strict=True)
    return all(ours == theirs for ours, theirs, length in pairs if length != 1)


def _copy_laid_out_as(leaf: Tensor, grad: Tensor) -> Tensor:
    """A copy of a gradient in its leaf's memory layout: row by row where the leaf has gaps or repeats."""
    from rushlight.ops.create import empty_like
    from rushlight.ops.define import labelled
    from rushlight.views import is_dense

    if _laid_out_alike(grad._array, leaf._array):
        return labelled(grad.clone(), "CopyBackwards")
    if is_dense(leaf._array):
        return empty_like(leaf).copy_(grad)
    return grad.contiguous()


def _fit(
    node: Node, index: int, grad: Tensor, shape: tuple[int, ...], kind: np.dtype, by_ops: bool
) -> Tensor:
    """Undo broadcasting and promotion: sum a gradient to the shape of its input and give it its type."""
    array = grad._array
    if not by_ops and array.shape[1:] == shape and array.dtype is kind and kind is not F16:
        return new_tensor(np.asarray(_add(array, 0, kind)))  # a bias: what the sum below comes to
    from rushlight.ops.dims import expandable
    from rushlight.ops.reduce import sum_to_size

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


# -- hooks ---------------------------------------------------------------------------------------------------


def _changed_by_hook(hook: Any, grad: Tensor | None) -> Tensor | None:
    """What a tensor hook makes of a gradient: what it returns, or the gradient itself."""
    changed = hook(grad)
    if changed is None:
        return grad
    from rushlight.ops.define import TITLES
    from rushlight.tensor import Tensor

    if not isinstance(changed, Tensor):
        raise TypeError(f"expected Variable, but hook returned '{type(changed).__name__}'")
    if grad is not None:
        name = getattr(hook, "__name__", type(hook).__name__)
        if changed.dtype is not grad.dtype:
            was, got = (f"torch.{TITLES[each.dtype.name]}Tensor" for each in (grad, changed))
            raise RuntimeError(f"hook '{name}' has changed the type of value (was {was} got {got})")
        if changed._array.shape != grad._array.shape:
            raise RuntimeError(
                f"hook '{name}' has changed the size of value. It was {list(grad.shape)} and is "
                f"{list(changed.shape)}."
            )
    return changed


def _run_tensor_hooks(node: Node, grads: list[Any]) -> list[Any]:
    """The hooks of the tensors that a node made, and then the copies for those that retain their gradient."""
    hooks = node.hooks
    assert hooks is not None
    for number, hook in list(hooks.tensor.values()):
        grads[number] = _changed_by_hook(hook, grads[number])
    for number, reference in list(hooks.retain.items()):
        tensor, grad = reference(), grads[number]
        if tensor is not None and grad is not None:
            with _accumulating:
                present = tensor._grad
                tensor._grad = grad.clone() if present is None else present + grad
    return grads


def _run_before(hooks: Any, grads: Sequence[Any]) -> list[Any]:
    current = tuple(grads)
    for before in list(hooks.before.values()):
        changed = before(current)
        if changed is not None:
            current = _as_tuple_of(changed, before, len(current))
    return list(current)


def _run_after(node: Node, results: list[Any], grads: Sequence[Any]) -> list[Any]:
    assert node.hooks is not None
    current = node._per_input(results)
    for after in list(node.hooks.after.values()):
        changed = after(current, tuple(grads))
        if changed is not None:
            current = _as_tuple_of(changed, after, len(current))
    return node._per_edge(current)


def _as_tuple_of(changed: Any, hook: Any, count: int) -> tuple[Any, ...]:
    """What a hook of a node returned, checked."""
    if not isinstance(changed, tuple):
        raise TypeError(f"expected tuple, but hook returned '{type(changed).__name__}'")
    if len(changed) != count:
        name = getattr(hook, "__name__", type(hook).__name__)
        raise RuntimeError(
            f"hook '{name}' has returned an incorrect number of values (got {len(changed)}, but expected "
            f"{count})"
        )
    return changed


# -- the pass ------------------------------------------------------------------------------------------------


def run_backward(
    tensors: Sequence[Tensor],
    grads: Sequence[Any],
    keep_graph: bool,
    create_graph: bool,
    inputs: Sequence[Tensor] | None = None,
    accumulate: bool = False,
) -> list[Any] | None:
    """Run backward from `tensors` with their gradients.

    Args:
        tensors: the roots.
        grads: a gradient for each root, already of its shape and type.
        keep_graph: keep what nodes saved, for another pass.
        create_graph: record the pass itself, so that it can be differentiated.
        inputs: if given, only these get gradients.
        accumulate: add the gradients of `inputs` to their ``.grad`` instead of returning them.

    Returns:
        The gradients of `inputs` (None where a tensor was not reached), or None.
    """
    roots: list[Any] = [tensor._fresh_node() or tensor for tensor in tensors]
    goal = Goal(roots, inputs, accumulate) if inputs is not None else None
    backward = _Pass(create_graph, keep_graph, goal)
    if state.mode & RECORDING and not keep_graph:
        state.recorder.note_backward(roots)
    if state.mode & WATCHING:
        state.watcher.note_backward(tensors)
    if LEAF_HOOKS:
        backward.expected = _expected(roots, goal)
    before = state.mode
    state.mode = before | GRAD if create_graph else before & ~GRAD
    token = error_state.set(QUIET)
    try:
        for tensor, root, grad in zip(tensors, roots, grads, strict=True):
            if isinstance(root, Node) and root.outputs is None and grad._array.shape != root.shape:
                from rushlight.ops.reduce import sum_to_size

                grad = sum_to_size(grad, root.shape)  # of a shape that it got without being recorded
            if goal is None or goal.reaches(root):
                backward.deliver(root, tensor._output_nr, grad, False)
        backward.run()
    finally:
        error_state.reset(token)
        state.mode = before
    return goal.found if goal is not None and not accumulate else None
