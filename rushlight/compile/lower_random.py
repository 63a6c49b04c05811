"""How random ops become draws: numbers for elements that lie one after another, in the order of memory.

What `twister` cannot draw, and all but masks of what does not lie in a row, is left to NumPy. Invariant: a
draw takes the words that the op's forward takes, and leaves the numbers that it leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rushlight.compile.expr import Symbols, kind_of
from rushlight.compile.program import STATE, Buffer, Call, Window
from rushlight.compile.statements import Access, Check, Draw, NotLowered, over
from rushlight.ops.writes import row_major_strides
from rushlight.random import Generator
from rushlight.storage import by_falling_stride

if TYPE_CHECKING:
    from rushlight.compile.lower import Lowering


def _run_of(window: Window) -> Access:
    """A window as elements one after another."""
    if not window.is_contiguous():
        raise NotLowered("its elements do not lie one after another")
    return Access(window.buffer, window.offset, (1,))


def _state(lowering: Lowering, generator: Generator) -> Access:
    """The words of a generator, as memory of the program's."""
    known = lowering.lowered.generators
    if generator not in known:
        memory = generator.engine_memory()
        made = Buffer(lowering.number(), STATE, memory.size, memory.dtype, "generator", memory)
        lowering.lowered.added.append(made)
        known[generator] = made
    return Access(known[generator], 0, (1,))


def _draw(
    lowering: Lowering,
    call: Call,
    what: str,
    numbers: dict[str, Any],
    loads: Sequence[Access] = (),
    store: Access | None = None,
) -> None:
    (out,) = call.outputs
    state = _state(lowering, call.params["generator"])
    made = Draw((out.size,), what, numbers, state, store or _run_of(out), tuple(loads), call)
    lowering.lowered.work.append(made)


def mask(lowering: Lowering, call: Call) -> None:
    """Dropout's mask, in the order in which the elements that are dropped lie in memory."""
    (given,) = call.reads()
    (out,) = call.outputs
    numbers = {"keep": call.params["kept"], "value": float(out.dtype.type(call.params["value"]))}
    if call.params["channels"] or given.is_contiguous():
        _draw(lowering, call, "bernoulli", numbers)
        return
    order = by_falling_stride(given.shape, given.strides)
    shape = tuple(out.shape[d] for d in order)
    strides = row_major_strides(shape)
    in_row = tuple(strides[order.index(d)] for d in range(len(order)))
    if out.strides == in_row:
        _draw(lowering, call, "bernoulli", numbers, store=Access(out.buffer, out.offset, (1,)))
        return
    aside = lowering.temporary(out.size, out.dtype, "")
    _draw(lowering, call, "bernoulli", numbers, store=Access(aside, 0, (1,)))
    drawn = Symbols().load(0, kind_of(out.dtype))
    lowering.add(out.shape, [Access(aside, 0, in_row)], drawn, over(out, out.shape), call)


def uniform(lowering: Lowering, call: Call) -> None:
    """Numbers of an interval."""
    if kind_of(call.outputs[0].dtype) not in ("f4", "f8"):
        raise NotLowered("numbers of this type are left to NumPy")
    _draw(lowering, call, "uniform", {"low": call.params["low"], "high": call.params["high"]})


def bernoulli(lowering: Lowering, call: Call) -> None:
    """Ones and zeros, by one chance or by one for each element."""
    if "p" in call.params:
        _draw(lowering, call, "bernoulli", {"keep": float(call.params["p"]), "value": 1.0})
        return
    chances = call.reads()[-1]
    (out,) = call.outputs
    if kind_of(chances.dtype) not in ("f4", "f8") or chances.shape != out.shape:
        raise NotLowered("chances of this type or shape are left to NumPy")
    read = _run_of(chances)
    symbols = Symbols()
    chance = symbols.load(0, kind_of(chances.dtype))
    bad = symbols.logical_not(symbols.logical_and(chance >= 0, chance <= 1))
    lowering.lowered.work.append(Check((chances.size,), (read,), bad, call))
    _draw(lowering, call, "bernoulli_each", {}, [read])
