"""The op table and `apply`, the one path every operation takes.

An `Op` is one entry: a forward on ndarrays, a gradient rule per input, and the *kind* that says how operands are
promoted, whether the result is a view, and (for the compiler) how it becomes a loop nest. `apply` runs the forward,
puts at most one node on the tape, and notes the call when a recorder listens. Broadcast gradients, gradient
dtypes and version checks are the engine's business, never a rule's.

A gradient rule is a plain function whose parameter names say what it needs, and that is what gets saved:
``g`` (the gradient of the output), ``out``, the names of inputs and of params, or ``<input>_shape`` where the shape is
enough (naming an input only for its shape would forbid legal in-place edits). Rules are written in ops on
Tensors, so second derivatives and recording come free.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from rushlight.autograd.mode import state
from rushlight.autograd.node import Node
from rushlight.dtype import BOOL_NUMPY, F16, F32, F64, I64, can_cast, from_numpy, get_default_dtype, result_type_of
from rushlight.ops.numeric import QUIET, error_state
from rushlight.tensor import Tensor, new_tensor

# Promotion: PyTorch's kinds. DEFAULT computes float16 in float32 and rounds once; NO_OPMATH does not.
DEFAULT, NO_OPMATH, INT_TO_FLOAT, ALWAYS_BOOL, BOOL_TO_LONG, NONE = range(6)

NO_PARAMS: dict[str, Any] = {}


class _InPlace:
    """Given as ``out=``: store the result in the first input."""

    def __repr__(self) -> str:
        return "INPLACE"


INPLACE = _InPlace()
TABLE: dict[str, Entry] = {}

_ndarray = np.ndarray
_set_errors, _reset_errors = error_state.set, error_state.reset


class ArgumentError(TypeError):
    """An operand of a type the op cannot take (operators turn it into NotImplemented)."""


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
    """What a node must keep when a given set of inputs needs gradients, and the rule calls to make."""

    __slots__ = ("calls", "inputs", "save_out", "saves", "shapes")

    def __init__(self, op: Op, needed: Sequence[int]) -> None:
        inputs: list[int] = []
        shapes: list[int] = []
        self.calls: list[tuple[int, Callable[..., Any], list[tuple[str, int | str]]]] = []
        self.save_out = False
        for index in needed:
            rule = op.rules.get(op.input_names[index])
            if rule is None:
                continue
            sources: list[tuple[str, int | str]] = []
            for name in argument_names(rule):
                if name == "g":
                    sources.append(("g", 0))
                elif name == "out":
                    self.save_out = True
                    sources.append(("out", 0))
                elif name in op.input_names:
                    position = op.input_names.index(name)
                    if position not in inputs:
                        inputs.append(position)
                    sources.append(("saved", inputs.index(position)))
                elif name.endswith("_shape") and name[:-6] in op.input_names:
                    position = op.input_names.index(name[:-6])
                    if position not in shapes:
                        shapes.append(position)
                    sources.append(("shape", shapes.index(position)))
                elif name in op.output_names:
                    self.save_out = True
                    sources.append(("output", op.output_names.index(name)))
                else:
                    sources.append(("param", name))
            self.calls.append((index, rule, sources))
        self.inputs = tuple(inputs)
        self.shapes = tuple(shapes)
        self.saves = bool(inputs) or self.save_out


def argument_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """All parameter names of a function (of the innermost one where decorators wrap it), keyword-only ones included."""
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
    """

    __slots__ = (
        "differentiable",
        "forward",
        "formula",
        "input_names",
        "kind",
        "name",
        "node_name",
        "output_names",
        "plans",
        "prepare",
        "promote",
        "returns_view",
        "rules",
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
        formula: Callable[..., Any] | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.forward = forward
        self.formula = formula
        self.variadic = bool(inputs) and inputs[0].startswith("*")
        self.input_names = tuple(each.lstrip("*") for each in inputs)
        self.rules = rules or {}
        unknown = set(self.rules) - set(self.input_names)
        if unknown:
            raise ValueError(f"op {name}: gradient rules for unknown inputs {sorted(unknown)}")
        self.promote = promote
        self.prepare = _PREPARE[promote]
        self.output_names = tuple(outputs)
        self.differentiable = differentiable
        self.returns_view = kind == "view"
        self.node_name = node_name or "".join(part.capitalize() for part in name.split("_")) + "Backward0"
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


# -- operands -----------------------------------------------------------------------------------------------------------


def _operand(op: Op, inputs: Sequence[Any], index: int) -> Any:
    """The ndarray of a tensor, a Python number as it is; ArgumentError for anything else."""
    value = inputs[index]
    if isinstance(value, Tensor):
        return value._array
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    name = op.input_names[0] if op.variadic else op.input_names[index]
    raise ArgumentError(
        f"{op.name}(): argument '{name}' (position {index + 1}) must be Tensor, not {type(value).__name__}"
    )


def _prepare_none(op: Op, inputs: Sequence[Any]) -> tuple[Sequence[Any], Any]:
    if len(inputs) == 1 and isinstance(inputs[0], Tensor):
        return (inputs[0]._array,), None
    return [_operand(op, inputs, i) for i in range(len(inputs))], None


def _convert(operand: Any, kind: np.dtype) -> Any:
    """Bring one operand to the common type; integers wrap around as they do in C."""
    if isinstance(operand, _ndarray):
        return operand if operand.dtype == kind else operand.astype(kind)
    if kind.kind == "f":
        return np.asarray(operand, dtype=kind)
    if kind.kind == "b":
        return np.asarray(bool(operand))
    return np.asarray(int(operand) & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64).astype(kind)


def _common(op: Op, inputs: Sequence[Any], to_float: bool) -> tuple[list[Any], np.dtype]:
    """Operands in their promoted type, and that type: the general path behind the quick ones below."""
    operands = [_operand(op, inputs, i) for i in range(len(inputs))]
    common = result_type_of([x for x in operands if x is not None])
    if to_float and not common.is_floating_point:
        common = get_default_dtype()
    kind = common.numpy
    compute = F32 if kind is F16 and op.promote != NO_OPMATH else kind
    return [None if x is None else _convert(x, compute) for x in operands], kind


def _prepare_default(op: Op, inputs: Sequence[Any]) -> tuple[Sequence[Any], Any]:
    if len(inputs) == 2:
        left, right = inputs
        if isinstance(left, Tensor):
            a = left._array
            if isinstance(right, Tensor):
                b = right._array
                kind = a.dtype
                if kind is b.dtype and kind is not F16:
                    return (a, b), None
            elif (type(right) is float or type(right) is int) and (a.dtype is F32 or a.dtype is F64):
                return (a, right), None
    elif len(inputs) == 1:
        a = inputs[0]._array if isinstance(inputs[0], Tensor) else _operand(op, inputs, 0)
        if isinstance(a, _ndarray) and a.dtype is not F16:
            return (a,), None
    operands, kind = _common(op, inputs, to_float=False)
    return operands, kind if kind is F16 else None


def _prepare_to_float(op: Op, inputs: Sequence[Any]) -> tuple[Sequence[Any], Any]:
    if len(inputs) == 1:
        a = inputs[0]._array if isinstance(inputs[0], Tensor) else _operand(op, inputs, 0)
        if isinstance(a, _ndarray) and (a.dtype is F32 or a.dtype is F64):
            return (a,), None
    elif len(inputs) == 2:
        left, right = inputs
        if isinstance(left, Tensor):
            a = left._array
            if a.dtype is F32 or a.dtype is F64:
                if isinstance(right, Tensor):
                    if right._array.dtype is a.dtype:
                        return (a, right._array), None
                elif type(right) is float or type(right) is int:
                    return (a, right), None
    operands, kind = _common(op, inputs, to_float=True)
    return operands, kind if kind is F16 else None


def _prepare_bool(op: Op, inputs: Sequence[Any]) -> tuple[Sequence[Any], Any]:
    operands, _ = _prepare_default(op, inputs)
    return operands, BOOL_NUMPY


def _prepare_bool_to_long(op: Op, inputs: Sequence[Any]) -> tuple[Sequence[Any], Any]:
    operands, kind = _common(op, inputs, to_float=False)
    if kind is BOOL_NUMPY:
        return [_convert(x, I64) for x in operands], None
    return operands, kind if kind is F16 else None


_PREPARE = {
    DEFAULT: _prepare_default,
    NO_OPMATH: _prepare_default,
    INT_TO_FLOAT: _prepare_to_float,
    ALWAYS_BOOL: _prepare_bool,
    BOOL_TO_LONG: _prepare_bool_to_long,
    NONE: _prepare_none,
}


# -- apply --------------------------------------------------------------------------------------------------------------


def compute(op: Op, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
    """Run the forward with NumPy's warnings off: one ndarray, or a tuple of them."""
    token = _set_errors(QUIET)
    try:
        operands, cast = op.prepare(op, inputs)
        result = op.forward(*operands, **params)
        if cast is not None:
            result = np.asarray(result).astype(cast, copy=False)
    finally:
        _reset_errors(token)
    return result


def apply(op: Op, inputs: Sequence[Any], params: dict[str, Any] = NO_PARAMS, out: Any = None) -> Any:
    """Run an op on tensors and numbers: the only way a value is ever computed.

    Args:
        op: the table entry.
        inputs: tensors, Python numbers or None, in the order of ``op.input_names``.
        params: everything else the forward takes, by name; never tensors.
        out: a tensor to write the result to, as PyTorch's ``out=``.

    Returns:
        A new tensor, a view of the first input for ops of the kind "view", or a tuple of tensors.
    """
    if out is not None and out is INPLACE:
        return apply_inplace(op, inputs, params)
    result = compute(op, inputs, params)
    if type(result) is tuple:
        outputs: Any = tuple(new_tensor(np.asarray(each)) for each in result)
        first = outputs[0] if outputs else None
    else:
        # NumPy hands back a scalar for a 0-d result; a tensor always holds an array
        first = outputs = new_tensor(result if type(result) is _ndarray else np.asarray(result))
    if op.returns_view:
        _link_views(inputs[0], outputs)
    if state.grad_enabled:
        mask, bit = 0, 1
        for each in inputs:
            if isinstance(each, Tensor) and (each._requires_grad or each._base is not None and each.requires_grad):
                mask |= bit
            bit <<= 1
        if mask and out is None:
            if first is outputs:
                if first._array.dtype.kind == "f":
                    node = make_node(op, inputs, params, mask)
                    if node is not None:
                        array = first._array
                        node.shape, node.dtype = array.shape, array.dtype
                        first._node, first._requires_grad = node, True
                        if node.plan.save_out:
                            node.out, node.out_ref, node.out_version = array, weakref.ref(first), first._version_count
            else:
                _record_many(op, inputs, params, mask, outputs)
        elif mask:
            _refuse_out(op, inputs, out)
    if state.inference:
        for each in outputs if first is not outputs else (outputs,):
            each._mark_inference()
    if state.recorder is not None:
        state.recorder.note(op, inputs, params, outputs)
    return outputs if out is None else write_out(out, outputs)


def make_node(op: Op, inputs: Sequence[Any], params: dict[str, Any], mask: int) -> Node | None:
    """The tape's node for one call, or None where no input that needs a gradient has a rule."""
    if op.variadic:
        return _variadic_node(op, inputs, params)
    plan = op.plans.get(mask) or op.plan(mask)
    if not plan.calls:
        return None
    node = Node(op, plan, params)
    saved = versions = ()
    if plan.inputs:
        saved = [inputs[i] for i in plan.inputs]
        versions = [x._current_version() if isinstance(x, Tensor) else 0 for x in saved]
    node.saved, node.versions = saved, versions
    if plan.shapes:
        node.shapes = [shape_of(inputs[i]) for i in plan.shapes]
    edges = []
    for index, _, _ in plan.calls:
        source = inputs[index]
        upstream = source._node if source._base is None else source._fresh_node()
        edges.append(source if upstream is None else upstream)
        if source._output_nr:
            node.set_number(len(edges) - 1, source._output_nr)
    node.edges = edges
    if state.anomaly:
        node.remember_where()
    return node


def _variadic_node(op: Op, inputs: Sequence[Any], params: dict[str, Any]) -> Node | None:
    """A node for an op over any number of tensors: its one rule returns a gradient for each."""
    plan = op.plan(1)
    if not plan.calls:
        return None
    node = Node(op, plan, params)
    node.saved = list(inputs) if plan.inputs else ()
    node.versions = [x._current_version() for x in node.saved]
    if plan.shapes:
        node.shapes = [tuple(shape_of(x) for x in inputs)]
    node.edges = []
    for source in inputs:
        if not source.requires_grad:
            node.edges.append(None)
            continue
        upstream = source._fresh_node()
        node.edges.append(source if upstream is None else upstream)
        if source._output_nr:
            node.set_number(len(node.edges) - 1, source._output_nr)
    if state.anomaly:
        node.remember_where()
    return node


def shape_of(operand: Any) -> tuple[int, ...]:
    """The shape of a tensor; numbers count as 0-d."""
    return operand._array.shape if isinstance(operand, Tensor) else ()


def _record_many(op: Op, inputs: Sequence[Any], params: dict[str, Any], mask: int, outputs: tuple[Tensor, ...]) -> None:
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
        node.out = tuple(each._array for each in outputs)
        node.out_ref = tuple(weakref.ref(each) for each in outputs)
        node.out_version = tuple(each._version_count for each in outputs)


def _link_views(source: Tensor, outputs: Any) -> None:
    """Make outputs views of `source`: they share its version and follow its in-place history."""
    several = isinstance(outputs, tuple)
    for view in outputs if several else (outputs,):
        view._base = source._base if source._base is not None else source
        view._root = source._root if source._root is not None else source
        view._view_version = view._root._version_count
        if not state.grad_enabled:
            view._creation = "inference" if state.inference else "no_grad"
        elif several:
            view._creation = "multiple"
        else:
            view._creation = source._creation if source._base is not None else None


def _refuse_out(op: Op, inputs: Sequence[Any], out: Any) -> None:
    raise RuntimeError(
        f"{op.name}(): functions with out=... arguments don't support automatic differentiation, "
        "but one of the arguments requires grad."
    )


def write_out(out: Any, result: Any) -> Any:
    """Put results into the tensors given as ``out=`` and return those, resizing them as PyTorch does."""
    if isinstance(result, tuple):
        for target, value in zip(out, result, strict=True):
            write_out(target, value)
        return out
    if out.requires_grad and state.grad_enabled:
        raise RuntimeError("functions with out=... arguments don't support automatic differentiation, but one of the arguments requires grad.")
    source = result._array
    if not can_cast(result.dtype, out.dtype):
        raise RuntimeError(
            f"result type {_TITLES[result.dtype.name]} can't be cast to the desired output type "
            f"{_TITLES[out.dtype.name]}"
        )
    if out._array.shape != source.shape:
        out._resize_output(source.shape)
    np.copyto(out._array, source, casting="unsafe")
    out._bump_version()
    return out


_TITLES = {
    "bool": "Bool",
    "uint8": "Byte",
    "int8": "Char",
    "int16": "Short",
    "int32": "Int",
    "int64": "Long",
    "float16": "Half",
    "float32": "Float",
    "float64": "Double",
}


def apply_inplace(op: Op, inputs: Sequence[Any], params: dict[str, Any] = NO_PARAMS) -> Tensor:
    """Run an op and store the result in its first input, as ``mul_`` and its like do; returns that input.

    The overwritten value is copied first where a gradient rule needs it. Writing through a view records the
    change on the view's base, so that every alias sees it.
    """
    from rushlight import views

    target = inputs[0]
    mask, bit = 0, 1
    if state.grad_enabled:
        for each in inputs:
            if isinstance(each, Tensor) and each.requires_grad:
                mask |= bit
            bit <<= 1
    views.check_inplace(target, inputs, bool(mask))
    result = compute(op, inputs, params)
    if not isinstance(result, _ndarray):
        result = np.asarray(result)
    array = target._array
    if result.dtype is not array.dtype:
        have, want = from_numpy(result.dtype), target.dtype
        if not can_cast(have, want):
            raise RuntimeError(
                f"result type {_TITLES[have.name]} can't be cast to the desired output type {_TITLES[want.name]}"
            )
    if result.shape != array.shape:
        raise RuntimeError(
            f"output with shape {list(array.shape)} doesn't match the broadcast shape {list(result.shape)}"
        )
    node = None
    if mask:
        if mask & 1 and 0 in op.plan(mask).inputs:
            inputs = (views.overwritten_copy(target), *inputs[1:])
        node = make_node(op, inputs, params, mask)
    token = _set_errors(QUIET)
    try:
        np.copyto(array, result, casting="unsafe")
    finally:
        _reset_errors(token)
    target._bump_version()
    if node is not None:
        node.shape, node.dtype = array.shape, array.dtype
        if node.plan.save_out:
            root = target._root if target._root is not None else target
            node.out, node.out_ref, node.out_version = array, weakref.ref(root), root._version_count
        views.set_history(target, node, bool(mask & 1))
    if state.recorder is not None:
        state.recorder.note_inplace(op, inputs, params, target)
    return target


def tensors_in(values: Iterable[Any]) -> list[Tensor]:
    """Only the tensors of a sequence of operands."""
    return [each for each in values if isinstance(each, Tensor)]
