"""From calls to statements: how each op becomes expressions over index domains.

Maps are traced through their formulas; contractions have a function each here, folds in `lower_folds`,
look-ups in `lower_picks`, what depends on places in `lower_places`; everything else stays opaque. Invariant:
a statement computes what the op's NumPy forward computes, up to the order of summation.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight.compile import lower_folds as folds
from rushlight.compile import lower_picks as picks
from rushlight.compile import lower_places as places
from rushlight.compile.expr import KINDS, Expr, Symbols, is_float, kind_of
from rushlight.compile.lower_classes import nll, nll_backward
from rushlight.compile.lower_random import bernoulli, mask, uniform
from rushlight.compile.program import TEMPORARY, Buffer, Call, Program, Window
from rushlight.compile.statements import (
    Access,
    Check,
    Lowered,
    NotLowered,
    Opaque,
    Product,
    Statement,
    at,
    over,
)
from rushlight.compile.vmath import in_order, lower, rebuilt
from rushlight.ops.writes import row_major_strides
from rushlight.quiet import QUIET, error_state
from rushlight.tensor import new_tensor


def lower_program(program: Program, buffers: int) -> Lowered:
    """All calls of a program; `buffers` is the first number that is free for more temporaries."""
    lowering = Lowering(buffers)
    for call in program.calls:
        for window in call.outputs:
            lowering.writes[window.buffer.number] += 1
    token = error_state.set(QUIET)  # as `apply` does: numbers are converted to the types of the operands
    try:
        for call in program.calls:
            lowering.call(call)
    finally:
        error_state.reset(token)
    return lowering.lowered


class Lowering:
    """Collects the statements of one program."""

    def __init__(self, buffers: int) -> None:
        self.lowered = Lowered()
        self._next = buffers
        self._constants: dict[int, float | int | bool] = {}
        self.writes: Counter[int] = Counter()

    def call(self, call: Call) -> None:
        """Add what one call becomes."""
        before = len(self.lowered.work)
        try:
            _check_windows(call)
            rule = RULES.get(call.op.name)
            if rule is not None:
                rule(self, call)
            elif call.op.kind == "map" and call.op.formula is not None:
                self._map(call)
            else:
                raise NotLowered(f"{call.op.name} has no loops")
        except NotImplementedError as problem:
            del self.lowered.work[before:]
            self.lowered.work.append(Opaque(call, str(problem)))
            return
        made = self.lowered.work[before:]
        if len(made) == 1 and isinstance(made[0], Statement):
            self._note_constant(made[0])

    def number(self) -> int:
        """The next free number for a buffer."""
        self._next += 1
        return self._next - 1

    def temporary(self, size: int, dtype: np.dtype, name: str) -> Buffer:
        """More memory for the step."""
        made = Buffer(self.number(), TEMPORARY, size, dtype, name)
        self.lowered.added.append(made)
        return made

    def add(
        self,
        domain: tuple[int, ...],
        loads: list[Access],
        expr: Expr,
        store: Access,
        call: Call,
        **how: Any,
    ) -> None:
        """Add a statement; through a temporary where it reads elements that it writes at other indices."""
        if not how.get("fold"):
            expr = expr.symbols.cast(expr, kind_of(store.buffer.dtype))
        expr = self._with_constants(expr, loads)
        formula: Expr | None = expr
        (expr,) = lower([expr])
        _check_primitives(expr)
        low, high = store.extent(domain)
        clash = False
        for each in loads:
            if each.buffer is store.buffer and each != store:
                first, last = each.extent(domain)
                clash = clash or (first < high and low < last)
        if clash:
            made = self.temporary(math.prod(domain), store.buffer.dtype, "")
            aside = Access(made, 0, row_major_strides(domain))
            self.lowered.work.append(Statement(domain, tuple(loads), expr, aside, call, formula=formula))
            loads, expr, formula = [aside], Symbols().load(0, kind_of(store.buffer.dtype)), None
        self.lowered.work.append(Statement(domain, tuple(loads), expr, store, call, formula=formula, **how))

    def _note_constant(self, statement: Statement) -> None:
        """Remember a temporary that holds one number all over."""
        buffer = statement.store.buffer
        if statement.expr.op != "const" or statement.fold or self.writes[buffer.number] != 1:
            return
        everywhere = statement.store.extent(statement.domain) == (0, buffer.size)
        if buffer.kind == TEMPORARY and everywhere and statement.store.is_injective(statement.domain):
            self._constants[buffer.number] = statement.expr.args[0]

    def _with_constants(self, expr: Expr, loads: list[Access]) -> Expr:
        """The expression with numbers in place of loads of what is known to be one number all over."""
        known = {
            place: self._constants[each.buffer.number]
            for place, each in enumerate(loads)
            if each.buffer.number in self._constants
        }
        if not known:
            return expr

        def constant(node: Expr) -> Expr | None:
            if node.op != "load" or node.args[0] not in known:
                return None
            return node.symbols.const(known[node.args[0]], node.kind)

        return rebuilt([expr], constant)[0]

    def _map(self, call: Call) -> None:
        (out,) = call.outputs
        symbols, loads, operands = operands_of(call)
        assert call.op.formula is not None
        try:
            value = call.op.formula(symbols, *operands, **call.params)
        except (TypeError, ValueError, AttributeError) as problem:
            # what a formula does with arrays need not make sense for expressions
            raise NotLowered(f"its formula is not made of expressions: {problem}") from problem
        if not isinstance(value, Expr):
            value = symbols.const(value, kind_of(out.dtype))
        domain = out.shape
        store = over(out, domain)
        if not store.is_injective(domain):
            raise NotLowered("its result overlaps itself")
        reads = [over(each, domain) for each in loads]
        if call.op.refused is not None:
            bad = call.op.refused(symbols, *operands)
            # what no element decides was found to be right when it was recorded
            if isinstance(bad, Expr) and any(node.op == "load" for node in in_order([bad])):
                self.lowered.work.append(Check(domain, tuple(reads), bad, call))
        self.add(domain, reads, value, store, call)


def operands_of(call: Call) -> tuple[Symbols, list[Window], list[Any]]:
    """The operands of a map as expressions, in the type that the op promotes them to."""
    stand_ins = [
        new_tensor(np.zeros((1,) * len(x.shape), x.dtype)) if isinstance(x, Window) else x
        for x in call.inputs
    ]
    prepared, half = call.op.prepare(call.op, stand_ins)
    if half is not None:
        raise NotLowered("half precision is rounded by NumPy")
    symbols = Symbols()
    loads: list[Window] = []
    operands: list[Any] = []
    for given, ready in zip(call.inputs, prepared, strict=True):
        if isinstance(given, Window):
            value = symbols.load(len(loads), kind_of(given.dtype))
            loads.append(given)
            operands.append(symbols.cast(value, kind_of(ready.dtype)))
        elif isinstance(ready, np.ndarray):
            operands.append(symbols.const(ready.item(), kind_of(ready.dtype)))
        else:
            operands.append(ready)
    return symbols, loads, operands


def _check_windows(call: Call) -> None:
    for window in (*call.reads(), *call.outputs):
        if kind_of(window.dtype) not in KINDS:
            raise NotLowered(f"{window.dtype} has no loops")
        if not window.size:
            raise NotLowered("nothing to compute")


def _check_primitives(expr: Expr) -> None:
    for node in in_order([expr]):
        if node.op in ("div", "sqrt", "floor", "ceil", "rint", "trunc", "fma", "copysign") and not is_float(
            node.kind
        ):
            raise NotLowered(f"{node.op} on whole numbers is left to NumPy")


# -- contractions --------------------------------------------------------------------------------------------


def _matrix(window: Window, transposed: bool) -> tuple[int, int, int, int]:
    rows, columns = window.shape
    down, along = window.strides
    return (columns, rows, along, down) if transposed else (rows, columns, down, along)


def _float_product(call: Call) -> None:
    if call.outputs[0].dtype.kind != "f":
        raise NotLowered("products of whole numbers are left to NumPy")


def _mm(lowering: Lowering, call: Call) -> None:
    _float_product(call)
    a, b = call.reads()
    (out,) = call.outputs
    m, k, a_row, a_k = _matrix(a, call.params["ta"])
    _, n, b_k, b_column = _matrix(b, call.params["tb"])
    lowering.lowered.work.append(
        Product(
            (m, n),
            k,
            at(a, (a_row, 0), (m, n)),
            at(b, (0, b_column), (m, n)),
            a_k,
            b_k,
            over(out, (m, n)),
            call,
        )
    )


def _bmm(lowering: Lowering, call: Call) -> None:
    _float_product(call)
    a, b = call.reads()
    (out,) = call.outputs
    batch, m, k = a.shape
    lies_along_k = a.strides[2] == b.strides[1] == 1
    if not lies_along_k and 1 not in (m, b.shape[2], a.strides[1], b.strides[2]):
        raise NotLowered("a batch of products of this layout is left to NumPy")
    n = b.shape[2]
    lowering.lowered.work.append(
        Product(
            (batch, m, n),
            k,
            at(a, (a.strides[0], a.strides[1], 0), (batch, m, n)),
            at(b, (b.strides[0], 0, b.strides[2]), (batch, m, n)),
            a.strides[2],
            b.strides[1],
            over(out, (batch, m, n)),
            call,
        )
    )


def _vector_product(lowering: Lowering, call: Call) -> None:
    _float_product(call)
    a, b = call.reads()
    (out,) = call.outputs
    a_row = a.strides[0] if len(a.shape) == 2 else 0
    domain = (a.shape[0] if len(a.shape) == 2 else 1, 1)
    store = (out.strides[0] if out.shape else 0, 0)
    lowering.lowered.work.append(
        Product(
            domain,
            a.shape[-1],
            at(a, (a_row, 0), domain),
            at(b, (0, 0), domain),
            a.strides[-1],
            b.strides[0],
            at(out, store, domain),
            call,
        )
    )


def _linear(lowering: Lowering, call: Call) -> None:
    _float_product(call)
    x, weight, *rest = call.inputs
    bias = rest[0] if rest else None
    (out,) = call.outputs
    assert isinstance(x, Window)
    assert isinstance(weight, Window)
    if len(x.shape) > 2:
        x, out = _rows(x), _rows(out)
    if len(x.shape) == 1:
        x, out = x.with_dimension(0), out.with_dimension(0)
    m, k = x.shape
    n = weight.shape[0]
    store = over(out, (m, n))
    lowering.lowered.work.append(
        Product(
            (m, n),
            k,
            at(x, (x.strides[0], 0), (m, n)),
            at(weight, (0, weight.strides[0]), (m, n)),
            x.strides[1],
            weight.strides[1],
            store,
            call,
        )
    )
    if isinstance(bias, Window):
        symbols, kind = Symbols(), kind_of(out.dtype)
        total = symbols.load(0, kind) + symbols.load(1, kind)
        lowering.add((m, n), [store, over(bias, (m, n))], total, store, call)


def _rows(window: Window) -> Window:
    """All but the last dimension as one, where the strides allow it."""
    *outer, last = window.strides
    *counts, width = window.shape
    step, rows = outer[-1], 1
    for n, stride in zip(reversed(counts), reversed(outer), strict=True):
        if n != 1 and stride != step * rows:
            raise NotLowered("its rows do not lie evenly")
        rows *= n
    return Window(window.buffer, window.offset, (rows, width), (step, last))


# -- copying -------------------------------------------------------------------------------------------------


def _copy(lowering: Lowering, call: Call) -> None:
    """The last operand, in the type of the result: what `clone`, `to`, `copy_` and `fill_` come to."""
    (out,) = call.outputs
    symbols, kind = Symbols(), kind_of(out.dtype)
    source = 0 if call.op.name == "zero" else call.inputs[-1]
    if isinstance(source, Window):
        value = symbols.load(0, kind_of(source.dtype))
        lowering.add(out.shape, [over(source, out.shape)], value, over(out, out.shape), call)
    else:
        assert source is not None
        lowering.add(out.shape, [], symbols.const(source, kind), over(out, out.shape), call)


# -- making --------------------------------------------------------------------------------------------------


def _nothing(lowering: Lowering, call: Call) -> None:
    """Memory that may hold anything."""


def _full(lowering: Lowering, call: Call) -> None:
    (out,) = call.outputs
    symbols = Symbols()
    value = symbols.const(call.params["value"], kind_of(out.dtype))
    lowering.add(out.shape, [], value, over(out, out.shape), call)


def _require(lowering: Lowering, call: Call) -> None:
    """A condition that must hold. Nobody reads the result, which would be true."""
    holds, *about = call.reads()
    symbols = Symbols()
    fails = symbols.logical_not(symbols.load(0, kind_of(holds.dtype)))
    check = Check(holds.shape, (over(holds, holds.shape),), fails, call, tuple(about))
    lowering.lowered.work.append(check)


RULES: dict[str, Callable[[Lowering, Call], None]] = {
    "all": folds.truth,
    "amax": folds.fold,
    "amin": folds.fold,
    "any": folds.truth,
    "argmax": folds.place,
    "argmin": folds.place,
    "_to_copy": _copy,
    "clone": _copy,
    "conj_physical": _copy,
    "copy": _copy,
    "fill": _copy,
    "zero": _copy,
    "arange": places.arange,
    "bernoulli": bernoulli,
    "bmm": _bmm,
    "dot": _vector_product,
    "dropout_mask": mask,
    "cat": picks.cat,
    "embedding": picks.embedding,
    "embedding_dense_backward": picks.embedding_backward,
    "empty": _nothing,
    "empty_like": _nothing,
    "constant_pad_nd": places.pad,
    "flip": places.flip,
    "full": _full,
    "gather": picks.gather,
    "index": picks.index,
    "index_add": picks.index_add,
    "index_backward": picks.index_backward,
    "index_select": picks.index_select,
    "linalg_vector_norm": folds.fold,
    "linear": _linear,
    "max": folds.extreme,
    "mean": folds.fold,
    "min": folds.extreme,
    "mm": _mm,
    "mv": _vector_product,
    "nll_loss": nll,
    "nll_loss_backward": nll_backward,
    "one_hot": places.one_hot,
    "prod": folds.fold,
    "require": _require,
    "roll": places.roll,
    "scatter_add": picks.scatter_add,
    "slice_backward": picks.slice_backward,
    "stack": picks.stack,
    "std": folds.spread,
    "sum": folds.fold,
    "tril": places.lower_triangle,
    "triu": places.upper_triangle,
    "uniform": uniform,
    "value_selecting_reduction_backward": places.chosen_backward,
    "var": folds.spread,
}
