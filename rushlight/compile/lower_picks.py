"""Look-ups and what undoes them, as statements: embeddings, indexing, gathering, slices' gradients, joins.

A look-up reads an address that is itself read from memory (a `Pick`); its gradient adds to such addresses.
Numbers are checked before the step writes anything. Invariant: a repeated place is added to in the order of
the index, as NumPy does it; an assignment to repeated places, where order decides, is left to NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.compile.expr import Symbols, kind_of
from rushlight.compile.program import Call, Window
from rushlight.compile.statements import Access, NotLowered, Pick, at, check_range, over

if TYPE_CHECKING:
    from rushlight.compile.lower import Lowering


# -- embeddings ----------------------------------------------------------------------------------------------


def embedding(lowering: Lowering, call: Call) -> None:
    """Rows of a table."""
    weight, indices = call.reads()
    _take(lowering, call, _rows_of(lowering, call, weight, indices, call.outputs[0].shape))


def embedding_backward(lowering: Lowering, call: Call) -> None:
    """Gradients of rows, added where the rows came from; those of the padding are left out."""
    grad, indices = call.reads()
    (out,) = call.outputs
    if call.params["scale_grad_by_freq"]:
        raise NotLowered("scaling by frequency is left to NumPy")
    clear(lowering, call)
    domain, kind = grad.shape, kind_of(out.dtype)
    store = _rows_of(lowering, call, out, indices, domain)
    symbols = Symbols()
    value, loads = symbols.load(0, kind_of(grad.dtype)), [over(grad, domain)]
    padding = call.params["padding_idx"]
    if padding >= 0:
        row = symbols.load(1, kind_of(indices.dtype))
        value = symbols.where(row != padding, value, symbols.const(0, kind))
        loads.append(store.picks[0].access)
    lowering.add(domain, loads, value, store, call, add=True)


def _rows_of(
    lowering: Lowering,
    call: Call,
    table: Window,
    indices: Window,
    domain: tuple[int, ...],
    checked: bool = True,
) -> Access:
    rows = table.shape[0]
    if checked:
        lowering.lowered.work.append(check_range(indices, rows, call))
    index = at(indices, (*indices.strides, 0), domain)
    strides = (*(0,) * len(indices.shape), table.strides[1])
    return at(table, strides, domain, (Pick(index, table.strides[0], rows),))


# -- indexing ------------------------------------------------------------------------------------------------


def index(lowering: Lowering, call: Call) -> None:
    """``input[index]`` and ``input[first, second]``."""
    source, *indices = call.reads()
    _take(lowering, call, _indexed(lowering, call, source, indices, call.outputs[0].shape))


def index_backward(lowering: Lowering, call: Call) -> None:
    """Zeros, and the gradient added where the elements came from."""
    grad, *indices = call.reads()
    (out,) = call.outputs
    store = _indexed(lowering, call, out, indices, grad.shape)
    clear(lowering, call)
    _add(lowering, call, grad, store, grad.shape)


def _indexed(
    lowering: Lowering, call: Call, whole: Window, indices: Sequence[Window], domain: tuple[int, ...]
) -> Access:
    """The element of `whole` for each element of what was picked, which has the shape `domain`."""
    dims = call.params.get("dims", ())
    if len(dims) != len(indices):
        raise NotLowered("a mask, or one number for several dimensions, is left to NumPy")
    before = dims[0] if dims[-1] - dims[0] < len(dims) else 0  # picks that lie apart come first
    kept = [stride for dim, stride in enumerate(whole.strides) if dim not in dims]
    after = len(kept) - before
    spread = domain[before : len(domain) - after]
    picks = []
    for dim, each in zip(dims, indices, strict=True):
        size = whole.shape[dim]
        if call.op.name == "index":
            lowering.lowered.work.append(check_range(each, size, call, from_the_end=True))
        within = over(each, spread).strides
        number = at(each, (*(0,) * before, *within, *(0,) * after), domain)
        picks.append(Pick(number, whole.strides[dim], size, from_the_end=True))
    strides = (*kept[:before], *(0,) * len(spread), *kept[before:])
    return at(whole, strides, domain, tuple(picks))


# -- along a dimension ---------------------------------------------------------------------------------------


def gather(lowering: Lowering, call: Call) -> None:
    """One element along a dimension for each element of an index."""
    source, indices = call.reads()
    _take(lowering, call, _along(lowering, call, source, indices, indices.shape))


def scatter_add(lowering: Lowering, call: Call) -> None:
    """The source added where `gather` would read."""
    target, indices, source = _three(call)
    (out,) = call.outputs
    store = _along(lowering, call, out, indices, indices.shape)
    _keep(lowering, call, target, out)
    _add(
        lowering,
        call,
        Window(source.buffer, source.offset, indices.shape, source.strides),
        store,
        indices.shape,
    )


def index_select(lowering: Lowering, call: Call) -> None:
    """Slices along a dimension."""
    source, indices = call.reads()
    _take(lowering, call, _slices(lowering, call, source, indices, call.outputs[0].shape))


def index_add(lowering: Lowering, call: Call) -> None:
    """The source's slices added to the target's."""
    target, indices, source = _three(call)
    (out,) = call.outputs
    store = _slices(lowering, call, out, indices, source.shape)
    _keep(lowering, call, target, out)
    _add(lowering, call, source, store, source.shape, call.params["alpha"])


def _three(call: Call) -> list[Window]:
    if len(call.reads()) != 3:
        raise NotLowered("a number instead of a source is left to NumPy")
    return call.reads()


def _along(lowering: Lowering, call: Call, whole: Window, indices: Window, domain: tuple[int, ...]) -> Access:
    if len(whole.shape) != len(domain) or not domain:
        raise NotLowered("scalars are left to NumPy")
    return _with_pick(lowering, call, whole, indices, over(indices, domain), domain)


def _slices(
    lowering: Lowering, call: Call, whole: Window, indices: Window, domain: tuple[int, ...]
) -> Access:
    if len(whole.shape) != len(domain) or len(indices.shape) != 1:
        raise NotLowered("scalars are left to NumPy")
    dim = call.params["dim"]
    strides = tuple(indices.strides[0] if d == dim else 0 for d in range(len(domain)))
    return _with_pick(lowering, call, whole, indices, at(indices, strides, domain), domain)


def _with_pick(
    lowering: Lowering, call: Call, whole: Window, indices: Window, number: Access, domain: tuple[int, ...]
) -> Access:
    dim = call.params["dim"]
    size = whole.shape[dim]
    lowering.lowered.work.append(check_range(indices, size, call))
    strides = tuple(0 if d == dim else stride for d, stride in enumerate(whole.strides))
    return at(whole, strides, domain, (Pick(number, whole.strides[dim], size),))


# -- parts ---------------------------------------------------------------------------------------------------


def slice_backward(lowering: Lowering, call: Call) -> None:
    """Zeros, with the gradient in the place of the slice."""
    (grad,) = call.reads()
    (out,) = call.outputs
    clear(lowering, call)
    move(lowering, call, grad, part(out, call.params["index"]))


def cat(lowering: Lowering, call: Call) -> None:
    """Every input in its place."""
    (out,) = call.outputs
    dim, start = call.params["dim"], 0
    for each in call.reads():
        if len(each.shape) != len(out.shape):
            raise NotLowered("empty inputs of another number of dimensions are left to NumPy")
        end = start + each.shape[dim]
        move(lowering, call, each, part(out, (*[slice(None)] * dim, slice(start, end))))
        start = end


def stack(lowering: Lowering, call: Call) -> None:
    """Every input in its place along a new dimension."""
    (out,) = call.outputs
    before = (slice(None),) * call.params["dim"]
    for number, each in enumerate(call.reads()):
        move(lowering, call, each, part(out, (*before, number, ...)))


def part(window: Window, index: Any) -> Window:
    """The window on a basic index of a window."""
    size = window.dtype.itemsize
    memory = np.empty(window.buffer.size, window.dtype)  # only looked at, never touched
    steps = tuple(stride * size for stride in window.strides)
    whole = np.ndarray(window.shape, window.dtype, memory, window.offset * size, steps)
    part = whole[index]
    if not isinstance(part, np.ndarray):
        raise NotLowered("a single element is left to NumPy")
    offset = (part.ctypes.data - memory.ctypes.data) // size
    return Window(window.buffer, offset, part.shape, tuple(stride // size for stride in part.strides))


def clear(lowering: Lowering, call: Call) -> None:
    """Zeros all over the result."""
    (out,) = call.outputs
    lowering.add(out.shape, [], Symbols().const(0, kind_of(out.dtype)), over(out, out.shape), call)


def _keep(lowering: Lowering, call: Call, target: Window, out: Window) -> None:
    """The result begins as a copy of the target, unless it is the target."""
    if target != out:
        move(lowering, call, target, out)


def move(lowering: Lowering, call: Call, source: Window, out: Window) -> None:
    """Copy a window to another of the same shape."""
    value = Symbols().load(0, kind_of(source.dtype))
    lowering.add(out.shape, [over(source, out.shape)], value, over(out, out.shape), call)


def _take(lowering: Lowering, call: Call, access: Access) -> None:
    """Read the result through an access."""
    (out,) = call.outputs
    value = Symbols().load(0, kind_of(access.buffer.dtype))
    lowering.add(out.shape, [access], value, over(out, out.shape), call)


def _add(
    lowering: Lowering, call: Call, source: Window, store: Access, domain: tuple[int, ...], alpha: Any = 1
) -> None:
    if store.buffer.dtype.kind == "b":
        raise NotLowered("sums of truth values are left to NumPy")
    symbols = Symbols()
    value = symbols.load(0, kind_of(source.dtype))
    if alpha != 1:
        value = value * symbols.const(alpha, kind_of(source.dtype))
    lowering.add(domain, [over(source, domain)], value, store, call, add=True)
