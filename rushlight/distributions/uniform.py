"""The uniform distribution between two bounds, whose samples let gradients through to them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Self

from rushlight.distributions.constraints import Constraint, greater_than, interval, less_than
from rushlight.distributions.distribution import Distribution, broadcast_parameters
from rushlight.ops.random import rand
from rushlight.tensor import Tensor


class Uniform(Distribution):
    """Numbers from `low` up to `high`, all equally probable.

    >>> import rushlight as torch
    >>> angles = Uniform(0.0, torch.tensor([1.0, 4.0]))
    >>> angles.mean, angles.entropy()
    (tensor([0.5000, 2.0000]), tensor([0.0000, 1.3863]))

    Args:
        low: the lower bound, a number or a tensor.
        high: the upper bound, above `low`.
        validate_args: whether parameters and values are checked.
    """

    has_rsample = True

    def __init__(self, low: Tensor | float, high: Tensor | float, validate_args: bool | None = None) -> None:
        self.low, self.high = broadcast_parameters(low, high)
        super().__init__(self.low.shape, validate_args=validate_args)

    @property
    def arg_constraints(self) -> Mapping[str, Constraint]:  # type: ignore[override]
        """Each bound limits the other."""
        return {"low": less_than(self.high), "high": greater_than(self.low)}

    @property
    def support(self) -> Constraint:
        """From `low` to `high`."""
        return interval(self.low, self.high)

    @property
    def mean(self) -> Tensor:
        """The middle."""
        return (self.high + self.low) / 2

    @property
    def mode(self) -> Tensor:
        """There is none."""
        return math.nan * self.high

    @property
    def stddev(self) -> Tensor:
        """The width, divided by the root of 12."""
        return (self.high - self.low) / 12**0.5

    @property
    def variance(self) -> Tensor:
        """The square of the width, divided by 12."""
        return (self.high - self.low).pow(2) / 12

    def expand(self, batch_shape: Iterable[int], _instance: Any = None) -> Self:
        """The same distribution with its bounds expanded to a larger batch shape."""
        return self._with_each_expanded(_instance, batch_shape)

    def rsample(self, sample_shape: Iterable[int] = ()) -> Tensor:
        """Numbers ``(*sample_shape, *batch_shape)`` through which gradients flow to the bounds."""
        shape = self._extended_shape(sample_shape)
        return self.low + rand(shape, dtype=self.low.dtype) * (self.high - self.low)

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density at `value`."""
        if self._validate_args:
            self._validate_sample(value)
        inside = self.low.le(value).type_as(self.low) * self.high.gt(value).type_as(self.low)
        return inside.log() - (self.high - self.low).log()

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of `value` or less."""
        if self._validate_args:
            self._validate_sample(value)
        return ((value - self.low) / (self.high - self.low)).clamp(min=0, max=1)

    def icdf(self, value: Tensor) -> Tensor:
        """The number that is not exceeded with a probability of `value`."""
        return value * (self.high - self.low) + self.low

    def entropy(self) -> Tensor:
        """The entropy in nats."""
        return (self.high - self.low).log()
