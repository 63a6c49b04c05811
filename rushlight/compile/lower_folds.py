"""Folds as statements: sums and the like, extremes and where they are, truth, variances.

A fold over some dimensions goes to an element that their indices share. Extremes with their places take two
folds: the extreme, and the first index that has it; variances too: the mean, and squares of distances from
it. Invariant: NaN is larger and smaller than everything, and of equal elements the first is chosen, as NumPy
does it.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING

from rushlight.compile.expr import KINDS, Expr, Symbols, is_float, kind_of
from rushlight.compile.program import Call, Window
from rushlight.compile.statements import Access, NotLowered, Pick, at, over

if TYPE_CHECKING:
    from rushlight.compile.lower import Lowering


def fold(lowering: Lowering, call: Call) -> None:
    """Sums, products, means, extremes of all elements alike, and norms."""
    source, dims, store = _operands(call)
    kind = kind_of(call.params.get("dtype", call.outputs[0].dtype))
    if kind not in KINDS or kind == "b1":
        raise NotLowered("a fold of this type is left to NumPy")
    symbols = Symbols()
    value = symbols.cast(symbols.load(0, kind_of(source.dtype)), kind)
    post = None
    name = {"max": "amax", "min": "amin"}.get(call.op.name, call.op.name)
    if name == "mean":
        name, post = "sum", _divided(kind, _count(source, dims))
    elif name == "linalg_vector_norm":
        name, after = "sum", Symbols()
        if call.params["ord"] == 2:
            value, post = value * value, after.make("sqrt", (after.load(0, kind),), kind)
        elif call.params["ord"] == 1:
            value = symbols.make("abs", (value,), kind)
        else:
            raise NotLowered("norms of other orders than 1 and 2 are left to NumPy")
    loads = [over(source, source.shape)]
    lowering.add(source.shape, loads, value, store, call, fold=name, dims=frozenset(dims), post=post)


def truth(lowering: Lowering, call: Call) -> None:
    """Whether all elements, or any, are not zero."""
    source, dims, store = _operands(call)
    value = Symbols().load(0, kind_of(source.dtype))
    if value.kind != "b1":
        value = value != 0
    how = {"fold": call.op.name, "dims": frozenset(dims)} if dims else {}
    lowering.add(source.shape, [over(source, source.shape)], value, store, call, **how)


def extreme(lowering: Lowering, call: Call) -> None:
    """The largest or smallest element of all, or along a dimension with its place."""
    if len(call.outputs) == 1:
        fold(lowering, call)
        return
    (source,) = call.reads()
    values, indices = call.outputs
    if not source.shape:
        raise NotLowered("scalars are left to NumPy")
    dim = call.params["dim"]
    found = _find(lowering, call, indices, (dim,))
    kept = frozenset([dim])
    domain = tuple(n for d, n in enumerate(source.shape) if d not in kept)
    pick = Pick(found.without(kept), source.strides[dim], source.shape[dim])
    chosen = at(source, over(source, source.shape).without(kept).strides, domain, (pick,))
    store = _shared(values, source, (dim,), call.params["keepdim"]).without(kept)
    lowering.add(domain, [chosen], Symbols().load(0, kind_of(source.dtype)), store, call)


def place(lowering: Lowering, call: Call) -> None:
    """The index of the largest or smallest element, of all or along a dimension."""
    (source,) = call.reads()
    if not source.shape:
        raise NotLowered("scalars are left to NumPy")
    dim = call.params["dim"]
    _find(lowering, call, call.outputs[0], tuple(range(len(source.shape))) if dim is None else (dim,))


def _find(lowering: Lowering, call: Call, out: Window, dims: tuple[int, ...]) -> Access:
    """Put the index of the extreme over some dimensions, counted as if they were one; where it is put."""
    (source,) = call.reads()
    kind = kind_of(source.dtype)
    if kind == "b1":
        raise NotLowered("an extreme of truth values is left to NumPy")
    name = "amax" if call.op.name in ("max", "argmax") else "amin"
    best = _aside(lowering, source, dims, "extreme")
    elements, symbols = over(source, source.shape), Symbols()
    given = symbols.load(0, kind)
    lowering.add(source.shape, [elements], given, best, call, fold=name, dims=frozenset(dims))
    symbols = Symbols()
    given, wanted = symbols.load(0, kind), symbols.load(1, kind)
    is_found = given == wanted
    if is_float(kind):
        is_found = is_found | symbols.isnan(given)  # if there is any, it is the extreme
    count = _count(source, dims)
    index, apart = symbols.const(0, "i8"), 1
    for d in reversed(dims):
        index = index + symbols.make("index", (d,), "i8") * apart
        apart *= source.shape[d]
    first = symbols.where(is_found, index, symbols.const(count, "i8"))
    store = _shared(out, source, dims, call.params["keepdim"])
    lowering.add(source.shape, [elements, best], first, store, call, fold="amin", dims=frozenset(dims))
    return store


def spread(lowering: Lowering, call: Call) -> None:
    """Variances and standard deviations."""
    source, dims, store = _operands(call)
    kind = kind_of(source.dtype)
    if not dims:
        raise NotLowered("variances over no dimension are left to NumPy")
    center = _aside(lowering, source, dims, "mean")
    elements, how = over(source, source.shape), {"fold": "sum", "dims": frozenset(dims)}
    count = _count(source, dims)
    mean = _divided(kind, count)
    lowering.add(source.shape, [elements], Symbols().load(0, kind), center, call, post=mean, **how)
    symbols = Symbols()
    away = symbols.load(0, kind) - symbols.load(1, kind)
    post = _divided(kind, max(count - call.params["correction"], 0))
    if call.op.name == "std":
        post = post.symbols.make("sqrt", (post,), kind)
    lowering.add(source.shape, [elements, center], away * away, store, call, post=post, **how)


def _operands(call: Call) -> tuple[Window, tuple[int, ...], Access]:
    """What is folded, over which dimensions, and where the result goes."""
    (source,) = call.reads()
    dims = call.params["dim"]
    return source, dims, _shared(call.outputs[0], source, dims, call.params["keepdim"])


def _shared(out: Window, source: Window, dims: Collection[int], keepdim: bool) -> Access:
    """The element of a result for each of the source: the same one along dimensions that are folded."""
    strides, kept = [], iter(out.strides)
    for d in range(len(source.shape)):
        if d not in dims:
            strides.append(next(kept))
        else:
            strides.append(0)
            if keepdim:
                next(kept)
    return at(out, strides, source.shape)


def _aside(lowering: Lowering, source: Window, dims: Collection[int], name: str) -> Access:
    """Memory for what is folded on the way."""
    strides, size = [0] * len(source.shape), 1
    for d in reversed(range(len(source.shape))):
        if d not in dims:
            strides[d], size = size, size * source.shape[d]
    whole = Window(lowering.temporary(size, source.dtype, name), 0, source.shape, tuple(strides))
    return over(whole, source.shape)


def _count(source: Window, dims: Collection[int]) -> int:
    return math.prod(source.shape[d] for d in dims)


def _divided(kind: str, by: float) -> Expr:
    """What was folded, divided."""
    symbols = Symbols()
    return symbols.load(0, kind) / symbols.const(by, kind)
