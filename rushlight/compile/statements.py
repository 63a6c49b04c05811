"""What a program's calls become before they are loops: statements over domains of indices.

A `Statement` gives, for every index of its domain, an element of a buffer as an expression of elements of
other buffers, folded over some of its dimensions if it is a sum or the like. A `Product` is a contraction of
two matrices; a `Draw` takes random numbers from a generator; an `Opaque` call runs in NumPy. Nothing here
knows of fusion or of machine code. Invariant: a statement may be carried out for the indices of its domain in
any order.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace

from rushlight.compile.expr import Expr, Symbols, kind_of
from rushlight.compile.program import Buffer, Call, Window
from rushlight.compile.vmath import in_order
from rushlight.random import Generator


class NotLowered(NotImplementedError):
    """Why a call has to run in NumPy."""


@dataclass(frozen=True, slots=True)
class Pick:
    """A part of an address that is read from memory: ``scale`` times the element that `access` finds, which
    must be in ``range(bound)``, or in ``range(-bound, bound)`` if negative numbers count from the end; others
    count as 0.
    """

    access: Access
    scale: int
    bound: int
    from_the_end: bool = False


@dataclass(frozen=True, slots=True)
class Access:
    """Which element of a buffer belongs to an index of a domain: offset + strides * index + picks."""

    buffer: Buffer
    offset: int
    strides: tuple[int, ...]
    picks: tuple[Pick, ...] = ()

    def extent(self, domain: Sequence[int]) -> tuple[int, int]:
        """The first and one past the last element it can reach."""
        if self.picks or self.buffer.in_pieces or self.buffer.panels:
            return 0, self.buffer.size
        low = high = self.offset
        for n, stride in zip(domain, self.strides, strict=True):
            reach = (n - 1) * stride
            low, high = (low + reach, high) if reach < 0 else (low, high + reach)
        return low, high + 1

    def is_injective(self, domain: Sequence[int]) -> bool:
        """Whether different indices surely have different elements."""
        if self.picks:
            return False
        reach = 1
        for stride, n in sorted(
            (abs(stride), n) for stride, n in zip(self.strides, domain, strict=True) if n > 1
        ):
            if stride < reach:
                return False
            reach = stride * (n - 1) + reach
        return True

    def is_one_element(self) -> bool:
        """Whether all indices have the same element."""
        return not (any(self.strides) or self.picks)

    def in_parts(self, length: int) -> Access:
        """The same for a domain whose first dimension is cut into parts of such a length."""
        first, *rest = self.strides
        picks = tuple(replace(each, access=each.access.in_parts(length)) for each in self.picks)
        return Access(self.buffer, self.offset, (first * length, first, *rest), picks)

    def without(self, dims: frozenset[int]) -> Access:
        """The same for a domain that lacks some dimensions."""
        kept = tuple(stride for d, stride in enumerate(self.strides) if d not in dims)
        picks = tuple(replace(each, access=each.access.without(dims)) for each in self.picks)
        return Access(self.buffer, self.offset, kept, picks)

    def __repr__(self) -> str:
        picks = "".join(f" + {each.scale}*{each.access!r}" for each in self.picks)
        return f"{self.buffer!r}@{self.offset}{list(self.strides)}{picks}"


@dataclass(slots=True, eq=False)
class Statement:
    """One expression over a domain.

    Args:
        domain: how many values each index takes.
        loads: what the "load" nodes of the expression read.
        expr: the value.
        store: where it goes; along folded dimensions its strides are zero.
        fold: "sum", "prod", "amax", "amin", "any" or "all" over the dimensions in `dims`.
        post: what becomes of a folded value, which is its "load" 0.
        add: the value is added to what is there, in the order of the domain (a scatter).
        call: where it comes from.
        formula: the value for people: with functions by name, where `expr` has primitives only.
        strands: how many there are of its first dimension, if that is the one of `strands`; else 1.
    """

    domain: tuple[int, ...]
    loads: tuple[Access, ...]
    expr: Expr
    store: Access
    call: Call
    fold: str = ""
    dims: frozenset[int] = frozenset()
    post: Expr | None = None
    add: bool = False
    formula: Expr | None = None
    strands: int = 1

    @property
    def is_alone(self) -> bool:
        """Whether it shares its loops with no other: a scatter, or what knows where its target lies."""
        target = self.store.buffer
        return self.add or target.in_pieces or target.panels is not None

    def reads(self) -> list[Access]:
        """Everything read, indices included."""
        found = list(self.loads)
        if self.add:
            found.append(self.store)
        for access in (*self.loads, self.store):
            found += [pick.access for pick in access.picks]
        return found

    def __repr__(self) -> str:
        fold = f"{self.fold} over {sorted(self.dims)} of " if self.fold else ""
        return (
            f"{self.store!r} {'+' if self.add else ''}= {fold}{self.expr!r} for {self.domain} of {self.loads}"
        )


@dataclass(slots=True, eq=False)
class Split(Statement):
    """A copy of a matrix to a buffer where it lies in pieces for the matrix unit (see `pieces`).

    The domain is that of rows (or columns, of a right operand) and steps of k. It shares no loops.
    """

    is_left: bool = True


@dataclass(slots=True, eq=False)
class Product:
    """``out[..., i, j] = sum over k of a[..., i, k] * b[..., k, j]``.

    `domain` is (batch..., m, n); `a`, `b` and `store` have a stride for each of its dimensions (0 where an
    operand does not depend on it), and `a_k`, `b_k` are the strides along the contracted index. `strands` is
    that of a `Statement`.
    """

    domain: tuple[int, ...]
    k: int
    a: Access
    b: Access
    a_k: int
    b_k: int
    store: Access
    call: Call
    strands: int = 1

    def reads(self) -> list[tuple[Access, tuple[int, ...]]]:
        """The operands with the domains they range over."""
        whole = (*self.domain, self.k)
        return [
            (Access(self.a.buffer, self.a.offset, (*self.a.strides, self.a_k)), whole),
            (Access(self.b.buffer, self.b.offset, (*self.b.strides, self.b_k)), whole),
        ]


@dataclass(slots=True, eq=False)
class Draw:
    """Random numbers for elements that lie one after another.

    Args:
        domain: how many.
        what: "uniform", "bernoulli" or "bernoulli_each": what to call of `twister.Draws`.
        numbers: the arguments of that call.
        state: the words of the generator.
        store: where the first number goes.
        loads: what else is read, element by element.
        call: where it comes from.
    """

    domain: tuple[int]
    what: str
    numbers: dict[str, float]
    state: Access
    store: Access
    loads: tuple[Access, ...]
    call: Call


@dataclass(slots=True, eq=False)
class Check:
    """Before any memory that lasts is written: `bad` must be false everywhere.

    Where it is not, the call runs in NumPy, which raises what an eager step would have raised.

    Args:
        domain: where to look.
        loads: what `bad` reads.
        bad: a bool: whether an element cannot be worked with.
        call: where it comes from.
        shown: what else the call reads, to tell of it.
    """

    domain: tuple[int, ...]
    loads: tuple[Access, ...]
    bad: Expr
    call: Call
    shown: tuple[Window, ...] = ()


def check_range(
    window: Window, bound: int, call: Call, *, ignored: int | None = None, from_the_end: bool = False
) -> Check:
    """Every element must be in ``range(bound)``, in ``range(-bound, bound)`` where numbers count from the
    end, or `ignored`.
    """
    symbols = Symbols()
    number = symbols.cast(symbols.load(0, kind_of(window.dtype)), "i8")
    lowest = -bound if from_the_end else 0
    bad = symbols.logical_or(number < lowest, number >= bound)
    if ignored is not None:
        bad = symbols.logical_and(bad, number != ignored)
    return Check(window.shape, (over(window, window.shape),), bad, call)


@dataclass(slots=True, eq=False)
class Opaque:
    """A call that NumPy carries out between native parts."""

    call: Call
    reason: str = ""


Work = Statement | Product | Draw | Check | Opaque


@dataclass(slots=True)
class Lowered:
    """A program as statements, with the buffers added on the way, those of generators among them."""

    work: list[Work] = field(default_factory=list)
    added: list[Buffer] = field(default_factory=list)
    generators: dict[Generator, Buffer] = field(default_factory=dict)


def at(window: Window, strides: Sequence[int], domain: Sequence[int], picks: tuple[Pick, ...] = ()) -> Access:
    """The access with these strides; along dimensions of one index they are zero, so that equal accesses are
    equal objects."""
    plain = tuple(0 if n == 1 else stride for n, stride in zip(domain, strides, strict=True))
    return Access(window.buffer, window.offset, plain, picks)


def over(window: Window, domain: Sequence[int]) -> Access:
    """A window read at the indices of a domain it broadcasts to."""
    missing = len(domain) - len(window.shape)
    strides = [0] * missing
    for n, stride in zip(window.shape, window.strides, strict=True):
        strides.append(0 if n == 1 else stride)
    return at(window, strides, domain)


def same_everywhere(expr: Expr, loads: Sequence[Access], changing: Container[int] = ()) -> set[Expr]:
    """The parts of a statement's expression that have one value for all indices.

    Args:
        expr: the expression.
        loads: what its "load" nodes read.
        changing: numbers of buffers that change meanwhile, so that nothing read from them counts.
    """
    found: set[Expr] = set()
    for node in in_order([expr]):
        if node.op == "load":
            access = loads[node.args[0]]
            same = access.is_one_element() and access.buffer.number not in changing
        else:
            same = node.op != "index" and all(each in found for each in node.operands)
        if same:
            found.add(node)
    return found
