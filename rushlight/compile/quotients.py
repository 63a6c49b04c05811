"""Quotients of float32 on AVX-512: which are left to the divider, and which become multiplications.

The divider takes 10 cycles for a vector and 12 for its square roots, and what is still to be divided waits
for it; other instructions take half a cycle. So quotients are shared out: those by a number that is the same
at every place are multiplied, for most of that is done before the loops, and of the others as many as keep
the divider from being what the loops wait for. The formula here is made of what all units can do: an
estimate of the divisor's inverse, made exact by Newton's steps, and Markstein's correction of the product
with it (P. Markstein, "Computation of elementary functions on the IBM RISC System/6000 processor", 1990), on
numbers between 1 and 2, so that nothing overflows on the way. Invariant: the quotient is the divider's, bit
by bit, for zeros, infinities and NaN as well, but where it is below the least normal number, where it is
rounded twice.

This is not a formula of primitives, as those of `vmath` are: its nodes are instructions of one family of
CPUs, so only the back end for LLVM puts it in, for vectors that fill a register.
"""

from __future__ import annotations

import functools
from collections.abc import Container, Sequence

from rushlight.compile.emit import Emitter
from rushlight.compile.expr import Expr
from rushlight.compile.llvm import has_avx512
from rushlight.compile.primitives import fma, node, number
from rushlight.compile.registers import Reg
from rushlight.compile.statements import Statement, same_everywhere
from rushlight.compile.vmath import in_order, rebuilt

LANES = 16  # of the vectors that have the instructions
LEAST_INVERSE = 0.5 + 2.0**-24  # of a number between 1 and 2, rounded to float32
# Cycles that loops take for a vector: of the divider, and of the units that do everything else.
DIVISION, ROOT = 10.0, 12.0
MULTIPLIED, OTHER = 16.0, 0.5  # a quotient by multiplications, of which each waits for the one before
_ALL = Reg("-1", "i2", 1)  # no lane is masked
_CURRENT_ROUNDING = Reg("4", "i4", 1)
_BETWEEN_1_AND_2 = Reg("0", "i4", 1)
_MAGNITUDE_WITH_FIRST_SIGN = Reg("3", "i4", 1)
_UNUSED = Reg("zeroinitializer", "f4", LANES)

# For each instruction, its name in LLVM and the operands after the numbers.
INSTRUCTIONS: dict[str, tuple[str, tuple[Reg, ...]]] = {
    "exponent": ("mask.getexp.ps.512", (_UNUSED, _ALL, _CURRENT_ROUNDING)),
    "significand": ("mask.getmant.ps.512", (_BETWEEN_1_AND_2, _UNUSED, _ALL, _CURRENT_ROUNDING)),
    "greater_magnitude": (
        "mask.range.ps.512",
        (_MAGNITUDE_WITH_FIRST_SIGN, _UNUSED, _ALL, _CURRENT_ROUNDING),
    ),
    "inverse_estimate": ("rcp14.ps.512", (_UNUSED, _ALL)),
    "times_power_of_2": ("mask.scalef.ps.512", (_UNUSED, _ALL, _CURRENT_ROUNDING)),
}


def shared_out(statements: Sequence[Statement], lanes: int, changing: Container[int]) -> list[Expr]:
    """What the statements compute, with some quotients written as above if the CPU has these vectors.

    Args:
        statements: of one group of loops.
        lanes: of its vectors.
        changing: numbers of the buffers that the loops write.
    """
    if lanes != LANES or not has_avx512():
        return [each.expr for each in statements]
    divider = others = 0.0
    for each in statements:
        fixed = same_everywhere(each.expr, each.loads, changing)
        varying = [node for node in in_order([each.expr]) if node not in fixed and node.op != "load"]
        roots = sum(node.op == "sqrt" for node in varying)
        divider += ROOT * roots
        others += OTHER * (len(varying) - roots)

    def shared(division: Expr, statement: Statement) -> Expr | None:
        nonlocal divider, others
        if division.op != "div" or division.kind != "f4":
            return None
        by = division.args[1]
        if by not in same_everywhere(by, statement.loads, changing):
            if divider + DIVISION <= others + MULTIPLIED:
                divider += DIVISION
                return None
            others += MULTIPLIED
        return _multiplied(division)

    return [rebuilt([each.expr], functools.partial(shared, statement=each))[0] for each in statements]


def _multiplied(division: Expr) -> Expr:
    a, b = (node("significand", each) for each in division.args)
    inverse = node("inverse_estimate", b)
    for _ in range(2):  # from 14 bits to 28, and to all
        inverse = fma(inverse, fma(-b, inverse, number(1.0, b)), inverse)
    # That of the number next to 2 is half a bit above 1/2, and the steps above end there.
    inverse = node("greater_magnitude", inverse, number(LEAST_INVERSE, b))
    quotient = a * inverse
    quotient = fma(fma(-b, quotient, a), inverse, quotient)
    exponents = [node("exponent", each) for each in division.args]
    return node("times_power_of_2", quotient, exponents[0] - exponents[1])


def instruction(e: Emitter, op: str, args: list[Reg]) -> Reg:
    """Write one of `INSTRUCTIONS`."""
    name, further = INSTRUCTIONS[op]
    full = functools.partial(e.splat, lanes=LANES)
    return e.call(f"llvm.x86.avx512.{name}", ("f4", LANES), *map(full, args), *further)
