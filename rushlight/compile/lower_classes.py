"""Class losses as statements: the negative log-likelihood and its gradient.

The target picks one element of every row; targets that are ignored count nothing. Invariant: sums of losses
and of weights run over the rows in order of the loops, and a target out of range is found before anything is
changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rushlight.compile.expr import Expr, Symbols, kind_of
from rushlight.compile.program import Call, Window
from rushlight.compile.statements import Access, Check, NotLowered, Pick, at, check_range, over

if TYPE_CHECKING:
    from rushlight.compile.lower import Lowering


class _Classes:
    """The pieces of a class loss: which targets count, and their weights, for inputs of (rows, classes)."""

    def __init__(self, call: Call, rows: int, classes: int, kind: str) -> None:
        target, weight = call.inputs[1:3]
        assert isinstance(target, Window)
        if len(target.shape) != 1:
            raise NotLowered("class losses of images are left to NumPy")
        self.rows, self.classes, self.kind = rows, classes, kind
        self.target, self.weight = target, weight
        self.ignored = call.params["ignore_index"]
        self.call = call

    def targets(self, columns: bool) -> Access:
        domain = (self.rows, self.classes) if columns else (self.rows,)
        return (
            over(self.target, domain) if not columns else at(self.target, (*self.target.strides, 0), domain)
        )

    def weights(self, columns: bool) -> list[Access]:
        if not isinstance(self.weight, Window):
            return []
        (step,) = self.weight.strides
        pick = Pick(self.targets(columns), step, self.classes)
        return [Access(self.weight.buffer, self.weight.offset, (0,) * (1 + columns), (pick,))]

    def check(self) -> Check:
        """Every target must be a class, or be ignored."""
        return check_range(self.target, self.classes, self.call, ignored=self.ignored)

    def counts(self, target: Expr) -> Expr:
        return target != self.ignored

    def total_weight(self, lowering: Lowering) -> Access:
        """The sum of the weights of the targets that count, computed into a temporary."""
        made = Access(lowering.temporary(1, np.dtype(self.kind), "weights"), 0, (0,))
        symbols = Symbols()
        loads = [self.targets(False), *self.weights(False)]
        target = symbols.load(0, kind_of(self.target.dtype))
        weight = symbols.load(1, self.kind) if len(loads) > 1 else symbols.const(1, self.kind)
        value = symbols.where(self.counts(target), weight, symbols.const(0, self.kind))
        lowering.add((self.rows,), loads, value, made, self.call, fold="sum", dims=frozenset([0]))
        return made


def nll(lowering: Lowering, call: Call) -> None:
    """The loss of every row, or their weighted mean or sum."""
    source = call.inputs[0]
    assert isinstance(source, Window)
    (out,) = call.outputs
    if len(source.shape) != 2:
        raise NotLowered("class losses of images are left to NumPy")
    rows, classes = source.shape
    kind = kind_of(source.dtype)
    parts = _Classes(call, rows, classes, kind)
    target_access = parts.targets(False)
    lowering.lowered.work.append(parts.check())
    symbols = Symbols()
    pick = Pick(target_access, source.strides[1], classes)
    loads = [
        target_access,
        at(source, source.strides[:1], (rows,), (pick,)),
        *parts.weights(False),
    ]
    loss = -symbols.load(1, kind)
    if len(loads) > 2:
        loss = loss * symbols.load(2, kind)
    counted = parts.counts(symbols.load(0, kind_of(parts.target.dtype)))
    value = symbols.where(counted, loss, symbols.const(0, kind))
    reduction = call.params["reduction"]
    if reduction == "none":
        lowering.add((rows,), loads, value, over(out, out.shape), call)
        return
    everything = frozenset([0])
    result = Access(out.buffer, out.offset, (0,))
    if reduction == "sum":
        lowering.add((rows,), loads, value, result, call, fold="sum", dims=everything)
        return
    total = Access(lowering.temporary(1, source.dtype, "losses"), 0, (0,))
    lowering.add((rows,), loads, value, total, call, fold="sum", dims=everything)
    weight = parts.total_weight(lowering)
    symbols = Symbols()
    lowering.add((1,), [total, weight], symbols.load(0, kind) / symbols.load(1, kind), result, call)


def nll_backward(lowering: Lowering, call: Call) -> None:
    """The gradient of the loss: one element of every row, zero elsewhere."""
    grad = call.inputs[0]
    assert isinstance(grad, Window)
    (out,) = call.outputs
    if len(out.shape) != 2:
        raise NotLowered("class losses of images are left to NumPy")
    rows, classes = out.shape
    kind = kind_of(out.dtype)
    parts = _Classes(call, rows, classes, kind)
    lowering.lowered.work.append(parts.check())
    strides = (*grad.strides, 0) if grad.shape else (0, 0)
    loads = [parts.targets(True), at(grad, strides, (rows, classes))]
    loads += parts.weights(True)
    symbols = Symbols()
    scale = -symbols.load(1, kind)
    if len(loads) > 2:
        scale = scale * symbols.load(2, kind)
    if call.params["reduction"] == "mean":
        weight = parts.total_weight(lowering)
        scale = scale / symbols.load(len(loads), kind)
        loads.append(Access(weight.buffer, 0, (0, 0)))
    target = symbols.load(0, kind_of(parts.target.dtype))
    column = symbols.make("index", (1,), "i8")
    chosen = symbols.logical_and(parts.counts(target), symbols.cast(target, "i8") == column)
    value = symbols.where(chosen, scale, symbols.const(0, kind))
    lowering.add((rows, classes), loads, value, over(out, out.shape), call)
