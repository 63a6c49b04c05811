"""A group of loops as a C function.

The loops are plain ones over the dimensions of the tensors: vectors, register tiles and threads, which the
native code has, would hide what is computed. Invariant: run on the same memory, the C function leaves in it
what the native function leaves, up to rounding.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable, Iterator, Sequence

from rushlight.compile.c_expr import MATH, OF_MATH, Expressions, literal
from rushlight.compile.c_helpers import TYPES, Helpers, short_name, suffix
from rushlight.compile.expr import Expr, kind_of
from rushlight.compile.group import Group
from rushlight.compile.loops import identity
from rushlight.compile.program import ARGUMENT, TEMPORARY, Buffer, Program
from rushlight.compile.statements import Access, Check, Draw, Product, Statement

INDICES = "ijklmnopq"
# What a name of a buffer must not be: C's words, and names that the text uses itself.
TAKEN = frozenset(
    ["arena", "auto", "break", "buffers", "case", "char", "const", "continue", "default", "do", "drawn"]
    + ["else", "enum", "extern", "for", "goto", "if", "inline", "register", "restrict", "return", "short"]
    + ["signed", "sizeof", "static", "step", "struct", "switch", "typedef", "union", "unsigned", "volatile"]
    + ["void", "while", "within", "int", "long", "bool", "true", "false", *TYPES.values()]
    + [f"{name}{kind}" for name in (*MATH.values(), *OF_MATH) for kind in ("", "f")]
)
# Nor what looks like a macro or like one of the helpers.
LIKE_OTHERS = re.compile(rf"[A-Z][A-Z0-9_]*|\w+_({'|'.join(map(short_name, TYPES))})|random_bits")


def remark(text: str) -> str:
    """Any text, such as a name that somebody chose, as it may stand in a comment.

    >>> remark('a */ b\\n"x"')
    'a * / b "x"'
    """
    plain = "".join(each if each.isprintable() else " " for each in text)
    return plain.replace("*/", "* /").replace("/*", "/ *")


class Lines:
    """Lines of C, with blocks."""

    def __init__(self, depth: int = 0) -> None:
        self.lines: list[str] = []
        self.depth = depth

    def line(self, text: str) -> None:
        """One line, or what goes on in further ones."""
        start = "    " * self.depth
        self.lines.append(start + text.replace("\n", f"\n{start}    "))

    @contextlib.contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Lines in braces."""
        self.line(f"{head} {{".lstrip())
        self.depth += 1
        yield
        self.depth -= 1
        self.line("}")


class Names:
    """A C name for every buffer of a program, and what a comment says of it."""

    def __init__(self, program: Program, buffers: Sequence[Buffer]) -> None:
        self.shapes: dict[int, tuple[int, ...]] = {}
        origins: dict[int, str] = {}
        for window in program.arguments:
            self.shapes[window.buffer.number] = window.shape
        for call in program.calls:
            for window in call.outputs:
                number = window.buffer.number
                origins.setdefault(number, call.op.name)
                if window.is_whole():
                    self.shapes.setdefault(number, window.shape)
        self.names: dict[int, str] = {}
        taken = set(TAKEN)
        for buffer in buffers:
            if buffer.array is not None and buffer.kind != ARGUMENT:
                self.shapes[buffer.number] = buffer.array.shape
            origin = origins.get(buffer.number, "value")
            name = buffer.name or (origin if buffer.kind == TEMPORARY else "captured")
            name = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_")
            if name[:1].isdigit():
                name = f"_{name}"
            is_plain = buffer.name and len(name) > 1 and not LIKE_OTHERS.fullmatch(name)
            if not is_plain or buffer.kind == TEMPORARY:
                name = f"{name}_{buffer.number}"
            while name in taken:
                name += f"_{buffer.number}"
            taken.add(name)
            self.names[buffer.number] = name

    def of(self, buffer: Buffer) -> str:
        """The C name."""
        return self.names[buffer.number]

    def about(self, buffer: Buffer) -> str:
        """Name, shape and type for people."""
        shape = self.shapes.get(buffer.number, (buffer.size,))
        name = f'"{buffer.name}", ' if buffer.name and buffer.kind != TEMPORARY else ""
        return remark(f"{name}shape {shape}, {buffer.dtype}")


class GroupText:
    """Writes the function of one group."""

    def __init__(self, group: Group, names: Names, helpers: Helpers, stored: set[object]) -> None:
        self.group, self.names, self.helpers, self.stored = group, names, helpers, stored
        self.body = Lines(1)
        self.used: dict[Buffer, bool] = {}  # and whether it is written
        self._count = itertools.count(1)
        self._values: dict[Access, str] = {}
        self._given = {names.of(buffer) for buffer in _in_memory(group, stored)}

    # -- places ----------------------------------------------------------------------------------------------

    def element(self, access: Access, index: Sequence[str], writes: bool = False) -> str:
        """An element of a buffer."""
        buffer = access.buffer
        self.used[buffer] = self.used.get(buffer, False) or writes
        parts = [
            at if stride == 1 else f"{at} * {stride}"
            for at, stride in zip(index, access.strides, strict=True)
            if stride and at != "0"
        ]
        for pick in access.picks:
            row = f"{self.helpers.need('within')}({self.element(pick.access, index)}, {pick.bound})"
            parts.append(row if pick.scale == 1 else f"{row} * {pick.scale}")
        if access.offset:
            parts.insert(0, str(access.offset))
        return f"{self.names.of(buffer)}[{' + '.join(parts).replace('+ -', '- ') or '0'}]"

    def _leaf(self, loads: Sequence[Access], index: Sequence[str]) -> Callable[[Expr], str]:
        def leaf(node: Expr) -> str:
            if node.op == "index":
                return index[node.args[0]]
            access = loads[node.args[0]]
            return self._values.get(access) or self.element(access, index)

        return leaf

    def _expressions(self, leaf: Callable[[Expr], str]) -> Expressions:
        return Expressions(self.body.line, self.helpers, leaf, self._name_part)

    def _name_part(self) -> str:
        taken = self.names.names.values()
        return next(name for number in self._count if (name := f"v{number}") not in taken)

    def _name_value(self, access: Access) -> str:
        base = name = self.names.of(access.buffer)
        for number in itertools.count(1):
            if name not in self._given:
                break
            name = f"{base}_value{number if number > 1 else ''}"
        self._given.add(name)
        return name

    # -- loops -----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def loops(self, domain: Sequence[int], dims: Sequence[int], index: list[str]) -> Iterator[None]:
        """Loops over some dimensions; fills in their indices."""
        with contextlib.ExitStack() as stack:
            for d in dims:
                if domain[d] == 1:
                    index[d] = "0"
                    continue
                index[d] = INDICES[d]
                head = f"for (int64_t {index[d]} = 0; {index[d]} < {domain[d]}; {index[d]}++)"
                stack.enter_context(self.body.block(head))
            yield

    # -- work ------------------------------------------------------------------------------------------------

    def write(self) -> None:
        """Everything the group does."""
        group, single = self.group, self.group.single
        if isinstance(single, Check):
            self._check(single)
        elif isinstance(single, Draw):
            self._draw(single)
        elif group.product is not None:
            self._product(group.product, group.statements)
        else:
            self._nest(group.statements)

    def _nest(self, statements: Sequence[Statement]) -> None:
        domain = statements[0].domain
        folds = [each for each in statements if each.fold]
        folded = folds[0].dims if folds else frozenset()
        kept = [d for d in range(len(domain)) if d not in folded]
        index = ["0"] * len(domain)
        with self.loops(domain, kept, index):
            totals = {}
            for each in folds:
                kind = each.expr.kind
                totals[each] = name = self._name_value(each.store)
                self.body.line(f"{TYPES[kind]} {name} = {literal(identity(each.fold, kind), kind)};")
            with self.loops(domain, sorted(folded), index):
                self._run(statements, index, totals)
            for each in folds:
                self._finish(each, totals[each], index)

    def _run(self, statements: Sequence[Statement], index: list[str], totals: dict[Statement, str]) -> None:
        """The statements at one place."""
        for each in statements:
            formula = each.formula or each.expr
            value = self._expressions(self._leaf(each.loads, index)).value(formula)
            if each.fold:
                self.body.line(self._folded(each.fold, totals[each], value, formula.kind))
            elif each.add:
                self.body.line(f"{self.element(each.store, index, True)} += {value};")
            elif each in self.stored and not self._is_read_later(each, statements):
                self.body.line(f"{self.element(each.store, index, True)} = {value};")
            else:
                name = self._values[each.store] = self._name_value(each.store)
                self.body.line(f"const {TYPES[formula.kind]} {name} = {value};")
                if each in self.stored:
                    self.body.line(f"{self.element(each.store, index, True)} = {name};")

    @staticmethod
    def _is_read_later(statement: Statement, statements: Sequence[Statement]) -> bool:
        later = statements[statements.index(statement) + 1 :]
        return any(statement.store in each.loads for each in later)

    def _folded(self, fold: str, total: str, value: str, kind: str) -> str:
        if fold in ("sum", "prod"):
            return f"{total} {'+' if fold == 'sum' else '*'}= {value};"
        if fold in ("any", "all"):
            return f"{total} = {total} {'||' if fold == 'any' else '&&'} ({value});"
        name = self.helpers.need("maximum" if fold == "amax" else "minimum", kind)
        return f"{total} = {name}({total}, {value});"

    def _finish(self, statement: Statement, total: str, index: list[str]) -> None:
        kind, value = statement.expr.kind, total
        if statement.post is not None:
            value, kind = self._expressions(lambda node: total).value(statement.post), statement.post.kind
        if kind != kind_of(statement.store.buffer.dtype):
            value = f"({TYPES[kind_of(statement.store.buffer.dtype)]})({value})"
        self.body.line(f"{self.element(statement.store, index, True)} = {value};")

    def _product(self, product: Product, statements: Sequence[Statement]) -> None:
        index = ["0"] * len(product.domain)
        kind = kind_of(product.store.buffer.dtype)
        (a, whole), (b, _) = product.reads()
        contracted = len(product.domain)
        with self.loops(product.domain, range(len(product.domain)), index):
            name = self._values[product.store] = self._name_value(product.store)
            self.body.line(f"{TYPES[kind]} {name} = {literal(0, kind)};")
            inner = [*index, "0"]
            with self.loops(whole, [contracted], inner):
                self.body.line(f"{name} += {self.element(a, inner)} * {self.element(b, inner)};")
            if product in self.stored:
                self.body.line(f"{self.element(product.store, index, True)} = {name};")
            self._run(statements, index, {})

    def _check(self, check: Check) -> None:
        index = ["0"] * len(check.domain)
        with self.loops(check.domain, range(len(check.domain)), index):
            bad = self._expressions(self._leaf(check.loads, index)).value(check.bad)
            with self.body.block(f"if ({bad})"):
                self.body.line("return 1;")
        self.body.line("return 0;")

    def _draw(self, draw: Draw) -> None:
        index = ["0"]
        kind = kind_of(draw.store.buffer.dtype)
        self.used[draw.state.buffer] = True
        state = self.names.of(draw.state.buffer)
        with self.loops(draw.domain, [0], index):
            target = self.element(draw.store, index, True)
            if draw.what == "uniform":
                self._uniform(draw, state, target, kind)
                return
            if draw.what == "bernoulli":
                chance, yes, drawn = literal(draw.numbers["keep"], "f8"), draw.numbers["value"], "f64"
            else:
                chance, yes = self.element(draw.loads[0], index), 1.0
                drawn = "f64" if kind_of(draw.loads[0].buffer.dtype) == "f8" else "f32"
            number = self._random(drawn, state)
            self.body.line(f"{target} = {number} < {chance} ? {literal(yes, kind)} : {literal(0, kind)};")

    def _random(self, kind: str, state: str) -> str:
        """A random number in [0, 1) of a kind: f32 or f64."""
        self.helpers.need("random_bits")
        return f"{self.helpers.need(f'random_{kind}')}({state})"

    def _uniform(self, draw: Draw, state: str, target: str, kind: str) -> None:
        rounded = draw.store.buffer.dtype.type
        low, high = rounded(draw.numbers["low"]), rounded(draw.numbers["high"])
        start, width, end = (literal(float(each), kind) for each in (low, high - low, high))
        number = self._random("f32" if kind == "f4" else "f64", state)
        self.body.line(f"const {TYPES[kind]} drawn = fma{suffix(kind)}({number}, {width}, {start});")
        self.body.line(f"{target} = drawn == {end} ? {start} : drawn;")


def _in_memory(group: Group, stored: set[object]) -> list[Buffer]:
    """The buffers that a group writes to memory, or reads and has not made itself."""
    made = {each.store for each in group.work() if isinstance(each, (Statement, Product))}
    found = [each.store.buffer for each in group.storing(stored)]
    return found + [access.buffer for each in group.statements for access in each.loads if access not in made]
