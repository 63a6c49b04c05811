"""Sums of products named by their indices: `einsum` and `tensordot`.

An equation is brought down, two operands at a time, to permutations and one batched matrix product each, so
all derivatives follow. Invariant: operands are contracted from left to right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rushlight.ops.define import write_out
from rushlight.ops.kinds import composite
from rushlight.ops.matmul import bmm
from rushlight.ops.operands import type_of
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DOTS = "".join(chr(0x391 + i) for i in range(24))  # stand-ins for the dimensions of an ellipsis


def _parse(equation: str, operands: Sequence[Tensor]) -> tuple[list[str], str]:
    """The index letters of every operand and of the result, ellipses spelt out."""
    equation = equation.replace(" ", "")
    given, arrow, result = equation.partition("->")
    terms = given.split(",")
    if len(terms) != len(operands):
        more = "more" if len(operands) > len(terms) else "fewer"
        raise RuntimeError(f"einsum(): {more} operands were provided than specified in the equation")
    spelt, widest = [], 0
    for number, (term, operand) in enumerate(zip(terms, operands, strict=True)):
        letters = term.replace("...", "")
        for letter in letters:
            if letter not in _LETTERS:
                raise RuntimeError(
                    f"einsum(): invalid subscript given at index {equation.find(letter)} in the equation "
                    "string, "
                    "subscripts must be in [a-zA-Z]"
                )
        extra = operand.dim() - len(letters)
        if extra < 0 or (extra and "..." not in term):
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(letters)}) does not match the "
                "number of "
                f"dimensions ({operand.dim()}) for operand {number} and no ellipsis was given"
            )
        widest = max(widest, extra) if "..." in term else widest
        spelt.append(term.replace("...", _DOTS[24 - extra :] if extra else ""))
    dots = _DOTS[24 - widest :] if widest else ""
    if not arrow:
        everything = "".join(spelt)
        once = sorted(
            letter for letter in set(everything) if everything.count(letter) == 1 and letter not in dots
        )
        return spelt, dots + "".join(once)
    result = result.replace("...", dots)
    for letter in result:
        if result.count(letter) > 1:
            raise RuntimeError(f"einsum(): output subscript {letter} appears more than once in the output")
        if not any(letter in term for term in spelt):
            raise RuntimeError(
                f"einsum(): output subscript {letter} does not appear in the equation for any input operand"
            )
    return spelt, result


def _from_sublists(args: Sequence[Any]) -> tuple[str, list[Tensor]]:
    """``einsum(a, [0, 1], b, [1, 2], [0, 2])`` as an equation."""
    operands = list(args[0 : len(args) // 2 * 2 : 2])
    lists = list(args[1::2])

    def letters(numbers: Sequence[Any]) -> str:
        return "".join("..." if each is Ellipsis else _LETTERS[each] for each in numbers)

    equation = ",".join(letters(each) for each in lists)
    if len(args) % 2:
        equation += "->" + letters(args[-1])
    return equation, operands


def _take_diagonals(term: str, operand: Tensor) -> tuple[str, Tensor]:
    """Replace repeated indices of one operand by the diagonal."""
    place = 0
    while place < len(term):
        again = term.find(term[place], place + 1)
        if again < 0:
            place += 1
            continue
        operand = operand.diagonal(0, place, again).movedim(-1, place)
        term = term[:again] + term[again + 1 :]
    return term, operand


def _sum_out(term: str, operand: Tensor, keep: str) -> tuple[str, Tensor]:
    gone = [i for i, letter in enumerate(term) if letter not in keep]
    if not gone:
        return term, operand
    return "".join(letter for letter in term if letter in keep), operand.sum(gone)


def _contract(left_term: str, left: Tensor, right_term: str, right: Tensor, keep: str) -> tuple[str, Tensor]:
    """The product of two operands, summed over the shared indices that nothing later needs."""
    left_term, left = _sum_out(left_term, left, right_term + keep)
    right_term, right = _sum_out(right_term, right, left_term + keep)
    sizes = dict(zip(left_term, left.shape, strict=True))
    for letter, size in zip(right_term, right.shape, strict=True):
        other = sizes.get(letter, size)
        if size != other and 1 not in (size, other):
            raise RuntimeError(
                f"einsum(): subscript {letter} has size {size} for operand 1 which does not broadcast with "
                "previously "
                f"seen size {other}"
            )
        sizes[letter] = max(size, other) if 0 not in (size, other) else 0
    both = [letter for letter in left_term if letter in right_term]
    batch = [letter for letter in both if letter in keep]
    summed = [letter for letter in both if letter not in keep]
    rows = [letter for letter in left_term if letter not in right_term]
    columns = [letter for letter in right_term if letter not in left_term]

    def arranged(term: str, operand: Tensor, *groups: list[str]) -> Tensor:
        order = [letter for group in groups for letter in group]
        wide = operand.permute([term.index(letter) for letter in order]).expand(
            [sizes[letter] for letter in order]
        )
        return wide.reshape([math.prod(sizes[letter] for letter in group) for group in groups])

    if not summed:  # nothing to sum over: a plain product of aligned dimensions
        order = batch + rows + columns
        aligned = []
        for own, operand in ((left_term, left), (right_term, right)):
            arranged_own = operand.permute([own.index(letter) for letter in order if letter in own])
            aligned.append(arranged_own.reshape([sizes[x] if x in own else 1 for x in order]))
        return "".join(order), aligned[0] * aligned[1]
    product = bmm(
        arranged(left_term, left, batch, rows, summed), arranged(right_term, right, batch, summed, columns)
    )
    term = "".join(batch + rows + columns)
    return term, product.view([sizes[letter] for letter in term])


def _samples() -> list[Sample]:
    a, b, batch = T((2, 3)), T((3, 4)), T((5, 2, 3))
    return [
        Sample(["ij,jk->ik", a, b]),
        Sample(["ij,jk", a, b]),
        Sample(["ii->i", T((3, 3))]),
        Sample(["ii", T((3, 3))]),
        Sample(["ij->ji", a]),
        Sample(["bij,bjk->bik", batch, T((5, 3, 4))]),
        Sample(["...ij,jk->...ik", batch, b]),
        Sample(["i,j->ij", T((3,)), T((4,))]),
        Sample(["ij,ij->", a, a]),
        Sample(["bn,anm,bm->ba", T((2, 5)), T((3, 5, 4)), T((2, 4))]),
        Sample(["i...->...", a]),
    ]


@composite(samples=_samples, method=False)
def einsum(*args: Any) -> Tensor:
    """The sum of products that an equation names, such as ``"ij,jk->ik"`` for a matrix product.

    Operands follow the equation (or are given in one list); the sublist form of NumPy works too.

    >>> import rushlight as torch
    >>> torch.einsum("i,i->", torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    tensor(11.)
    """
    if len(args) < 2:
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, or at least one operand "
            "and its subscripts list"
        )
    if isinstance(args[0], Tensor):
        equation, operands = _from_sublists(args)
    else:
        equation = args[0]
        operands = list(args[1]) if len(args) == 2 and isinstance(args[1], (list, tuple)) else list(args[1:])
    for place, each in enumerate(operands):
        if not isinstance(each, Tensor):
            kind = type_of(each)
            raise TypeError(f"expected Tensor as element {place} in argument 1, but got {kind}")
    terms, result = _parse(equation, operands)
    pairs = [_take_diagonals(term, operand) for term, operand in zip(terms, operands, strict=True)]
    term, value = pairs[0]
    for place, (next_term, operand) in enumerate(pairs[1:], start=1):
        keep = result + "".join(later for later, _ in pairs[place + 1 :])
        term, value = _contract(term, value, next_term, operand, keep)
    before = term
    term, value = _sum_out(term, value, result)
    if term == result and (len(pairs) > 1 or before != term):
        return value
    return value.permute([term.index(letter) for letter in result])


@composite(
    samples=lambda: [
        Sample([T((2, 3, 4)), T((3, 4, 5))]),
        Sample([T((2, 3)), T((3, 4)), 1]),
        Sample([T((2, 3, 4)), T((4, 3, 5)), ([1, 2], [1, 0])]),
        Sample([T((2,)), T((3,)), 0]),
    ],
    method=False,
)
def tensordot(a: Tensor, b: Tensor, dims: Any = 2, out: Any = None) -> Tensor:
    """The sum of products over `dims`: so many last dimensions of `a` with first of `b`, or two lists of
    them.
    """
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        first, second = list(range(a.dim() - dims, a.dim())), list(range(dims))
    else:
        first, second = ([each] if isinstance(each, int) else list(each) for each in dims)
    if len(first) != len(second):
        raise RuntimeError("both dimension lists should have same length")
    if len(first) > min(a.dim(), b.dim()):
        raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
    first = [each % a.dim() for each in first]
    second = [each % b.dim() for each in second]
    for one, other in zip(first, second, strict=True):
        if a.shape[one] != b.shape[other]:
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {a.shape[one]} in dim {one} and "
                "second has size "
                f"{b.shape[other]} in dim {other}"
            )
    kept_a = [i for i in range(a.dim()) if i not in first]
    kept_b = [i for i in range(b.dim()) if i not in second]
    inner = math.prod(a.shape[i] for i in first)
    left = a.permute([*kept_a, *first]).reshape(math.prod(a.shape[i] for i in kept_a), inner)
    right = b.permute([*second, *kept_b]).reshape(inner, math.prod(b.shape[i] for i in kept_b))
    result = left.mm(right).view([*(a.shape[i] for i in kept_a), *(b.shape[i] for i in kept_b)])
    return result if out is None else write_out(out, result)
