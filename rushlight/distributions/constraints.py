"""What values parameters and samples may have (``torch.distributions.constraints``).

A constraint has a `check` and a text. Invariant: `check` answers for each element on its own, or for each
vector where the constraint is one of vectors (`event_dim` 1), and False for nan.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rushlight.tensor import Tensor

__all__ = [
    "Constraint",
    "boolean",
    "greater_than",
    "greater_than_eq",
    "independent",
    "integer_interval",
    "interval",
    "less_than",
    "nonnegative",
    "nonnegative_integer",
    "positive",
    "real",
    "real_vector",
    "simplex",
    "unit_interval",
]


class Constraint:
    """A set of numbers.

    Args:
        name: what it is called.
        holds: tells for a tensor, element by element, whether it is in the set.
        is_discrete: whether the set has whole numbers only.
        bounds: its bounds, for the text.
    """

    event_dim = 0

    def __init__(
        self, name: str, holds: Callable[[Tensor], Tensor], is_discrete: bool = False, **bounds: Any
    ) -> None:
        self._name = name
        self._holds = holds
        self._bounds = bounds
        self.is_discrete = is_discrete

    def check(self, value: Tensor) -> Tensor:
        """Whether each element of `value` is in the set, as a bool tensor.

        >>> import rushlight as torch
        >>> unit_interval.check(torch.tensor([-1.0, 0.5, torch.nan]))
        tensor([False,  True, False])
        """
        return self._holds(value)

    def __repr__(self) -> str:
        return f"{self._name}({', '.join(f'{name}={bound}' for name, bound in self._bounds.items())})"


class _Independent(Constraint):
    """Vectors (or more) all of whose elements are in a set."""

    def __init__(self, base: Constraint, count: int) -> None:
        super().__init__("IndependentConstraint", base.check, base.is_discrete)
        self.base_constraint = base
        self.reinterpreted_batch_ndims = count
        self.event_dim = base.event_dim + count

    def check(self, value: Tensor) -> Tensor:
        """Whether all elements of each vector are in the set."""
        if value.dim() < self.event_dim:
            raise ValueError(
                f"Expected value.dim() >= {self.base_constraint.event_dim + self.reinterpreted_batch_ndims} "
                f"but got {value.dim()}"
            )
        return super().check(value).flatten(-self.reinterpreted_batch_ndims).all(-1)

    def __repr__(self) -> str:
        return f"{self._name}({self.base_constraint!r}, {self.reinterpreted_batch_ndims})"


def independent(base_constraint: Constraint, reinterpreted_batch_ndims: int) -> Constraint:
    """What has `base_constraint` in all elements of its last dimensions.

    >>> import rushlight as torch
    >>> independent(real, 1).check(torch.tensor([[1.0, torch.nan], [1.0, 2.0]]))
    tensor([False,  True])
    """
    return _Independent(base_constraint, reinterpreted_batch_ndims)


def greater_than(lower_bound: Any) -> Constraint:
    """Numbers above `lower_bound`.

    >>> greater_than(0.0)
    GreaterThan(lower_bound=0.0)
    """
    return Constraint("GreaterThan", lambda value: lower_bound < value, lower_bound=lower_bound)


def less_than(upper_bound: Any) -> Constraint:
    """Numbers below `upper_bound`.

    >>> less_than(1.0)
    LessThan(upper_bound=1.0)
    """
    return Constraint("LessThan", lambda value: value < upper_bound, upper_bound=upper_bound)


def greater_than_eq(lower_bound: Any) -> Constraint:
    """Numbers from `lower_bound` on.

    >>> greater_than_eq(0.0)
    GreaterThanEq(lower_bound=0.0)
    """
    return Constraint("GreaterThanEq", lambda value: lower_bound <= value, lower_bound=lower_bound)


def interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    """Numbers between the bounds, which are in it.

    >>> interval(0.0, 1.0)
    Interval(lower_bound=0.0, upper_bound=1.0)
    """
    return Constraint(
        "Interval",
        lambda value: (lower_bound <= value) & (value <= upper_bound),
        lower_bound=lower_bound,
        upper_bound=upper_bound,
    )


def integer_interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    """Whole numbers between the bounds, which are in it.

    >>> integer_interval(0, 5)
    IntegerInterval(lower_bound=0, upper_bound=5)
    """
    return Constraint(
        "IntegerInterval",
        lambda value: value.remainder(1).eq(0) & (lower_bound <= value) & (value <= upper_bound),
        is_discrete=True,
        lower_bound=lower_bound,
        upper_bound=upper_bound,
    )


nonnegative = greater_than_eq(0.0)
unit_interval = interval(0.0, 1.0)
real = Constraint("Real", lambda value: value == value)
nonnegative_integer = Constraint(
    "IntegerGreaterThan",  # PyTorch's name, though the bound is in it
    lambda value: value.remainder(1).eq(0) & (value >= 0),
    is_discrete=True,
    lower_bound=0,
)
positive = greater_than(0.0)
boolean = Constraint("Boolean", lambda value: (value == 0) | (value == 1), is_discrete=True)
real_vector = independent(real, 1)
simplex = Constraint("Simplex", lambda value: (value >= 0).all(-1) & ((value.sum(-1) - 1).abs() < 1e-6))
simplex.event_dim = 1
