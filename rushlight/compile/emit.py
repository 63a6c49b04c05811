"""Writing LLVM IR as text: registers, blocks, loops, vectors and masks.

`Emitter` knows LLVM's syntax and nothing of tensors. A value is a `Reg`: its name and its LLVM type. Loops
are context managers that carry accumulators. Invariant: every block ends with one terminator, and names are
used once, so the text is valid SSA.
"""

from __future__ import annotations

import contextlib
import math
import typing
from collections.abc import Callable, Iterator, Sequence

from rushlight.compile.known import Known
from rushlight.compile.registers import BYTES, SCALARS, Reg, in_memory, literal, overload, type_of


class Emitter:
    """The text of one module with one function after another."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.rooms: list[str] = []  # stack memory, which belongs at the top of the function
        self.declared: set[str] = set()
        self._count = 0
        self._block = "entry"
        self._known = Known()

    # -- text ------------------------------------------------------------------------------------------------

    def name(self, hint: str = "v") -> str:
        """A register name that was not used before."""
        self._count += 1
        return f"%{hint}{self._count}"

    def line(self, text: str) -> None:
        """One instruction."""
        self.lines.append("  " + text)

    def label(self, name: str) -> None:
        """Begin a block."""
        self.lines.append(f"{name}:")
        self._block = name
        self._known.made.clear()  # what one block computes another may not have passed

    def begin(self, name: str, parameters: Sequence[str]) -> None:
        """Begin a function without result."""
        self.lines.append(f"define void @{name}({', '.join(parameters)}) #0 {{")
        self.label("entry")

    def end(self) -> None:
        """End the function."""
        self.line("ret void")
        self.lines.append("}")

    def shared(self) -> set[str]:
        """End a function that others of a module call: what the module must have for it, its own text among
        that.
        """
        self.end()
        head, entry, *rest = self.lines
        head = head.replace("define void", "define internal void", 1).replace("#0", "#1")
        return {*self.declared, "\n".join([head, entry, *self.rooms, *rest])}

    def module(self, attributes: str = "") -> str:
        """The whole module."""
        return "\n".join(
            [*self.lines, *sorted(self.declared), f"attributes #0 = {{ nounwind {attributes} }}", ""]
        )

    # -- values ----------------------------------------------------------------------------------------------

    def const(self, value: float | int | bool, kind: str, lanes: int = 1) -> Reg:
        """A constant, in all lanes."""
        text = literal(value, kind)
        if lanes > 1:
            text = "<" + ", ".join([f"{SCALARS[kind]} {text}"] * lanes) + ">"
        return Reg(text, kind, lanes)

    def op(self, instruction: str, result_kind: str, lanes: int, hint: str = "v") -> Reg:
        """An instruction with a result."""
        name = self.name(hint)
        self.line(f"{name} = {instruction}")
        return Reg(name, result_kind, lanes)

    def binary(self, op: str, a: Reg, b: Reg) -> Reg:
        """A two-operand instruction on values of one type."""
        return self.op(f"{op} {a.type} {a.text}, {b.text}", a.kind, a.lanes)

    def select(self, condition: Reg, a: Reg, b: Reg) -> Reg:
        """`a` in the lanes where the condition holds, else `b`."""
        return self.op(
            f"select {condition.type} {condition.text}, {a.type} {a.text}, {b.type} {b.text}", a.kind, a.lanes
        )

    def call(self, function: str, result: tuple[str, int], *args: Reg, flags: str = "") -> Reg:
        """A call of an intrinsic, which is declared on the way."""
        kind, lanes = result
        types = ", ".join(each.type for each in args)
        self.declared.add(f"declare {type_of(kind, lanes)} @{function}({types})")
        given = ", ".join(f"{each.type} {each.text}" for each in args)
        return self.op(f"call {flags}{type_of(kind, lanes)} @{function}({given})", kind, lanes)

    def intrinsic(self, name: str, *args: Reg) -> Reg:
        """An overloaded intrinsic whose result has the type of its operands, such as ``llvm.fma``."""
        first = args[0]
        suffix = overload(first.kind, first.lanes)
        return self.call(f"llvm.{name}.{suffix}", (first.kind, first.lanes), *args)

    def copy(self, target: str, source: str, size: int) -> None:
        """Copy so many bytes."""
        self.declared.add("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        self.line(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {size}, i1 false)")

    def prefetch(self, pointer: str, near: int = 3, to_write: bool = False) -> None:
        """Have memory bring a line to the nearest cache (3), or to the second (2); one that is to be written
        is taken from other cores.
        """
        self.declared.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        self.line(f"call void @llvm.prefetch.p0(ptr {pointer}, i32 {int(to_write)}, i32 {near}, i32 1)")

    def splat(self, value: Reg, lanes: int) -> Reg:
        """A scalar in all lanes of a vector."""
        if lanes == 1 or value.lanes == lanes:
            return value
        vector = type_of(value.kind, lanes)
        one = self.op(f"insertelement {vector} poison, {value.type} {value.text}, i64 0", value.kind, lanes)
        return self.op(
            f"shufflevector {vector} {one.text}, {vector} poison, <{lanes} x i32> zeroinitializer",
            value.kind,
            lanes,
        )

    def shuffle(self, a: Reg, b: Reg, chosen: Sequence[int]) -> Reg:
        """Lanes picked from two vectors, those of the second counted on from the first's."""
        numbers = ", ".join(f"i32 {each}" for each in chosen)
        picked = f"shufflevector {a.type} {a.text}, {b.type} {b.text}, <{len(chosen)} x i32> <{numbers}>"
        return self.op(picked, a.kind, len(chosen))

    def turned(self, vectors: Sequence[Reg]) -> list[Reg]:
        """Element j of vector i as element i of vector j, of as many vectors as each has lanes: halves change
        places, then halves of halves.
        """
        count = len(vectors)
        rows = list(vectors)
        apart = count // 2
        while apart:
            for first in range(count):
                if not first & apart:
                    a, b = rows[first], rows[first + apart]
                    low = [lane if not lane & apart else count + lane - apart for lane in range(count)]
                    rows[first] = self.shuffle(a, b, low)
                    rows[first + apart] = self.shuffle(a, b, [lane + apart for lane in low])
            if apart == 4 < count // 2:  # LLVM looks for shorter ways through all of them, and takes long
                rows = [self.intrinsic("arithmetic.fence", each) for each in rows]
            apart //= 2
        return rows

    def reduce(self, op: str, value: Reg) -> Reg:
        """All lanes folded into one: "fadd", "fmul", "fmax", "fmin", "umax", "add", "and", "or"; always in
        the same order.
        """
        if value.lanes == 1:
            return value
        suffix = overload(value.kind, value.lanes)
        if op in ("fadd", "fmul"):
            start = self.const(0.0 if op == "fadd" else 1.0, value.kind)
            if op == "fadd":
                start = Reg("0x8000000000000000", value.kind, 1)  # -0.0, the neutral element
            return self.call(
                f"llvm.vector.reduce.{op}.{suffix}", (value.kind, 1), start, value, flags="reassoc "
            )
        return self.call(f"llvm.vector.reduce.{op}.{suffix}", (value.kind, 1), value)

    # -- memory ----------------------------------------------------------------------------------------------

    def stack(self, kind: str, lanes: int, count: int) -> str:
        """Room for so many vectors, there for the whole function."""
        name = self.name("s")
        self.rooms.append(f"  {name} = alloca [{count} x {type_of(kind, lanes)}], align 64")
        return name

    def pointer(self, base: str, index: Reg | int, kind: str) -> str:
        """The address of an element. What is constant about it is added last, so that neighbours are told as
        distances from one address.
        """
        kind = in_memory(kind)
        start, distance = self._known.moved.get(base, (base, 0))
        if isinstance(index, Reg):
            text, factor, amount = self._known.parts(index.text)
            distance += amount * BYTES[kind]
            if text:
                scaled = self.times(Reg(text, "i8", 1), factor)
                element = f"getelementptr inbounds {SCALARS[kind]}, ptr {start}, i64 {scaled.text}"
                start = self._once(element, "p")
        else:
            distance += index * BYTES[kind]
        if not distance:
            return start
        moved = self._once(f"getelementptr inbounds i8, ptr {start}, i64 {distance}", "p")
        self._known.moved[moved] = start, distance
        return moved

    def load(self, pointer: str, kind: str, lanes: int = 1, mask: Reg | None = None) -> Reg:
        """Elements from consecutive addresses; lanes that the mask leaves out are zero."""
        stored = in_memory(kind)
        vector, align = type_of(stored, lanes), BYTES[kind]
        if mask is None:
            value = self.op(f"load {vector}, ptr {pointer}, align {align}", stored, lanes)
        else:
            suffix = overload(stored, lanes)
            function = f"llvm.masked.load.{suffix}.p0"
            self.declared.add(f"declare {vector} @{function}(ptr, <{lanes} x i1>, {vector})")
            value = self.op(
                f"call {vector} @{function}(ptr align {align} {pointer}, <{lanes} x i1> {mask.text}, "
                f"{vector} zeroinitializer)",
                stored,
                lanes,
            )
        return self._from_memory(value, kind)

    def store(self, value: Reg, pointer: str, mask: Reg | None = None) -> None:
        """Elements to consecutive addresses; lanes that the mask leaves out are not touched."""
        value = self._to_memory(value)
        align = BYTES[value.kind]
        if mask is None:
            self.line(f"store {value.type} {value.text}, ptr {pointer}, align {align}")
            return
        suffix = overload(value.kind, value.lanes)
        function = f"llvm.masked.store.{suffix}.p0"
        self.declared.add(f"declare void @{function}({value.type}, ptr, <{value.lanes} x i1>)")
        self.line(
            f"call void @{function}({value.type} {value.text}, ptr align {align} {pointer}, <{value.lanes} "
            f"x i1> {mask.text})"
        )

    def _apart(self, base: str, distances: Reg, kind: str) -> str:
        """Addresses that lie so many elements from a start, one per lane."""
        name = self.name("p")
        element = SCALARS[in_memory(kind)]
        self.line(f"{name} = getelementptr {element}, ptr {base}, {distances.type} {distances.text}")
        return name

    def gather(self, base: str, distances: Reg, kind: str, mask: Reg | None = None) -> Reg:
        """Elements from anywhere; lanes that the mask leaves out are zero."""
        lanes = distances.lanes
        stored = in_memory(kind)
        vector, pointers = type_of(stored, lanes), self._apart(base, distances, kind)
        function = f"llvm.masked.gather.{overload(stored, lanes)}.v{lanes}p0"
        self.declared.add(f"declare {vector} @{function}(<{lanes} x ptr>, <{lanes} x i1>, {vector})")
        chosen = mask or self.const(True, "b1", lanes)
        value = self.op(
            f"call {vector} @{function}(<{lanes} x ptr> align {BYTES[kind]} {pointers}, "
            f"<{lanes} x i1> {chosen.text}, {vector} zeroinitializer)",
            stored,
            lanes,
        )
        return self._from_memory(value, kind)

    def scatter(self, value: Reg, base: str, distances: Reg, mask: Reg | None = None) -> None:
        """Elements to anywhere, the lanes in order."""
        lanes = distances.lanes
        pointers = self._apart(base, distances, value.kind)
        value = self._to_memory(value)
        align = BYTES[value.kind]
        function = f"llvm.masked.scatter.{overload(value.kind, lanes)}.v{lanes}p0"
        self.declared.add(f"declare void @{function}({value.type}, <{lanes} x ptr>, <{lanes} x i1>)")
        chosen = mask or self.const(True, "b1", lanes)
        self.line(
            f"call void @{function}({value.type} {value.text}, <{lanes} x ptr> align {align} {pointers}, "
            f"<{lanes} x i1> {chosen.text})"
        )

    def _to_memory(self, value: Reg) -> Reg:
        """A value as it lies in memory: a bool takes a byte."""
        if value.kind != "b1":
            return value
        return self.op(f"zext {value.type} {value.text} to {type_of('u1', value.lanes)}", "u1", value.lanes)

    def _from_memory(self, value: Reg, kind: str) -> Reg:
        if kind != "b1":
            return value
        return self.op(f"trunc {value.type} {value.text} to {type_of('b1', value.lanes)}", "b1", value.lanes)

    def mask(self, count: Reg | int, lanes: int) -> Reg:
        """A mask whose first `count` lanes are on."""
        if isinstance(count, int):
            on = ", ".join("i1 true" if i < count else "i1 false" for i in range(lanes))
            return Reg(f"<{on}>", "b1", lanes)
        numbers = "<" + ", ".join(f"i64 {i}" for i in range(lanes)) + ">"
        limit = self.splat(count, lanes)
        return self.op(f"icmp slt <{lanes} x i64> {numbers}, {limit.text}", "b1", lanes)

    @typing.overload
    def least(self, a: Reg, b: int) -> Reg: ...

    @typing.overload
    def least(self, a: Reg | int, b: int) -> Reg | int: ...

    def least(self, a: Reg | int, b: int) -> Reg | int:
        """The lesser of an index and a constant."""
        return min(a, b) if isinstance(a, int) else self.intrinsic("smin", a, self.const(b, "i8"))

    def most(self, a: Reg | int, b: int) -> Reg | int:
        """The greater of an index and a constant."""
        return max(a, b) if isinstance(a, int) else self.intrinsic("smax", a, self.const(b, "i8"))

    def index(self, value: Reg | int) -> Reg:
        """An index, be it constant or not."""
        return self.const(value, "i8") if isinstance(value, int) else value

    def address_at(self, table: str, place: Reg) -> str:
        """The address that stands at a place of a table of addresses."""
        name = self.name("p")
        self.line(f"{name} = load ptr, ptr {self.pointer(table, place, 'i8')}, align 8")
        return name

    def address_of(self, condition: Reg, a: str, b: str) -> str:
        """One of two addresses: `a` if the condition holds."""
        name = self.name("p")
        self.line(f"{name} = select i1 {condition.text}, ptr {a}, ptr {b}")
        return name

    def store_address(self, address: str, to: str) -> None:
        """Put an address into a table of addresses."""
        self.line(f"store ptr {address}, ptr {to}, align 8")

    def times(self, index: Reg, factor: int) -> Reg:
        """An index scaled by a constant."""
        if factor == 1:
            return index
        made = self._once(f"mul nsw i64 {index.text}, {factor}")
        self._known.products[made] = index.text, factor
        return Reg(made, "i8", 1)

    def plus(self, index: Reg, amount: int) -> Reg:
        """An index moved by a constant."""
        if amount == 0:
            return index
        made = self._once(f"add nsw i64 {index.text}, {amount}")
        self._known.sums[made] = index.text, amount
        return Reg(made, "i8", 1)

    def divided(self, index: Reg, power: int) -> tuple[Reg, Reg]:
        """How often a power of two goes into an index that is not negative, and the rest."""
        bits = power.bit_length() - 1
        text, factor, amount = self._known.parts(index.text)
        if text and self._known.multiple(text) * factor % power == 0:
            whole = self.times(Reg(text, "i8", 1), factor)
            number = Reg(self._once(f"lshr exact i64 {whole.text}, {bits}"), "i8", 1)
            return self.plus(number, amount // power), self.const(amount % power, "i8")
        number = Reg(self._once(f"lshr i64 {index.text}, {bits}"), "i8", 1)
        return number, Reg(self._once(f"and i64 {index.text}, {power - 1}"), "i8", 1)

    def _once(self, instruction: str, hint: str = "v") -> str:
        """The register with the result of an instruction that computes the same each time in a block."""
        found = self._known.made.get(instruction)
        if found is None:
            found = self._known.made[instruction] = self.name(hint)
            self.line(f"{found} = {instruction}")
        return found

    # -- control ---------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def loop(
        self, start: Reg | int, stop: Reg | int, step: int = 1, carried: Sequence[Reg] = ()
    ) -> Iterator[Loop]:
        """A counted loop; ``loop.carry`` holds this round's accumulators, ``loop.next`` takes the next
        ones, and after the block ``loop.carry`` holds the final ones."""
        first = self.const(start, "i8") if isinstance(start, int) else start
        last = self.const(stop, "i8") if isinstance(stop, int) else stop
        # Where a round is certain the test comes after it, which saves LLVM from turning the loop around.
        certain = isinstance(start, int) and isinstance(stop, int) and start < stop
        self._count += 1
        tag = self._count
        before = self._block
        head, body, after = f"head{tag}", f"body{tag}", f"after{tag}"
        self.line(f"br label %{body if certain else head}")
        self.label(body if certain else head)
        index = Reg(f"%i{tag}", "i8", 1)
        self._known.multiples[index.text] = math.gcd(self._known.multiple(first.text), step)
        slots = [Reg(f"%c{tag}_{place}", each.kind, each.lanes) for place, each in enumerate(carried)]
        phi_at = len(self.lines)
        if not certain:
            test = self.op(f"icmp slt i64 {index.text}, {last.text}", "b1", 1)
            self.line(f"br i1 {test.text}, label %{body}, label %{after}")
            self.label(body)
        loop = Loop(index, list(slots))
        yield loop
        finals = loop.next or slots
        following = self.op(f"add nsw i64 {index.text}, {step}", "i8", 1)
        latch = self._block
        if certain:
            test = self.op(f"icmp slt i64 {following.text}, {last.text}", "b1", 1)
            self.line(f"br i1 {test.text}, label %{body}, label %{after}")
        else:
            self.line(f"br label %{head}")
        phis = [f"  {index.text} = phi i64 [ {first.text}, %{before} ], [ {following.text}, %{latch} ]"]
        for slot, initial, final in zip(slots, carried, finals, strict=True):
            phis.append(
                f"  {slot.text} = phi {slot.type} [ {initial.text}, %{before} ], [ {final.text}, %{latch} ]"
            )
        self.lines[phi_at:phi_at] = phis
        self.label(after)
        loop.carry = list(finals) if certain else slots

    @contextlib.contextmanager
    def hardly_ever(self, condition: Reg, otherwise: Reg) -> Iterator[Choice]:
        """Instructions that run only if a scalar condition holds, which it seldom does: the block sets
        ``choice.value``, which after it is `otherwise` if the block was skipped."""
        self._count += 1
        tag, before = self._count, self._block
        weights = '!prof !{!"branch_weights", i32 1, i32 100000}'
        self.line(f"br i1 {condition.text}, label %then{tag}, label %join{tag}, {weights}")
        self.label(f"then{tag}")
        choice = Choice(otherwise)
        yield choice
        last = self._block
        self.line(f"br label %join{tag}")
        self.label(f"join{tag}")
        ways = f"[ {otherwise.text}, %{before} ], [ {choice.value.text}, %{last} ]"
        choice.value = self.op(f"phi {otherwise.type} {ways}", otherwise.kind, otherwise.lanes)

    @contextlib.contextmanager
    def either(self, condition: Reg) -> Iterator[Callable[[], None]]:
        """Code for when a condition holds, and, once what comes back was called, for when it does not."""
        self._count += 1
        tag = self._count
        self.line(f"br i1 {condition.text}, label %yes{tag}, label %no{tag}")
        self.label(f"yes{tag}")

        def otherwise() -> None:
            self.line(f"br label %after{tag}")
            self.label(f"no{tag}")

        yield otherwise
        self.line(f"br label %after{tag}")
        self.label(f"after{tag}")

    @contextlib.contextmanager
    def when(self, condition: Reg) -> Iterator[None]:
        """Code for when a condition holds."""
        self._count += 1
        tag = self._count
        self.line(f"br i1 {condition.text}, label %yes{tag}, label %after{tag}")
        self.label(f"yes{tag}")
        yield
        self.line(f"br label %after{tag}")
        self.label(f"after{tag}")


class Choice:
    """What a block that may be skipped comes to."""

    __slots__ = ("value",)

    def __init__(self, value: Reg) -> None:
        self.value = value


class Loop:
    """What the body of a loop works with."""

    __slots__ = ("carry", "index", "next")

    def __init__(self, index: Reg, carry: list[Reg]) -> None:
        self.index = index
        self.carry = carry
        self.next: list[Reg] = []
