"""`apply`, the one path every operation takes.

It runs the forward of an `Op` of the table (`rushlight.ops.table`), puts at most one node on the tape, and
notes the call when a recorder listens. Broadcast gradients, gradient dtypes and version checks are the
engine's business, never a rule's. Invariant: no value is computed, and no tensor changed, on any other path.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rushlight.autograd.mode import ANOMALY, GRAD, INFERENCE, NODES_NOTED, PACKING, RECORDING, WATCHING, state
from rushlight.autograd.node import Node, edges_to, refuse_inference, unconnected
from rushlight.dtype import can_cast, from_numpy
from rushlight.ops.operands import ALWAYS_BOOL as ALWAYS_BOOL
from rushlight.ops.operands import BOOL_TO_LONG as BOOL_TO_LONG
from rushlight.ops.operands import C_NAMES as C_NAMES
from rushlight.ops.operands import DEFAULT as DEFAULT
from rushlight.ops.operands import INT_TO_FLOAT as INT_TO_FLOAT
from rushlight.ops.operands import NO_OPMATH as NO_OPMATH
from rushlight.ops.operands import TITLES as TITLES
from rushlight.ops.operands import ArgumentError as ArgumentError
from rushlight.ops.operands import convert_operand as convert_operand
from rushlight.ops.operands import operand_of
from rushlight.ops.table import TABLE as TABLE
from rushlight.ops.table import Entry as Entry
from rushlight.ops.table import Op as Op
from rushlight.ops.table import Plan as Plan
from rushlight.ops.table import argument_names as argument_names
from rushlight.quiet import QUIET, error_state
from rushlight.storage import row_major
from rushlight.tensor import Tensor, new_tensor

NO_PARAMS: dict[str, Any] = {}


class _InPlace:
    """Given as ``out=``: store the result in the first input."""

    def __repr__(self) -> str:
        return "INPLACE"


INPLACE = _InPlace()

_ndarray = np.ndarray
_set_errors, _reset_errors = error_state.set, error_state.reset


# -- apply ---------------------------------------------------------------------------------------------------


def compute(op: Op, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
    """Run the forward with NumPy's warnings off: one ndarray, or a tuple of them."""
    token = _set_errors(QUIET)
    try:
        operands, cast = op.prepare(op, inputs)
        result = op.forward(*operands, **params)
        if cast is not None:
            result = np.asarray(result).astype(cast, copy=False)
    except ValueError as error:
        raise _broadcast_error(inputs, error) from None
    finally:
        _reset_errors(token)
    return result


def apply(op: Op, inputs: Sequence[Any], params: dict[str, Any] = NO_PARAMS, out: Any = None) -> Any:
    """Run an op on tensors and numbers: the only way a value is ever computed.

    Args:
        op: the table entry.
        inputs: tensors, Python numbers or None, in the order of ``op.input_names``.
        params: everything else the forward takes, by name; never tensors.
        out: a tensor to write the result to, as PyTorch's ``out=``, or `INPLACE`.

    Returns:
        A new tensor, a view of the first input for ops of the kind "view", or a tuple of tensors.
    """
    if out is not None:
        return apply_inplace(op, inputs, params) if out is INPLACE else _apply_to(op, inputs, params, out)
    if op.returns_view:
        return _apply_view(op, inputs, params)
    token = _set_errors(QUIET)
    try:
        operands, cast = op.prepare(op, inputs)
        result = op.forward(*operands, **params)
        if cast is not None:
            result = np.asarray(result).astype(cast, copy=False)
    except ValueError as error:
        raise _broadcast_error(inputs, error) from None
    finally:
        _reset_errors(token)
    mode = state.mode
    if type(result) is tuple:
        return _finish_many(op, inputs, params, result, mode)
    if op.folds and result.ndim > 1 and not result.flags.c_contiguous:
        result = result.copy()
    # NumPy hands back a scalar for a 0-d result; a tensor always holds an array
    tensor = new_tensor(result if type(result) is _ndarray else np.asarray(result))
    if mode & GRAD:
        mask, bit = 0, 1
        for each in inputs:
            if isinstance(each, Tensor) and (
                each._requires_grad or (each._base is not None and each.requires_grad)
            ):
                mask |= bit
            bit <<= 1
        if mask and result.dtype.kind == "f":
            node = make_node(op, inputs, params, mask)
            if node is not None:
                array = tensor._array
                node.shape, node.dtype = array.shape, array.dtype
                tensor._node, tensor._requires_grad = node, True
                if node.plan.save_out:
                    node.out, node.out_ref, node.out_version = (
                        array,
                        weakref.ref(tensor),
                        tensor._version_count,
                    )
    if mode & (INFERENCE | RECORDING | PACKING):
        _note(op, inputs, params, (tensor,), tensor, mode)
    return tensor


def _apply_view(op: Op, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
    """`apply` for a view of the one input: no arithmetic, and so no promotion and no warnings of NumPy's."""
    source = inputs[0]
    if not isinstance(source, Tensor):
        raise ArgumentError(
            f"{op.name}(): argument 'input' (position 1) must be Tensor, not {type(source).__name__}"
        )
    result = op.forward(source._array, **params)
    mode = state.mode
    if type(result) is tuple:
        return _finish_many(op, inputs, params, result, mode)
    tensor = new_tensor(result)
    _link_view(source, tensor, mode)
    needs_grad = source._requires_grad or (source._base is not None and source.requires_grad)
    if mode & GRAD and needs_grad and result.dtype.kind == "f":
        node = make_node(op, inputs, params, 1)
        if node is not None:
            node.shape, node.dtype = result.shape, result.dtype
            tensor._node, tensor._requires_grad = node, True
    if mode & (INFERENCE | RECORDING | PACKING):
        _note(op, inputs, params, (tensor,), tensor, mode)
    return tensor


def _broadcast_error(inputs: Sequence[Any], error: ValueError) -> Exception:
    """NumPy's complaint about shapes in PyTorch's words; any other ValueError as it is."""
    if "could not be broadcast" not in str(error):
        return error
    first, *others = [shape_of(each) for each in inputs if isinstance(each, Tensor)]
    for second in others:
        for back in range(1, min(len(first), len(second)) + 1):
            n, m = first[-back], second[-back]
            if n != m and 1 not in (n, m):
                return RuntimeError(
                    f"The size of tensor a ({n}) must match the size of tensor b ({m}) at non-singleton "
                    "dimension "
                    f"{max(len(first), len(second)) - back}. The shapes are {list(first)} and {list(second)}."
                )
        first = np.broadcast_shapes(first, second)
    return error


def _finish_many(
    op: Op, inputs: Sequence[Any], params: dict[str, Any], results: tuple[Any, ...], mode: int
) -> Any:
    """The tail of `apply` for an op with several outputs."""
    if op.folds:
        results = tuple(row_major(np.asarray(each)) for each in results)
    outputs = tuple(new_tensor(each if type(each) is _ndarray else np.asarray(each)) for each in results)
    if op.returns_view:
        for each in outputs:
            _link_view(inputs[0], each, mode)
            if mode & GRAD:
                each._creation = "multiple"
    mask = needs_grad_mask(inputs) if mode & GRAD else 0
    if mask:
        _record_many(op, inputs, params, mask, outputs)
    if mode & (INFERENCE | RECORDING | PACKING):
        _note(op, inputs, params, outputs, outputs, mode)
    return outputs


def _note(
    op: Op, inputs: Sequence[Any], params: dict[str, Any], made: Sequence[Tensor], outputs: Any, mode: int
) -> None:
    """What inference mode, recording and hooks on saved tensors add to an op."""
    if mode & INFERENCE:
        for each in made:
            each._mark_inference()
    if mode & RECORDING:
        state.recorder.note(op, inputs, params, outputs)
    if mode & PACKING:
        from rushlight.autograd.graph import pack_outputs

        pack_outputs(next((each._node for each in made if each._node is not None), None), made)


def _apply_to(op: Op, inputs: Sequence[Any], params: dict[str, Any], out: Any) -> Any:
    """`apply` with the tensors given as ``out=`` for the result."""
    if state.mode & GRAD and needs_grad_mask(inputs):
        raise RuntimeError(
            f"{op.name}(): functions with out=... arguments don't support automatic differentiation, "
            "but one of the arguments requires grad."
        )
    return write_out(out, apply(op, inputs, params))


def needs_grad_mask(inputs: Sequence[Any]) -> int:
    """A bit for every input that requires grad, the first input's lowest."""
    mask, bit = 0, 1
    for each in inputs:
        if isinstance(each, Tensor) and each.requires_grad:
            mask |= bit
        bit <<= 1
    return mask


def make_node(op: Op, inputs: Sequence[Any], params: dict[str, Any], mask: int) -> Node | None:
    """The tape's node for one call, or None where no input that needs a gradient has a rule."""
    if op.variadic:
        return _variadic_node(op, inputs, params)
    plan = op.plans.get(mask) or op.plan(mask)
    if not plan.edges:
        return None
    # Edges come first: a stale view makes its node now, and edges must lead to older nodes.
    edges: list[Any] = []
    numbers: Any = None
    for index in plan.edges:
        source = inputs[index]
        upstream = source._node if source._base is None else source._fresh_node()
        if source._output_nr:
            numbers = numbers or {}
            numbers[len(edges)] = source._output_nr
        if upstream is None:
            if not source._requires_grad:  # a view without history: its gradient leads nowhere
                return make_node(op, inputs, params, mask & ~(1 << index)) or unconnected(op, plan, params)
            upstream = source
        edges.append(upstream)
    node = Node(op, plan, params)
    if plan.inputs:
        saved, versions = [], []
        for index in plan.inputs:
            each = inputs[index]
            saved.append(each)
            if isinstance(each, Tensor):
                root = each if each._root is None else each._root
                if root._creation is not None:
                    refuse_inference(root)
                versions.append(root._version_count)
            else:
                versions.append(-1)
        node.saved, node.versions = saved, versions
    if plan.shapes:
        node.shapes = [shape_of(inputs[index]) for index in plan.shapes]
    node.edges, node.numbers = edges, numbers
    if state.mode & NODES_NOTED:
        _watch(node)
    return node


def _variadic_node(op: Op, inputs: Sequence[Any], params: dict[str, Any]) -> Node | None:
    """A node for an op over any number of tensors: its one rule gets and returns lists over them."""
    plan = op.plans.get(1) or op.plan(1)
    if not plan.edges:
        return None
    edges, numbers = edges_to(inputs)
    node = Node(op, plan, params)
    node.edges, node.numbers = edges, numbers
    if plan.inputs:
        node.saved = list(inputs)
        for each in inputs:
            refuse_inference(each)
        node.versions = [each._current_version() for each in inputs]
    if plan.shapes:
        node.shapes = [tuple(shape_of(each) for each in inputs)]
    if state.mode & NODES_NOTED:
        _watch(node)
    return node


def _watch(node: Node) -> None:
    """What anomaly mode, hooks on saved tensors and a watcher of training add to a node."""
    if state.mode & ANOMALY:
        node.remember_where()
    if state.mode & PACKING:
        from rushlight.autograd.graph import pack_inputs

        pack_inputs(node)
    if state.mode & WATCHING:
        state.watcher.note_node(node)


def shape_of(operand: Any) -> tuple[int, ...]:
    """The shape of a tensor; numbers count as 0-d."""
    return operand._array.shape if isinstance(operand, Tensor) else ()


def _record_many(
    op: Op, inputs: Sequence[Any], params: dict[str, Any], mask: int, outputs: tuple[Tensor, ...]
) -> None:
    """Put the one node of an op with several outputs on the tape."""
    chosen = op.differentiable
    if chosen is None:
        chosen = [i for i, each in enumerate(outputs) if each._array.dtype.kind == "f"]
    node = make_node(op, inputs, params, mask) if chosen else None
    if node is None:
        return
    node.outputs = [(each._array.shape, each._array.dtype) for each in outputs]
    for number in chosen:
        tensor = outputs[number]
        tensor._node, tensor._requires_grad, tensor._output_nr = node, True, number
    if node.plan.save_out:
        kept = [outputs[i] for i in node.plan.outputs]
        node.out = [each._array for each in kept]
        node.out_ref = [weakref.ref(each) for each in kept]
        node.out_version = [each._version_count for each in kept]


def _link_view(source: Tensor, view: Tensor, mode: int) -> None:
    """Make `view` a view of `source`: it shares its version and follows its in-place history."""
    base = source._base
    if base is None:
        view._base = source
    else:
        view._base = base
        view._creation = source._creation
    root = view._root = source if source._root is None else source._root
    view._view_version = root._version_count
    if not mode & GRAD:
        view._creation = "inference" if mode & INFERENCE else "no_grad"


def write_out(out: Any, result: Any) -> Any:
    """Put results into the tensors given as ``out=`` and return those, resizing them as PyTorch does."""
    if isinstance(result, tuple):
        for target, value in zip(out, result, strict=True):
            write_out(target, value)
        return out
    if out.requires_grad and state.grad_enabled:
        raise RuntimeError(
            "functions with out=... arguments don't support automatic differentiation, but one of the "
            "arguments requires grad."
        )
    source = result._array
    if not can_cast(result.dtype, out.dtype):
        raise RuntimeError(
            f"result type {TITLES[result.dtype.name]} can't be cast to the desired output type "
            f"{TITLES[out.dtype.name]}"
        )
    if out._array.shape != source.shape:
        out._resize_output(source.shape)
    token = _set_errors(QUIET)
    np.copyto(out._array, source, casting="unsafe")
    _reset_errors(token)
    out._bump_version()
    if state.mode & RECORDING:
        from rushlight.ops.writes import COPY

        state.recorder.note_inplace(COPY, (out, result), NO_PARAMS, out)
    return out


def apply_inplace(op: Op, inputs: Sequence[Any], params: dict[str, Any] = NO_PARAMS) -> Tensor:
    """Run an op and store the result in its first input, as ``mul_`` and its like do; returns that input.

    The overwritten value is copied first where a gradient rule needs it. Writing through a view records the
    change on the view's base, so that every alias sees it.
    """
    target = inputs[0]
    mask = needs_grad_mask(inputs) if state.mode & GRAD else 0
    if mask and isinstance(target, Tensor) and target._array.dtype.kind != "f":
        mask = 0
    views.check_inplace(op, inputs, bool(mask))
    array = target._array
    node = None
    token = _set_errors(QUIET)
    try:
        if op.update is None and (mask or op.into is None):
            result = _computed(op, inputs, params, array)
        if mask:
            if 0 in op.plan(mask).inputs:
                inputs = (views.overwritten_copy(target), *inputs[1:])
            node = make_node(op, inputs, params, mask)
        if op.update is not None:
            op.update(array, *[operand_of(op, inputs, i) for i in range(1, len(inputs))], **params)
        elif mask or op.into is None:
            array[...] = result
        else:
            _run_into(op, inputs, params, array)
    except ValueError as error:
        raise _broadcast_error(inputs, error) from None
    finally:
        _reset_errors(token)
    root = target if target._root is None else target._root
    root._version_count += 1
    if root._node is not None:
        root._node.note_overwritten(root._version_count, root._output_nr)
    if node is not None:
        node.shape, node.dtype = array.shape, array.dtype
        if op.inplace_name is not op.node_name:
            node.label = op.inplace_name
        if node.plan.save_out:
            node.out, node.out_ref, node.out_version = array, weakref.ref(root), root._version_count
            if state.mode & PACKING:
                from rushlight.autograd.graph import pack_outputs

                pack_outputs(node, [target])
        views.set_history(target, node, 0 if node.plan.edges[:1] == (0,) else None)
    if state.mode & RECORDING:
        state.recorder.note_inplace(op, inputs, params, target)
    return target


def _computed(op: Op, inputs: Sequence[Any], params: dict[str, Any], array: np.ndarray) -> Any:
    """The result of an op that is about to be stored in `array`, checked to fit there."""
    operands, cast = op.prepare(op, inputs)
    result = op.forward(*operands, **params)
    if cast is not None:
        result = np.asarray(result).astype(cast, copy=False)
    if type(result) is not _ndarray or result.dtype is not array.dtype or result.shape != array.shape:
        _check_fit(np.asarray(result).dtype, np.shape(result), array)
    return result


def _run_into(op: Op, inputs: Sequence[Any], params: dict[str, Any], array: np.ndarray) -> None:
    """Let a map that can do so write straight into `array`, where the types are the same."""
    operands, cast = op.prepare(op, inputs)
    kind = array.dtype
    direct = cast is None and kind.kind == "f"
    for each in operands:
        if isinstance(each, _ndarray) and each.dtype is not kind:
            direct = False
    if direct:
        try:
            op.into(*operands, out=array, **params)
            return
        except ValueError:  # the result would be larger than the target: say so below
            pass
    result = np.asarray(op.forward(*operands, **params))
    _check_fit(result.dtype if cast is None else cast, result.shape, array)
    array[...] = result


def _check_fit(kind: np.dtype, shape: tuple[int, ...], array: np.ndarray) -> None:
    """Refuse a result that `array` cannot hold."""
    if kind is not array.dtype:
        have, want = from_numpy(kind), from_numpy(array.dtype)
        if not can_cast(have, want):
            raise RuntimeError(
                f"result type {TITLES[have.name]} can't be cast to the desired output type "
                f"{TITLES[want.name]}"
            )
    if shape != array.shape:
        raise RuntimeError(
            f"output with shape {list(array.shape)} doesn't match the broadcast shape {list(shape)}"
        )


def labelled(tensor: Tensor, name: str) -> Tensor:
    """Give the node that made `tensor` the name PyTorch prints where one op there is a composite here."""
    if tensor._node is not None:
        tensor._node.label = name
    return tensor


def tensors_in(values: Iterable[Any]) -> list[Tensor]:
    """Only the tensors of a sequence of operands."""
    return [each for each in values if isinstance(each, Tensor)]


from rushlight import views  # noqa: E402 - views imports this module
