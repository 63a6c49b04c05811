"""Named results: the tuples with field names that `max`, `sort`, `topk` and their kin return.

They are tuples for everything that unpacks or indexes them and print as PyTorch's ``torch.return_types``.
Invariant: fields are in PyTorch's order.
"""

from __future__ import annotations

import operator
from typing import Any


def return_type(name: str, fields: tuple[str, ...]) -> Any:
    """A tuple class with named fields, printed as ``torch.return_types.<name>``.

    >>> import rushlight as torch
    >>> torch.tensor([3, 1, 2]).max(0)
    torch.return_types.max(
    values=tensor(3),
    indices=tensor(0))
    """

    def __new__(cls: Any, values: Any) -> Any:
        return tuple.__new__(cls, values)

    def __repr__(self: Any) -> str:
        inner = ",\n".join(f"{field}={value!r}" for field, value in zip(fields, self, strict=True))
        return f"torch.return_types.{name}(\n{inner})"

    members: dict[str, Any] = {"__slots__": (), "__new__": __new__, "__repr__": __repr__, "_fields": fields}
    members |= {field: property(operator.itemgetter(place)) for place, field in enumerate(fields)}
    members |= {
        "__doc__": f"The result of `{name}`: {', '.join(fields)}.",
        "__module__": "torch.return_types",
    }
    return type(name, (tuple,), members)


def values_and_indices(name: str) -> Any:
    """The `return_type` of an op that picks elements."""
    return return_type(name, ("values", "indices"))
