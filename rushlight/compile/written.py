"""Conditions written out as one Python function.

Whether a recording fits a call is asked before every call, and is a long list of comparisons with objects
known beforehand. As loops over lists of them that costs more than running a small network; as the text of one
function, compiled once, each comparison takes some twenty nanoseconds. `Written` collects the text, in which
objects appear under made-up names. Invariant: no part of the text comes from outside, only names made here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import is_
from typing import Any

FEW_ELEMENTS = 64  # of a container, which are compared one by one


class Written:
    """A function that is false where one of its terms is, and else returns the last of them.

    Args:
        known: objects that the terms mention by these names.

    >>> written = Written()
    >>> table = {"rate": 0.5}
    >>> written.terms.append(f"{written.name(table)}['rate'] is {written.name(table['rate'])}")
    >>> holds = written.function("holds()")
    >>> print(written.text("holds()"))
    def holds():
        try:
            return (v0['rate'] is v1)
        except (KeyError, ValueError):
            return False
    >>> holds(), table.pop("rate"), holds()
    (True, 0.5, False)
    """

    def __init__(self, **known: Any) -> None:
        self.terms: list[str] = []
        self.lines: list[str] = []  # run before the terms
        self._objects: dict[str, Any] = {**known, "__name__": __name__}  # as this package's code
        self._names: dict[int, str] = {}
        self._variables = 0

    def name(self, value: Any) -> str:
        """The name of an object in the text; the function keeps the object alive."""
        if value is None or value is True or value is False:
            return repr(value)  # compared faster than what a name stands for
        found = self._names.get(id(value))
        if found is None:
            found = self._names[id(value)] = f"v{len(self._names)}"
            self._objects[found] = value
        return found

    def holds_these(self, iterable: str, elements: Sequence[Any]) -> None:
        """Have the elements of something be these, and no others: as a term, or lines before the terms."""
        if len(elements) > FEW_ELEMENTS:
            self.terms.append(f"len({iterable}) == {len(elements)}")
            self.terms.append(f"all(map({self.name(is_)}, {iterable}, {self.name(elements)}))")
            return
        variables = [f"e{self._variables + place}" for place in range(len(elements))]
        self._variables += len(elements)
        self.lines.append(
            f"{', '.join(variables)}, = {iterable}"
        )  # ValueError where there are more, or fewer
        self.terms += [
            f"{variable} is {self.name(each)}" for variable, each in zip(variables, elements, strict=True)
        ]

    def text(self, head: str) -> str:
        """The function, named and with parameters as `head` says.

        It is false too where a key is gone (KeyError), or the value of a variable closed over, or an element
        (ValueError).
        """
        conditions = " and ".join(self.terms) or "True"
        lines = ["try:", *("    " + each for each in self.lines), f"    return ({conditions})"]
        lines += ["except (KeyError, ValueError):", "    return False"]
        return "\n".join([f"def {head}:", *("    " + each for each in lines)])

    def function(self, head: str) -> Callable[..., Any]:
        """The function itself."""
        exec(self.text(head), self._objects)  # noqa: S102 - see the invariant
        return self._objects[head.partition("(")[0]]
