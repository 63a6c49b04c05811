"""The normal distribution, whose samples let gradients through to its mean and deviation."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar, Self

from rushlight.autograd.mode import no_grad
from rushlight.distributions.constraints import Constraint, positive, real
from rushlight.distributions.distribution import Distribution, broadcast_parameters
from rushlight.ops.create import ones, zeros
from rushlight.ops.distributions import normal
from rushlight.tensor import Tensor


class Normal(Distribution):
    """Numbers around `loc` with a standard deviation of `scale`.

    >>> import rushlight as torch
    >>> scores = Normal(torch.tensor([0.0, 10.0]), 2.0)
    >>> scores.log_prob(torch.tensor([0.0, 10.0]))
    tensor([-1.6121, -1.6121])
    >>> scores.rsample((5,)).shape
    torch.Size([5, 2])

    Args:
        loc: the mean, a number or a tensor.
        scale: the standard deviation, above 0.
        validate_args: whether parameters and values are checked.
    """

    arg_constraints: ClassVar = {"loc": real, "scale": positive}
    has_rsample = True

    def __init__(self, loc: Tensor | float, scale: Tensor | float, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_parameters(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def support(self) -> Constraint:
        """All numbers."""
        return real

    @property
    def mean(self) -> Tensor:
        """`loc`."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        """`loc`, too."""
        return self.loc

    @property
    def stddev(self) -> Tensor:
        """`scale`."""
        return self.scale

    @property
    def variance(self) -> Tensor:
        """The square of `scale`."""
        return self.scale.pow(2)

    def expand(self, batch_shape: Iterable[int], _instance: Any = None) -> Self:
        """The same distribution with its parameters expanded to a larger batch shape."""
        return self._with_each_expanded(_instance, batch_shape)

    def sample(self, sample_shape: Iterable[int] = ()) -> Tensor:
        """Numbers ``(*sample_shape, *batch_shape)``."""
        shape = self._extended_shape(sample_shape)
        with no_grad():
            return normal(self.loc.expand(shape), self.scale.expand(shape))

    def rsample(self, sample_shape: Iterable[int] = ()) -> Tensor:
        """Numbers through which gradients flow: standard normal ones, scaled and moved."""
        shape, kind = self._extended_shape(sample_shape), self.loc.dtype
        return self.loc + normal(zeros(shape, dtype=kind), ones(shape, dtype=kind)) * self.scale

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density at `value`."""
        if self._validate_args:
            self._validate_sample(value)
        away = (value - self.loc) ** 2
        return -away / (2 * self.scale**2) - self.scale.log() - math.log(math.sqrt(2 * math.pi))

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of `value` or less."""
        if self._validate_args:
            self._validate_sample(value)
        return 0.5 * (1 + ((value - self.loc) * self.scale.reciprocal() / math.sqrt(2)).erf())

    def icdf(self, value: Tensor) -> Tensor:
        """The number that is not exceeded with a probability of `value`."""
        return self.loc + self.scale * (2 * value - 1).erfinv() * math.sqrt(2)

    def entropy(self) -> Tensor:
        """The entropy in nats."""
        return 0.5 + 0.5 * math.log(2 * math.pi) + self.scale.log()
