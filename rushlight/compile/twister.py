"""Random numbers in native code: MT19937 and the draws made of its words, as LLVM IR.

The functions work on the very memory of NumPy's engine (`Generator.engine_memory`): 624 words of 32 bits,
then how many of them are used up. `Draws` writes the functions that a module needs and
the calls of them. What is drawn by which op is said in `rushlight.draws`, whose functions these repeat.
Invariant: numbers and the state left behind are, bit for bit, those of the eager functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rushlight.compile.emit import Emitter
from rushlight.compile.expr import kind_of
from rushlight.compile.registers import Reg, literal, type_of
from rushlight.compile.statements import Draw

WORDS, MIDDLE = 624, 397
TWIST = 0x9908B0DF
TEMPERING = (
    ("lshr", 11, 0xFFFFFFFF),
    ("shl", 7, 0x9D2C5680),
    ("shl", 15, 0xEFC60000),
    ("lshr", 18, 0xFFFFFFFF),
)

# Makes a vector of elements: given their random bits, the number of the first element, and the mask of those
# that are wanted. It comes from a function of the code and the lanes, which does first what is done once.
Make = Callable[[Reg, Reg, Reg], Reg]
Maker = Callable[[Emitter, int], Make]


class Draws:
    """The functions that fill memory with random numbers, each written when it is first called.

    The text of a module must contain `texts` and `declared`. Every ``call_...`` gives the instruction that
    fills `count` elements from an address on; state, out and count are operands in LLVM's syntax, such as
    "%state" or "16".

    Args:
        vector_bytes: the width of the vectors to use.
        attributes: the attributes of the functions, such as "#0".

    >>> draws = Draws(32)
    >>> draws.call_bernoulli("%state", "%mask", "100", "f4", keep=0.5, value=2.0)
    'call void @mt_bernoulli_f4(ptr %state, ptr %mask, i64 100, double 0x3FE0000000000000, \
float 0x4000000000000000)'
    >>> len(draws.texts)
    2
    """

    def __init__(self, vector_bytes: int, attributes: str = "#0") -> None:
        self.vector_bytes, self.attributes = vector_bytes, attributes
        self.declared: set[str] = set()
        self._texts: dict[str, str] = {}

    @property
    def texts(self) -> list[str]:
        """The functions that were called so far, with what they call themselves."""
        return list(self._texts.values())

    # -- calls -----------------------------------------------------------------------------------------------

    def call(self, draw: Draw, state: str, places: Sequence[str]) -> str:
        """What carries out a `Draw`, given the addresses of its result and of what else it reads."""
        where = (state, places[0], str(draw.domain[0]), kind_of(draw.store.buffer.dtype))
        if draw.what == "uniform":
            return self.call_uniform(*where, draw.numbers["low"], draw.numbers["high"])
        if draw.what == "bernoulli":
            return self.call_bernoulli(*where, draw.numbers["keep"], draw.numbers["value"])
        return self.call_bernoulli_each(*where, places[1], kind_of(draw.loads[0].buffer.dtype))

    def call_uniform(
        self, state: str, out: str, count: str, kind: str, low: float = 0.0, high: float = 1.0
    ) -> str:
        """Fill with numbers in [low, high), as `draws.uniform` does: kind is "f4" or "f8"."""
        name = f"mt_uniform_{kind}"
        numbers = [Reg(f"%{each}", kind, 1) for each in ("low", "span", "high")]
        self._add(name, kind, _parameters(numbers), 1 if kind == "f4" else 2, _uniform(*numbers))
        start, end = _rounded(low, kind), _rounded(high, kind)
        given = [literal(each, kind) for each in (start, _rounded(end - start, kind), end)]
        return _call(name, state, out, count, [f"{type_of(kind, 1)} {each}" for each in given])

    def call_bernoulli(
        self, state: str, out: str, count: str, kind: str, keep: float, value: float = 1.0
    ) -> str:
        """Fill with `value` where a float64 drawn is below `keep`, else with 0: masks of dropout."""
        name = f"mt_bernoulli_{kind}"
        taken = [Reg("%keep", "f8", 1), Reg("%value", kind, 1)]
        self._add(name, kind, _parameters(taken), 2, _bernoulli(*taken))
        numbers = [f"double {literal(keep, 'f8')}", f"{type_of(kind, 1)} {literal(value, kind)}"]
        return _call(name, state, out, count, numbers)

    def call_bernoulli_each(
        self, state: str, out: str, count: str, kind: str, chances: str, chance_kind: str
    ) -> str:
        """Fill with 1 or 0, each 1 with the chance that lies at its place in the memory at `chances`."""
        name = f"mt_bernoulli_{kind}_by_{chance_kind}"
        words = 1 if chance_kind == "f4" else 2
        self._add(name, kind, ["ptr noalias %chances"], words, _bernoulli_each(kind, chance_kind))
        return _call(name, state, out, count, [f"ptr {chances}"])

    # -- functions -------------------------------------------------------------------------------------------

    def _add(self, name: str, kind: str, parameters: Sequence[str], words: int, begin: Maker) -> None:
        """Write a function that fills memory, unless it is there.

        Args:
            name: its name.
            kind: the kind of the elements.
            parameters: what it takes after state, out and count.
            words: how many 32-bit words an element takes, 1 or 2.
            begin: what makes elements of words.
        """
        if name in self._texts:
            return
        if "mt_refill" not in self._texts:
            e = self._begin("mt_refill", ["ptr %state"])
            _refill(e, self.vector_bytes // 4)
            self._end(e, "mt_refill")
        e = self._begin(name, ["ptr noalias %state", "ptr noalias %out", "i64 %count", *parameters])
        lanes = self.vector_bytes // (4 * words)
        _fill(e, kind, words, lanes, begin(e, lanes))
        self._end(e, name)

    def _begin(self, name: str, parameters: Sequence[str]) -> Emitter:
        e = Emitter()
        e.lines.append(f"define internal void @{name}({', '.join(parameters)}) {self.attributes} {{")
        e.label("entry")
        return e

    def _end(self, e: Emitter, name: str) -> None:
        e.end()
        self._texts[name] = "\n".join(e.lines)
        self.declared |= e.declared


def _parameters(numbers: Sequence[Reg]) -> list[str]:
    return [f"{each.type} {each.text}" for each in numbers]


def _call(name: str, state: str, out: str, count: str, numbers: Sequence[str]) -> str:
    given = [f"ptr {state}", f"ptr {out}", f"i64 {count}", *numbers]
    return f"call void @{name}({', '.join(given)})"


def _rounded(value: float, kind: str) -> float:
    return float(np.dtype(kind).type(value))


# -- words -----------------------------------------------------------------------------------------------


def _whole(value: int) -> int:
    """An unsigned 32-bit number as the signed one with the same bits."""
    return value - (1 << 32) if value >> 31 else value


def _with(e: Emitter, op: str, a: Reg, number: int) -> Reg:
    """An operation with a number in every lane."""
    return e.binary(op, a, e.const(_whole(number) if a.kind == "i4" else number, a.kind, a.lanes))


def _tempered(e: Emitter, word: Reg) -> Reg:
    """The random bits in a word of the state."""
    for shift, count, bits in TEMPERING:
        moved = _with(e, shift, word, count)
        word = e.binary("xor", word, moved if bits == 0xFFFFFFFF else _with(e, "and", moved, bits))
    return word


def _refill(e: Emitter, lanes: int) -> None:
    """The next 624 words in place of the old ones, which are used up.

    The last word is made with the first one. That is put after it, in place of the number of words used up,
    which the caller writes anew.
    """
    _twist(e, 0, WORDS - MIDDLE, MIDDLE, lanes)
    e.store(e.load("%state", "i4"), e.pointer("%state", WORDS, "i4"))
    _twist(e, WORDS - MIDDLE, WORDS, MIDDLE - WORDS, lanes)


def _twist(e: Emitter, start: int, stop: int, further: int, lanes: int) -> None:
    """New words from `start` to `stop`, of which none needs another one of the same vector."""
    with e.loop(start, stop, lanes) as loop:
        mask = e.mask(e.binary("sub", e.const(stop, "i8"), loop.index), lanes)
        place = e.pointer("%state", loop.index, "i4")
        word, after, far = (
            e.load(e.pointer(place, distance, "i4"), "i4", lanes, mask) for distance in (0, 1, further)
        )
        joined = e.binary("or", _with(e, "and", word, 0x80000000), _with(e, "and", after, 0x7FFFFFFF))
        odd = e.binary("sub", e.const(0, "i4", lanes), _with(e, "and", after, 1))
        mixed = e.binary("xor", _with(e, "lshr", joined, 1), _with(e, "and", odd, TWIST))
        e.store(e.binary("xor", far, mixed), place, mask)


# -- filling memory --------------------------------------------------------------------------------------


def _fill(e: Emitter, kind: str, words: int, lanes: int, make: Make) -> None:
    """The body of a function: elements from what is left of the words, then new words, and so on."""
    used_at = e.pointer("%state", WORDS, "i4")
    e.line("%done.at = alloca i64")
    e.line("%apart = alloca [2 x i32]")
    e.line("store i64 0, ptr %done.at")
    e.line("br label %next")

    e.label("next")
    done = e.load("%done.at", "i8")
    missing = e.binary("sub", Reg("%count", "i8", 1), done)
    _branch(e, _test(e, "sgt", missing, 0), "more", "full")

    e.label("more")
    used = e.op(f"sext i32 {e.load(used_at, 'i4').text} to i64", "i8", 1)
    left = e.binary("sub", e.const(WORDS, "i8"), used)
    source = e.pointer("%state", used, "i4")
    _branch(e, _test(e, "sge", left, words), "some", "few")

    e.label("some")
    whole = _with(e, "lshr", left, 1) if words == 2 else left
    many = e.intrinsic("smin", whole, missing)
    taken = e.binary("add", used, _with(e, "mul", many, words))
    e.line("br label %block")

    e.label("few")
    ways = [(source, many.text, taken.text, "some")]
    if words == 2:
        # one word may be left, which makes a pair with the first of the next 624
        e.store(e.load(source, "i4"), "%apart")
    e.line("call void @mt_refill(ptr %state)")
    e.store(e.const(0, "i4"), used_at)
    if words == 1:
        e.line("br label %next")
    else:
        _branch(e, _test(e, "eq", left, 0), "next", "pair")
        e.label("pair")
        e.store(e.load("%state", "i4"), e.pointer("%apart", 1, "i4"))
        e.line("br label %block")
        ways.append(("%apart", "1", "1", "pair"))

    e.label("block")
    chosen = [", ".join(f"[ {way[place]}, %{way[3]} ]" for way in ways) for place in range(3)]
    e.line(f"%words = phi ptr {chosen[0]}")
    count, after = (e.op(f"phi i64 {each}", "i8", 1) for each in chosen[1:])
    word_kind = "i4" if words == 1 else "i8"
    with e.loop(0, count, lanes) as loop:
        mask = e.mask(e.binary("sub", count, loop.index), lanes)
        bits = _random(e, e.load(e.pointer("%words", loop.index, word_kind), word_kind, lanes, mask))
        at = e.binary("add", done, loop.index)
        e.store(make(bits, at, mask), e.pointer("%out", at, kind), mask)
    e.store(e.op(f"trunc i64 {after.text} to i32", "i4", 1), used_at)
    e.store(e.binary("add", done, count), "%done.at")
    e.line("br label %next")
    e.label("full")


def _branch(e: Emitter, condition: Reg, yes: str, no: str) -> None:
    e.line(f"br i1 {condition.text}, label %{yes}, label %{no}")


def _test(e: Emitter, how: str, value: Reg, number: int) -> Reg:
    return e.op(f"icmp {how} {value.type} {value.text}, {number}", "b1", 1)


def _random(e: Emitter, bits: Reg) -> Reg:
    """The random bits in words of the state; of two words the first gives the upper half."""
    if bits.kind == "i4":
        return _tempered(e, bits)
    halves = Reg("", "i4", 2 * bits.lanes)
    words = e.op(f"bitcast {bits.type} {bits.text} to {halves.type}", "i4", halves.lanes)
    mixed = _tempered(e, words)
    pairs = e.op(f"bitcast {mixed.type} {mixed.text} to {bits.type}", "i8", bits.lanes)
    return e.intrinsic("fshl", pairs, pairs, e.const(32, "i8", bits.lanes))


# -- numbers made of random bits -------------------------------------------------------------------------


def _unit(e: Emitter, bits: Reg, kind: str) -> Reg:
    """Numbers in [0, 1): as many of the lower bits as a fraction has, times its last place."""
    digits = 24 if kind == "f4" else 53
    low = _with(e, "and", bits, (1 << digits) - 1)
    number = Reg("", kind, bits.lanes)
    whole = e.op(f"sitofp {low.type} {low.text} to {number.type}", kind, bits.lanes)
    return e.binary("fmul", whole, e.const(2.0**-digits, kind, bits.lanes))


def _uniform(low: Reg, span: Reg, high: Reg) -> Maker:
    def begin(e: Emitter, lanes: int) -> Make:
        start, width, end = (e.splat(each, lanes) for each in (low, span, high))

        def make(bits: Reg, at: Reg, mask: Reg) -> Reg:
            value = e.intrinsic("fma", _unit(e, bits, low.kind), width, start)
            lifted = e.op(f"fcmp oeq {value.type} {value.text}, {end.text}", "b1", lanes)
            return e.select(lifted, start, value)

        return make

    return begin


def _bernoulli(keep: Reg, value: Reg) -> Maker:
    """53 bits times 2**-53 are below `keep` where the bits are below ``keep * 2**53`` rounded up."""

    def begin(e: Emitter, lanes: int) -> Make:
        limit = e.intrinsic("ceil", e.binary("fmul", keep, e.const(2.0**53, "f8")))
        limit = e.splat(e.call("llvm.fptoui.sat.i64.f64", ("i8", 1), limit), lanes)
        chosen, zero = e.splat(value, lanes), e.const(0, value.kind, lanes)

        def make(bits: Reg, at: Reg, mask: Reg) -> Reg:
            low = _with(e, "and", bits, (1 << 53) - 1)
            kept = e.op(f"icmp ult {low.type} {low.text}, {limit.text}", "b1", lanes)
            return e.select(kept, chosen, zero)

        return make

    return begin


def _bernoulli_each(kind: str, chance_kind: str) -> Maker:
    def begin(e: Emitter, lanes: int) -> Make:
        def make(bits: Reg, at: Reg, mask: Reg) -> Reg:
            chance = e.load(e.pointer("%chances", at, chance_kind), chance_kind, lanes, mask)
            unit = _unit(e, bits, chance_kind)
            below = e.op(f"fcmp olt {unit.type} {unit.text}, {chance.text}", "b1", lanes)
            return e.select(below, e.const(1, kind, lanes), e.const(0, kind, lanes))

        return make

    return begin
