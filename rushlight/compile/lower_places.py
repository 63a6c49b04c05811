"""What depends on where elements are, as statements: ranges, triangles, one-hot rows, other orders.

Invariant: targets of one-hot rows are checked before the step writes anything.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from rushlight.compile.expr import Symbols, is_float, kind_of
from rushlight.compile.lower_picks import clear, move, part
from rushlight.compile.program import Call, Window
from rushlight.compile.statements import NotLowered, Pick, at, check_range, over

if TYPE_CHECKING:
    from rushlight.compile.lower import Lowering


def arange(lowering: Lowering, call: Call) -> None:
    """Evenly spaced numbers: a start and so many steps, in double precision unless all are whole."""
    (out,) = call.outputs
    symbols, kind = Symbols(), kind_of(out.dtype)
    if out.dtype == np.float16:
        raise NotLowered("half precision is rounded by NumPy")
    work, number = ("f8", float) if is_float(kind) else ("i8", int)
    start, step = (symbols.const(number(call.params[name]), work) for name in ("start", "step"))
    value = start + step * symbols.cast(symbols.make("index", (0,), "i8"), work)
    lowering.add(out.shape, [], symbols.cast(value, kind), over(out, out.shape), call)


def lower_triangle(lowering: Lowering, call: Call) -> None:
    """Matrices with zeros above a diagonal."""
    _triangle(lowering, call, True)


def upper_triangle(lowering: Lowering, call: Call) -> None:
    """Matrices with zeros below a diagonal."""
    _triangle(lowering, call, False)


def _triangle(lowering: Lowering, call: Call, is_lower: bool) -> None:
    (source,), (out,) = call.reads(), call.outputs
    symbols, kind, last = Symbols(), kind_of(source.dtype), len(source.shape) - 1
    row, column = (symbols.make("index", (d,), "i8") for d in (last - 1, last))
    edge = row + call.params["diagonal"]
    is_kept = column <= edge if is_lower else column >= edge
    value = symbols.where(is_kept, symbols.load(0, kind), symbols.const(0, kind))
    lowering.add(out.shape, [over(source, out.shape)], value, over(out, out.shape), call)


def one_hot(lowering: Lowering, call: Call) -> None:
    """For each target a row of zeros with a one."""
    (target,), (out,) = call.reads(), call.outputs
    classes = out.shape[-1]
    lowering.lowered.work.append(check_range(target, classes, call))
    symbols = Symbols()
    is_there = symbols.make("index", (len(target.shape),), "i8") == symbols.load(0, kind_of(target.dtype))
    targets = at(target, (*target.strides, 0), out.shape)
    value = symbols.cast(is_there, kind_of(out.dtype))
    lowering.add(out.shape, [targets], value, over(out, out.shape), call)


def flip(lowering: Lowering, call: Call) -> None:
    """Elements in reverse order along dimensions."""
    (source,), (out,) = call.reads(), call.outputs
    turned = (slice(None, None, -1 if d in call.params["dims"] else 1) for d in range(len(source.shape)))
    move(lowering, call, part(source, tuple(turned)), out)


def roll(lowering: Lowering, call: Call) -> None:
    """Elements moved on along dimensions, those that leave at the end in front."""
    (source,), (out,) = call.reads(), call.outputs
    shifts, dims = call.params["shifts"], call.params["dims"]
    if not dims:
        source, out = _flat(source), _flat(out)
        shifts, dims = (sum(shifts),), (0,)
    steps = [0] * len(source.shape)
    for shift, d in zip(shifts, dims, strict=True):
        steps[d] = (steps[d] + shift) % source.shape[d]
    parts = [_moved(n, step) for n, step in zip(source.shape, steps, strict=True)]
    for each in itertools.product(*parts):
        given, to = zip(*each, strict=True)
        move(lowering, call, part(source, given), part(out, to))


def _moved(n: int, step: int) -> list[tuple[slice, slice]]:
    """Along a dimension, from where to where elements go: in order towards the end, the rest in front."""
    if not step:
        return [(slice(n), slice(n))]
    return [(slice(n - step), slice(step, n)), (slice(n - step, n), slice(step))]


def _flat(window: Window) -> Window:
    """All elements in a row."""
    if not window.is_contiguous():
        raise NotLowered("what does not lie in a row is left to NumPy")
    return Window(window.buffer, window.offset, (window.size,), (1,))


def pad(lowering: Lowering, call: Call) -> None:
    """A constant at the borders, or borders cut off."""
    (source,), (out,) = call.reads(), call.outputs
    pairs = call.params["padding"]
    given, to = [slice(None)] * len(source.shape), [slice(None)] * len(source.shape)
    for place in range(0, len(pairs), 2):
        d = len(source.shape) - 1 - place // 2
        before, after = pairs[place : place + 2]
        given[d] = slice(max(-before, 0), source.shape[d] - max(-after, 0))
        to[d] = slice(max(before, 0), out.shape[d] - max(after, 0))
    if max(pairs) > 0:
        constant = Symbols().const(call.params["value"], kind_of(out.dtype))
        lowering.add(out.shape, [], constant, over(out, out.shape), call)
    move(lowering, call, part(source, tuple(given)), part(out, tuple(to)))


def chosen_backward(lowering: Lowering, call: Call) -> None:
    """Zeros, and the gradient at places along a dimension that were chosen, each once."""
    (g, indices), (out,) = call.reads(), call.outputs
    shape, dim = call.params["shape"], call.params["dim"]
    if not call.params["keepdim"]:
        g, indices = g.with_dimension(dim), indices.with_dimension(dim)
    kind = kind_of(out.dtype)
    if g.shape[dim] == 1:
        symbols = Symbols()
        is_there = symbols.make("index", (dim,), "i8") == symbols.load(1, kind_of(indices.dtype))
        value = symbols.where(is_there, symbols.load(0, kind), symbols.const(0, kind))
        lowering.add(shape, [over(g, shape), over(indices, shape)], value, over(out, shape), call)
        return
    clear(lowering, call)
    strides = tuple(0 if d == dim else stride for d, stride in enumerate(out.strides))
    store = at(out, strides, g.shape, (Pick(over(indices, g.shape), out.strides[dim], shape[dim]),))
    lowering.add(g.shape, [over(g, g.shape)], Symbols().load(0, kind), store, call, add=True)
