"""From expressions to LLVM instructions: one primitive at a time, on vectors or single elements.

`Scalars` writes the value of an `Expr` in terms of the primitives of `primitives`; functions are expanded by
`vmath` first. It knows nothing of loops: whoever calls it hands in the values of loads and loop indices.
Invariant: arithmetic carries no fast-math flags, so a value is what the formula says, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rushlight.compile.emit import Emitter
from rushlight.compile.expr import Expr, is_float
from rushlight.compile.quotients import INSTRUCTIONS, instruction
from rushlight.compile.registers import BYTES, Reg, overload
from rushlight.compile.vmath import in_order

_FLOAT_OPS = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_WHOLE_OPS = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor"}
_FLOAT_TESTS = {"lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "eq": "oeq", "ne": "une"}
_WHOLE_TESTS = {"lt": "lt", "le": "le", "gt": "gt", "ge": "ge"}
_INTRINSICS = {
    "sqrt": "sqrt",
    "floor": "floor",
    "ceil": "ceil",
    "trunc": "trunc",
    "rint": "roundeven",
    "fma": "fma",
    "copysign": "copysign",
}
_SHIFTS = {"shl": "shl", "shr": "ashr", "lshr": "lshr"}


class Scalars:
    """Writes values of expressions at one place of the code.

    Args:
        e: where the instructions go.
        lanes: elements computed at once.
        leaf: gives the value of a "load" or "index" node.
    """

    def __init__(self, e: Emitter, lanes: int, leaf: Callable[[Expr], Reg]) -> None:
        self.e, self.lanes, self.leaf = e, lanes, leaf
        self.made: dict[Expr, Reg] = {}

    def values(self, roots: Sequence[Expr]) -> list[Reg]:
        """The values of expressions made of primitives only."""
        for node in in_order(roots, self.made, into_rare=False):
            self.made[node] = self._rare(node) if node.op == "rare" else self._make(node)
        return [self.made[each] for each in roots]

    def _rare(self, node: Expr) -> Reg:
        """A value most of which is skipped, unless the condition holds in some lane."""
        condition, far, near = node.args
        for each in in_order([far], self.made):
            if each.op in ("load", "index"):  # who gave them may want them again after the block
                self.made[each] = self._make(each)
        outside = self.made
        anywhere = self.e.reduce("or", outside[condition])
        with self.e.hardly_ever(anywhere, outside[near]) as choice:
            self.made = dict(outside)
            self.values([far])
            choice.value = self._make(node)
        self.made = outside
        return choice.value

    def _make(self, node: Expr) -> Reg:
        e, op, kind = self.e, node.op, node.kind
        if op == "const":
            return e.const(node.args[0], kind, self.lanes)
        if op in ("load", "index"):
            return e.splat(self.leaf(node), self.lanes)
        args = [self.made[each] for each in node.args]
        if op == "cast":
            return cast(e, args[0], kind)
        if op in ("select", "rare"):
            return e.select(*args)
        if op in _FLOAT_TESTS:
            return compare(e, op, args[0], args[1])
        if op in ("min", "max"):
            first = compare(e, "lt" if op == "min" else "gt", args[0], args[1])
            return e.select(first, args[0], args[1])
        if op in ("bits", "unbits"):
            made = Reg("", kind, args[0].lanes)
            return e.op(f"bitcast {args[0].type} {args[0].text} to {made.type}", kind, made.lanes)
        if op in _SHIFTS:
            return e.binary(_SHIFTS[op], args[0], args[1])
        if op == "not":
            ones = e.const(True if kind == "b1" else -1, kind, args[0].lanes)
            return e.binary("xor", args[0], ones)
        if op in INSTRUCTIONS:
            return instruction(e, op, args)
        if is_float(kind):
            return self._float(op, args)
        return self._whole(op, args)

    def _float(self, op: str, args: list[Reg]) -> Reg:
        e = self.e
        if op in _FLOAT_OPS:
            return e.binary(_FLOAT_OPS[op], args[0], args[1])
        if op == "neg":
            return e.op(f"fneg {args[0].type} {args[0].text}", args[0].kind, args[0].lanes)
        if op == "abs":
            return e.intrinsic("fabs", args[0])
        return e.intrinsic(_INTRINSICS[op], *args)

    def _whole(self, op: str, args: list[Reg]) -> Reg:
        e, first = self.e, args[0]
        if op in _WHOLE_OPS:
            return e.binary(_WHOLE_OPS[op], first, args[1])
        zero = e.const(0, first.kind, first.lanes)
        if op == "neg":
            return e.binary("sub", zero, first)
        if op == "abs":
            negative = compare(e, "lt", first, zero)
            return e.select(negative, e.binary("sub", zero, first), first)
        raise NotImplementedError(f"{op} on whole numbers has no instructions")


def compare(e: Emitter, op: str, a: Reg, b: Reg) -> Reg:
    """A comparison: a bool in every lane."""
    if is_float(a.kind):
        return e.op(f"fcmp {_FLOAT_TESTS[op]} {a.type} {a.text}, {b.text}", "b1", a.lanes)
    if op in ("eq", "ne"):
        return e.op(f"icmp {op} {a.type} {a.text}, {b.text}", "b1", a.lanes)
    sign = "u" if a.kind in ("b1", "u1") else "s"
    return e.op(f"icmp {sign}{_WHOLE_TESTS[op]} {a.type} {a.text}, {b.text}", "b1", a.lanes)


def cast(e: Emitter, value: Reg, kind: str) -> Reg:
    """A value in another kind, as C converts it; to bool: whether it is not zero."""
    source = value.kind
    if source == kind:
        return value
    if kind == "b1":
        zero = e.const(0.0 if is_float(source) else 0, source, value.lanes)
        return compare(e, "ne", value, zero)
    target = Reg("", kind, value.lanes).type
    unsigned = source in ("b1", "u1")
    if is_float(source):
        if is_float(kind):
            how = "fpext" if BYTES[kind] > BYTES[source] else "fptrunc"
        else:
            return _to_whole(e, value, kind)
    elif is_float(kind):
        how = "uitofp" if unsigned else "sitofp"
    elif source == "b1" or BYTES[kind] > BYTES[source]:
        how = "zext" if unsigned else "sext"
    elif BYTES[kind] < BYTES[source]:
        how = "trunc"
    else:  # u1 and i1 are the same bits
        return Reg(value.text, kind, value.lanes)
    return e.op(f"{how} {value.type} {value.text} to {target}", kind, value.lanes)


def _to_whole(e: Emitter, value: Reg, kind: str) -> Reg:
    """A float brought to a whole number as x86 does it: what does not fit becomes the least number, and small
    types take the low bits."""
    wide = "i8" if BYTES[kind] > 4 else "i4"
    bits = 63 if wide == "i8" else 31
    source, target = overload(value.kind, value.lanes), overload(wide, value.lanes)
    whole = e.call(f"llvm.fptosi.sat.{target}.{source}", (wide, value.lanes), value)
    above = compare(e, "ge", value, e.const(2.0**bits, value.kind, value.lanes))
    unknown = compare(e, "ne", value, value)
    outside = e.binary("or", above, unknown)
    least = e.const(-(1 << bits), wide, value.lanes)
    return cast(e, e.select(outside, least, whole), kind)
