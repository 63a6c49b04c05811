"""Values of LLVM IR: registers and constants, with their kinds and numbers of lanes.

Invariant: a kind has the same name here as in expressions (`expr`).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from rushlight.compile.expr import single

SCALARS = {
    "b1": "i1",
    "u1": "i8",
    "i1": "i8",
    "i2": "i16",
    "i4": "i32",
    "i8": "i64",
    "f4": "float",
    "f8": "double",
}
BYTES = {"b1": 1, "u1": 1, "i1": 1, "i2": 2, "i4": 4, "i8": 8, "f4": 4, "f8": 8}


class Reg(NamedTuple):
    """A value: its text (a register or a constant), its element kind, and its number of lanes (1: a
    scalar).
    """

    text: str
    kind: str
    lanes: int

    @property
    def type(self) -> str:
        """The LLVM type."""
        return type_of(self.kind, self.lanes)


def type_of(kind: str, lanes: int) -> str:
    """The LLVM type of a scalar or vector of a kind."""
    scalar = SCALARS[kind]
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


def literal(value: float | int | bool, kind: str) -> str:
    """A number as LLVM writes it; floats by their bits, so that nothing is rounded but to their kind."""
    if kind == "b1":
        return "true" if value else "false"
    if kind == "f4":
        return "0x" + struct.pack(">d", single(value)).hex().upper()
    if kind == "f8":
        return "0x" + struct.pack(">d", value).hex().upper()
    return str(int(value))


def in_memory(kind: str) -> str:
    """The kind that elements have in memory, where a bool takes a byte."""
    return "u1" if kind == "b1" else kind


def overload(kind: str, lanes: int) -> str:
    """The ending that tells overloads of an intrinsic apart, such as "v16f32"."""
    scalar = {"float": "f32", "double": "f64"}.get(SCALARS[kind], SCALARS[kind])
    return scalar if lanes == 1 else f"v{lanes}{scalar}"
